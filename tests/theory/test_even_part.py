"""The even part: its kernel by sampling, limits in closed form, and training by the kernel itself.

No number of these tests comes from the formulas they check. The second route is the model solved as
it is: two kernel regressions, and the attack along the exact gradient of the first.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflfap.errors import InputError
from reflfap.onehidden import activation_slope
from reflfap.theory.asymptotic import (
    ATTACKED,
    Learner,
    learned_direction,
    margin_moments,
    perturbation_moves,
    sharper_accuracy,
)
from reflfap.theory.even_part import (
    Features,
    even_kernel,
    kernel_features,
    memory,
    parts_accuracy,
    regression,
)

VARIANCE = 1 / 3  # uniform on [-1, 1]
SLOPES = st.floats(0.01, 0.99)
FOREVER = Learner(0.01, 10**17, 1e100)  # so long, and so wide, that start and tilt are outgrown


@given(slope=SLOPES, seed=st.integers(0, 99))
def test_the_kernel_is_a_mean_over_patterns(slope, seed):
    """<x, x'> mean phi' phi' over random w is g^2 <x, x'> and the even kernel.

    w normal or of one length: patterns know no length. 4,000 of them; a mean of numbers between
    slope^2 and 1 has a standard error of at most (1 - slope^2)/2/sqrt(4,000). Six of those: one in
    10^9 of 12 entries would be beyond.
    """
    rng = np.random.default_rng(seed)
    x, other = rng.standard_normal((3, 5)), rng.standard_normal((4, 5))
    w = rng.standard_normal((4_000, 5))
    slopes = [activation_slope(w @ points.T, slope) for points in (x, other)]
    products = x @ other.T
    sampled = products * (slopes[0].T @ slopes[1]) / len(w)
    expected = ((1 + slope) / 2) ** 2 * products + even_kernel(x, other, slope)
    error = (1 - slope**2) / 2 / math.sqrt(len(w))
    assert np.all(np.abs(sampled - expected) <= 6 * error * np.abs(products))


@given(slope=SLOPES, seed=st.integers(0, 99), scale=st.floats(0.1, 10))
def test_the_kernel_is_even_and_a_kernel(slope, seed, scale):
    """Even in either point, of degree one in their lengths, symmetric, and positive definite."""
    x = np.random.default_rng(seed).standard_normal((6, 4))
    kernel = even_kernel(x, x, slope)
    rounding = 1e-6 * kernel.max()  # asin near one has the root of a rounding
    assert kernel == pytest.approx(even_kernel(-x, x, slope), abs=rounding)
    assert scale * kernel == pytest.approx(even_kernel(x, scale * x, slope), abs=scale * rounding)
    assert kernel == pytest.approx(kernel.T, abs=rounding)
    assert np.linalg.eigvalsh(kernel).min() > -6 * rounding
    h2 = ((1 - slope) / 2) ** 2
    assert np.diag(kernel) == pytest.approx(h2 * np.sum(x**2, 1), rel=1e-6)  # asin(1) = pi/2


@given(slope=SLOPES, seed=st.integers(0, 99), dim=st.integers(2, 50))
def test_off_the_diagonal_it_is_nearly_quadratic(slope, seed, dim):
    """0 <= asin(c)/c - 1 <= (pi/2 - 1) c^2, as the series has coefficients >= 0 of sum pi/2."""
    points = np.random.default_rng(seed).standard_normal((8, dim))
    x, other = points[:4], points[4:]
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(other, axis=1)
    cosine2 = (x @ other.T / lengths) ** 2
    quadratic = ((1 - slope) / 2) ** 2 * (2 / math.pi) * lengths * cosine2
    excess = even_kernel(x, other, slope) - quadratic
    rounding = 1e-7 * quadratic
    assert np.all(excess >= -rounding)
    assert np.all(excess <= (math.pi / 2 - 1) * cosine2 * quadratic + rounding)


@given(dim=st.integers(1, 10**6), size2=st.floats(0.1, 100), slope=SLOPES)
def test_features_have_the_kernel_of_a_point_itself(dim, size2, slope):
    """Variances and ridge add up to (1 + slope^2)/2 |x|^2, the mean of phi'^2 |x|^2."""
    found = kernel_features(np.asarray([float(dim)]), np.asarray([size2 / dim]), size2, slope)
    whole = found.number @ found.own + found.ridge
    assert whole == pytest.approx((1 + slope**2) / 2 * size2)


