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
from scipy import linalg

from reflfap import checks
from reflfap.backend import Array, HostArray, asarray, namespace, to_host
from reflfap.errors import NoKKTPointError
from reflfap.onehidden import Network, activation_slope, network, output_weights
from reflfap.training.frozen import interaction

MOST_PIVOTS = 1_000
REFINEMENTS = 5
TOLERANCE = 1e-6
SMALLEST_PIVOT = 1e-6  # relative; rounding leaves a repeated float64 sample 1e-8


class KKT(NamedTuple):
    """A certified KKT point."""

    net: Network
    lam: HostArray  # (N,) float64 multipliers
    q: HostArray  # (N,) float64 margins, at least one
    residual: float  # largest violation of stationarity, feasibility and slackness, relative


def aligned_pattern(a: HostArray, y: HostArray, slope: float) -> HostArray:
    """phi' of (T2), (m, N): 1 where a_j y_n > 0, else gamma."""
    return np.where(a[:, None] * y > 0, 1.0, slope)


def aligned_kkt(x: Array, y: Array, hidden: int, slope: float) -> KKT:
    """(T2): the KKT point with the aligned pattern, for samples x (N, d) with labels y (N,).

    Every constraint active: one Cholesky factor of M, N^3/3, in float64. If that gives negative
    multipliers, constraints are inactive, and each exchange of some costs another factor. Whatever
    was solved, the certificate is taken on the network itself: nothing uncertified is returned.
    Raises NoKKTPointError saying which part failed. dtype and namespace of the network are those of
    x; the solve is on the host. Memory: two (N, N) in float64; 2.9 GB and 12 s a factor at
    N = d = 10,000, two cores.
    Checked by test_kkt.py::test_orthogonal_data, ::test_against_slsqp, ::test_failures_are_named.
    """
    xp = checks.samples_and_labels(x, y)
    m, slope = checks.hidden_units(hidden), checks.leaky_slope(slope)
    x_host, y_host = to_host(x), to_host(y).astype(np.float64)
    M = _margins_of_multipliers(x_host, y_host, slope)
    lam = non_negative_solution(M)
    a = output_weights(m)
    weights = aligned_pattern(a[[0, -1]], y_host, slope) * (lam * y_host)
    rows = weights.astype(x_host.dtype) @ x_host
    W = np.repeat(rows * a[[0, -1], None], m // 2, axis=0).astype(x_host.dtype)
    net = network(asarray(W, xp), slope)
    q, residual = certificate(net, x, y, lam)
    return KKT(net, lam, q, residual)


def certificate(net: Network, x: Array, y: Array, lam: HostArray) -> tuple[HostArray, float]:
    """Margins, and the largest relative violation of the KKT conditions (T2) by `net` and `lam`.

    Takes the pattern from the network itself. Raises NoKKTPointError if one part exceeds 1e-6 in
    float64, 1e-3 in float32, whose inner products over d = 10,000 inputs err by up to that.
    """
    xp = namespace(x)
    Z = net.W @ x.T
    slopes = activation_slope(Z, net.slope)
    q = to_host(y * (net.a @ (slopes * Z))).astype(np.float64)
    weights = asarray(lam, xp)
    C = slopes * net.a[:, None] * xp.astype(weights * xp.astype(y, xp.float64), Z.dtype)
    scale = float(xp.max(xp.abs(net.W)))
    parts = {
        "stationarity (the activation pattern is not the aligned one)": float(
            xp.max(xp.abs(net.W - C @ x)) / scale
        ),
        "feasibility (a margin is below one)": float(np.max(1 - q)),
        "complementary slackness": float(np.max(np.abs(lam * (q - 1))) / np.max(lam)),
        "non-negative multipliers": float(np.max(-lam) / np.max(lam)),
    }
    tolerance = TOLERANCE if x.dtype == xp.float64 else 1e3 * TOLERANCE
    for what, violation in parts.items():
        if not violation <= tolerance:
            raise NoKKTPointError(
                f"KKT point: expected an aligned one, got a violation of {violation:.2g} of "
                f"{what}; the data are too correlated for it, use --trainer flow"
            )
    return q, max(parts.values())


def _margins_of_multipliers(x: HostArray, y: HostArray, slope: float) -> HostArray:
    """M (N, N) float64 with q = M lam under the aligned pattern."""
    M = (x @ x.T).astype(np.float64)
    same, opposite = (1 + slope**2) / 2, -slope
    for row, label in zip(M, y, strict=True):  # no second (N, N)
        row *= np.where(y == label, same, opposite)
    return M


def non_negative_solution(M: HostArray) -> HostArray:
    """lam >= 0 with M lam >= 1 and lam_n (M lam - 1)_n = 0, (N,), for positive definite M (N, N).

    Block pivoting (Judice and Pires, 1994): solve on the active constraints, then exchange all that
    came out wrong, negative multipliers or margins below one. If three exchanges in a row have not
    lowered the number of wrong ones, only the last wrong one is exchanged, which cannot cycle
    (Murty, 1974). One Cholesky factor a round, N^3/3; one round where every constraint is active.
    Memory: a second (N, N). Checked by test_kkt.py::test_non_negative_solution_against_scipy.
    """
    n = len(M)
    active = np.ones(n, dtype=bool)
    fewest, patience = n + 1, 3
    for _ in range(MOST_PIVOTS):
        lam = np.zeros(n)
        lam[active] = _solve_ones(M if active.all() else M[np.ix_(active, active)])
        wrong = np.where(active, lam < 0, M @ lam < 1 - 1e-9)
        count = int(wrong.sum())
        if count == 0:
            return lam
        if count < fewest:
            fewest, patience = count, 3
        else:
            patience -= 1
        if patience < 0:
            wrong[: np.flatnonzero(wrong)[-1]] = False
        active ^= wrong
    raise NoKKTPointError(
        f"KKT point: expected the active constraints within {MOST_PIVOTS} exchanges, got {count} "
        f"of {n} still wrong; use --trainer flow"
    )


def _solve_ones(M: HostArray) -> HostArray:
    """lam with M lam = 1, by Cholesky."""
    try:
        factor = linalg.cholesky(M, check_finite=False)
        singular = factor.diagonal().min() < SMALLEST_PIVOT * factor.diagonal().max()
    except linalg.LinAlgError:
        singular = True
    if singular:
        raise NoKKTPointError(
            "KKT point: expected linearly independent samples, got a singular system; "
            "remove repeated samples, or use --trainer flow"
        )
    lam: HostArray = linalg.cho_solve((factor, False), np.ones(len(M)), check_finite=False)
    return lam


def multiplier_bounds(x: Array, slope: float) -> tuple[float, float]:
    """(T3): 1/(2 R_max^2) < lam_n < 3/(2 gamma^2 R_min^2), for samples x (N, d) under (T1).

    Checked by test_theory.py::test_multipliers_lie_within_their_bounds.
    """
    xp, slope = checks.matrix("x", x), checks.leaky_slope(slope)
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
    y_n a_j phi'(Z_jn) x_n is H_nk, and that of one with W is q_n. Solved in float64 on the host by
    Cholesky with a small ridge, and refined: samples that depend on each other up to rounding share
    their multipliers.
    Memory: three (N, N) in float64. Checked by test_theory.py::test_multipliers_are_recovered.
    """
    checks.samples_and_labels(x, y, net.W.shape[1])
    xp = namespace(x)
    Z = net.W @ x.T
    slopes = activation_slope(Z, net.slope)
    q = to_host(y * (net.a @ (slopes * Z))).astype(np.float64)
    y_host = to_host(y).astype(np.float64)
    H = to_host(interaction(x @ x.T, slopes)).astype(np.float64)
    H *= y_host
    H *= y_host[:, None]
    ridge = math.sqrt(float(np.finfo(str(x.dtype)).eps)) * H.diagonal().max()
    factor = linalg.cho_factor(H + ridge * np.eye(len(H)), overwrite_a=True, check_finite=False)
    lam: HostArray = np.zeros(len(H))
    for _ in range(REFINEMENTS):  # each takes away most of what the ridge has biased
        lam = lam + linalg.cho_solve(factor, q - H @ lam, check_finite=False)
    C = slopes * net.a[:, None] * xp.astype(asarray(lam * y_host, xp), x.dtype)
    rest = net.W - C @ x
    residual = float(xp.sqrt(xp.sum(rest * rest))) / float(xp.sqrt(xp.sum(net.W * net.W)))
    return Recovered(lam, residual)


def effective_multipliers(net: Network, C: Array, y: Array) -> Array:
    """(T2) off the limit: lam_n = 2 y_n sum_j a_j C_jn / (1 + gamma), (N,), for W = W0 + C X.

    At an aligned KKT point with W0 = 0, C_jn = lam_n y_n a_j phi'_jn, and sum_j a_j^2 phi'_jn =
    (1 + gamma)/2, so these are its multipliers. Anywhere else, the difference of the mean weights
    of both halves of the units is (1 + gamma)/sqrt(m) sum_n lam_n y_n x_n, plus that of W0: the
    relation of (T5) to (T4). In the dtype of C.
    Checked by test_kkt.py::test_effective_multipliers.
    """
    namespace(C, y)
    return 2 / (1 + net.slope) * y * (net.a @ C)
