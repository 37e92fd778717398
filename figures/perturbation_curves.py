"""Accuracy on clean test images by epoch of networks that learned perturbed ones (E2).

One picture a data set, one panel a scenario that has runs, one line a norm: the mean over seeds, in
a band from the least to the most. Grey dots: the control, which learned the same samples
unperturbed with the same targets. Thin line: chance. The grey strip beyond the last epoch has no
time: its marks are what the released code reached, in the colour of their norm. A filled diamond is
its best epoch, an open one its last; a circle is an epoch that the published plot does not name.

    python -m reflfap.figures perturbation_curves RESULTS [FOLDER]
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reflfap.backend import HostArray
from reflfap.errors import refuse
from reflfap.experiments.perturb_config import SCENARIOS
from reflfap.figures import style
from reflfap.figures.perturbation import (
    CHANCE,
    LOOKS,
    TITLES,
    DeepCell,
    Setting,
    foremost,
    of_dataset,
    title,
)
from reflfap.figures.perturbation_released import Released, comparable
from reflfap.figures.sweeps import NORMS

CONTROL: dict[str, Any] = {"color": "#777777", "linestyle": ":"}
RELEASED: dict[str, dict[str, Any]] = {  # by epoch
    "best": {"marker": "D", "fillstyle": "full", "label": "released, best epoch"},
    "last": {"marker": "D", "fillstyle": "none", "label": "released, last epoch"},
    "": {"marker": "o", "fillstyle": "none", "label": "released, epoch not named"},
}
UNPERTURBED = "control, unperturbed"
ORDER = ["chance", UNPERTURBED, *NORMS.values(), *(look["label"] for look in RELEASED.values())]
"""Of the legend."""


class Line(NamedTuple):
    """A setting, with its accuracy by epoch."""

    setting: Setting
    accuracy: HostArray  # (seeds, epochs)


class Panel(NamedTuple):
    """One scenario."""

    lines: dict[str | None, Line]  # by norm; None: the control
    released: dict[str, list[Released]]


def compute(cells: Iterable[DeepCell], dataset: str) -> dict[str, Panel]:
    """The panels by scenario; InputError where no cell of the data set has curves."""
    cells = [cell for cell in of_dataset(cells, dataset) if cell.curves is not None]
    if not cells:
        remedy = "write them with `python -m reflfap.figures.perturbation` where the runs are"
        refuse("results", f"learning curves of {dataset}", "tables without them", remedy)
    panels = {}
    for scenario in SCENARIOS:
        found = {norm: foremost(cells, scenario, norm) for norm in (*NORMS, None)}
        lines = {norm: _line(one) for norm, one in found.items() if one is not None}
        beside = {norm: comparable(line.setting.config) for norm, line in lines.items() if norm}
        panels[scenario] = Panel(lines, beside)
    return panels


def _line(setting: Setting) -> Line:
    courses = [cell.curves.accuracy_test for cell in setting.cells if cell.curves is not None]
    return Line(setting, np.asarray(courses))


def draw(panels: dict[str, Panel], dataset: str) -> Figure:
    """A row of panels, at the width of two columns."""
    panels = {scenario: panel for scenario, panel in panels.items() if panel.lines}
    with plt.rc_context(style.RC):
        figure, row = plt.subplots(
            1,
            len(panels),
            figsize=(1.1 + 2 * max(2, len(panels)), 2.6),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        row = row[0]
        for (scenario, panel), axes in zip(panels.items(), row, strict=True):
            _panel(axes, panel)
            axes.set_title(_about(scenario, panel))
            axes.set_xlabel("epoch")
        row[0].set(ylabel="accuracy on clean test images", ylim=(0, 1))
        style.below(figure, *row, ncols=max(3, len(panels) + 1), order=ORDER)
        shown = [line.setting.config for panel in panels.values() for line in panel.lines.values()]
        figure.suptitle(title(dataset, shown), size=style.RC["axes.titlesize"])
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    axes.axhline(CHANCE, color="black", linewidth=0.5, label="chance")
    for norm, line in panel.lines.items():
        look = LOOKS[norm] if norm else CONTROL
        epochs = np.arange(1, line.accuracy.shape[1] + 1)
        axes.plot(
            epochs,
            line.accuracy.mean(axis=0),
            linewidth=1.3,
            label=NORMS[norm] if norm else UNPERTURBED,
            **{**look, "marker": ""},
        )
        low, high = line.accuracy.min(axis=0), line.accuracy.max(axis=0)
        axes.fill_between(epochs, low, high, color=look["color"], alpha=0.2, linewidth=0)
    end = max(line.accuracy.shape[1] for line in panel.lines.values())
    axes.set_xlim(0, 1.25 * end)
    if any(panel.released.values()):
        axes.axvspan(1.05 * end, 1.25 * end, color="#f0f0f0", linewidth=0)
        axes.text(1.15 * end, -0.03, "released", ha="center", va="top", size=6)
    for norm, some in panel.released.items():
        at = end * (1.1 + 0.05 * list(NORMS).index(norm))  # side by side, where values meet
        for one in some:
            _released(axes, at, norm, one)
    ticks = MaxNLocator(nbins=4, integer=True).tick_values(0, end)
    axes.set_xticks([tick for tick in ticks if tick <= end])


def _released(axes: Axes, at: float, norm: str, one: Released) -> None:
    """A mark beyond the last epoch, which says nothing of the released ones."""
    look = RELEASED[one.epoch] | {"linestyle": "", "markersize": 4.5}
    axes.plot(at, one.accuracy, **look | {"color": LOOKS[norm]["color"], "label": None})
    axes.plot([], [], color="black", **look)


def _about(scenario: str, panel: Panel) -> str:
    """The scenario, how many samples, how many seeds."""
    shown = [line.setting for line in panel.lines.values()]
    if not shown:
        return TITLES[scenario]
    counts = _ends({one.samples for one in shown})
    seeds = _ends({len(one.cells) for one in shown})
    return f"{TITLES[scenario]}\n{counts} samples, {seeds} seed{'' if seeds == '1' else 's'}"


def _ends(values: set[int]) -> str:
    return "–".join(f"{value:,}" for value in sorted({min(values), max(values)}))


def save(cells: Iterable[DeepCell], dataset: str, folder: Path) -> list[Path]:
    """Draw a data set into `folder`; returns the paths of the PNG and the PDF."""
    figure = draw(compute(cells, dataset), dataset)
    return style.save(figure, folder / f"perturbation_curves_{dataset}")
