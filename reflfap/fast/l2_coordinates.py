"""L2 attacks of a network with far fewer units than inputs, in the coordinates of its weights.

A gradient of the network is a combination of its m weight vectors, g = dZ W. A step of an L2 attack
is linear, eta <- keep (eta + along g), but for the entries that the data range clips. So after a
few steps of `linear_updates`, which end at eta0, a perturbation is

    eta = alpha eta0 + c W + corr,    alpha a number, c (m,), corr (d,) zero but at a few *edges*.

Call eta without corr its linear part l. Then c, W l and l at the edges move alike: along dZ,
R = dZ W W^T and g at the edges. What a step needs is there without any array of d entries:

    ||g||^2 = dZ . R,    <g, eta> = dZ . (Z - Z0),    Z - Z0 = W l + W corr,
    ||eta||^2 = alpha^2 ||eta0||^2 + c . (alpha W eta0 + W l) + sum over edges of (eta^2 - l^2).

*Which entries are edges?* Let each later gradient g differ from g0, that at eta0, by at most TURNS
units that changed sign. Then |g - g0|_i <= T_i, the sum of the TURNS largest (1 - gamma) |a_j W_ji|
over the units j.
Let S be the sum of the weights of these gradients in eta, and S0 = radius / ||g0||. Then
eta_i <= alpha eta0_i + S (g0_i + T_i), so while alpha + S/S0 <= ROOM,

    eta_i <= ROOM max(eta0_i, S0 (g0_i + T_i), 0),    and from below likewise.

An entry whose range holds these bounds is never clipped; the others are edges. Turns and room are
looked at in every step. A sample that leaves them, or whose best iterate is one of the first steps,
is attacked anew by the updates alone. On (E1), d = 10,000, none of 400 did (seed 0).
"""

from typing import NamedTuple

import numpy as np

from reflfap.attacks import Attack, Move, Perturbed, Point, climb, stepped
from reflfap.backend import Array, slices
from reflfap.fast.linear_updates import LinearUpdates, add_product
from reflfap.norms import L2, row_norms, row_peaks

INPUTS = 4
"""Inputs a unit from which it pays (measured)."""

FIRST = 6
"""Steps made before. The fifth reaches the sphere, and most units that turn do so until then."""

TURNS = 1 / 32
"""Largest share of the units that may have turned since."""

ROOM = 1.05
"""Largest alpha + S/S0, which is about one on the sphere."""

EDGES = 1 / 32
"""Largest share of the inputs that may be edges. Of raw images, with many pixels at 0, more are."""

BLOCK_ELEMENTS = 2**15
"""Size of a block, n m, whose arrays stay in cache (measured, benchmarks/attack.py)."""

DIGITS = 1e-3
"""Largest relative difference of ||g|| by dZ . R from that of g itself."""


class OnSphere(NamedTuple):
    """Some samples after the first steps, each with E edges."""

    Z0: Array  # (n, m) at the samples
    V0: Array  # (n, m) W eta0
    R: Array  # (n, m) dZ W W^T
    on: Array  # (n, m) what dZ is of a unit that is on
    length: Array  # (n,) ||eta0||
    columns: Array  # (n, E) int64, the edges
    eta: Array  # (n, E) eta0 there
    low: Array  # (n, E) the range of eta there
    high: Array  # (n, E)


class Course(NamedTuple):
    """The best of the further iterates of each sample of a block."""

    q: Array  # (n,) its margin
    alpha: Array  # (n,)
    c: Array  # (n, m)
    eta: Array  # (n, E)
    told: Array  # (n,) bool: no bound was left


