"""The checks of `reflfap audit` on (L5), each against samples or eigenvalues of random matrices."""

import math
from typing import Any

import numpy as np
from scipy.special import erf, ndtri

from reflfap.audit.checks import Checks, compared
from reflfap.audit.theory_checks import trained
from reflfap.backend import HostArray
from reflfap.theory import asymptotic
from reflfap.theory.asymptotic import ATTACKED, INITIAL, RELEASED, Learner, Moves

NEAR = (0.02, "matrices of some hundred rows, and some hundred thousand samples")
PEAKS = (0.08, "60 draws of 1,000 entries; of l0 the quantile of the largest, squared, is 5 % off")
MOVED = (
    *(("l2", 3.0, True), ("linf", 0.3, False), ("linf-sign", 0.3, True), ("linf-sign", 0.3, False)),
    *(("l0", 100, True), ("l0", 100, False)),
)
RHO = RELEASED.rho
NAME = "theory.asymptotic"


def l5() -> Checks:
    rng = np.random.default_rng(0)
    found: Any
    expected: Any
    seen: tuple[float, ...]
    for rows, columns in ((300, 900), (900, 300), (600, 600)):
        found = asymptotic.ridge_moments(rows / columns, 0.4)
        s = spectrum(rng, rows, columns)
        expected = tuple(np.mean(one / (s + 0.4) ** k) for one, k in ((1, 1), (1, 2), (s, 2)))
        yield compared(f"{NAME}.ridge_moments", found, expected, "eigenvalues", NEAR)
        expected = ridge_margins(rng, rows, columns, RHO)
        margins = asymptotic.margin_moments(rows / columns, RHO)
        yield compared(f"{NAME}.margin_moments", margins, expected, "ridge regression", NEAR)
    for n_adv in (150, 600):
        moves = grouped(rng)
        found = asymptotic.learned_direction(moves, n_adv, 0.4)
        seen = (found.length * found.cosine, found.length**2 * (1 + found.tan2), *found[3:])
        expected = learned(rng, moves, n_adv, 0.4)
        yield compared(f"{NAME}.learned_direction", seen, expected, "ridge regression", NEAR)
    for n, hidden in ((300, 100), (600, 1_000)):
        learner = Learner(hidden=hidden)
        found = asymptotic.gradient_noise(600, n, 0.5, learner)
        expected = sampled_noise(rng, 600, n, 0.5, learner)
        yield compared(f"{NAME}.gradient_noise", found, expected, "weights and units drawn", NEAR)
    for norm, size, bounded in MOVED:
        variance = 1 / 3 if bounded else 1.0
        moves = asymptotic.perturbation_moves(norm, 1_000, size, variance, bounded, (0.3, 0.2))
        seen = tuple(float(moves.number @ one) for one in (moves.v**2, *moves[2:]))
        expected = sampled_moves(rng, norm, 1_000, size, bounded)
        yield compared(f"{NAME}.perturbation_moves", seen, expected, "the attack, drawn", PEAKS)
    kappa, tau = ridge_margins(rng, 200, 1_000, RHO)
    xi = rng.standard_normal((3, 400_000))
    drawn = 0.3 * (kappa + tau * xi[0]) + math.sqrt(0.91) * xi[1] + 0.4 * xi[2] > 0
    found = asymptotic.ridge_accuracy(0.2, RHO, 0.3, 0.16)
    yield compared(f"{NAME}.ridge_accuracy", found, np.mean(drawn), "normal samples", NEAR)
    yield from whole(rng)


def whole(rng: np.random.Generator) -> Checks:
    """Of `sharper_accuracy`: all of the model drawn, and a network."""
    name, route = f"{NAME}.sharper_accuracy", "the model, drawn 24 times"
    within = (0.05, "three standard errors of 7,200 dependent samples, and what is asymptotic")
    for norm, size in zip(ATTACKED, (1.5, 0.3, 0.05, 20), strict=True):
        found = asymptotic.sharper_accuracy((600, 300, 200), norm, size, 1 / 3, True)
        yield compared(name, found, simulated(rng, (600, 300, 200), norm, size), route, within)
    for time, n_adv, size in ((30.0, 3, 30.0), (1e4, 1, 60.0)):
        learner = Learner(time=time)
        found = asymptotic.sharper_accuracy((600, 300, n_adv), "l2", size, 1 / 3, True, learner)
        expected = simulated(rng, (600, 300, n_adv), "l2", size, learner)
        yield compared(name, found, expected, route, within)
    found = asymptotic.sharper_accuracy((2_000, 400, 1_000), "l2", 0.5, 1 / 3, True)
    few = (0.07, "three standard errors of 400 samples")
    yield compared(name, found, trained(), "trained networks", few)


