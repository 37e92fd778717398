"""Attacks (P2) with bounds for each feature, a random start, and steps of another length."""

from functools import partial

import numpy as np
import pytest
from gradients import EACH_NORM
from problems import make_problem

from reflfap import norms, onehidden
from reflfap.attacks import L0, L2, LInf, LInfSign, attack
from reflfap.errors import InputError
from reflfap.fast.quick_attack import attack_network
from reflfap.norms import norm_named, random_perturbations

pytestmark = pytest.mark.usefixtures("library")

BALLS = (L2(0.5), LInf(0.2), LInfSign(0.2))


def made(seed=0, dtype="float64"):
    """A problem, and limits for each feature that hold all of its samples, some of them closely."""
    problem = make_problem(seed, data="uniform", dtype=dtype)
    rng = np.random.default_rng(seed)
    room = rng.choice([0.0, 0.01, 0.3], (2, problem.x.shape[1])).astype(dtype)
    return problem, problem.x.min(axis=0) - room[0], problem.x.max(axis=0) + room[1]


def margin_of(problem):
    return partial(onehidden.margin_gradient, problem.net)


@EACH_NORM
def test_limits_for_each_feature_hold(norm):
    """No feature leaves its own limits; some reach them; equal limits are those of numbers."""
    for seed in range(5):
        problem, low, high = made(seed)
        some = margin_of(problem), problem.x, problem.y, norm
        x = attack(*some, steps=12, low=low, high=high).x
        assert np.all((low <= x) & (x <= high))
        assert np.any((x == low) | (x == high))
        ones = np.ones_like(low)
        same = attack(*some, steps=12, low=-ones, high=ones).x
        assert np.array_equal(same, attack(*some, steps=12, low=-1.0, high=1.0).x)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (np.zeros(3), 1.0, r"low: expected a number, or float64 of shape \(7,\)"),
        (-1.0, np.ones(7, np.float32), "high: expected a number, or float64"),
        (np.full(7, np.nan), 1.0, "low, high: expected low < high"),
        (np.zeros(7), np.ones(7), "x: expected values in"),
    ],
)
def test_bad_limits_are_refused(low, high, message):
    problem, _, _ = made()
    with pytest.raises(InputError, match=message):
        attack(margin_of(problem), problem.x, problem.y, L2(1.0), steps=1, low=low, high=high)


@pytest.mark.parametrize("norm", BALLS, ids=lambda one: type(one).__name__)
def test_a_start_is_within_the_ball_and_counts(norm):
    """With no step the start itself is judged: the better of x and x + start is kept. The samples
    stay within ball and limits, whatever the number of steps."""
    problem, low, high = made(1)
    start = random_perturbations(norm, *problem.x.shape, np.random.default_rng(3))
    some = margin_of(problem), problem.x, problem.y, norm
    none = attack(*some, steps=0, low=low, high=high, start=start)
    begun = np.clip(problem.x + start, low, high)
    q = onehidden.margins(problem.net, begun, problem.y)
    better = q > none.margin_start
    assert better.any()
    assert not better.all()
    assert np.array_equal(none.x, np.where(better[:, None], begun, problem.x))
    assert np.all(none.steps == 0)
    order = 2 if isinstance(norm, L2) else np.inf
    for steps in (1, 7):
        found = attack(*some, steps=steps, low=low, high=high, start=start)
        sizes = np.linalg.norm(found.x - problem.x, order, axis=1)
        assert sizes.max() <= norm.radius * (1 + 1e-12)
        assert np.all(found.margin >= none.margin - 1e-12)
        quick = attack_network(
            problem.net, problem.x, problem.y, norm, steps=steps, low=low, high=high, start=start
        )
        assert quick.x == pytest.approx(found.x, abs=1e-10)
        parts = attack(*some, steps=steps, low=low, high=high, start=start, chunk=2)
        assert parts.x == pytest.approx(found.x, abs=1e-12)


def test_a_start_of_another_kind_is_refused():
    problem, _, _ = made()
    some = margin_of(problem), problem.x, problem.y, L2(1.0)
    with pytest.raises(InputError, match=r"start: expected float64 \(5, 7\) as x"):
        attack(*some, steps=1, start=np.zeros((5, 6)))


@pytest.mark.numpy_only
def test_random_perturbations_fill_the_ball():
    """In L2 the share within half the radius is 2^-d; in Linf entries are uniform; L0 has none."""
    rng, dim, n = np.random.default_rng(0), 3, 20_000
    sizes = np.linalg.norm(random_perturbations(L2(2.0), n, dim, rng), axis=1)
    assert sizes.max() <= 2.0
    assert np.mean(sizes < 1.0) == pytest.approx(2**-dim, abs=4 * np.sqrt(0.125 * 0.875 / n))
    entries = random_perturbations(LInf(2.0), n, dim, rng)
    assert np.abs(entries).max() <= 2.0
    assert np.mean(entries < 1.0) == pytest.approx(0.75, abs=4 * np.sqrt(0.1875 / (n * dim)))
    with pytest.raises(InputError, match="random_start: expected a norm with a ball"):
        random_perturbations(L0(3), n, dim, rng)


@pytest.mark.parametrize("norm", [*BALLS, L0(3)], ids=lambda one: type(one).__name__)
def test_the_length_of_a_step(norm):
    """One step from x is `stride` long, of L0 in its largest entry; by default the released one."""
    problem, _, _ = made(2)
    some = margin_of(problem), problem.x, problem.y
    order = 2 if isinstance(norm, L2) else np.inf
    usual = 0.3 if isinstance(norm, L0) else norm.radius / 5
    for stride in (None, 0.05, usual):
        how = norm if stride is None else norm._replace(stride=stride)
        move = norms.row_peaks if order == np.inf else norms.row_norms
        point = margin_of(problem)(problem.x, problem.y)[1]
        step = how.step(np.zeros_like(point), point / norms.row_peaks(point)[:, None], None)
        expected = usual if stride is None else stride
        assert move(step.eta) == pytest.approx(np.full(len(point), expected), rel=1e-12)
    with pytest.raises(InputError, match="stride: expected a finite number"):
        attack(*some, norm._replace(stride=0.0), steps=1)


@pytest.mark.numpy_only
def test_norms_by_name():
    """Names, variants and sizes give the norms; others are refused."""
    assert norm_named("l2", 0.5) == L2(0.5)
    assert norm_named("linf", 0.5) == LInf(0.5)
    assert norm_named("linf", 0.5, "sign", 0.1) == LInfSign(0.5, 0.1)
    assert norm_named("l0", 5) == L0(5)
    assert norm_named("l0", 5, "tracked", 0.2) == L0(5, True, 0.2)
    for bad in (("l3", 1.0), ("l2", 1.0, "sign"), ("l0", 1.5)):
        with pytest.raises(InputError):
            norm_named(*bad)


@pytest.mark.parametrize(
    "margin",
    [
        lambda x, target: (x, x),
        lambda x, target: (target, x[:, :1]),
        lambda x, target: target,
        lambda x, target: [target, x],
        lambda x, target: (1.0, 2.0),
    ],
)
def test_a_margin_function_of_other_shapes_is_refused(margin):
    problem, _, _ = made()
    with pytest.raises(InputError, match=r"margin: expected margins \(5,\) and gradients \(5, 7\)"):
        attack(margin, problem.x, problem.y, L2(1.0), steps=1)
