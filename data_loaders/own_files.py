"""Arrays from files that people bring: .npz, .npy and HDF5, taken for hostile.

Kind, shape and size of an array are known before a byte of it is allocated, and no file is believed
to hold more than it can. Objects are never read: their pickles run whatever code they name.
"""

import contextlib
import io
import math
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import h5py
import numpy as np
from numpy.lib import format as npy

from reflfap.backend import HostArray
from reflfap.errors import DamagedFileError, ReflfapError, refuse
from reflfap.files import DEFLATE_RATIO, open_regular
from reflfap.sealed import names_in, plain_dataset

MOST = 2**32  # bytes of a file, and of an array
HDF5 = (".h5", ".hdf5")
REMEDY = "give a file that is whole and can be read"
_HEADER = 10_000  # bytes of a .npy header; numpy parses no longer ones
_DIRECTORY = 2**22  # bytes of a zip file's directory, which names some 70,000 arrays
_PIECE = 2**20
_KINDS = "biufSU"  # truth values, whole numbers, floats, text of a fixed length
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError),
    *(OSError, EOFError, ValueError, TypeError, LookupError, OverflowError, SyntaxError),
)
"""What the parsers of zip, .npy and HDF5 raise on bytes that are none."""


class NamedArrays(NamedTuple):
    """The arrays of an open file, read when they are asked for."""

    path: Path
    names: tuple[str, ...]
    get: Callable[[str], HostArray]

    def read(self, name: str) -> HostArray:
        """The array `name`, of truth values, numbers or texts, in any shape and byte order.

        InputError where there is none, naming those that there are, and for objects;
        DamagedFileError for damage, links, and claims that the file cannot hold.
        """
        with _whole(self.path):
            return self.get(name)

    def missing(self, name: str) -> NoReturn:
        """Refuse the file for what it lacks."""
        there = ", ".join(self.names[:20]) or "none"
        refuse(str(self.path), f"an array {name}", there, "give the name of one that is there")


@contextlib.contextmanager
def open_arrays(path: Path) -> Iterator[NamedArrays]:
    """The arrays of a .npz or HDF5 file. StoreError if it cannot be read or is no regular file,
    DamagedFileError if it is neither, InputError for another ending. Reads names alone.
    """
    path = Path(path)
    if path.suffix.lower() not in (".npz", *HDF5):
        endings = ", ".join((".npz", *HDF5))
        refuse(str(path), f"one of {endings}", repr(path.suffix), "write one of these")
    with contextlib.ExitStack() as opened:
        raw = opened.enter_context(open_regular(path, REMEDY))
        _file_size(raw, path)
        with _whole(path):
            if path.suffix.lower() == ".npz":
                found = _npz(opened.enter_context(zipfile.ZipFile(_Bounded(raw, path))), raw, path)
            else:
                found = _hdf5(opened.enter_context(h5py.File(raw, "r")), path)
        yield found


def read_npy(path: Path) -> HostArray:
    """The array in a .npy file, as `NamedArrays.read` gives one; StoreError as `open_arrays`."""
    with open_regular(path, REMEDY) as raw, _whole(path):
        return _array(raw, _file_size(raw, path), str(path))


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """DamagedFileError for whatever a parser raises on a file that is not sound."""
    try:
        yield
    except ReflfapError:
        raise
    except _DAMAGE as error:
        what = f"damage ({error})"
        refuse(str(path), "a complete file of its kind", what, REMEDY, DamagedFileError)


def _file_size(raw: BinaryIO, path: Path) -> int:
    if (size := os.fstat(raw.fileno()).st_size) > MOST:
        refuse(str(path), f"at most {MOST} bytes", size, "give a part of it")
    return size


class _Bounded:
    """A file that reads little at once: the directory of a zip file may claim any size."""

    def __init__(self, raw: BinaryIO, path: Path) -> None:
        self._raw, self._path = raw, path
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable

    def read(self, size: int = -1) -> bytes:
        found = self._raw.read(size if 0 <= size <= _DIRECTORY else _DIRECTORY + 1)
        if len(found) > _DIRECTORY:
            got = "a longer directory"
            refuse(str(self._path), "the arrays of one set", got, REMEDY, DamagedFileError)
        return found


