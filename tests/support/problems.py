"""Random problems and monitors for tests."""

from typing import NamedTuple

import numpy as np

from reflfap import onehidden
from reflfap.backend import to_host
from reflfap.monitor import Monitor


class Problem(NamedTuple):
    net: onehidden.Network
    x: np.ndarray
    y: np.ndarray


def make_problem(
    seed: int = 0,
    dim: int = 7,
    hidden: int = 6,
    n: int = 5,
    slope: float = 0.3,
    dtype: str = "float64",
    data: str = "gauss",
) -> Problem:
    """A random network with random samples and labels, large enough to have both signs of z."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((hidden, dim)).astype(dtype) / np.sqrt(dim).astype(dtype)
    draw = rng.standard_normal if data == "gauss" else lambda size: rng.uniform(-1, 1, size)
    x = draw((n, dim)).astype(dtype)
    y = rng.choice([-1, 1], n).astype(dtype)
    return Problem(onehidden.network(W, slope), x, y)


def unscaled_problem(dtype: str = "float32") -> Problem:
    """Positive features from 1e-3 to 4e3, as those of scikit-learn's raw breast cancer data."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(60) < 0.4, -1.0, 1.0)
    x = np.exp(0.4 * rng.standard_normal((60, 30)) + 0.1 * y[:, None])
    x *= np.geomspace(1e-3, 4e3, 30) / x.max(axis=0)
    W = rng.uniform(-1, 1, (10, 30)) / np.sqrt(30)
    return Problem(onehidden.network(W.astype(dtype), 0.01), x.astype(dtype), y.astype(dtype))


class Interrupting(Monitor):
    """Keeps a state the n-th time it is asked whether one is due, and stops there; restores it."""

    def __init__(self, asked: int) -> None:
        self.left = asked
        self.state: dict[str, np.ndarray] | None = None

    def due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def keep(self, stage, state) -> None:
        self.state = {name: np.copy(to_host(values)) for name, values in state.items()}
        if self.left == 0:
            raise KeyboardInterrupt

    def restore(self, stage):
        return self.state
