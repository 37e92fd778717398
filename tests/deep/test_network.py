"""Layers with their weights and whole networks: gradients, PyTorch, other libraries, bad input."""

import math
from functools import partial

import numpy as np
import pytest
from gradients import fourth_order
from libraries import LIBRARIES, library_named

from reflfap.backend import asarray, to_host
from reflfap.deep import classifier, softmax
from reflfap.deep.classifier import Images
from reflfap.deep.convnet import convnet
from reflfap.deep.network import (
    BatchNorm,
    Chain,
    Convolution,
    Dropout,
    GlobalMean,
    Linear,
    Normalisation,
    Pass,
    Relu,
    Residual,
    initial_arrays,
    running,
)
from reflfap.deep.wideresnet import wideresnet
from reflfap.errors import InputError
from reflfap.fast.worker_pool import WorkerPool
from reflfap.rng import stream
from reflfap.training import batches, minibatch
from reflfap.training.batches import Draw

ONE, THREE = ((0.4,), (0.3,)), ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
"""Means and deviations of one channel and of three."""
DRAW = Draw(0, "test", 0, 0)
NETWORKS = {
    # small images, whose sides differ: the least that convnet takes, and one not all even
    "convnet": (convnet(*ONE), (3, 1, 13, 11)),
    "narrow convnet": (convnet(*ONE, width=3), (3, 1, 13, 11)),
    "wideresnet": (wideresnet(10, 1, *THREE), (3, 3, 6, 8)),
}
BATCHES = pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
BOTH = pytest.mark.parametrize(("network", "shape"), NETWORKS.values(), ids=NETWORKS)


def random_weights(network, rng=0):
    """Weights of which none is at its start, so that each of them matters."""
    rng, found = np.random.default_rng(rng), {}
    for name, spec in network.arrays().items():
        if spec.fan_in:
            found[name] = rng.standard_normal(spec.shape) / math.sqrt(spec.fan_in)
        elif name.endswith(("running_var", ".weight")):
            found[name] = rng.uniform(0.5, 2, spec.shape)
        else:
            found[name] = rng.standard_normal(spec.shape) / 2
    return found


def how_to_pass(training, count, **options):
    """In training mode with dropout, whose masks are the same each time."""
    mask = partial(batches.dropout_mask, DRAW, slice(0, count)) if training else None
    return Pass(training=training, count=count, mask=mask, **options)


def near(got, expected, digits):
    """Equal but for so much of the largest number; no message of a million numbers."""
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= digits * max(np.abs(expected).max(), 1e-3)


def sides(layer, cache):
    """On which side of its kink each ReLU of a network is, from its caches."""
    if isinstance(layer, Chain):
        for one, its in zip(layer.layers, cache, strict=True):
            yield from sides(one, its)
    elif isinstance(layer, Residual):
        yield from sides(layer.body, cache[0])
        yield from sides(layer.shortcut, cache[1])
    elif isinstance(layer, Relu):
        yield from np.ravel(cache > 0)


def check_gradients(network, x, training, seed=0):
    """<dy, y> along a random direction of the input and all weights at once: its slope, by central
    differences of fourth order, is the sum of <gradient, direction>.

    At the first weights where no ReLU is so near its kink that it changes its side. Truncation,
    h^4 = 1e-20 times a fifth derivative, is nothing, and rounding, 1e-15/h, about 1e-10. The error
    is below 1e-7 of the root of the sum of squares of the terms, the usual size of their sum.
    """
    for attempt in range(20):
        rng = np.random.default_rng([seed, attempt])
        terms, slope, smooth = slopes(network, random_weights(network, rng), x, training, rng)
        if smooth:
            break
    else:
        pytest.fail("a ReLU came to its kink each time")
    size = math.sqrt(sum(np.sum(one * one) for one in terms))
    assert abs(sum(np.sum(one) for one in terms) - slope) < 1e-7 * size


