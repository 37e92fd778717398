"""(L5): the predicted accuracy with unequal multipliers, a start of the weights, a finite time.

(L4) takes equal multipliers. Here the patterns of the hidden units are frozen at random signs
instead. Then H = g^2 (K~ + rho diag K), g = (1 + slope)/2, rho = ((1 - slope)/(1 + slope))^2, and
H lam = 1 makes b a ridge regression of the labels on the samples: b = X^T (K + rho diag K)^-1 y.
Its moments follow from the Marchenko-Pastur law. rho -> infinity gives (L4) back.

All of this is heuristic. Given frozen patterns, the ridge regression is exact and its moments are
so as d, N and N_adv grow in step. That patterns stay frozen is not true; what of the start
and of the patterns remains in the gradients is estimated in `gradient_noise`. Nothing is fitted.
docs/theory.md has the derivation and by how much it is wrong.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.theory.orthogonality import median_of_largest
from reflfap.theory.prediction import MOST_DIM, MOST_SIZE, STRIDE, mean_move, variance_left

INITIAL = 1 / 3
"""||w_j||^2 at the start, of entries uniform on [-1/sqrt(d), 1/sqrt(d)], (N6)."""
ATTACKED = ("l2", "linf", "linf-sign", "l0")
LIMIT = 9.0  # standard deviations; beyond are fewer than one in 10^18


class Learner(NamedTuple):
    """What of a network enters: the slope of the leaky ReLU, m, and the time of gradient flow."""

    slope: float = 0.01
    hidden: int = 1_000
    time: float = 1e4

    @property
    def rho(self) -> float:
        """How much a sample's own response exceeds that to others: ((1 - slope)/(1 + slope))^2."""
        return ((1 - self.slope) / (1 + self.slope)) ** 2


RELEASED = Learner()


class RidgeMoments(NamedTuple):
    """Means over a spectrum whose own mean is one."""

    first: float  # E 1/(s + rho)
    second: float  # E 1/(s + rho)^2
    fitted: float  # E s/(s + rho)^2


class Moves(NamedTuple):
    """A perturbation, by groups of coordinates, each array (groups,); y_adv eta_n is v + the rest.

    `across` is a part that all samples of a target share and those of the other have negated.
    """

    number: HostArray  # how many coordinates
    v: HostArray  # mean move
    along: HostArray  # mean of v b^, of a unit vector b^ (d,)
    own: HostArray  # variance of y_adv x_adv about its mean within a target
    across: HostArray  # variance of that mean between the targets


class Direction(NamedTuple):
    """The odd part that was learned: its cosine to b in its mean part, and all else there is."""

    cosine: float
    tan2: float  # squared length of the random part by that of the mean part
    length: float  # of the mean part, for margins of one
    multiplier: float  # mean over samples, times g^2
    unlearned: float  # of the squared length of a random vector, the share that stays


def ridge_moments(ratio: float, rho: float) -> RidgeMoments:
    """(L5), moments: E (s + rho)^-1 and more, s of Marchenko-Pastur's law of mean one.

    s are the eigenvalues of A A^T/q, A of independent entries (p, q), ratio c = p/q; above one the
    mass 1 - 1/c at zero is included. M = E (s + rho)^-1 solves c rho M^2 + (1 - c + rho) M = 1;
    E (s + rho)^-2 = M^2 (1 + c M)/(1 + c rho M^2) and E s (s + rho)^-2, which is M minus rho times
    that, M^2/((1 + c M)(1 + c rho M^2)), which no difference spoils. InputError unless ratio,
    rho > 0.
    """
    checks.real_number("ratio", ratio, 0, MOST_SIZE, "()")
    checks.real_number("rho", rho, 0, MOST_SIZE, "()")
    half = (1 - ratio + rho) / 2
    root = math.sqrt(half * half + ratio * rho)
    first = (root - half) / (ratio * rho) if half < 0 else 1 / (root + half)
    more, bend = 1 + ratio * first, 1 + ratio * rho * first**2
    return RidgeMoments(first, first**2 * more / bend, first**2 / (more * bend))


