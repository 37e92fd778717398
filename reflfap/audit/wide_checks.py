"""The checks of `reflfap audit` on the successor, (W1) to (W4): networks in loops, with biases of
their own in place of a constant input, and the kernel by quadrature.
"""

import math
from functools import cache
from importlib import import_module
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtr

from reflfap import onehidden
from reflfap.audit.checks import COUNTED, DIFFERENCES, LOOPS, SOLVED, Checks, compared
from reflfap.audit.problems import PLAIN, optimize
from reflfap.backend import HostArray
from reflfap.experiments import wide as experiment
from reflfap.experiments import wide_config
from reflfap.theory import lazy
from reflfap.training import identity

wide: Any = import_module("reflfap.wide")  # without types, as formulas are

SLOPES = (0.0, 0.3)
QUADRATURE = (1e-8, "quadrature to 1e-10, and arccos of what rounding leaves of a cosine")
DRAWN = (0.02, "three standard errors of some ten thousand draws")
KINDS = {"identity": lambda q: -q, "logistic": PLAIN["logistic"]}


class Start(NamedTuple):
    """Weights, biases and output weights; samples, labels, targets, points."""

    W: HostArray  # (5, 4)
    b: HostArray
    a: HostArray
    x: HostArray  # (6, 4)
    y: HostArray
    t: HostArray
    z: HostArray  # (3, 4)

    @property
    def V(self) -> HostArray:
        return np.concatenate([self.W, self.b[:, None]], axis=1)

    @property
    def x1(self) -> HostArray:
        return np.stack([np.append(one, 1.0) for one in self.x])


def small_start() -> Start:
    """A small problem with both signs of every kind; unequal numbers of labels."""
    rng = np.random.default_rng(3)
    W, b, a = rng.standard_normal((5, 4)) / 2, rng.standard_normal(5), rng.standard_normal(5)
    x, z = rng.standard_normal((6, 4)) + 0.4, rng.standard_normal((3, 4))
    y, t = np.asarray([1.0, -1, 1, 1, -1, 1]), np.asarray([-1.0, -1, 1, 1, -1, -1])
    return Start(W, b, a, x, y, t, z)


def biased_outputs(
    W: HostArray, b: HostArray, a: HostArray, x: HostArray, slope: float
) -> HostArray:
    """f by loops over samples and units."""
    found = []
    for one in x:
        each = [sum(w * one) + bias for w, bias in zip(W, b, strict=True)]
        found.append(sum(a[j] * (z if z > 0 else slope * z) for j, z in enumerate(each)))
    return np.asarray(found)


def apart(
    one: Start, x: HostArray, y: HostArray, slope: float, epochs: int, lr: float, mu: float = 0.9
) -> tuple[HostArray, HostArray]:
    """Descent on the identity loss, weights and biases apart, gradients unit by unit."""
    W, b = one.W.copy(), one.b.copy()
    v_W, v_b = 0 * W, 0 * b
    for _ in range(epochs):
        for j, a_j in enumerate(one.a):
            on = np.where(x @ W[j] + b[j] > 0, 1.0, slope)
            v_W[j] = mu * v_W[j] - a_j * sum((y * on)[:, None] * x) / len(x)
            v_b[j] = mu * v_b[j] - a_j * sum(y * on) / len(x)
        W, b = W - lr * v_W, b - lr * v_b
    return W, b


def covariance(x: Any, z: Any) -> float:
    """Of <w, x> + b and <w, z> + b over the start."""
    return sum(float(p * q) for p, q in zip(x, z, strict=True)) / len(x) + 1


@cache
def kernel_by_quadrature(x: tuple[float, ...], z: tuple[float, ...], slope: float) -> float:
    """E phi'(u) phi'(v): given u > 0, v > 0 with probability N(rho u/sqrt(1 - rho^2))."""
    rho = covariance(x, z) / math.sqrt(covariance(x, x) * covariance(z, z))
    spread = math.sqrt(max(1 - rho**2, 1e-300))

    def both(u: float) -> float:
        return math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi) * float(ndtr(rho * u / spread))

    on = quad(both, 0, 40, epsabs=1e-11)[0] if rho**2 < 1 - 1e-12 else 0.5 * (rho > 0)
    return on + 2 * slope * (0.5 - on) + slope**2 * on


