"""(A1) to (A3): the odd part of a network is linear, whatever its weights, and what that explains.

phi(z) = (1 + gamma) z/2 + (1 - gamma) |z|/2. So f = o + e with an odd part that is linear,

    o(z) = (1 + gamma)/2 <s, z>,  s = sum_j a_j w_j,      e(z) = (1 - gamma)/2 sum_j a_j |<w_j, z>|,

and along every training s = s(0) + sum_n c_n y_n x_n with c_n >= 0. What (T5), (L1) and (L2) say of
the limit under (T1), the odd part does at all times, for any samples, with c_n for lam_n.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import Array, namespace
from reflfap.losses import Loss, rate
from reflfap.onehidden import Network, activation_slope, margins
from reflfap.theory.kkt import effective_multipliers
from reflfap.training.flow import flow


class OddEven(NamedTuple):
    """The two parts of f at some points z, each (n,): f(z) = odd + even, f(-z) = even - odd."""

    odd: Array
    even: Array


def odd_direction(net: Network) -> Array:
    """(A1): s = sum_j a_j w_j, (d,): f(z) - f(-z) = (1 + gamma) <s, z> for every W and z.

    2 m d operations. In the dtype of W; raises NonFiniteError where s exceeds it.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        s = net.a @ net.W
    checks.finite_result("s", s, "scale the weights down")
    return s


def odd_and_even(net: Network, z: Array) -> OddEven:
    """(A1): o = (f(z) - f(-z))/2 and e = (f(z) + f(-z))/2 at points z (n, d).

    o = (1 + gamma)/2 sum_j a_j <w_j, z>, e = (1 - gamma)/2 sum_j a_j |<w_j, z>|: one product,
    2 m d n operations, and none at -z. Raises InputError for bad points, NonFiniteError where a
    part exceeds the dtype.
    """
    xp = checks.matrix("z", z)
    checks.columns(z, net.W.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        Z = net.W @ z.T
        odd = (1 + net.slope) / 2 * (net.a @ Z)
        even = (1 - net.slope) / 2 * (net.a @ xp.abs(Z))
        total = odd + even  # not finite either where a part is not
    checks.finite_result("f(z)", total, "scale the points or the weights down")
    return OddEven(odd, even)


def odd_multipliers(net: Network, C: Array, y: Array) -> Array:
    """(A2): c_n = y_n sum_j a_j C_jn, (N,), for W = W0 + C X: s = s(0) + sum_n c_n y_n x_n.

    (1 + gamma)/2 times `kkt.effective_multipliers`, so that o(z) - (1 + gamma)/2 <s(0), z> is
    (1 + gamma)^2/4 times the boundary function of those. At an aligned KKT point c_n is
    (1 + gamma)/2 lam_n. A training that keeps C gives them for 2 m N operations more, one part in
    N of a single of its gradients. Raises NonFiniteError where they exceed the dtype.
    """
    return (1 + net.slope) / 2 * effective_multipliers(net, C, y)


def odd_multiplier_rates(net: Network, x: Array, y: Array, loss: Loss) -> Array:
    """(A2): dc_n/dt = (r_n/N) mean_j phi'(<w_j, x_n>), (N,) float64, along gradient flow.

    r_n = -l'(q_n) > 0, so that every c_n grows at any time, at a rate from gamma r_n/N to r_n/N.
    Samples x (N, d), labels y (N,). 2 m d N operations. Raises InputError for bad input.
    """
    xp = namespace(x)
    q = margins(net, x, y)
    on = xp.mean(activation_slope(net.W @ x.T, net.slope), axis=0)
    return rate(loss, q) / x.shape[0] * xp.astype(on, xp.float64)


class Moment(NamedTuple):
    """A network on its way, and the multipliers of its odd part."""

    time: float
    net: Network
    c: Array  # (N,)


def odd_course(
    net: Network,
    x: Array,
    y: Array,
    loss: Loss | str,
    times: Sequence[float],
    tolerance: float = 0.3,
) -> tuple[Moment, ...]:
    """(A2) along gradient flow from `net`: networks and multipliers at increasing times.

    The flow is followed from each time to the next, the c_n of the pieces are added. What they add
    to a training is nothing beside it, see `odd_multipliers`; keeping the networks takes m d each.
    Raises as `flow`, and InputError for times that do not increase.
    """
    moments: list[Moment] = []
    now, c = 0.0, 0 * y
    for time in times:
        checks.real_number("time", time - now, 0, np.inf, closed="()")
        trained = flow(net, x, y, loss, time=time - now, tolerance=tolerance)
        net, now, c = trained.net, time, c + odd_multipliers(net, trained.C, y)
        moments.append(Moment(time, net, c))
    return tuple(moments)


def mirrored_accuracy(parts: OddEven, y: Array) -> float:
    """(A3): the accuracy at points with labels y (n,), averaged over (z, y) and (-z, -y).

    P(y o > |e|) + P(|o| < |e|)/2; a tie y o = |e| > 0, right at one of the two, counts as 1/2 too.
    That is (P(y o > |e|) + P(y o > -|e|))/2. At most one half lies with the even part alone.
    Raises InputError for shapes that differ.
    """
    checks.same_shape("y", y, parts.odd, "the parts")
    xp = namespace(y)
    toward = y * parts.odd
    here = xp.astype(
        toward > -parts.even, xp.float64
    )  # or at the mirrored point: e has either sign
    there = xp.astype(toward > parts.even, xp.float64)
    return float(xp.mean(here + there)) / 2


def even_share(parts: OddEven) -> float:
    """(A3): the share of the even part in the variance of f over the points z and -z together.

    Var f = mean o^2 + Var e there, since the mean of o and that of o e vanish. From 0 to 1; 0
    for a network that is constant on them. Squares in float64.
    """
    xp = namespace(parts.odd)
    odd, even = (xp.astype(part, xp.float64) for part in parts)
    linear, rest = float(xp.mean(odd * odd)), float(xp.var(even))
    return rest / (linear + rest or 1.0)
