"""L2 attacks in coordinates: the attack by updates, whatever turns, is clipped or is no path."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from problems import make_problem

from reflfap import attacks, onehidden
from reflfap.attacks import L2, LInf
from reflfap.errors import NonFiniteError
from reflfap.fast import l2_coordinates
from reflfap.fast.l2_coordinates import FIRST, OnSphere, coordinates
from reflfap.fast.linear_updates import LinearUpdates, linear_updates

STEPS = 40


@pytest.fixture
def anew(monkeypatch):
    """How many samples each call leaves to the updates; no bound is ever left if all may turn."""
    seen = []

    def climb(how, x0, target, offset, start=None):
        seen.append(len(x0))
        return attacks.climb(how, x0, target, offset, start)

    monkeypatch.setattr(l2_coordinates, "climb", climb)
    return seen


@pytest.fixture
def all_may_turn(monkeypatch):
    monkeypatch.setattr(l2_coordinates, "TURNS", 1.0)
    monkeypatch.setattr(l2_coordinates, "EDGES", 1.0)


def both(net, x, y, norm, steps=STEPS, **limits):
    """The attack by updates, and in coordinates."""
    updates = linear_updates(net)
    return (
        attacks.attack(model, x, y, norm, steps=steps, **limits)
        for model in (updates, coordinates(updates))
    )


def assert_same(expected, got, digits=1e-9):
    assert got.margin == pytest.approx(expected.margin, rel=digits, abs=digits)
    assert got.margin_start == pytest.approx(expected.margin_start, rel=digits, abs=digits)
    assert np.array_equal(got.zero_gradient, expected.zero_gradient)
    assert [one.dtype for one in got] == [one.dtype for one in expected]


def assert_sound(net, x, y, norm, got, low=-np.inf, high=np.inf):
    """The margins are those of the perturbed samples, and these are within what was asked for."""
    digits = 100 * float(np.finfo(x.dtype).eps)
    margins = onehidden.margins(net, got.x, y)
    assert got.margin == pytest.approx(margins, rel=digits, abs=10 * digits)
    assert np.linalg.norm(got.x - x, axis=1).max() <= norm.radius * (1 + digits)
    assert got.x.min() >= low
    assert got.x.max() <= high


@given(
    seed=st.integers(0, 10**6),
    dim=st.integers(2, 60),
    n=st.integers(1, 9),
    radius=st.sampled_from([0.05, 0.5, 3.0]),
    stride=st.sampled_from([None, 0.02, 0.5, 3.0]),
    slope=st.sampled_from([0.01, 0.3]),
    box=st.sampled_from([{}, {"low": -1.0, "high": 1.0}, {"low": -1.0}]),
)
@example(29, 56, 9, 0.5, 0.5, 0.01, {"low": -1.0, "high": 1.0})  # its best is an early one
def test_the_same_attack(all_may_turn, seed, dim, n, radius, stride, slope, box):
    """In float64, to nine digits: few and many entries clipped, long and short strides, samples
    whose best iterate is an early one, and samples that never reach the sphere."""
    net, x, y = make_problem(seed, dim=dim, n=n, hidden=8, slope=slope, data="uniform")
    expected, got = both(net, x, y, L2(radius, stride), **box)
    assert_same(expected, got)
    assert_sound(net, x, y, L2(radius), got, **box)


def trained(dim=600, hidden=64, n=60, dtype="float64"):
    """A network of the form that training gives, and samples that it has not seen."""
    net, x, y = make_problem(1, dim=dim, hidden=hidden, n=2 * n, slope=0.01, data="uniform")
    C = (
        0.02
        * np.sign(net.a)[:, None]
        * y[:n]
        * np.where(np.sign(net.a)[:, None] * y[:n] > 0, 1, 0.01)
    )
    W = net.W + C @ x[:n]
    return net._replace(W=W.astype(dtype), a=net.a.astype(dtype)), *(
        one[n:].astype(dtype) for one in (x, y)
    )


@pytest.mark.parametrize("box", [{}, {"low": -1.0, "high": 1.0}])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_hardly_any_sample_is_attacked_anew(anew, box, dtype):
    """Neither turns nor room run out where they were made for; entries are clipped there."""
    net, x, y = trained(dtype=dtype)
    expected, got = both(net, x, y, L2(0.15), 100, **box)
    assert_same(expected, got, 1e-9 if dtype == "float64" else 1e-4)
    assert sum(anew) <= len(x) / 10
    assert not box or np.sum(np.abs(got.x) == 1) > 20
    assert_sound(net, x, y, L2(0.15), got, **box)


def test_entries_clipped_late_are_edges(anew, monkeypatch):
    """On long paths many units turn after the first steps, and many entries come to their end."""
    monkeypatch.setattr(l2_coordinates, "TURNS", 0.25)
    monkeypatch.setattr(l2_coordinates, "EDGES", 1.0)
    net, x, y = trained()
    expected, got = both(net, x, y, L2(1.5), 100, low=-1.0, high=1.0)
    assert_same(expected, got)
    assert_sound(net, x, y, L2(1.5), got, -1.0, 1.0)
    assert sum(anew) <= len(x) / 2


def test_no_block_is_tried_after_one_that_left_its_bounds(monkeypatch):
    """What is in vain is as short as it can be: a few steps of some of the samples."""
    blocks, course = [], l2_coordinates.Coordinates._course

    def seen(self, norm, last, block):
        blocks.append(len(block.length))
        return course(self, norm, last, block)

    monkeypatch.setattr(l2_coordinates.Coordinates, "_course", seen)
    monkeypatch.setattr(l2_coordinates, "BLOCK_ELEMENTS", 5 * 64)
    net, x, y = trained()
    assert_same(*both(net, x, y, L2(0.15)))
    assert blocks == [5] * 12
    monkeypatch.setattr(l2_coordinates, "ROOM", 0.5)
    steps, update = [], l2_coordinates.add_product
    monkeypatch.setattr(l2_coordinates, "add_product", lambda *a: (steps.append(1), update(*a)))
    assert_same(*both(net, x, y, L2(0.15)))
    assert blocks == [5] * 13
    assert len(steps) == 1


def test_no_course_begins_inside_the_ball(monkeypatch):
    """It could not end: alpha stays one, and S grows."""
    monkeypatch.delattr(l2_coordinates.Coordinates, "_course")
    net, x, y = trained()
    assert_same(*both(net, x, y, L2(1.0, 0.01)))


def test_steps_are_counted():
    """Each counts, for the perturbation goes on to change below the digits of its sample."""
    _, got = both(*trained(), L2(0.15), 20)
    assert np.all(got.steps == 20)


@pytest.mark.parametrize(
    ("name", "value"), [("TURNS", 0.0), ("ROOM", 0.5), ("EDGES", 0.0), ("DIGITS", -1.0)]
)
def test_who_leaves_a_bound_is_attacked_anew(anew, monkeypatch, name, value):
    """With no turn, room, edge or digit allowed the result is the same, by updates."""
    monkeypatch.setattr(l2_coordinates, name, value)
    net, x, y = trained()
    expected, got = both(net, x, y, L2(0.15), low=-1.0, high=1.0)
    assert_same(expected, got)
    assert sum(anew) > len(x) / 10


@given(seed=st.integers(0, 10**6), turned=st.integers(0, 2))
def test_the_slack_bounds_what_turning_units_change(seed, turned):
    """|(dZ' - dZ) W| is at most T where two units of 64 turn, and T for the two largest."""
    net, _, _ = make_problem(seed, dim=20, hidden=64)
    slack, rng = coordinates(linear_updates(net)).slack, np.random.default_rng(seed)
    on = rng.random(64) < 0.5
    largest = np.argsort(-np.abs(net.a * net.W[:, 0]))
    for units in (rng.choice(64, turned, replace=False), largest[:2]):
        turns = np.where(on[units], net.slope - 1, 1 - net.slope)
        assert np.all(np.abs((net.a[units] * turns) @ net.W[units]) <= slack * (1 + 1e-12))
    assert np.sum(np.abs(net.a * net.W[:, 0])[largest[:2]]) * (1 - net.slope) == pytest.approx(
        slack[0]
    )


def block(net, Z0, Z):
    """One sample that has come so far, with target +1 and one input that is no real edge."""
    on = net.a[None]
    R = np.where(Z > 0, on, net.slope * on) @ (net.W @ net.W.T)
    one, edge = np.ones(1, Z.dtype), np.zeros((1, 1), Z.dtype)
    return OnSphere(Z0, Z, R, on, one, one, edge.astype(int), edge, edge - np.inf, edge + np.inf)


def test_the_pattern_is_that_of_the_gradient():
    """Near a kink Z0 + (Z - Z0) may round to the other side, where R has not been."""
    net = trained(dtype="float32")[0]
    Z = np.ones((1, 64), dtype="float32")
    Z0 = 0.5 * Z
    Z0[0, 0], Z[0, 0] = -0.13823684, 5.635e-9
    assert Z0[0, 0] + (Z[0, 0] - Z0[0, 0]) <= 0
    course = coordinates(linear_updates(net))._course(L2(1.0), FIRST + 1, block(net, Z0, Z))
    assert abs(course.c[0, 0]) == pytest.approx(abs(course.c[0, 1]), rel=1e-6)


def test_an_infinite_margin_is_none():
    """It would be the best."""
    net = trained(dtype="float32")[0]
    Z = np.full((1, 64), 1e38, dtype="float32") * np.sign(net.a)
    model = coordinates(linear_updates(net._replace(a=10 * net.a)))
    with np.errstate(all="ignore"):
        course = model._course(L2(1.0), FIRST + 2, block(model.updates.net, Z, Z))
    assert not course.bounded.any()


def test_lengths_hold_where_the_weights_have_no_digits_left(anew):
    """A large common part of the weights cancels in dZ . R and in c . W l."""
    net, x, y = trained(dtype="float32")
    net = net._replace(W=net.W + np.float32(500 / np.sqrt(600)))
    _, got = both(net, x + np.float32(0.03), y, L2(0.15), 100)
    reached = np.linalg.norm((got.x - x - np.float32(0.03)).astype("float64"), axis=1)
    assert reached.max() <= 0.15 * (1 + 2e-5)
    assert sum(anew) > 0


def test_other_attacks_are_those_by_updates(anew):
    """In another norm, with few steps, or from a start: bitwise."""
    net, x, y = make_problem(dim=40, hidden=8, n=9)
    for norm, steps, start in (
        (LInf(0.1), STEPS, None),
        (L2(0.1), FIRST, None),
        (L2(0.1), STEPS, 0.01 * x),
    ):
        expected, got = both(net, x, y, norm, steps, start=start)
        for left, right in zip(expected, got, strict=True):
            assert np.array_equal(left, right)
        assert anew.pop() == len(x)
        assert not anew


def test_samples_that_do_not_move():
    """Without a gradient or a radius nothing moves, and the others go on in coordinates."""
    net, x, y = make_problem(dim=40, hidden=8, n=9)
    zero = net._replace(W=0 * net.W)
    for one, norm in ((zero, L2(0.1)), (net, L2(0.0))):
        expected, got = both(one, x, y, norm)
        assert_same(expected, got)
        assert np.array_equal(got.x, x)


def test_a_margin_that_is_infinite_for_a_step_is_looked_at(anew, monkeypatch):
    """Though it is finite after the first steps: the updates look at each step, and raise."""
    points, follow = [], LinearUpdates.follow

    def once(self, before, move, target):
        points.append(follow(self, before, move, target))
        return points[-1]._replace(q=points[-1].q * (np.inf if len(points) == 2 else 1))

    monkeypatch.setattr(LinearUpdates, "follow", once)
    net, x, y = trained()
    attacks.attack(coordinates(linear_updates(net)), x, y, L2(0.15), steps=STEPS)
    assert anew == [len(x)]


def test_an_error_of_some_names_the_row_of_all(monkeypatch):
    """Those attacked anew have rows of their own, so the whole chunk is asked."""
    seen = []

    def climb(how, x0, target, offset, start=None):
        seen.append(len(x0))
        raise NonFiniteError(f"sample {offset} of {len(x0)}")

    monkeypatch.setattr(l2_coordinates, "climb", climb)
    monkeypatch.setattr(l2_coordinates, "TURNS", 0.0)
    net, x, y = trained()
    with pytest.raises(NonFiniteError, match=f"of {len(x)}"):
        attacks.attack(coordinates(linear_updates(net)), x, y, L2(0.15), steps=STEPS, chunk=99)
    assert len(seen) == 2
    assert seen[0] < seen[1] == len(x)


def test_what_is_not_finite_is_named():
    """The sample's row in the whole, not in its chunk."""
    net, x, y = make_problem(dim=40, hidden=8, n=9)
    x[7] = 1e308
    model = coordinates(linear_updates(net))
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="7"):
        attacks.attack(model, x, y, L2(0.1), steps=STEPS, chunk=4)
