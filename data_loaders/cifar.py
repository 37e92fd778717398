"""CIFAR-10 and CIFAR-100, binary version: from the archive in any compression, or its folder.

A batch of CIFAR-10 is 10,000 records of 3073 bytes: the label 0 to 9, then 32 x 32 bytes each of
red, green and blue, row by row. CIFAR-100 has a file for each split, and two labels in a record, of
20 coarse and 100 fine classes. Archives are read in memory; no member is ever written to disk.
"""

import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.data_loaders.archives import FETCH, Stream, damaged, decompressed, members
from reflfap.errors import refuse

FOLDER = "cifar-10-batches-bin"
ARCHIVES = tuple(f"cifar-10-binary.tar{ending}" for ending in (".gz", "", ".xz", ".bz2"))
PICKLED = ("cifar-10-python.tar.gz", "cifar-10-batches-py")
BATCHES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
RECORDS, PIXELS, CLASSES = 10_000, 3 * 32 * 32, 10
RECORD, PART = 1 + PIXELS, 1000  # bytes; records held at once
WALK_LIMIT = 400_000_000  # bytes; the archive has 184 million
FOLDER_100, PICKLED_100 = "cifar-100-binary", ("cifar-100-python.tar.gz", "cifar-100-python")
ARCHIVES_100 = tuple(name.replace("-10-", "-100-") for name in ARCHIVES)
RECORDS_100, CLASSES_100 = {"train": 50_000, "test": 10_000}, 100
_NAMES_100, _MOST_TEXT = "fine_label_names.txt", 10_000  # bytes; it has 1,000
_OWN = "give the archive cifar-100-binary.tar.gz, or its folder, whole"


class Batches(NamedTuple):
    """Images (N, 3, 32, 32) and labels (N,), both uint8, in the official order."""

    images: HostArray
    labels: HostArray


def find_cifar10(folder: Path, records: int = RECORDS) -> Path | None:
    """Where CIFAR-10 is to be read in `folder`: the extracted folder if it is whole, or an archive.

    Failing these what is there and will be refused, so that it is named: a folder that lacks a
    batch or has one of another size, and at last pickles.
    """
    extracted = folder / FOLDER
    if not wrong_batches(extracted, records):
        return extracted
    places = (folder / name for name in (*ARCHIVES, FOLDER, *PICKLED))
    return next((place for place in places if os.path.exists(place)), None)


def wrong_batches(folder: Path, records: int = RECORDS) -> dict[str, int]:
    """The batches that are no files of `records` records in `folder`, with their sizes; -1: none.

    Looks at all six, so that training and test images never come from different places.
    """
    sizes = {name: _size(folder / name) for names in BATCHES.values() for name in names}
    return {name: size for name, size in sizes.items() if size != records * RECORD}


def _size(path: Path) -> int:
    try:
        about = path.stat()
    except OSError:
        return -1
    return about.st_size if stat.S_ISREG(about.st_mode) else -1


def read_cifar10(place: Path, split: str = "train", records: int = RECORDS) -> Batches:
    """The split "train" or "test" from the archive or the folder `place`.

    Every batch must be there once, as a regular file of exactly `records` records with labels 0 to
    9, DamagedFileError otherwise. InputError for the version in Python pickles.
    Time: 0.1 s for the folder, 1.2 s for gz, 10 s for xz. Memory: the result and 4 MB, and what the
    decoder needs.
    """
    place = Path(place)
    names = BATCHES[checks.choice("split", split, BATCHES)]
    checks.whole_number("records", records, 1)
    images = np.empty((len(names) * records, 3, 32, 32), np.uint8)
    labels = np.empty(len(names) * records, np.uint8)
    for name, first, some in batches(place, names, records):
        if some[:, 0].max() >= CLASSES:
            damaged(place, f"labels 0 to {CLASSES - 1} in {name}", f"{some[:, 0].max()}")
        start = names.index(name) * records + first
        labels[start : start + len(some)] = some[:, 0]
        images[start : start + len(some)].reshape(len(some), PIXELS)[...] = some[:, 1:]
    return Batches(images, labels)


