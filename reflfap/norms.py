"""The constraint sets of attacks (P2): how a perturbation moves along a gradient and stays inside.

Perturbations eta and gradients g are (n, d), one row a sample.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from reflfap import checks
from reflfap.backend import Array, namespace


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
    """||eta||_2 <= radius: eta + (radius/5) g/||g||_2, then scaled back into the ball, (P2)."""

    radius: float

    def step(self, eta: Array, g: Array, memory: None) -> Step:
        return _step_and_scale_back(eta, g, self.radius, row_norms)


class LInf(NamedTuple):
    """||eta||_inf <= radius as released (`rescale`), (P2): g/||g||_inf, then scaled back."""

    radius: float

    def step(self, eta: Array, g: Array, memory: None) -> Step:
        return _step_and_scale_back(eta, g, self.radius, row_peaks)


class LInfSign(NamedTuple):
    """||eta||_inf <= radius, textbook (`sign`), (P2): sgn(g), then clipped coordinate-wise."""

    radius: float

    def step(self, eta: Array, g: Array, memory: None) -> Step:
        xp = namespace(g)
        eta = eta + xp.sign(g) * (self.radius / 5)
        return Step(xp.clip(eta, -self.radius, self.radius))


class L0(NamedTuple):
    """At most `pixels` entries of eta differ from zero, (P2).

    Each step adds the not yet changed pixel with the largest |g|, then moves all changed ones by
    0.3 g/||g||_inf. With `tracked`, the chosen pixels are remembered. Without, as released, they
    are found by eta != 0: a pixel clipped back onto its start is chosen again, and may stall.
    """

    pixels: int
    tracked: bool = False

    def step(self, eta: Array, g: Array, memory: Array | None) -> Step:
        xp = namespace(g)
        changed = eta != 0 if memory is None else memory
        new = xp.argmax(xp.abs(g) - 2 * xp.astype(changed, g.dtype), axis=1)  # |g| <= 1
        room = xp.sum(xp.astype(changed, xp.int64), axis=1) < self.pixels
        pixel = xp.cumulative_sum(xp.ones_like(g[0, :], dtype=new.dtype)) - 1  # on the device of g
        changed = changed | ((pixel == new[:, None]) & room[:, None])
        eta = eta + g * (0.3 * xp.astype(changed, g.dtype))
        return Step(eta, memory=changed if self.tracked else None)


def check_norm(norm: Norm) -> None:
    """InputError for a radius that is negative or no number, or less than one pixel."""
    if isinstance(norm, L0):
        checks.whole_number("pixels", norm.pixels, least=1)
    elif isinstance(norm, L2 | LInf | LInfSign):
        checks.real_number("radius", norm.radius, 0, math.inf, closed="[)")


def _step_and_scale_back(
    eta: Array, g: Array, radius: float, length: Callable[[Array], Array]
) -> Step:
    """eta + (radius/5) g/||g||, then times min(1, radius/||eta||)."""
    xp = namespace(g)
    along = radius / 5 / xp.maximum(length(g), 1.0)  # ||g|| >= 1, or g = 0
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
    """||x_n||_2, (n,), as inner products: one pass, no temporary of the size of x."""
    xp = namespace(x)
    return xp.sqrt((x[:, None, :] @ x[:, :, None])[:, 0, 0])
