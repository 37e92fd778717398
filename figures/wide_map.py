"""Wide networks (E7) on the plane of the class means: where f and g agree, and the closed forms.

A column a kind of data; above, g learned perturbations alone, below, perturbed samples. The plane
holds the means of both classes; its axes are orthonormal and as close to the two as such can be.
Grey: f and g have not one sign; one of them may be 0, where all its units are off. Thin lines:
where f and g are 0. Broad ones below: where the closed forms are, fhat (W1) and ghat (W3) with what
else g learns of its targets; dotted, ghat alone, which the targets do not enter. Samples are drawn
at their projections, off which they lie far. Each panel is one run with `--plane`, of the released
default if it is there, else the largest.

    python -m reflfap.figures wide_map RESULTS [FOLDER]
"""

from collections.abc import Mapping, Sequence
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
from reflfap.errors import refuse
from reflfap.experiments.experiment import Stored, canonical_json
from reflfap.experiments.wide_config import WideConfig
from reflfap.experiments.wide_plane import GRID
from reflfap.figures import style
from reflfap.figures.wide_curves import DATA, SCENARIOS
from reflfap.runs.store import complete_results, open_result

RESOLUTION = 400  # of f and g, as released
GREY = "#dddddd"
BROAD: dict[str, Any] = {"linewidths": 4.0, "alpha": 0.45}
LOOKS: dict[str, dict[str, Any]] = {
    "fhat": {"colors": "#000000", "linestyles": "-"} | BROAD,
    "ghat_targets": {"colors": "#D55E00", "linestyles": "-"} | BROAD,
    "ghat": {"colors": "#0072B2", "linestyles": ":", "linewidths": 1.8},
    "f": {"colors": "#000000", "linestyles": "-", "linewidths": 1.0},
    "g": {"colors": "#D55E00", "linestyles": "--", "linewidths": 1.0},
}
NAMES = {
    "fhat": "$\\hat f$ = 0",
    "ghat_targets": "$\\hat g$ and targets = 0",
    "ghat": "$\\hat g$ = 0",
    "f": "$f$ = 0",
    "g": "$g$ = 0",
}


class WideMap(NamedTuple):
    """A panel."""

    config: WideConfig
    agreement: float  # on new samples
    axis: dict[str, HostArray]  # of both coordinates, by name of LOOKS
    values: dict[str, HostArray]  # at [second, first coordinate]
    samples: HostArray  # (n, 2)
    labels: HostArray  # (n,)


def compute(result: Stored, resolution: int = RESOLUTION) -> WideMap:
    """The map of a stored cell; InputError for one of another experiment or without its plane."""
    config = result.config_of(WideConfig)
    coarse = result.array("plane/axis", (GRID,))
    fine = np.linspace(coarse[0], coarse[-1], resolution)
    axis, values = {}, {}
    for name in ("fhat", "ghat", "ghat_targets"):
        axis[name], values[name] = coarse, result.array(f"plane/{name}", (GRID, GRID))
    for name in ("f", "g"):
        rows = result.array(f"plane/{name}", (config.hidden, 4))
        net = onehidden.Network(rows[:, :3], rows[:, 3], config.slope)
        at = np.stack([*np.meshgrid(fine, fine), np.ones((resolution, resolution))], axis=2)
        axis[name] = fine
        values[name] = np.stack([onehidden.forward(net, row)[0] for row in at])
    samples, labels = result.array("plane/samples", (-1, 2)), result.array("plane/labels", (-1,))
    return WideMap(config, result.metrics["agreement"], axis, values, samples, labels)


def stored_maps(results: Path) -> dict[tuple[str, str], WideMap]:
    """One a kind of data and a scenario, of the runs that have their plane."""
    best: dict[tuple[str, str], tuple[Any, Path]] = {}
    for config, run in complete_results(results, WideConfig):
        kind: tuple[str, str] = config.data, config.scenario
        options: Any = {"data": config.data, "scenario": config.scenario, "seed": config.seed}
        usual = config == WideConfig(**options)
        rank = usual, config.inputs * config.samples, -config.seed, canonical_json(config)
        if (kind not in best or rank > best[kind][0]) and _has_plane(run.path):
            best[kind] = rank, run.path
    found: dict[tuple[str, str], WideMap] = {}
    for kind, (_, path) in best.items():
        with open_result(path) as result:
            found[kind] = compute(result)
    return found


def _has_plane(path: Path) -> bool:
    with open_result(path) as result:
        return "plane/axis" in result.names()


def draw(maps: Mapping[tuple[str, str], WideMap]) -> Figure:
    """Two rows, a column a kind of data."""
    with plt.rc_context(style.RC):
        figure, rows = plt.subplots(
            len(SCENARIOS), len(DATA), figsize=(7.4, 4.9), layout="constrained"
        )
        for row, scenario in zip(rows, SCENARIOS, strict=True):
            for axes, data in zip(row, DATA, strict=True):
                _panel(axes, maps.get((data, scenario)), f"{DATA[data]};\n{SCENARIOS[scenario]}")
        lines = [
            Line2D(
                [],
                [],
                color=look["colors"],
                linestyle=look["linestyles"],
                linewidth=look["linewidths"],
                alpha=look.get("alpha", 1.0),
            )
            for look in LOOKS.values()
        ]
        dots = [
            Line2D([], [], linestyle="", color=one["color"], marker=one["marker"], markersize=3)
            for one in style.CLASSES.values()
        ]
        names = [*NAMES.values(), *(one["label"] for one in style.CLASSES.values())]
        figure.legend(
            [*lines, *dots, Patch(facecolor=GREY)],
            [*names, "$f$ and $g$ without one sign"],
            loc="outside lower center",
            ncols=4,
        )
    return figure


def _panel(axes: Axes, found: WideMap | None, name: str) -> None:
    axes.set_aspect("equal")
    axes.tick_params(labelsize=6)
    if found is None:
        axes.set(title=name, xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no run yet", transform=axes.transAxes, ha="center")
        return
    fine = found.axis["f"]
    agree = np.sign(found.values["f"]) * np.sign(found.values["g"])
    axes.contourf(fine, fine, agree, [-2, 0, 2], colors=[GREY, "#ffffff"])
    for label, look in style.CLASSES.items():
        s, t = found.samples[found.labels == label].T
        axes.scatter(s, t, s=2, linewidth=0, alpha=0.6, color=look["color"], marker=look["marker"])
    for key, look in LOOKS.items():
        axes.contour(found.axis[key], found.axis[key], found.values[key], [0.0], **look)
    ends = fine[0], fine[-1]
    axes.set(xlim=ends, ylim=ends)
    axes.set_title(f"{name}\n$d$ = {found.config.inputs:,}; agree in {found.agreement:.2f}")


def save(maps: Mapping[tuple[str, str], WideMap], folder: Path) -> Sequence[Path]:
    """Draw into `folder`; InputError where there is nothing to draw."""
    if not maps:
        refuse("results", "a run of E7 with its plane", "none", "run `reflfap run wide --plane`")
    return style.save(draw(maps), folder / "wide_map")
