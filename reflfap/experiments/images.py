"""(E3): two classes of real images in the theory's own setting, the network of (N1).

Pixels are mapped to [-1, 1]. The standard network learns N natural images of two classes. Noise, or
natural images, get targets that say nothing about them, and are perturbed against the standard
network. Does a network trained on those alone read the clean test images of the two classes?
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from reflfap.backend import Array, HostArray, asarray, namespace, to_host
from reflfap.data_loaders import artificial
from reflfap.data_loaders.image_set import ImageSet
from reflfap.data_loaders.registry import DATA_SETS, data_set
from reflfap.errors import refuse
from reflfap.experiments import three_networks
from reflfap.experiments.cell import CellConfig, Sharing, cell_cost
from reflfap.experiments.experiment import (
    Computed,
    Experiment,
    ImagesOptions,
    Inputs,
    Table,
    both_splits,
)
from reflfap.experiments.three_networks import NOTHING, WHOLE, Cell, KnownParts, Labelled
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.theory import boundary, kkt, learning
from reflfap.training.result import Trained

SCENARIOS = ("noise", "natural-random", "natural-flipped")

RAW_IMAGES = 3
"""Times as many steps as on white data gradient flow takes."""


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(CellConfig):
    """One cell of E3: two classes of images in the theory's own setting, pixels on [-1, 1].

    Default epsilon: l2 0.1 sqrt(d), linf 0.1, l0 0.05.
    """

    experiment = "images"

    dataset: str = "embedded"
    """images: mnist, fashion-mnist, cifar-10, or embedded, a part of Fashion-MNIST, which comes
    with the package; or the path of your own set (docs/images.md)"""
    classes: tuple[str, str] = ("1", "8")
    """two classes, numbers or names; the first has label +1, the second -1"""
    scenario: Literal["noise", "natural-random", "natural-flipped"] = "noise"
    """what is perturbed: noise on [-1, 1]^d with random targets, or natural images with random
    targets or with the other class as target"""
    n: int = 1_000
    """natural samples N, at most; fewer if the two classes have fewer"""
    n_adv: int = 5_000
    """source samples, which are perturbed, N_adv; natural ones at most as many as there are"""
    centre: bool = False
    """subtract the mean of the natural samples from all; digits and clothes are less alike then,
    yet no nearer to (T1)"""

    def __post_init__(self) -> None:
        self.check_words()
        data_set(self.dataset)  # which says how many inputs there are
        if len(self.classes) != 2 or not all(isinstance(one, str) for one in self.classes):
            refuse("classes", "two numbers or names", repr(self.classes), "give two, as in 3 7")
        self.settle("classes", tuple(self.classes))  # a list, when it comes from JSON
        super().__post_init__()

    @property
    def inputs(self) -> int:
        return math.prod(data_set(self.dataset).shape)

    @property
    def flow_steps(self) -> int:
        return RAW_IMAGES * super().flow_steps

    @property
    def _released(self) -> dict[str, float]:
        return {"l2": 0.1 * math.sqrt(self.inputs), "linf": 0.1, "l0": 0.05}


class ClassPair(NamedTuple):
    """Images of two classes, pixels as bytes, labels 0 and 1, as the data loaders give them."""

    train: Labelled  # x (N, d) uint8, y (N,) 0 or 1
    test: Labelled


class Samples(NamedTuple):
    """What the networks see: float samples, labels +1 and -1."""

    natural: Labelled
    source: Labelled
    test: Labelled
    limits: tuple[float, float]  # data range
    mean: HostArray  # (d,) what centring subtracted; 0 without


def cell(
    config: ImagesConfig,
    inputs: Inputs,
    monitor: Monitor = SILENT,
    known: KnownParts = NOTHING,
) -> Cell:
    """One cell: accuracies acc_* on the natural samples, acc_*_test on the clean test images.

    `alignment_test` is the fraction of test images that meet (L3), with effective multipliers;
    `flip_threshold`, of flipped labels, the L2 size from which (L2) says that they teach the truth.
    `known` and memory: see `train_and_attack`; the test images on top.
    """
    samples = prepare(config, two_classes(config, inputs.images))
    natural, source, _, limits, _ = samples
    learned = three_networks.train_and_attack(
        config, natural, source, limits, inputs.xp, monitor, known
    )
    metrics = {
        **three_networks.accuracies(learned, samples.natural),
        **three_networks.accuracies(learned, samples.test, "_test"),
        **three_networks.own_metrics(learned),
        **_alignment(config, learned, samples),
    }
    return learned.cell(metrics)


def shared(config: ImagesConfig, network: str) -> ImagesConfig:
    """The config with all that the standard or the noise network does not depend on set alike.

    Cells for which it is equal have that network in common. Centring takes the mean of the N
    natural samples from all.
    """
    other: dict[str, Any] = {} if config.centre else {"n": 1}
    if network == "standard":
        other = {"n_adv": 1, "scenario": "noise"}
    return replace(config, **other, norm="l2", epsilon=0.0, variant=None, attack_steps=0)


def shared_network(
    config: ImagesConfig, name: str, inputs: Inputs, monitor: Monitor = SILENT
) -> Trained:
    """The standard or the noise network of a cell alone, on the host, as `KnownParts` takes it."""
    samples = prepare(config, two_classes(config, inputs.images))
    own = samples.natural if name == "standard" else samples.source
    x, y = (asarray(part, inputs.xp) for part in own)
    return three_networks.train(config, name, x, y, monitor).moved(to_host)


def two_classes(config: ImagesConfig, images: Callable[[str, str], ImageSet]) -> ClassPair:
    """Training and test images of a config's two classes, one row an image."""
    chosen = [images(config.dataset, split).classes(*config.classes) for split in ("train", "test")]
    train, test = (Labelled(one.images.reshape(len(one.labels), -1), one.labels) for one in chosen)
    return ClassPair(train, test)


