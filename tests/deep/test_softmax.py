"""Outputs against labels: cross-entropy and targeted margin, near and at their limits."""

import math

import numpy as np
import pytest
from gradients import fourth_order
from hypothesis import given
from hypothesis import strategies as st

from reflfap.deep import softmax

pytestmark = pytest.mark.usefixtures("library")

SIZES = {
    "seed": st.integers(0, 10**6),
    "n": st.integers(1, 5),
    "K": st.integers(2, 6),
    "scale": st.floats(0.01, 30),
}
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


def outputs(seed, n, K, scale):
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((n, K)), rng.integers(0, K, n)


def probabilities(row):
    """softmax(z) of one sample, by loops."""
    top = max(row)
    powers = [math.exp(one - top) for one in row]
    return [one / math.fsum(powers) for one in powers]


@given(**SIZES)
def test_cross_entropy(**sizes):
    """-log p_y and p - 1_y by loops; shifts change nothing; the gradient sums to zero."""
    z, y = outputs(**sizes)
    losses, dz = softmax.cross_entropy(z, y)
    for row, label, loss, gradient in zip(z, y, losses, dz, strict=True):
        p = probabilities(row)
        # log p has the relative error of p; and it may be near 0
        assert loss == pytest.approx(-math.log(p[label]), rel=1e-12, abs=1e-14)
        hit = [float(k == label) for k in range(len(p))]
        assert gradient == pytest.approx(np.subtract(p, hit), rel=1e-12, abs=1e-13)
    assert dz.sum(axis=1) == pytest.approx(0, abs=1e-13)
    shifted = softmax.cross_entropy(z + 7, y)
    assert shifted[0] == pytest.approx(losses, rel=1e-11, abs=1e-13)
    assert shifted[1] == pytest.approx(dz, rel=1e-11, abs=1e-13)


@given(**SIZES)
def test_targeted_margin(**sizes):
    """log(p_t / (1 - p_t)), and the logistic loss of it is the cross-entropy towards t.

    Where 1 - p_t rounds the sum of the other probabilities is exact.
    """
    z, target = outputs(**sizes)
    q, dq = softmax.targeted_margin(z, target)
    losses, dz = softmax.cross_entropy(z, target)
    for row, t, margin in zip(z, target, q, strict=True):
        p = probabilities(row)
        others = math.fsum(p[:t] + p[t + 1 :])
        assert margin == pytest.approx(math.log(p[t] / others), rel=1e-12, abs=1e-12)
    # a loss near 0 is a difference of numbers of the size of z
    rounding = 1e-15 * (1 + np.abs(z).max())
    assert losses == pytest.approx(np.logaddexp(0, -q), rel=1e-12, abs=rounding)
    # dl/dq = -(1 - p_t) = -1/(1 + exp(q)), so both gradients are parallel
    slope = -1 / (1 + np.exp(q))
    assert dz == pytest.approx(slope[:, None] * dq, rel=1e-11, abs=1e-13)
    assert dq[np.arange(len(q)), target] == pytest.approx(1)
    assert dq.sum(axis=1) == pytest.approx(0, abs=1e-13)


@given(**SIZES)
def test_gradients_by_central_differences(**sizes):
    """Both functions are smooth: h^4 = 1e-12 times fifth derivatives, and rounding 1e-16 z/h."""
    z, y = outputs(**sizes)
    direction = np.random.default_rng(sizes["seed"] + 1).standard_normal(z.shape)
    for function in (softmax.cross_entropy, softmax.targeted_margin):

        def along(t, function=function):
            return function(z + t * direction, y)[0]

        slopes = function(z, y)[1] * direction
        tolerance = 1e-9 * (1 + np.abs(slopes).sum(axis=1) + np.abs(z).max())
        error = np.abs(slopes.sum(axis=1) - fourth_order(along, 1e-3))
        assert np.all(error <= tolerance)


@BOTH
def test_limits_of_huge_outputs(dtype):
    """Outputs of 10^4: the exact limits, and neither overflow nor NaN. At -q = 10^4 the gradient of
    the cross-entropy towards a lost class is whole, and that of its margin is the same; towards a
    won one it underflows, and the margin's does not."""
    z = np.asarray([[1e4, 0, -1e4]] * 3 + [[1e4] * 3, [-1e4] * 3], dtype=dtype)
    y = np.asarray([0, 1, 2, 1, 0])
    losses, dz = softmax.cross_entropy(z, y)
    assert losses[:3].tolist() == [0, 1e4, 2e4]
    assert dz[:3].tolist() == [[0, 0, 0], [1, -1, 0], [1, 0, -1]]
    q, dq = softmax.targeted_margin(z, y)
    assert q[:3].tolist() == [1e4, -1e4, -2e4]
    assert dq[:3].tolist() == [[1, -1, 0], [-1, 1, 0], [-1, 0, 1]]
    # of equal outputs only the differences count, and 10^4 costs four digits
    digits = 1e4 * float(np.finfo(dtype).eps)
    assert losses[3:] == pytest.approx(math.log(3), abs=digits)
    assert q[3:] == pytest.approx(-math.log(2), abs=digits)
    third, half = [1 / 3, -2 / 3, 1 / 3], [-0.5, 1, -0.5]
    assert dz[3] == pytest.approx(np.asarray(third), abs=digits)
    assert dq[3] == pytest.approx(np.asarray(half), abs=digits)


@given(far=st.floats(30, 1e4), seed=st.integers(0, 10**6))
def test_saturated_targets_keep_their_gradient(far, seed):
    """However far the target leads, the margin's gradient is that of the others among themselves,
    while the cross-entropy's goes to zero with 1 - p_t."""
    rest = np.random.default_rng(seed).standard_normal(3)
    z = np.asarray([[far, *rest], [0.0, *rest]])
    q, dq = softmax.targeted_margin(z, np.asarray([0, 0]))
    assert np.array_equal(dq[0], dq[1])
    assert q[0] - q[1] == pytest.approx(far, rel=1e-14)
    _, dz = softmax.cross_entropy(z, np.asarray([0, 0]))
    # 1 - p_t is below the sum of the others' odds; log p_t is off by the rounding of z_t
    assert np.abs(dz[0]).max() <= np.exp(rest - far).sum() + 2.3e-16 * far


@BOTH
def test_dtypes_are_kept(dtype):
    z, y = np.zeros((2, 3), dtype), np.asarray([0, 2])
    found = (*softmax.cross_entropy(z, y), *softmax.targeted_margin(z, y))
    assert {one.dtype for one in found} == {np.dtype(dtype)}
    assert softmax.one_hot(y, z).tolist() == [[1, 0, 0], [0, 0, 1]]
    for labels in (y.astype(np.uint8), y.astype(np.int32)):
        assert softmax.one_hot(labels, z).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert softmax.one_hot(y.astype(dtype), z).tolist() == [[1, 0, 0], [0, 0, 1]]
