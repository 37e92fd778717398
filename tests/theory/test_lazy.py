"""(W1) to (W4) in blocks: equal to reflfap/wide.py, in both precisions, within a block's memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap import wide
from reflfap.errors import InputError
from reflfap.theory import lazy

pytestmark = pytest.mark.usefixtures("library")

SEEDS = st.integers(0, 10**6)
DTYPES = st.sampled_from(["float32", "float64"])
SLOPES = st.sampled_from([0.0, 0.4, 0.99])


def drawn(seed, dtype, n=13, d=7):
    rng = np.random.default_rng(seed)
    x, z = rng.standard_normal((n, d)) + 0.2, rng.standard_normal((6, d))
    y, t = rng.choice([-1.0, 1.0], (2, n))
    return [one.astype(dtype) for one in (x, y, z, t)]


def near(dtype):
    """Of a kernel: arccos near 1 turns a rounding eps into sqrt(2 eps)."""
    return 3 * float(np.sqrt(np.finfo(dtype).eps))


@given(seed=SEEDS, dtype=DTYPES, slope=SLOPES, one=st.sampled_from([0.0, 1.0]))
def test_what_is_learned(seed, dtype, slope, one):
    """(W1), with any weights of the samples."""
    x, y, z, _ = drawn(seed, dtype)
    weights = (y * np.linspace(0.5, 2, len(y))).astype(dtype)
    got = lazy.lazy_function(z, x, weights, slope, one)
    expected = wide.fhat(z.astype(float), x.astype(float), weights.astype(float), slope, one)
    assert got == pytest.approx(expected, abs=near(dtype) * float(np.abs(x @ z.T).max()))
    assert got.dtype == x.dtype


@given(seed=SEEDS, dtype=DTYPES, slope=SLOPES, known=st.booleans())
def test_what_perturbations_are_made_of(seed, dtype, slope, known):
    """(W2), with the products of (x, 1) known or not."""
    x, y, *_ = drawn(seed, dtype)
    gram = x @ x.T + np.asarray(1, dtype) if known else None
    got = lazy.combined(x, y, slope, gram)
    expected = wide.combinations(x.astype(float), y.astype(float), slope)
    size = near(dtype) * float(np.abs(x).max()) * len(x)
    assert got.u == pytest.approx(expected, abs=size)
    Phi = wide.Phi(x.astype(float), x.astype(float), slope)
    assert [got.low, got.high] == pytest.approx([Phi.min(), Phi.max()], abs=near(dtype))
    outgrown = lazy.start_outgrown(got.u, slope, 3.0)
    # of norms of u: sqrt(d) times as much, over a start of at least 1/2
    assert outgrown == pytest.approx(wide.outgrows_start(expected, slope, 3.0), abs=10 * size)


@given(seed=SEEDS, dtype=DTYPES, slope=SLOPES, natural=st.booleans())
def test_what_perturbations_teach(seed, dtype, slope, natural):
    """(W3) in both scenarios; signal and rest are together what (W1) says of (r, t)."""
    x, y, z, t = drawn(seed, dtype)
    u = wide.combinations(x.astype(float), y.astype(float), slope)
    got = lazy.taught(z, x if natural else None, u.astype(dtype), t, 0.3, slope)
    base = x.astype(float) if natural else 0 * x.astype(float)
    r = base + 0.3 * t[:, None] * u / np.linalg.norm(u, axis=1)[:, None]
    size = near(dtype) * float(np.abs(r @ z.T).max()) * 4
    whole = wide.fhat(z.astype(float), r, t.astype(float), slope)
    assert got.whole(0.3) == pytest.approx(whole, abs=size)
    assert got.signal == pytest.approx(wide.ghat(z, r, u, slope), abs=size)
    assert got.other == pytest.approx(wide.other(z, r, base, t, slope), abs=size)


@given(seed=SEEDS, dtype=DTYPES)
def test_conditions(seed, dtype):
    """(W4)."""
    x, y, z, _ = drawn(seed, dtype)
    got = lazy.coherence(z, x, y)
    # sums of 13 products of 7 terms
    assert got == pytest.approx(wide.coherence(z, x, y), abs=100 * float(np.finfo(dtype).eps))
    fhat = lazy.lazy_function(z, x, y, 0.0)
    assert list(lazy.signal_decides(fhat, 1.5 * fhat)) == list(np.abs(fhat) > 0)
    assert not np.any(lazy.signal_decides(fhat, -fhat))


@pytest.mark.parametrize("block", [1, 10**9])
def test_blocks_change_nothing(block, monkeypatch):
    """(W1) to (W4): a row at a time, or all at once."""
    x, y, z, t = drawn(4, "float64")
    expected = [lazy.lazy_function(z, x, y, 0.2), lazy.combined(x, y, 0.2).u]
    expected += [*lazy.taught(z, x, x, t, 0.3, 0.2), lazy.coherence(z, x, y)]
    monkeypatch.setattr(lazy, "BLOCK", block)
    found = [lazy.lazy_function(z, x, y, 0.2), lazy.combined(x, y, 0.2).u]
    found += [*lazy.taught(z, x, x, t, 0.3, 0.2), lazy.coherence(z, x, y)]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-12, abs=1e-12)


@pytest.mark.numpy_only
def test_no_kernel_is_held_whole(monkeypatch):
    """2,000 samples in blocks of 2^16: far less than one (N, N), 32 MB, besides the result."""
    monkeypatch.setattr(lazy, "BLOCK", 2**16)
    x, y, z, t = drawn(0, "float64", n=2_000, d=20)
    tracemalloc.start()
    lazy.combined(x, y, 0.0)
    lazy.taught(z, x, x, t, 0.3, 0.0)
    lazy.lazy_function(z, x, y, 0.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_bad_input_is_refused():
    x, y, z, t = drawn(0, "float64")
    for bad in (
        lambda: lazy.lazy_function(z[:, 1:], x, y, 0.0),
        lambda: lazy.lazy_function(z, x, y, 1.5),
        lambda: lazy.lazy_function(z, x, y, -0.1),
        lambda: lazy.combined(x, 2 * y, 0.0),
        lambda: lazy.taught(z, x, x, t[1:], 0.3, 0.0),
        lambda: lazy.coherence(z[:, 1:], x, y),
        lambda: lazy.kernel_spread(0.5, 0.2),
    ):
        with pytest.raises(InputError):
            bad()
