"""The checks of `reflfap audit` on networks and their training, (N1) to (N6), and what all share.

A check compares functions with a second route to the same numbers: loops, differences, a search, an
integrator, a sampled model, trained networks. So it does with every formula of reflfap.paper; with
the quick code too, or there it takes reflfap.paper for the second route, which knows nothing of it.
"""

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from reflfap import losses, onehidden
from reflfap.audit.problems import (
    FALLING,
    PLAIN,
    SLOPE,
    both,
    differences,
    heavy_ball,
    integrated,
    loss_differences,
    optimize,
    paper,
    plain_f,
    problem,
    smooth,
)
from reflfap.rng import stream
from reflfap.training import flow, implicit
from reflfap.training.descent import descent
from reflfap.training.schedule import Plateau

ROUNDING = (1e-12, "float64 rounding of sums of some hundred terms")
SOLVED = (1e-9, "float64 rounding, times the condition of a small system or a small change")
DIFFERENCES = (1e-8, "central differences with h = 1e-6: rounding 1e-16/h, truncation h^2")
COUNTED = (0.0, "counted or compared: right or wrong")
LOOPS = "loops over units, samples and inputs"
EVERY_ENTRY = "every entry by central differences of loops, both losses"


class Compared(NamedTuple):
    """Functions, dotted names below reflfap, and how far they are from a second route."""

    functions: list[str]
    residual: float
    against: str
    tolerance: float
    reason: str


Checks = Iterator[Compared]


def compared(
    functions: str,
    found: Any,
    expected: Any,
    against: str = LOOPS,
    within: tuple[float, str] = ROUNDING,
) -> Compared:
    """What the functions gave, names with spaces between, beside what was expected of them."""
    return Compared(functions.split(), error(found, expected), against, *within)


def error(found: Any, expected: Any) -> float:
    """Largest difference, relative to the largest expected entry; of a tuple, the worst part's."""
    if isinstance(expected, tuple):
        return float(np.max([error(*pair) for pair in zip(found, expected, strict=True)]))
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    if found.shape != expected.shape:
        return math.inf
    return float(np.max(np.abs(found - expected))) / (float(np.max(np.abs(expected))) or 1.0)


def n1() -> Checks:
    net, x, _ = problem()
    f, Z = plain_f(net.W, x), [[w @ one for one in x] for w in net.W]
    yield compared("onehidden.forward onehidden.activation", onehidden.forward(net, x), (f, Z))
    yield compared("paper.f paper.phi paper.output_weights", paper.f(x, net.W, SLOPE), f)


def n2() -> Checks:
    net, x, y = problem()
    each = tuple(loss(y * plain_f(net.W, x)) for loss in PLAIN.values())
    found = tuple(values for values, _ in both(onehidden.weight_gradient, problem()))
    yield compared("onehidden.weight_gradient", found, each)
    means = tuple(np.mean(values) for values in each)
    yield compared("paper.L paper.loss", both(paper.L, problem()), means)
    q, route = np.linspace(-20, 20, 41), "the plain formula on [-20, 20]"
    for name, loss in losses.LOSSES.items():
        plain = PLAIN[name](q)
        yield compared("losses.value", losses.value(loss, q) / plain, q**0, route)
        yield compared("losses.log_mean", losses.log_mean(loss, q), np.log(plain.mean()), route)


def n3() -> Checks:
    expected = loss_differences("W")
    quick = "onehidden.weight_gradient onehidden.backward onehidden.output_gradient losses.rate"
    found = tuple(gradient for _, gradient in both(onehidden.weight_gradient, problem()))
    yield compared(quick, found, expected, EVERY_ENTRY, DIFFERENCES)
    found = both(paper.dL_dW, problem())
    yield compared("paper.dL_dW paper.dloss", found, expected, EVERY_ENTRY, DIFFERENCES)
    z, kink, route = np.asarray([-2, -0.0, 0, 3]), [SLOPE, SLOPE, SLOPE, 1], "its values by hand"
    found = onehidden.activation_slope(z, SLOPE)
    yield compared("onehidden.activation_slope", found, kink, route, COUNTED)
    yield compared("paper.dphi", paper.dphi(z, SLOPE), kink, route, COUNTED)


