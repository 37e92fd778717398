"""Training by batches: the step by hand, workers, against torch, resumption, ends, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import Interrupting
from small_networks import (
    SHAPE,
    drawn_images,
    drawn_weights,
    every_layer,
    here,
    linear_of_channels,
    there,
)
from threadpoolctl import threadpool_limits

from reflfap.backend import to_host
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.deep.convnet import convnet
from reflfap.deep.network import BatchNorm, Chain, GlobalMean, Linear, Normalisation, running
from reflfap.deep.wideresnet import wideresnet
from reflfap.errors import InputError
from reflfap.fast.worker_pool import WorkerPool
from reflfap.monitor import Monitor
from reflfap.training import batches, minibatch
from reflfap.training.batches import Draw
from reflfap.training.minibatch import NonFiniteBatchError, Sgd
from reflfap.training.schedule import Plateau

pytestmark = pytest.mark.usefixtures("one_thread")

DRAW = Draw(seed=3, stage="training", epoch=1, batch=2)
WORKERS = pytest.mark.parametrize("workers", [1, 2])


def train(images, how, *, network=None, weights=None, xp=np, dtype="float64", test=None, **options):
    """A training of the network of all layers, tested on its own images, unless told otherwise."""
    network = every_layer() if network is None else network
    weights = drawn_weights(network, dtype=dtype) if weights is None else weights
    test = images if test is None else test
    return minibatch.train_by_batches(network, there(weights, xp), images, test, how, **options)


def gradient(batch, workers, draw=DRAW, augment=True, xp=np, network=None, weights=None):
    """(gradients added up, sums of losses and of hits, moments), on the host."""
    network = every_layer() if network is None else network
    weights = drawn_weights(network, xp=xp) if weights is None else weights
    with WorkerPool(workers) as pool:
        found = minibatch.gradient(network, weights, batch, pool, draw, augment)
    parts = [here(one) for one in found.gradients]
    total = {name: sum(part[name] for part in parts) for name in parts[0]}
    sums = [sum(float(one) for one in values) for values in zip(*found.sums, strict=True)]
    moments = {name: [to_host(one) for one in pair] for name, pair in found.moments.items()}
    return total, sums, moments


def close(got, expected, digits):
    """To `digits` of the largest entry: sums of both signs cancel in some of them."""
    assert np.abs(got - expected).max() <= digits * np.abs(expected).max()


def same_gradients(got, expected):
    """To 1e-12 of the largest gradient: a bias before a normalisation has none but rounding."""
    largest = max(np.abs(values).max() for values in expected[0].values())
    assert list(got[0]) == list(expected[0])
    for name, values in expected[0].items():
        assert got[0][name] == pytest.approx(values, rel=0, abs=1e-12 * largest)
    assert got[1] == pytest.approx(expected[1], rel=1e-12)
    for name, pair in expected[2].items():
        close(np.asarray(got[2][name]), np.asarray(pair), 1e-12)


def same_bits(one, other):
    """Two trainings: weights and curves."""
    one_weights, other_weights = here(one.weights), here(other.weights)
    assert list(one_weights) == list(other_weights)
    for name, values in one_weights.items():
        assert np.array_equal(values, other_weights[name]), name
    for got, expected in zip(one.curves, other.curves, strict=True):
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("block", [1, 2, 100])
def test_step_by_hand(workers, block, xp, monkeypatch):
    """g <- g + w/4, v <- v/2 + g, w <- w - (g + v/2)/2, twice, in fractions of two: no rounding.

    Biases and normalisations decay too; what has no velocity, running statistics, stays.
    """
    monkeypatch.setattr(minibatch, "BLOCK", block)
    weights = {
        "conv.weight": [[8.0, -4.0], [0.0, 16.0]],
        "conv.bias": [4.0],
        "bn.weight": [-8.0],
        "bn.running_mean": [32.0],
    }
    parts = [
        {"conv.weight": [[1.0, 2.0], [3.0, -4.0]], "conv.bias": [2.0], "bn.weight": [0.0]},
        {"conv.weight": [[1.0, -1.0], [1.0, 0.0]], "conv.bias": [-1.0], "bn.weight": [1.0]},
    ]
    # g = 4, 0, 4, 0; 2; -1 and w moves by 3/4 of it
    once = {"conv.weight": [[5.0, -4.0], [-3.0, 16.0]], "conv.bias": [2.5], "bn.weight": [-7.25]}
    velocity_once = {
        "conv.weight": [[4.0, 0.0], [4.0, 0.0]],
        "conv.bias": [2.0],
        "bn.weight": [-1.0],
    }
    # g = 3.25, 0, 3.25, 0; 1.625; -0.8125, v = 5.25, 0, 5.25, 0; 2.625; -1.3125
    twice = {
        "conv.weight": [[2.0625, -4.0], [-5.9375, 16.0]],
        "conv.bias": [1.03125],
        "bn.weight": [-6.515625],
    }
    w, *gradients = (
        there({k: np.asarray(v) for k, v in one.items()}, xp) for one in (weights, *parts)
    )
    v = there({k: np.zeros_like(v) for k, v in velocity_once.items()}, xp)
    with WorkerPool(workers) as pool:
        for expected in (once, twice):
            minibatch.step(w, v, gradients, Sgd(momentum=0.5, decay=0.25), 0.5, pool)
            for name, values in expected.items():
                assert to_host(w[name]).tolist() == values
            assert to_host(w["bn.running_mean"]).tolist() == [32.0]
            if expected is once:
                assert {k: values.tolist() for k, values in here(v).items()} == velocity_once


def test_every_weight_decays_and_no_running_statistic(xp):
    """One step with decay is one without, less rate (1 + mu) decay w; biases and BN included."""
    images, weights = drawn_images(6), drawn_weights(every_layer())
    plain, decayed = (
        train(images, Sgd(rate=0.3, batch=6, momentum=0.8, decay=decay), xp=xp, epochs=1)
        for decay in (0.0, 0.01)
    )
    for name, values in here(decayed.weights).items():
        lost = 0 if running(name) else 0.3 * 1.8 * 0.01 * weights[name]
        assert values == pytest.approx(to_host(plain.weights[name]) - lost, rel=1e-13, abs=1e-14)
        assert not np.array_equal(values, weights[name])  # the batch moved running statistics


def test_running_statistics_by_hand(xp):
    """A tenth of them becomes the batch's mean and unbiased variance, for each worker alike."""
    network = Chain((Normalisation((0.0,), (1.0,)), BatchNorm("bn", 1), GlobalMean()))
    network = Chain((*network.layers, Linear("linear", 1, 2)))
    images, weights = drawn_images(5, shape=(1, 3, 4), classes=2), drawn_weights(network)
    options = {"network": network, "weights": weights, "xp": xp, "epochs": 1}
    for workers in (1, 2):
        got = here(train(images, Sgd(batch=5), **options, workers=workers).weights)
        x = images.x / 255
        for name, value in (("mean", x.mean()), ("var", x.var(ddof=1))):
            expected = 0.9 * weights[f"bn.running_{name}"] + 0.1 * value
            assert got[f"bn.running_{name}"] == pytest.approx(expected, rel=1e-14)


