"""Processes that tests start, wait for and kill, and what they leave in a folder."""

import contextlib
import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from reflfap.files import is_locked, lock


def fork(work: Callable[[], object]) -> int:
    """The id of a child that does `work` and exits with its value (None: 0), 99 if it raises.

    A fork takes 10 ms, an interpreter half a second.
    """
    with warnings.catch_warnings():  # Python 3.12 warns of threads, which BLAS has and handles
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 99
        with contextlib.suppress(BaseException):
            code = int(work() or 0)
        os._exit(code)
    return child


def exit_code(child: int) -> int:
    """Wait for the child; negative is the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int) -> int:
    os.kill(child, signal.SIGKILL)
    return exit_code(child)


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.005)


def listing(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def open_to_all(folder: Path) -> None:
    """Have others reach a folder of a test, and read what lies in it; not those above all tests."""
    above = Path(tempfile.gettempdir()).resolve()
    for one in (folder, *folder.parents):
        if one == above or one in above.parents:
            break
        one.chmod(one.stat().st_mode | 0o055)
    for one in folder.rglob("*"):
        one.chmod(0o644 if one.is_file() else 0o755)


def hold(path: Path) -> int:
    """A child that holds the lock for ever."""

    def work() -> None:
        with lock(path, lambda holder: None):
            time.sleep(1000)

    child = fork(work)
    wait_until(lambda: is_locked(path) and path.read_text() == f"{child}\n")
    return child
