"""L2 attacks of a network with far fewer units than inputs, in the coordinates of its weights.

A gradient of the network is a combination of its m weight vectors, g = dZ W. A step of an L2 attack
is linear, eta <- keep (eta + along g), but for the entries that the data range clips. So after a
few steps of `linear_updates`, which end at eta0, a perturbation is

    eta = l + corr,    l = alpha eta0 + c W,    corr (d,) zero but at a few *edges*.

What is linear in l moves as eta does, v <- keep (v + along u): alpha with u = 0, c (m,) with
u = dZ, W l with u = R = dZ W W^T, and l at the edges with u = g there. What a step needs is there
without any other entry of l:

    ||g||^2 = dZ . R,    <g, eta> = dZ . (Z - Z0),    Z - Z0 = W l + W corr,
    ||eta||^2 = alpha^2 ||eta0||^2 + c . (alpha W eta0 + W l) + sum over edges of (eta^2 - l^2).

*Which entries are edges?* Let each later gradient g differ from g0, that at eta0, by the signs of
at most k units. Then |g - g0|_i <= T_i, the sum of the k largest (1 - gamma) |a_j W_ji| over j. Let
S be the sum of the weights of these gradients in l, moved with u = 1; S0 = radius / ||g0||. Then
l_i <= alpha eta0_i + S (g0_i + T_i), so while alpha + S/S0 <= ROOM,

    l_i <= ROOM max(eta0_i, S0 (g0_i + T_i), 0),    and from below likewise.

An entry whose range holds these bounds is not clipped in the next step either, by induction; the
others are edges. k = TURNS m and ROOM are looked at in every step. Who fails is attacked anew, by
updates alone: who is not on the sphere after the first steps, has too many edges or too few digits,
leaves a bound, has its best iterate among the first steps, or follows in its chunk a block in which
nobody stayed. On (E1), d = 10,000, none of 400 samples did (seed 0).
"""

from typing import NamedTuple

import numpy as np

from reflfap.attacks import Attack, Move, Perturbed, Point, climb, stepped
from reflfap.backend import Array, slices
from reflfap.errors import NonFiniteError
from reflfap.fast.linear_updates import LinearUpdates, add_product
from reflfap.norms import L2, row_norms, row_peaks, row_products

INPUTS = 4
"""Inputs a unit from which it pays (measured)."""

FIRST = 6
"""Steps made before. Strides of radius/5 reach the sphere in five, with most turns of units."""

TURNS = 1 / 32
"""Largest share of the units whose sign may differ from that after the first steps."""

ROOM = 1.05
"""Largest alpha + S/S0, which on the sphere is one where eta0 and all g are parallel."""

EDGES = 1 / 32
"""Largest share of the inputs that may be edges. Of raw images, with many pixels at 0, more are."""

BLOCK_ELEMENTS = 2**15
"""Size of a block, n m: most of its arrays stay in cache (measured, benchmarks/attack.py)."""

DIGITS = 1e-3
"""Largest relative difference of ||g|| by dZ . R from that of g itself, after the first steps."""

LENGTH = 100
"""Largest excess of ||eta|| over the radius in the end, in units of rounding."""


