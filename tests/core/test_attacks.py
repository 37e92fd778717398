"""Attacks (P2): constraints, monotonicity, invariances, the L0 stall, bad input."""

import math
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from gradients import EACH_NORM, NORMS
from hypothesis import given
from hypothesis import strategies as st
from problems import Interrupting, make_problem

from reflfap import losses, onehidden
from reflfap.attacks import L0, L2, LInf, LInfSign, attack
from reflfap.errors import InputError, NonFiniteError
from reflfap.norms import row_norms, row_peaks

pytestmark = pytest.mark.usefixtures("library")

STEPS = 12


def run(norm, problem, *, steps=STEPS, bounded=True, scale=1.0, **options):
    """Attack the problem's samples towards its labels; gradients are multiplied by `scale`."""

    def margin(x, target):
        q, dq = onehidden.margin_gradient(problem.net, x, target)
        return q, dq * dq.dtype.type(scale)

    limits = {"low": -1.0, "high": 1.0} if bounded else {}
    return attack(margin, problem.x, problem.y, norm, steps=steps, **limits, **options)


def sizes(**more):
    return {
        "seed": st.integers(0, 10**6),
        "dim": st.integers(1, 12),
        "n": st.integers(1, 9),
        "dtype": st.sampled_from(["float32", "float64"]),
        **more,
    }


@EACH_NORM
@given(radius=st.floats(0, 3), bounded=st.booleans(), **sizes())
def test_constraint_and_range_hold(norm, radius, bounded, **size):
    """The perturbation lies in its ball up to the rounding of x0 + eta, and x in the data range."""
    problem = make_problem(data="uniform", **size)
    pixels = 1 + int(radius)
    norm = norm._replace(**({"pixels": pixels} if isinstance(norm, L0) else {"radius": radius}))
    x = run(norm, problem, bounded=bounded).x
    eta = x.astype(np.float64) - problem.x
    ulp = np.spacing(np.abs(x).max())  # eta is read back from x, entry by entry
    if isinstance(norm, L0):
        assert np.count_nonzero(eta, axis=1).max() <= pixels
    elif isinstance(norm, L2):
        assert row_norms(eta).max() <= radius * (1 + 4 * np.finfo(x.dtype).eps) + ulp * len(x.T)
    else:
        assert row_peaks(eta).max() <= radius * (1 + 4 * np.finfo(x.dtype).eps) + ulp
    if bounded:
        assert np.abs(x).max() <= 1
    assert x.dtype == problem.x.dtype


@EACH_NORM
@given(steps=st.integers(0, STEPS), **sizes())
def test_never_worse_than_the_start(norm, steps, **size):
    """Margins do not fall, are those of the samples returned, and do not fall with more steps."""
    problem = make_problem(data="uniform", **size)
    result = run(norm, problem, steps=steps)
    assert np.all(result.margin >= result.margin_start)
    assert result.margin_start == pytest.approx(onehidden.margins(*problem), rel=1e-5, abs=1e-6)
    again = onehidden.margins(problem.net, result.x, problem.y)
    assert result.margin == pytest.approx(again, rel=1e-5, abs=1e-6)
    assert np.array_equal(result.success, result.margin > 0)
    before, after = result.losses(losses.EXPONENTIAL)
    assert np.all(after <= before)


@EACH_NORM
@given(**sizes())
def test_a_longer_attack_is_no_worse(norm, **size):
    """The last iterate counts: one more step can only help."""
    problem = make_problem(data="uniform", **size)
    margins = [run(norm, problem, steps=steps).margin for steps in range(4)]
    assert np.all(np.diff(margins, axis=0) >= 0)


@pytest.mark.parametrize("norm", [L2(0.0), LInf(0.0), LInfSign(0.0)])
def test_size_zero_is_the_identity(norm):
    problem = make_problem(data="uniform")
    result = run(norm, problem)
    assert np.array_equal(result.x, problem.x)
    assert not result.steps.any()


@EACH_NORM
@given(chunk=st.integers(1, 9), **sizes(dtype=st.just("float64")))
def test_batch_split_changes_nothing(norm, chunk, **size):
    """Samples are attacked one by one: neither chunks nor leavers touch the others.

    Up to rounding in float64, which products of other shapes differ by.
    """
    problem = make_problem(data="uniform", **size)
    whole, split = run(norm, problem), run(norm, problem, chunk=chunk)
    assert split.margin == pytest.approx(whole.margin, rel=1e-9, abs=1e-9)
    assert np.array_equal(split.success, whole.success) or np.abs(whole.margin).min() < 1e-9


