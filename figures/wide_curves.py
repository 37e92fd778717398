"""Wide networks (E7): accuracy of f and of g, and how often they agree, along each sweep.

One picture a cell of the successor: a kind of data, and what g learns. A column a sweep around the
released default, above the accuracies on the samples that f learned, below the share of new samples
on which f and g have one sign. Marks: means over seeds, bars from the least to the most. Triangles:
g with targets that are half +1, half -1, where there are such cells. Below 0.4 nothing is drawn: a
network whose few units are all off says 0, which is neither sign. Lines join what the closed forms
say of the same samples: fhat (W1), and ghat (W3) with what else g learns of these targets; dotted,
ghat alone. Squares: read off the released figures, where each point is the largest over a grid of
both learning rates, and of one seed; ours are single trainings.

From a results folder and its tables; without cells there, from `rendered/wide_cells.csv`, which
comes with the package.

    python -m reflfap.figures wide_curves RESULTS [FOLDER]
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.errors import refuse
from reflfap.experiments.wide_config import SWEEPS, WideConfig
from reflfap.figures import style
from reflfap.figures.prediction import read_rows
from reflfap.figures.sweeps import known_results
from reflfap.sweep.table import read_table

CELLS = style.RENDERED / "wide_cells.csv"
READ_OFF = style.RENDERED / "wide_released.csv"
DATA = {
    "shifted-gauss": "Gaussian classes",
    "gauss": "Gaussian, random labels",
    "mnist": "MNIST 1 and 2",
    "fashion-mnist": "Fashion-MNIST 0 and 9",
}
SCENARIOS = {"perturbations": "perturbations alone", "samples": "perturbed samples"}
LABELS = {
    "dim": "input dimension $d$",
    "n": "samples $N$",
    "hidden": "units $m$",
    "epochs": "epochs of $f$",
    "epochs_g": "epochs of $g$",
    "epsilon": "perturbation $\\epsilon$",
    "slope": "slope $\\gamma$",
}
LINEAR = ("epsilon", "slope")
METRICS = ("acc_f", "acc_g", "agreement", "cosine")
LEAST = 0.4  # drawn
F, G, BALANCED = "#000000", "#D55E00", "#0072B2"


class WideCell(NamedTuple):
    """A complete cell of E7."""

    config: WideConfig
    metrics: dict[str, float]


class ReadOff(NamedTuple):
    """A point of the released figures."""

    data: str
    scenario: str
    swept: str
    value: float
    metric: str
    number: float


class Point(NamedTuple):
    """Cells that differ in their seed alone, in its order."""

    value: float  # of what is swept
    cells: tuple[WideCell, ...]

    def each(self, metric: str) -> HostArray:
        """A metric of all seeds."""
        return np.asarray([cell.metrics[metric] for cell in self.cells])


class Sweep(NamedTuple):
    """A column."""

    swept: str
    loss: str
    random: Sequence[Point]  # by value
    balanced: Sequence[Point]
    read_off: Sequence[ReadOff]


def wide_cells(results: Path | None) -> list[WideCell]:
    """The known cells below a results folder, or else those that come with us."""
    found = known_results(results, WideConfig) if results is not None else []
    if found:
        return [WideCell(config, metrics) for config, metrics, _ in found]
    return [WideCell(*one) for one in read_table(CELLS, WideConfig)]


def released_numbers(path: Path = READ_OFF) -> list[ReadOff]:
    """What was read off the released figures; InputError if the file holds something else."""

    def point(row: dict[str, str]) -> ReadOff:
        checks.choice("data", row["data"], DATA)
        checks.choice("scenario", row["scenario"], SCENARIOS)
        checks.choice("swept", row["swept"], LABELS)
        checks.choice("metric", row["metric"], METRICS)
        value = checks.real_number("value", row["value"], 0, math.inf)
        number = checks.real_number("number", row["number"], 0, 1)
        return ReadOff(row["data"], row["scenario"], row["swept"], value, row["metric"], number)

    return read_rows(path, point)


def compute(
    cells: Iterable[WideCell], data: str, scenario: str, read_off: Sequence[ReadOff] = ()
) -> list[Sweep]:
    """The sweeps of which at least two values are there; InputError where there are none."""
    cells = [one for one in cells if (one.config.data, one.config.scenario) == (data, scenario)]
    found: list[Sweep] = []
    for table in SWEEPS[data, scenario]:
        swept = next(iter(table))
        fixed = {name: value for name, value in table.items() if name not in (swept, "targets")}
        if isinstance(table[swept], str) or any(one.swept == swept and not fixed for one in found):
            continue  # of balanced targets alone, which are in the column of the others
        random, balanced = (
            _points(cells, swept, fixed, targets) for targets in ("random", "balanced")
        )
        loss = str(fixed.get("loss", "identity"))
        if len(random) > 1:
            here = (data, scenario, swept)
            others = [one for one in read_off if one[:3] == here and loss == "identity"]
            found.append(Sweep(swept, loss, random, balanced, others))
    if not found:
        remedy = f"run `reflfap sweep wide --preset {data}-{scenario}`"
        refuse("cells", f"sweeps of {data}, {scenario}", "none", remedy)
    return found


def _points(
    cells: Iterable[WideCell], swept: str, fixed: dict[str, Any], targets: str
) -> list[Point]:
    """The cells of a sweep by value: of each the config has to be what the sweep's table says."""
    found: dict[float, list[WideCell]] = {}
    for cell in sorted(cells, key=lambda one: one.config.seed):
        config = cell.config
        value = getattr(config, swept)
        own: dict[str, Any] = {"seed": config.seed, "targets": targets, swept: value}
        own |= {"data": config.data, "scenario": config.scenario}
        if WideConfig(**own, **fixed) == config:
            found.setdefault(value, []).append(cell)
    return [Point(value, tuple(found[value])) for value in sorted(found)]


