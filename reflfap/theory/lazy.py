"""(W1) to (W4): what a wide network with biases learns in a short time, in closed form.

The network is f(x) = sum_j a_j phi(<w_j, x> + b_j), from w_j ~ N(0, I/d), b_j ~ N(0, 1),
a_j ~ N(0, 1/m). reflfap/wide.py states all of this in a page, docs/wide.md proves it. Here samples
come in blocks of rows, so that memory holds a block of the kernel alone.
"""

import math
from typing import NamedTuple

from reflfap import checks
from reflfap.backend import Array, namespace, slices
from reflfap.norms import row_norms

BLOCK = 2**23
"""Entries of a block of the kernel."""


def start_deviation(x: Array) -> Array:
    """(W1): sigma = sqrt(||x||^2/d + 1), (N,), the deviation of <w, x> + b over the start."""
    return namespace(x).sqrt(row_norms(x) ** 2 / x.shape[1] + 1)


def kernel(inner: Array, sigma: Array, sigma_z: Array, dim: int, slope: float) -> Array:
    """(W1): Phi(x_n, z_k), (N, n), from <x_n, z_k> (N, n), sigma (N,) and sigma_z (n,).

    gamma + (1 - gamma)^2 (pi - theta)/(2 pi), cos theta = (<x, z>/d + 1)/(sigma sigma_z). One array
    of the size of `inner`, which is left as it is.
    """
    xp = namespace(inner)
    Phi = inner / dim
    Phi += 1
    Phi /= sigma[:, None]
    Phi /= sigma_z
    Phi = xp.arccos(xp.clip(Phi, -1, 1, out=Phi), out=Phi)
    Phi *= -((1 - slope) ** 2) / (2 * math.pi)
    Phi += slope + (1 - slope) ** 2 / 2
    return Phi


