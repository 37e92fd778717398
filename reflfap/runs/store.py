"""Results on disk: DIR/EXPERIMENT/RUN_ID/result.h5, with checkpoints beside it while a run lasts.

Root attributes, groups `metrics`, `networks`, `traces` and `data` are described in
docs/result-file.md. A file with the final name is complete (reflfap.sealed); this module adds what
a result is, and what a stranger's file may not do.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py
import numpy as np

from reflfap.backend import HostArray
from reflfap.errors import DamagedFileError, InputError, StoreError, refuse
from reflfap.experiments.experiment import Config, Dataset, Kind, Pieces, Stored, run_id
from reflfap.experiments.registry import from_json
from reflfap.files import is_locked, read_text, write_text
from reflfap.runs import checkpoints
from reflfap.sealed import (
    AGAIN,
    dataset_names,
    fitting,
    fitting_array,
    member,
    names_in,
    open_sealed,
    read_head,
    write_sealed,
)

SCHEMA_VERSION = 1
RESULT = "result.h5"
LOCK = "lock"
FAILURE = "failed.txt"
ROOT_ATTRIBUTES = {
    "schema_version": int,
    "experiment": str,
    "run_id": str,
    "config_json": str,
    "created_utc": str,
    "wall_seconds": float,
    "backend": str,
    "device": str,
    "dtype": str,
    "blas": str,
    "threads": int,
    "versions_json": str,
    "source_revision": str,
}
"""What every result says of itself."""
_LARGEST_TEXT = 2**20
_NO_RUNS = {"parts", "sweeps", "tables", "figures"}  # what else lies in a results folder
_AGAIN = "run the experiment again with --force"


class Summary(NamedTuple):
    """One run as `reflfap list` shows it."""

    run_id: str
    experiment: str
    path: Path
    status: str  # complete, running, interrupted, failed: and why, damaged: and why
    metrics: dict[str, float]
    config: Config | None = None  # of a complete one
    wall_seconds: float = 0.0
    created: str = ""  # UTC, as ISO 8601 writes it, of a complete one


def folder_for(out: Path, experiment: str, config_json: str) -> Path:
    """DIR/EXPERIMENT/RUN_ID, created if need be; InputError if it cannot be."""
    folder = out / experiment / run_id(config_json)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        got = f"{out} ({error.strerror})"
        refuse("out", "a folder that can be written", got, "choose another --out")
    return folder


def write(
    folder: Path,
    config_json: str,
    attributes: Mapping[str, Any],
    metrics: Mapping[str, float],
    datasets: Mapping[str, Dataset],
) -> Path:
    """Write the result of one run into its folder, whole or not at all."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "experiment": folder.parent.name,
        "run_id": run_id(config_json),
        "config_json": config_json,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        **attributes,
    }
    numbers = {name: float(value) for name, value in metrics.items()}
    head = json.dumps({"attributes": content, "metrics": numbers}, sort_keys=True)
    with write_sealed(folder / RESULT, head=head) as file:
        file.attrs.update(content)
        file.create_group("metrics").attrs.update(numbers)
        for name, dataset in datasets.items():
            stored = _put(file, name, dataset.values)
            stored.attrs.update(shape_names=dataset.shape_names, units=dataset.units)
    return folder / RESULT


def _put(file: Any, name: str, values: HostArray | Pieces) -> Any:
    """A dataset in one block, so that a reader can map it; pieces go in as they come."""
    if not isinstance(values, Pieces):
        return file.create_dataset(name, data=values)
    stored, first = file.create_dataset(name, values.shape, values.dtype), 0
    for piece in values.pieces:
        stored[first : first + len(piece)] = piece
        first += len(piece)
    if first != len(stored):
        raise ValueError(f"{name}: {first} of {len(stored)} rows came")
    return stored


@contextlib.contextmanager
def open_result(path: Path | str, digest: bool = True, copy: bool = False) -> Iterator["Result"]:
    """A context with a verified result, open for reading: `with open_result(path) as result`.

    `path` is that of a result.h5. Raises DamagedFileError saying what is wrong. Without `digest`,
    for one that has just been verified, the file is not read whole again. A `copy` may lie in any
    folder; else its run must be the one that its folder names.
    """
    path = Path(path)
    with open_sealed(path, digest=digest) as (file, raw, seal):
        attributes, metrics = _attributes(file, path), _attributes(file, path, "metrics")
        yield Result(file, raw, path, _about(path, attributes, metrics, copy), seal)


