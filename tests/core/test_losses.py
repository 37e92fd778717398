"""Losses (N2): derivatives, stability for any margin, precision."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap import losses

pytestmark = pytest.mark.usefixtures("library")

BOTH = pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
# float32 margins are rounded, so the truth is taken at the rounded margin: no tolerance for that
MARGINS = st.floats(-600, 600, allow_subnormal=False)


def exact_log(name: str, q: float, order: int) -> float:
    """log of (-1)^order times the derivative of that order of l at q, from 400 digits."""
    with localcontext(prec=400):
        e = (-Decimal(q)).exp()
        rate = e / (1 + e)
        logistic = [(1 + e).ln(), rate, rate * (1 - rate)]
        return float((e if name == "exponential" else logistic[order]).ln())


@BOTH
@given(q=MARGINS)
def test_derivatives(loss, q):
    """Value, rate and curvature against 400-digit arithmetic, to a few ulp of their logarithm."""
    for order, log in enumerate((loss.log_value, loss.log_rate, loss.log_curvature)):
        got = float(log(np.asarray([q]))[0])
        assert got == pytest.approx(exact_log(loss.name, q, order), rel=4e-16, abs=4e-16)


@BOTH
@given(q=st.floats(-20, 20))
def test_derivatives_by_central_differences(loss, q):
    """-l' and l'' are the derivatives of l and of l'."""
    h = 1e-5  # truncation h^2/6 and rounding 1e-16/h are both near 1e-11
    up, down = np.asarray([q + h]), np.asarray([q - h])
    scale = math.exp(-min(q, 0))
    slope = (losses.value(loss, up) - losses.value(loss, down))[0] / (2 * h)
    assert slope == pytest.approx(-losses.rate(loss, np.asarray([q]))[0], abs=1e-9 * scale)
    slope = (losses.rate(loss, up) - losses.rate(loss, down))[0] / (2 * h)
    curvature = math.exp(loss.log_curvature(np.asarray([q]))[0])
    assert -slope == pytest.approx(curvature, abs=1e-9 * scale)


@BOTH
@given(q=MARGINS)
def test_float32_margins_lose_nothing(loss, q):
    """A float32 margin gives what its float64 value gives, float64, and never a NaN."""
    q = np.asarray([q], dtype=np.float32)
    for function in (losses.value, losses.rate):
        single, double = function(loss, q), function(loss, q.astype(np.float64))
        assert single.dtype == np.float64
        assert single == double
        assert not np.isnan(single).any()


@BOTH
def test_extreme_margins(loss):
    """Beyond the range of float64 a loss is 0 or infinity, with neither warning nor NaN."""
    q = np.asarray([-np.inf, -1e6, 1e6, np.inf])
    assert losses.value(loss, q)[[0, 2, 3]].tolist() == [np.inf, 0.0, 0.0]
    linear = 1e6 if loss.name == "logistic" else np.inf
    assert losses.value(loss, q)[1] == pytest.approx(linear, rel=1e-12)


@BOTH
@given(shift=st.floats(-1e5, 1e5), seed=st.integers(0, 99))
def test_log_mean_beyond_float64(loss, shift, seed):
    """log of the mean loss against arbitrary precision, where the mean itself is no float64."""
    q = np.random.default_rng(seed).normal(shift, 3, 5)
    with localcontext(prec=60, Emax=10**6, Emin=-(10**6)):
        terms = [(-Decimal(margin)).exp() for margin in q.tolist()]
        if loss.name == "logistic":  # 60 digits do not hold 1 + e for a tiny e, where ln(1 + e) = e
            terms = [e if e < Decimal("1e-50") else (1 + e).ln() for e in terms]
        truth = float((sum(terms) / len(terms)).ln())
    assert losses.log_mean(loss, q) == pytest.approx(truth, rel=1e-14, abs=1e-14)


@given(q=st.floats(-30, 30))
def test_logistic_symmetry(q):
    """The logistic rate is a probability: -l'(q) - l'(-q) = 1; and l(q) - l(-q) = -q."""
    loss, q = losses.LOGISTIC, np.asarray([q])
    assert losses.rate(loss, q) + losses.rate(loss, -q) == pytest.approx(1.0, rel=1e-15)
    difference = losses.value(loss, q) - losses.value(loss, -q)
    assert difference == pytest.approx(-q, abs=1e-14)


@BOTH
@given(q=st.lists(st.floats(-5, 20), min_size=1, max_size=9))
def test_a_low_loss_means_that_all_are_right(loss, q):
    """What the theorems behind (T2) ask for, L < l(0)/N: one wrong sample alone costs l(0)/N."""
    q = np.asarray(q)
    low = losses.value(loss, q).mean() < losses.value(loss, np.zeros(1))[0] / len(q)
    assert not low or q.min() > 0


@BOTH
def test_all_right_is_no_low_loss(loss):
    """The converse is false: of two small margins L is nearly l(0), twice what is asked for."""
    q = np.asarray([0.01, 0.01])
    assert losses.value(loss, q).mean() > losses.value(loss, np.zeros(1))[0] / 2


def test_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="expected one of exponential, logistic, got 'hinge'"):
        losses.loss_named("hinge")
