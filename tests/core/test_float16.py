"""The released arithmetic: rounding bit by bit, each stage as a loop of numpy.float16, zeros."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import make_problem

from reflfap import losses, onehidden
from reflfap.errors import InputError
from reflfap.float16 import (
    SMALLEST,
    rounded,
    rounded_backward,
    rounded_margin_gradient,
    rounded_network,
    rounded_outputs,
    stopping_margins,
    unit_gradients,
)

pytestmark = pytest.mark.usefixtures("library")

SLOPE = 0.25  # a power of two: sums of products stay exact in float32, in whatever order
HALF = np.float16
WIDTHS = st.sampled_from([4, 10, 50, 1_000])
SHARES = st.sampled_from([1.0, 0.1, 1 / 500, 1e-3, 1e-4])


def near_all_numbers() -> np.ndarray:
    """Every float16 number, every midpoint of two, and what float32 has on both sides of each."""
    numbers = np.arange(2**16, dtype=np.uint16).view(HALF).astype(np.float32)
    numbers = np.sort(numbers[np.isfinite(numbers)])
    numbers = np.concatenate([numbers, (numbers[1:] + numbers[:-1]) / 2, [65520, -65520, 1e38]])
    numbers = numbers.astype(np.float32)
    sides = [np.nextafter(numbers, np.float32(end)) for end in (-np.inf, np.inf)]
    special = np.asarray([np.inf, -np.inf, np.nan, 1e-45, 3e38], dtype=np.float32)
    return np.concatenate([numbers, *sides, special])


def test_rounding_is_that_of_numpy():
    """All exponents, subnormal numbers, ties, overflow, NaN: the same number, the sign of 0 left
    out. Casts of NumPy are what it is compared with."""
    x = near_all_numbers()
    with np.errstate(over="ignore"):
        expected = x.astype(HALF).astype(np.float32)
    assert np.array_equal(rounded(x), expected, equal_nan=True)
    assert np.array_equal(rounded(-x), -expected, equal_nan=True)


def test_rounding_of_any_layout():
    """Columns, steps and no numbers at all; what is given stays as it is."""
    x = near_all_numbers()[:60].reshape(6, 10)
    before = x.copy()
    expected = x.astype(HALF).astype(np.float32)
    assert np.array_equal(rounded(x.T), expected.T)
    assert np.array_equal(rounded(x[:, ::3]), expected[:, ::3])
    assert rounded(x[:0]).shape == (0, 10)
    assert np.array_equal(x, before)


def test_other_precisions_are_refused():
    with pytest.raises(InputError, match=r"^x: expected dtype float32, got float64"):
        rounded(np.zeros(3))


def whole_numbers(seed, n=3, dim=20, hidden=16):
    """Weights, samples and labels of few bits: all sums are exact in float32, and z is rounded."""
    rng = np.random.default_rng(seed)
    W = (rng.integers(-31, 32, (hidden, dim)) / 64).astype(np.float32)
    x = (rng.integers(-127, 128, (n, dim)) / 64).astype(np.float32)
    return onehidden.network(W, SLOPE), x, rng.choice([-1, 1], n).astype(np.float32)


def looped(net, x, y, share):
    """q, u and -dx of one sample after the other, in numpy.float16."""
    a = [HALF(one) for one in net.a]
    margins, gradients, units = [], [], []
    for one, label in zip(x, y, strict=True):
        z = [HALF(np.dot(w.astype(HALF).astype(float), one.astype(HALF))) for w in net.W]
        p = [zj if zj > 0 else HALF(SLOPE * float(zj)) for zj in z]
        f = float(HALF(sum(float(pj) * float(aj) for pj, aj in zip(p, a, strict=True))))
        q = label * f
        g = HALF(np.float32(-label * math.exp(-q) * share))
        u = [HALF(float(g) * float(aj)) for aj in a]
        u = [uj if zj > 0 else HALF(SLOPE * float(uj)) for uj, zj in zip(u, z, strict=True)]
        dx = sum(float(uj) * w.astype(HALF).astype(float) for uj, w in zip(u, net.W, strict=True))
        margins.append(q)
        units.append([-float(uj) for uj in u])
        gradients.append(-dx.astype(HALF).astype(float))
    return margins, np.asarray(units).T, np.asarray(gradients)


@given(st.integers(0, 10**6), st.sampled_from([1.0, 2.0**-10]))
def test_the_chain_is_that_of_a_loop(seed, share):
    """Each stage to the last bit. dW, a sum over samples whose rates differ, to float32's digits
    before it is rounded; that may be to either side of a tie: one step of float16."""
    net, x, y = whole_numbers(seed)
    margins, units, gradients = looped(net, x, y, share)
    net = rounded_network(net)
    Z = rounded(net.W @ rounded(x).T)
    q = y * rounded_outputs(net, Z)
    assert np.array_equal(q, margins)
    u = rounded_backward(net, Z, y, *unit_gradients(net, losses.EXPONENTIAL, q, share))
    assert np.array_equal(u, units)
    if share == 1:
        got = rounded_margin_gradient(net, losses.EXPONENTIAL, x, y)
        assert np.array_equal(got[0], margins)
        assert np.array_equal(got[1], gradients)
    dW, expected = rounded(u @ rounded(x)), (units @ x.astype(float)).astype(HALF)
    assert np.all(np.abs(dW - expected.astype(float)) <= np.spacing(np.abs(expected)))


NUMBERS = st.integers(-(2**14), 2**14).map(lambda one: float(HALF(one / 2**10)))


@given(NUMBERS, NUMBERS, st.sampled_from([0.01, 0.3]))
def test_activations_are_rounded_before_they_are_added(one, other, slope):
    """Of two units, whose products are exact in float32 and whose sum is rounded once."""
    net = rounded_network(onehidden.network(np.zeros((2, 1), np.float32), slope))
    z = np.asarray([[one], [other]], dtype=np.float32)
    p = [HALF(z_j if z_j > 0 else np.float32(slope) * np.float32(z_j)) for z_j in (one, other)]
    expected = HALF(np.float32(float(HALF(0.5**0.5)) * (float(p[0]) - float(p[1]))))
    assert rounded_outputs(net, z) == [float(expected)]


def test_a_unit_at_zero_is_off():
    """As phi'(0) = gamma, in (N1)."""
    net, one = network_of(2, 0.25), np.ones(1, dtype=np.float32)
    z = np.zeros((2, 1), dtype=np.float32)
    assert rounded_backward(net, z, one, one, 0.25 * one).tolist() == [[0.25], [-0.25]]


