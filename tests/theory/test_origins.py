"""Where perturbations come from: bounds, identities and frozen parts, against plain NumPy.

Unless a test says otherwise its tolerance is rounding: float64 errs by 1e-16 an operation, and sums
have some thousand terms at most.
"""

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kkt import SIZES, nearly_orthogonal
from test_uniqueness import gram

from reflfap import onehidden
from reflfap.data_loaders.images import load
from reflfap.errors import InputError, NoKKTPointError
from reflfap.experiments import images
from reflfap.experiments.images import ImagesConfig
from reflfap.losses import EXPONENTIAL
from reflfap.onehidden import forward, initial_weights, margin_gradient
from reflfap.theory.boundary import normal
from reflfap.theory.kkt import aligned_kkt
from reflfap.theory.origins import (
    aligned_stable_rank,
    boundary_distance_bounds,
    boundary_distances,
    expected_off_span_gradient,
    frozen_coefficients,
    off_span,
    row_basis,
    stable_rank,
    stable_rank_bounds,
)
from reflfap.theory.rate import Asymptote, aligned_for_good, asymptote, weights_at
from reflfap.training.flow import flow

pytestmark = pytest.mark.usefixtures("library")

SEEDS = st.integers(0, 10**6)
SLOPES = st.floats(0.05, 0.95)


# how near the boundary is


@given(**SIZES)
def test_orthogonal_samples_are_equally_near(seed, n, slope):
    """r = 0: every D_n is (sum 1/||x_k||^2)^(-1/2), whatever norms, labels and slope."""
    x, y = nearly_orthogonal(seed, n, noise=0.0)
    b = normal(x, y, aligned_kkt(x, y, 2, slope).lam)
    distance = (1 / (x * x).sum(axis=1)).sum() ** -0.5
    assert boundary_distances(b, x) == pytest.approx(distance, rel=1e-9)
    assert boundary_distance_bounds(x, slope) == pytest.approx((distance, distance), rel=1e-9)


@given(seed=SEEDS, n=st.integers(1, 6), slope=SLOPES, share=st.floats(0, 0.99))
def test_distances_keep_their_bounds(seed, n, slope, share):
    """(R1) at any share of its threshold: all D_n lie between, and as near as they should to each
    other; y_n <b, x_n> h is within delta of one."""
    x, y = gram(seed, n, share * slope / (1 + 2 * slope)) if n > 1 else nearly_orthogonal(seed, 1)
    b = normal(x, y, aligned_kkt(x, y, 2, slope).lam)
    distances, (low, high) = boundary_distances(b, x), boundary_distance_bounds(x, slope)
    assert low * (1 - 1e-9) <= distances.min()
    assert distances.max() <= high * (1 + 1e-9)
    K = np.abs(x @ x.T)
    r = np.max((K / np.diag(K)).sum(axis=1) - 1)
    delta = (1 - slope) ** 2 / (1 + slope**2) * r / (1 - r)
    assert np.abs((1 + slope**2) / 2 * y * (x @ b) - 1).max() <= delta + 1e-9
    # from the steps of the proof: y_n <b, x_n> h, ||b||^2 h/sum lam and h mu_n have these ends
    inverse = (1 / (x * x).sum(axis=1)).sum()
    ends = [
        numerator / math.sqrt(norm * inverse * scaled)
        for numerator, norm, scaled in (
            (1 - delta, 1 + delta, 1 / (1 - r)),
            (1 + delta, 1 - delta, (1 - 2 * r) / (1 - r)),
        )
    ]
    assert (low, high) == pytest.approx(ends, rel=1e-9)