@given(seed=st.integers(0, 10**6), n=st.integers(2, 9), augment=st.booleans())
def test_workers_change_nothing_but_rounding(seed, n, augment):
    """Gradients, losses and moments of one worker and of more, even of more than images."""
    batch, draw = drawn_images(n, seed), DRAW._replace(seed=seed)
    weights = drawn_weights(every_layer(), seed)
    expected = gradient(batch, 1, draw, augment, weights=weights)
    for workers in (2, 3, 10):
        same_gradients(gradient(batch, workers, draw, augment, weights=weights), expected)


def test_gradients_on_every_library(xp):
    """The same as NumPy's, with what was drawn on the host."""
    batch = drawn_images(5)
    same_gradients(gradient(batch, 1, xp=xp), gradient(batch, 2))


def test_what_is_drawn_is_used():
    """Augmentation is that of `batches`; it, dropout, and the number of the batch matter."""
    batch = drawn_images(5)
    moved = batch._replace(x=batches.augmented(batch.x, DRAW, slice(0, 5), 5))
    loss = gradient(batch, 1)[1][0]
    assert loss == gradient(moved, 1, augment=False)[1][0]
    others = [
        gradient(batch, 1, augment=False)[1][0],
        gradient(batch, 1, None)[1][0],
        gradient(batch, 1, DRAW._replace(batch=4))[1][0],
        gradient(batch, 1, DRAW._replace(epoch=4))[1][0],
    ]
    assert len({loss, *others}) == 5


