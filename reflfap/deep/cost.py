"""What an image costs in a network: multiplications, and the numbers that its layers hold."""

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
    return _walk(network, shape)[0]


def _walk(layer: Layer, shape: tuple[int, int, int]) -> tuple[Cost, tuple[int, int, int]]:
    """The cost of a layer, and the shape of its output."""
    channels, height, width = shape
    if isinstance(layer, Chain):
        done = Cost(0, 0)
        for one in layer.layers:
            more, shape = _walk(one, shape)
            done = Cost(*map(sum, zip(done, more, strict=True)))
        return done, shape
    if isinstance(layer, Residual):
        body, after = _walk(layer.body, shape)
        past, _ = _walk(layer.shortcut, shape)
        total = _numbers(after)
        return Cost(body[0] + past[0], body[1] + past[1] + total), after
    if isinstance(layer, Convolution):
        height, width = (
            (side + 2 * layer.padding - layer.size) // layer.stride + 1 for side in (height, width)
        )
        after = layer.outputs, height, width
        return Cost(_numbers(after) * layer.inputs * layer.size**2, _numbers(after)), after
    if isinstance(layer, Linear):
        return Cost(layer.inputs * layer.outputs, layer.outputs), (layer.outputs, 1, 1)
    if isinstance(layer, GlobalMean):
        return Cost(0, channels), (channels, 1, 1)
    return Cost(0, _numbers(shape)), shape


def _numbers(shape: tuple[int, int, int]) -> int:
    channels, height, width = shape
    return channels * height * width
