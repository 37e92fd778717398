"""Layers of deep networks: against loops and central differences; parts, symmetries, dtypes."""

import math

import numpy as np
import pytest
from gradients import close, fourth_order, normal
from hypothesis import given, settings
from hypothesis import strategies as st

from reflfap.deep import layers
from reflfap.errors import InputError
from reflfap.fast import winograd
from reflfap.fast.worker_pool import WorkerPool, share
from reflfap.training import batches

pytestmark = pytest.mark.usefixtures("library")

EPSILON = 1e-5
SEEDS = st.integers(0, 10**6)
GEOMETRIES = [(r, stride, padding) for r in (3, 1) for stride in (1, 2) for padding in (0, 1)]
SIZES = {
    "seed": SEEDS,
    "geometry": st.sampled_from(GEOMETRIES),
    "height": st.integers(0, 5),
    "width": st.integers(0, 5),
    "n": st.integers(1, 3),
    "C": st.integers(1, 3),
    "K": st.integers(1, 3),
}
FEWER = settings(max_examples=15)  # four paths, and two or four convolutions an example
PATHS = pytest.mark.parametrize("m", [None, *winograd.TILES])
"""Convolutions of stride 1 by plain columns, and by tiles of each size."""


def convolution_case(seed, geometry, height, width, n, C, K):
    """x, w, b and dy; the image so much larger than the least one."""
    r, stride, padding = geometry
    height, width = (max(1, r - 2 * padding) + more for more in (height, width))
    x, w, b = normal(seed, height, width, n, C), normal(seed + 1, r, r, C, K), normal(seed + 2, K)
    sides = ((size + 2 * padding - r) // stride + 1 for size in (height, width))
    return x, w, b, normal(seed + 3, *sides, n, K)


def taps(x, w, dy, stride, padding):
    """(p, q, i, j, row, column) of each output pixel and each pixel of the image that it sees."""
    for p, q, i, j in np.ndindex(*dy.shape[:2], *w.shape[:2]):
        row, column = stride * p + i - padding, stride * q + j - padding
        if 0 <= row < x.shape[0] and 0 <= column < x.shape[1]:
            yield p, q, i, j, row, column


def loops_convolution(x, w, b, dy, stride, padding):
    y = np.zeros(dy.shape) + b
    for p, q, i, j, row, column in taps(x, w, dy, stride, padding):
        for s, c, k in np.ndindex(*x.shape[2:], len(b)):
            y[p, q, s, k] += w[i, j, c, k] * x[row, column, s, c]
    return y


def loops_convolution_backward(x, w, dy, stride, padding):
    """Each product w x of the output gives dy w to x and dy x to w."""
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[3])
    for p, q, i, j, row, column in taps(x, w, dy, stride, padding):
        for s, c, k in np.ndindex(*x.shape[2:], w.shape[3]):
            dx[row, column, s, c] += dy[p, q, s, k] * w[i, j, c, k]
            dw[i, j, c, k] += dy[p, q, s, k] * x[row, column, s, c]
    for p, q, s, k in np.ndindex(*dy.shape):
        db[k] += dy[p, q, s, k]
    return dx, dw, db


