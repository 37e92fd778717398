"""Optimisers that look for data with an unwanted KKT point (T2): for tests of (R1) and (R2).

Data are A_nk = y_n y_k <x_n, x_k>/||x_k||^2, of whose rows the |A_nk| sum to r at most. A unit is
told by the sign of a_j and its phi'_jn; s_jn = phi'_jn mu_n + sum_k A_nk phi'_jk mu_k, and q_n is
the mean of phi'_jn s_jn over units, as in docs/theory.md.
"""

import itertools
import math

import numpy as np
from scipy.optimize import minimize

from reflfap.theory.uniqueness import certify

FEASIBLE = 1e-7  # violation allowed to SLSQP, which is asked for 1e-9 and scales nothing
LONGEST = 7.0  # of log ||x_n||^2, from 0: what is met in the limit is met within e^-7


def existence_edge(g):
    """gamma (1 + gamma^2)/(1 + gamma - gamma^2 + gamma^3): where the aligned point can go."""
    return g * (1 + g * g) / (1 + g - g * g + g**3)


class Data:
    """A point of a search: inner products times labels, bounds of their magnitude, log squares."""

    def __init__(self, v, n):
        self.pairs = np.triu_indices(n, 1)
        count = len(self.pairs[0])
        self.K, self.B = np.zeros((2, n, n))
        for which, values in ((self.K, v[:count]), (self.B, v[count : 2 * count])):
            which[self.pairs] = values
            which += which.T
        self.D = np.exp(v[2 * count : 2 * count + n])
        self.A, self.rest = self.K / self.D, v[2 * count + n :]

    def within(self, r):
        """At least zero where the rows of |A| sum to r at most."""
        up = self.pairs
        sums = (self.B / self.D).sum(axis=1)
        return np.concatenate([r - sums, (self.B - self.K)[up], (self.B + self.K)[up]])

    def samples(self, y):
        """x (N, N) with these inner products."""
        return np.linalg.cholesky(self.K * y * y[:, None] + np.diag(self.D))

    @staticmethod
    def start(rng, n, r):
        """Random data of small overlap, and the bounds of all numbers."""
        count = n * (n - 1) // 2
        K = rng.uniform(-r, r, count) / n
        v = np.concatenate([K, abs(K), rng.uniform(0, LONGEST / 2, n)])
        reach = [(-50, 50)] * count + [(0, 50)] * count + [(0, LONGEST)] * n
        return v, reach


def optimised(objective, conditions, equalities, v, reach):
    """The end of SLSQP, if it is feasible."""
    conditions = [{"type": "ineq", "fun": conditions}]
    if equalities is not None:
        conditions.append({"type": "eq", "fun": equalities})
    options = {"maxiter": 100, "ftol": 1e-9}
    try:
        end = minimize(
            objective, v, bounds=reach, constraints=conditions, method="SLSQP", options=options
        ).x
    except (ValueError, np.linalg.LinAlgError):  # a step into numbers that overflow
        return None
    broken = -min(conditions[0]["fun"](end))
    if equalities is not None:
        broken = max(broken, *abs(equalities(end)))
    return end if broken < FEASIBLE else None  # false for nan


# (R1): the aligned pattern, solved for


def aligned(A, y, g):
    """mu (N,) with q = 1 for the aligned pattern, and s of a unit of either sign, (2, N)."""
    same = y == y[:, None]
    mu = np.linalg.solve((np.eye(len(y)) + A) * np.where(same, (1 + g * g) / 2, g), np.ones(len(y)))
    c = np.where(y * np.asarray([[1], [-1]]) > 0, 1, g) * mu
    return mu, c + c @ A.T