def draw(sweeps: Sequence[Sweep], data: str, scenario: str) -> Figure:
    """Two rows, a column a sweep."""
    count = len(sweeps)
    size = (max(4.4, 1.4 + 1.15 * count), 4.0)
    with plt.rc_context(style.RC):
        figure, rows = plt.subplots(
            2, count, figsize=size, sharex="col", sharey=True, squeeze=False, layout="constrained"
        )
        for column, sweep in zip(rows.T, sweeps, strict=True):
            _column(column, sweep)
        for axes, name in zip(rows[:, 0], ("accuracy", "agreement"), strict=True):
            axes.set(ylabel=name, ylim=(LEAST, 1.02), yticks=[0.4, 0.6, 0.8, 1.0])
        style.below(figure, *rows.flat, ncols=4 if count > 3 else 2)
        figure.suptitle(_title(sweeps, data, scenario), size=style.RC["axes.titlesize"])
    return figure


def _title(sweeps: Sequence[Sweep], data: str, scenario: str) -> str:
    counts = {len(point.cells) for sweep in sweeps for point in sweep.random}
    options: Any = {"data": data, "scenario": scenario}
    config = WideConfig(**options)
    return (
        f"{DATA[data]}; $g$ learns {SCENARIOS[scenario]}; "
        f"{style.seeds_a_point(counts)}\nWhere not varied $d$ = {config.inputs:,}, "
        f"$N$ = {config.samples:,}, $m$ = {config.hidden}, $\\epsilon$ = {config.size:.2g}, "
        f"{config.epochs:,} epochs"
    )


def _column(column: Sequence[Axes], sweep: Sweep) -> None:
    for axes, names in zip(column, (("acc_f", "acc_g"), ("agreement",)), strict=True):
        axes.axhline(0.5, color="#999999", linewidth=0.8, linestyle=":")
        for name in names:
            _lines(axes, sweep, name)
            for points, look in _measured(sweep, name):
                _marks(axes, points, name, look)
            released = [one for one in sweep.read_off if one.metric == name]
            if released:
                shown: dict[str, Any] = {"color": F if name == "acc_f" else G, "marker": "s"}
                shown |= {"markersize": 6, "markeredgewidth": 0.7, "fillstyle": "none"}
                shown |= {"linestyle": "", "clip_on": False, "label": "released, read off"}
                across = [one.value for one in released]
                axes.plot(across, [one.number for one in released], **shown)
    axes = column[-1]
    logistic = ",\nlogistic loss" if sweep.loss == "logistic" else ""
    axes.set_xlabel(LABELS[sweep.swept] + logistic)
    if sweep.swept in LINEAR:
        axes.locator_params("x", nbins=3)
        axes.xaxis.set_major_formatter("{x:g}")
        return
    axes.set_xscale("log")
    decades = np.ptp(np.log10([point.value for point in sweep.random]))
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades > 1 else (1, 2, 5), numticks=9))
    if decades <= 1:
        axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _lines(axes: Axes, sweep: Sweep, name: str) -> None:
    """What the closed forms say, mean over the same seeds. What targets add is known for the
    identity loss alone."""
    alone = {"color": BALANCED, "linestyle": ":", "label": "predicted, $\\hat g$ alone"}
    whole = {"color": G, "label": "predicted, $\\hat g$ and targets"}
    looks: dict[str, dict[str, dict[str, Any]]] = {
        "acc_f": {"acc_f_predicted": {"color": F, "label": "predicted, $\\hat f$"}},
        "acc_g": {"acc_g_predicted_targets": whole, "acc_g_predicted": alone},
        "agreement": {"agreement_predicted_targets": whole, "agreement_predicted": alone},
    }
    across = [point.value for point in sweep.random]
    for metric, look in looks[name].items():
        if sweep.loss == "identity" or not metric.endswith("targets"):
            values = [point.each(metric).mean() for point in sweep.random]
            axes.plot(across, values, linewidth=0.9, **look)


def _measured(sweep: Sweep, name: str) -> list[tuple[Sequence[Point], dict[str, Any]]]:
    if name == "acc_f":
        return [(sweep.random, {"color": F, "marker": "x", "label": "$f$"})]
    looks: tuple[dict[str, Any], ...] = (
        {"color": G, "marker": "o", "label": "$g$"},
        {"color": BALANCED, "marker": "^", "label": "$g$, balanced targets"},
    )
    return list(zip((sweep.random, sweep.balanced), looks, strict=True))


def _marks(axes: Axes, points: Sequence[Point], name: str, look: dict[str, Any]) -> None:
    if not points:
        return
    each = [point.each(name) for point in points]
    shown: dict[str, Any] = {"markersize": 3, "linestyle": "", "elinewidth": 0.4}
    style.spread(axes, [point.value for point in points], each, look | shown)


def save(cells: Iterable[WideCell], data: str, scenario: str, folder: Path) -> list[Path]:
    """Draw one cell of the successor into `folder`; returns the paths of the PNG and the PDF."""
    sweeps = compute(cells, data, scenario, released_numbers())
    return style.save(draw(sweeps, data, scenario), folder / f"wide_curves_{data}_{scenario}")
