"""`load` reads image sets by name, from HDF5 or the original files; `convert` writes the HDF5."""

import hashlib
from pathlib import Path
from typing import NoReturn

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.data_loaders import cifar, idx, originals, own_images, registry
from reflfap.data_loaders.archives import damaged
from reflfap.data_loaders.chunked import AGAIN
from reflfap.data_loaders.converted import read_converted, write_images
from reflfap.data_loaders.image_set import ImageSet
from reflfap.errors import DamagedFileError, refuse
from reflfap.files import unwritable

SPLITS = {"train": "train", "test": "t10k"}  # as the idx files call them
IDX = {
    split: (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
    for split, prefix in SPLITS.items()
}
OTHER = "--data-dir"  # what to choose where HDF5 cannot be written
CONVERT = "convert the set again with `reflfap data convert`, or remove the file"


def load(name: str, split: str = "train", folder: Path | None = None) -> ImageSet:
    """The "train" or "test" split of mnist, fashion-mnist, cifar-10 or embedded.

    Or of an own set by its descriptor, where `folder` is its path: see `own_images.own_set`.
    Read from folder/name; without `folder` from $REFLFAP_DATA, else from the platform's cache;
    "embedded" comes with the package. What `convert` wrote is used where it is there, the original
    files otherwise; the set is the same. InputError for unknown names and missing files, saying
    what to do; DamagedFileError for files that are not whole, and for HDF5 beside other originals
    than it was made from. Downloads nothing.
    Time: 0.2 s; CIFAR-10's archive 1.3 s, or 10 s packed as xz. HDF5 beside originals costs their
    SHA-256 besides, 0.2 s at most; if that is another than it states, or if it states none, as
    files of before that, the originals are read, for the digest of what they hold. Memory: the
    images and a few MB; xz needs 8 MB besides, and originals that are read what they hold.
    """
    checks.choice("split", split, SPLITS)
    if registry.is_own(name) and folder is not None:
        return own_images.own_set(folder).called(name, folder).split(split)
    path = registry.place(name, folder) / f"{split}.h5"
    if not path.exists() or name == "embedded":
        return load_original(name, split, folder)
    (found, made_from), data = read_converted(path), registry.DATA_SETS[name]
    bytes_of_shape = found.images.dtype == np.uint8 and found.images.shape[1:] == data.shape
    if not bytes_of_shape or found.class_names != data.class_names:
        damaged(path, f"{name}, bytes of shape {data.shape}", "another set", AGAIN)
    files = _originals(name, split, path.parent)
    other = files and originals.fingerprint(files) != made_from
    # they may be the same packed anew, or the file of before files were stated: contents decide
    if other and load_original(name, split, folder).sha256 != found.sha256:
        expected = f"a set made from {files[0]} as it is now"
        damaged(path, expected, "one made from other files", CONVERT)
    return found


def load_original(name: str, split: str = "train", folder: Path | None = None) -> ImageSet:
    """What `load` gives without HDF5.

    The digest is that of `zcat IMAGES LABELS | sha256sum`, of `cat data_batch_?.bin | sha256sum`:
    it does not depend on how the files were packed or called.
    """
    where = registry.place(name, folder)
    checks.choice("split", split, SPLITS)
    images, labels, where = (_cifar if name == "cifar-10" else _idx)(name, split, where)
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
    checks.choice("split", split, SPLITS)
    path = registry.place(name, folder) / f"{split}.h5"
    # before they are read: if they change in between, `load` will see that
    made_from = originals.fingerprint(_originals(name, split, path.parent))
    found = load_original(name, split, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # torchvision's folders are others
    except OSError as error:
        raise unwritable(path.parent, error, OTHER) from error
    write_images(path, found, made_from, OTHER)
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


def _originals(name: str, split: str, where: Path) -> list[Path]:
    """The files that `load_original` reads; none where one of them is missing."""
    if name != "cifar-10":
        found = originals.idx_files(name, where)
        return [found[file] for file in IDX[split]] if found.keys() >= set(IDX[split]) else []
    place = cifar.find_cifar10(where)
    if place is None or place.name in cifar.PICKLED:
        return []
    if place.name != cifar.FOLDER:
        return [place]
    names = () if cifar.wrong_batches(place) else cifar.BATCHES[split]
    return [place / name for name in names]


def _idx(name: str, split: str, where: Path) -> tuple[HostArray, HostArray, Path]:
    """Images, labels, and the folder that they lie in."""
    found, arrays = originals.idx_files(name, where), []
    for file, dimensions in zip(IDX[split], (3, 1), strict=True):
        if file not in found:
            _missing(name, file, where)
        array = idx.read_idx(found[file])
        if array.ndim != dimensions:
            damaged(found[file], f"{dimensions} dimensions", f"{array.ndim}")
        arrays.append(array)
    return arrays[0][:, None], arrays[1], found[file].parent


def _cifar(name: str, split: str, where: Path) -> tuple[HostArray, HostArray, Path]:
    found = cifar.find_cifar10(where)
    if found is None:
        _missing(name, f"cifar-10-binary.tar.gz or {cifar.FOLDER}", where)
    if found.name == cifar.FOLDER and (wrong := cifar.wrong_batches(found)):
        batch, size = next(iter(wrong.items()))
        expected = f"{cifar.RECORDS * cifar.RECORD} bytes, as in all six batches"
        got = "no such file" if size < 0 else f"{size}"
        remedy = f"remove the folder {found} and fetch the set with `reflfap data fetch {name}`"
        damaged(found / batch, expected, got, remedy)
    return *cifar.read_cifar10(found, split), where


def _missing(name: str, what: str, where: Path) -> NoReturn:
    got = "no such file" if where.is_dir() else "no such folder"
    remedy = f"run `reflfap data fetch {name}`, or set REFLFAP_DATA to the folder that has {name}/"
    refuse(name, f"{what} in {where}", got, remedy)
