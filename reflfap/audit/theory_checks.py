"""The checks of `reflfap audit` on theory, attacks and learning: (T1) to (E1)."""

import math
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
from scipy.special import ndtr

from reflfap import attacks, norms, onehidden
from reflfap.audit.checks import COUNTED, DIFFERENCES, SOLVED, Checks, compared
from reflfap.audit.problems import (
    SLOPE,
    best_by_search,
    climbed,
    combination,
    features,
    least_norm,
    limit,
    optimize,
    orthogonal,
    paper,
    plain_f,
    problem,
    sampled_accuracy,
)
from reflfap.errors import NoKKTPointError
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import NETWORKS, attacked
from reflfap.fast.linear_updates import add_product
from reflfap.fast.quick_attack import attack_network
from reflfap.rng import stream
from reflfap.theory import boundary, kkt, learning, orthogonality, perturbations, prediction

SEARCHED = (1e-6, "the tolerance of a search in a dozen variables")
EPSILON = 0.3
NORMAL = np.asarray([0.1, -1.3, 0.7, -0.4, 1.1, 0.2, -0.9, 0.5])
"""Of a boundary; its largest entries have both signs."""

ATTACKS: dict[str, tuple[Any, str]] = {  # by name in reflfap.paper: the quick one and its step
    "l2": (attacks.L2(1.5), "norms.L2.step"),
    "linf": (attacks.LInf(0.5), "norms.LInf.step"),
    "linf-sign": (attacks.LInfSign(0.5), "norms.LInfSign.step"),
    "l0": (attacks.L0(5), "norms.L0.step"),
    "l0-tracked": (attacks.L0(5, tracked=True), "norms.L0.step"),
}
BOXES = ((-1.0, 1.0), (-math.inf, math.inf))


def t1() -> Checks:
    for x in (problem().x, np.random.default_rng(0).standard_normal((1_050, 3))):
        squares = [one @ one for one in x]
        most = max(float(np.max(np.abs(x[n + 1 :] @ x[n]))) for n in range(len(x) - 1))
        bound = SLOPE**3 * min(squares) ** 2 / (3 * len(x) * max(squares))
        radii = (math.sqrt(min(squares)), math.sqrt(max(squares)))
        found = orthogonality.orthogonality(x, SLOPE)
        yield compared("theory.orthogonality.orthogonality", found, (*radii, most, bound))
        yield compared("paper.orthogonality", paper.orthogonality(x, SLOPE), (bound, most))
    sides = [(p, b) for p in (0.0, 1.0, 2.0) for b in (1.0, 2.0)]
    each = [orthogonality.Orthogonality(1.0, 1.0, *side) for side in sides]
    name, table = "theory.orthogonality.Orthogonality", "six cases by hand"
    yield compared(f"{name}.holds", [one.holds for one in each], [1, 1, 1, 1, 0, 1], table, COUNTED)
    inverse = [1 / one.margin for one in each]
    yield compared(f"{name}.margin", inverse, [0, 0, 1, 0.5, 2, 1], table, COUNTED)
    z = optimize.brentq(lambda z: (2 * ndtr(z) - 1) ** 45 - 0.5, 0, 9, xtol=1e-13)  # 10 samples
    d = optimize.brentq(lambda d: SLOPE**3 * d / (3 * 10) - z * math.sqrt(d), 1, 1e9)
    median, name = orthogonality.median_of_largest(45), "theory.orthogonality"
    yield compared(f"{name}.median_of_largest", median, z, "P(largest < z) = 1/2, solved", SOLVED)
    least = orthogonality.smallest_dimension(10, SLOPE)
    yield compared(f"{name}.smallest_dimension", least, d, "both sides equal, solved", SOLVED)
    fit = [orthogonality.largest_number(math.floor(d) + k, SLOPE) for k in (0, 1)]
    yield compared(f"{name}.largest_number", fit, [9, 10], "just below and above that", COUNTED)


