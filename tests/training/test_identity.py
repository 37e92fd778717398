"""The identity loss -y f: quick descent is the released one, the flow its limit; biases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import Interrupting

from reflfap import onehidden, wide
from reflfap.errors import InputError, NonFiniteError
from reflfap.onehidden import Network, with_constant
from reflfap.training.flow import flow
from reflfap.training.identity import identity_descent, identity_flow

pytestmark = pytest.mark.usefixtures("library")


def problem(seed=0, n=12, dim=9, hidden=7, slope=0.0):
    """Network, (x, 1) and y, float64; more samples than twice the inputs, or fewer."""
    rng = np.random.default_rng(seed)
    W, a = onehidden.wide_start(hidden, dim, rng)
    x, y = rng.standard_normal((n, dim)) + 0.2, rng.choice([-1.0, 1.0], n)
    return Network(W, a, slope), with_constant(x), y


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 40),
    dim=st.integers(1, 12),
    slope=st.sampled_from([0.0, 0.3]),
    rate=st.sampled_from([1e-7, 0.01, 1.0]),
)
def test_descent_is_the_released_one(seed, n, dim, slope, rate):
    """(W1): v <- mu v + dL/dV, V <- V - lr v with its schedule, as reflfap/wide.py writes it out.

    Rounding grows with the epochs; a sign that it turns would show by far more. At the smallest
    rate the loss improves by less than 1e-4 an epoch wherever it is positive: then lr is cut.
    """
    net, x, y = problem(seed, n, dim, slope=slope)
    got = identity_descent(net, x, y, epochs=60, rate=rate)
    V = wide.learn(net.W, net.a, x[:, :-1], y, slope, 60, rate)
    assert got.net.W == pytest.approx(V, rel=1e-9, abs=1e-9 * abs(V).max())
    f = wide.f(x[:, :-1], V, net.a, slope)
    assert got.q == pytest.approx(y * f, rel=1e-9, abs=1e-9 * max(1, abs(f).max()))
    assert got.trace.loss[-1] == pytest.approx(-np.mean(y * f), abs=1e-9 * max(1, abs(f).max()))


def test_the_rate_is_cut_as_released():
    """A positive loss that hardly falls costs a tenth of lr after 11 epochs, velocity included."""
    net, x, y = problem(3)
    y = -np.sign(wide.f(x[:, :-1], net.W, net.a, 0.0))
    got = identity_descent(net, x, y, epochs=40, rate=1e-6)
    assert len(set(got.trace.step)) >= 3
    V = wide.learn(net.W, net.a, x[:, :-1], y, 0.0, 40, 1e-6)
    # the whole change is about 1e-4, and 1e-16 of the weights are rounding
    assert got.net.W - net.W == pytest.approx(V - net.W, abs=1e-11 * abs(V - net.W).max() + 1e-14)


def test_a_falling_loss_below_zero_keeps_its_rate():
    """best (1 - 1e-4) lies above a negative best, so that whatever falls counts as improved."""
    got = identity_descent(*problem(1), epochs=200, rate=0.5)
    assert np.all(np.diff(got.trace.loss[50:]) < 0)
    assert got.trace.loss[50] < 0
    assert set(got.trace.step[50:]) == {got.trace.step[50]}


@pytest.mark.parametrize("n", [6, 40])
def test_a_known_gram_matrix_changes_nothing(n):
    """Nor whether rows are added one by one or all are multiplied anew."""
    net, x, y = problem(2, n)
    plain = identity_descent(net, x, y, epochs=100, rate=0.3)
    other = identity_descent(net, x, y, epochs=100, rate=0.3, gram=x @ x.T)
    assert other.net.W == pytest.approx(plain.net.W, rel=1e-12)


@pytest.mark.parametrize("few", [0.0, 1.0])
@pytest.mark.parametrize("n", [12, 40])
def test_changes_are_added_or_multiplied(few, n, monkeypatch):
    """Both ways to follow P give the same path."""
    monkeypatch.setattr("reflfap.training.identity.FEW", few)
    net, x, y = problem(5, n)
    V = wide.learn(net.W, net.a, x[:, :-1], y, 0.0, 80, 0.3)
    got = identity_descent(net, x, y, epochs=80, rate=0.3)
    assert got.net.W == pytest.approx(V, rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 10**6), slope=st.sampled_from([0.0, 0.4]))
def test_the_flow_is_exact_before_a_sign_changes(seed, slope):
    """(W1): W0 - t dL/dW, whatever the steps, for a time in which no pre-activation can turn."""
    net, x, y = problem(seed, slope=slope)
    Z = net.W @ x.T
    G = wide.dL_dV(net.a, net.W, x[:, :-1], y, slope)
    speed = np.abs(G @ x.T)
    time = 0.9 * float(np.min(np.abs(Z) / np.maximum(speed, 1e-300)))
    got = identity_flow(net, x, y, time=time)
    assert got.net.W == pytest.approx(net.W - time * G, rel=1e-10, abs=1e-12)
    assert got.trace.time[-1] == pytest.approx(time)


@pytest.mark.numpy_only  # thousands of steps
def test_the_flow_is_the_limit_of_descent():
    """Smaller shares and smaller rates meet; at the default share f errs by a few percent."""
    net, x, y = problem(7, 30, 10, slope=0.2)
    z = x[:, :-1][::-1] * 0.7
    time = 40.0
    V = wide.learn(net.W, net.a, x[:, :-1], y, 0.2, 40_000, time / 40_000, mu=0.0)
    reference = wide.f(z, V, net.a, 0.2)
    errors = []
    for share in (0.1, 0.01, 0.001):
        got = identity_flow(net, x, y, time=time, share=share)
        error = wide.f(z, got.net.W, net.a, 0.2) - reference
        errors.append(np.linalg.norm(error) / np.linalg.norm(reference))
    assert errors[0] < 0.05
    assert errors[2] < 0.1 * errors[0] + 1e-3  # of first order: 0.01, and the reference's own steps


@pytest.mark.numpy_only  # thousands of steps
def test_unequal_output_weights_in_the_flow_of_the_logistic_loss():
    """training.flow with a ~ N(0, 1/m) and biases, against 5,000 small steps of wide.learn."""
    net, x, y = problem(4, 10, 12, slope=0.3)
    got = flow(net, x, y, "logistic", time=4.0, tolerance=1e-3)
    V = wide.learn(net.W, net.a, x[:, :-1], y, 0.3, 5_000, 4.0 / 5_000, "logistic", mu=0.0)
    expected = y * wide.f(x[:, :-1], V, net.a, 0.3)
    # the tolerance is that of a step's margins, in units of margins, 1e-3; some steps add up
    assert got.q == pytest.approx(expected, abs=5e-3)


def test_a_bias_is_a_constant_input_of_one():
    """Weights and biases apart take the path that W of (x, 1) takes; with sqrt(d) for 1 the bias
    learns d times as fast."""
    net, x, y = problem(6)
    G = wide.dL_dV(net.a, net.W, x[:, :-1], y, 0.0)
    on = np.where(net.W @ x.T > 0, 1.0, 0.0)
    by_hand = -(net.a[:, None] * on * y).mean(axis=1)
    assert G[:, -1] == pytest.approx(by_hand)
    root = np.sqrt(x.shape[1] - 1)
    scaled = np.concatenate([x[:, :-1], root * np.ones_like(x[:, :1])], axis=1)
    # the same function: the bias's weight is b/sqrt(d); its velocity times sqrt(d) is d times b's
    velocity = -(net.a[:, None] * on * y) @ scaled[:, -1] / len(x) * root
    assert velocity == pytest.approx((x.shape[1] - 1) * by_hand)


def test_first_units_do_not_depend_on_how_many_follow():
    few, more = onehidden.wide_start(3, 5, 0), onehidden.wide_start(30, 5, 0)
    assert np.array_equal(few[0], more[0][:3])
    assert few[1] * np.sqrt(3) == pytest.approx(more[1][:3] * np.sqrt(30))


def test_a_resumed_descent_is_the_same_to_the_last_bit():
    net, x, y = problem(8)
    whole = identity_descent(net, x, y, epochs=50, rate=0.3)
    monitor = Interrupting(20)
    with pytest.raises(KeyboardInterrupt):
        identity_descent(net, x, y, epochs=50, rate=0.3, monitor=monitor)
    again = identity_descent(net, x, y, epochs=50, rate=0.3, monitor=monitor)
    assert np.array_equal(again.net.W, whole.net.W)
    assert np.array_equal(again.trace.loss, whole.trace.loss)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    net, x, y = problem(9)
    net = Network(net.W.astype(dtype), net.a.astype(dtype), 0.0)
    for got in (
        identity_descent(net, x.astype(dtype), y.astype(dtype), epochs=5),
        identity_flow(net, x.astype(dtype), y.astype(dtype), time=5.0),
    ):
        assert str(got.net.W.dtype) == str(got.q.dtype) == dtype


@pytest.mark.parametrize(
    "bad", [{"rate": 0.0}, {"rate": np.nan}, {"epochs": 0}, {"momentum": 1.0}], ids=str
)
def test_bad_options_are_refused(bad):
    with pytest.raises(InputError):
        identity_descent(*problem(), **bad)


@pytest.mark.parametrize("bad", [{"time": 0.0}, {"time": 1.0, "share": 0.0}], ids=str)
def test_bad_options_of_the_flow_are_refused(bad):
    with pytest.raises(InputError):
        identity_flow(*problem(), **bad)


def test_an_overflow_is_named():
    """Float32 holds 3e38; the loss grows without bound at this rate."""
    net, x, y = problem()
    net = net._replace(W=net.W.astype("float32"), a=net.a.astype("float32"))
    with pytest.raises(NonFiniteError, match="epoch"):
        identity_descent(net, x.astype("float32"), y.astype("float32"), rate=1e37)


def test_labels_of_other_kinds_are_refused():
    net, x, y = problem()
    with pytest.raises(InputError, match="labels"):
        identity_flow(net, x, 2 * y, time=1.0)
