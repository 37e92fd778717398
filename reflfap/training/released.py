"""Training as the released artificial experiment computed it: it ends where gradients are zero.

In float16 the gradient of a unit on a sample is zero from some margin q* on
(`float16.stopping_margins`), and training is over once all samples are there, whatever the number
of epochs. Until then gradient flow describes descent, if that takes its time: flow is then ended
where its mean loss is l(q*). Where shared perturbations or few samples make first steps so long
that descent is there within FEWEST_EPOCHS, it has to be descended, which is then cheap.
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
from reflfap.training.result import Trained

FEWEST_EPOCHS = 100
"""That flow stands in for: ten times the 1/(1 - mu) = 10 epochs that momentum remembers."""


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
    """(N6) in the arithmetic of `reflfap.float16`, on samples x (N, d) float32, labels y (N,).

    By descent itself if `descend` asks for it or `epochs_to_stop` are few, else by gradient flow,
    float32, to the loss at which descent stops or the time of the epochs, whichever is first.
    Raises and costs as these; InputError for float64.
    """
    loss = check_problem(net, x, y, loss)
    share = 1 / x.shape[0]
    stop, _ = stopping_margins(rounded_network(net), loss, share)
    if descend or epochs_to_stop(loss, first_rate(net, x, y), stop) < FEWEST_EPOCHS:
        form = "float16"
        return descent(net, x, y, loss, epochs=epochs, form=form, monitor=monitor, stage=stage)
    time = released_time(epochs)
    least = math.exp(float(loss.log_value(np.asarray([stop]))[0]))
    return flow(net, x, y, loss, time=time, least_loss=least, monitor=monitor, stage=stage)


def first_rate(net: Network, x: Array, y: Array) -> float:
    """The mean of dq_n/dt in gradient flow at present, were -l' = 1 for all samples.

    Then dW/dt = (1/N) sum_n dq_n/dW, so it is the squared norm of that. One product.
    """
    xp = namespace(x)
    dZ = backward(net, activation_slope(net.W @ x.T, net.slope), y)
    speed = dZ @ x
    speed /= x.shape[0]
    return float(xp.sum(speed * speed))


def epochs_to_stop(
    loss: Loss, speed: float, stop: float, step: float = 0.01, momentum: float = 0.9
) -> int:
    """Epochs of (N6) in which one margin rises from 0 to `stop`, where dq/dt = `speed` (-l'(q));
    at most FEWEST_EPOCHS are made."""
    q = v = 0.0
    for epoch in range(FEWEST_EPOCHS):
        if q >= stop:
            return epoch
        v = momentum * v + step * speed * math.exp(float(loss.log_rate(np.asarray([q]))[0]))
        q += v
    return FEWEST_EPOCHS