def slopes(network, weights, x, training, rng):
    """gradient . direction of each array; the slope; and whether no ReLU changed its side."""
    how = how_to_pass(training, x.shape[0])
    y, cache = network.forward(weights, x, how)
    here, dy = list(sides(network, cache)), rng.standard_normal(y.shape)
    dx, found = network.backward(weights, cache, dy, how)
    assert found.keys() == {name for name in weights if not running(name)}
    values, gradients = {"x": x} | {name: weights[name] for name in found}, {"x": dx} | found
    directions = {
        name: np.abs(one).mean() * rng.standard_normal(one.shape) for name, one in values.items()
    }
    smooth = []

    def projected(t):
        moved = {name: one + t * directions[name] for name, one in values.items()}
        y, cache = network.forward(weights | moved, moved["x"], how)
        smooth.append(list(sides(network, cache)) == here)
        return np.sum(dy * y)

    for name, one in values.items():
        assert gradients[name].shape == one.shape, name
    slope = fourth_order(projected, 1e-5)
    return [gradients[name] * directions[name] for name in values], slope, all(smooth)


LAYERS = {
    "normalisation": (Normalisation(*THREE), (2, 3, 4, 5)),
    "convolution": (Convolution("one", 3, 4), (5, 6, 2, 3)),
    "convolution-stride-pad": (Convolution("one", 3, 4, stride=2, padding=1), (5, 6, 2, 3)),
    "convolution-1x1": (Convolution("one", 3, 4, 1, 2), (5, 6, 2, 3)),
    "batch_norm": (BatchNorm("one", 3), (3, 4, 5, 3)),
    "relu": (Relu(), (3, 4, 5, 3)),
    "dropout": (Dropout("one", 0.3), (3, 4, 5, 3)),
    "global_mean": (GlobalMean(), (3, 4, 5, 3)),
    "linear": (Linear("one", 3, 4), (5, 3)),
    "nothing": (Chain(), (3, 4, 5, 3)),
    "chain": (Chain((Linear("one", 3, 4), Relu(), Linear("two", 4, 2))), (5, 3)),
    "residual": (Residual(Chain((Linear("one", 3, 3), Relu()))), (5, 3)),
    "shortcut": (
        Residual(Chain((Linear("one", 3, 4), Relu())), Chain((Linear("two", 3, 4),))),
        (5, 3),
    ),
}


@BATCHES
@pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS)
def test_gradients_of_layers(layer, shape, training):
    """Each layer with its own weights, and the ways to put them together.

    Images come as (N, C, H, W), as to a network, through a normalisation that only turns them.
    """
    if len(shape) == 4 and not isinstance(layer, Normalisation):
        height, width, n, C = shape
        layer = Chain((Normalisation((0.0,) * C, (1.0,) * C), layer))
        shape = n, C, height, width
    check_gradients(layer, np.random.default_rng(0).standard_normal(shape), training)


@BATCHES
@BOTH
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients_of_whole_networks(network, shape, training, seed):
    """With respect to the input, every weight and every bias, in float64."""
    x = np.random.default_rng(seed).uniform(0, 1, shape)
    check_gradients(network, x, training, seed)


@BATCHES
@BOTH
def test_gradients_of_the_input_alone(network, shape, training):
    """Without those of the weights they are the same, and no others are there."""
    x, weights = np.random.default_rng(0).uniform(0, 1, shape), random_weights(network)
    results = []
    for wanted in (True, False):
        how = how_to_pass(training, shape[0], weights=wanted)
        y, cache = network.forward(weights, x, how)
        results.append(network.backward(weights, cache, np.ones(y.shape), how))
    (dx, found), (alone, none) = results
    assert np.array_equal(dx, alone)
    assert found
    assert none == {}


@BATCHES
@BOTH
def test_samples_may_change_places(network, shape, training):
    """Permuted samples have permuted outputs and gradients, also where they share moments."""
    x, order = np.random.default_rng(0).uniform(0, 1, shape), [2, 0, 1]
    weights = random_weights(network)
    how = [Pass(training=training, count=3) for _ in range(2)]
    (y, cache), (y_, cache_) = (
        network.forward(weights, one, its) for one, its in zip((x, x[order]), how, strict=True)
    )
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx, found = network.backward(weights, cache, dy, how[0])
    dx_, found_ = network.backward(weights, cache_, dy[order], how[1])
    near(y_, y[order], 1e-12)
    near(dx_, dx[order], 1e-12)
    for name, gradient in found.items():
        near(found_[name], gradient, 1e-11)
    for name, moments in how[0].moments.items():
        for one, other in zip(how[1].moments[name], moments, strict=True):
            near(one, other, 1e-12)