@EACH_NORM
@given(exponent=st.integers(-99, 99), dtype=st.sampled_from(["float32", "float64"]))
def test_gradient_scale_is_irrelevant(norm, exponent, dtype):
    """Gradients from 1e-30 to 1e30, float32 included, give bitwise the same: powers of two."""
    problem = make_problem(dtype=dtype, data="uniform")
    one, other = run(norm, problem), run(norm, problem, scale=2.0**exponent)
    assert np.array_equal(one.x, other.x)


def pgd_twin(norm, problem, steps):
    """(P2) for one sample at a time, plainly, with nothing left out and nobody leaving."""
    results = []
    for x0, target in zip(problem.x, problem.y, strict=True):
        x, best, best_q, chosen = x0, x0, -math.inf, set()
        for step in range(steps + 1):
            q, g = onehidden.margin_gradient(problem.net, x[None], np.asarray([target]))
            g = g[0]
            if q[0] > best_q:
                best, best_q = x, q[0]
            if step < steps:
                x = np.clip(x0 + moved(norm, x - x0, g, chosen), -1, 1)
        results.append(best)
    return np.asarray(results)


def moved(norm, eta, g, chosen):
    if isinstance(norm, L2):
        eta = eta + norm.radius / 5 * g / np.linalg.norm(g)
        return eta * min(1, norm.radius / np.linalg.norm(eta))
    if isinstance(norm, LInf):
        eta = eta + norm.radius / 5 * g / np.abs(g).max()
        return eta * min(1, norm.radius / np.abs(eta).max())
    if isinstance(norm, LInfSign):
        return np.clip(eta + norm.radius / 5 * np.sign(g), -norm.radius, norm.radius)
    changed = set(chosen) if norm.tracked else set(np.flatnonzero(eta))
    if len(changed) < norm.pixels:
        changed.add(max((i for i in range(len(g)) if i not in changed), key=lambda i: abs(g[i])))
    chosen |= changed
    on = np.isin(np.arange(len(g)), list(changed))
    return eta + 0.3 * g / np.abs(g).max() * on


@EACH_NORM
@given(seed=st.integers(0, 10**6))
def test_against_a_plain_loop(norm, seed):
    """The same iterates as a loop over single samples, up to rounding at the kinks."""
    problem = make_problem(seed, dim=8, n=4, data="uniform")
    twin = pgd_twin(norm, problem, STEPS)
    q_twin = onehidden.margins(problem.net, twin, problem.y)
    result = run(norm, problem)
    assert result.margin == pytest.approx(q_twin, rel=1e-9, abs=1e-9)


def linear(weights):
    """A linear margin: its gradient is the same everywhere."""

    def margin(x, target):
        return target * (x @ weights), target[:, None] * weights[None]

    return margin


@given(seed=st.integers(0, 10**6))
def test_linear_margins_are_maximised(seed):
    """Without a range, the attack reaches the maximum of a linear function over the ball."""
    rng = np.random.default_rng(seed)
    w, x, y = rng.standard_normal(6), rng.standard_normal((3, 6)), np.asarray([1.0, -1.0, 1.0])
    duals = [
        (L2(0.7), 0.7 * np.linalg.norm(w)),
        (LInf(0.7), 0.7 * (w @ w) / np.abs(w).max()),  # along g, not along sgn g: weaker
        (LInfSign(0.7), 0.7 * np.abs(w).sum()),
    ]
    for norm, gain in duals:
        result = attack(linear(w), x, y, norm, steps=10)
        assert result.margin - result.margin_start == pytest.approx(gain, rel=1e-12)
        if isinstance(norm, LInfSign):  # the others may go on by a last digit
            assert result.steps.max() <= 6  # five steps to the faces, one to find nothing moves


