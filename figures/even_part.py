"""What the even part carries: accuracies predicted and measured, of the network and of its parts.

Adversarial networks on uniform data with d from 50 to 500, from `rendered/even_part_cells.csv`
(`python -m benchmarks.even_part`). Left to right: the network, its odd part alone, its even part
alone, on the natural samples; last, the network again against (L5), which has no even part. Open
marks: cells that the derivation was fixed on. Full ones: those computed afterwards. Bars: one
standard deviation of an accuracy on N independent samples, for each seed. Two seconds.

    python -m reflfap.figures.even_part [FOLDER]
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.errors import refuse
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.figures import style

CELLS = style.RENDERED / "even_part_cells.csv"
PARTS = ("network", "odd", "even")
TITLES = ("the network", "its odd part alone", "its even part alone", "the network, by (L5)")
HALVES = {"first": "first half of the cells", "new": "computed afterwards"}
LOOKS: dict[bool, dict[str, Any]] = {
    True: style.CLASSES[1] | {"label": "d < N"},
    False: style.CLASSES[-1] | {"label": "d ≥ N"},
}


class PartsCell(NamedTuple):
    """A cell, of any seed; and to which half it belongs."""

    half: str
    config: ArtificialConfig


class Measured(NamedTuple):
    """One network: its cell, and accuracies by PARTS."""

    cell: PartsCell
    accuracy: tuple[float, ...]


class Compared(NamedTuple):
    """A cell's accuracies, by TITLES: predicted, and means over its seeds."""

    cell: PartsCell
    seeds: int
    predicted: tuple[float, ...]
    accuracy: tuple[float, ...]


def read_parts(path: Path) -> list[Measured]:
    """The networks of a table; InputError if it holds something else."""
    found = []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                norm: Any = row["norm"]
                names = {"dim": "d", "n": "n", "n_adv": "n_adv", "hidden": "hidden"}
                sizes: Any = {name: int(row[column]) for name, column in names.items()}
                config = ArtificialConfig(**sizes, norm=norm, epsilon=float(row["epsilon"]))
                values = [checks.real_number(name, row[name], 0, 1) for name in PARTS]
                half = checks.choice("half", row["half"], HALVES)
                found.append(Measured(PartsCell(half, config), tuple(values)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        refuse(f"{path}, row {len(found) + 1}", "a cell's numbers", repr(error), "mend the file")
    return found


def by_cell(networks: Sequence[Measured]) -> Mapping[PartsCell, HostArray]:
    """The accuracies of each cell's networks, (seeds, 3) by PARTS."""
    cells = defaultdict(list)
    for one in networks:
        cells[one.cell].append(one.accuracy)
    return {cell: np.asarray(each) for cell, each in cells.items()}


def compute(path: Path = CELLS) -> list[Compared]:
    """What is predicted for each cell of a table, beside its means."""
    compared = []
    for cell, each in by_cell(read_parts(path)).items():
        mean = np.mean(each, axis=0)
        linear = artificial.predicted_sharper(cell.config)
        predicted = (*artificial.predicted_parts(cell.config), linear)
        compared.append(Compared(cell, len(each), predicted, (*map(float, mean), float(mean[0]))))
    return compared


def draw(cells: Sequence[Compared]) -> Figure:
    """A panel for each of TITLES."""
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(
            1, len(TITLES), figsize=(7.0, 2.4), sharey=True, layout="constrained"
        )
        for column, (axes, title) in enumerate(zip(panels, TITLES, strict=True)):
            errors = [abs(one.predicted[column] - one.accuracy[column]) for one in cells]
            _scatter(axes, cells, column)
            axes.set_title(f"{title}\nmean error {np.mean(errors):.3f}", loc="left")
            axes.set_xlabel("predicted")
        panels[0].set_ylabel("measured accuracy")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _scatter(axes: Axes, cells: Sequence[Compared], column: int) -> None:
    axes.plot([0.45, 1], [0.45, 1], color="black", linewidth=0.8)
    for half, words in HALVES.items():
        for fewer, look in LOOKS.items():
            some = [
                one
                for one in cells
                if (one.cell.config.dim < one.cell.config.n, one.cell.half) == (fewer, half)
            ]
            predicted = np.asarray([one.predicted[column] for one in some])
            measured = np.asarray([one.accuracy[column] for one in some])
            draws = np.asarray([one.cell.config.n * one.seeds for one in some])
            marks = look | {"label": f"{look['label']}, {words}", "linestyle": ""}
            marks |= {"elinewidth": 0.6, "markersize": 4, "markeredgewidth": 0.7}
            marks |= {"fillstyle": "none" if half == "first" else "full"}
            bars = np.sqrt(np.maximum(measured * (1 - measured), 0) / np.maximum(draws, 1))
            axes.errorbar(predicted, measured, bars, **marks)
    ticks = [0.5, 0.75, 1.0]
    axes.set(xlim=(0.45, 1.02), ylim=(0.45, 1.02), xticks=ticks, yticks=ticks)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    print(*style.save(draw(compute()), folder / "even_part"), sep="\n")
