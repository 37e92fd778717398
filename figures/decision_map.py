"""Decision map of E1: what the three networks say in the plane of the standard network's means.

The plane is spanned by v and u, the mean weight vectors of the units with positive and negative
output weight, each normalised. Its axes are orthonormal and as close to v and u as two such can be,
so that lengths and angles are true; v and u themselves are drawn as arrows. A sample is drawn at
its orthogonal projection onto the plane, a boundary where a network's output is zero on the plane
itself. Samples lie far off the plane, so one on the wrong side of a line need not be an error.

    python -m figures.decision_map RESULT [FOLDER]
"""

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from reflfap import onehidden
from reflfap.backend import HostArray
from reflfap.config import ArtificialConfig
from reflfap.experiments import cell
from reflfap.store import Result, open_result

HALF_WIDTH = 3.4
RESOLUTION = 341


class DecisionMap(NamedTuple):
    """The data of the picture."""

    axis: HostArray  # (RESOLUTION,) of both coordinates
    outputs: dict[str, HostArray]  # by network, f / max |f| at [second, first coordinate]
    samples: HostArray  # (n, 2) coordinates of the projected natural samples
    labels: HostArray  # (n,)
    directions: HostArray  # (2, 2) coordinates of v and of u


def compute(result: Result) -> DecisionMap:
    """The decision map of a stored cell of E1; InputError for a result of another experiment."""
    config = result.config_of(ArtificialConfig)
    axis = np.linspace(-HALF_WIDTH, HALF_WIDTH, RESOLUTION)
    s, t = np.meshgrid(axis, axis)
    points = np.stack([s.ravel(), t.ravel()], axis=1)
    outputs = {}
    for name in cell.NETWORKS:
        W = result.array(f"plane/{name}", (config.hidden, 2))
        f = onehidden.forward(onehidden.network(W, config.slope), points)[0].reshape(s.shape)
        outputs[name] = f / np.abs(f).max()
    samples, labels = result.array("plane/samples", (-1, 2)), result.array("plane/labels", (-1,))
    return DecisionMap(axis, outputs, samples, labels, result.array("plane/directions", (2, 2)))


def draw(result: Result) -> Figure:
    """The picture, at column width."""
    data = compute(result)
    with plt.rc_context(style.RC):
        figure, axes = plt.subplots(figsize=(3.5, 4.4), layout="constrained")
        regions = np.sign(data.outputs["standard"])
        axes.contourf(data.axis, data.axis, regions, [-2, 0, 2], colors=["#e8e8e8", "#ffffff"])
        for label, marker in style.CLASSES.items():
            s, t = data.samples[data.labels == label].T
            axes.scatter(s, t, s=9, linewidth=0.3, edgecolor="black", alpha=0.75, **marker)
        for name, look in style.NETWORKS.items():
            lines = {f"{key}s": value for key, value in look.items()}
            axes.contour(data.axis, data.axis, data.outputs[name], [0.0], **lines)
            accuracy = result.metrics[f"acc_{name}"]
            axes.plot([], [], label=f"{name} ({accuracy:.2f})", **look)
        for name, (s, t) in zip("vu", data.directions, strict=True):
            axes.annotate("", (s, t), (0, 0), arrowprops={"arrowstyle": "->", "shrinkB": 0})
            axes.text(1.25 * s, 1.25 * t, name, style="italic", ha="center", va="center")
        _label(axes, result)
        handles, names = axes.get_legend_handles_labels()
        classes = len(style.CLASSES)  # networks first, so that each kind has its own column
        figure.legend(
            handles[classes:] + handles[:classes],
            names[classes:] + names[:classes],
            loc="outside lower center",
            ncols=2,
            handlelength=2.6,
        )
    return figure


def _label(axes: Axes, result: Result) -> None:
    axes.set_aspect("equal")
    axes.set(xlim=(-HALF_WIDTH, HALF_WIDTH), ylim=(-HALF_WIDTH, HALF_WIDTH))
    axes.set_xlabel("towards $v$, the mean weight of positive units")
    axes.set_ylabel("towards $u$, the mean weight of negative units")
    config = result.config_of(ArtificialConfig)
    axes.set_title(
        "Decision boundaries (and accuracy on natural data)\n"
        f"$d$ = {config.dim}, $N$ = {config.n}, $N_{{adv}}$ = {config.n_adv}, "
        f"{config.norm}, ε = {config.size:.3g}"
    )


def save(result: Result, folder: Path) -> list[Path]:
    """Draw into `folder`; returns the paths of the PNG and the PDF."""
    figure = draw(result)
    paths = style.save(figure, folder / "decision_map")
    plt.close(figure)
    return paths


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m figures.decision_map RESULT [FOLDER]")
    source = Path(sys.argv[1])
    with open_result(source) as opened:
        print(*save(opened, Path(sys.argv[2]) if len(sys.argv) == 3 else source.parent), sep="\n")
