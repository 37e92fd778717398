"""(C1), (C2): how fast gradient flow on the exponential loss approaches the KKT point (T2).

Once every pair is aligned for good, the pattern is frozen: features G_n = y_n a_j phi'_jn x_n of
shape (m, d), M_nk = <G_n, G_k>, M lam = 1, and W* = sum_n lam_n G_n with ||W*||^2 = sum_n lam_n.
With s = log t and p_n = q_n - s + log(N lam_n), (N5) is an equation without t,

    dp/ds = -M D (1 - exp(-p)),  D = diag(lam),

and p = 0 attracts all: p = O(t^-kappa) with kappa the smallest eigenvalue of D^(1/2) M D^(1/2).
"""

import math
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import Array, HostArray, asarray, cholesky_solver, namespace, to_host
from reflfap.errors import NoKKTPointError, refuse
from reflfap.onehidden import Network, activation_slope, forward
from reflfap.theory.kkt import aligned_kkt, margins_of_multipliers


def loss_limit(lam: HostArray) -> float:
    """(C1): t L(t) tends to sum_n lam_n = ||W*||^2, for the multipliers (N,) of the KKT point.

    Raises InputError unless all are positive: an idle constraint has no such limit.
    """
    _check_multipliers(lam)
    return float(np.sum(lam))


def late_margins(lam: HostArray, time: float) -> HostArray:
    """(C1): q_n = log t - log(N lam_n), (N,), up to O(t^-kappa). Raises as `loss_limit`."""
    _check_multipliers(lam)
    time = checks.real_number("time", time, 0, math.inf, closed="()")
    return np.asarray(math.log(time) - np.log(len(lam) * lam))


def rate_exponent(x: Array, y: Array, slope: float, lam: HostArray) -> float:
    """(C1): kappa, the smallest eigenvalue of D^(1/2) M D^(1/2), D = diag(lam); at most one.

    For M lam = 1 makes lam^(1/2) an eigenvector of eigenvalue one: a shift of t. Samples x (N, d),
    labels y; M as in (T2), in float64 on the host, about 4 N^3/3 operations. Raises InputError.
    """
    checks.samples_and_labels(x, y)
    _check_multipliers(lam)
    root = np.sqrt(lam)
    M = to_host(margins_of_multipliers(x, y, checks.leaky_slope(slope)))
    return float(np.linalg.eigvalsh(root[:, None] * M * root)[0])


class Asymptote(NamedTuple):
    """The line that W follows: W(t) = W* log t + B + O(t^-kappa)."""

    lam: HostArray  # (N,) float64 multipliers of W*
    limit: Array  # (m, d) W*, the KKT point
    offset: Array  # (m, d) B


def asymptote(net: Network, x: Array, y: Array) -> Asymptote:
    """(C2): W = W* log t + B + o(1), for a network whose pairs are aligned for good.

    B = (the part of W orthogonal to all G_n) + sum_n beta_n G_n with M beta = -log(N lam): the
    first part keeps what the weights began with and what they learned before all was aligned.
    From W = sum_n alpha_n G_n + that part, M alpha = q: B = W + sum_n (beta - alpha)_n G_n. Samples
    x (N, d), labels y (N,). Two Cholesky factors, N^3/3 each, in float64. Raises InputError where a
    pair is not aligned, NoKKTPointError where the aligned point does not exist or leaves a sample
    out.
    """
    xp = checks.samples_and_labels(x, y, net.W.shape[1])
    Z = forward(net, x)[1]
    if off := _misaligned(net, Z, y):
        expected, got = "every unit with a_j y_n > 0 on, every other off", f"{off} pairs otherwise"
        refuse("network", expected, got, "follow the flow for longer")
    point = aligned_kkt(x, y, net.W.shape[0], net.slope)
    if not np.min(point.lam) > 0:
        idle = int(np.argmin(point.lam))
        refuse(
            "KKT point",
            "every multiplier positive",
            f"none of sample {idle}",
            "drop it",
            NoKKTPointError,
        )
    q = xp.astype(y * (net.a @ (activation_slope(Z, net.slope) * Z)), xp.float64)
    target = -xp.log(asarray(len(point.lam) * point.lam, xp)) - q
    shift = cholesky_solver(margins_of_multipliers(x, y, net.slope))(target)
    weights = activation_slope(Z, net.slope) * net.a[:, None] * (y * xp.astype(shift, y.dtype))
    return Asymptote(point.lam, point.net.W, net.W + weights @ x)


def weights_at(line: Asymptote, time: float) -> Array:
    """(C2): W* log t + B, (m, d), at the time t. Raises InputError for a t that is not positive."""
    time = checks.real_number("time", time, 0, math.inf, closed="()")
    return math.log(time) * line.limit + line.offset


def angle_constant(line: Asymptote) -> float:
    """(C2): the limit of log t times the angle between W and W*: ||B'||/||W*||.

    B' is the part of B orthogonal to W*, which is not only that orthogonal to the features.
    """
    return _along_and_across(line)[1]


def angle_at(line: Asymptote, time: float) -> float:
    """(C2): the angle between W and W* at the time t, up to O(t^-kappa), in radians.

    tan = (||B'||/||W*||) / (log t + <B, W*>/||W*||^2).
    """
    along, across = _along_and_across(line)
    time = checks.real_number("time", time, 0, math.inf, closed="()")
    return math.atan2(across, math.log(time) + along)


def aligned_for_good(net: Network, x: Array, y: Array, time: float) -> bool:
    """(C2): a proof that gradient flow, at `net` at the time t, keeps every pair aligned for good.

    On the exponential loss rho = ||W - W* log t - B|| cannot grow while the pattern is frozen, and
    it moves <w_j, x_n> by at most (2/m)^(1/2) rho ||x_n||. So this suffices, for all j and n:
    sgn(a_j y_n) <w*_j log t + B_j, x_n> > (2/m)^(1/2) rho ||x_n||, with the B of `net` itself.
    False says that nothing is proved. Costs and raises as `asymptote`, but for pairs that are not
    aligned.
    """
    xp = checks.samples_and_labels(x, y, net.W.shape[1])
    if _misaligned(net, forward(net, x)[1], y):
        return False
    W = weights_at(asymptote(net, x, y), time)
    rest = net.W - W
    rho = xp.sqrt(xp.sum(rest * rest))
    most = math.sqrt(2 / net.W.shape[0]) * rho * xp.sqrt(xp.sum(x * x, axis=1))
    return bool(xp.all((W @ x.T) * xp.sign(net.a)[:, None] * y > most))


def _misaligned(net: Network, Z: Array, y: Array) -> int:
    """How many of the m N pairs have not z_jn a_j y_n > 0."""
    return int(namespace(Z).count_nonzero(Z * net.a[:, None] * y <= 0))


def _along_and_across(line: Asymptote) -> tuple[float, float]:
    """<B, W*>/||W*||^2, and ||B'||/||W*|| with B' the part of B orthogonal to W*."""
    xp = namespace(line.limit)
    square = float(xp.sum(line.limit * line.limit))
    along = float(xp.sum(line.offset * line.limit)) / square
    across = line.offset - along * line.limit
    return along, math.sqrt(float(xp.sum(across * across)) / square)


def _check_multipliers(lam: HostArray) -> None:
    if lam.ndim != 1 or len(lam) == 0 or not bool(np.all(lam > 0)) or not np.all(np.isfinite(lam)):
        got = f"shape {lam.shape}, the least {np.min(lam, initial=math.inf):.3g}"
        refuse("lam", "positive finite multipliers (N,)", got, "take those of `aligned_kkt`")
