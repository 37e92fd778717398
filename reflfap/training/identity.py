"""The identity loss l(q) = -q, whose gradient changes only where a sign does: descent and flow.

With -l' = 1 the gradient of a unit depends on nothing but its own pattern of signs:

    dL/dZ = G,  G_jn = -a_j phi'(Z_jn) y_n / N,  L = <G, Z>.

So G stays as it is where no pre-activation Z = W X^T changes its sign, and P = G K, K = X X^T,
changes by the few entries of G that do, times their rows of K. An epoch of W = W0 + C X is

    v <- mu v + G,  C <- C - lr v,  V <- mu V + P,  Z <- Z - lr V,

of m N operations in place of a product's 2 m N^2. It is the released descent, epoch by epoch, up to
rounding. The code holds lr v, lr V, lr G and lr P, which are rescaled where lr changes.

Gradient flow is linear until a sign changes. Between changes any step is exact, so steps may grow
with what has been moved: the same epoch with mu = 0 and lr a share of the time so far. A unit that
is pushed onto a kink from both sides slides along it. Its sign then changes in every step, and the
shares of steps on either side are the slope in between that holds it there.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from reflfap import checks
from reflfap.backend import Array, asarray, floats, namespace, on_host
from reflfap.errors import NonFiniteError, refuse
from reflfap.losses import EXPONENTIAL
from reflfap.monitor import SILENT, Monitor
from reflfap.onehidden import Network, activation_slope
from reflfap.training.descent import check_problem
from reflfap.training.result import Trace, Trained
from reflfap.training.schedule import Plateau

FEW = 0.01
"""Share of entries whose signs change below which their rows of K cost less than a product."""

SHARE = 0.1
"""Of a step of the flow, in what was there and what has been moved: see `identity_flow`."""

_ARRAYS = ("Z", "C", "v", "V", "P")


def identity_descent(
    net: Network,
    x: Array,
    y: Array,
    *,
    epochs: int = 1_000,
    rate: float = 1.0,
    momentum: float = 0.9,
    gram: Array | None = None,
    monitor: Monitor = SILENT,
    stage: str = "identity descent",
) -> Trained:
    """(W1): train `net` on samples x (N, d), labels y (N,), by (N6) with the loss -y f(x).

    As `descent`, schedule included, with any output weights; the loss has no bound, so that it ends
    after `epochs`. `gram` is x x^T (N, N) where it is known. dtype and namespace are those of the
    arrays; losses are float64. A step past a sign change goes on to the end of its epoch, as in any
    descent.

    Cost: m N an epoch, N for each change of a sign (d where N > 2 d, and then 2 m d N an epoch), at
    most a product's 2 m N^2. Memory besides x and W: eight (m, N), and (N, N) unless N > 2 d.
    Raises InputError, and NonFiniteError naming the epoch. On a device the host waits each epoch.
    """
    check_problem(net, x, y, EXPONENTIAL)  # of the loss nothing is asked but its rate, 1
    checks.whole_number("epochs", epochs, least=1)
    checks.real_number("rate", rate, 0, math.inf, closed="()")
    checks.real_number("momentum", momentum, 0, 1, closed="[)")
    kept = monitor.restore(stage) or {}
    losses = [float(one) for one in kept.get("loss", ())]
    schedule, rates = Plateau(rate).course(losses)
    run = _Run(net, x, y, schedule.rate, gram, kept)
    monitor.begin(stage, epochs, "epoch", len(losses))
    for epoch in range(len(losses), epochs):
        losses.append(run.loss())
        _check(losses[-1], epoch, x)
        rates.append(schedule.rate)
        run.step(momentum)
        schedule = schedule.after(losses[-1])
        run.rescale(schedule.rate)
        monitor.advance()
        if monitor.due():
            monitor.keep(stage, {**run.arrays, "loss": np.asarray(losses)})
    monitor.keep(stage, {**run.arrays, "loss": np.asarray(losses)})
    losses.append(run.loss())
    _check(losses[-1], epochs, x)
    monitor.end()
    time = np.concatenate([[0.0], np.cumsum(rates)]) / (1 - momentum)
    trace = Trace(time, np.asarray(losses), np.asarray([*rates, schedule.rate]))
    C = run.arrays["C"]
    return Trained(net._replace(W=net.W + C @ x), run.margins(), trace, "epochs", C)


def identity_flow(
    net: Network,
    x: Array,
    y: Array,
    *,
    time: float,
    share: float = SHARE,
    gram: Array | None = None,
    monitor: Monitor = SILENT,
    stage: str = "identity flow",
) -> Trained:
    """(W1): gradient flow (N5) of the loss -y f(x), from the network's weights to `time`.

    A step is `share` of t + t_0, t_0 the time in which pre-activations move by as much as they are,
    root mean square, at the first rate: log(1 + time/t_0)/share steps. The error is of first order
    in `share`, and none before signs change. All else is as in `identity_descent`.
    """
    check_problem(net, x, y, EXPONENTIAL)
    time = checks.real_number("time", time, 0, math.inf, closed="()")
    share = checks.real_number("share", share, 0, 1, closed="(]")
    run = _Run(net, x, y, 1.0, gram, {})
    xp, Z, P = run.xp, run.arrays["Z"], run.arrays["P"]
    moved, there = floats(xp.mean(P * P), xp.mean(Z * Z))
    unit = math.sqrt(there / max(moved, 1e-300)) or time  # all zero: any step is as good
    count = math.ceil(math.log1p(time / unit) / math.log1p(share))
    growth = math.log1p(time / unit) / count
    times = unit * np.expm1(growth * np.arange(count + 1))
    losses = []
    monitor.begin(stage, count, "step")
    for number, step in enumerate(np.diff(times)):
        losses.append(run.loss())
        _check(losses[-1], number, x)
        run.rescale(float(step))
        run.step(0.0)
        monitor.advance()
    losses.append(run.loss())
    _check(losses[-1], count, x)
    monitor.end()
    trace = Trace(times, np.asarray(losses), np.append(np.diff(times), 0.0))
    C = run.arrays["C"]
    return Trained(net._replace(W=net.W + C @ x), run.margins(), trace, "time", C)


def _check(loss: float, epoch: int, x: Array) -> None:
    if not math.isfinite(loss):
        remedy = checks.scaling_advice(x, "lower the learning rate, or scale the data down")
        refuse("loss", "a finite mean", f"{loss} at epoch {epoch}", remedy, NonFiniteError)


class _Run:
    """A network on its way."""

    def __init__(
        self,
        net: Network,
        x: Array,
        y: Array,
        rate: float,
        gram: Array | None,
        kept: Mapping[str, Any],
    ) -> None:
        self.xp = xp = namespace(x)
        self.net, self.x, self.y, self.rate = net, x, y, rate
        self.low_rank = x.shape[0] > 2 * x.shape[1]
        self.K = None if self.low_rank else (x @ x.T if gram is None else gram)
        if kept:
            self.arrays = {name: asarray(kept[name], xp) for name in _ARRAYS}
        else:
            Z = net.W @ x.T
            self.arrays = {"Z": Z, **{name: xp.zeros_like(Z) for name in _ARRAYS[1:]}}
        self.on = self.arrays["Z"] > 0
        self.G = self.gradient()
        if not kept:
            self.arrays["P"] = self.spread(self.G)

    def gradient(self) -> Array:
        """lr G, (m, N), of the present pattern."""
        G = activation_slope(self.arrays["Z"], self.net.slope)
        G *= (-self.rate / self.x.shape[0]) * self.net.a[:, None]
        G *= self.y
        return G

    def spread(self, D: Array) -> Array:
        """D K, (m, N)."""
        return (D @ self.x) @ self.x.T if self.K is None else D @ self.K

    @np.errstate(over="ignore", invalid="ignore")  # who reads the loss refuses it
    def loss(self) -> float:
        """(1/N) sum_n -y_n f(x_n) = <G, Z>."""
        each = self.G[:, None, :] @ self.arrays["Z"][:, :, None]
        return float(self.xp.sum(self.xp.astype(each, self.xp.float64))) / self.rate

    def margins(self) -> Array:
        Z = self.arrays["Z"]
        return self.y * (self.net.a @ (activation_slope(Z, self.net.slope) * Z))

    @np.errstate(over="ignore", invalid="ignore")
    def step(self, momentum: float) -> None:
        """An epoch, and what of P changes with the signs."""
        Z, C, v, V, P = (self.arrays[name] for name in _ARRAYS)
        for velocity, now, place in ((v, self.G, C), (V, P, Z)):
            velocity *= momentum
            velocity += now
            place -= velocity
        on = Z > 0
        changed, self.on = on != self.on, on
        count = int(self.xp.count_nonzero(changed))
        if count == 0:
            return
        before, self.G = self.G, self.gradient()
        if on_host(self.xp) and count < FEW * changed.size:
            self._add_changes(changed, before)
        else:
            self.arrays["P"] = self.spread(self.G)

    def _add_changes(self, changed: Array, before: Array) -> None:
        """P += (G - before) K from the rows of K, or of X, whose samples change for a unit."""
        units, samples = np.nonzero(changed)
        values = self.G[changed] - before[changed]
        first = np.searchsorted(units, np.arange(changed.shape[0] + 1))
        rows, xp = self.x if self.K is None else self.K, self.xp
        moved = xp.zeros((changed.shape[0], rows.shape[1]), dtype=rows.dtype)
        for unit in np.unique(units):
            part = slice(first[unit], first[unit + 1])
            moved[unit] = values[part] @ rows[samples[part]]
        self.arrays["P"] += moved @ self.x.T if self.K is None else moved

    def rescale(self, rate: float) -> None:
        """lr is now `rate`."""
        if rate != self.rate:
            for name in ("v", "V", "P"):
                self.arrays[name] *= rate / self.rate
            self.rate = rate
            self.G = self.gradient()
