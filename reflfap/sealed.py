"""HDF5 files that are either complete or absent, and that cannot change unnoticed.

Layout of a sealed file: an HDF5 user block, then plain HDF5, readable by any HDF5 tool. The first
512 bytes of the block have a line each of the format's name, the SHA-256 and the length of all that
follows. The seal is checked before the HDF5 library parses a byte, so truncated, altered and
foreign files are refused by name. A fourth line, if there is one, is the length and the SHA-256 of
a text that follows in the block: what lists show of a file, so that they need not read it whole,
nor hand what is not verified to HDF5, which a flipped bit may keep busy for ever.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from reflfap.backend import HostArray
from reflfap.checks import MOST_ROWS
from reflfap.errors import DamagedFileError, StoreError, refuse
from reflfap.files import DEFLATE_RATIO, open_regular, whole_file

SEAL_BYTES = 512
MADE_BY = "made_by"
DEEPEST = 8
AGAIN = "remove it and run the experiment again"
FORMAT = b"reflfap sealed HDF5 1"
_LINES = 3  # of a seal without a text
_DIGITS = 7  # of a text's length


@contextlib.contextmanager
def write_sealed(
    path: Path, other: str = "--out", made_by: Mapping[str, str] | None = None, head: str = ""
) -> Iterator[Any]:
    """An open h5py.File; on leaving the block it is sealed, synced and moved to `path`.

    What it was `made_by`, if given, is a part of it, as JSON, which `check_made_by` compares;
    `head` is what `read_head` gives. Until then it is a hidden file of the same folder: see
    `files.whole_file`. A full disk raises StoreError and touches nothing else.
    """
    first, block = head.encode(), SEAL_BYTES
    while block < SEAL_BYTES + len(first):
        block *= 2  # as HDF5 demands
    with (
        whole_file(path, other) as descriptor,
        os.fdopen(descriptor, "r+b", 0, closefd=False) as raw,
    ):
        target = _Unfailing(raw)
        with h5py.File(target, "w", libver="latest", userblock_size=block) as file:
            if made_by is not None:
                file.attrs[MADE_BY] = json.dumps(dict(made_by), sort_keys=True)
            yield file
        if target.error is not None:
            raise target.error
        raw.seek(SEAL_BYTES)
        raw.write(first)
        raw.seek(SEAL_BYTES)
        lines = [FORMAT, _digest(raw), b"%d" % (raw.tell() - SEAL_BYTES)]
        lines += [b"%d %s" % (len(first), _sha256(first))] if head else []
        raw.seek(0)
        raw.write(b"\n".join(lines).ljust(SEAL_BYTES, b"\0"))


def read_head(path: Path, digest: bool = False) -> str:
    """The text that a file has in front, verified; nothing where it has none, as files of before.

    Reads no more than that, and the rest may be damaged, unless its `digest` is asked for. Raises
    as `open_sealed` does. Nothing is handed to HDF5, which takes longer than all else.
    """
    with open_regular(path, AGAIN) as raw:
        if digest:
            _verify_seal(raw, path, digest, AGAIN)
            raw.seek(0)
        return _head(raw, _seal_lines(raw, path, AGAIN), path, AGAIN)


@contextlib.contextmanager
def read_sealed(path: Path, remedy: str = AGAIN) -> Iterator[Any]:
    """The file of `open_sealed` alone."""
    with open_sealed(path, remedy) as (file, *_):
        yield file


@contextlib.contextmanager
def open_sealed(
    path: Path, remedy: str = AGAIN, digest: bool = True
) -> Iterator[tuple[Any, BinaryIO, str]]:
    """The sealed file at `path` as an h5py.File open for reading, its seal verified; the open file
    below it: whatever is moved to `path` meanwhile, both are what was verified; and the SHA-256.

    Raises DamagedFileError saying what is wrong, and `remedy`. Costs one pass over the file; none
    without `digest`, for a file that has just been verified.
    """
    with open_regular(path, "`reflfap list` shows what there is") as raw:
        seal = _verify_seal(raw, path, digest, remedy)
        raw.seek(0)
        try:
            file = h5py.File(raw, "r")
        except (OSError, RuntimeError) as error:  # anybody can seal what is not HDF5
            raise DamagedFileError(
                f"{path}: not HDF5 behind its seal ({error}); {remedy}"
            ) from error
        with file:
            yield file, raw, seal


def read_made_by(file: Any, path: Path) -> dict[str, str]:
    """What a file says that it was made by; StoreError where it says nothing."""
    text = file.attrs.get(MADE_BY)
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        refuse(str(path), "a piece that says what made it", "none", "it is not used", StoreError)
    return {str(name): str(value) for name, value in found.items()}


def check_made_by(file: Any, path: Path, made_by: Mapping[str, str]) -> None:
    """StoreError, naming what differs, unless the file was made by just this."""
    found = read_made_by(file, path)
    other = [name for name in made_by.keys() | found.keys() if made_by.get(name) != found.get(name)]
    if other:
        what = " and ".join(sorted(other))
        refuse(str(path), f"a piece of the same {what}", "another's", "it is not used", StoreError)


def plain_dataset(file: Any, name: str, path: Path) -> Any:
    """The dataset `name`, if its data lie in this file: no links, nothing external or virtual."""
    dataset = member(file, name, path)
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise DamagedFileError(f"{path}: expected {name} as a dataset stored in the file itself")
    return dataset


def dataset_names(file: Any, path: Path) -> Iterator[str]:
    """The names of all datasets that are reached without following a link.

    DamagedFileError for groups in groups beyond DEEPEST: HDF5 takes the square of their number.
    """
    left = [("", file)]
    while left:
        prefix, group = left.pop()
        if prefix.count("/") > DEEPEST:
            refuse(str(path), f"groups {DEEPEST} deep", "deeper ones", AGAIN, DamagedFileError)
        for name in names_in(group, path):
            if isinstance(group.get(name, getlink=True), h5py.HardLink):
                one = group[name]
                if isinstance(one, h5py.Group):
                    left.append((f"{prefix}{name}/", one))
                elif isinstance(one, h5py.Dataset):
                    yield prefix + name


def names_in(group: Any, path: Path) -> Iterator[str]:
    """The names of what a group, or its attributes, has; DamagedFileError where one is no text."""
    for name in group:
        if not isinstance(name, str):  # h5py gives what is no UTF-8 as bytes
            refuse(str(path), "names that are texts", repr(name)[:80], AGAIN, DamagedFileError)
        yield name


def whole_array(file: Any, name: str, path: Path) -> HostArray:
    """All of the dataset `name`, of which no more is claimed than what is stored can unpack to."""
    return _read(plain_dataset(file, name, path), name, path)


def fitting_array(
    file: Any, name: str, path: Path, shape: tuple[int, ...], remedy: str, kind: str = "f"
) -> HostArray:
    """All of a dataset that is `fitting`."""
    return _read(fitting(file, name, path, shape, remedy, kind), name, path)


def _read(dataset: Any, name: str, path: Path) -> HostArray:
    stored = dataset.id.get_storage_size()
    if dataset.nbytes > DEFLATE_RATIO * stored:  # no small file makes us allocate much
        got = f"{stored} bytes for {dataset.nbytes}"
        refuse(f"{path}: {name}", "an array that is there", got, AGAIN, DamagedFileError)
    try:
        return np.asarray(dataset[...])
    except (OSError, RuntimeError, MemoryError) as error:  # HDF5's word for what is not there
        raise DamagedFileError(f"{path}: {name} cannot be read ({error}); {AGAIN}") from error


def fitting(
    file: Any, name: str, path: Path, shape: tuple[int, ...], remedy: str, kind: str = "f"
) -> Any:
    """The dataset `name`, not read yet, which must have floats (kind "f") or whole numbers ("i")
    in `shape`; -1 is any length up to 10^7.
    """
    dataset = plain_dataset(file, name, path)
    fits = len(dataset.shape) == len(shape) and all(
        got == want if want >= 0 else got <= MOST_ROWS
        for got, want in zip(dataset.shape, shape, strict=True)
    )
    if not fits or dataset.dtype.kind != kind:
        what = {"f": "floats", "i": "whole numbers"}[kind]
        expected, got = (
            f"{name} to hold {what} in shape {shape}",
            f"{dataset.dtype} {dataset.shape}",
        )
        refuse(str(path), expected, got, remedy, DamagedFileError)
    return dataset


def member(file: Any, name: str, path: Path) -> Any:
    """The group or dataset `name`, reached without following a link."""
    parts = name.split("/")
    for depth in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:depth]), getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise DamagedFileError(f"{path}: expected {name} in the file itself, got {link}")
    return file[name]


def _verify_seal(raw: BinaryIO, path: Path, digest: bool, remedy: str) -> str:
    """The SHA-256 that a file states, which fits; without `digest`, only format and length do."""
    lines = _seal_lines(raw, path, remedy)
    seal = lines[1].decode("ascii", "replace")
    if digest and lines[1] != _digest(raw):
        got = "another: the content was altered"
        refuse(str(path), f"SHA-256 {seal[:16]}...", got, remedy, DamagedFileError)
    if digest:
        _head(raw, lines, path, remedy)  # what is stated of it is not covered by the digest
    return seal


def _head(raw: BinaryIO, lines: list[bytes], path: Path, remedy: str) -> str:
    """The text in front of a file whose seal has these lines; nothing where it has none."""
    if len(lines) == _LINES:
        return ""
    length, _, digest = lines[_LINES].partition(b" ")
    raw.seek(SEAL_BYTES)
    content = raw.read(int(length) if length.isdigit() and len(length) <= _DIGITS else 0)
    if b"%d" % len(content) != length or digest != _sha256(content):
        refuse(str(path), "its first text unaltered", "another", remedy, DamagedFileError)
    return content.decode()


def _seal_lines(raw: BinaryIO, path: Path, remedy: str) -> list[bytes]:
    """The lines of the seal, of which format and length fit; the file stands behind it then."""
    lines = raw.read(SEAL_BYTES).rstrip(b"\0").split(b"\n")
    if lines[0] != FORMAT or len(lines) not in (_LINES, _LINES + 1):
        got = "nothing" if lines == [b""] else "another format"
        refuse(str(path), "a file written by reflfap", got, remedy, DamagedFileError)
    length = os.fstat(raw.fileno()).st_size - SEAL_BYTES
    if lines[2] != b"%d" % length:
        expected = f"{lines[2].decode('ascii', 'replace')} bytes"
        got = f"{length}: truncated or extended"
        refuse(str(path), expected, got, remedy, DamagedFileError)
    return lines


class _Unfailing(io.RawIOBase):
    """A file that never fails towards HDF5, and remembers the first error.

    HDF5 crashes the process when closing a file whose writes failed (h5py issue 914); so the error
    is kept from it, the rest of the writes is dropped, and `write_sealed` raises afterwards.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        return self.raw.readinto(buffer)

    def write(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            done = 0 if self.error is None else len(view)
            while done < len(view):
                done += self.raw.write(view[done:]) or 0
        except OSError as error:
            self.error = error
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.raw.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.raw.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _digest(raw: Any) -> bytes:
    """Hexadecimal SHA-256 of the rest of the file."""
    return hashlib.file_digest(raw, "sha256").hexdigest().encode()
