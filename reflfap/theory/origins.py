"""Where the perturbations come from: four explanations from the literature, in this network.

How near the boundary is to every sample at the aligned KKT point (T2); what of the gradient lies
outside the data's span, which training never touches; how the stable rank of W falls along (C2);
and what W reveals of the samples. Derivations, and whose each one is: docs/origins.md.
"""

import math

import numpy as np

from reflfap import checks
from reflfap.backend import Array, asarray, namespace, to_host
from reflfap.errors import refuse
from reflfap.norms import row_peaks
from reflfap.theory.rate import Asymptote
from reflfap.theory.uniqueness import interference, scaled_multiplier_bounds


def boundary_distances(b: Array, x: Array) -> Array:
    """D_n = |<b, x_n>|/||b||, (N,): how far samples x (N, d) are from the boundary of (T4).

    Exact in L2, however many kinks lie between. b (d,) is the normal of (T5); x_n - s y_n b/||b||
    changes sides at s = D_n. Raises InputError for bad input, or a b that is zero or whose squares
    leave the dtype.
    """
    xp = checks.matrix("x", x)
    namespace(b, x)
    checks.squares_held("b", xp.max(xp.abs(b)))
    return xp.abs(x @ (b / xp.sqrt(xp.sum(b * b))))


def boundary_distance_bounds(x: Array, slope: float) -> tuple[float, float]:
    """Below and above every D_n at the aligned point, for samples x (N, d) under (R1).

    With D = (sum_k 1/||x_k||^2)^(-1/2), which is ||x||/sqrt(N) for equal norms, r of (R1), and
    delta = (1 - gamma)^2/(1 + gamma^2) r/(1 - r):

        D^2 (1 - delta)^2 (1 - r)/(1 + delta) <= D_n^2
            <= D^2 (1 + delta)^2 (1 - r)/((1 - delta) (1 - 2 r)).

    For every labelling. r is taken at the upper end of its enclosure. N^2 d operations. Raises
    InputError for bad input, and where (R1) does not hold.
    """
    r = interference(x).r[1]
    scaled_multiplier_bounds(r, slope)  # which refuses samples without (R1)
    delta = (1 - slope) ** 2 / (1 + slope**2) * r / (1 - r)
    xp = namespace(x)
    wide = xp.astype(x, xp.float64, copy=False)
    square = (1 - r) / float(xp.sum(1 / xp.sum(wide * wide, axis=1)))
    low = square * (1 - delta) ** 2 / (1 + delta)
    high = square * (1 + delta) ** 2 / ((1 - delta) * (1 - 2 * r))
    return math.sqrt(low), math.sqrt(high)


def row_basis(rows: Array) -> Array:
    """Orthonormal rows (k, d) that span those of `rows` (n, d), k their numerical rank.

    Directions whose singular value is below the largest times the root of the dtype's eps are left
    out. A singular value decomposition on the host in float64, about 6 n d min(n, d) operations.
    dtype and namespace are those of `rows`. Raises InputError for bad input, or rows all zero.
    """
    xp = checks.matrix("rows", rows)
    _, values, vectors = np.linalg.svd(to_host(rows).astype(np.float64), full_matrices=False)
    if values[0] == 0:
        refuse("rows", "a row that is not zero", "none", "give rows that span something")
    kept = values > math.sqrt(float(xp.finfo(rows.dtype).eps)) * values[0]
    return xp.astype(asarray(vectors[kept], xp), rows.dtype)


def off_span(basis: Array, v: Array) -> Array:
    """The part of v (n, d) orthogonal to the orthonormal rows of `basis` (k, d): v - v B^T B.

    4 n k d operations. Raises InputError for bad input.
    """
    checks.matrix("v", v)
    namespace(basis, v)
    checks.columns(v, basis.shape[1])
    return v - (v @ basis.T) @ basis