def kernels(x: HostArray, z: HostArray, slope: float) -> HostArray:
    known = [[tuple(map(float, one)) for one in part] for part in (x, z)]
    return np.asarray([[kernel_by_quadrature(p, q, slope) for q in known[1]] for p in known[0]])


def derivative(function: Any, x: HostArray) -> HostArray:
    """Of each row's value with respect to each entry of the row, by central differences."""
    steps = 1e-6 * np.eye(x.shape[1])
    return np.stack([(function(x + h) - function(x - h)) / 2e-6 for h in steps], axis=1)


def w1() -> Checks:
    one = small_start()
    cov = [[covariance(p, q) for q in one.z] for p in one.x]
    size, size_z = ([math.sqrt(covariance(p, p)) for p in part] for part in (one.x, one.z))
    found = (wide.sigma(one.x), wide.angle(one.x, one.z))
    theta = np.arccos(cov / np.outer(size, size_z))
    yield compared("wide.sigma wide.angle", found, (size, theta))
    yield compared("theory.lazy.start_deviation", lazy.start_deviation(one.x), size)
    for slope in SLOPES:
        yield from network_checks(one, slope)
        expected, route = kernels(one.x, one.z, slope), "quadrature"
        found = wide.Phi(one.x, one.z, slope)
        yield compared("wide.Phi", found, expected, route, QUADRATURE)
        found = lazy.kernel(one.x @ one.z.T, np.asarray(size), np.asarray(size_z), 4, slope)
        yield compared("theory.lazy.kernel", found, expected, route, QUADRATURE)
        for bias in (1, 0):
            each = one.y[:, None] * expected * (one.x @ one.z.T + bias)
            total, route = sum(each) / 6, "a sum over samples, kernels by quadrature"
            found = wide.fhat(one.z, one.x, one.y, slope, bias)
            yield compared("wide.fhat", found, total, route, QUADRATURE)
            found = lazy.lazy_function(one.z, one.x, one.y, slope, bias)
            yield compared("theory.lazy.lazy_function", found, total, route, QUADRATURE)
        found = wide.lazy_error(one.z, one.x, slope, 7, 2.5)
        yield compared("wide.lazy_error", found, error_by_loops(one, slope, 7, 2.5))
    for epochs, lr in ((1, 0.3), (12, 0.1)):
        velocity = path = 0.0
        for _ in range(epochs):
            velocity = 0.9 * velocity + 1
            path += lr * velocity
        route = "descent along a constant gradient"
        for module, name in ((wide, "wide"), (wide_config, "experiments.wide_config")):
            found = module.descent_time(epochs, lr)
            yield compared(f"{name}.descent_time", found, path, route)
    yield from starts()


def network_checks(one: Start, slope: float) -> Checks:
    """The network, its gradients and its training."""
    expected: Any
    found: Any
    W, b, a, x, y, _, z = one
    out = biased_outputs(W, b, a, z, slope)
    yield compared("wide.f wide.with_one", wide.f(z, one.V, a, slope), out)
    found = onehidden.forward(onehidden.Network(one.V, a, slope), onehidden.with_constant(z))[0]
    yield compared("onehidden.with_constant", found, out)
    found, expected = wide.df_dx(z, one.V, a, slope), derivative(partial_f(one, slope), z)
    yield compared("wide.df_dx", found, expected, "central differences", DIFFERENCES)
    for kind, loss in KINDS.items():

        def mean(V: HostArray, loss: Any = loss) -> float:
            return float(np.mean(loss(y * biased_outputs(V[:, :-1], V[:, -1], a, x, slope))))

        yield compared("wide.L wide.loss", wide.L(a, one.V, x, y, slope, kind), mean(one.V))
        steps = [1e-6 * np.eye(25)[k].reshape(5, 5) for k in range(25)]
        each = [(mean(one.V + h) - mean(one.V - h)) / 2e-6 for h in steps]
        found, expected = wide.dL_dV(a, one.V, x, y, slope, kind), np.reshape(each, (5, 5))
        route = "every entry by central differences"
        yield compared("wide.dL_dV wide.dloss", found, expected, route, DIFFERENCES)
    route = "weights and biases apart, unit by unit"
    expected = np.concatenate(
        [p if p.ndim == 2 else p[:, None] for p in apart(one, x, y, slope, 40, 0.2)], axis=1
    )
    found = wide.learn(one.V, a, x, y, slope, 40, 0.2)
    yield compared("wide.learn", found - one.V, expected - one.V, route, SOLVED)
    net = onehidden.Network(one.V, a, slope)
    trained = identity.identity_descent(net, one.x1, y, epochs=40, rate=0.2)
    name = "training.identity.identity_descent"
    yield compared(name, trained.net.W - one.V, expected - one.V, route, SOLVED)
    yield compared(
        name, trained.q, y * biased_outputs(expected[:, :-1], expected[:, -1], a, x, slope)
    )
    fine = small_steps(slope)
    moved = identity.identity_flow(net, one.x1, y, time=4.0, share=0.002).net.W
    route = "20,000 small steps"
    few = (0.01, "steps of 0.002 of the time so far; an error of first order, after few changes")
    found = (moved[:, :-1] - W, moved[:, -1] - b)
    expected = (fine[0] - W, fine[1] - b)
    yield compared("training.identity.identity_flow", found, expected, route, few)


