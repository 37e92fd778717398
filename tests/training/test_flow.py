"""Gradient flow (N5): its order, its tolerance, independent integrators, limits, symmetries."""

import re
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import Interrupting, make_problem, unscaled_problem
from scipy.integrate import solve_ivp

from reflfap import losses, onehidden, paper
from reflfap.errors import ConvergenceError, InputError, NonFiniteError
from reflfap.training import implicit
from reflfap.training.descent import descent
from reflfap.training.flow import flow, released_time
from reflfap.training.implicit import conjugate_gradients, implicit_step, interaction

pytestmark = pytest.mark.usefixtures("library")

LOSSES = pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
EXP = losses.EXPONENTIAL


def aligned_problem(seed=0, dim=12, hidden=4, n=5, slope=0.3):
    """Nearly orthogonal samples and a start on the aligned pattern (T2): no sign ever changes."""
    rng = np.random.default_rng(seed)
    x = np.linalg.qr(rng.standard_normal((dim, n)))[0].T * rng.uniform(1, 2, (n, 1))
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    a = onehidden.output_weights(hidden)
    W = np.outer(a, y @ x) * rng.uniform(0.2, 0.4, (hidden, 1))
    return onehidden.network(W, slope), x, y


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


@LOSSES
@given(seed=st.integers(0, 10**6), n=st.integers(1, 6))
def test_interaction_is_the_margins_jacobian(loss, seed, n):
    """(1/N) H r is the change of the margins along -grad L, by differences away from kinks."""
    net, x, y = make_problem(seed, n=n)
    f, Z = onehidden.forward(net, x)
    M = interaction(x @ x.T, onehidden.activation_slope(Z, net.slope))
    expected = y * (M @ (y * losses.rate(loss, y * f))) / n
    _, gradient = onehidden.weight_gradient(net, x, y, loss)
    h = 1e-7 * np.abs(Z).min() / max(1.0, np.abs(gradient @ x.T).max())
    moved = onehidden.margins(net._replace(W=net.W - h * gradient), x, y)
    rounding = 1e-15 * np.abs(Z).max() / h
    assert (moved - y * f) / h == pytest.approx(expected, rel=1e-6, abs=10 * rounding)


@LOSSES
@given(seed=st.integers(0, 10**6), log_c=st.floats(-4, 4))
def test_implicit_step_solves_its_equation(loss, seed, log_c):
    """q+ = q + c H r(q+) to the residual asked for, for small and for enormous steps."""
    net, x, y = make_problem(seed)
    f, Z = onehidden.forward(net, x)
    M, c, q = interaction(x @ x.T, onehidden.activation_slope(Z, net.slope)), 10**log_c, y * f
    step = implicit_step(loss, M, y, q, c, 1e-9)
    assert step.q == pytest.approx(q + c * y * (M @ (y * losses.rate(loss, step.q))), abs=1e-8)
    assert np.array_equal(step.r, losses.rate(loss, step.q))


@LOSSES
@given(seed=st.integers(0, 10**6), log_c=st.floats(-2, 2))
def test_the_step_is_unique_where_its_potential_is_not_strict(loss, seed, log_c):
    """Samples that occur twice: H has a null space, along which P(v) is flat, and q+ is one all the
    same: at any point with other margins P is larger."""
    net, x, y = make_problem(seed, n=3)
    x, y = np.concatenate([x, x]), np.concatenate([y, y])
    f, Z = onehidden.forward(net, x)
    M, c, q = interaction(x @ x.T, onehidden.activation_slope(Z, net.slope)), 10**log_c, y * f
    H = y[:, None] * M * y

    def potential(v):
        return v @ H @ v / (2 * c) + losses.value(loss, q + H @ v).sum()

    v = c * implicit_step(loss, M, y, q, c, 1e-12).r
    least, size = potential(v), np.abs(v).max()
    null = np.asarray([1.0, 0, 0, -1, 0, 0]) * size
    assert np.abs(H @ null).max() <= 1e-14 * np.abs(H).max() * size
    assert potential(v + null) == pytest.approx(least, rel=1e-10)
    for other in np.random.default_rng(seed).standard_normal((5, 6)) * size:
        assert potential(v + other) > least


