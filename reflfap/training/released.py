"""Training as the released artificial experiment computed it: it ends where gradients are zero.

In float16 the gradient of a unit on a sample is zero from some margin q* on
(`float16.stopping_margins`), and training is over once all samples are there, whatever the number
of epochs. Until then gradient flow stands in for descent, as it does elsewhere, and is ended where
its mean loss is l(q*). Not for first steps so long that descent leaps over what flow resolves:
where samples share perturbations, or are few, it may be beyond q* in two epochs. Then the first
FIRST_EPOCHS are descended, and flow goes on from there, should they not be the end.
"""

import math

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
    else by gradient flow in float32, to the loss at which descent stops or the time of the epochs,
    whichever is first. Raises and costs as these; InputError for float64.
    """
    loss = check_problem(net, x, y, loss)
    stop, _ = stopping_margins(rounded_network(net), loss, 1 / x.shape[0])
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
    least = math.exp(float(loss.log_value(np.asarray([stop]))[0]))
    time, stage = released_time(epochs - made), f"{stage}-flow" if made else stage
    done = flow(net, x, y, loss, time=time, least_loss=least, monitor=monitor, stage=stage)
    if made == 0 or not isinstance(done.trace, FlowTrace):
        return done
    trace = done.trace._replace(time=done.trace.time + released_time(made))
    return done._replace(trace=trace, C=None)  # C is from where flow began


def first_rate(net: Network, x: Array, y: Array) -> float:
    """The mean of dq_n/dt in gradient flow at present, were -l' = 1 for all samples.

    Then dW/dt = (1/N) sum_n dq_n/dW, so it is the squared norm of that. One product.
    """
    xp = namespace(x)
    dZ = backward(net, activation_slope(net.W @ x.T, net.slope), y)
    speed = dZ @ x
    speed /= x.shape[0]
    return float(xp.sum(speed * speed))
