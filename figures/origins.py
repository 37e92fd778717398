"""Where perturbations come from: four explanations (docs/origins.md), each derived and measured.

Top left: distances of samples to the boundary of the aligned KKT point, for more and more samples,
with the bounds under (R1); beside half the distance to the nearest sample of the other label. Top
right: on MNIST's 3 and 7, centred, the squared gradient of f, and its part at the pixels that never
change, which is that of the initial weights. Bottom left: the stable rank of W along gradient flow
from three sizes of the initial weights, and by the line of (C2). Bottom right: singular values of
C, W = W0 + C X, of the same trainings: two grow, and the rest stay. 50 seconds,
300 MB; needs MNIST.

    python -m reflfap.figures.origins [FOLDER]
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap.backend import HostArray
from reflfap.checks import filled_in
from reflfap.data_loaders.artificial import DISTRIBUTIONS, labels, samples
from reflfap.data_loaders.image_set import ImageSet
from reflfap.data_loaders.images import load
from reflfap.errors import InputError
from reflfap.experiments import artificial, images
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.images import ImagesConfig
from reflfap.experiments.three_networks import initial_network
from reflfap.figures import style
from reflfap.losses import EXPONENTIAL
from reflfap.onehidden import margin_gradient
from reflfap.rng import stream
from reflfap.theory import origins
from reflfap.theory.boundary import normal
from reflfap.theory.kkt import aligned_kkt
from reflfap.theory.rate import aligned_for_good, asymptote, weights_at
from reflfap.training.flow import flow

SLOPE = 0.5  # where the aligned point exists
DIM = 20_000
NUMBERS = (2, 4, 8, 16, 32, 64, 128, 256)
DRAWS = 5
DIGITS = ImagesConfig(
    dataset="mnist", classes=("3", "7"), hidden=200, n=1_000, n_adv=1, centre=True, dtype="float64"
)
DIGIT_TIMES = tuple(np.geomspace(1e-2, 1e4, 13))
LINE = ArtificialConfig(dim=4_000, hidden=100, n=20, n_adv=1, slope=SLOPE, dtype="float64")
LINE_TIMES = tuple(np.geomspace(1e-2, 1e30, 65))
SIZES: dict[float, dict[str, Any]] = {  # of the initial weights, in units of the released ones
    1.0: {"color": "#000000", "linestyle": "-"},
    0.1: {"color": "#0072B2", "linestyle": "-."},
    0.01: {"color": "#009E73", "linestyle": ":"},
}
TOLERANCE = 0.003
PREDICTED: dict[str, Any] = {"color": "#D55E00", "linestyle": "--", "linewidth": 1.2}


class Distances(NamedTuple):
    """By number of samples and draw, (K, S), in units of the root mean square norm."""

    least: HostArray  # of D_n
    largest: HostArray
    low: HostArray  # bounds under (R1), NaN without
    high: HostArray
    first_order: HostArray  # mean of 1/||grad f(x_n)||
    other: HostArray  # half of the least distance between samples of unlike labels


class Gradients(NamedTuple):
    """By seed and time, (S, T): means over training samples of squared lengths."""

    whole: HostArray  # ||grad f||^2
    outside: HostArray  # the part at pixels that never change
    expected: HostArray  # of that part, by the share of units that are on
    left_out: HostArray  # (S,) number of those pixels


class Course(NamedTuple):
    """Of one size of the initial weights, along time."""

    stable_rank: HostArray  # (T,)
    line: HostArray  # (T,) by (C2), NaN before it is proved
    bounds: HostArray  # (T, 2) of that
    singular: HostArray  # (T, N) of C
    residuals: HostArray  # (T, 2) what the rows of W - W0 leave of training and of fresh samples


class Origins(NamedTuple):
    """The four panels, and what they are drawn over."""

    numbers: Sequence[int]
    dim: int
    digit_times: Sequence[float]
    line: ArtificialConfig
    times: Sequence[float]
    distances: Distances
    gradients: Gradients
    courses: dict[float, Course]
    limit: float  # stable rank of W*
    limit_residuals: HostArray  # (2,) what the rows of W* leave


def compute(
    numbers: Sequence[int] = NUMBERS,
    draws: int = DRAWS,
    dim: int = DIM,
    digits: ImagesConfig = DIGITS,
    digit_times: Sequence[float] = DIGIT_TIMES,
    line: ArtificialConfig = LINE,
    times: Sequence[float] = LINE_TIMES,
    read: Callable[[str, str], ImageSet] = load,
) -> Origins:
    """All four panels. Raises InputError where the digits are not there."""
    pair = images.two_classes(digits, read)
    shown = [_gradients(digits, pair, seed, digit_times) for seed in range(draws)]
    gradients = Gradients(*(np.asarray(part) for part in zip(*shown, strict=True)))
    table = [[_distances(dim, n, seed) for seed in range(draws)] for n in numbers]
    distances = Distances(*np.moveaxis(np.asarray(table), 2, 0))
    x, y = artificial.natural(line)
    W = aligned_kkt(x, y, line.hidden, line.slope).net.W
    fresh = artificial.noise(replace(line, n_adv=500)).x
    return Origins(
        numbers,
        dim,
        digit_times,
        line,
        times,
        distances,
        gradients,
        {size: _course(line, size, times, fresh) for size in SIZES},
        origins.aligned_stable_rank(W[0], W[-1]),
        _left_over(W, x, fresh),
    )


def _distances(dim: int, n: int, seed: int) -> tuple[float, ...]:
    """Distances of one draw, by the fields of `Distances`."""
    x = samples("uniform", n, dim, stream(seed, "natural/x"), "float64")
    y = labels(n, stream(seed, "natural/y"), "float64")
    y[:2] = 1, -1  # two samples of one label have no other
    point, norm = aligned_kkt(x, y, 2, SLOPE), np.sqrt(dim * DISTRIBUTIONS["uniform"].variance)
    found = origins.boundary_distances(normal(x, y, point.lam), x)
    try:
        bounds = origins.boundary_distance_bounds(x, SLOPE)
    except InputError:  # (R1) does not hold
        bounds = (np.nan, np.nan)
    gradient = margin_gradient(point.net, x, y)[1]
    first = np.mean(1 / np.linalg.norm(gradient, axis=1))
    squares = (x * x).sum(axis=1)
    between = squares[y > 0, None] + squares[y < 0] - 2 * x[y > 0] @ x[y < 0].T
    parts = found.min(), found.max(), *bounds, first, np.sqrt(between.min()) / 2
    return tuple(float(one / norm) for one in parts)


def _gradients(
    config: ImagesConfig, pair: images.ClassPair, seed: int, times: Sequence[float]
) -> tuple[HostArray, HostArray, HostArray, int]:
    """Squared gradients of one seed along time, by the fields of `Gradients`."""
    own = replace(config, seed=seed)
    x, y = images.prepare(own, pair).natural
    dead = np.ptp(x, axis=0) == 0
    net, now, rows = initial_network(own, "standard"), 0.0, []
    for time in times:
        net, now = flow(net, x, y, EXPONENTIAL, time=time - now).net, time
        square = margin_gradient(net, x, y)[1] ** 2
        on = np.mean(net.W @ x.T > 0, axis=0)
        expected = origins.expected_off_span_gradient(int(dead.sum()), x.shape[1], on, own.slope)
        parts = square.sum(axis=1), square[:, dead].sum(axis=1), expected
        rows.append([one.mean() for one in parts])
    whole, outside, expected = np.asarray(rows).T
    return whole, outside, expected, int(dead.sum())


def _course(
    config: ArtificialConfig, size: float, times: Sequence[float], fresh: HostArray
) -> Course:
    """Follow the standard network from initial weights of that size."""
    x, y = artificial.natural(config)
    start = initial_network(config, "standard")
    start = start._replace(W=size * start.W)
    net, now, C, line, rows = start, 0.0, np.zeros((config.hidden, config.n)), None, []
    for time in times:
        trained = flow(net, x, y, EXPONENTIAL, time=time - now, tolerance=TOLERANCE)
        net, now = trained.net, time
        C += filled_in("C", trained.C)
        if line is None and np.all((net.W @ x.T) * net.a[:, None] * y > 0):
            line = asymptote(net, x, y) if aligned_for_good(net, x, y, now) else None
        known = [np.nan] * 3
        if line is not None:
            known = [origins.stable_rank(weights_at(line, now))]
            known += origins.stable_rank_bounds(line, now)
        values = np.linalg.svd(C, compute_uv=False)
        left = _left_over(net.W - start.W, x, fresh)
        rows.append([origins.stable_rank(net.W), *known, *left, *values])
    table = np.asarray(rows)
    return Course(table[:, 0], table[:, 1], table[:, 2:4], table[:, 6:], table[:, 4:6])


def _left_over(rows: HostArray, x: HostArray, fresh: HostArray) -> HostArray:
    """The mean length, relative to the sample's, of what the span of `rows` leaves of x, fresh."""
    basis = origins.row_basis(rows)
    return np.asarray(
        [
            np.mean(np.linalg.norm(origins.off_span(basis, z), axis=1) / np.linalg.norm(z, axis=1))
            for z in (x, fresh)
        ]
    )


