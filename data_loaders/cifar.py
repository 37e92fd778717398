"""CIFAR-10, binary version: from its archive in any compression, or from the extracted folder.

A batch is 10,000 records of 3073 bytes: the label 0 to 9, then 32 x 32 bytes each of red, green and
blue, row by row. Archives are read in memory; no member is ever written to disk.
"""

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.data_loaders.archives import Stream, damaged, decompressed, members
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
    if place.name in PICKLED:
        got = f"{place.name}, whose pickles run code when they are read"
        fetch = f"fetch cifar-10-binary.tar.gz instead, or a folder {FOLDER}"
        refuse("cifar-10", "the binary version", got, fetch)
    if place.is_dir():
        for name in names:
            with decompressed(place / name, limit=records * RECORD + 1) as stream:
                _size_is(stream.path, stream.most(), records)
                yield from _parts(stream, name, records)
                stream.finish()
        return
    missing = set(names)
    with decompressed(place, WALK_LIMIT) as stream:
        for header in members(stream):
            folder, _, file = header.name.removeprefix("./").rpartition("/")
            if folder != FOLDER or file not in names:
                continue
            member = place / header.name
            if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):  # isreg() takes sparse files
                damaged(member, "a regular file", "a link, folder or device")
            if file not in missing:
                damaged(member, "one such member", "two")
            missing.remove(file)
            _size_is(member, header.size, records)
            yield from _parts(stream, file, records)
    if missing:
        damaged(place, f"{FOLDER}/{min(missing)} in the archive", "no such member")


def _parts(stream: Stream, name: str, records: int) -> Iterator[tuple[str, int, HostArray]]:
    part = np.empty((min(PART, records), RECORD), np.uint8)
    for first in range(0, records, PART):
        some = part[: min(PART, records - first)]
        stream.fill(some, name)
        yield name, first, some


def _size_is(path: Path, size: int, records: int) -> None:
    if size != records * RECORD:
        damaged(path, f"{records * RECORD} bytes, {records} records of {RECORD}", f"{size}")


def as_records(images: HostArray, labels: HostArray, rows: int = PART) -> Iterator[HostArray]:
    """The bytes of the batch files, (rows, 3073) uint8 at a time, from what read_cifar10 gives."""
    for first in range(0, len(labels), rows):
        some = slice(first, first + rows)
        yield np.concatenate([labels[some, None], images[some].reshape(-1, PIXELS)], axis=1)
