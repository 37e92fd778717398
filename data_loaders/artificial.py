"""Artificial data (E1): uniform on [-1, 1]^d or standard Gaussian samples, random labels."""

import math
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray

CHUNK_ELEMENTS = 2**22


class Distribution(NamedTuple):
    """Independent coordinates of mean zero."""

    variance: float  # sigma^2, per coordinate
    low: float  # data range, which attacks respect
    high: float


DISTRIBUTIONS = {
    "uniform": Distribution(variance=1 / 3, low=-1.0, high=1.0),
    "gauss": Distribution(variance=1.0, low=-math.inf, high=math.inf),
}


def samples(data: str, n: int, dim: int, rng: np.random.Generator, dtype: str) -> HostArray:
    """n samples (n, d) of the distribution called `data`, as `dtype`, on the host.

    Drawn in float64 row by row and rounded, so that float32 and float64 runs see the same data and
    the first rows do not depend on n. Holds one chunk of 32 MiB besides the result.
    """
    checks.choice("data", data, DISTRIBUTIONS)
    n, dim = checks.whole_number("n", n, 1), checks.whole_number("dim", dim, 1)
    x = np.empty((n, dim), dtype=dtype)
    rows = max(1, CHUNK_ELEMENTS // dim)
    for first in range(0, n, rows):
        part = x[first : first + rows]
        if data == "uniform":
            part[...] = rng.uniform(-1.0, 1.0, part.shape)
        else:
            part[...] = rng.standard_normal(part.shape)
    return x


def labels(n: int, rng: np.random.Generator, dtype: str) -> HostArray:
    """n independent labels, +1 or -1 with equal probability, (n,)."""
    return (2 * rng.integers(0, 2, checks.whole_number("n", n, 1)) - 1).astype(dtype)
