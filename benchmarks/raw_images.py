"""Two classes of raw images from `REFLFAP_DATA`, for measurements only: pixels on [-1, 1]."""

import gzip
import os
import tarfile
from pathlib import Path

import numpy as np


def two_classes(name, classes, n, dtype="float32"):
    """The first n training images of two classes, x (n, d) and y (n,); None without the data."""
    folder = Path(os.environ.get("REFLFAP_DATA", "missing"))
    if not folder.is_dir():
        return None
    images, labels = (_cifar if name == "cifar-10" else _idx)(folder / name)
    chosen = np.flatnonzero(np.isin(labels, classes))[:n]
    x = images[chosen].astype(dtype) / np.asarray(127.5, dtype) - 1
    return x, np.where(labels[chosen] == classes[0], 1, -1).astype(dtype)


def _idx(folder):
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        return images, np.frombuffer(file.read(), np.uint8, offset=8)


def _cifar(folder):
    with tarfile.open(folder / "cifar-10-binary.tar.xz") as archive:
        member = next(one for one in archive if one.name.endswith("data_batch_1.bin"))
        records = np.frombuffer(archive.extractfile(member).read(), np.uint8).reshape(-1, 3073)
    return records[:, 1:], records[:, 0]
