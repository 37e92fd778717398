"""(P1): geometry-inspired perturbations, the best against a linear boundary, in closed form."""

from reflfap import checks
from reflfap.attacks import L0, L2, LInf, LInfSign
from reflfap.backend import Array, namespace
from reflfap.errors import refuse
from reflfap.norms import check_norm


def direction(norm: L2 | LInf | LInfSign | L0, b: Array, epsilon: float | None = None) -> Array:
    """(P1): the v (d,) that maximises <b, v> over the constraint set of `norm`.

    L2, ||v|| <= eps: eps b/||b||. Linf, both variants: eps sgn(b). L0, at most d_delta entries,
    each at most `epsilon` in magnitude: eps sgn(b_i) on the d_delta largest |b_i|, 0 elsewhere.
    By Cauchy-Schwarz, by Hoelder, and because a sum is largest over its largest terms.
    Raises InputError for b = 0, which no perturbation can climb, and for bad sizes, among them
    those beyond the dtype of b.
    """
    xp = checks.floating("b", b, ndim=1)
    check_norm(norm)
    if not bool(xp.all(xp.isfinite(b))):
        refuse("b", "finite numbers", "NaN or infinity", "check the data and the multipliers")
    if not bool(xp.any(b != 0)):
        refuse("b", "a normal other than zero", "zero", "check the data and the multipliers")
    most = float(xp.finfo(b.dtype).max)
    if isinstance(norm, L2):
        checks.real_number("radius", norm.radius, 0, most)
        b = b / xp.max(xp.abs(b))  # its length does not matter, and may exceed the dtype
        return norm.radius / xp.sqrt(b @ b) * b
    if isinstance(norm, L0):
        if epsilon is None:
            refuse("epsilon", "the largest change of an entry", None, "give it: L0 limits none")
        checks.real_number("epsilon", epsilon, 0, most)
        largest = xp.argsort(-xp.abs(b))[: norm.pixels]
        v = xp.zeros_like(b)
        v[largest] = epsilon * xp.sign(b[largest])
        return v
    checks.real_number("radius", norm.radius, 0, most)
    return norm.radius * xp.sign(b)


def perturbations(v: Array, target: Array) -> Array:
    """(P1): eta_n = y_adv_n v, (N, d), for targets y_adv (N,) of +1 and -1, and v (d,).

    One direction, two signs. N d operations and numbers.
    """
    namespace(v, target)
    return target[:, None] * v