class Coordinates(NamedTuple):
    """A network's L2 attack in coordinates, on the host; make it with `coordinates`."""

    updates: LinearUpdates
    slack: Array  # (d,) T

    def start(self, x: Array, target: Array) -> Point:
        """As the updates do."""
        return self.updates.start(x, target)

    def follow(self, before: Point, move: Move, target: Array) -> Point:
        """As the updates do."""
        return self.updates.follow(before, move, target)

    def climb(
        self, how: Attack, x0: Array, target: Array, offset: int, start: Array | None = None
    ) -> Perturbed:
        """`attacks.climb`; in coordinates where it is in L2, from x0 itself, after FIRST steps."""
        norm, net = how.norm, self.updates.net
        if not isinstance(norm, L2) or how.steps <= FIRST or start is not None:
            return climb(how, x0, target, offset, start)
        point, x, q_start, q_first, fit = self._first_steps(how, x0, target)
        ranges = [one - x0 for one in (x, *how.limits)]
        edge = self._edges(norm.radius, point, *ranges)
        fit &= (count := np.sum(edge, axis=1)) <= EDGES * x0.shape[1]
        rows = np.flatnonzero(fit)
        if len(rows) == 0 or not np.isfinite(point.q).all():
            return climb(how, x0, target, offset)
        # any entry may be taken for an edge, so all samples get as many as the one with most
        most = max(1, count[rows].max())
        columns = np.argpartition(edge[rows], -most, axis=1)[:, -most:]
        at, (Z0, Z, R) = (rows[:, None], columns), (one[rows] for one in point.cache)
        on, length, there = (
            net.a * target[rows, None],
            row_norms(ranges[0][rows]),
            (one[at] for one in ranges),
        )
        whole = OnSphere(Z0, Z - Z0, R, on, length, columns, *there)
        best = self._in_blocks(norm, how.steps, whole)
        rows, columns = rows[: len(best.q)], columns[: len(best.q)]
        x[rows] = x0[rows] + (best.alpha[:, None] * ranges[0][rows] + best.c @ net.W)
        x[rows[:, None], columns] = x0[rows[:, None], columns] + best.eta
        q, others = q_first.copy(), np.ones_like(fit)
        q[rows], others[rows] = best.q, ~best.told | (best.q < q_first[rows])
        steps = np.full(len(x), how.steps)  # on the sphere, eta changes below the digits of x
        result = Perturbed(how.inside(x), q_start, q, steps, np.zeros_like(fit))
        for one, other in zip(result, climb(how, x0[others], target[others], offset), strict=True):
            one[others] = other
        return result

    def _first_steps(
        self, how: Attack, x0: Array, target: Array
    ) -> tuple[Point, Array, Array, Array, Array]:
        """Where FIRST steps end, the margins at the start and the largest so far, (n,), and (n,)
        bool which samples are on the sphere, with a gradient whose length dZ . R tells.
        """
        point, x = self.updates.start(x0, target), x0
        q_start = q_first = point.q
        for _ in range(FIRST):
            move, *_ = stepped(how, x0, x, point.g, row_peaks(point.g), None)
            point, x = self.updates.follow(point, move, target), move.x
            q_first = np.maximum(q_first, point.q)
        _, Z, R = point.cache
        length = row_norms(point.g)
        told = np.sqrt(np.maximum(dots(self.updates.dZ(Z, target), R), 0))
        fit = (move.keep < 1) & (np.abs(told - length) <= DIGITS * length)
        return point, x, q_start, q_first, fit

    def _edges(self, radius: float, point: Point, eta: Array, low: Array, high: Array) -> Array:
        """(n, d) bool: the entries of eta that may leave its range."""
        length = row_norms(point.g)
        reach = (radius / np.where(length > 0, length, 1))[:, None]
        edge = ROOM * np.maximum(eta, reach * (point.g + self.slack)) > high
        edge |= ROOM * np.minimum(eta, reach * (point.g - self.slack)) < low
        return edge

    def _in_blocks(self, norm: L2, last: int, whole: OnSphere) -> Course:
        """The courses of all samples, or of those before a block in which none is told."""
        courses: list[Course] = []
        with np.errstate(invalid="ignore", divide="ignore"):  # NaN leaves every bound
            for part in slices(len(whole.length), max(1, BLOCK_ELEMENTS // whole.on.shape[1])):
                block = OnSphere(*(one[part] for one in whole))
                courses.append(self._course(norm, last, block))
                if not courses[-1].told.any():
                    break
        return Course(*map(np.concatenate, zip(*courses, strict=True)))

    def _course(self, norm: L2, last: int, block: OnSphere) -> Course:
        """The steps after the first ones. Given up where half of the samples have left a bound."""
        net, radius, V0, R = self.updates.net, norm.radius, block.V0, block.R
        stride = radius / 5 if norm.stride is None else norm.stride
        on, off, weights = block.on, net.slope * block.on, self.updates.W_T[block.columns]
        dZ = first = np.where(block.Z0 + V0 > 0, on, off)
        alpha, c, W_l, V = np.ones_like(block.length), np.zeros_like(on), V0, V0
        linear = eta = block.eta
        S0, S, squared = radius / np.sqrt(dots(dZ, R)), 0 * alpha, block.length**2
        best = -np.inf * alpha, alpha.copy(), c.copy(), eta.copy()
        told = alpha > 0
        for _ in range(FIRST, last):
            size = dots(dZ, R)
            along = stride / np.sqrt(size)
            length = np.sqrt(squared + 2 * along * dots(dZ, V) + along**2 * size)
            keep = np.minimum(radius / length, 1)
            alpha, S = keep * alpha, keep * (S + along)
            along, keep = along[:, None], keep[:, None]
            g = (weights @ dZ[:, :, None])[:, :, 0]
            c = keep * (c + along * dZ)
            W_l = keep * (W_l + along * R)
            linear = keep * (linear + along * g)
            eta = np.clip(keep * (eta + along * g), block.low, block.high)
            V = W_l + ((eta - linear)[:, None, :] @ weights)[:, 0, :]
            squared = (alpha * block.length) ** 2 + dots(c, alpha[:, None] * V0 + W_l)
            squared += dots(eta + linear, eta - linear)
            Z, dZ_before = block.Z0 + V, dZ
            dZ = np.where(Z > 0, on, off)
            add_product(R, dZ, dZ_before, self.updates.G)
            q = dots(Z, dZ)
            turned = np.sum(dZ != first, axis=1)
            told &= (turned <= TURNS * len(net.W)) & (alpha + S / S0 <= ROOM)
            if 2 * np.sum(told) < len(told):
                return Course(*best, np.zeros_like(told))
            better = q > best[0]
            for one, now in zip(best, (q, alpha, c, eta), strict=True):
                one[better] = now[better]
        return Course(*best, told)


def dots(a: Array, b: Array) -> Array:
    """The inner products of rows, (n,), of a and b (n, k), without a temporary of their size."""
    return (a[:, None, :] @ b[:, :, None])[:, 0, 0]


def coordinates(updates: LinearUpdates) -> Coordinates:
    """The coordinates of a network on the host. Costs a partial sort of the entries of W."""
    net = updates.net
    most = max(1, int(TURNS * len(net.W)))
    weights = (1 - net.slope) * np.abs(net.a[:, None] * net.W)
    return Coordinates(updates, np.sum(np.partition(weights, -most, axis=0)[-most:], axis=0))
