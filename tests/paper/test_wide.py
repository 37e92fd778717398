"""reflfap/wide.py, (W1) to (W4): limits, bounds and symmetries, by sampling and by differences."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ndtr

from reflfap import wide

SEEDS = st.integers(0, 10**6)
SLOPES = st.sampled_from([0.0, 0.25, 0.99])


def drawn(seed, n=8, d=6, shift=0.3):
    """Samples of two classes, half of each, and points."""
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    x = shift * y[:, None] + rng.standard_normal((n, d))
    return rng, x, y, rng.standard_normal((5, d))


@given(seed=SEEDS, slope=SLOPES)
def test_the_kernel_by_quadrature(seed, slope):
    """(W1): E phi'(u) phi'(v), P(v > 0 | u) integrated over u, to 1e-10."""
    _, x, _, z = drawn(seed)
    sigma, sigma_z = (np.sqrt((one * one).sum(1) / 6 + 1) for one in (x, z))
    for n, k in ((0, 0), (3, 2)):
        rho = (x[n] @ z[k] / 6 + 1) / sigma[n] / sigma_z[k]

        def both(u, rho=rho):
            return np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi) * ndtr(rho * u / np.sqrt(1 - rho**2))

        on = quad(both, 0, 40, epsabs=1e-11)[0]
        expected = on + slope * (1 - 2 * on) + slope**2 * on
        assert wide.Phi(x, z, slope)[n, k] == pytest.approx(expected, abs=1e-8)


def test_sampled_units_approach_the_kernel():
    """(W1): the released estimate from m random units errs as 1/sqrt(m).

    phi' phi' lies in [0, 1], so that the root mean square over m draws is at most 1/(2 sqrt(m)); of
    30 entries and 50 repetitions its own error is some percent.
    """
    rng, x, _, z = drawn(0, n=6)
    expected, found = wide.Phi(x, z, 0.0), []
    for m in (100, 1_600):
        squares = []
        for _ in range(50):
            V, _ = wide.start(rng, 6, m)
            on = (wide.dphi(V @ wide.with_one(one).T, 0.0) for one in (x, z))
            squares.append((next(on).T @ next(on) / m - expected) ** 2)
        found.append(np.sqrt(np.mean(squares)))
        assert found[-1] < 0.55 / np.sqrt(m)
    assert found[0] / found[1] == pytest.approx(4, rel=0.3)


@given(seed=SEEDS, slope=SLOPES)
def test_limits_and_symmetry_of_the_kernel(seed, slope):
    """(W1): symmetric, positive definite, between gamma and (1 + gamma^2)/2, where x = z."""
    _, x, _, z = drawn(seed)
    assert wide.Phi(x, z, slope) == pytest.approx(wide.Phi(z, x, slope).T, abs=1e-12)
    K = wide.Phi(x, x, slope)
    # arccos near 1 turns a rounding of 1e-16 into 2e-8
    assert np.diag(K) == pytest.approx((1 + slope**2) / 2, abs=1e-7)
    assert np.linalg.eigvalsh(K)[0] > -1e-7
    if slope == 0:
        assert np.linalg.eigvalsh(K)[0] > 1e-4  # no two of the samples are parallel
    off = wide.Phi(x, z, slope)
    assert np.all((slope < off) & (off < (1 + slope**2) / 2))


def test_opposite_and_parallel_points():
    """(W1): far out the bias no longer counts: theta is the angle itself, pi for -x, 0 for 2 x."""
    x = 1e8 * np.random.default_rng(0).standard_normal((1, 6))
    for slope in (0.0, 0.3):
        assert wide.Phi(x, -x, slope)[0, 0] == pytest.approx(slope, abs=1e-7)
        assert wide.Phi(x, 2 * x, slope)[0, 0] == pytest.approx((1 + slope**2) / 2, abs=1e-7)


@given(seed=SEEDS)
def test_a_slope_of_one_is_a_linear_network(seed):
    """(W1): Phi = 1 there, and fhat(z) = <mean y x, z> + mean y; the flow is exactly that."""
    rng, x, y, z = drawn(seed)
    fhat = wide.fhat(z, x, y, 1.0)
    assert fhat == pytest.approx(z @ (y @ x) / 8 + y.mean())
    V, a = wide.start(rng, 6, 5)
    V1 = wide.learn(V, a, x, y, 1.0, 1, 0.7)
    change = wide.f(z, V1, a, 1.0) - wide.f(z, V, a, 1.0)
    assert change == pytest.approx(0.7 * (a @ a) * fhat)


@pytest.mark.parametrize("time", [1.0, 5.0])
def test_wide_networks_learn_fhat(time):
    """(W1): |f_T - f_0 - T fhat| is below its bound, and falls as 1/sqrt(m).

    The mean of 5 points and 30 networks errs by some ten percent; the exponent is between.
    """
    rng, x, y, z = drawn(1, n=20)
    expected, errors = time * wide.fhat(z, x, y, 0.0), []
    for m in (50, 3_200):
        found = []
        for _ in range(30):
            V, a = wide.start(rng, 6, m)
            V1 = wide.learn(V, a, x, y, 0.0, 20, time / 20, mu=0.0)
            found.append(wide.f(z, V1, a, 0.0) - wide.f(z, V, a, 0.0) - expected)
        errors.append(np.mean(np.abs(found), axis=0))
        assert np.all(errors[-1] < wide.lazy_error(z, x, 0.0, m, time))
    exponent = np.log(np.mean(errors[0]) / np.mean(errors[1])) / np.log(64)
    assert exponent == pytest.approx(0.5, abs=0.12)


def test_without_biases_the_one_is_gone():
    """(W1): a network whose biases stay as they were learns fhat with one = 0."""
    rng, x, y, z = drawn(2, n=20)
    V, a = wide.start(rng, 6, 40_000)
    G = wide.dL_dV(a, V, x, y, 0.0)
    for one, moved in ((1, G), (0, np.concatenate([G[:, :-1], 0 * G[:, -1:]], axis=1))):
        change = (wide.f(z, V - 1e-3 * moved, a, 0.0) - wide.f(z, V, a, 0.0)) / 1e-3
        # 40,000 units: B ||z1|| sqrt(3/m) = 0.03, and few units turn in so short a time
        assert change == pytest.approx(wide.fhat(z, x, y, 0.0, one), abs=0.06)
    gap = wide.fhat(z, x, y, 0.0, 1) - wide.fhat(z, x, y, 0.0, 0)
    assert np.max(np.abs(gap)) < 0.5  # so that the two are told apart where labels are uneven
    uneven = wide.fhat(z, x, np.ones(20), 0.0, 1) - wide.fhat(z, x, np.ones(20), 0.0, 0)
    assert np.min(uneven) > 0.1


@given(epochs=st.integers(1, 200), lr=st.floats(1e-3, 10))
def test_descent_time_is_below_what_is_released(epochs, lr):
    """(W1): an epoch counts lr at first, and lr/(1 - mu) in the end."""
    time = wide.descent_time(epochs, lr)
    assert lr * epochs <= time * (1 + 1e-12)
    assert time <= 10 * lr * epochs
    late = wide.descent_time(epochs + 500, lr) - wide.descent_time(epochs + 499, lr)
    assert late == pytest.approx(10 * lr, rel=1e-9)


@given(seed=SEEDS, slope=SLOPES)
def test_perturbations_do_not_depend_on_the_loss(seed, slope):
    """(W2): of length eps, and the margin t f(x) grows along them; the same for either target."""
    rng, x, _, _ = drawn(seed)
    V, a = wide.start(rng, 6, 9)
    t = rng.choice([-1.0, 1.0], 8)
    eta = wide.perturb(x, t, V, a, slope, 0.3)
    there = np.linalg.norm(wide.df_dx(x, V, a, slope), axis=1) > 0
    assert np.linalg.norm(eta, axis=1)[there] == pytest.approx(0.3)
    grows = t * (wide.f(x + 1e-6 * eta, V, a, slope) - wide.f(x, V, a, slope))
    assert np.all(grows[there] > 0)
    assert wide.perturb(x, -t, V, a, slope, 0.3) == pytest.approx(-eta)


def test_gradients_of_wide_networks():
    """(W2): df_T/dx - df_0/dx approaches T dfhat/dx: Phi's own dependence is that of the units that
    turned. Of 400,000 units, a thousand turn, and their own noise is a tenth of their sum's part.
    """
    rng, x, y, z = drawn(3, n=20, shift=0.8)
    V, a = wide.start(rng, 6, 400_000)
    V1 = wide.learn(V, a, x, y, 0.0, 5, 0.6, mu=0.0)
    found = wide.df_dx(z, V1, a, 0.0) - wide.df_dx(z, V, a, 0.0)
    exact = 3 * wide.dfhat_dx(z, x, y, 0.0)
    u = 3 * (y * wide.Phi(z, x, 0.0)) @ x / 20
    assert np.linalg.norm(found - exact) < 0.4 * np.linalg.norm(u - exact)


@given(seed=SEEDS, slope=SLOPES)
def test_targets_cancel(seed, slope):
    """(W3): with Phi(r_n, z) as it is, other targets change nothing in ghat; and as far as r_n in
    Phi follows them, in (a), by no more than eps changes theta."""
    rng, x, y, z = drawn(seed)
    u = wide.combinations(x, y, slope)
    unit = u / np.linalg.norm(u, axis=1)[:, None]
    found = []
    for t in (rng.choice([-1.0, 1.0], 8), rng.choice([-1.0, 1.0], 8)):
        r = 1e-3 * t[:, None] * unit
        found.append(wide.ghat(z, r, u, slope))
        whole = wide.fhat(z, r, t, slope)
        parts = 1e-3 * found[-1] + wide.other(z, r, 0 * x, t, slope)
        assert whole == pytest.approx(parts, rel=1e-9, abs=1e-12)
    # |d Phi| <= |d cos| / (2 pi sin theta) with |d cos| <= 2 eps ||z|| / d, sin theta > 0.3 here
    assert found[0] == pytest.approx(found[1], abs=2e-3 * np.max(np.sum(z * z, axis=1)))
    assert np.array_equal(wide.ghat(z, 0 * x, u, slope), wide.ghat(z, -0 * x, u, slope))


def test_other_falls_with_the_number_of_samples():
    """(W3): as 1/sqrt(N); the same samples a hundred times over, targets of their own, give 0.1."""
    _, x, _, z = drawn(5)
    few, many = (wide.other_size(z, one, one, 0.0) for one in (x, np.tile(x, (100, 1))))
    assert many == pytest.approx(0.1 * few)


@given(seed=SEEDS, slope=st.sampled_from([0.0, 0.5, 0.9]), shift=st.floats(0, 3))
def test_coherent_data_give_both_the_same_sign(seed, slope, shift):
    """(W4): c(z) > kappa implies sgn fhat(z) = sgn <u_n, z> = sgn ghat(z)."""
    rng, x, y, z = drawn(seed, n=12, shift=shift)
    Phi = np.concatenate([wide.Phi(x, x, slope), wide.Phi(z, x, slope)])
    holds = wide.coherence(z, x, y) > wide.kappa(Phi.min(), Phi.max())
    u, sign = wide.combinations(x, y, slope), np.sign(z @ (y @ x))
    t = rng.choice([-1.0, 1.0], 12)
    for r in (0.01 * t[:, None] * u, x + 0.1 * u):
        assert np.array_equal(np.sign(wide.ghat(z, r, u, slope))[holds], sign[holds])
    assert np.array_equal(np.sign(wide.fhat(z, x, y, slope))[holds], sign[holds])
    assert np.all(np.sign(u @ z.T)[:, holds] == sign[holds])


def test_some_data_meet_the_condition_and_others_do_not():
    """(W4): classes far apart do; random labels do not, once the slope is not near 1."""
    met = {}
    for shift in (2.0, 0.0):
        rng, x, y, _ = drawn(0, n=200, d=50, shift=shift)
        y = y if shift else rng.choice([-1.0, 1.0], 200)
        Phi = wide.Phi(x, x, 0.0)
        spread = wide.kappa(Phi.min(), Phi.max())
        met[shift] = np.mean(wide.coherence(x, x, y) > spread)
    assert met == {2.0: 1.0, 0.0: 0.0}


@given(signal=st.floats(-5, 5), f=st.floats(-5, 5), other=st.floats(-5, 5), g=st.floats(-5, 5))
def test_what_is_decided_has_its_sign(signal, f, other, g):
    """(W4): where T fhat decides f and eps T ghat decides g, equal signs of the two carry over."""
    parts = (np.asarray([one]) for one in (signal, f, other, g))
    fhat, f, ghat, g = parts
    if wide.decided(fhat, f)[0] and wide.decided(ghat, g)[0] and fhat[0] * ghat[0] > 0:
        assert f[0] * g[0] > 0


def test_no_perturbation_teaches_nothing():
    """eps = 0: over seeds g is at chance on the two classes; perturbations of 0.1 teach them."""
    found = []
    for seed in range(20):
        rng, x, y, z = drawn(seed, n=60, d=20)
        row = []
        for eps in (0.0, 0.1):
            rng = np.random.default_rng(seed)
            got = wide.learn_from_perturbations(rng, x, y, z, 20, 0.0, eps, "a", 100, 0.5, 0.5)
            row.append(got[1])
        found.append(row)
    none, some = np.mean(found, axis=0)
    # a function that is nearly constant classifies exactly half; 20 seeds of 60 samples otherwise
    assert none == pytest.approx(0.5, abs=0.1)
    assert some > 0.75


def test_the_file_stands_beside_the_paper():
    """It imports the library's finder and paper.py, and runs on its own in some seconds."""
    tree = ast.parse(Path(wide.__file__).read_text())
    defined = {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}
    assert not defined & {"phi", "dphi", "gradient_descent", "length"}  # written once, there
    command = [sys.executable, "-m", "reflfap.wide"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "they agree in" in done.stdout
