"""What is in a folder of results: its entries, and the numbers that its files state."""

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

TOLERANCE = 1e-5
"""Relative: docs/sweeps.md promises the numbers of single runs up to rounding."""

EXACT = ("acc", "attack_success", "samples")
"""Beginnings of the names of fractions of samples and of counts, which rounding does not reach."""

NUMBERED = ("result.h5", "*.csv", "train.h5", "test.h5", "artificial.h5", "images.h5", "*.png")

LARGEST = 2**26
"""Bytes of a file that the campaign itself reads."""

Number = float | str
Numbers = dict[str, Number]


def entries(folder: Path) -> set[str]:
    """All files and folders below, but for what the children of the campaign said."""
    found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    return {one for one in found if one.split("/")[0] != "said"}


def size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def numbers(folder: Path) -> Numbers:
    """What results, tables, converted sets and pictures below `folder` say, by file and name."""
    found: Numbers = {}
    for pattern in NUMBERED:
        for path in sorted(folder.rglob(pattern)):
            if path.is_file() and path.stat().st_size < LARGEST:
                name = path.relative_to(folder)
                found |= {f"{name}: {key}": value for key, value in _of_a_file(path)}
    return found


def _of_a_file(path: Path) -> Iterator[tuple[str, Number]]:
    """Of a file that may be damaged: then that it cannot be read."""
    try:
        if path.suffix == ".csv":
            yield from _of_a_table(path)
        elif path.suffix == ".png":
            yield "SHA-256", hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            with h5py.File(path) as file:
                yield from _of_hdf5(file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, csv.Error) as error:
        yield "readable", str(error)


def _of_hdf5(file: h5py.File) -> Iterator[tuple[str, Number]]:
    """Metrics of a result, columns of a table, the digest of a converted set."""
    if "metrics" in file:
        yield from ((name, float(value)) for name, value in file["metrics"].attrs.items())
    elif "images" in file:
        yield "images", hashlib.sha256(file["images"][...].tobytes()).hexdigest()
    elif "run_id" in file:
        for name, column in file.items():
            rows = zip(file["run_id"][...], column[...], strict=True)
            yield from ((f"{run.decode()} {name}", _plain(value)) for run, value in rows)


def _of_a_table(path: Path) -> Iterator[tuple[str, Number]]:
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            yield from ((f"{row.get('run_id')} {name}", str(row[name])) for name in row)


def _plain(value: Any) -> Number:
    return value.decode() if isinstance(value, bytes) else float(value)


def differing(found: Mapping[str, Number], expected: Mapping[str, Number]) -> str:
    """The first number that differs from the one of the same name, else nothing."""
    for name in sorted(found.keys() & expected.keys()):
        if not _alike(name.split()[-1], found[name], expected[name]):
            return f"{name}: {found[name]}, not {expected[name]}"
    return ""


def _alike(name: str, one: Number, other: Number) -> bool:
    try:
        first, second = float(one), float(other)
    except ValueError:
        return one == other
    if math.isnan(first) or math.isnan(second):
        return math.isnan(first) and math.isnan(second)
    if name.startswith(EXACT):
        return first == second
    return math.isclose(first, second, rel_tol=TOLERANCE)