@cache
def small_steps(slope: float) -> tuple[HostArray, HostArray]:
    """The flow of `small_start` to time 4."""
    one = small_start()
    return apart(one, one.x, one.y, slope, 20_000, 2e-4, 0.0)


def partial_f(one: Start, slope: float) -> Any:
    return lambda z: biased_outputs(one.W, one.b, one.a, z, slope)


def error_by_loops(one: Start, slope: float, m: int, time: float) -> HostArray:
    """The bound of (W1), sample by sample."""
    x1 = one.x1
    B = math.sqrt(np.linalg.eigvalsh(x1.T @ x1 / len(x1))[-1])
    found = []
    for z in one.z:
        z1, turning = np.append(z, 1.0), 0.0
        rho_z = math.sqrt((z1 @ z1) / covariance(z, z))
        for x, both in zip(one.x, x1, strict=True):
            rho = math.sqrt((both @ both) / covariance(x, x))
            turning += abs(both @ z1) * (rho + rho_z) / len(x1)
        few = math.sqrt(3) * time * math.sqrt(z1 @ z1)
        found.append(B * (few + (1 - slope) * 2 / math.pi * time**2 * turning) / math.sqrt(m))
    return np.asarray(found)


def starts() -> Checks:
    """Variances of 20,000 units."""
    rng, m = np.random.default_rng(0), 20_000
    for name, (V, a) in {
        "wide.start": wide.start(rng, 4, m),
        "onehidden.wide_start": onehidden.wide_start(m, 4, rng),
    }.items():
        found = [*np.mean(V**2, axis=0), m * np.mean(a**2)]
        within = (0.05, "five standard errors of 20,000 squares")
        yield compared(name, found, [*4 * [1 / 4], 1, 1], "variances", within)


def w2() -> Checks:
    one = small_start()
    expected: Any
    for slope in SLOPES:
        kernel = kernels(one.x, one.x, slope)
        u = [sum((one.y * row)[:, None] * one.x) for row in kernel]
        route = "sums over samples, kernels by quadrature"
        found = wide.combinations(one.x, one.y, slope)
        yield compared("wide.combinations", found, u, route, QUADRATURE)
        expected = (u, np.min(kernel), np.max(kernel))
        for gram in (None, one.x1 @ one.x1.T):
            combined = lazy.combined(one.x, one.y, slope, gram)
            yield compared("theory.lazy.combined", tuple(combined), expected, route, QUADRATURE)
        g = derivative(partial_f(one, slope), one.x)
        unit = np.stack([row / math.sqrt(row @ row) for row in g])
        found = wide.perturb(one.x, one.t, one.V, one.a, slope, 0.3)
        route = "the steepest direction by differences"
        yield compared("wide.perturb", found, 0.3 * one.t[:, None] * unit, route, DIFFERENCES)
        net = onehidden.Network(one.V, one.a, slope)
        found = experiment.gradient_directions(net, one.x1)
        yield compared("experiments.wide.gradient_directions", found, unit, route, DIFFERENCES)
        function = lambda z, slope=slope: wide.fhat(z, one.x, one.y, slope)  # noqa: E731
        found, expected = wide.dfhat_dx(one.z, one.x, one.y, slope), derivative(function, one.z)
        yield compared("wide.dfhat_dx", found, expected, "central differences", DIFFERENCES)
        expected = [2.5 * math.sqrt(row @ row) / 6 / start_gradient(one.x, slope) for row in u]
        route = "the gradients of 20,000 drawn networks"
        for name, found in {
            "wide.outgrows_start": wide.outgrows_start(np.asarray(u), slope, 2.5),
            "theory.lazy.start_outgrown": lazy.start_outgrown(np.asarray(u), slope, 2.5),
        }.items():
            yield compared(name, found, expected, route, DRAWN)


