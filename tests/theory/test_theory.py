"""The theory (T1) to (T5), (P1), (L1) to (L3): loops, searches, simulations, bad input.

Unless a test says otherwise its tolerance is rounding: float64 errs by 1e-16 an operation, sums
here have at most some hundred terms, so 1e-12 of the sum of their magnitudes is never reached.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from problems import make_problem
from test_kkt import SIZES, nearly_orthogonal

from reflfap import onehidden
from reflfap.attacks import L0, L2, LInf, LInfSign, attack
from reflfap.errors import InputError, NoKKTPointError
from reflfap.theory.boundary import boundary_function, normal, sign_agreement
from reflfap.theory.kkt import aligned_kkt, multiplier_bounds, recover_multipliers
from reflfap.theory.learning import (
    Effects,
    aligned,
    effects,
    flipped_threshold,
    perturbation_effect,
)
from reflfap.theory.orthogonality import (
    largest_number,
    median_of_largest,
    orthogonality,
    smallest_dimension,
)
from reflfap.theory.perturbations import direction, perturbations

pytestmark = pytest.mark.usefixtures("library")

SEEDS = st.integers(0, 10**6)
SLOPES = st.floats(0.05, 0.95)
NORMS = [L2(0.7), LInf(0.7), LInfSign(0.7), L0(2)]
ALL_NORMS = pytest.mark.parametrize("norm", NORMS, ids=lambda norm: type(norm).__name__)


def draw(seed, n, dim):
    """Samples, labels of both signs at random, positive multipliers, and the generator."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)), rng.choice([-1.0, 1.0], n), rng.uniform(0.5, 2, n), rng


def kkt_point(seed, n, slope, hidden=4):
    """A KKT point with its data, its normal, and points z at random."""
    x, y = nearly_orthogonal(seed, n)
    point = aligned_kkt(x, y, hidden, slope)
    z = np.random.default_rng(seed + 1).standard_normal((50, x.shape[1]))
    return x, y, point, normal(x, y, point.lam), z


# (T1)


@given(seed=SEEDS, n=st.integers(1, 9), dim=st.integers(1, 9), slope=SLOPES, rows=st.integers(1, 9))
def test_orthogonality_by_loops(monkeypatch, seed, n, dim, slope, rows):
    """The quantities of (T1) as a double loop finds them, however many rows a block has."""
    monkeypatch.setattr("reflfap.theory.orthogonality.CHUNK_ROWS", rows)
    x = draw(seed, n, dim)[0]
    norms = [math.sqrt(sum(entry**2 for entry in row)) for row in x]
    p_max = 0.0
    for i, j in itertools.permutations(range(n), 2):
        p_max = max(p_max, abs(sum(x[i, k] * x[j, k] for k in range(dim))))
    got = orthogonality(x, slope)
    assert (got.r_min, got.r_max) == pytest.approx((min(norms), max(norms)), rel=1e-12)
    assert got.p_max == pytest.approx(p_max, abs=1e-12 * max(norms) ** 2)
    bound = slope**3 * min(norms) ** 4 / (3 * n * max(norms) ** 2)
    assert got.bound == pytest.approx(bound, rel=1e-12)
    assert got.holds == (got.bound >= got.p_max) == (got.margin >= 1)


@given(seed=SEEDS, n=st.integers(2, 9), dim=st.integers(1, 9), slope=SLOPES, c=st.floats(1e-3, 1e3))
def test_orthogonality_scales(seed, n, dim, slope, c):
    """Scaling, reordering and rotating the samples leaves `margin` unchanged."""
    x, _, _, rng = draw(seed, n, dim)
    got = orthogonality(x, slope)
    # the products err by 1e-14 of r_max^2, so p_max by at most 1e-10 of itself
    assume(got.p_max > 1e-4 * got.r_max**2)
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    for other in (c * x, x[rng.permutation(n)], x @ rotation, -x):
        assert orthogonality(other, slope).margin == pytest.approx(got.margin, rel=1e-9)


@given(seed=SEEDS, n=st.integers(1, 5), slope=SLOPES)
def test_repeated_samples_are_not_orthogonal(seed, n, slope):
    """A repeated sample has an inner product of r_min^2 at least, beyond every bound of (T1)."""
    x = draw(seed, n, 7)[0]
    got = orthogonality(np.concatenate([x, x[:1]]), slope)
    assert got.p_max >= got.r_min**2 * (1 - 1e-12)
    assert not got.holds