def test_the_gradient_is_that_of_the_mean_loss():
    """Along random directions, by central differences, with dropout and the batch's moments.

    They err by the step squared, and by rounding over the step: 1e-9 each.
    """
    batch, network = drawn_images(5), every_layer()
    weights, rng = drawn_weights(network), np.random.default_rng(1)
    total, _, _ = gradient(batch, 1)
    for name, values in total.items():
        along = rng.standard_normal(values.shape)
        ends = [
            gradient(batch, 1, weights=weights | {name: weights[name] + step * along})[1][0] / 5
            for step in (1e-5, -1e-5)
        ]
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope == pytest.approx((values * along).sum(), rel=1e-7, abs=1e-9)


NETWORKS = {
    "ConvNet": (convnet, (), ((0.3,), (0.3,)), (28, 11)),
    "WideResNet": (wideresnet, (10, 1), ((0.5, 0.45, 0.4), (0.25, 0.24, 0.26)), (32, 12)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("epochs", "count"), [(1, 1), (20, 5)], ids=["one step", "hundred steps"])
@pytest.mark.torch
def test_parity_with_torch(name, epochs, count, monkeypatch):
    """Layers, gradients and optimiser of PyTorch give the same weights, curves and statistics.

    From the same weights, on the same batches, without dropout, in float64. A step's rounding
    differs by some 1e-15 of the largest entry. What differs grows from step to step, as the paths
    part: to 5e-13 in a hundred here, two hundred times less than is admitted.
    """
    pytest.importorskip("torch")
    import torch_twins

    from benchmarks import torch_networks

    monkeypatch.setattr("reflfap.deep.wideresnet.DROPOUT", 0.0)
    make, size, data, (whole, small) = NETWORKS[name]
    shape = (len(data[0]), *(2 * ((whole if epochs == 1 else small),)))
    network, how = make(*size, *data), Sgd(rate=0.05, batch=8 if epochs == 1 else 4)
    weights = drawn_weights(network)
    images, test = (drawn_images(n, n, shape, 10) for n in (how.batch * count + 3, 20))
    orders = [batches.order(5, "training", epoch, len(images.y)) for epoch in range(epochs)]
    options = {"dropout": 0.0} if size else {}
    twin = getattr(torch_networks, name)(*size, *data, **options).double()
    torch_networks.load(twin, classifier.to_released(weights))
    with threadpool_limits(1):
        expected = torch_twins.trained(twin, images, test, how, orders)
        got = minibatch.train_by_batches(network, weights, images, test, how, epochs=epochs, seed=5)
    digits = 1e-14 if epochs == 1 else 1e-10
    close(got.curves.loss, np.asarray(expected[0]), digits)
    assert got.curves.accuracy == pytest.approx(expected[1], rel=1e-15)
    assert got.curves.accuracy_test == pytest.approx(expected[2], rel=1e-15)
    for key, values in classifier.from_released(network, twin.state_dict(), "float64").items():
        close(got.weights[key], values, digits)
    assert epochs == 1 or got.curves.loss[-1] < 0.5 * got.curves.loss[0]


LONG = Sgd(batch=4, augment=True)
EPOCHS, COUNT = 3, 2


@WORKERS
@pytest.mark.parametrize(("dtype", "best"), [("float32", True), ("float64", False)])
def test_resumed_training(workers, dtype, best):
    """To the last bit, from every batch, the last of an epoch included: weights and curves.

    With normalisation by batches, dropout and augmentation, each drawn anew where it goes on.
    """
    images = drawn_images(4 * COUNT + 1)
    options = {"epochs": EPOCHS, "workers": workers, "best": best}
    whole = train(images, LONG, **options, dtype=dtype)
    for asked in range(1, EPOCHS * COUNT + 1):
        monitor = Interrupting(asked)
        with pytest.raises(KeyboardInterrupt):
            train(images, LONG, **options, dtype=dtype, monitor=monitor)
        kept = monitor.state["epoch"] * COUNT + monitor.state["batch"]
        assert kept == asked
        monitor.left = -1
        same_bits(train(images, LONG, **options, dtype=dtype, monitor=monitor), whole)


def test_resumed_twice_and_on_every_library(xp):
    images, monitor = drawn_images(9), Interrupting(1)
    whole = train(images, LONG, xp=xp, epochs=EPOCHS)
    for more in (3, -1):
        with pytest.raises(KeyboardInterrupt):
            train(images, LONG, xp=xp, epochs=EPOCHS, monitor=monitor)
        monitor.left = more
    same_bits(train(images, LONG, xp=xp, epochs=EPOCHS, monitor=monitor), whole)


@WORKERS
def test_a_state_at_an_epochs_end_goes_on(workers):
    """A training of two epochs, asked for four, is one of four; asked for two, it is done."""
    images, monitor, options = drawn_images(9), Interrupting(10**6), {"workers": workers}
    two = train(images, LONG, **options, epochs=2, monitor=monitor)
    same_bits(train(images, LONG, **options, epochs=2, monitor=monitor), two)
    four = train(images, LONG, **options, epochs=4, monitor=monitor)
    same_bits(four, train(images, LONG, **options, epochs=4))


def test_a_kept_state_is_left_alone():
    """Going on from it twice gives the same twice, though steps are made in place.

    Nor does it matter how its arrays lie in memory.
    """

    class Given(Monitor):
        def restore(self, stage):
            return monitor.state

    images, monitor = drawn_images(9), Interrupting(3)
    with pytest.raises(KeyboardInterrupt):
        train(images, LONG, epochs=EPOCHS, monitor=monitor)
    monitor.state = {name: np.array(one, order="F") for name, one in monitor.state.items()}
    whole = train(images, LONG, epochs=EPOCHS)
    for _ in range(2):
        same_bits(train(images, LONG, epochs=EPOCHS, monitor=Given()), whole)


class Telling(Monitor):
    """What it was told."""

    def __init__(self, state=None):
        self.state, self.told, self.asked, self.lines, self.done = state, None, 0, [], 0

    def restore(self, stage):
        return self.state

    def begin(self, stage, total, unit, done=0):
        self.told, self.done = (stage, total, unit), done

    def advance(self, amount=1):
        self.done += amount

    def due(self):
        self.asked += 1
        return False

    def say(self, line):
        self.lines.append(line)


def test_progress_is_told():
    """Images of all epochs, those of a restored state included; a line an epoch."""
    images, stopped = drawn_images(9), Interrupting(3)
    with pytest.raises(KeyboardInterrupt):
        train(images, LONG, epochs=EPOCHS, monitor=stopped, stage="clean")
    for state, asked, lines in ((None, 6, 3), (stopped.state, 3, 2)):
        monitor = Telling(state)
        curves = train(images, LONG, epochs=EPOCHS, monitor=monitor, stage="clean").curves
        assert monitor.told == ("clean", 24, "image")
        assert monitor.done == 24
        assert monitor.asked == asked
        assert len(monitor.lines) == lines
        assert f"epoch 3: loss {curves.loss[-1]:.4f}" in monitor.lines[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights:conv.bias": None}, r"weights conv.bias, float64 \(4,\), got none"),
        ({"velocity:bn.weight": None}, r"velocity bn.weight, float64 \(4,\), got none"),
        (
            {"weights:linear.bias": np.zeros(10)},
            r"linear.bias, float64 \(3,\), got float64 \(10,\)",
        ),
        ({"velocity:conv.bias": np.zeros(4, "float32")}, r"conv.bias, float64 \(4,\), got float32"),
    ],
)
def test_a_state_of_another_network_is_refused(change, message):
    images, monitor = drawn_images(9), Interrupting(1)
    with pytest.raises(KeyboardInterrupt):
        train(images, LONG, epochs=1, monitor=monitor)
    monitor.state = {k: v for k, v in (monitor.state | change).items() if v is not None}
    with pytest.raises(InputError, match=f"checkpoint: expected .*{message}.*; .*--force"):
        train(images, LONG, epochs=1, monitor=monitor)


