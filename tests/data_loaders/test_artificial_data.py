"""Artificial data (E1)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap.data_loaders import artificial as data
from reflfap.errors import InputError
from reflfap.rng import stream

EACH = pytest.mark.parametrize("name", data.DISTRIBUTIONS)


@EACH
@given(seed=st.integers(0, 999), n=st.integers(1, 9), more=st.integers(0, 9), dim=st.integers(1, 9))
def test_first_rows_do_not_depend_on_n(name, seed, n, more, dim):
    """Nor on the chunks, nor on the dtype but for rounding: larger sets contain the smaller."""
    few = data.samples(name, n, dim, stream(seed, "x"), "float64")
    many = data.samples(name, n + more, dim, stream(seed, "x"), "float32")
    assert np.array_equal(few.astype(np.float32), many[:n])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "CHUNK_ELEMENTS", dim)
        assert np.array_equal(few, data.samples(name, n, dim, stream(seed, "x"), "float64"))


@EACH
def test_moments(name):
    """Mean 0, variance and range as declared, within five standard errors."""
    expected = data.DISTRIBUTIONS[name]
    x = data.samples(name, 500, 400, stream(3, "x"), "float64")
    assert abs(x.mean()) < 5 * np.sqrt(expected.variance / x.size)
    assert x.var() == pytest.approx(expected.variance, rel=5 * np.sqrt(2 / x.size))
    assert expected.low <= x.min() < -0.999
    assert 0.999 < x.max() <= expected.high


def test_labels():
    y = data.labels(10_000, stream(3, "y"), "float32")
    assert set(y.tolist()) == {-1.0, 1.0}
    assert y.dtype == np.float32
    assert abs(y.mean()) < 5 / np.sqrt(len(y))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("laplace", 1, 1), "one of gauss, uniform, got 'laplace'"),
        (("uniform", 0, 1), "n: expected at least 1, got 0"),
        (("uniform", 1, 0), "dim: expected at least 1, got 0"),
    ],
)
def test_bad_input_is_refused(args, message):
    with pytest.raises(InputError, match=message):
        data.samples(*args, stream(0, "x"), "float32")
