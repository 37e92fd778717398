"""(E7): the successor's experiment, (W1) to (W4): wide networks with biases, any data, short times.

f learns samples (X, y). Every sample gets a random target and is perturbed by one gradient step
against f. g learns the perturbations alone, or the perturbed samples, with those targets. Does g
classify X as y says, and does it agree with f on new samples? And do the closed forms say so?
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from reflfap import onehidden
from reflfap.backend import Array, HostArray, asarray, device_memory, namespace
from reflfap.data_loaders import artificial
from reflfap.experiments.experiment import (
    Computed,
    Estimate,
    Experiment,
    Inputs,
)
from reflfap.experiments.wide_config import PAIRS, SWEEPS, WideConfig, sweeps, together
from reflfap.experiments.wide_plane import (
    WideOptions,
    class_means_plane,
    plane_needed,
    wide_plane,
)
from reflfap.monitor import Monitor
from reflfap.norms import row_norms
from reflfap.rng import stream
from reflfap.theory import lazy
from reflfap.training.descent import descent
from reflfap.training.flow import flow
from reflfap.training.identity import identity_descent, identity_flow
from reflfap.training.result import Trained

SHIFT = 0.3
"""Of the mean of each coordinate of shifted-gauss, by the label."""

FRESH = 1_000
"""New samples, on which f and g are compared."""

POINTS = 2_000
"""Samples, at most, on which the closed forms are asked for; of those that were learned."""


class WideSamples(NamedTuple):
    """Samples with a 1 as last input, on their device."""

    x: Array  # (N, d + 1)
    y: Array  # (N,)
    z: Array  # (n, d + 1) new samples
    z_y: Array | None  # (n,) their labels, where they have any
    gram: Array | None  # (N, N) x x^T, where the trainers take it


class Limits(NamedTuple):
    """The closed forms of a problem: what f learns, and what perturbations are made of."""

    points: Array  # (p + n, d): the first samples, then the new ones
    known: int  # p
    fhat: Array  # (p + n,)
    released: Array  # (p + n,) the same without biases
    made_of: lazy.Combined


class New(NamedTuple):
    """f and g on the new samples, (n,)."""

    f: Array
    g: Array


class Kept:
    """The last thing that was made, by key: cells of a sweep that follow each other share it.

    It is let go before the next one is made, which may need its room.
    """

    def __init__(self) -> None:
        self.last: tuple[Any, Any] = (None, None)

    def __call__(self, key: Any, make: Callable[[], Any]) -> Any:
        if self.last[0] != key:
            self.last = (None, None)
            self.last = (key, make())
        return self.last[1]


_problems, _limits, _networks = Kept(), Kept(), Kept()


def wide_samples(config: WideConfig, inputs: Inputs) -> WideSamples:
    """The samples of a cell, by seed; f and g learn from the same ones whatever else is chosen."""
    if config.data in PAIRS:
        x, y, z, z_y = _images(config, inputs)
    else:
        x, y = _drawn(config, "natural", config.samples)
        z, z_y = _drawn(config, "test", FRESH)
    labels = None if config.data == "gauss" else asarray(z_y, inputs.xp)
    x, y, z = (asarray(part, inputs.xp) for part in (x, y, z))
    x = onehidden.with_constant(x)
    gram = x @ x.T if x.shape[0] <= 2 * x.shape[1] else None
    return WideSamples(x, y, onehidden.with_constant(z), labels, gram)


def _drawn(config: WideConfig, name: str, n: int) -> tuple[HostArray, HostArray]:
    rng = stream(config.seed, f"{name}/x")
    x = artificial.samples("gauss", n, config.inputs, rng, config.dtype)
    y = artificial.labels(n, stream(config.seed, f"{name}/y"), config.dtype)
    if config.data == "shifted-gauss":
        y = _halves(n).astype(config.dtype)
        x += (SHIFT * y)[:, None]
    return x, y


def _images(
    config: WideConfig, inputs: Inputs
) -> tuple[HostArray, HostArray, HostArray, HostArray]:
    """Training and test images of the pair, pixels on [0, 1] less the mean, labels +1 and -1."""
    pair, found = PAIRS[config.data], []
    for split in ("train", "test"):
        chosen = inputs.images(config.data, split).classes(*pair.classes)
        order = stream(config.seed, f"{split}/order").permutation(len(chosen.labels))
        order = order[: config.samples] if split == "train" else order
        x = chosen.images.reshape(len(chosen.labels), -1)[order].astype(config.dtype)
        x /= np.asarray(255, x.dtype)
        x -= np.asarray(pair.mean, x.dtype)
        found += [x, (1 - 2 * chosen.labels[order]).astype(config.dtype)]
    return found[0], found[1], found[2], found[3]


def limits(part: WideSamples, slope: float) -> Limits:
    """What (W1) and (W2) say, on some of the samples learned and on all new ones."""
    xp, x, known = namespace(part.x), part.x[:, :-1], min(POINTS, len(part.x))
    points = xp.concatenate([x[:known], part.z[:, :-1]])
    made_of = lazy.combined(x, part.y, slope, part.gram)
    fhat, released = (lazy.lazy_function(points, x, part.y, slope, one) for one in (1.0, 0.0))
    return Limits(points, known, fhat, released, made_of)


def start_network(config: WideConfig, name: str, xp: Any) -> onehidden.Network:
    """f or g before training, by seed."""
    rng = stream(config.seed, f"{name}/W")
    W, a = onehidden.wide_start(config.hidden, config.inputs, rng)
    W, a = (asarray(part.astype(config.dtype), xp) for part in (W, a))
    return onehidden.Network(W, a, config.slope)


def learner(
    config: WideConfig, name: str, x: Array, y: Array, gram: Array | None, monitor: Monitor
) -> Trained:
    """f or g, trained on x (N, d + 1), y (N,)."""
    net, (epochs, rate) = start_network(config, name, namespace(x)), config.course(name)
    more: dict[str, Any] = {"monitor": monitor, "stage": name}
    with device_memory(f"training {name} on {x.shape[0]} samples", "use fewer samples"):
        if config.trainer == "gd" and config.loss == "identity":
            return identity_descent(net, x, y, epochs=epochs, rate=rate, gram=gram, **more)
        if config.trainer == "gd":
            return descent(net, x, y, config.loss, epochs=epochs, rate=rate, **more)
        if config.loss == "identity":
            return identity_flow(net, x, y, time=config.time(name), gram=gram, **more)
        return flow(net, x, y, config.loss, time=config.time(name), **more)


def drawn_targets(config: WideConfig, n: int) -> HostArray:
    """Targets t (n,), by seed, which nothing else depends on."""
    rng = stream(config.seed, "target/y")
    if config.targets == "balanced":
        return rng.permutation(_halves(n)).astype(config.dtype)
    return artificial.labels(n, rng, config.dtype)


def _halves(n: int) -> HostArray:
    """+1 and -1 in turn, (n,)."""
    return np.where(np.arange(n) % 2 == 0, 1.0, -1.0)


def gradient_directions(net: onehidden.Network, x: Array) -> Array:
    """(W2): (df/dx)/||df/dx||_2, (N, d), at x (N, d + 1), and 0 where no unit is on."""
    _, gradient = onehidden.margin_gradient(net, x, namespace(x).ones_like(x[:, 0]))
    gradient = gradient[:, :-1]
    tiny = namespace(x).finfo(x.dtype).tiny
    gradient /= namespace(x).maximum(row_norms(gradient), tiny)[:, None]
    return gradient


def compute(config: WideConfig, inputs: Inputs, monitor: Monitor) -> Computed:
    """One cell, with its plane if asked. What it has in common with the one before is taken from
    there."""
    samples, own = together(config)
    files = [inputs.images(*one).sha256 for one in reads(config)]
    key = (samples, inputs.xp.__name__, *files)
    part: WideSamples = _problems(key, lambda: wide_samples(config, inputs))
    known: Limits = _limits((key, config.slope), lambda: limits(part, config.slope))
    x, y, shown = part.x, part.y, bool(plane_needed(inputs.options))
    if shown:
        class_means_plane(x[:, :-1], y)  # refused before anything is trained
    f: Trained = _networks((key, own), lambda: learner(config, "f", x, y, part.gram, monitor))
    v = gradient_directions(f.net, x)
    t = asarray(drawn_targets(config, len(x)), inputs.xp)
    found = {"cosine": cosine(known.made_of.u, v)}
    v *= (config.size * t)[:, None]
    if config.scenario == "samples":
        v += x[:, :-1]
    r = onehidden.with_constant(v)
    del v
    g = learner(config, "g", r, t, None, monitor)
    del r
    on_new = New(*(onehidden.forward(one.net, part.z)[0] for one in (f, g)))
    found |= measured(part, f, g, on_new) | closed_forms(config, part, known, t, on_new)
    nets = {"f": f.net, "g": g.net}
    plane = wide_plane(config, x[:, :-1], y, known.made_of.u, t, nets) if shown else {}
    return Computed({name: float(value) for name, value in found.items()}, plane)


def cosine(u: Array, v: Array) -> Array:
    """Mean over n of |cos(u_n, v_n)|, of v_n of length one."""
    xp = namespace(u)
    inner = (u[:, None, :] @ v[:, :, None])[:, 0, 0]
    return xp.mean(xp.abs(inner) / xp.maximum(row_norms(u), xp.finfo(u.dtype).tiny))


def fraction(condition: Array) -> float:
    """Of an array of booleans, how many are true."""
    xp = namespace(condition)
    return float(xp.mean(xp.astype(condition, xp.float64)))


def measured(part: WideSamples, f: Trained, g: Trained, on_new: New) -> dict[str, float]:
    """Accuracies of f and g on what f learned, and on new samples if they have labels; how often
    their signs agree there."""
    f_z, g_z = on_new
    g_x = onehidden.forward(g.net, part.x)[0]
    found = {"acc_f": fraction(f.q > 0), "acc_g": fraction(part.y * g_x > 0)}
    found["agreement"] = fraction(f_z * g_z > 0)
    if part.z_y is not None:
        found |= {"acc_f_test": fraction(part.z_y * f_z > 0)}
        found |= {"acc_g_test": fraction(part.z_y * g_z > 0)}
    return found


def closed_forms(
    config: WideConfig, part: WideSamples, known: Limits, t: Array, on_new: New
) -> dict[str, float]:
    """The same of fhat and ghat, (W1) and (W3), and on how many new samples the conditions of (W4)
    hold. `_released` is without biases, `_targets` with what else g learns of these targets."""
    x = part.x[:, :-1] if config.scenario == "samples" else None
    u, at = known.made_of.u, config.slope
    both = lazy.taught(known.points, x, u, t, config.size, at)
    p, y = known.known, part.y[: known.known]
    signal, whole = config.size * both.signal, both.whole(config.size)
    f_z, g_z = on_new
    fhat, z = known.fhat, known.points[p:]
    times = config.time("f"), config.time("g")
    spread = lazy.kernel_spread(known.made_of.low, known.made_of.high)
    return {
        "acc_f_predicted": fraction(y * fhat[:p] > 0),
        "acc_f_predicted_released": fraction(y * known.released[:p] > 0),
        "acc_g_predicted": fraction(y * both.signal[:p] > 0),
        "acc_g_predicted_targets": fraction(y * whole[:p] > 0),
        "agreement_predicted": fraction(fhat[p:] * both.signal[p:] > 0),
        "agreement_predicted_targets": fraction(fhat[p:] * whole[p:] > 0),
        "agreement_f_fhat": fraction(fhat[p:] * f_z > 0),
        "agreement_g_ghat": fraction(whole[p:] * g_z > 0),
        "start_outgrown": fraction(lazy.start_outgrown(u, at, times[0]) > 1),
        "condition_coherence": fraction(lazy.coherence(z, part.x[:, :-1], part.y) > spread),
        "condition_f": fraction(lazy.signal_decides(times[0] * fhat[p:], f_z)),
        "condition_g": fraction(lazy.signal_decides(times[1] * signal[p:], g_z)),
        "kernel_spread": spread,
    }


def reads(config: WideConfig) -> list[tuple[str, str]]:
    """The image sets of a cell."""
    return [(config.data, split) for split in ("train", "test")] if config.data in PAIRS else []


def in_lines(metrics: Mapping[str, float]) -> Iterator[str]:
    """What the metrics say."""
    yield f"f: {metrics['acc_f']:.3f} of the samples (fhat {metrics['acc_f_predicted']:.3f})"
    yield (
        f"g, which learned perturbations: {metrics['acc_g']:.3f} of the same samples "
        f"(ghat {metrics['acc_g_predicted']:.3f}, with these targets "
        f"{metrics['acc_g_predicted_targets']:.3f}, chance 0.5)"
    )
    yield f"on new samples f and g agree in {metrics['agreement']:.3f}"


FLOW_STEPS = 70
"""Of the flow of the identity loss to the released time."""


def wide_cost(config: WideConfig) -> Estimate:
    """A cell on its own, its plane not counted; those after it on the same samples need the last
    training alone."""
    n, d, m = config.samples, config.inputs, config.hidden
    whole = n <= 2 * d
    spread = 2.0 * m * n * (n if whole else 2 * d)
    steps = [FLOW_STEPS, FLOW_STEPS]
    if config.trainer == "gd":
        steps = [config.course(name)[0] for name in ("f", "g")]
    elif config.loss == "logistic":
        steps = [4 * FLOW_STEPS] * 2
    points = min(n, POINTS) + FRESH
    closed = 4.0 * n * n * d + 100.0 * n * n + 10.0 * n * points * d
    flops = sum(steps) * spread + (2.0 * n * n * d if whole else 0.0) + closed
    entries = 3 * n * d + 2 * n * n * whole + 12 * m * n + 4 * lazy.BLOCK + points * d
    if config.loss == "logistic":
        entries += 2 * n * n
    return Estimate(flops, float(np.dtype(config.dtype).itemsize * entries))


EXPERIMENT = Experiment(
    config=WideConfig,
    summary="Learn from one-step perturbations with wide networks, any data (E7).",
    compute=compute,
    cost=wide_cost,
    options=WideOptions,
    needed=plane_needed,
    reads=reads,
    words=in_lines,
    presets={
        **{"-".join(one): partial(sweeps, *one) for one in SWEEPS},
        "all": lambda: [table for one in SWEEPS for table in sweeps(*one)],
        "smoke": lambda: [{"n": 100, "hidden": 20, "dim": 20, "epsilon": (0.0, 0.01, 0.1)}],
    },
    accuracies=("acc_f", "acc_g"),
    together=together,
)
