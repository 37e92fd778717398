"""(T2): the KKT point to which gradient flow converges in direction, solved for directly.

The problem is min ||W||_F^2 / 2 subject to q_n >= 1, and a KKT point has

    w_j = sum_n lam_n y_n a_j phi'(<w_j, x_n>) x_n,   lam_n >= 0,   lam_n (q_n - 1) = 0.

If the pattern is aligned, units with a_j y_n > 0 on at x_n and all others off, then W has two
different rows and the margins are linear in lam: q = M lam with

    M_nk = y_n y_k <x_n, x_k> (1 + gamma^2)/2 for y_n = y_k,   y_n y_k <x_n, x_k> gamma otherwise.
"""

import math
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import Array, HostArray, asarray, cholesky_solver, namespace, slices, to_host
from reflfap.errors import NoKKTPointError, refuse
from reflfap.norms import row_peaks
from reflfap.onehidden import Network, activation_slope, network, output_weights
from reflfap.training.implicit import interaction

MOST_PIVOTS = 1_000
REFINEMENTS = 5
TOLERANCE = 1e-6
SMALLEST_PIVOT = 1e-6  # relative; rounding leaves a repeated float64 sample 1e-8
ROWS = 1_000  # of M that are signed at a time, so that no second (N, N) is needed


class KKT(NamedTuple):
    """A certified KKT point."""

    net: Network
    lam: HostArray  # (N,) float64 multipliers
    q: HostArray  # (N,) float64 margins, at least one
    residual: float  # largest violation of stationarity, feasibility and slackness, relative


