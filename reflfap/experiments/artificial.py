"""E1, one cell: does a network trained only on perturbed noise classify natural data?

The standard network learns natural samples with random labels. Noise with random targets is drawn
and perturbed against the standard network. The noise network learns the plain noise, the
adversarial network the perturbed noise; neither sees a natural sample or a natural label.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from data_loaders import artificial as data
from reflfap import attacks, onehidden
from reflfap.backend import Array, HostArray, Namespace, asarray, namespace, to_host
from reflfap.config import ArtificialConfig
from reflfap.following import perturb
from reflfap.losses import Loss, log_mean, loss_named
from reflfap.monitor import SILENT, Monitor
from reflfap.norms import Norm
from reflfap.rng import stream
from reflfap.theory.kkt import aligned_kkt
from reflfap.theory.prediction import accuracy_l0, accuracy_l2, accuracy_linf
from reflfap.training.descent import descent
from reflfap.training.flow import flow, released_time
from reflfap.training.result import FlowTrace, Trace, Trained

NETWORKS = ("standard", "noise", "adversarial")


class Cell(NamedTuple):
    """All that one cell computed, on the host."""

    metrics: dict[str, float]
    weights: dict[str, HostArray]  # (m, d) by network
    traces: dict[str, Trace | FlowTrace]  # by network
    x_adv: HostArray  # (N_adv, d) perturbed noise
    y_adv: HostArray  # (N_adv,) its targets


def natural(config: ArtificialConfig) -> tuple[HostArray, HostArray]:
    """Natural samples (N, d) and random labels (N,), by seed, on the host."""
    return _draw(config, "natural", config.n)


def noise(config: ArtificialConfig) -> tuple[HostArray, HostArray]:
    """Noise (N_adv, d) of the same distribution and random targets (N_adv,), by seed."""
    return _draw(config, "noise", config.n_adv)


def run(
    config: ArtificialConfig,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    initial: Mapping[str, HostArray] | None = None,
) -> Cell:
    """Compute one cell on the device of `xp`.

    `initial` gives initial weights (m, d) by network name; those not given are drawn, (N6). Peak
    memory: natural data, noise, perturbed noise and three W, and the training's own on top (see
    `flow` and `descent`), two (N', N') and ten (m, N') with N' = max(N, N_adv).
    Checked by test_artificial.py::test_the_phenomenon and ::test_given_weights_are_used.
    """
    x, y = (asarray(part, xp) for part in natural(config))
    standard = _train(config, "standard", x, y, monitor, initial)
    x_noise, y_noise = (asarray(part, xp) for part in noise(config))
    plain = _train(config, "noise", x_noise, y_noise, monitor, initial)
    domain = data.DISTRIBUTIONS[config.data]
    perturbed = perturb(
        standard.net,
        x_noise,
        y_noise,
        attack_norm(config),
        steps=config.steps,
        low=domain.low,
        high=domain.high,
        monitor=monitor,
    )
    del x_noise
    adversarial = _train(config, "adversarial", perturbed.x, y_noise, monitor, initial)

    trained = dict(zip(NETWORKS, (standard, plain, adversarial), strict=True))
    metrics = _metrics(config, trained, perturbed, x, y)
    weights = {name: to_host(one.net.W) for name, one in trained.items()}
    traces = {name: one.trace for name, one in trained.items()}
    return Cell(metrics, weights, traces, to_host(perturbed.x), to_host(y_noise))


def initial_network(config: ArtificialConfig, name: str) -> onehidden.Network:
    """The network called `name` before its training, weights by seed, (N6), on the host."""
    rng = stream(config.seed, f"{name}/W")
    W = onehidden.initial_weights(config.hidden, config.dim, rng).astype(config.dtype)
    return onehidden.network(W, config.slope)


def attack_norm(config: ArtificialConfig) -> Norm:
    """The constraint that `config` names, (P2)."""
    if config.norm == "l2":
        return attacks.L2(config.size)
    if config.norm == "linf":
        return (attacks.LInfSign if config.variant == "sign" else attacks.LInf)(config.size)
    return attacks.L0(config.pixels, tracked=config.variant == "tracked")


def _draw(config: ArtificialConfig, name: str, n: int) -> tuple[HostArray, HostArray]:
    x = data.samples(config.data, n, config.dim, stream(config.seed, f"{name}/x"), config.dtype)
    return x, data.labels(n, stream(config.seed, f"{name}/y"), config.dtype)


def _train(
    config: ArtificialConfig,
    name: str,
    x: Array,
    y: Array,
    monitor: Monitor,
    initial: Mapping[str, HostArray] | None,
) -> Trained:
    loss = loss_named(config.loss)
    if config.trainer == "kkt":  # the limit forgets the initial weights
        return _limit(x, y, config, loss)
    if initial is not None and name in initial:
        net = onehidden.network(initial[name], config.slope)
    else:
        net = initial_network(config, name)
    xp = namespace(x)
    net = net._replace(W=asarray(net.W, xp), a=asarray(net.a, xp))
    if config.trainer == "gd":
        return descent(net, x, y, loss, epochs=config.epochs, monitor=monitor, stage=name)
    time = released_time(config.epochs)
    return flow(net, x, y, loss, time=time, monitor=monitor, stage=name)


def _limit(x: Array, y: Array, config: ArtificialConfig, loss: Loss) -> Trained:
    """The direction of infinite time, scaled to margins of at least one, as a training result."""
    point = aligned_kkt(x, y, config.hidden, config.slope)
    mean = math.exp(log_mean(loss, point.q))
    trace = Trace(np.asarray([np.inf]), np.asarray([mean]), np.asarray([0.0]))
    return Trained(point.net, asarray(point.q, namespace(x)), trace, "limit")


def _metrics(
    config: ArtificialConfig,
    trained: Mapping[str, Trained],
    perturbed: attacks.Perturbed,
    x: Array,
    y: Array,
) -> dict[str, float]:
    """Accuracies acc_* on the natural data, acc_*_own on each network's own training set."""
    metrics = {}
    for name, one in trained.items():
        metrics[f"acc_{name}"] = onehidden.accuracy(onehidden.margins(one.net, x, y))
        metrics[f"loss_{name}"] = float(one.trace.loss[-1])
    for name in ("noise", "adversarial"):
        metrics[f"acc_{name}_own"] = onehidden.accuracy(trained[name].q)
    metrics["attack_success"] = onehidden.accuracy(perturbed.margin)
    metrics["acc_predicted"] = predicted(config)
    return metrics


def predicted(config: ArtificialConfig) -> float:
    """The accuracy of the adversarial network that (L4) predicts for a cell, without running it.

    Checked by test_artificial.py::test_the_prediction_knows_the_cell.
    """
    domain = data.DISTRIBUTIONS[config.data]
    sizes = (config.dim, config.n, config.n_adv)
    if config.norm == "l2":
        return accuracy_l2(*sizes, config.size, domain.variance)
    if config.norm == "linf":
        return accuracy_linf(*sizes, config.size, domain.variance, str(config.variant))
    return accuracy_l0(*sizes, config.pixels, domain.variance, math.isfinite(domain.high))
