"""What an image costs in a network: multiplications, and the numbers that its layers hold."""

import math
from collections.abc import Generator
from typing import NamedTuple

from reflfap.deep.network import Chain, Convolution, GlobalMean, Layer, Linear, Residual


class Cost(NamedTuple):
    """Of one image, forward."""

    multiplications: float
    numbers: float  # in the outputs of all layers, which are kept for the way back


def layer_cost(network: Layer, shape: tuple[int, int, int]) -> Cost:
    """For images of a shape (C, H, W), by the definition of each layer: Winograd needs fewer
    multiplications, which is no concern of a count of the work.
    """
    return Cost(*map(sum, zip(*_walk(network, shape), strict=True)))


def _walk(layer: Layer, shape: tuple[int, ...]) -> Generator[Cost, None, tuple[int, ...]]:
    """The cost of each layer; gives the shape of the output."""
    if isinstance(layer, Chain):
        for one in layer.layers:
            shape = yield from _walk(one, shape)
        return shape
    if isinstance(layer, Residual):
        after = yield from _walk(layer.body, shape)
        yield from _walk(layer.shortcut, shape)
        yield Cost(0, math.prod(after))
        return after
    channels, *sides = shape
    kernels = [spec.shape for spec in layer.arrays().values() if len(spec.shape) > 1]
    if isinstance(layer, Convolution):
        sides = [(s + 2 * layer.padding - layer.size) // layer.stride + 1 for s in sides]
    if isinstance(layer, Linear | GlobalMean):
        sides = [1, 1]
    if isinstance(layer, Convolution | Linear):
        channels = layer.outputs
    after = (channels, *sides)  # to each pixel of which a kernel's numbers contribute once
    yield Cost(math.prod(sides) * sum(map(math.prod, kernels)), math.prod(after))
    return after
