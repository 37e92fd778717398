"""What every trainer returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import Array, HostArray, to_host
from reflfap.onehidden import Network, accuracy, forward


class Trace(NamedTuple):
    """The course of a training on the host, float64, one entry a state, the last one final."""

    time: HostArray  # gradient-flow time t; for descent the sum of lr/(1 - mu)
    loss: HostArray  # (N2) at that state
    step: HostArray  # of the step from that state, in the trainer's unit; descent: learning rate


class FlowTrace(NamedTuple):
    """The course of gradient flow: as Trace, with what each step from that state cost.

    Counts are zero at the final state, from which no step was taken.
    """

    time: HostArray
    loss: HostArray
    step: HostArray  # length of the step in flow time
    sign_changes: HostArray  # unit-sample pairs whose z changed sign in the step
    newton: HostArray  # Newton iterations, rejected attempts included
    flops: HostArray  # operations in matrix products, rejected attempts included


class Trained(NamedTuple):
    """A trained network, with what happened on the way."""

    net: Network
    q: Array  # (N,) final margins on the training set
    trace: Trace | FlowTrace
    stopped: str  # why the training ended, in the trainer's own word
    C: Array | None = None  # (m, N) with W = W0 + C X, where the training kept it
    classes: tuple[Any, Any] = (-1, 1)  # what labels -1 and +1 stand for

    def predict(self, x: Array) -> HostArray:
        """The class of each sample x (n, d), (n,) on the host; f(x) = 0 counts to the first."""
        checks.matrix("x", x)
        checks.columns(x, self.net.W.shape[1])
        positive = to_host(forward(self.net, x)[0] > 0)
        return np.asarray(self.classes)[positive.astype(np.int64)]

    def __repr__(self) -> str:
        loss, right = self.trace.loss[-1], accuracy(self.q)
        return f"Trained({self.net!r}, loss={loss:.3g}, accuracy={right:.3f}, {self.stopped})"

    def moved(self, move: Callable[[Array], Array]) -> "Trained":
        """The same with each array given to `move`, which brings it to another device."""
        net = self.net._replace(W=move(self.net.W), a=move(self.net.a))
        return self._replace(net=net, q=move(self.q), C=None if self.C is None else move(self.C))