def t2() -> Checks:
    net, x, y = problem()
    lam, columns = np.asarray([0.3, -0.2, 0.5, 0.1, 0.7]), features(net.W, x, y)
    q = y * plain_f(net.W, x)
    rest = np.max(np.abs(net.W.ravel() - columns @ lam))
    by_loops = (rest, max(1 - q), max(-lam), max(abs(lam * (q - 1))))
    yield compared("paper.kkt_violations", paper.kkt_violations(net.W, lam, x, y, SLOPE), by_loops)
    fit, squares = np.linalg.lstsq(columns, net.W.ravel())[:2]
    by_lstsq = (fit, math.sqrt(squares[0]) / np.linalg.norm(net.W))
    recovered = kkt.recover_multipliers(net, x, y)
    yield compared("theory.kkt.recover_multipliers", recovered, by_lstsq, "numpy's lstsq", SOLVED)
    C = np.random.default_rng(1).standard_normal((6, 5))
    b = combination(kkt.effective_multipliers(net, C, y) * y, x, np.eye(7))
    found, W = (1 + SLOPE) / math.sqrt(6) * b, C @ x
    route = "the difference of both mean weights is (1 + gamma) b/sqrt(m)"
    yield compared("theory.kkt.effective_multipliers", found, W[:3].mean(0) - W[3:].mean(0), route)
    x, y = orthogonal(6, 3)
    W = least_norm(x, y)
    expected = (W, np.linalg.lstsq(features(W, x, y), W.ravel())[0])
    found = paper.aligned_kkt_point(x, y, 2, SLOPE)
    route = "scipy's SLSQP: least ||W|| at margins of at least one; multipliers by lstsq"
    yield compared("paper.aligned_kkt_point", found, expected, route, SEARCHED)
    yield from solvers()


def solvers() -> Checks:
    """Of (T2), on the quick side: the point, what is certified, and a constraint that is idle."""
    x, y, W, lam, _, z = limit()
    quick, certified = "theory.kkt.aligned_kkt", "theory.kkt.certificate"
    found, q = kkt.aligned_kkt(x, y, 4, SLOPE), y * plain_f(W, x)
    yield compared(quick, (found.net.W, *found[1:3]), (W, lam, q), "reflfap.paper", SOLVED)
    off = z[0] - (z[0] @ np.linalg.pinv(x)) @ x
    two, one = np.stack([x[0], 2 * x[0] + off]), np.ones(2)
    W_few, lam_few = paper.aligned_kkt_point(x[1:], y[1:], 4, SLOPE)
    yield compared(certified, kkt.certificate(onehidden.network(W, SLOPE), x, y, lam)[0], q)
    for part, (W_bad, lam_bad, x_bad, y_bad) in {
        "stationarity": (W + 1e-3 * off, lam, x, y),
        "feasibility": (W_few, np.append(0, lam_few), x, y),
        "slackness": (1.01 * W, 1.01 * lam, x, y),
        "multipliers": (*paper.aligned_kkt_point(two, one, 4, SLOPE), two, one),
    }.items():
        try:
            net = onehidden.network(W_bad, SLOPE)
            said = str(kkt.certificate(net, x_bad, y_bad, lam_bad))
        except NoKKTPointError as refused:
            said = str(refused)
        yield compared(certified, part in said, True, "points that lack one condition", COUNTED)
    x, y = np.concatenate([x, 1.5 * x[:1] + 0.1 * off]), np.append(y, y[0])
    M = np.where(y[:, None] == y, (1 + SLOPE**2) / 2, -SLOPE) * (x @ x.T)
    root = np.linalg.cholesky(M)
    lam, _ = optimize.nnls(root.T, np.linalg.solve(root, np.ones(7)))
    route, solved = "scipy's nnls, where a constraint is idle", kkt.non_negative_solution(M)
    yield compared(quick, kkt.aligned_kkt(x, y, 4, SLOPE).lam, lam, route, SOLVED)
    yield compared("theory.kkt.non_negative_solution", solved, lam, route, SOLVED)


def t3() -> Checks:
    x, lam = limit().x, limit().lam
    squares = [one @ one for one in x]
    by_loops = (1 / (2 * max(squares)), 3 / (2 * SLOPE**2 * min(squares)))
    for module, name in ((kkt, "theory.kkt"), (paper, "paper")):
        low, high = module.multiplier_bounds(x, SLOPE)
        yield compared(f"{name}.multiplier_bounds", (low, high), by_loops)
        inside, route = (low < lam) & (lam < high), "multipliers of samples that meet (T1)"
        yield compared(f"{name}.multiplier_bounds", inside, lam > 0, route, COUNTED)


