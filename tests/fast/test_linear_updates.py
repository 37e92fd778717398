"""The network along an attack's path: the same attack, updated instead of evaluated."""

import math
from functools import partial

import numpy as np
import pytest
from gradients import EACH_NORM
from hypothesis import given
from hypothesis import strategies as st
from problems import make_problem

from reflfap import attacks, onehidden
from reflfap.errors import InputError
from reflfap.fast.linear_updates import add_product, linear_updates
from reflfap.fast.quick_attack import attack_network

STEPS = 15


@EACH_NORM
@given(
    seed=st.integers(0, 10**6),
    dim=st.integers(1, 40),
    n=st.integers(1, 9),
    bounded=st.booleans(),
)
def test_same_attack_as_by_evaluation(norm, seed, dim, n, bounded):
    """Every norm, with and without a data range: the result of the evaluated network, to rounding.

    Ten digits: in float64 the updates lose some 1e-15 a step.
    """
    net, x, y = make_problem(seed, dim=dim, n=n, hidden=8, data="uniform")
    limits = {"low": -1.0, "high": 1.0} if bounded else {}
    margin = partial(onehidden.margin_gradient, net)
    expected = attacks.attack(margin, x, y, norm, steps=STEPS, **limits)
    got = attack_network(net, x, y, norm, steps=STEPS, **limits)
    assert got.margin == pytest.approx(expected.margin, rel=1e-10, abs=1e-10)
    assert got.margin_start == pytest.approx(expected.margin_start, rel=1e-12, abs=1e-12)
    assert got.margin == pytest.approx(onehidden.margins(net, got.x, y), rel=1e-10, abs=1e-10)
    assert np.array_equal(got.zero_gradient, expected.zero_gradient)


@given(seed=st.integers(0, 10**6), dim=st.integers(2, 9))
def test_without_a_slope_a_gradient_ends_at_zero(seed, dim):
    """(W1) allows slope 0. Where the last unit turns off, no rounding is left to follow."""
    net, x, y = make_problem(seed, dim=dim, n=9, hidden=4, data="uniform")
    net = net._replace(slope=0.0)
    norm, margin = attacks.L2(3.0, 2.0), partial(onehidden.margin_gradient, net)
    expected = attacks.attack(margin, x, y, norm, steps=STEPS)
    got = attack_network(net, x, y, norm, steps=STEPS)
    assert got.margin == pytest.approx(expected.margin, rel=1e-9, abs=1e-9)
    assert np.array_equal(got.zero_gradient, expected.zero_gradient)


@EACH_NORM
def test_as_near_to_double_precision_as_evaluation(norm):
    """Both attacks in float32 against the same in float64: the updates' median distance is that of
    rounding anyhow, within a factor of four for its chance."""
    net, x, y = make_problem(dim=300, n=60, hidden=40, data="uniform", dtype="float32")
    double = net._replace(W=net.W.astype("float64"), a=net.a.astype("float64"))
    limits = {"low": -1.0, "high": 1.0, "steps": 60}
    exact = attacks.attack(
        partial(onehidden.margin_gradient, double), *map(np.float64, (x, y)), norm, **limits
    )
    evaluated = attacks.attack(partial(onehidden.margin_gradient, net), x, y, norm, **limits)
    updated = attack_network(net, x, y, norm, **limits)
    rounding, updates = (
        np.median(np.linalg.norm(one.x - exact.x, axis=1)) for one in (evaluated, updated)
    )
    assert updates < 4 * rounding + 1e-6  # of a few pixels: one rounding of an entry