def test_running_statistics():
    """A share `momentum` of them becomes the batch's mean and unbiased variance; the output is by
    the biased one, with 1e-5 added."""
    x = np.random.default_rng(0).normal(3, 2, (4, 5, 3, 2))
    layer, how = BatchNorm("one", 2, momentum=0.25), Pass(training=True, count=3)
    weights = random_weights(layer)
    y, _ = layer.forward(weights, x, how)
    moved = layer.moved(weights, how.moments)
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2), ddof=1)
    old = weights["one.running_mean"], weights["one.running_var"]
    assert moved["one.running_mean"] == pytest.approx(0.75 * old[0] + 0.25 * mean, rel=1e-13)
    assert moved["one.running_var"] == pytest.approx(0.75 * old[1] + 0.25 * var, rel=1e-13)
    assert moved.keys() == {"one.running_mean", "one.running_var"}
    normal = (x - mean) / np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5)
    near(y, weights["one.weight"] * normal + weights["one.bias"], 1e-13)


def test_momenta_and_dropout_of_wideresnet():
    """Each normalisation moves by a tenth, the last one by nine; 0.3 is dropped between the two
    convolutions of a block, of which the second halves the image."""
    network, asked = wideresnet(16, 1, *THREE), {}

    def mask(name, rate, x):
        asked[name] = rate, x.shape
        return np.ones(x.shape)

    weights, how = random_weights(network), Pass(training=True, count=2, mask=mask)
    network.forward(weights, np.random.default_rng(0).uniform(0, 1, (2, 3, 8, 8)), how)
    maps = {"1.0": (8, 16), "1.1": (8, 16), "2.0": (8, 32), "2.1": (4, 32), "3.0": (4, 64)}
    for block, (side, channels) in (maps | {"3.1": (2, 64)}).items():
        assert asked.pop(f"layer{block}.dropout") == (0.3, (side, side, 2, channels))
    assert not asked
    moved = network.moved(weights, how.moments)
    assert moved.keys() == {name for name in weights if running(name)}
    for name, values in moved.items():
        layer, _, which = name.rpartition(".")
        share = 0.9 if layer == "bn1" else 0.1
        new = how.moments[layer][which == "running_var"]
        near(values, (1 - share) * weights[name] + share * new, 1e-13)


