"""Full-batch gradient descent with momentum, (N6), in two exact forms.

Every gradient (N3) is a combination of the samples, dL/dW = G X with G (m, N). Hence W = W0 + C X,
and descent may run on the weights W (m, d) or on the sample coefficients C (m, N):

    weights       v <- mu v + G X,  W <- W - lr v,  Z = W X^T              two products of 2 m d N
    coefficients  u <- mu u + G,    C <- C - lr u,  Z = W0 X^T + C K       one product of 2 m N^2

with K = X X^T. The two agree to rounding; coefficients are cheaper whenever N < 2 d. The code holds
V = lr v and U = lr u, which saves a pass over them and is rescaled where the schedule cuts lr.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reflfap import checks
from reflfap.backend import Array, asarray, floats, namespace, on_host
from reflfap.errors import NonFiniteError, refuse
from reflfap.float16 import (
    rounded,
    rounded_backward,
    rounded_network,
    rounded_outputs,
    unit_gradients,
)
from reflfap.losses import Loss, log_mean, loss_named
from reflfap.monitor import SILENT, Monitor
from reflfap.norms import row_peaks
from reflfap.onehidden import Network, activation_slope, backward, output_gradient
from reflfap.training.result import Trace, Trained
from reflfap.training.schedule import Plateau

FORMS = ("auto", "weights", "coefficients", "float16")

EPOCHS_UNREAD = 100
"""Epochs on a device between two looks at the losses; on the host each is looked at."""


def descent(
    net: Network,
    x: Array,
    y: Array,
    loss: Loss | str,
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
    after `epochs` ("epochs"), or earlier ("rate") once the schedule cannot cut the rate further, if
    so many epochs at this last rate go no farther than the eleven which, at the first rate, had not
    improved the loss by 1e-4. Released runs may so end; from a rate of 1e-6 on down, none of more
    than 1,100 epochs does. dtype and namespace are those of the arrays; losses are float64.

    `form` is "weights", "coefficients", or "auto", the cheaper; "float16" is "weights" with the
    gradients of `reflfap.float16`, which ends ("gradient") where all of them are zero. Memory
    besides x and W: weights 2 (m, d) and 3 (m, N); coefficients 6 (m, N) and one (N, N); on a
    device two (m, d) or (m, N) more; float16 two (m, d) and one (N, d) more. The host waits for a
    device once in EPOCHS_UNREAD epochs, and once more at each cut; in float16 in each epoch. Raises
    InputError for bad input, NonFiniteError naming the epoch when the loss diverges.
    """
    loss = check_problem(net, x, y, loss)
    checks.whole_number("epochs", epochs, least=1)
    checks.real_number("rate", rate, 0, math.inf, closed="()")
    checks.real_number("momentum", momentum, 0, 1, closed="[)")
    checks.choice("form", form, FORMS)
    if form == "auto":
        form = "coefficients" if x.shape[0] < 2 * x.shape[1] else "weights"
    kept = monitor.restore(stage) or {}
    run = (_InFloat16 if form == "float16" else _Descent)(net, x, y, loss, form, kept)
    course = _Course(rate, x.dtype, x.shape[0], [float(past) for past in kept.get("loss", ())])
    most = 1 if on_host(namespace(x)) or form == "float16" else EPOCHS_UNREAD
    monitor.begin(stage, epochs, "epoch", len(course.losses))
    while (left := epochs - len(course.losses)) and not (course.settled(epochs) or run.ended):
        monitor.advance(_block(run, course, momentum, min(left, most)))
        if monitor.due():
            monitor.keep(stage, run.kept(course.losses))
    monitor.keep(stage, run.kept(course.losses))
    stopped = "gradient" if run.ended else "rate" if left else "epochs"
    _, q = run.measured()
    course.read([float(log_mean(loss, q))])
    course.check(q, x)
    W = run.weights()
    course.check_end(q, W, x)
    monitor.end()
    time = np.concatenate([[0.0], np.cumsum(course.rates[:-1])]) / (1 - momentum)
    trace = Trace(time, np.asarray(course.losses), np.asarray(course.rates))
    C = None if run.on_weights else run.S
    return Trained(net._replace(W=W), q, trace, stopped, C)


