"""(T4), (T5): the decision boundary at the KKT point (T2), a hyperplane, in closed form."""

from reflfap import checks
from reflfap.backend import Array, namespace
from reflfap.onehidden import Network, forward


def normal(x: Array, y: Array, lam: Array) -> Array:
    """(T5): b = sum_n lam_n y_n x_n, (d,), for samples x (N, d), labels y and multipliers lam (N,).

    In the dtype of x.
    """
    xp = checks.samples_and_labels(x, y)
    return (xp.astype(lam, x.dtype) * y) @ x


def boundary_function(b: Array, z: Array) -> Array:
    """(T4): f_bdy(z) = sum_n lam_n y_n <x_n, z> = <b, z>, (n,), at points z (n, d)."""
    return z @ b


def sign_agreement(net: Network, b: Array, z: Array) -> float:
    """(T4): the fraction of points z (n, d) with sgn f(z) = sgn f_bdy(z); one at a KKT point."""
    xp = namespace(z)
    same = xp.sign(forward(net, z)[0]) == xp.sign(boundary_function(b, z))
    return float(xp.mean(xp.astype(same, xp.float64)))
