"""paper.py (T1) to (T5), (P1), (L1) to (L4): the theory is that of the quick code."""

from math import inf
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from paper_problems import (
    DTYPES,
    SEEDS,
    agree,
    exact_problems,
    orthogonal_problems,
    real_problems,
)

from reflfap import paper
from reflfap.attacks import L0, L2, LInf, LInfSign
from reflfap.errors import NoKKTPointError
from reflfap.theory import boundary, kkt, learning, perturbations, prediction
from reflfap.theory.orthogonality import orthogonality

PROBLEMS = real_problems() | exact_problems()


def solved(p):
    """The aligned KKT point of paper.py."""
    return paper.aligned_kkt_point(p.x, p.y, len(p.W), p.gamma)


def multipliers(seed, n, dtype):
    """Positive ones in quarters, so that exact problems stay exact."""
    return (np.random.default_rng(seed).integers(1, 9, n) / 4).astype(dtype)


def sums(*factors):
    """What rounding of sums over the product of these matrices' magnitudes may come to."""
    product = np.abs(factors[0]).astype(float)
    for factor in factors[1:]:
        product = product @ np.abs(factor)
    terms = 10 + sum(max(factor.shape) for factor in factors)
    return terms * np.finfo(factors[-1].dtype).eps * product


# --- Implicit bias --------------------------------------------------------------------------------


@given(p=PROBLEMS | orthogonal_problems(), rows=st.integers(1, 9))
def test_orthogonality(p, rows):
    """(T1): both sides of the condition, whatever the rows of K that are looked at together.

    Both take the largest of the same products; the bound has a few roundings more.
    """
    assume(np.all(np.any(p.x != 0, axis=1)))  # the quick code refuses a sample that is zero
    bound, p_max = map(float, paper.orthogonality(p.x, p.gamma))
    with patch("reflfap.theory.orthogonality.CHUNK_ROWS", rows):
        quick = orthogonality(p.x, p.gamma)
    agree(quick.p_max, p_max, sums(p.x, p.x.T).max())
    assert quick.bound == pytest.approx(bound, rel=2 * p.terms * p.eps)


@given(p=orthogonal_problems())
def test_aligned_kkt(p):
    """(T2): W and lam solve the same system. Its condition is below 10 / gamma on such samples.

    paper.py solves in the dtype of x, the quick code in float64.
    """
    W, lam = solved(p)
    quick = kkt.aligned_kkt(p.x, p.y, len(p.W), p.gamma)
    within = 20 * p.terms / p.gamma * p.eps
    agree(quick.lam, lam, within * lam.max())
    agree(quick.net.W, W, within * np.abs(W).max())
    agree(quick.q, p.y * paper.f(p.x, W, p.gamma), within)


@given(p=orthogonal_problems())
def test_nothing_is_violated_at_the_kkt_point(p):
    """(T2): all four violations vanish there, for paper.py's point and for the quick one."""
    bound, p_max = paper.orthogonality(p.x, p.gamma)
    assert bound >= p_max
    quick = kkt.aligned_kkt(p.x, p.y, len(p.W), p.gamma)
    for W, lam in (solved(p), (quick.net.W, quick.lam.astype(p.x.dtype))):
        violations = np.asarray(paper.kkt_violations(W, lam, p.x, p.y, p.gamma))
        assert violations.max() <= 100 * p.terms / p.gamma * p.eps
    _, residual = kkt.certificate(p._replace(W=W).net, p.x, p.y, lam.astype(float))
    assert residual <= 100 * p.terms / p.gamma * p.eps


@given(p=orthogonal_problems(), factor=st.floats(0.5, 2))
def test_violations(p, factor):
    """(T2): each violation is what it must be near the KKT point, and the certificate refuses it.

    W and lam times c: w_j is still that sum, but q = c. One lam alone: only that sum is wrong.
    """
    assume(abs(factor - 1) > 0.01)
    W, lam = solved(p)
    rounding = 100 * p.terms / p.gamma * p.eps

    def violated(W, lam):
        found = np.asarray(paper.kkt_violations(W, lam, p.x, p.y, p.gamma))
        with pytest.raises(NoKKTPointError) as caught:
            kkt.certificate(p._replace(W=W).net, p.x, p.y, lam.astype(float))
        return found, str(caught.value)

    c = np.asarray(factor, p.x.dtype)
    found, message = violated(c * W, c * lam)
    expected = (0, 1 - c, -c * lam.min(), c * lam.max() * abs(c - 1))
    agree(found, expected, rounding * lam.max())
    assert ("feasibility" if factor < 1 else "complementary slackness") in message
    for c in (factor, -1):
        changed = np.concatenate([c * lam[:1], lam[1:]]).astype(lam.dtype)
        found, message = violated(W, changed)
        off = abs(c - 1) * lam[0] * np.abs(p.x[0]).max() / np.sqrt(len(W))
        agree(found, (off, 0, -changed.min(), 0), rounding * lam.max())
        assert "stationarity" in message