def margin_moments(ratio: float, rho: float) -> tuple[float, float]:
    """(L5), margins: mean kappa and deviation tau of y_k <b/||b||, x_k>/sigma, ratio N/d.

    kappa = E[s/(s + rho)]/r, tau^2 = Var[s/(s + rho)]/r^2, r^2 = (N/d) E[s/(s + rho)^2], s the
    spectrum of X X^T/(d sigma^2), N x N. By the equation for M these are tau = rho M = 1 -
    E[s/(s + rho)] and kappa = (1 - tau)/r, 1 - tau = M/(1 + M N/d). At rho -> infinity sqrt(d/N)
    and one. Raises InputError as `ridge_moments`.
    """
    moments = ridge_moments(ratio, rho)
    learned = moments.first / (1 + ratio * moments.first)
    return learned / math.sqrt(ratio * moments.fitted), rho * moments.first


def gradient_noise(dim: int, n: int, variance: float, learner: Learner) -> tuple[float, float]:
    """(L5), heuristic: squared length of what the attack's gradient has across b, by ||b||^2.

    Common to all samples: g^2 ||w_0||^2 shrunk by what ridge regression unlearns. Of a sample or a
    target: ((1 - slope)/2)^2 ||w_0||^2 of the start, and rho A^2 alpha^2 of the pattern.
    A = (C - E)/(C + E): a unit of the other sign learns a sample until that switches it off, so
    E = E min(C, s |xi|), xi normal, of C = q M/g^2 that the unit's own sign learns,
    s^2 = m sigma^2 ||w_0||^2 + (||b|| sigma/g)^2. alpha^2 = (2/pi) asin(t/(1 + t)) for the share of
    units that a sample switches with its sign, t = (||b|| sigma/g)^2/(m sigma^2 ||w_j||^2).
    Margins q = log(1 + time g^2 d sigma^2/(N M)), since time L(time) -> sum lam.
    """
    g, m, rho = (1 + learner.slope) / 2, learner.hidden, learner.rho
    moments = ridge_moments(n / dim, rho)
    q = math.log1p(learner.time * g**2 * dim * variance / (n * moments.first))
    b2 = q**2 * n / dim * moments.fitted / variance
    start = rho * dim / n
    common = g**2 * INITIAL * start**2 * ridge_moments(dim / n, start).second / b2
    response = b2 * (1 + common) * variance / g**2
    learned = q**2 * n * moments.first / (g**2 * dim)  # sigma^2 sum_j ||w_j - w_j(0)||^2
    t = response / (m * variance * INITIAL + learned)
    alpha2 = 2 / math.pi * math.asin(t / (1 + t))
    C, s = q * moments.first / g**2, math.sqrt(m * variance * INITIAL + response)
    bend = -math.expm1(-((C / s) ** 2) / 2)
    E = s * math.sqrt(2 / math.pi) * bend + C * math.erfc(C / s / math.sqrt(2))
    pattern = rho * ((C - E) / (C + E)) ** 2 * alpha2
    return common, g**2 * rho * INITIAL / b2 + pattern