def test_a_step_lost_in_rounding_is_given_up():
    """Large terms of H v cancel, and float32 leaves more than the tolerance of them: from there on
    searches find no fall, and Newton's iterations would go on by chance, to the last of 60."""
    iterations = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y = 1e-3 * rng.standard_normal((5, 1)), rng.choice([-1.0, 1.0], 5)
        M, q = x @ x.T / 2, rng.uniform(-0.2, 0.2, 5)
        implicit_step(losses.LOGISTIC, M, y, q, 1e14, 0.003)  # float64 has the digits
        with pytest.raises(
            ConvergenceError, match=r"a residual of 0.003, got .* use float64"
        ) as caught:
            implicit_step(losses.LOGISTIC, M.astype("float32"), y, q, 1e14, 0.003)
        iterations.append(int(re.findall(r"in (\d+) Newton", str(caught.value))[0]))
    assert np.median(iterations) < 15


@given(seed=st.integers(0, 10**6), n=st.integers(1, 9))
def test_conjugate_gradients(seed, n):
    rng = np.random.default_rng(seed)
    root, b = rng.standard_normal((n, n)), rng.standard_normal(n)
    A = np.eye(n) + root @ root.T
    got = conjugate_gradients(lambda v: A @ v, b, 1e-10)
    assert got == pytest.approx(np.linalg.solve(A, b), abs=1e-8)


def test_conjugate_gradients_say_when_they_fail(monkeypatch):
    monkeypatch.setattr("reflfap.training.implicit.MOST_CG", 1)
    with pytest.raises(ConvergenceError, match="expected a residual cut to 1e-10"):
        conjugate_gradients(lambda v: v * np.asarray([1.0, 2.0]), np.ones(2), 1e-10)


@pytest.mark.numpy_only
@given(seed=st.integers(0, 10**6), time=st.floats(0.01, 1e6))
@settings(max_examples=10)
def test_one_sample_in_closed_form(seed, time):
    """N = 1, aligned: dq/dt = H exp(-q), so q = log(exp(q0) + H t), H = ||x||^2 (1 + gamma^2)/2."""
    net, x, y = aligned_problem(seed, n=1)
    q0 = onehidden.margins(net, x, y)
    H = (x @ x.T)[0] * (1 + net.slope**2) / 2
    got = flow(net, x, y, EXP, time=time, tolerance=1e-3)
    assert got.q == pytest.approx(np.log(np.exp(q0) + H * time), abs=1e-3)
    assert got.trace.time[-1] == time


def reference(net, x, y, loss, time, rtol=1e-10):
    """(N5) in weight space by scipy's DOP853, with no thought of coefficients or patterns."""

    def velocity(_, W):
        moved = net._replace(W=W.reshape(net.W.shape))
        return -onehidden.weight_gradient(moved, x, y, loss)[1].ravel()

    done = solve_ivp(velocity, (0, time), net.W.ravel(), "DOP853", rtol=rtol, atol=rtol / 100)
    return done.y[:, -1].reshape(net.W.shape)


@pytest.mark.numpy_only
@LOSSES
def test_against_scipy(loss):
    """An independent integration of the weights agrees to 1e-6."""
    net, x, y = aligned_problem()
    got = flow(net, x, y, loss, time=5.0, tolerance=3e-7)
    assert got.net.W == pytest.approx(reference(net, x, y, loss, 5.0), abs=1e-6)


@pytest.mark.numpy_only
@pytest.mark.parametrize("seed", range(3))
def test_against_scipy_with_sign_changes(seed):
    """Where units cross samples the right-hand side jumps, and either method loses digits there."""
    net, x, y = make_problem(seed, dim=8, n=4)
    got = flow(net, x, y, EXP, time=2.0, tolerance=1e-3)
    assert got.trace.sign_changes.any()
    expected = net._replace(W=reference(net, x, y, EXP, 2.0, rtol=1e-5))
    assert got.q == pytest.approx(onehidden.margins(expected, x, y), abs=5e-3)


@pytest.mark.numpy_only
@LOSSES
def test_order_of_convergence(loss):
    """Without sign changes the error falls with the square of the number of steps."""
    net, x, y = aligned_problem()
    exact = onehidden.margins(net._replace(W=reference(net, x, y, loss, 20.0)), x, y)
    steps, errors = [], []
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5):
        got = flow(net, x, y, loss, time=20.0, tolerance=tolerance)
        assert not got.trace.sign_changes.any()
        steps.append(len(got.trace.time) - 1)
        errors.append(rms(got.q - exact))
        assert errors[-1] < tolerance
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order > 1.8