def n4() -> Checks:
    net, x, y = problem()
    q, expected = y * plain_f(net.W, x), loss_differences("x")
    values = tuple(loss(q) for loss in PLAIN.values())
    pairs = tuple(zip(values, expected, strict=True))
    found = both(onehidden.input_gradient, problem())
    yield compared("onehidden.input_gradient", found, pairs, EVERY_ENTRY, DIFFERENCES)
    found = both(paper.dl_dx, problem())
    yield compared("paper.dl_dx", found, expected, EVERY_ENTRY, DIFFERENCES)
    slopes = differences(lambda x: float(np.sum(y * plain_f(net.W, x))), x)
    found = onehidden.margin_gradient(net, x, y)
    yield compared("onehidden.margin_gradient", found, (q, slopes), EVERY_ENTRY, DIFFERENCES)


def n5() -> Checks:
    net, x, y = problem(n=8)
    Phi, n = np.where(net.W @ x.T > 0, 1.0, SLOPE), range(8)
    M = np.asarray([[np.mean(Phi[:, i] * Phi[:, k]) * (x[i] @ x[k]) for k in n] for i in n])
    yield compared("training.implicit.interaction", implicit.interaction(x @ x.T, Phi), M)
    rates = (lambda q: np.exp(-q), lambda q: 1 / (1 + np.exp(q)))
    solver = "training.implicit.implicit_step training.implicit.conjugate_gradients"
    for loss, rate in zip(losses.LOSSES.values(), rates, strict=True):
        found = implicit.implicit_step(loss, M, y, 3 * y, 0.1, 1e-12).q
        rest = partial(lambda rate, q: q - 3 * y - 0.1 * y * (M @ (y * rate(q))), rate)
        end = optimize.fsolve(rest, 3 * y, xtol=1e-12)
        yield compared(solver, found, end, "scipy's fsolve on q+ = q + c H r(q+)", SOLVED)
    net, x, y = smooth()
    route, asked = "weights at t = 5 by scipy's DOP853", (1e-6, "1e-6 a step was asked for")
    for (name, loss), end in zip(losses.LOSSES.items(), integrated(), strict=True):
        W = flow.flow(net, x, y, loss, time=5.0, tolerance=1e-6).net.W
        yield compared("training.flow.flow", W, end, route, asked)
        W = paper.gradient_flow(net.W, x, y, SLOPE, 5.0, 200, name)
        yield compared("paper.gradient_flow", W, end, route, (1e-5, "h^2, h = log(6)/200"))


def n6() -> Checks:
    route = "44 epochs in a loop, with one rate and with rates that are cut by hand"
    wide, tall = problem(), problem(dim=2, n=8)  # trained on coefficients, and on weights
    for of, rate, (name, loss) in product((wide, tall), (0.01, 2e-6), losses.LOSSES.items()):
        net, x, y = of
        expected = heavy_ball(of, rate, name)
        W = descent(net, x, y, loss, epochs=44, rate=rate).net.W
        yield compared("training.descent.descent", W - net.W, expected, route, SOLVED)
        W = paper.gradient_descent(net.W, x, y, SLOPE, 44, name, rate)
        yield compared("paper.gradient_descent", W - net.W, expected, route, SOLVED)
    W = onehidden.initial_weights(4, 9, stream(0, "W"))
    expected = (2 * stream(0, "W").random((4, 9)) - 1) / 3
    yield compared("onehidden.initial_weights", W, expected, "uniform numbers, scaled by hand")
    net, x, y = smooth()
    time = flow.released_time(500, 1e-3)
    found = flow.flow(net, x, y, losses.EXPONENTIAL, time=time, tolerance=1e-3).net.W
    slow = paper.gradient_descent(net.W, x, y, SLOPE, 500, lr=1e-3)
    first_order = (0.01, "the rate over 1 - 0.9")
    yield compared("training.flow.released_time", found, slow, "500 slow epochs", first_order)
    yield from schedule()


def schedule() -> Checks:
    """Courses of the loss and the rates that (N6) gives them, written by hand."""
    courses = {
        "it stands": ([1.0] * len(FALLING), FALLING),
        "every third epoch improves": ([(1 - 4e-5) ** k for k in range(60)], [0.01] * 60),
        "it falls too slowly": ([(1 - 8e-6) ** k for k in range(13)], [0.01] * 12 + [0.001]),
        "it falls once": ([1.0, *[0.9] * 11, 0.5, *[0.6] * 12], [0.01] * 24 + [0.001]),
    }
    names = "training.schedule.Plateau.after training.schedule.Plateau.course"
    for what, (course, rates) in courses.items():
        found = Plateau(0.01).course(course)[1]
        yield compared(names, found, rates, f"rates by hand where the loss does so: {what}")
    ends = [Plateau(0.01).course([1.0] * epochs)[0].exhausted for epochs in (77, 78)]
    yield compared(names, ends, [False, True], "exhausted when 1e-8 would be cut", COUNTED)