class About(NamedTuple):
    """What a result says of itself."""

    attributes: dict[str, Any]
    metrics: dict[str, float]
    config: Config


def _about(
    path: Path, attributes: dict[str, Any], metrics: dict[str, Any], copy: bool = False
) -> About:
    """What the result at `path` says, checked; DamagedFileError for what none says."""
    if (got := attributes.get("schema_version")) != SCHEMA_VERSION:
        expected, remedy = (
            f"schema version {SCHEMA_VERSION}",
            "read it with the reflfap that wrote it",
        )
        refuse(str(path), expected, got, remedy, DamagedFileError)
    own = run_id(str(attributes.get("config_json")))
    if {own, attributes.get("run_id")} != {own if copy else path.parent.name}:
        expected, got = f"run {path.parent.name}", "the config of another run"
        remedy = "move the file back to its own folder, or remove it"
        refuse(str(path), expected, got, remedy, DamagedFileError)
    for name, kind in ROOT_ATTRIBUTES.items():
        if not isinstance(got := attributes.get(name), kind):
            expected = f"attribute {name} of type {kind.__name__}"
            refuse(str(path), expected, repr(got), AGAIN, DamagedFileError)
    for name, value in metrics.items():
        if not isinstance(value, float):
            raise DamagedFileError(f"{path}: expected metric {name} as a float, got {value!r}")
    try:
        return About(attributes, metrics, from_json(attributes["config_json"]))
    except InputError as error:
        raise DamagedFileError(f"{path}: {error}") from error


def stated(path: Path, digest: bool = False, copy: bool = False) -> About:
    """What the result at `path` says in front, its seal verified with `digest`, or if the file was
    made before that was. Costs a hundredth of `open_result` where there are few arrays; raises as
    that does, but for what is no HDF5 behind a good seal."""
    head = read_head(path, digest)
    if not head:
        with open_result(path, copy=copy) as result:
            return About(result.attributes, result.metrics, result.config)
    try:
        content = json.loads(head)
        return _about(path, dict(content["attributes"]), dict(content["metrics"]), copy)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedFileError(f"{path}: not a result of reflfap ({error}); remove it") from error


class Result(Stored):
    """A verified result file: attributes, metrics, and arrays read on request."""

    def __init__(self, file: Any, raw: BinaryIO, path: Path, about: About, seal: str) -> None:
        self._file, self._raw = file, raw
        self.path = path
        self.attributes, self.metrics, self.config = about
        self.seal = seal

    def __repr__(self) -> str:
        about = f"{self.config.experiment} {self.attributes['run_id']}"
        return f"Result({about}, {len(self.names())} arrays, {self.path})"

    def names(self) -> list[str]:
        """The names of all datasets, such as "networks/standard/W"."""
        return sorted(dataset_names(self._file, self.path))

    def array(self, name: str, shape: tuple[int, ...], kind: str = "f") -> HostArray:
        """The dataset `name`, which must have floats (kind "f") or whole numbers ("i") in `shape`;
        -1 is any length up to 10^7."""
        return fitting_array(self._file, name, self.path, shape, _AGAIN, kind)

    def mapped(self, name: str, shape: tuple[int, ...]) -> HostArray:
        """The same without reading it: rows come from the disk when they are used.

        For sets that memory may not hold. The array stays good when the file is closed, and, where
        a new file replaces this one, shows the old one.
        """
        dataset = fitting(self._file, name, self.path, shape, _AGAIN)
        where, kind = dataset.id.get_offset(), dataset.dtype
        if where is None or not dataset.id.get_type().equal(h5py.h5t.py_create(kind)):
            raise DamagedFileError(
                f"{self.path}: expected {name} in one block, as floats that NumPy knows; {_AGAIN}"
            )
        try:
            return np.memmap(self._raw, kind, mode="r", offset=where, shape=dataset.shape)
        except ValueError as error:  # beyond the end of the file
            raise DamagedFileError(f"{self.path}: {name}: {error}; {_AGAIN}") from error


