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
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reflfap.errors import DamagedFileError, refuse
from reflfap.experiments.experiment import Config, Kind, canonical_json, identity
from reflfap.experiments.registry import experiment_of, from_json
from reflfap.files import write_text
from reflfap.runs import store
from reflfap.sealed import write_sealed

LARGEST_LIST = 2**27  # bytes
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
    try:
        if path.stat().st_size > LARGEST_LIST:
            raise ValueError("too large")
        configs = [from_json(text) for text in json.loads(path.read_text(encoding="utf-8"))]
        cells = [config for config in configs if experiment_of(config).presets]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        remedy = "remove it, or run the sweep again, which writes it"
        refuse(str(path), "a list of a sweep's cells", f"({error})", remedy, DamagedFileError)
    return cells


def statuses(out: Path) -> Iterator[Status]:
    """All sweeps of a results folder."""
    runs = {run.run_id: run for run in store.list_results(out)}
    for path in sorted((out / "sweeps").glob("*.json")):
        cells = [identity(config) for config in read_list(path)]
        found = [runs[cell] for cell in cells if cell in runs]
        kinds = [run.status.partition(":")[0] for run in found]
        complete, running = kinds.count("complete"), kinds.count("running")
        failed = {run.run_id: run.status for run in found if run.status.startswith("failed")}
        waiting = len(cells) - complete - running - len(failed)
        seconds = sum(run.wall_seconds for run in found)
        yield Status(path.stem, complete, running, failed, waiting, seconds)


def collect(out: Path, folder: Path) -> list[Path]:
    """Write EXPERIMENT.csv and EXPERIMENT.h5 for each experiment with complete cells."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    complete = [
        (run.config, run)
        for run in store.list_results(out)
        if run.config is not None and experiment_of(run.config).presets
    ]
    for experiment in sorted({config.experiment for config, _ in complete}):
        rows = _rows(one for one in complete if one[0].experiment == experiment)
        paths += [folder / f"{experiment}.csv", folder / f"{experiment}.h5"]
        write_text(paths[-2], _csv(rows))
        with write_sealed(paths[-1]) as file:
            file.attrs["experiment"] = experiment
            for name in rows[0]:
                values = [row[name] for row in rows]
                texts = all(isinstance(value, str) for value in values)
                file[name] = np.asarray([one.encode() for one in values] if texts else values)
    if not paths:
        remedy = "run `reflfap sweep artificial --preset smoke` first"
        refuse("out", f"complete cells below {out}", "none", remedy)
    return paths


def read_table(path: Path, kind: type[Kind]) -> list[tuple[Kind, dict[str, float]]]:
    """Configs and metrics of the cells in a CSV that `collect` wrote, perhaps on another machine.

    Each row's run id must be that of its config; DamagedFileError for anything else.
    """
    names = {field.name for field in fields(kind)}
    found = []
    try:
        if path.stat().st_size > LARGEST_LIST:
            raise ValueError("too large")
        with open(path, encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file, strict=True), 2):
                config = kind(**{name: _value(name, row[name]) for name in names})
                if identity(config) != row["run_id"]:
                    raise ValueError(f"line {number}: not the config of run {row['run_id']}")
                rest = {k: float(v) for k, v in row.items() if k not in names | {"run_id"}}
                found.append((config, {k: v for k, v in rest.items() if not math.isnan(v)}))
    except (OSError, ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        expected = "a table of `reflfap sweep collect`"
        refuse(str(path), expected, f"({error})", "collect it again", DamagedFileError)
    return found


def _value(name: str, text: str) -> Any:
    """A number of a table as such, else its text; an id, which may look like a number, as text."""
    if name == "classifier" or text in _FLAGS:
        return _FLAGS.get(text, text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _rows(runs: Iterable[tuple[Config, store.Summary]]) -> list[dict[str, Any]]:
    """One row a cell, all with the same columns."""
    rows = []
    for its, run in runs:
        config = {
            name: " ".join(value) if isinstance(value, tuple) else value
            for name, value in asdict(its).items()
        }
        rows.append({"run_id": run.run_id, **config, **run.metrics})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    rows.sort(key=lambda row: [(str(type(row[name])), row[name]) for name in config])
    return [{name: row.get(name, np.nan) for name in columns} for row in rows]


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
