"""Deep networks as compositions of named layers, their weights as named arrays.

A layer connects the functions of `layers` with its weights, by the names of the released code:
"conv1.weight", "layer1.0.bn1.running_mean".
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from reflfap.backend import Array, HostArray, namespace
from reflfap.deep import layers
from reflfap.fast.worker_pool import Total

Weights: TypeAlias = Mapping[str, Array]
Gradients: TypeAlias = dict[str, Array]
Backward: TypeAlias = tuple[Array, Gradients]
Moments: TypeAlias = dict[str, tuple[Array, Array]]

EPSILON = 1e-5
"""Added to the variance in batch normalisation."""


class Spec(NamedTuple):
    """What an array of a network is."""

    shape: tuple[int, ...]  # in this project's layout: the channels last
    fan_in: int = 0  # inputs of an output; if there are any, it starts uniform in +-1/sqrt(fan_in)
    start: float = 0.0  # else as this number


@dataclass(frozen=True)
class Pass:
    """How a batch, or a part of one, goes through a network; by default in evaluation mode."""

    training: bool = False  # batch normalisation takes the moments of the batch
    keep: bool = True  # forward keeps caches for backward; without, memory is of a layer or two
    weights: bool = True  # backward computes gradients of weights too
    count: int = 0  # samples in all parts of the batch; 0: those of this part
    total: Total = lambda values: values  # adds up over all parts of the batch
    mask: Callable[[str, float, Array], Array] | None = None
    """dropout's mask by name of the layer, rate, and input (H, W, N, C); without, no dropout"""
    moments: Moments = field(default_factory=dict)
    """filled in when training: mean and unbiased variance (C,), by name of the normalisation"""


class Layer:
    """A differentiable map between arrays."""

    @property
    def layers(self) -> tuple["Layer", ...]:
        """Those it is made of."""
        return ()

    def arrays(self) -> dict[str, Spec]:
        """Its weights by name."""
        return {name: spec for layer in self.layers for name, spec in layer.arrays().items()}

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        """Output, and a cache of what `backward` wants to see again."""
        raise NotImplementedError

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        """Gradients with respect to the input, and by name to the weights if `how` wants them.

        Uses the cache up: once for each forward."""
        raise NotImplementedError

    def moved(self, weights: Weights, moments: Moments) -> Gradients:
        """Running statistics after a batch with these moments, by name."""
        parts = [layer.moved(weights, moments) for layer in self.layers]
        return {name: values for part in parts for name, values in part.items()}


@dataclass(frozen=True)
class Chain(Layer):
    """One layer after the other; empty, the identity."""

    layers: tuple[Layer, ...] = ()

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        caches = []
        for layer in self.layers:
            x, cache = layer.forward(weights, x, how)
            caches.append(cache if how.keep else None)
        return x, caches

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        gradients: Gradients = {}
        for layer in reversed(self.layers):  # a cache that was used makes room for the next
            dy, found = layer.backward(weights, cache.pop(), dy, how)
            gradients |= found
        return dy, gradients


@dataclass(frozen=True)
class Residual(Layer):
    """y = body(x) + shortcut(x), so dx is the sum of both gradients."""

    body: Chain
    shortcut: Chain = Chain()

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.body, self.shortcut

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        y, inner = self.body.forward(weights, x, how)
        past, outer = self.shortcut.forward(weights, x, how)
        return y + past, (inner, outer)

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        dx, inner = self.body.backward(weights, cache[0], dy, how)
        past, outer = self.shortcut.backward(weights, cache[1], dy, how)
        return dx + past, inner | outer


