"""Odd problems for the numerical functions: a ReflfapError, or finite numbers of the right kind.

An infinite margin of (T1) is what its documentation says of exactly orthogonal samples.
"""

import random
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from faults.campaign import Bench, Trial
from faults.child import Child, Defect
from faults.problems_at_random import SCALES, Problem, problem, sound
from reflfap import attacks, losses, onehidden
from reflfap.errors import ReflfapError
from reflfap.fast.quick_attack import attack_network
from reflfap.theory import (
    boundary,
    kkt,
    learning,
    orthogonality,
    perturbations,
    prediction,
    uniqueness,
)
from reflfap.training.descent import descent
from reflfap.training.flow import flow

WRONG = 3
"""Exit code of a child whose numbers are wrong; it prints them."""

Complaints = Iterable[str]


def _trained(name: str, found: Any, given: Problem) -> Complaints:
    n, (m, d) = len(given.x), given.W.shape
    yield sound(f"{name} W", found.net.W, (m, d), given.x.dtype)
    yield sound(f"{name} q", found.q, (n,), given.x.dtype)
    if found.C is not None:
        yield sound(f"{name} C", found.C, (m, n), given.x.dtype)
    for what, values in found.trace._asdict().items():
        yield sound(f"{name} {what}", values, values.shape[:1], "f8")


def _loss(given: Problem) -> losses.Loss:
    return given.rng.choice(sorted(losses.LOSSES.values(), key=lambda one: one.name))


def of_flow(given: Problem) -> Complaints:
    time, tolerance = given.rng.choice((1e-300, 1e-3, 1.0, 1e4, 1e30, 1e300)), 0.3
    if given.rng.random() < 0.2:
        tolerance = given.rng.choice((0.03, 0.003, 1.0))  # smaller ones may take minutes, in order
    found = flow(given.net, given.x, given.y, _loss(given), time=time, tolerance=tolerance)
    return _trained("flow", found, given)


def of_descent(given: Problem) -> Complaints:
    form = given.rng.choice(("auto", "weights", "coefficients"))
    rate = given.rng.choice((0.01, 1.0, 1e6, 1e-300, 1e300))
    how = {"epochs": given.rng.choice((1, 30, 200)), "rate": rate, "form": form}
    return _trained("descent", descent(given.net, given.x, given.y, _loss(given), **how), given)


def _perturbed(found: attacks.Perturbed, given: Problem) -> Complaints:
    n, d = given.x.shape
    yield sound("x", found.x, (n, d), given.x.dtype)
    for name in ("margin_start", "margin"):
        yield sound(name, getattr(found, name), (n,), given.x.dtype)
    yield "" if (found.margin >= found.margin_start).all() else "a margin fell"


def _of_attack(given: Problem) -> dict[str, Any]:
    how = {"norm": given.norm(), "steps": given.rng.choice((0, 1, 10, 100))}
    if given.rng.random() < 0.5:
        how |= {"low": float(given.x.min()), "high": float(given.x.max())}
    return how


def of_attack_network(given: Problem) -> Complaints:
    return _perturbed(attack_network(given.net, given.x, given.y, **_of_attack(given)), given)


def of_attack(given: Problem) -> Complaints:
    net, how = given.net, _of_attack(given)
    how |= {"chunk": given.rng.choice((None, 1, 5)), "workers": given.rng.choice((1, 2))}
    found = attacks.attack(
        lambda x, y: onehidden.margin_gradient(net, x, y), given.x, given.y, **how
    )
    return _perturbed(found, given)


def of_aligned_kkt(given: Problem) -> Complaints:
    m, (n, d) = len(given.W), given.x.shape
    found = kkt.aligned_kkt(given.x, given.y, m, given.slope)
    yield sound("W", found.net.W, (m, d), given.x.dtype)
    yield sound("lam", found.lam, (n,), "f8")
    yield sound("q", found.q, (n,), "f8")
    yield sound("residual", found.residual, ())


def of_recover_multipliers(given: Problem) -> Complaints:
    found = kkt.recover_multipliers(given.net, given.x, given.y)
    yield sound("lam", found.lam, (len(given.x),), "f8")
    yield sound("residual", found.residual, ())


def of_effective_multipliers(given: Problem) -> Complaints:
    C = given.W[:, :1] * given.y
    found = kkt.effective_multipliers(given.net, C, given.y)
    yield sound("lam", found, (len(given.y),), C.dtype)


def of_non_negative_solution(given: Problem) -> Complaints:
    x = given.x.astype("f8")
    yield sound("lam", kkt.non_negative_solution(x @ x.T), (len(x),), "f8")