def prepare(config: ImagesConfig, images: ClassPair) -> Samples:
    """The samples of a cell, by seed, on the host; label 0 becomes +1, label 1 becomes -1."""
    order = stream(config.seed, "natural/order").permutation(len(images.train.y))
    if len(order) == 0 or len(images.test.y) == 0:
        refuse("images", "at least one of the two classes", "none", "check the data set")
    natural = _floats(images.train, order[: config.n], config.dtype)
    test = _floats(images.test, slice(None), config.dtype)
    source = _source(config, images, order)
    limits, mean = (-1.0, 1.0), np.zeros((), config.dtype)
    if config.centre:
        # the mean of the natural samples, from all; the range is no longer one box for all pixels,
        # so the attack is left without one
        mean = natural.x.mean(axis=0, dtype=np.float64).astype(config.dtype)
        natural, test, source = (part._replace(x=part.x - mean) for part in (natural, test, source))
        limits = (-np.inf, np.inf)
    return Samples(natural, source, test, limits, mean)


def learned_normal(trained: Trained, samples: Labelled) -> tuple[Array, Array]:
    """The normal b (d,), (T5), of a training that kept C, and the effective multipliers (N,) it is
    made of, on the device of the training."""
    xp = namespace(trained.C)
    x, y = (asarray(part, xp) for part in samples)
    lam = kkt.effective_multipliers(trained.net, trained.C, y)
    return boundary.normal(x, y, lam), lam


def _source(config: ImagesConfig, images: ClassPair, order: HostArray) -> Labelled:
    rng = stream(config.seed, "source/y")
    if config.scenario == "noise":
        draw = stream(config.seed, "source/x")
        x = artificial.samples("uniform", config.n_adv, config.inputs, draw, config.dtype)
        return Labelled(x, artificial.labels(len(x), rng, config.dtype))
    chosen = _floats(images.train, order[: config.n_adv], config.dtype)
    if config.scenario == "natural-flipped":
        return chosen._replace(y=-chosen.y)
    return chosen._replace(y=artificial.labels(len(chosen.y), rng, config.dtype))


def _floats(part: Labelled, rows: HostArray | slice, dtype: str) -> Labelled:
    """Pixels 0 to 255 as -1 to 1, labels 0 and 1 as +1 and -1."""
    x = part.x[rows].astype(dtype)
    x /= np.asarray(127.5, dtype)
    x -= 1
    return Labelled(x, (1 - 2 * part.y[rows]).astype(dtype))


def _alignment(
    config: ImagesConfig, learned: three_networks.ThreeNetworks, samples: Samples
) -> dict[str, float]:
    """(L3) on the test images, by effective multipliers, and for flipped labels the size that (L2)
    asks for; nothing if a training kept no C."""
    standard, adversarial = (learned.trained[name] for name in ("standard", "adversarial"))
    if standard.C is None or adversarial.C is None:
        return {}
    xp = namespace(learned.target)
    b, lam = learned_normal(standard, samples.natural)
    found = {}
    if config.scenario == "natural-flipped":
        found["flip_threshold"] = learning.flipped_threshold(b, lam)
    source, z = (asarray(part.x, xp) for part in (samples.source, samples.test))
    lam = kkt.effective_multipliers(adversarial.net, adversarial.C, learned.target)
    parts = learning.effects(source, learned.perturbed.x - source, learned.target, lam, z)
    holds = learning.aligned(parts, boundary.boundary_function(b, z))
    return {"alignment_test": float(xp.mean(xp.astype(holds, xp.float64)))} | found


def settled(config: ImagesConfig, inputs: Inputs) -> ImagesConfig:
    """The config, refused before anything is made where the data set has no such classes."""
    two_classes(config, inputs.images)
    return config


def compute(config: ImagesConfig, inputs: Inputs, monitor: Monitor) -> Computed:
    """A cell with all it has."""
    return three_networks.whole_run(cell(config, inputs, monitor))


PAIR_SHARES = (0.05, 0.4)
"""Of sqrt(d), sizes of a perturbation; at the smaller one natural samples teach their targets."""


def pairs(dataset: str) -> list[Table]:
    """All 45 pairs of classes, three scenarios, two sizes of an L2 perturbation (E3)."""
    root = math.prod(data_set(dataset).shape) ** 0.5
    common = {
        "dataset": dataset,
        "hidden": 100,
        "n": 500,
        "classes": list(itertools.combinations("0123456789", 2)),
        "epsilon": [round(share * root, 3) for share in PAIR_SHARES],
    }
    natural = ["natural-random", "natural-flipped"]
    return [
        common | {"n_adv": 1000, "scenario": "noise"},
        common | {"n_adv": 500, "scenario": natural},
    ]


_SMOKE = {"classes": [("1", "8"), ("3", "7")], "hidden": 20, "n": 100, "n_adv": 300}

EXPERIMENT = Experiment(
    config=ImagesConfig,
    summary="Read real images after learning from perturbed noise (E3): two classes of a data set.",
    compute=compute,
    cost=cell_cost,
    options=ImagesOptions,
    settled=settled,
    reads=both_splits,
    needed=lambda options: WHOLE,
    picture="reflfap.figures.image_rows",
    presets={
        **{f"pairs-{dataset}": partial(pairs, dataset) for dataset in DATA_SETS},
        "smoke": lambda: [_SMOKE | {"scenario": ["noise", "natural-flipped"]}],
    },
    sharing=Sharing(shared, shared_network, cell),
)
