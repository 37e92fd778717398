"""`load` reads image sets by name, from HDF5 or the original files; `convert` writes the HDF5."""

import hashlib
from pathlib import Path
from typing import NoReturn

import numpy as np

from data_loaders import cifar, idx, registry
from data_loaders.archives import damaged
from data_loaders.chunked import AGAIN
from data_loaders.converted import read_images, write_images
from data_loaders.image_set import ImageSet
from reflfap import checks
from reflfap.backend import HostArray
from reflfap.errors import DamagedFileError, refuse

SPLITS = {"train": "train", "test": "t10k"}  # as the idx files call them


def load(name: str, split: str = "train", folder: Path | None = None) -> ImageSet:
    """The "train" or "test" split of mnist, fashion-mnist, cifar-10 or embedded.

    Read from folder/name; without `folder` from $REFLFAP_DATA, else from the platform's cache;
    "embedded" comes with the package. What `convert` wrote is used where it is there, the original
    files otherwise; the set is the same. InputError for unknown names and missing files, saying
    what to do; DamagedFileError for files that are not whole. Downloads nothing.
    Time: 0.2 s; CIFAR-10's archive 1.3 s, or 10 s packed as xz. Memory: the images
    and a few MB; xz needs 8 MB besides.
    """
    checks.choice("split", split, SPLITS)
    path = registry.place(name, folder) / f"{split}.h5"
    if not path.exists() or name == "embedded":
        return load_original(name, split, folder)
    found, data = read_images(path), registry.DATA_SETS[name]
    bytes_of_shape = found.images.dtype == np.uint8 and found.images.shape[1:] == data.shape
    if not bytes_of_shape or found.class_names != data.class_names:
        damaged(path, f"{name}, bytes of shape {data.shape}", "another set", AGAIN)
    return found


def load_original(name: str, split: str = "train", folder: Path | None = None) -> ImageSet:
    """What `load` gives without HDF5.

    The digest is that of `zcat IMAGES LABELS | sha256sum`, of `cat data_batch_?.bin | sha256sum`:
    it does not depend on how the files were packed.
    """
    where = registry.place(name, folder)
    checks.choice("split", split, SPLITS)
    images, labels = (_cifar if name == "cifar-10" else _idx)(name, split, where)
    data = registry.DATA_SETS[name]
    if images.shape != (len(labels), *data.shape):
        expected = f"{len(labels)} images of shape {data.shape}, as there are labels"
        damaged(where, expected, f"shape {images.shape}")
    if labels.max() >= len(data.class_names):
        damaged(where, f"labels 0 to {len(data.class_names) - 1}", f"{labels.max()}")
    source = f"{name} {split} from {where}"
    digest = _digest(name, images, labels)
    return ImageSet(images, labels.astype(np.int64), data.class_names, source, digest)


def convert(name: str, split: str = "train", folder: Path | None = None) -> Path:
    """Read the original files of an image set and write folder/name/split.h5; the path.

    Raises as `load` does, InputError for "embedded", and StoreError if the file cannot be written.
    """
    if name == "embedded":
        refuse("data", "a set to convert", name, "it is small, and part of the package")
    found = load_original(name, split, folder)
    path = registry.place(name, folder) / f"{split}.h5"
    write_images(path, found)
    return path


def check_converted(name: str, folder: Path | None = None) -> list[tuple[str, str]]:
    """Each HDF5 file of the set that is there, with "good" or "differs (what is wrong)".

    Seal, images and labels, and the digest it states: all must be those of the original files.
    """
    found = []
    for split, expected in zip(SPLITS, registry.DATA_SETS[name].contents, strict=True):
        path = registry.place(name, folder) / f"{split}.h5"
        if not path.exists() or name == "embedded":
            continue
        try:
            one = load(name, split, folder)
        except DamagedFileError as error:
            found.append((path.name, f"differs ({error})"))
            continue
        states = {one.sha256, _digest(name, one.images, one.labels)}
        good = "good" if states == {expected} else f"differs (expected contents {expected})"
        found.append((path.name, good))
    return found


def _digest(name: str, images: HostArray, labels: HostArray) -> str:
    """SHA-256 of the files that hold these images and labels, one after the other, unpacked."""
    sha, values = hashlib.sha256(), labels.astype(np.uint8)
    if name == "cifar-10":
        for records in cifar.as_records(images, values):
            sha.update(records.data)
    else:
        for array in (images[:, 0], values):
            sha.update(idx.header(array.shape))
            sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _idx(name: str, split: str, where: Path) -> tuple[HostArray, HostArray]:
    arrays = []
    for what in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        packed = where / f"{SPLITS[split]}-{what}.gz"
        path = packed if packed.exists() else packed.with_suffix("")
        if not path.exists():
            _missing(name, packed.name, where)
        array = idx.read_idx(path)
        if array.ndim != int(what[10]):
            damaged(path, f"{what[10]} dimensions", f"{array.ndim}")
        arrays.append(array)
    return arrays[0][:, None], arrays[1]


def _cifar(name: str, split: str, where: Path) -> tuple[HostArray, HostArray]:
    found = cifar.find_cifar10(where)
    if found is None:
        _missing(name, f"cifar-10-binary.tar.gz or {cifar.FOLDER}", where)
    return cifar.read_cifar10(found, split)


def _missing(name: str, what: str, where: Path) -> NoReturn:
    got = "no such file" if where.is_dir() else "no such folder"
    remedy = f"run `reflfap data fetch {name}`, or set REFLFAP_DATA to the folder that has {name}/"
    refuse(name, f"{what} in {where}", got, remedy)
