"""The cells of E2: networks that learned perturbed images.

Raw results are large and stay where they were computed; two small tables travel. Of a results
folder count its complete runs, then those of its tables/learn.csv, which `reflfap sweep collect`
wrote elsewhere, with their curves from tables/learn_curves.csv:

    reflfap sweep collect --out RESULTS --to FOLDER
    python -m reflfap.figures.perturbation RESULTS FOLDER    # FOLDER/learn_curves.csv
"""

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reflfap.backend import HostArray
from reflfap.errors import DamagedFileError, refuse
from reflfap.experiments.experiment import canonical_json, identity
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import SCENARIOS, PerturbConfig, usual_size
from reflfap.figures import learning_curves
from reflfap.figures.sweeps import NORMS
from reflfap.files import write_text
from reflfap.norms import VARIANTS
from reflfap.runs.store import complete_results, open_result
from reflfap.sweep.table import read_table
from reflfap.training.minibatch import Curves

TABLE, CURVES = "tables/learn.csv", "tables/learn_curves.csv"
COLUMNS = ("run_id", "epoch", *Curves._fields)
LARGEST = 2**26  # bytes of a table of curves: half a million epochs
CHANCE = 0.1
TITLES = {
    "natural-random": "images, random targets",
    "natural-deterministic": "images, target: next class",
    "noise": "noise, random targets",
}
# of Okabe and Ito's palette; line styles and markers tell the norms apart in grey
LOOKS: dict[str, dict[str, Any]] = {
    "l2": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    "linf": {"color": "#D55E00", "linestyle": "--", "marker": "^"},
    "l0": {"color": "#009E73", "linestyle": "-.", "marker": "s"},
}


class DeepCell(NamedTuple):
    """A network that learned a perturbed set."""

    config: LearnConfig
    metrics: dict[str, float]
    path: Path  # of its result, or of the table that tells of it
    curves: Curves | None  # None: the tables lack them

    @property
    def stored(self) -> bool:
        """Whether its arrays are there, and not only its numbers."""
        return self.path.suffix != ".csv"


class Setting(NamedTuple):
    """Cells that differ in their seed only."""

    config: LearnConfig  # with seed 0
    cells: tuple[DeepCell, ...]  # by seed

    @property
    def samples(self) -> int:
        """How many samples the network learned."""
        return samples(self.config)

    def values(self, metric: str) -> HostArray:
        """A metric of each cell that has it."""
        return np.asarray([c.metrics[metric] for c in self.cells if metric in c.metrics])

    @property
    def best(self) -> HostArray:
        """Accuracy on the clean test images after the best epoch, one a seed."""
        return self.values("acc_adversarial_test_best")

    @property
    def last(self) -> HostArray:
        """The same after the last epoch."""
        return self.values("acc_adversarial_test")


def samples(config: LearnConfig) -> int:
    """How many samples a network of the config learns."""
    return config.subset or config.samples


def stored_cells(results: Path) -> list[DeepCell]:
    """The complete runs below a results folder; each file's digest is verified."""
    cells = []
    for config, run in complete_results(results, LearnConfig):
        with open_result(run.path) as result:
            curves = Curves(
                *(result.array(f"traces/adversarial/{name}", (-1,)) for name in Curves._fields)
            )
        cells.append(DeepCell(config, run.metrics, run.path, curves))
    return cells


def known_cells(results: Path) -> list[DeepCell]:
    """The complete runs, and those of the folder's tables, of which the numbers alone are known."""
    known = {cell.config: cell for cell in stored_cells(results)}
    path = results / TABLE
    if path.exists():
        curves = read_curves(results / CURVES) if (results / CURVES).exists() else {}
        for config, metrics in read_table(path, LearnConfig):
            course = curves.get(identity(config))
            if course is not None and len(course.loss) != config.epochs:
                raise _damaged(results / CURVES, f"other epochs than run {identity(config)} has")
            known.setdefault(config, DeepCell(config, metrics, path, course))
    return list(known.values())