def lazy_function(z: Array, x: Array, weights: Array, slope: float, one: float = 1.0) -> Array:
    """(W1): fhat(z) = (1/N) sum_n weights_n Phi(x_n, z) (<x_n, z> + one), (n,), for z (n, d).

    x (N, d) are the samples. `weights` (N,) are the labels y_n for the loss -q, else y_n times the
    mean of -l'(q_n) along the path. Biases that are trained give one = 1; without them, and in the
    released code, it is 0. Cost: 2 n N d. Raises InputError.
    """
    xp = _checked(x, slope)
    checks.columns(z, x.shape[1])
    sigma, parts = start_deviation(x), []
    for block in slices(z.shape[0], max(1, BLOCK // x.shape[0])):
        inner = z[block] @ x.T
        Phi = kernel(inner, start_deviation(z[block]), sigma, x.shape[1], slope)
        Phi *= inner + one
        parts.append(Phi @ weights)
    return xp.concatenate(parts) / x.shape[0]


class Combined(NamedTuple):
    """What perturbations are made of, and the range of the kernel that weighs it."""

    u: Array  # (N, d)
    low: float  # smallest and largest Phi(x_n, x_k)
    high: float


def combined(x: Array, y: Array, slope: float, gram: Array | None = None) -> Combined:
    """(W2): u_n = sum_k y_k Phi(x_n, x_k) x_k, (N, d), for x (N, d) and y (N,).

    `gram` is that of (x, 1), (N, N), where it is known, as the trainers take it. Cost: 4 N^2 d, or
    half of that with it. Raises InputError.
    """
    checks.samples_and_labels(x, y)
    xp, sigma = _checked(x, slope), start_deviation(x)
    u, lows, highs = xp.empty(x.shape, dtype=x.dtype), [], []
    for block in slices(x.shape[0], max(1, BLOCK // x.shape[0])):
        inner = x[block] @ x.T if gram is None else gram[block] - 1
        Phi = kernel(inner, sigma[block], sigma, x.shape[1], slope)
        lows.append(xp.min(Phi))
        highs.append(xp.max(Phi))
        Phi *= y
        u[block] = Phi @ x
    return Combined(u, float(xp.min(xp.stack(lows))), float(xp.max(xp.stack(highs))))


def start_outgrown(u: Array, slope: float, time: float) -> Array:
    """(W2): time ||u_n||/N over sqrt((1 + gamma^2)/2), (N,), for the u (N, d) of `combined`.

    Above 1 u_n outweighs the gradient of the start.
    """
    return time / u.shape[0] / math.sqrt((1 + slope**2) / 2) * row_norms(u)


class Taught(NamedTuple):
    """What the kernel learns from perturbed samples, by what there is to learn; (n,) each."""

    signal: Array  # ghat
    other: Array  # from mislabelled samples and biases; times 1 what ghat is times eps

    def whole(self, epsilon: float) -> Array:
        """g_T(z)/T in the limit."""
        return epsilon * self.signal + self.other


def taught(
    z: Array, x: Array | None, u: Array, target: Array, epsilon: float, slope: float
) -> Taught:
    """(W3): ghat(z) = (1/N) sum_n Phi(r_n, z) <u_n, z>/||u_n||, and the rest of what g learns,
    (1/N) sum_n t_n Phi(r_n, z) (<x_n, z> + 1), from r_n = x_n + eps t_n u_n/||u_n||.

    x (N, d), or None for perturbations alone; u (N, d), target (N,), z (n, d). Cost: 2 n N d, with
    x 4 n N d; memory: blocks, and one (block, d). Raises InputError.
    """
    checks.samples_and_targets(u, target)
    xp = _checked(u, slope)
    checks.columns(z, u.shape[1])
    sigma_z = start_deviation(z)
    signal, other = xp.zeros_like(z[:, 0]), xp.zeros_like(z[:, 0])
    for block in slices(u.shape[0], max(1, BLOCK // max(z.shape))):
        t = target[block]
        unit = u[block] / xp.maximum(row_norms(u[block]), xp.finfo(u.dtype).tiny)[:, None]
        along = unit @ z.T
        r = unit * (epsilon * t)[:, None]
        natural = xp.zeros_like(along)
        if x is not None:
            r += x[block]
            natural = x[block] @ z.T
        inner = natural + along * (epsilon * t)[:, None]
        Phi = kernel(inner, start_deviation(r), sigma_z, u.shape[1], slope)
        natural += 1
        natural *= Phi
        along *= Phi
        signal += xp.sum(along, axis=0)
        other += t @ natural
    return Taught(signal / u.shape[0], other / u.shape[0])


def coherence(z: Array, x: Array, y: Array) -> Array:
    """(W4): c(z) = (|sum_k y_k <x_k, z>| - |sum_k y_k|) / sum_k (|<x_k, z>| + 1), (n,).

    Above `kernel_spread` fhat(z) and ghat(z) have one sign. x (N, d), y (N,), z (n, d).
    Cost: 2 n N d. Raises InputError.
    """
    xp = checks.samples_and_labels(x, y)
    checks.columns(z, x.shape[1])
    parts = []
    for block in slices(z.shape[0], max(1, BLOCK // x.shape[0])):
        inner = z[block] @ x.T
        top = xp.abs(inner @ y) - xp.abs(xp.sum(y))
        parts.append(top / (xp.sum(xp.abs(inner), axis=1) + x.shape[0]))
    return xp.concatenate(parts)


def kernel_spread(low: float, high: float) -> float:
    """(W4): kappa = (high - low)/(high + low), for low <= Phi <= high; InputError unless 0 <= low
    <= high."""
    low = checks.real_number("low", low, 0, math.inf)
    high = checks.real_number("high", high, low, math.inf)
    return (high - low) / (high + low) if high > 0 else 0.0


def signal_decides(signal: Array, whole: Array) -> Array:
    """(W4): |signal| > |whole - signal|, (n,) booleans: nothing else can turn the sign."""
    xp = namespace(signal, whole)
    return xp.abs(signal) > xp.abs(whole - signal)


def _checked(x: Array, slope: float) -> Array:
    """The namespace of samples, and a slope from 0 to 1."""
    checks.real_number("slope", slope, 0.0, 1.0)
    return checks.matrix("x", x)
