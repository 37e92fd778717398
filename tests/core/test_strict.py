"""The pure kernels judged by array-api-strict, on its second device.

It admits what the array standard admits and nothing else, and arrays of two devices never meet: a
constant made on the default device, which is free on NumPy and an error on a second GPU, shows.
"""

import array_api_strict as xp
import numpy as np
import pytest
from gradients import EACH_NORM, LOSSES
from hypothesis import given
from hypothesis import strategies as st
from problems import make_problem

from reflfap import losses, onehidden
from reflfap.norms import row_norms, row_peaks

SECOND = xp.Device("device1")
DTYPES = st.sampled_from(["float32", "float64"])


def there(values):
    return xp.asarray(values.copy(), device=SECOND)  # steps overwrite what they are given


def agree(got, expected):
    """Arrays of the second device, equal to NumPy's up to the order of sums, in their dtype."""
    assert got.device == SECOND
    host = np.asarray(got.to_device(xp.Device("CPU_DEVICE")))
    assert host.dtype == expected.dtype
    digits = 1e3 * float(np.finfo(np.float32 if host.dtype == np.float32 else np.float64).eps)
    assert host == pytest.approx(expected, rel=digits, abs=digits)


@LOSSES
@given(seed=st.integers(0, 10**6), dtype=DTYPES)
def test_network_and_gradients(loss, seed, dtype):
    net, x, y = make_problem(seed, dtype=dtype)
    theirs = net._replace(W=there(net.W), a=there(net.a)), there(x), there(y)
    agree(onehidden.forward(*theirs[:2])[0], onehidden.forward(net, x)[0])
    agree(onehidden.margin_gradient(*theirs)[1], onehidden.margin_gradient(net, x, y)[1])
    for function in (onehidden.weight_gradient, onehidden.input_gradient):
        for got, expected in zip(function(*theirs, loss), function(net, x, y, loss), strict=True):
            agree(got, expected)


@LOSSES
@given(q=st.lists(st.floats(-700, 700), min_size=1, max_size=5), dtype=DTYPES)
def test_losses(loss, q, dtype):
    q = np.asarray(q, dtype=dtype)
    for function in (losses.value, losses.rate):
        agree(function(loss, there(q)), function(loss, q))
    agree(losses.log_mean(loss, there(q)), np.asarray(losses.log_mean(loss, q)))
    agree(loss.log_curvature(there(q)), loss.log_curvature(q))


@EACH_NORM
@given(seed=st.integers(0, 10**6), dtype=DTYPES)
def test_steps_of_attacks(norm, seed, dtype):
    """Three steps, with the memory of the one before, from gradients with a peak of one."""
    rng = np.random.default_rng(seed)
    eta, memory = np.zeros((4, 6), dtype), None
    theirs, their_memory = there(eta), None
    for _ in range(3):
        g = rng.standard_normal((4, 6)).astype(dtype)
        g /= row_peaks(g)[:, None]
        their_step = norm.step(theirs, there(g), their_memory)
        step = norm.step(eta, g.copy(), memory)
        for got, expected in zip(their_step, step, strict=True):
            assert (got is None) == (expected is None)
            if expected is not None and expected.dtype != bool:
                agree(got, expected)
        eta, memory, theirs, their_memory = step.eta, step.memory, their_step.eta, their_step.memory
    agree(row_norms(theirs), row_norms(eta))
