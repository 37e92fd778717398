"""Decision map of E1: what the three networks say in the plane of the standard network's means.

The plane is spanned by v and u, the mean weight vectors of the units with positive and negative
output weight, each normalised. Its axes are orthonormal and as close to v and u as two such can be,
so that lengths and angles are true; v and u themselves are drawn as arrows, for they are oblique.
The released maps take v and u as axes instead, which shows their angle as a right one. A sample is
drawn at its orthogonal projection onto the plane, a boundary where a network's output is zero on
the plane itself. Samples lie far off the plane, so one on the wrong side of a line need not be an
error, nor one on the right side be right: the accuracies are those in all dimensions.

    python -m reflfap.figures.decision_map RESULT [FOLDER]
"""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reflfap import onehidden
from reflfap.backend import HostArray
from reflfap.data_loaders.artificial import DISTRIBUTIONS
from reflfap.experiments.cell import CellConfig
from reflfap.experiments.experiment import Inputs, Stored
from reflfap.experiments.plane import half_width
from reflfap.experiments.three_networks import NETWORKS
from reflfap.figures import style
from reflfap.figures.sweeps import NORMS
from reflfap.runs.store import open_result

HALF_WIDTH = 3.6  # for uniform data; for others in proportion to their standard deviation
RESOLUTION = 341
GREY = "#e8e8e8"  # where the standard network says -1


class Plane(NamedTuple):
    """Networks and samples on a plane, as experiments.plane puts them there."""

    weights: Mapping[str, HostArray]  # (m, 2) by network
    samples: HostArray  # (n, 2)
    labels: HostArray  # (n,)
    directions: HostArray  # (2, 2) v and u


class DecisionMap(NamedTuple):
    """The data of the picture."""

    axis: HostArray  # (resolution,) of both coordinates
    outputs: dict[str, HostArray]  # by network, f / max |f| at [second, first coordinate]
    samples: HostArray  # (n, 2) coordinates of the projected natural samples
    labels: HostArray  # (n,)
    directions: HostArray  # (2, 2) coordinates of v and of u


def compute(result: Stored, resolution: int = RESOLUTION) -> DecisionMap:
    """The decision map of a stored cell of E1; InputError for a result of another experiment."""
    config = result.config_of(CellConfig)
    weights = {name: result.array(f"plane/{name}", (config.hidden, 2)) for name in NETWORKS}
    samples, labels = result.array("plane/samples", (-1, 2)), result.array("plane/labels", (-1,))
    directions, edge = result.array("plane/directions", (2, 2)), None
    if known := DISTRIBUTIONS.get(getattr(config, "data", "")):
        edge = HALF_WIDTH * math.sqrt(3 * known.variance)
    plane = Plane(weights, samples, labels, directions)
    return on_plane(plane, config.slope, edge, resolution)


def on_plane(
    plane: Plane, slope: float, edge: float | None = None, resolution: int = RESOLUTION
) -> DecisionMap:
    """What networks of this leaky slope say on the plane, up to `edge` each way; by default as far
    as all but a hundredth of the samples lie, and a quarter more."""
    if edge is None:
        edge = half_width(plane.samples)
    axis = np.linspace(-edge, edge, resolution)
    outputs = {}
    for name, weights in plane.weights.items():
        net = onehidden.network(weights, slope)
        rows = (np.stack([axis, np.full(resolution, t)], axis=1) for t in axis)
        f = np.stack([onehidden.forward(net, row)[0] for row in rows])
        outputs[name] = f / (np.abs(f).max() or 1.0)
    return DecisionMap(axis, outputs, plane.samples, plane.labels, plane.directions)


def draw(result: Stored) -> Figure:
    """The picture of a stored cell, at column width."""
    config = result.config_of(CellConfig)
    accuracies = {name: result.metrics[f"acc_{name}"] for name in NETWORKS}
    about = (
        f"$d$ = {config.inputs}, $N$ = {config.n}, $N_{{adv}}$ = {config.n_adv}, "
        f"{NORMS[config.norm]}, ε = {config.size:.3g}"
    )
    ends = [result.attributes.get(f"class_{sign}") for sign in ("negative", "positive")]
    classes = (str(ends[0]), str(ends[1])) if all(ends) else None
    return picture(compute(result), accuracies, about, classes)


