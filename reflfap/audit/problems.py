"""Small problems in float64 for the checks of the audit, and plain routes to what they give."""

import math
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from reflfap.backend import HostArray
from reflfap.losses import LOSSES
from reflfap.onehidden import Network, network

paper: Any = import_module("reflfap.paper")  # without types, as formulas are
optimize: Any = import_module("scipy.optimize")  # with more types than help

SLOPE = 0.5
PLAIN: dict[str, Callable[[HostArray], HostArray]] = {
    "exponential": lambda q: np.exp(-q),
    "logistic": lambda q: np.log1p(np.exp(-q)),
}


class Problem(NamedTuple):
    """A network, samples and labels."""

    net: Network
    x: HostArray
    y: HostArray


def problem(dim: int = 7, hidden: int = 6, n: int = 5) -> Problem:
    """Random, with both signs of every kind."""
    rng = np.random.default_rng(0)
    net = network(rng.standard_normal((hidden, dim)) / math.sqrt(dim), SLOPE)
    return Problem(net, rng.standard_normal((n, dim)), rng.choice([-1.0, 1.0], n))


def smooth() -> Problem:
    """No unit changes its sign on the way of its flow: there, every scheme keeps its order."""
    x = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 4)))[0].T
    y = np.asarray([1.0, -1.0, 1.0, -1.0])
    return Problem(network(np.outer([0.4, 0.5, -0.4, -0.5], y @ x), SLOPE), x, y)


def orthogonal(dim: int = 60, n: int = 6) -> tuple[HostArray, HostArray]:
    """Samples so nearly orthogonal that (T1) holds, of different lengths, and labels."""
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.standard_normal((dim, n)))[0].T * rng.uniform(1, 1.3, (n, 1))
    x += 1e-3 * rng.standard_normal((n, dim)) / math.sqrt(dim)
    return x, np.where(np.arange(n) % 2, 1.0, -1.0)


class Limit(NamedTuple):
    """The KKT point of `orthogonal` samples, four units: paper.aligned_kkt_point."""

    x: HostArray
    y: HostArray
    W: HostArray
    lam: HostArray
    b: HostArray  # normal of its boundary
    z: HostArray  # points: random, on both sides of the boundary, and the samples


def limit() -> Limit:
    x, y = orthogonal()
    W, lam = paper.aligned_kkt_point(x, y, 4, SLOPE)
    b = combination(lam * y, x, np.eye(x.shape[1]))
    z = np.random.default_rng(1).standard_normal((100, len(b)))
    on = z - np.outer(z @ b, b) / (b @ b)
    return Limit(x, y, W, lam, b, np.concatenate([z, on + 1e-6 * b, on - 1e-6 * b, x]))


def plain_f(W: HostArray, x: HostArray) -> HostArray:
    """f(x_n) of (N1), unit by unit and sample by sample."""
    m, f = len(W), np.zeros(len(x))
    for n, j in np.ndindex(len(x), m):
        z = W[j] @ x[n]
        f[n] += (1 if j < m / 2 else -1) / math.sqrt(m) * (z if z > 0 else SLOPE * z)
    return f


def combination(weights: HostArray, x: HostArray, z: HostArray) -> HostArray:
    """sum_n weights_n <x_n, z> at points z, one by one."""
    rows = [weight * row for weight, row in zip(weights, x, strict=True)]
    return np.asarray([sum(row @ one for row in rows) for one in z])


def both(function: Any, problem: Problem) -> tuple[Any, ...]:
    """What a function of the quick code, or of the paper, gives for each loss."""
    net, x, y = problem
    if function.__module__ == paper.__name__:
        return tuple(function(net.W, x, y, SLOPE, name) for name in PLAIN)
    return tuple(function(net, x, y, LOSSES[name]) for name in PLAIN)


def differences(function: Callable[[HostArray], float], at: HostArray) -> HostArray:
    """The gradient of a function of an array, entry by entry."""
    gradient = np.empty_like(at)
    for i in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[i] = 1e-6
        gradient[i] = (function(at + step) - function(at - step)) / 2e-6
    return gradient


@cache
def loss_differences(by: str) -> tuple[HostArray, ...]:
    """For each loss, of the mean loss by "W", or of every sample's own loss by "x"."""
    net, x, y = problem()
    if by == "W":
        means = [lambda W, loss=loss: np.mean(loss(y * plain_f(W, x))) for loss in PLAIN.values()]
        return tuple(differences(mean, net.W) for mean in means)
    sums = [lambda x, loss=loss: np.sum(loss(y * plain_f(net.W, x))) for loss in PLAIN.values()]
    return tuple(differences(one, x) for one in sums)


@cache
def integrated() -> tuple[HostArray, ...]:
    """Weights of `smooth` at t = 5 for each loss, by scipy."""
    (net, x, y), ends = smooth(), []
    for name in PLAIN:

        def velocity(_: float, W: HostArray, name: str = name) -> HostArray:
            gradient: HostArray = paper.dL_dW(W.reshape(net.W.shape), x, y, SLOPE, name)
            return -gradient.ravel()

        done = solve_ivp(velocity, (0, 5.0), net.W.ravel(), "DOP853", rtol=1e-10, atol=1e-12)
        ends.append(np.asarray(done.y[:, -1].reshape(net.W.shape)))
    return tuple(ends)


