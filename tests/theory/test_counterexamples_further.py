"""The rate (C1) from its worst starts, and (T2), (R1) on whole numbers in exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from fractional import solved
from scipy.integrate import solve_ivp
from scipy.optimize import differential_evolution, minimize

from reflfap.audit.uniqueness_checks import exactly
from reflfap.errors import NoKKTPointError
from reflfap.theory.kkt import aligned_kkt, margins_of_multipliers
from reflfap.theory.rate import rate_exponent
from reflfap.theory.uniqueness import certify, thresholds

# (C1)


def reduced(S, lam, p0, until):
    """p at 200 times sigma from 0, and V, for dp/dsigma = -M D (1 - e^-p), M = D^-1/2 S D^-1/2."""
    root = np.sqrt(lam)
    M = S / root / root[:, None]
    at = np.linspace(0, until, 200)
    flow = solve_ivp(
        lambda _, p: M @ (lam * np.expm1(-p)), (0, until), p0, "LSODA", at, rtol=1e-10, atol=1e-13
    )
    return at, flow.y.T, np.einsum("tn,nk,tk->t", flow.y.T, np.linalg.inv(M), flow.y.T)


@pytest.mark.parametrize("kappa", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("consistent", [True, False])
def test_the_rate_of_the_worst_start(kappa, consistent):
    """(C1): V never grows, and log|p| falls by kappa a unit at last: nearly singular M included.

    S = D^1/2 M D^1/2 has the eigenvector lam^1/2, and kappa to a direction across it: the start is
    the one, of a size, whose V falls least. Where lam^1/2 has the eigenvalue 0.9, so that M lam is
    not 1, p has another limit than 0 and V ends above where it was.
    """
    rng, n = np.random.default_rng(int(100 * kappa)), 3
    lam = np.exp(rng.uniform(-2, 2, n))
    first = np.sqrt(lam / lam.sum())
    basis = np.linalg.qr(np.column_stack([first, rng.standard_normal((n, n - 1))]))[0]
    S = basis * [1, kappa, max(kappa, 0.7)] @ basis.T

    def kept(p):  # V after one unit over V before, of starts of length one and two
        p = p / np.linalg.norm(p) * (1 + np.linalg.norm(p) % 1)
        V = reduced(S, lam, p, 1.0)[2]
        return -V[-1] / V[0]

    start = minimize(kept, rng.standard_normal(n), method="Nelder-Mead", options={"maxfev": 40}).x
    p0 = start / np.linalg.norm(start)
    if not consistent:  # what (C1) would be without M lam = 1: q grows as if it were
        root = np.sqrt(lam)
        M = S / root / root[:, None] * 0.9
        end = solve_ivp(lambda _, p: M @ (lam * np.exp(-p)) - 1, (0, 30 / kappa), p0, "LSODA").y
        assert np.max(abs(end[:, -1])) > 0.05  # log 0.9, less where the solver errs
        return
    at, p, V = reduced(S, lam, p0, 12 / kappa)
    assert np.all(np.diff(V) <= 1e-9 * V[:-1] + 1e-20)  # of the solver
    late = slice(120, 180)  # |p| from e^-7 on, where p^2 is 1e-3 of it; and above 1e-13
    slopes = np.diff(np.log(np.linalg.norm(p, axis=1)))[late] / np.diff(at)[late]
    assert slopes == pytest.approx(-kappa, rel=0.02)


@pytest.mark.parametrize("n", [2, 3])
def test_no_exponent_above_one(n):
    """(C1): kappa <= 1 where M lam = 1, as large as data can make it; with other lam it is not."""

    def exponent(v, consistent):
        L = np.tril(np.ones((n, n)))
        L[np.tril_indices(n)] = v
        x, y = L + 0.1 * np.eye(n), np.ones(n)
        lam = np.linalg.solve(margins_of_multipliers(x, y, 0.5), np.ones(n))
        lam = lam if consistent else 2 / (x * x).sum(axis=1)
        return -rate_exponent(x, y, 0.5, lam) if np.all(lam > 0) else 0.0

    reach = [(-1, 1)] * (n * (n + 1) // 2)
    for consistent in (True, False):
        most = -differential_evolution(exponent, reach, (consistent,), maxiter=30, rng=0).fun
        # h = 0.625, so that lam = 2/||x||^2 on orthogonal samples has the eigenvalues 1.25 alone
        assert most == pytest.approx(1 if consistent else 1.25, abs=1e-3)
        assert most <= 1 + 1e-6 or not consistent  # rounding, where M is nearly singular


# exact arithmetic


@pytest.mark.parametrize("seed", range(20))
def test_whole_numbers_in_exact_arithmetic(seed):
    """(T2), (R1): lam of whole numbers is that of fractions, and so is what is certified.

    From four samples nearly orthogonal to four nearly dependent. M has a condition of at most
    1e7 here, and float64 and its Cholesky factor lose that from 1e-16: 1e-8 is left.
    """
    rng = np.random.default_rng(seed)
    n, g = 4, Fraction(1, 2)
    x = rng.integers(-3, 4, (n, n)) + (seed % 5) * 4 * np.eye(n, dtype=int)
    if seed % 5 == 0:
        x = 40 * np.outer(rng.integers(1, 3, n), [1, 1, 0, 0]) + x + 5 * np.eye(n, dtype=int)
    y = rng.choice([-1, 1], n)
    K = (x @ x.T).tolist()
    h = (1 + g * g) / 2
    M = [[K[i][k] * (h if y[i] == y[k] else -g) for k in range(n)] for i in range(n)]
    lam = solved(M)
    on = [[1 if y[k] * sign > 0 else g for k in range(n)] for sign in (1, -1)]
    s = [
        [sum(y[i] * y[k] * K[i][k] * phi[k] * lam[k] for k in range(n)) for i in range(n)]
        for phi in on
    ]
    there = min(lam) >= 0 and min(min(row) for row in s) > 0
    r = exactly(x)[0]
    found = certify(x.astype(float), 0.5)
    assert (found.exists, found.unique) == tuple(r < one for one in thresholds(g))
    assert there or not found.exists
    if there:
        exact = [float(one) for one in lam]
        assert aligned_kkt(x.astype(float), y.astype(float), 2, 0.5).lam == pytest.approx(
            exact, rel=1e-8
        )
    elif min(lam) > 0:
        with pytest.raises(NoKKTPointError):
            aligned_kkt(x.astype(float), y.astype(float), 2, 0.5)
