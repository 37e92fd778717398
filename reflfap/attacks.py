"""Adversarial perturbations (P2): projected gradient descent, one loop for every norm.

The loop climbs a margin q(x, y_adv), any function that falls as the loss grows; it imports no
network. A norm is a small object: `step` moves a perturbation eta along a gradient, `project` puts
it back into the constraint set. Then the data range is applied, and the best iterate is kept.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from reflfap import checks
from reflfap.backend import Array, asarray, namespace, to_host
from reflfap.errors import refuse
from reflfap.losses import Loss, value
from reflfap.monitor import SILENT, Monitor

MarginFunction = Callable[[Array, Array], tuple[Array, Array]]
"""(x (n, d), target (n,)) -> (margins (n,), gradients of the margins with respect to x (n, d))."""

CHUNK_ELEMENTS = 2**22
"""Default size of a chunk, n d: 16 MiB in float32. Larger gains nothing, smaller slows the products
(measured, benchmarks/attack.py)."""


class Norm(Protocol):
    """A constraint set and the way to move in it; arrays are (n, d), memory is None or (n, d).

    Both methods may overwrite what they are given: at the paper's size, fresh arrays would take as
    long as a fifth of the products.
    """

    def step(self, eta: Array, g: Array, memory: Array | None) -> tuple[Array, Array | None]:
        """eta moved along g, whose rows are zero or of largest magnitude one, and the memory."""

    def project(self, eta: Array) -> Array:
        """eta put back into the constraint set."""


class L2(NamedTuple):
    """||eta||_2 <= radius: eta + (radius/5) g/||g||_2, then scaled back into the ball, (P2)."""

    radius: float

    def step(self, eta: Array, g: Array, memory: None) -> tuple[Array, None]:
        g *= (self.radius / 5 / namespace(g).maximum(row_norms(g), 1.0))[:, None]  # or g = 0
        eta += g
        return eta, None

    def project(self, eta: Array) -> Array:
        eta *= _shrink(self.radius, row_norms(eta))[:, None]
        return eta


class LInf(NamedTuple):
    """||eta||_inf <= radius as released (`rescale`), (P2): g/||g||_inf, then scaled back."""

    radius: float

    def step(self, eta: Array, g: Array, memory: None) -> tuple[Array, None]:
        g *= self.radius / 5
        eta += g
        return eta, None

    def project(self, eta: Array) -> Array:
        eta *= _shrink(self.radius, row_peaks(eta))[:, None]
        return eta


class LInfSign(NamedTuple):
    """||eta||_inf <= radius, textbook (`sign`), (P2): sgn(g), then clipped coordinate-wise."""

    radius: float

    def step(self, eta: Array, g: Array, memory: None) -> tuple[Array, None]:
        return eta + namespace(g).sign(g) * (self.radius / 5), None

    def project(self, eta: Array) -> Array:
        return namespace(eta).clip(eta, -self.radius, self.radius)


class L0(NamedTuple):
    """At most `pixels` entries of eta differ from zero, (P2).

    Each step adds the not yet changed pixel with the largest |g|, then moves all changed ones by
    0.3 g/||g||_inf. With `tracked`, the chosen pixels are remembered. Without, as released, they
    are found by eta != 0: a pixel clipped back onto its start is chosen again, and may stall.
    """

    pixels: int
    tracked: bool = False

    def step(self, eta: Array, g: Array, memory: Array | None) -> tuple[Array, Array | None]:
        xp = namespace(g)
        changed = eta != 0 if memory is None else memory
        new = xp.argmax(xp.abs(g) - 2 * xp.astype(changed, g.dtype), axis=1)  # |g| <= 1
        room = xp.sum(xp.astype(changed, xp.int64), axis=1) < self.pixels
        changed = changed | ((xp.arange(g.shape[1]) == new[:, None]) & room[:, None])
        return eta + g * (0.3 * xp.astype(changed, g.dtype)), changed if self.tracked else None

    def project(self, eta: Array) -> Array:
        return eta


class Perturbed(NamedTuple):
    """The best iterate of each sample, and how the attack went."""

    x: Array  # (N, d) perturbed samples
    margin_start: Array  # (N,) margins towards the target before the attack
    margin: Array  # (N,) and after it; never smaller
    steps: Array  # (N,) int64: steps that changed the sample, or the attack's memory of it
    zero_gradient: Array  # (N,) bool: stopped by a gradient that is exactly zero

    @property
    def success(self) -> Array:
        """(N,) bool: classified as the target."""
        return self.margin > 0

    def losses(self, loss: Loss) -> tuple[Array, Array]:
        """Per-sample losses before and after, (N,) float64."""
        return value(loss, self.margin_start), value(loss, self.margin)


def attack(
    margin: MarginFunction,
    x: Array,
    target: Array,
    norm: Norm,
    *,
    steps: int,
    low: float = -math.inf,
    high: float = math.inf,
    chunk: int | None = None,
    monitor: Monitor = SILENT,
    stage: str = "attack",
) -> Perturbed:
    """Perturb samples x (N, d) towards `target` (N,) within `norm` and the range [low, high], (P2).

    Each step: eta <- project(step(x - x0, dq/dx)), x <- clip(x0 + eta, low, high). The start and
    the last iterate count; the best is kept by margin, which cannot underflow as a loss can. A
    sample that no longer changes, or whose gradient is exactly zero, would never change again and
    leaves the working set. Works on `chunk` rows at a time, by default CHUNK_ELEMENTS entries:
    memory besides x and the result is about ten chunks. dtype and namespace are those of x.
    Costs at most `steps` + 1 calls of `margin` a chunk.

    Raises InputError for bad input, NonFiniteError naming step and sample for a NaN margin.
    Checked by test_attacks.py::test_constraint_and_range_hold, ::test_never_worse_than_the_start,
    ::test_batch_split_changes_nothing and ::test_gradient_scale_is_irrelevant.
    """
    _check(x, target, norm, steps, low, high)
    n = x.shape[0]
    if chunk is None:
        chunk = max(1, CHUNK_ELEMENTS // x.shape[1])
    checks.whole_number("chunk", chunk, least=1)
    result, done = _begin(x, monitor.restore(stage))
    monitor.begin(stage, n, "sample", done)
    for first in range(done, n, chunk):
        rows = slice(first, min(first + chunk, n))
        part = _climb(margin, x[rows], target[rows], norm, steps, (low, high), first)
        for whole, piece in zip(result, part, strict=True):
            whole[rows] = piece
        monitor.advance(rows.stop - first)
        if monitor.due():
            monitor.keep(stage, _state(result, rows.stop))
    monitor.keep(stage, _state(result, n))
    monitor.end()
    return result


def _climb(
    margin: MarginFunction,
    x0: Array,
    target: Array,
    norm: Norm,
    steps: int,
    limits: tuple[float, float],
    first: int,
) -> Perturbed:
    """The loop, on one chunk whose first row is row `first` of the whole."""
    xp = namespace(x0)
    active = xp.arange(x0.shape[0])
    q, g = margin(x0, target)
    checks.finite_or_raise(q, "margin", "the start of the attack", active + first)
    x, best, q_start, q_best = x0, x0.copy(), q, q.copy()
    used, zero_gradient = xp.zeros_like(active), active < 0
    memory: Array | None = None
    for step in range(1, steps + 1):
        peak = row_peaks(g)
        zero = peak == 0
        zero_gradient[active[zero]] = True
        g = g / (peak + xp.astype(zero, g.dtype))[:, None]
        eta, memory = norm.step(x - x0, g, before := memory)
        moved = norm.project(eta)
        moved += x0
        if limits != (-math.inf, math.inf):
            moved = xp.clip(moved, *limits)
        moves = xp.any(moved != x, axis=1)
        if memory is not None:
            moves = moves | (before is None) | xp.any(memory != before, axis=1)
        moves = moves & ~zero
        x = moved
        if not bool(xp.all(moves)):
            if not bool(xp.any(moves)):
                break
            active, x, x0, target = active[moves], x[moves], x0[moves], target[moves]
            memory = None if memory is None else memory[moves]
        q, g = margin(x, target)
        checks.finite_or_raise(q, "margin", f"attack step {step}", active + first)
        used[active] += 1
        better = q > q_best[active]
        best[active[better]] = x[better]
        q_best[active[better]] = q[better]
    return Perturbed(best, q_start, q_best, used, zero_gradient)


def row_peaks(x: Array) -> Array:
    """max_i |x_ni|, (n,), without a temporary of the size of x."""
    xp = namespace(x)
    return xp.maximum(xp.max(x, axis=1), -xp.min(x, axis=1))


def row_norms(x: Array) -> Array:
    """||x_n||_2, (n,), as inner products: one pass, no temporary of the size of x."""
    xp = namespace(x)
    return xp.sqrt((x[:, None, :] @ x[:, :, None])[:, 0, 0])


def _shrink(radius: float, size: Array) -> Array:
    """The factor min(1, radius/size) that scales into the ball; the floor only serves size = 0."""
    xp = namespace(size)
    return xp.minimum(radius / xp.maximum(size, 1e-30), 1.0)


def _begin(x: Array, kept: Mapping[str, Any] | None) -> tuple[Perturbed, int]:
    """An empty result for x, filled with the rows of a kept state, and the number of those."""
    xp = namespace(x)
    n = x.shape[0]
    result = Perturbed(
        xp.empty_like(x),
        xp.empty(n, dtype=x.dtype),
        xp.empty(n, dtype=x.dtype),
        xp.empty(n, dtype=xp.int64),
        xp.empty(n, dtype=xp.bool),
    )
    done = 0 if kept is None else len(kept["margin"])
    for name, whole in result._asdict().items():
        if done and kept is not None:
            whole[:done] = asarray(kept[name], xp)
    return result, done


def _state(result: Perturbed, done: int) -> dict[str, Any]:
    return {name: to_host(whole[:done]) for name, whole in result._asdict().items()}


def _check(x: Array, target: Array, norm: Norm, steps: int, low: float, high: float) -> None:
    xp = checks.samples_and_targets(x, target)
    checks.whole_number("steps", steps, least=0)
    if isinstance(norm, L0):
        checks.whole_number("pixels", norm.pixels, least=1)
    elif isinstance(norm, L2 | LInf | LInfSign):
        checks.real_number("radius", norm.radius, 0, math.inf, closed="[)")
    if not low < high:
        refuse("low, high", "low < high", f"{low}, {high}", "give the data range in order")
    if bool(xp.min(x) < low) or bool(xp.max(x) > high):
        refuse("x", f"values in [{low:g}, {high:g}]", "values outside", "rescale x or widen it")
