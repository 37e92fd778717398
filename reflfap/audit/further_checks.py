"""The checks of `reflfap audit` on what holds beyond the paper: the odd part (A1) to (A3), and the
rate (C1), (C2). No formula of theirs stands in reflfap.paper; second routes are loops over outputs
at z and -z, and scipy's integrator in log t.
"""

import math
from functools import cache
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from reflfap.audit.checks import COUNTED, DIFFERENCES, SOLVED, Checks, compared
from reflfap.audit.problems import (
    PLAIN,
    SLOPE,
    features,
    integrated,
    limit,
    loss_differences,
    paper,
    plain_f,
    problem,
    smooth,
)
from reflfap.backend import HostArray
from reflfap.losses import LOSSES
from reflfap.onehidden import network
from reflfap.theory import odd_part, rate

LATE = (1e3, 1e6, 1e9)
APPROACH = (1e-7, "scipy was asked for 1e-11 a step; what is left falls like t^-kappa")


def difference(W: HostArray, z: HostArray) -> HostArray:
    """(f(z) - f(-z))/(1 + gamma), point by point: <s, z> by (A1)."""
    return np.asarray((plain_f(W, z) - plain_f(W, -z)) / (1 + SLOPE))


def a1() -> Checks:
    net, x, _ = problem(n=20)
    net.W[1] = x[0] = 0  # pre-activations that stand at the kink
    found, axes = odd_part.odd_direction(net), np.eye(x.shape[1])
    route = "f(z) - f(-z) along every axis, loops over units"
    yield compared("theory.odd_part.odd_direction", found, difference(net.W, axes), route)
    here, there = plain_f(net.W, x), plain_f(net.W, -x)
    parts = ((here - there) / 2, (here + there) / 2)
    route = "f at z and at -z, loops over units"
    yield compared("theory.odd_part.odd_and_even", odd_part.odd_and_even(net, x), parts, route)


def a2() -> Checks:
    net, x, y = problem()
    dual = np.linalg.pinv(x).T  # <x_k, z_n> is 1 for k = n, else 0: <s, z_n> y_n is c_n
    C = np.random.default_rng(1).standard_normal((6, 5))
    route = "f(z) - f(-z) where z is orthogonal to all samples but one"
    found, expected = odd_part.odd_multipliers(net, C, y), y * difference(C @ x, dual)
    yield compared("theory.odd_part.odd_multipliers", found, expected, route, SOLVED)
    route = "the same of the velocity -grad L, every entry by differences"
    for loss, gradient in zip(LOSSES.values(), loss_differences("W"), strict=True):
        found, expected = (
            odd_part.odd_multiplier_rates(net, x, y, loss),
            y * difference(-gradient, dual),
        )
        yield compared("theory.odd_part.odd_multiplier_rates", found, expected, route, DIFFERENCES)
    net, x, y = smooth()  # orthonormal samples, their own duals
    for name, W in zip(PLAIN, integrated(), strict=True):
        first, last = odd_part.odd_course(net, x, y, name, [2.0, 5.0], 1e-6)
        route, asked = (
            "s(5) - s(0) of weights by scipy's DOP853",
            (1e-5, "1e-6 a step was asked for"),
        )
        expected = y * (difference(W, x) - difference(net.W, x))
        yield compared("theory.odd_part.odd_course", last.c, expected, route, asked)
        for one, time in ((first, 2.0), (last, 5.0)):
            own = (y * (difference(one.net.W, x) - difference(net.W, x)), time)
            found = (one.c, one.time)
            yield compared("theory.odd_part.odd_course", found, own, "its own networks", SOLVED)


def a3() -> Checks:
    rng = np.random.default_rng(0)
    W, z = (rng.integers(-2, 3, size).astype(float) for size in ((4, 3), (200, 3)))
    y, net = rng.choice([-1.0, 1.0], 200), network(W, SLOPE)
    parts = odd_part.odd_and_even(net, z)
    here, there = plain_f(W, z), plain_f(W, -z)  # exact: whole numbers, a and slope 1/2
    right = [label * f > 0 for label, f in zip((*y, *-y), (*here, *there), strict=True)]
    route = "signs of f at z and -z counted, ties and zeros among them"
    found = odd_part.mirrored_accuracy(parts, y)
    yield compared("theory.odd_part.mirrored_accuracy", found, sum(right) / 400, route)
    found, route = odd_part.even_share(parts), "variances of f at z and -z, and of f(z) + f(-z)"
    expected = np.var((here + there) / 2) / np.var([*here, *there])
    yield compared("theory.odd_part.even_share", found, expected, route)


