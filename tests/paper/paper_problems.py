"""Random problems for the tests of reflfap/paper.py, and what rounding may do to them.

Real problems are drawn from a normal distribution: no kink, no tie. Exact ones have small integers
and quarters for entries, and 1/sqrt(m) is a power of two: each product and sum is exact in float32
too, so that z = 0 at kinks and |g_i| = |g_j| in ties, exactly and in any order of summation.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st

from reflfap import losses, onehidden, paper

DTYPES = ("float32", "float64")
KINDS = tuple(losses.LOSSES)
SEEDS = st.integers(0, 2**32 - 1)


class Problem(NamedTuple):
    """A network and labelled samples, in the order of paper.py's arguments."""

    W: np.ndarray
    x: np.ndarray
    y: np.ndarray
    gamma: float

    @property
    def net(self) -> onehidden.Network:
        return onehidden.network(self.W, self.gamma)

    @property
    def eps(self) -> float:
        return float(np.finfo(self.x.dtype).eps)

    @property
    def terms(self) -> int:
        """More than any one sum of (N1) to (N4) has."""
        return sum(self.W.shape) + len(self.x) + 10

    @property
    def output_sizes(self) -> np.ndarray:
        """sum_j |a_j| sum_i |W_ji| |x_ni|, (N,): f(x_n) is a sum of such terms."""
        W, x = np.abs(self.W.astype(float)), np.abs(self.x.astype(float))
        return (W @ x.T).sum(axis=0) / np.sqrt(len(W))


def _real(seed: int, half: int, d: int, n: int, gamma: float, dtype: str) -> Problem:
    rng = np.random.default_rng(seed)
    W, x = rng.standard_normal((2 * half, d)) / np.sqrt(d), rng.standard_normal((n, d))
    y = rng.choice([-1.0, 1.0], n)
    return Problem(W.astype(dtype), x.astype(dtype), y.astype(dtype), gamma)


def real_problems(**sizes: Any) -> st.SearchStrategy[Problem]:
    """m = 2 and more, N on both sides of 2 d, slopes over (0, 1); `sizes` narrows these."""
    anything = {
        "half": st.integers(1, 5),
        "d": st.integers(1, 12),
        "n": st.integers(1, 30),
        "gamma": st.floats(0.001, 0.999),
        "dtype": st.sampled_from(DTYPES),
    }
    return st.builds(_real, seed=SEEDS, **(anything | sizes))


def _exact(seed: int, m: int, d: int, n: int, gamma: float, dtype: str) -> Problem:
    rng = np.random.default_rng(seed)
    W, x = rng.integers(-2, 3, (m, d)), rng.integers(-4, 5, (n, d)) / 4
    W[0] *= rng.integers(2)  # every second time a unit that is at its kink at every sample
    y = rng.choice([-1.0, 1.0], n)
    return Problem(W.astype(dtype), x.astype(dtype), y.astype(dtype), gamma)


def exact_problems(**sizes: Any) -> st.SearchStrategy[Problem]:
    """With kinks and ties; margins stay below 30."""
    anything = {
        "m": st.sampled_from([4, 16]),
        "d": st.integers(1, 6),
        "n": st.integers(1, 15),
        "gamma": st.sampled_from([0.25, 0.5, 0.75]),
        "dtype": st.sampled_from(DTYPES),
    }
    return st.builds(_exact, seed=SEEDS, **(anything | sizes))


def _orthogonal(seed: int, half: int, n: int, more: int, gamma: float, dtype: str) -> Problem:
    rng = np.random.default_rng(seed)
    d = n + more
    rows = np.linalg.qr(rng.standard_normal((d, n)))[0].T * rng.uniform(1, 1.1, (n, 1))
    # products of such samples are at most 3 size; (T1) bounds them by gamma^3 / (4 N) here
    size = 0.05 * gamma**3 / n
    noise = rng.standard_normal((n, d))
    x = 1.5 * (rows + size * noise / np.linalg.norm(noise, axis=1)[:, None])
    y = rng.choice([-1.0, 1.0], n).astype(dtype)
    W = rng.standard_normal((2 * half, d)).astype(dtype)
    return Problem(W, x.astype(dtype), y, gamma)


def orthogonal_problems(**sizes: Any) -> st.SearchStrategy[Problem]:
    """Samples that are orthogonal but for a little, so that (T1) holds."""
    anything = {
        "half": st.integers(1, 4),
        "n": st.integers(1, 8),
        "more": st.integers(0, 6),
        "gamma": st.floats(0.1, 0.95),
        "dtype": st.sampled_from(DTYPES),
    }
    return st.builds(_orthogonal, seed=SEEDS, **(anything | sizes))


def agree(got: Any, expected: Any, within: Any = 0.0) -> None:
    """Equal up to `within`, an absolute tolerance for all entries or one for each."""
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    assert got.shape == expected.shape
    np.testing.assert_array_less(np.abs(got - expected) - within, np.finfo(float).tiny)


@contextlib.contextmanager
def linear_loss() -> Iterator[None]:
    """paper.py with l(q) = -q, l'(q) = -1.

    An attack's steps do not depend on l' < 0, which only scales a sample's gradient. But exp(-q)
    has all its digits, so that entries of l'(q) dq/dx which are equal differ by rounding; those of
    an exact problem do not where l' = -1.
    """

    def loss(q: Any, kind: str) -> Any:
        return -q

    def dloss(q: Any, kind: str) -> Any:
        return 0 * q - 1

    with patch.multiple(paper, loss=loss, dloss=dloss):
        yield


@contextlib.contextmanager
def kinks_seen() -> Iterator[list[float]]:
    """The smallest |z| of each phi'(z) that paper.py takes meanwhile: how near it came to a kink.

    Two computations whose z differ by rounding may find them on two sides of a kink, and go on with
    other gradients. So who compares float32 paths leaves out those that come near one.
    """
    seen: list[float] = []
    dphi = paper.dphi

    def watched(z: Any, gamma: float) -> Any:
        seen.append(float(np.abs(z).min()))
        return dphi(z, gamma)

    with patch.object(paper, "dphi", watched):
        yield seen


@contextlib.contextmanager
def steps_seen() -> Iterator[list[tuple[Any, Any]]]:
    """Where paper.py's attack takes gradients meanwhile, and what they are: pairs x, g (N, d)."""
    path: list[tuple[Any, Any]] = []
    dl_dx = paper.dl_dx

    def watched(W: Any, x: Any, *rest: Any) -> Any:
        path.append((x, dl_dx(W, x, *rest)))
        return path[-1][1]

    with patch.object(paper, "dl_dx", watched):
        yield path


def comes_back(x0: Any, path: list[tuple[Any, Any]], near: float) -> bool:
    """Whether a pixel that had moved from x0 moves back onto it, up to rounding.

    The released l0 takes for changed what differs from the start: here its last digit decides. Who
    is clipped back onto a start at the edge is there exactly, and stays in.
    """
    tiny = np.finfo(x0.dtype).tiny
    for x, g in path:
        stride = 0.3 * g / np.maximum(np.abs(g).max(axis=1, keepdims=True), tiny)
        if np.any((np.abs(x - x0) > near) & (np.abs(x - stride - x0) < near)):
            return True
    return False