@dataclass(frozen=True)
class Normalisation(Layer):
    """Pixels (N, C, H, W) to (H, W, N, C), by the mean and deviation of the data set."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        return layers.normalise(x, _constant(self.mean, x), _constant(self.std, x)), None

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        return layers.normalise_backward(dy, _constant(self.std, dy)), {}


@dataclass(frozen=True)
class Convolution(Layer):
    """`size` x `size` pixels of (H, W, N, inputs) to one of (H', W', N, outputs)."""

    name: str
    inputs: int
    outputs: int
    size: int = 3
    stride: int = 1
    padding: int = 0

    def arrays(self) -> dict[str, Spec]:
        return _weight_and_bias(self.name, (self.size, self.size, self.inputs, self.outputs))

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        w, b = weights[f"{self.name}.weight"], weights[f"{self.name}.bias"]
        return layers.convolution(x, w, b, self.stride, self.padding), x

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        w, geometry = weights[f"{self.name}.weight"], (self.stride, self.padding)
        dx, *rest = layers.convolution_backward(dy, cache, w, *geometry, how.weights)
        return dx, _named(self.name, how, *rest)


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Normalised per channel by the batch in training, by running statistics in evaluation."""

    name: str
    channels: int
    momentum: float = 0.1

    def arrays(self) -> dict[str, Spec]:
        starts = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
        specs = {name: Spec((self.channels,), start=start) for name, start in starts.items()}
        return {f"{self.name}.{name}": spec for name, spec in specs.items()}

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        scale, shift = weights[f"{self.name}.weight"], weights[f"{self.name}.bias"]
        if how.training:
            count = _count(x, how)
            mean, var = layers.batch_moments(x, count, how.total)
            how.moments[self.name] = mean, var * (count / max(1, count - 1))
        else:
            mean = weights[f"{self.name}.running_mean"]
            var = weights[f"{self.name}.running_var"]
        inverse = 1 / namespace(x).sqrt(var + EPSILON)
        y, normal = layers.batch_norm(x, scale, shift, mean, inverse)
        return y, (normal, inverse)

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        normal, inverse = cache
        count, total = _count(dy, how), how.total if how.training else None
        scale = weights[f"{self.name}.weight"]
        dx, *rest = layers.batch_norm_backward(dy, normal, scale, inverse, count, total)
        return dx, _named(self.name, how, *rest)

    def moved(self, weights: Weights, moments: Moments) -> Gradients:
        """A share `momentum` of them becomes the batch's."""
        names, share = (f"{self.name}.running_mean", f"{self.name}.running_var"), self.momentum
        return {
            name: (1 - share) * weights[name] + share * new
            for name, new in zip(names, moments[self.name], strict=True)
        }


@dataclass(frozen=True)
class Relu(Layer):
    """max(x, 0)."""

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        y = layers.relu(x)
        return y, y

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        return layers.relu_backward(dy, cache), {}


@dataclass(frozen=True)
class Dropout(Layer):
    """Drops each number with probability `rate` in training, divides the others by 1 - rate."""

    name: str
    rate: float

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        if how.mask is None:
            return x, None
        mask = how.mask(self.name, self.rate, x)
        return layers.dropout(x, mask), mask

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        return dy if cache is None else layers.dropout(dy, cache), {}


@dataclass(frozen=True)
class GlobalMean(Layer):
    """(H, W, N, C) to (N, C)."""

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        return layers.global_mean(x), x.shape[:2]

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        return layers.global_mean_backward(dy, cache), {}


@dataclass(frozen=True)
class Linear(Layer):
    """(N, inputs) to (N, outputs)."""

    name: str
    inputs: int
    outputs: int

    def arrays(self) -> dict[str, Spec]:
        return _weight_and_bias(self.name, (self.inputs, self.outputs))

    def forward(self, weights: Weights, x: Array, how: Pass) -> tuple[Array, Any]:
        return layers.linear(x, weights[f"{self.name}.weight"], weights[f"{self.name}.bias"]), x

    def backward(self, weights: Weights, cache: Any, dy: Array, how: Pass) -> Backward:
        dx, *rest = layers.linear_backward(dy, cache, weights[f"{self.name}.weight"])
        return dx, _named(self.name, how, *rest)


def initial_arrays(network: Layer, rng: np.random.Generator, dtype: str) -> dict[str, HostArray]:
    """Weights and biases uniform on [-1/sqrt(fan_in), 1/sqrt(fan_in)], batch normalisation at the
    identity, drawn in the order of the layers, on the host.
    """
    found = {}
    for name, spec in network.arrays().items():
        bound = 1 / math.sqrt(spec.fan_in) if spec.fan_in else 0.0
        drawn = rng.uniform(-bound, bound, spec.shape) if bound else np.full(spec.shape, spec.start)
        found[name] = drawn.astype(dtype)
    return found


def running(name: str) -> bool:
    """Whether an array is a running statistic, which no gradient moves."""
    return ".running_" in name


def _weight_and_bias(name: str, w: tuple[int, ...]) -> dict[str, Spec]:
    fan_in = math.prod(w[:-1])
    return {f"{name}.weight": Spec(w, fan_in), f"{name}.bias": Spec(w[-1:], fan_in)}


def _count(x: Array, how: Pass) -> int:
    """Pixels of one channel in all parts of the batch."""
    return int(x.shape[0] * x.shape[1] * (how.count or x.shape[2]))


def _named(name: str, how: Pass, dw: Array, db: Array) -> Gradients:
    return {f"{name}.weight": dw, f"{name}.bias": db} if how.weights else {}


def _constant(values: tuple[float, ...], like: Array) -> Array:
    xp = namespace(like)  # filled on the device: nothing is moved there
    return xp.stack([xp.full((), value, dtype=like.dtype) for value in values])
