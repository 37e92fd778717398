"""Image sets as sealed HDF5: in chunks, compressed where that pays, with where they come from.

Bytes stay bytes (uint8); perturbed images of any range go in as float32.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from reflfap import checks
from reflfap.data_loaders.archives import damaged
from reflfap.data_loaders.chunked import AGAIN, read_rows, write_rows
from reflfap.data_loaders.image_set import ImageSet
from reflfap.errors import refuse
from reflfap.sealed import plain_dataset, read_sealed, write_sealed

LARGEST = 2**32  # bytes of an array that is read: CIFAR-10 as float32 has 0.6 GB


def write_images(path: Path, found: ImageSet, originals: str = "", other: str = "folder") -> None:
    """Write any image set, uint8 or float32, to `path`; whole or not at all.

    `originals` is the fingerprint of the files that it was read from, where there are some. If
    `path` cannot be written, StoreError advises to choose another `other`.
    """
    if found.images.dtype not in (np.uint8, np.float32) or found.images.ndim != 4:
        got = f"{found.images.dtype} {found.images.shape}"
        refuse("images", "uint8 or float32 of shape (N, C, H, W)", got, "convert them first")
    with write_sealed(path, other) as file:
        stored = write_rows(file, "images", found.images)
        stored.attrs.update(shape_names="image, channel, row, column", units="grey level")
        stored = file.create_dataset("labels", data=found.labels)
        stored.attrs.update(shape_names="image", units="index into class_names")
        file.attrs.update(source=found.source, sha256=found.sha256, originals=originals)
        file.attrs["class_names"] = "\n".join(found.class_names)


def read_images(path: Path) -> ImageSet:
    """The image set in a file of `write_images`; DamagedFileError for anything else.

    Time: one pass over the file for its seal, and the decompression, shared by the threads.
    Memory: the images and, for each thread, two chunks of 1 MiB.
    """
    return read_converted(path)[0]


def read_converted(path: Path) -> tuple[ImageSet, str]:
    """What `read_images` gives, and the fingerprint of the originals; "" if none is stated."""
    with _opened(path) as (stored, about, originals):
        return about._replace(images=read_rows(stored, path)), originals


def pieces(path: Path, rows: int) -> Iterator[ImageSet]:
    """The image set in `path` in pieces of `rows` images, the last of fewer, each read when asked.

    Raises as `read_images` does. Time: for the first piece one pass over the file, for its seal.
    Memory: the labels, one piece, and the chunks that hold it.
    """
    checks.whole_number("rows", rows, 1)
    with _opened(path) as (stored, about, _):
        for first in range(0, len(stored), rows):
            some = slice(first, min(first + rows, len(stored)))
            read = read_rows(stored, path, some.start, some.stop)
            yield about._replace(images=read, labels=about.labels[some])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.Dataset, ImageSet, str]]:
    """The dataset of images, not read yet; a set of no images that has all the rest; the originals.

    Files of before `originals` were stated have no such attribute.
    """
    with read_sealed(path, AGAIN) as file:
        stored = _dataset(file, "images", path, 4, (np.uint8, np.float32))
        labels = read_rows(_dataset(file, "labels", path, 1, (np.int64,)), path)
        texts = [file.attrs.get(name) for name in ("class_names", "source", "sha256")]
        texts.append(file.attrs.get("originals", ""))
        if not all(isinstance(one, str) for one in texts) or len(labels) != len(stored):
            got = f"{len(stored)} images, {len(labels)} labels and {texts}"
            damaged(path, "one label an image and only texts", got, AGAIN)
        names = tuple(str(texts[0]).split("\n"))
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
            got = f"{labels.min()} to {labels.max()}"
            damaged(path, f"labels 0 to {len(names) - 1}", got, AGAIN)
        none = np.empty((0, *stored.shape[1:]), stored.dtype)
        about = ImageSet(none, labels, names, str(texts[1]), str(texts[2]))
        yield stored, about, str(texts[3])


def _dataset(
    file: h5py.File, name: str, path: Path, ndim: int, dtypes: tuple[type, ...]
) -> h5py.Dataset:
    """A dataset of the file itself, of a bounded size."""
    dataset = plain_dataset(file, name, path)
    fits = dataset.ndim == ndim and dataset.dtype in [np.dtype(one) for one in dtypes]
    if not fits or dataset.size * dataset.dtype.itemsize > LARGEST:
        expected = f"{name} with {ndim} dimension(s), at most {LARGEST} bytes"
        damaged(path, expected, f"{dataset.dtype} {dataset.shape}", AGAIN)
    return dataset
