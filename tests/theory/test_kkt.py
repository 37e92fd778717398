"""The direct KKT solution (T2): closed form, an independent optimiser, gradient flow, failures."""

import array_api_strict
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from reflfap import losses, onehidden
from reflfap.backend import namespace, to_host
from reflfap.errors import InputError, NoKKTPointError
from reflfap.theory.kkt import (
    aligned_kkt,
    certificate,
    effective_multipliers,
    multiplier_bounds,
    non_negative_solution,
)
from reflfap.theory.orthogonality import orthogonality
from reflfap.training.flow import flow

pytestmark = pytest.mark.usefixtures("library")

SIZES = {"seed": st.integers(0, 10**6), "n": st.integers(1, 6), "slope": st.floats(0.05, 0.95)}


def nearly_orthogonal(seed, n, dim=40, noise=0.01):
    rng = np.random.default_rng(seed)
    x = np.linalg.qr(rng.standard_normal((dim, n)))[0].T * rng.uniform(1, 2, (n, 1))
    return x + noise * rng.standard_normal((n, dim)) / np.sqrt(dim), rng.choice([-1.0, 1.0], n)


@given(**SIZES)
def test_orthogonal_data(seed, n, slope):
    """Orthogonal samples: lam_n = 2 / ((1 + gamma^2) ||x_n||^2), whatever the labels."""
    x, y = nearly_orthogonal(seed, n, noise=0.0)
    point = aligned_kkt(x, y, 4, slope)
    assert point.lam == pytest.approx(2 / ((1 + slope**2) * (x * x).sum(axis=1)), rel=1e-9)
    assert point.q == pytest.approx(1.0)


@given(**SIZES)
def test_the_certificate_holds(seed, n, slope):
    """Stationarity, feasibility and slackness on the network itself; rank at most two."""
    x, y = nearly_orthogonal(seed, n)
    point = aligned_kkt(x, y, 6, slope)
    assert point.residual < 1e-9
    assert point.lam.min() > 0
    assert np.linalg.matrix_rank(point.net.W) <= 2
    assert onehidden.margins(point.net, x, y) == pytest.approx(1.0)


@given(seed=st.integers(0, 10**6), half=st.integers(1, 5), slope=st.floats(0.05, 0.95))
def test_where_flipped_labels_lose_alignment(seed, half, slope):
    """Orthonormal samples with balanced labels, perturbed along b with labels flipped, f times the
    threshold 1/sqrt(N): no aligned point within 1 +- sqrt((1 - gamma)/(1 + gamma)), one without."""
    y = np.repeat([1.0, -1.0], half)
    x = np.linalg.qr(np.random.default_rng(seed).standard_normal((2 * half, 2 * half)))[0]
    edge = np.sqrt((1 - slope) / (1 + slope))
    for f in (1 - 1.01 * edge, 1 + 1.01 * edge):
        aligned_kkt(_flipped(x, y, f), -y, 4, slope)
    for f in (1 - 0.99 * edge, 1 - 0.5 * edge, 1.001, 1 + 0.99 * edge):
        with pytest.raises(NoKKTPointError):
            aligned_kkt(_flipped(x, y, f), -y, 4, slope)


@given(positive=st.sampled_from([1, 2, 3, 5, 6, 7]), slope=st.floats(0.05, 0.9))
def test_unbalanced_labels_lose_it_earlier(positive, slope):
    """Just outside the interval of balanced labels there is no aligned point either."""
    y = np.where(np.arange(8) < positive, 1.0, -1.0)
    edge = np.sqrt((1 - slope) / (1 + slope))
    for f in (1 - 1.001 * edge, 1 + 1.001 * edge):
        with pytest.raises(NoKKTPointError):
            aligned_kkt(_flipped(np.eye(8), y, f), -y, 4, slope)


@pytest.mark.parametrize("f", [0.5, 0.99, 1.01, 1.5])
def test_one_class_loses_it_at_the_threshold_alone(f):
    """All labels equal: an aligned point for every f but 1, where the samples' sum is zero."""
    y = np.ones(8)
    aligned_kkt(_flipped(np.eye(8), y, f), -y, 4, 0.5)
    with pytest.raises(NoKKTPointError):
        aligned_kkt(_flipped(np.eye(8), y, 1.0), -y, 4, 0.5)


