"""What a network that learned perturbed images takes clean test images for (E2).

One picture a data set: the confusion matrix after the last epoch, each row a class as shares of its
test images, and beside it the share that is right. The network is that of L2 perturbations of
images towards random targets, or, where its result is not stored, the most accurate one that is.

    python -m reflfap.figures perturbation_confusion RESULTS [FOLDER]
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap.backend import HostArray
from reflfap.data_loaders.registry import data_set
from reflfap.errors import refuse
from reflfap.experiments.experiment import canonical_json
from reflfap.experiments.learn import LearnConfig
from reflfap.figures import style
from reflfap.figures.perturbation import (
    CHANCE,
    TITLES,
    DeepCell,
    foremost,
    of_dataset,
    samples,
    title,
)
from reflfap.figures.sweeps import NORMS
from reflfap.runs.store import open_result


class Confusion(NamedTuple):
    """How many test images of a class (row) are taken for which (column)."""

    config: LearnConfig
    counts: HostArray

    @property
    def shares(self) -> HostArray:
        """Each row over its sum; of a class without images zeros."""
        shares: HostArray = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        return shares

    @property
    def accuracy(self) -> float:
        """Of all test images."""
        return float(np.trace(self.counts) / self.counts.sum())


def choose(cells: Iterable[DeepCell], dataset: str) -> DeepCell:
    """The stored run to show; InputError where there is none."""
    stored = [c for c in of_dataset(cells, dataset) if c.stored and c.config.size]
    if not stored:
        remedy = f"run `reflfap run learn --dataset {dataset}`"
        refuse("results", f"a stored network of perturbed {dataset}", "none", remedy)
    usual = foremost(stored, "natural-random", "l2")
    if usual is not None:
        return usual.cells[0]
    best = "acc_adversarial_test_best"
    return max(stored, key=lambda cell: (cell.metrics[best], canonical_json(cell.config)))


def compute(cell: DeepCell) -> Confusion:
    """The counts of a stored run."""
    classes = len(data_set(cell.config.dataset).class_names)
    with open_result(cell.path) as result:
        return Confusion(cell.config, result.array("confusion", (classes, classes), "i"))


def draw(found: Confusion) -> Figure:
    """The matrix, and the bars of its diagonal beside it."""
    config = found.config
    with plt.rc_context(style.RC):
        figure, (square, bars) = plt.subplots(
            1, 2, figsize=(5.2, 3.9), width_ratios=[3.2, 1], sharey=True, layout="constrained"
        )
        _matrix(square, found.shares, data_set(config.dataset).class_names)
        _bars(bars, np.diag(found.shares))
        which = f"{NORMS[config.norm]}, {TITLES[config.scenario]}, {samples(config):,} samples"
        figure.suptitle(
            f"{title(config.dataset, [config])}\n{which}; accuracy {found.accuracy:.3f}",
            size=style.RC["axes.titlesize"],
        )
    return figure


def _matrix(axes: Axes, shares: HostArray, names: tuple[str, ...]) -> None:
    axes.imshow(shares, vmin=0, vmax=1, cmap="Greys", aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        text = "1" if share >= 0.995 else f"{share:.2f}".removeprefix("0")
        if share >= 0.005:
            axes.text(column, row, text, color=colour, size=6.5, ha="center", va="center")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set(xlabel="taken for", ylabel="class")


def _bars(axes: Axes, right: HostArray) -> None:
    axes.barh(range(len(right)), right, color=style.NETWORKS["adversarial"]["color"], height=0.7)
    axes.axvline(CHANCE, color="black", linewidth=0.5)
    axes.set(xlim=(0, 1), xlabel="share right")
    axes.tick_params(axis="y", length=0)


def save(cells: Iterable[DeepCell], dataset: str, folder: Path) -> list[Path]:
    """Draw a data set into `folder`; returns the paths of the PNG and the PDF."""
    figure = draw(compute(choose(cells, dataset)))
    return style.save(figure, folder / f"perturbation_confusion_{dataset}")