def start_gradient(x: HostArray, slope: float) -> float:
    """Root mean square of ||df_0/dx|| at a sample, over networks of two units."""
    rng = np.random.default_rng(1)
    W, b, a = (rng.standard_normal(shape) for shape in ((20_000, 2, 4), (20_000, 2), (20_000, 2)))
    on = np.where(W @ x[0] / 2 + b > 0, 1.0, slope)
    gradient = np.sum((a / math.sqrt(2) * on)[:, :, None] * W / 2, axis=1)
    return math.sqrt(np.mean(np.sum(gradient**2, axis=1)))


def w3() -> Checks:
    one, eps = small_start(), 0.4
    for slope, natural in product(SLOPES, (one.x, 0 * one.x)):
        u = np.stack([sum((one.y * row)[:, None] * one.x) for row in kernels(one.x, one.x, slope)])
        unit = np.stack([row / math.sqrt(row @ row) for row in u])
        r = natural + eps * one.t[:, None] * unit
        kernel = kernels(r, one.z, slope)
        signal = sum(kernel * (unit @ one.z.T)) / 6
        rest = sum(one.t[:, None] * kernel * (natural @ one.z.T + 1)) / 6
        route = "sums over samples, kernels by quadrature"
        found = wide.ghat(one.z, r, u, slope)
        yield compared("wide.ghat", found, signal, route, QUADRATURE)
        found = wide.other(one.z, r, natural, one.t, slope)
        yield compared("wide.other", found, rest, route, QUADRATURE)
        x = natural if natural.any() else None
        taught = lazy.taught(one.z, x, u, one.t, eps, slope)
        yield compared("theory.lazy.taught", tuple(taught), (signal, rest), route, QUADRATURE)
        learned = sum(one.t[:, None] * kernel * (r @ one.z.T + 1)) / 6
        route, name = "what is learned from (r, t), by (W1)", "theory.lazy.taught"
        yield compared(name, taught.whole(eps), learned, route, QUADRATURE)
        targets = np.asarray(list(product((-1.0, 1.0), repeat=6)))
        all_of_them = targets @ (kernel * (natural @ one.z.T + 1)) / 6
        expected = np.sqrt(np.mean(all_of_them**2, axis=0))
        found, route = wide.other_size(one.z, r, natural, slope), "all 64 targets"
        yield compared("wide.other_size", found, expected, route, QUADRATURE)


def w4() -> Checks:
    one = small_start()
    expected = []
    for z in one.z:
        inner = [float(x @ z) for x in one.x]
        top = abs(sum(y * p for y, p in zip(one.y, inner, strict=True))) - abs(sum(one.y))
        expected.append(top / sum(abs(p) + 1 for p in inner))
    yield compared("wide.coherence", wide.coherence(one.z, one.x, one.y), expected, LOOPS)
    yield compared("theory.lazy.coherence", lazy.coherence(one.z, one.x, one.y), expected, LOOPS)
    for low, high in ((0.2, 0.5), (0.0, 0.5), (0.3, 0.4)):
        # of weights from low to high, the worst give the sum its other sign as early as they can
        least = optimize.brentq(lambda c, ends=(low, high): (1 + c) * ends[0] - (1 - c) * ends[1],
                                -1e-9, 1.0)  # fmt: skip
        route = "the least share of one sign that no weights can turn, solved"
        yield compared("wide.kappa", wide.kappa(low, high), least, route, SOLVED)
        found = lazy.kernel_spread(low, high)
        yield compared("theory.lazy.kernel_spread", found, least, route, SOLVED)
    cases = np.asarray(list(product(range(-3, 4), range(-3, 4))), dtype=float).T
    signal, whole = cases
    rests = [abs(w - s) for s, w in cases.T]
    kept = [
        s != 0 and (s + r) * s > 0 and (s - r) * s > 0 for s, r in zip(signal, rests, strict=True)
    ]
    route = "whether a rest of that size turns the sign, by trial"
    yield compared("wide.decided", wide.decided(signal, whole), kept, route, COUNTED)
    found = lazy.signal_decides(signal, whole)
    yield compared("theory.lazy.signal_decides", found, kept, route, COUNTED)
