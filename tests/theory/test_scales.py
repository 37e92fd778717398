"""Data, weights and sizes of any scale: the same theory where its numbers exist, else an error that
says what to do.

Scales are powers of two, which round nothing, so that what is scaled agrees to rounding.
"""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kkt import nearly_orthogonal

from reflfap import onehidden
from reflfap.attacks import L0, L2, LInf, LInfSign
from reflfap.errors import InputError, NonFiniteError
from reflfap.theory.boundary import boundary_function, normal, sign_agreement
from reflfap.theory.kkt import (
    aligned_kkt,
    effective_multipliers,
    multiplier_bounds,
    non_negative_solution,
    recover_multipliers,
)
from reflfap.theory.learning import effects, flipped_threshold, perturbation_effect
from reflfap.theory.orthogonality import largest_number, orthogonality, smallest_dimension
from reflfap.theory.perturbations import direction
from reflfap.theory.prediction import (
    accuracy_l0,
    accuracy_l2,
    accuracy_linf,
    accuracy_of_random_targets,
)

pytestmark = pytest.mark.usefixtures("library")

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
FARTHEST = {"float32": 100, "float64": 1000}  # powers of two, with room for a few digits
SQUARES = {"float32": 1e14, "float64": 1e70}
SEEDS = st.integers(0, 10**6)


