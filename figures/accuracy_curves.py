"""The accuracy curves of E1: measured, predicted and released, along each sweep of a grid.

One picture a norm and a distribution, one panel a sweep, and one of all of them. The adversarial
network learned perturbed noise only; its accuracy is on the natural data. Marks: means over seeds,
each seed a dot, bars from the least to the most. Triangles: the same network in float16, as the
released code computed, where there are such cells. The noise network, which learned the same noise
without the perturbation, is the control. Line: (L4), without a fitted constant. Squares: points of
the released code, of a folder that REFLFAP_REFERENCE names, or those that come with the package.

    python -m reflfap.figures accuracy_curves RESULTS [FOLDER]
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from reflfap.backend import HostArray
from reflfap.errors import refuse
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.figures import style
from reflfap.figures.prediction import Released
from reflfap.figures.sweeps import (
    CONSTRAINTS,
    DATA,
    LABELS,
    NORMS,
    PAIRS,
    SWEEPS,
    VARIED,
    Cell,
    Curve,
    Point,
    belongs,
    curve,
    find_centre,
    sweep_points,
)

MANY = 10  # seeds of a point from which single ones are no longer drawn
LOOKS: dict[str, dict[str, Any]] = {
    "adversarial": {"color": style.NETWORKS["adversarial"]["color"], "marker": "o"},
    "noise": {"color": style.NETWORKS["noise"]["color"], "marker": "x"},
}
FLOAT16: dict[str, Any] = {"color": "#009E73", "marker": "^", "fillstyle": "none"}
RELEASED: dict[str, Any] = {"color": "#000000", "marker": "s", "fillstyle": "none"}


class Panel(NamedTuple):
    """One sweep."""

    points: Sequence[Point]
    released: Sequence[Released]
    curve: Curve | None  # None where there is nothing to compare it with
    float16: Sequence[Point] = ()  # of the same sweep, in the arithmetic of the released code


class Curves(NamedTuple):
    """One picture."""

    centre: ArtificialConfig
    panels: dict[str, Panel]  # by sweep


class Match(NamedTuple):
    """A point beside what it is compared with."""

    point: Point
    predicted: float
    released: float | None
    float16: float | None = None  # the mean over seeds, computed so

    @property
    def measured(self) -> float:
        """The mean over seeds of the adversarial network."""
        return float(self.point.accuracy().mean())


def grids(
    cells: Iterable[Cell], released: Sequence[Released] = ()
) -> dict[tuple[str, str], Curves]:
    """Those of each norm and distribution of which there are cells; InputError if of none."""
    cells = list(cells)
    there = {(cell.config.norm, cell.config.data) for cell in cells}
    if not there:
        remedy = "run `reflfap sweep artificial`, or give another results folder"
        refuse("results", "complete cells of E1", "none", remedy)
    return {pair: compute(cells, *pair, released) for pair in PAIRS if pair in there}


def compute(
    cells: Iterable[Cell], norm: str, data: str, released: Sequence[Released] = ()
) -> Curves:
    """The panels around the centre of the cells; InputError where there are none."""
    cells = list(cells)
    centre = find_centre(cells, norm, data)
    panels = {}
    for sweep in SWEEPS:
        points = sweep_points(cells, centre, sweep)
        others = [one for one in released if one.sweep == sweep and _comparable(one, centre)]
        between = _between(centre, sweep, points, others)
        float16 = replace(centre, precision="released")
        in_float16 = sweep_points(cells, float16, sweep) if float16 != centre else []
        panels[sweep] = Panel(points, others, between, in_float16)
    return Curves(centre, panels)


def _comparable(released: Released, centre: ArtificialConfig) -> bool:
    """Whether a released point is on the sweep, however the centre computes."""
    how = {name: getattr(centre, name) for name in ("trainer", "dtype", "precision")}
    return belongs(replace(released.config, **how), centre, released.sweep)


def _between(
    centre: ArtificialConfig, sweep: str, points: Sequence[Point], released: Sequence[Released]
) -> Curve | None:
    """(L4) between the least and the largest value of a panel."""
    configs = [*(point.config for point in points), *(point.config for point in released)]
    values = {getattr(config, VARIED[sweep]) for config in configs} - {0}
    if len(values) < 2:
        return None
    pairs = sorted({(config.dim, config.size) for config in configs if config.size > 0})
    return curve(centre, sweep, (min(values), max(values)), pairs if sweep == "d" else ())


def matches(panel: Panel) -> list[Match]:
    """Each point beside (L4), and beside the released point at the same sizes, if there is one."""
    known = {_sizes(one.config): one.accuracy for one in panel.released}
    float16 = {_sizes(one.config): float(one.accuracy().mean()) for one in panel.float16}
    return [
        Match(point, point.predicted, known.get(sizes), float16.get(sizes))
        for point, sizes in ((point, _sizes(point.config)) for point in panel.points)
    ]


def _sizes(config: ArtificialConfig) -> tuple[float, ...]:
    return config.dim, config.n, config.n_adv, config.size


def differences(panels: Iterable[Panel], to: str, of: str = "measured") -> HostArray:
    """Measured, or "float16", minus "predicted" or "released", of all points that have both."""
    matched = [one for panel in panels for one in matches(panel)]
    both = [(getattr(one, of), getattr(one, to)) for one in matched]
    return np.asarray([one - other for one, other in both if None not in (one, other)])


def draw(*rows: Curves) -> Figure:
    """A row of four panels for each, at the width of two columns."""
    with plt.rc_context(style.RC):
        size = 7, 0.7 + 1.8 * len(rows)
        figure, table = plt.subplots(
            len(rows), len(SWEEPS), figsize=size, sharey=True, squeeze=False, layout="constrained"
        )
        for data, row in zip(rows, table, strict=True):
            names = LABELS | {"constraint": CONSTRAINTS[data.centre.norm]}
            for (sweep, panel), axes in zip(data.panels.items(), row, strict=True):
                _panel(axes, panel)
                axes.set_xlabel(names[sweep])
            row[0].set_ylabel("accuracy on natural data")
            if len(rows) > 1:
                row[0].set_title(f"{_which(data)}, {_seeds(data)}", loc="left")
        low = min(float(axes.dataLim.ymin) for axes in table.flat)
        table[0, 0].set_ylim(min(0.45, low - 0.02), 1.015)
        style.below(figure, *table.flat, ncols=3)
        if len(rows) == 1:
            figure.suptitle(_title(rows[0]), size=style.RC["axes.titlesize"])
    return figure


def _title(data: Curves) -> str:
    centre = data.centre
    size = "$d_\\delta/d$" if centre.norm == "l0" else "$\\epsilon$"
    return (
        f"{_which(data)}; where not varied $d$ = {centre.dim}, $N$ = {centre.n}, "
        f"$N_{{adv}}$ = {centre.n_adv}, {size} = {centre.size:.3g}; {_seeds(data)}"
    )


def _which(data: Curves) -> str:
    return f"{NORMS[data.centre.norm]}, {DATA[data.centre.data]}"


def _seeds(data: Curves) -> str:
    counts = {len(point.cells) for panel in data.panels.values() for point in panel.points}
    return style.seeds_a_point(counts)


def _panel(axes: Axes, panel: Panel) -> None:
    axes.axhline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    if panel.curve is not None:
        axes.plot(*panel.curve, color="black", linewidth=1.0, label="predicted, (L4)")
    for network, look in LOOKS.items():
        _measured(axes, panel.points, network, look)
    if panel.float16:
        _measured(axes, panel.float16, "adversarial", FLOAT16, ", in float16")
    if panel.released:
        across = [getattr(one.config, VARIED[one.sweep]) for one in panel.released]
        accuracy = [one.accuracy for one in panel.released]
        marks = RELEASED | {"markersize": 6, "markeredgewidth": 0.7, "clip_on": False}
        axes.plot(across, accuracy, linestyle="", label="released code", **marks)
    if not panel.points:
        axes.text(0.5, 0.3, "no cells yet", transform=axes.transAxes, ha="center")
    axes.set_xscale("log")
    decades = np.ptp(np.log10(axes.get_xlim()))
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades > 1.5 else (1, 2, 5), numticks=9))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _measured(
    axes: Axes, points: Sequence[Point], network: str, look: dict[str, Any], more: str = ""
) -> None:
    """Means, with bars over all seeds and a dot for each."""
    if not points:
        return
    accuracy = [point.accuracy(network) for point in points]
    across = [point.value for point in points]
    marks = look | {"markersize": 3.5, "linestyle": "", "linewidth": 0.8, "clip_on": False}
    style.spread(axes, across, accuracy, marks | {"label": f"{network} network{more}"})
    for value, single in zip(across, accuracy, strict=True):
        if 1 < len(single) < MANY:
            axes.plot(np.full(len(single), value), single, ".", color=look["color"], markersize=1.5)


def save(
    cells: Iterable[Cell], norm: str, data: str, folder: Path, released: Sequence[Released] = ()
) -> list[Path]:
    """Draw one norm and distribution into `folder`; returns the paths of the PNG and the PDF."""
    figure = draw(compute(cells, norm, data, released))
    return style.save(figure, folder / f"accuracy_{norm}_{data}")


def save_all(cells: Iterable[Cell], folder: Path, released: Sequence[Released] = ()) -> list[Path]:
    """Draw all norms and distributions of which there are cells as one picture."""
    return style.save(draw(*grids(cells, released).values()), folder / "accuracy_all")
