"""Adversarial perturbations (P2): projected gradient descent, one loop for every norm.

The loop climbs a margin q(x, y_adv), any function that falls as the loss grows; it imports no
network. A norm is a small object whose `step` moves a perturbation eta along a gradient and puts it
back into the constraint set. Then the data range is applied, and the best iterate is kept.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from threadpoolctl import threadpool_limits

from reflfap import checks
from reflfap.backend import Array, asarray, device_memory, namespace, on_host, slices, to_host
from reflfap.errors import refuse
from reflfap.losses import Loss, value
from reflfap.monitor import SILENT, Monitor
from reflfap.norms import L0, L2, LInf, LInfSign, Norm, check_norm, row_peaks

__all__ = ["L0", "L2", "LInf", "LInfSign", "attack"]

MarginFunction = Callable[[Array, Array], tuple[Array, Array]]
"""(x (n, d), target (n,)) -> (margins (n,), gradients of the margins with respect to x (n, d))."""

CHUNK_ELEMENTS = 2**22
"""Default size of a chunk, n d: 16 MiB in float32. Larger gains nothing, smaller slows the products
of a margin function (measured, benchmarks/attack.py)."""

DEVICE_CHUNK_ELEMENTS = 2**26
"""The same on a device, whose kernels take longer to start than to go through a small chunk. It is
256 MiB in float32: a choice by reckoning, not measured."""


class Point(NamedTuple):
    """A model evaluated at samples: arrays with one row a sample."""

    q: Array  # (n,) margins
    g: Array  # (n, d) their gradients with respect to the samples
    cache: tuple[Array, ...] = ()  # what the model wants to see again


class Move(NamedTuple):
    """How the samples x came from those before, for models that can use it.

    x equals `reference` but for some entries, and with g the gradient before
    reference = x0 + keep (x_before - x0) + along g.
    """

    x: Array  # (n, d)
    reference: Array  # (n, d)
    keep: Array  # (n,)
    along: Array  # (n,)


class Model(Protocol):
    """Margins that follow the samples along their path; a method `climb`, if any, is its loop."""

    def start(self, x: Array, target: Array) -> Point: ...

    def follow(self, before: Point, move: Move, target: Array) -> Point:
        """The model at move.x; may overwrite `before`."""


class Evaluated(NamedTuple):
    """A margin function as a model: evaluated anew wherever the samples go."""

    margin: MarginFunction

    def start(self, x: Array, target: Array) -> Point:
        found = self.margin(x, target)
        parts = found if isinstance(found, tuple) else ()
        got = [tuple(getattr(one, "shape", ())) for one in parts]
        if got != [tuple(target.shape), tuple(x.shape)]:
            expected = f"margins {tuple(target.shape)} and gradients {tuple(x.shape)} from it"
            refuse("margin", expected, f"shapes {got}", "return one of each for each sample")
        return Point(*found)

    def follow(self, before: Point, move: Move, target: Array) -> Point:
        return self.start(move.x, target)


class Perturbed(NamedTuple):
    """The best iterate of each sample, and how the attack went."""

    x: Array  # (N, d) perturbed samples
    margin_start: Array  # (N,) margins towards the target before the attack
    margin: Array  # (N,) and after it; never smaller
    steps: Array  # (N,) int64: steps that changed the sample, or the attack's memory of it
    zero_gradient: Array  # (N,) bool: stopped by a gradient of zero, subnormal numbers included

    @property
    def success(self) -> Array:
        """(N,) bool: classified as the target."""
        return self.margin > 0

    def __repr__(self) -> str:
        n, d = self.x.shape
        share = float(to_host(self.success).mean())
        return f"Perturbed({n} samples, d={d}, success={share:.3f}, {self.x.dtype})"

    def losses(self, loss: Loss) -> tuple[Array, Array]:
        """Per-sample losses before and after, (N,) float64."""
        return value(loss, self.margin_start), value(loss, self.margin)


def attack(
    margin: MarginFunction | Model,
    x: Array,
    target: Array,
    norm: Norm,
    *,
    steps: int,
    low: float | Array = -math.inf,
    high: float | Array = math.inf,
    start: Array | None = None,
    chunk: int | None = None,
    workers: int = 1,
    monitor: Monitor = SILENT,
    stage: str = "attack",
) -> Perturbed:
    """(P2): perturb samples x (N, d) towards `target` (N,) within `norm` and [low, high].

    The data range is two numbers, or (d,) arrays of one for each feature. The first step is made
    from x, or from x + `start`, perturbations (N, d) within the norm. Each step: eta <-
    norm.step(x - x0, dq/dx), x <- clip(x0 + eta, low, high). x itself and the last iterate count;
    the best is kept by margin, which cannot underflow as a loss can. A sample that no longer
    changes, or whose gradient has no direction (zero, or all of it subnormal), would never change
    again and leaves the working set. Works on `chunk` rows at a time, by default CHUNK_ELEMENTS
    entries, and with `workers` on so many chunks at once, each in a thread whose BLAS has one: of
    use for models that seldom multiply matrices. Memory besides x and the result: some ten chunks
    a worker. dtype and namespace are those of x. Costs at most `steps` + 1 evaluations of the
    margin, with a `start` one more.

    Raises InputError for bad input, NonFiniteError naming step and sample of what is not finite (on
    a device the sample alone), DeviceMemoryError suggesting a chunk.
    """
    limits = _check(margin, x, target, norm, steps, low, high)
    if start is not None:
        checks.same_shape("start", start, x, "x")
    n = x.shape[0]
    if chunk is None:
        size = CHUNK_ELEMENTS if on_host(namespace(x)) else DEVICE_CHUNK_ELEMENTS
        chunk = max(1, size // x.shape[1])
    checks.whole_number("chunk", chunk, least=1)
    checks.whole_number("workers", workers, least=1)
    how = Attack(Evaluated(margin) if callable(margin) else margin, norm, steps, limits)
    own = getattr(how.model, "climb", climb)
    result, done = _begin(x, monitor.restore(stage))
    monitor.begin(stage, n, "sample", done)

    def climbed(rows: slice) -> Perturbed:
        eta = None if start is None else start[rows]
        return own(how, x[rows], target[rows], rows.start, eta)

    chunks = slices(n, chunk, done)
    remedy = f"attack with chunk={max(1, chunk // 2)}, or fewer samples"
    with device_memory(f"{chunk} samples of the attack at once", remedy):
        for rows, part in zip(chunks, _in_threads(climbed, chunks, workers), strict=True):
            for whole, piece in zip(result, part, strict=True):
                whole[rows] = piece
            monitor.advance(rows.stop - rows.start)
            if monitor.due():
                monitor.keep(stage, _state(result, rows.stop))
    monitor.keep(stage, _state(result, n))
    monitor.end()
    return result


class Attack(NamedTuple):
    """What an attack is, whatever it is made on."""

    model: Model
    norm: Norm
    steps: int
    limits: tuple[float | Array, float | Array]  # of the data

    def inside(self, x: Array) -> Array:
        """x (n, d) put back into the data range."""
        if all(isinstance(one, float) and math.isinf(one) for one in self.limits):
            return x
        return namespace(x).clip(x, *self.limits)


def climb(
    how: Attack, x0: Array, target: Array, offset: int, eta: Array | None = None
) -> Perturbed:
    """The loop, on one chunk whose first row is row `offset` of the whole, from x0 + eta.

    On a device the host does not wait before its end, so it cannot know who is done: those stay
    where they are, and would in each further step; all steps are made.
    """
    xp = namespace(x0)
    watched, active = on_host(xp), xp.arange(x0.shape[0])
    point, when = how.model.start(x0, target), "the start of the attack"
    if watched:
        _check_finite(point.q, "margin", when, active + offset)
    x, best, q_start, q_best = x0, x0.copy(), point.q, point.q.copy()
    used, zero_gradient = xp.zeros_like(active), active < 0
    finite_q, finite_g = xp.isfinite(q_start), active >= 0
    memory: Array | None = None
    first = 1 if eta is None else 0  # step 0 goes to where the first one starts
    for step in range(first, how.steps + 1):
        peak = row_peaks(point.g)
        if watched:
            _check_finite(peak, "gradient", when, active + offset)
        if step == 0:
            move = Move(how.inside(x0 + eta), x0, xp.ones_like(q_start), xp.zeros_like(q_start))
            moves, zero = active >= 0, active < 0
        else:
            move, memory, moves, zero = stepped(how, x0, x, point.g, peak, memory)
        zero_gradient[active] |= zero
        if not watched:
            move = move._replace(x=xp.where(moves[:, None], move.x, x))
        elif not bool(xp.all(moves)):
            if not bool(xp.any(moves)):
                break
            active, x0, target = active[moves], x0[moves], target[moves]
            move = Move(*(part[moves] for part in move))
            cache = tuple(part[moves] for part in point.cache)
            point = Point(point.q[moves], point.g[moves], cache)
            memory = None if memory is None else memory[moves]
        point, x = how.model.follow(point, move, target), move.x
        better = point.q > q_best[active]
        if watched:
            when = f"attack step {step}"
            _check_finite(point.q, "margin", when, active + offset)
            used[active] += step > 0
            best[active[better]] = x[better]
            q_best[active[better]] = point.q[better]
        else:
            finite_g &= xp.isfinite(peak) | ~finite_q  # what a margin that is NaN had before it
            finite_q &= xp.isfinite(point.q)
            used += xp.astype(moves & (step > 0), used.dtype)
            best = xp.where(better[:, None], x, best)
            q_best = xp.where(better, point.q, q_best)
    if not watched:
        when = f"{when} or one of its {how.steps} steps"
        _check_finite(xp.where(finite_g, q_start, xp.nan), "gradient", when, active + offset)
        _check_finite(xp.where(finite_q, q_best, xp.nan), "margin", when, active + offset)
    return Perturbed(best, q_start, q_best, used, zero_gradient)


def _check_finite(values: Array, what: str, when: str, sample: Array) -> None:
    remedy = "check the margin function there, or the network's weights"
    checks.finite_or_raise(values, what, when, remedy, sample)


def stepped(
    how: Attack, x0: Array, x: Array, g: Array, peak: Array, memory: Array | None
) -> tuple[Move, Array | None, Array, Array]:
    """One step of all samples x (n, d) along gradients g with peaks (n,), into the data range:
    where to, the norm's memory, and (n,) bool which samples move or whose memory changed, and
    whose gradient has no direction."""
    xp = namespace(x0)
    # below, 1/peak may overflow, and entries have lost the digits that would tell a direction
    zero = peak < xp.finfo(peak.dtype).smallest_normal
    scale = xp.where(zero, 0.0, 1 / xp.where(zero, 1.0, peak))
    done = how.norm.step(x - x0, g * scale[:, None], memory)
    reference = done.eta
    reference += x0
    inside = how.inside(reference)
    if done.keep is None or done.along is None:
        move = Move(inside, x, xp.ones_like(scale), xp.zeros_like(scale))
    else:
        move = Move(inside, reference, done.keep, done.along * scale)
    moves = xp.any(inside != x, axis=1)
    if done.memory is not None and memory is not None:
        moves = moves | xp.any(done.memory != memory, axis=1)
    elif done.memory is not None:  # the first step is what gave it one
        moves = moves | True
    return move, done.memory, moves & ~zero, zero


def _in_threads(
    climb: Callable[[slice], Perturbed], chunks: list[slice], workers: int
) -> Iterator[Perturbed]:
    """map, in order, with so many threads; those not begun are dropped when the caller leaves."""
    if workers == 1:
        yield from map(climb, chunks)
        return
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(climb, chunks)


def _begin(x: Array, kept: Mapping[str, Any] | None) -> tuple[Perturbed, int]:
    """An empty result for x, filled with the rows of a kept state, and the number of those."""
    xp, n = namespace(x), x.shape[0]
    dtypes = x.dtype, x.dtype, xp.int64, xp.bool
    result = Perturbed(xp.empty_like(x), *(xp.empty(n, dtype=dtype) for dtype in dtypes))
    if kept is None:
        return result, 0
    done = len(kept["margin"])
    for name, whole in result._asdict().items():
        whole[:done] = asarray(kept[name], xp)
    return result, done


def _state(result: Perturbed, done: int) -> dict[str, Any]:
    return {name: whole[:done] for name, whole in result._asdict().items()}


def _check(
    margin: object,
    x: Array,
    target: Array,
    norm: Norm,
    steps: int,
    low: float | Array,
    high: float | Array,
) -> tuple[float | Array, float | Array]:
    """What `attack` asks for; the data range."""
    if not (callable(margin) or hasattr(margin, "start")):
        expected, remedy = "a margin function or a model", "for a network use attack_network"
        refuse("margin", expected, type(margin).__name__, remedy)
    if not hasattr(norm, "step"):
        refuse("norm", "L2, LInf, LInfSign or L0", repr(norm), "give one, such as L2(0.78)")
    checks.samples_and_targets(x, target)
    checks.whole_number("steps", steps, least=0)
    check_norm(norm)
    return data_range(x, low, high)


def data_range(
    x: Array, low: float | Array, high: float | Array
) -> tuple[float | Array, float | Array]:
    """The limits of samples x (N, d) as floats, or as (d,) arrays of the kind of x.

    InputError unless low < high, and all samples are within.
    """
    xp, limits = namespace(x), (_limit("low", low, x), _limit("high", high, x))
    low, high = limits
    ordered = low < high  # of numbers nothing has to be read from a device
    if not (ordered if isinstance(ordered, bool) else bool(xp.all(ordered))):
        refuse("low, high", "low < high", f"{low}, {high}", "give the data range in order")
    if bool(xp.any(xp.min(x, axis=0) < low)) or bool(xp.any(xp.max(x, axis=0) > high)):
        refuse("x", f"values in [{low}, {high}]", "values outside", "rescale x or widen it")
    return limits


def _limit(name: str, limit: Any, x: Array) -> float | Array:
    """An end of the data range as a float, or as an array of one number for each feature of x."""
    if getattr(limit, "ndim", 0) == 0:
        return float(limit)
    namespace(x, limit)
    if tuple(limit.shape) != (x.shape[1],) or limit.dtype != x.dtype:
        got = f"{limit.dtype}, shape {tuple(limit.shape)}"
        refuse(name, f"a number, or {x.dtype} of shape ({x.shape[1]},)", got, "convert it")
    return limit
