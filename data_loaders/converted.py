"""Image sets as sealed HDF5: chunked, compressed, with where they come from.

Bytes stay bytes (uint8); perturbed images of any range go in as float32.
"""

from pathlib import Path

import h5py
import numpy as np

from data_loaders import images, registry
from data_loaders.archives import damaged
from data_loaders.images import ImageSet
from reflfap.backend import HostArray
from reflfap.errors import refuse
from reflfap.files import plain_dataset, read_sealed, write_sealed

CHUNK_BYTES = 2**20
LARGEST = 2**32  # bytes of an array that is read: CIFAR-10 as float32 has 0.6 GB
AGAIN = "convert the set again"


def convert(name: str, split: str = "train", folder: Path | None = None) -> Path:
    """Read an image set and write it to folder/name/split.h5; the path.

    Raises as `images.load` does, and StoreError if the file cannot be written.
    Checked by test_converted.py::test_a_converted_set_is_the_set.
    """
    found = images.load(name, split, folder)
    path = registry.place(name, folder) / f"{split}.h5"
    write_images(path, found)
    return path


def load_converted(name: str, split: str = "train", folder: Path | None = None) -> ImageSet:
    """What `convert` wrote. Costs one pass over the file for its seal, and the decompression.

    Checked by test_converted.py::test_a_converted_set_is_the_set.
    """
    path = registry.place(name, folder) / f"{split}.h5"
    if not path.is_file():
        refuse("data", str(path), "no such file", f"run `reflfap data convert {name}`")
    return read_images(path)


def write_images(path: Path, found: ImageSet) -> None:
    """Write any image set, uint8 or float32, to `path`; whole or not at all.

    Checked by test_converted.py::test_perturbed_sets_are_kept_as_floats.
    """
    if found.images.dtype not in (np.uint8, np.float32) or found.images.ndim != 4:
        got = f"{found.images.dtype} {found.images.shape}"
        refuse("images", "uint8 or float32 of shape (N, C, H, W)", got, "convert them first")
    rows = max(1, CHUNK_BYTES // max(1, found.images[:1].nbytes))
    chunks = (min(rows, len(found.images)), *found.images.shape[1:])
    with write_sealed(path) as file:
        stored = file.create_dataset(
            "images", data=found.images, chunks=chunks, compression="lzf", shuffle=False
        )
        stored.attrs.update(shape_names="image, channel, row, column", units="grey level")
        stored = file.create_dataset("labels", data=found.labels)
        stored.attrs.update(shape_names="image", units="index into class_names")
        file.attrs.update(source=found.source, sha256=found.sha256)
        file.attrs["class_names"] = "\n".join(found.class_names)


def read_images(path: Path) -> ImageSet:
    """The image set in a file of `write_images`; DamagedFileError for anything else.

    Checked by test_converted.py::test_damaged_files_are_refused.
    """
    with read_sealed(path) as file:
        pixels = _array(file, "images", path, 4, (np.uint8, np.float32))
        labels = _array(file, "labels", path, 1, (np.int64,))
        about = [file.attrs.get(name) for name in ("class_names", "source", "sha256")]
        if not all(isinstance(one, str) for one in about) or len(labels) != len(pixels):
            got = f"{len(pixels)} images, {len(labels)} labels and {about}"
            damaged(path, "one label an image and three texts", got, AGAIN)
        names = tuple(str(about[0]).split("\n"))
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
            got = f"{labels.min()} to {labels.max()}"
            damaged(path, f"labels 0 to {len(names) - 1}", got, AGAIN)
        return ImageSet(pixels, labels, names, str(about[1]), str(about[2]))


def _array(
    file: h5py.File, name: str, path: Path, ndim: int, dtypes: tuple[type, ...]
) -> HostArray:
    """A dataset of the file itself, of a bounded size, read whole."""
    dataset = plain_dataset(file, name, path)
    fits = dataset.ndim == ndim and dataset.dtype in [np.dtype(one) for one in dtypes]
    if not fits or dataset.size * dataset.dtype.itemsize > LARGEST:
        expected = f"{name} with {ndim} dimension(s), at most {LARGEST} bytes"
        damaged(path, expected, f"{dataset.dtype} {dataset.shape}", AGAIN)
    return np.asarray(dataset[...])