@EACH_NORM
@pytest.mark.parametrize("exponent", [-120, -80, -40, 40, 80, 120])
def test_weights_of_any_size(norm, exponent):
    """(N1) scales with its weights, so the attack does not change, also where W W^T leaves float32.

    Below 2^-126 the gradients have no digits left, and both attacks leave every sample alone.
    """
    net, x, y = make_problem(dim=30, n=9, hidden=8, data="uniform", dtype="float32")
    expected = attack_network(net, x, y, norm, steps=STEPS, low=-1.0, high=1.0)
    scaled = net._replace(W=np.ldexp(net.W, exponent))
    got = attack_network(scaled, x, y, norm, steps=STEPS, low=-1.0, high=1.0)
    assert np.ldexp(got.margin, -exponent) == pytest.approx(expected.margin, rel=1e-5, abs=1e-5)
    assert np.array_equal(got.zero_gradient, expected.zero_gradient)
    scaled = net._replace(W=np.ldexp(net.W, -130))
    assert attack_network(scaled, x, y, norm, steps=STEPS).zero_gradient.all()


@given(seed=st.integers(0, 10**6), dtype=st.sampled_from(["float32", "float64"]))
def test_the_point_is_that_of_its_samples(seed, dtype):
    """Along any path, with turns, stretches and single entries changed, q and g stay those at x."""
    net, x0, y = make_problem(seed, dim=30, hidden=20, n=4, dtype=dtype)
    rng = np.random.default_rng(seed)
    model = linear_updates(net)
    point, x = model.start(x0, y), x0
    for _ in range(10):
        keep, along = rng.uniform(0.5, 1, (2, 4)).astype(dtype)
        reference = x0 + keep[:, None] * (x - x0) + along[:, None] * point.g
        moved = np.where(rng.random(x.shape) < 0.05, np.asarray(0, dtype), reference)
        point, x = model.follow(point, attacks.Move(moved, reference, keep, along), y), moved
    q, g = onehidden.margin_gradient(net, x, y)
    scale = float(np.abs(q).max() + np.abs(x).max())  # a float32 step loses some eps of both
    assert point.q == pytest.approx(q, abs=100 * float(np.finfo(dtype).eps) * scale)
    assert point.g == pytest.approx(g, abs=100 * float(np.finfo(dtype).eps))
    assert point.q.dtype == point.g.dtype == dtype


@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.0, 0.01, 0.04, 0.3, 1.0]),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 50), st.integers(1, 9)),
)
def test_add_product(seed, share, shape):
    """total += (new - old) B whether few, many, all or no entries differ."""
    n, k, p = shape
    rng = np.random.default_rng(seed)
    old, B, total = (rng.standard_normal(size) for size in ((n, k), (k, p), (n, p)))
    new = np.where(rng.random((n, k)) < share, rng.standard_normal((n, k)), old)
    expected = total + (new - old) @ B
    add_product(total, new, old, B)
    assert total == pytest.approx(expected, abs=1e-12)


def test_threads_change_nothing():
    """Chunks are independent: as many threads as one likes, bitwise the same."""
    net, x, y = make_problem(n=40, dim=20, data="uniform")
    model, norm = linear_updates(net), attacks.L2(0.5)
    one, four = (
        attacks.attack(model, x, y, norm, steps=STEPS, chunk=3, workers=workers)
        for workers in (1, 4)
    )
    for left, right in zip(one, four, strict=True):
        assert np.array_equal(left, right)


def test_bad_input_is_refused():
    net, x, y = make_problem()
    with pytest.raises(InputError, match="radius: expected a finite number"):
        attack_network(net, x, y, attacks.L2(-1.0), steps=3)
    with pytest.raises(InputError, match="values outside"):
        attack_network(net, x, y, attacks.L2(1.0), steps=3, low=0.0, high=math.inf)
    with pytest.raises(InputError, match=r"y: expected labels \+1 and -1"):
        attack_network(net, x, 3 * y, attacks.L2(1.0), steps=3)
    with pytest.raises(InputError, match="x: expected 7 columns as the network has inputs, got 6"):
        attack_network(net, x[:, :6], y, attacks.L2(1.0), steps=3)
    with pytest.raises(InputError, match="workers: expected at least 1"):
        attacks.attack(linear_updates(net), x, y, attacks.L2(1.0), steps=3, workers=0)
