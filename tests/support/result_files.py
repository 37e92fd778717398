"""Result files as tests make and change them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from reflfap.sealed import write_sealed

ATTRIBUTES = {
    "wall_seconds": 1.5,
    "backend": "numpy",
    "device": "cpu",
    "dtype": "float32",
    "blas": "some",
    "threads": 2,
    "versions_json": "{}",
    "source_revision": "v0",
}


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    """Make another file, validly sealed, of the one at `path`."""
    with h5py.File(path) as old, write_sealed(path) as new:
        new.attrs.update(old.attrs)
        for name in old:
            old.copy(name, new)
        change(new)