class OnSphere(NamedTuple):
    """Some samples after the first steps, each with E edges. R is overwritten."""

    Z0: Array  # (n, m) at the samples
    Z: Array  # (n, m) at eta0
    R: Array  # (n, m) dZ W W^T
    on: Array  # (n, m) what dZ is of a unit that is on
    length: Array  # (n,) ||eta0||
    S0: Array  # (n,)
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
    bounded: Array  # (n,) bool: it stayed within the bounds


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
        """As `attacks.climb` does. In coordinates if it is in L2, starts at x0 itself, and has more
        than FIRST steps."""
        norm, net = how.norm, self.updates.net
        if not isinstance(norm, L2) or how.steps <= FIRST or start is not None:
            return climb(how, x0, target, offset, start)
        point, x, q_start, q_first, length, fit = self._first_steps(how, x0, target)
        ranges, S0 = [one - x0 for one in (x, *how.limits)], norm.radius / length
        edge = self._edges(S0[:, None], point.g, *ranges)
        fit &= (count := np.sum(edge, axis=1)) <= EDGES * x0.shape[1]
        rows = np.flatnonzero(fit)
        if len(rows) == 0:
            return climb(how, x0, target, offset)
        # any entry may be taken for an edge, so all samples get as many as the one with most
        most = max(1, count[rows].max())
        columns = np.argpartition(edge[rows], -most, axis=1)[:, -most:]
        eta0, there = ranges[0][rows], (one[rows[:, None], columns] for one in ranges)
        Z0, Z, R = (one[rows] for one in point.cache)
        on = net.a * target[rows, None]
        whole = OnSphere(Z0, Z, R, on, row_norms(eta0), S0[rows], columns, *there)
        best = self._in_blocks(norm, how.steps, whole)
        rows, columns = rows[: len(best.q)], columns[: len(best.q)]
        x[rows] = x0[rows] + (best.alpha[:, None] * eta0[: len(rows)] + best.c @ net.W)
        x[rows[:, None], columns] = x0[rows[:, None], columns] + best.eta
        x = how.inside(x)
        longest = norm.radius * (1 + LENGTH * float(np.finfo(x.dtype).eps))
        good = best.bounded & (best.q >= q_first[rows])
        good &= row_norms(x[rows] - x0[rows]) <= longest
        q, anew = q_first.copy(), np.ones_like(fit)
        q[rows], anew[rows] = best.q, ~good
        steps = np.full(len(x), how.steps)  # each changes alpha or c, the memory of this attack
        result = Perturbed(x, q_start, q, steps, np.zeros_like(fit))
        if anew.any():
            try:
                others = climb(how, x0[anew], target[anew], offset)
            except NonFiniteError:  # which names a row of these
                return climb(how, x0, target, offset)
            for one, other in zip(result, others, strict=True):
                one[anew] = other
        return result

    def _first_steps(
        self, how: Attack, x0: Array, target: Array
    ) -> tuple[Point, Array, Array, Array, Array, Array]:
        """Where FIRST steps end; the margins at the start and the largest so far, (n,); ||g||, or 1
        for 0, (n,); and (n,) bool which samples are on the sphere, with a gradient whose length
        dZ . R has; none if any margin was not finite."""
        point, x = self.updates.start(x0, target), x0
        q_start = q_first = point.q
        finite = np.isfinite(q_start).all()
        for _ in range(FIRST):
            move, *_ = stepped(how, x0, x, point.g, row_peaks(point.g), None)
            point, x = self.updates.follow(point, move, target), move.x
            q_first, finite = np.maximum(q_first, point.q), finite & np.isfinite(point.q).all()
        _, Z, R = point.cache
        length = row_norms(point.g)
        with np.errstate(over="ignore", invalid="ignore"):
            found = np.sqrt(np.maximum(row_products(self.updates.dZ(Z, target), R), 0))
            fit = (move.keep < 1) & (length > 0) & (np.abs(found - length) <= DIGITS * length)
        return point, x, q_start, q_first, np.where(length > 0, length, 1), fit & finite

    def _edges(self, S0: Array, g: Array, eta: Array, low: Array, high: Array) -> Array:
        """(n, d) bool: the entries of eta that may leave its range, of which 0 is inside."""
        edge = ROOM * np.maximum(eta, S0 * (g + self.slack)) > high
        edge |= ROOM * np.minimum(eta, S0 * (g - self.slack)) < low
        return edge

    def _in_blocks(self, norm: L2, last: int, whole: OnSphere) -> Course:
        """The courses of all samples, or of those up to a block in which none is bounded."""
        courses: list[Course] = []
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # all end unbounded
            for part in slices(len(whole.length), max(1, BLOCK_ELEMENTS // whole.on.shape[1])):
                block = OnSphere(*(one[part] for one in whole))
                courses.append(self._course(norm, last, block))
                if not courses[-1].bounded.any():
                    break
        return Course(*map(np.concatenate, zip(*courses, strict=True)))

    def _course(self, norm: L2, last: int, block: OnSphere) -> Course:
        """The steps after the first ones. Given up where most samples have left a bound."""
        net, radius, V0, R = self.updates.net, norm.radius, block.Z - block.Z0, block.R
        stride = radius / 5 if norm.stride is None else norm.stride
        on, off, weights = block.on, net.slope * block.on, self.updates.W_T[block.columns]
        dZ = first = np.where(block.Z > 0, on, off)  # Z0 + V0 may round to another sign
        alpha, c, W_l, V = np.ones_like(block.length), np.zeros_like(on), V0, V0
        linear = eta = block.eta
        S, squared = 0 * alpha, block.length**2
        best = -np.inf * alpha, alpha.copy(), c.copy(), eta.copy()
        bounded = alpha > 0
        for _ in range(FIRST, last):
            size = row_products(dZ, R)
            along = stride / np.sqrt(size)
            length = np.sqrt(squared + 2 * along * row_products(dZ, V) + along**2 * size)
            keep = np.minimum(radius / length, 1)
            alpha, S = keep * alpha, keep * (S + along)
            along, keep = along[:, None], keep[:, None]
            g = (weights @ dZ[:, :, None])[:, :, 0]
            c = keep * (c + along * dZ)
            W_l = keep * (W_l + along * R)
            linear = keep * (linear + along * g)
            eta = np.clip(keep * (eta + along * g), block.low, block.high)
            V = W_l + ((eta - linear)[:, None, :] @ weights)[:, 0, :]
            squared = (alpha * block.length) ** 2 + row_products(c, alpha[:, None] * V0 + W_l)
            squared += row_products(eta + linear, eta - linear)
            Z, dZ_before = block.Z0 + V, dZ
            dZ = np.where(Z > 0, on, off)
            add_product(R, dZ, dZ_before, self.updates.G)
            q = row_products(Z, dZ)
            turned = np.sum(dZ != first, axis=1)
            bounded &= (turned <= TURNS * len(net.W)) & (alpha + S / block.S0 <= ROOM)
            bounded &= np.isfinite(q)
            if 2 * np.sum(bounded) < len(bounded):
                return Course(*best, np.zeros_like(bounded))
            better = q > best[0]
            for one, now in zip(best, (q, alpha, c, eta), strict=True):
                one[better] = now[better]
        return Course(*best, bounded)


def coordinates(updates: LinearUpdates) -> Coordinates:
    """The coordinates of a network on the host. Costs a partial sort of the entries of W, and twice
    its memory meanwhile."""
    net = updates.net
    most = max(1, int(TURNS * len(net.W)))
    weights = (1 - net.slope) * np.abs(net.a[:, None] * net.W)
    return Coordinates(updates, np.sum(np.partition(weights, -most, axis=0)[-most:], axis=0))
