"""The network (N1) to (N4): against loops, central differences, torch; dtypes; bad input."""

import math

import numpy as np
import pytest
from gradients import LOSSES, fourth_order
from hypothesis import assume, given
from hypothesis import strategies as st
from problems import make_problem

from reflfap import losses, onehidden
from reflfap.errors import InputError
from reflfap.rng import stream

pytestmark = pytest.mark.usefixtures("library")

SIZES = {
    "seed": st.integers(0, 10**6),
    "dim": st.integers(1, 9),
    "hidden": st.sampled_from([2, 4, 10]),
    "n": st.integers(1, 6),
    "slope": st.floats(0.01, 0.99),
}


def loops_forward(net, x):
    """(N1) written with loops over samples, units and inputs."""
    f = []
    for sample in x:
        total = 0.0
        for j, w in enumerate(net.W):
            z = sum(w[i] * sample[i] for i in range(len(sample)))
            total += net.a[j] * max(z, net.slope * z)
        f.append(total)
    return np.asarray(f)


def loops_weight_gradient(net, x, y, rates):
    """(N3) written with loops; rates are -l'(q_n)."""
    gradient = np.zeros_like(net.W)
    for n in range(len(x)):
        for j in range(len(net.W)):
            slope = 1.0 if net.W[j] @ x[n] > 0 else net.slope
            gradient[j] += -rates[n] * y[n] * net.a[j] * slope * x[n] / len(x)
    return gradient


@given(**SIZES)
def test_forward_against_loops(**sizes):
    net, x, _ = make_problem(**sizes)
    f, Z = onehidden.forward(net, x)
    assert f == pytest.approx(loops_forward(net, x), rel=1e-12, abs=1e-12)
    assert Z.shape == (net.W.shape[0], x.shape[0])


@LOSSES
@given(**SIZES)
def test_weight_gradient_against_loops(loss, **sizes):
    net, x, y = make_problem(**sizes)
    each, gradient = onehidden.weight_gradient(net, x, y, loss)
    q = y * loops_forward(net, x)
    assert each == pytest.approx(losses.value(loss, q), rel=1e-12)
    twin = loops_weight_gradient(net, x, y, losses.rate(loss, q))
    assert gradient == pytest.approx(twin, rel=1e-11, abs=1e-13)


@LOSSES
@given(**SIZES)
def test_weight_gradient_by_central_differences(loss, **sizes):
    """<dL/dW, D> against differences of L along a random D, away from kinks, in float64."""
    net, x, y = make_problem(**sizes)
    direction = np.random.default_rng(sizes["seed"]).standard_normal(net.W.shape)
    h = 1e-4
    Z, dZ = net.W @ x.T, direction @ x.T
    assume(np.all(np.abs(Z) > 2.1 * h * np.abs(dZ)))  # no kink between the points

    def mean_loss(t):
        moved = net._replace(W=net.W + t * direction)
        return losses.value(loss, y * onehidden.forward(moved, x)[0]).mean()

    _, gradient = onehidden.weight_gradient(net, x, y, loss)
    slope, scale = fourth_order(mean_loss, h), np.abs(gradient * direction).sum()
    # between kinks L is smooth: truncation h^4 and rounding 1e-16/h are both near 1e-12
    assert np.sum(gradient * direction) == pytest.approx(slope, abs=1e-8 * scale + 1e-11)


@LOSSES
@given(**SIZES)
def test_input_gradient_by_central_differences(loss, **sizes):
    """(N4) and the margin's gradient likewise, sample by sample."""
    net, x, y = make_problem(**sizes)
    direction = np.random.default_rng(sizes["seed"]).standard_normal(x.shape)
    h = 1e-4
    assume(np.all(np.abs(net.W @ x.T) > 2.1 * h * np.abs(net.W @ direction.T)))
    each, gradient = onehidden.input_gradient(net, x, y, loss)
    q, dq = onehidden.margin_gradient(net, x, y)
    assert losses.value(loss, q) == pytest.approx(each, rel=1e-15)
    for kind, derivative in (("loss", gradient), ("margin", dq)):

        def along(t, kind=kind):
            q = y * onehidden.forward(net, x + t * direction)[0]
            return q if kind == "margin" else losses.value(loss, q)

        slope = fourth_order(along, h)
        scale = np.abs(derivative * direction).sum(axis=1)
        difference = np.abs((derivative * direction).sum(axis=1) - slope)
        assert np.all(difference <= 1e-8 * scale + 1e-11)


def test_slope_at_zero():
    """phi'(0) = gamma: zero counts as off, also for -0.0; all other values are exact."""
    z = np.asarray([-2.0, -0.0, 0.0, 5e-324, 3.0])
    for dtype in (np.float32, np.float64):
        slopes = onehidden.activation_slope(z.astype(dtype), 0.01)
        assert slopes.dtype == dtype
        on = [0, 0, 0, int(dtype(5e-324) > 0), 1]
        assert slopes.tolist() == [1.0 if one else float(dtype(0.01)) for one in on]
    assert onehidden.activation(z, 0.25).tolist() == [-0.5, 0.0, 0.0, 5e-324, 3.0]