def batches(
    place: Path, names: tuple[str, ...], records: int = RECORDS
) -> Iterator[tuple[str, int, HostArray]]:
    """Each named file once, in the order of `place`, in parts of 1000 records.

    A part is the name, the number of its first record, and the records (rows, 3073) uint8, the same
    array each time. DamagedFileError unless all files are as they should be.
    """
    _refuse_pickles(place, "cifar-10", PICKLED, FOLDER)
    for name, path, size, stream in _files(place, FOLDER, names):
        _size_is(path, size, records)
        yield from ((name, first, some) for first, some in _parts(stream, name, records))


def read_cifar100(
    place: Path, records: Mapping[str, int] = RECORDS_100
) -> tuple[dict[str, Batches], tuple[str, ...]]:
    """Both splits of CIFAR-100, by "train" and "test", with the fine labels, and their names.

    Raises as `read_cifar10` does, and costs as much as both of its splits.
    """
    _refuse_pickles(place, "cifar-100", PICKLED_100, FOLDER_100)
    files, found = {f"{split}.bin": split for split in records}, {}
    names: tuple[str, ...] = ()
    for name, path, size, stream in _files(place, FOLDER_100, (*files, _NAMES_100), _OWN):
        if name == _NAMES_100:
            text = stream.take(min(size, _MOST_TEXT), "names").decode("ascii", "replace")
            names = tuple(text.split())
            continue
        count = records[files[name]]
        _size_is(path, size, count, 1 + RECORD, _OWN)
        one = Batches(np.empty((count, 3, 32, 32), np.uint8), np.empty(count, np.uint8))
        for first, some in _parts(stream, name, count, 1 + RECORD):
            rows = slice(first, first + len(some))
            one.labels[rows] = some[:, 1]
            one.images[rows].reshape(len(some), PIXELS)[...] = some[:, 2:]
        if one.labels.max() >= CLASSES_100:
            damaged(path, f"labels 0 to {CLASSES_100 - 1}", f"{one.labels.max()}", _OWN)
        found[files[name]] = one
    if len(set(names)) != CLASSES_100:
        damaged(place / _NAMES_100, f"{CLASSES_100} names", f"{len(set(names))}", _OWN)
    return found, names


def _refuse_pickles(place: Path, name: str, pickled: tuple[str, ...], folder: str) -> None:
    if place.name in pickled:
        got = f"{place.name}, whose pickles run code when they are read"
        fetch = f"fetch {name}-binary.tar.gz instead, or a folder {folder}"
        refuse(name, "the binary version", got, fetch)


def _files(
    place: Path, folder: str, names: tuple[str, ...], remedy: str = FETCH
) -> Iterator[tuple[str, Path, int, Stream]]:
    """Each named file once, in the order of `place`, the extracted `folder` or its archive: its
    name, how errors call it, its bytes, and the stream that stands at its first."""
    if place.is_dir():
        for name in names:
            with decompressed(place / name, WALK_LIMIT, remedy) as stream:
                yield name, stream.path, stream.most(), stream
                stream.finish()
        return
    missing = set(names)
    with decompressed(place, WALK_LIMIT, remedy) as stream:
        for header in members(stream):
            inside, _, file = header.name.removeprefix("./").rpartition("/")
            if inside != folder or file not in names:
                continue
            member = place / header.name
            if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):  # isreg() takes sparse files
                damaged(member, "a regular file", "a link, folder or device", remedy)
            if file not in missing:
                damaged(member, "one such member", "two", remedy)
            missing.remove(file)
            yield file, member, header.size, stream
    if missing:
        damaged(place, f"{folder}/{min(missing)} in the archive", "no such member", remedy)


def _parts(
    stream: Stream, name: str, records: int, record: int = RECORD
) -> Iterator[tuple[int, HostArray]]:
    part = np.empty((min(PART, records), record), np.uint8)
    for first in range(0, records, PART):
        some = part[: min(PART, records - first)]
        stream.fill(some, name)
        yield first, some


def _size_is(
    path: Path, size: int, records: int, record: int = RECORD, remedy: str = FETCH
) -> None:
    if size != records * record:
        expected = f"{records * record} bytes, {records} records of {record}"
        damaged(path, expected, f"{size}", remedy)


def as_records(images: HostArray, labels: HostArray, rows: int = PART) -> Iterator[HostArray]:
    """The bytes of the batch files, (rows, 3073) uint8 at a time, from what read_cifar10 gives."""
    for first in range(0, len(labels), rows):
        some = slice(first, first + rows)
        yield np.concatenate([labels[some, None], images[some].reshape(-1, PIXELS)], axis=1)
