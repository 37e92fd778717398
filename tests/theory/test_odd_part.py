"""The odd part (A1) to (A3): identities for any weights, kinks included, and along any training.

Unless a test says otherwise its tolerance is rounding, as in test_theory: float64 errs by 1e-16 an
operation, sums have some hundred terms, 1e-12 of the sum of their magnitudes is never reached.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import make_problem
from test_kkt import nearly_orthogonal

from reflfap import onehidden
from reflfap.attacks import L2
from reflfap.errors import InputError, NonFiniteError
from reflfap.losses import LOSSES
from reflfap.onehidden import forward
from reflfap.theory.boundary import normal
from reflfap.theory.kkt import aligned_kkt, effective_multipliers
from reflfap.theory.learning import effects, perturbation_effect
from reflfap.theory.odd_part import (
    OddEven,
    even_share,
    mirrored_accuracy,
    odd_and_even,
    odd_course,
    odd_direction,
    odd_multiplier_rates,
    odd_multipliers,
)
from reflfap.theory.perturbations import direction, perturbations
from reflfap.training.descent import descent
from reflfap.training.flow import flow

pytestmark = pytest.mark.usefixtures("library")

SEEDS = st.integers(0, 10**6)
SLOPES = st.floats(0.01, 0.99)
BOTH_LOSSES = pytest.mark.parametrize("loss", LOSSES)


def with_kinks(seed, slope, hidden=6, dim=5, n=9):
    """Small whole numbers: many <w_j, z> are exactly 0, one unit and one point are zero."""
    rng = np.random.default_rng(seed)
    W, z = (rng.integers(-2, 3, size).astype(float) for size in ((hidden, dim), (n, dim)))
    W[0], z[0] = 0, 0
    return onehidden.network(W, slope), z, rng


# (A1)


@given(seed=SEEDS, slope=SLOPES)
def test_the_odd_part_is_linear(seed, slope):
    """(A1): f(z) - f(-z) = (1 + gamma) <s, z> for any weights, at kinks too."""
    net, z, _ = with_kinks(seed, slope)
    f, g = forward(net, z)[0], forward(net, -z)[0]
    scale = np.abs(net.W).sum() * np.abs(z).max() * net.W.shape[1]
    assert f - g == pytest.approx((1 + slope) * z @ odd_direction(net), abs=1e-12 * scale)
    odd, even = odd_and_even(net, z)
    assert odd == pytest.approx((f - g) / 2, abs=1e-12 * scale)
    assert even == pytest.approx((f + g) / 2, abs=1e-12 * scale)
    assert odd + even == pytest.approx(f, abs=1e-12 * scale)


@given(seed=SEEDS, slope=SLOPES)
def test_parts_at_mirrored_points(seed, slope):
    """(A1): one part changes its sign from z to -z, the other does not; bit by bit."""
    net, z, _ = with_kinks(seed, slope)
    here, there = odd_and_even(net, z), odd_and_even(net, -z)
    assert np.array_equal(here.odd, -there.odd)
    assert np.array_equal(here.even, there.even)


@given(seed=SEEDS, slope=SLOPES, c=st.floats(0.1, 10))
def test_scaled_points_and_paired_units(seed, slope, c):
    """(A1): both parts scale with z; units in pairs w, -w of one sign have no odd part."""
    net, z, _ = with_kinks(seed, slope)
    for part, scaled in zip(odd_and_even(net, z), odd_and_even(net, c * z), strict=True):
        assert scaled == pytest.approx(c * part, rel=1e-9, abs=1e-9)
    W = net.W[[0, 1, 3, 4]]
    W[1], W[3] = -W[0], -W[2]
    paired = onehidden.network(W, slope)
    assert odd_direction(paired) == pytest.approx(0, abs=1e-12)
    assert odd_and_even(paired, z).odd == pytest.approx(0, abs=1e-10)


def test_a_slope_near_one_leaves_no_even_part():
    """(A1): at gamma -> 1 the network is linear: e is (1 - gamma)/(1 + gamma) of it at most."""
    net, x, _ = make_problem(slope=0.3)
    odd = odd_and_even(net._replace(slope=1 - 1e-9), x).odd
    assert np.abs(odd_and_even(net._replace(slope=1 - 1e-9), x).even).max() < 1e-8
    assert odd == pytest.approx(x @ odd_direction(net), rel=1e-6)
    for slope in (0.2, 0.8):
        # |sum_j a_j |z_j|| <= sum_j |a_j z_j|
        most = (1 - slope) / 2 * np.abs(net.a) @ np.abs(net.W @ x.T)
        assert np.all(np.abs(odd_and_even(net._replace(slope=slope), x).even) <= most + 1e-12)


# (A2)


@BOTH_LOSSES
@given(seed=SEEDS, slope=SLOPES, n=st.integers(1, 6))
@pytest.mark.numpy_only
def test_the_odd_part_of_a_trained_network(loss, seed, slope, n):
    """(A2): s = s(0) + sum_n c_n y_n x_n with c_n > 0 at any time, aligned or not, N = 1 too.

    By flow and by descent with momentum, whose steps are sums of gradients with weights above 0.
    """
    net, x, y = make_problem(seed % 1000, n=n, slope=slope)
    for trained in (
        flow(net, x, y, LOSSES[loss], time=3.0),
        descent(net, x, y, LOSSES[loss], epochs=30),
    ):
        if trained.C is None:  # descent on weights, where N is large
            continue
        c = odd_multipliers(trained.net, trained.C, y)
        assert np.all(c > 0)
        s = odd_direction(net) + (c * y) @ x
        assert odd_direction(trained.net) == pytest.approx(s, rel=1e-9, abs=1e-9)
        lam = effective_multipliers(trained.net, trained.C, y)
        assert c == pytest.approx((1 + slope) / 2 * lam, rel=1e-12)


@BOTH_LOSSES
@given(seed=SEEDS, slope=SLOPES)
def test_multipliers_grow_at_their_rates(loss, seed, slope):
    """(A2): dc_n/dt as sum_j a_j dC_jn/dt gives it unit by unit, within gamma r_n/N and r_n/N."""
    net, x, y = make_problem(seed % 1000, slope=slope)
    rates = odd_multiplier_rates(net, x, y, LOSSES[loss])
    q = y * forward(net, x)[0]
    r = np.exp(-q) if loss == "exponential" else 1 / (1 + np.exp(q))
    m, n = len(net.W), len(x)
    for k in range(n):
        on = [1.0 if net.W[j] @ x[k] > 0 else slope for j in range(m)]
        assert rates[k] == pytest.approx(r[k] / n * sum(on) / m, rel=1e-12)
    assert np.all((rates >= slope * r / n * (1 - 1e-12)) & (rates <= r / n * (1 + 1e-12)))


def test_rates_are_those_of_the_flow():
    """(A2): over a short time h the multipliers grow by h dc/dt, up to h^2 times a second one."""
    net, x, y = make_problem()
    for loss in LOSSES.values():
        rates = odd_multiplier_rates(net, x, y, loss)
        for h in (1e-4, 1e-5):
            (moment,) = odd_course(net, x, y, loss, [h], 1e-4)
            assert moment.c / h == pytest.approx(rates, rel=100 * h)


def test_a_course_adds_its_pieces():
    """(A2): at each time the network is s(0) plus the multipliers so far, which only grow."""
    net, x, y = make_problem(n=4)
    times = [0.5, 2.0, 30.0]
    moments = odd_course(net, x, y, "exponential", times, 0.01)
    assert [one.time for one in moments] == times
    before = 0 * y
    for one in moments:
        s = odd_direction(net) + (one.c * y) @ x
        assert odd_direction(one.net) == pytest.approx(s, rel=1e-9, abs=1e-9)
        assert np.all(one.c > before)
        before = one.c
    # each flow errs by its tolerance in the margins, so do the multipliers in units of 1/||x||^2
    whole = odd_course(net, x, y, "exponential", times[-1:], 0.01)[0]
    early, other = (
        odd_course(net, x, y, "exponential", at, 0.01)[-1] for at in ([1.0], [0.5, 1.0])
    )
    assert other.c == pytest.approx(early.c, abs=0.05 * early.c.max())
    assert whole.c == pytest.approx(moments[-1].c, abs=0.05 * moments[-1].c.max())
    for bad in ([1.0, 1.0], [2.0, 1.0], [0.0]):
        with pytest.raises(InputError, match="time"):
            odd_course(net, x, y, "exponential", bad)


@given(seed=SEEDS, slope=st.floats(0.05, 0.95))
def test_at_the_kkt_point(seed, slope):
    """(A2): the aligned point has c = (1 + gamma)/2 lam, and s = (1 + gamma)/2 b, b of (T5)."""
    x, y = nearly_orthogonal(seed, 4)
    point = aligned_kkt(x, y, 4, slope)
    on = np.where(point.net.a[:, None] * y > 0, 1, slope)
    C = on * point.net.a[:, None] * (point.lam * y)
    c = odd_multipliers(point.net, C, y)
    assert c == pytest.approx((1 + slope) / 2 * point.lam, rel=1e-9)
    b = normal(x, y, point.lam)
    assert odd_direction(point.net) == pytest.approx((1 + slope) / 2 * b, rel=1e-9, abs=1e-9)


@pytest.mark.numpy_only
@pytest.mark.parametrize("time", [0.3, 10.0, 1e4])
def test_two_effects_at_all_times(time):
    """(L1), (L2) by (A1), (A2): o = (1 + gamma)/2 (<s(0), z> + both effects), c_n for lam_n.

    Twice as many samples as inputs, so that (T1) fails by far and no KKT point is aligned. The
    effect of perturbations along the odd part of another network is a multiple of that part.
    """
    net, x, y = make_problem(0, dim=5, n=10, slope=0.01)
    other = make_problem(1, dim=5, slope=0.01).net
    s = odd_direction(other)
    v = direction(L2(0.4), s)
    eta = perturbations(v, y)
    trained = flow(net, x + eta, y, "exponential", time=time)
    c = odd_multipliers(trained.net, trained.C, y)
    z = make_problem(2, dim=5, n=30).x
    parts = effects(x, eta, y, c, z)
    expected = 1.01 / 2 * (z @ odd_direction(net) + parts.total)
    assert odd_and_even(trained.net, z).odd == pytest.approx(expected, rel=1e-9, abs=1e-9)
    second = perturbation_effect(v, c.sum(), z)
    assert parts.perturbations == pytest.approx(second, rel=1e-9, abs=1e-9)
    multiple = 0.4 * c.sum() / np.linalg.norm(s) / (1.01 / 2)
    assert second == pytest.approx(multiple * odd_and_even(other, z).odd, rel=1e-9, abs=1e-9)


# (A3)


@given(seed=SEEDS, of_a_network=st.booleans())
def test_mirrored_accuracy_is_counted(seed, of_a_network):
    """(A3): as the signs of f at z and -z count it, ties and zeros among them.

    Whole numbers, four units, so that a = 1/2, and slope 1/2: outputs are exact, counts too.
    """
    net, z, rng = with_kinks(seed, 0.5, hidden=4, n=30)
    parts = odd_and_even(net, z)
    here, there = forward(net, z)[0], forward(net, -z)[0]
    if not of_a_network:
        parts = OddEven(*rng.integers(-2, 3, (2, 30)).astype(float))
        here, there = parts.odd + parts.even, parts.even - parts.odd
    y = rng.choice([-1.0, 1.0], 30)
    counted = (np.mean(y * here > 0) + np.mean(-y * there > 0)) / 2
    assert mirrored_accuracy(parts, y) == pytest.approx(counted, rel=1e-12)
    size, toward = np.abs(parts.even), y * parts.odd
    tied = np.mean((toward == size) & (size > 0)) / 2
    stated = np.mean(toward > size) + np.mean(np.abs(parts.odd) < size) / 2
    assert counted == pytest.approx(stated + tied, rel=1e-12)


@given(seed=SEEDS)
def test_an_even_part_alone_is_chance(seed):
    """(A3): what it wins at (z, y) it loses at (-z, -y); without it the odd part's own accuracy."""
    rng = np.random.default_rng(seed)
    odd, even = rng.standard_normal((2, 20))
    y = rng.choice([-1.0, 1.0], 20)
    assert mirrored_accuracy(OddEven(0 * odd, even), y) == 0.5
    assert mirrored_accuracy(OddEven(odd, 0 * even), y) == np.mean(y * odd > 0)
    assert mirrored_accuracy(OddEven(odd, even), y) == mirrored_accuracy(OddEven(odd, -even), y)
    assert mirrored_accuracy(OddEven(odd, 1e9 * even), y) == 0.5


