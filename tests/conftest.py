"""Shared problems and settings of all tests."""

import os
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from libraries import LIBRARIES, library_named, lift
from threadpoolctl import threadpool_limits

from reflfap import onehidden
from reflfap.backend import to_host
from reflfap.monitor import Monitor

# no deadline: the machines that run these tests are shared, and time is benchmarks' business;
# in CI the examples are the same each time, so that a change is judged by itself, while every
# run elsewhere searches on
settings.register_profile(
    "reflfap",
    deadline=None,
    derandomize="CI" in os.environ,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("reflfap")


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


@pytest.fixture
def problem() -> Problem:
    return make_problem()


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


def fewer_examples(test, patch):
    """Ten in place of forty: an operation on the conformance backend takes as long as ten."""
    name = "_hypothesis_internal_use_settings"
    if (own := getattr(test, name, None)) is not None:
        patch.setattr(test, name, settings(own, max_examples=min(10, own.max_examples)))


@pytest.fixture
def one_thread():
    """Products this small take longer in several threads, and far longer on a busy machine."""
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(params=LIBRARIES)
def xp(request):
    """Each array library, for tests that put arrays there themselves; images stay on the host."""
    return library_named(request.param)


@pytest.fixture(params=LIBRARIES)
def library(request, monkeypatch):
    """Each array library in turn, for the functions that the test module calls."""
    xp = library_named(request.param)
    if xp is not np:
        if request.node.get_closest_marker("numpy_only"):
            pytest.skip("numpy_only: says nothing of the library, or takes thousands of steps")
        lift(request.module, xp, monkeypatch)
        fewer_examples(request.function, monkeypatch)
    return xp
