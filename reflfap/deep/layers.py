"""The layers of deep networks, each forward directly above its backward.

Images are (height, width, sample, channel), written (H, W, N, C): a shifted view of them consists
of blocks of N C numbers, and all pixels are the rows of one matrix product with the weights. Every
function keeps dtype and library. A gradient is named after what it belongs to, with a d in front;
dy is the gradient of the loss with respect to the output of the layer.
"""

import numpy as np

from reflfap.backend import Array, namespace, on_host, slices
from reflfap.errors import refuse
from reflfap.fast import winograd
from reflfap.fast.worker_pool import Total

COLUMNS = 2**21
"""Numbers in the columns of a piece of a plain convolution: 8 MiB in float32."""

DEVICE_COLUMNS = 2**27
"""The same on a device: 512 MiB."""


def normalise(x: Array, mean: Array, std: Array) -> Array:
    """Pixels x (N, C, H, W) as (x_c - mean_c) / std_c, with mean and std (C,), in the layout of all
    others, (H, W, N, C).
    """
    xp = namespace(x)
    return xp.ascontiguousarray((xp.transpose(x, (2, 3, 0, 1)) - mean) / std)


def normalise_backward(dy: Array, std: Array) -> Array:
    """dx = dy / std_c, (N, C, H, W)."""
    xp = namespace(dy)
    return xp.ascontiguousarray(xp.transpose(dy / std, (2, 3, 0, 1)))


def convolution(x: Array, w: Array, b: Array, stride: int, padding: int) -> Array:
    """y[p, q, n, k] = b_k + sum_ijc w[i, j, c, k] x[s p + i - pad, s q + j - pad, n, c].

    x (H, W, N, C), w (r, r, C, K), b (K,), y (H', W', N, K) with H' = (H + 2 pad - r)/s + 1 rounded
    down, W' likewise; pixels beyond the border are zero. By Winograd's tiles where `tile_size`
    finds them faster. InputError for images smaller than the kernel.
    """
    if min(x.shape[:2]) + 2 * padding < w.shape[0]:
        expected = f"at least {w.shape[0] - 2 * padding} pixels each way"
        refuse("x", expected, f"{x.shape[0]} x {x.shape[1]}", "give this network larger images")
    m = tile_size(x, w, stride, padding)
    if m is None:
        return plain_convolution(x, w, b, stride, padding)
    return winograd.convolve(x, w, b, padding, m)


def convolution_backward(
    dy: Array, x: Array, w: Array, stride: int, padding: int, weights: bool = True
) -> tuple[Array, Array | None, Array | None]:
    """dx, dw, db; without `weights` the last two are not computed. The transpose of `convolution`:

    db_k = sum_pqn dy[p, q, n, k]
    dw[i, j, c, k] = sum_pqn x[s p + i - pad, s q + j - pad, n, c] dy[p, q, n, k]
    dx[s p + i - pad, s q + j - pad, n, c] += sum_k w[i, j, c, k] dy[p, q, n, k].
    """
    m = tile_size(x, w, stride, padding)
    if m is None:
        return plain_convolution_backward(dy, x, w, stride, padding, weights)
    return winograd.convolve_backward(x, w, dy, padding, m, weights)


def tile_size(x: Array, w: Array, stride: int, padding: int) -> int | None:
    """The size of Winograd's tiles that takes the least time, or None where plain columns do.

    By `winograd.tile_cost` and `plain_cost`; what a GPU finds faster is not known.
    """
    (height, width, samples, C), (r, _, _, K) = x.shape, w.shape
    if r != 3 or stride != 1:
        return None
    height, width = height + 2 * padding - 2, width + 2 * padding - 2
    costs = {m: winograd.tile_cost(m, height, width, samples, C, K) for m in winograd.TILES}
    best = min(costs, key=costs.__getitem__)
    plain = winograd.plain_cost(height, width, samples, C, K)
    return best if costs[best] < plain else None