def picture(
    data: DecisionMap,
    accuracies: Mapping[str, float],
    about: str,
    classes: tuple[str, str] | None = None,
) -> Figure:
    """The picture of a map, with the accuracies of its networks and a line about it; `classes` are
    the names of labels -1 and +1."""
    with plt.rc_context(style.RC):
        figure, axes = plt.subplots(figsize=(3.5, 4.4), layout="constrained")
        backdrop(axes, data, classes=classes)
        for name in data.outputs:
            label = f"{name} ({accuracies[name]:.2f})"
            boundary(axes, data, name, style.NETWORKS[name] | {"label": label})
        for name, (s, t) in zip("vu", data.directions, strict=True):
            axes.annotate("", (s, t), (0, 0), arrowprops={"arrowstyle": "->", "shrinkB": 0})
            axes.text(1.25 * s, 1.25 * t, name, style="italic", ha="center", va="center")
        name_axes(axes)
        axes.set_title(f"Decision boundaries (and accuracy on natural data)\n{about}")
        legend(figure, axes)
    return figure


def backdrop(
    axes: Axes, data: DecisionMap, size: float = 9, classes: tuple[str, str] | None = None
) -> None:
    """What the standard network says where, and the projected samples on it."""
    regions = np.sign(data.outputs["standard"])
    axes.contourf(data.axis, data.axis, regions, [-2, 0, 2], colors=[GREY, "#ffffff"])
    for label, marker in style.CLASSES.items():
        s, t = data.samples[data.labels == label].T
        width = 0.1 * np.sqrt(size)
        look = marker | ({"label": classes[label > 0]} if classes else {})
        axes.scatter(s, t, s=size, linewidth=width, edgecolor="black", alpha=0.75, **look)
    axes.set_aspect("equal")
    limits = data.axis[0], data.axis[-1]
    axes.set(xlim=limits, ylim=limits)


def boundary(axes: Axes, data: DecisionMap, name: str, look: Mapping[str, Any]) -> None:
    """The line on which a network's output is zero; its look may have a label."""
    lines = {f"{key}s": value for key, value in look.items() if key != "label"}
    axes.contour(data.axis, data.axis, data.outputs[name], [0.0], **lines)
    axes.plot([], [], **look)


def name_axes(axes: Axes) -> None:
    """What the coordinates are."""
    axes.set_xlabel("axis next to $v$, the mean weight of positive units")
    axes.set_ylabel("axis next to $u$, the mean weight of negative units")


def legend(figure: Figure, axes: Axes) -> None:
    """Below the axes, a column each: networks; classes, and what the grey half is."""
    handles, names = axes.get_legend_handles_labels()
    classes = len(style.CLASSES)
    lines, points = handles[classes:], handles[:classes]
    points.append(Patch(facecolor=GREY))
    said = [*names[:classes], f"standard says {names[1].removeprefix('label ')}"]
    empty = [Line2D([], [], linestyle="")] * (len(lines) - len(points))
    figure.legend(
        [*lines, *points, *empty],
        [*names[classes:], *said, *("" for _ in empty)],
        loc="outside lower center",
        ncols=2,
        handlelength=2.6,
    )


def save(result: Stored, folder: Path) -> list[Path]:
    """Draw into `folder`; returns the paths of the PNG and the PDF."""
    return style.save(draw(result), folder / "decision_map")


def save_run(result: Stored, inputs: Inputs, folder: Path) -> list[Path]:
    """Draw a run; its result holds all that is shown."""
    return save(result, folder)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m reflfap.figures.decision_map RESULT [FOLDER]")
    source = Path(sys.argv[1])
    with open_result(source) as opened:
        print(*save(opened, Path(sys.argv[2]) if len(sys.argv) == 3 else source.parent), sep="\n")
