"""(L4): predicted accuracy of a network that learned from perturbed noise, for three norms.

Natural samples and noise have independent zero-mean coordinates of variance sigma^2; labels and
targets are random; multipliers are nearly equal, so that b = lam sum_n y_n x_n. A perturbation is
eta_n = y_adv_n v plus what differs from sample to sample. At a natural sample z = x_k, with
b^ = b/||b|| and Lam = N_adv lam_adv,

    second effect  Lam y_k <v, x_k>:  mean Lam <v, b^> sigma sqrt(d/N),  deviation Lam sigma ||v||;
    first effect:  deviation Lam sigma sqrt(sum_i Var(y_adv x_adv_i) / N_adv).

The mean is the component of y_k x_k along b, ||b||/(N lam) = sigma sqrt(d/N). So, with Phi the
normal distribution function and rest = sum_i Var(y_adv x_adv_i) (d sigma^2 but for L0),

    accuracy = Phi( sqrt(d/N) <v, b^> / sqrt(||v||^2 + rest/N_adv) ),

no fitted constant. What remains is <v, b^>, ||v|| and rest for each norm; the entries of b are
nearly normal, so order statistics of normal variables give them. docs/theory.md has the proofs.
"""

import math

import numpy as np
from scipy.special import ndtri

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.theory.orthogonality import median_of_largest

STRIDE = 0.3  # of the L0 attack, (P2)

# Beyond these, squares and ratios of what is asked about might leave a float:
MOST_DIM = 10**18  # and samples
MOST_PIXELS = 10**7  # of which each is a number in memory
MOST_SIZE = 1e100  # of a perturbation or a variance; a variance is at least 1 / MOST_SIZE


def accuracy_l2(dim: int, n: int, n_adv: int, epsilon: float, variance: float) -> float:
    """(L4), L2: Phi( s / sqrt(1 + s^2 N/d) ), s = (eps/sigma) sqrt(N_adv/N).

    The accuracy on the N natural samples of a network that learned N_adv perturbed noise samples;
    `variance` is sigma^2 of one coordinate. v = eps b^, so <v, b^> = ||v|| = eps. Raises InputError
    for sizes, a perturbation or a variance out of range.
    """
    _check(dim, n, n_adv, epsilon, variance)
    return _accuracy(dim, n, n_adv, epsilon, epsilon, dim * variance)


def accuracy_linf(
    dim: int, n: int, n_adv: int, epsilon: float, variance: float, variant: str = "rescale"
) -> float:
    """(L4), Linf: `sign`, v = eps sgn(b); `rescale`, v = eps b/||b||_inf.

    The accuracy that `accuracy_l2` is of L2. For normal entries of b, <sgn b, b^> = sqrt(2 d/pi),
    and ||b||_inf is z ||b||/sqrt(d) with z the median of the largest of d normal magnitudes. Raises
    InputError as that, and for an unknown variant.
    """
    _check(dim, n, n_adv, epsilon, variance)
    checks.choice("variant", variant, ("rescale", "sign"))
    if variant == "sign":
        component, length = epsilon * math.sqrt(2 * dim / math.pi), epsilon * math.sqrt(dim)
    else:
        component = length = epsilon * math.sqrt(dim) / median_of_largest(dim)
    return _accuracy(dim, n, n_adv, component, length, dim * variance)


def accuracy_l0(dim: int, n: int, n_adv: int, pixels: int, variance: float, bounded: bool) -> float:
    """(L4), L0: the attack's own course over the d_delta largest |b_i|, in their order.

    The k-th pixel is chosen in step k and moves 0.3 |b_(k)|/|b_(1)| in each of the d_delta - k + 1
    steps from there: c_k in all, z_k the normal quantile of its rank. On unbounded (Gaussian) data
    v_k = c_k. On [-1, 1] a pixel stops after its distance D to the edge, uniform on [0, 2]:
    v_k = E min(c_k, D) = c_k - c_k^2/4, or 1 from c_k = 2 on, and it ends at the edge, or with a
    variance of its own, Var(x + min(c_k, D)). The accuracy that `accuracy_l2` is of L2; `pixels` is
    d_delta, and `bounded` says that data are on [-1, 1]. Raises InputError as that, and for no
    pixel. d_delta numbers in memory.
    """
    _check(dim, n, n_adv, 0.0, variance)
    checks.whole_number("pixels", pixels, 1)
    most = checks.whole_number("min(pixels, dim)", min(pixels, dim), 1, MOST_PIXELS)
    k = np.arange(1, most + 1)
    z = -ndtri((k - 0.5) / (2 * dim))
    c = STRIDE * (len(k) - k + 1) * z / z[0]
    v, own = (mean_move(c), variance_left(c)) if bounded else (c, np.full(len(k), variance))
    component = float(v @ z) / math.sqrt(dim)
    rest = (dim - len(k)) * variance + float(own.sum())
    return _accuracy(dim, n, n_adv, component, float(np.linalg.norm(v)), rest)


def accuracy_of_random_targets(dim: int, n: int, epsilon: float, variance: float) -> float:
    """(L4), L2, natural samples with random targets in place of noise, at those samples themselves.

    x_k was trained on with a target of its own, which adds +-Lam ||x_k||^2/N to the first effect,
    with and against its label equally often: the mean of two normal distribution functions. Raises
    InputError as `accuracy_l2`.
    """
    _check(dim, n, n, epsilon, variance)
    sigma = math.sqrt(variance)
    deviation = sigma * math.sqrt(epsilon**2 + dim * variance / n)
    learned, own = epsilon * sigma * math.sqrt(dim / n), dim * variance / n
    return sum(_Phi((learned + sign * own) / deviation) for sign in (1, -1)) / 2


def _accuracy(dim: int, n: int, n_adv: int, component: float, length: float, rest: float) -> float:
    return _Phi(math.sqrt(dim / n) * component / math.sqrt(length**2 + rest / n_adv))


def mean_move(c: HostArray) -> HostArray:
    """E min(c, D), D uniform on [0, 2], of the shape of c >= 0: c - c^2/4, and 1 from c = 2 on."""
    c = np.minimum(c, 2.0)
    return c - c**2 / 4


def variance_left(c: HostArray) -> HostArray:
    """Var(min(1, x + c)), x = 1 - D uniform on [-1, 1]: E (max(D - c, 0))^2 - (its mean)^2."""
    left: HostArray = 2 - np.minimum(c, 2.0)
    return left**3 / 6 - (left**2 / 4) ** 2


def _Phi(z: float) -> float:
    """The normal distribution function."""
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def _check(dim: int, n: int, n_adv: int, epsilon: float, variance: float) -> None:
    for name, count in (("dim", dim), ("n", n), ("n_adv", n_adv)):
        checks.whole_number(name, count, 1, MOST_DIM)
    checks.real_number("epsilon", epsilon, 0, MOST_SIZE)
    checks.real_number("variance", variance, 1 / MOST_SIZE, MOST_SIZE)
