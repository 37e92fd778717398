"""(T4), (T5): the decision boundary at the KKT point (T2), a hyperplane, in closed form."""

import numpy as np

from reflfap import checks
from reflfap.backend import Array, namespace
from reflfap.onehidden import Network, forward


def normal(x: Array, y: Array, lam: Array) -> Array:
    """(T5): b = sum_n lam_n y_n x_n, (d,), for samples x (N, d), labels y and multipliers lam (N,).

    In the dtype of x. Raises InputError for bad input, NonFiniteError where b exceeds that dtype.
    """
    xp = checks.samples_and_labels(x, y)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        b = (xp.astype(lam, x.dtype) * y) @ x
    checks.finite_result("b", b, "scale the samples or the multipliers down")
    return b


def boundary_function(b: Array, z: Array) -> Array:
    """(T4): f_bdy(z) = sum_n lam_n y_n <x_n, z> = <b, z>, (n,), at points z (n, d).

    Raises NonFiniteError where it exceeds the dtype.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        f = z @ b
    checks.finite_result("f_bdy(z)", f, "scale the points or b down")
    return f


def sign_agreement(net: Network, b: Array, z: Array) -> float:
    """(T4): the fraction of points z (n, d) with sgn f(z) = sgn f_bdy(z); one at a KKT point.

    b (d,) is the normal of (T5). 2 m n d operations. Raises NonFiniteError where f(z) or f_bdy(z)
    exceeds the dtype.
    """
    xp = namespace(z)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        f = forward(net, z)[0]
    checks.finite_result("f(z)", f, "scale the points or the weights down")
    same = xp.sign(f) == xp.sign(boundary_function(b, z))
    return float(xp.mean(xp.astype(same, xp.float64)))