def worst_aligned(g, r, n, seed, what, restarts=6):
    """The smallest what(mu_0, s of the unit that is off at x_0) found, of data with that r."""
    rng, found = np.random.default_rng(seed), []
    for labels in itertools.product((1, -1), repeat=n - 1):
        y = np.asarray([1, *labels])

        def objective(v, y=y):
            mu, s = aligned(Data(v, n).A, y, g)
            return what(mu[0], s[1, 0])

        for _ in range(max(1, restarts // 2 ** (n - 2))):
            v, reach = Data.start(rng, n, r)
            end = optimised(objective, lambda v: Data(v, n).within(r), None, v, reach)
            if end is not None:
                found.append((objective(end), Data(end, n), y))
    return min(found, key=lambda one: one[0])


# (R2): any pattern


def least_r(g, y, states, seed):
    """The smallest r of data that have a KKT point of this pattern, if SLSQP ends at one.

    states (m, N): +1 aligned, -1 on the other side, 0 at the kink, with phi' anywhere in
    [gamma, 1]. Constraints with states[-1, n] = 2 are idle: lam_n = 0, q_n >= 1.
    """
    states, idle = states[:-1], states[-1] == 2
    m, n = states.shape
    on = np.repeat([1, -1], m // 2)[:, None] * y * np.where(states < 0, -1, 1) > 0
    kinks = np.argwhere(states == 0)

    def parts(v):
        data = Data(v, n)
        phi = np.where(on, 1, g)
        phi[kinks[:, 0], kinks[:, 1]] = data.rest[1 + n :]
        c = phi * np.where(idle, 0, data.rest[1 : 1 + n])
        s = c + c @ data.A.T
        return data, phi, s, (phi * s).mean(axis=0)

    def conditions(v):
        data, _, s, q = parts(v)
        signs = (states * s)[states != 0]
        return np.concatenate([data.within(data.rest[0]), signs, (q - 1)[idle]])

    def equalities(v):
        _, _, s, q = parts(v)
        return np.concatenate([(q - 1)[~idle], s[states == 0]])

    rng = np.random.default_rng(seed)
    v, reach = Data.start(rng, n, g)
    numbers = [[g], rng.uniform(1, 3, n) / (1 - 0.8 * g), rng.uniform(g, 1, len(kinks))]
    reach += [(0, 2)] + [(0, 100)] * n + [(g, 1)] * len(kinks)
    at = len(v)
    end = optimised(lambda v: v[at], conditions, equalities, np.concatenate([v, *numbers]), reach)
    if end is None:
        return None
    data, phi, *_ = parts(end)
    return end[at], data, phi, np.where(idle, 0, data.rest[1 : 1 + n])


def clarke_violation(x, y, g, phi, mu):
    """By definition (T2): how far W, lam and phi' are from a KKT point in the sense of Clarke."""
    m = len(phi)
    a = np.repeat([1, -1], m // 2) / math.sqrt(m)
    lam = mu / (x * x).sum(axis=1)
    Z = ((phi * (lam * y)) * a[:, None] @ x) @ x.T
    q = y * (a @ np.where(Z > 0, Z, g * Z))
    wrong = np.where(phi < 1, Z, 0).clip(0) + np.where(phi > g, -Z, 0).clip(0)
    return max(np.max(wrong), np.max(1 - q), np.max(abs(lam * (q - 1))), -np.min(lam))


def broken_patterns(rng, n, m, most):
    """Labels and states in which up to `most` pairs are not aligned, some constraints idle."""
    y = np.asarray([1, *rng.choice([1, -1], n - 1)])
    states = np.ones((m + 1, n), dtype=int)
    states[rng.choice([0, m - 1]), 0] = rng.choice([0, 0, -1])
    for _ in range(rng.integers(most)):
        states[rng.integers(m), rng.integers(n)] = rng.choice([0, -1])
    states[m, 1:] = rng.choice([1, 1, 1, 1, 2], n - 1)
    return y, states


def searched(g, n, m, count, seed, most):
    """The smallest r found for any broken pattern; each find is checked by definition."""
    rng, best = np.random.default_rng(seed), 1.0
    for _ in range(count):
        y, states = broken_patterns(rng, n, m, most)
        found = least_r(g, y, states, rng.integers(2**32))
        if found is not None and found[0] < best:
            best, data, phi, mu = found
            x = data.samples(y)
            scale = 100 * math.exp(LONGEST / 2)  # of Z, in which s has the factor m^(-1/2) only
            assert clarke_violation(x, y, g, phi, mu) < FEASIBLE * scale
            assert not certify(x, g).unique
    return best