def aligned_kkt(x: Array, y: Array, hidden: int, slope: float) -> KKT:
    """(T2): the KKT point with the aligned pattern, for samples x (N, d) with labels y (N,).

    Every constraint active: one Cholesky factor of M, N^3/3, in float64. If that gives negative
    multipliers, constraints are inactive, and each exchange of some costs another factor. Whatever
    was solved, the certificate is taken on the network itself: nothing uncertified is returned.
    Raises NoKKTPointError saying which part failed. dtype and namespace of the network are those of
    x, and the solve is there too. Memory: two (N, N) in float64; on the host 2.9 GB and 12 s a
    factor at N = d = 10,000, two cores.
    """
    xp = checks.samples_and_labels(x, y)
    m, slope = checks.hidden_units(hidden), checks.leaky_slope(slope)
    checks.squares_held("x", xp.max(row_peaks(x)))
    lam = to_host(non_negative_solution(margins_of_multipliers(x, y, slope)))
    a, y_host = output_weights(m)[[0, -1]], to_host(y).astype(np.float64)
    pattern = np.where(a[:, None] * y_host > 0, 1.0, slope)  # phi' of (T2) for both rows
    weights = pattern * (lam * y_host) * a[:, None]
    rows = xp.astype(asarray(weights, xp), x.dtype) @ x
    net = network(xp.repeat(rows, m // 2, axis=0), slope)
    q, residual = certificate(net, x, y, lam)
    return KKT(net, lam, q, residual)


def certificate(net: Network, x: Array, y: Array, lam: HostArray) -> tuple[HostArray, float]:
    """Margins, and the largest relative violation of the KKT conditions (T2) by `net` and `lam`.

    Samples x (N, d), labels y (N,) of +1 and -1, multipliers lam (N,). Margins are (N,) float64 on
    the host. Takes the pattern from the network itself: two products of 2 m d N operations. Raises
    NoKKTPointError if one part exceeds 1e-6 in float64, 1e-3 in float32, whose inner products over
    d = 10,000 inputs err by up to that.
    """
    xp = namespace(x)
    Z = net.W @ x.T
    slopes = activation_slope(Z, net.slope)
    q = to_host(y * (net.a @ (slopes * Z))).astype(np.float64)
    weights = asarray(lam, xp)
    C = slopes * net.a[:, None] * xp.astype(weights * xp.astype(y, xp.float64), Z.dtype)
    scale = float(xp.max(xp.abs(net.W)))
    stationarity = float(xp.max(xp.abs(net.W - C @ x)) / scale)
    parts = {
        "stationarity (the activation pattern is not the aligned one)": stationarity,
        "feasibility (a margin is below one)": float(np.max(1 - q)),
        "complementary slackness": float(np.max(np.abs(lam * (q - 1))) / np.max(lam)),
        "non-negative multipliers": float(np.max(-lam) / np.max(lam)),
    }
    tolerance = TOLERANCE if x.dtype == xp.float64 else 1e3 * TOLERANCE
    for what, violation in parts.items():
        if not violation <= tolerance:
            got = f"a violation of {violation:.2g} of {what}"
            remedy = "the data are too correlated for it, use --trainer flow"
            refuse("KKT point", "an aligned one", got, remedy, NoKKTPointError)
    return q, max(parts.values())


def margins_of_multipliers(x: Array, y: Array, slope: float) -> Array:
    """M (N, N) float64 with q = M lam under the aligned pattern, (T2), of labels +1 and -1.

    M_nk = <x_n, x_k> times (1 + gamma^2)/2 for equal labels, and times -gamma for opposite ones.
    Inner products in the dtype of x (N, d): 2 N^2 d operations.
    """
    xp = namespace(x)
    M = xp.astype(x @ x.T, xp.float64, copy=False)
    same, opposite = (1 + slope**2) / 2, -slope
    for rows in slices(x.shape[0], ROWS):
        M[rows, :] *= opposite + (same - opposite) * xp.astype(y[rows, None] == y, xp.float64)
    return M


def non_negative_solution(M: Array) -> Array:
    """lam >= 0 with M lam >= 1 and lam_n (M lam - 1)_n = 0, (N,), for positive definite M (N, N).

    Block pivoting (Judice and Pires, 1994): solve on the active constraints, then exchange all that
    came out wrong, negative multipliers or margins below one. If three exchanges in a row have not
    lowered the number of wrong ones, only the last wrong one is exchanged, which cannot cycle
    (Murty, 1974). One Cholesky factor a round, N^3/3; one round where every constraint is active.
    Memory: a second (N, N), a third where a constraint is inactive. dtype and namespace are those
    of M.
    """
    xp, n = namespace(M), M.shape[0]
    active = xp.ones(n, dtype=xp.bool)
    fewest, patience = n + 1, 3
    for _ in range(MOST_PIVOTS):
        lam = xp.zeros(n, dtype=M.dtype)
        lam[active] = _solve_ones(M if bool(xp.all(active)) else M[active].T[active])  # symmetric
        wrong = xp.where(active, lam < 0, M @ lam < 1 - 1e-9)
        count = int(xp.count_nonzero(wrong))
        if count == 0:
            checks.finite_result("lam", lam, "scale the samples up")
            return lam
        if count < fewest:
            fewest, patience = count, 3
        else:
            patience -= 1
        if patience < 0:
            wrong[: int(xp.nonzero(wrong)[0][-1])] = False
        active = active != wrong
    expected = f"the active constraints within {MOST_PIVOTS} exchanges"
    got = f"{count} of {n} still wrong"
    refuse("KKT point", expected, got, "use --trainer flow", NoKKTPointError)


def _solve_ones(M: Array) -> Array:
    """lam with M lam = 1, by Cholesky."""
    try:
        return cholesky_solver(M, SMALLEST_PIVOT)(namespace(M).ones(M.shape[0], dtype=M.dtype))
    except np.linalg.LinAlgError:
        expected, got = "linearly independent samples", "a singular system"
        remedy = "remove repeated samples, or use --trainer flow"
        refuse("KKT point", expected, got, remedy, NoKKTPointError)


def multiplier_bounds(x: Array, slope: float) -> tuple[float, float]:
    """(T3): 1/(2 R_max^2) < lam_n < 3/(2 gamma^2 R_min^2), for samples x (N, d) under (T1).

    Raises InputError where no float holds them: for a sample that is zero, tiny or huge, or a slope
    below 10^-40.
    """
    xp, slope = checks.matrix("x", x), checks.slope_with_powers(slope)
    checks.squares_held("x", row_peaks(x))
    squares = xp.sum(x * x, axis=1)
    return 0.5 / float(xp.max(squares)), 1.5 / (slope**2 * float(xp.min(squares)))


class Recovered(NamedTuple):
    """Multipliers read off a trained network."""

    lam: HostArray  # (N,) float64, for W as it is; divide by the least margin for (T2)
    residual: float  # ||W - sum_n lam_n (...)_n||_F / ||W||_F, 0 at a KKT point


def recover_multipliers(net: Network, x: Array, y: Array) -> Recovered:
    """(T2) backwards: the lam that explain W best as w_j = sum_n lam_n y_n a_j phi'(Z_jn) x_n.

    Least squares over the N coefficients of the m d equations. Its normal equations are
    H lam = q with H of (N5) and q the margins: the inner product of two of the N matrices
    y_n a_j phi'(Z_jn) x_n is H_nk, and that of one with W is q_n. Solved in float64 by Cholesky
    with a small ridge, and refined: samples that depend on each other up to rounding share their
    multipliers.
    Memory: three (N, N) in float64. Raises InputError for bad input, such as weights that are all
    zero, or squares that leave the dtype.
    """
    xp = checks.samples_and_labels(x, y, net.W.shape[1])
    checks.squares_held("x", xp.max(row_peaks(x)))
    checks.squares_held("W", xp.max(row_peaks(net.W)))
    Z = net.W @ x.T
    slopes = activation_slope(Z, net.slope)
    signs = xp.astype(y, xp.float64)
    q = signs * xp.astype(net.a @ (slopes * Z), xp.float64)
    H = xp.astype(interaction(x @ x.T, slopes), xp.float64, copy=False)
    H *= signs
    H *= signs[:, None]
    largest = float(xp.max(H))  # stands on the diagonal, as in every semi-definite matrix
    if largest < float(xp.finfo(x.dtype).smallest_normal):  # H is zero, or has lost its digits
        expected, remedy = "units that are on at some sample", "use a larger slope, or float64"
        refuse("network", expected, f"a largest H_nk of {largest:.3g}", remedy)
    ridged = math.sqrt(float(xp.finfo(x.dtype).eps)) * largest * xp.eye(x.shape[0])
    ridged += H
    solve = cholesky_solver(ridged)
    lam = xp.zeros_like(q)
    for _ in range(REFINEMENTS):  # each takes away most of what the ridge has biased
        lam = lam + solve(q - H @ lam)
    C = slopes * net.a[:, None] * xp.astype(lam * signs, x.dtype)
    rest = net.W - C @ x
    residual = float(xp.sqrt(xp.sum(rest * rest))) / float(xp.sqrt(xp.sum(net.W * net.W)))
    return Recovered(to_host(lam), residual)


def effective_multipliers(net: Network, C: Array, y: Array) -> Array:
    """(T2) off the limit: lam_n = 2 y_n sum_j a_j C_jn / (1 + gamma), (N,), for W = W0 + C X.

    At an aligned KKT point with W0 = 0, C_jn = lam_n y_n a_j phi'_jn, and sum_j a_j^2 phi'_jn =
    (1 + gamma)/2, so these are its multipliers. Anywhere else, the difference of the mean weights
    of both halves of the units is (1 + gamma)/sqrt(m) sum_n lam_n y_n x_n, plus that of W0: the
    relation of (T5) to (T4). In the dtype of C; raises NonFiniteError where they exceed it.
    """
    namespace(C, y)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        lam = 2 / (1 + net.slope) * y * (net.a @ C)
    checks.finite_result("lam", lam, "scale C down")
    return lam