def draw(data: Origins) -> Figure:
    """Two rows of two panels, a legend or labels in each."""
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(2, 2, figsize=(7.0, 5.6), layout="constrained")
        for axes in panels.flat:
            axes.set(xscale="log", yscale="log", xlabel="gradient-flow time t")
        _draw_distances(panels[0, 0], data)
        _draw_gradients(panels[0, 1], data.digit_times, data.gradients)
        _draw_stable_ranks(panels[1, 0], data)
        _draw_singular_values(panels[1, 1], data)
    return figure


def _draw_distances(axes: Axes, data: Origins) -> None:
    numbers, found = data.numbers, data.distances
    looks: Any = (
        (found.other, "half-way to the other label", {"color": "#777777", "marker": "x"}),
        (found.first_order, r"$1/||\nabla f||$", {"color": "#0072B2", "marker": "s"}),
    )
    for values, name, look in looks:
        axes.plot(numbers, values.mean(axis=1), label=name, linestyle=":", markersize=4, **look)
    low, high = found.low.min(axis=1), found.high.max(axis=1)
    axes.fill_between(numbers, low, high, color="#cccccc", linewidth=0, label="bounds under (R1)")
    axes.plot(numbers, np.asarray(numbers, float) ** -0.5, label=r"$1/\sqrt{N}$", **PREDICTED)
    least, largest = found.least.min(axis=1), found.largest.max(axis=1)
    axes.vlines(numbers, least, largest, color="black", linewidth=1.6, label="all samples")
    axes.plot(numbers, (least + largest) / 2, "_", color="black", markersize=5)
    axes.set(xlabel="number of samples $N$", ylim=(0.022, 1))
    axes.set_xticks(numbers, [str(n) for n in numbers])
    axes.set_yticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
    axes.minorticks_off()
    axes.set_ylabel("distance to the boundary\nin units of a sample's norm")
    sizes = f"{found.least.shape[1]} draws, $d$ = {data.dim:,}, $\\gamma$ = {SLOPE}"
    axes.set_title(f"1. KKT point, uniform samples\n{sizes}")
    axes.legend(loc="lower left")


