"""Gradient flow (N5), dW/dt = -grad L(W), followed to a given time in some twenty steps.

Every gradient is a combination of the samples, so W = W0 + C X, and with r = -l'(q)

    dC_jn/dt = (1/N) a_j phi'(Z_jn) y_n r_n,   Z = W0 X^T + C K,   K = X X^T.

Descent resolves this with steps that are equal in t although the loss falls like 1/t. Here a step
is as long as its error allows, and reaching t takes a number of steps that grows with log t.

A step h is taken three times with the pattern frozen, implicit on the margins
(reflfap.training.implicit), so that no eigenvalue of K limits h: the largest is hundreds of times
the rest on raw images. Once whole, and in two halves with the pattern read anew in the middle. Two
times the halves minus the whole is of second order in h.

Where a unit is pushed off a sample from one side and onto it from the other, z_jn slides along the
kink: its sign changes in every step however short, and the order then approaches one, with the
small constant of an average over many such pairs. docs/flow.md has the study.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import Array, Namespace, asarray, floats, namespace
from reflfap.errors import ConvergenceError, NonFiniteError, refuse
from reflfap.losses import Loss, log_mean, rate
from reflfap.monitor import SILENT, Monitor
from reflfap.onehidden import Network, activation_slope, backward
from reflfap.training.descent import check_problem
from reflfap.training.implicit import implicit_step, interaction, rms
from reflfap.training.result import FlowTrace, Trained

MOST_LOG_LOSS = 1.0  # change of log L in a step: beyond, the error estimate means little
NEAR = 0.01  # of log L to its goal
MOST_REJECTIONS = 40
MOST_UNSOLVED = 100  # attempts of a training whose solver did not converge; 37 were seen
MOST_STEPS = 1000  # accepted ones, at the default tolerance; 60 were seen, on raw images
GROWTH = 5.0


class State(NamedTuple):
    """A point on the flow."""

    t: float
    C: Array  # (m, N), W = W0 + C X
    Z: Array  # (m, N) pre-activations
    slopes: Array  # (m, N) phi'(Z), the pattern
    q: Array  # (N,) float64 margins, read from Z
    log_loss: Array  # 0-d float64


def flow(
    net: Network,
    x: Array,
    y: Array,
    loss: Loss | str,
    *,
    time: float,
    tolerance: float = 0.3,
    least_loss: float = 0.0,
    monitor: Monitor = SILENT,
    stage: str = "flow",
) -> Trained:
    """(N5): follow gradient flow from the network's weights to `time`, on x (N, d), y (N,).

    It ends earlier, "loss", where the mean loss has fallen to `least_loss`, within NEAR of its log.

    `tolerance` bounds the RMS error of the margins in each step by the embedded estimate. Margins
    are dimensionless: an error of 0.01 in all of them is one percent of the loss. Without sign
    changes the final margins err by far less; with them, by about the tolerance in the median, and
    single samples by more, where a unit falls to one or the other side of a kink that repels.
    dtype and namespace are those of the arrays; margins and rates are float64.

    Cost a step: two products C K of 2 m N^2 (4 m N d where N > 2 d), and two M of m N^2.
    Memory besides x and W: K and M, two (N, N), and about ten (m, N); 1.6 GB at N = d = 10,000,
    m = 1,000 in float32, X and W included. Raises InputError, NonFiniteError, and ConvergenceError
    naming t and step when the tolerance cannot be met, or not in MOST_STEPS steps.
    """
    loss = check_problem(net, x, y, loss)
    time = checks.real_number("time", time, 0, math.inf, closed="()")
    # below, rounding of the margins would be taken for error, and steps would shrink for nothing
    checks.real_number("tolerance", tolerance, 100 * float(np.finfo(x.dtype).eps), 1.0)
    least_loss = checks.real_number("least_loss", least_loss, 0, math.inf, closed="[)")
    goal = math.log(least_loss) if least_loss > 0 else -math.inf
    run = _Flow(net, x, y, loss)
    kept = monitor.restore(stage)
    state, h, rows = run.start() if kept is None else run.restored(kept)
    monitor.begin(stage, 100, "% of log time", _percent(state.t, time))
    while state.t < time and _above(state, goal + NEAR):
        _check_steps(run, f"t = {state.t:.3g} of {time:.3g}", tolerance, len(rows), monitor)
        state, h, row = _advance_to(run, state, h, time, goal, tolerance)
        rows.append(row)
        monitor.advance(_percent(state.t, time) - _percent(row[0], time))
        if monitor.due():
            monitor.keep(stage, _kept(state, h, rows))
    monitor.keep(stage, _kept(state, h, rows))
    monitor.end()
    final = (state.t, math.exp(float(state.log_loss)), h, 0.0, 0.0, 0.0)
    trace = FlowTrace(*np.asarray([*rows, final]).T)
    q = namespace(x).astype(state.q, x.dtype)
    stopped = "time" if state.t >= time else "loss"
    return Trained(net._replace(W=net.W + state.C @ x), q, trace, stopped, state.C)


def _check_steps(run: "_Flow", where: str, tolerance: float, steps: int, monitor: Monitor) -> None:
    """ConvergenceError after too many steps, restored ones too; at a tenth the monitor says so.

    Their number grows like 1/sqrt(tolerance), a method of second order; 100,000 are enough for any.
    """
    most = round(MOST_STEPS * min(math.sqrt(max(0.3 / tolerance, 1.0)), 100.0))
    if steps not in (most // 10, most) and steps < most:
        return
    remedy = checks.scaling_advice(run.x, "ask for less time or a larger tolerance")
    if steps >= most:
        refuse("flow", f"the end in {most} steps", where, remedy, ConvergenceError)
    monitor.say(f"flow: {steps} steps, and the end is far, {where}; {remedy}")


def released_time(epochs: int, rate: float = 0.01, momentum: float = 0.9) -> float:
    """The flow time of (N6) at a constant rate: t = epochs lr / (1 - mu)."""
    return epochs * rate / (1 - momentum)


Row = tuple[float, ...]  # one state of FlowTrace


def _above(state: State, goal: float) -> bool:
    """Whether log L is; of a device it is read only where there is a goal."""
    return goal == -math.inf or float(state.log_loss) > goal


def _advance_to(
    run: "_Flow", state: State, h: float, time: float, goal: float, tolerance: float
) -> tuple[State, float, Row]:
    """As `_advance`; a step after which log L would lie below `goal` is taken again, shorter.

    By log L falling like log t, its share of this step is nearly right at once; between 0.1 and
    0.9, it comes to an end in any case.
    """
    while True:
        tried, after_h, row = _advance(run, state, h, time, tolerance)
        length = tried.t - state.t
        if _above(tried, goal - NEAR) or length <= 1e-6 * tried.t:
            return tried, after_h, row
        before, after = floats(state.log_loss, tried.log_loss)
        share = min(0.9, max(0.1, (before - goal) / (before - after)))
        h = (1 + state.t) * math.expm1(share * math.log1p(length / (1 + state.t)))


def _advance(
    run: "_Flow", state: State, h: float, time: float, tolerance: float
) -> tuple[State, float, Row]:
    """One accepted step from `state`, the next step's length, and the trace of this one."""
    newton, flops, failure = 0.0, 0.0, ""
    for _ in range(1 + MOST_REJECTIONS):
        length = min(h, time - state.t)
        if not state.t + length > state.t:
            failure = failure or "no time at all"
            break
        try:
            tried, difference, iterations, operations = run.attempt(state, length, tolerance)
        except ConvergenceError as unsolved:
            # Newton's method may fail at a long step; where it goes on to fail, something is wrong
            failure, h, run.unsolved = f"({unsolved})", 0.1 * length, run.unsolved + 1
            if run.unsolved > MOST_UNSOLVED:
                break
            continue
        newton, flops = newton + iterations, flops + operations
        signs = run.xp.sum(run.xp.astype(state.slopes != tried.slopes, run.xp.int64))
        error, before, after, turned = floats(difference, state.log_loss, tried.log_loss, signs)
        run.check(tried, after)
        change = abs(after - before)
        # the estimate is of second order in h
        factor = 0.9 * math.sqrt(tolerance / max(error, 1e-12 * tolerance))
        factor = min(GROWTH, factor, MOST_LOG_LOSS / max(change, 1e-12))
        if error <= tolerance and change <= 1.5 * MOST_LOG_LOSS:
            end = tried._replace(t=time) if h >= time - state.t else tried
            return end, length * factor, (state.t, math.exp(before), length, turned, newton, flops)
        failure = f"{error:.3g}"
        h = length * (max(0.1, min(0.7, factor)) if math.isfinite(factor) else 0.1)
    got = f"{failure} at t = {state.t:.6g} with the step cut to {h:.3g}"
    remedy = checks.scaling_advice(run.x, "use float64, or a larger tolerance")
    refuse("flow", f"an error of at most {tolerance:g}", got, remedy, ConvergenceError)