@pytest.mark.numpy_only
@pytest.mark.parametrize("tolerance", [0.3, 0.1, 0.03])
@pytest.mark.parametrize("n", [20, 150])
def test_the_tolerance_is_met(tolerance, n):
    """The final margins err by less than the tolerance, sliding pairs included, N > d included.

    In the median: where a kink repels, a unit falls to one side or the other, and single samples
    keep that difference for long, however small it was.
    """
    problem = make_problem(1, dim=100, hidden=20, n=n, slope=0.01, data="uniform")
    fine = flow(*problem, EXP, time=1e3, tolerance=3e-3)
    coarse = flow(*problem, EXP, time=1e3, tolerance=tolerance)
    assert np.median(np.abs(coarse.q - fine.q)) < tolerance
    assert len(coarse.trace.time) < len(fine.trace.time) / 4


@pytest.mark.numpy_only
@LOSSES
@given(seed=st.integers(0, 10**6), log_c=st.floats(-3, 3))
def test_the_devices_iterations_are_the_hosts(loss, seed, log_c):
    """Idle iterations, where nobody has looked whether they are needed, change nothing.

    Conjugate gradients may end elsewhere, where they need more than on a device they are given;
    then Newton's method corrects it: both solve the equation to 1e-9.
    """
    net, x, y = make_problem(seed, dim=9, n=6)
    M = interaction(x @ x.T, onehidden.activation_slope(net.W @ x.T, net.slope))
    q, c = onehidden.margins(net, x, y), 10**log_c
    expected = implicit_step(loss, M, y, q, c, 1e-9)
    with patch("reflfap.training.implicit.on_host", lambda xp: False):
        got = implicit_step(loss, M, y, q, c, 1e-9)
    stiffness = 1 + c * np.abs(M).sum()
    assert rms(got.q - expected.q) < 1e-8 * stiffness
    assert got.r == pytest.approx(expected.r, rel=1e-8 * stiffness)


def raw_images(n=40, dim=60):
    """Correlated samples: all near one mean, as raw images are; one Gram eigenvalue dominates."""
    rng = np.random.default_rng(3)
    y = rng.choice([-1.0, 1.0], n)
    x = 1.0 + 0.3 * rng.standard_normal((n, dim)) + 0.2 * y[:, None] * rng.standard_normal(dim)
    W = rng.uniform(-1, 1, (10, dim)) / np.sqrt(dim)
    return onehidden.network(W, 0.01), x, y


@pytest.mark.numpy_only
def test_a_second_route_agrees():
    """The explicit scheme of paper.py, in thousands of steps of log time: on white data, on more
    samples than inputs, and on strongly correlated ones."""
    problems = [
        make_problem(2, dim=60, hidden=10, n=20, slope=0.1),
        make_problem(2, dim=15, hidden=10, n=60, slope=0.1),
        raw_images(),
    ]
    for problem in problems:
        (net, x, y), ours = problem, flow(*problem, EXP, time=20.0, tolerance=1e-3)
        W = paper.gradient_flow(net.W, x, y, net.slope, time=20.0, steps=4_000)
        assert rms(ours.q - y * paper.f(x, W, net.slope)) < 0.01


@pytest.mark.numpy_only
def test_stiffness_does_not_shorten_the_steps():
    """Correlated data: an explicit scheme in so many steps of log time leaves the flow."""
    net, x, y = raw_images()
    done = flow(net, x, y, EXP, time=1e3, tolerance=0.1)
    steps = len(done.trace.time)
    assert steps < 80
    with np.errstate(over="ignore", invalid="ignore"):
        W = paper.gradient_flow(net.W, x, y, net.slope, time=1e3, steps=3 * steps)
        assert np.mean(y * paper.f(x, W, net.slope) > 0) < 1
    assert np.all(done.q > 0)


@pytest.mark.numpy_only
@LOSSES
def test_descent_at_small_rate_is_flow(loss):
    """Descent with and without momentum at the same t; its distance to flow falls with the rate."""
    problem = aligned_problem()
    exact = flow(*problem, loss, time=4.0, tolerance=1e-6).q
    for momentum in (0.0, 0.9):
        errors = []
        for epochs in (4_000, 8_000):
            rate = 4.0 * (1 - momentum) / epochs
            assert released_time(epochs, rate, momentum) == pytest.approx(4.0)
            got = descent(*problem, loss, epochs=epochs, rate=rate, momentum=momentum)
            errors.append(rms(got.q - exact))
        assert errors[0] < 0.01
        assert errors[1] == pytest.approx(errors[0] / 2, rel=0.1)


