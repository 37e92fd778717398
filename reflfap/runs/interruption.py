"""Ctrl-C and SIGTERM, taken note of when they come and looked at between steps.

No handler raises: an exception may land inside HDF5, which bears none, or in a callback of the
interpreter, which drops it.
"""

import contextlib
import os
import signal
import threading
from typing import Any, ClassVar

from reflfap.terminal import say

EXIT_CODE = 130
"""Of an interrupted command; the same command resumes."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether the user has asked to stop while this was open; the second time ends the process.

    One that is opened inside another knows what came before. Signals belong to the main thread: in
    others nothing is ever seen.
    """

    _innermost: ClassVar["Interruption | None"] = None

    def __init__(self) -> None:
        self.seen = False
        self._outer: Interruption | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._outer, Interruption._innermost = Interruption._innermost, self
            self.seen = self._outer is not None and self._outer.seen
            self._handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        if self._handlers:
            Interruption._innermost = self._outer
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.seen:
            os._exit(EXIT_CODE)  # files are whole or absent, so nothing has to be put in order
        one: Interruption | None = self
        while one is not None:
            one.seen = True
            one = one._outer
        with contextlib.suppress(RuntimeError):  # it came in the midst of another line
            say("stopping after the step under way; once more to stop at once")
