"""Gradient descent (N6): both forms, by hand, against torch, ends, resume, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import Interrupting, make_problem, unscaled_problem

from reflfap import losses, onehidden
from reflfap.errors import InputError, NonFiniteError
from reflfap.training.descent import descent

pytestmark = pytest.mark.usefixtures("library")

LOSSES = pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
FORMS = pytest.mark.parametrize("form", ["weights", "coefficients"])


@LOSSES
@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), dim=st.integers(1, 12))
def test_both_forms_agree(loss, seed, n, dim):
    """W and C X + W0 take the same course; rounding grows with the epochs, kinks amplify it."""
    problem = make_problem(seed, dim=dim, n=n)
    one, other = (descent(*problem, loss, epochs=30, form=form) for form in FORMS.args[1])
    assert one.net.W == pytest.approx(other.net.W, rel=1e-9, abs=1e-10)
    assert one.q == pytest.approx(other.q, rel=1e-9, abs=1e-10)
    assert one.trace.loss == pytest.approx(other.trace.loss, rel=1e-10)


@FORMS
@LOSSES
def test_one_epoch_by_hand(form, loss, problem):
    """W1 = W0 - lr dL/dW, and W2 = W1 - lr (mu g0 + g1), with gradients from (N3)."""
    net, x, y = problem
    _, g0 = onehidden.weight_gradient(net, x, y, loss)
    W1 = net.W - 0.05 * g0
    _, g1 = onehidden.weight_gradient(net._replace(W=W1), x, y, loss)
    W2 = W1 - 0.05 * (0.7 * g0 + g1)
    for epochs, expected in ((1, W1), (2, W2)):
        got = descent(*problem, loss, epochs=epochs, rate=0.05, momentum=0.7, form=form)
        assert got.net.W == pytest.approx(expected, rel=1e-13, abs=1e-15)
        assert got.q == pytest.approx(onehidden.margins(got.net, x, y), rel=1e-12)


@FORMS
def test_momentum_survives_a_cut_of_the_rate(form):
    """Against v <- mu v + g, W <- W - lr v written out, over a course on which lr is cut."""
    net, x, _ = make_problem(n=4)
    x, y = np.concatenate([x, x]), np.asarray([1.0] * 4 + [-1.0] * 4)
    got = descent(net, x, y, losses.LOGISTIC, epochs=600, form=form)
    assert len(set(got.trace.step)) > 2
    v = 0.0
    for rate in got.trace.step[:-1]:
        _, g = onehidden.weight_gradient(net, x, y, losses.LOGISTIC)
        v = 0.9 * v + g
        net = net._replace(W=net.W - rate * v)
    assert got.net.W == pytest.approx(net.W, rel=1e-9, abs=1e-10)


@FORMS
def test_trace(form, problem):
    """One entry a state: loss of the initial and of the final weights, t = sum lr/(1 - mu)."""
    got = descent(*problem, losses.EXPONENTIAL, epochs=10, form=form)
    first = losses.value(losses.EXPONENTIAL, onehidden.margins(*problem)).mean()
    last = losses.value(losses.EXPONENTIAL, got.q).mean()
    assert len(got.trace.time) == len(got.trace.loss) == len(got.trace.step) == 11
    assert got.trace.loss[[0, -1]] == pytest.approx([first, last], rel=1e-12)
    assert got.trace.time == pytest.approx(0.1 * np.arange(11))
    assert got.stopped == "epochs"


@FORMS
@given(seed=st.integers(0, 10**6))
def test_small_steps_lower_the_loss(form, seed):
    problem = make_problem(seed, n=4, dim=8)
    trace = descent(*problem, losses.LOGISTIC, epochs=40, rate=1e-3, form=form).trace
    assert np.all(np.diff(trace.loss) <= 1e-12)


def test_the_initial_network_is_left_alone(problem):
    before = problem.net.W.copy()
    for form in FORMS.args[1]:
        descent(*problem, losses.EXPONENTIAL, epochs=3, form=form)
    assert np.array_equal(problem.net.W, before)


def test_permuted_samples_change_nothing(problem):
    net, x, y = problem
    order = np.asarray([3, 1, 4, 0, 2])
    one = descent(net, x, y, losses.EXPONENTIAL, epochs=20)
    other = descent(net, x[order], y[order], losses.EXPONENTIAL, epochs=20)
    assert one.net.W == pytest.approx(other.net.W, rel=1e-10)


def test_it_stops_once_the_rate_cannot_be_cut():
    """Contradictory labels leave a positive least loss: the schedule runs out, and so does descent.

    What the epochs left out would have changed is far below the schedule's own threshold.
    """
    net, x, _ = make_problem(n=4)
    x = np.concatenate([x, x])
    y = np.asarray([1.0] * 4 + [-1.0] * 4)
    short = descent(net, x, y, losses.LOGISTIC, epochs=10_000)
    assert short.stopped == "rate"
    assert len(short.trace.loss) < 2_000
    # the least loss of contradictory labels is log 2, at f = 0; a plateau is near it
    assert short.trace.loss[-1] == pytest.approx(np.log(2), rel=1e-3)
    rest = descent(short.net, x, y, losses.LOGISTIC, epochs=8_000, rate=1e-8)
    assert rest.trace.loss[-1] == pytest.approx(short.trace.loss[-1], rel=1e-6)


@FORMS
def test_a_small_rate_is_no_reason_to_stop(form):
    """A rate so small that eleven epochs do not improve the loss by 1e-4 goes on, as torch's does.

    The schedule has no cut left below 1.1e-8 at once and below 1e-6 soon; yet all epochs together
    move the loss, as far as flow does in their time.
    """
    net, x, y = make_problem(n=4)
    for rate, epochs in ((1e-8, 500), (1e-6, 2_000)):
        got = descent(net, x, y, losses.LOGISTIC, epochs=epochs, rate=rate, form=form)
        assert got.stopped == "epochs"
        assert len(got.trace.loss) == epochs + 1
        # the weights move by less than 1e-3, so the gradient g stays: W falls by sum_k lr_k v_k g
        gradient = onehidden.weight_gradient(net, x, y, losses.LOGISTIC)[1]
        v, path = 0.0, 0.0
        for step in got.trace.step[:-1]:
            v = 0.9 * v + 1
            path += step * v
        fallen = got.trace.loss[0] - got.trace.loss[-1]
        assert fallen == pytest.approx(float((gradient**2).sum()) * path, rel=0.01)


@pytest.mark.numpy_only
@FORMS
@pytest.mark.parametrize("unread", [7, 100])
def test_the_devices_blocks_are_the_hosts_epochs(form, unread, monkeypatch):
    """Epochs whose losses are read in blocks, and made again up to a cut of the rate: bitwise."""
    net, x, _ = make_problem(n=4)
    x, y = np.concatenate([x, x]), np.asarray([1.0] * 4 + [-1.0] * 4)
    for epochs, rate in ((1, 0.01), (30, 0.01), (200, 1e-6), (600, 0.01)):
        expected = descent(net, x, y, losses.LOGISTIC, epochs=epochs, rate=rate, form=form)
        with monkeypatch.context() as device:
            device.setattr("reflfap.training.descent.on_host", lambda xp: False)
            device.setattr("reflfap.training.descent.EPOCHS_UNREAD", unread)
            got = descent(net, x, y, losses.LOGISTIC, epochs=epochs, rate=rate, form=form)
        assert np.array_equal(got.net.W, expected.net.W)
        assert np.array_equal(got.q, expected.q)
        assert got.stopped == expected.stopped
        for one, other in zip(got.trace, expected.trace, strict=True):
            assert np.array_equal(one, other)
    assert len(set(expected.trace.step)) > 2  # cuts there were


@pytest.mark.numpy_only
@FORMS
def test_a_block_names_the_epoch_that_diverged(form, monkeypatch):
    """Though it is read many epochs later, and those after it left the finite numbers."""
    net, x, y = make_problem(dtype="float32")
    messages = []
    for device in (False, True):
        monkeypatch.setattr("reflfap.training.descent.on_host", lambda xp, host=not device: host)
        with pytest.raises(NonFiniteError) as caught:
            descent(net, 3 * x, y, losses.EXPONENTIAL, epochs=50, rate=3.0, form=form)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "epoch 0" not in messages[0]


@FORMS
def test_divergence_is_reported(form):
    net, x, y = make_problem(dtype="float32")
    with pytest.raises(NonFiniteError, match=r"at epoch [1-9]; lower the learning rate, or"):
        descent(net, 3 * x, y, losses.EXPONENTIAL, epochs=50, rate=10.0, form=form)


@FORMS
@pytest.mark.parametrize(("dtype", "epoch"), [("float32", 0), ("float64", 1)])
def test_unscaled_features_are_what_is_to_blame(form, dtype, epoch):
    """And a rate only where a step was made with it."""
    advice = "features span 0.001 to 4e\\+03: standardise them, or"
    other = "lower the learning rate" if epoch else "scale the initial weights down"
    with pytest.raises(NonFiniteError, match=f"at epoch {epoch}; {advice} {other}"):
        descent(*unscaled_problem(dtype), losses.EXPONENTIAL, epochs=50, form=form)
    net, x, y = make_problem()
    net, message = net._replace(W=1e308 * net.W), r"for sample \d at epoch 0; scale the initial"
    with np.errstate(over="ignore"), pytest.raises(NonFiniteError, match=message):
        descent(net, 10 * x, y, losses.EXPONENTIAL, epochs=50, form=form)


@FORMS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("epochs", [1, 17])
def test_a_resumed_run_equals_an_undisturbed_one(form, dtype, epochs, monkeypatch):
    """To the last bit, trace and schedule included; on a device too, between two blocks."""
    monkeypatch.setattr("reflfap.training.descent.EPOCHS_UNREAD", 1)
    problem, settings = make_problem(dtype=dtype), {"epochs": 40, "form": form}
    monitor = Interrupting(epochs)
    with pytest.raises(KeyboardInterrupt):
        descent(*problem, losses.EXPONENTIAL, **settings, monitor=monitor)
    resumed = descent(*problem, losses.EXPONENTIAL, **settings, monitor=monitor)
    whole = descent(*problem, losses.EXPONENTIAL, **settings)
    assert np.array_equal(resumed.net.W, whole.net.W)
    for one, other in zip(resumed.trace, whole.trace, strict=True):
        assert np.array_equal(one, other)


@FORMS
@pytest.mark.torch
def test_against_torch_optimiser(form):
    """torch.optim.SGD with momentum takes the same steps, if torch is installed."""
    torch = pytest.importorskip("torch")
    net, x, y = make_problem(dim=20, hidden=10, n=8)
    W = torch.tensor(net.W, requires_grad=True)
    optimiser = torch.optim.SGD([W], lr=0.01, momentum=0.9)
    for _ in range(25):
        optimiser.zero_grad()
        z = torch.tensor(x) @ W.T
        f = torch.nn.functional.leaky_relu(z, net.slope) @ torch.tensor(net.a)
        torch.exp(-torch.tensor(y) * f).mean().backward()
        optimiser.step()
    got = descent(net, x, y, losses.EXPONENTIAL, epochs=25, form=form).net.W
    assert got == pytest.approx(W.detach().numpy(), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: expected at least 1"),
        ({"epochs": 1.5}, "epochs: expected a whole number"),
        ({"rate": 0.0}, "rate: expected a finite number"),
        ({"rate": float("nan")}, "rate"),
        ({"momentum": 1.0}, "momentum"),
        ({"form": "dual"}, "one of auto, coefficients, float16, weights"),
        ({"loss": "hinge"}, "loss: expected one of exponential, logistic, got 'hinge'"),
    ],
)
def test_bad_settings_are_refused(problem, change, message):
    with pytest.raises(InputError, match=message):
        descent(*problem, **({"loss": losses.EXPONENTIAL} | change))


def test_mixed_precision_is_refused(problem):
    net = onehidden.network(problem.net.W.astype(np.float32), 0.3)
    with pytest.raises(InputError, match="dtype float32 as W, got float64"):
        descent(net, problem.x, problem.y, losses.EXPONENTIAL)


@pytest.mark.parametrize("form", ["weights", "coefficients"])
def test_margins_that_a_finite_loss_hides_are_refused(form):
    """The logistic loss is zero, and finite, where a margin has left float32."""
    x = np.float32([[1e37, 0], [0, 1e37]])
    net = onehidden.network(100 * np.float32([[1, -1], [-1, 1]]), 0.5)
    with pytest.raises(NonFiniteError, match="margin: expected finite values"):
        descent(net, x, np.float32([1, -1]), losses.LOGISTIC, epochs=3, form=form)
