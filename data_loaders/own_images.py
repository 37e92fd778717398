"""Image sets that people bring, as they are usually stored: arrays, idx files, CIFAR-100, HDF5.

A set has training and test images, and is called by its descriptor: what a config must know of it,
and the digest of what it holds, however it is packed and wherever it lies.
"""

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.data_loaders import cifar, idx, registry
from reflfap.data_loaders.converted import read_images
from reflfap.data_loaders.image_set import ImageSet
from reflfap.data_loaders.own_files import HDF5, REMEDY, open_arrays
from reflfap.data_loaders.registry import MOST_CLASSES, MOST_IMAGES, MOST_SIDE
from reflfap.errors import StoreError, refuse

BOTH = ("train", "test")
MOST_CHANNELS = 4
_IDX = re.compile(r"(.*?)(train|t10k|test)-(images|labels)[-.]idx\d-(ubyte|int)(\.gz)?")
_MOST_IDX = 2**30  # bytes: the largest of EMNIST has 547 million
_LETTERS = "emnist-letters-"
_KNOWN = "a .npz or HDF5 file with x_train, y_train, x_test, y_test; a folder with idx files, with "
_KNOWN += "CIFAR-100's binary version, or with train.h5 and test.h5 of `reflfap data convert`"


class Raw(NamedTuple):
    """What files hold, training first."""

    images: tuple[HostArray, HostArray]
    labels: tuple[HostArray, HostArray]
    names: tuple[str, ...] = ()  # of classes; none: they are called by number


class OwnPlace(NamedTuple):
    """Where an own set lies."""

    stem: str  # what it is called there
    files: tuple[Path, ...]  # all that are read
    read: Callable[[], Raw]


class OwnSet(NamedTuple):
    """An own set in memory."""

    train: ImageSet
    test: ImageSet
    descriptor: str

    def split(self, split: str) -> ImageSet:
        """The "train" or "test" images."""
        return self.train if checks.choice("split", split, BOTH) == "train" else self.test

    def called(self, name: str, path: Path) -> "OwnSet":
        """This set, from `path`; StoreError where the descriptor `name` says other data. Only the
        file may have been renamed."""
        if name.partition(":")[2] != self.descriptor.partition(":")[2]:
            remedy = "give the path of that set, as --dataset PATH does"
            refuse(str(path), f"the image set {name}", self.descriptor, remedy, StoreError)
        return self


def read_own_images(path: Path, split: str) -> ImageSet:
    """The "train" or "test" images (N, C, H, W) uint8 of the own set at `path`; see `own_set`."""
    return own_set(path).split(split)


def descriptor(path: Path) -> str:
    """STEM:CxHxW:CLASSES:TRAIN+TEST:DIGEST of the own set at `path`; see `own_set`."""
    return own_set(path).descriptor


def own_set(path: Path) -> OwnSet:
    """Both splits of the set at `path`, in any of these forms:

    - .npz or HDF5 with x_train, y_train, x_test, y_test, in HDF5 also train/x and so on, and
      class_names if you like; x uint8 (N, H, W), (N, H, W, C) or (N, C, H, W), C from 1 to 4;
    - a folder with idx files under their usual names, in itself or in its raw/, such as those of
      MNIST, KMNIST, QMNIST and EMNIST, whose images are turned upright; of several sets in one
      folder, the one of which `path` is a file;
    - the binary version of CIFAR-100, archive or folder, with its fine classes;
    - a folder with train.h5 and test.h5, as `reflfap data convert` writes them.

    Images have 1 to 1024 pixels each way; classes are whole numbers from 0 to at most 255, each
    with a training image. InputError for other arrays; DamagedFileError and StoreError for files
    that are not whole or cannot be read. Equal images, labels and names of classes have equal
    digests, whatever the form. Memory: the images, those of arrays up to twice.
    """
    place = find_own(path)
    raw, where = place.read(), str(path)
    parts = [_checked(where, *one) for one in zip(raw.images, raw.labels, strict=True)]
    (shape, classes), names = _common(where, parts, raw.names), raw.names
    names = names or tuple(str(number) for number in range(classes))
    train, test = (
        ImageSet(x, y, names, f"{place.stem} {split} from {path}", _digest(x, y, names))
        for split, (x, y) in zip(BOTH, parts, strict=True)
    )
    digest = hashlib.sha256((train.sha256 + test.sha256).encode()).hexdigest()
    sizes = (len(train.labels), len(test.labels))
    return OwnSet(train, test, registry.descriptor_for(place.stem, shape, classes, sizes, digest))