def expected_off_span_gradient(left_out: int, dim: int, on: Array, slope: float) -> Array:
    """E ||P grad f(x)||^2 = l (p + (1 - p) gamma^2)/(3 d), P onto l directions outside the data.

    For initial weights uniform on +-1/sqrt(d), of variance 1/(3 d), at all times of training: P w_j
    stays what it was. `on` is the share p of units with <w_j, x> > 0, an array of any shape; at
    p = 1/2 it is l (1 + gamma^2)/(6 d). Raises InputError for shares outside [0, 1], or more
    directions than inputs.
    """
    d = checks.whole_number("dim", dim, 1)
    count = checks.whole_number("left_out", left_out, 0, d)
    slope, xp = checks.leaky_slope(slope), namespace(on)
    if not bool(xp.all((on >= 0) & (on <= 1))):
        refuse("on", "shares from 0 to 1", "others", "give the share of units with <w_j, x> > 0")
    return count / (3 * d) * (slope**2 + (1 - slope**2) * on)


def stable_rank(W: Array) -> float:
    """||W||_F^2/||W||_2^2, from 1 to the rank of W (m, d).

    The largest singular value on the host in float64, about 4 m d min(m, d) operations. Raises
    InputError for bad input, such as weights that are all zero.
    """
    xp = checks.matrix("W", W)
    checks.squares_held("W", xp.max(row_peaks(W)))
    squares = np.linalg.svd(to_host(W).astype(np.float64), compute_uv=False) ** 2
    return float(squares.sum() / squares[0])


def aligned_stable_rank(u: Array, v: Array) -> float:
    """The stable rank of a W of which half of the rows are u (d,), half v, as at the point of (T2).

    W^T W = (m/2) (u u^T + v v^T) has the eigenvalues of the 2 x 2 Gram matrix of u and v, times
    m/2. So it is 2/(1 + sqrt((A - B)^2 + 4 c^2)/(A + B)), A = ||u||^2, B = ||v||^2, c = <u, v>:
    from 1 to 2. Raises InputError where both are zero, or squares leave the dtype.
    """
    xp = namespace(u, v)
    checks.squares_held("u, v", xp.maximum(xp.max(xp.abs(u)), xp.max(xp.abs(v))))
    A, B, c = (float(xp.sum(one * other)) for one, other in ((u, u), (v, v), (u, v)))
    return 2 / (1 + math.hypot(A - B, 2 * c) / (A + B))


def stable_rank_bounds(line: Asymptote, time: float) -> tuple[float, float]:
    """Below and above the stable rank of W* log t + B, the line of (C2), at the time t.

    With s = log t + <B, W*>/||W*||^2 and B' the part of B orthogonal to W*, W = s W* + B' and

        (k* s^2 + F^2)/(s + beta)^2 <= stable rank <= (k* s^2 + F^2)/(s - beta)^2,

    k* that of W*, F = ||B'||_F/||W*||_2, beta = ||B'||_2/||W*||_2. The upper one is infinite up to
    s = beta. Two singular value decompositions, as `stable_rank`. Raises InputError for a time that
    is not positive.
    """
    time = checks.real_number("time", time, 0, math.inf, closed="()")
    limit, offset = (to_host(one).astype(np.float64) for one in (line.limit, line.offset))
    along = np.sum(offset * limit) / np.sum(limit * limit)
    rest = offset - along * limit
    s, largest = math.log(time) + float(along), float(np.linalg.norm(limit, 2))
    beta = float(np.linalg.norm(rest, 2)) / largest
    above = (np.sum(limit * limit) * s**2 + np.sum(rest * rest)) / largest**2
    low = above / (abs(s) + beta) ** 2
    return float(low), float(above / (s - beta) ** 2) if s > beta else math.inf


def frozen_coefficients(C: Array) -> Array:
    """C (m, N) of W = W0 + C X, less the mean row of either half of the units, (m, N).

    Once every pair is aligned, all units of one sign of a_j learn alike. So this part stays for
    good, and C has at most two singular values larger than the largest here. Raises InputError for
    bad input.
    """
    xp = checks.matrix("C", C)
    half = checks.hidden_units(C.shape[0], "C.shape[0]") // 2
    return xp.concat([part - xp.mean(part, axis=0) for part in (C[:half], C[half:])])
