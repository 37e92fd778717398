"""The constraint sets of attacks (P2): how a perturbation moves along a gradient and stays inside.

Perturbations eta and gradients g are (n, d), one row a sample.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from reflfap import checks
from reflfap.backend import Array, HostArray, namespace
from reflfap.errors import refuse


class Step(NamedTuple):
    """A perturbation after a step; keep and along (n,) where eta = keep eta_before + along g."""

    eta: Array
    keep: Array | None = None
    along: Array | None = None
    memory: Array | None = None


class Norm(Protocol):
    """A constraint set and the way to move in it."""

    def step(self, eta: Array, g: Array, memory: Array | None) -> Step:
        """eta (n, d) moved along g (n, d), then put back into the set.

        Rows of g are zero or of largest magnitude one. May overwrite eta and g: at the paper's
        size, fresh arrays would take as long as the rest. `memory` is None or what it gave before.
        """


class L2(NamedTuple):
    """||eta||_2 <= radius: eta + stride g/||g||_2, then scaled back into the ball, (P2)."""

    radius: float
    stride: float | None = None  # of a step; as released radius/5

    def step(self, eta: Array, g: Array, memory: None) -> Step:
        return _step_and_scale_back(eta, g, self.radius, row_norms, self.stride)


class LInf(NamedTuple):
    """||eta||_inf <= radius as released (`rescale`), (P2): g/||g||_inf, then scaled back."""

    radius: float
    stride: float | None = None

    def step(self, eta: Array, g: Array, memory: None) -> Step:
        return _step_and_scale_back(eta, g, self.radius, row_peaks, self.stride)


class LInfSign(NamedTuple):
    """||eta||_inf <= radius, textbook (`sign`), (P2): sgn(g), then clipped coordinate-wise."""

    radius: float
    stride: float | None = None

    def step(self, eta: Array, g: Array, memory: None) -> Step:
        xp = namespace(g)
        eta = eta + xp.sign(g) * (self.radius / 5 if self.stride is None else self.stride)
        return Step(xp.clip(eta, -self.radius, self.radius))


class L0(NamedTuple):
    """At most `pixels` entries of eta differ from zero, (P2).

    Each step adds the not yet changed pixel with the largest |g|, then moves all changed ones by
    stride g/||g||_inf. With `tracked`, the chosen pixels are remembered. Without, as released, they
    are found by eta != 0: a pixel clipped back onto its start is chosen again, and may stall.
    """

    pixels: int
    tracked: bool = False
    stride: float = 0.3

    def step(self, eta: Array, g: Array, memory: Array | None) -> Step:
        xp = namespace(g)
        changed = eta != 0 if memory is None else memory
        new = xp.argmax(xp.abs(g) - 2 * xp.astype(changed, g.dtype), axis=1)  # |g| <= 1
        room = xp.sum(xp.astype(changed, xp.int64), axis=1) < self.pixels
        pixel = xp.cumulative_sum(xp.ones_like(g[0, :], dtype=new.dtype)) - 1  # on the device of g
        changed = changed | ((pixel == new[:, None]) & room[:, None])
        eta = eta + g * (self.stride * xp.astype(changed, g.dtype))
        return Step(eta, memory=changed if self.tracked else None)


VARIANTS = {
    "l2": ("released",),
    "linf": ("rescale", "sign"),
    "l0": ("released", "tracked"),
}
"""The attacks of (P2) by norm; the first of each is the released one and the default."""


def norm_named(
    name: str, size: float, variant: str | None = None, stride: float | None = None
) -> Norm:
    """The norm called "l2", "linf" or "l0" with its radius, of l0 its number of pixels.

    InputError for an unknown name or variant.
    """
    variants = VARIANTS[checks.choice("norm", name, VARIANTS)]
    variant = checks.choice("variant", variant or variants[0], variants)
    if name == "l0":
        pixels, tracked = checks.whole_number("pixels", size, least=1), variant == "tracked"
        return L0(pixels, tracked) if stride is None else L0(pixels, tracked, stride)
    if name == "linf":
        return (LInfSign if variant == "sign" else LInf)(size, stride)
    return L2(size, stride)


def check_norm(norm: Norm) -> None:
    """InputError for a radius that is negative or no number, or less than one pixel."""
    if isinstance(norm, L0):
        checks.whole_number("pixels", norm.pixels, least=1)
        checks.real_number("stride", norm.stride, 0, math.inf, closed="()")
    elif isinstance(norm, L2 | LInf | LInfSign):
        checks.real_number("radius", norm.radius, 0, math.inf, closed="[)")
        if norm.stride is not None:
            checks.real_number("stride", norm.stride, 0, math.inf, closed="()")


def random_perturbations(norm: Norm, n: int, dim: int, rng: np.random.Generator) -> HostArray:
    """Perturbations (n, d) float64 on the host, uniform in the ball of `norm`.

    A direction times radius u^(1/d), u uniform, in L2. InputError for L0, which has no ball.
    """
    check_norm(norm)
    if isinstance(norm, L2):
        eta = rng.standard_normal((n, dim))
        reach = norm.radius * rng.random(n) ** (1 / dim)
        eta *= (reach / np.linalg.norm(eta, axis=1))[:, None]
        return eta
    if isinstance(norm, LInf | LInfSign):
        return rng.uniform(-norm.radius, norm.radius, (n, dim))
    refuse("random_start", "a norm with a ball, l2 or linf", repr(norm), "start at the samples")


def _step_and_scale_back(
    eta: Array, g: Array, radius: float, length: Callable[[Array], Array], stride: float | None
) -> Step:
    """eta + stride g/||g||, as released radius/5, then times min(1, radius/||eta||)."""
    xp = namespace(g)
    stride = radius / 5 if stride is None else stride
    along = stride / xp.maximum(length(g), 1.0)  # ||g|| >= 1, or g = 0
    g *= along[:, None]
    eta += g
    keep = xp.minimum(radius / xp.maximum(length(eta), 1e-30), 1.0)  # the floor serves eta = 0
    eta *= keep[:, None]
    return Step(eta, keep, keep * along)


def row_peaks(x: Array) -> Array:
    """max_i |x_ni|, (n,), without a temporary of the size of x."""
    xp = namespace(x)
    return xp.maximum(xp.max(x, axis=1), -xp.min(x, axis=1))


def row_norms(x: Array) -> Array:
    """||x_n||_2, (n,)."""
    return namespace(x).sqrt(row_products(x, x))


def row_products(a: Array, b: Array) -> Array:
    """<a_n, b_n>, (n,), of rows (n, k): one pass, no temporary of their size."""
    return (a[:, None, :] @ b[:, :, None])[:, 0, 0]