def list_results(out: Path) -> Iterator[Summary]:
    """All runs below `out`, complete or not, without reading their arrays.

    Checks format, length and what is shown of each file, not all of it: `verify` does. What cannot
    be read is one of them, and says so; StoreError where this is the folder of all.
    """
    if not out.exists():
        return
    try:
        experiments = sorted(one for one in out.iterdir() if one.name not in _NO_RUNS)
    except OSError as error:
        raise StoreError(f"{out}: cannot be read ({error.strerror}); give another --out") from error
    for experiment in experiments:
        try:
            names = sorted(os.listdir(experiment)) if experiment.is_dir() else []
        except OSError as error:
            names, status = [], f"unreadable: {error.strerror}"
            yield Summary("?", experiment.name, experiment / "?" / RESULT, status, {})
        for name in names:
            if (found := _summary(experiment / name, name, experiment.name)) is not None:
                yield found


def _summary(folder: Path, name: str, experiment: str) -> Summary | None:
    """What is known of the run in a folder; None where there is none."""
    path, seconds, created = folder / RESULT, 0.0, ""
    metrics: dict[str, float] = {}
    config: Config | None = None
    try:
        if path.exists():
            status = "complete"
            attributes, metrics, config = stated(path)
            seconds, created = attributes["wall_seconds"], attributes["created_utc"]
        elif is_locked(folder / LOCK):
            status = "running"
        elif (folder / FAILURE).exists():
            text = read_text(folder / FAILURE, _LARGEST_TEXT)
            status = f"failed: {text.strip()[:200]}"
        elif (folder / checkpoints.FOLDER).is_dir() or (folder / LOCK).exists():
            status = "interrupted"
        else:
            return None
    except (DamagedFileError, RuntimeError) as error:
        status = f"damaged: {error}"
    except StoreError as error:
        status = f"unreadable: {error}"
    except OSError as error:
        status = f"unreadable: {error.strerror}"
    return Summary(name, experiment, path, status, metrics, config, seconds, created)


def complete_results(out: Path, kind: type[Kind]) -> Iterator[tuple[Kind, Summary]]:
    """The complete runs of one experiment below `out`, with their configs."""
    for run in list_results(out):
        if type(run.config) is kind:
            yield run.config, run


def find(out: Path, name: str) -> Path:
    """The result file that `name` means: a path, or a run id below `out`, or its beginning."""
    if (path := Path(name)).is_file():
        return path.resolve()
    if path.is_dir() and (path / RESULT).is_file():
        return (path / RESULT).resolve()
    found = sorted(out.glob(f"*/{name}*/{RESULT}")) if name.isalnum() else []
    if len(found) != 1:
        got = f"{len(found)} for {name!r}"
        refuse("run", f"one result below {out}", got, "`reflfap list` shows the run ids")
    return found[0]


def record_failure(folder: Path, error: Exception | str) -> None:
    """Say beside a run why it has no result, as far as that can be written; the next attempt that
    succeeds removes it."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    with contextlib.suppress(OSError, StoreError):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FAILURE, text + "\n")


def _attributes(file: Any, path: Path, group: str = "/") -> dict[str, Any]:
    """The attributes of a group as str, int or float; refuses what could be large."""
    try:
        attributes = (file if group == "/" else member(file, group, path)).attrs
        found: dict[str, Any] = {}
        for name in names_in(attributes, path):
            stored = attributes.get_id(name)
            single = math.prod(stored.shape) == 1 and stored.get_storage_size() <= _LARGEST_TEXT
            value = attributes[name] if single else None
            found[name] = value.item() if isinstance(value, np.generic) else value
            f"{name} {found[name]}".encode()  # ValueError for what is not UTF-8
            if not isinstance(found[name], str | int | float):
                raise DamagedFileError(f"{path}: attribute {name} is not a single short value")
    except (KeyError, OSError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedFileError(f"{path}: not a result of reflfap ({error}); remove it") from error
    return found
