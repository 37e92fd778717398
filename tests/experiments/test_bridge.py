"""Gradients, directions and shares that lead from deep networks to the theory."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_networks import CLASSES, SHAPE, drawn_images, drawn_weights, every_layer

from reflfap.deep import classifier
from reflfap.experiments import bridge
from reflfap.experiments.bridge import Moments

pytestmark = pytest.mark.usefixtures("one_thread")

D = math.prod(SHAPE)
SEEDS = st.integers(0, 10**6)


def probed(seed=0, n=7, xp=np):
    """A margin function, and samples (n, d) of the host."""
    network = every_layer()
    margin = classifier.margin_function(network, drawn_weights(network, seed, xp=xp), SHAPE)
    return margin, drawn_images(n, seed).x.reshape(n, D) / 255


def test_mean_gradients(xp):
    """Of each class, against a loop over single samples; the size of a chunk changes nothing."""
    margin, x = probed()
    expected = np.zeros((CLASSES, D))
    for one in range(CLASSES):
        for sample in x:
            expected[one] += margin(sample[None], np.asarray([one]))[1][0] / len(x)
    on_device, _ = probed(xp=xp)
    for chunk in (1, 3, 7, 64):
        got = bridge.mean_gradients(on_device, x, CLASSES, xp, chunk)
        assert isinstance(got, np.ndarray)
        assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_mean_gradients_are_slopes_of_the_mean_margin(seed):
    """Along random directions, against central differences: their error is the square of the step,
    1e-10, and rounding over the step, 1e-11."""
    margin, x = probed(seed)
    along = np.random.default_rng(seed).standard_normal(D)
    gradients = bridge.mean_gradients(margin, x, CLASSES)
    for one in range(CLASSES):
        target = np.full(len(x), one)
        ends = [margin(x + step * along, target)[0].mean() for step in (1e-5, -1e-5)]
        slope = (ends[0] - ends[1]) / 2e-5
        assert gradients[one] @ along == pytest.approx(slope, rel=1e-6, abs=1e-8)


MATRICES = arrays("f8", (4, 5), elements=st.integers(-1000, 1000).map(float))


@given(MATRICES, MATRICES, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_cosines(a, b, first, second):
    """Row by row, at most one in size, without regard to lengths; with its sign; 0 of nothing."""
    got = bridge.cosines(a, b)
    assert got.shape == (4,)
    assert np.abs(got).max() <= 1 + 1e-12
    for row, (one, other) in enumerate(zip(a, b, strict=True)):
        lengths = math.sqrt(sum(one * one)) * math.sqrt(sum(other * other))
        expected = sum(one * other) / lengths if lengths else 0.0
        assert got[row] == pytest.approx(expected, abs=1e-9)
    assert bridge.cosines(first * a, second * b) == pytest.approx(got, abs=1e-9)
    assert bridge.cosines(-a, b) == pytest.approx(-got, abs=1e-12)
    alike = bridge.cosines(a, first * a)
    assert alike == pytest.approx(np.any(a != 0, axis=1).astype(float), abs=1e-9)


@given(SEEDS, st.integers(1, 9), st.booleans())
def test_moments(seed, pieces, single):
    """Counts, sums by target and outer products, against loops, however they come in pieces."""
    rng = np.random.default_rng(seed)
    eta = rng.standard_normal((9, 4)).astype("f4" if single else "f8")
    target = rng.choice([0, 1, 3], 9)  # none towards class 2
    moments = Moments.none(4, 4)
    for part in np.array_split(np.arange(9), pieces):
        moments.add(eta[part], target[part])
    count, total, second = np.zeros(4), np.zeros((4, 4)), np.zeros((4, 4))
    for one, its in zip(eta.astype("f8"), target, strict=True):
        count[its] += 1
        total[its] += one
        second += one[:, None] * one
    assert np.array_equal(moments.samples, count)
    assert moments.total == pytest.approx(total, rel=1e-12, abs=1e-12)
    rounding = 1e-5 if single else 1e-12  # of a product of a piece, which is in its own dtype
    assert moments.second == pytest.approx(second, abs=rounding)
    for one in range(4):
        mean = eta[target == one].mean(axis=0) if count[one] else np.zeros(4)
        assert moments.mean[one] == pytest.approx(mean, abs=1e-6)


def flat_images(seed, n=30, d=12, rank=5):
    """Images of which each is a combination of `rank` ones."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1, (n, rank)) @ rng.uniform(0, 1, (rank, d))


