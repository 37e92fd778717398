"""Small deep networks, weights and images for the tests of training, attacks and classifiers."""

import numpy as np

from reflfap.backend import asarray, to_host
from reflfap.deep.classifier import Images
from reflfap.deep.network import (
    BatchNorm,
    Chain,
    Convolution,
    Dropout,
    GlobalMean,
    Linear,
    Normalisation,
    Relu,
    Residual,
    initial_arrays,
)

SHAPE = (2, 6, 6)
CLASSES = 3


def every_layer():
    """Images of SHAPE to CLASSES outputs, through a layer of each kind."""
    body = Chain(
        (
            *(BatchNorm("block.bn", 4), Relu()),
            *(Convolution("block.conv", 4, 4, padding=1), Dropout("block.dropout", 0.25)),
        )
    )
    return Chain(
        (
            *(Normalisation((0.4, 0.5), (0.3, 0.2)), Convolution("conv", 2, 4, padding=1)),
            *(Residual(body), BatchNorm("bn", 4), Relu()),
            *(GlobalMean(), Linear("linear", 4, CLASSES)),
        )
    )


def linear_of_channels(channels=2, classes=2):
    """A linear classifier of the mean of each channel."""
    means = (0.5,) * channels
    return Chain(
        (Normalisation(means, means), GlobalMean(), Linear("linear", channels, classes)),
    )


def drawn_weights(network, seed=0, dtype="float64", xp=np):
    """Initial weights, but batch normalisation drawn too: its start hides what it would change."""
    rng = np.random.default_rng(seed)
    weights = initial_arrays(network, rng, dtype)
    for name, spec in network.arrays().items():
        if not spec.fan_in:
            weights[name] = rng.uniform(0.5, 1.5, spec.shape).astype(dtype)
    return there(weights, xp)


def drawn_images(n, seed=0, shape=SHAPE, classes=CLASSES):
    """Random bytes with random classes."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    return Images(x, rng.integers(0, classes, n))


def there(weights, xp):
    """Weights of the host as arrays of a library."""
    return {name: asarray(values, xp) for name, values in weights.items()}


def here(weights):
    """Weights of any library as arrays of the host."""
    return {name: to_host(values) for name, values in weights.items()}
