"""Commands and functions as children of this process: a fork takes 10 ms, an interpreter 700."""

import contextlib
import faulthandler
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from processes import exit_code, fork

from reflfap.__main__ import end_quietly_on_signals
from reflfap.cli.main import main

PATIENCE = 10.0
"""Seconds beyond its usual duration after which a command hangs."""

MEMORY = 4 * 2**30
"""Bytes of address space of a child: what asks for more must take the refusal in order."""

WORDS_OF_A_TRACEBACK = ("Traceback (most recent call last)", "Fatal Python error")


class Defect(NamedTuple):
    """Something that must not happen: its kind, a column of the table, and what it was."""

    kind: str
    what: str


class Ended(NamedTuple):
    """How a child ended."""

    code: int | None  # negative: the signal that killed it; None: it hung
    out: str
    err: str

    def complaints(self, codes: Sequence[int] = (0, 1, 2), escapes: bool = True) -> list[Defect]:
        """What no command may do, whatever it was given."""
        said = self.out + self.err
        if self.code is None:
            return [Defect("hang", self.err[self.err.find("(most recent call first)") :][:700])]
        found = []
        if any(words in said for words in WORDS_OF_A_TRACEBACK):
            found.append(Defect("traceback", said[-900:]))
        if self.code not in codes:
            found.append(Defect("exit code", f"{self.code}, not one of {codes}: {said[-300:]}"))
        if escapes and "\x1b" in said:
            found.append(Defect("escape", ascii(said[-300:])))
        return found


class Child:
    """A process that works in an empty folder `here`/cwd; what it says goes to files of `here`."""

    def __init__(
        self, here: Path, words: Sequence[str], work: Callable[[], int] | None = None
    ) -> None:
        """It does `work`, by default the command `words`; see also `Process`."""
        self._prepare(here)
        ready, told = os.pipe()
        sys.stdout.flush()
        self.id = fork(lambda: self._live(work or (lambda: command(words)), told))
        os.close(told)
        os.read(ready, 1)  # it is about to begin
        os.close(ready)

    def _prepare(self, here: Path) -> None:
        self.cwd, said = here / "cwd", here / "said"
        for folder in (self.cwd, said):
            folder.mkdir(exist_ok=True)
        number = len(list(said.iterdir()))
        self._said = [said / f"{number}-{name}" for name in ("out", "err")]

    def _streams(self) -> list[int]:
        return [os.open(path, os.O_WRONLY | os.O_CREAT, 0o600) for path in self._said]

    def _live(self, work: Callable[[], int], told: int) -> int:
        """Never returns: no handler of the campaign, no buffer of it, is the child's."""
        os.setsid()
        os.chdir(self.cwd)
        for number, stream in enumerate(self._streams(), 1):
            os.dup2(stream, number)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
        sys.modules["__main__"] = types.ModuleType("__main__")  # which its own workers would import
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
        end_quietly_on_signals()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = 1
        try:
            os.write(told, b"r")
            code = work()
        except BaseException:
            traceback.print_exc()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        sys.stdout.flush()
        os._exit(code)

    def send(self, number: int, group: bool = False) -> None:
        """A signal to it, or to all its processes as a terminal sends it."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.id, number)

    def end(self, usual: float = 0.0) -> Ended:
        """Wait for it, kill it if it hangs, and see what it said."""
        descriptor = os.pidfd_open(self.id)
        ended = bool(select.select([descriptor], [], [], usual + PATIENCE)[0])
        os.close(descriptor)
        if not ended:
            self.send(signal.SIGUSR1)  # say where
            time.sleep(0.2)
            self.send(signal.SIGKILL, group=True)
        code = exit_code(self.id)
        out, err = (path.read_bytes().decode(errors="replace") for path in self._said)
        return Ended(code if ended else None, out, err)

    def sweep_up(self) -> None:
        """Kill what it left: workers that miss it would end by themselves, but later."""
        self.send(signal.SIGKILL, group=True)


class Process(Child):
    """The same with an interpreter of its own, which is just starting."""

    def __init__(self, here: Path, words: Sequence[str], path: str) -> None:
        self._prepare(here)
        out, err = self._streams()
        self._process = subprocess.Popen(  # it is waited for by its id
            [sys.executable, "-m", "reflfap", *words],
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            env={**os.environ, "PATH": path},
        )
        os.close(out)
        os.close(err)
        self.id = self._process.pid

    def end(self, usual: float = 0.0) -> Ended:
        ended = super().end(usual)
        self._process.returncode = 0  # has been waited for
        return ended


def command(words: Sequence[str]) -> int:
    """One command; tyro leaves by SystemExit."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


def run(here: Path, words: Sequence[str], usual: float = 0.0) -> Ended:
    """One command to its end."""
    child = Child(here, words)
    ended = child.end(usual)
    child.sweep_up()
    return ended