def of_multiplier_bounds(given: Problem) -> Complaints:
    for found in kkt.multiplier_bounds(given.x, given.slope):
        yield sound("bound", found, ())


def of_orthogonality(given: Problem) -> Complaints:
    found = orthogonality.orthogonality(given.x, given.slope)
    for name, value in found._asdict().items():
        yield sound(name, value, ())
    yield sound("margin", found.margin, ()) if found.p_max > 0 else ""


def of_certificate(given: Problem) -> Complaints:
    found = uniqueness.certify(given.x, given.slope)
    for name, value in zip(found._fields[:4], found[:4], strict=True):
        yield sound(name, value, ())


def of_dimensions(given: Problem) -> Complaints:
    n = given.rng.choice((1, 2, 3, 1000, 10**9, 10**18, 10**30))
    yield sound("smallest dimension", orthogonality.smallest_dimension(n, given.slope), ())
    dim = given.rng.choice((1, 100, 10**9, 10**30))
    yield sound("largest number", float(orthogonality.largest_number(dim, given.slope)), ())


def of_boundary(given: Problem) -> Complaints:
    (n, d), dtype = given.x.shape, given.x.dtype
    b = boundary.normal(given.x, given.y, given.lam)
    yield sound("b", b, (d,), dtype)
    yield sound("f", boundary.boundary_function(b, given.other), (n,), dtype)
    yield sound("agreement", boundary.sign_agreement(given.net, b, given.other), ())
    yield sound("threshold", learning.flipped_threshold(b, given.lam), ())


def of_effects(given: Problem) -> Complaints:
    n, dtype = len(given.x), given.x.dtype
    parts = learning.effects(given.x, given.other, given.y, given.lam, given.other)
    for name, values in (*parts._asdict().items(), ("total", parts.total)):
        yield sound(name, values, (n,), dtype)
    yield sound("aligned", learning.aligned(parts, parts.samples), (n,), bool)
    effect = learning.perturbation_effect(given.x[0], float(given.lam.sum()), given.other)
    yield sound("second effect", effect, (n,), dtype)


def of_direction(given: Problem) -> Complaints:
    (n, d), dtype = given.x.shape, given.x.dtype
    v = perturbations.direction(given.norm(), given.x[0], given.rng.choice((None, given.size())))
    yield sound("v", v, (d,), dtype)
    yield sound("eta", perturbations.perturbations(v, given.y), (n, d), dtype)


def of_prediction(given: Problem) -> Complaints:
    rng = given.rng
    dim, n, n_adv = (rng.choice((1, 2, 100, 10_000, 10**9, 10**18)) for _ in range(3))
    epsilon, variance = (rng.choice((*SCALES, 0.78, 1 / 3)) for _ in range(2))
    variant = rng.choice(("rescale", "sign"))
    yield sound("l2", prediction.accuracy_l2(dim, n, n_adv, epsilon, variance), ())
    yield sound("linf", prediction.accuracy_linf(dim, n, n_adv, epsilon, variance, variant), ())
    pixels = min(dim, rng.choice((1, 5, 1000)))
    yield sound("l0", prediction.accuracy_l0(dim, n, n_adv, pixels, variance, True), ())
    own = prediction.accuracy_of_random_targets(dim, n, epsilon, variance)
    yield sound("of random targets", own, ())


FUNCTIONS: tuple[Callable[[Problem], Complaints], ...] = (
    *(of_flow, of_flow, of_descent, of_attack_network, of_attack_network, of_attack),
    *(of_aligned_kkt, of_recover_multipliers, of_effective_multipliers, of_non_negative_solution),
    *(
        of_multiplier_bounds,
        of_orthogonality,
        of_certificate,
        of_dimensions,
        of_boundary,
        of_effects,
    ),
    *(of_direction, of_prediction),
)


def trial(rng: random.Random, bench: Bench, here: Path) -> Trial:
    """One function, one problem."""
    function, seed = rng.choice(FUNCTIONS), rng.getrandbits(32)

    def work() -> int:
        warnings.simplefilter("ignore")
        try:
            found = [one for one in function(problem(random.Random(seed))) if one]
        except ReflfapError as error:
            print(error)
            return 0
        print(*found, sep="\n")
        return WRONG if found else 0

    ended = Child(here, (), work).end()
    defects = ended.complaints((0, 1, WRONG))
    if ended.code == WRONG:
        defects.append(Defect("numbers", ended.out[-300:]))
    return Trial(function.__name__, f"problem(random.Random({seed}))", defects)
