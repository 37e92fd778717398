"""What tests of gradients and attacks share."""

import numpy as np
import pytest

from reflfap import attacks, losses

NORMS = {
    "l2": attacks.L2(0.5),
    "linf": attacks.LInf(0.2),
    "linf sign": attacks.LInfSign(0.2),
    "l0": attacks.L0(3),
    "l0 tracked": attacks.L0(3, tracked=True),
}
LOSSES = pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)


def fourth_order(function, h):
    """The derivative of `function` at 0 by the central difference of fourth order."""
    near, far = function(h) - function(-h), function(2 * h) - function(-2 * h)
    return (8 * near - far) / (12 * h)


EACH_NORM = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def close(got, expected, digits=1e-12):
    """Equal up to the rounding of sums of numbers of about one."""
    assert got == pytest.approx(expected, rel=digits, abs=digits * max(1.0, np.abs(expected).max()))