def spectrum(rng: np.random.Generator, rows: int, columns: int) -> HostArray:
    """Eigenvalues of A A^T/columns, (rows,)."""
    A = rng.standard_normal((rows, columns))
    return np.linalg.eigvalsh(A @ A.T / columns)


def ridge_margins(
    rng: np.random.Generator, n: int, dim: int, rho: float
) -> tuple[HostArray, HostArray]:
    """Mean and deviation of y_k <b/||b||, x_k> over random y, by the matrix from y to X b."""
    x = rng.standard_normal((n, dim))
    K = x @ x.T
    inverse = np.linalg.inv(K + rho * dim * np.eye(n))
    hat = K @ inverse
    length = np.sqrt(np.trace(inverse @ K @ inverse))
    off = hat - np.diag(np.diag(hat))
    return np.mean(np.diag(hat)) / length, np.sqrt(np.sum(off**2) / n) / length


def grouped(rng: np.random.Generator) -> Moves:
    """Moves of 400 coordinates in groups of one; some hardly vary, as pixels at an edge."""
    v = rng.uniform(0, 0.3, 400)
    own = np.where(np.arange(400) % 4 == 0, 0.01, 0.5)
    b = rng.uniform(0, 1, 400)
    b /= np.linalg.norm(b)
    return Moves(np.ones(400), v, v * b, own, np.where(np.arange(400) % 2 == 0, 0.02, 0.0))


def learned(
    rng: np.random.Generator, moves: Moves, n_adv: int, rho: float, draws: int = 40
) -> tuple[HostArray, ...]:
    """Ridge regression of ones on rows drawn: mean of <beta, b^>, ||beta||^2, multiplier, rest."""
    _, v, along, own, across = moves
    found = []
    ridge = rho * np.sum(own + v**2 + across)
    for _ in range(draws):
        u = np.sqrt(own) * rng.standard_normal((n_adv, len(v)))
        between = np.sqrt(across) * rng.choice([-1.0, 1.0], len(v))
        R = u + v + rng.choice([-1.0, 1.0], n_adv)[:, None] * between
        lam = np.linalg.solve(R @ R.T + ridge * np.eye(n_adv), np.ones(n_adv))
        beta, z = lam @ R, rng.standard_normal(len(v))
        left = z - np.linalg.solve(u.T @ u + ridge * np.eye(len(v)), u.T @ (u @ z))
        found.append((beta @ (along / v), beta @ beta, np.mean(lam), left @ left / (z @ z)))
    return tuple(np.mean(found, axis=0))


def sampled_noise(
    rng: np.random.Generator, dim: int, n: int, variance: float, learner: Learner
) -> tuple[HostArray, HostArray]:
    """`gradient_noise` from a drawn spectrum, drawn units and numerical means."""
    g, rho, m = (1 + learner.slope) / 2, learner.rho, learner.hidden
    s, w = spectrum(rng, n, dim), rng.uniform(-1, 1, (100, dim)) / math.sqrt(dim)
    w2 = np.mean(np.sum(w**2, axis=1))
    multiplier = np.mean(1 / (s + rho)) / (g**2 * dim * variance)
    q = math.log(1 + learner.time / (n * multiplier))
    b2 = q**2 * n / dim * np.mean(s / (s + rho) ** 2) / variance
    other = spectrum(rng, dim, n)
    common = g**2 * w2 * np.mean((rho * dim / n / (other + rho * dim / n)) ** 2) / b2
    pushed = math.sqrt(b2 * (1 + common) * variance) / g
    spread = variance * (w2 + q**2 * n * multiplier / m)
    xi, own = rng.standard_normal(400_000), q * multiplier * dim * variance
    switched = np.mean(erf(pushed / math.sqrt(m * spread) * xi / math.sqrt(2)) ** 2)
    other_sign = np.mean(np.minimum(own, abs(xi) * math.sqrt(m * variance * w2 + pushed**2)))
    part = (own - other_sign) / (own + other_sign)
    start = ((1 - learner.slope) / 2) ** 2 * w2 / b2
    return common, start + rho * part**2 * switched


