"""Winograd's convolutions: exact identities, the plain path, and a bound of their rounding."""

from fractions import Fraction

import numpy as np
import pytest
from gradients import close, normal
from hypothesis import given
from hypothesis import strategies as st

from reflfap.deep import layers
from reflfap.fast import winograd

pytestmark = pytest.mark.usefixtures("library")

SEEDS = st.integers(0, 10**6)
TILES = pytest.mark.parametrize("m", winograd.TILES)
SIZES = {
    "seed": SEEDS,
    "height": st.integers(1, 9),  # of the output: multiples of the tile and others
    "width": st.integers(1, 9),
    "padding": st.integers(0, 1),
    "n": st.integers(1, 3),
    "C": st.integers(1, 5),
    "K": st.integers(1, 5),
}


def case(seed, height, width, padding, n, C, K, spread=0.0):
    """x, w, b, dy and the padding; numbers over `spread` powers of ten each way."""
    border = 2 - 2 * padding
    shapes = ((height + border, width + border, n, C), (3, 3, C, K), (K,), (height, width, n, K))
    rng = np.random.default_rng(seed)
    x, w, b, dy = (
        rng.standard_normal(shape) * 10 ** rng.uniform(-spread, spread, shape) for shape in shapes
    )
    return x, w, b, dy, padding


@pytest.mark.numpy_only
@TILES
def test_matrices_give_the_correlation(m):
    """sum_p A_pj G_pi B_lp = 1 where l = i + j, else 0: the algorithm is exact for all tiles.

    In fractions, which are what the matrices hold, to the last bit where a power of two divides.
    """
    output, weights, input_ = winograd.matrices(m)
    exact = []
    for matrix in (output, weights, input_):
        fractions = [[Fraction(one).limit_denominator(1000) for one in row] for row in matrix]
        assert matrix == pytest.approx(np.asarray(fractions, dtype=float), rel=2**-53, abs=0)
        exact.append(fractions)
    assert np.array_equal(input_, np.round(input_))
    assert np.array_equal(output * 2**6, np.round(output * 2**6))
    At, G, Bt = exact
    places = range(m + 2)
    for j, i, k in np.ndindex(m, 3, m + 2):
        assert sum(At[j][p] * G[p][i] * Bt[p][k] for p in places) == (k == i + j)


