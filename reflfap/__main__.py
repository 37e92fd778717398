"""The entry point of `reflfap`: a signal ends it quietly from the first moment on.

Reading all modules takes a second, in which Ctrl-C would show a traceback. Commands that keep a
state when they are interrupted say so by a handler of their own.
"""

import os
import signal
import sys


def entry() -> None:
    """Run the command that the arguments say, and exit with its code."""
    end_quietly_on_signals()
    os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files, wherever there is a screen
    from reflfap.cli.main import main as command

    sys.exit(command())


def end_quietly_on_signals() -> None:
    """Have Ctrl-C and SIGTERM end this process at once: files are whole or absent."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(number: int, frame: object) -> None:
    os.write(2, b"reflfap: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    entry()
