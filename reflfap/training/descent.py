"""Full-batch gradient descent with momentum, (N6), in two exact forms.

Every gradient (N3) is a combination of the samples, dL/dW = G X with G (m, N). Hence W = W0 + C X,
and descent may run on the weights W (m, d) or on the sample coefficients C (m, N):

    weights       v <- mu v + G X,  W <- W - lr v,  Z = W X^T              two products of 2 m d N
    coefficients  u <- mu u + G,    C <- C - lr u,  Z = W0 X^T + C K       one product of 2 m N^2

with K = X X^T. The two agree to rounding; coefficients are cheaper whenever N < 2 d. The code holds
V = lr v and U = lr u, which saves a pass over them and is rescaled where the schedule cuts lr.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from reflfap import checks
from reflfap.backend import Array, asarray, namespace, to_host
from reflfap.errors import NonFiniteError, refuse
from reflfap.losses import Loss, log_mean
from reflfap.monitor import SILENT, Monitor
from reflfap.onehidden import Network, activation_slope, backward, output_gradient
from reflfap.training.result import Trace, Trained
from reflfap.training.schedule import Plateau

FORMS = ("auto", "weights", "coefficients")


def descent(
    net: Network,
    x: Array,
    y: Array,
    loss: Loss,
    *,
    epochs: int = 100_000,
    rate: float = 0.01,
    momentum: float = 0.9,
    form: str = "auto",
    monitor: Monitor = SILENT,
    stage: str = "descent",
) -> Trained:
    """(N6): train `net` from its present weights on samples x (N, d) with labels y (N,).

    v <- mu v + dL/dW, W <- W - lr v, with the plateau schedule deciding lr after each epoch. Ends
    after `epochs` ("epochs"), or once the schedule cannot cut the rate further ("rate"): then a
    rate at least ten times larger had not improved the loss by 1e-4 in eleven epochs, so what is
    left cannot move it. dtype and namespace are those of the arrays; losses are float64.

    `form` is "weights", "coefficients", or "auto", the cheaper. Memory besides x and W: weights
    2 (m, d) and 3 (m, N); coefficients 6 (m, N) and one (N, N).
    Raises InputError for bad input, NonFiniteError naming the epoch when the loss diverges.
    Checked by test_descent.py::test_both_forms_agree and ::test_one_epoch_by_hand.
    """
    check_problem(net, x, y)
    _check_settings(epochs, rate, momentum, form)
    if form == "auto":
        form = "coefficients" if x.shape[0] < 2 * x.shape[1] else "weights"
    kept = monitor.restore(stage) or {}
    state = (_Coefficients if form == "coefficients" else _Weights)(net, x, kept)
    losses = [float(past) for past in kept.get("loss", ())]
    schedule, rates = Plateau(rate).course(losses)
    monitor.begin(stage, epochs, "epoch", len(losses))
    while True:
        Z = state.preactivations()
        slopes = activation_slope(Z, net.slope)
        q = y * (net.a @ (slopes * Z))  # phi(z) = phi'(z) z
        losses.append(_mean_loss(loss, q, len(losses)))
        rates.append(schedule.rate)
        if len(losses) > epochs or schedule.exhausted:
            break
        df = output_gradient(loss, y, q)
        decay = momentum * (schedule.rate / rates[-2] if len(rates) > 1 else 1)
        state.step(backward(net, slopes, schedule.rate * df), decay)
        schedule = schedule.after(losses[-1])
        monitor.advance()
        if monitor.due():
            monitor.keep(stage, state.kept(losses))
    monitor.keep(stage, state.kept(losses[:-1]))
    monitor.end()
    time = np.concatenate([[0.0], np.cumsum(rates[:-1])]) / (1 - momentum)
    trace = Trace(time, np.asarray(losses), np.asarray(rates))
    stopped = "rate" if schedule.exhausted else "epochs"
    C = state.C if isinstance(state, _Coefficients) else None
    return Trained(net._replace(W=state.weights()), q, trace, stopped, C)


class _Weights:
    """Descent on W (m, d) itself."""

    def __init__(self, net: Network, x: Array, kept: Mapping[str, Any]) -> None:
        xp = namespace(x)
        self.x = x
        self.W = asarray(kept["W"], xp) if kept else net.W.copy()
        self.V = asarray(kept["V"], xp) if kept else xp.zeros_like(net.W)

    def preactivations(self) -> Array:
        return self.W @ self.x.T

    def step(self, G: Array, decay: float) -> None:
        """V <- decay V + lr G X, W <- W - V; G comes multiplied by lr."""
        self.V *= decay
        self.V += G @ self.x
        self.W -= self.V

    def weights(self) -> Array:
        return self.W

    def kept(self, losses: list[float]) -> dict[str, Any]:
        return {"W": to_host(self.W), "V": to_host(self.V), "loss": np.asarray(losses)}


class _Coefficients:
    """Descent on C (m, N), W = W0 + C X; Z is always W0 X^T + C K for the present C."""

    def __init__(self, net: Network, x: Array, kept: Mapping[str, Any]) -> None:
        xp = namespace(x)
        self.W0, self.x = net.W, x
        self.K = x @ x.T
        self.Z0 = net.W @ x.T
        self.C = asarray(kept["C"], xp) if kept else xp.zeros_like(self.Z0)
        self.U = asarray(kept["U"], xp) if kept else xp.zeros_like(self.Z0)

    def preactivations(self) -> Array:
        Z = self.C @ self.K
        Z += self.Z0
        return Z

    def step(self, G: Array, decay: float) -> None:
        """U <- decay U + lr G, C <- C - U; G comes multiplied by lr."""
        self.U *= decay
        self.U += G
        self.C -= self.U

    def weights(self) -> Array:
        return self.W0 + self.C @ self.x

    def kept(self, losses: list[float]) -> dict[str, Any]:
        return {"C": to_host(self.C), "U": to_host(self.U), "loss": np.asarray(losses)}


def _mean_loss(loss: Loss, q: Array, epoch: int) -> float:
    mean = log_mean(loss, q)
    if not math.isfinite(mean):
        checks.finite_or_raise(q, "margin", f"epoch {epoch}")
    if not mean < math.log(np.finfo(q.dtype).max / q.shape[0]):  # the next gradient would overflow
        raise NonFiniteError(
            f"loss: expected a mean that {q.dtype} can hold, got exp({mean:.4g}) at epoch {epoch}; "
            "lower the learning rate, or scale the data down"
        )
    return math.exp(mean)


def _check_settings(epochs: int, rate: float, momentum: float, form: str) -> None:
    checks.whole_number("epochs", epochs, least=1)
    checks.real_number("rate", rate, 0, math.inf, closed="()")
    checks.real_number("momentum", momentum, 0, 1, closed="[)")
    checks.choice("form", form, FORMS)


def check_problem(net: Network, x: Array, y: Array) -> None:
    """What every trainer asks of its problem: fitting samples and labels, one dtype and library."""
    checks.samples_and_labels(x, y, net.W.shape[1])
    namespace(x, net.W)
    if x.dtype != net.W.dtype:
        refuse("x", f"dtype {net.W.dtype} as W", x.dtype, "convert one of the two")
