"""(R1), (R2): the certificate against exact fractions, and against all KKT points by trial."""

from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reflfap.audit.kkt_points import every_kkt_point
from reflfap.audit.uniqueness_checks import exactly
from reflfap.errors import InputError
from reflfap.theory import uniqueness
from reflfap.theory.kkt import aligned_kkt
from reflfap.theory.uniqueness import (
    certify,
    interference,
    rounding,
    scaled_multiplier_bounds,
    thresholds,
)

pytestmark = pytest.mark.usefixtures("library")

SLOPES = st.sampled_from([0.01, 0.125, 0.3, 0.5, 0.9, 0.999])
SEEDS = st.integers(0, 10**6)


def gram(seed, n, row_sum):
    """Samples with r = `row_sum`, up to rounding, and labels; norms differ up to twofold."""
    rng = np.random.default_rng(seed)
    squares = rng.uniform(1, 4, n)
    G = np.triu(rng.choice([-1, 1], (n, n)) * rng.uniform(0.2, 1, (n, n)), 1)
    G = (G + G.T) * row_sum / np.max((abs(G + G.T) / squares).sum(axis=1))
    G = G + np.diag(squares)  # positive definite where r < 1, by Gershgorin
    return np.linalg.cholesky(G), rng.choice([-1.0, 1.0], n)


