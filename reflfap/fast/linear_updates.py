"""The one-hidden-layer network along an attack's path, by updates instead of products.

Along the path of one sample the network is linear but for the few units whose sign changes, about
one in a thousand a step on (E1), and a step that does not leave the data range is a combination of
the perturbation so far and the gradient. So neither product of `onehidden.margin_gradient`, W x and
W^T dZ of 2 m d operations each, has to be formed anew. With dZ_j = y a_j phi'(Z_j):

    g  = W^T dZ        changes by W^T (change of dZ),    few units;
    R  = W g           changes by W W^T (change of dZ),  the same units, m instead of d entries;
    Z  = Z0 + keep (Z_before - Z0) + along R + W (x - reference),    few entries of x clipped.

Exact up to rounding, as evaluation is. An attack turns small differences into larger ones, at kinks
and where the best iterate changes: in float32 an L2 attack of 100 steps on (E1), 150 samples, ends
7e-5 of its length from that in float64 (median; largest 8e-4), and the evaluated one 7e-5 (6e-4).
Of L0 attacks a tie may choose another pixel, in float32 as against float64. Made for the host,
where passes over memory are cheap and products dear; a GPU has it the other way round.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse

from reflfap.attacks import Model, Move, Perturbed, Point
from reflfap.backend import Array
from reflfap.machine import blas_threads
from reflfap.monitor import SILENT, Monitor
from reflfap.onehidden import Network, activation, activation_slope

CHUNK_ELEMENTS = 2**20
"""Size of a chunk, n max(d, m): its arrays stay in cache (measured, benchmarks/attack.py)."""

SPARSE = 1 / 20
"""Up to this share of entries that differ, picking them beats a dense product (measured)."""


class LinearUpdates(NamedTuple):
    """A network as a model for `attacks.attack`, on the host; make it with `linear_updates`.

    Cache of a point: Z0 (n, m) at the attack's start, Z (n, m) and R = g W^T (n, m) here.
    """

    net: Network
    W_T: Array  # (d, m), contiguous
    G: Array  # (m, m), W W^T

    def start(self, x: Array, target: Array) -> Point:
        """Margins, gradients and cache at samples x (n, d). Costs two products, 4 m d n."""
        Z = x @ self.W_T
        dZ = self.dZ(Z, target)
        return Point(self._margins(Z, target), dZ @ self.net.W, (Z, Z, dZ @ self.G))

    def follow(self, before: Point, move: Move, target: Array) -> Point:
        """The same at move.x; overwrites before.g and R. A few passes over (n, d) and (n, m)."""
        Z0, Z_before, R = before.cache
        Z = move.keep[:, None] * (Z_before - Z0)
        Z += move.along[:, None] * R
        Z += Z0
        add_product(Z, move.x, move.reference, self.W_T)
        dZ, dZ_before = self.dZ(Z, target), self.dZ(Z_before, target)
        add_product(before.g, dZ, dZ_before, self.net.W)
        add_product(R, dZ, dZ_before, self.G)
        if self.net.slope == 0:  # then a sum that ends at zero would be rounding, not zero
            none = ~np.any(dZ, axis=1)
            before.g[none], R[none] = 0, 0
        return Point(self._margins(Z, target), before.g, (Z0, Z, R))

    def _margins(self, Z: Array, target: Array) -> Array:
        return target * (activation(Z, self.net.slope) @ self.net.a)

    def dZ(self, Z: Array, target: Array) -> Array:
        """(n, m): y_n a_j phi'(Z_nj), the derivative of the margin by Z."""
        dZ = activation_slope(Z, self.net.slope)
        dZ *= self.net.a
        dZ *= target[:, None]
        return dZ


def linear_updates(net: Network) -> LinearUpdates:
    """The model of a network on the host. Costs one product, 2 m^2 d, and a copy of W."""
    return LinearUpdates(net, np.ascontiguousarray(net.W.T), net.W @ net.W.T)


def in_cache(
    run: Callable[..., Perturbed], model: Model, net: Network, monitor: Monitor = SILENT
) -> Perturbed:
    """`run`, an `attacks.attack` but for its model, in chunks that stay in cache, as many at once
    as BLAS has threads."""
    chunk = max(1, CHUNK_ELEMENTS // max(net.W.shape))
    return run(model, chunk=chunk, workers=blas_threads(), monitor=monitor)


def add_product(total: Array, new: Array, old: Array, B: Array) -> None:
    """total (n, p) += (new - old) B, for new and old (n, k) that differ in few entries, B (k, p).

    Costs 2 p operations an entry that differs.
    """
    if new is old:
        return
    differ = np.flatnonzero(new != old)
    if len(differ) == 0:
        return
    if len(differ) > SPARSE * new.size:
        total += (new - old) @ B
        return
    rows, columns = np.divmod(differ, new.shape[1])
    starts = np.searchsorted(rows, np.arange(len(new) + 1))
    values = new.ravel()[differ] - old.ravel()[differ]
    total += scipy.sparse.csr_array((values, columns, starts), shape=new.shape) @ B
