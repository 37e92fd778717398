"""(T1) on natural images as they are and centred, as `reflfap run images` takes them.

    python -m benchmarks.centring

Needs REFLFAP_DATA. The margin is what (T1) requires to be at least 1; it grows with gamma^3, so the
last column is its limit for gamma = 1, a linear network.
"""

import os

import numpy as np

from reflfap.data_loaders.images import load
from reflfap.experiments.images import ImagesConfig, prepare, two_classes
from reflfap.theory.orthogonality import orthogonality

PAIRS = {"mnist": ("3", "7"), "fashion-mnist": ("1", "8"), "cifar-10": ("0", "1")}


def mean_cosine(x: np.ndarray) -> float:
    """Mean |cosine| between two samples, over all pairs."""
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return float(np.abs((unit @ unit.T)[np.triu_indices(len(x), 1)]).mean())


def main() -> None:
    if "REFLFAP_DATA" not in os.environ:
        print("REFLFAP_DATA is not set: no images")
        return
    print(f"{'':28}{'N':>6}{'R_min':>8}{'R_max':>8}{'p_max':>8}{'|cos|':>7}", end="")
    print(f"{'margin, gamma 0.01':>20}{'gamma -> 1':>12}")
    for name, classes in PAIRS.items():
        images = two_classes(ImagesConfig(dataset=name, classes=classes), load)
        for n in (1000, 10):
            for centre in (False, True):
                config = ImagesConfig(
                    dataset=name, classes=classes, n=n, n_adv=1, centre=centre, dtype="float64"
                )
                x = prepare(config, images).natural.x
                t1 = orthogonality(x, 0.01)
                print(
                    f"{name:<14}{' '.join(classes):<5}{'centred' if centre else 'raw':<9}{n:6}"
                    f"{t1.r_min:8.1f}{t1.r_max:8.1f}{t1.p_max:8.0f}{mean_cosine(x):7.2f}"
                    f"{t1.margin:20.1e}{1e6 * t1.margin:12.1e}"
                )


if __name__ == "__main__":
    main()