class _Flow:
    """A problem, and how to attempt a step."""

    def __init__(self, net: Network, x: Array, y: Array, loss: Loss) -> None:
        self.xp: Namespace = namespace(x)
        self.net, self.x, self.loss = net, x, loss
        self.y = self.xp.astype(y, self.xp.float64)
        self.n = x.shape[0]
        self.low_rank = self.n > 2 * x.shape[1]  # then D X X^T is cheaper than D K
        self.K = x @ x.T
        self.unsolved = 0
        self.scale = _unequal(net.a)
        self.M: Array = None  # (N, N), reused: a new one each time would cost as much as K o M

    def start(self) -> tuple[State, float, list[Row]]:
        """The initial state, a first step that changes no margin by more than 0.5, no trace."""
        xp = self.xp
        Z = self.net.W @ self.x.T
        state = self.read(0.0, xp.zeros_like(Z), Z)
        self.check(state, float(state.log_loss))
        with np.errstate(over="ignore", invalid="ignore"):
            force = self.force(state, rate(self.loss, state.q))
            fastest = float(xp.max(xp.abs(self.margins(self.spread(force)))))
        if not math.isfinite(fastest):  # no step would be short enough
            sample = int(xp.argmin(state.q))
            expected = f"margins whose rates {self.x.dtype} can hold"
            got = f"{float(state.q[sample]):.4g} for sample {sample} at t = 0"
            refuse("flow", expected, got, self.remedy(), NonFiniteError)
        return state, 0.5 * self.n / max(fastest, 1e-300), []

    def restored(self, kept: Mapping[str, Any]) -> tuple[State, float, list[Row]]:
        C, Z = asarray(kept["C"], self.xp), asarray(kept["Z"], self.xp)
        rows = [tuple(map(float, row)) for row in kept["rows"]]
        return self.read(float(kept["t"]), C, Z), float(kept["h"]), rows

    def read(self, t: float, C: Array, Z: Array) -> State:
        """The state with its margins and its loss."""
        slopes = activation_slope(Z, self.net.slope)
        q = self.margins(slopes * Z)
        return State(t, C, Z, slopes, q, log_mean(self.loss, q))

    def check(self, state: State, log_loss: float) -> None:
        """NonFiniteError for a loss that is not finite, the one of `state`."""
        if math.isfinite(log_loss):
            return
        when = f"t = {state.t:.6g}"
        checks.finite_or_raise(state.q, "margin", when, self.remedy())
        refuse("loss", "a finite mean", f"exp({log_loss}) at {when}", self.remedy(), NonFiniteError)

    def remedy(self) -> str:
        """What to do about numbers that are too large."""
        return checks.scaling_advice(self.x, "scale the samples or the initial weights down")

    def margins(self, activations: Array) -> Array:
        """y_n sum_j a_j (.)_jn, (N,) float64."""
        return self.y * self.xp.astype(self.net.a @ activations, self.xp.float64)

    def force(self, state: State, r: Array) -> Array:
        """a_j phi'(Z_jn) y_n r_n, (m, N): N dC/dt for the rates r (N,)."""
        df = self.xp.astype(self.y * r, state.Z.dtype)
        return backward(self.net, state.slopes.copy(), df)

    def moved(self, state: State, h: float, change: Array) -> State:
        """The state after time h, in which C changed by `change`; overwrites it."""
        Z = self.spread(change)
        Z += state.Z
        change += state.C
        return self.read(state.t + h, change, Z)

    def spread(self, D: Array) -> Array:
        """D K, (m, N): the change of Z that the change D of C makes."""
        return (D @ self.x) @ self.x.T if self.low_rank else D @ self.K

    def weighed(self, slopes: Array) -> Array:
        """phi'(Z) times sqrt(m) |a_j|, which is 1 but in (W1)."""
        return slopes if self.scale is None else slopes * self.scale[:, None]

    def attempt(
        self, state: State, h: float, tolerance: float
    ) -> tuple[State, Array, float, float]:
        """2 (two half steps) - (a whole step), each implicit with its pattern frozen: its end, the
        RMS difference of the margins to those of an embedded method of first order, 0-d, Newton's
        iterations, and operations.
        """
        c, inner = h / self.n, 0.01 * tolerance
        self.M = interaction(self.K, self.weighed(state.slopes), self.M)
        whole = implicit_step(self.loss, self.M, self.y, state.q, c, inner)
        first = implicit_step(self.loss, self.M, self.y, state.q, c / 2, inner)
        middle = self.moved(state, h / 2, self.force(state, c / 2 * first.r))
        self.M = interaction(self.K, self.weighed(middle.slopes), self.M)
        second = implicit_step(self.loss, self.M, self.y, middle.q, c / 2, inner)
        change = self.force(state, c * (first.r - whole.r))
        change += self.force(middle, c * second.r)
        end = self.moved(state, h, change)
        solves, m, (n, d) = (whole, first, second), self.net.W.shape[0], self.x.shape
        vectors = sum(solve.products for solve in solves) * 2 * n**2
        spread = 4 * m * n * d if self.low_rank else 2 * m * n**2
        newton, flops = sum(solve.newton for solve in solves), 2 * spread + 2 * m * n**2 + vectors
        return end, rms(end.q - second.q), float(newton), float(flops)


def _unequal(a: Array) -> Array | None:
    """sqrt(m) |a_j|, (m,), unless all are 1 to rounding."""
    xp = namespace(a)
    scale = math.sqrt(a.shape[0]) * xp.abs(a)
    low, high = floats(xp.min(scale), xp.max(scale))
    return None if max(1 - low, high - 1) < 1e-6 else scale


def _percent(t: float, time: float) -> int:
    return int(100 * math.log1p(t) / math.log1p(time))


def _kept(state: State, h: float, rows: list[Row]) -> dict[str, Any]:
    return {
        "C": state.C,
        "Z": state.Z,
        "t": np.asarray(state.t),
        "h": np.asarray(h),
        "rows": np.asarray(rows, dtype=np.float64).reshape(-1, 6),
    }
