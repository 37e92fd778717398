"""Searches for counterexamples to (T3), (R1) and (R2), by optimisers at the edge of the condition.

A theorem says that no data below its condition do something. Here optimisers look for data that
do: over Gram matrices, norms, labels and patterns. Each search is run beyond the condition too,
where it must find some: a search that finds nothing anywhere proves nothing.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from fractional import solved
from kkt_searches import FEASIBLE, aligned, least_r, searched, worst_aligned
from scipy.optimize import differential_evolution

from reflfap.audit.kkt_points import every_kkt_point
from reflfap.errors import NoKKTPointError
from reflfap.theory.kkt import aligned_kkt
from reflfap.theory.uniqueness import scaled_multiplier_bounds, thresholds

pytestmark = pytest.mark.numpy_only


@pytest.mark.parametrize("slope", [0.05, 0.4, 0.9])
def test_alignment_cannot_be_broken_below(slope):
    """(R1): h s stays above its bound just below the threshold; at 1.05 gamma it is broken.

    The smallest is gamma - (1 - gamma^2)/(1 + gamma^2) r/(1 - r), with three samples.
    """
    h, r = (1 + slope**2) / 2, 0.999 * float(thresholds(Fraction(slope))[0])
    for n, restarts in ((2, 2), (3, 8), (4, 8)):
        least, data, y = worst_aligned(slope, r, n, n, lambda _, s: h * s / slope, restarts)
        least *= slope
        sharp = slope - (1 - slope**2) / (1 + slope**2) * r / (1 - r)
        assert least > max(0, sharp - FEASIBLE)
        if n == 3:  # met in the limit of long x_0 only, which the search comes near to
            assert least < sharp + 0.05 * slope
        aligned_kkt(data.samples(y), y.astype(float), 2, slope)  # refuses what is none
    beyond, data, y = worst_aligned(slope, 1.05 * slope, 2, 0, lambda _, s: h * s)
    assert beyond < 0
    with pytest.raises(NoKKTPointError):
        aligned_kkt(data.samples(y), y.astype(float), 2, slope)


@pytest.mark.parametrize("slope", [0.1, 0.4])
def test_multipliers_reach_their_bounds(slope):
    """(R1): no data leave (1 - 2 r)/(1 - r) <= h mu_n <= 1/(1 - r); three samples reach both.

    The lower one in the limit of long x_0: within e^-7 times some.
    """
    r = 0.999 * float(thresholds(Fraction(slope))[0])
    low, high = scaled_multiplier_bounds(r, slope)
    least, most = (worst_aligned(slope, r, 3, 1, what, 2)[0] for what in (_itself, _minus))
    assert low * (1 - FEASIBLE) < least < low * 1.01
    assert high * 0.999 < -most < high * (1 + FEASIBLE)


def _itself(mu, _):
    return mu


def _minus(mu, _):
    return -mu


@pytest.mark.parametrize("slope", [0.1, 0.3])
def test_where_other_points_begin(slope):
    """(R2): the search finds points that are not aligned below gamma, and none below the threshold.

    What it finds, with three samples, begins there, within e^-7 times some.
    """
    unique = float(thresholds(Fraction(slope))[1])
    kink_of_the_off_unit = np.ones((3, 3), dtype=int)
    kink_of_the_off_unit[1, 0] = 0
    y = np.asarray([1, -1, -1])
    found = [least_r(slope, y, kink_of_the_off_unit, seed) for seed in range(8)]
    best = min(one[0] for one in found if one is not None)
    best = min(best, searched(slope, 3, 2, 8, 0, 1))
    assert unique * (1 - 1e-6) < best < unique * 1.005 < slope
    assert searched(slope, 2, 4, 8, 1, 3) > slope * (1 - 1e-6)  # two samples: not below gamma


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.1, 0.3, 0.6, 0.9])
def test_no_pattern_begins_earlier(slope):
    """(R2): up to four samples or four units, 160 patterns in all: none is below the threshold."""
    unique = float(thresholds(Fraction(slope))[1])
    sizes = ((3, 2, 1), (3, 2, 3), (4, 2, 3), (3, 4, 4))
    best = min(searched(slope, n, m, 40, n + m, most) for n, m, most in sizes)
    assert unique * (1 - 1e-6) < best < slope * (1 + 1e-6)


@pytest.mark.parametrize(("slope", "numerator"), [("1/2", 46), ("3/10", 27), ("1/10", 93)])
def test_no_aligned_point_below_gamma(slope, numerator):
    """(R1) in whole fractions: three samples with r below gamma, without an aligned point.

    x_2 and x_3 of one label with <x_2, x_3> = -c, and a long x_1 of the other at acute angles: they
    make mu_2 and mu_3 large, and turn the units that should be off at x_1 on.
    """
    g, long = Fraction(slope), 1000
    c = Fraction(numerator, 1000 if slope == "1/10" else 100)
    K = [[Fraction(long), c / 2, c / 2], [c / 2, Fraction(1), -c], [c / 2, -c, Fraction(1)]]
    y = [1, -1, -1]
    r = max(sum(abs(K[i][k]) / K[k][k] for k in range(3) if k != i) for i in range(3))
    assert thresholds(g)[1] <= thresholds(g)[0] < r < g
    h = (1 + g * g) / 2
    M = [[K[i][k] * (h if y[i] == y[k] else -g) for k in range(3)] for i in range(3)]
    lam = solved(M)
    assert min(lam) > 0  # all constraints are active, and no other lam solves M lam = 1
    phi = [g if y[k] > 0 else 1 for k in range(3)]  # of a unit with a_j < 0
    s = sum(y[0] * y[k] * K[0][k] * phi[k] * lam[k] for k in range(3))
    assert s < 0  # so it would be on at x_1, where it has to be off
    x = np.linalg.cholesky(np.asarray(K, dtype=float))
    with pytest.raises(NoKKTPointError):
        aligned_kkt(x, np.asarray(y, dtype=float), 2, float(g))
    (W,) = every_kkt_point(x, np.asarray(y, dtype=float), float(g), 2)
    assert np.min(abs(W @ x.T)) < 1e-9  # the one point there is stands on a kink


# (T1), (T3)


def t1_extremes(g, n, seed, part):
    """Least 2 R_max^2 lam_n and largest (2/3) gamma^2 R_min^2 lam_n, p_max `part` of (T1)'s."""

    def multiplier(v, y):
        D = np.exp(np.concatenate([[0], v[:n][: n - 1]]))
        K = np.zeros((n, n))
        K[np.triu_indices(n, 1)] = v[n - 1 :] * part * g**3 * min(D) ** 2 / (3 * n * max(D))
        A = (K + K.T) / D
        return aligned(A, y, g)[0] / D, D

    low, high = math.inf, -math.inf
    for flips in range(n // 2 + 1):
        y = np.where(np.arange(n) < flips, -1, 1)
        reach = [(0, 3)] * (n - 1) + [(-1, 1)] * (n * (n - 1) // 2)
        for sign in (1, -1):

            def objective(v, y=y, sign=sign):
                lam, D = multiplier(v, y)
                return min(2 * max(D) * lam) if sign > 0 else -max(2 / 3 * g**2 * min(D) * lam)

            end = differential_evolution(objective, reach, maxiter=40, popsize=6, rng=seed).fun
            low, high = (min(low, end), high) if sign > 0 else (low, max(high, -end))
    return low, high


@pytest.mark.parametrize(("slope", "n"), [(0.5, 2), (0.9, 3), (0.999, 2), (0.999, 4)])
def test_multipliers_at_the_edge_of_t1(slope, n):
    """(T3) at the edge of (T1): no data leave its bounds; with p_max larger some do."""
    low, high = t1_extremes(slope, n, 0, 1)
    assert 1 < low
    assert high < 1
    low, high = t1_extremes(slope, n, 0, 0.9 * n / (n - 1) * 3 / slope**3)  # r below 0.9
    assert low < 1 or high > 1