def _flipped(x, y, f):
    """x - y_n eps b/||b||, with eps f times the threshold ||b||/sum(lam) and equal multipliers."""
    v = y @ x / np.linalg.norm(y @ x)
    return x - y[:, None] * (f / np.sqrt(len(y))) * v


@given(seed=st.integers(0, 10**6))
@settings(max_examples=5)
def test_against_slsqp(seed):
    """scipy's SLSQP, with W as the variables, finds the same least norm on a tiny instance."""
    x, y = nearly_orthogonal(seed, n=3, dim=4)
    point = aligned_kkt(x, y, 2, 0.5)

    def margins(flat):
        return onehidden.margins(point.net._replace(W=flat.reshape(2, 4)), x, y) - 1

    start = 1.3 * point.net.W.ravel() + 0.02 * np.random.default_rng(seed).standard_normal(8)
    done = minimize(
        lambda w: w @ w / 2,
        start,
        jac=lambda w: w,
        constraints={"type": "ineq", "fun": margins},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert done.x == pytest.approx(point.net.W.ravel(), abs=1e-5)


@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
def test_flow_converges_to_it(loss):
    """The direction of W along the flow tends to that of the KKT point (T2), as 1/log t."""
    x, y = nearly_orthogonal(3, n=5)
    point = aligned_kkt(x, y, 4, 0.5)
    a = onehidden.output_weights(4)
    W0 = np.outer(a, y @ x) + 0.01 * np.random.default_rng(0).standard_normal((4, 40))
    distances = []
    for time in (1e2, 1e4, 1e8):
        W = flow(onehidden.network(W0, 0.5), x, y, loss, time=time, tolerance=0.01).net.W
        unit = [part / np.linalg.norm(part) for part in (W, point.net.W)]
        distances.append(np.linalg.norm(unit[0] - unit[1]))
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.06


def test_inactive_constraints_are_found():
    """A sample that the others already classify with room: lam = 0 there, and margin above one."""
    x = np.asarray([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0, 0.1, 1.0]])
    y = np.asarray([1.0, -1.0, 1.0])
    point = aligned_kkt(x, y, 2, 0.9)
    assert point.lam[2] == 0
    assert point.q[2] > 1
    assert point.lam[:2].min() > 0
    assert point.residual < 1e-9


def test_rows_are_signed_in_blocks(monkeypatch):
    """More samples than rows at a time: the same point."""
    x, y = nearly_orthogonal(1, 6)
    whole = aligned_kkt(x, y, 4, 0.5)
    monkeypatch.setattr("reflfap.theory.kkt.ROWS", 4)
    assert np.array_equal(aligned_kkt(x, y, 4, 0.5).net.W, whole.net.W)


