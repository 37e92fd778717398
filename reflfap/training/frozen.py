"""The implicit step on the margins, with the activation pattern frozen (numerics of the flow).

With the pattern Phi = phi'(Z) held fixed, gradient flow (N5) acts on the margins alone:

    dq/dt = (1/N) H r(q),   H_nk = y_n y_k M_nk,   M = K o (Phi^T Phi) / m,   r = -l'(q),

where K = X X^T and o is the entrywise product. M is positive semi-definite, a product of two such.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from reflfap.backend import Array, namespace
from reflfap.errors import ConvergenceError
from reflfap.losses import Loss, rate, value

MOST_NEWTON = 60
MOST_CG = 1000


class Implicit(NamedTuple):
    """The outcome of an implicit step."""

    q: Array  # (N,) float64 margins at its end
    r: Array  # (N,) float64 rates -l'(q) there
    newton: int  # Newton iterations
    products: int  # products of M with a vector


def interaction(K: Array, slopes: Array, out: Array | None = None) -> Array:
    """M = K o (Phi^T Phi)/m, (N, N), from K (N, N) and phi'(Z) (m, N); 2 m N^2 operations or half.

    NumPy sees that both factors are one array and computes one triangle only. Fills `out` if given.
    Checked by test_flow.py::test_interaction_is_the_margins_jacobian.
    """
    Phi = slopes / math.sqrt(slopes.shape[0])
    M = namespace(K).matmul(Phi.T, Phi, out=out)
    M *= K
    return M


def implicit_step(loss: Loss, M: Array, y: Array, q: Array, c: float, tolerance: float) -> Implicit:
    """Solve q+ = q + c H r(q+), implicit Euler with c = dt/N, to a residual of `tolerance` (RMS).

    With q+ = q + H v this is v = c r(q+): the least point of the strictly convex
    P(v) = v^T H v / (2c) + sum_n l(q + H v), found by Newton's method with halved steps where P
    does not fall enough. With g = v - c r, D = diag(l'') and E = D^(1/2), the step is
    s = -g - c E u, (I + c E H E) u = -E H g: symmetric, its eigenvalues at least one.

    Conjugate gradients solve it, since what is too stiff to follow is a few large eigenvalues: 4 to
    6 products with M, on white data and raw images alike; a Cholesky factor takes 8 to 21 times as
    long (N = 1,000 and 5,000, benchmarks/newton.py). Vectors are float64, products in M's dtype.
    Raises ConvergenceError. Checked by test_flow.py::test_implicit_step_solves_its_equation.
    """
    xp = namespace(M)
    count = 0

    def H(vector: Array) -> Array:
        nonlocal count
        count += 1
        return y * xp.astype(M @ xp.astype(y * vector, M.dtype), xp.float64)

    v, Hv = xp.zeros_like(q), xp.zeros_like(q)
    for newton in range(MOST_NEWTON):
        r = rate(loss, q + Hv)
        g = v - c * r
        Hg = H(g)
        if rms(Hg) <= tolerance:
            return Implicit(q + Hv, r, newton, count)
        E = xp.exp(0.5 * loss.log_curvature(q + Hv))

        def matrix(vector: Array, E: Array = E) -> Array:
            return vector + c * E * H(E * vector)

        u = conjugate_gradients(matrix, -E * Hg, 1e-3)
        s, Hs = -g - c * E * u, -Hg - c * H(E * u)
        length = _line_search(loss, q, (v, Hv), (s, Hs), c, float(xp.sum(Hg * s)) / c)
        v, Hv = v + length * s, Hv + length * Hs
    raise ConvergenceError(
        f"implicit step: expected a residual of {tolerance:.2g} in {MOST_NEWTON} Newton "
        f"iterations, got {rms(Hg):.2g}; use float64, or a larger tolerance"
    )


def _line_search(
    loss: Loss,
    q: Array,
    point: tuple[Array, Array],
    step: tuple[Array, Array],
    c: float,
    slope: float,
) -> float:
    """The first of 1, 1/2, 1/4, ... along `step` at which P has fallen by a part of its slope."""
    xp = namespace(q)
    (v, Hv), (s, Hs) = point, step

    def potential(length: float) -> float:
        end, Hend = v + length * s, Hv + length * Hs
        return float(xp.sum(end * Hend) / (2 * c) + xp.sum(value(loss, q + Hend)))

    start, length = potential(0.0), 1.0
    rounding = 1e-12 * abs(start)
    while not potential(length) <= start + 1e-4 * length * slope + rounding and length > 1e-6:
        length /= 2
    return length


def conjugate_gradients(A: Callable[[Array], Array], b: Array, tolerance: float) -> Array:
    """x with ||A x - b|| <= tolerance ||b|| for a symmetric positive definite A, from x = 0.

    Checked by test_flow.py::test_conjugate_gradients.
    """
    xp = namespace(b)
    x, residual = xp.zeros_like(b), b
    direction, size = b, float(xp.sum(b * b))
    enough = tolerance**2 * size
    for _ in range(MOST_CG):
        if size <= enough:
            return x
        image = A(direction)
        step = size / float(xp.sum(direction * image))
        x = x + step * direction
        residual = residual - step * image
        before, size = size, float(xp.sum(residual * residual))
        direction = residual + (size / before) * direction
    raise ConvergenceError(
        f"conjugate gradients: expected a residual cut to {tolerance:.2g} in {MOST_CG} "
        f"iterations, got {tolerance * math.sqrt(size / enough):.2g}; use float64"
    )


def rms(values: Array) -> float:
    """Root mean square of a vector."""
    xp = namespace(values)
    return math.sqrt(float(xp.mean(values * values)))