@given(seed=SEEDS, slope=SLOPES)
def test_share_of_the_variance(seed, slope):
    """(A3): of the variance of f over z and -z, taken together; between 0 and 1."""
    net, z, _ = with_kinks(seed, slope)
    parts = odd_and_even(net, z)
    f = np.concatenate([forward(net, z)[0], forward(net, -z)[0]])
    share = even_share(parts)
    assert 0 <= share <= 1
    assert share * np.var(f) == pytest.approx(np.var(parts.even), rel=1e-9, abs=1e-9)
    assert even_share(OddEven(0 * parts.odd, 0 * parts.even)) == 0
    assert even_share(OddEven(0 * parts.odd, z @ np.arange(1.0, 6))) in (0, 1)
    assert even_share(OddEven(parts.odd, 0 * parts.even + 3)) == pytest.approx(0, abs=1e-12)


def test_bad_input():
    """Points of another width, labels of another shape, weights beyond the dtype are refused."""
    net, x, y = make_problem()
    with pytest.raises(InputError, match="columns"):
        odd_and_even(net, x[:, :3])
    with pytest.raises(InputError, match="y"):
        mirrored_accuracy(odd_and_even(net, x), y[:2])
    huge = net._replace(W=1e308 * np.sign(net.a)[:, None] * np.ones_like(net.W))
    with pytest.raises(NonFiniteError, match="scale"):
        odd_direction(huge)
    with pytest.raises(NonFiniteError, match="scale"):
        odd_and_even(huge, 1e3 * x)