def plain_convolution(x: Array, w: Array, b: Array, stride: int, padding: int) -> Array:
    """`convolution` as written there: one product of columns (p q n, i j c) and w (i j c, k)."""
    xp, (r, _, _, K) = namespace(x, w, b), w.shape
    wide = winograd.padded(x, padding, _sides(x, padding))
    height, width = ((size - r) // stride + 1 for size in wide.shape[:2])
    y = xp.empty((height, width, x.shape[2], K), dtype=x.dtype)
    flat = w.reshape(-1, K)
    for some in _pieces(x, height * width * len(flat)):
        columns = _columns(wide[:, :, some], r, stride, (height, width))
        y[:, :, some] = (columns @ flat + b).reshape(height, width, -1, K)
    return y


def plain_convolution_backward(
    dy: Array, x: Array, w: Array, stride: int, padding: int, weights: bool = True
) -> tuple[Array, Array | None, Array | None]:
    """`convolution_backward`, by the same columns: db = 1^T dY, dw = columns^T dY, and the columns'
    own gradient dY w^T is added to the pixels that they were copied from."""
    xp, (r, _, C, K) = namespace(x, w, dy), w.shape
    sides = _sides(x, padding)
    wide = winograd.padded(x, padding, sides) if weights else x
    dwide = xp.zeros((*sides, *x.shape[2:]), dtype=x.dtype)
    (height, width), flat = dy.shape[:2], w.reshape(-1, K)
    dw, db = xp.zeros_like(flat), xp.zeros(K, dtype=x.dtype)
    for some in _pieces(x, height * width * len(flat)):
        dY = dy[:, :, some].reshape(-1, K)
        if weights:
            dw += _columns(wide[:, :, some], r, stride, (height, width)).T @ dY
            db += xp.sum(dY, axis=0)
        dcolumns = (dY @ flat.T).reshape(height, width, -1, r, r, C)
        for i, j in np.ndindex(r, r):
            down, across = (
                slice(at, at + stride * (size - 1) + 1, stride)
                for at, size in ((i, height), (j, width))
            )
            dwide[down, across, some] += dcolumns[:, :, :, i, j]
    dx = dwide[padding : padding + x.shape[0], padding : padding + x.shape[1]]
    return xp.ascontiguousarray(dx), *((dw.reshape(w.shape), db) if weights else (None, None))


def _sides(x: Array, padding: int) -> tuple[int, int]:
    return x.shape[0] + 2 * padding, x.shape[1] + 2 * padding


def _pieces(x: Array, numbers: int) -> list[slice]:
    """Samples of x to work on at once, with so many numbers each in their columns."""
    most = COLUMNS if on_host(namespace(x)) else DEVICE_COLUMNS
    return slices(x.shape[2], max(1, most // numbers))


def _columns(wide: Array, r: int, stride: int, size: tuple[int, int]) -> Array:
    """All patches of r x r pixels, (p q n, i j c)."""
    each = winograd.windows(wide, (r, r), stride, size)
    return namespace(wide).transpose(each, (0, 1, 4, 2, 3, 5)).reshape(-1, r * r * wide.shape[3])


def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return namespace(x).maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    """dx = dy where y > 0, else 0: the derivative at 0 is taken as 0."""
    xp = namespace(dy, y)
    return dy * xp.astype(y > 0, dy.dtype)


def dropout(x: Array, mask: Array) -> Array:
    """y = mask x, entries 1/(1 - p) with probability 1 - p, else 0; and dx = mask dy."""
    return x * mask


def batch_moments(x: Array, count: int, total: Total) -> tuple[Array, Array]:
    """Mean and variance (C,) of each channel over the `count` pixels of all parts of a batch.

    var = sum (x - mean)^2 / count, in two passes: the difference of two large sums would round.
    """
    mean = total(channel_sums(x)) / count
    centred = x - along_channels(mean, x)
    centred *= centred
    return mean, total(channel_sums(centred)) / count


def batch_norm(
    x: Array, scale: Array, shift: Array, mean: Array, inverse: Array
) -> tuple[Array, Array]:
    """y = scale x' + shift with x' = (x - mean) inverse, and x', both (H, W, N, C); all others are
    (C,), inverse = 1/sqrt(var + eps)."""
    normal = x - along_channels(mean, x)
    normal *= along_channels(inverse, x)
    y = normal * along_channels(scale, x)
    y += along_channels(shift, x)
    return y, normal


def batch_norm_backward(
    dy: Array, normal: Array, scale: Array, inverse: Array, count: int, total: Total | None
) -> tuple[Array, Array, Array]:
    """dx, and this part's dscale = sum dy x' and dshift = sum dy.

    In training the mean and variance are functions of x. With x' = (x - mean) inverse, d mean /
    dx = 1/count and d var / dx = 2 (x - mean)/count = 2 x'/(inverse count), whence

        dx = scale inverse [dy - (sum dy)/count - x' (sum dy x')/count],

    sums over all parts, which `total` adds up. In evaluation (no `total`) dx = scale inverse dy.
    """
    dshift = channel_sums(dy)
    dscale = channel_sums(dy * normal)
    dx = dy * along_channels(scale * inverse, dy)
    if total is not None:
        factor = scale * inverse / count
        dx -= along_channels(factor * total(dshift), dy)
        dx -= normal * along_channels(factor * total(dscale), dy)
    return dx, dscale, dshift


def channel_sums(x: Array) -> Array:
    """The sum of each channel, (C,)."""
    xp, (height, width, n, C) = namespace(x), x.shape
    return xp.sum(xp.sum(x.reshape(height * width, n * C), axis=0).reshape(n, C), axis=0)


def along_channels(values: Array, x: Array) -> Array:
    """(C,) values, repeated to (N, C): NumPy's loops are as long as the last axes that agree."""
    return namespace(values, x).tile(values, (x.shape[2], 1))


def global_mean(x: Array) -> Array:
    """The mean over all pixels, (N, C)."""
    xp, (height, width, n, C) = namespace(x), x.shape
    return xp.mean(x.reshape(height * width, n * C), axis=0).reshape(n, C)


def global_mean_backward(dy: Array, size: tuple[int, int]) -> Array:
    """dx = dy / (H W) at every pixel, (H, W, N, C)."""
    xp, (height, width) = namespace(dy), size
    dx = xp.empty((height, width, *dy.shape), dtype=dy.dtype)
    dx[...] = dy / (height * width)
    return dx


def linear(x: Array, w: Array, b: Array) -> Array:
    """y = x w + b, (N, K), for x (N, C) and w (C, K)."""
    return x @ w + b


def linear_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """dx = dy w^T, dw = x^T dy, db = 1^T dy."""
    return dy @ w.T, x.T @ dy, namespace(dy).sum(dy, axis=0)
