"""The checks of `reflfap audit`: one function a tag, each returning its worst residual.

Each builds its own small problem in float64 and takes a second route to the same quantity: loops,
differences, an independent integrator, a search, or the definition itself.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from reflfap import attacks, onehidden
from reflfap.backend import HostArray
from reflfap.config import ArtificialConfig
from reflfap.experiments import artificial
from reflfap.following import perturb
from reflfap.losses import EXPONENTIAL, LOSSES, value
from reflfap.theory import boundary, kkt, learning, orthogonality
from reflfap.theory.perturbations import direction, perturbations
from reflfap.training.descent import descent
from reflfap.training.flow import flow

SLOPE = 0.5
EPSILON = 0.3
NORMS = (attacks.L2(EPSILON), attacks.LInfSign(EPSILON), attacks.L0(2))


class Problem(NamedTuple):
    net: onehidden.Network
    x: HostArray
    y: HostArray


def problem(dim: int = 7, hidden: int = 6, n: int = 5) -> Problem:
    """A random network on random samples, both signs of every kind present."""
    rng = np.random.default_rng(0)
    net = onehidden.network(rng.standard_normal((hidden, dim)) / math.sqrt(dim), SLOPE)
    return Problem(net, rng.standard_normal((n, dim)), rng.choice([-1.0, 1.0], n))


class Limit(NamedTuple):
    point: kkt.KKT
    x: HostArray
    y: HostArray
    b: HostArray  # normal of the boundary (T5)
    z: HostArray  # points: random, on both sides of the boundary, and the samples


def limit(seed: int = 0, dim: int = 60, n: int = 6) -> Limit:
    """The KKT point on nearly orthogonal samples on which (T1) holds."""
    rng = np.random.default_rng(seed)
    x = np.linalg.qr(rng.standard_normal((dim, n)))[0].T * rng.uniform(1, 1.3, (n, 1))
    x += 1e-3 * rng.standard_normal((n, dim)) / math.sqrt(dim)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    point = kkt.aligned_kkt(x, y, 4, SLOPE)
    b = boundary.normal(x, y, point.lam)
    z = rng.standard_normal((200, dim))
    on = z - np.outer(z @ b, b) / (b @ b)
    return Limit(point, x, y, b, np.concatenate([z, on + 1e-6 * b, on - 1e-6 * b, x]))


def n1() -> float:
    net, x, _ = problem()
    loops = [
        sum(a * max(w @ one, SLOPE * (w @ one)) for a, w in zip(net.a, net.W, strict=True))
        for one in x
    ]
    return float(np.max(np.abs(onehidden.forward(net, x)[0] - loops)))


def n2() -> float:
    q = np.linspace(-20, 20, 41)
    plain = {"exponential": np.exp(-q), "logistic": np.log1p(np.exp(-q))}
    return max(float(np.max(np.abs(value(LOSSES[name], q) / plain[name] - 1))) for name in plain)


def n3() -> float:
    net, x, y = problem()
    worst = 0.0
    for loss in LOSSES.values():
        gradient = onehidden.weight_gradient(net, x, y, loss)[1]
        for j, i in np.ndindex(*net.W.shape):
            step = np.zeros_like(net.W)
            step[j, i] = 1e-6
            ends = [
                float(np.mean(onehidden.weight_gradient(net._replace(W=W), x, y, loss)[0]))
                for W in (net.W + step, net.W - step)
            ]
            worst = max(worst, abs((ends[0] - ends[1]) / 2e-6 - gradient[j, i]))
    return worst


def n4() -> float:
    net, x, y = problem()
    worst = 0.0
    for loss in LOSSES.values():
        gradient = onehidden.input_gradient(net, x, y, loss)[1]
        for i in range(x.shape[1]):
            step = np.zeros(x.shape[1])
            step[i] = 1e-6
            ends = [onehidden.input_gradient(net, z, y, loss)[0] for z in (x + step, x - step)]
            worst = max(worst, float(np.max(np.abs((ends[0] - ends[1]) / 2e-6 - gradient[:, i]))))
    return worst


def n5() -> float:
    x, y = limit().x, limit().y
    W = np.outer(onehidden.output_weights(4), y @ x) * 0.3
    net = onehidden.network(W, SLOPE)

    def velocity(_: float, flat: HostArray) -> HostArray:
        moved = net._replace(W=flat.reshape(W.shape))
        gradient: HostArray = onehidden.weight_gradient(moved, x, y, EXPONENTIAL)[1]
        return -gradient.ravel()

    done = solve_ivp(velocity, (0, 5.0), W.ravel(), "DOP853", rtol=1e-10, atol=1e-12)
    ours = flow(net, x, y, EXPONENTIAL, time=5.0, tolerance=3e-7).net.W
    return float(np.max(np.abs(done.y[:, -1].reshape(W.shape) - ours)))


def n6() -> float:
    net, x, y = problem()
    W, v = net.W, np.zeros_like(net.W)
    for _ in range(20):
        v = 0.9 * v + onehidden.weight_gradient(net._replace(W=W), x, y, EXPONENTIAL)[1]
        W = W - 0.01 * v
    ours = descent(net, x, y, EXPONENTIAL, epochs=20).net.W
    return float(np.max(np.abs(ours - W)))


def t1() -> float:
    x = problem().x
    products = [abs(x[n] @ x[k]) for n in range(len(x)) for k in range(n)]
    norms = [math.sqrt(one @ one) for one in x]
    bound = SLOPE**3 * min(norms) ** 4 / (3 * len(x) * max(norms) ** 2)
    got = orthogonality.orthogonality(x, SLOPE)
    return max(abs(float(got.p_max / max(products)) - 1), abs(float(got.bound / bound) - 1))


def t2() -> float:
    found = limit()
    recovered = kkt.recover_multipliers(found.point.net, found.x, found.y)
    again = float(np.max(np.abs(recovered.lam / found.point.lam - 1)))
    return max(found.point.residual, recovered.residual, again)


def t3() -> float:
    found = limit()
    low, high = kkt.multiplier_bounds(found.x, SLOPE)
    if not orthogonality.orthogonality(found.x, SLOPE).holds:
        return math.inf
    return float(np.max(np.maximum(low - found.point.lam, found.point.lam - high).clip(0)))


def t4() -> float:
    found = limit()
    return 1 - boundary.sign_agreement(found.point.net, found.b, found.z)


def t5() -> float:
    """u - v = (1 + gamma) b / sqrt(m), where f(z) = (sqrt(m)/2) (phi(<u, z>) - phi(<v, z>))."""
    found = limit()
    W, m = found.point.net.W, 4
    expected = (1 + SLOPE) / math.sqrt(m) * found.b
    return float(np.max(np.abs(W[0] - W[-1] - expected)) / np.max(np.abs(expected)))


def p1() -> float:
    """How much the best of a random search exceeds the closed form, relative; never, at best."""
    b, rng, worst = limit().b[:8], np.random.default_rng(0), 0.0
    for norm in NORMS:
        best = b @ direction(norm, b, EPSILON)
        for _ in range(2_000):
            v = rng.standard_normal(8)
            if isinstance(norm, attacks.L2):
                v *= EPSILON / np.linalg.norm(v)
            elif isinstance(norm, attacks.L0):
                v = EPSILON * np.sign(v) * (rng.permutation(8) < norm.pixels)
            else:
                v = EPSILON * np.sign(v)
            worst = max(worst, float((b @ v) / best - 1))
    return worst


def p2() -> float:
    """On a network that is linear along the attack, it ends at the maximum of (P1)."""
    found = limit()
    target = -found.y
    got = attacks.attack(
        lambda x, sign: (sign * (x @ found.b), sign[:, None] * found.b),
        *(found.x, target, attacks.L2(EPSILON)),
        steps=10,
    )
    quick = perturb(found.point.net, found.x, target, attacks.L2(EPSILON), steps=10)
    outside = np.linalg.norm(quick.x - found.x, axis=1).max() / EPSILON - 1
    gain = EPSILON * np.linalg.norm(found.b)
    short = np.max(np.abs((got.margin - got.margin_start) / gain - 1))
    return max(float(outside), float(short), float(np.max(quick.margin_start - quick.margin)), 0.0)


class Learned(NamedTuple):
    parts: learning.Effects
    lam: HostArray
    v: HostArray
    first: Limit
    x_adv: HostArray
    target: HostArray


def learned() -> Learned:
    """Noise orthogonal to the natural samples, perturbed against their boundary, learned from."""
    first, rng = limit(), np.random.default_rng(1)
    noise = np.linalg.qr(np.concatenate([first.x, rng.standard_normal((8, 60))]).T)[0].T[6:]
    target = np.where(np.arange(8) % 2, 1.0, -1.0)
    v = direction(attacks.L2(EPSILON), first.b)
    eta = perturbations(v, target)
    lam = kkt.aligned_kkt(noise + eta, target, 4, SLOPE).lam
    parts = learning.effects(noise, eta, target, lam, first.z)
    return Learned(parts, lam, v, first, noise + eta, target)


def l1() -> float:
    case = learned()
    whole = case.first.z @ boundary.normal(case.x_adv, case.target, case.lam)
    return float(np.max(np.abs(case.parts.total - whole)) / np.max(np.abs(whole)))


def l2() -> float:
    case = learned()
    closed = learning.perturbation_effect(case.v, float(case.lam.sum()), case.first.z)
    multiple = EPSILON * case.lam.sum() / np.linalg.norm(case.first.b)
    standard = multiple * boundary.boundary_function(case.first.b, case.first.z)
    scale = float(np.max(np.abs(closed)))
    worst = [np.max(np.abs(case.parts.perturbations - one)) for one in (closed, standard)]
    return float(max(worst)) / scale


def l3() -> float:
    """The fraction of points that meet the condition without having the standard sign."""
    case = learned()
    f = boundary.boundary_function(case.first.b, case.first.z)
    holds = learning.aligned(case.parts, f)
    if not holds.any() or holds.all():
        return math.inf  # the condition must be tried on points of both kinds
    return float(np.mean(holds & (np.sign(case.parts.total) != np.sign(f))))


def l4() -> float:
    """Predicted less measured accuracy of one cell of (E1), with trained networks."""
    config = ArtificialConfig(dim=2_000, hidden=100, n=400, n_adv=1_000, epsilon=0.5)
    metrics = artificial.run(config).metrics
    return abs(metrics["acc_predicted"] - metrics["acc_adversarial"])