def t4() -> Checks:
    x, y, W, lam, b, z = limit()
    by_loops, signs = combination(lam * y, x, z), np.sign(plain_f(W, z))
    quick, stated = boundary.boundary_function(b, z), paper.f_bdy(z, lam, x, y)
    for name, f in (("theory.boundary.boundary_function", quick), ("paper.f_bdy", stated)):
        yield compared(name, f, by_loops)
        yield compared(name, np.sign(f), signs, "signs of the network at its KKT point", COUNTED)
    net, x, _ = problem(n=40)
    same = [np.sign(f) == np.sign(one[0]) for f, one in zip(plain_f(net.W, x), x, strict=True)]
    found = boundary.sign_agreement(net, np.eye(7)[0], x)
    yield compared("theory.boundary.sign_agreement", found, sum(same) / 40, "a count", COUNTED)


def t5() -> Checks:
    x, y, W, lam, b, _ = limit()
    quick, stated = boundary.normal(x, y, lam), paper.boundary_normal(lam, x, y)
    route = "the difference of the network's two weight vectors is (1 + gamma) b/sqrt(m)"
    for name, found in (("theory.boundary.normal", quick), ("paper.boundary_normal", stated)):
        yield compared(name, found, b)
        yield compared(name, (1 + SLOPE) / 2 * found, W[0] - W[-1], route, SOLVED)


def p1() -> Checks:
    b, targets = NORMAL, np.asarray([1.0, -1, 1])
    inf, sign = norms.LInf(EPSILON), norms.LInfSign(EPSILON)
    sets = (("l2", norms.L2(EPSILON)), ("linf", inf), ("linf", sign), ("l0", norms.L0(3)))
    for name, norm in sets:
        v, route = best_by_search(name, b, EPSILON, 3), "a search over the whole set"
        found = perturbations.direction(norm, b, EPSILON)
        yield compared("theory.perturbations.direction", found, v, route, SEARCHED)
        found = paper.geometry_inspired(b, targets, name, EPSILON, 3)
        yield compared("paper.geometry_inspired", found, [v, -v, v], route, SEARCHED)
    found = perturbations.perturbations(b, targets)
    yield compared("theory.perturbations.perturbations", found, [b, -b, b], "by hand", COUNTED)


def p2() -> Checks:
    net, x, y = problem()
    x = np.clip(x, -1, 1)  # some entries stand at the edge
    margin = partial(onehidden.margin_gradient, net)
    for name, (norm, step) in ATTACKS.items():
        size, steps = norm[0], norm[0] if name.startswith("l0") else 8
        for low, high in BOXES:
            pairs = zip(x, -y, strict=True)
            each = [climbed(net, one, t, name, size, (low, high)) for one, t in pairs]
            how: Any = {"steps": steps, "low": low, "high": high}
            found = attacks.attack(margin, x, -y, norm, chunk=3, **how)
            gain = (-y * plain_f(net.W, x), -y * plain_f(net.W, np.asarray(each)))
            expected, route = (each, *gain), "one sample at a time in loops, by differences"
            names = f"attacks.attack attacks.climb {step}"
            yield compared(names, found[:3], expected, route, DIFFERENCES)
            found = paper.attack(net.W, x, -y, SLOPE, name, size, **how)
            yield compared("paper.attack paper.length", found, each, route, DIFFERENCES)
    yield from quick_attacks()


