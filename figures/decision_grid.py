"""Small decision maps along each sweep of a grid of E1, one picture a norm and a distribution.

Rows are the sweeps, columns values from the least to the largest, of one seed; each map is that of
`decision_map`. Titles: the value, and the accuracies of the standard, the noise and the adversarial
network on the natural data. The planes differ: each is that of its own standard network.

    python -m reflfap.figures decision_grid RESULTS [FOLDER]
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap.experiments.three_networks import NETWORKS
from reflfap.figures import decision_map, style
from reflfap.figures.sweeps import (
    CONSTRAINTS,
    DATA,
    LABELS,
    NORMS,
    SWEEPS,
    VARIED,
    Cell,
    Point,
    find_centre,
    sweep_points,
)
from reflfap.runs.store import open_result

COLUMNS = 5
RESOLUTION = 121


def chosen(cells: Iterable[Cell], norm: str, data: str) -> dict[str, list[Cell]]:
    """By sweep the cells that are drawn, at most one a column; InputError where there are none."""
    cells = list(cells)
    centre = find_centre(cells, norm, data)
    return {
        sweep: [point.cells[0] for point in spread(sweep_points(cells, centre, sweep))]
        for sweep in SWEEPS
    }


def spread(points: Sequence[Point]) -> list[Point]:
    """At most COLUMNS points, the first and the last among them, evenly apart in their order."""
    at = np.linspace(0, len(points) - 1, min(COLUMNS, len(points))).round().astype(int)
    return [points[i] for i in at]


def draw(rows: dict[str, list[Cell]]) -> Figure:
    """A row a sweep that has cells, at the width of two columns."""
    rows = {sweep: cells for sweep, cells in rows.items() if cells}
    config = next(iter(rows.values()))[0].config
    names = LABELS | {"constraint": CONSTRAINTS[config.norm]}
    with plt.rc_context(style.RC):
        size = (7, 1.75 * len(rows) + 0.6)
        figure, grid = plt.subplots(
            len(rows), COLUMNS, figsize=size, squeeze=False, layout="constrained"
        )
        for (sweep, cells), line in zip(rows.items(), grid, strict=True):
            for axes in line[len(cells) :]:
                axes.set_axis_off()
            for cell, axes in zip(cells, line, strict=False):
                _small(axes, cell)
                value = getattr(cell.config, VARIED[sweep])
                accuracies = " / ".join(f"{cell.metrics[f'acc_{name}']:.2f}" for name in NETWORKS)
                axes.set_title(f"{value:g}\n{accuracies}")
            line[0].set_ylabel(names[sweep])
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, handlelength=2.6)
        figure.suptitle(
            f"{NORMS[config.norm]}, {DATA[config.data]}: decision maps along each sweep; above "
            f"each its value, and the accuracies {' / '.join(NETWORKS)}",
            size=style.RC["axes.titlesize"],
        )
    return figure


def _small(axes: Axes, cell: Cell) -> None:
    with open_result(cell.path) as result:
        data = decision_map.compute(result, RESOLUTION)
    decision_map.backdrop(axes, data, size=2)
    for name, look in style.NETWORKS.items():
        decision_map.boundary(axes, data, name, look | {"linewidth": 1.2, "label": name})
    axes.set(xticks=[], yticks=[])


def save(cells: Iterable[Cell], norm: str, data: str, folder: Path) -> list[Path]:
    """Draw one norm and distribution into `folder`; returns the paths of the PNG and the PDF."""
    return style.save(draw(chosen(cells, norm, data)), folder / f"decision_grid_{norm}_{data}")
