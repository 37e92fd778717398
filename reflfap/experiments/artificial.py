"""(E1), one cell: does a network trained only on perturbed noise classify natural data?

The standard network learns natural samples with random labels. Noise with random targets is drawn
and perturbed against the standard network. The noise network learns the plain noise, the
adversarial network the perturbed noise; neither sees a natural sample or a natural label.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from reflfap.backend import Namespace, asarray, to_host
from reflfap.data_loaders import artificial as data
from reflfap.errors import refuse
from reflfap.experiments import three_networks
from reflfap.experiments.cell import CellConfig, Sharing, cell_cost
from reflfap.experiments.experiment import (
    Computed,
    DeviceOptions,
    Experiment,
    Inputs,
    RunOptions,
    Table,
)
from reflfap.experiments.plane import MOST_SAMPLES, plane_datasets
from reflfap.experiments.three_networks import (
    NOTHING,
    WHOLE,
    Cell,
    KnownParts,
    Labelled,
    labelled,
)
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.theory.asymptotic import Learner, sharper_accuracy
from reflfap.theory.even_part import PartsAccuracy, parts_accuracy
from reflfap.theory.prediction import accuracy_l0, accuracy_l2, accuracy_linf
from reflfap.training.result import Trained


@dataclass(frozen=True, kw_only=True)
class ArtificialConfig(CellConfig):
    """One cell of E1: standard, noise and adversarial networks on artificial data.

    Default epsilon: l2 0.78 sqrt(dim/10000), linf 0.03, l0 0.05.
    """

    experiment = "artificial"
    later: ClassVar = {"precision": "exact"}

    dim: int = 10_000
    """input dimension d"""
    data: Literal["uniform", "gauss"] = "uniform"
    """natural data and noise: uniform on [-1, 1]^d, or standard Gaussian"""
    precision: Literal["exact", "released"] = "exact"
    """exact: as dtype says; released: in float16, as the released code ran"""

    def __post_init__(self) -> None:
        self.settle_whole(dim=1)
        self._limit("dim")
        super().__post_init__()
        if self.in_float16 and self.dtype != "float32":
            refuse("precision", f"exact for {self.dtype}", "released", "choose --dtype float32")
        if self.in_float16 and self.trainer == "kkt":
            remedy = "choose --trainer flow or gd: its training ends long before the limit"
            refuse("precision", "exact for the limit", "released", remedy)

    @property
    def in_float16(self) -> bool:
        return self.precision == "released"

    @property
    def inputs(self) -> int:
        return self.dim

    @property
    def _released(self) -> dict[str, float]:
        return {"l2": 0.78 * math.sqrt(self.dim / 10_000), "linf": 0.03, "l0": 0.05}


@dataclass(frozen=True, kw_only=True)
class ArtificialOptions(DeviceOptions):
    """More ways to run (E1)."""

    save_networks: bool = False
    """store the weights of the three networks, 12 m d bytes in float32"""
    save_data: bool = False
    """store all perturbed samples, of which a result holds the first 8 otherwise, and the natural
    data and noise, which the seed draws again"""


NATURAL_X = "data/natural/x"
"""What tells a result with its data."""


def natural(config: ArtificialConfig) -> Labelled:
    """Natural samples (N, d) and random labels (N,), by seed, on the host."""
    return _draw(config, "natural", config.n)


def noise(config: ArtificialConfig) -> Labelled:
    """Noise (N_adv, d) of the same distribution and random targets (N_adv,), by seed."""
    return _draw(config, "noise", config.n_adv)


def cell(
    config: ArtificialConfig,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    known: KnownParts = NOTHING,
) -> Cell:
    """Compute one cell on the device of `xp`; accuracies acc_* are those on the natural samples.

    `known` and memory: see `train_and_attack`. Natural samples and noise together are
    (N + N_adv) d.
    """
    domain, samples = data.DISTRIBUTIONS[config.data], natural(config)
    limits = (domain.low, domain.high)
    learned = three_networks.train_and_attack(
        config, samples, noise(config), limits, xp, monitor, known
    )
    metrics = {**three_networks.accuracies(learned, samples), **three_networks.own_metrics(learned)}
    metrics["acc_predicted"] = predicted(config)
    if config.in_float16:
        metrics |= three_networks.float16_metrics(learned)
    return learned.cell(metrics)


def shared(config: ArtificialConfig, network: str) -> ArtificialConfig:
    """The config with all that the standard or the noise network does not depend on set alike.

    Cells for which it is equal have that network in common.
    """
    other: dict[str, Any] = {"n_adv": 1} if network == "standard" else {"n": 1}
    return replace(config, **other, norm="l2", epsilon=0.0, variant=None, attack_steps=0)


def shared_network(
    config: ArtificialConfig, name: str, xp: Namespace = np, monitor: Monitor = SILENT
) -> Trained:
    """The standard or the noise network of a cell alone, on the host, as `KnownParts` takes it."""
    samples = natural(config) if name == "standard" else noise(config)
    x, y = (asarray(part, xp) for part in samples)
    return three_networks.train(config, name, x, y, monitor).moved(to_host)


def predicted(config: ArtificialConfig) -> float:
    """The accuracy of the adversarial network that (L4) predicts for a cell, without running it."""
    domain = data.DISTRIBUTIONS[config.data]
    sizes = (config.dim, config.n, config.n_adv)
    if config.norm == "l2":
        return accuracy_l2(*sizes, config.size, domain.variance)
    if config.norm == "linf":
        return accuracy_linf(*sizes, config.size, domain.variance, str(config.variant))
    return accuracy_l0(*sizes, config.pixels, domain.variance, math.isfinite(domain.high))


def predicted_sharper(config: ArtificialConfig) -> float:
    """What (L5) predicts for a cell; an epoch is 0.1 of time, as for gradient flow."""
    return sharper_accuracy(*_sizes_and_learner(config))


def predicted_parts(config: ArtificialConfig) -> PartsAccuracy:
    """What is predicted for a cell, and for each part alone, with what the even part carries."""
    return parts_accuracy(*_sizes_and_learner(config))


def _sizes_and_learner(
    config: ArtificialConfig,
) -> tuple[tuple[int, int, int], str, float, float, bool, Learner]:
    domain = data.DISTRIBUTIONS[config.data]
    name = "linf-sign" if config.variant == "sign" else config.norm
    size = config.pixels if config.norm == "l0" else config.size
    learner = Learner(config.slope, config.hidden, 0.1 * config.epochs)
    sizes = (config.dim, config.n, config.n_adv)
    return sizes, name, size, domain.variance, math.isfinite(domain.high), learner


def _draw(config: ArtificialConfig, name: str, n: int) -> Labelled:
    x = data.samples(config.data, n, config.dim, stream(config.seed, f"{name}/x"), config.dtype)
    return Labelled(x, data.labels(n, stream(config.seed, f"{name}/y"), config.dtype))


def compute(config: ArtificialConfig, inputs: Inputs, monitor: Monitor) -> Computed:
    """A cell; of its networks and samples, most of its bytes, what the options ask for."""
    done = _with_plane(config, inputs, monitor)
    found, more = three_networks.swept(done), needed(inputs.options)
    datasets = dict(found.datasets)
    if set(WHOLE) <= set(more):
        datasets |= three_networks.networks(done)
    if NATURAL_X in more:
        datasets |= labelled("natural", natural(config)) | labelled("noise", noise(config))
        datasets |= labelled("adversarial", Labelled(done.x_adv, done.y_adv))
    return found._replace(datasets=datasets)


def needed(options: RunOptions) -> list[str]:
    """The datasets that tell a result which has what the options ask for."""
    if not isinstance(options, ArtificialOptions):
        return []
    networks, data = options.save_networks, options.save_data
    return [*(WHOLE if networks else ()), *([NATURAL_X] if data else ())]


def _with_plane(
    config: ArtificialConfig, inputs: Inputs, monitor: Monitor, known: KnownParts = NOTHING
) -> Cell:
    """A cell, and the plane of its decision map."""
    done = cell(config, inputs.xp, monitor, known)
    some = replace(config, n=min(config.n, 4 * MOST_SAMPLES))  # holds enough of each label
    return done._replace(more=plane_datasets(done.weights, natural(some)))


# the grid of (E1): along d the L2 radius grows in step, as released
DIMS = (100, 500, 1000, 2500, 5000, 7500, 10_000)
L2_BY_DIM = (0.078, 0.17, 0.24, 0.39, 0.55, 0.67, 0.78)
NATURAL = (1000, 2000, 3000, 5000, 7000, 10_000)
NOISE = (1, 10, 100, 500, 1000, 1500, 2500, 5000, 7500, 10_000)
DRAWN = 20  # one N_adv more, of which the paper draws a boundary
EPSILONS = {
    "l2": (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.78),
    "linf": (0.001, 0.005, 0.01, 0.015, 0.02, 0.03),
    "l0": (
        *(0.0001, 0.0004, 0.0008, 0.001, 0.002, 0.004),
        *(0.006, 0.008, 0.01, 0.02, 0.03, 0.04, 0.05),
    ),
}


def paper(norm: str, distribution: str) -> list[Table]:
    """The four sweeps of (E1) for one norm and distribution, around the released defaults."""
    common = {"norm": norm, "data": distribution}
    largest = EPSILONS[norm][-1]
    along_d: list[Table] = (
        [{"dim": d, "epsilon": eps} for d, eps in zip(DIMS, L2_BY_DIM, strict=True)]
        if norm == "l2"
        else [{"dim": DIMS, "epsilon": largest}]
    )
    others: list[Table] = [
        {"n": NATURAL, "epsilon": largest},
        {"n_adv": (*NOISE, DRAWN), "epsilon": largest},
        {"epsilon": EPSILONS[norm]},
    ]
    return [common | dict(table) for table in (*along_d, *others)]


def in_released_precision(norm: str, distribution: str) -> list[Table]:
    """The same cells in the arithmetic of the released code."""
    return [{**table, "precision": "released"} for table in paper(norm, distribution)]


PANELS = [(norm, distribution) for distribution in data.DISTRIBUTIONS for norm in EPSILONS]

EXPERIMENT = Experiment(
    config=ArtificialConfig,
    summary="Learn from perturbed noise (E1): standard, noise and adversarial networks.",
    compute=compute,
    cost=cell_cost,
    options=ArtificialOptions,
    needed=needed,
    picture="reflfap.figures.decision_map",
    presets={
        **{f"paper-{one[0]}-{one[1]}": partial(paper, *one) for one in PANELS},
        **{f"released-{one[0]}-{one[1]}": partial(in_released_precision, *one) for one in PANELS},
        "paper-all": lambda: [table for one in PANELS for table in paper(*one)],
        "smoke": lambda: [
            {"dim": 400, "hidden": 20, "n": 40, "n_adv": (20, 60, 200), "epsilon": (0.5, 1.0)},
        ],
    },
    sharing=Sharing(
        shared,
        lambda config, name, inputs, monitor: shared_network(config, name, inputs.xp, monitor),
        _with_plane,
    ),
)
