"""(L1) to (L3): what a network trained on perturbed samples has for a boundary.

At the KKT point of the adversarial set its boundary function is a sum of two effects: that of the
mislabelled samples, and that of the perturbations. The second is a multiple of the boundary
function of the network that was attacked.
"""

import math
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import Array, floats, namespace
from reflfap.errors import refuse


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
    z (n, d). An identity, since x_adv = x + eta. Raises InputError for bad input, NonFiniteError
    where an effect or the total exceeds the dtype.
    """
    xp = checks.samples_and_labels(x, target)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        weights = xp.astype(lam, x.dtype) * target
        parts = Effects(z @ (weights @ x), z @ (weights @ eta))
        total = parts.total  # not finite either where a part is not
    checks.finite_result("effects", total, "scale the points, the samples or the multipliers down")
    return parts


def perturbation_effect(v: Array, total: float, z: Array) -> Array:
    """(L2): Lam <v, z>, (n,), the second effect of eta_n = y_adv_n v with Lam = sum_n lam_adv_n.

    Since y_adv_n^2 = 1. With the v of (P1): L2 eps Lam f_bdy(z)/||b||, a positive multiple of the
    standard boundary function; Linf eps Lam <sgn b, z>; L0 eps Lam <sgn b on the mask, z>.
    Raises NonFiniteError where it exceeds the dtype.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        effect = total * (z @ v)
    checks.finite_result("second effect", effect, "scale the points, v or the multipliers down")
    return effect


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
    Raises InputError where it is infinite, as for multipliers whose sum is zero.
    """
    xp = namespace(b)
    peak, total = floats(xp.max(xp.abs(b)), xp.sum(lam, dtype=xp.float64))
    unit = b / (peak or 1.0)  # whose squares any dtype holds
    threshold = peak * float(xp.sqrt(unit @ unit)) / total if total > 0 else math.inf
    if not math.isfinite(threshold):
        got = f"a largest |b_i| of {peak:.3g} and multipliers with the sum {total:.3g}"
        refuse("threshold", "a finite ||b|| / sum(lam)", got, "check or scale the multipliers")
    return threshold
