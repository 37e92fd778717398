"""What a long computation tells the outside: progress, and states to resume from.

Trainers and attacks call a Monitor; this one says and keeps nothing. The command line passes one
that draws a progress bar and writes checkpoints (reflfap.runs.progress.RunMonitor).
"""

from collections.abc import Mapping
from typing import Any


class Monitor:
    """Silent, and without memory. Override what is wanted."""

    def __repr__(self) -> str:
        return type(self).__name__

    def begin(self, stage: str, total: int, unit: str, done: int = 0) -> None:
        """A stage of `total` units starts, `done` of them restored from a checkpoint."""

    def advance(self, amount: int = 1) -> None:
        """`amount` more units of the present stage are done."""

    def end(self) -> None:
        """The present stage is done."""

    def say(self, line: str) -> None:
        """A line for people about the present stage."""

    def restore(self, stage: str) -> Mapping[str, Any] | None:
        """The last kept state of `stage`, host arrays and numbers by name, or None."""
        return None

    def due(self) -> bool:
        """Whether the time has come to keep a state."""
        return False

    def keep(self, stage: str, state: Mapping[str, Any]) -> None:
        """Keep `state`, arrays and numbers by name, so that a later run can restore it.

        The arrays are the caller's own, on whatever device, and change as it goes on.
        """

    def hold(self, name: str, state: Mapping[str, Any]) -> None:
        """Keep a finished part of a stage, whatever its age; `held` gives it back."""

    def held(self, name: str) -> Mapping[str, Any] | None:
        """The part that was kept under this name, or None."""
        return None

    def rescue(self, name: str, state: Mapping[str, Any]) -> str:
        """Keep what a failure leaves for inspection; where it is, or nothing if it is not kept."""
        return ""


SILENT = Monitor()
