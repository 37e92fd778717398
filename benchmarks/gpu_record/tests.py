"""The numerical tests on CuPy: how many passed, and what those that did not say."""

import contextlib
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 150
MOST_FAILURES = 40
PROCESSES = 8  # whose kernels are small, and who share one device


def run(job: Any) -> dict[str, Any]:
    """All that run on several libraries, the one that is asked for: NumPy where there is no CuPy,
    and of a tiny record one file."""
    library = "numpy" if job.xp.__name__ == "numpy" else "cupy"
    report, log = job.out / "tests.xml", job.out / "tests.log"
    where = "tests/core/test_losses.py" if job.tiny else "tests"
    command = [
        *(sys.executable, "-m", "pytest", where, "-k", f"{library} and not conformance"),
        *("-m", "not slow and not torch", "--continue-on-collection-errors", "-q"),
        *("-n", str(PROCESSES), "--dist", "worksteal"),
        # other versions warn of other things; -rf and --tb keep the log short
        *("-o", "filterwarnings=default", "-p", "no:cacheprovider", "--tb=short", "-rf"),
        *("-o", "junit_family=xunit1", f"--junitxml={report}"),
    ]
    settings = {"CI": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    seconds = min(MOST_SECONDS, max(10, job.left() - 10))
    with log.open("wb") as file:
        done = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | settings,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | str = done.wait(seconds)
        except subprocess.TimeoutExpired:
            code = f"stopped after {seconds:.0f} s"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(done.pid, signal.SIGKILL)
            done.wait()
    if not report.exists():
        return {"exit": code, "output": log.read_text(errors="replace")[-4000:]}
    found = {"exit": code, **counted(report)}
    report.unlink()
    return found


def counted(report: Path) -> dict[str, Any]:
    """Numbers by outcome, and the failures' names and first lines."""
    outcomes = {"passed": 0, "failed": 0, "skipped": 0}
    failures, skipped = {}, set()
    for case in ET.parse(report).getroot().iter("testcase"):
        bad = [*case.findall("failure"), *case.findall("error")]
        if bad:
            outcomes["failed"] += 1
            name = f"{case.get('classname')}::{case.get('name')}"
            failures[name] = str(bad[0].get("message"))[:300]
        elif (one := case.find("skipped")) is not None:
            outcomes["skipped"] += 1
            skipped.add(str(one.get("message"))[:200])
        else:
            outcomes["passed"] += 1
    first = dict(list(failures.items())[:MOST_FAILURES])
    return {**outcomes, "failures": first, "reasons to skip": sorted(skipped)}
