"""What all experiments of learning from perturbations share: three networks and an attack.

The standard network learns natural samples. Source samples, noise or natural ones, get targets and
are perturbed against the standard network. The noise network learns the source samples as they are,
the adversarial network the perturbed ones.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from reflfap import attacks, onehidden
from reflfap.backend import Array, HostArray, Namespace, asarray, device_memory, namespace, to_host
from reflfap.experiments.cell import CellConfig, attack_norm
from reflfap.experiments.experiment import Computed, Dataset
from reflfap.fast.float16_updates import attack_rounded
from reflfap.fast.quick_attack import attack_network
from reflfap.losses import Loss, log_mean, loss_named
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.theory.kkt import aligned_kkt
from reflfap.training.descent import descent
from reflfap.training.flow import flow, released_time
from reflfap.training.released import train_in_float16
from reflfap.training.result import FlowTrace, Trace, Trained

NETWORKS = ("standard", "noise", "adversarial")

GALLERY = 8
"""Perturbed samples that a result keeps of those that can be made again."""

WHOLE = ("networks/standard/W",)
"""What tells a run that kept its networks from a cell of a sweep."""

_LESS_MEMORY = "use fewer samples or --dtype float32"


class Labelled(NamedTuple):
    """Samples (N, d) and labels or targets (N,), on the host."""

    x: HostArray
    y: HostArray


class Cell(NamedTuple):
    """All that one cell computed, on the host."""

    metrics: dict[str, float]
    weights: dict[str, HostArray]  # (m, d) by network
    traces: dict[str, Trace | FlowTrace]  # by network
    perturbed: attacks.Perturbed  # of the N_adv source samples
    y_adv: HostArray  # (N_adv,) their targets
    more: Mapping[str, Dataset] = {}  # what else is stored of it

    @property
    def x_adv(self) -> HostArray:
        """(N_adv, d) perturbed source samples."""
        return np.asarray(self.perturbed.x)


class KnownParts(NamedTuple):
    """Parts of a cell that are given, on the host; None: compute it.

    `perturbed` may have more rows than the cell: samples, targets and attacks of the first rows do
    not depend on how many follow.
    """

    standard: Trained | None = None
    noise: Trained | None = None
    perturbed: attacks.Perturbed | None = None
    initial: Mapping[str, HostArray] = {}  # weights (m, d) before training, by network


NOTHING = KnownParts()


class ThreeNetworks(NamedTuple):
    """Three trained networks and the attack between them, on their device."""

    trained: dict[str, Trained]  # by network
    perturbed: attacks.Perturbed
    target: Array  # (N_adv,)

    def cell(self, metrics: dict[str, float]) -> Cell:
        """All of it on the host, with its metrics."""
        weights = {name: to_host(one.net.W) for name, one in self.trained.items()}
        traces = {name: one.trace for name, one in self.trained.items()}
        perturbed = attacks.Perturbed(*map(to_host, self.perturbed))
        return Cell(metrics, weights, traces, perturbed, to_host(self.target))


def train_and_attack(
    config: CellConfig,
    natural: Labelled,
    source: Labelled,
    limits: tuple[float, float],
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    known: KnownParts = NOTHING,
) -> ThreeNetworks:
    """Train on natural samples, perturb the source within `limits`, train on both forms of it.

    What is `known` is not computed again; initial weights that are not given are drawn, (N6). Peak
    memory: natural and source samples, the perturbed ones and three W, and the training's own on
    top (see `flow` and `descent`), two (N', N') and ten (m, N') with N' = max(N, N_adv).
    """
    to_device, initial = partial(asarray, xp=xp), known.initial
    if known.standard is None:
        x, y = map(to_device, natural)
        standard = train(config, "standard", x, y, monitor, initial.get("standard"))
        del x, y
    else:
        standard = known.standard.moved(to_device)
    x, target = map(to_device, source)
    del source  # its room is needed for the last training, unless the caller keeps it
    if known.noise is None:
        plain = train(config, "noise", x, target, monitor, initial.get("noise"))
    else:
        plain = known.noise.moved(to_device)
    if known.perturbed is None:
        perturbed = attacked(config, standard.net, x, target, limits, monitor)
    else:
        perturbed = attacks.Perturbed(*(to_device(part[: len(x)]) for part in known.perturbed))
    del x
    W = initial.get("adversarial")
    adversarial = train(config, "adversarial", perturbed.x, target, monitor, W)
    trained = dict(zip(NETWORKS, (standard, plain, adversarial), strict=True))
    return ThreeNetworks(trained, perturbed, target)


def own_metrics(learned: ThreeNetworks) -> dict[str, float]:
    """What does not depend on other data: final losses, accuracies on the own training sets."""
    metrics = {f"loss_{name}": float(one.trace.loss[-1]) for name, one in learned.trained.items()}
    for name in ("noise", "adversarial"):
        metrics[f"acc_{name}_own"] = onehidden.accuracy(learned.trained[name].q)
    metrics["attack_success"] = onehidden.accuracy(learned.perturbed.margin)
    return metrics


def float16_metrics(learned: ThreeNetworks) -> dict[str, float]:
    """What float16 did: the flow time at which each training ended, the share of samples whose
    attack stalled with a gradient of zero and their mean margin, and the mean steps of all, which
    for l0 are the inputs that changed."""
    metrics = {f"stop_{name}": float(one.trace.time[-1]) for name, one in learned.trained.items()}
    done = attacks.Perturbed(*map(to_host, learned.perturbed))
    stalled = done.zero_gradient
    metrics |= {"stalled": float(stalled.mean()), "steps_made": float(done.steps.mean())}
    if stalled.any():
        metrics["stalled_margin"] = float(done.margin[stalled].mean())
    return metrics


def accuracies(learned: ThreeNetworks, samples: Labelled, suffix: str = "") -> dict[str, float]:
    """acc_NETWORK + suffix: the accuracy of each network on the samples."""
    xp = namespace(learned.target)
    x, y = (asarray(part, xp) for part in samples)
    return {
        f"acc_{name}{suffix}": onehidden.accuracy(onehidden.margins(one.net, x, y))
        for name, one in learned.trained.items()
    }


def in_words(metrics: Mapping[str, float]) -> Iterator[str]:
    """What the accuracies say, on test samples where there are any, and beside them what they can
    be held against: what was predicted; chance, or who always names the larger class."""
    for network in NETWORKS:
        suffix, what = ("_test", "test") if f"acc_{network}_test" in metrics else ("", "natural")
        if (name := f"acc_{network}{suffix}") not in metrics:
            continue
        known = []
        if network == "adversarial" and f"acc_predicted{suffix}" in metrics:
            known.append(f"predicted {metrics[f'acc_predicted{suffix}']:.3f}")
        if network == "adversarial" and metrics.get("attack_success", 1.0) < 0.5:
            known.append(f"of the perturbations {metrics['attack_success']:.2f} reach their target")
        if larger := metrics.get(f"share_larger{suffix}"):
            known.append(f"larger class {larger:.3f}")
        elif "acc_noise" in metrics:  # of two classes
            known.append("chance 0.5")
        more = f" ({', '.join(known)})" if known else ""
        yield f"{network} network: {metrics[name]:.3f} of {what} samples{more}"


def initial_network(config: CellConfig, name: str) -> onehidden.Network:
    """The network called `name` before its training, weights by seed, (N6), on the host."""
    rng = stream(config.seed, f"{name}/W")
    W = onehidden.initial_weights(config.hidden, config.inputs, rng).astype(config.dtype)
    return onehidden.network(W, config.slope)


def attacked(
    config: CellConfig,
    net: onehidden.Network,
    x: Array,
    target: Array,
    limits: tuple[float, float],
    monitor: Monitor = SILENT,
) -> attacks.Perturbed:
    """(P2) as the config says: x (N_adv, d) perturbed towards target (N_adv,) within `limits`."""
    low, high = limits
    how = attack_norm(config)
    run = partial(attack_network, net)
    if config.in_float16:
        run = partial(attack_rounded, net, loss_named(config.loss))
    with device_memory(f"the attack on {x.shape[0]} samples", _LESS_MEMORY):
        return run(x, target, how, steps=config.steps, low=low, high=high, monitor=monitor)


def train(
    config: CellConfig,
    name: str,
    x: Array,
    y: Array,
    monitor: Monitor = SILENT,
    W: HostArray | None = None,
) -> Trained:
    """The network called `name`, trained from W or its own weights on x (N, d), y (N,)."""
    loss, xp = loss_named(config.loss), namespace(x)
    with device_memory(f"training {name} on {x.shape[0]} samples", _LESS_MEMORY):
        if config.trainer == "kkt":  # the limit forgets the initial weights
            return limit_of_training(x, y, config.hidden, config.slope, loss)
        net = initial_network(config, name) if W is None else onehidden.network(W, config.slope)
        net = net._replace(W=asarray(net.W, xp), a=asarray(net.a, xp))
        if config.in_float16:
            run = partial(train_in_float16, descend=config.trainer == "gd")
            return run(net, x, y, loss, epochs=config.epochs, monitor=monitor, stage=name)
        if config.trainer == "gd":
            return descent(net, x, y, loss, epochs=config.epochs, monitor=monitor, stage=name)
        time = released_time(config.epochs)
        return flow(net, x, y, loss, time=time, monitor=monitor, stage=name)


def limit_of_training(x: Array, y: Array, hidden: int, slope: float, loss: Loss) -> Trained:
    """The KKT point (T2) as the result of a training: the direction of infinite time, scaled to
    margins of at least one. Raises and costs as `aligned_kkt`."""
    point = aligned_kkt(x, y, hidden, slope)
    mean = math.exp(float(log_mean(loss, point.q)))
    trace = Trace(np.asarray([np.inf]), np.asarray([mean]), np.asarray([0.0]))
    return Trained(point.net, asarray(point.q, namespace(x)), trace, "limit")


def whole_run(cell: Cell) -> Computed:
    """All there is of a cell: networks, traces, perturbed samples."""
    samples = labelled("adversarial", Labelled(cell.x_adv, cell.y_adv))
    return _kept(cell, samples | networks(cell))


def networks(cell: Cell) -> dict[str, Dataset]:
    """The weights of its networks."""
    return {
        f"networks/{name}/W": Dataset(W, "hidden unit, input", "1 / data units")
        for name, W in cell.weights.items()
    }


def swept(cell: Cell) -> Computed:
    """What is kept of a cell unless more is asked for: traces, and the first samples."""
    some = Labelled(cell.x_adv[:GALLERY], cell.y_adv[:GALLERY])
    return _kept(cell, labelled("adversarial", some))


def labelled(name: str, samples: Labelled) -> dict[str, Dataset]:
    return {
        f"data/{name}/x": Dataset(samples.x, "sample, input", "data units"),
        f"data/{name}/y": Dataset(samples.y, "sample", "label +1 or -1"),
    }


def _kept(cell: Cell, datasets: dict[str, Dataset]) -> Computed:
    units = {"time": "flow time", "loss": "mean loss", "step": "learning rate or flow time"}
    traces = {
        f"traces/{name}/{key}": Dataset(values, "state", units.get(key, "count"))
        for name, trace in cell.traces.items()
        for key, values in trace._asdict().items()
    }
    return Computed(cell.metrics, {**datasets, **traces, **cell.more})
