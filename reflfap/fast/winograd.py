"""3x3 convolutions of stride 1 with fewer multiplications (Winograd), and their gradients.

An output tile Y of m x m pixels comes from an input tile d of e x e, e = m + 2, by

    Y = A^T [ (G w G^T) . (B^T d B) ] A                     . is elementwise, one for each (c, k)

with A^T (m, e), G (e, 3), B^T (e, e) of `matrices`. Summed over c, the products at one of the e^2
places p are a matrix product of all tiles (rows), C and K. e^2 multiplications replace 9 m^2: 2.25
to 4 times fewer for m = 2 to 4. On flattened tiles each map is one matrix, a Kronecker square,

    U = (G x G) w,   V = (B^T x B^T) d,   M_p = V_p U_p,   Y = (A^T x A^T) M,

so that the gradients are the transposed maps in the reverse order:

    dM = (A x A) dY,  dU_p = V_p^T dM_p,  dV_p = dM_p U_p^T,  dw = (G x G)^T dU,  dd = (B x B) dV.

Tiles of d overlap by two pixels, where dd is added up. Arrays are (height, width, sample, channel),
weights (3, 3, C, K), as in `layers`. Rounding: see `matrices`.
"""

import functools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from reflfap.backend import Array, HostArray, Namespace, asarray, namespace, on_host, slices

TILES = (2, 3, 4)
"""Sizes m that are of use: of larger tiles the transforms and their errors eat the savings."""

PIECE = 2**17
"""Numbers at one place of V and M that are made at once: smaller products are slow, and larger ones
leave the caches (measured)."""

DEVICE_PIECE = 2**23
"""The same on a device, whose products and kernels want many numbers at once."""

_BY_TILES = 2, 3, 0, 1, 4, 5
"""Of axes (i, j, rows, columns, sample, channel), the order in which tiles come first."""

_POINTS = tuple(map(Fraction, ("0", "1", "-1", "-2", "1/2")))


class Maps(NamedTuple):
    """The maps of one tile size on flattened tiles."""

    output: Array  # (m m, e e), A^T x A^T
    weights: Array  # (e e, 9), G x G
    input: Array  # (e e, e e), B^T x B^T


def matrices(m: int) -> tuple[HostArray, HostArray, HostArray]:
    """A^T (m, e), G (e, 3) and B^T (e, e) for m outputs, float64; only thirds in G are rounded.

    Toom and Cook: a product of polynomials g of degree 2 and y of degree m - 1 is known from its
    values at e - 1 points and its leading coefficient. With evaluations E_n (e, n), of rows 1, x,
    x^2, ... and last 0, ..., 0, 1, its coefficients are E_e^-1 [(E_3 g) . (E_m y)]. Correlation,
    y_j = sum_i g_i d_(i+j), is the transpose of that in y: E_m^T [(E_3 g) . (E_e^-T d)]. Rows of
    B^T = E_e^-T are made whole numbers at the expense of those of G.
    The points 0, 1, -1, -2, 1/2 give the least error of those tried: 1.2e-6 (m = 3) and 1.5e-6
    (m = 4) of the output's size in float32 with 128 channels; the plain sum has 2e-7 to 4e-7, as
    BLAS orders it.
    """
    e = m + 2
    A, G, E = (_evaluations(n, e) for n in (m, 3, e))
    # small denominators: the nearest such fractions to the rounded inverse are the inverse
    inverse = np.linalg.inv(E.astype(np.float64)).ravel().tolist()
    B = np.asarray([Fraction(one).limit_denominator(1000) for one in inverse]).reshape(e, e)
    for k in range(e):
        scale = math.lcm(*(one.denominator for one in B[:, k]))
        B[:, k] *= scale
        G[k] /= scale
    A, G, B = (one.astype(np.float64) for one in (A, G, B))
    return A.T, G, B.T


def _evaluations(n: int, e: int) -> HostArray:
    """Fractions (e, n): 1, x, ..., x^(n-1) at e - 1 points x, then 0, ..., 0, 1 for infinity."""
    finite = [[x**power for power in range(n)] for x in _POINTS[: e - 1]]
    return np.asarray([*finite, [Fraction(0)] * (n - 1) + [Fraction(1)]])


@functools.cache
def _maps(m: int, dtype: str, xp: Namespace) -> Maps:
    return Maps(*(asarray(np.kron(M, M).astype(dtype), xp) for M in matrices(m)))


