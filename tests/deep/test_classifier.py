"""Deep networks as classifiers: images, accuracy, margins under attack, released weights."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import (
    CLASSES,
    SHAPE,
    drawn_images,
    drawn_weights,
    every_layer,
    here,
    linear_of_channels,
)

from reflfap import losses
from reflfap.attacks import L0, L2, LInf, attack
from reflfap.backend import asarray, namespace, to_host
from reflfap.deep import classifier, softmax
from reflfap.deep.classifier import Images
from reflfap.deep.convnet import convnet
from reflfap.deep.network import Pass
from reflfap.deep.wideresnet import wideresnet
from reflfap.errors import InputError
from reflfap.fast.worker_pool import WorkerPool

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.24, 0.26)
# name: network, its images
NETWORKS = {
    "every layer": (every_layer(), SHAPE),
    "ConvNet": (convnet((0.3,), (0.3,)), (1, 12, 12)),
    "WideResNet": (wideresnet(10, 1, MEAN, STD), (3, 8, 8)),
}
EACH_NETWORK = pytest.mark.parametrize("name", NETWORKS)
NORMS = {"l2": L2(1.0), "linf": LInf(0.1), "l0": L0(5), "l0 tracked": L0(5, tracked=True)}
EACH_NORM = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)


def outputs(network, weights, x):
    """z (N, classes) of host images in any form, on the host."""
    like = next(iter(weights.values()))
    found = classifier.pixels(x, namespace(like), str(like.dtype))
    return to_host(classifier.outputs(network, weights, found))


FLOATS = np.linspace(0, 1, 4 * 72).reshape(4, *SHAPE)
LABELS = np.asarray([0, 2, 1, 2])


def with_one(value):
    x = FLOATS.copy()
    x[2, 1, 3, 4] = value
    return x


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (FLOATS[:, :1], LABELS, r"x: expected images of shape \(N, 2, 6, 6\) .*\(4, 1, 6, 6\)"),
        (FLOATS[:, :, :5], LABELS, r"x: expected images of shape .*got \(4, 2, 5, 6\)"),
        (FLOATS[0], LABELS, r"x: expected images of shape .*got \(2, 6, 6\)"),
        (FLOATS.reshape(4, 72), LABELS, r"x: expected images of shape .*got \(4, 72\)"),
        (FLOATS.transpose(0, 2, 3, 1), LABELS, r"x: expected images of shape .*\(4, 6, 6, 2\)"),
        (FLOATS[:0], LABELS[:0], "x: expected at least one image"),
        (FLOATS.astype(np.float16), LABELS, "x: expected float32 or float64, got float16"),
        (FLOATS.astype(np.int64), LABELS, "x: expected float32 or float64, got int64"),
        (FLOATS > 0.5, LABELS, "x: expected float32 or float64, got bool"),
        (with_one(np.nan), LABELS, r"x: expected bytes, or pixels in \[0, 1\]"),
        (with_one(np.inf), LABELS, r"x: expected bytes, or pixels in \[0, 1\], got .* to inf"),
        (with_one(np.nextafter(1, 2)), LABELS, r"pixels in \[0, 1\]"),
        (with_one(-1e-9), LABELS, r"pixels in \[0, 1\], got -1e-09 to 1"),
        (255 * FLOATS, LABELS, "got 0 to 255; divide by 255"),
        (FLOATS, LABELS[:3], "y: expected one whole number for each of 4 images"),
        (FLOATS, LABELS[:, None], "y: expected one whole number for each of 4 images"),
        (FLOATS, LABELS.astype(float), "y: expected one whole number .*got float64"),
        (FLOATS, LABELS > 0, "y: expected one whole number .*got bool"),
        (FLOATS, LABELS + 1, "y: expected classes 0 to 2, got 1 to 3"),
        (FLOATS, LABELS - 1, "y: expected classes 0 to 2, got -1 to 1"),
    ],
)
def test_bad_images_are_refused(x, y, message):
    with pytest.raises(InputError, match=message):
        classifier.images(x, y, SHAPE, CLASSES)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("whole", ["uint8", "int64"])
def test_good_images_are_what_they_were(dtype, whole):
    """Bytes of any value, and floats from 0 to 1, both included; whole numbers of any kind."""
    x = (255 * FLOATS if dtype == "uint8" else FLOATS).astype(dtype)
    got = classifier.images(x, LABELS.astype(whole), SHAPE, CLASSES)
    assert got.x is x
    assert np.array_equal(got.y, LABELS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_are_pixels_times_255(dtype, xp):
    x = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    expected = x.astype(dtype) / np.asarray(255, dtype)
    for images in (x, expected):
        got = to_host(classifier.pixels(images, xp, dtype))
        assert got.dtype == dtype
        assert np.array_equal(got, expected)
    assert x.max() == 255  # in place, but not of what was given


@EACH_NETWORK
def test_samples_do_not_mix(name, xp):
    """In evaluation mode a batch's outputs are those of its parts, in any order, up to rounding."""
    network, shape = NETWORKS[name]
    weights, x = drawn_weights(network, xp=xp), drawn_images(5, shape=shape).x
    whole = outputs(network, weights, x)
    for parts in ([slice(0, 1), slice(1, 5)], [slice(one, one + 1) for one in range(5)]):
        pieces = [outputs(network, weights, x[part]) for part in parts]
        assert np.concatenate(pieces) == pytest.approx(whole, rel=1e-11, abs=1e-11)
    order = np.asarray([3, 0, 4, 2, 1])
    assert outputs(network, weights, x[order]) == pytest.approx(whole[order], rel=1e-11, abs=1e-11)
    assert np.abs(np.diff(whole, axis=0)).max() > 1e-3  # the images do matter


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_accuracy(workers, xp, monkeypatch):
    """Of one image and more, against a loop over them; workers and pieces change nothing."""
    monkeypatch.setattr(classifier, "PIECE", 3)
    network, samples = every_layer(), drawn_images(11)
    weights, hits = drawn_weights(network, xp=xp), []
    for x, y in zip(*samples, strict=True):
        z = outputs(network, weights, x[None])[0]
        hits.append(max(range(CLASSES), key=z.__getitem__) == y)
    assert {True, False} == set(hits)
    with WorkerPool(workers) as pool:
        for n in range(1, 12):
            some = Images(*(part[:n] for part in samples))
            assert classifier.image_accuracy(network, weights, some, pool) == np.mean(hits[:n])