def curves_table(cells: Iterable[DeepCell]) -> str:
    """The curves of cells as CSV, a row an epoch, every digit kept."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in sorted(cells, key=lambda cell: identity(cell.config)):
        name = identity(cell.config)
        for epoch, row in enumerate(zip(*(cell.curves or ()), strict=True), 1):
            writer.writerow((name, epoch, *(float(value) for value in row)))
    return text.getvalue()


def read_curves(path: Path) -> dict[str, Curves]:
    """The curves that `curves_table` wrote, by run id; DamagedFileError for anything else."""
    found: dict[str, list[list[float]]] = {}
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("too large")
        with open(path, encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            if tuple(next(lines, ())) != COLUMNS:
                raise ValueError("other columns")
            for number, (name, epoch, *values) in enumerate(lines, 2):
                row = [float(value) for value in values]
                rows = found.setdefault(name, [])
                if int(epoch) != len(rows) + 1:
                    raise ValueError(f"line {number}: not the next epoch of a run")
                if len(row) != len(Curves._fields) or not np.all(np.isfinite(row)):
                    raise ValueError(f"line {number}: not {len(Curves._fields)} finite numbers")
                rows.append(row)
    except (OSError, ValueError, csv.Error) as error:
        raise _damaged(path, error) from error
    return {name: Curves(*np.asarray(rows).T) for name, rows in found.items()}


def _damaged(path: Path, what: object) -> DamagedFileError:
    return DamagedFileError(
        f"{path}: expected a table of `python -m reflfap.figures.perturbation`, got ({what}); "
        "write it again where the runs are"
    )


def settings(cells: Iterable[DeepCell]) -> list[Setting]:
    """Cells by setting: by scenario, norm, falling size of the perturbation, samples."""
    found: dict[LearnConfig, list[DeepCell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.config.seed):
        found.setdefault(_without_seed(cell.config), []).append(cell)

    def place(setting: Setting) -> tuple[Any, ...]:
        config = setting.config
        where = SCENARIOS.index(config.scenario), list(NORMS).index(config.norm)
        return *where, -config.size, setting.samples, canonical_json(config)

    return sorted((Setting(config, tuple(some)) for config, some in found.items()), key=place)


def _without_seed(config: LearnConfig) -> LearnConfig:
    """With seed 0, and with its classifier if each seed attacks its own."""
    own = None if attacks_its_own(config) else config.classifier
    return replace(config, seed=0, classifier=own)


def attacks_its_own(config: LearnConfig) -> bool:
    """Whether the attacked classifier is that of the preset and the seed."""
    return config.classifier == identity(config.usual_classifier)


def is_released_attack(config: PerturbConfig) -> bool:
    """Whether size and variant of the attack are those of the released code."""
    usual = config.size == usual_size(config.dataset, config.norm)
    return usual and config.variant == VARIANTS[config.norm][0]


def foremost(cells: Iterable[DeepCell], scenario: str, norm: str | None) -> Setting | None:
    """The setting that a picture shows of a scenario and norm, or, for None, of its controls.

    The one at the released size and nearest to the paper: its preset, most samples, epochs, seeds.
    """

    def rank(setting: Setting) -> tuple[Any, ...]:
        config = setting.config
        scale = setting.samples, config.epochs, len(setting.cells), canonical_json(config)
        return is_released_attack(config), config.preset == "paper", *scale

    of_scenario = settings(cell for cell in cells if cell.config.scenario == scenario)
    some = [one for one in of_scenario if (one.config.norm if one.config.size else None) == norm]
    return max(some, key=rank, default=None)


def of_dataset(cells: Iterable[DeepCell], dataset: str) -> list[DeepCell]:
    """The cells of a data set; InputError where there are none."""
    found = [cell for cell in cells if cell.config.dataset == dataset]
    if not found:
        remedy = f"run `reflfap run learn --dataset {dataset}`"
        refuse("results", f"networks that learned perturbed {dataset}", "none", remedy)
    return found


def title(dataset: str, shown: Sequence[LearnConfig]) -> str:
    """A data set, and networks and presets of what is shown of it."""
    networks = " and ".join(sorted({learning_curves.network_name(config) for config in shown}))
    presets = " and ".join(sorted({config.preset for config in shown}))
    return f"{learning_curves.set_title(dataset)}; {networks}; preset {presets}"


def write(results: Path, folder: Path) -> Path:
    """Write learn_curves.csv of the complete runs into a folder."""
    path = folder / Path(CURVES).name
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, curves_table(stored_cells(results)))
    return path


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m reflfap.figures.perturbation RESULTS FOLDER")
    print(write(Path(sys.argv[1]), Path(sys.argv[2])))
