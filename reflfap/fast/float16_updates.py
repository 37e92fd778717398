"""The attack of the released experiment in its arithmetic, by updates instead of products.

`float16.rounded_margin_gradient` forms two products a step. Along the path of one sample little
changes. All |a_j| are one number, so |u_j| takes two values, u_on and u_off, and with the rows
w_j = h(W)_j and the sums S over the units that are on and T over all

    S = sum_{j on} sgn(a_j) w_j,    T = sum_j sgn(a_j) w_j,    dx = h(u_on S + u_off (T - S)),

S changes by the few units whose sign does. z changes by the inputs of which h(x) does: an attack in
L0 moves some of them, others all, and then the product is formed. What is equal up to the order of
float32 sums is rounded as it would be.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.attacks import Move, Perturbed, Point, attack
from reflfap.backend import Array, namespace
from reflfap.fast.linear_updates import add_product, in_cache
from reflfap.float16 import (
    rounded,
    rounded_direction,
    rounded_margin_gradient,
    rounded_network,
    rounded_outputs,
    unit_gradients,
)
from reflfap.losses import Loss
from reflfap.monitor import SILENT, Monitor
from reflfap.norms import Norm
from reflfap.onehidden import Network


def attack_rounded(
    net: Network,
    loss: Loss,
    x: Array,
    target: Array,
    norm: Norm,
    *,
    steps: int,
    low: float | Array = -math.inf,
    high: float | Array = math.inf,
    monitor: Monitor = SILENT,
) -> Perturbed:
    """The released attack (P2) on x (N, d) float32 with targets (N,), in float16 as it ran.

    Descends the loss, whose gradient is zero from some margin on: there a sample stays for good,
    and so it does where float16 cannot hold the gradient (`float16.rounded_direction`); both count
    as `zero_gradient`. The better of two iterates has the larger float16 output, the earlier one
    where they are equal. Memory and errors as `fast.quick_attack.attack_network`.
    """
    checks.samples_and_labels(x, target, net.W.shape[1])
    net = rounded_network(net)
    run = partial(attack, x=x, target=target, norm=norm, steps=steps, low=low, high=high)
    if namespace(x) is not np:
        return run(partial(rounded_margin_gradient, net, loss), monitor=monitor)
    return in_cache(run, rounded_updates(net, loss), net, monitor)


class RoundedUpdates(NamedTuple):
    """A `rounded_network` as a model for `attacks.attack`, on the host; see `rounded_updates`.

    Cache of a point: h(x) (n, d), h(x) h(W)^T before it is rounded (n, m), sgn(a_j) of the units
    that are on and 0 of the others (n, m), and S (n, d).
    """

    net: Network
    loss: Loss
    W_T: Array  # (d, m), contiguous
    T: Array  # (d,)

    def start(self, x: Array, target: Array) -> Point:
        """Margins, -dx and cache at samples x (n, d). Costs two products, 4 m d n."""
        x16 = rounded(x)
        Z = x16 @ self.W_T
        q, on = self._read(Z, target)
        S = on @ self.net.W
        return Point(q, self._gradients(q, S, target), (x16, Z, on, S))

    def follow(self, before: Point, move: Move, target: Array) -> Point:
        """The same at move.x; overwrites Z and S. Some passes over (n, d) and (n, m)."""
        x16_before, Z, on_before, S = before.cache
        x16 = rounded(move.x)
        add_product(Z, x16, x16_before, self.W_T)
        q, on = self._read(Z, target)
        add_product(S, on, on_before, self.net.W)
        return Point(q, self._gradients(q, S, target), (x16, Z, on, S))

    def _read(self, Z: Array, target: Array) -> tuple[Array, Array]:
        """Margins (n,), and sgn(a_j) of the units that are on, from h(x) h(W)^T (n, m)."""
        z = rounded(Z)
        return target * rounded_outputs(self.net, z.T), (z > 0) * np.sign(self.net.a)

    def _gradients(self, q: Array, S: Array, target: Array) -> Array:
        on, off = unit_gradients(self.net, self.loss, q, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):  # such a sample stays where it is
            dx = (target * (on - off))[:, None] * S
            dx += (target * off)[:, None] * self.T
            return rounded_direction(dx)


def rounded_updates(net: Network, loss: Loss) -> RoundedUpdates:
    """The model of a `rounded_network` on the host. Costs a copy of W."""
    return RoundedUpdates(net, loss, np.ascontiguousarray(net.W.T), np.sign(net.a) @ net.W)