def test_of_ties_the_first_class_counts(xp):
    network = linear_of_channels(2, 3)
    weights = drawn_weights(network, xp=xp)
    weights = {name: 0 * values for name, values in weights.items()}
    samples = Images(drawn_images(4).x, np.asarray([0, 1, 2, 0]))
    with WorkerPool(1) as pool:
        assert classifier.image_accuracy(network, weights, samples, pool) == 0.5


def attacked(name, seed, n=5, dtype="float64", xp=np, target=None):
    """A network's margin function, samples (n, d), targets."""
    network, shape = NETWORKS[name]
    weights = drawn_weights(network, seed, dtype, xp)
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (n, *shape)).astype(dtype).reshape(n, -1)
    target = rng.integers(0, 3, n) if target is None else target
    margin = classifier.margin_function(network, weights, shape)
    return margin, asarray(x, xp), asarray(target, xp)


def cross_entropies(name, seed, x, target, dtype="float64"):
    """-log p_t of host samples, plainly, in float64."""
    network, shape = NETWORKS[name]
    weights = drawn_weights(network, seed, dtype)
    z = outputs(network, weights, x.reshape(-1, *shape)).astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return -np.log(p[np.arange(len(z)), target] / p.sum(axis=1))


@EACH_NETWORK
@pytest.mark.parametrize("seed", [0, 1])
def test_margins_and_their_gradients(name, seed):
    """q = log(p_t/(1 - p_t)); along random directions dq/dx is the central difference of q.

    It errs by the square of the step, 1e-10, and by rounding over the step, 1e-10 too.
    """
    margin, x, target = attacked(name, seed)
    q, dq = margin(x, target)
    p = np.exp(-cross_entropies(name, seed, x, target))
    assert q == pytest.approx(np.log(p / (1 - p)), rel=1e-9, abs=1e-12)
    along = np.random.default_rng(seed).standard_normal(x.shape)
    difference = (margin(x + 1e-5 * along, target)[0] - margin(x - 1e-5 * along, target)[0]) / 2e-5
    assert (dq * along).sum(axis=1) == pytest.approx(difference, rel=1e-6, abs=1e-7)


@EACH_NETWORK
def test_the_margins_gradient_is_that_of_the_cross_entropy(name):
    """d(cross-entropy)/dx = -(1 - p_t) dq/dx: the same direction downwards as q's upwards."""
    margin, x, target = attacked(name, 3)
    network, shape = NETWORKS[name]
    weights, how = drawn_weights(network, 3), Pass(weights=False)
    z, cache = network.forward(weights, x.reshape(-1, *shape), how)
    values, dz = softmax.cross_entropy(z, target)
    dx = network.backward(weights, cache, dz, how)[0].reshape(x.shape)
    expected = -(1 - np.exp(-values))[:, None] * margin(x, target)[1]
    assert dx == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_targets_of_any_dtype(dtype):
    margin, x, target = attacked("every layer", 0)
    for got, expected in zip(margin(x, target.astype(dtype)), margin(x, target), strict=True):
        assert np.array_equal(got, expected)