@LOSSES
def test_the_loss_never_increases(loss):
    for problem in (make_problem(4, n=12, dim=20), raw_images()):
        trace = flow(*problem, loss, time=50.0, tolerance=0.05).trace
        assert np.all(np.diff(np.log(trace.loss)) < 0.05)
        assert np.all(np.diff(trace.time) > 0)
        assert trace.time[1:] == pytest.approx(trace.time[:-1] + trace.step[:-1])


@pytest.mark.numpy_only
def test_late_loss_falls_like_one_over_time():
    """Separable data: d log L / d log t tends to -1."""
    trace = flow(*make_problem(5, dim=80, n=10, hidden=10), EXP, time=1e7).trace
    late = trace.time > 1e4
    slope = np.polyfit(np.log(trace.time[late]), np.log(trace.loss[late]), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.05)


def test_symmetries():
    """Permuted samples, rotated inputs, exchanged classes: the same margins."""
    net, x, y = make_problem(6, dim=20, n=8)
    run = {"time": 10.0, "tolerance": 1e-2}
    q = flow(net, x, y, EXP, **run).q
    order = np.random.default_rng(0).permutation(8)
    assert flow(net, x[order], y[order], EXP, **run).q == pytest.approx(q[order], abs=1e-6)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))[0]
    rotated = net._replace(W=net.W @ Q)
    assert flow(rotated, x @ Q, y, EXP, **run).q == pytest.approx(q, abs=1e-6)
    exchanged = net._replace(W=np.roll(net.W, len(net.W) // 2, axis=0))
    assert flow(exchanged, x, -y, EXP, **run).q == pytest.approx(q, abs=1e-6)


@pytest.mark.numpy_only
@given(c=st.floats(0.1, 10))
@settings(max_examples=10)
def test_scaling(c):
    """Samples times c, initial weights over c, time over c^2: the same margins, W over c."""
    net, x, y = make_problem(7, dim=20, n=8)
    one = flow(net, x, y, EXP, time=10.0, tolerance=1e-2)
    other = flow(net._replace(W=net.W / c), c * x, y, EXP, time=10.0 / c**2, tolerance=1e-2)
    assert other.q == pytest.approx(one.q, abs=1e-6)
    assert c * other.net.W == pytest.approx(one.net.W, abs=1e-6)


@pytest.mark.parametrize("n", [1, 6, 30])
def test_weights_move_in_the_span_of_the_samples(n):
    """W - W0 = C X, and the margins returned are those of W; N > 2 d takes the low-rank path."""
    net, x, y = make_problem(8, dim=9, n=n)
    got = flow(net, x, y, losses.LOGISTIC, time=10.0)
    change = got.net.W - net.W
    projection = np.linalg.pinv(x) @ x
    assert change @ projection == pytest.approx(change, abs=1e-10)
    assert got.q == pytest.approx(onehidden.margins(got.net, x, y), abs=1e-9)


def test_repeated_samples_count_twice():
    """Each sample twice is the same flow: L is a mean."""
    net, x, y = make_problem(9, dim=20, n=5)
    one = flow(net, x, y, EXP, time=10.0, tolerance=1e-3)
    twice = flow(net, np.repeat(x, 2, 0), np.repeat(y, 2), EXP, time=10.0, tolerance=1e-3)
    assert twice.q[::2] == pytest.approx(one.q, abs=1e-6)
    assert twice.net.W == pytest.approx(one.net.W, abs=1e-6)


def test_contradictory_labels_settle():
    """The same sample with both labels cannot be separated: f tends to 0 there, L to log 2."""
    net, x, _ = make_problem(10, dim=20, n=3)
    both, y = np.concatenate([x, x]), np.asarray([1.0] * 3 + [-1.0] * 3)
    got = flow(net, both, y, losses.LOGISTIC, time=1e4, tolerance=1e-2)
    assert got.trace.loss[-1] == pytest.approx(np.log(2), abs=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_single_precision_follows_double(dtype):
    """dtype in is dtype out; float32 keeps to the tolerance."""
    single = make_problem(11, dim=100, hidden=20, n=30, dtype=dtype)
    double = make_problem(11, dim=100, hidden=20, n=30)
    got = flow(*single, EXP, time=1e3, tolerance=0.05)
    exact = flow(*double, EXP, time=1e3, tolerance=0.005)
    assert got.net.W.dtype == got.q.dtype == dtype
    assert rms(got.q - exact.q) < 0.05


@pytest.mark.parametrize("steps", [1, 5])
def test_a_resumed_flow_equals_an_undisturbed_one(steps):
    """To the last bit, trace included; and so does one that was complete."""
    problem, monitor = make_problem(12, dim=20, n=8, dtype="float32"), Interrupting(steps)
    with pytest.raises(KeyboardInterrupt):
        flow(*problem, EXP, time=50.0, monitor=monitor)
    whole = flow(*problem, EXP, time=50.0)
    for _ in range(2):
        resumed = flow(*problem, EXP, time=50.0, monitor=monitor)
        assert np.array_equal(resumed.net.W, whole.net.W)
        for one, other in zip(resumed.trace, whole.trace, strict=True):
            assert np.array_equal(one, other)


def test_a_step_that_cannot_meet_its_tolerance_is_reported(monkeypatch):
    """An error with time and step, not a silent failure."""
    monkeypatch.setattr("reflfap.training.flow.MOST_REJECTIONS", 0)
    with pytest.raises(ConvergenceError, match=r"got .* at t = .* with the step cut to"):
        flow(*raw_images(), EXP, time=1e3)


@pytest.mark.numpy_only
def test_a_step_that_cannot_be_solved_is_cut(monkeypatch):
    """Natural images with random labels: Newton's method may fail at a long step, not at a short.

    Refusing all steps above a length leaves the course what it is; refusing all steps ends it.
    """
    problem = make_problem(15, dim=20, n=8)
    expected = flow(*problem, EXP, time=100.0, tolerance=0.01)
    solve = implicit.implicit_step
    longest = 0.1 * max(expected.trace.step)

    def refusing(loss, M, y, q, c, tolerance):
        if c * 8 > longest:
            raise ConvergenceError("implicit step: too long")
        return solve(loss, M, y, q, c, tolerance)

    monkeypatch.setattr("reflfap.training.flow.implicit_step", refusing)
    got = flow(*problem, EXP, time=100.0, tolerance=0.01)
    assert max(got.trace.step[:-1]) <= longest
    assert got.trace.time[-1] == 100.0
    assert got.q == pytest.approx(expected.q, abs=0.05)
    with monkeypatch.context() as patched:  # a training that needs this again and again is given up
        patched.setattr("reflfap.training.flow.MOST_UNSOLVED", 1)
        with pytest.raises(ConvergenceError, match="too long"):
            flow(*problem, EXP, time=100.0, tolerance=0.01)
    longest = 0.0
    with pytest.raises(ConvergenceError, match=r"got \(implicit step: too long\) at t = 0 "):
        flow(*problem, EXP, time=100.0)


def test_an_overflowing_start_is_reported():
    net, x, y = make_problem(14)
    bad = net._replace(W=np.full_like(net.W, 1e308))
    message = r"margin.*for sample \d at t = 0; scale the samples or the initial weights down"
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=message):
        flow(bad, 10 * x, y, EXP, time=1.0)


def test_a_start_whose_rates_overflow_is_reported():
    """A margin of -91 has a rate of 1e39: no step from there is short enough for float32."""
    net = onehidden.network(np.float32([[130, 0], [1, 0]]), 0.5)
    x, y = np.float32([[0.1, 1], [1, 0], [0.2, 0]]), np.float32([1, -1, 1])
    message = "rates float32 can hold, got -91.22 for sample 1 at t = 0; scale the samples or"
    with pytest.raises(NonFiniteError, match=message):
        flow(net, x, y, EXP, time=1.0)
    wide = onehidden.network(net.W.astype(float), 0.5), x.astype(float), y.astype(float)
    assert flow(*wide, EXP, time=1.0).q[1] > -5  # float64 can
    message = r"rates float32 can hold, got -.*e\+19 for sample 0 at t = 0; features span 3 to 1e"
    far = np.float32([[1e20, 0], [0, 3]])  # the rate is one, and K overflows
    with np.errstate(over="ignore"), pytest.raises(NonFiniteError, match=message):
        flow(net._replace(W=net.W / net.W[0, 0]), far, np.float32([-1, 1]), losses.LOGISTIC, time=1)


class Listening(Interrupting):
    """Hears what is said, and how far it is."""

    def __init__(self, asked: int = 0) -> None:
        super().__init__(asked)
        self.heard: list[str] = []

    def say(self, line: str) -> None:
        self.heard.append(line)


@pytest.mark.numpy_only
def test_a_flow_that_takes_too_many_steps_is_given_up():
    """Unscaled features: in steps that grow slower than t. Said early, with what would help."""
    monitor, (net, x, y) = Listening(), unscaled_problem()
    advice = "features span 0.001 to 4e+03: standardise them, or "
    with pytest.raises(ConvergenceError) as caught:
        flow(net, x, y, losses.LOGISTIC, time=1e4, monitor=monitor)
    assert "flow: expected the end in 1000 steps, got t = " in str(caught.value)
    (line,) = monitor.heard
    assert line.startswith("flow: 100 steps, and the end is far, t = ")
    assert all(advice + "ask for less time" in one for one in (str(caught.value), line))
    with pytest.raises(NonFiniteError, match=re.escape(advice)):
        flow(net, x, y, EXP, time=1e4)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    done = flow(net, standard, y, losses.LOGISTIC, time=1e4, monitor=monitor)
    assert len(done.trace.time) < 40  # the advice is good
    assert monitor.heard == [line]


def test_restored_steps_count(monkeypatch):
    """A course that is interrupted again and again ends after as many steps as another."""
    problem, monitor = make_problem(12, dim=20, n=8), Listening(4)
    with pytest.raises(KeyboardInterrupt):
        flow(*problem, EXP, time=50.0, monitor=monitor)
    monkeypatch.setattr("reflfap.training.flow.MOST_STEPS", 4)
    with pytest.raises(ConvergenceError, match=r"in 4 steps, got t = .*; ask for less time"):
        flow(*problem, EXP, time=50.0, monitor=monitor)
    monkeypatch.setattr("reflfap.training.flow.MOST_STEPS", 3)
    with pytest.raises(ConvergenceError, match="in 3 steps"):
        flow(*problem, EXP, time=50.0, monitor=monitor)


@pytest.mark.numpy_only
def test_a_finer_tolerance_may_take_more_steps(monkeypatch):
    """Ten times as many for a hundredth of it."""
    problem = aligned_problem()
    steps = [len(flow(*problem, EXP, time=1e9, tolerance=t).trace.time) - 1 for t in (0.3, 0.003)]
    assert steps[1] > 2 * steps[0]
    monkeypatch.setattr("reflfap.training.flow.MOST_STEPS", steps[1] // 9)
    flow(*problem, EXP, time=1e9, tolerance=0.003)
    with pytest.raises(ConvergenceError, match=f"the end in {steps[1] // 9} steps"):
        flow(*problem, EXP, time=1e9)
    monkeypatch.setattr("reflfap.training.flow.MOST_STEPS", steps[1] // 11)
    with pytest.raises(ConvergenceError, match=f"the end in {10 * (steps[1] // 11)} steps"):
        flow(*problem, EXP, time=1e9, tolerance=0.003)


def test_a_step_too_short_for_its_time_is_reported():
    """t + h = t: such a course would stand still for ever."""
    problem, monitor = make_problem(12, dim=20, n=8), Interrupting(3)
    with pytest.raises(KeyboardInterrupt):
        flow(*problem, EXP, time=50.0, monitor=monitor)
    monitor.state["h"] = np.asarray(1e-30)
    with pytest.raises(ConvergenceError, match="got no time at all at t = "):
        flow(*problem, EXP, time=50.0, monitor=monitor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": 0.0}, "time: expected a finite number"),
        ({"time": -1.0}, "time"),
        ({"time": float("inf")}, "time"),
        ({"time": "soon"}, "time: expected a number, got 'soon'"),
        ({"loss": "hinge"}, "loss: expected one of exponential, logistic, got 'hinge'"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": 2.0}, "tolerance"),
        ({"tolerance": 1e-15}, "tolerance"),
    ],
)
def test_bad_settings_are_refused(problem, change, message):
    with pytest.raises(InputError, match=message):
        flow(*problem, **({"loss": EXP, "time": 1.0} | change))


@pytest.mark.parametrize("time", ["2", 2, np.float32(2)], ids=str)
def test_a_time_is_any_number(problem, time):
    assert flow(*problem, EXP, time=time).trace.time[-1] == 2.0


def test_zero_samples_are_refused(problem):
    with pytest.raises(InputError, match="no empty dimension"):
        flow(problem.net, np.ones((0, 7)), np.ones(0), EXP, time=1.0)