@pytest.mark.parametrize(
    ("how", "epochs", "message"),
    [
        (Sgd(batch=10), 1, "batch: expected at most the 9 images, got 10"),
        (Sgd(batch=0), 1, "batch: expected at least 1"),
        (Sgd(batch=2.0), 1, "batch: expected a whole number"),
        (Sgd(batch=4), 0, "epochs: expected at least 1"),
        (Sgd(batch=4), 1.5, "epochs: expected a whole number"),
        (Sgd(batch=4, rate=0.0), 1, "rate: expected a finite number"),
        (Sgd(batch=4, rate=float("nan")), 1, "rate"),
        (Sgd(batch=4, rate=float("inf")), 1, "rate"),
        (Sgd(batch=4, momentum=1.0), 1, "momentum"),
        (Sgd(batch=4, momentum=-0.1), 1, "momentum"),
        (Sgd(batch=4, decay=-1e-4), 1, "decay"),
    ],
)
def test_bad_settings_are_refused(how, epochs, message):
    with pytest.raises(InputError, match=message):
        train(drawn_images(9), how, epochs=epochs)


def test_workers_less_than_one_are_refused():
    with pytest.raises(InputError, match="workers: expected at least 1"):
        train(drawn_images(9), LONG, epochs=1, workers=0)