@EACH_NORM
@EACH_NETWORK
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_attacks_descend_the_cross_entropy(name, norm, dtype, xp):
    """Never larger after an attack than before, by a plain formula; norm and range hold."""
    margin, x, target = attacked(name, 5, 4, dtype, xp)
    found = attack(margin, x, target, norm, steps=5, low=0.0, high=1.0)
    start, end, to = (to_host(one) for one in (x, found.x, target))
    before, after = (cross_entropies(name, 5, one, to, dtype) for one in (start, end))
    digits = 1e-4 if dtype == "float32" else 1e-10  # of a network's outputs, of size 10
    assert np.all(after <= before + digits)
    assert after.sum() < before.sum() - 10 * digits  # in all there is something to win
    for q, loss in ((found.margin_start, before), (found.margin, after)):
        # log(1 + exp(-q)), the logistic loss of the margin
        logistic = losses.value(losses.LOGISTIC, to_host(q).astype(np.float64))
        assert logistic == pytest.approx(loss, rel=digits, abs=digits)
    eta = end.astype(np.float64) - start
    ulps = 4 * np.finfo(dtype).eps
    assert end.dtype == dtype
    assert end.min() >= 0
    assert end.max() <= 1
    if isinstance(norm, L2):
        assert np.linalg.norm(eta, axis=1).max() <= norm.radius + ulps * eta.shape[1]
    elif isinstance(norm, LInf):
        assert np.abs(eta).max() <= norm.radius + ulps
    else:
        assert np.count_nonzero(eta, axis=1).max() <= norm.pixels


@EACH_NORM
@given(chunk=st.integers(1, 7), workers=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_chunks_and_threads_change_nothing_but_rounding(norm, chunk, workers, seed):
    """Samples are attacked one by one, whatever goes through the network beside them."""
    margin, x, target = attacked("every layer", seed, 6)
    options = {"steps": 3, "low": 0.0, "high": 1.0}
    whole = attack(margin, x, target, norm, **options)
    split = attack(margin, x, target, norm, **options, chunk=chunk, workers=workers)
    assert split.margin_start == pytest.approx(whole.margin_start, rel=1e-9, abs=1e-9)
    assert split.margin == pytest.approx(whole.margin, rel=1e-9, abs=1e-9)


def differently(arrays, **changes):
    """Arrays with some replaced, or left out where None."""
    return {name: values for name, values in (arrays | changes).items() if values is not None}


@EACH_NETWORK
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_released_weights(name, dtype):
    """There and back to the last bit, in the released layout there; counters are passed over."""
    network, _ = NETWORKS[name]
    weights = drawn_weights(network, dtype=dtype)
    released = classifier.to_released(weights)
    counted = released | {"bn1.num_batches_tracked": np.asarray(7)}
    back = classifier.from_released(network, counted, dtype)
    assert list(back) == list(weights)
    for key, values in weights.items():
        assert np.array_equal(back[key], values)
        assert back[key].dtype == dtype
        assert back[key].flags.c_contiguous  # steps are made in place, on flat views
        if values.ndim == 4:  # (r, r, C, K) is (K, C, r, r) there
            for k, c, i, j in ((1, 0, 0, 0), (0, 1, 2, 0), (2, 1, 0, 2)):
                i, j, c = (one % size for one, size in zip((i, j, c), values.shape, strict=False))
                assert released[key][k, c, i, j] == values[i, j, c, k]
        else:
            assert np.array_equal(released[key], values.T)
    again = classifier.to_released(back)
    assert all(np.array_equal(again[key], values) for key, values in released.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"conv.weight": None},
            r"conv.weight: expected an array of shape \(4, 2, 3, 3\), got none",
        ),
        ({"bn.running_var": None}, r"bn.running_var: expected an array of shape \(4,\), got none"),
        ({"more.weight": np.ones(2)}, "expected the 14 names of this network, got more.weight"),
        ({"conv.bias": np.ones(3)}, r"conv.bias: .*\(4,\), got shape \(3,\)"),
        ({"conv.bias": np.ones((4, 1))}, r"conv.bias: .*\(4,\), got shape \(4, 1\)"),
        ({"conv.weight": np.ones((3, 3, 2, 4))}, r"conv.weight: .* got shape \(3, 3, 2, 4\)"),
        ({"linear.weight": np.ones((4, 3))}, r"linear.weight: .*\(3, 4\), got shape \(4, 3\)"),
        ({"bn.bias": np.full(4, np.nan)}, "bn.bias: expected finite numbers"),
        ({"linear.bias": np.full(3, -np.inf)}, "linear.bias: expected finite numbers"),
    ],
)
def test_other_released_weights_are_refused(changes, message):
    network = every_layer()
    released = differently(classifier.to_released(drawn_weights(network)), **changes)
    with pytest.raises(InputError, match=message):
        classifier.from_released(network, released)


def test_released_weights_of_every_library(xp):
    """They come to the host; what is read back is in float32 unless another dtype is asked for."""
    network = every_layer()
    expected = classifier.to_released(drawn_weights(network))
    got = classifier.to_released(drawn_weights(network, xp=xp))
    for name, values in expected.items():
        assert isinstance(got[name], np.ndarray)
        assert np.array_equal(got[name], values)
    back = here(classifier.from_released(network, got))
    assert all(values.dtype == np.float32 for values in back.values())


@pytest.mark.parametrize("wrong", [-1, 3, 0.5])
def test_targets_are_classes(wrong):
    """A margin towards something that is no class would be that of none."""
    network = every_layer()
    margin = classifier.margin_function(network, drawn_weights(network), SHAPE)
    x = np.zeros((2, math.prod(SHAPE)))
    margin(x, np.asarray([0, 1]))
    with pytest.raises(InputError, match="target"):
        margin(x, np.asarray([0, wrong]))
