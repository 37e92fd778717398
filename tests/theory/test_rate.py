"""The rate (C1), (C2): gradient flow against its asymptotics, from plain integrators and `flow`.

Margins approach their asymptote like t^-kappa, so that at t = 10^k nothing but rounding should be
left. The flow of the project errs by its tolerance in every step, and a step is about one e-fold
long however late it is: t L(t) keeps a relative error of the size of the tolerance.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from test_kkt import SIZES, nearly_orthogonal

from reflfap import onehidden, paper
from reflfap.errors import InputError, NoKKTPointError
from reflfap.losses import LOSSES
from reflfap.onehidden import forward
from reflfap.theory.kkt import aligned_kkt
from reflfap.theory.rate import (
    Asymptote,
    aligned_for_good,
    angle_at,
    angle_constant,
    asymptote,
    late_margins,
    loss_limit,
    rate_exponent,
    weights_at,
)
from reflfap.training.flow import flow

pytestmark = pytest.mark.usefixtures("library")

SLOPE = 0.5


def integrated(W, x, y, slope, times, loss="exponential"):
    """Weights at increasing times by scipy's DOP853 in s = log(1 + t), dW/ds = -e^s grad L."""

    def velocity(s, flat):
        return -np.exp(s) * paper.dL_dW(flat.reshape(W.shape), x, y, slope, loss).ravel()

    at = np.log1p(np.asarray(times))
    done = solve_ivp(velocity, (0, at[-1]), W.ravel(), "DOP853", at, rtol=1e-11, atol=1e-12)
    assert done.success
    return [column.reshape(W.shape) for column in done.y.T]


def start(seed, n, slope, hidden=4, noise=0.05):
    """Samples that have an aligned point, and small random weights."""
    x, y = nearly_orthogonal(seed, n, noise=noise)
    rng = np.random.default_rng(seed + 1)
    W = 0.05 * rng.standard_normal((hidden, x.shape[1])) / math.sqrt(x.shape[1])
    return onehidden.network(W, slope), x, y


@pytest.fixture(scope="module")
def late():
    """Four samples followed to t = 10^3, 10^6, 10^9 by scipy."""
    net, x, y = start(3, 4, SLOPE)
    times = (1e3, 1e6, 1e9)
    return net, x, y, dict(zip(times, integrated(net.W, x, y, SLOPE, times), strict=True))


def cosine(A, B):
    return (A * B).sum() / np.linalg.norm(A) / np.linalg.norm(B)


# (C1)


def test_loss_and_margins_of_an_integrated_flow(late):
    """(C1): t L/sum lam -> 1 and q -> log t - log(N lam), errors below 10 t^-kappa.

    kappa is above 0.9 here, and 10 is for its constant, which the first steps decide; scipy was
    asked for 1e-11 a step and takes some hundred, which leaves 1e-8.
    """
    _, x, y, weights = late
    point = aligned_kkt(x, y, 4, SLOPE)
    kappa = rate_exponent(x, y, SLOPE, point.lam)
    assert 0.9 < kappa <= 1
    for t, W in weights.items():
        q = y * paper.f(x, W, SLOPE)
        within = 10 * t**-kappa + 1e-8
        assert t * np.mean(np.exp(-q)) / loss_limit(point.lam) == pytest.approx(1, abs=within)
        assert q == pytest.approx(late_margins(point.lam, t), abs=within)


@given(**SIZES)
def test_the_exponent_is_at_most_one(seed, n, slope):
    """(C1): lam^(1/2) is an eigenvector of eigenvalue one; orthogonal samples have no other."""
    x, y = nearly_orthogonal(seed, n, noise=0.3)
    try:
        lam = aligned_kkt(x, y, 4, slope).lam
    except NoKKTPointError:
        return
    if lam.min() <= 0:
        return
    assert 0 < rate_exponent(x, y, slope, lam) <= 1 + 1e-9
    x, y = nearly_orthogonal(seed, n, noise=0.0)
    lam = aligned_kkt(x, y, 4, slope).lam
    assert rate_exponent(x, y, slope, lam) == pytest.approx(1, rel=1e-9)
    assert loss_limit(lam) == pytest.approx(lam.sum(), rel=1e-12)