def draw(seed, *shape, dtype="float64"):
    """Numbers of both signs, some a thousandth of others."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * rng.choice([0.001, 1], shape)).astype(dtype)


def labels(n, dtype="float64"):
    return np.where(np.arange(n) % 2, -1.0, 1.0).astype(dtype)


@DTYPES
@given(seed=SEEDS, power=st.integers(-1, 1), d=st.integers(1, 9))
def test_the_length_of_a_normal_says_nothing(dtype, seed, power, d):
    """(P1) is the direction of b, of which squares may over- or underflow."""
    b, c = draw(seed, d, dtype=dtype), 2.0 ** (power * FARTHEST[dtype])
    v = direction(L2(0.7), b)
    assert v.dtype == dtype
    assert math.sqrt(np.sum(v.astype(float) ** 2)) == pytest.approx(0.7, rel=1e-6)
    assert direction(L2(0.7), np.asarray(c, dtype) * b) == pytest.approx(v, rel=1e-6, abs=1e-30)


@DTYPES
@given(seed=SEEDS, powers=st.tuples(st.integers(-1, 1), st.integers(-1, 1)))
def test_the_threshold_scales(dtype, seed, powers):
    """(L2): ||b||/sum lam, of b and lam at the ends of their dtype; one that no float holds, or
    where the multipliers cancel or vanish, is refused."""
    (c, k) = (2.0 ** (0.5 * power * FARTHEST[dtype]) for power in powers)
    b, lam = draw(seed, 5, dtype=dtype), np.abs(draw(seed + 1, 3, dtype=dtype))
    expected = math.sqrt(np.sum(b.astype(float) ** 2)) / np.sum(lam, dtype=float)
    scaled = [np.asarray(one, dtype) * part for one, part in ((c, b), (k, lam))]
    assert flipped_threshold(*scaled) == pytest.approx(c / k * expected, rel=1e-6)
    assert flipped_threshold(0 * b, lam) == 0
    for bad in (0 * lam, -lam):
        with pytest.raises(InputError, match=r"threshold: expected a finite .* with the sum -?\d"):
            flipped_threshold(b, bad)
    with pytest.raises(InputError, match="threshold: expected a finite"):
        flipped_threshold(np.full(2, 1e308), np.full(2, 1e-300))


def test_huge_multipliers_of_single_precision_add_up():
    """Their sum may exceed float32, not the threshold."""
    lam = np.full(4, 3e38, "float32")
    assert flipped_threshold(lam, lam) == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("norm", [L2(1e39), LInf(1e39), LInfSign(1e39), L0(2)])
def test_sizes_beyond_the_dtype_are_refused(norm):
    b = draw(0, 5, dtype="float32")
    name = "epsilon" if isinstance(norm, L0) else "radius"
    with pytest.raises(InputError, match=rf"{name}: expected a finite number in .*got 1e\+39"):
        direction(norm, b, 1e39)
    assert np.isfinite(direction(norm, b.astype(float), 1e39)).all()


# What exceeds its dtype


@pytest.mark.parametrize("name", ["b", "f_bdy(z)", "f(z)", "effects", "second effect", "lam"])
@DTYPES
def test_overflow_is_an_error(dtype, name):
    """Each says what it was that overflowed, and is there where a factor is smaller."""
    most, ones = np.finfo(dtype).max, np.ones((4, 6), dtype)
    x, y, lam = most / 2 * ones, ones[:, 0], 8 * ones[:, 0]
    net = onehidden.network(np.full((4, 6), 8, dtype), 0.5)
    functions = {
        "b": lambda x: normal(x, y, lam),
        "f_bdy(z)": lambda x: boundary_function(x[0, :], 8 * ones),
        "f(z)": lambda x: sign_agreement(net, ones[0, :], x),
        "effects": lambda x: effects(x, x, y, lam, ones),
        "second effect": lambda x: perturbation_effect(x[0, :], 8.0, ones),
        "lam": lambda x: effective_multipliers(net, np.sign(net.a)[:, None] * x, ones[0, :]),
    }
    message = f"^{re.escape(name)}: expected what .*{dtype} can hold, got infinity or NaN; .* down"
    with pytest.raises(NonFiniteError, match=message):
        functions[name](x)
    assert np.isfinite(functions[name](x / 1024)).all()


@DTYPES
def test_a_total_that_overflows_is_an_error(dtype):
    """Both parts exist, their sum does not."""
    x = np.full((1, 1), 0.7 * np.finfo(dtype).max, dtype)
    one = np.ones(1, dtype)
    with pytest.raises(NonFiniteError, match="effects"):
        effects(x, x, one, one, one[:, None])
    assert effects(x, -x, one, one, one[:, None]).total == 0


# Squares


@pytest.mark.parametrize("name", ["orthogonality", "multiplier_bounds"])
@pytest.mark.parametrize("sign", [1, -1])
@DTYPES
@given(seed=SEEDS)
def test_squares_at_the_ends(dtype, sign, name, seed):
    """(T1), (T3): within the limits nothing is lost; beyond, a single sample is refused."""
    function, powers = {
        "orthogonality": (orthogonality, [1, 1, 2, 2]),
        "multiplier_bounds": (multiplier_bounds, [-2, -2]),
    }[name]
    x = draw(seed, 3, 4, dtype=dtype)
    x[:, 0] = 1.0
    c = np.asarray(2.0 ** (sign * round(math.log2(SQUARES[dtype] / 8))), dtype)
    got, expected = (np.asarray(function(one, 0.5)) for one in (c * x, x))
    assert got == pytest.approx(float(c) ** np.asarray(powers) * expected, rel=1e-5)
    x[1] *= c * np.asarray(64.0**sign, dtype)
    with pytest.raises(InputError, match=r"x: expected largest magnitudes from .*; scale it"):
        function(x, 0.5)
    x[1] = 0
    with pytest.raises(InputError, match=r"got 0 to .*; zero has no direction: remove it"):
        function(x, 0.5)


@pytest.mark.parametrize("ends", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@DTYPES
@given(seed=SEEDS)
def test_multipliers_are_recovered_at_the_ends(dtype, ends, seed):
    """(T2) backwards: samples times c, weights times k: lam times k/c, the residual as it was."""
    x, y = (part.astype(dtype) for part in nearly_orthogonal(seed, 3))
    net = onehidden.network(draw(seed, 4, 40, dtype=dtype), 0.5)
    expected = recover_multipliers(net, x, y)
    most = round(math.log2(SQUARES[dtype] / 8))
    c, k = (np.asarray(2.0 ** (sign * most), dtype) for sign in ends)
    got = recover_multipliers(net._replace(W=k * net.W), c * x, y)
    ratio = float(k) / float(c)
    assert got.lam == pytest.approx(ratio * expected.lam, rel=1e-4, abs=1e-4 * ratio)
    assert got.residual == pytest.approx(expected.residual, rel=1e-4)
    for factor, got in ((64.0, ""), (0.0, "got 0; zero")):
        factor = np.asarray(factor, dtype) * np.asarray(2.0**most, dtype)
        with pytest.raises(InputError, match=f"x: expected largest magnitudes .*{got}"):
            recover_multipliers(net, factor * x, y)
        with pytest.raises(InputError, match=f"W: expected largest magnitudes .*{got}"):
            recover_multipliers(net._replace(W=factor * net.W), x, y)


def test_units_that_are_off_recover_nothing():
    """All slopes gamma, whose square underflows: no sample moves a margin."""
    x = np.abs(draw(0, 3, 5)) + 0.1
    net = onehidden.network(-np.ones((4, 5)), 1e-300)
    with pytest.raises(
        InputError,
        match=r"network: expected units that are on at some sample, got a largest H_nk of 0; use",
    ):
        recover_multipliers(net, x, labels(3))
    assert recover_multipliers(net._replace(slope=1e-3), x, labels(3)).residual <= 1


def test_solutions_that_overflow_are_refused():
    """(T2): samples too large for the products, and multipliers too large for a float."""
    x, y = nearly_orthogonal(0, 3)
    with pytest.raises(InputError, match="x: expected largest magnitudes from 1e-70 to 1e"):
        aligned_kkt(1e155 * x, y, 4, 0.5)
    with (
        np.errstate(all="ignore"),
        pytest.raises(NonFiniteError, match=r"lam: .*; scale the samples"),
    ):
        non_negative_solution(1e-310 * np.eye(3))


# Sizes


@pytest.mark.parametrize("slope", [1e-300, 1e-41, 0.0, 1.0])
def test_slopes_without_finite_bounds_are_refused(slope):
    """(T1), (T3): dimensions and bounds have no limit at gamma = 0."""
    message = r"slope: expected a finite number in \[1e-40, 1\)"
    with pytest.raises(InputError, match=message):
        multiplier_bounds(np.eye(2), slope)
    with pytest.raises(InputError, match=message):
        smallest_dimension(2, slope)
    with pytest.raises(InputError, match=message):
        largest_number(2, slope)


def test_the_extremes_that_are_accepted_are_finite():
    """The largest counts with the smallest slope, the smallest samples with it."""
    assert 1e290 < smallest_dimension(10**30, 1e-40) < math.inf
    n = largest_number(10**30, 0.99)
    assert smallest_dimension(n, 0.99) <= 1e30 < smallest_dimension(n + 1, 0.99)
    assert largest_number(10**30, 1e-40) == 1
    assert multiplier_bounds(np.full((1, 1), 1e-70), 1e-40)[1] == pytest.approx(1.5e220)
    assert orthogonality(1e-70 * np.eye(2), 1e-300).bound == 0
    for count in (10**31, 10**400):
        with pytest.raises(InputError, match="n: expected at most 1000"):
            smallest_dimension(count, 0.5)
        with pytest.raises(InputError, match="dim: expected at most 1000"):
            largest_number(count, 0.5)


@given(
    counts=st.tuples(*[st.sampled_from([1, 2, 10**9, 10**18])] * 3),
    epsilon=st.sampled_from([0.0, 1e-310, 1e-100, 1.0, 1e100]),
    variance=st.sampled_from([1e-100, 1.0, 1e100]),
)
def test_predictions_of_extremes_are_probabilities(counts, epsilon, variance):
    """(L4): between chance and one, whatever is accepted."""
    dim, n, n_adv = counts
    found = [
        accuracy_l2(dim, n, n_adv, epsilon, variance),
        accuracy_linf(dim, n, n_adv, epsilon, variance),
        accuracy_linf(dim, n, n_adv, epsilon, variance, "sign"),
        accuracy_l0(dim, n, n_adv, 5, variance, True),
        accuracy_of_random_targets(dim, n, epsilon, variance),
    ]
    assert all(0.5 - 1e-12 <= one <= 1 for one in found)


@pytest.mark.parametrize(
    ("epsilon", "variance", "name"),
    [(1e160, 1.0, "epsilon"), (1.0, 1e-310, "variance"), (1.0, 1e160, "variance")],
)
def test_predictions_beyond_are_refused(epsilon, variance, name):
    """By the name of what is too large or too small."""
    for function in (accuracy_l2, accuracy_linf):
        with pytest.raises(InputError, match=f"{name}: expected a finite number in"):
            function(100, 10, 10, epsilon, variance)
    with pytest.raises(InputError, match=f"{name}: expected a finite number in"):
        accuracy_of_random_targets(100, 10, epsilon, variance)


def test_predictions_of_too_many_are_refused():
    """Counts whose root no float holds, and more pixels than there is memory for."""
    with pytest.raises(InputError, match="n_adv: expected at most"):
        accuracy_l2(100, 10, 10**400, 1.0, 1.0)
    with pytest.raises(InputError, match=r"pixels.*: expected at most 10000000"):
        accuracy_l0(10**18, 10, 10, 10**18, 1.0, True)
