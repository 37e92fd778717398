"""The odd part of adversarial networks along gradient flow: (L1) and (L2) at all times, by (A1).

Three columns. E1 and two classes of images, perturbed as (P1) says, along the odd part of the
standard network; and the case of E1 that (L4) misses most, L0 at d = 100 with ten times as many
samples, perturbed as released, (P2). Above: of the odd part at the natural samples, towards their
labels, what the mislabelled samples and the perturbations contribute, (L1) with the multipliers
c(t) of (A2), and what the network's outputs at z and -z say. Middle: accuracies of the network, of
either part alone, and at z and -z together, (A3). Below: the even part's share of the variance.
The last column again, with noise that was perturbed against one part of the standard network alone:
circles at the last time. Twenty seconds, 500 MB.

    python -m reflfap.figures.odd_part [FOLDER]
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reflfap import onehidden
from reflfap.attacks import L2
from reflfap.backend import HostArray
from reflfap.data_loaders.images import load
from reflfap.experiments import artificial, images, three_networks
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.images import ImagesConfig
from reflfap.experiments.three_networks import Labelled
from reflfap.figures import style
from reflfap.losses import EXPONENTIAL
from reflfap.onehidden import Network, network
from reflfap.theory import learning
from reflfap.theory.odd_part import (
    even_share,
    mirrored_accuracy,
    odd_and_even,
    odd_course,
    odd_direction,
)
from reflfap.theory.perturbations import direction, perturbations

WHITE = ArtificialConfig(
    dim=1_000, hidden=50, n=300, n_adv=600, epsilon=0.39, epochs=100_000, dtype="float64"
)
CLOTHES = ImagesConfig(
    classes=("0", "6"), hidden=50, n=200, n_adv=600, epsilon=1.4, dtype="float64"
)
OUTLIER = ArtificialConfig(norm="l0", dim=100, hidden=50, n=1_000, n_adv=2_000, dtype="float64")
TIMES = tuple(np.geomspace(1e-2, 1e6, 9))

PARTS: dict[str, dict[str, Any]] = {  # of the odd part, and how they are drawn
    "perturbations": {"color": "#D55E00", "linestyle": "--"},
    "mislabelled samples": {"color": "#0072B2", "linestyle": ":"},
    "sum with start, (L1)": {"color": "black", "linestyle": "-"},
}
ACCURACIES: dict[str, dict[str, Any]] = {
    "accuracy of the network": {"color": "black", "linestyle": "-"},
    "of its odd part alone": {"color": "#D55E00", "linestyle": "--", "marker": "o"},
    "of its even part alone": {"color": "#0072B2", "linestyle": ":", "marker": "s"},
    "of the network, at z and −z": {"color": "#777777", "linestyle": "-.", "marker": "x"},
}


class Course(NamedTuple):
    """A column: what is drawn, one entry a time."""

    parts: HostArray  # (times, 3) means towards the labels, by PARTS
    outputs: HostArray  # (times,) the same of (f(z) - f(-z))/2
    second: HostArray  # (times,) of (L2); NaN where perturbations are not those of (P1)
    error: float  # largest difference of (L1) to the outputs, of the largest odd output
    accuracy: HostArray  # (times, 4), by ACCURACIES
    share: HostArray  # (times,)


class Figures(NamedTuple):
    """All columns, and the accuracies at the last time after attacks on one part alone."""

    courses: dict[str, Course]  # by title
    odd_only: HostArray  # (4,), by ACCURACIES, of the last column
    even_only: HostArray  # (4,)
    predicted: float  # (L4) there


def compute(
    white: ArtificialConfig = WHITE,
    clothes: ImagesConfig = CLOTHES,
    outlier: ArtificialConfig = OUTLIER,
    times: Sequence[float] = TIMES,
) -> Figures:
    """Train and follow the networks of all columns."""
    pixels = images.prepare(clothes, images.two_classes(clothes, load))
    courses = {
        _title("uniform noise, L2 (P1)", white): _geometric(
            white, artificial.natural(white), artificial.noise(white), times
        ),
        _title("embedded images, L2 (P1)", clothes): _geometric(
            clothes, pixels.natural, pixels.source, times
        ),
    }
    natural, noise = artificial.natural(outlier), artificial.noise(outlier)
    standard = three_networks.train(outlier, "standard", *natural).net
    ends = []
    for net in (standard, *parts_as_networks(standard)):
        eta = three_networks.attacked(outlier, net, *noise, (-1.0, 1.0)).x - noise.x
        at = times if net is standard else times[-1:]
        ends.append(_course(outlier, natural, noise, eta, at))
    courses[_title("uniform noise, L0 as released", outlier)] = ends[0]
    odd_only, even_only = (one.accuracy[-1] for one in ends[1:])
    return Figures(courses, odd_only, even_only, artificial.predicted(outlier))


def parts_as_networks(net: Network) -> tuple[Network, Network]:
    """Networks that are multiples of the odd and of the even part of `net`.

    phi(u) - phi(-u) = (1 + gamma) u, phi(u) + phi(-u) = (1 - gamma) |u|.
    """
    s, half = odd_direction(net), len(net.W) // 2
    plus, minus = net.W[:half], net.W[half:]
    odd = network(np.stack([s, -s]), net.slope)
    return odd, network(np.concatenate([plus, -plus, minus, -minus]), net.slope)


def _geometric(
    config: ArtificialConfig | ImagesConfig,
    natural: Labelled,
    source: Labelled,
    times: Sequence[float],
) -> Course:
    """Perturbed along the odd part of the standard network, (P1)."""
    standard = three_networks.train(config, "standard", *natural).net
    v = direction(L2(config.size), odd_direction(standard))
    return _course(config, natural, source, perturbations(v, source.y), times, v)


def _course(
    config: ArtificialConfig | ImagesConfig,
    natural: Labelled,
    source: Labelled,
    eta: HostArray,
    times: Sequence[float],
    v: HostArray | None = None,
) -> Course:
    """Follow the adversarial network, and look at it at the natural samples."""
    z, y = natural
    start = three_networks.initial_network(config, "adversarial")
    rows, error, factor = [], 0.0, (1 + config.slope) / 2
    for one in odd_course(start, source.x + eta, source.y, EXPONENTIAL, times):
        effects = learning.effects(source.x, eta, source.y, one.c, z)
        whole = factor * (z @ odd_direction(start) + effects.total)
        here, there = (onehidden.forward(one.net, points)[0] for points in (z, -z))
        error = max(error, np.abs(whole - (here - there) / 2).max() / np.abs(whole).max())
        second = np.full(len(y), np.nan)
        if v is not None:
            second = factor * learning.perturbation_effect(v, float(one.c.sum()), z)
        means = [factor * effects.perturbations, factor * effects.samples, whole]
        parts = odd_and_even(one.net, z)
        right = [np.mean(y * part > 0) for part in (here, parts.odd, parts.even)]
        rows.append(
            [
                *(np.mean(y * part) for part in (*means, (here - there) / 2, second)),
                *(*right, mirrored_accuracy(parts, y), even_share(parts)),
            ]
        )
    table = np.asarray(rows)
    return Course(table[:, :3], table[:, 3], table[:, 4], float(error), table[:, 5:9], table[:, 9])


def _title(what: str, config: ArtificialConfig | ImagesConfig) -> str:
    sizes = f"$d$ = {config.inputs}, $N$ = {config.n}, $N_{{adv}}$ = {config.n_adv}"
    return f"{what}\n{sizes}"


def draw(data: Figures, times: Sequence[float] = TIMES) -> Figure:
    """Three rows of panels over one time axis, a column a course, legends above and below."""
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(
            3, len(data.courses), figsize=(7.0, 6.4), sharex=True, layout="constrained"
        )
        for column, (title, course) in zip(panels.T, data.courses.items(), strict=True):
            _draw_parts(column[0], times, course)
            for name, values in zip(ACCURACIES, course.accuracy.T, strict=True):
                column[1].plot(times, values, markersize=3, label=name, **ACCURACIES[name])
            column[1].axhline(0.5, color="#bbbbbb", linewidth=0.6, zorder=0)
            column[1].set_ylim(0.2, 1.02)
            column[2].plot(times, course.share, color="black", marker=".", markersize=4)
            column[2].set(yscale="log", ylim=(5e-3, 1.3))
            column[2].yaxis.set_major_formatter(PercentFormatter(1))
            column[0].set_title(f"{title}\n(L1) is within {course.error:.0e} of the outputs")
        panels[0, 0].set(xscale="log", ylabel="odd part at natural samples,\nmean towards labels")
        panels[1, 0].set_ylabel("accuracy on\nnatural samples")
        panels[2, 0].set_ylabel("even part's share\nof the variance")
        panels[2, 1].set_xlabel("gradient-flow time t")
        _draw_single_parts(panels[1, -1], times[-1], data)
        for row, side in ((0, "upper"), (1, "lower")):
            handles, labels = panels[row, -1].get_legend_handles_labels()
            place: dict[str, Any] = {
                "loc": f"outside {side} center",
                "ncols": 5 - 2 * row,
                "columnspacing": 1.2,
            }
            figure.legend(handles, labels, **place)
    return figure


def _draw_parts(axes: Axes, times: Sequence[float], course: Course) -> None:
    """The means of (L1), and on them what the outputs and (L2) say."""
    for name, values in zip(PARTS, course.parts.T, strict=True):
        axes.plot(times, values, label=name, **PARTS[name])
    marks: dict[str, Any] = {
        "fillstyle": "none",
        "color": "black",
        "linestyle": "none",
        "markersize": 4.5,
    }
    axes.plot(times, course.outputs, marker="o", label="(f(z) − f(−z))/2", **marks)
    axes.plot(times, course.second, marker="D", label="perturbations by (L2)", **marks)


def _draw_single_parts(axes: Axes, time: float, data: Figures) -> None:
    """What the last network would be if one part of the standard one had been attacked."""
    for value, marker, name in (
        (data.odd_only[0], "v", "odd part attacked alone"),
        (data.even_only[0], "^", "even part attacked alone"),
    ):
        look: dict[str, Any] = {
            "color": "black",
            "linestyle": "none",
            "markersize": 5,
            "fillstyle": "none",
        }
        axes.plot(time, value, marker=marker, label=name, **look)
    axes.axhline(
        data.predicted, color="#009E73", linewidth=0.8, linestyle=(0, (1, 2)), label="(L4)"
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "odd_part"), sep="\n")
