"""What the engine of sweeps costs, and what a second worker gains: processes, and a dask cluster.

    python -m benchmarks.sweep [overhead] [pool] [dask]

The grid is twelve cells of some seconds with one BLAS thread a worker, so that one and two workers
do the same arithmetic on one and two cores. `dask` needs the extra dist.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import print_machine
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.runs.running import Place
from reflfap.sweep import engine
from reflfap.sweep.executors import Dask, InProcess, Processes

CELLS = [
    ArtificialConfig(
        dim=2_000, hidden=500, n=1_000, n_adv=2_000, epsilon=0.1 + 0.1 * size, seed=seed
    )
    for size in range(3)
    for seed in range(4)
]


def seconds(executor, workers, cells=CELLS):
    """Wall time of the grid in a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), threads=1)
        start = time.perf_counter()
        found = engine.run_tasks(engine.remaining(cells, place), place, executor, workers)
        end = time.perf_counter()
    if found.failed:
        sys.exit(str(found.failed))
    return end - start


def overhead():
    """Wall time in this process less the time inside training and attacks."""
    inside = 0.0

    def timed(function):
        def call(*args, **kwargs):
            nonlocal inside
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                inside += time.perf_counter() - start

        return call

    artificial.network, artificial.run = timed(artificial.network), timed(artificial.run)
    whole = seconds(InProcess(), 1)
    print(
        f"engine: {whole:.1f} s, of which {whole - inside:.2f} s outside the experiments (plan, "
        f"files with their seals, locks, digests): {100 * (1 - inside / whole):.1f} percent"
    )


def pool(runs=3):
    """Two processes against one, paired."""
    _compare(
        "a pool", {"1 process": lambda: _processes(1), "2 processes": lambda: _processes(2)}, runs
    )


def dask(runs=3):
    """A dask cluster of two workers against a pool of two, paired."""
    with cluster(2) as address:

        def on_dask():
            with Dask(address) as executor:
                return seconds(executor, 2)

        _compare(
            "dask", {"dask, 2 workers": on_dask, "2 processes": lambda: _processes(2)}, runs, 1
        )


def _processes(workers):
    with Processes(workers) as executor:
        warm = [executor.submit(time.sleep, 0.1) for _ in range(workers)]
        for future in warm:
            future.result()
        return seconds(executor, workers)


def _compare(title, calls, runs, share=2):
    """Ratios of the second's time to the first's; `share` is the ideal one."""
    (one, first), (other, second) = calls.items()
    pairs = [(first(), second()) for _ in range(runs)]
    efficiencies = sorted(a / b / share for a, b in pairs)
    shown = ", ".join(f"{a:.1f} and {b:.1f} s" for a, b in pairs)
    print(f"{title}: {one} and {other}: {shown}", end="; ")
    if share == 1:  # the first is judged, and the second is the peer
        efficiencies = sorted(b / a for a, b in pairs)
    median = efficiencies[len(efficiencies) // 2]
    print(f"efficiency {median:.2f} [{efficiencies[0]:.2f}, {efficiencies[-1]:.2f}]", flush=True)


@contextlib.contextmanager
def cluster(workers):
    """The address of a dask cluster of so many processes of one thread each."""
    address = "tcp://127.0.0.1:8799"
    module = [sys.executable, "-m"]
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "8799"]
    worker = ["distributed.cli.dask_worker", address, "--nthreads", "1"]
    commands = [scheduler, *[worker] * workers]
    with contextlib.ExitStack() as stack:
        for command in commands:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen([*module, *command, "--no-dashboard"], **quiet)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        with Dask(address) as executor:
            while executor.workers < workers:
                time.sleep(0.2)
        yield address


PARTS = {part.__name__: part for part in (overhead, pool, dask)}

if __name__ == "__main__":
    print_machine()
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
