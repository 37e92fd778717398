"""Small problems of extreme scales, with ties, zeros and what underflows, in both precisions."""

import random
from typing import Any, NamedTuple

import numpy as np

from reflfap import norms, onehidden

SCALES = (1.0, 1.0, 1.0, 1e-3, 1e3, 1e-20, 1e20, 1e-38, 1e38, 1e-160, 1e160, 1e-310, 1e308, 0.0)
TOO_SMALL = {np.dtype("f4"): 1e-45, np.dtype("f8"): 5e-324}


class Problem(NamedTuple):
    """Samples, labels, a network, and some numbers that go with them."""

    x: Any  # (N, d)
    y: Any  # (N,)
    W: Any  # (m, d)
    slope: float
    scale: float  # of the samples
    other: Any  # (N, d)
    lam: Any  # (N,)
    rng: random.Random

    @property
    def net(self) -> onehidden.Network:
        return onehidden.network(self.W, self.slope)

    def size(self) -> float:
        """Of a perturbation or a step: near the scale of the samples, or far from it."""
        return self.rng.choice((self.scale, 0.1 * self.scale, 1.0, *SCALES))

    def norm(self) -> Any:
        """One of the four, or the ReflfapError of a size that it refuses."""
        kind = self.rng.choice((norms.L2, norms.LInf, norms.LInfSign, norms.L0))
        if kind is norms.L0:
            return norms.L0(self.rng.choice((1, 2, 10**9)), tracked=self.rng.random() < 0.5)
        return kind(self.size())


def problem(rng: random.Random) -> Problem:
    """A small one, of a scale for the samples and another for the weights."""
    draw = np.random.default_rng(rng.getrandbits(32))
    n, d, m = rng.randint(1, 12), rng.randint(1, 30), 2 * rng.randint(1, 5)
    dtype = rng.choice(("f4", "f8"))
    scale, scale_w = rng.choice(SCALES), rng.choice(SCALES)
    x, other = (_samples(rng, draw, (n, d), scale, dtype) for _ in range(2))
    y = draw.choice([-1.0, 1.0], n).astype(dtype)
    W = _samples(rng, draw, (m, d), scale_w, dtype)
    slope = rng.choice((0.01, 0.5, 0.99, 1e-8, 1 - 1e-12, 1e-300))
    lam = np.abs(_samples(rng, draw, (n, 1), rng.choice(SCALES), dtype))[:, 0]
    return Problem(x, y, W, slope, scale, other, lam, rng)


def _samples(
    rng: random.Random, draw: np.random.Generator, shape: tuple[int, int], scale: float, dtype: str
) -> Any:
    """An array of this scale, of which some have rows or entries alike, zero, tiny or huge."""
    most = np.finfo(dtype).max
    with np.errstate(all="ignore"):
        x = np.clip(draw.standard_normal(shape) * scale, -most, most).astype(dtype)
    how = rng.randrange(8)
    if how == 0:
        x[:] = x[:1]
    elif how == 1:
        x[rng.randrange(len(x))] = 0
    elif how == 2:
        x = np.sign(x) * np.asarray(min(scale, most), dtype)
    elif how == 3:
        x[:, rng.randrange(x.shape[1])] = TOO_SMALL[x.dtype]
    elif how == 4:
        x[rng.randrange(len(x)), rng.randrange(x.shape[1])] = most
    elif how == 5:
        x[len(x) // 2 :] = -x[: len(x) - len(x) // 2]
    return x


def sound(name: str, value: Any, shape: tuple[int, ...], dtype: Any = None) -> str:
    """What is wrong with an array or a number that a function gave, else nothing."""
    found = np.asarray(value)
    if found.shape != shape:
        return f"{name}: shape {found.shape}, not {shape}"
    if dtype is not None and found.dtype != dtype:
        return f"{name}: {found.dtype}, not {dtype}"
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        return f"{name}: not finite, {found.ravel()[~np.isfinite(found.ravel())][0]}"
    return ""
