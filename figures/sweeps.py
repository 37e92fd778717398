"""Which cells of a results folder belong to which panel of the grid of E1, and what they say.

A panel is a sweep around a centre, the default cell of a norm and a distribution: all complete
cells that agree with the centre in every field of their config but the swept one and the seed.
Along d the size of an L2 perturbation goes with sqrt(d). Nothing here knows the paper's sizes: the
centre is the config around which most cells lie, so that a scaled-down grid is drawn as well.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reflfap.backend import HostArray
from reflfap.data_loaders.artificial import DISTRIBUTIONS
from reflfap.errors import refuse
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import Kind, canonical_json
from reflfap.runs.store import complete_results
from reflfap.sweep.table import read_table

NORMS = {"l2": "L2", "linf": "L∞", "l0": "L0"}
DATA = dict(zip(DISTRIBUTIONS, ("uniform data", "Gaussian data"), strict=True))
PAIRS = [(norm, data) for norm in NORMS for data in DATA]
LABELS = {
    "d": "input dimension $d$",
    "n": "natural samples $N$",
    "n_adv": "perturbed samples $N_{adv}$",
}
CONSTRAINTS = {
    "l2": "L2 norm $\\epsilon$",
    "linf": "L∞ norm $\\epsilon$",
    "l0": "fraction of inputs $d_\\delta/d$",
}
SWEEPS = (*LABELS, "constraint")
VARIED = {"d": "dim", "n": "n", "n_adv": "n_adv", "constraint": "epsilon"}
RESOLUTION = 81  # values along a curve


class Cell(NamedTuple):
    """A complete cell of E1."""

    config: ArtificialConfig
    metrics: dict[str, float]
    path: Path


class Point(NamedTuple):
    """Cells that differ in their seed only."""

    config: ArtificialConfig  # of the lowest seed
    value: float  # of what the panel varies
    cells: tuple[Cell, ...]  # by seed

    def accuracy(self, network: str = "adversarial") -> HostArray:
        """The accuracies of a network on the natural data, one a seed."""
        return np.asarray([cell.metrics[f"acc_{network}"] for cell in self.cells])

    @property
    def predicted(self) -> float:
        """What (L4) says, which no seed enters."""
        return artificial.predicted(self.config)


class Curve(NamedTuple):
    """What (L4) says along a sweep."""

    across: HostArray
    accuracy: HostArray


def complete_cells(results: Path) -> list[Cell]:
    """The complete cells of E1 below a results folder, of whatever config."""
    complete = complete_results(results, ArtificialConfig)
    return [Cell(config, run.metrics, run.path) for config, run in complete]


def known_cells(results: Path) -> list[Cell]:
    """The complete cells, and those of tables, of E1."""
    return [Cell(*one) for one in known_results(results, ArtificialConfig)]


def known_results(results: Path, kind: type[Kind]) -> list[tuple[Kind, dict[str, float], Path]]:
    """The complete cells of an experiment, and those of results/tables/EXPERIMENT*.csv: tables that
    `sweep collect` made of other folders. Of the latter the numbers are known, and no arrays.
    """
    known = {
        config: (config, run.metrics, run.path) for config, run in complete_results(results, kind)
    }
    for path in sorted((results / "tables").glob(f"{kind.experiment}*.csv")):
        for config, metrics in read_table(path, kind):
            known.setdefault(config, (config, metrics, path))
    return list(known.values())


def find_centre(cells: Iterable[Cell], norm: str, data: str) -> ArtificialConfig:
    """The config around which most cells of a norm and a distribution lie; InputError if none do.

    The paper's default can be it before its own cell is there; among equals one that is there is
    preferred, then the default, then the largest. Its seed is 0, which says nothing. Cells in
    float16 are one only where there are no exact ones.
    """
    configs = {
        replace(cell.config, seed=0)
        for cell in cells
        if (cell.config.norm, cell.config.data) == (norm, data)
    }
    configs = {config for config in configs if not config.in_float16} or configs
    if not configs:
        remedy = f"run `reflfap sweep artificial --preset paper-{norm}-{data}`"
        refuse("cells", f"complete ones of {norm}, {data} data", "none", remedy)
    precision = next(iter(configs)).precision
    default = ArtificialConfig(norm=norm, data=data, precision=precision)  # type: ignore[arg-type]

    def rank(candidate: ArtificialConfig) -> tuple[Any, ...]:
        others = configs - {candidate}
        around = sum(any(belongs(one, candidate, sweep) for sweep in SWEEPS) for one in others)
        sizes = (candidate.n_adv, candidate.dim, candidate.size)
        known = candidate in configs
        return around, known, candidate == default, *sizes, canonical_json(candidate)

    return max(configs | {default}, key=rank)


def belongs(config: ArtificialConfig, centre: ArtificialConfig, sweep: str) -> bool:
    """Whether a cell lies on a sweep around the centre."""
    free = {"seed", VARIED[sweep]}
    if sweep == "d":
        if not _in_step(config, centre):
            return False
        free.add("epsilon")
    if centre.norm == "l0":
        free.add("attack_steps")  # one a pixel: they follow from the rest
    fixed = (name for name in vars(centre) if name not in free)
    return all(getattr(config, name) == getattr(centre, name) for name in fixed)


def _in_step(config: ArtificialConfig, centre: ArtificialConfig) -> bool:
    """Whether the size is that of the centre at its own d, or for L2 the one it grows to.

    The paper's grid has two digits of it, cut or rounded: one unit of the second is allowed.
    """
    expected = size_at(centre, config.dim)
    if config.size == expected:
        return True
    if centre.norm != "l2" or config.dim == centre.dim or expected == 0:
        return False
    unit = math.pow(10, math.floor(math.log10(expected)) - 1)
    return abs(config.size - expected) < unit


def size_at(centre: ArtificialConfig, dim: int) -> float:
    """The size of a perturbation that goes with another d."""
    return centre.size * (math.sqrt(dim / centre.dim) if centre.norm == "l2" else 1.0)


def sweep_points(cells: Iterable[Cell], centre: ArtificialConfig, sweep: str) -> list[Point]:
    """The points of one panel, by value; what one point holds differs in the seed alone."""
    found: dict[ArtificialConfig, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.config.seed):
        if belongs(cell.config, centre, sweep):
            found.setdefault(replace(cell.config, seed=0), []).append(cell)
    points = [
        Point(some[0].config, getattr(some[0].config, VARIED[sweep]), tuple(some))
        for some in found.values()
    ]
    return sorted(points, key=lambda point: (point.value, point.config.size))


def curve(
    centre: ArtificialConfig,
    sweep: str,
    ends: tuple[float, float],
    pairs: Sequence[tuple[int, float]] = (),
    predicted: Callable[[ArtificialConfig], float] = artificial.predicted,
) -> Curve:
    """What (L4) says from end to end; along d the sizes run, in logarithms, through `pairs`.

    Or what (L5) says, with `artificial.predicted_sharper`.
    """
    configs = list(_along(centre, sweep, ends, pairs))
    across = [getattr(config, VARIED[sweep]) for config in configs]
    accuracy = [predicted(config) for config in configs]
    return Curve(np.asarray(across), np.asarray(accuracy))


def _along(
    centre: ArtificialConfig,
    sweep: str,
    ends: tuple[float, float],
    pairs: Sequence[tuple[int, float]],
) -> Iterator[ArtificialConfig]:
    steps = None if centre.norm == "l0" else centre.attack_steps
    for value in np.geomspace(*ends, RESOLUTION):
        varied: Any = {VARIED[sweep]: float(value) if sweep == "constraint" else round(value)}
        if sweep == "d":
            varied["epsilon"] = size_at(centre, varied["dim"])
            if pairs:
                varied["epsilon"] = math.exp(np.interp(np.log(value), *np.log(pairs).T))
        yield replace(centre, **varied, attack_steps=steps)