@pytest.mark.numpy_only
@given(seed=st.integers(0, 10**6), n=st.integers(1, 8), slope=st.floats(0.3, 0.95))
def test_the_arrays_own_library_solves(seed, n, slope):
    """The same point, inactive constraints included, or the same refusal; arrays stay there."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 5)), rng.choice([-1.0, 1.0], n)
    there = [array_api_strict.asarray(part) for part in (x, y)]
    try:
        expected = aligned_kkt(x, y, 4, slope)
    except NoKKTPointError as error:
        with pytest.raises(NoKKTPointError, match=str(error)[:40]):
            aligned_kkt(*there, 4, slope)
        return
    point = aligned_kkt(*there, 4, slope)
    assert namespace(point.net.W) is array_api_strict
    assert to_host(point.net.W) == pytest.approx(expected.net.W, abs=1e-9)
    assert point.lam == pytest.approx(expected.lam, abs=1e-9)
    assert point.q == pytest.approx(expected.q)


def test_failures_are_named():
    """Singular systems, patterns that are not aligned, and networks that are no KKT point."""
    x, y = nearly_orthogonal(0, 4)
    with pytest.raises(NoKKTPointError, match="linearly independent"):
        aligned_kkt(np.ones((2, 3)), np.ones(2), 4, 0.5)
    with pytest.raises(NoKKTPointError, match="pattern is not the aligned one"):
        aligned_kkt(np.concatenate([x, x]), np.concatenate([y, -y]), 4, 0.5)
    close = 1.0 + 0.1 * np.random.default_rng(0).standard_normal((6, 40))
    with pytest.raises(NoKKTPointError, match=r"violation of .*use --trainer flow"):
        aligned_kkt(close, np.asarray([1.0, -1.0] * 3), 4, 0.01)
    point = aligned_kkt(x, y, 4, 0.5)
    with pytest.raises(NoKKTPointError, match="feasibility"):
        certificate(point.net._replace(W=0.5 * point.net.W), x, y, 0.5 * point.lam)
    with pytest.raises(NoKKTPointError, match="stationarity"):
        certificate(point.net, x, y, 2 * point.lam)


def test_bad_input_is_refused():
    x, y = nearly_orthogonal(0, 4)
    with pytest.raises(InputError, match="slope"):
        aligned_kkt(x, y, 4, 1.0)
    with pytest.raises(InputError, match="even number"):
        aligned_kkt(x, y, 3, 0.5)
    with pytest.raises(InputError, match="labels"):
        aligned_kkt(x, 2 * y, 4, 0.5)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), rank=st.integers(1, 40))
def test_non_negative_solution_against_scipy(seed, n, rank):
    """Conditions of the linear complementarity problem, and scipy's active-set solver.

    Ill-conditioned at rank < n, where only the small diagonal makes M definite: tolerances in
    proportion to the multipliers.
    """
    root = np.random.default_rng(seed).standard_normal((n, rank))
    M = root @ root.T + 0.01 * np.eye(n)
    lam = non_negative_solution(M)
    elsewhere = non_negative_solution(array_api_strict.asarray(M))
    assert to_host(elsewhere) == pytest.approx(lam, abs=1e-9 * lam.max())
    slack = M @ lam - 1
    assert lam.min() >= 0
    assert slack.min() >= -1e-9
    assert np.abs(lam * slack).max() < 1e-8 * lam.max()
    upper = np.linalg.cholesky(M).T
    theirs = nnls(upper, np.linalg.solve(upper.T, np.ones(n)))[0]
    assert lam == pytest.approx(theirs, abs=1e-6 * lam.max())


@given(seed=st.integers(0, 10**6), n=st.integers(1, 5), slope=st.floats(0.3, 0.95))
def test_the_aligned_point_exists_under_t1(seed, n, slope):
    """docs/theory.md: (T1) implies the aligned pattern, active constraints, and (T3).

    Samples as far from orthogonal as (T1) allows: noise is added up to the condition itself.
    """
    rng = np.random.default_rng(seed)
    x = np.linalg.qr(rng.standard_normal((20, n)))[0].T * rng.uniform(1, 1.2, (n, 1))
    y = rng.choice([-1.0, 1.0], n)
    towards = rng.standard_normal(x.shape)
    while True:
        moved = x + 0.1 * towards
        if orthogonality(moved, slope).holds:
            break
        towards *= 0.8
    point = aligned_kkt(moved, y, 4, slope)
    low, high = multiplier_bounds(moved, slope)
    assert low < point.lam.min()
    assert point.lam.max() < high
    assert point.q == pytest.approx(1.0)


@given(**SIZES)
def test_effective_multipliers(seed, n, slope):
    """At the KKT point, its multipliers; anywhere, the difference of mean weights, as in (T5)."""
    x, y = nearly_orthogonal(seed, n)
    point = aligned_kkt(x, y, 4, slope)
    Z = point.net.W @ x.T
    C = point.net.a[:, None] * np.where(Z > 0, 1, slope) * (point.lam * y)
    assert effective_multipliers(point.net, C, y) == pytest.approx(point.lam)
    C = np.random.default_rng(seed).standard_normal((4, n))
    W = C @ x
    lam = effective_multipliers(point.net, C, y)
    difference = W[:2].mean(axis=0) - W[2:].mean(axis=0)
    assert difference == pytest.approx((1 + slope) / 2 * ((lam * y) @ x))
