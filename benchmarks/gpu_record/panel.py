"""Panels of the grid of (E1) on the device, as a user would sweep them, until the time is over."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PRESETS = ("released-l0-uniform", "paper-linf-uniform", "released-linf-uniform", "paper-l0-uniform")


def run(job: Any) -> dict[str, Any]:
    """Cells and seconds of each preset; their table lies beside the records."""
    results, found, cells = job.out / "results", {}, 0
    for preset in ("smoke",) if job.tiny else PRESETS:
        if not job.tiny and job.left() < 20:
            break
        start, before = time.monotonic(), cells
        code = _reflfap(
            *("sweep", "artificial", "--preset", preset, "--device", job.name),
            *("--out", str(results)),
            seconds=job.left() - 10,
        )
        seconds = time.monotonic() - start
        _reflfap("sweep", "collect", "--out", str(results), seconds=60)
        table = results / "artificial.csv"
        cells = len(table.read_text().splitlines()) - 1 if table.exists() else 0
        found[preset] = {"exit": code, "cells": cells - before, "seconds": seconds}
        if table.exists():
            shutil.copy(table, job.out / "panel.csv")
    return found


def _reflfap(*args: str, seconds: float) -> int:
    """Its exit code; after so many seconds it is asked to stop, and keeps what is done."""
    done = subprocess.Popen([sys.executable, "-m", "reflfap", *args], cwd=ROOT, env=os.environ)
    try:
        return done.wait(max(5.0, seconds))
    except subprocess.TimeoutExpired:
        done.send_signal(signal.SIGINT)
        return done.wait(30)
