"""Training in float16: a loop of numpy.float16, its end, and where flow stands in for it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import Interrupting, make_problem

from reflfap import losses, onehidden
from reflfap.errors import InputError
from reflfap.float16 import rounded_network, stopping_margins
from reflfap.training.descent import descent
from reflfap.training.flow import NEAR, flow, released_time
from reflfap.training.released import (
    FIRST_EPOCHS,
    LONGEST_EPOCH,
    WIDTH,
    Ended,
    first_rate,
    train_in_float16,
)

pytestmark = pytest.mark.usefixtures("library")

EXP = losses.EXPONENTIAL
HALF = np.float16


def looped(net, x, y, epochs, rate=0.01, momentum=0.9):
    """W after some epochs, each product and each stage in numpy.float16; and the last dW."""
    W, v, x16, a = net.W.copy(), 0, x.astype(HALF), net.a.astype(HALF)
    for _ in range(epochs):
        z = (W.astype(HALF).astype(float) @ x16.T.astype(float)).astype(HALF)
        p = np.where(z > 0, z, (np.float32(net.slope) * z.astype(np.float32)).astype(HALF))
        q = y * (a.astype(float) @ p.astype(float)).astype(HALF).astype(np.float32)
        g = (-y * np.exp(-q.astype(float)) / len(y)).astype(np.float32).astype(HALF)
        u = (g.astype(np.float32) * a[:, None].astype(np.float32)).astype(HALF)
        off = (np.float32(net.slope) * u.astype(np.float32)).astype(HALF)
        u = np.where(z > 0, u, off).astype(float)
        dW = (u @ x16.astype(float)).astype(HALF).astype(np.float32)
        v = np.float32(momentum) * v + dW
        W = W - np.float32(rate) * v
    return W, dW


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_descent_is_that_of_a_loop(seed, epochs):
    """Sums of another order may round to the other side: dW by 2^-11 of what it sums, and by more
    where z or f did, of 2^-10 of the rate: all below 2^-8 of the largest dW, an epoch."""
    net, x, y = make_problem(seed, dim=12, hidden=8, n=5, dtype="float32")
    expected, dW = looped(net, x, y, epochs)
    got = descent(net, x, y, EXP, epochs=epochs, form="float16")
    moved = np.abs(net.W - expected).max() + np.abs(dW).max() * 0.01
    assert np.abs(got.net.W - expected).max() <= epochs * 2.0**-8 * moved


def few_samples(seed=0, n=4, dim=400, hidden=10):
    """Samples so long, and so few, that descent is beyond the threshold in some epochs."""
    net, x, y = make_problem(seed, dim=dim, hidden=hidden, n=n, dtype="float32", slope=0.01)
    return net._replace(W=0.2 * net.W), 3 * x, y


def test_descent_ends_where_all_gradients_are_zero():
    """And nothing moves it from there: the next gradients are zero in the loop as well."""
    net, x, y = few_samples()
    done = descent(net, x, y, EXP, form="float16")
    assert done.stopped == "gradient"
    stop, _ = stopping_margins(rounded_network(net), EXP, 1 / len(x))
    assert np.all(done.q > stop - 2.0**-7)  # the resolution of q
    W, dW = looped(done.net, x, y, 1)
    assert not dW.any()
    assert np.array_equal(W, done.net.W)


def test_small_gradients_of_weights_are_zero():
    """A margin at which u is 2^-24, the smallest number: of inputs 80 and 1/4, the weights of the
    second stay, since a quarter of it is zero."""
    net, x, y = one_aligned_sample(length=80.0)
    x[0, 1] = 0.25
    W = net.W.copy()
    W[:, 0] = 2 * 0.2 * net.a  # two units that are on make q = 16, two that are off -1/16 of that
    W[:, 0] *= 15.9 / float(onehidden.margins(net._replace(W=W), x, y)[0])
    got = descent(net._replace(W=W), x, y, EXP, epochs=1, form="float16")
    assert np.all(got.net.W[:2, 0] > W[:2, 0])
    assert np.array_equal(got.net.W[:, 1:], W[:, 1:])


def test_the_last_step_is_all_that_momentum_would_make():
    """Coasting for 300 epochs one by one goes to the same weights: 0.9^300 is 2e-14."""
    net, x, y = few_samples()
    done = descent(net, x, y, EXP, form="float16")
    W, _ = looped(net, x, y, len(done.trace.time) + 300)
    moved = np.abs(W - net.W).max()
    assert np.abs(done.net.W - W).max() <= 2.0**-7 * moved  # as epochs of a loop differ


@pytest.mark.parametrize("asked", [1, 3, 6])
def test_a_resumed_descent_equals_an_undisturbed_one(asked):
    problem = few_samples()
    monitor = Interrupting(asked)
    with pytest.raises(KeyboardInterrupt):
        descent(*problem, EXP, form="float16", monitor=monitor)
    got = descent(*problem, EXP, form="float16", monitor=monitor)
    expected = descent(*problem, EXP, form="float16")
    assert np.array_equal(got.net.W, expected.net.W)
    assert np.array_equal(got.trace.loss, expected.trace.loss)


def one_aligned_sample(length=40.0, hidden=4, slope=0.25):
    """A sample on which the units that want it are on, the others off, for good."""
    x = np.zeros((1, 6), dtype=np.float32)
    x[0, 0] = length
    a = onehidden.output_weights(hidden)
    W = np.zeros((hidden, 6), dtype=np.float32)
    W[:, 0] = 0.01 * a
    return onehidden.network(W, slope), x, np.ones(1, dtype=np.float32)


@pytest.mark.parametrize("loss", [0.5, 1e-2, 1e-6])
def test_when_a_sample_stops(loss):
    """dq/dt = H e^-q with H = ||x||^2 (1 + gamma^2)/2: e^q grows by H t, so t = (1/l - 1/l_0)/H.

    Flow ends within NEAR of log l, which is as much of t; its own error is below the tolerance of
    a step, 0.01.
    """
    net, x, y = one_aligned_sample()
    start = math.exp(-float(onehidden.margins(net, x, y)[0]))
    H = 40.0**2 * (1 + 0.25**2) / 2
    done = flow(net, x, y, EXP, time=1e9, tolerance=0.01, least_loss=loss)
    assert done.stopped == "loss"
    assert abs(math.log(done.trace.loss[-1] / loss)) <= NEAR
    assert done.trace.time[-1] == pytest.approx((1 / loss - 1 / start) / H, rel=3 * NEAR)
    assert first_rate(net, x, y) == pytest.approx(H, rel=1e-5)


def test_a_flow_without_a_least_loss_ends_in_time():
    problem = make_problem(dim=20, n=6)
    done = flow(*problem, EXP, time=50.0)
    again = flow(*problem, EXP, time=50.0, least_loss=0.5 * done.trace.loss[-1])
    assert (done.stopped, again.stopped) == ("time", "time")
    assert np.array_equal(done.net.W, again.net.W)


def many_samples(n=60, dim=300, hidden=20, size=3.0):
    """Samples whose first epochs change margins by some units, and the later ones by little."""
    rng = np.random.default_rng(0)
    x = (size * rng.standard_normal((n, dim))).astype(np.float32)
    W = onehidden.initial_weights(hidden, dim, rng).astype(np.float32)
    net = onehidden.network(W, 0.01)
    return net, x, rng.choice([-1, 1], n).astype(np.float32)


def cosine(one, other, start):
    """Of what two networks have moved from a common start."""
    moved = one.W - start.W, other.W - start.W
    return np.sum(moved[0] * moved[1]) / np.linalg.norm(moved[0]) / np.linalg.norm(moved[1])


@pytest.mark.numpy_only
def test_flow_goes_on_where_descent_slows_down():
    """After first steps that leap, flow takes the network where thousands of epochs do.

    Margins within 0.2 of about eight; flow alone is elsewhere.
    """
    net, x, y = many_samples()
    assert released_time(1) * first_rate(net, x, y) > 2 * LONGEST_EPOCH
    epochs = 3_000
    descended = train_in_float16(net, x, y, EXP, descend=True, epochs=epochs)
    got = train_in_float16(net, x, y, EXP, epochs=epochs)
    assert (descended.stopped, got.stopped) == ("epochs", "time")
    assert got.trace.time[0] == pytest.approx(released_time(FIRST_EPOCHS))
    assert got.trace.time[-1] == pytest.approx(released_time(epochs))
    assert got.q.mean() == pytest.approx(descended.q.mean(), abs=0.2)
    alone = flow(net, x, y, EXP, time=released_time(epochs))
    assert cosine(got.net, descended.net, net) > 0.99
    assert cosine(alone.net, descended.net, net) < 0.95


LOSSES = pytest.mark.parametrize("loss", list(losses.LOSSES.values()), ids=str)


@LOSSES
@given(st.floats(-3, 9))
def test_an_ended_loss_has_its_derivatives(loss, q_end):
    """Rate and curvature against central differences, around its end and on both sides.

    The error of a difference is step^2/6 times a third derivative, which WIDTH makes large: of a
    loss that falls by its own size within WIDTH, so (step/WIDTH)^2 of it.
    """
    one = Ended(loss, float(loss.log_value(np.asarray([q_end]))[0]))
    q, step = q_end + np.linspace(-5, 0.1, 200), 1e-5
    value, rate = (lambda q: losses.value(one, q)), (lambda q: losses.rate(one, q))
    assert (value(q - step) - value(q + step)) / (2 * step) == pytest.approx(rate(q), rel=1e-5)
    curvature = np.exp(one.log_curvature(q))
    assert (rate(q - step) - rate(q + step)) / (2 * step) == pytest.approx(curvature, rel=1e-4)
    assert np.all(curvature > 0)


@LOSSES
def test_what_an_ended_loss_is_far_from_its_end(loss):
    """l - l* and the rate of l before; beyond, its rate is e^-25 of l's where l is half of l*."""
    end = loss.log_value(np.asarray([6.0]))
    one = Ended(loss, float(end[0]))
    before = np.asarray([-600.0, -80.0, 0.0, 4.0])
    assert np.exp(one.log_rate(before) - loss.log_rate(before)) == pytest.approx(1)
    difference = loss.log_value(before) + np.log1p(-np.exp(end - loss.log_value(before)))
    assert one.log_value(before) == pytest.approx(difference)
    beyond = np.asarray([6.0 + math.log(2) + 0.01, 50.0])
    assert np.all(one.log_rate(beyond) - loss.log_rate(beyond) < -0.5 / WIDTH)


