"""The implicit step on the margins, with the activation pattern frozen (numerics of the flow).

With the pattern Phi = phi'(Z) held fixed, gradient flow (N5) acts on the margins alone:

    dq/dt = (1/N) H r(q),   H_nk = y_n y_k M_nk,   M = K o (Phi^T Phi) / m,   r = -l'(q),

where K = X X^T and o is the entrywise product. M is positive semi-definite, a product of two such.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from reflfap.backend import Array, floats, namespace, on_host
from reflfap.errors import ConvergenceError, NonFiniteError, refuse
from reflfap.losses import Loss, rate, value

MOST_NEWTON = 60
MOST_CG = 1000
HALVINGS = 20
MOST_STUCK = 3  # line searches without a fall: rounding then hides the way, and steps are chance

# On a device, where a look at a number waits for all the work before it:
NEWTON_UNREAD = 2  # iterations before the first look; mostly enough, on white data and on images
CG_UNREAD = 8  # iterations in all, without a look; 4 to 6 are enough


Pair: TypeAlias = tuple[Array, Array]
"""A vector v, (N,), and H v."""


class Implicit(NamedTuple):
    """The outcome of an implicit step."""

    q: Array  # (N,) float64 margins at its end
    r: Array  # (N,) float64 rates -l'(q) there
    newton: int  # Newton iterations
    products: int  # products of M with a vector


def interaction(K: Array, slopes: Array, out: Array | None = None) -> Array:
    """M = K o (Phi^T Phi)/m, (N, N), from K (N, N) and phi'(Z) (m, N); 2 m N^2 operations or half.

    NumPy sees that both factors are one array and computes one triangle only. Fills `out` if given.
    """
    Phi = slopes / math.sqrt(slopes.shape[0])
    M = namespace(K).matmul(Phi.T, Phi, out=out)
    M *= K
    return M


def implicit_step(loss: Loss, M: Array, y: Array, q: Array, c: float, tolerance: float) -> Implicit:
    """Solve q+ = q + c H r(q+), implicit Euler with c = dt/N, to a residual of `tolerance` (RMS).

    With q+ = q + H v this is v = c r(q+): a least point of the convex
    P(v) = v^T H v / (2c) + sum_n l(q + H v), found by Newton's method with halved steps where P
    does not fall enough. P is flat along the null space of H and strictly convex across it, so that
    v is not unique and q+ is. With g = v - c r, D = diag(l'') and E = D^(1/2), the step is
    s = -g - c E u, (I + c E H E) u = -E H g: symmetric, its eigenvalues at least one.

    Conjugate gradients solve it, since what is too stiff to follow is a few large eigenvalues: 4 to
    6 products with M, on white data and raw images alike; a Cholesky factor takes 8 to 21 times as
    long (N = 1,000 and 5,000, benchmarks/newton.py). Vectors are float64, products in M's dtype.
    Raises ConvergenceError and NonFiniteError.
    """
    xp = namespace(M)
    free = on_host(xp)
    count = 0

    def H(vector: Array) -> Array:
        nonlocal count
        count += 1
        return y * xp.astype(M @ xp.astype(y * vector, M.dtype), xp.float64)

    v, Hv = xp.zeros_like(q), xp.zeros_like(q)
    stuck = xp.zeros((), dtype=xp.float64)  # line searches that found no fall
    for newton in range(MOST_NEWTON):
        r = rate(loss, q + Hv)
        g = v - c * r
        Hg = H(g)
        residual = rms(Hg)
        if free or newton >= NEWTON_UNREAD:
            size, lost = floats(residual, stuck)
            if size <= tolerance:
                return Implicit(q + Hv, r, newton, count)
            if not math.isfinite(size):
                got, remedy = f"a residual of {size}", "use float64, or scale the samples down"
                refuse("implicit step", "finite margins", got, remedy, NonFiniteError)
            if lost >= MOST_STUCK:
                break
        E = xp.exp(0.5 * loss.log_curvature(q + Hv))

        def matrix(vector: Array, E: Array = E) -> Array:
            return vector + c * E * H(E * vector)

        u = conjugate_gradients(matrix, -E * Hg, 1e-3, None if free else CG_UNREAD)
        s, Hs = -g - c * E * u, -Hg - c * H(E * u)
        length = _line_search(loss, q, (v, Hv), (s, Hs), c, xp.sum(Hg * s) / c)
        stuck = stuck + xp.astype(length <= 0.5**HALVINGS, xp.float64)
        length = xp.where(residual > tolerance, length, 0.0)  # where nobody has looked
        v, Hv = v + length * s, Hv + length * Hs
    got = f"{floats(residual)[0]:.2g} in {newton + 1} Newton iterations"
    remedy = "use float64, or a larger tolerance"
    refuse("implicit step", f"a residual of {tolerance:.2g}", got, remedy, ConvergenceError)


def _line_search(loss: Loss, q: Array, point: Pair, step: Pair, c: float, slope: Array) -> Array:
    """The first of 1, 1/2, ..., 2^-20 along `step` at which P has fallen by a part of its `slope`,
    0-d. On the host one after the other, on a device all at once: it is the largest that does."""
    xp = namespace(q)
    (v, Hv), (s, Hs) = point, step

    def potential(lengths: Array) -> Array:
        end, Hend = v + lengths[:, None] * s, Hv + lengths[:, None] * Hs
        return xp.sum(end * Hend, axis=1) / (2 * c) + xp.sum(value(loss, q + Hend), axis=1)

    lengths = 0.5 ** xp.arange(HALVINGS + 1, dtype=xp.float64)
    start = potential(0 * lengths[:1])
    rounding = 1e-12 * xp.abs(start)
    at_once = 1 if on_host(xp) else len(lengths)
    for first in range(0, len(lengths), at_once):
        tried = lengths[first : first + at_once]
        enough = potential(tried) <= start + 1e-4 * tried * slope + rounding
        longest = xp.max(xp.where(enough, tried, lengths[-1]))
        if at_once > 1 or bool(xp.any(enough)):
            break
    return longest


def conjugate_gradients(
    A: Callable[[Array], Array], b: Array, tolerance: float, unread: int | None = None
) -> Array:
    """x with ||A x - b|| <= tolerance ||b|| for a symmetric positive definite A, from x = 0.

    With `unread`, so many iterations without a look at the residual, the last ones idle where fewer
    are enough; who asks for that checks the outcome.
    """
    xp = namespace(b)
    x, residual = xp.zeros_like(b), b
    direction, size = b, xp.sum(b * b)
    enough = tolerance**2 * size
    for _ in range(unread or MOST_CG):
        going = size > enough
        if unread is None and not bool(going):
            return x
        image = A(direction)
        step = xp.where(going, size, 0.0) / xp.where(going, xp.sum(direction * image), 1.0)
        x = x + step * direction
        residual = residual - step * image
        before, size = xp.where(going, size, 1.0), xp.sum(residual * residual)
        direction = residual + size / before * direction
    if unread is not None:
        return x
    expected = f"a residual cut to {tolerance:.2g} in {MOST_CG} iterations"
    got = f"{tolerance * math.sqrt(float(size / enough)):.2g}"
    refuse("conjugate gradients", expected, got, "use float64", ConvergenceError)


def rms(values: Array) -> Array:
    """Root mean square of a vector, 0-d."""
    xp = namespace(values)
    return xp.sqrt(xp.mean(values * values))
