"""Named random streams."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reflfap.rng import stream

NAMES = st.text(max_size=20)


@given(seed=st.integers(0, 2**63), name=NAMES, other=NAMES)
def test_streams_are_reproducible_and_distinct(seed, name, other):
    first = stream(seed, name).random(4)
    assert np.array_equal(first, stream(seed, name).random(4))
    assert not np.array_equal(first, stream(seed + 1, name).random(4))
    if name != other:
        assert not np.array_equal(first, stream(seed, other).random(4))


def test_streams_are_uncorrelated():
    """Two names of one seed: the correlation of 10^5 numbers is within five deviations of 0."""
    one, other = (stream(0, name).standard_normal(10**5) for name in ("noise/x", "natural/x"))
    assert abs(np.mean(one * other)) < 5 / np.sqrt(10**5)
