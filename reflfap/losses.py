"""Losses l(q) of the margin q = y f(x), (N2): value, rate -l' and curvature l'', all in float64.

In float32 exp(-q) overflows at q = -89 and underflows at q = 104. So margins of any dtype are taken
to float64 first. And each quantity has a logarithm, which is exact where the quantity itself is not
representable. Margins are vectors of length N, so this costs nothing.
"""

from dataclasses import dataclass
from typing import Protocol

from reflfap.backend import Array, namespace
from reflfap.checks import choice
from reflfap.errors import refuse


class Loss(Protocol):
    """A decreasing convex loss of the margin; every method maps (N,) to (N,) in float64."""

    @property
    def name(self) -> str: ...

    def log_value(self, q: Array) -> Array:
        """log l(q)."""

    def log_rate(self, q: Array) -> Array:
        """log(-l'(q))."""

    def log_curvature(self, q: Array) -> Array:
        """log l''(q)."""


@dataclass(frozen=True)
class Exponential:
    """l(q) = exp(-q), so that l = -l' = l''."""

    name: str = "exponential"

    def log_value(self, q: Array) -> Array:
        return -_double(q)

    log_rate = log_curvature = log_value


@dataclass(frozen=True)
class Logistic:
    """l(q) = log(1 + exp(-q)), -l' = 1/(1 + exp(q)), l'' = -l' (1 + l')."""

    name: str = "logistic"

    def log_value(self, q: Array) -> Array:
        q = _double(q)
        xp = namespace(q)
        # l(q) = e^-q - e^-2q/2 + ..., so log l(q) = -q to rounding from q = 40 on
        return xp.where(q > 40, -q, xp.log(xp.logaddexp(0.0, -xp.minimum(q, 40.0))))

    def log_rate(self, q: Array) -> Array:
        q = _double(q)
        return -namespace(q).logaddexp(0.0, q)

    def log_curvature(self, q: Array) -> Array:
        return self.log_rate(q) + self.log_rate(-q)


EXPONENTIAL = Exponential()
LOGISTIC = Logistic()
LOSSES: dict[str, Loss] = {loss.name: loss for loss in (EXPONENTIAL, LOGISTIC)}


def loss_named(loss: Loss | str) -> Loss:
    """The loss called "exponential" or "logistic"; a loss itself as it is."""
    if isinstance(loss, str):
        return LOSSES[choice("loss", loss, LOSSES)]
    if not hasattr(loss, "log_value"):
        refuse("loss", "exponential or logistic", repr(loss), "give a name, or one of LOSSES")
    return loss


def value(loss: Loss, q: Array) -> Array:
    """Per-sample l(q), (N,) float64; infinite only where it exceeds float64."""
    return _exp(loss.log_value(q))


def rate(loss: Loss, q: Array) -> Array:
    """Per-sample -l'(q) > 0, (N,) float64."""
    return _exp(loss.log_rate(q))


def log_mean(loss: Loss, q: Array) -> Array:
    """log of (N2), log((1/N) sum_n l(q_n)), for any margin; 0-d float64, on the device of q.

    NaN or infinite if a margin is.
    """
    logs = loss.log_value(q)
    xp = namespace(logs)
    top = xp.max(logs)
    finite = xp.isfinite(top)  # else the differences below would be of infinities
    shift = xp.where(finite, top, 0.0)
    mean = xp.mean(xp.exp(xp.where(finite, logs - shift, 0.0)))
    return xp.where(finite, shift + xp.log(mean), top)


def _double(q: Array) -> Array:
    xp = namespace(q)
    return xp.astype(q, xp.float64)


def _exp(logs: Array) -> Array:
    xp = namespace(logs)
    # beyond 709.78 the value is not representable: infinity, without a warning
    return xp.where(logs > 709.78, xp.inf, xp.exp(xp.minimum(logs, 709.78)))
