"""Tables of samples with classes that people bring, from CSV, .npz, .npy or HDF5.

Whatever the file, a table is the same: samples as float64, classes as text, and a digest of both.
"""

import array
import contextlib
import csv
import hashlib
import io
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from reflfap.backend import HostArray
from reflfap.data_loaders.own_files import HDF5, REMEDY, at_most, open_arrays, read_npy
from reflfap.errors import StoreError, refuse
from reflfap.files import open_regular

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LONGEST_LABEL = 200  # characters; all labels take as many as the longest
_LONGEST_LINE = 2**24  # characters
_CLEAN = "fill it in, or remove the row or the column"
_CLASSES = "give whole numbers or names; a table is for classes, not for measured values"


class Table(NamedTuple):
    """Samples as rows, and the class of each as text."""

    x: HostArray  # (N, d) float64
    y: HostArray  # (N,) of str
    features: tuple[str, ...]  # names of the d columns
    sha256: str  # of x and y, however they were packed


def read_samples(paths: Sequence[Path] | Path, samples: str = "x", label: str = "") -> Table:
    """The table in a .csv, .tsv, .npz or HDF5 file, or in two .npy files: samples, then labels.

    `samples` and `label`, default x and y, name the arrays (N, d) and (N,) of .npz and HDF5, where
    a name may have slashes. Of a CSV, `label` names the column of classes, default the last. Its
    first line has the names, unless it consists of numbers, a class in the last column apart: then
    columns are called 0, 1 and so on. Samples may be whole numbers, truth values or floats of up to
    64 bits in any byte order. Labels may be whole numbers, written "0", "1", and so are floats
    without a fraction; truth values, "False" and "True"; or texts.

    InputError, with row and column, for NaN, infinity and what is no number; for one class alone,
    shapes that do not fit, missing names, objects, and more than 4 GiB as float64. DamagedFileError
    for files that are not whole; StoreError for those that cannot be read.
    Time: one pass, of CSV some million numbers a second. Memory: the table and the array as stored.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(one) for one in paths]
    endings = [one.suffix.lower() for one in files]
    where = ", ".join(map(str, files)) or "data"
    if len(files) == 1 and endings[0] in DELIMITERS:
        return _from_text(files[0], DELIMITERS[endings[0]], label)
    if endings == [".npy", ".npy"]:
        return _from_arrays(where, read_npy(files[0]), read_npy(files[1]))
    if len(files) == 1 and endings[0] in (".npz", *HDF5):
        with open_arrays(files[0]) as arrays:
            return _from_arrays(where, arrays.read(samples), arrays.read(label or "y"))
    known = ", ".join((*DELIMITERS, ".npz", *HDF5))
    expected = f"one file, {known}, or two .npy, samples and labels"
    refuse(where, expected, " and ".join(endings) or "none", "convert it to one of these")


def _from_arrays(where: str, x: HostArray, y: HostArray) -> Table:
    if x.dtype.kind not in "biuf":
        refuse(where, "numbers as samples", f"text ({x.dtype})", "code them as numbers")
    if x.ndim != 2 or y.ndim != 1:
        got, remedy = f"shapes {x.shape} and {y.shape}", "reshape them, samples as rows"
        refuse(where, "samples (N, d) and labels (N,)", got, remedy)
    at_most(where, 8 * x.size)
    features = tuple(map(str, range(x.shape[1])))
    return _table(where, np.ascontiguousarray(x, np.float64), _texts(where, y), features)


def _texts(where: str, y: HostArray) -> list[str]:
    """Labels of an array as text."""
    if y.dtype.kind in "US" and y.dtype.itemsize > 4 * LONGEST_LABEL:
        got = f"items of {y.dtype.itemsize} bytes"
        refuse(where, f"labels of at most {LONGEST_LABEL} characters", got, "shorten them")
    if y.dtype.kind == "S":
        try:
            y = np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:
            refuse(
                where, "labels as UTF-8", f"other bytes ({error})", "give them as text or numbers"
            )
    if y.dtype.kind == "f":
        for row in np.flatnonzero(y != np.floor(y))[:1]:  # NaN among them
            refuse(f"{where}: row {row}", "a class", y[row], _CLASSES)
        return [_class(where, row, str(one)) for row, one in enumerate(y.astype(np.float64))]
    if y.dtype.kind == "U":
        return [_class(where, row, str(one)) for row, one in enumerate(y)]
    return [str(one) for one in y.tolist()]


def _class(where: str, row: int, text: str) -> str:
    """A label as text: numbers without a fraction as whole ones, so that all files agree."""
    text = text.strip()
    if not text or len(text) > LONGEST_LABEL:
        got = f"{len(text)} characters"
        refuse(f"{where}: row {row}", f"a class of 1 to {LONGEST_LABEL} characters", got, _CLEAN)
    if not (text[0].isdecimal() or text[0] in "+-.nNiI") or "_" in text:
        return text
    with contextlib.suppress(ValueError):
        return str(int(text))
    try:
        number = float(text)
    except ValueError:
        return text
    if not number.is_integer():
        refuse(f"{where}: row {row}", "a class", text, _CLASSES)
    return str(int(number))


def _table(where: str, x: HostArray, labels: list[str], features: tuple[str, ...]) -> Table:
    """A table once it is checked."""
    if 0 in x.shape:
        refuse(where, "at least one sample and one column", f"shape {x.shape}", "give some")
    if len(labels) != len(x):
        got, remedy = f"{len(labels)} labels for {len(x)} samples", "give one label a sample"
        refuse(where, "as many labels as samples", got, remedy)
    _check_finite(where, x, features)
    names = sorted(set(labels))
    if len(names) < 2:
        refuse(where, "at least two classes", f"{names[0]!r} alone", "check the label column")
    codes = {name: code for code, name in enumerate(names)}
    y = np.array(names)[[codes[one] for one in labels]]
    digest = hashlib.sha256(np.ascontiguousarray(x, "<f8").data)
    digest.update(json.dumps(labels).encode())  # as many as there are rows
    return Table(x, y, features, digest.hexdigest())


def _check_finite(where: str, x: HostArray, features: Sequence[str]) -> None:
    """Refuse NaN and infinity by row and column; holds a part at a time."""
    part = max(1, 2**22 // x.shape[1])
    for start in range(0, len(x), part):
        wrong = np.argwhere(~np.isfinite(x[start : start + part]))
        if len(wrong):
            row, column = start + wrong[0][0], wrong[0][1]
            got = f"{x[row, column]} at row {row}, column {features[column]!r}"
            refuse(where, "finite numbers", got, _CLEAN)


def _from_text(path: Path, delimiter: str, label: str) -> Table:
    """The table in a text file; rows are called by the numbers of their lines."""
    values, labels = array.array("d"), []
    with open_regular(path, REMEDY) as raw:
        lines = csv.reader(_lines(raw, path), delimiter=delimiter, strict=True)
        rows = _rows(lines, path)
        begin, top = next(rows, (0, [""]))
        if not any(top):
            refuse(str(path), "rows of numbers with a class each", "an empty file", "give some")
        if len(top) < 2:
            remedy = "separate columns by a comma in .csv, by a tab in .tsv"
            refuse(str(path), "at least two columns", f"one, {top[0][:80]!r}", remedy)
        _check_first(path, top)
        headed = not _all_numbers(top)
        names = _header(path, top) if headed else [str(number) for number in range(len(top))]
        column = _column(path, names, label)
        features = tuple(name for number, name in enumerate(names) if number != column)
        known: dict[str, str] = {}  # one text for each class
        for line, row in rows if headed else itertools.chain([(begin, top)], rows):
            if len(row) != len(names):
                refuse(f"{path}: row {line}", f"{len(names)} fields", len(row), "complete the row")
            text = row.pop(column)
            labels.append(known.get(text) or known.setdefault(text, _class(str(path), line, text)))
            values.extend(_numbers(path, line, row, features))
            at_most(str(path), 8 * len(values))
    x = np.array(values, copy=None).reshape(len(labels), len(features))
    return _table(str(path), x, labels, features)


def _lines(raw: BinaryIO, path: Path) -> Iterator[str]:
    """The lines of a text in UTF-8, with or without a byte order mark, none of them endless."""
    with io.TextIOWrapper(raw, "utf-8-sig", newline="") as text:
        while True:
            try:
                line = text.readline(_LONGEST_LINE)
            except UnicodeDecodeError as error:
                refuse(str(path), "text as UTF-8", f"other bytes ({error})", "save it as UTF-8")
            except OSError as error:
                raise StoreError(f"{path}: cannot be read ({error}); {REMEDY}") from error
            if len(line) == _LONGEST_LINE:
                got = f"one of {_LONGEST_LINE} or more"
                refuse(str(path), "lines of some length", got, "check that it is a table")
            if not line:
                return
            yield line


def _rows(lines: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the number of its (last) line."""
    while True:
        try:
            row = next(lines, None)
        except csv.Error as error:
            where = f"{path}: row {lines.line_num}"
            refuse(where, "fields, quoted where need be", str(error), "check its quotes")
        if row is None:
            return
        if row:
            yield lines.line_num, row