@pytest.mark.slow
@pytest.mark.numpy_only
def test_flow_stops_where_descent_does():
    """Two minutes: 400 samples of descent in float16, 17,000 epochs until its rate is cut, when
    half of all gradients are zero. Mean margins within 0.15 of flow's, which knows the threshold.

    The time 2^25 c/H with H = ||x||^2/2 is too early: of the half of the units that were on, most
    of those that push the wrong way turn off, so H falls.
    """
    net, x, y = many_samples(400, 2_000, 50, math.sqrt(5))
    descended = train_in_float16(net, x, y, EXP, descend=True)
    got = train_in_float16(net, x, y, EXP)
    assert got.q.mean() == pytest.approx(descended.q.mean(), abs=0.15)
    assert cosine(got.net, descended.net, net) > 0.99
    early = flow(net, x, y, EXP, time=2**25 / math.sqrt(50) / (np.mean(x * x) * 2_000 / 2))
    assert early.q.mean() < descended.q.mean() - 0.4


def test_each_sample_stops_at_its_own_threshold():
    """Two orthogonal samples, the first of twice the length. Both end at q*, and the second takes
    four times as long. The first does not go on, as it would if the mean loss were to end it all.

    Beyond q* a margin goes by some WIDTH, and flow errs by less than its tolerance.
    """
    net, x, y = one_aligned_sample(length=3.0)
    x = np.concatenate([x, np.roll(0.5 * x, 1, axis=1)])
    y = np.ones(2, dtype=np.float32)
    W = net.W + np.roll(net.W, 1, axis=1)
    net = net._replace(W=W)
    stop, _ = stopping_margins(rounded_network(net), EXP, 0.5)
    done = train_in_float16(net, x, y, EXP, epochs=10**9)
    assert done.stopped == "loss"
    assert done.q == pytest.approx([stop, stop], abs=10 * WIDTH)
    H = 1.5**2 * (1 + 0.25**2) / 2
    assert done.trace.time[-1] > 0.9 * 2 * math.exp(stop) / H
    assert done.trace.loss[-1] == pytest.approx(math.exp(-stop), rel=0.01)
    mean = flow(net, x, y, EXP, time=1e8, least_loss=math.exp(-stop))
    assert mean.q[0] > stop + 0.5


def test_few_samples_are_descended():
    """A handful of long samples is beyond the threshold at once, which flow would not be."""
    net, x, y = few_samples()
    done = train_in_float16(net, x, y, EXP)
    assert done.stopped == "gradient"
    assert np.array_equal(done.net.W, descent(net, x, y, EXP, form="float16").net.W)


def test_where_nothing_vanishes_it_is_gradient_flow():
    """Short samples: by t = 10,000 no margin is near the threshold; the flow is the exact one.

    Of the same scheme; steps differ in length by l* in parts of the loss, here 3e-6.
    """
    net, x, y = make_problem(dim=30, n=20, hidden=6, dtype="float32", slope=0.1)
    done, exact = train_in_float16(net, 0.1 * x, y, EXP), flow(net, 0.1 * x, y, EXP, time=1e4)
    assert done.stopped == "time"
    assert done.net.W == pytest.approx(exact.net.W, abs=1e-4)
    assert done.trace.loss[-1] == pytest.approx(exact.trace.loss[-1], rel=1e-4)


def test_double_precision_is_refused():
    net, x, y = make_problem()
    for call in (train_in_float16, lambda *args: descent(*args, form="float16")):
        with pytest.raises(InputError, match="expected dtype float32"):
            call(net, x, y, EXP)