def whole_numbers(seed, n, dim, large):
    """Samples of whole numbers, nearly orthogonal: a large entry each, and `dim` small ones."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, n + dim))
    x[:, :n] = large * np.eye(n)
    x[:, n:] = rng.integers(-9, 10, (n, dim))
    return x


# the thresholds, as fractions


def test_thresholds_by_hand():
    """(R1), (R2): both 101/1091 at gamma = 1/10; at 1/2 they are 5/11 and (sqrt(305) - 5)/28."""
    assert thresholds(Fraction(1, 10)) == (Fraction(101, 1091), Fraction(101, 1091))
    exists, unique = thresholds(Fraction(1, 2))
    assert exists == Fraction(5, 11)
    assert float(unique) == pytest.approx((305**0.5 - 5) / 28, rel=1e-15)


@given(slope=st.fractions(0, 1).filter(lambda g: 0 < g < 1))
def test_thresholds_in_order(slope):
    """(R2) asks for as much as (R1) up to gamma = sqrt(2) - 1, for more beyond; (T1) for most.

    The second is a root, rounded down by 2^-120 at most: the quadratic is not positive there, and
    is positive a little above.
    """
    exists, unique = thresholds(slope)

    def quadratic(r):
        return (1 - slope**3) * r * r - slope**2 * (1 + slope**2) * (1 - r)

    assert slope**3 / 3 < unique <= exists < slope
    assert quadratic(unique) <= 0
    assert (unique == exists) == (slope**2 + 2 * slope <= 1)
    assert unique == exists or quadratic(unique + Fraction(1, 2**110)) > 0


@given(seed=SEEDS, n=st.integers(2, 6), dim=st.integers(1, 5), slope=st.fractions(0, 1))
def test_t1_implies_uniqueness(seed, n, dim, slope):
    """(T1) for whole numbers and a fraction gamma, both exactly, implies r < gamma^3/3: (R2).

    gamma is the least for which (T1) holds, or a larger one.
    """
    x = whole_numbers(seed, n, dim, 300)
    r, p_max, least, largest = exactly(x)
    cube = 3 * n * largest * p_max / least**2
    assume(cube < 1)
    slope = max(slope, Fraction(float(cube) ** (1 / 3) * (1 + 1e-9)))
    assume(0 < slope < 1)
    assert p_max <= slope**3 * least**2 / (3 * n * largest)
    assert r <= slope**3 / 3 < thresholds(slope)[1]


# the certificate, against exact arithmetic


def judged(x, slope):
    """The certificate, after it was compared with the exact truth."""
    found = certify(x, slope)
    r, p_max, least, largest = exactly(x)
    g = Fraction(slope)
    exists, unique = (r < one for one in thresholds(g))
    enclosed = interference(x)
    for one, (low, high) in zip((r, p_max, least, largest), enclosed[:4], strict=True):
        assert Fraction(low) <= one <= Fraction(high)
        assert high - low <= 1e-13 * float(largest / least) * len(x) * max(1.0, float(largest))
    assert Fraction(found.r_low) <= r <= Fraction(found.r_high)
    holds = p_max <= g**3 * least**2 / (3 * len(x) * largest)
    assert holds or found.regime != "orthogonal"
    assert unique or not found.unique
    assert exists or not found.exists
    if "hides" not in found.line:  # then it says all that is true
        assert (found.exists, found.unique) == (exists, unique)
        assert (found.regime == "orthogonal") == holds
    return found


@given(
    seed=SEEDS, n=st.integers(2, 6), dim=st.integers(1, 5), slope=SLOPES, which=st.integers(0, 1)
)
@settings(max_examples=100)
def test_whole_numbers_beside_an_edge(seed, n, dim, slope, which):
    """(R1), (R2): the least diagonal at which r is below a threshold, and one less, in which order
    of blocks ever, in float64 and in float32 first: the certificate is never wrong."""
    edge, low, high = thresholds(Fraction(slope))[which], 0, 2**10
    while high - low > 1:
        middle = (low + high) // 2
        below = exactly(whole_numbers(seed, n, dim, middle))[0] < edge
        low, high = (low, middle) if below else (middle, high)
    for diagonal in {low, high} - {0}:
        x = whole_numbers(seed, n, dim, diagonal)
        for rows, work in ((2_000, 1e10), (1, 0), (3, 0)):
            with (
                patch.object(uniqueness, "ROWS", rows),
                patch.object(uniqueness, "MUCH_WORK", work),
            ):
                judged(x, slope)
                judged(x.astype("float32"), slope)


@given(
    seed=SEEDS,
    n=st.integers(2, 6),
    slope=SLOPES,
    which=st.integers(0, 1),
    ulps=st.integers(-40, 40),
)
@settings(max_examples=200)
def test_floats_on_an_edge(seed, n, slope, which, ulps):
    """(R1), (R2): r some roundings from a threshold, on either side."""
    edge = float(thresholds(Fraction(slope))[which])
    x, _ = gram(seed, n, edge * (1 + ulps * 2.0**-52))
    found = judged(x, slope)
    assert found.r_high - found.r_low < 1e-13 * n


def test_on_the_edge():
    """Where r is the threshold itself nothing is certified; it is said that rounding hides it."""
    x = np.asarray([[3.0, 1, 1], [1, 3, -1]])
    assert exactly(x)[0] == Fraction(5, 11)
    found = judged(x, 0.5)
    assert found.regime == "neither"
    assert found.line.endswith("to be below 0.454545; rounding hides whether 'exists' holds")


@pytest.mark.numpy_only
def test_an_edge_is_not_below_itself():
    """Of thresholds that are floats, as 5/11 is none: r at the edge is not certified."""
    exactly_on = interference(np.asarray([[3.0, 1, 1], [1, 3, -1]]))._replace(r=(0.25, 0.25))
    edges = Fraction(1, 4), Fraction(1, 5)
    with patch.object(uniqueness, "thresholds", lambda slope: edges):
        assert [uniqueness._regime(exactly_on, 0.5, end) for end in (0, 1)] == ["neither"] * 2
        below = exactly_on._replace(r=(0.2, 0.2))  # a little above 1/5
        assert [uniqueness._regime(below, 0.5, end) for end in (0, 1)] == ["exists"] * 2


def test_lines_and_regimes():
    """Each regime by a pair of samples; one sample has nothing to overlap with."""
    for c, regime, line in (
        (1 / 48.1, "orthogonal", "unique KKT point, certified: (T1) holds"),
        (1 / 47.9, "unique", "below 0.445152"),
        (0.1, "unique", "unique KKT point, certified: r is at most 0.1, below 0.445152"),
        (0.45, "exists", "only one is not: r is at least 0.45, to be below 0.445152"),
        (0.46, "neither", "nothing certified: r is at least 0.46, to be below 0.454545"),
    ):
        found = judged(np.asarray([[1, 0], [c, np.sqrt(1 - c * c)]]), 0.5)
        assert found.regime == regime
        assert found.line.endswith(line)
        assert found.unique == (c < 0.4)
        assert found.exists == (c < 0.455)
    assert certify(np.ones((1, 3)), 1e-30).r_high == 0
    assert certify(np.ones((1, 3)), 1e-30).unique


@given(seed=SEEDS, power=st.integers(-60, 60))
def test_units_do_not_matter(seed, power):
    """r has none: a power of two changes no digit, where float32 holds the samples or not."""
    x, _ = gram(seed, 4, 0.2)
    with patch.object(uniqueness, "MUCH_WORK", 0):
        one, other = certify(x, 0.5), certify(x * 2.0**power, 0.5)
    assert other.regime == one.regime
    assert other.r_low == pytest.approx(one.r_low, abs=1e-4)
    assert interference(x * 2.0**power).r == interference(x).r


@pytest.mark.numpy_only
def test_float32_products_where_they_decide(monkeypatch):
    """They are tried where there is much to do; float64 follows only if they leave it open."""
    tried, enclosed = [], uniqueness._enclosed

    def watched(x, dtype):
        tried.append(dtype)
        return enclosed(x, dtype)

    monkeypatch.setattr(uniqueness, "_enclosed", watched)
    open_x, clear_x = (gram(0, 3, row_sum)[0] for row_sum in (5 / 11, 0.2))
    for x, work, expected in (
        (clear_x, 1e10, ["float64"]),
        (clear_x, 0, ["float32"]),
        (open_x, 0, ["float32", "float64"]),
        (clear_x * 2.0**40, 0, ["float64"]),
        (clear_x * 2.0**-40, 0, ["float64"]),
    ):
        tried.clear()
        monkeypatch.setattr(uniqueness, "MUCH_WORK", work)
        certify(x, 0.5)
        assert tried == expected
    tried.clear()
    monkeypatch.setattr(uniqueness, "SINGLE_INPUTS", 2)
    certify(clear_x, 0.5)
    assert tried == ["float64"]


@pytest.mark.numpy_only
@pytest.mark.parametrize(
    ("row_sum", "unit", "slope", "tried_first"),
    [(0.2, 0.05, 0.01, "float64"), (0.9, 0.02, 0.01, "float32"), (0.2, 0.009, 0.6, "float32")],
)
def test_float32_products_only_where_they_can_decide(
    monkeypatch, row_sum, unit, slope, tried_first
):
    """With an error beyond the threshold they can only tell r that is larger still.

    Three samples in three dimensions, norms within twofold: the error is 3 to 6 times gamma_7.
    """
    tried, enclosed = [], uniqueness._enclosed
    monkeypatch.setattr(
        uniqueness, "_enclosed", lambda x, dtype: tried.append(dtype) or enclosed(x, dtype)
    )
    monkeypatch.setattr(uniqueness, "MUCH_WORK", 0)
    monkeypatch.setitem(uniqueness.UNIT, "float32", unit)
    x = gram(0, 3, row_sum)[0]
    assert certify(x, slope).regime == ("neither" if slope == 0.01 else "unique")
    assert tried[0] == tried_first


def test_the_reach_of_errors_by_hand():
    """||x_n|| sum_k 1/||x_k|| at lengths 1, 2 and 4."""
    assert uniqueness._spread(np.asarray([1.0, 4, 16])).tolist() == [1.75, 3.5, 7]


def test_rounding_by_hand():
    """gamma_k = k u/(1 - k u) exceeds what k roundings can do, (1 - u)^-k - 1."""
    assert rounding(3, 0.125) == 0.6
    for k in range(1, 8):
        assert rounding(k, 0.125) >= (1 - 0.125) ** -k - 1


def test_bad_samples_are_refused():
    with pytest.raises(InputError, match="zero has no direction"):
        certify(np.asarray([[1.0, 0], [0, 0]]), 0.5)
    with pytest.raises(InputError, match="slope"):
        certify(np.eye(2), 1.0)
    with pytest.raises(InputError, match="r: expected a finite number"):
        scaled_multiplier_bounds(0.46, 0.5)
    with pytest.raises(InputError, match="r: expected a finite number"):
        scaled_multiplier_bounds(0.5, 0.9)  # where a constraint may be idle


# what it certifies, against the points themselves


@given(seed=SEEDS, n=st.integers(1, 8), slope=SLOPES, part=st.floats(0.01, 0.999))
def test_the_aligned_point_is_there(seed, n, slope, part):
    """(R1): wherever it is certified, with multipliers within their bounds."""
    x, y = (
        gram(seed, n, part * float(thresholds(Fraction(slope))[0]))
        if n > 1
        else (np.eye(1), np.ones(1))
    )
    found = certify(x, slope)
    assert found.exists
    mu = aligned_kkt(x, y, 4, slope).lam * (x * x).sum(axis=1)
    if found.r_high >= 0.5:  # then a constraint may be idle
        return
    least, most = scaled_multiplier_bounds(found.r_high, slope)
    assert least * (1 - 1e-9) <= mu.min()
    assert mu.max() <= most * (1 + 1e-9)


def test_bounds_by_hand():
    """(R1): at r = 1/4 and gamma = 1/2, h mu_n is from (1/2)/(3/4) to 4/3, and h = 5/8."""
    assert scaled_multiplier_bounds(0.25, 0.5) == pytest.approx((16 / 15, 32 / 15), rel=1e-15)


@given(seed=SEEDS, slope=SLOPES)
def test_the_upper_bound_is_met(seed, slope):
    """(R1): by two samples of one label with an obtuse angle."""
    r = float(np.random.default_rng(seed).uniform(0, min(thresholds(Fraction(slope))[0], 0.5)))
    x = np.asarray([[1.0, 0.0], [-r, np.sqrt(1 - r * r)]])
    lam = aligned_kkt(x, np.ones(2), 2, slope).lam
    assert lam == pytest.approx(scaled_multiplier_bounds(r, slope)[1])


@pytest.mark.numpy_only
@given(
    seed=SEEDS,
    slope=SLOPES,
    size=st.sampled_from([(2, 2), (2, 2), (2, 4), (3, 2)]),
    part=st.floats(0.9, 0.9999),
)
@settings(max_examples=15)
def test_there_is_no_other(seed, slope, size, part):
    """(R2): among all patterns of all units, kinks included, just below the threshold."""
    n, hidden = size
    x, y = gram(seed, n, part * float(thresholds(Fraction(slope))[1]))
    assert certify(x, slope).unique
    (W,) = every_kkt_point(x, y, slope, hidden)
    assert pytest.approx(aligned_kkt(x, y, hidden, slope).net.W, rel=1e-9, abs=1e-9) == W


@pytest.mark.numpy_only
@pytest.mark.parametrize("slope", [0.05, 0.3, 0.9])
def test_others_beyond_gamma(slope):
    """(R2) asks for nothing that could be left out: two samples of one label, r just beyond gamma.

    With four units, two of one sign may share the samples; below gamma there is one point only.
    """
    for r, several in ((slope * 0.99, False), (slope * 1.01, True)):
        x = np.asarray([[1.0, 0.0], [-r, np.sqrt(1 - r * r)]])
        points = every_kkt_point(x, np.ones(2), slope, 4)
        assert (len(points) > 1) == several
        assert not certify(x, slope).unique
        norms = sorted(float(np.sum(W * W)) for W in points)
        h, q = (1 + slope**2) / 2, 1 + slope**2 - 2 * slope * r + 2 * slope**2 * (1 - r)
        assert norms[0] == pytest.approx(2 / (h * (1 - r)))
        assert not several or any(one == pytest.approx(8 / q) for one in norms)


@pytest.mark.numpy_only
def test_no_aligned_point_beyond_gamma():
    """(R1): two samples of opposite labels, r beyond gamma: the only KKT point stands on a kink."""
    for r, aligned in ((0.29, True), (0.31, False)):
        x, y = np.asarray([[1.0, 0.0], [r, np.sqrt(1 - r * r)]]), np.asarray([1.0, -1.0])
        (W,) = every_kkt_point(x, y, 0.3, 2)
        Z = W @ x.T
        assert bool(np.all(Z * np.asarray([[1], [-1]]) * y > 1e-9)) == aligned
        assert bool(np.any(abs(Z) < 1e-9)) != aligned
