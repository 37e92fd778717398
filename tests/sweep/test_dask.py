"""Sweeps on a dask cluster of this machine: the same table, lost workers, a lost scheduler."""

import contextlib
import socket
import subprocess
import sys
import threading
import time

import pytest
from processes import wait_until
from project import SUPPORT
from sweeping import cell, small_grid
from test_sweep import assert_same, rows, sweep, undisturbed  # noqa: F401 - a fixture

from reflfap.runs.running import Place
from reflfap.sweep import engine
from reflfap.sweep.executors import Dask

pytest.importorskip("distributed", reason="needs the extra dist")


class Cluster(contextlib.ExitStack):
    """A scheduler and its workers, each a process that may be killed."""

    def __init__(self):
        super().__init__()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.workers = []

    def start(self, workers):
        where = ("--host", "127.0.0.1", "--port", str(self.port))
        self.scheduler = self._start("dask_scheduler", *where)
        for _ in range(workers):
            self.workers.append(self._start("dask_worker", self.address, "--nthreads", "1"))

    def _start(self, module, *options):
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *options]
        environment = {"PYTHONPATH": str(SUPPORT), "PATH": ""}
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
        self.callback(process.wait)
        self.callback(process.kill)
        return process


@pytest.fixture
def cluster():
    with Cluster() as found:
        found.start(workers=2)
        yield found


def connected(cluster):
    executor = Dask(cluster.address)
    wait_until(lambda: executor.workers == 2)
    return executor


def test_the_same_table_on_a_cluster(cluster, tmp_path, undisturbed):  # noqa: F811
    with connected(cluster) as executor:
        found = sweep(tmp_path, small_grid(), executor, workers=2)
    assert not found.failed
    assert_same(rows(tmp_path), undisturbed)


def long_cells():
    """Cells of about a second."""
    return [cell(seed=seed, trainer="gd", epochs=5_000) for seed in range(6)]


def during_a_sweep(cluster, tmp_path, accident):
    """What becomes of a sweep during which the accident happens."""
    found = []

    def compute():
        with connected(cluster) as executor:
            found.append(sweep(tmp_path, long_cells(), executor, workers=2))

    threads = [threading.Thread(target=target, daemon=True) for target in (compute, accident)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
        assert not thread.is_alive(), "waited for five minutes"
    assert not found[0].failed
    assert engine.remaining(long_cells(), Place(tmp_path)) == []


def some_are_there(tmp_path):
    wait_until(lambda: list(tmp_path.glob("artificial/*/result.h5")))


def test_a_killed_worker(cluster, tmp_path):
    """dask hands what it had to the other worker."""

    def accident():
        some_are_there(tmp_path)
        cluster.workers[0].kill()

    during_a_sweep(cluster, tmp_path, accident)


def test_a_lost_scheduler(cluster, tmp_path):
    """The sweep connects again to the next one at that address, and hands out what was lost."""

    def accident():
        some_are_there(tmp_path)
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        for worker in cluster.workers:
            worker.kill()
        time.sleep(1)
        cluster.start(workers=2)

    during_a_sweep(cluster, tmp_path, accident)