def test_the_exponent_is_the_rate():
    """(C1): from t to 100 t the error of the margins falls by 100^-kappa; at kappa = 0.5 and less.

    Two samples of one label at an angle: the slow direction is their difference. Errors are
    measured after t = 10^4, where p is 1e-2 at most and its square, which (C1) leaves out, 1e-4.
    """
    x, y = np.asarray([[1.0, 0, 0], [0.7, math.sqrt(0.51), 0]]), np.ones(2)
    lam = aligned_kkt(x, y, 2, SLOPE).lam
    kappa = rate_exponent(x, y, SLOPE, lam)
    assert kappa == pytest.approx(0.3 / 1.7, rel=1e-9)  # eigenvalues 1 -+ 0.7 over 1 + 0.7
    W = np.asarray([[0.5, 0.1, 0], [-0.1, -0.6, 0]])
    times = (1e6, 1e8, 1e10)
    errors = [
        np.abs(paper.f(x, W, SLOPE) - late_margins(lam, t)).max()
        for t, W in zip(times, integrated(W, x, y, SLOPE, times), strict=True)
    ]
    assert errors[1] / errors[0] == pytest.approx(100**-kappa, rel=0.15)
    assert errors[2] / errors[1] == pytest.approx(100**-kappa, rel=0.05)


@pytest.mark.numpy_only
@pytest.mark.parametrize("loss", LOSSES)
def test_flow_to_the_end_of_time(loss):
    """(C1), (C2): `flow` to t = 10^30 for both losses; the logistic one has the same limit.

    In steps of an e-fold, tolerance 0.003: t L errs by twice that at most, the margins likewise,
    1 - cos by the relative error of the weights in s, below 1e-3.
    """
    net, x, y = start(5, 5, SLOPE)
    point = aligned_kkt(x, y, 4, SLOPE)
    before = flow(net, x, y, LOSSES[loss], time=1e6, tolerance=0.003)
    line = asymptote(before.net, x, y)
    assert aligned_for_good(before.net, x, y, 1e6) or loss == "logistic"  # for which it is no proof
    end = flow(before.net, x, y, LOSSES[loss], time=1e30, tolerance=0.003)
    assert end.trace.loss[-1] * 1e30 / loss_limit(point.lam) == pytest.approx(1, abs=0.006)
    assert end.q == pytest.approx(late_margins(point.lam, 1e30), abs=0.006)
    measured = 1 - cosine(end.net.W, point.net.W)
    assert measured == pytest.approx(1 - math.cos(angle_at(line, 1e30)), rel=2e-3)


# (C2)


def test_weights_and_angle_of_an_integrated_flow(late):
    """(C2): B, read at t = 10^6, predicts W and the angle at 10^9: errors t^-kappa, rounding."""
    _, x, y, weights = late
    line = asymptote(onehidden.network(weights[1e6], SLOPE), x, y)
    later = weights[1e9]
    scale = np.abs(later).max()
    assert weights_at(line, 1e9) == pytest.approx(later, abs=1e-5 * scale)
    assert np.cos(angle_at(line, 1e9)) == pytest.approx(cosine(later, line.limit), abs=1e-7)
    again = asymptote(onehidden.network(later, SLOPE), x, y)
    assert again.offset == pytest.approx(line.offset, abs=1e-5 * scale)


def test_what_the_offset_is_made_of(late):
    """(C2): across the features it is what W has there; its margins are -log(N lam)."""
    net, x, y, weights = late
    W = weights[1e6]
    line = asymptote(onehidden.network(W, SLOPE), x, y)
    a = net.a
    on = np.where(a[:, None] * y > 0, 1, SLOPE)
    G = np.stack([np.outer(y[n] * a * on[:, n], x[n]).ravel() for n in range(4)])
    assert G @ line.limit.ravel() == pytest.approx(1, abs=1e-9)
    assert G @ line.offset.ravel() == pytest.approx(-np.log(4 * line.lam), abs=1e-9)
    across = np.eye(W.size) - np.linalg.pinv(G) @ G
    assert across @ line.offset.ravel() == pytest.approx(across @ W.ravel(), abs=1e-9)
    # ||W*||^2 = sum lam, and what a constant adds to B along W* is a shift of log t
    assert (line.limit**2).sum() == pytest.approx(line.lam.sum(), rel=1e-9)


@given(along=st.floats(-3, 3), across=st.floats(0.01, 5), t=st.floats(1e2, 1e30))
def test_the_angle_by_hand(along, across, t):
    """(C2): W* = (2, 0), B = (2 along, 2 across): the angle of a triangle, 1/log t in the limit."""
    line = Asymptote(np.ones(1), np.asarray([[2.0, 0.0]]), 2 * np.asarray([[along, across]]))
    W = weights_at(line, t)
    assert angle_at(line, t) == pytest.approx(math.atan2(W[0, 1], W[0, 0]), rel=1e-9)
    assert angle_constant(line) == pytest.approx(across, rel=1e-9)
    far = math.exp(600)
    product = math.log(far) * angle_at(line, far)
    assert product == pytest.approx(across, rel=(abs(along) + across) / 100)