@given(scale=st.floats(1e-3, 1e3), **SIZES)
def test_homogeneity(scale, **sizes):
    """f is positively homogeneous in x and in W: f(cx; W) = f(x; cW) = c f(x; W)."""
    net, x, _ = make_problem(**sizes)
    f = onehidden.forward(net, x)[0]
    tolerance = 1e-12 * scale * np.abs(net.W @ x.T).max()
    assert onehidden.forward(net, scale * x)[0] == pytest.approx(scale * f, abs=tolerance)
    scaled = net._replace(W=scale * net.W)
    assert onehidden.forward(scaled, x)[0] == pytest.approx(scale * f, abs=tolerance)


@given(**SIZES)
def test_euler_identity(**sizes):
    """<dq/dx, x> = q: the gradient of a homogeneous function gives the function back."""
    net, x, y = make_problem(**sizes)
    q, dq = onehidden.margin_gradient(net, x, y)
    assert (dq * x).sum(axis=1) == pytest.approx(q, abs=1e-12)


def test_output_weights():
    net = make_problem(hidden=6).net
    assert net.a.tolist() == pytest.approx([6**-0.5] * 3 + [-(6**-0.5)] * 3)


def test_initial_weights():
    """Uniform on [-1/sqrt(d), 1/sqrt(d)]: bounds, and mean and variance within five deviations."""
    dim, entries = 400, 400 * 200
    W = onehidden.initial_weights(200, dim, stream(1, "W"))
    bound = 1 / math.sqrt(dim)
    assert np.abs(W).max() <= bound
    assert abs(W.mean()) < 5 * bound / math.sqrt(3 * entries)
    assert W.var() == pytest.approx(bound**2 / 3, rel=5 / math.sqrt(entries))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_are_kept(dtype):
    net, x, y = make_problem(dtype=dtype)
    f, Z = onehidden.forward(net, x)
    _, dW = onehidden.weight_gradient(net, x, y, losses.EXPONENTIAL)
    _, dx = onehidden.input_gradient(net, x, y, losses.LOGISTIC)
    assert {f.dtype, Z.dtype, dW.dtype, dx.dtype} == {np.dtype(dtype)}


def test_accuracy_counts_zero_as_wrong():
    assert onehidden.accuracy(np.asarray([1.0, 0.0, -2.0, 3.0])) == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W": np.ones((3, 2))}, "even number, got 3"),
        ({"W": np.ones((0, 2))}, "no empty dimension"),
        ({"W": np.ones((2, 2), dtype=int)}, "float32 or float64, got int64"),
        ({"W": np.full((2, 2), np.nan)}, "finite numbers"),
        ({"slope": 0.0}, r"in \(0, 1\), got 0"),
        ({"slope": 1.0}, r"in \(0, 1\), got 1"),
        ({"slope": float("nan")}, r"in \(0, 1\), got nan"),
    ],
)
def test_bad_networks_are_refused(change, message):
    given_ = {"W": np.ones((2, 2)), "slope": 0.5} | change
    with pytest.raises(InputError, match=message):
        onehidden.network(**given_)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((0, 7)), np.ones(0), "no empty dimension"),
        (np.ones((2, 6)), np.ones(2), "7 columns"),
        (np.ones((2, 7)), np.ones(3), r"shape \(2,\)"),
        (np.ones((2, 7)), np.asarray([1.0, 0.0]), r"\+1 and -1"),
        (np.ones((2, 7)), np.asarray([1.0, 2.0]), r"\+1 and -1"),
        (np.full((2, 7), np.inf), np.ones(2), "finite numbers"),
        (np.ones((2, 7), dtype=int), np.ones(2), "float32 or float64"),
        (np.ones((2, 7)), np.ones(2, dtype=np.float32), "dtype float64"),
        (np.ones(7), np.ones(2), "2 dimension"),
        ([[1.0] * 7], np.ones(1), "got list"),
    ],
)
def test_bad_samples_are_refused(problem, x, y, message):
    for function in (onehidden.weight_gradient, onehidden.input_gradient):
        with pytest.raises(InputError, match=message):
            function(problem.net, x, y, losses.EXPONENTIAL)


@LOSSES
@pytest.mark.torch
def test_gradients_against_torch(loss):
    """torch's automatic differentiation agrees on (N3) and (N4), if torch is installed."""
    torch = pytest.importorskip("torch")
    net, x, y = make_problem(dim=30, hidden=20, n=10)
    W, X = (torch.tensor(part, requires_grad=True) for part in (net.W, x))
    q = torch.tensor(y) * (torch.nn.functional.leaky_relu(X @ W.T, net.slope) @ torch.tensor(net.a))
    each = torch.exp(-q) if loss.name == "exponential" else torch.nn.functional.softplus(-q)
    (dW,) = torch.autograd.grad(each.mean(), W, retain_graph=True)
    (dX,) = torch.autograd.grad(each.sum(), X)
    assert onehidden.weight_gradient(net, x, y, loss)[1] == pytest.approx(dW.numpy(), rel=1e-10)
    assert onehidden.input_gradient(net, x, y, loss)[1] == pytest.approx(dX.numpy(), rel=1e-10)