def test_zero_gradients_are_counted_not_divided_by():
    """A sample with a zero gradient stays, is reported, and does not disturb its neighbours."""
    weights = np.asarray([1.0, 2.0])

    def margin(x, target):
        alive = (x[:, :1] > 0).astype(x.dtype)
        return x @ weights * alive[:, 0], weights * alive

    x = np.asarray([[-1.0, 5.0], [1.0, 5.0]])
    for norm in NORMS.values():
        result = attack(margin, x, np.ones(2), norm, steps=3)
        assert result.zero_gradient.tolist() == [True, False]
        assert result.steps[0] == 0
        assert np.array_equal(result.x[0], x[0])
        assert result.margin[1] > result.margin_start[1]


def test_the_released_l0_attack_stalls_and_the_tracked_one_does_not():
    """A pixel at the edge of the range that is pushed outwards is chosen again and again.

    As with MNIST's black background: the strongest gradient would make a black pixel blacker.
    """
    weights = np.asarray([-9.0, 4.0, 3.0, 2.0])
    x = np.asarray([[0.0, 0.2, 0.2, 0.2]])
    results = {}
    for tracked in (False, True):
        results[tracked] = attack(
            linear(weights), x, np.ones(1), L0(3, tracked), steps=3, low=0.0, high=1.0
        )
    assert np.array_equal(results[False].x, x)  # stalled on pixel 0
    assert np.flatnonzero(results[True].x != x).tolist() == [1, 2]
    assert results[True].margin > results[False].margin


@EACH_NORM
def test_best_iterate_is_kept(norm):
    """A margin that peaks on the way: the best iterate is returned, not the last one."""

    def margin(x, target):
        return -np.abs(x.sum(axis=1) - 0.1), np.ones_like(x)

    result = attack(margin, np.zeros((1, 4)), np.ones(1), norm, steps=3)
    seen = [attack(margin, np.zeros((1, 4)), np.ones(1), norm, steps=s).margin for s in range(4)]
    assert result.margin == max(np.concatenate(seen))
    assert result.margin == margin(result.x, None)[0]


def test_a_nan_names_step_and_sample(library):
    """On a device the step is not known: nobody has looked before the end."""

    def margin(x, target):
        q = x.sum(axis=1)
        return np.where(q > 0.9, np.nan, q), np.ones_like(x)

    x = np.asarray([[-9.0, 0.0], [0.2, 0.0]])
    when = "attack step 2" if library is np else "the start of the attack or one of its 5 steps"
    with pytest.raises(NonFiniteError, match=f"for sample 1 at {when}"):
        attack(margin, x, np.ones(2), LInf(1.0), steps=5, chunk=1)


@EACH_NORM
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_named(norm, bad, library):
    """With its sample, although the margins are finite, and with advice that fits an attack."""

    def margin(x, target):
        g = np.ones_like(x)
        g[x[:, 0] > 0.01, 1] = bad  # sample 2 after one step
        return np.minimum(x[:, 0], 9.0), g

    x = np.asarray([[-9.0, 0.0], [-8.0, 0.0], [0.0, 0.0]])
    when = "attack step 1" if library is np else "the start of the attack or one of its 5 steps"
    message = f"gradient: expected finite values, got nan for sample 2 at {when}; check the margin"
    message = message.replace("nan", str(bad)) if library is np else message
    with np.errstate(invalid="ignore"), pytest.raises(NonFiniteError, match=message):
        attack(margin, x, np.ones(3), norm, steps=5, chunk=2)
    attack(margin, x, np.ones(3), norm, steps=1)  # which needs none at its end


@pytest.mark.parametrize("gradient", [1.0, np.nan])
def test_a_margin_is_to_blame_for_its_gradient(gradient):
    """Where both are NaN, the margin is what went wrong, also where nobody looked in between."""

    def margin(x, target):
        bad = x > 0.9
        return np.where(bad, np.nan, x)[:, 0], np.where(bad, gradient, 1.0)

    with pytest.raises(NonFiniteError, match="margin: expected finite values, got nan"):
        attack(margin, np.asarray([[0.2]]), np.ones(1), LInf(1.0), steps=9)


