"""What is random in training by batches: orders, crops and mirrors, dropout; in parts too."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflfap.fast.worker_pool import share
from reflfap.training import batches
from reflfap.training.batches import Draw

pytestmark = pytest.mark.usefixtures("library")

SEEDS = st.integers(0, 10**6)
PAD = 4  # pixels that an image is moved by at most, each way
DRAW = Draw(0, "training", 2, 3)
OTHERS = [
    DRAW._replace(seed=1),
    DRAW._replace(stage="other"),
    DRAW._replace(epoch=3),
    DRAW._replace(batch=2),
]
NEXT = ["seed", "stage", "epoch", "batch"]


@pytest.mark.numpy_only
@given(seed=SEEDS, epoch=st.integers(0, 1000), count=st.integers(1, 300))
def test_orders(seed, epoch, count):
    """Each is a permutation; the same for the same seed, stage and epoch, another for others."""
    order = batches.order(seed, "training", epoch, count)
    assert np.array_equal(np.sort(order), np.arange(count))
    assert np.array_equal(order, batches.order(seed, "training", epoch, count))
    if count >= 100:
        others = [(seed, "training", epoch + 1), (seed + 1, "training", epoch), (seed, "x", epoch)]
        for other in others:
            assert not np.array_equal(order, batches.order(*other, count))


def images(seed, n, height, width, dtype="uint8"):
    """Each pixel of an image another number but zero, so that it tells where it came from."""
    rng = np.random.default_rng(seed)
    numbers = [1 + rng.permutation(2 * height * width) for _ in range(n)]
    return np.asarray(numbers, dtype).reshape(n, 2, height, width)


def moves(image, result):
    """(down, across, mirrored) of all crops of the image, zeros around it, that are the result."""
    _, height, width = image.shape
    wide = np.zeros((2, height + 2 * PAD, width + 2 * PAD), image.dtype)
    wide[:, PAD : PAD + height, PAD : PAD + width] = image
    found = []
    for down, across in np.ndindex(2 * PAD + 1, 2 * PAD + 1):
        crop = wide[:, down : down + height, across : across + width]
        if np.array_equal(crop, result):
            found.append((down, across, False))
        if np.array_equal(crop[:, :, ::-1], result):
            found.append((down, across, True))
    return found


@pytest.mark.numpy_only
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_augmentation(dtype):
    """Each is one crop of its own image with zeros around it, mirrored or not; all moves occur as
    often as they should, within five deviations."""
    n, height, width = 600, 8, 7
    x = images(0, n, height, width, dtype)
    y = batches.augmented(x, DRAW, slice(0, n), n)
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    found = [moves(*pair) for pair in zip(x, y, strict=True)]
    assert {len(one) for one in found} == {1}
    down, across, mirrored = np.asarray([one for (one,) in found]).T
    for values, places in ((down, 2 * PAD + 1), (across, 2 * PAD + 1), (mirrored, 2)):
        counts, p = np.bincount(values, minlength=places), 1 / places
        assert len(counts) == places
        assert np.abs(counts - n * p).max() < 5 * math.sqrt(n * p * (1 - p))
    for one, other in ((down, across), (down, mirrored), (across, mirrored)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(n)


@pytest.mark.numpy_only
@given(seed=SEEDS, n=st.integers(1, 20), workers=st.integers(1, 5))
def test_augmentation_in_shares(seed, n, workers):
    """Workers move their images as one alone would."""
    x, draw = images(seed, n, 6, 6), DRAW._replace(seed=seed)
    whole = batches.augmented(x, draw, slice(0, n), n)
    for part in range(workers):
        rows = share(n, workers, part)
        assert np.array_equal(batches.augmented(x[rows], draw, rows, n), whole[rows])


@pytest.mark.numpy_only
@pytest.mark.parametrize("other", OTHERS, ids=NEXT)
def test_other_batches_move_otherwise(other):
    x = images(0, 50, 6, 6)
    y = batches.augmented(x, DRAW, slice(0, 50), 50)
    assert np.array_equal(y, batches.augmented(x, DRAW, slice(0, 50), 50))
    assert not np.array_equal(y, batches.augmented(x, other, slice(0, 50), 50))


def mask(draw, shape, rate=0.3, name="one", dtype="float64"):
    return batches.dropout_mask(draw, slice(0, shape[2]), name, rate, np.empty(shape, dtype))


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_masks(rate, dtype):
    """Zeros, as many as the rate says within five deviations of a binomial; and one over the rest
    elsewhere, to the 2^-17 that sixteen bits allow. No axis, and no place, has a pattern."""
    shape = (10, 11, 50, 13)
    found = mask(DRAW, shape, rate, dtype=dtype)
    assert found.shape == shape
    assert found.dtype == dtype
    zeros = found == 0
    # a share of 65536ths, at most half of one from the rate
    assert 1 - 1 / found[~zeros] == pytest.approx(rate, abs=2**-17 + 1e-6)
    assert len(set(found[~zeros].tolist())) == 1
    for axis in range(4):
        others = tuple(one for one in range(4) if one != axis)
        number = found.size / shape[axis]
        deviation = math.sqrt(rate * (1 - rate) / number)
        assert np.abs(zeros.mean(axis=others) - rate).max() <= 5 * deviation + 2**-17
    flat = zeros.transpose(2, 0, 1, 3).reshape(-1) - zeros.mean()
    for distance in (1, 2, 3, 4, 13, 143):
        product = np.mean(flat[distance:] * flat[:-distance])
        assert abs(product) <= 5 * rate * (1 - rate) / math.sqrt(flat.size)


@given(
    seed=SEEDS,
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 12), st.integers(1, 5)),
    workers=st.integers(1, 5),
)
def test_dropout_in_shares(seed, shape, workers):
    """Workers drop the numbers of their samples that one alone would, whole words or not."""
    draw, n = DRAW._replace(seed=seed), shape[2]
    whole, x = mask(draw, shape), np.empty(shape)
    for part in range(workers):
        rows = share(n, workers, part)
        found = batches.dropout_mask(draw, rows, "one", 0.3, x[:, :, rows])
        assert np.array_equal(found, whole[:, :, rows])


@pytest.mark.numpy_only
@pytest.mark.parametrize("other", OTHERS, ids=NEXT)
def test_other_batches_drop_otherwise(other):
    """Each batch and each layer has a mask of its own: agreements within five deviations."""
    shape, p = (8, 8, 16, 8), 0.3
    one = mask(DRAW, shape, p)
    assert np.array_equal(one, mask(DRAW, shape, p))
    agreement, deviation = p**2 + (1 - p) ** 2, math.sqrt(0.25 / one.size)
    for second in (mask(other, shape, p), mask(DRAW, shape, p, "two")):
        assert abs(np.mean((one == 0) == (second == 0)) - agreement) < 5 * deviation


@settings(max_examples=10)
@given(n=st.integers(0, 3))
def test_empty_shares(n):
    """A worker without a sample, as in a small last batch, draws nothing."""
    x = images(0, n, 6, 6) if n else np.empty((0, 2, 6, 6), np.uint8)
    rows = slice(n, n)
    assert batches.augmented(x[rows], DRAW, rows, 3).shape == (0, 2, 6, 6)
    assert batches.dropout_mask(DRAW, rows, "one", 0.3, np.empty((2, 2, 0, 3))).shape[2] == 0