def quick_attacks() -> Checks:
    """Attacks of a network as experiments make them, and the same in reflfap.paper."""
    old, B = np.random.default_rng(0).standard_normal((2, 8, 8))
    one, total = old + np.diag([0, 1, 0, 0, 0, 0, 0, 0]), np.zeros((3, 8, 8))
    for new, out in zip((one, old + 1, old.copy()), total, strict=True):
        add_product(out, new, old, B)
    expected = np.einsum("cnk,kp->cnp", [one - old, 0 * old + 1, 0 * old], B)
    name, route = "fast.linear_updates.add_product", "sums, where one, all or no entries differ"
    yield compared(name, total, expected, route)
    net, x, y = problem(40, 20, 30)
    x = np.clip(x, -1, 1)
    model = "fast.linear_updates.LinearUpdates"
    names = f"fast.quick_attack.attack_network {model}.start {model}.follow {name} paper.attack"
    for name, (norm, _) in ATTACKS.items():
        kind, _, variant = name.partition("-")
        ratio = norm[0] / 40 if kind == "l0" else norm[0]
        steps = None if kind == "l0" else 10
        settings: Any = {"norm": kind, "variant": variant or None, "epsilon": ratio, "slope": SLOPE}
        config = ArtificialConfig(dim=40, hidden=20, attack_steps=steps, **settings)
        for box in BOXES:
            how: Any = {"steps": config.steps, "low": box[0], "high": box[1]}
            expected = paper.attack(net.W, x, y, SLOPE, name, norm[0], **how)
            found = attack_network(net, x, y, norm, **how).x
            yield compared(names, found, expected, "reflfap.paper", SOLVED)
            found = attacked(config, net, x, y, box).x
            attack = "experiments.three_networks.attacked experiments.cell.attack_norm"
            attack += " norms.norm_named"
            yield compared(attack, found, expected, "reflfap.paper", SOLVED)
    net, x, y = problem(300, 64, 8)
    x, own = np.clip(0.45 * x, -1, 1), "fast.l2_coordinates"
    names = " ".join(f"{own}.Coordinates.{one}" for one in ("climb", "_edges", "_course"))
    for low, high in BOXES:
        how = {"steps": 30, "low": low, "high": high}
        expected = paper.attack(net.W, x, y, SLOPE, "l2", 0.3, **how)
        found = attack_network(net, x, y, norms.L2(0.3), **how).x
        yield compared(names, found, expected, "reflfap.paper, where few units turn", SOLVED)


def l1() -> Checks:
    rng, z = np.random.default_rng(0), limit().z
    (x, eta), lam = rng.standard_normal((2, 8, 60)), rng.uniform(1, 2, 8)
    target = rng.choice([-1.0, 1.0], 8)
    parts = tuple(combination(lam * target, one, z) for one in (x, eta))
    found = learning.effects(x, eta, target, lam, z)
    yield compared("theory.learning.effects", found, parts)
    yield compared("paper.effects", paper.effects(z, lam, x, eta, target), parts)
    whole = combination(lam * target, x + eta, z)
    yield compared("theory.learning.Effects.total", found.total, whole, "the boundary of x + eta")


def l2() -> Checks:
    b, z, lam = NORMAL, np.random.default_rng(0).standard_normal((20, 8)), np.linspace(1, 2, 5)
    target = np.sign([1, -1, -1, 1, -1])
    route = "sample by sample, perturbations by search"
    for norm in ("l2", "linf", "l0"):
        v = best_by_search(norm, b, EPSILON, 3)
        whole = combination(lam * target, np.outer(target, v), z)
        found = paper.perturbation_effect(z, lam, b, norm, EPSILON, 3)
        yield compared("paper.perturbation_effect", found, whole, route, SEARCHED)
        found = learning.perturbation_effect(v, float(lam.sum()), z)
        yield compared("theory.learning.perturbation_effect", found, whole, route)
    x, y, _, lam, b, _ = limit()

    def taught(eps: float) -> float:
        """f_adv_bdy(b) where flipped samples were perturbed by so much."""
        flipped = x - eps * y[:, None] * b / np.linalg.norm(b)
        return float(combination(-lam * y, flipped, b[None])[0])

    zero, found = optimize.brentq(taught, 0, 100, xtol=1e-14), learning.flipped_threshold(b, lam)
    route = "where the sum of both effects is 0, solved"
    yield compared("theory.learning.flipped_threshold", found, zero, route, SOLVED)