def test_batches_are_the_epochs_order_cut_in_pieces(monkeypatch):
    """Which images are seen: each epoch has its own order, whose rest is left out.

    And what else is drawn for a batch is named after it, and augmented if asked for.
    """
    images = drawn_images(11)
    images.x[:, 0, 0, 0] = np.arange(11)
    seen, draws, plain = [], [], minibatch.gradient

    def recorded(network, weights, batch, pool, *draw):
        some = batch.x[:, 0, 0, 0]
        assert np.array_equal(batch.y, images.y[some])
        seen.append(some.tolist())
        draws.append(draw)
        return plain(network, weights, batch, pool, *draw)

    monkeypatch.setattr(minibatch, "gradient", recorded)
    train(images, Sgd(batch=4, augment=True), epochs=3, seed=7, stage="student")
    names = [Draw(7, "student", epoch, batch) for epoch in range(3) for batch in range(2)]
    assert draws == [(name, True) for name in names]
    orders = [batches.order(7, "student", epoch, 11).tolist() for epoch in range(3)]
    assert seen == [part for one in orders for part in (one[:4], one[4:8])]
    assert len({tuple(one) for one in orders}) == 3


def test_the_given_weights_are_left_alone(xp):
    """They are copied; the result is of their dtype and library."""
    weights = drawn_weights(every_layer(), dtype="float32", xp=xp)
    before = {name: values.copy() for name, values in here(weights).items()}
    images = drawn_images(5)
    got = minibatch.train_by_batches(every_layer(), weights, images, images, Sgd(batch=5), epochs=1)
    for name, values in before.items():
        assert np.array_equal(to_host(weights[name]), values)
        assert str(got.weights[name].dtype) == "float32"
        assert type(got.weights[name]) is type(weights[name])
    assert all(values.dtype == np.float64 for values in got.curves)


def test_the_rate_is_cut_on_a_plateau():
    """Steps of 1e-6 improve the loss by less than is asked: after eleven of them the rate is cut.

    The gradient stays what it is, so each later step is a tenth as long. The whole set is one
    batch: else its order would change the loss.
    """

    class Watching(Monitor):
        def keep(self, stage, state):
            passed.append(state["weights:linear.weight"].copy())

    passed, network, images = [], linear_of_channels(), drawn_images(6, classes=2)
    passed.append(drawn_weights(network)["linear.weight"])
    how = Sgd(rate=1e-6, batch=6, momentum=0.0, decay=0.0)
    curves = train(images, how, network=network, epochs=15, monitor=Watching()).curves
    assert curves.rate == pytest.approx([1e-6] * 12 + [1e-7] * 3, rel=1e-15)
    assert curves.rate.tolist() == Plateau(1e-6).course(curves.loss.tolist())[1]
    lengths = np.abs(np.diff(passed, axis=0)).max(axis=(1, 2))
    assert lengths / lengths[0] == pytest.approx(curves.rate / 1e-6, rel=1e-3)