def _block(run: "_Descent", course: "_Course", momentum: float, count: int) -> int:
    """At most `count` epochs, whose losses are read at once; returns how many were made.

    The rate is taken to stay as it is. Where the schedule cuts it before the block's end, the
    state from before is taken again and brought to the cut.
    """
    before = (run.S.copy(), run.V.copy()) if count > 1 else None
    rate = course.schedule.rate
    decay = momentum * (rate / course.rates[-1] if course.rates else 1)
    made = course.read(floats(*run.epochs(count, rate, decay, momentum)))
    if made < count and before is not None:
        run.S, run.V = before
        run.epochs(made, rate, decay, momentum)
        if course.refused is not None:
            run.q = run.measured()[1]
    course.check(run.q, run.x)  # of the first epoch not made, if its loss was refused
    return made


class _Course:
    """Losses and rates of a descent on the host, and the schedule that they follow."""

    def __init__(self, rate: float, dtype: Any, n: int, losses: list[float]) -> None:
        self.losses = losses
        self.schedule, self.rates = Plateau(rate).course(losses)
        self.dtype = dtype
        self.most = math.log(np.finfo(str(dtype)).max / n)  # beyond, the gradient would overflow
        self.refused: float | None = None

    def read(self, logs: Sequence[float]) -> int:
        """Take note of log losses, up to one that is not finite or the first cut of the rate."""
        for made, log in enumerate(logs):
            if not log < self.most:
                self.refused = log
                return made
            self.losses.append(math.exp(log))
            self.rates.append(self.schedule.rate)
            was, self.schedule = self.schedule, self.schedule.after(self.losses[-1])
            if (was.rate, was.exhausted) != (self.schedule.rate, self.schedule.exhausted):
                return made + 1
        return len(logs)

    def settled(self, epochs: int) -> bool:
        """Whether no epoch left can matter, as `descent` says; a small first rate never settles."""
        now = self.schedule
        return now.exhausted and epochs * now.rate <= (now.patience + 1) * self.rates[0]

    def check_end(self, q: Array, W: Array, x: Array) -> None:
        """NonFiniteError for margins (N,) or weights that a finite loss, of zero say, hides."""
        where, remedy = (
            f"epoch {len(self.losses)}",
            "lower the learning rate, or scale the data down",
        )
        remedy = checks.scaling_advice(x, remedy)
        checks.finite_or_raise(q, "margin", where, remedy)
        checks.finite_or_raise(row_peaks(W), "weight", where, remedy)

    def check(self, q: Array, x: Array) -> None:
        """NonFiniteError if a loss was refused; q (N,) are the margins of x that made it."""
        if self.refused is None:
            return
        epoch = len(self.losses)
        # before the first step no rate is to blame
        other = "lower the learning rate" if epoch > 0 else "scale the initial weights down"
        remedy = checks.scaling_advice(x, f"{other}, or scale the data down")
        if not math.isfinite(self.refused):
            checks.finite_or_raise(q, "margin", f"epoch {epoch}", remedy)
        expected, got = f"a mean that {self.dtype} can hold", f"exp({self.refused:.4g})"
        refuse("loss", expected, f"{got} at epoch {epoch}", remedy, NonFiniteError)