def perturbation_moves(
    norm: str, dim: int, size: float, variance: float, bounded: bool, noise: tuple[float, float]
) -> Moves:
    """(L5), moves: v and its variances, of attacks along b + common + single, `noise` their sizes.

    With r = (1 + common)/(1 + common + single), the correlation of two samples' gradients:
    l2, linf: v of (L4) times sqrt(r). linf-sign: s sgn, with E v^2 = s^2 (2/pi) asin(r), where s is
    eps, or on [-1, 1] its mean up to the edge, s - s^2/4. l0, size d_delta: as in (L4), by pixel;
    ranks are a density, and single is averaged on a grid of 801 x 161 values. Clipping of l2 and
    linf is left out.
    """
    common, single = noise
    total = 1 + common + single
    r = (1 + common) / total
    if norm == "l0":
        return _pixels(dim, size, variance, bounded, (common, r))
    if norm == "linf-sign":
        clipped = float(mean_move(np.asarray(size))) if bounded else size
        own = float(variance_left(np.asarray(size))) if bounded else variance
        along = clipped * math.sqrt(2 / (math.pi * total * dim))
        part, v2 = clipped**2, clipped**2 * 2 / math.pi * math.asin(r)
    else:
        length = size if norm == "l2" else size * math.sqrt(dim) / median_of_largest(dim)
        along, own = length / math.sqrt(total) / dim, variance
        part, v2 = length**2 / dim, length**2 * r / dim
    groups = ([dim], [math.sqrt(v2)], [along], [own], [part - v2])
    return Moves(*(np.asarray(one, np.float64) for one in groups))


def learned_direction(moves: Moves, n_adv: int, rho: float) -> Direction:
    """(L5), what is learned: ridge regression of ones on rows y_adv x_adv = v + u_n.

    lambda = rho E||x_adv||^2; u, between 0 and 1, solves u (1 + sum_i own_i w_i) = 1 with
    w_i = 1/(N_adv u own_i + lambda). The mean part is v_i w_i N_adv u p, where p = 1 - its margin,
    1/(1 + N_adv u sum_i v_i^2 w_i), and the squared length of the rest by its own is
    tan^2 = (u'/(N_adv u^2) + N_adv u' sum own_i (v_i w_i)^2 + sum across_i w_i^2/N_adv)
    / sum (v_i w_i)^2. With own_i alike, tan^2 + 1 = (1 + d sigma^2/(N_adv ||v||^2)) times
    E[(s + rho')^-2]/E[(s + rho')^-1]^2, rho' = rho d/N_adv, ratio d/N_adv, but for `across`:
    its term is heuristic, too large where regression sees the targets' difference.
    Of a random vector (U^T U + lambda)^-1 lambda stays, lambda^2 sum w_i^2 (1 + N_adv u' own_i)/d.
    """
    count, v, along, own, across = moves
    ridge = rho * float(count @ (own + v**2 + across))
    u = unexplained_share(count, own, n_adv, ridge)
    w = 1 / (n_adv * u * own + ridge)
    slope = u * float(count @ (own * w**2)) / (1 / u - n_adv * u * float(count @ (own * w) ** 2))
    length2 = float(count @ (v * w) ** 2)
    random = slope / (n_adv * u**2) + n_adv * slope * float(count @ (own * (v * w) ** 2))
    random += float(count @ (across * w**2)) / n_adv
    p = 1 / (1 + n_adv * u * float(count @ (v**2 * w)))
    length, tan2 = n_adv * u * p * math.sqrt(length2), random / length2
    cosine = float(count @ (along * w)) / math.sqrt(length2)
    stays = ridge**2 * float(count @ (w**2 * (1 + n_adv * slope * own))) / float(np.sum(count))
    return Direction(cosine, tan2, length, p * u / ridge, stays)


def ridge_accuracy(ratio: float, rho: float, cosine: float, tan2: float) -> float:
    """(L5), accuracy: Phi( kappa c/sqrt(c^2 tau^2 + 1 - c^2 + tan^2) ), ratio N/d; c = cosine."""
    kappa, tau = margin_moments(ratio, rho)
    across = max(1 - cosine**2, 0.0)
    return float(ndtr(kappa * cosine / math.sqrt((cosine * tau) ** 2 + across + tan2)))


