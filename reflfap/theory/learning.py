"""(L1) to (L3): what a network trained on perturbed samples has for a boundary.

At the KKT point of the adversarial set its boundary function is a sum of two effects: that of the
mislabelled samples, and that of the perturbations. The second is a multiple of the boundary
function of the network that was attacked.
"""

from typing import NamedTuple

from reflfap import checks
from reflfap.backend import Array, namespace


class Effects(NamedTuple):
    """The two parts of f_adv_bdy at some points, each (n,)."""

    samples: Array  # sum_n lam_adv_n y_adv_n <x_n, z>
    perturbations: Array  # sum_n lam_adv_n y_adv_n <eta_n, z>

    @property
    def total(self) -> Array:
        """f_adv_bdy(z)."""
        return self.samples + self.perturbations


def effects(x: Array, eta: Array, target: Array, lam: Array, z: Array) -> Effects:
    """(L1): f_adv_bdy(z) = sum_n lam_adv_n y_adv_n <x_n, z> + sum_n lam_adv_n y_adv_n <eta_n, z>.

    Samples x and perturbations eta (N, d), targets y_adv and multipliers lam_adv (N,), at points
    z (n, d). An identity, since x_adv = x + eta.
    """
    xp = checks.samples_and_labels(x, target)
    weights = xp.astype(lam, x.dtype) * target
    return Effects(z @ (weights @ x), z @ (weights @ eta))


def perturbation_effect(v: Array, total: float, z: Array) -> Array:
    """(L2): Lam <v, z>, (n,), the second effect of eta_n = y_adv_n v with Lam = sum_n lam_adv_n.

    Since y_adv_n^2 = 1. With the v of (P1): L2 eps Lam f_bdy(z)/||b||, a positive multiple of the
    standard boundary function; Linf eps Lam <sgn b, z>; L0 eps Lam <sgn b on the mask, z>.
    """
    return total * (z @ v)


def aligned(parts: Effects, f_bdy: Array) -> Array:
    """(L3): where the second effect has the sign of f_bdy(z) and outweighs the first, (n,) bool.

    Sufficient for sgn f_adv_bdy(z) = sgn f_bdy(z), not necessary: the first may help.
    """
    xp = namespace(f_bdy)
    first, second = parts
    return (second * xp.sign(f_bdy) > 0) & (xp.abs(second) > xp.abs(first))


def flipped_threshold(b: Array, lam: Array) -> float:
    """The L2 size above which samples with flipped labels teach the standard boundary, (L2).

    With x_n the natural samples, y_adv = -y and lam_adv = c lam, the first effect is -c f_bdy and
    the second eps c sum(lam) f_bdy/||b||; their sum has the sign of f_bdy if and only if
    eps > ||b|| / sum_n lam_n. Near it no aligned KKT point has such multipliers: docs/theory.md.
    """
    xp = namespace(b)
    return float(xp.sqrt(b @ b)) / float(xp.sum(lam))
