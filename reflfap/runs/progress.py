"""What a run shows and keeps while it works: progress bars, checkpoints, an orderly end."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm

from reflfap.errors import StoreError
from reflfap.monitor import Monitor
from reflfap.runs.checkpoints import Checkpoints
from reflfap.runs.interruption import Interruption
from reflfap.terminal import plain, say


class Bars(Monitor):
    """Progress bars on standard error, with rate and time left; none unless it is a terminal, or a
    notebook, which draws them itself."""

    def __init__(self, quiet: bool = False) -> None:
        self._bar: Any = None
        self._quiet = quiet

    def begin(self, stage: str, total: int, unit: str, done: int = 0) -> None:
        # a dumb terminal cannot go back to the beginning of a line; of tqdm, None asks whether it
        # is a terminal at all
        disable = False if "ipykernel" in sys.modules else None
        if self._quiet or (os.environ.get("TERM") == "dumb" and disable is None):
            disable = True
        self._bar = tqdm(total=total, initial=done, desc=stage, unit=unit, disable=disable)

    def advance(self, amount: int = 1) -> None:
        self._bar.update(amount)

    def say(self, line: str) -> None:
        if not self._quiet:
            self._bar.write(plain(line), file=sys.stderr)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()


class RunMonitor(Bars):
    """Progress bars on standard error, checkpoints, and an orderly end on Ctrl-C or SIGTERM.

    The first signal lets the step under way finish and keeps its state; a second ends at once.
    """

    def __init__(self, checkpoints: Checkpoints, quiet: bool = False) -> None:
        super().__init__(quiet)
        self.checkpoints = checkpoints
        self.resumed = ""  # the stage whose state was restored last
        self._stop = Interruption()

    @property
    def interrupted(self) -> bool:
        """Whether the run is to end; its next state is kept, and KeyboardInterrupt raised."""
        return self._stop.seen

    def __enter__(self) -> "RunMonitor":
        self._stop.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
        self._stop.__exit__(*exception)

    def restore(self, stage: str) -> Mapping[str, Any] | None:
        state = self.held(stage)
        if state is not None:
            self.resumed = stage
            if not self._quiet:
                say(f"{stage}: resumed from a checkpoint")
        return state

    def due(self) -> bool:
        return self.interrupted or self.checkpoints.due()

    def keep(self, stage: str, state: Mapping[str, Any], at_once: bool = False) -> None:
        self.checkpoints.keep(stage, state, at_once or self.interrupted)
        if self.interrupted:
            raise KeyboardInterrupt

    def hold(self, name: str, state: Mapping[str, Any]) -> None:
        self.keep(name, state, at_once=True)

    def held(self, name: str) -> Mapping[str, Any] | None:
        try:
            return self.checkpoints.restore(name)
        except StoreError as error:  # as good as none
            if not self._quiet:
                say(f"{error}\nnot resumed from it")
            return None

    def rescue(self, name: str, state: Mapping[str, Any]) -> str:
        return str(self.checkpoints.keep(name, state, at_once=True))
