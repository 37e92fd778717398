"""Two classes of raw images from `REFLFAP_DATA`, for measurements only: pixels on [-1, 1]."""

import os

import numpy as np

from reflfap.data_loaders.images import load


def two_classes(name, classes, n, dtype="float32"):
    """The first n training images of two classes, x (n, d) and y (n,); None without the data."""
    if "REFLFAP_DATA" not in os.environ:
        return None
    chosen = load(name).classes(*classes)
    x = chosen.images[:n].reshape(n, -1).astype(dtype) / np.asarray(127.5, dtype) - 1
    return x, (1 - 2 * chosen.labels[:n]).astype(dtype)
