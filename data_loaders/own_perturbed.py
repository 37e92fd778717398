"""Perturbed image sets that were made elsewhere, or exported from a result, with their targets."""

import hashlib
from pathlib import Path

import numpy as np

from reflfap.data_loaders.image_set import WHITE, ImageSet
from reflfap.data_loaders.own_files import open_arrays
from reflfap.errors import refuse

WITHIN = "data/adversarial"
"""Where a result of `reflfap run perturb`, and what `reflfap export` writes of it, has the set."""


def read_perturbed(path: Path) -> ImageSet:
    """The perturbed images of a .npz or HDF5 file as float32 on [0, 1], with targets for labels.

    Arrays x, floats on [0, 1] or bytes, of shape (N, C, H, W), or (N, H, W) for one channel, and
    y (N,), the class each was perturbed towards; or those of a result of `reflfap run perturb`.
    InputError for other arrays; DamagedFileError and StoreError for files that are not whole or
    cannot be read. Time: one pass. Memory: the images, twice where they are no float32.
    """
    with open_arrays(path) as arrays:
        of_a_result = any(name.startswith(WITHIN) for name in arrays.names)
        within = f"{WITHIN}/" if of_a_result else ""
        x, y = arrays.read(f"{within}x"), arrays.read(f"{within}y")
    where = str(path)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or 0 in x.shape or (x.dtype.kind != "f" and x.dtype != np.uint8):
        expected = f"{where}: x", "floats on [0, 1], or bytes, (N, C, H, W) or (N, H, W)"
        refuse(*expected, f"{x.dtype} {x.shape}", "write images in one of these forms")
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        expected = f"{where}: y", f"a whole number for each of {len(x)} images"
        refuse(*expected, f"{y.dtype} {y.shape}", "give the class each was perturbed towards")
    if y.min() < 0 or y.max() >= WHITE + 1:
        refuse(f"{where}: y", "classes 0 to 255", f"{y.min()} to {y.max()}", "number them from 0")
    scale = WHITE if x.dtype == np.uint8 else 1
    if scale == WHITE and x.max() <= 1:
        refuse(f"{where}: x", "bytes from 0 to 255", "0 and 1 alone", "write floats for these")
    x = np.ascontiguousarray(x, np.float32) if scale == 1 else x.astype(np.float32) / scale
    low, high = x.min(), x.max()
    if not 0 <= low <= high <= 1:  # as where one is NaN
        refuse(f"{where}: x", "pixels on [0, 1]", f"{low:g} to {high:g}", "scale, or clip them")
    labels = y.astype(np.int64)
    digest = hashlib.sha256(f"{x.shape}".encode())
    for part in (x, labels):
        digest.update(part.astype(part.dtype.newbyteorder("<"), copy=False).data)
    names = tuple(map(str, range(int(y.max()) + 1)))
    return ImageSet(x, labels, names, f"perturbed images from {path}", digest.hexdigest())