@given(columns=st.sampled_from([1, 10**6]), **SIZES)
def test_convolution_against_loops(columns, **sizes):
    """The sum of its docstring, whatever the path, and however many pieces the batch comes in."""
    x, w, b, dy = convolution_case(**sizes)
    _, stride, padding = sizes["geometry"]
    expected = loops_convolution(x, w, b, dy, stride, padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reflfap.deep.layers.COLUMNS", columns)
        close(layers.convolution(x, w, b, stride, padding), expected)
        close(layers.plain_convolution(x, w, b, stride, padding), expected)


@given(columns=st.sampled_from([1, 10**6]), **SIZES)
def test_convolution_gradients_against_loops(columns, **sizes):
    """Likewise; without weights dx is the same, and nothing else is there."""
    x, w, _, dy = convolution_case(**sizes)
    _, stride, padding = sizes["geometry"]
    expected = loops_convolution_backward(x, w, dy, stride, padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reflfap.deep.layers.COLUMNS", columns)
        for function in (layers.convolution_backward, layers.plain_convolution_backward):
            found = function(dy, x, w, stride, padding)
            for got, twin in zip(found, expected, strict=True):
                close(got, twin)
            dx, *rest = function(dy, x, w, stride, padding, False)
            close(dx, expected[0])
            assert rest == [None, None]


def loops_moments(x):
    """Mean and variance of each channel, in sums that do not round."""
    count = x.shape[0] * x.shape[1] * x.shape[2]
    mean = [math.fsum(x[..., c].ravel()) / count for c in range(x.shape[3])]
    var = [math.fsum((x[..., c].ravel() - mean[c]) ** 2) / count for c in range(x.shape[3])]
    return mean, var


def loops_batch_norm(x, scale, shift, dy):
    """Output, and gradients by the chain rule, from each output to each input of a channel."""
    mean, var = loops_moments(x)
    count = x[..., 0].size
    y, dx, dscale, dshift = np.zeros(x.shape), np.zeros(x.shape), 0 * scale, 0 * shift
    pixels = list(np.ndindex(*x.shape[:3]))
    for c in range(x.shape[3]):
        deviation = math.sqrt(var[c] + EPSILON)
        for at in pixels:
            centred = x[at][c] - mean[c]
            y[at][c] = scale[c] * centred / deviation + shift[c]
            dscale[c] += dy[at][c] * centred / deviation
            dshift[c] += dy[at][c]
            for to in pixels:
                dvar = 2 * (x[to][c] - mean[c]) / count
                dcentred = (at == to) - 1 / count
                slope = dcentred / deviation - centred * dvar / (2 * deviation**3)
                dx[to][c] += dy[at][c] * scale[c] * slope
    return y, dx, dscale, dshift


def batch_norm(x, scale, shift, count=None, total=lambda values: values):
    """As a network in training does it: the output, and what the way back wants."""
    count = x[..., 0].size if count is None else count
    mean, var = layers.batch_moments(x, count, total)
    inverse = 1 / np.sqrt(var + EPSILON)
    y, normal_ = layers.batch_norm(x, scale, shift, mean, inverse)
    return y, (normal_, scale, inverse, count, total)


@given(seed=SEEDS, height=st.integers(1, 3), n=st.integers(1, 3), C=st.integers(1, 3))
def test_batch_norm_against_loops(seed, height, n, C):
    x, dy = normal(seed, height, 2, n, C) + 3, normal(seed + 1, height, 2, n, C)
    scale, shift = normal(seed + 2, 2, C)
    y, kept = batch_norm(x, scale, shift)
    expected = loops_batch_norm(x, scale, shift, dy)
    # two pixels may be nearly equal: 1/deviation is at most 300, and multiplies their rounding
    for got, twin in zip((y, *layers.batch_norm_backward(dy, *kept)), expected, strict=True):
        close(got, twin, 1e-10)


def test_variance_of_a_large_mean():
    """In float32 a mean of 1000 costs three digits of the variance, and not all of them."""
    x = (1000 + normal(0, 16, 16, 8, 3)).astype(np.float32)
    mean, var = layers.batch_moments(x, 16 * 16 * 8, lambda values: values)
    exact = loops_moments(x.astype(np.float64))
    assert mean == pytest.approx(exact[0], rel=1e-6)
    assert var == pytest.approx(exact[1], rel=1e-3)


@given(seed=SEEDS, workers=st.integers(1, 4), n=st.integers(4, 7), C=st.integers(1, 3))
def test_moments_over_parts(seed, workers, n, C):
    """A batch in parts, in the hands of a pool, is normalised as a whole, and so is its way back:
    dx in parts, dscale and dshift as sums over them."""
    x, dy = normal(seed, 3, 2, n, C), normal(seed + 1, 3, 2, n, C)
    scale, shift = normal(seed + 2, 2, C)
    whole, kept = batch_norm(x, scale, shift)
    dx, dscale, dshift = layers.batch_norm_backward(dy, *kept)

    def work(part, total):
        rows = share(n, workers, part)
        y, kept = batch_norm(x[:, :, rows], scale, shift, 6 * n, total)
        return y, *layers.batch_norm_backward(dy[:, :, rows], *kept)

    with WorkerPool(workers) as pool:
        y, dx_, dscale_, dshift_ = zip(*pool.run(work), strict=True)
    close(np.concatenate(y, axis=2), whole)
    close(np.concatenate(dx_, axis=2), dx)
    close(sum(dscale_), dscale)
    close(sum(dshift_), dshift)


@given(seed=SEEDS, sizes=st.tuples(*[st.integers(1, 4)] * 4), K=st.integers(1, 4))
def test_means_and_linear_maps_against_loops(seed, sizes, K):
    x, (height, width, n, C) = normal(seed, *sizes), sizes
    mean = layers.global_mean(x)
    for s, c in np.ndindex(n, C):
        pixels = [x[p, q, s, c] for p in range(height) for q in range(width)]
        assert mean[s, c] == pytest.approx(math.fsum(pixels) / (height * width), abs=1e-14)
    dx = layers.global_mean_backward(mean, (height, width))
    assert dx.shape == x.shape
    close(dx, np.broadcast_to(mean / (height * width), x.shape))
    w, b, dy = normal(seed + 1, C, K), normal(seed + 2, K), normal(seed + 3, n, K)
    y, dx, dw = np.zeros((n, K)) + b, np.zeros((n, C)), np.zeros((C, K))
    for s, c, k in np.ndindex(n, C, K):
        y[s, k] += mean[s, c] * w[c, k]
        dx[s, c] += dy[s, k] * w[c, k]
        dw[c, k] += dy[s, k] * mean[s, c]
    close(layers.linear(mean, w, b), y)
    found = layers.linear_backward(dy, mean, w)
    for got, twin in zip(found, (dx, dw, dy.sum(axis=0)), strict=True):
        close(got, twin)


@given(seed=SEEDS, sizes=st.tuples(*[st.integers(1, 4)] * 4))
def test_normalisation(seed, sizes):
    """Each pixel less its channel's mean, over its deviation, and the axes in their new order."""
    x, C = normal(seed, *sizes), sizes[1]
    mean, std = normal(seed + 1, C), np.random.default_rng(seed).uniform(0.1, 2, C)
    y = layers.normalise(x, mean, std)
    for n, c, p, q in np.ndindex(*sizes):
        assert y[p, q, n, c] == (x[n, c, p, q] - mean[c]) / std[c]
    assert y.flags.c_contiguous
    back = layers.normalise_backward(y, std)
    assert back.shape == x.shape
    assert back.flags.c_contiguous
    close(back * std[:, None, None] ** 2, x - mean[:, None, None])


# test_gradients: arrays by name, the output, and the gradients by the same names


def of_convolution(r, stride, padding):
    arrays = {"x": normal(1, 6, 5, 2, 3), "w": normal(2, r, r, 3, 2), "b": normal(3, 2)}

    def forward(x, w, b):
        return layers.convolution(x, w, b, stride, padding)

    def backward(dy, x, w, b):
        return zip("xwb", layers.convolution_backward(dy, x, w, stride, padding), strict=True)

    return arrays, forward, backward


def of_tiles(m, padding):
    arrays = {"x": normal(1, 6, 5, 2, 3), "w": normal(2, 3, 3, 3, 2), "b": normal(3, 2)}

    def forward(x, w, b):
        return winograd.convolve(x, w, b, padding, m)

    def backward(dy, x, w, b):
        return zip("xwb", winograd.convolve_backward(x, w, dy, padding, m), strict=True)

    return arrays, forward, backward


def of_batch_norm():
    def backward(dy, x, scale, shift):
        found = layers.batch_norm_backward(dy, *batch_norm(x, scale, shift)[1])
        return zip(("x", "scale", "shift"), found, strict=True)

    arrays = {"x": normal(1, 3, 4, 2, 3), "scale": normal(2, 3), "shift": normal(3, 3)}
    return arrays, lambda x, scale, shift: batch_norm(x, scale, shift)[0], backward


def of_batch_norm_in_evaluation():
    mean, inverse = normal(4, 3), np.asarray([0.5, 1.0, 3.0])

    def forward(x, scale, shift):
        return layers.batch_norm(x, scale, shift, mean, inverse)[0]

    def backward(dy, x, scale, shift):
        _, normal_ = layers.batch_norm(x, scale, shift, mean, inverse)
        found = layers.batch_norm_backward(dy, normal_, scale, inverse, 24, None)
        return zip(("x", "scale", "shift"), found, strict=True)

    arrays = {"x": normal(1, 3, 4, 2, 3), "scale": normal(2, 3), "shift": normal(3, 3)}
    return arrays, forward, backward


def of_linear():
    arrays = {"x": normal(1, 4, 3), "w": normal(2, 3, 5), "b": normal(3, 5)}

    def backward(dy, x, w, b):
        return zip("xwb", layers.linear_backward(dy, x, w), strict=True)

    return arrays, lambda x, w, b: layers.linear(x, w, b), backward


def of_one(x, forward, backward):
    return {"x": x}, forward, lambda dy, x: [("x", backward(dy, x))]


def of_relu():
    x = normal(1, 3, 4, 2, 3)
    x += np.copysign(0.1, x)  # further from the kink than the differences reach
    return of_one(
        x, lambda x: layers.relu(x), lambda dy, x: layers.relu_backward(dy, layers.relu(x))
    )


def of_dropout():
    mask = np.where(normal(2, 3, 4, 2, 3) > 0, 2.0, 0.0)
    return of_one(
        normal(1, 3, 4, 2, 3),
        lambda x: layers.dropout(x, mask),
        lambda dy, x: layers.dropout(dy, mask),
    )


def of_normalise():
    mean, std = normal(2, 3), np.asarray([0.2, 0.5, 2.0])
    return of_one(
        normal(1, 2, 3, 4, 5),
        lambda x: layers.normalise(x, mean, std),
        lambda dy, x: layers.normalise_backward(dy, std),
    )


def of_global_mean():
    return of_one(
        normal(1, 3, 4, 2, 3),
        lambda x: layers.global_mean(x),
        lambda dy, x: layers.global_mean_backward(dy, x.shape[:2]),
    )


CASES = {
    **{f"convolution-{g}": (of_convolution, *g) for g in GEOMETRIES},
    **{f"tiles-{m}-{pad}": (of_tiles, m, pad) for m in winograd.TILES for pad in (0, 1)},
    "batch_norm": (of_batch_norm,),
    "batch_norm in evaluation": (of_batch_norm_in_evaluation,),
    "linear": (of_linear,),
    "relu": (of_relu,),
    "dropout": (of_dropout,),
    "normalise": (of_normalise,),
    "global_mean": (of_global_mean,),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradients(case):
    """<dy, y> along a random direction of each array in turn: its slope is <gradient, direction>.

    All but batch normalisation are linear or bilinear, their differences exact at any step; there
    the fourth order leaves h^4 = 1e-12 times a fifth derivative, and rounding 1e-16/h = 1e-13.
    """
    make, *options = case
    arrays, forward, backward = make(*options)
    dy = normal(4, *forward(**arrays).shape)
    found = dict(backward(dy, **arrays))
    assert found.keys() == arrays.keys()
    for number, (name, values) in enumerate(arrays.items()):
        direction = normal(5 + number, *values.shape)
        assert found[name].shape == values.shape

        def along(t, name=name, direction=direction):
            return np.sum(dy * forward(**arrays | {name: arrays[name] + t * direction}))

        slopes = found[name] * direction
        error = abs(np.sum(slopes) - fourth_order(along, 1e-3))
        assert error <= 1e-9 * np.abs(slopes).sum(), name


def test_relu_at_zero():
    """The derivative at 0 is 0, for -0.0 too; of the smallest number it is 1."""
    x = np.asarray([-1.0, -0.0, 0.0, 5e-324, 2.0])
    y = layers.relu(x)
    assert y.tolist() == [0, 0, 0, 5e-324, 2.0]
    assert layers.relu_backward(np.full(5, 3.0), y).tolist() == [0, 0, 0, 3, 3]


def test_dropout_keeps_the_mean():
    """The mean of 10^6 numbers with those dropped, within five deviations of what it was."""
    x, draw = np.ones((25, 20, 200, 10)), batches.Draw(0, "test", 0, 0)
    for rate in (0.1, 0.3, 0.5):
        mask = batches.dropout_mask(draw, slice(0, 200), "one", rate, x)
        assert sorted(set(mask.ravel().tolist())) == pytest.approx([0, 1 / (1 - rate)], rel=1e-4)
        deviation = math.sqrt(rate / (1 - rate) / x.size)  # of the mean of 0 and 1/(1 - rate)
        assert abs(layers.dropout(x, mask).mean() - 1) < 5 * deviation


@given(**SIZES)
def test_adjoint(**sizes):
    """Without bias a convolution is bilinear: <conv(x, w), dy> = <x, dx> = <w, dw>; <b, db> is the
    rest that a bias adds."""
    x, w, b, dy = convolution_case(**sizes)
    geometry = sizes["geometry"][1:]
    dx, dw, db = layers.convolution_backward(dy, x, w, *geometry)
    y = layers.convolution(x, w, 0 * b, *geometry)
    scale = np.abs(y * dy).sum() + np.abs(x * dx).sum() + np.abs(w * dw).sum() + 1
    assert np.sum(x * dx) == pytest.approx(np.sum(y * dy), abs=1e-13 * scale)
    assert np.sum(w * dw) == pytest.approx(np.sum(y * dy), abs=1e-13 * scale)
    biased = layers.convolution(x, w, b, *geometry)
    rest = np.sum(biased * dy) - np.sum(y * dy)
    assert np.sum(b * db) == pytest.approx(rest, abs=1e-12 * scale)


def path(x, w, b, padding, m):
    """A convolution of stride 1, by tiles or by columns."""
    if m is None:
        return layers.plain_convolution(x, w, b, 1, padding)
    return winograd.convolve(x, w, b, padding, m)


def square_case(seed, padding, size):
    x, w, b = normal(seed, 3 + size, 4 + size, 2, 2), normal(seed + 1, 3, 3, 2, 3), normal(seed, 3)
    return x, w, b, padding


SQUARES = {"seed": SEEDS, "padding": st.integers(0, 1), "size": st.integers(0, 5)}


@PATHS
@FEWER
@given(**SQUARES)
def test_flips_and_transposes(m, seed, padding, size):
    """Of the image and of the kernel together are those of the output: correlation knows no
    direction of its own, and the border is the same all around."""
    x, w, b, padding = square_case(seed, padding, size)
    y = path(x, w, b, padding, m)
    close(path(x[::-1].copy(), w[::-1].copy(), b, padding, m), y[::-1], 1e-11)
    close(path(x[:, ::-1].copy(), w[:, ::-1].copy(), b, padding, m), y[:, ::-1], 1e-11)
    x, w = (np.swapaxes(one, 0, 1).copy() for one in (x, w))
    close(path(x, w, b, padding, m), np.swapaxes(y, 0, 1), 1e-11)


@PATHS
@FEWER
@given(down=st.integers(0, 3), across=st.integers(0, 3), **SQUARES)
def test_translations(m, down, across, seed, padding, size):
    """An image that moves over zeros takes its output along, whatever the tiles' grid; where no
    pixel is near the output is the bias."""
    x, w, b, padding = square_case(seed, padding, size)
    height, width = x.shape[:2]
    wide = np.zeros((height + 7, width + 7, *x.shape[2:]))
    moved = wide.copy()
    wide[2 : 2 + height, 2 : 2 + width] = x
    moved[2 + down : 2 + down + height, 2 + across : 2 + across + width] = x
    y, y_moved = (path(one, w, b, padding, m) for one in (wide, moved))
    expected = np.zeros(y.shape) + b
    there = y[: y.shape[0] - down, : y.shape[1] - across]
    expected[down:, across:] = there
    close(y_moved, expected, 1e-11)


@PATHS
@FEWER
@given(order=st.permutations(range(4)), **SQUARES)
def test_samples_and_channels_may_change_places(m, order, seed, padding, size):
    """Samples do not mix; outputs follow the order of the kernels; inputs' order is as good as
    any other."""
    x, w, b = normal(seed, 4, 3 + size, 4, 4), normal(seed + 1, 3, 3, 4, 4), normal(seed, 4)
    y = path(x, w, b, padding, m)
    close(path(x[:, :, order], w, b, padding, m), y[:, :, order], 1e-11)
    close(path(x, w[..., order].copy(), b[order], padding, m), y[..., order], 1e-11)
    close(path(x[..., order].copy(), w[:, :, order].copy(), b, padding, m), y, 1e-11)


@given(seed=SEEDS, data=st.data())
def test_global_mean_knows_no_places(seed, data):
    """Pixels may be permuted; so may samples, whose means are permuted with them."""
    x = normal(seed, 3, 4, 3, 2)
    order = data.draw(st.permutations(range(12)))
    pixels = x.reshape(12, 3, 2)[order].reshape(x.shape)
    close(layers.global_mean(pixels), layers.global_mean(x), 1e-14)
    order = data.draw(st.permutations(range(3)))
    close(layers.global_mean(x[:, :, order]), layers.global_mean(x)[order], 1e-14)


@given(seed=SEEDS, scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_batch_norm_undoes_scale_and_shift(seed, scale, shift):
    """Of a batch, but for epsilon; and its gradient is orthogonal to both."""
    x, dy, one = normal(seed, 4, 4, 3, 2), normal(seed + 1, 4, 4, 3, 2), np.ones(2)
    y, kept = batch_norm(x, one, 0 * one)
    assert batch_norm(scale * x + shift, one, 0 * one)[0] == pytest.approx(y, abs=1e-2)
    close(y.mean(axis=(0, 1, 2)), np.zeros(2), 1e-13)
    dx, *_ = layers.batch_norm_backward(dy, *kept)
    close(dx.sum(axis=(0, 1, 2)), np.zeros(2), 1e-12)
    var = x.var(axis=(0, 1, 2))
    left = (dy * y).sum(axis=(0, 1, 2)) * EPSILON / (var + EPSILON)  # what epsilon leaves
    inner = (dx * (x - x.mean(axis=(0, 1, 2)))).sum(axis=(0, 1, 2))
    close(inner, left, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_are_kept(dtype):
    """And so is the order of axes in memory: the channels last."""
    x, dy, mask = (normal(seed, 8, 8, 4, 8).astype(dtype) for seed in range(3))
    w, b = normal(3, 3, 3, 8, 8).astype(dtype), normal(4, 8).astype(dtype)
    y, kept = batch_norm(x, b, b)
    found = [
        *(layers.convolution(x, w, b, 1, 1), *layers.convolution_backward(dy, x, w, 1, 1)),
        *(layers.convolution(x, w, b, 2, 1), layers.relu(x), layers.relu_backward(dy, y), y),
        *layers.convolution_backward(dy[::2, ::2].copy(), x, w, 2, 1),
        *layers.batch_norm_backward(dy, *kept),
        *(layers.normalise(x, b, b), layers.normalise_backward(dy, b), layers.dropout(x, mask)),
        *(layers.global_mean(x), layers.global_mean_backward(dy[0, 0], (8, 8))),
        *(layers.linear(x[0, 0], w[0, 0], b), *layers.linear_backward(dy[0, 0], x[0, 0], w[0, 0])),
    ]
    assert {one.dtype for one in found} == {np.dtype(dtype)}
    assert all(one.flags.c_contiguous for one in found if one.ndim == 4)


@pytest.mark.parametrize(("size", "padding"), [((2, 5), 0), ((5, 2), 0), ((0, 4), 1)])
def test_images_smaller_than_the_kernel_are_refused(size, padding):
    x = np.zeros((*size, 1, 1))
    with pytest.raises(InputError, match="larger images"):
        layers.convolution(x, np.zeros((3, 3, 1, 1)), np.zeros(1), 1, padding)