def sharper_accuracy(
    sizes: tuple[int, int, int],
    norm: str,
    size: float,
    variance: float,
    bounded: bool,
    learner: Learner = RELEASED,
) -> float:
    """(L5), heuristic: accuracy on the natural samples after learning perturbed noise.

    sizes: d, N, N_adv; norm: l2, linf, linf-sign, l0, of which `size` is d_delta; data of this
    variance, and on [-1, 1] if bounded. `ridge_accuracy` of the direction learned, to whose random
    part the start of this network adds ||w_0||^2 (g^2 shrunk + ((1 - slope)/2)^2 (1 - 2/pi)) by
    (q length)^2, q = log(1 + time g^2/(N_adv multiplier)): odd and even part of the start.
    InputError for what is out of range. A millisecond; l0 30.
    """
    dim, n, n_adv = check_cell(sizes, norm, size, variance, learner)
    if size == 0:
        return 0.5
    g, rho = (1 + learner.slope) / 2, learner.rho
    noise = gradient_noise(dim, n, variance, learner)
    moves = perturbation_moves(norm, dim, size, variance, bounded, noise)
    found = learned_direction(moves, n_adv, rho)
    q = math.log1p(learner.time * g**2 / (n_adv * found.multiplier))
    start = g**2 * (found.unlearned + rho * (1 - 2 / math.pi)) * INITIAL
    return ridge_accuracy(n / dim, rho, found.cosine, found.tan2 + start / (q * found.length) ** 2)


def unexplained_share(count: HostArray, own: HostArray, n_adv: int, ridge: float) -> float:
    """The u of u (1 + sum_i own_i/(N_adv u own_i + lambda)) = 1, the only one above zero."""

    def excess(u: float) -> float:
        return u * (1 + float(count @ (own / (n_adv * u * own + ridge)))) - 1

    lower = ridge / (ridge + float(count @ own))  # where the sum is at its largest
    return float(brentq(excess, 0.5 * lower, 1.0, xtol=1e-15))


def _pixels(
    dim: int, size: float, variance: float, bounded: bool, noise: tuple[float, float]
) -> Moves:
    """The L0 attack: a pixel of rank k <= d_delta moves 0.3 (d_delta - k + 1) |G|/max |G|."""
    common, r = noise
    most = min(size, dim)
    B = (np.arange(801) + 0.5) / 801 * LIMIT  # of the common part, in its deviations; half a line
    Z = np.linspace(-6, 6, 161) if r < 1 else np.zeros(1)
    weight = np.exp(-(Z**2) / 2)
    weight /= np.sum(weight)
    G = math.sqrt(r) * B[:, None] + math.sqrt(1 - r) * Z
    rank = 2 * dim * ndtr(-np.abs(G)) + 0.5
    steps = np.where(rank <= most + 0.5, np.maximum(most - rank + 1, 0), 0)
    c = STRIDE * steps * np.abs(G) / -ndtri(0.5 / (2 * dim))
    move = np.sign(G) * (mean_move(c) if bounded else c)
    own = variance_left(c) if bounded else np.full_like(c, variance)
    v = move @ weight
    count = dim * np.exp(-(B**2) / 2) / np.sum(np.exp(-(B**2) / 2))
    along = v * B / math.sqrt(dim * (1 + common))
    return Moves(count, v, along, own @ weight, np.maximum(move**2 @ weight - v**2, 0))


def check_cell(
    sizes: tuple[int, int, int], norm: str, size: float, variance: float, learner: Learner
) -> tuple[int, int, int]:
    """The sizes d, N, N_adv of a cell; InputError for whatever of it is out of range."""
    for name, count in zip(("dim", "n", "n_adv"), sizes, strict=True):
        checks.whole_number(name, count, 1, MOST_DIM)
    checks.choice("norm", norm, ATTACKED)
    if norm == "l0":
        checks.whole_number("pixels", size, 1)
    checks.real_number("size", size, 0, MOST_SIZE)
    checks.real_number("variance", variance, 1 / MOST_SIZE, MOST_SIZE)
    checks.real_number("slope", learner.slope, 0, 1, "()")
    checks.whole_number("hidden", learner.hidden, 1, MOST_DIM)
    checks.real_number("time", learner.time, 0, MOST_SIZE, "(]")
    return sizes