def tiles(m, height, width):
    """Where the tiles of an output begin; their numbers in each direction."""
    rows, columns = -(-height // m), -(-width // m)
    return [(m * p, m * q) for p in range(rows) for q in range(columns)], rows, columns


def padded(x, m, rows, columns, padding, more):
    """Zeros around x, in a new array."""
    wide = np.zeros((rows * m + more, columns * m + more, *x.shape[2:]))
    wide[padding : padding + x.shape[0], padding : padding + x.shape[1]] = x
    return wide


def tile_by_tile(x, w, b, padding, matrices):
    """Winograd's sums with any matrices, one tile after the other, in float64."""
    At, G, Bt = matrices
    m, e = At.shape
    height, width = (size + 2 * padding - 2 for size in x.shape[:2])
    places, rows, columns = tiles(m, height, width)
    wide = padded(x, m, rows, columns, padding, 2)
    U = np.einsum("pi,qj,ijck->pqck", G, G, w)
    y = np.zeros((rows * m, columns * m, x.shape[2], w.shape[3]))
    for p, q in places:
        V = np.einsum("pi,qj,ijnc->pqnc", Bt, Bt, wide[p : p + e, q : q + e])
        M = np.einsum("pqnc,pqck->pqnk", V, U)
        y[p : p + m, q : q + m] = np.einsum("ip,jq,pqnk->ijnk", At, At, M) + b
    return y[:height, :width]


def tile_by_tile_backward(x, w, dy, padding, matrices):
    """The transposed maps in the reverse order: dx, dw, db."""
    At, G, Bt = matrices
    m, e = At.shape
    places, rows, columns = tiles(m, *dy.shape[:2])
    wide, dy = padded(x, m, rows, columns, padding, 2), padded(dy, m, rows, columns, 0, 0)
    U, dU, dwide = np.einsum("pi,qj,ijck->pqck", G, G, w), 0, np.zeros(wide.shape)
    for p, q in places:
        V = np.einsum("pi,qj,ijnc->pqnc", Bt, Bt, wide[p : p + e, q : q + e])
        dM = np.einsum("ip,jq,ijnk->pqnk", At, At, dy[p : p + m, q : q + m])
        dU = dU + np.einsum("pqnc,pqnk->pqck", V, dM)
        dV = np.einsum("pqnk,pqck->pqnc", dM, U)
        dwide[p : p + e, q : q + e] += np.einsum("pi,qj,pqnc->ijnc", Bt, Bt, dV)
    dw = np.einsum("pi,qj,pqck->ijck", G, G, dU)
    height, width = x.shape[:2]
    dx = dwide[padding : padding + height, padding : padding + width]
    return dx, dw, dy.sum(axis=(0, 1, 2))


@TILES
@given(piece=st.sampled_from([1, 60, 2**17]), **SIZES)
def test_against_the_plain_path(m, piece, **sizes):
    """The same output in float64, however many pieces the batch comes in, on images whose sides
    are multiples of the tile's and on others; and that of the tiles one by one."""
    x, w, b, _, padding = case(**sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reflfap.fast.winograd.PIECE", piece)
        y = winograd.convolve(x, w, b, padding, m)
    close(y, layers.plain_convolution(x, w, b, 1, padding), 1e-11)
    close(y, tile_by_tile(x, w, b, padding, winograd.matrices(m)), 1e-11)


@TILES
@given(piece=st.sampled_from([1, 60, 2**17]), **SIZES)
def test_gradients_against_the_plain_path(m, piece, **sizes):
    """Likewise dx, dw and db; without weights dx is the same, and nothing else is there."""
    x, w, _, dy, padding = case(**sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reflfap.fast.winograd.PIECE", piece)
        found = winograd.convolve_backward(x, w, dy, padding, m)
        alone = winograd.convolve_backward(x, w, dy, padding, m, weights=False)
    plain = layers.plain_convolution_backward(dy, x, w, 1, padding)
    twins = tile_by_tile_backward(x, w, dy, padding, winograd.matrices(m))
    for got, expected, twin in zip(found, plain, twins, strict=True):
        close(got, expected, 1e-11)
        close(got, twin, 1e-11)
    assert np.array_equal(alone[0], found[0])
    assert alone[1:] == (None, None)


def gamma(terms, dtype):
    """Higham, Accuracy and Stability, section 3.4: terms u / (1 - terms u)."""
    u = float(np.finfo(dtype).eps) / 2
    return terms * u / (1 - terms * u)


def squared(matrix):
    """The most terms in a row of the Kronecker square of a matrix."""
    return int(np.count_nonzero(matrix, axis=1).max()) ** 2


@TILES
@given(dtype=st.sampled_from(["float32", "float64"]), **SIZES)
def test_error_bound(m, dtype, **sizes):
    """Rounding is below a bound for each number of the output and of the gradients.

    A sum of n products, in any order, is off by at most gamma(n) times the sum of their absolute
    values (Higham, section 3.1), and factors of this kind multiply, with gamma(a) and gamma(b) to
    gamma(a + b) (lemma 3.3). So the whole algorithm is off by at most gamma(N) times its result on
    absolute values with absolute matrices, N the sum over its steps of the terms of one number:

        U: those of G x G, and three, since its entries are products, rounded, of rounded numbers;
           the other matrices are exact. V: of B^T x B^T. M: C, and one for the bias. Y: of
           A^T x A^T.
        dM: of A x A. dx: K for dV, those of B x B, and three, since up to four tiles overlap.
        dU: one for each tile, and one for each piece; dw: of (G x G)^T, and three. db: as dU.

    Numbers over eight powers of ten, since each number has a bound of its own.
    """
    x, w, b, dy, padding = (
        one.astype(dtype) if isinstance(one, np.ndarray) else one for one in case(**sizes, spread=4)
    )
    exact = [one.astype(np.longdouble) for one in (x, w, b, dy)]
    matrices = winograd.matrices(m)
    At, G, Bt = matrices
    size = [np.abs(one).astype(float) for one in exact]
    absolute = [np.abs(one) for one in matrices]
    C, K = w.shape[2:]
    many = len(tiles(m, *dy.shape[:2])[0]) * x.shape[2] + x.shape[2]
    U = squared(G) + 3
    bound = gamma(U + squared(Bt) + C + 1 + squared(At), dtype)
    bound = bound * tile_by_tile(*size[:3], padding, absolute)
    error = np.abs(winograd.convolve(x, w, b, padding, m) - correlation(*exact[:3], padding))
    assert np.all(error <= bound)
    terms = (
        U + squared(At.T) + K + squared(Bt.T) + 3,
        squared(Bt) + squared(At.T) + many + squared(G.T) + 3,
        squared(At.T) + many,
    )
    sizes_ = tile_by_tile_backward(*size[:2], size[3], padding, absolute)
    found = winograd.convolve_backward(x, w, dy, padding, m)
    right = correlation_backward(*exact[:2], exact[3], padding)
    for n, magnitude, got, expected in zip(terms, sizes_, found, right, strict=True):
        assert np.all(np.abs(got - expected) <= gamma(n, dtype) * magnitude)


def correlation(x, w, b, padding):
    """The plain sum in the dtype of x, which is one with more digits."""
    wide = np.pad(x, [(padding, padding)] * 2 + [(0, 0)] * 2)
    height, width = (size - 2 for size in wide.shape[:2])
    shifts = ((i, j, wide[i : i + height, j : j + width]) for i, j in np.ndindex(3, 3))
    return b + sum(np.einsum("pqnc,ck->pqnk", part, w[i, j]) for i, j, part in shifts)


def correlation_backward(x, w, dy, padding):
    wide = np.pad(x, [(padding, padding)] * 2 + [(0, 0)] * 2)
    dwide, dw, (height, width) = np.zeros_like(wide), np.zeros_like(w), dy.shape[:2]
    for i, j in np.ndindex(3, 3):
        here = slice(i, i + height), slice(j, j + width)
        dwide[here] += np.einsum("pqnk,ck->pqnc", dy, w[i, j])
        dw[i, j] = np.einsum("pqnc,pqnk->ck", wide[here], dy)
    height, width = x.shape[:2]
    dx = dwide[padding : padding + height, padding : padding + width]
    return dx, dw, dy.sum(axis=(0, 1, 2))


@TILES
def test_usual_errors(m):
    """Of 128 channels in float32: those of the docstring of `matrices`, but for a factor of two,
    which the order of BLAS's sums is good for."""
    usual = {2: 3.6e-7, 3: 1.2e-6, 4: 1.5e-6}
    x, w, b = (
        one.astype(np.float32)
        for one in (normal(0, 14, 14, 2, 128), normal(1, 3, 3, 128, 16), normal(2, 16))
    )
    exact = correlation(*(one.astype(float) for one in (x, w, b)), 0)
    error = winograd.convolve(x, w, b, 0, m) - exact
    plain = layers.plain_convolution(x, w, b, 1, 0) - exact
    assert error.std() < 2 * usual[m] * exact.std()
    assert plain.std() < 4e-7 * exact.std()


def size_of_tiles(height, width, n, C, K, r=3, stride=1, padding=1):
    """For a convolution of these sizes, whose numbers do not matter."""
    x, w = np.broadcast_to(0.0, (height, width, n, C)), np.broadcast_to(0.0, (r, r, C, K))
    return layers.tile_size(x, w, stride, padding)


@pytest.mark.numpy_only
def test_tiles_are_used_where_they_save():
    """In most of both networks' layers; not with a stride, for 1 x 1, or for a single pixel; nor
    where one transform of the weights, once a batch, costs more than it saves."""
    for width in (160, 320, 640):
        assert size_of_tiles(32, 32, 64, width, width) == 4
    assert size_of_tiles(9, 9, 64, 256, 256) == 3  # nine pixels are three tiles of three, exactly
    assert size_of_tiles(11, 11, 64, 128, 128) is not None
    assert size_of_tiles(32, 32, 64, 160, 160, stride=2) is None
    assert size_of_tiles(32, 32, 64, 160, 160, r=1, padding=0) is None
    assert size_of_tiles(1, 1, 64, 128, 128) is None
    assert size_of_tiles(2, 2, 1, 640, 640) is None


@pytest.mark.numpy_only
@given(
    sides=st.tuples(st.integers(3, 40), st.integers(3, 40)),
    n=st.integers(1, 100),
    channels=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    padding=st.integers(0, 1),
)
def test_tiles_save_multiplications(sides, n, channels, padding):
    """Of the products alone a tile that is chosen has fewer than 9 a pixel, or few enough that it
    saves copies; and one that saves for a batch saves for two."""
    m = size_of_tiles(*sides, n, *channels, padding=padding)
    if m is None:
        return
    C, K = channels
    height, width = (side + 2 * padding - 2 for side in sides)
    products = (m + 2) ** 2 * -(-height // m) * -(-width // m) * C * K
    copies = 9 * height * width * C * 140  # numbers moved, at what one of them costs
    assert products < 9 * height * width * C * K + copies
    assert size_of_tiles(*sides, 2 * n, *channels, padding=padding) is not None