def test_evaluation_with_the_moments_of_a_batch_is_training():
    """Running statistics that are a batch's own mean and variance give its outputs."""
    network, x = wideresnet(10, 1, *THREE), np.random.default_rng(0).uniform(0, 1, (4, 3, 8, 8))
    weights, how = random_weights(network), Pass(training=True, count=4)
    y, _ = network.forward(weights, x, how)
    pixels = {"layer1.0": 64, "layer2.0": 64, "layer3.0": 16, "": 4}
    for name, (mean, var) in how.moments.items():
        count = 4 * pixels[name.rpartition(".")[0]]
        own = {"mean": mean, "var": var * (count - 1) / count}  # which divides by count
        weights |= {f"{name}.running_{which}": values for which, values in own.items()}
    assert network.forward(weights, x, Pass())[0] == pytest.approx(y, rel=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_weights(dtype):
    """Uniform within 1/sqrt(fan in): bounds, and mean and variance within five deviations; batch
    normalisation at the identity; drawn in the order of the layers."""
    network = wideresnet(16, 2, *THREE)
    weights, specs = initial_arrays(network, stream(0, "weights"), dtype), network.arrays()
    assert list(weights) == list(specs)
    numbers = []
    for name, values in weights.items():
        assert values.shape == specs[name].shape
        assert values.dtype == dtype
        if ".bn" in name or name.startswith("bn"):
            one = name.endswith((".weight", "running_var"))
            assert np.all(values == (1.0 if one else 0.0)), name
            continue
        fan_in = math.prod(specs[name.rpartition(".")[0] + ".weight"].shape[:-1])
        assert np.abs(values).max() <= 1 / math.sqrt(fan_in) * (1 + 1e-7)
        numbers.append(values.astype(float).ravel() * math.sqrt(fan_in))
    numbers, fractions = np.concatenate(numbers), (1 / 3, 1 / 5 - 1 / 9)
    assert abs(numbers.mean()) < 5 * math.sqrt(fractions[0] / numbers.size)
    assert abs(numbers.var() - 1 / 3) < 5 * math.sqrt(fractions[1] / numbers.size)
    first = stream(0, "weights").uniform(-1, 1, (3, 3, 3, 16)) / math.sqrt(27)
    assert weights["conv1.weight"] == pytest.approx(first, rel=1e-6)


def multiplications(layer, cache):
    """Of the convolutions, from what went into them."""
    if isinstance(layer, Chain):
        return sum(multiplications(*pair) for pair in zip(layer.layers, cache, strict=True))
    if isinstance(layer, Residual):
        return multiplications(layer.body, cache[0]) + multiplications(layer.shortcut, cache[1])
    if not isinstance(layer, Convolution):
        return 0
    sides = [(s + 2 * layer.padding - layer.size) // layer.stride + 1 for s in cache.shape[:2]]
    each = layer.size**2 * layer.inputs * layer.outputs
    return math.prod(sides) * cache.shape[2] * each


def test_sizes_of_the_papers_networks():
    """Numbers of weights and of multiplications, and the maps before the mean."""

    def number(network):
        specs = network.arrays()
        return sum(math.prod(spec.shape) for name, spec in specs.items() if not running(name))

    assert number(convnet(*ONE)) == pytest.approx(1.05e6, rel=5e-3)
    assert number(wideresnet(28, 10, *THREE)) == pytest.approx(36.5e6, rel=1e-3)
    network = convnet(*ONE)
    weights = initial_arrays(network, stream(0, "weights"), "float32")
    y, cache = network.forward(weights, np.zeros((10, 1, 28, 28), np.float32), Pass())
    assert multiplications(network, cache) == pytest.approx(0.92e9, rel=5e-3)
    assert cache[-2] == (9, 9)
    assert y.shape == (10, 10)
    network = wideresnet(10, 1, *THREE)
    weights = initial_arrays(network, stream(0, "weights"), "float32")
    y, cache = network.forward(weights, np.zeros((2, 3, 32, 32), np.float32), Pass())
    assert cache[-2] == (8, 8)
    assert y.shape == (2, 10)


@pytest.mark.parametrize(("channels", "width"), [(1, 1), (1, 3), (3, 16), (1, 20)])
def test_widths_of_convnet(channels, width):
    """Channels of the five convolutions: width, 8, 8, 16 and 16 times it, whatever the image's."""
    moments = (0.5,) * channels, (0.2,) * channels
    shapes = {"conv1": (channels, width), "conv2": (width, 8 * width)}
    shapes |= {"conv3": (8 * width, 8 * width), "conv4": (8 * width, 16 * width)}
    shapes["conv5"] = (16 * width, 16 * width)
    expected = {"linear.weight": (16 * width, 10), "linear.bias": (10,)}
    for name, (inputs, outputs) in shapes.items():
        expected |= {f"{name}.weight": (3, 3, inputs, outputs), f"{name}.bias": (outputs,)}
    network = convnet(*moments, channels, width=width)
    assert {name: spec.shape for name, spec in network.arrays().items()} == expected


def test_the_released_convnet_has_16_channels():
    """And 128, 256: of width 16, the default, the shapes are those of a state of the released."""
    released = convnet(*ONE).arrays()
    assert convnet(*ONE, width=16).arrays() == released
    assert released["conv2.weight"].shape == (3, 3, 16, 128)
    assert released["conv5.weight"].shape == (3, 3, 256, 256)


@pytest.mark.parametrize("depth", [0, 4, 9, 11, 15, 27, 10.0])
def test_bad_depths_are_refused(depth):
    with pytest.raises(InputError, match="depth"):
        wideresnet(depth, 1, *THREE)


def test_the_refusal_names_depths_that_are_right():
    with pytest.raises(InputError, match="use 22 or 28"):
        wideresnet(26, 1, *THREE)
    with pytest.raises(InputError, match="width"):
        wideresnet(10, 0, *THREE)


@BATCHES
@pytest.mark.parametrize("sizes", [(), (16, 1), (10, 2)], ids=["convnet", "16-1", "10-2"])
@pytest.mark.torch
def test_parity_with_torch(sizes, training):
    """Outputs, all gradients of a batch's mean cross-entropy, and running statistics, in float64,
    with the same weights and the same masks of dropout."""
    torch = pytest.importorskip("torch")
    import torch_twins

    from benchmarks import torch_networks

    rng = np.random.default_rng(0)
    if sizes:
        ours, theirs = wideresnet(*sizes, *THREE), torch_networks.WideResNet(*sizes, *THREE)
        x = rng.uniform(0, 1, (4, 3, 16, 16))
    else:
        ours, theirs = convnet(*ONE), torch_networks.ConvNet(*ONE)
        x = rng.uniform(0, 1, (4, 1, 17, 16))
    weights, y, masks = random_weights(ours), rng.integers(0, 10, 4), {}

    def mask(layer, rate, values):
        drawn = batches.dropout_mask(DRAW, slice(0, 4), layer, rate, values)
        masks[layer] = drawn.transpose(2, 3, 0, 1).copy()
        return drawn

    how = Pass(training=training, count=4, mask=mask if training else None)
    z, cache = ours.forward(weights, x, how)
    losses, dz = softmax.cross_entropy(z, y)
    dx, found = ours.backward(weights, cache, dz / 4, how)

    theirs = torch_twins.with_masks(theirs.double().train(training), masks)
    torch_networks.load(theirs, classifier.to_released(weights))
    inputs = torch.tensor(x, requires_grad=True)
    outputs = theirs(inputs)
    loss = torch.nn.functional.cross_entropy(outputs, torch.tensor(y))
    loss.backward()

    assert z == pytest.approx(outputs.detach().numpy(), rel=1e-10, abs=1e-10)
    assert losses.mean() == pytest.approx(loss.item(), rel=1e-11)
    near(dx, inputs.grad.numpy(), 1e-10)
    gradients = {key: values.grad.numpy() for key, values in theirs.named_parameters()}
    assert gradients.keys() == found.keys()
    for key, values in classifier.to_released(found).items():
        near(values, gradients[key], 1e-10)
    moved = weights | (ours.moved(weights, how.moments) if training else {})
    after = classifier.from_released(ours, theirs.state_dict(), "float64")
    assert after.keys() == moved.keys()
    for key, values in moved.items():
        near(values, after[key], 1e-11)


def ready_to_step(network, shape, dtype, library):
    """Weights and velocities on a library, and images with classes, which stay on the host."""
    weights = {
        name: asarray(values.astype(dtype), library)
        for name, values in random_weights(network).items()
    }
    velocity = {name: 0 * values for name, values in weights.items() if not running(name)}
    rng = np.random.default_rng(0)
    batch = Images(rng.integers(0, 256, shape, np.uint8), rng.integers(0, 10, shape[0]))
    return weights, velocity, batch


def one_step(network, weights, velocity, batch):
    """In place, with augmentation and dropout."""
    with WorkerPool(1) as pool:
        found = minibatch.gradient(network, weights, batch, pool, DRAW, augment=True)
        weights |= network.moved(weights, found.moments)
        minibatch.step(weights, velocity, found.gradients, minibatch.Sgd(), 0.01, pool)
    return found


@pytest.fixture(params=[one for one in LIBRARIES if one != "numpy"])
def xp(request):
    return library_named(request.param)


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_on_other_libraries_is_numpys(network, shape, dtype, xp):
    """Forward, backward, moments and one step of a batch, with augmentation and dropout; and the
    outputs after it. In float32 a ReLU near its kink may choose its side by rounding."""
    found = []
    for library in (np, xp):
        weights, velocity, batch = ready_to_step(network, shape, dtype, library)
        part = one_step(network, weights, velocity, batch)
        z = classifier.outputs(network, weights, classifier.pixels(batch.x, library, dtype))
        assert z.dtype == dtype
        sums = dict(zip(("loss", "hits"), part.sums[0], strict=True))
        gradients = {f"gradient {name}": one for name, one in part.gradients[0].items()}
        velocities = {f"velocity {name}": one for name, one in velocity.items()}
        found.append(weights | velocities | gradients | sums | {"outputs": z})
    digits = 1e-3 if dtype == "float32" else 1e-9
    expected, got = found
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        other = to_host(got[name])
        assert other.dtype == values.dtype, name
        near(other, values, digits)


@BOTH
def test_a_step_never_waits_for_a_device(network, shape):
    """What is put into a queue there is read by no one here: the loss is, once, by who wants it."""
    conformance = pytest.importorskip("conformance", reason="CuPy is not installed")
    weights, velocity, batch = ready_to_step(network, shape, "float32", conformance.xp)
    with conformance.counting() as syncs:
        one_step(network, weights, velocity, batch)
    assert syncs == []
    moved = [one for one in syncs.transfers if "winograd" not in one.place]
    assert len(moved) == 2 + sum(".conv1.weight" in name for name in weights)  # x, y, masks