def test_curves_are_means_over_the_epoch(monkeypatch):
    """Of losses and hits before each step, by the batches that are seen; test images after it."""
    images, test, found, plain = drawn_images(9), drawn_images(7, 1), [], minibatch.gradient

    def recorded(*args):
        found.append(plain(*args))
        return found[-1]

    monkeypatch.setattr(minibatch, "gradient", recorded)
    got = train(images, Sgd(batch=4), epochs=2, test=test, workers=2)
    sums = np.asarray([[float(sum(part)) for part in zip(*one.sums, strict=True)] for one in found])
    assert np.column_stack(got.curves[:2]) == pytest.approx(sums.reshape(2, 2, 2).sum(axis=1) / 8)
    with WorkerPool(1) as pool:
        last = classifier.image_accuracy(every_layer(), got.weights, test, pool)
    assert got.curves.accuracy_test[-1] == last


def test_nan_weights_are_reported(xp):
    """With the epoch and batch, which is kept with the weights that it met."""
    images, weights = drawn_images(9), drawn_weights(every_layer())
    weights["conv.bias"][1] = np.nan
    message = "loss: expected a finite number, got nan at epoch 1, batch 1; lower the learning rate"
    with pytest.raises(NonFiniteBatchError, match=message) as caught:
        train(images, Sgd(batch=4), weights=weights, xp=xp, epochs=1, seed=3)
    some = batches.order(3, "training", 0, 9)[:4]
    kept = caught.value.kept
    assert np.array_equal(kept["x"], images.x[some])
    assert np.array_equal(kept["y"], images.y[some])
    assert {name for name in kept if name not in "xy"} == {f"weights:{name}" for name in weights}
    assert np.array_equal(to_host(kept["weights:conv.bias"]), weights["conv.bias"], equal_nan=True)


def test_divergence_is_reported():
    """The batch that is kept has no finite loss at the weights that are kept."""
    network, images = linear_of_channels(), drawn_images(13, classes=2)
    with (
        np.errstate(all="ignore"),
        pytest.raises(NonFiniteBatchError, match="got nan at epoch 1, batch 3; lower") as caught,
    ):
        train(images, Sgd(rate=1e200, batch=4), network=network, epochs=20)
    kept = caught.value.kept
    weights = {name: kept[f"weights:{name}"] for name in network.arrays()}
    with np.errstate(all="ignore"):
        _, (loss, _), _ = gradient(
            Images(kept["x"], kept["y"]), 1, None, False, network=network, weights=weights
        )
    assert not np.isfinite(loss)


def test_a_last_step_to_infinity_is_reported(xp):
    """No later batch has a loss that would tell; 1e39 is infinite in float32."""
    network, images = linear_of_channels(), drawn_images(4, classes=2)
    message = "linear.weight: expected finite numbers, got NaN or infinity after epoch 1; lower"
    with (
        np.errstate(all="ignore"),
        pytest.raises(NonFiniteBatchError, match=message) as caught,
    ):
        train(images, Sgd(rate=1e39, batch=4), network=network, dtype="float32", xp=xp, epochs=1)
    assert not np.isfinite(to_host(caught.value.kept["weights:linear.weight"])).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_best_epochs_weights_are_kept(seed, xp):
    """Of the first epoch with the highest test accuracy: what a training of so many epochs ends
    with. Rates this high make the accuracy go up and down."""
    images, how = drawn_images(12, seed), Sgd(rate=1.0, batch=4)
    got = train(images, how, epochs=6, best=True, xp=xp)
    first = int(np.argmax(got.curves.accuracy_test)) + 1
    shorter = train(images, how, epochs=first, xp=xp)
    for name, values in here(shorter.weights).items():
        assert np.array_equal(here(got.weights)[name], values)
    assert len(got.curves.loss) == 6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@WORKERS
def test_separable_images_are_learnt(dtype, workers, xp):
    """Which of two channels is the brighter: to accuracy 1, of images that were not seen too."""
    rng, network = np.random.default_rng(0), linear_of_channels()
    x = rng.uniform(0, 0.5, (60, *SHAPE)).astype(dtype)
    y = rng.integers(0, 2, 60)
    x[np.arange(60), y] += 0.3
    images, test = (Images(x[some], y[some]) for some in (slice(40), slice(40, 60)))
    weights = drawn_weights(network, dtype=dtype)
    options = {"network": network, "weights": weights, "test": test, "xp": xp, "workers": workers}
    curves = train(images, Sgd(rate=0.5, batch=8), **options, epochs=10).curves
    assert curves.accuracy[-1] == curves.accuracy_test[-1] == 1
    assert curves.loss[-1] < 0.2 * curves.loss[0]
