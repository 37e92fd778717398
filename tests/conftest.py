"""Shared problems and settings of all tests."""

import os
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from libraries import LIBRARIES, library_named, lift
from problems import Problem, make_problem
from threadpoolctl import threadpool_limits

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


@pytest.fixture
def problem() -> Problem:
    return make_problem()


@pytest.fixture(autouse=True)
def no_figure_left_open():
    """Matplotlib keeps each figure until it is closed, and warns of the 21st in the next test."""
    yield
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")


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