@given(**SIZES)
def test_one_direction_flips_a_class(seed, n, slope):
    """At a hair more than D_n along b all samples change sides in the network itself, none before.

    The hair, 1e-6, is far above rounding.
    """
    x, y = nearly_orthogonal(seed, n, noise=0.1)
    try:
        point = aligned_kkt(x, y, 4, slope)
    except NoKKTPointError:
        return
    b = normal(x, y, point.lam)
    steps = boundary_distances(b, x)[:, None] * y[:, None] * b / np.linalg.norm(b)
    for factor in (1 - 1e-6, 1 + 1e-6):
        moved = y * forward(point.net, x - factor * steps)[0]
        assert np.all((moved > 0) == (factor < 1))
    # no other direction is shorter: the boundary is a hyperplane with this normal
    other = np.random.default_rng(seed).standard_normal(x.shape)
    other *= (1 - 1e-6) * np.linalg.norm(steps, axis=1, keepdims=True)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    assert np.all(y * forward(point.net, x + other)[0] > 0)


@given(seed=SEEDS, n=st.integers(2, 6), slope=SLOPES)
def test_the_first_order_estimate_is_too_long(seed, n, slope):
    """Orthogonal samples: ||grad f(x_n)||^2 = S_same + (gamma/h)^2 S_other, S sums of 1/||x||^2."""
    x, y = nearly_orthogonal(seed, n, noise=0.0)
    point = aligned_kkt(x, y, 4, slope)
    gradient = margin_gradient(point.net, x, y)[1]
    inverse, h = 1 / (x * x).sum(axis=1), (1 + slope**2) / 2
    same = np.asarray([inverse[y == one].sum() for one in y])
    expected = same + (slope / h) ** 2 * (inverse.sum() - same)
    assert (gradient**2).sum(axis=1) == pytest.approx(expected, rel=1e-9)
    exact = boundary_distances(normal(x, y, point.lam), x)
    assert np.all(exact <= expected**-0.5 * (1 + 1e-9))


def test_bounds_need_r1():
    """Where r is above the threshold nothing is promised; nor for a b that has no direction."""
    x, _ = gram(1, 4, 0.46)  # gamma = 1/2: the threshold is 5/11
    with pytest.raises(InputError, match="r: expected"):
        boundary_distance_bounds(x, 0.5)
    with pytest.raises(InputError, match="b: expected"):
        boundary_distances(np.zeros(4), x)


# outside the data's span


