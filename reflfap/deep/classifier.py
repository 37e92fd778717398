"""A deep network as a classifier: accuracy, margins for attacks, and its weights from elsewhere."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from reflfap import checks
from reflfap.attacks import MarginFunction
from reflfap.backend import Array, HostArray, Namespace, asarray, namespace, on_host, to_host
from reflfap.deep import softmax
from reflfap.deep.network import Chain, Pass, Weights
from reflfap.errors import refuse
from reflfap.fast.worker_pool import Total, WorkerPool, share

PIECE = 128
"""Images that a worker evaluates at once."""


class Images(NamedTuple):
    """Images with their classes, on the host."""

    x: HostArray  # (N, C, H, W): bytes, 0 to 255, or floats on [0, 1]
    y: HostArray  # (N,) whole numbers


def images(x: HostArray, y: HostArray, shape: tuple[int, int, int], classes: int) -> Images:
    """Images of a shape (C, H, W) and their classes, checked.

    Raises InputError for other channels or sizes, pixels outside [0, 1], classes out of range.
    """
    if x.ndim != 4 or tuple(x.shape[1:]) != shape:
        expected = f"(N, {', '.join(map(str, shape))}) as the network takes"
        refuse("x", f"images of shape {expected}", tuple(x.shape), "use the network for this data")
    if len(x) == 0:
        refuse("x", "at least one image", "none", "give some")
    if x.dtype != np.uint8:
        checks.floating("x", x, ndim=4)
        if not (x.min() >= 0 and x.max() <= 1):  # as where one is NaN
            got = f"{x.min():g} to {x.max():g}"
            refuse("x", "bytes, or pixels in [0, 1]", got, "divide by 255, or clip")
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        got = f"{y.dtype} {tuple(y.shape)}"
        refuse("y", f"one whole number for each of {len(x)} images", got, "give one class each")
    if y.min() < 0 or y.max() >= classes:
        got = f"{y.min()} to {y.max()}"
        refuse("y", f"classes 0 to {classes - 1}", got, "give numbers of classes")
    return Images(x, y)


def pixels(x: HostArray, xp: Namespace, dtype: str) -> Array:
    """Images of the host as floats on [0, 1] of a library."""
    values = xp.astype(asarray(x, xp), dtype)  # bytes are moved, a fourth of floats
    if x.dtype == np.uint8:
        values /= 255
    return values


def outputs(network: Chain, weights: Weights, x: Array) -> Array:
    """z (N, classes) for pixels x (N, C, H, W) on [0, 1], in evaluation mode."""
    return network.forward(weights, x, Pass(keep=False))[0]


def predictions(network: Chain, weights: Weights, x: HostArray, pool: WorkerPool) -> HostArray:
    """(N,) the class with the largest output for each image x (N, C, H, W), of ties the first."""
    like = next(iter(weights.values()))
    xp, dtype = namespace(like), str(like.dtype)

    def work(part: int, total: Total) -> Array:
        own = x[share(len(x), pool.workers, part)]
        found = [xp.zeros(0, dtype=xp.int64)]  # a worker may have none
        for first in range(0, len(own), PIECE):
            z = outputs(network, weights, pixels(own[first : first + PIECE], xp, dtype))
            found.append(xp.argmax(z, axis=1))
        return xp.concat(found)

    return np.concatenate([to_host(part) for part in pool.run(work)])


def image_accuracy(network: Chain, weights: Weights, samples: Images, pool: WorkerPool) -> float:
    """The fraction of images that are taken for their class."""
    return float(np.mean(predictions(network, weights, samples.x, pool) == samples.y))


def margin_function(
    network: Chain, weights: Weights, shape: tuple[int, int, int]
) -> MarginFunction:
    """What `attacks.attack` climbs: (x (n, d), target (n,)) -> (q (n,), dq/dx (n, d)).

    q = log(p_t / (1 - p_t)) of the target class, in evaluation mode: an attack that climbs it
    descends the targeted cross-entropy, (P2), step by step; `softmax.targeted_margin`. q > 0 where
    the target has more than half of the probability. `shape` is that of an image, (C, H, W), with
    d = C H W; targets are classes, whole numbers. Give the attack a `chunk`: an image holds 1.6 MB
    of activations in the ConvNet and 70 MB in WideResNet-28-10.
    InputError for targets that are no class (on a device they are not looked at).
    """

    def margin(x: Array, target: Array) -> tuple[Array, Array]:
        how = Pass(weights=False)
        z, cache = network.forward(weights, x.reshape(-1, *shape), how)
        if on_host(namespace(x)) and not np.isin(target, np.arange(z.shape[1])).all():
            refuse("target", f"classes 0 to {z.shape[1] - 1}", "others", "give numbers of classes")
        q, dz = softmax.targeted_margin(z, target)
        dx, _ = network.backward(weights, cache, dz, how)
        return q, dx.reshape(x.shape)

    return margin


def from_released(
    network: Chain, arrays: Mapping[str, Any], dtype: str = "float32"
) -> dict[str, HostArray]:
    """Weights from arrays by the released code's names and layouts, as in a state_dict of PyTorch.

    There a convolution is (K, C, r, r) and a linear map (K, C); here (r, r, C, K) and (C, K).
    Counters of batches are passed over; InputError for missing, unknown, or misshapen arrays.
    """
    specs = network.arrays()
    unknown = {name for name in arrays if not name.endswith("num_batches_tracked")} - set(specs)
    if unknown:
        got, remedy = ", ".join(sorted(unknown)[:3]), "give the weights of this network"
        refuse("arrays", f"the {len(specs)} names of this network", got, remedy)
    found = {}
    for name, spec in specs.items():
        released = released_shape(spec.shape)
        given = np.asarray(arrays[name]) if name in arrays else None
        if given is None or given.shape != released:
            got = "none" if given is None else f"shape {given.shape}"
            refuse(name, f"an array of shape {released}", got, "give the weights of this network")
        layout = given.transpose(np.argsort(_RELEASED[given.ndim]))
        with np.errstate(over="ignore"):
            found[name] = np.ascontiguousarray(layout, dtype=dtype)
        if not np.isfinite(found[name]).all():
            got = f"NaN, or beyond {dtype}"
            refuse(name, "finite numbers", got, "load weights that are whole")
    return found


def to_released(weights: Weights) -> dict[str, HostArray]:
    """The inverse of `from_released`, on the host."""
    return {
        name: np.ascontiguousarray(to_host(values).transpose(_RELEASED[values.ndim]))
        for name, values in weights.items()
    }


def released_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that an array of this layout has in the released one."""
    return tuple(shape[axis] for axis in _RELEASED[len(shape)])


_RELEASED = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
"""The released layout's axes in this one's, by the number of axes."""