@given(p=orthogonal_problems())
def test_multiplier_bounds(p):
    """(T3): the same bounds, and the multipliers of (T2) are between them."""
    low, high = paper.multiplier_bounds(p.x, p.gamma)
    assert kkt.multiplier_bounds(p.x, p.gamma) == pytest.approx((low, high), rel=p.terms * p.eps)
    _, lam = solved(p)
    assert np.all((low < lam) & (lam < high))


@given(p=PROBLEMS, seed=SEEDS)
def test_boundary(p, seed):
    """(T4), (T5): f_bdy(z) = <b, z>, and its normal."""
    lam, z = multipliers(seed, len(p.x), p.x.dtype), p.x[::-1] / 2
    b = boundary.normal(p.x, p.y, lam)
    agree(b, paper.boundary_normal(lam, p.x, p.y), sums(lam, p.x))
    agree(boundary.boundary_function(b, z), paper.f_bdy(z, lam, p.x, p.y), sums(lam, p.x, z.T))


@given(p=exact_problems(), seed=SEEDS)
def test_boundary_exactly(p, seed):
    """(T4), (T5): the same numbers where nothing is rounded, and so the same signs, 0 among them.

    sign_agreement counts them for networks that are no KKT points, where some differ.
    """
    lam, z = multipliers(seed, len(p.x), p.x.dtype), p.x[::-1] / 2
    b, f_bdy = paper.boundary_normal(lam, p.x, p.y), paper.f_bdy(z, lam, p.x, p.y)
    agree(boundary.normal(p.x, p.y, lam), b)
    agree(boundary.boundary_function(b, z), f_bdy)
    same = np.sign(paper.f(z, p.W, p.gamma)) == np.sign(f_bdy)
    assert boundary.sign_agreement(p.net, b, z) == pytest.approx(same.mean())


@given(p=orthogonal_problems(dtype=st.just("float64")), seed=SEEDS)
def test_boundary_of_the_kkt_point(p, seed):
    """(T4): at the KKT point sgn f(z) = sgn f_bdy(z) at any z but those within rounding of it."""
    W, lam = solved(p)
    z = np.random.default_rng(seed).standard_normal((50, p.x.shape[1]))
    f_bdy = paper.f_bdy(z, lam, p.x, p.y)
    z = z[np.abs(f_bdy) > 1e-9]
    assert np.all(np.sign(paper.f(z, W, p.gamma)) == np.sign(paper.f_bdy(z, lam, p.x, p.y)))
    b = boundary.normal(p.x, p.y, lam)
    assert boundary.sign_agreement(p._replace(W=W).net, b, z) == 1


# --- Perturbations --------------------------------------------------------------------------------


@given(
    seed=SEEDS,
    d=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    tied=st.booleans(),
    size=st.floats(0.01, 3),
    share=st.floats(0, 1),
)
def test_geometry_inspired(seed, d, dtype, tied, size, share):
    """(P1): eta_n in all norms; with many equal |b_i| and zeros the same entries are chosen.

    In L2 the factors come in another order.
    """
    rng = np.random.default_rng(seed)
    b = (rng.integers(-2, 3, d) if tied else rng.standard_normal(d)).astype(dtype)
    assume(np.any(b != 0))
    y, pixels = rng.choice([-1.0, 1.0], 5).astype(dtype), 1 + int(share * (d - 1))
    for norm, name in ((L2(size), "l2"), (LInf(size), "linf"), (LInfSign(size), "linf")):
        eta = perturbations.perturbations(perturbations.direction(norm, b), y)
        expected = paper.geometry_inspired(b, y, name, size)
        assert eta.dtype == expected.dtype == dtype
        agree(eta, expected, 4 * np.finfo(dtype).eps * np.abs(expected) * (name == "l2"))
    eta = perturbations.perturbations(perturbations.direction(L0(pixels), b, size), y)
    expected = paper.geometry_inspired(b, y, "l0", size, pixels)
    agree(eta, expected)
    # and they are the best: no other entries have larger |b_i|
    largest = np.sort(np.abs(b.astype(float)))[::-1][:pixels]
    assert expected[0] @ b * y[0] == pytest.approx(size * largest.sum(), rel=1e-5)


