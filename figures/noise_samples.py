"""How accuracy on clean test images grows with the number of perturbed noise samples (E2).

One picture a data set with at least two numbers of samples, one line a norm: the best epoch's
accuracy, mean over seeds, with bars from the least to the most. Open marks on thin lines: the
released code, one seed, read off its plots.

    python -m reflfap.figures noise_samples RESULTS [FOLDER]
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from reflfap.checks import MOST_ROWS
from reflfap.errors import refuse
from reflfap.experiments.experiment import canonical_json
from reflfap.experiments.learn import LearnConfig
from reflfap.figures import style
from reflfap.figures.perturbation import (
    CHANCE,
    LOOKS,
    DeepCell,
    Setting,
    is_released_attack,
    of_dataset,
    settings,
    title,
)
from reflfap.figures.perturbation_released import Released, released
from reflfap.figures.sweeps import NORMS


class Line(NamedTuple):
    """One norm: settings that differ in their number of samples only, one a number."""

    settings: tuple[Setting, ...]  # by number
    released: tuple[Released, ...]


def compute(cells: Iterable[DeepCell], dataset: str) -> dict[str, Line]:
    """By norm; InputError where no norm has two numbers of samples."""
    cells = of_dataset(cells, dataset)
    lines = {}
    for norm in NORMS:
        some = _series(cells, norm)
        if some:
            beside = released(dataset, "noise", norm) if is_released_attack(some[0].config) else ()
            lines[norm] = Line(some, tuple(beside))
    if all(len(line.settings) < 2 for line in lines.values()):
        remedy = (
            f"run `reflfap run learn --dataset {dataset} --scenario noise` with another --subset"
        )
        refuse("results", f"two numbers of noise samples of {dataset}", "fewer", remedy)
    return lines


def _series(cells: Iterable[DeepCell], norm: str) -> tuple[Setting, ...]:
    """The series of a norm with most numbers of samples; of two sets of one number the larger's.

    A subset of a set is what the set would be with so many samples.
    """
    found: dict[LearnConfig, dict[int, Setting]] = {}
    for one in sorted(settings(cells), key=lambda one: one.config.samples):
        config = one.config
        if (config.scenario, config.norm) == ("noise", norm) and config.size:
            found.setdefault(replace(config, subset=0, n_adv=MOST_ROWS), {})[one.samples] = one
    if not found:
        return ()

    def rank(config: LearnConfig) -> tuple[Any, ...]:
        usual = is_released_attack(config), config.preset == "paper"
        return len(found[config]), *usual, config.epochs, canonical_json(config)

    return tuple(one for _, one in sorted(found[max(found, key=rank)].items()))


def draw(lines: dict[str, Line], dataset: str) -> Figure:
    """One panel, at column width."""
    with plt.rc_context(style.RC):
        figure, axes = plt.subplots(figsize=(3.5, 2.8), layout="constrained")
        for norm, line in lines.items():
            _measured(axes, norm, line)
        for norm, line in lines.items():
            look = LOOKS[norm] | {"fillstyle": "none", "linewidth": 0.6, "markersize": 4.5}
            if line.released:
                points = [(one.samples, one.accuracy) for one in line.released]
                axes.plot(*zip(*points, strict=True), label=f"{NORMS[norm]}, released", **look)
        axes.axhline(CHANCE, color="black", linewidth=0.5)
        axes.set_xscale("log")
        _ticks(axes, lines)
        axes.set(xlabel="noise samples", ylabel="accuracy on clean test images,\nbest epoch")
        axes.set_ylim(bottom=0)
        shown = [one.config for line in lines.values() for one in line.settings]
        axes.set_title(title(dataset, shown))
        entries = zip(*axes.get_legend_handles_labels(), strict=True)
        handles = sorted(entries, key=lambda entry: "released" in entry[1])
        figure.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=2)
    return figure


def _measured(axes: Axes, norm: str, line: Line) -> None:
    across = [one.samples for one in line.settings]
    look = LOOKS[norm] | {"label": NORMS[norm], "linewidth": 1.3, "markersize": 4.5}
    style.spread(axes, across, [one.best for one in line.settings], look)


def _ticks(axes: Axes, lines: dict[str, Line]) -> None:
    """At each number of samples, but no two nearer than a fifth of a decade."""
    values = {one.samples for line in lines.values() for one in line.settings}
    values |= {one.samples for line in lines.values() for one in line.released}
    kept: list[int] = []
    for value in sorted(values):
        if not kept or value > 1.6 * kept[-1]:
            kept.append(value)
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_major_formatter(lambda value, _: _count(value))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _count(value: float) -> str:
    """20,000 as 20K, 1,200,000 as 1.2M."""
    if value < 1e3:
        return f"{value:.0f}"
    return f"{value / 1e3:.3g}K" if value < 1e6 else f"{value / 1e6:.3g}M"


def save(cells: Iterable[DeepCell], dataset: str, folder: Path) -> list[Path]:
    """Draw a data set into `folder`; returns the paths of the PNG and the PDF."""
    return style.save(draw(compute(cells, dataset), dataset), folder / f"noise_samples_{dataset}")
