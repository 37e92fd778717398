"""The accuracy that (L4) and (L5) predict, without a fitted constant, against what was measured.

Rows are norms of the perturbation, columns what varies, all else as in the released experiment on
uniform data; along d the size of L2 grows like sqrt(d). Lines: (L4), dashed (L5). Circles: the
released code's own points (`rendered/released_points.csv`, or `artificial_uniform.csv` of the
folder that the environment variable REFLFAP_REFERENCE names); digitised from plots, of one seed
each. Then, if `rendered/prediction_cells.csv` is there (`python -m benchmarks.prediction 48 FILE`):
our own networks on random cells of either distribution against (L4), bars one standard deviation of
an accuracy on N independent samples. Last row, those of `rendered/prediction_cells_new.csv`
(`60 FILE new`), drawn once (L5) was fixed, against (L5). Twenty seconds, 150 MB, most of it the
libraries.

    python -m reflfap.figures.prediction [FOLDER]
"""

import csv
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap import checks
from reflfap.errors import refuse
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.figures import style
from reflfap.figures.sweeps import CONSTRAINTS, LABELS, NORMS, SWEEPS, VARIED, Curve, curve

RANGES: dict[str, tuple[float, float]] = {
    "d": (100, 10_000),
    "n": (1_000, 10_000),
    "n_adv": (100, 10_000),
}
SIZES = {"l2": (0.01, 0.78), "linf": (0.001, 0.03), "l0": (0.001, 0.05)}
ATTACKS = {"l2": "L2", "linf": "L∞, rescaled", "linf_sign": "L∞, sign", "l0": "L0"}
DISTRIBUTIONS = {
    "uniform": style.CLASSES[1] | {"label": "our networks, uniform data"},
    "gauss": style.CLASSES[-1] | {"label": "our networks, Gaussian data"},
}
TICKS = [0.5, 0.75, 1.0]

Row = dict[str, str]
Content = TypeVar("Content")


class Released(NamedTuple):
    """A point of the released figures."""

    sweep: str
    config: ArtificialConfig
    accuracy: float


class Cell(NamedTuple):
    """A network of our own."""

    attack: str
    data: str
    n: int
    predicted: float
    measured: float


class Prediction(NamedTuple):
    """All that is drawn."""

    curves: dict[tuple[str, str], Curve]  # by norm and sweep
    released: Sequence[Released]
    cells: Sequence[Cell]
    sharper: dict[tuple[str, str], Curve]  # by (L5)
    new: Sequence[Cell]


def compute(
    released: Sequence[Released] = (), cells: Sequence[Cell] = (), new: Sequence[Cell] = ()
) -> Prediction:
    """The curves of all norms and sweeps, beside the points that there are."""
    curves, sharper = {}, {}
    for norm in NORMS:
        centre = ArtificialConfig(norm=norm)  # type: ignore[arg-type]
        pairs = sorted({(p.config.dim, p.config.size) for p in chosen(released, norm, "d")})
        for sweep in SWEEPS:
            ends = SIZES[norm] if sweep == "constraint" else RANGES[sweep]
            curves[norm, sweep] = curve(centre, sweep, ends, pairs)
            sharp = artificial.predicted_sharper
            sharper[norm, sweep] = curve(centre, sweep, ends, pairs, sharp)
    return Prediction(curves, released, cells, sharper, new)


def chosen(released: Sequence[Released], norm: str, sweep: str) -> list[Released]:
    """The points of one panel."""
    return [point for point in released if (point.config.norm, point.sweep) == (norm, sweep)]


def read_released(path: Path) -> list[Released]:
    """The released points; InputError if the file holds something else."""

    def point(row: Row) -> Released:
        checks.choice("norm", row["norm"], NORMS)
        checks.choice("data", row["data"], ("uniform",))
        norm: Any = row["norm"]
        size = checks.real_number("constraint", row["constraint"], 0, math.inf, "()")
        sizes: Any = {"dim": int(row["d"]), "n": int(row["n"]), "n_adv": int(row["n_adv"])}
        return Released(
            checks.choice("sweep", row["sweep"], SWEEPS),
            ArtificialConfig(**sizes, norm=norm, epsilon=size),
            checks.real_number("acc_adv", row["acc_adv"], 0, 1),
        )

    return read_rows(path, point)


def reference_folder() -> Path | None:
    """The folder of released points that REFLFAP_REFERENCE names, if it does."""
    named = os.environ.get("REFLFAP_REFERENCE")
    return Path(named) if named else None


def released_points(reference: Path | None) -> list[Released]:
    """The released points of a folder of references; without one, those that come with us."""
    if reference is None:
        return read_released(style.RENDERED / "released_points.csv")
    return read_released(reference / "artificial_uniform.csv")


def read_cells(path: Path, column: str = "acc_predicted") -> list[Cell]:
    """Our own cells, none if there is no such file; InputError if it holds something else.

    `column` is of what was predicted: by (L4), or acc_sharper, by (L5).
    """

    def cell(row: Row) -> Cell:
        return Cell(
            checks.choice("norm", row["norm"], ATTACKS),
            checks.choice("data", row["data"], DISTRIBUTIONS),
            checks.whole_number("n", int(row["n"]), 1),
            checks.real_number(column, row[column], 0, 1),
            checks.real_number("acc_adversarial", row["acc_adversarial"], 0, 1),
        )

    return read_rows(path, cell) if path.exists() else []