def _all_numbers(top: list[str]) -> bool:
    """Whether a first line is a row: numbers, and at the end a class, which may be a word.

    0, 1, 2 ... and a word are the names that pandas gives to columns without any.
    """
    counted = [str(place) for place in range(len(top) - 1)]
    return _numeric(top[:-1]) and (_numeric(top[-1:]) or top[:-1] != counted)


def _check_first(path: Path, top: list[str]) -> None:
    """InputError where a first line may be names or a row, or fields are separated otherwise."""
    remedy = "write a first line with a name for each column"
    if len(top) > 2 and top == [str(place) for place in range(len(top))]:
        got = f"{', '.join(top[:5])}, which may be either"
        refuse(str(path), "names of columns, or a first row", got, remedy)
    if any(";" in field for field in top):
        got, remedy = f"semicolons, in {','.join(top)[:80]!r}", "save it with commas, 1.5 for 1,5"
        refuse(str(path), "fields separated by commas, or tabs", got, remedy)
    some = [field for field in top[:-1] if _numeric([field])]
    if some and not _numeric(top[:-1]):
        got = f"{some[0]!r} among {', '.join(top)[:80]!r}"
        refuse(str(path), "names of columns, or numbers alone, in the first line", got, remedy)


def _header(path: Path, top: list[str]) -> list[str]:
    names = [name.strip() for name in top]
    for place, name in enumerate(names):
        if not name:
            remedy = "name it, or write the table without its index"
            refuse(str(path), "a name for each column", f"none for column {place}", remedy)
        if name in names[:place]:
            refuse(str(path), "each name once", f"{name!r} twice", "rename one of the columns")
    return names


def _column(path: Path, names: list[str], label: str) -> int:
    if not label:
        return len(names) - 1
    if label not in names:
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        refuse(str(path), f"a column {label!r}", shown, "name the column that has the classes")
    return names.index(label)


def _numbers(path: Path, line: int, row: list[str], features: Sequence[str]) -> list[float]:
    """A row's numbers; InputError for the first field that is none, or not finite."""
    for name, text in zip(features, row, strict=True) if not _all_finite(row) else ():
        if not _all_finite([text]):
            got = f"{text[:80]!r} in column {name!r}"
            refuse(f"{path}: row {line}", "a number", got, f"{_CLEAN}, or code it as a number")
    return [float(text) for text in row]


def _all_finite(row: list[str]) -> bool:
    return _numeric(row) and all(map(math.isfinite, map(float, row)))


def _numeric(row: list[str]) -> bool:
    """Whether all fields are numbers, NaN among them; 1_000, which float takes, is none."""
    try:
        return "_" not in "".join(row) and len(list(map(float, row))) > 0
    except ValueError:
        return False