@EACH_NORM
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_subnormal_gradient_is_zero(norm, dtype):
    """It has lost the digits of its direction; its sample stays, and the others do not notice."""
    least = np.finfo(dtype).smallest_normal
    x, weights = np.asarray([[-1, 0], [1, 0]], dtype), np.asarray([1, 0.5], dtype)

    def attacked(size):
        def margin(x, target):
            return x @ weights, np.where(x[:, :1] < 0, np.asarray(size, dtype), weights)

        return attack(margin, x, np.ones(2, dtype), norm, steps=4)

    zero, subnormal, normal = attacked(0), attacked(least / 2), attacked(least)
    for one, other in zip(subnormal, zero, strict=True):
        assert np.array_equal(one, other)
    assert subnormal.zero_gradient.tolist() == [True, False]
    assert np.array_equal(subnormal.x[0], x[0])
    assert not normal.zero_gradient.any()
    assert normal.margin[0] > normal.margin_start[0]  # the least that is a direction


@EACH_NORM
def test_a_resumed_attack_equals_an_undisturbed_one(norm):
    problem, monitor = make_problem(n=7), Interrupting(1)
    with pytest.raises(KeyboardInterrupt):
        run(norm, problem, chunk=2, bounded=False, monitor=monitor)
    assert len(monitor.state["margin"]) == 2
    resumed = run(norm, problem, chunk=2, bounded=False, monitor=monitor)
    for one, other in zip(resumed, run(norm, problem, chunk=2, bounded=False), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("norm", "options", "message"),
    [
        (L2(-1.0), {}, "radius: expected a finite number"),
        (LInf(float("nan")), {}, "radius: expected a finite number"),
        (L0(0), {}, "pixels: expected at least 1"),
        (L2(1.0), {"steps": -1}, "steps: expected at least 0"),
        (L2(1.0), {"steps": 2.0}, "steps: expected a whole number"),
        (L2(1.0), {"low": 2.0, "high": 1.0}, "expected low < high"),
        (L2(1.0), {"low": 0.5, "high": 1.0}, "values outside"),
        (L2(1.0), {"chunk": 0}, "chunk: expected at least 1"),
        (L2(1.0), {"target": np.ones(4)}, r"shape \(5,\)"),
        (L2(1.0), {"x": np.ones((5, 7), dtype=int)}, r"x\.astype.*images, x / 255 \* 2 - 1"),
        (L2(1.0), {"x": np.ones((5, 7), dtype="uint8")}, r"x\.astype.*images, x / 255 \* 2 - 1"),
        (L2(1.0), {"x": np.ones((5, 7), dtype=bool)}, r"astype\(numpy\.float32\)$"),
        ("l2", {}, "norm: expected L2, LInf, LInfSign or L0, got 'l2'"),
        (L2(1.0), {"margin": "f"}, "margin: expected a margin function or a model, got str"),
        (L2(1.0), {"x": np.full((5, 7), np.nan)}, "finite numbers"),
    ],
)
def test_bad_input_is_refused(problem, norm, options, message):
    given_ = {"x": problem.x, "target": problem.y, "norm": norm, "steps": 3} | options
    margin = given_.pop("margin", partial(onehidden.margin_gradient, problem.net))
    with pytest.raises(InputError, match=message):
        attack(margin, **given_)


@pytest.mark.numpy_only
@EACH_NORM
@given(bounded=st.booleans(), **sizes())
def test_the_devices_loop_is_the_hosts(norm, bounded, **size):
    """Frozen samples end where those that leave do, bitwise: one sample a chunk, the same sums."""
    problem = make_problem(data="uniform", **size)
    expected = run(norm, problem, bounded=bounded, chunk=1)
    with patch("reflfap.attacks.on_host", lambda xp: False):
        got = run(norm, problem, bounded=bounded, chunk=1)
    for one, other in zip(got, expected, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.numpy_only
def test_a_zero_gradient_freezes_on_a_device_too():
    """Scaling eta back into its ball once more moves it by a last digit, on which this margin looks
    with favour; but on the host a sample without a gradient has left by then."""
    x = np.zeros((5_000, 12))
    directions = np.random.default_rng(0).standard_normal(x.shape)

    def margin(x, target):
        lengths = row_norms(x)
        alive = lengths < 0.77
        q = np.where(alive, lengths - 9, -lengths)
        return q, directions * alive[:, None]

    expected = attack(margin, x, np.ones(5_000), L2(0.78), steps=9)
    with patch("reflfap.attacks.on_host", lambda xp: False):
        got = attack(margin, x, np.ones(5_000), L2(0.78), steps=9)
    assert expected.zero_gradient.all()
    for one, other in zip(got, expected, strict=True):
        assert np.array_equal(one, other)