@given(seed=st.integers(0, 10**6), slope=st.floats(0.1, 0.9))
def test_a_single_sample(seed, slope):
    """(C1), (C2) at N = 1: q solves dq/dt = h ||x||^2 e^-q, so e^q = e^q0 + h ||x||^2 t exactly."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((1, 6)), rng.choice([-1.0, 1.0], 1)
    a = np.asarray([1.0, -1.0]) / math.sqrt(2)
    net = onehidden.network(np.outer(a, y @ x), slope)  # aligned from the start
    h = (1 + slope**2) / 2 * (x @ x.T)[0, 0]
    line, t = asymptote(net, x, y), 1e25
    assert line.lam == pytest.approx(1 / h, rel=1e-9)
    assert rate_exponent(x, y, slope, line.lam) == pytest.approx(1, rel=1e-9)
    q0 = (y * forward(net, x)[0])[0]
    assert late_margins(line.lam, t)[0] == pytest.approx(math.log(math.exp(q0) + h * t), rel=1e-9)
    assert t / (math.exp(q0) + h * t) == pytest.approx(loss_limit(line.lam), rel=1e-6)
    grown = math.log(math.exp(q0) + h * t) - q0
    W = net.W + grown / h * np.where(a[:, None] * y > 0, 1, slope) * a[:, None] * y * x
    assert weights_at(line, t) == pytest.approx(W, rel=1e-9, abs=1e-9)
    assert aligned_for_good(net._replace(W=W), x, y, t)


def test_the_proof_of_alignment(late):
    """(C2): it holds late, not where a pair would turn, and then the pairs do stay aligned."""
    net, x, y, weights = late
    line = asymptote(onehidden.network(weights[1e9], SLOPE), x, y)
    for t, W in weights.items():
        good = aligned_for_good(onehidden.network(W, SLOPE), x, y, t)
        assert good == (t >= 1e3)
        assert np.all((W @ x.T) * net.a[:, None] * y > 0)
    assert not aligned_for_good(net, x, y, 1.0)  # at random weights
    # far from its line: rho is large, so nothing is proved although all is aligned
    W = weights[1e9] + 2 * (weights[1e9] - weights_at(line, 1e3))
    assert not aligned_for_good(onehidden.network(W, SLOPE), x, y, 1e9)
    # the bound itself, on both sides
    rho = np.linalg.norm(weights[1e3] - weights_at(line, 1e3))
    least = np.min(
        (weights_at(line, 1e3) @ x.T) * np.sign(net.a)[:, None] * y / np.linalg.norm(x, axis=1)
    )
    G = np.where(net.a[:, None] * y > 0, 1, SLOPE)[:, [0]] * net.a[:, None] * y[0] * x[:1]
    for factor in (0.99, 1.01):
        W = weights_at(line, 1e3) + factor * least / math.sqrt(2 / 4) * G / np.linalg.norm(G)
        assert aligned_for_good(onehidden.network(W, SLOPE), x, y, 1e3) == (factor < 1)
    assert rho < least


def test_refusals(late):
    """Pairs not aligned, points that are not there, multipliers and times that are none."""
    net, x, y, weights = late
    with pytest.raises(InputError, match="pairs"):
        asymptote(net, x, y)
    trained = onehidden.network(weights[1e9], SLOPE)
    for t in (0.0, -1.0, math.inf):
        with pytest.raises(InputError, match="time"):
            late_margins(np.ones(2), t)
        with pytest.raises(InputError, match="time"):
            angle_at(asymptote(trained, x, y), t)
    for lam in (np.zeros(2), np.asarray([1.0, -1.0]), np.ones((2, 1)), np.asarray([])):
        with pytest.raises(InputError, match="multipliers"):
            loss_limit(lam)
        with pytest.raises(InputError, match="multipliers"):
            late_margins(lam, 1.0)
    # x_2 = 2 x_1 + something is classified well by x_1 alone: its constraint is idle
    two = np.stack([x[0], 2 * x[0] + 0.1 * x[1]])
    net = onehidden.network(np.outer([1.0, 1, -1, -1], two.sum(0)), SLOPE)
    with pytest.raises(NoKKTPointError, match="sample 1"):
        asymptote(net, two, np.ones(2))
