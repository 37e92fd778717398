"""The plateau schedule of (N6): cut the learning rate when the loss stops improving."""

from typing import NamedTuple


class Plateau(NamedTuple):
    """The learning rate and what decides it; immutable, `after(loss)` is the next state.

    The rate is multiplied by `factor` after more than `patience` epochs in a row without a relative
    improvement of the best loss by `threshold`. A cut that would change the rate by no more than
    `least_change` is not made; the schedule is `exhausted` once it asks for such a cut.
    """

    rate: float
    best: float = float("inf")
    bad_epochs: int = 0
    exhausted: bool = False
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    least_change: float = 1e-8

    def course(self, losses: list[float]) -> tuple["Plateau", list[float]]:
        """The state after all `losses`, and the rate that was in force at each: a resumed training
        needs no more, since the schedule is a function of the losses alone."""
        state, rates = self, []
        for loss in losses:
            rates.append(state.rate)
            state = state.after(loss)
        return state, rates

    def after(self, loss: float) -> "Plateau":
        """The state after an epoch whose loss, measured before its update, was `loss`."""
        if loss < self.best * (1 - self.threshold):
            return self._replace(best=loss, bad_epochs=0)
        if self.bad_epochs < self.patience:
            return self._replace(bad_epochs=self.bad_epochs + 1)
        lower = self.factor * self.rate
        if self.rate - lower <= self.least_change:
            return self._replace(bad_epochs=0, exhausted=True)
        return self._replace(rate=lower, bad_epochs=0)
