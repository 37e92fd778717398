"""What sweeps are under way in a results folder, and all their numbers in one table.

A sweep leaves a list of its cells, DIR/sweeps/NAME.json, from which `status` tells how far it is,
whoever computes it. `collect` writes the configs and metrics of all complete cells of an experiment
as CSV and as sealed HDF5, one column each, rows in the order of their configs.
"""

import csv
import io
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import fields
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reflfap.errors import DamagedFileError, refuse
from reflfap.experiments.experiment import Config, Kind, canonical_json, identity, run_id
from reflfap.experiments.registry import MODULES, experiment_of, from_json, named
from reflfap.experiments.three_networks import NETWORKS
from reflfap.files import read_text, whole_file, write_text
from reflfap.runs import store
from reflfap.sealed import write_sealed

LARGEST_LIST = 2**27  # bytes
_LONGEST_REASON = 200  # characters of an error, in which a stranger's text may stand
_FLAGS = {"True": True, "False": False}


class Status(NamedTuple):
    """How far a sweep is: numbers of its cells."""

    name: str
    complete: int
    running: int
    failed: dict[str, str]  # errors by run id
    waiting: int  # interrupted ones included
    seconds: float  # wall time of the complete ones, added up


def write_list(out: Path, name: str, configs: Iterable[Config]) -> Path:
    """Leave the list of a sweep's cells; the same sweep again finds its own."""
    content = [canonical_json(config) for config in configs]
    path = out / "sweeps" / f"{re.sub('[^A-Za-z0-9._-]', '-', name)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=0) + "\n")
    return path


def read_list(path: Path) -> list[Config]:
    """The cells of a list; DamagedFileError for what `write_list` did not write."""
    return [config for _, config in _entries(path, {}) if config is not None]


def _entries(path: Path, known: Container[str]) -> Iterator[tuple[str, Config | None]]:
    """Run id and config of each cell of a list; of those that are `known` the run id alone, for
    reading configs is what takes time."""
    remedy = "remove it, or run the sweep again, which writes it"
    text = read_text(path, LARGEST_LIST, remedy, DamagedFileError)
    try:
        for one in json.loads(text):
            if (run := run_id(one)) in known:
                yield run, None
            elif experiment_of(config := from_json(one)).presets:
                yield identity(config), config
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        refuse(str(path), "a list of a sweep's cells", f"({error})", remedy, DamagedFileError)


def statuses(out: Path) -> Iterator[Status]:
    """All sweeps of a results folder. Of each run no more is kept than its status."""
    runs, cells = {}, set()
    for run in store.list_results(out):
        runs[run.run_id] = run.status, run.wall_seconds
        if run.config is not None and _is_cell(run):
            cells.add(run.run_id)
    for path in sorted((out / "sweeps").glob("*.json")):
        counts, failed, seconds = Counter[str](), {}, 0.0
        for cell, _ in _entries(path, cells):
            status, taken = runs.get(cell, ("", 0.0))
            counts[kind := status.partition(":")[0]] += 1
            seconds += taken
            if kind == "failed":
                failed[cell] = status
        complete, running = counts["complete"], counts["running"]
        waiting = counts.total() - complete - running - len(failed)
        yield Status(path.stem, complete, running, failed, waiting, seconds)


class Collected(NamedTuple):
    """The tables that were written, and the results that could not be read for them."""

    paths: list[Path]
    damaged: list[store.Summary]


