"""What the even part of a network remembers, passes on and teaches where N exceeds d.

(L5) keeps of the even part's kernel the diagonal alone. Here its quadratic part is kept too. With
g = (1 + slope)/2, h = (1 - slope)/2 and patterns of random signs, the tangent kernel is

    g^2 <x, x'>  +  h^2 <x, x'> (2/pi) asin(<x, x'>/(|x| |x'|)),

an odd part and an even one. For x != x' in many dimensions the even one is nearly
h^2 (2/pi) <x, x'>^2/(|x| |x'|): that of D = (d - 1)(d + 2)/2 features, the entries of the traceless
x x^T/|x|. So training is one ridge regression on d + D features, and all of (L5) goes over to two
groups of them. The formulas are in docs/theory.md, with their errors.

All of this is heuristic, like (L5), and nothing is fitted. Left out: what is beyond the quadratic
off the diagonal (smaller by 1/d), and margins that differ between samples.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from reflfap import checks
from reflfap.backend import Array, HostArray
from reflfap.norms import row_norms
from reflfap.theory.asymptotic import (
    INITIAL,
    RELEASED,
    Learner,
    Moves,
    check_cell,
    gradient_noise,
    perturbation_moves,
    unexplained_share,
)


class Features(NamedTuple):
    """The kernel of random patterns as features in groups; arrays (groups,), the last is even."""

    number: HostArray
    own: HostArray  # variance of one at a fresh point
    ridge: float  # what the kernel has more at a sample itself


class Memory(NamedTuple):
    """y_k times odd and even part at the own samples of a network of margins one, arrays (2,).

    The even part without what it has at a sample alone, the ridge.
    """

    mean: HostArray
    cov: HostArray  # (2, 2)
    fresh: HostArray  # variance at fresh points
    multiplier: float


class Regression(NamedTuple):
    """Ridge regression of ones on rows v + u_n; arrays (groups,), of one feature of a group."""

    mean: HostArray  # coefficient
    random: HostArray  # its variance
    pull: HostArray  # what it is by v_i
    unlearned: HostArray  # share of the variance of a random start that stays in odd features
    multiplier: float  # mean over samples


class PartsAccuracy(NamedTuple):
    """Accuracies on the natural samples: of the network, and of either part alone."""

    network: float
    odd: float
    even: float


def even_kernel(x: Array, other: Array, slope: float) -> Array:
    """h^2 <x, x'> (2/pi) asin(<x, x'>/(|x| |x'|)), (n, k): the even part of the tangent kernel.

    The mean over w of any rotation-invariant law of phi'(<w, x>) phi'(<w, x'>) <x, x'>, less
    g^2 <x, x'>: signs of <w, x> and <w, x'> differ with the probability angle/pi. Points x (n, d)
    and other (k, d), no row zero, of one dtype, in which it is computed: where two points have one
    direction it errs by the root of a rounding. 2 n k d operations. InputError for bad points.
    """
    xp = checks.matrix("x", x)
    checks.matrix("other", other)
    checks.columns(other, x.shape[1])
    checks.real_number("slope", slope, 0, 1, "()")
    across, down = row_norms(other), row_norms(x)[:, None]
    shortest = min(float(xp.min(across)), float(xp.min(down)))
    checks.real_number("length of a point", shortest, 0, math.inf, "()")
    products = x @ other.T
    cosines = xp.clip(products / down / across, -1, 1)  # but for rounding they are inside
    return ((1 - slope) / 2) ** 2 * (2 / math.pi) * products * xp.arcsin(cosines)


def kernel_features(number: HostArray, own: HostArray, size2: float, slope: float) -> Features:
    """Groups of inputs, of these variances, and the quadratic ones, for E|x|^2 = size2.

    Odd: g^2 own. Even: h^2 (2/pi) size2 over all D = (d - 1)(d + 2)/2. asin(1) = pi/2, so that at a
    sample itself the kernel has h^2 (1 - 2/pi) size2 more than the features.
    """
    g2, h2 = ((1 + slope) / 2) ** 2, ((1 - slope) / 2) ** 2
    dim = float(np.sum(number))
    quadratic = max((dim - 1) * (dim + 2) / 2, 1.0)
    even = h2 * (2 / math.pi) * size2 / quadratic
    ridge = h2 * (1 - 2 / math.pi) * size2
    return Features(np.append(number, quadratic), np.append(g2 * own, even), ridge)


def regression(features: Features, v: HostArray, across: HostArray, n: int) -> Regression:
    """n rows v + u_n, u_n of independent features; `learned_direction` with ridge as given.

    u solves u (1 + sum own_i w_i) = 1, w_i = 1/(n u own_i + ridge). A sample left out sees
    1 - <v, theta> - <u_n, theta> remain, of mean p = 1/(1 + n u sum v_i^2 w_i) and mean square
    (p^2 + sum own_i mean_i^2)/(1 - S), S = n u^2 sum own_i^2 w_i^2. So mean_i = n u p w_i v_i and
    random_i = n u^2 w_i^2 own_i times that, and n (u p w_i)^2 across_i, heuristic as in (L5). With
    v = 0 it is the regression of random labels, whose rows y_n z_n have no mean.
    """
    number, own, ridge = features
    u = unexplained_share(number, own, n, ridge)
    w = 1 / (n * u * own + ridge)
    p = 1 / (1 + n * u * float(number @ (v**2 * w)))
    mean = n * u * p * w * v
    rest = 1 - n * u**2 * float(number @ (own * w) ** 2)  # 1 - S
    left = (p**2 + float(number @ (own * mean**2))) / rest
    random = n * u**2 * w**2 * (own * left + p**2 * across)
    seen = float(number[:-1] @ (own * w**2)[:-1])  # where what stays of a start is looked at
    unlearned = (ridge * w) ** 2 * (1 + n * own * u**2 * seen / rest)
    return Regression(mean, random, n * u * p * w, unlearned, p * u / ridge)


def memory(dim: int, n: int, variance: float, learner: Learner = RELEASED) -> Memory:
    """What a network of random labels has of them at its own samples, and at fresh points.

    f without sample k is xi_o + xi_e at it, of the variances `fresh`. Learning it adds
    k_g (1 - y_k (xi_o + xi_e)) to part g, k_g = u sum_i own_i w_i over the part's features: so the
    mean is k_g, and the rest of the margin is the ridge's. For N/d -> 0 the even part has
    mean/sqrt(fresh) -> sqrt(D/N), near d/sqrt(2 N), where the odd one has sqrt(d/N).
    """
    check_cell((dim, n, 1), "l2", 0.0, variance, learner)
    inputs = np.asarray([float(dim)]), np.asarray([variance])
    features = kernel_features(*inputs, dim * variance, learner.slope)
    found = regression(features, np.zeros(2), np.zeros(2), n)
    fresh = features.number * features.own * found.random
    u = unexplained_share(*features[:2], n, features.ridge)
    learned = u * features.number * features.own / (n * u * features.own + features.ridge)
    mixed = np.eye(2) - learned[:, None]  # of (xi_o, xi_e)
    return Memory(learned, mixed * fresh @ mixed.T, fresh, found.multiplier)


def parts_accuracy(
    sizes: tuple[int, int, int],
    norm: str,
    size: float,
    variance: float,
    bounded: bool,
    learner: Learner = RELEASED,
) -> PartsAccuracy:
    """Heuristic: accuracies on the natural samples after learning perturbed noise, by parts.

    Arguments as of `asymptotic.sharper_accuracy`. The attack's gradient is b, what (L5) has beside
    it, and 2 A x, which differs from sample to sample. By Stein's lemma the move m of a pixel
    passes E[m G]/E[G^2] of either on: the mean row has v in the odd features, as in (L5), and
    2 own/sigma^2 times that factor of the attacked network's coefficients in the even ones. Then
    `regression`, and y_k times either part is normal, with the moments of `memory`. The start
    adds to both. InputError for what is out of range. A millisecond; l0 30.
    """
    dim, n, n_adv = check_cell(sizes, norm, size, variance, learner)
    if size == 0:
        return PartsAccuracy(0.5, 0.5, 0.5)
    g, h = (1 + learner.slope) / 2, (1 - learner.slope) / 2
    known = memory(dim, n, variance, learner)
    noise = gradient_noise(dim, n, variance, learner)
    moves = _moves((norm, dim, size, variance, bounded), noise, known)
    size2 = float(moves.number @ (moves.own + moves.v**2 + moves.across))
    features = kernel_features(moves.number, moves.own, size2, learner.slope)
    natural = h**2 * (2 / math.pi) * dim * variance / features.number[-1]  # own of an even feature
    factor = float(moves.number @ moves.along) * math.sqrt(variance / known.fresh[0])
    taught = 2 * factor / variance * math.sqrt(natural * known.fresh[1] / features.number[-1])
    v, across = np.append(g * moves.v, taught), np.append(g**2 * moves.across, 0.0)
    found = regression(features, v, across, n_adv)

    each = features.number * np.append(np.full(len(moves.v), g**2 * variance), natural)
    both = (slice(None, -1), slice(-1, None))  # odd features, even ones
    spread = np.asarray([float(each[part] @ found.mean[part] ** 2) for part in both])
    along = g**2 * math.sqrt(variance) * float(moves.number @ (found.pull[:-1] * moves.along))
    toward = np.asarray([along, math.sqrt(spread[1])]) / np.sqrt(known.fresh)
    q = math.log1p(learner.time / (n_adv * found.multiplier))  # as time L(time) -> sum lam
    stays = float(moves.number @ found.unlearned[:-1]) / dim
    start = np.asarray([g**2 * stays, h**2 * (1 - 2 / math.pi)]) * INITIAL * variance / q**2
    random = np.asarray([float(each[part] @ found.random[part]) for part in both]) + start
    random[0] += max(spread[0] - along**2, 0.0)  # of v across b
    mean, cov = toward * known.mean, toward[:, None] * known.cov * toward + np.diag(random)
    odd, even = (_right(mean[i], cov[i, i]) for i in (0, 1))
    return PartsAccuracy(_right(np.sum(mean), np.sum(cov)), odd, even)


def _moves(
    attack: tuple[str, int, float, float, bool], noise: tuple[float, float], known: Memory
) -> Moves:
    """(L5)'s moves along a gradient that has the even part's too, which differs between samples.

    A form of variance V at fresh points has the mean squared gradient 2 V/sigma^2, a linear one
    V/sigma^2. What it scatters is a sample's own variance, and not what a target's samples share.
    """
    common, single = noise
    even = 2 * float(known.fresh[1] / known.fresh[0])
    moves = perturbation_moves(*attack, (common, single + even))
    shared = moves.across * single / (single + even)
    return moves._replace(own=moves.own + moves.across - shared, across=shared)


def _right(mean: float, variance: float) -> float:
    return float(ndtr(mean / math.sqrt(variance)))