@given(slope=SLOPES, n=st.integers(1, 9))
def test_orthogonal_samples_always_meet_it(slope, n):
    """Exactly orthogonal samples, and a single one, have p_max = 0 and an infinite margin."""
    for x in (np.eye(n), np.ones((1, n))):
        got = orthogonality(x, slope)
        assert got.p_max == 0
        assert got.holds
        assert got.margin == math.inf


@given(count=st.integers(1, 10**15))
def test_median_of_largest(count):
    """All of `count` normal magnitudes stay below it with probability erf(z/sqrt 2)^count = 1/2."""
    # erfc keeps the digits that 1 - erf loses
    above = math.erfc(median_of_largest(count) / math.sqrt(2))
    assert count * math.log1p(-above) == pytest.approx(-math.log(2), rel=1e-9)
    assert median_of_largest(count) < median_of_largest(count + max(1, count // 10))
    assert median_of_largest(0) == 0


@pytest.mark.parametrize("n", [4, 6])
def test_smallest_dimension_by_simulation(n):
    """Gaussian samples of that dimension meet (T1) about every second time, at 4 d oftener.

    The estimate takes all norms as equal. They differ by some sqrt(2/d), 4 % here, and (T1) has
    R_min^4, so the fraction lies below one half: hence 0.2. Deviation of a fraction of 200: 0.035.
    At 4 d and d/4 the bound is at twice and half the median of the largest product.
    """
    rng = np.random.default_rng(n)
    dim = smallest_dimension(n, 0.9)

    def fraction(dim):
        draws = (rng.standard_normal((n, round(dim))) for _ in range(200))
        return np.mean([orthogonality(x, 0.9).holds for x in draws])

    assert 0.2 < fraction(dim) < 0.8
    assert fraction(dim / 4) < 0.2
    assert fraction(4 * dim) > 0.8


@given(n=st.integers(2, 10**6), slope=SLOPES)
def test_smallest_dimension_grows(n, slope):
    """It grows faster than N^2, and as gamma^-6; a single sample needs no dimension."""
    dim = smallest_dimension(n, slope)
    assert smallest_dimension(2 * n, slope) > 4 * dim
    assert smallest_dimension(n, slope / 2) == pytest.approx(64 * dim, rel=1e-12)
    assert smallest_dimension(1, slope) == 0


@given(dim=st.integers(1, 10**9), slope=SLOPES)
def test_largest_number_inverts_smallest_dimension(dim, slope):
    """N samples fit into d dimensions and N + 1 do not; one always fits."""
    n = largest_number(dim, slope)
    assert smallest_dimension(n, slope) <= dim < smallest_dimension(n + 1, slope)


# (T4), (T5)


@given(seed=SEEDS, n=st.integers(1, 6), dim=st.integers(1, 8))
def test_the_boundary_is_the_normals_hyperplane(seed, n, dim):
    """<b, z> = sum_n lam_n y_n <x_n, z>, term by term; b keeps the dtype of x."""
    x, y, lam, rng = draw(seed, n, dim)
    z = rng.standard_normal((4, dim))
    b = normal(x, y, lam)
    for point, got in zip(z, boundary_function(b, z), strict=True):
        terms = [lam[i] * y[i] * x[i, k] * point[k] for i in range(n) for k in range(dim)]
        assert got == pytest.approx(sum(terms), abs=1e-12 * sum(map(abs, terms)))
    assert normal(x.astype("float32"), y.astype("float32"), lam).dtype == "float32"


@given(**SIZES, hidden=st.sampled_from([2, 4, 8]))
def test_the_network_has_the_boundary_of_its_normal(seed, n, slope, hidden):
    """At a KKT point f has the sign of <b, z>, and is a difference of two units with u - v ~ b.

    All rows of one output sign are alike, u or v, and a_j = +-1/sqrt(m), so
    f(z) = sqrt(m)/2 (phi(<u, z>) - phi(<v, z>)); in u - v each sample has 1 + gamma.
    """
    x, y, point, b, z = kkt_point(seed, n, slope, hidden)
    # both sides of the boundary, a millionth of a typical <b, z> away: rounding errs by 1e-14
    on = z - np.outer(z @ b, b) / (b @ b)
    aside = 1e-6 * b / np.linalg.norm(b)
    for points in (z, on + aside, on - aside, x):
        assert sign_agreement(point.net, b, points) == 1
        assert sign_agreement(point.net, -b, points) == 0
    assert np.array_equal(np.sign(boundary_function(b, x)), y)
    u, v = point.net.W[[0, -1]]
    phi_u, phi_v = (np.maximum(z @ row, slope * z @ row) for row in (u, v))
    f = math.sqrt(hidden) / 2 * (phi_u - phi_v)
    size = math.sqrt(hidden) * np.abs(z) @ (abs(u) + abs(v))
    assert np.all(abs(f - onehidden.forward(point.net, z)[0]) <= 1e-12 * size)
    expected = (1 + slope) * b / math.sqrt(hidden)
    assert u - v == pytest.approx(expected, abs=1e-12 * np.abs(expected).max())


@given(seed=SEEDS)
def test_sign_agreement_is_a_fraction(seed):
    """For any network and normal: the points with equal signs, counted one by one."""
    net, z, _ = make_problem(seed, n=9)
    b = np.random.default_rng(seed).standard_normal(z.shape[1])
    count = sum(
        (sum(net.a * onehidden.activation(net.W @ point, net.slope)) > 0) == (point @ b > 0)
        for point in z
    )
    assert sign_agreement(net, b, z) == pytest.approx(count / 9)


# (P1)


def inside(norm, v, epsilon):
    """Whether v lies in the constraint set of (P1), to rounding."""
    if isinstance(norm, L2):
        return np.linalg.norm(v) <= norm.radius * (1 + 1e-12)
    if isinstance(norm, L0):
        return np.count_nonzero(v) <= norm.pixels and abs(v).max() <= epsilon
    return abs(v).max() <= norm.radius


def candidates(norm, dim, epsilon, v, rng):
    """Points of the constraint set: all vertices, or for L2 the sphere at random and around v."""
    if isinstance(norm, L2):
        points = rng.standard_normal((300, dim))
        points[200:] = v + 10.0 ** rng.uniform(-6, 0, (100, 1)) * points[200:]
        return norm.radius * points / np.linalg.norm(points, axis=1, keepdims=True)
    if not isinstance(norm, L0):
        return norm.radius * np.asarray(list(itertools.product([-1, 1], repeat=dim)))
    found = []
    size = min(norm.pixels, dim)
    for where in itertools.combinations(range(dim), size):
        for signs in itertools.product([-1, 1], repeat=size):
            found.append(np.zeros(dim))
            found[-1][list(where)] = epsilon * np.asarray(signs)
    return np.asarray(found)


@ALL_NORMS
@given(seed=SEEDS, dim=st.integers(1, 6), epsilon=st.floats(0.1, 2))
def test_perturbations_against_search(norm, seed, dim, epsilon):
    """v lies in the constraint set and beats all of its vertices; eta_n = y_adv_n v."""
    _, target, _, rng = draw(seed, 5, 1)
    b = rng.standard_normal(dim) * rng.choice([0, 1], dim, p=[0.2, 0.8])
    assume(np.any(b != 0))
    v = direction(norm, b, epsilon)
    assert inside(norm, v, epsilon)
    best = max(candidates(norm, dim, epsilon, v, rng) @ b)
    assert v @ b >= best * (1 - 1e-12)
    eta = perturbations(v, target)
    assert eta.shape == (5, dim)
    for row, sign in zip(eta, target, strict=True):
        assert np.array_equal(row, v if sign > 0 else -v)


@given(seed=SEEDS, dim=st.integers(1, 8))
def test_attacks_on_a_hyperplane_find_them(seed, dim):
    """The attack (P2) on the margin y <b, x> ends at (P1): each step is radius/5 along it."""
    x, target, _, rng = draw(seed, 3, dim)
    b = rng.standard_normal(dim)

    def margin(x, target):
        return target * (x @ b), target[:, None] * b

    for norm in (L2(0.7), LInfSign(0.7)):
        found = attack(margin, x, target, norm, steps=8).x - x
        # x + eta - x loses 1e-16 of x, and at most 5 are in x
        assert found == pytest.approx(perturbations(direction(norm, b), target), abs=1e-13)


def test_bad_normals_are_refused():
    """No direction climbs b = 0; L0 bounds no entry, so its size must be given."""
    for norm in NORMS:
        with pytest.raises(InputError, match="normal other than zero"):
            direction(norm, np.zeros(3), 1.0)
    with pytest.raises(InputError, match=r"^epsilon:"):
        direction(L0(2), np.ones(3))
    for bad in (np.ones((2, 3)), np.ones(0), np.ones(3, dtype=int)):
        with pytest.raises(InputError, match=r"^b:"):
            direction(L2(1.0), bad)


# (L1) to (L3)


@given(seed=SEEDS, n=st.integers(1, 6), dim=st.integers(1, 8))
def test_the_decomposition_is_exact(seed, n, dim):
    """The two effects of (L1) sum to the boundary function of the perturbed samples."""
    x, target, lam, rng = draw(seed, n, dim)
    eta, z = rng.standard_normal((n, dim)), rng.standard_normal((5, dim))
    got = effects(x, eta, target, lam, z)
    size = np.abs(z) @ (np.abs(x) + np.abs(eta)).sum(axis=0) * lam.max()
    expected = boundary_function(normal(x + eta, target, lam), z)
    assert np.all(abs(got.total - expected) <= 1e-12 * size)
    samples = effects(x, 0 * eta, target, lam, z)
    assert np.array_equal(samples.total, got.samples)


@ALL_NORMS
@given(seed=SEEDS, n=st.integers(1, 6), dim=st.integers(1, 8))
def test_the_perturbations_effect_in_closed_form(norm, seed, n, dim):
    """With (P1) the second effect is Lam <v, z>; for L2, eps Lam f_bdy(z)/||b||."""
    x, target, lam, rng = draw(seed, n, dim)
    b, z = rng.standard_normal(dim), rng.standard_normal((5, dim))
    v = direction(norm, b, 0.3)
    got = effects(x, perturbations(v, target), target, lam, z).perturbations
    size = lam.sum() * np.abs(z) @ np.abs(v)
    assert np.all(abs(got - perturbation_effect(v, lam.sum(), z)) <= 1e-12 * size)
    if isinstance(norm, L2):
        expected = norm.radius * lam.sum() * boundary_function(b, z) / np.linalg.norm(b)
        assert np.all(abs(got - expected) <= 1e-12 * size)


@given(seed=SEEDS, noise=st.floats(0, 3))
def test_alignment_implies_equal_signs(seed, noise):
    """Where (L3) holds the sum has the sign of f_bdy; it never holds where the second has not."""
    rng = np.random.default_rng(seed)
    f_bdy, first, rest = rng.standard_normal((3, 200))
    second = 2 * f_bdy + noise * rest
    first[:2], f_bdy[2] = (second[0], -second[1]), 0.0
    parts = Effects(first, second)
    got = aligned(parts, f_bdy)
    assert np.array_equal(np.sign(parts.total[got]), np.sign(f_bdy[got]))
    assert not np.any(got[np.sign(second) != np.sign(f_bdy)])
    assert not np.any(got[:3])  # neither outweighs the other, or nothing to align with
    # nothing less will do: against the first effect of the opposite sign, (L3) is necessary
    against = aligned(Effects(-np.sign(f_bdy) * abs(first), second), f_bdy)
    total = second - np.sign(f_bdy) * abs(first)
    assert np.array_equal(against[3:], (np.sign(total) == np.sign(f_bdy))[3:])


@given(seed=SEEDS, n=st.integers(1, 6), c=st.floats(0.1, 10))
def test_flipped_labels_have_a_threshold(seed, n, c):
    """Flipped labels teach the standard boundary for eps above ||b||/sum lam, its reverse below."""
    x, y, lam, rng = draw(seed, n, 12)
    b = normal(x, y, lam)
    z = rng.standard_normal((40, 12))
    f_bdy = boundary_function(b, z)
    # of each sum a thousandth of c f_bdy is left; rounding leaves 1e-15 of sum lam ||x|| ||z||
    z, f_bdy = z[abs(f_bdy) > 1e-3], f_bdy[abs(f_bdy) > 1e-3]
    for factor, sign in ((1.001, 1), (0.999, -1)):
        v = direction(L2(factor * flipped_threshold(b, lam)), b)
        got = effects(x, perturbations(v, -y), -y, c * lam, z)
        assert np.array_equal(np.sign(got.total), sign * np.sign(f_bdy))
        assert np.array_equal(aligned(got, f_bdy), np.full(len(z), sign > 0))


# (T3), and (T2) backwards


@given(seed=SEEDS, n=st.integers(2, 7), slope=st.floats(0.05, 0.99), ratio=st.floats(0, 0.999))
def test_multipliers_lie_within_their_bounds(seed, n, slope, ratio):
    """Under (T1) strictly within (T3), also where every inner product is as large as (T1) lets it.

    Samples with given norms and inner products +-ratio of the bound are rows of a Cholesky factor;
    their signs are random, or all for or all against the labels.
    """
    rng = np.random.default_rng(seed)
    y, norms = rng.choice([-1.0, 1.0], n), rng.uniform(1, 2, n)
    bound = slope**3 * norms.min() ** 4 / (3 * n * norms.max() ** 2)
    signs = [np.outer(y, y), -np.outer(y, y), rng.choice([-1.0, 1.0], (n, n))][seed % 3]
    gram = np.diag(norms**2) + ratio * bound * np.tril(signs, -1)
    x = np.linalg.cholesky(gram)  # which reads the lower triangle only
    assume(orthogonality(x, slope).holds)
    lam = aligned_kkt(x, y, 4, slope).lam
    low, high = multiplier_bounds(x, slope)
    assert low < lam.min()
    assert lam.max() < high


@given(seed=SEEDS, n=st.integers(1, 7), slope=SLOPES, norm=st.floats(0.01, 100))
def test_bounds_of_equal_orthogonal_samples(seed, n, slope, norm):
    """lam = 2/((1 + gamma^2) ||x||^2) < 4 times the lower bound; the bounds differ by 3/gamma^2."""
    x, y = nearly_orthogonal(seed, n, noise=0.0)
    x *= norm / np.linalg.norm(x, axis=1, keepdims=True)
    lam = aligned_kkt(x, y, 4, slope).lam
    assert lam == pytest.approx(2 / ((1 + slope**2) * norm**2), rel=1e-9)
    low, high = multiplier_bounds(x, slope)
    assert low < lam.min()
    assert lam.max() < min(high, 4 * low)
    assert high / low == pytest.approx(3 / slope**2, rel=1e-9)


@given(seed=SEEDS, slope=SLOPES, c=st.floats(0.1, 10))
def test_bounds_come_from_the_extreme_samples(seed, slope, c):
    """The bounds fall as 1/||x||^2, and one is set by the longest sample, one by the shortest."""
    x = draw(seed, 5, 7)[0]
    low, high = multiplier_bounds(x, slope)
    assert multiplier_bounds(c * x, slope) == pytest.approx((low / c**2, high / c**2), rel=1e-12)
    order = np.argsort(np.linalg.norm(x, axis=1))
    assert multiplier_bounds(x[order[-1:]], slope)[0] == pytest.approx(low, rel=1e-12)
    assert multiplier_bounds(x[order[:1]], slope)[1] == pytest.approx(high, rel=1e-12)


@given(**SIZES, c=st.floats(0.1, 10))
def test_multipliers_are_recovered(seed, n, slope, c):
    """The solver's own multipliers come back from its network, and c W has c lam.

    The Gram matrix of nearly orthogonal samples has a condition number below 100: 1e-9 is ample.
    """
    x, y, point, _, _ = kkt_point(seed, n, slope)
    got = recover_multipliers(point.net, x, y)
    assert got.lam == pytest.approx(point.lam, rel=1e-9)
    assert got.residual < 1e-12
    scaled = recover_multipliers(point.net._replace(W=c * point.net.W), x, y)
    assert scaled.lam == pytest.approx(c * point.lam, rel=1e-9)


@given(**SIZES)
def test_repeated_samples_share_their_multipliers(seed, n, slope):
    """A sample given twice: two multipliers with the old one as their sum, alike in least norm.

    The sum is determined, the difference is not: 1e-6 is far below what rounding makes of that
    when nothing is done about it, which is of the size of the sum.
    """
    x, y, point, _, _ = kkt_point(seed, n, slope)
    got = recover_multipliers(point.net, np.concatenate([x, x]), np.concatenate([y, y]))
    assert got.residual < 1e-12
    assert got.lam[:n] + got.lam[n:] == pytest.approx(point.lam, rel=1e-9)
    assert got.lam[:n] == pytest.approx(got.lam[n:], rel=1e-6)


@given(seed=SEEDS, n=st.integers(1, 6), slope=SLOPES)
def test_recovery_is_least_squares(seed, n, slope):
    """On any network: NumPy's least squares on the m d equations written out.

    The normal equations square a condition number below 100 here; 1e-8 leaves room. A random W has
    m d = 160 numbers, of which N lam explain a part N/160 of the square: most remains.
    """
    net, x, y = make_problem(seed, dim=40, hidden=4, n=n, slope=slope)
    got = recover_multipliers(net, x, y)
    columns = [
        y[i] * np.outer(net.a * np.where(net.W @ x[i] > 0, 1, slope), x[i]).ravel()
        for i in range(n)
    ]
    equations = np.stack(columns, axis=1)
    lam = np.linalg.lstsq(equations, net.W.ravel())[0]
    assert got.lam == pytest.approx(lam, abs=1e-8 * np.abs(lam).max())
    rest = np.linalg.norm(net.W.ravel() - equations @ lam) / np.linalg.norm(net.W)
    assert got.residual == pytest.approx(rest, rel=1e-9)
    assert got.residual > 0.1


# degenerate and bad input


@given(**SIZES)
@settings(max_examples=10)
def test_contradicting_samples_have_no_kkt_point(seed, n, slope):
    """One sample with both labels cannot be classified."""
    x, y = nearly_orthogonal(seed, n)
    with pytest.raises(NoKKTPointError, match="KKT point"):
        aligned_kkt(np.concatenate([x, x[:1]]), np.concatenate([y, -y[:1]]), 4, slope)


@given(**SIZES)
@settings(max_examples=10)
def test_one_class_only(seed, n, slope):
    """All labels equal, and N = 1 with either label: nothing in the theory needs two classes."""
    x, _ = nearly_orthogonal(seed, n, noise=0.0)
    for label in (-1.0, 1.0):
        y = np.full(n, label)
        point = aligned_kkt(x, y, 4, slope)
        assert point.lam == pytest.approx(2 / ((1 + slope**2) * (x * x).sum(axis=1)), rel=1e-9)
        assert sign_agreement(point.net, normal(x, y, point.lam), x) == 1


@pytest.mark.parametrize("slope", [0.0, 1.0, -0.5, math.nan, "a"])
def test_slopes_outside_are_refused(slope):
    """The slope lies in (0, 1), in every function that takes one."""
    x = np.eye(3)
    for call in (
        lambda: orthogonality(x, slope),
        lambda: smallest_dimension(3, slope),
        lambda: largest_number(3, slope),
        lambda: multiplier_bounds(x, slope),
    ):
        with pytest.raises(InputError, match=r"^slope:"):
            call()


@pytest.mark.parametrize("count", [0, -1, 2.0, True])
def test_counts_are_positive_whole_numbers(count):
    """Numbers of samples and dimensions, that is."""
    for call in (smallest_dimension, largest_number):
        with pytest.raises(InputError, match="expected"):
            call(count, 0.5)


@pytest.mark.parametrize(
    "x", [np.ones(3), np.ones((0, 3)), np.eye(3, dtype=int), np.full((2, 2), np.nan)]
)
def test_bad_samples_are_refused(x):
    """Samples are a finite floating-point matrix with at least one row."""
    for call in (orthogonality, multiplier_bounds):
        with pytest.raises(InputError, match=r"^x:"):
            call(x, 0.5)


def test_zero_samples_are_refused():
    """A zero sample has no direction."""
    with pytest.raises(InputError, match="remove it"):
        orthogonality(np.asarray([[1.0, 2.0], [0.0, 0.0]]), 0.5)


def test_bad_labels_are_refused():
    """Labels and targets are +1 or -1, one a sample, in the dtype of the samples."""
    x, lam = np.eye(3), np.ones(3)
    net = onehidden.network(np.ones((2, 3)), 0.5)
    for y in (2 * np.ones(3), np.ones(2), np.ones(3, dtype="float32")):
        for call in (
            lambda y=y: normal(x, y, lam),
            lambda y=y: effects(x, x, y, lam, x),
            lambda y=y: recover_multipliers(net, x, y),
        ):
            with pytest.raises(InputError, match=r"^y:"):
                call()
    with pytest.raises(InputError, match="columns"):
        recover_multipliers(net, np.ones((3, 4)), np.ones(3))


@pytest.mark.parametrize(
    ("norm", "b", "epsilon"),
    [
        (L2(-1.0), [1.0, 2.0], None),
        (L0(-1), [1.0, 2.0], 1.0),
        (L0(1), [1.0, 2.0], -1.0),
        (L2(1.0), [np.nan, 1.0], None),
    ],
)
def test_bad_sizes_and_normals_are_refused(norm, b, epsilon):
    with pytest.raises(InputError):
        direction(norm, np.asarray(b), epsilon)