@given(ratio=st.floats(0.01, 10), slope=st.floats(0.01, 0.9))
def test_the_odd_part_remembers_as_in_l5(ratio, slope):
    """(L5): at d = 10^7 the even features are so many that they are a ridge: D/N > 10^6.

    Its moments are of Marchenko and Pastur's law, those here of a fixed point. What is left of the
    difference is of order N/D.
    """
    dim = 10**7
    found = memory(dim, round(ratio * dim), VARIANCE, Learner(slope))
    kappa, tau = margin_moments(ratio, Learner(slope).rho)
    assert found.mean[0] / math.sqrt(found.fresh[0]) == pytest.approx(kappa, rel=1e-4)
    own = found.cov[0, 0] - found.fresh[1] * found.mean[0] ** 2
    assert math.sqrt(own / found.fresh[0]) == pytest.approx(tau, rel=1e-4)


@given(dim=st.integers(200, 10**5), slope=st.floats(0.01, 0.9))
def test_few_samples_are_remembered_by_the_root_of_the_features(dim, slope):
    """N = 1: signal to noise sqrt(d/N) of the odd part, d/sqrt(2 N) of the even one.

    To the share 1/d that they see of each other, and sqrt(2 D) is d to that order too.
    """
    found = memory(dim, 1, VARIANCE, Learner(slope))
    signal = found.mean / np.sqrt(found.fresh)
    assert signal == pytest.approx([math.sqrt(dim), dim / math.sqrt(2)], rel=2 / dim)


@given(dim=st.integers(20, 10**4), n=st.integers(1, 10**5), slope=st.floats(0.01, 0.9))
def test_margins_are_a_law(dim, n, slope):
    """Shares of the margin are positive and leave one for the ridge; covariances are so."""
    found = memory(dim, n, VARIANCE, Learner(slope))
    assert np.all(found.mean > 0)
    assert found.mean.sum() < 1
    assert np.linalg.eigvalsh(found.cov).min() > -1e-12


@given(
    ratio=st.floats(0.05, 20),
    size=st.floats(0.1, 10),
    noise=st.tuples(st.floats(0, 1), st.floats(0.1, 1)),
)
def test_one_group_is_learned_as_in_l5(ratio, size, noise):
    """(L5): with a second group of no variance, `learned_direction` with g = 1."""
    dim = 1_000
    moves = perturbation_moves("l2", dim, size, 0.5, False, noise)
    n_adv, rho = max(round(ratio * dim), 1), 0.9
    expected = learned_direction(moves, n_adv, rho)
    ridge = rho * float(moves.number @ (moves.own + moves.v**2 + moves.across))
    features = Features(np.append(moves.number, 1.0), np.append(moves.own, 0.0), ridge)
    found = regression(features, np.append(moves.v, 0), np.append(moves.across, 0), n_adv)
    length2, random2 = features.number @ found.mean**2, features.number @ found.random
    assert length2 == pytest.approx(expected.length**2)
    assert random2 / length2 == pytest.approx(expected.tan2)
    assert found.unlearned[0] == pytest.approx(expected.unlearned)
    assert found.multiplier == pytest.approx(expected.multiplier)


@pytest.mark.parametrize("norm", ATTACKED)
@given(n=st.integers(1, 300), n_adv=st.sampled_from([1, 30, 10**3, 10**6]))
@settings(max_examples=20)
def test_with_few_samples_an_input_it_is_l5(norm, n, n_adv):
    """(L5) is left for N/d -> 0 and N_adv/D -> 0, and the even part alone is chance.

    At d = 10^6 the even features are a ridge to N_adv/D < 10^-8, and the even gradient is N/d of
    the odd one, 3e-4, times how much its choice of pixels matters. The odd part alone lacks the
    even part of the start, so it is better than both.
    """
    size = 2_000 if norm == "l0" else (20 if norm == "l2" else 0.1) / math.sqrt(n_adv)
    cell = ((10**6, n, n_adv), norm, size, VARIANCE, True)
    found = parts_accuracy(*cell)
    assert found.network == pytest.approx(sharper_accuracy(*cell), abs=1e-4)
    assert found.odd >= found.network - 1e-4
    assert found.even == pytest.approx(0.5, abs=1e-3)


