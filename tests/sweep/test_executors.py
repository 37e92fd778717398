"""Executors of sweeps: results and errors come back, deaths are told, nothing is left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest
from processes import wait_until
from project import SUPPORT
from sweeping import die, report_and_sleep

from reflfap.errors import BackendError, InputError
from reflfap.sweep import executors
from reflfap.sweep.executors import Dask, InProcess, Processes


@pytest.mark.parametrize("make", [InProcess, lambda: Processes(1)])
def test_results_and_errors_come_back(make):
    with make() as executor:
        assert executor.submit(divmod, 7, 2).result() == (3, 1)
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 7, 0).result()
        assert executor.submit(divmod, 9, 2).result() == (4, 1)


def test_a_killed_worker_takes_no_other_along(tmp_path):
    """One process dies in the middle, the other one's call ends well; both places work on."""
    with Processes(2) as executor:
        slow = executor.submit(report_and_sleep, tmp_path, 1.5)
        wait_until(lambda: len(list(tmp_path.iterdir())) == 1)
        assert isinstance(executor.submit(die).exception(), BrokenExecutor)
        assert slow.result() > 0
        both = [executor.submit(report_and_sleep, tmp_path, 0.5) for _ in range(2)]
        assert len({future.result() for future in both}) == 2


def test_a_worker_that_dies_idle_is_replaced(tmp_path):
    with Processes(1) as executor:
        pid = executor.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        assert executor.submit(os.getpid).result() != pid


PARENT = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from sweeping import report_and_sleep
    from reflfap.sweep.executors import Processes
    if __name__ == "__main__":
        executor = Processes(2)
        for _ in range(2):
            executor.submit(report_and_sleep, Path(sys.argv[2]), 60)
        time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_their_parent(tmp_path):
    """A parent killed without a word leaves no process behind."""
    script, pids = tmp_path / "parent.py", tmp_path / "pids"
    script.write_text(textwrap.dedent(PARENT))
    pids.mkdir()
    tests = str(SUPPORT)
    with subprocess.Popen([sys.executable, str(script), tests, str(pids)]) as parent:
        wait_until(lambda: len(list(pids.iterdir())) == 2)
        workers = [int(path.name) for path in pids.iterdir()]
        assert all(map(alive, workers))
        parent.kill()
    wait_until(lambda: not any(map(alive, workers)))


def test_a_scheduler_that_is_not_there(monkeypatch):
    monkeypatch.setattr(executors, "ANSWER_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"scheduler: expected one at tcp://127.0.0.1:1, got no"):
        Dask("tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="scheduler"):
        Dask("no address")


def test_without_dask(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BackendError, match="reflfap\\[dist\\]"):
        Dask("tcp://127.0.0.1:1")
