"""A record of what a device did, in steps that each write a sealed JSON file as soon as they end.

    python -m benchmarks.gpu_record --out DIR [--minutes 8] [--device cuda] [--steps cell deep]

It needs no installation and no network: run it in the source's folder. REFLFAP_DATA is where MNIST
is, which the step `paper` wants. A step for which too little time is left is skipped, and its file
says so; one that fails says how, and the others go on. Exit code 1 if one failed.
"""

import datetime
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro

from benchmarks.gpu_record import cell, deep, device, panel, paper, tests
from benchmarks.gpu_record.sealed import write_record
from benchmarks.timing import processor
from reflfap.backend import Namespace, namespace_for
from reflfap.errors import InputError
from reflfap.machine import keep_freed_memory
from reflfap.runs.provenance import describe, source_sha256
from reflfap.terminal import say


class Job(NamedTuple):
    """What a step has to work with."""

    xp: Namespace
    name: str  # the device as namespace_for takes it
    tiny: bool  # sizes at which the host does all of it in seconds
    out: Path
    end: float  # of time.monotonic

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


class Step(NamedTuple):
    """A part of the record; less than `least` seconds are too few to begin."""

    run: Callable[[Job], dict[str, Any]]
    least: float


STEPS = {
    "device": Step(device.run, 5),
    "tests": Step(tests.run, 40),
    "cell": Step(cell.run, 30),
    "deep": Step(deep.run, 40),
    "paper": Step(paper.run, 40),
    "panel": Step(panel.run, 30),
}


def main(
    out: Path,
    minutes: float = 8.0,
    device: str = "cuda",
    steps: tuple[Literal["device", "tests", "cell", "deep", "paper", "panel"], ...] = (),
    tiny: bool = False,
) -> int:
    """Record what a device does.

    Args:
        out: folder of the records
        minutes: for all steps together
        device: cuda, or cuda:K for device K; cpu for the host
        steps: some of them only
        tiny: sizes that take seconds on the host
    """
    xp = namespace_for(device)
    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    about = {**describe(xp), "processor": processor(), "code": source_sha256()}
    job, failed = Job(xp, device, tiny, out, time.monotonic() + 60 * minutes), False
    for name in steps or tuple(STEPS):
        started, left = time.monotonic(), job.left()
        found: dict[str, Any] = {"step": name, "tiny": tiny, "made_by": about}
        found["date"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        if not tiny and left < STEPS[name].least:
            found["skipped"] = f"{left:.0f} s were left, {STEPS[name].least:.0f} are needed"
        else:
            say(f"{name}: {left:.0f} s left")
            try:
                with np.errstate(all="ignore"):
                    found["values"] = STEPS[name].run(job)
            except Exception:
                found["failed"], failed = traceback.format_exc(limit=-8), True
                say(found["failed"])
        found["seconds"] = time.monotonic() - started
        write_record(out / f"{name}.json", found)
    return int(failed)


if __name__ == "__main__":
    try:
        sys.exit(tyro.cli(main))
    except InputError as error:
        say(f"error: {error}")
        sys.exit(2)