FALLING = [0.01 * 0.1**k for k in (*[0] * 12, *np.repeat(range(1, 7), 11))]
"""Rates while the loss stands: the first epoch improves on infinity, then 11 in a row do not."""


def heavy_ball(of: Problem, rate: float, name: str) -> HostArray:
    """W - W0 after 44 epochs of (N6); where the rate is tiny, so that the loss stands, it falls."""
    net, x, y = of
    W, v = net.W, np.zeros_like(net.W)
    for epoch in range(44):
        v = 0.9 * v + paper.dL_dW(W, x, y, SLOPE, name)
        W = W - v * (rate if rate > 1e-4 else rate * FALLING[epoch] / 0.01)
    return np.asarray(W - net.W)


def least_norm(x: HostArray, y: HostArray) -> HostArray:
    """The W (2, d) of least norm with all margins at least one, by SLSQP from far away."""
    found = optimize.minimize(
        lambda W: W @ W / 2,
        0.3 * np.outer([1, -1], y @ x).ravel(),
        jac=lambda W: W,
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda W: y * plain_f(W.reshape(2, -1), x) - 1},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return np.asarray(found.x.reshape(2, -1))


def features(W: HostArray, x: HostArray, y: HostArray) -> HostArray:
    """(m d, N), column n: y_n a_j phi'(<w_j, x_n>) x_n. At a KKT point W is this times lam."""
    m, columns = len(W), np.zeros((*W.shape, len(x)))
    for j, n in np.ndindex(m, len(x)):
        a = (1 if j < m / 2 else -1) / math.sqrt(m)
        columns[j, :, n] = y[n] * a * (1 if W[j] @ x[n] > 0 else SLOPE) * x[n]
    return columns.reshape(-1, len(x))


def best_by_search(norm: str, b: HostArray, eps: float, pixels: int) -> HostArray:
    """The v of (P1), searched for among all corners of the set, in l2 among all directions."""
    if norm == "l2":
        towards = optimize.minimize(lambda v: -(v @ b) / np.linalg.norm(v), np.sign(b), tol=1e-14).x
        return np.asarray(eps * towards / np.linalg.norm(towards))
    best = np.zeros(len(b))
    for places in combinations(range(len(b)), pixels if norm == "l0" else len(b)):
        for signs in product((-eps, eps), repeat=len(places)):
            v = np.zeros(len(b))
            v[list(places)] = signs
            best = v if b @ v > b @ best else best
    return best


def climbed(
    net: Network, x0: HostArray, target: float, norm: str, size: float, box: tuple[float, float]
) -> HostArray:
    """From one sample, by (P2) in loops and differences: 8 steps, in l0 one a pixel."""

    def margin(x: HostArray) -> float:
        return float(target * plain_f(net.W, x[None])[0])

    x, best, changed, entries = x0, x0, set[int](), range(len(x0))
    for _ in range(int(size) if norm.startswith("l0") else 8):
        g, eta = differences(margin, x), x - x0
        if norm == "linf-sign":
            moved = [eta[i] + math.copysign(size / 5, g[i]) for i in entries]
            eta = np.asarray([min(max(one, -size), size) for one in moved])
        elif norm in ("l2", "linf"):
            order = 2 if norm == "l2" else np.inf
            eta = eta + size / 5 * g / np.linalg.norm(g, order)
            eta = eta / max(1, np.linalg.norm(eta, order) / size)
        else:
            changed = {i for i in entries if x[i] != x0[i]} if norm == "l0" else changed
            changed |= {max(set(entries) - changed, key=lambda i: abs(g[i]))}
            eta = eta + [0.3 * g[i] / max(abs(g)) if i in changed else 0 for i in entries]
        x = np.clip(x0 + eta, *box)
        best = x if margin(x) > margin(best) else best
    return best


@cache
def sampled_accuracy(
    norm: str, sizes: tuple[int, int, int], eps: float, edge: float, own: bool = False
) -> float:
    """What (L4) predicts, counted: equal multipliers, a linear boundary, samples drawn.

    Perturbed is noise, or with `own` the samples themselves. Uniform data where there is an edge.
    """
    (d, N, N_adv), rng, right = sizes, np.random.default_rng(0), []

    def draw(n: int) -> tuple[HostArray, HostArray]:
        z = rng.standard_normal((n, d)) if edge == math.inf else rng.uniform(-edge, edge, (n, d))
        return z, rng.choice([-1.0, 1.0], n)

    for _ in range(60):
        (x, y), (noise, target) = draw(N), draw(N_adv)
        b, noise = y @ x, x if own else noise
        if norm == "l0":  # the k-th largest entry moves in all steps from the k-th on
            order = np.argsort(np.argsort(-np.abs(b)))
            v = 0.3 * np.maximum(eps - order, 0) * b / max(abs(b))
            moved = np.clip(noise + target[:, None] * v, -edge, edge)
        else:
            lengths = {"l2": np.linalg.norm(b), "linf": max(abs(b)), "linf-sign": abs(b)}
            moved = noise + target[:, None] * eps * b / lengths[norm]
        learned = target @ moved
        right.append(np.mean(y * (x @ learned) > 0))
    return float(np.mean(right))