def l3() -> Checks:
    cases = np.asarray(list(product(range(-4, 5), range(-4, 5), (-2, 1)))).T
    first, second, f = cases
    able = [range(-abs(one), abs(one) + 1) for one in first]  # all that the first effect might be
    keep = [all((e + s) * b > 0 for e in es) for es, s, b in zip(able, second, f, strict=True)]
    route = "whether no first effect of that size turns the sign, by trial"
    found = learning.aligned(learning.Effects(first, second), f)
    yield compared("theory.learning.aligned", found, keep, route, COUNTED)
    found = paper.perturbations_decide(first, second, f)
    yield compared("paper.perturbations_decide", found, keep, route, COUNTED)


def l4() -> Checks:
    sizes, route = (600, 150, 400), "sixty draws of the model: equal multipliers, linear boundary"
    size = (0.025, "three standard errors of a fraction of 9,000, and what is asymptotic in d")
    l2, linf, l0 = prediction.accuracy_l2, prediction.accuracy_linf, prediction.accuracy_l0
    cases: list[tuple[str, float, float, float, Any, tuple[Any, ...]]] = [
        ("l2", 0.6, 1 / 3, 1, l2, ()),
        ("linf", 0.06, 1 / 3, 1, linf, ("rescale",)),
        ("linf-sign", 0.02, 1 / 3, 1, linf, ("sign",)),
        ("l0", 6, 1 / 3, 1, l0, (True,)),
        ("l0", 4, 1, math.inf, l0, (False,)),
    ]
    for norm, eps, variance, edge, quick, more in cases:
        stated = paper.predicted_accuracy(norm, *sizes, eps, variance, edge)
        expected = sampled_accuracy(norm, sizes, eps, edge)
        yield compared("paper.predicted_accuracy", stated, expected, route, size)
        names, found = f"theory.prediction.{quick.__name__}", quick(*sizes, eps, variance, *more)
        yield compared(f"{names} paper.predicted_accuracy", found, stated, "each other", SOLVED)
    found = prediction.accuracy_of_random_targets(600, 150, 1.5, 1 / 3)
    expected = sampled_accuracy("l2", (600, 150, 150), 1.5, 1, own=True)
    yield compared("theory.prediction.accuracy_of_random_targets", found, expected, route, size)
    found, size = l2(2_000, 400, 1_000, 0.5, 1 / 3), (0.07, "three standard errors of 400 samples")
    yield compared("theory.prediction.accuracy_l2", found, trained(), "trained networks", size)


@cache
def trained() -> float:
    """The accuracy of an adversarial network of (E1)."""
    config = ArtificialConfig(dim=2_000, hidden=100, n=400, n_adv=1_000, epsilon=0.5)
    return artificial.cell(config).metrics["acc_adversarial"]


def e1() -> Checks:
    how: Any = {"trainer": "gd", "epochs": 300, "dtype": "float64", "attack_steps": 10}
    config = ArtificialConfig(dim=300, hidden=10, n=60, n_adv=300, epsilon=0.8, **how)
    metrics = artificial.cell(config).metrics
    weights = [onehidden.initial_weights(10, 300, stream(0, f"{name}/W")) for name in NETWORKS]
    (x, y), (noise, target) = artificial.natural(config), artificial.noise(config)
    stated = paper.learning_from_perturbations(
        *(x, y, noise, target, weights, config.slope, "l2", 0.8, 10, 300, -1, 1)
    )
    names = "experiments.artificial.cell experiments.three_networks.train_and_attack"
    predicted = paper.predicted_accuracy("l2", 300, 60, 300, 0.8, 1 / 3)
    found = [metrics[f"acc_{name}"] for name in (*NETWORKS, "predicted")]
    yield compared(names, found, [*stated, predicted], "reflfap.paper", SOLVED)
    size = (0.2, "three standard errors of a fraction of 60")
    name = "paper.learning_from_perturbations"
    route = "memory, chance, and what (L4) predicts"
    yield compared(name, stated, [1, 0.5, predicted], route, size)
    net, x, y = problem(n=40)
    x[:5] = 0
    count = sum(one > 0 for one in y * plain_f(net.W, x)) / 40
    found = paper.accuracy(net.W, x, y, SLOPE)
    yield compared("paper.accuracy", found, count, "a count, five of f(x) = 0", SOLVED)