def collect(out: Path, folder: Path) -> Collected:
    """Write EXPERIMENT.csv and EXPERIMENT.h5 for each experiment with complete cells.

    Damaged ones are left out and named. InputError where there are neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, _Rows] = {}
    damaged = []
    for run in filter(_is_cell, store.list_results(out)):
        if run.config is None:
            damaged.append(run)
        else:
            rows = tables.setdefault(run.config.experiment, _Rows(type(run.config)))
            rows.add(run.config, run)
    if not tables and not damaged:
        remedy = "run `reflfap sweep artificial --preset smoke` first"
        refuse("out", f"complete cells below {out}", "none", remedy)
    paths = []
    for experiment, rows in sorted(tables.items()):
        rows.sort()
        paths += [folder / f"{experiment}.csv", folder / f"{experiment}.h5"]
        rows.write_csv(paths[-2])
        with write_sealed(paths[-1]) as file:
            file.attrs["experiment"] = experiment
            for name, values in rows.columns():
                texts = all(isinstance(value, str) for value in values)
                file[name] = np.asarray([one.encode() for one in values] if texts else values)
    return Collected(paths, damaged)


class _Rows:
    """One row a cell, with the metrics that it has, as values alone: the names stand here once."""

    def __init__(self, kind: type[Config]) -> None:
        self.options = [one.name for one in fields(kind)]
        self.number = {name: i for i, name in enumerate(("run_id", *self.options))}
        self.rows: list[list[Any]] = []

    def add(self, config: Config, run: store.Summary) -> None:
        """A row more, of as many columns as are known by now."""
        row = [run.run_id, *(_plain(getattr(config, name)) for name in self.options)]
        for name in run.metrics:
            self.number.setdefault(name, len(self.number))
        row += [run.metrics.get(name) for name in list(self.number)[len(row) :]]
        self.rows.append(row)

    def sort(self) -> None:
        """Rows by config, the first option first; metrics by the first row that has them."""
        for column in range(len(self.options), 0, -1):
            alike = len({type(row[column]) for row in self.rows}) == 1
            self.rows.sort(key=itemgetter(column) if alike else partial(_typed, column))
        names = list(self.number)
        for row in self.rows:
            row += [None] * (len(names) - len(row))
        first = {
            name: next(at for at, row in enumerate(self.rows) if row[i] is not None)
            for name, i in list(self.number.items())[len(self.options) + 1 :]
        }
        order = [*names[: len(self.options) + 1], *sorted(first, key=lambda one: (first[one], one))]
        self.number = {name: self.number[name] for name in order}

    def columns(self) -> Iterator[tuple[str, list[Any]]]:
        """Names and values, nan for what a cell does not have."""
        for name, i in self.number.items():
            yield name, [np.nan if row[i] is None else row[i] for row in self.rows]

    def write_csv(self, path: Path) -> None:
        """The rows as text; what a cell does not have is left empty."""
        with (
            whole_file(path) as descriptor,
            open(descriptor, "w", newline="", encoding="utf-8", closefd=False) as text,
        ):
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(self.number)
            writer.writerows([row[i] for i in self.number.values()] for row in self.rows)


def _typed(column: int, row: list[Any]) -> tuple[str, Any]:
    """What a row is sorted by where a column has values that cannot be compared."""
    return str(type(row[column])), row[column]


def _plain(value: Any) -> Any:
    """An option as it stands in a table; the same text of many cells is kept once."""
    value = " ".join(value) if isinstance(value, tuple) else value
    return sys.intern(value) if isinstance(value, str) else value


def _is_cell(run: store.Summary) -> bool:
    """Whether a run is a row of a table, or would be if its file were not damaged."""
    if run.config is not None:
        return bool(experiment_of(run.config).presets)
    known = run.experiment in MODULES
    return run.status.startswith("damaged") and known and bool(named(run.experiment).presets)


def read_table(path: Path, kind: type[Kind]) -> list[tuple[Kind, dict[str, float]]]:
    """Configs and metrics of the cells in a CSV that `collect` wrote, perhaps on another machine.

    Each row's run id must be that of its config and come once, each cell have its accuracies, and
    each number be one that `collect` writes; DamagedFileError naming the line for anything else.
    """
    remedy = "collect it again"
    lines = csv.reader(
        io.StringIO(read_text(path, LARGEST_LIST, remedy, DamagedFileError), newline=""),
        strict=True,
    )
    found: dict[str, tuple[Kind, dict[str, float]]] = {}
    try:
        columns = _columns(next(lines, []), kind)
        for values in lines:
            if len(values) != len(columns):
                raise ValueError(f"{len(values)} values for {len(columns)} columns")
            cell = _cell(dict(zip(columns, values, strict=True)), kind)
            run = identity(cell[0])
            if run in found:
                raise ValueError(f"run {run} once more")
            found[run] = cell
    except (ValueError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        got = f"(line {lines.line_num}: {str(error)[:_LONGEST_REASON]})"
        expected = "a table of `reflfap sweep collect`"
        refuse(str(path), expected, got, remedy, DamagedFileError)
    return list(found.values())


def _columns(names: list[str], kind: type[Kind]) -> list[str]:
    """A table's header, which must name run id, config and accuracies, and each column once."""
    needed = {"run_id", *_option_names(kind), *_accuracies(kind)} - kind.later.keys()
    if missing := sorted(needed.difference(names)):
        raise ValueError(f"no column {missing[0]}")
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{count} columns {name}")
    return names


def _option_names(kind: type[Config]) -> set[str]:
    return {field.name for field in fields(kind)}


def _accuracies(kind: type[Config]) -> list[str]:
    """Of all cells: of the three networks where cells share some, else what the experiment says."""
    if (experiment := named(kind.experiment)).sharing is None:
        return list(experiment.accuracies)
    return [f"acc_{network}" for network in NETWORKS]


def _cell(row: dict[str, str], kind: type[Kind]) -> tuple[Kind, dict[str, float]]:
    """Config and metrics of a row; ValueError for what is no cell."""
    options = _option_names(kind).intersection(row)
    config = kind(**{name: _value(name, row[name]) for name in options})
    if identity(config) != row["run_id"]:
        raise ValueError(f"not the config of run {row['run_id']}")
    rest = {name: _metric(name, row[name]) for name in row if name not in {*options, "run_id"}}
    metrics = {name: value for name, value in rest.items() if value is not None}
    if missing := [name for name in _accuracies(kind) if name not in metrics]:
        raise ValueError(f"no {missing[0]}")
    return config, metrics


def _metric(name: str, text: str) -> float | None:
    """A number of a table that can be one of its metrics; None for what a cell does not have."""
    accuracy = name.startswith(("acc_", "attack_success"))
    # an empty field; tables of before said nan, which no accuracy can be: every cell has those
    if not text or (text == "nan" and not accuracy):
        return None
    fraction = accuracy or name == "alignment_test"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (fraction and not 0 <= value <= 1):
        kind = "a number from 0 to 1" if fraction else "a finite number"
        raise ValueError(f"{name} {text}, not {kind}")
    return value


def _value(name: str, text: str) -> Any:
    """A number of a table as such, else its text; an id, which may look like a number, as text."""
    if name == "classifier" or text in _FLAGS:
        return _FLAGS.get(text, text)
    try:
        return json.loads(text)
    except ValueError:
        return text