def find_own(path: Path) -> OwnPlace:
    """Where the parts of the set at `path` lie; InputError where it is none. Opens no file."""
    path = Path(path)
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() in (".npz", *HDF5):
        return OwnPlace(path.stem, (path,), partial(_from_arrays, path))
    if path.name in (*cifar.ARCHIVES_100, *cifar.PICKLED_100):
        return OwnPlace("cifar-100", (path,), partial(_from_cifar100, path))
    if named := _IDX.fullmatch(path.name):
        return _idx_place(path.parent, named[1], named[1].strip("-") or path.parent.resolve().name)
    got = f"a file {path.suffix or 'without ending'}" if path.exists() else "nothing there"
    refuse(str(path), _KNOWN, got, "give one of these")


def _in_folder(folder: Path) -> OwnPlace:
    name = folder.resolve().name
    converted = (folder / "train.h5", folder / "test.h5")
    if all(map(os.path.isfile, converted)):
        return OwnPlace(name, converted, partial(_from_converted, converted))
    packed = (cifar.FOLDER_100, *cifar.ARCHIVES_100, *cifar.PICKLED_100)
    for place in (folder, *(folder / one for one in packed)):
        if place.name in packed and place.exists():
            files = tuple(sorted(place.iterdir())) if place.is_dir() else (place,)
            return OwnPlace("cifar-100", files, partial(_from_cifar100, place))
    for place in (folder, folder / "raw"):
        if found := _idx_sets(place):
            if len(found) > 1:
                some = next(iter(next(iter(found.values())).values()))[0]
                got, remedy = ", ".join(sorted(found)), f"give a file of one, such as {some}"
                refuse(str(place), "idx files of one set", got, remedy)
            (prefix,) = found
            stem = folder.resolve().parent.name if name == "raw" else name
            return _idx_place(place, prefix, prefix.strip("-") or stem)
    refuse(str(folder), _KNOWN, "a folder without", "give one of these")