SIZES = {"l2": 8.0, "linf": 0.03, "linf-sign": 0.01, "l0": 20_000}


@pytest.mark.parametrize("norm", ATTACKED)
@pytest.mark.parametrize("n_adv", [10**6, 10**8])
def test_with_as_many_samples_as_inputs_it_is_l5(norm, n_adv):
    """(L5) is left in many dimensions, for N/d and N_adv/d of any size: D is d/2 times d.

    What the even features still do is of the order N/D + N_adv/D.
    """
    cell = ((10**6, 10**6, n_adv), norm, SIZES[norm], VARIANCE, True)
    least = (10**6 + n_adv) / (10**12 / 2)
    assert parts_accuracy(*cell).network == pytest.approx(sharper_accuracy(*cell), abs=3 * least)


@given(dim=st.integers(30, 1_000), n=st.integers(10, 3_000), size=st.floats(0.05, 1))
def test_with_all_the_noise_it_learns_the_odd_part_and_twice_the_even_one(dim, n, size):
    """N_adv -> infinity, L2: what is learned is mu (o + 2 e)/sigma^2, and the rest is gone.

    Regression of y_adv on x + y_adv mu grad f is -mu div(p grad f)/p, p the law of x: for normal x
    mu (<x, grad f>/sigma^2 - Laplacian f), which multiplies a part of degree k by k mu/sigma^2. At
    10^15 samples and 10^100 of time, what is left of noise and start is below 10^-3.
    """
    found = parts_accuracy((dim, n, 10**15), "l2", size, VARIANCE, False, FOREVER)
    known, degree = memory(dim, n, VARIANCE, FOREVER), np.asarray([1, 2])
    for weights, accuracy in (
        (degree, found.network),
        (degree * [1, 0], found.odd),
        (degree * [0, 1], found.even),
    ):
        score = weights @ known.mean / math.sqrt(weights @ known.cov @ weights)
        assert accuracy == pytest.approx((1 + math.erf(score / math.sqrt(2))) / 2, abs=1e-3)


@given(
    sizes=st.tuples(*[st.integers(100, 3_000)] * 3),  # of fewer, little outweighs the start
    size=st.floats(0.05, 1),
    scale=st.floats(0.1, 3),
)
def test_the_unit_of_the_data_plays_no_part(sizes, size, scale):
    """x, and the size of L2, times a number: the same, once the start of the weights is outgrown,
    which has a unit. Beside margins of 200 it adds less than (3 |w_0|/200)^2, some 10^-4, to the
    variance of each part; of few samples the even part's is small, so it is some 10^-3 of that."""
    here = parts_accuracy(sizes, "l2", size, VARIANCE, False, FOREVER)
    there = parts_accuracy(sizes, "l2", scale * size, scale**2 * VARIANCE, False, FOREVER)
    assert list(there) == pytest.approx(list(here), abs=3e-3)


@pytest.mark.parametrize("norm", ATTACKED)
@given(sizes=st.tuples(*[st.integers(20, 3_000)] * 3), slope=st.floats(0.01, 0.9))
def test_accuracies_are_better_than_chance(norm, sizes, slope):
    """Each part moves toward the labels; nothing is learned from samples that were not moved."""
    learner = Learner(slope)
    for part in parts_accuracy(sizes, norm, 5, VARIANCE, True, learner):
        assert 0.5 < part <= 1
    if norm != "l0":
        assert parts_accuracy(sizes, norm, 0, VARIANCE, True, learner) == (0.5, 0.5, 0.5)


def gradient(x, samples, coefficients, slope):
    """d/dx of sum_n c_n (g^2 <x_n, x> + even kernel), (n, d): by the product rule."""
    g2, h2 = ((1 + slope) / 2) ** 2, ((1 - slope) / 2) ** 2
    products = x @ samples.T
    length, down = np.linalg.norm(samples, axis=1), np.linalg.norm(x, axis=1)[:, None]
    cosine = products / length / down
    bend = products / np.sqrt(1 - cosine**2)  # products times asin'(cosine)
    along = (coefficients * (np.arcsin(cosine) + bend / length / down)) @ samples
    inward = np.sum(coefficients * bend * cosine, axis=1, keepdims=True) / down**2 * x
    return g2 * (coefficients @ samples) + h2 * (2 / math.pi) * (along - inward)