def with_dead_inputs(seed, dim=12, dead=5, n=9):
    """Samples whose last inputs are zero."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim))
    x[:, dim - dead :] = 0
    return x, rng.choice([-1.0, 1.0], n), rng


@given(seed=SEEDS, slope=SLOPES)
def test_outside_the_span_nothing_is_learned(seed, slope):
    """After training P W is P W0, and P grad f(x) = sum_j a_j phi'_j P w_j(0), at any point of the
    span; units that are on are those of the trained network.

    Rounding of the flow's W0 + C X, far below 1e-9.
    """
    x, y, rng = with_dead_inputs(seed, n=5)
    net = onehidden.network(initial_weights(6, 12, rng), slope)
    trained = flow(net, x, y, EXPONENTIAL, time=100.0).net
    basis = row_basis(x)
    assert basis @ basis.T == pytest.approx(np.eye(5), abs=1e-12)
    assert off_span(basis, x) == pytest.approx(0, abs=1e-9)
    assert off_span(basis, trained.W) == pytest.approx(off_span(basis, net.W), abs=1e-9)
    assert np.abs(trained.W - net.W).max() > 0.01
    z = rng.standard_normal((7, 5)) @ x
    q, gradient = margin_gradient(trained, z, np.ones(7))
    on = trained.W @ z.T > 0
    expected = (np.where(on, 1, slope) * net.a[:, None]).T @ off_span(basis, net.W)
    assert off_span(basis, gradient) == pytest.approx(expected, abs=1e-9)
    assert q == pytest.approx(forward(trained, z)[0], abs=1e-9)


def outside_over_expected(x, y, slope, hidden, dead, seeds, time):
    """Mean over samples of ||P grad f||^2 over its expectation, P onto the last inputs, a number a
    start, before and after training."""
    ratios, dim = [], x.shape[1]
    for seed in seeds:
        W = initial_weights(hidden, dim, np.random.default_rng(seed))
        net = onehidden.network(W.astype(x.dtype), slope)
        for one in (net, flow(net, x, y, EXPONENTIAL, time=time).net):
            square = (margin_gradient(one, x, y)[1][:, dead] ** 2).sum(axis=1)
            on = np.mean(one.W @ x.T > 0, axis=0)
            expected = expected_off_span_gradient(int(dead.sum()), dim, on, slope)
            ratios.append(np.mean(square / expected))
    return np.asarray(ratios).reshape(-1, 2)


@pytest.mark.numpy_only
def test_the_gradient_outside_the_span():
    """E ||P grad f||^2 is l (p + (1 - p) gamma^2)/(3 d), at the start and after training.

    ||P grad f||^2 has a relative variance of at most 2/l (its l coordinates are independent given
    the pattern, none of larger kurtosis than a normal), so a mean of samples has too. Over 200
    starts: a standard error of (2/12)^(1/2)/200^(1/2) = 0.029 at most; four of them.
    """
    x, y, _ = with_dead_inputs(1, dim=30, dead=12, n=8)
    dead = np.arange(30) >= 18
    ratios = outside_over_expected(x, y, 0.3, 20, dead, range(200), 100.0)
    assert ratios.std(axis=0).max() < 1.2 * math.sqrt(2 / 12)  # and three deviations of the spread
    assert ratios.mean(axis=0) == pytest.approx(1, abs=4 * 0.029)


def test_the_expectation_by_hand():
    """At p = 1/2 it is l (1 + gamma^2)/(6 d); at p = 1 l/(3 d), at 0 gamma^2 of that."""
    on = np.asarray([0.5, 1.0, 0.0])
    expected = [10 * 1.09 / 120, 10 / 60, 0.09 * 10 / 60]
    assert expected_off_span_gradient(10, 20, on, 0.3) == pytest.approx(expected, rel=1e-12)
    for arguments in ((21, 20, on, 0.3), (10, 20, 1.1 * on, 0.3), (10, 20, on, 1.0)):
        with pytest.raises(InputError):
            expected_off_span_gradient(*arguments)


@pytest.mark.numpy_only
@pytest.mark.skipif("REFLFAP_DATA" not in os.environ, reason="REFLFAP_DATA is not set")
def test_the_gradient_outside_the_digits():
    """MNIST, 3 and 7, centred: pixels that never change keep their gradient, in seed after seed.

    Some 270 pixels: a deviation of (2/270)^(1/2) = 0.086 each; four standard errors of five seeds.
    """
    config = ImagesConfig(
        dataset="mnist", classes=("3", "7"), n=200, n_adv=1, centre=True, dtype="float64"
    )
    x, y = images.prepare(config, images.two_classes(config, load)).natural
    dead = np.ptp(x, axis=0) == 0
    assert 144 <= dead.sum() < 784 / 2  # no fewer than over all images of both classes
    ratios = outside_over_expected(x, y, config.slope, 100, dead, range(5), 100.0)
    assert ratios.mean(axis=0) == pytest.approx(1, abs=4 * 0.086 / math.sqrt(5))


# the stable rank


def rows_of(u, v, m=6):
    return np.repeat(np.stack([u, v]), m // 2, axis=0)


@given(seed=SEEDS, dim=st.integers(1, 5))
def test_the_stable_rank_of_two_rows(seed, dim):
    """The 2 x 2 Gram matrix gives what the singular values of W do; from 1 to 2."""
    u, v = np.random.default_rng(seed).standard_normal((2, dim))
    found = aligned_stable_rank(u, v)
    assert 1 - 1e-12 <= found <= 2
    assert stable_rank(rows_of(u, v)) == pytest.approx(found, rel=1e-9)
    assert aligned_stable_rank(u, 3 * u) == pytest.approx(1, rel=1e-7)  # the root of a rounding
    values = np.linalg.svd(rows_of(u, v), compute_uv=False)
    assert found == pytest.approx((values**2).sum() / values[0] ** 2, rel=1e-9)


@given(**SIZES)
def test_the_limit_on_orthogonal_samples(seed, n, slope):
    """2/(1 + ((1 - gamma^2)^2 beta^2 + 4 gamma^2)^(1/2)/(1 + gamma^2)), beta the balance of the
    classes: 1 for one class, 2 (1 + gamma^2)/(1 + gamma)^2 for balanced ones.

    The square root of rounding where beta is one.
    """
    x, y = nearly_orthogonal(seed, n, noise=0.0)
    W = aligned_kkt(x, y, 6, slope).net.W
    inverse = 1 / (x * x).sum(axis=1)
    beta = (y * inverse).sum() / inverse.sum()
    root = math.sqrt((1 - slope**2) ** 2 * beta**2 + 4 * slope**2) / (1 + slope**2)
    assert aligned_stable_rank(W[0], W[-1]) == pytest.approx(2 / (1 + root), rel=1e-7)
    assert (beta**2 < 1 - 1e-9) or stable_rank(W) == pytest.approx(1, rel=1e-7)


@given(seed=SEEDS, size=st.floats(0.01, 3), t=st.floats(1.1, 1e200))
def test_stable_ranks_keep_their_bounds(seed, size, t):
    """Of any line W* log t + B; and both ends tend to the stable rank of W*."""
    rng = np.random.default_rng(seed)
    limit = rows_of(*rng.standard_normal((2, 7)))
    line = Asymptote(np.ones(1), limit, size * rng.standard_normal((6, 7)))
    low, high = stable_rank_bounds(line, t)
    assert low * (1 - 1e-9) <= stable_rank(weights_at(line, t)) <= high * (1 + 1e-9)
    ends = stable_rank_bounds(line, 1e300)
    # beta/s: B' is below 3 * 6.5 in norm, W* above 1, log t is 690, doubled for the square
    assert ends == pytest.approx((stable_rank(limit),) * 2, rel=0.13)


@given(along=st.floats(-5, 5), size=st.floats(0.1, 1), t=st.floats(1e4, 1e200))
def test_stable_ranks_of_a_known_line(along, size, t):
    """W* is 2 on two diagonal entries and 1 on a third, B `along` times that, and 2 `size` on 17
    others: s = log t + along, beta = size, F^2 = 17 size^2, k* = 9/4, and ||W||_2 is 2 s itself."""
    limit = np.diag([2.0, 2.0, 1.0] + [0.0] * 17)
    line = Asymptote(np.ones(1), limit, along * limit + np.diag([0.0] * 3 + [2 * size] * 17))
    s = math.log(t) + along
    above = 9 / 4 * s**2 + 17 * size**2
    assert stable_rank(weights_at(line, t)) == pytest.approx(above / s**2, rel=1e-9)
    ends = above / (s + size) ** 2, above / (s - size) ** 2
    assert stable_rank_bounds(line, t) == pytest.approx(ends, rel=1e-9)
    early = math.exp(0.9 * size - along)  # s is 0.9 beta: nothing is known from above
    assert stable_rank_bounds(line, early)[1] == math.inf
    with pytest.raises(InputError, match="time"):
        stable_rank_bounds(line, 0.0)


@pytest.mark.numpy_only
def test_a_larger_start_keeps_the_stable_rank_longer(aligned_flows):
    """Flow at t = 10^12 lies within the bounds of the line read at 10^6, and the larger the start
    the larger is the stable rank; the excess is near ||B'||_F^2/(s ||W*||_2)^2.

    beta/s, which the bounds allow twice, is below a fifth; t L keeps the flow's tolerance.
    """
    found = []
    for _, x, y, early, late in aligned_flows:
        line = asymptote(early.net, x, y)
        low, high = stable_rank_bounds(line, 1e12)
        rank = stable_rank(late.net.W)
        assert low * (1 - 1e-3) <= rank <= high * (1 + 1e-3)
        assert high / low < 1.5**2
        found.append(rank - stable_rank(line.limit))
    assert found[0] > 10 * found[1] > 0


# what the weights reveal


@pytest.fixture(scope="module")
def aligned_flows():
    """(start, x, y, trained to 10^6, from there to 10^12), for a large and a small start."""
    flows = []
    for size in (5.0, 1.0):
        x, y = nearly_orthogonal(4, 6, noise=0.05)
        net = onehidden.network(size * initial_weights(20, 40, 5), 0.5)
        early = flow(net, x, y, EXPONENTIAL, time=1e6, tolerance=0.003)
        assert aligned_for_good(early.net, x, y, 1e6)
        late = flow(early.net, x, y, EXPONENTIAL, time=1e12, tolerance=0.003)
        flows.append((net, x, y, early, late))
    return flows


@pytest.mark.numpy_only
def test_only_two_directions_grow(aligned_flows):
    """Once all is aligned C less its halves' means stays; two singular values pass it, and grow.

    Frozen up to rounding: what the flow adds has equal rows in each half, of equal arithmetic.
    """
    for _, _, _, early, late in aligned_flows:
        C, later = early.C, early.C + late.C
        frozen = frozen_coefficients(C)
        assert frozen_coefficients(later) == pytest.approx(frozen, abs=1e-9 * np.abs(later).max())
        values, after, bound = (np.linalg.svd(A, compute_uv=False) for A in (C, later, frozen))
        assert after[2] <= bound[0] * (1 + 1e-9)
        assert np.all(after[:2] > 1.5 * values[:2])
        assert np.linalg.matrix_rank(C) == 6
        assert bound[-1] > 1e-3 * bound[0]  # so all of the samples are in it


@given(**SIZES)
def test_the_limit_reveals_two_sums(seed, n, slope):
    """The rows of W* span the lam-weighted sums of either class, and nothing else."""
    x, y = nearly_orthogonal(seed, n)
    point = aligned_kkt(x, y, 4, slope)
    basis = row_basis(point.net.W)
    classes = [one for one in (-1, 1) if np.any(y == one)]
    assert len(basis) == len(classes)
    for one in classes:
        at = y == one
        b = (point.lam[at] @ x[at])[None]
        assert np.linalg.norm(off_span(basis, b)) < 1e-6 * np.linalg.norm(
            b
        )  # (1 - gamma)^-2 rounds


@given(**SIZES)
def test_how_well_the_limit_tells_samples(seed, n, slope):
    """Orthogonal samples: W* has 1/||x_n||^2 over the sum of its class of ||x_n||^2."""
    x, y = nearly_orthogonal(seed, n, noise=0.0)
    rest = off_span(row_basis(aligned_kkt(x, y, 4, slope).net.W), x)
    inverse = 1 / (x * x).sum(axis=1)
    share = inverse / np.asarray([inverse[y == one].sum() for one in y])
    left = (rest * rest).sum(axis=1) * inverse
    assert left == pytest.approx(1 - share, abs=1e-6)


@pytest.mark.numpy_only
def test_what_was_learned_tells_every_sample(aligned_flows):
    """W - W0 spans all samples: nothing of them is left over; of fresh ones 1 - N/d on average.

    W - W0 is a difference of numbers near 1, to 1e-16, of which the least singular value is above
    1e-4. 2,000 fresh samples: a standard error below (2 N/d)^(1/2)/d^(1/2)/2000^(1/2) = 0.002.
    """
    for start, x, _, _, late in aligned_flows:
        basis = row_basis(late.net.W - start.W)
        assert len(basis) == len(x)
        assert np.abs(off_span(basis, x)).max() < 1e-9
        fresh = np.random.default_rng(0).standard_normal((2_000, 40))
        left = (off_span(basis, fresh) ** 2).sum() / (fresh**2).sum()
        assert left == pytest.approx(1 - 6 / 40, abs=4 * 0.002)


@given(seed=SEEDS, rank=st.integers(1, 4))
def test_a_basis_has_the_numerical_rank(seed, rank):
    """Of a product of that inner size; rows that are zero, or of other lengths, are refused."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((6, rank)) @ rng.standard_normal((rank, 9))
    assert row_basis(rows).shape == (rank, 9)
    with pytest.raises(InputError, match="rows"):
        row_basis(0 * rows)
    with pytest.raises(InputError, match="columns"):
        off_span(row_basis(rows), np.ones((2, 8)))
    with pytest.raises(InputError, match="even"):
        frozen_coefficients(np.ones((3, 2)))
