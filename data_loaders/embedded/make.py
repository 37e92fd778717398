"""Draw the embedded subset: python -m reflfap.data_loaders.embedded.make

All ten classes of Fashion-MNIST, 100 training and 20 test images of each, drawn without replacement
by the named streams below, in the order of the complete set. Running it again gives the same
arrays, and the same bytes wherever zlib compresses alike.
"""

import gzip
from pathlib import Path

import numpy as np

from reflfap.backend import HostArray
from reflfap.data_loaders import idx, images
from reflfap.rng import stream

SEED = 0
EACH = {"train": 100, "test": 20}


def choose(labels: HostArray, split: str) -> HostArray:
    """The positions of the images drawn, ascending (10 * EACH[split],) int64."""
    rng = stream(SEED, f"embedded Fashion-MNIST {split}")
    drawn = [
        rng.choice(np.flatnonzero(labels == number), EACH[split], replace=False)
        for number in range(10)
    ]
    return np.sort(np.concatenate(drawn))


def make_embedded(target: Path, folder: Path | None = None) -> None:
    """Write the four idx files to `target`, from the complete set in folder/fashion-mnist.

    Takes 3 s and 50 MB.
    """
    for split, prefix in images.SPLITS.items():
        full = images.load("fashion-mnist", split, folder)
        chosen = choose(full.labels, split)
        parts = {
            "images-idx3": full.images[chosen, 0],
            "labels-idx1": full.labels[chosen].astype(np.uint8),
        }
        for what, array in parts.items():
            content = gzip.compress(idx.header(array.shape) + array.tobytes(), mtime=0)
            (target / f"{prefix}-{what}-ubyte.gz").write_bytes(content)


if __name__ == "__main__":
    make_embedded(Path(__file__).parent)