# --- Learning from perturbations ------------------------------------------------------------------


@given(p=PROBLEMS, seed=SEEDS)
def test_effects(p, seed):
    """(L1): both effects, and their sum is the boundary of the perturbed samples."""
    lam, z = multipliers(seed, len(p.x), p.x.dtype), p.x[::-1] / 2
    eta = p.x[::-1] * np.asarray(0.5, p.x.dtype) + np.asarray(0.25, p.x.dtype)
    quick = learning.effects(p.x, eta, p.y, lam, z)
    expected = paper.effects(z, lam, p.x, eta, p.y)
    agree(quick.samples, expected[0], sums(lam, p.x, z.T))
    agree(quick.perturbations, expected[1], sums(lam, eta, z.T))
    total = paper.f_bdy(z, lam, p.x + eta, p.y)
    agree(quick.total, total, sums(lam, p.x, z.T) + sums(lam, eta, z.T))


@given(p=PROBLEMS, seed=SEEDS, size=st.floats(0.01, 3), share=st.floats(0, 1))
def test_perturbation_effect(p, seed, size, share):
    """(L2): Lam <v, z> in all norms, ties among |b_i| included; it is the second effect of (P1)."""
    lam, z = multipliers(seed, len(p.x), p.x.dtype), p.x[::-1] / 2
    b = paper.boundary_normal(lam, p.x, p.y)
    assume(np.any(np.abs(b) > 1e-3))
    pixels = 1 + int(share * (len(b) - 1))
    for norm, name in ((L2(size), "l2"), (LInf(size), "linf"), (L0(pixels), "l0")):
        v = perturbations.direction(norm, b, size)
        total = float(lam.sum())
        quick = learning.perturbation_effect(v, total, z)
        within = sums(np.asarray([total], p.x.dtype)[:, None], v[None], z.T)[0]
        agree(quick, paper.perturbation_effect(z, lam, b, name, size, pixels), within)
        eta = paper.geometry_inspired(b, p.y, name, size, pixels)
        _, second = paper.effects(z, lam, p.x, eta, p.y)
        agree(quick, second, 2 * within)


@given(seed=SEEDS, dtype=st.sampled_from(DTYPES), n=st.integers(1, 30))
def test_perturbations_decide(seed, dtype, n):
    """(L3): the same points, where effects are zero or equally large too."""
    parts = np.random.default_rng(seed).integers(-2, 3, (3, n)).astype(dtype)
    quick = learning.aligned(learning.Effects(*parts[:2]), parts[2])
    expected = paper.perturbations_decide(*parts)
    assert quick.dtype == expected.dtype == bool
    assert np.array_equal(quick, expected)


SIZES = {
    "d": st.integers(1, 20_000),
    "n": st.integers(1, 10_000),
    "n_adv": st.integers(1, 10_000),
    "variance": st.floats(0.01, 4),
}


@given(eps=st.floats(0, 3), **SIZES)
def test_predicted_accuracy(d, n, n_adv, eps, variance):
    """(L4): L2 and both variants of Linf. The quantile loses digits where it is asked near 1.

    1 - 0.5^(1/d) is about 1/d, so that of 16 digits 11 are left at d = 20,000.
    """
    sizes = (d, n, n_adv, eps, variance)
    quick = {
        "l2": prediction.accuracy_l2(*sizes),
        "linf": prediction.accuracy_linf(*sizes, "rescale"),
        "linf-sign": prediction.accuracy_linf(*sizes, "sign"),
    }
    for norm, accuracy in quick.items():
        assert accuracy == pytest.approx(paper.predicted_accuracy(norm, *sizes), abs=1e-9)


@given(pixels=st.integers(1, 200), bounded=st.booleans(), **SIZES)
def test_predicted_accuracy_in_l0(d, n, n_adv, variance, pixels, bounded):
    """(L4): L0, on data that end at +-1 and on data that do not; up to d_delta = d."""
    pixels, edge = min(pixels, d), 1 if bounded else inf
    quick = prediction.accuracy_l0(d, n, n_adv, pixels, variance, bounded)
    expected = paper.predicted_accuracy("l0", d, n, n_adv, pixels, variance, edge)
    assert quick == pytest.approx(expected, abs=1e-9)