def attacked_along(
    norm: str,
    size: float,
    noise: HostArray,
    gradient: HostArray,
    bounded: bool,
    peak: float | None = None,
) -> HostArray:
    """Noise (n, d) moved along a gradient (d,): as (P1), or step by step as (P2) for l0.

    `peak` stands for the largest |gradient_i|.
    """
    edge = 1.0 if bounded else math.inf
    peak = peak or float(np.max(np.abs(gradient)))
    if norm == "l2":
        return noise + size * gradient / np.linalg.norm(gradient)
    if norm == "linf":
        return noise + size * gradient / peak
    if norm == "linf-sign":
        return np.clip(noise + size * np.sign(gradient), -edge, edge)
    x, order = noise.copy(), np.argsort(-np.abs(gradient))
    for k in range(1, int(size) + 1):
        chosen = order[:k]
        x[:, chosen] = np.clip(x[:, chosen] + 0.3 * gradient[chosen] / peak, -edge, edge)
    return x


def drawn(rng: np.random.Generator, shape: tuple[int, int], bounded: bool) -> HostArray:
    """Uniform on [-1, 1], or standard normal."""
    return rng.uniform(-1, 1, shape) if bounded else rng.standard_normal(shape)


def sampled_moves(
    rng: np.random.Generator, norm: str, dim: int, size: float, bounded: bool, draws: int = 60
) -> tuple[HostArray, ...]:
    """Sums over coordinates of v^2, v b^, own and across, of gradients b + common +- single."""
    found = []
    peak = math.sqrt(1.5) * float(ndtri((1 + 0.5 ** (1 / dim)) / 2))  # the median
    for _ in range(draws):
        b, common = rng.standard_normal(dim), math.sqrt(0.3) * rng.standard_normal(dim)
        mean, own = [], []
        for _ in range(2):
            single = math.sqrt(0.2) * rng.standard_normal(dim)
            x = drawn(rng, (60, dim), bounded)
            x_adv = attacked_along(norm, size, x, b + common + single, bounded, peak)
            mean.append(np.mean(x_adv - x, axis=0))
            own.append(np.var(x_adv, axis=0))
        v2, both = np.sum(mean[0] * mean[1]), np.sum(mean[0] ** 2 + mean[1] ** 2) / 2
        along = (mean[0] + mean[1]) @ b / 2 / np.linalg.norm(b)
        found.append((v2, along, np.sum(own) / 2, both - v2))
    return tuple(np.mean(found, axis=0))


def simulated(
    rng: np.random.Generator,
    sizes: tuple[int, int, int],
    norm: str,
    size: float,
    learner: Learner = RELEASED,
    draws: int = 24,
) -> float:
    """All of (L5) drawn, on uniform data: two ridge regressions, the attack, and the start."""
    dim, n, n_adv = sizes
    g, rho, found = (1 + learner.slope) / 2, learner.rho, []
    parts = asymptotic.gradient_noise(dim, n, 1 / 3, learner)
    for _ in range(draws):
        x, y = rng.uniform(-1, 1, (n, dim)), rng.choice([-1.0, 1.0], n)
        K = x @ x.T
        b = x.T @ np.linalg.solve(K + rho * np.diag(np.diag(K)), y)
        ways = math.sqrt(b @ b / dim) * np.sqrt(parts)[:, None] * rng.standard_normal((2, dim))
        noise, target = rng.uniform(-1, 1, (n_adv, dim)), rng.choice([-1.0, 1.0], n_adv)
        for sign in (-1, 1):
            of = target == sign  # y_adv eta shares b + common, and has -+ single
            gradient = b + ways[0] + sign * ways[1]
            noise[of] = sign * attacked_along(norm, size, sign * noise[of], gradient, True)
        R = target[:, None] * noise
        K = R @ R.T
        lam = np.linalg.solve(K + rho * np.diag(np.diag(K)), np.ones(n_adv))
        q = math.log(1 + learner.time * g**2 / (n_adv * np.mean(lam)))
        start = g * math.sqrt(INITIAL / dim) * rng.standard_normal(dim)
        ridge = rho * np.mean(np.diag(K))
        start -= R.T @ np.linalg.solve(K + ridge * np.eye(n_adv), R @ start)
        even = (1 - learner.slope) / 2 * math.sqrt((1 - 2 / math.pi) * INITIAL / 3)
        f = x @ (q * (lam @ R) + start) + even * rng.standard_normal(n)
        found.append(np.mean(y * f > 0))
    return float(np.mean(found))