@cache
def late() -> tuple[HostArray, ...]:
    """Weights at LATE times on the samples of `limit`, by scipy in s = log(1 + t)."""
    point = limit()
    rng = np.random.default_rng(2)
    W = 0.3 * point.W + 0.02 * rng.standard_normal(point.W.shape)

    def velocity(s: float, flat: HostArray) -> HostArray:
        gradient: HostArray = paper.dL_dW(flat.reshape(W.shape), point.x, point.y, SLOPE)
        return -math.exp(s) * gradient.ravel()

    at: Any = np.log1p(LATE)
    done = solve_ivp(velocity, (0, at[-1]), W.ravel(), "DOP853", at, rtol=1e-11, atol=1e-12)
    return tuple(column.reshape(W.shape) for column in done.y.T)


def c1() -> Checks:
    x, y, _, lam, *_ = limit()
    q, route = y * plain_f(late()[-1], x), "t L and margins at t = 1e9, by scipy in log t"
    found = rate.loss_limit(lam)
    yield compared("theory.rate.loss_limit", found, 1e9 * np.mean(np.exp(-q)), route, APPROACH)
    yield compared("theory.rate.late_margins", rate.late_margins(lam, 1e9), q, route, APPROACH)
    roots = np.linalg.svd(features(late()[-1], x, y) * np.sqrt(lam), compute_uv=False)
    route = "smallest singular value of the features in loops"
    found = rate.rate_exponent(x, y, SLOPE, lam)
    yield compared("theory.rate.rate_exponent", found, roots[-1] ** 2, route, SOLVED)
    two, route = np.asarray([[1.0, 0], [0.6, 0.8]]), "two samples by hand, of one label and of two"
    for sign in (1.0, -1.0):  # M = [[h, k], [k, h]], lam = 1/(h + k): (h -+ k)/(h + k)
        h, k = (1 + SLOPE**2) / 2, 0.6 * ((1 + SLOPE**2) / 2 if sign > 0 else -SLOPE)
        found = rate.rate_exponent(two, np.asarray([1, sign]), SLOPE, np.full(2, 1 / (h + k)))
        yield compared("theory.rate.rate_exponent", found, min((h - k) / (h + k), 1), route, SOLVED)


def c2() -> Checks:
    x, y, W, lam, *_ = limit()
    early, middle, last = late()
    line = rate.asymptote(network(middle, SLOPE), x, y)
    yield compared("theory.rate.asymptote", line[:2], (lam, W), "reflfap.paper", SOLVED)
    route = "weights at t = 1e9, by scipy in log t"
    yield compared(
        "theory.rate.asymptote",
        line.offset,
        last - math.log(1e9) * W,
        route,
        (1e-5, "1e-6 of the margins at t = 1e6, where it was read"),
    )
    yield compared(
        "theory.rate.weights_at", rate.weights_at(line, 1e9), last, route, (1e-5, "the same")
    )
    square = np.sum(W * W)
    along = [np.sum(one * W) / square for one in (middle, last)]
    across = [
        np.linalg.norm(one - part * W) / math.sqrt(square)
        for one, part in zip((middle, last), along, strict=True)
    ]
    found, expected = rate.angle_at(line, 1e9), math.atan2(across[1], along[1])
    yield compared("theory.rate.angle_at", found, expected, route, (1e-5, "the same"))
    cotangents = [one / other for one, other in zip(along, across, strict=True)]
    expected = math.log(1e3) / (cotangents[1] - cotangents[0])
    found, route = rate.angle_constant(line), "how the cotangent grows with log t, by scipy"
    yield compared(
        "theory.rate.angle_constant",
        found,
        expected,
        route,
        (1e-4, "the same, of a small difference"),
    )
    at = rate.weights_at(line, 1e3)
    signs = [[(1 if j < 2 else -1) * label for label in y] for j in range(4)]
    room = min(
        sign * (w @ one) / math.sqrt(one @ one)
        for w, row in zip(at, signs, strict=True)
        for one, sign in zip(x, row, strict=True)
    )
    step = features(early, x, y)[:, 0].reshape(W.shape)
    step *= room / math.sqrt(np.sum(step[:2] ** 2 + step[2:] ** 2) / 2)
    moved = [at + part * step for part in (-1.01, -0.99, 0.0, 0.99, 1.01)]
    proved = [
        rate.aligned_for_good(network(one, SLOPE), x, y, 1e3) for one in (*moved, early, -early)
    ]
    route = "networks just within and just beyond the bound, in loops"
    within = [False, True, True, True, False, True, False]
    yield compared("theory.rate.aligned_for_good", proved, within, route, COUNTED)