@given(SEEDS, st.integers(1, 8), st.sampled_from([1, 7, 1000]))
def test_directions_span_the_images(seed, rank, chunk):
    """Orthonormal, as many as the rank, largest first; their energies are the images' mean squares
    and add up to all; the images lie in their span."""
    x = flat_images(seed, rank=rank)
    vectors, energy = bridge.directions(x, chunk)
    assert vectors.shape == (12, rank)
    assert vectors.T @ vectors == pytest.approx(np.eye(rank), abs=1e-10)
    assert np.all(np.diff(energy) <= 0)
    assert energy == pytest.approx(np.mean((x @ vectors) ** 2, axis=0), rel=1e-7, abs=1e-12)
    assert energy.sum() == pytest.approx(np.mean(np.sum(x * x, axis=1)))
    # the smallest energy that counts is d eps of the largest: 1e-7 of a length
    assert vectors @ (vectors.T @ x.T) == pytest.approx(x.T, abs=1e-6 * np.abs(x).max())


def test_directions_of_bytes():
    """Bytes are the same images at another scale; their squares do not wrap."""
    x = drawn_images(40).x.reshape(40, D)
    vectors, energy = bridge.directions(x)
    of_floats, energy_of_floats = bridge.directions(x / 255)
    assert energy == pytest.approx(255**2 * energy_of_floats)
    overlap = np.abs(np.sum(vectors * of_floats, axis=0))
    assert overlap == pytest.approx(np.ones(len(energy)), abs=1e-6)


def orthonormal(rng, d, k):
    return np.linalg.qr(rng.standard_normal((d, k)))[0]


@given(SEEDS, st.integers(1, 12))
def test_shares(seed, k):
    """The share of the squares of projections, from 0 to 1: all of what lies inside the span,
    nothing of what is orthogonal; the same whatever basis of the span, and for turned spaces."""
    rng = np.random.default_rng(seed)
    basis, eta = orthonormal(rng, 12, k), rng.standard_normal((20, 12))
    got = bridge.energy_share(eta.T @ eta, basis)
    expected = sum(np.sum((basis.T @ one) ** 2) for one in eta) / np.sum(eta * eta)
    assert got == pytest.approx(expected, rel=1e-10)
    assert 0 <= got <= 1 + 1e-12
    inside = eta @ basis @ basis.T
    assert bridge.energy_share(inside.T @ inside, basis) == pytest.approx(1, rel=1e-10)
    outside = eta - inside
    if k < 12:
        assert bridge.energy_share(outside.T @ outside, basis) == pytest.approx(0, abs=1e-10)
    mixed, turn = basis @ orthonormal(rng, k, k), orthonormal(rng, 12, 12)
    turned = eta @ turn.T
    assert bridge.energy_share(eta.T @ eta, mixed) == pytest.approx(got, rel=1e-9)
    assert bridge.energy_share(turned.T @ turned, turn @ basis) == pytest.approx(got, rel=1e-9)


def test_the_share_of_a_random_direction():
    """k/d on average; of 4,000 directions the mean is off by less than five deviations of a
    beta(k/2, (d-k)/2) variable over the root of their number."""
    rng, d, k = np.random.default_rng(0), 12, 5
    basis = orthonormal(rng, d, k)
    eta = rng.standard_normal((4000, d))
    eta /= np.linalg.norm(eta, axis=1)[:, None]
    deviation = math.sqrt(2 * (k / d) * (1 - k / d) / (d + 2))
    assert abs(bridge.energy_share(eta.T @ eta, basis) - k / d) < 5 * deviation / math.sqrt(4000)


def test_the_share_of_nothing():
    assert bridge.energy_share(np.zeros((3, 3)), np.eye(3)[:, :1]) == 0


def test_spans():
    """Where images have less than full rank: their own combinations lie in their span, and the
    ranks over d are what directions at random have."""
    x = flat_images(0, n=200, d=80, rank=60)
    moments = Moments.none(3, 80)
    eta = np.random.default_rng(1).standard_normal((10, 200)) @ x
    moments.add(eta, np.zeros(10, np.int64))
    found = bridge.spans(moments, x)
    assert found["span"] == pytest.approx(1, abs=1e-8)
    assert found["span_random"] == 60 / 80
    assert found["span_few_random"] == 50 / 80
    # the best 50 directions by singular values, which need no sums of squares
    _, sizes, right = np.linalg.svd(x)
    few = right[:50]
    assert found["span_few"] == pytest.approx(np.sum((eta @ few.T) ** 2) / np.sum(eta**2))
    assert found["span_few_images"] == pytest.approx(np.sum(sizes[:50] ** 2) / np.sum(sizes**2))