def _npz(archive: zipfile.ZipFile, raw: BinaryIO, path: Path) -> NamedArrays:
    members = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
    twice = [name for name, count in Counter(archive.namelist()).items() if count > 1]
    if twice:
        refuse(str(path), f"one array {twice[0]}", "two", REMEDY, DamagedFileError)
    size = os.fstat(raw.fileno()).st_size

    def get(name: str) -> HostArray:
        if name not in members:
            found.missing(name)
        one, where = members[name], f"{path}: {name}"
        expands = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: DEFLATE_RATIO}
        if one.compress_type not in expands or one.flag_bits & 1:
            remedy = "write it with numpy.savez or numpy.savez_compressed"
            refuse(where, "a plain or deflated array", "another packing", remedy)
        most = expands[one.compress_type] * min(one.compress_size, size)
        if one.file_size > most:
            got = f"{one.file_size} in {one.compress_size}"
            refuse(where, f"at most {most} bytes", got, REMEDY, DamagedFileError)
        with archive.open(one) as file:
            return _array(file, one.file_size, where)

    found = NamedArrays(path, tuple(members), get)
    return found


def _array(file: Any, size: int, where: str) -> HostArray:
    """The array in a .npy file of `size` bytes, of which all must be there and be used."""
    start, version = file.read(6), file.read(2)
    count = {b"\1\0": 2, b"\2\0": 4}.get(version, 0)
    if start != b"\x93NUMPY" or not count:
        refuse(where, "a .npy array of version 1 or 2", "other bytes", REMEDY, DamagedFileError)
    field = file.read(count)
    length = int.from_bytes(field, "little")
    if length > _HEADER:  # before it is read
        refuse(where, f"a header of at most {_HEADER} bytes", length, REMEDY, DamagedFileError)
    parse = npy.read_array_header_1_0 if count == 2 else npy.read_array_header_2_0
    try:
        shape, by_columns, dtype = parse(io.BytesIO(field + file.read(length)))
    except Exception as error:  # of a literal and of two tokenizers, for headers of Python 2
        what = f"damage ({error})"
        refuse(where, "the header of an array", what, REMEDY, DamagedFileError)
    checked_kind(where, dtype)
    expected = math.prod(shape) * dtype.itemsize
    at_most(where, expected)
    if min(shape, default=0) < 0 or expected != size - 8 - count - length:
        got = f"{size - 8 - count - length} bytes"
        refuse(where, f"{expected} bytes of shape {shape}", got, REMEDY, DamagedFileError)
    content = np.empty(expected, np.uint8)
    done, view = 0, content.data
    while done < expected and (piece := file.readinto(view[done : done + _PIECE])):
        done += piece
    if done < expected:
        refuse(where, f"{expected} bytes", f"{done}: truncated", REMEDY, DamagedFileError)
    return content.view(dtype).reshape(shape, order="F" if by_columns else "C")


def _hdf5(file: Any, path: Path) -> NamedArrays:
    def get(name: str) -> HostArray:
        _check_there(file, name, found)
        where, dataset = f"{path}: {name}", plain_dataset(file, name, path)
        checked_kind(where, dataset.dtype)
        at_most(where, dataset.nbytes)
        stored = dataset.id.get_storage_size()
        if dataset.nbytes > DEFLATE_RATIO * stored:
            got = f"{stored} for {dataset.nbytes}"
            refuse(where, "the bytes of the array", got, REMEDY, DamagedFileError)
        return np.asarray(dataset[...])

    found = NamedArrays(path, tuple(_names(file, path)), get)
    return found


def _check_there(file: Any, name: str, arrays: NamedArrays) -> None:
    """Refuse a name that leads nowhere; one that leads over a link is left to `plain_dataset`."""
    parts = name.split("/")
    if not all(parts):
        arrays.missing(name)
    for depth in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:depth]), getlink=True)
        if link is None:
            arrays.missing(name)
        if not isinstance(link, h5py.HardLink):
            return


def _names(file: Any, path: Path) -> Iterator[str]:
    """Of the datasets in the file and its groups; no deeper, since groups may lie in a circle."""
    for name in names_in(file, path):
        if isinstance(file.get(name, getlink=True), h5py.HardLink):
            one = file[name]
            if isinstance(one, h5py.Dataset):
                yield name
            if isinstance(one, h5py.Group):
                for below in names_in(one, path):
                    if isinstance(one.get(below, getlink=True), h5py.HardLink):
                        yield f"{name}/{below}"


def checked_kind(where: str, dtype: Any) -> None:
    """InputError for an array of objects, dates, structures, complex or long numbers."""
    if dtype.hasobject:
        remedy = "give numbers, and texts of a fixed length, as astype(str) and astype('S') make"
        refuse(where, "numbers or texts", "objects, whose pickles run code", remedy)
    if dtype.kind not in _KINDS or (dtype.kind == "f" and dtype.itemsize > 8):
        refuse(where, "whole numbers, floats of up to 64 bits or texts", dtype, "convert it")


def at_most(where: str, size: int) -> None:
    """InputError for more than MOST bytes."""
    if size > MOST:
        refuse(where, f"at most {MOST} bytes", size, "give a part of it")