def _idx_sets(folder: Path) -> dict[str, dict[tuple[str, str], list[Path]]]:
    """The idx files of a folder, by what their names begin with, and by split and content; only
    sets that have all four, if one has."""
    sets: dict[str, dict[tuple[str, str], list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if named := _IDX.fullmatch(path.name):
            split = "train" if named[2] == "train" else "test"
            sets[named[1]][split, named[3]].append(path)
    whole = {prefix: files for prefix, files in sets.items() if len(files) == 4}
    return whole or dict(sets)


def _idx_place(folder: Path, prefix: str, stem: str) -> OwnPlace:
    found, files = _idx_sets(folder).get(prefix, {}), []
    for what in ("images", "labels"):
        for split in BOTH:
            if not (paths := found.get((split, what))):
                expected = (
                    f"a file {prefix}{split}-{what}-idx{3 if what == 'images' else 1}-ubyte.gz"
                )
                refuse(str(folder), expected, "none", "give a folder that has all four")
            # of several spellings the one that it is published under
            files.append(min(paths, key=lambda path: (".idx" in path.name, path.suffix != ".gz")))
    return OwnPlace(stem, tuple(files), partial(_from_idx, prefix, *files))


def _from_idx(prefix: str, *files: Path) -> Raw:
    train, test = (idx.read_idx(path, _MOST_IDX, remedy=REMEDY) for path in files[:2])
    y_train, y_test = (_idx_labels(path) for path in files[2:])
    if prefix.startswith("emnist"):  # stored by columns
        train, test = (x.swapaxes(1, -1) for x in (train, test))
    if prefix == _LETTERS:  # numbered from 1
        names = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        return Raw((train, test), (y_train - 1, y_test - 1), names)
    return Raw((train, test), (y_train, y_test))


def _idx_labels(path: Path) -> HostArray:
    """Labels (N,) int64; of QMNIST, which has eight numbers an image, the first is the class."""
    kind = idx.FOUR_BYTES if "-int" in path.name else idx.UNSIGNED_BYTES
    found = idx.read_idx(path, _MOST_IDX, kind, REMEDY).astype(np.int64)
    return found[:, 0] if kind == idx.FOUR_BYTES and found.ndim == 2 else found


def _from_arrays(path: Path) -> Raw:
    with open_arrays(path) as arrays:

        def read(what: str, split: str) -> HostArray:
            grouped = f"{split}/{what}"
            return arrays.read(grouped if grouped in arrays.names else f"{what}_{split}")

        images, labels = (tuple(read(what, split) for split in BOTH) for what in "xy")
        names: tuple[str, ...] = ()
        if "class_names" in arrays.names:
            names = _class_names(str(path), arrays.read("class_names"))
    return Raw((images[0], images[1]), (labels[0], labels[1]), names)


def _class_names(where: str, found: HostArray) -> tuple[str, ...]:
    texts = found.ndim == 1 and found.dtype.kind in "US" and found.dtype.itemsize <= 400
    if not texts or not 2 <= len(found) <= MOST_CLASSES:
        expected = f"class_names to be 2 to {MOST_CLASSES} short texts"
        refuse(where, expected, f"{found.dtype} {found.shape}", "give them so, or leave them out")
    try:
        names = tuple(np.char.decode(found, "utf-8") if found.dtype.kind == "S" else found)
    except UnicodeDecodeError as error:
        refuse(where, "class_names as UTF-8", f"other bytes ({error})", "write them as text")
    if "" in names or len(set(names)) < len(names):
        refuse(where, "another name for each class", "none, or one twice", "check class_names")
    return tuple(map(str, names))


def _from_cifar100(place: Path) -> Raw:
    found, names = cifar.read_cifar100(place)
    train, test = (found[split] for split in BOTH)
    return Raw((train.images, test.images), (train.labels, test.labels), names)


def _from_converted(paths: tuple[Path, Path]) -> Raw:
    train, test = map(read_images, paths)
    if train.class_names != test.class_names:
        got = "others than in training"
        refuse(str(paths[1]), "the same classes as in train.h5", got, "convert both again")
    return Raw((train.images, test.images), (train.labels, test.labels), train.class_names)


def _checked(where: str, x: HostArray, y: HostArray) -> tuple[HostArray, HostArray]:
    """Images (N, C, H, W) uint8 and labels (N,) int64 of one split."""
    if x.dtype != np.uint8:
        remedy = "give bytes: of pixels on [0, 1], (x * 255).round().astype('uint8')"
        refuse(where, "images of bytes (uint8), 0 to 255", x.dtype, remedy)
    x = _channels_first(where, x)
    if not (1 <= len(x) <= MOST_IMAGES and max(x.shape[2:]) <= MOST_SIDE and x.size):
        expected = f"1 to {MOST_IMAGES} images of 1 to {MOST_SIDE} pixels each way"
        refuse(where, expected, f"shape {x.shape}", "give others, or scale them down")
    if y.ndim == 2 and y.shape[1] == 1:  # as Keras gives those of CIFAR
        y = y[:, 0]
    if y.dtype.kind not in "iu" or y.shape != (len(x),):
        got, remedy = f"{y.dtype} {y.shape}", "give one class an image, as astype('int64')"
        refuse(where, f"{len(x)} whole numbers as labels", got, remedy)
    if not 0 <= y.min() <= y.max() < MOST_CLASSES:
        got, remedy = f"{y.min()} to {y.max()}", "number the classes from 0"
        refuse(where, f"labels from 0 to at most {MOST_CLASSES - 1}", got, remedy)
    return np.ascontiguousarray(x), y.astype(np.int64)


def _channels_first(where: str, x: HostArray) -> HostArray:
    """(N, C, H, W) of images (N, H, W), (N, H, W, C) or (N, C, H, W), where that can be told."""
    if x.ndim == 3:
        return x[:, None]
    first, last = (x.ndim == 4 and 1 <= x.shape[axis] <= MOST_CHANNELS for axis in (1, 3))
    if first != last:
        return x if first else x.transpose(0, 3, 1, 2)
    expected = f"images (N, H, W), (N, H, W, C) or (N, C, H, W), C from 1 to {MOST_CHANNELS}"
    remedy = "reshape them"
    if first:
        remedy = f"either axis may be C: leave it out of grey images, or pad beyond {MOST_CHANNELS}"
    refuse(where, expected, f"shape {x.shape}", remedy)


def _common(
    where: str, parts: list[tuple[HostArray, HostArray]], names: tuple[str, ...]
) -> tuple[tuple[int, ...], int]:
    """The shape of an image and the number of classes, the same in both splits."""
    (x, y), (x_test, y_test) = parts
    shape, other = x.shape[1:], x_test.shape[1:]
    if shape != other:
        got = f"{shape} and {other}"
        refuse(where, "training and test images of one shape", got, "bring them to one")
    classes = len(names) or int(max(y.max(), y_test.max())) + 1
    if max(y.max(), y_test.max()) >= classes:
        got = f"{max(y.max(), y_test.max())}"
        refuse(where, f"labels 0 to {classes - 1}, as there are names", got, "name all classes")
    missing = np.flatnonzero(np.bincount(y, minlength=classes) == 0)
    if classes < 2 or len(missing):
        got = f"none of class {missing[0]}" if len(missing) else "one class alone"
        remedy = "number the classes from 0, without gaps"
        refuse(where, "training images of at least two classes, and of each", got, remedy)
    return shape, classes


def _digest(x: HostArray, y: HostArray, names: tuple[str, ...]) -> str:
    """SHA-256 of images, labels and names."""
    found = hashlib.sha256(f"images {x.shape}\n".encode())
    found.update(x.data)
    found.update(y.astype("<i8").data)
    found.update(json.dumps(names).encode())
    return found.hexdigest()