def own_cells() -> tuple[list[Cell], list[Cell]]:
    """The cells that come with us: against (L4), and the new ones against (L5)."""
    new = read_cells(style.RENDERED / "prediction_cells_new.csv", "acc_sharper")
    return read_cells(style.RENDERED / "prediction_cells.csv"), new


def read_rows(path: Path, parse: Callable[[Row], Content]) -> list[Content]:
    """What `parse` makes of the rows of a CSV file; a line that begins with # is a comment."""
    contents: list[Content] = []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(line for line in file if not line.startswith("#")):
                contents.append(parse(row))
    except OSError as error:
        refuse(str(path), "a readable file", error.strerror, "give the folder that has it")
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        got = f"no column {error}" if isinstance(error, KeyError) else f"({error})"
        refuse(f"{path}, row {len(contents) + 1}", "what its columns say", got, "mend the file")
    if not contents:
        refuse(str(path), "at least one row", "none", "mend the file")
    return contents


def draw(data: Prediction) -> Figure:
    """A row a norm, and one of our own networks, if there are any."""
    scatters = [
        (f"predicted, ({tag})", some)
        for tag, some in (("L4", data.cells), ("L5", data.new))
        if some
    ]
    rows = len(NORMS) + len(scatters)
    with plt.rc_context(style.RC):
        figure = plt.figure(figsize=(7, 1.4 * rows + 0.5), layout="constrained")
        heights = (3, *[1.2] * len(scatters))
        parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        above, *below = parts
        upper = above.subplots(len(NORMS), len(SWEEPS), sharey=True)
        for norm, line in zip(NORMS, upper, strict=True):
            for sweep, axes in zip(SWEEPS, line, strict=True):
                _sweep(axes, data, norm, sweep)
            errors = [_errors(point) for point in data.released if point.config.norm == norm]
            mean = ": mean error {:.3f}, (L5) {:.3f}".format(*np.mean(errors, 0)) if errors else ""
            line[0].set_title(NORMS[norm] + mean, loc="left")
            line[0].set_ylabel("accuracy")
        for label, axes in zip(LABELS.values(), upper[-1], strict=False):
            axes.set_xlabel(label)
        above.legend(*upper[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        for part, (label, cells) in zip(below, scatters, strict=True):
            lower = part.subplots(1, len(ATTACKS), sharey=True)
            for attack, axes in zip(ATTACKS, lower, strict=True):
                _scatter(axes, [cell for cell in cells if cell.attack == attack], attack)
                axes.set_xlabel(label)
            lower[0].set_ylabel("measured accuracy")
            handles = lower[0].get_legend_handles_labels()
            title = f"{len(cells)} random cells, {'new ones' if cells is data.new else 'the first'}"
            part.legend(*handles, title=title, loc="outside upper center", ncols=2)
    return figure


def _errors(point: Released) -> tuple[float, float]:
    """Of (L4) and of (L5)."""
    predicted = artificial.predicted(point.config), artificial.predicted_sharper(point.config)
    return abs(predicted[0] - point.accuracy), abs(predicted[1] - point.accuracy)


def _sweep(axes: Axes, data: Prediction, norm: str, sweep: str) -> None:
    """One panel of the grid."""
    axes.axhline(0.5, color="#999999", linewidth=0.8, linestyle=":")
    axes.plot(*data.curves[norm, sweep], color="black", label="predicted, (L4)")
    look: Any = {"color": "#0072B2", "linestyle": "--", "label": "predicted, (L5)"}
    axes.plot(*data.sharper[norm, sweep], **look)
    points = chosen(data.released, norm, sweep)
    if points:
        across = [getattr(point.config, VARIED[sweep]) for point in points]
        accuracy = [point.accuracy for point in points]
        look = {"color": "#D55E00", "marker": "o", "markersize": 4, "fillstyle": "none"}
        axes.plot(across, accuracy, linestyle="", label="released code", clip_on=False, **look)
    axes.set(xscale="log", ylim=(0.45, 1.0), yticks=TICKS)
    if sweep == "constraint":
        axes.set_xlabel(CONSTRAINTS[norm])


def _scatter(axes: Axes, cells: Sequence[Cell], attack: str) -> None:
    """Predicted against measured for one attack."""
    axes.plot([0.45, 1], [0.45, 1], color="black", linewidth=0.8)
    for name, look in DISTRIBUTIONS.items():
        some = [cell for cell in cells if cell.data == name]
        predicted = np.asarray([cell.predicted for cell in some])
        bars = np.sqrt(predicted * (1 - predicted) / np.asarray([cell.n for cell in some]))
        marks: Any = look | {"linestyle": "", "ecolor": "black", "elinewidth": 0.7}
        marks |= {"markersize": 4, "markeredgecolor": "black", "markeredgewidth": 0.4}
        measured = [cell.measured for cell in some]
        axes.errorbar(predicted, measured, bars, **marks)
    limits = (0.45, 1.02)
    axes.set(xlim=limits, ylim=limits, xticks=TICKS, yticks=TICKS)
    errors = [abs(cell.predicted - cell.measured) for cell in cells]
    mean = f"\nmean error {np.mean(errors):.3f}" if errors else ""
    axes.set_title(ATTACKS[attack] + mean, loc="left")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    points = released_points(reference_folder())
    picture = draw(compute(points, *own_cells()))
    print(*style.save(picture, folder / "prediction"), sep="\n")