class Tiling(NamedTuple):
    """An output in tiles of m x m pixels, the last ones over the border."""

    m: int
    height: int  # of the output
    width: int

    @property
    def counts(self) -> tuple[int, int]:
        """Tiles each way, (rows, columns)."""
        return -(-self.height // self.m), -(-self.width // self.m)

    def sides(self, more: int = 0) -> tuple[int, int]:
        """Those of all tiles' outputs, and `more`."""
        return self.counts[0] * self.m + more, self.counts[1] * self.m + more

    def tiles(self, wide: Array, size: int) -> Array:
        """Those of size x size pixels of a padded array, (size size, rows columns n C)."""
        xp, each = namespace(wide), windows(wide, (size, size), self.m, self.counts)
        return xp.transpose(each, _BY_TILES).reshape(size * size, -1)

    def pieces(self, x: Array, channels: int) -> list[slice]:
        """Samples of x to work on at once, in pieces of about equal size; `channels` is C + K, what
        a tile has of V and M together at one place."""
        samples, piece = x.shape[2], PIECE if on_host(namespace(x)) else DEVICE_PIECE
        count = -(-samples * math.prod(self.counts) * channels // piece)
        return slices(samples, -(-samples // count))


def windows(x: Array, size: tuple[int, int], step: int, counts: tuple[int, int]) -> Array:
    """A view (rows, columns, i, j, N, C) of x (H, W, N, C): windows of so many pixels each way,
    which begin each `step` pixels."""
    down, across, *rest = x.strides
    shape, strides = (*counts, *size, *x.shape[2:]), (step * down, step * across, down, across)
    return namespace(x).lib.stride_tricks.as_strided(x, shape, (*strides, *rest))


def padded(x: Array, before: int, sides: tuple[int, int]) -> Array:
    """x with `before` rows and columns of zeros before it, and so many behind it that it has these
    sides."""
    height, width, *rest = x.shape
    if sides == (height, width):
        return x
    wide = namespace(x).zeros((*sides, *rest), dtype=x.dtype)
    wide[before : before + height, before : before + width] = x
    return wide


def tile_cost(m: int, height: int, width: int, samples: int, C: int, K: int) -> float:
    """Time for outputs of height x width, in multiplications of one large matrix product.

    Per place: the products of all tiles, V and M, whose numbers are moved, and U, once a batch.
    The factors were fitted to 18 layers of both networks on one machine, where they find the
    fastest way for each; benchmarks/deep.py times most of them.
    """
    tiles = math.prod(Tiling(m, height, width).counts) * samples
    return 1.3 * (m + 2) ** 2 * (tiles * (C * K + 60 * (C + K)) + 100 * C * K)


def plain_cost(height: int, width: int, samples: int, C: int, K: int) -> float:
    """The same for the plain path, whose columns are moved."""
    return 9.0 * height * width * samples * C * (K + 140)


def convolve(x: Array, w: Array, b: Array, padding: int, m: int) -> Array:
    """y_k = b_k + sum_c w_ck * x_c, (H', W', N, K), by tiles of m x m output pixels."""
    xp, (tiling, maps, U) = namespace(x, w, b), _prepared(x, w, padding, m)
    (places, C, K), n = U.shape, x.shape[2]
    wide = padded(x, padding, tiling.sides(2))
    y = xp.empty((*tiling.sides(), n, K), dtype=x.dtype)
    for some in tiling.pieces(x, C + K):
        V = maps.input @ tiling.tiles(wide[:, :, some], m + 2)
        M = V.reshape(places, -1, C) @ U
        M[_ones(m)] += b
        Y = (maps.output @ M.reshape(places, -1)).reshape(m, m, *tiling.counts, -1, K)
        windows(y[:, :, some], (m, m), m, tiling.counts)[...] = xp.transpose(Y, _BY_TILES)
    return xp.ascontiguousarray(y[: tiling.height, : tiling.width])


def convolve_backward(
    x: Array, w: Array, dy: Array, padding: int, m: int, weights: bool = True
) -> tuple[Array, Array | None, Array | None]:
    """Gradients dx, and dw and db if asked for, of a loss with gradient dy at the output."""
    xp, (tiling, maps, U) = namespace(x, w, dy), _prepared(x, w, padding, m)
    (places, C, K), n = U.shape, x.shape[2]
    dy = padded(dy, 0, tiling.sides())
    wide = padded(x, padding, tiling.sides(2)) if weights else x
    dwide = xp.zeros((*tiling.sides(2), n, C), dtype=x.dtype)
    dU, db = xp.zeros_like(U), xp.zeros(K, dtype=x.dtype)
    for some in tiling.pieces(x, C + K):
        dM = (maps.output.T @ tiling.tiles(dy[:, :, some], m)).reshape(places, -1, K)
        if weights:
            V = (maps.input @ tiling.tiles(wide[:, :, some], m + 2)).reshape(places, -1, C)
            dU += xp.swapaxes(V, 1, 2) @ dM
            db += xp.sum(dM[_ones(m)], axis=0)
        dV = dM @ xp.swapaxes(U, 1, 2)
        dd = (maps.input.T @ dV.reshape(places, -1)).reshape(m + 2, m + 2, *tiling.counts, -1, C)
        _add_tiles(dwide[:, :, some], xp.transpose(dd, _BY_TILES), m)
    dx = dwide[padding : padding + x.shape[0], padding : padding + x.shape[1]]
    dx = xp.ascontiguousarray(dx)
    if not weights:
        return dx, None, None
    return dx, (maps.weights.T @ dU.reshape(places, -1)).reshape(w.shape), db


def _add_tiles(wide: Array, tiles: Array, m: int) -> None:
    """Add tiles (rows, columns, e, e, n, C), which overlap by two pixels, each way those that do
    not: their first m pixels, then their last two."""
    for i in (slice(0, m), slice(m, m + 2)):
        for j in (slice(0, m), slice(m, m + 2)):
            size = i.stop - i.start, j.stop - j.start
            part = windows(wide[i.start :, j.start :], size, m, tiles.shape[:2])
            part += tiles[:, :, i, j]


def _prepared(x: Array, w: Array, padding: int, m: int) -> tuple[Tiling, Maps, Array]:
    """How the tiles lie, the maps of their size, and U (e e, C, K)."""
    height, width = (size + 2 * padding - 2 for size in x.shape[:2])
    maps = _maps(m, str(x.dtype), namespace(x))
    U = maps.weights @ w.reshape(9, -1)
    return Tiling(m, height, width), maps, U.reshape(-1, *w.shape[2:])


def _ones(m: int) -> int:
    """The place of the points (1, 1): its column of A^T x A^T is all ones, so that what is added
    there is added to each pixel."""
    return (m + 2) + 1