def trained_by_the_kernel(dim, n, n_adv, size, seed, slope=0.01):
    """The whole experiment with frozen patterns: accuracies, and the standard network's moments."""
    rng = np.random.default_rng(seed)
    x, noise = (rng.uniform(-1, 1, (count, dim)) for count in (n, n_adv))
    y, target = (rng.choice([-1.0, 1.0], count) for count in (n, n_adv))

    def parts(points, samples):
        return ((1 + slope) / 2) ** 2 * points @ samples.T, even_kernel(points, samples, slope)

    standard = np.linalg.solve(sum(parts(x, x)), y)
    way = gradient(noise, x, standard, slope)
    moved = noise + size * target[:, None] * way / np.linalg.norm(way, axis=1, keepdims=True)
    adversarial = np.linalg.solve(sum(parts(moved, moved)), target)
    odd, even = (y * (kernel @ adversarial) for kernel in parts(x, moved))
    right = [np.mean(part > 0) for part in (odd + even, odd, even)]
    own = y * (parts(x, x)[0] @ standard)
    fresh = [np.var(kernel @ standard) for kernel in parts(rng.uniform(-1, 1, (1_000, dim)), x)]
    return [*right, own.mean(), own.var(), *fresh]


def test_the_gradient_is_one():
    """Of the second route: central differences, whose error is of second order, 1e-10 here."""
    rng = np.random.default_rng(0)
    x, samples, c = rng.uniform(-1, 1, (3, 6)), rng.uniform(-1, 1, (5, 6)), rng.standard_normal(5)
    step = 1e-5
    for axis, column in enumerate(gradient(x, samples, c, 0.3).T):
        ends = []
        for sign in (1, -1):
            z = x + sign * step * np.eye(6)[axis]
            ends.append((0.65**2 * z @ samples.T + even_kernel(z, samples, 0.3)) @ c)
        assert column == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-8)


@pytest.mark.parametrize(
    ("dim", "n", "n_adv", "size"),
    [(60, 60, 600, 0.3), (60, 400, 600, 0.5), (100, 600, 600, 0.6), (60, 900, 300, 0.6)],
)
def test_training_by_the_kernel_does_as_predicted(dim, n, n_adv, size):
    """Second route: the model itself, with the whole arcsine, in place of every formula.

    12 seeds. Four standard errors of their mean, and for what is left out, which falls with 1/d,
    1/d of an accuracy or 6/d of a moment.
    """
    drawn = [trained_by_the_kernel(dim, n, n_adv, size, seed) for seed in range(12)]
    mean, error = np.mean(drawn, 0), np.std(drawn, 0, ddof=1) / math.sqrt(len(drawn))
    known = memory(dim, n, VARIANCE, FOREVER)
    predicted = parts_accuracy((dim, n, n_adv), "l2", size, VARIANCE, False, FOREVER)
    expected = np.asarray([*predicted, known.mean[0], known.cov[0, 0], *known.fresh])
    allowed = 4 * error + np.asarray([1] * 3 + [6] * 4) / dim * expected
    assert np.all(np.abs(mean - expected) <= allowed)


def test_refusals():
    """Points without a direction, of another space, and what (L5) refuses."""
    x = np.ones((2, 3))
    for points, other, slope in ((0 * x, x, 0.5), (x, x[:, :2], 0.5), (x, x, 1.0), (x, x, 0.0)):
        with pytest.raises(InputError):
            even_kernel(points, other, slope)
    for sizes, norm, size in (
        ((0, 5, 5), "l2", 1.0),
        ((5, 5, 5), "l1", 1.0),
        ((5, 5, 5), "l2", -1.0),
    ):
        with pytest.raises(InputError):
            parts_accuracy(sizes, norm, size, VARIANCE, True)
    with pytest.raises(InputError):
        memory(5, 0, VARIANCE)