class _Descent:
    """A network on its way, and the epoch (N6).

    S with its velocity V: the weights W (m, d), or the coefficients C (m, N) of W = W0 + C X.
    """

    @np.errstate(over="ignore", invalid="ignore")  # the margins say so
    def __init__(
        self, net: Network, x: Array, y: Array, loss: Loss, form: str, kept: Mapping[str, Any]
    ) -> None:
        xp, self.on_weights, self.ended = namespace(x), form in ("weights", "float16"), False
        self.net, self.x, self.y, self.loss = net, x, y, loss
        self.q: Array = None  # (N,) margins before the last update
        self.Z0 = None if self.on_weights else net.W @ x.T
        self.B = x.T if self.on_weights else x @ x.T  # Z = Z0 + S B
        self.names = ("W", "V") if self.on_weights else ("C", "U")
        if kept:
            self.S, self.V = (asarray(kept[name], xp) for name in self.names)
        else:
            self.S = net.W.copy() if self.on_weights else xp.zeros_like(self.Z0)
            self.V = xp.zeros_like(self.S)

    @np.errstate(over="ignore", invalid="ignore")  # who reads the loss refuses it
    def measured(self) -> tuple[Array, Array]:
        """phi'(Z), (m, N), and margins (N,) of the present state."""
        Z = self.S @ self.B
        if self.Z0 is not None:
            Z += self.Z0
        slopes = activation_slope(Z, self.net.slope)
        return slopes, self.y * (self.net.a @ (slopes * Z))  # phi(z) = phi'(z) z

    def epochs(self, count: int, rate: float, decay: float, momentum: float) -> list[Array]:
        """(N6) `count` times; the log losses before each update, unread. V first decays by `decay`.

        An update from a loss that is not finite may overflow; who reads that loss then refuses it.
        """
        logs = []
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(count):
                read, self.q = self.measured()
                logs.append(log_mean(self.loss, self.q))
                self.V *= decay
                self.push(read, rate, momentum)
                decay = momentum
        return logs

    def push(self, slopes: Array, rate: float, momentum: float) -> None:
        """V and S by the gradient at what `measured` read."""
        df = rate * output_gradient(self.loss, self.y, self.q)
        G = backward(self.net, slopes, df)
        self.V += G @ self.x if self.on_weights else G
        self.S -= self.V

    @np.errstate(over="ignore", invalid="ignore")
    def weights(self) -> Array:
        return self.S if self.on_weights else self.net.W + self.S @ self.x

    def kept(self, losses: list[float]) -> dict[str, Any]:
        return {**dict(zip(self.names, (self.S, self.V), strict=True)), "loss": np.asarray(losses)}


class _InFloat16(_Descent):
    """The same on weights, as the released code computed it: see `reflfap.float16`."""

    def __init__(self, net: Network, x: Array, y: Array, *others: Any) -> None:
        super().__init__(net, rounded(x), y, *others)  # no product takes x itself
        self.ended = "loss" in others[-1] and not bool(namespace(x).any(self.V != 0))

    def measured(self) -> tuple[Array, Array]:
        """z, (m, N), and margins (N,) of the present state."""
        with np.errstate(over="ignore", invalid="ignore"):
            net = rounded_network(self.net._replace(W=self.S))
            Z = rounded(net.W @ self.B)
            return Z, self.y * rounded_outputs(net, Z)

    def push(self, Z: Array, rate: float, momentum: float) -> None:
        """Where all gradients are zero, V would take W on to W - V/(1 - mu); if they are zero there
        too, the training has come to its end, and goes there at once."""
        net = self.net._replace(a=rounded(self.net.a))
        gradients = unit_gradients(net, self.loss, self.q, 1 / self.q.shape[0])
        if self._vanish(gradients):
            before, self.S = self.S, self.S - self.V / (1 - momentum)
            _, q = self.measured()
            self.ended = self._vanish(unit_gradients(net, self.loss, q, 1 / q.shape[0]))
            if self.ended:
                self.V = namespace(self.V).zeros_like(self.V)
                return
            self.S = before
        else:
            self.V -= rate * rounded(rounded_backward(net, Z, self.y, *gradients) @ self.x)
        self.S -= self.V

    def _vanish(self, gradients: tuple[Array, Array]) -> bool:
        return not bool(namespace(self.q).any(gradients[0] != 0))


def check_problem(net: Network, x: Array, y: Array, loss: Loss | str) -> Loss:
    """What every trainer asks of its problem: fitting samples and labels, one dtype and library.

    The loss, which may be given by its name.
    """
    checks.samples_and_labels(x, y, net.W.shape[1])
    namespace(x, net.W)
    if x.dtype != net.W.dtype:
        refuse("x", f"dtype {net.W.dtype} as W", x.dtype, "convert one of the two")
    return loss_named(loss)