def network_of(hidden, slope):
    return rounded_network(onehidden.network(np.zeros((hidden, 1), np.float32), slope))


@given(WIDTHS, SHARES, st.sampled_from([0.01, 0.1, 0.5]))
def test_where_gradients_become_zero(hidden, share, slope):
    """u = h(g h(a)) is zero beyond q = log(2^25 s/sqrt(m)), that of off-units beyond log(gamma ..).

    g is a multiple of 2^-24 there, so the smallest that survives lies between 1/(2c) and 1/(2c) + 1
    of them, and its own rounding begins half a step lower: log(1 +- c) around the formula, with
    h(c) for c. Off-units the same with gamma for c, on top.
    """
    net, c = network_of(hidden, slope), float(HALF(1 / math.sqrt(hidden)))
    for unit, (stop, factor, steps) in enumerate(
        zip(
            stopping_margins(net, losses.EXPONENTIAL, share),
            (c, c * slope),
            (c, c + slope),
            strict=True,
        )
    ):
        around = np.asarray([stop - 1e-4, stop + 1e-4], dtype=np.float32)
        g = unit_gradients(net, losses.EXPONENTIAL, around, share)[unit]
        assert g[0] >= SMALLEST
        assert g[1] == 0
        assert abs(stop - math.log(2**25 * factor * share)) <= -math.log1p(-steps / (1 + steps))


def test_the_margin_at_a_thousand_units():
    """m = 1,000, by hand: c 2^24 g is rounded to 0 below g = 16 2^-24, and g to that from 15.5."""
    stop, _ = stopping_margins(network_of(1_000, 0.01), losses.EXPONENTIAL, 1.0)
    assert stop == pytest.approx(math.log(2**24 / 15.5), abs=1e-5)


@given(st.integers(0, 10**6))
def test_far_from_every_threshold_it_is_exact(seed):
    """Margins and gradients of a small network are those of float32, but for roundings of 2^-11.

    A sum of m terms after roundings of each: 4 of 2^-11 of the sum of magnitudes are beyond it.
    """
    net, x, y = make_problem(seed, dim=10, hidden=8, n=4, dtype="float32", slope=0.1)
    q, g = onehidden.margin_gradient(net, x, y)
    got_q, dx = rounded_margin_gradient(rounded_network(net), losses.EXPONENTIAL, x, y)
    sizes = np.abs(net.a) @ (np.abs(net.W) @ np.abs(x).T)
    assert np.all(np.abs(got_q - q) <= 4 * 2.0**-11 * sizes)
    Z = net.W @ x.T
    clear = np.abs(Z).min(axis=0) > 1e-2 * np.abs(x).max()  # no unit is turned on or off
    direction = np.exp(-got_q)[:, None] * g
    error = np.abs(dx - direction)[clear]
    assert np.all(error <= 4 * 2.0**-11 * np.exp(-got_q)[clear, None] * 8**0.5 + 8 * SMALLEST)
