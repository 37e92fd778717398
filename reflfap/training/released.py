"""Training as the released artificial experiment computed it: it ends where gradients are zero.

In float16 the gradient of a unit on a sample is zero from some margin q* on
(`float16.stopping_margins`). Such a sample pushes no more, whatever the number of epochs, and
training is over once all samples are there. Until then gradient flow stands in for descent, as it
does elsewhere, with a loss that ends at q* (`Ended`). Not for first steps so long that descent
leaps over what flow resolves: where samples share perturbations, or are few, it may be beyond q* in
two epochs. Then the first FIRST_EPOCHS are descended, and flow goes on from there, should they not
be the end.
"""

import math
from typing import NamedTuple

import numpy as np

from reflfap.backend import Array, namespace
from reflfap.float16 import rounded_network, stopping_margins
from reflfap.losses import Loss
from reflfap.monitor import SILENT, Monitor
from reflfap.onehidden import Network, activation_slope, backward
from reflfap.training.descent import check_problem, descent
from reflfap.training.flow import flow, released_time
from reflfap.training.result import FlowTrace, Trained

LONGEST_EPOCH = 1.0
"""Change of the mean margin in an epoch of settled momentum that flow stands in for."""

FIRST_EPOCHS = 100
"""Descended where it is longer: ten times the 1/(1 - mu) = 10 that momentum remembers."""

WIDTH = 0.02
"""Of the end of a loss, in parts of l*: margins pass q* by a tenth in fifteen times the time they
took to it, and Newton's method still finds its way."""

LEFT = 1e-3
"""Of l*: the mean loss at which training is over."""


class Ended(NamedTuple):
    """A loss l(q) that ends at the margin q*: b log(1 + exp((l(q) - l*)/b)), b = WIDTH l*.

    l* = l(q*). It is l - l* before, and zero beyond, and convex, as the composition of convex
    functions of which the outer one grows. With u = (l - l*)/b and s = 1/(1 + e^-u) its rate is
    r s and its curvature l'' s + r^2 s (1 - s)/b.
    """

    loss: Loss
    log_end: float  # log l*

    @property
    def name(self) -> str:
        return f"{self.loss.name}, ended"

    def log_value(self, q: Array) -> Array:
        u = self._u(q)
        xp = namespace(u)
        return xp.log(xp.logaddexp(0.0, u)) + (math.log(WIDTH) + self.log_end)

    def log_rate(self, q: Array) -> Array:
        u = self._u(q)
        return self.loss.log_rate(q) - namespace(u).logaddexp(0.0, -u)

    def log_curvature(self, q: Array) -> Array:
        u = self._u(q)
        xp = namespace(u)
        share, rest = -xp.logaddexp(0.0, -u), -xp.logaddexp(0.0, u)
        end = 2 * self.loss.log_rate(q) + rest - (math.log(WIDTH) + self.log_end)
        return share + xp.logaddexp(self.loss.log_curvature(q), end)

    def _u(self, q: Array) -> Array:
        logs = self.loss.log_value(q) - self.log_end
        xp = namespace(logs)
        return (xp.exp(xp.minimum(logs, 700.0)) - 1) / WIDTH


def ended(net: Network, loss: Loss, n: int) -> Ended:
    """The loss that training on n samples has in float16."""
    stop, _ = stopping_margins(rounded_network(net), loss, 1 / n)
    return Ended(loss, float(loss.log_value(np.asarray([stop]))[0]))


def train_in_float16(
    net: Network,
    x: Array,
    y: Array,
    loss: Loss | str,
    *,
    epochs: int = 100_000,
    descend: bool = False,
    monitor: Monitor = SILENT,
    stage: str = "training",
) -> Trained:
    """Train as (N6) does, in the arithmetic of `reflfap.float16`: x (N, d) float32, y (N,).

    By descent itself, all of it if `descend` asks for it and FIRST_EPOCHS where steps are long;
    else by gradient flow in float32 of the loss that ends where gradients do, to the time of the
    epochs, or until LEFT of it is left ("loss"). The loss in its trace is the mean of max(l, l*).
    Raises and costs as these; InputError for float64.
    """
    loss = check_problem(net, x, y, loss)
    left = ended(net, loss, x.shape[0])
    made = 0
    if descend or released_time(1) * first_rate(net, x, y) > LONGEST_EPOCH:
        most = epochs if descend else min(epochs, FIRST_EPOCHS)
        done = descent(
            *(net, x, y, loss), epochs=most, form="float16", monitor=monitor, stage=stage
        )
        made = len(done.trace.time) - 1
        if done.stopped != "epochs" or made == epochs:
            return done
        net = done.net
    time, stage = released_time(epochs - made), f"{stage}-flow" if made else stage
    end = math.exp(left.log_end)
    done = flow(net, x, y, left, time=time, least_loss=LEFT * end, monitor=monitor, stage=stage)
    if not isinstance(done.trace, FlowTrace):
        return done
    loss_and_time = {"loss": done.trace.loss + end, "time": done.trace.time + released_time(made)}
    done = done._replace(trace=done.trace._replace(**loss_and_time))
    return done._replace(C=None) if made else done  # C is from where flow began


def first_rate(net: Network, x: Array, y: Array) -> float:
    """The mean of dq_n/dt in gradient flow at present, were -l' = 1 for all samples.

    Then dW/dt = (1/N) sum_n dq_n/dW, so it is the squared norm of that. One product.
    """
    xp = namespace(x)
    dZ = backward(net, activation_slope(net.W @ x.T, net.slope), y)
    speed = dZ @ x
    speed /= x.shape[0]
    return float(xp.sum(speed * speed))