def _draw_gradients(axes: Axes, times: Sequence[float], data: Gradients) -> None:
    for values, name, color in (
        (data.whole, "whole", "#000000"),
        (data.outside, "outside the data's span", "#0072B2"),
    ):
        axes.plot(times, values.mean(axis=0), label=name, color=color)
        ends = values.min(axis=0), values.max(axis=0)
        axes.fill_between(times, *ends, color=color, alpha=0.25, linewidth=0)
    axes.plot(times, data.expected.mean(axis=0), label="outside, expected", **PREDICTED)
    axes.set_ylabel("squared gradient of f\n(1/squared pixel unit)")
    few, many = data.left_out.min(), data.left_out.max()
    axes.set_title(
        f"2. Two classes of digits, centred, {len(data.left_out)} seeds:\n"
        f"{few} to {many} pixels never change"
    )
    axes.legend(loc="upper left")


def _draw_stable_ranks(axes: Axes, data: Origins) -> None:
    names: dict[str, Any] = {"line": "by (C2)", "bounds": "bounds of it"}
    for size, course in data.courses.items():
        axes.plot(data.times, course.stable_rank, label=f"start × {size:g}", **SIZES[size])
        look: dict[str, Any] = PREDICTED | {"linewidth": 2.2, "alpha": 0.7}
        axes.plot(data.times, course.line, label=names.pop("line", None), **look)
        look = {"color": "#dddddd", "linewidth": 0, "zorder": 0}
        axes.fill_between(data.times, *course.bounds.T, label=names.pop("bounds", None), **look)
    axes.axhline(data.limit, color="#777777", linewidth=0.8, label="KKT point")
    axes.set(ylabel="stable rank of W", ylim=(0.9, 1.2 * data.line.hidden))
    axes.set_title(
        f"3. $d$ = {data.line.dim:,}, $N$ = {data.line.n}, $m$ = {data.line.hidden}, "
        f"$\\gamma$ = {data.line.slope},\nthree sizes of the initial weights"
    )
    axes.legend(loc="upper right")


def _draw_singular_values(axes: Axes, data: Origins) -> None:
    for size, course in data.courses.items():
        color = SIZES[size]["color"]
        axes.plot(data.times, course.singular[:, :2], linewidth=1.0, **SIZES[size])
        axes.plot(data.times, course.singular[:, 2:], linewidth=0.4, color=color)
        place = data.times[-1], 1.2 * course.singular[-1, 2]
        name = f"start × {size:g}: {course.singular.shape[1] - 2} others"
        axes.text(*place, name, ha="right", color=color)
    axes.set_ylabel("singular values of C\n(1/squared data unit)")
    axes.set_title("4. The same trainings: two singular values\ngrow like log t, the others stay")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "origins"), sep="\n")
