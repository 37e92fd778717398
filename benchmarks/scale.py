"""A hundred thousand results in one folder: what writing, reading, planning and handing out take.

    python -m benchmarks.scale make FOLDER [COUNT ...]     # FOLDER/COUNT, 1000 unless given
    python -m benchmarks.scale read FOLDER [COUNT ...]     # the commands on what was made
    python -m benchmarks.scale engine [COUNT ...]          # cells that take no time, in one process
    python -m benchmarks.scale dask [WORKERS ...]          # cells that sleep, on a cluster

Processor seconds stand beside those of the clock, for other work may be on the machine.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import scale
from benchmarks.sweep import cluster
from benchmarks.timing import peak_memory, print_machine
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import canonical_json, identity
from reflfap.files import lock
from reflfap.runs import running, store
from reflfap.sweep import engine, table
from reflfap.sweep.executors import Dask, InProcess, Processes
from reflfap.sweep.work import Outcome

SIZES = {"dim": 20, "hidden": 4, "n": 5, "n_adv": 7, "epochs": 10}
WRITTEN = {"schema_version", "experiment", "run_id", "config_json", "created_utc"}  # by store.write
COMMANDS = ("list", "list --json", "sweep status", "sweep collect", "verify --quick")
SLEEP = 0.5


def cells(count):
    """Cells that share no network."""
    return [ArtificialConfig(**SIZES, seed=seed) for seed in range(count)]


def make(folder, *counts):
    """One cell is computed. The others, with seeds of their own, have its metrics and no arrays;
    nothing waits for the disk. Goes on where an earlier call was stopped."""
    for count in map(int, counts or (1000,)):
        out = Path(folder) / str(count)
        place = running.Place(out, threads=1, quiet=True)
        first, *others = cells(count)
        engine.run_tasks(engine.remaining([first], place), place, InProcess())
        about = store.stated(running.folder_of(out, first) / store.RESULT)
        attributes = {name: about.attributes[name] for name in store.ROOT_ATTRIBUTES}
        attributes = {name: one for name, one in attributes.items() if name not in WRITTEN}
        others = [
            one for one in others if not (running.folder_of(out, one) / store.RESULT).exists()
        ]
        os.fsync, sync = (lambda descriptor: None), os.fsync
        start, busy = time.perf_counter(), time.process_time()
        for config in others:
            text = canonical_json(config)
            run = store.folder_for(out, config.experiment, text)
            with lock(run / store.LOCK, lambda holder: None):
                metrics = about.metrics | {"loss_noise": 1 / (1 + config.seed)}
                store.write(run, text, attributes, metrics, {})
        took, busy = time.perf_counter() - start, time.process_time() - busy
        os.fsync = sync
        table.write_list(out, "many", cells(count))
        each = 1e3 / max(len(others), 1)
        print(f"writing {len(others)}: {each * took:.1f} ms each, {each * busy:.1f} of processor")


def read(folder, *counts):
    """Each command in a process of its own: clock, processor, peak memory."""
    for count in map(int, counts or (1000,)):
        for command in COMMANDS:
            words = [sys.executable, "-m", "reflfap", *command.split()]
            words += ["--out", str(Path(folder) / str(count))]
            start = time.perf_counter()
            with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            took = time.perf_counter() - start
            print(
                f"{count:>6} {command:<14} {took:6.1f} s, {used.ru_utime + used.ru_stime:5.1f} of "
                f"processor, {used.ru_maxrss / 1024:4.0f} MB, exit code {process.returncode}",
                flush=True,
            )


def no_work(task, place):
    return Outcome(tuple(identity(one) for one in task.configs))


def sleep(task, place):
    time.sleep(SLEEP)
    return no_work(task, place)


def engine_alone(*counts):
    """Plan and engine of cells that take no time; each has two networks of its own."""
    engine.work = no_work
    for count in map(int, counts or (1000,)):
        with tempfile.TemporaryDirectory() as folder:
            place, some = running.Place(Path(folder)), cells(count)
            begin = time.process_time()
            tasks = engine.remaining(some, place)
            planned = time.process_time()
            engine.run_tasks(tasks, place, InProcess())
            end = time.process_time()
        print(
            f"{count} cells: plan {planned - begin:.1f} s of processor, engine "
            f"{end - planned:.1f}, peak of the process so far {peak_memory():.2f} GB",
            flush=True,
        )


def dask(*workers):
    """Time of the tasks over that of all workers: on a cluster, and in processes for comparison."""
    engine.work = scale.sleep  # by name: of __main__ each task would carry the code
    for number in map(int, workers or (2, 4)):
        with Processes(number) as executor:
            _efficiency("processes", executor, number)
        with cluster(number) as address, Dask(address) as executor:
            _efficiency("dask", executor, number)


def _efficiency(name, executor, workers):
    with tempfile.TemporaryDirectory() as folder:
        place = running.Place(Path(folder))
        for count in (workers, 10 * workers):  # the first time all workers import what they need
            tasks = engine.remaining(cells(count), place)
            start, busy = time.perf_counter(), time.process_time()
            engine.run_tasks(tasks, place, executor, workers)
            took, busy = time.perf_counter() - start, time.process_time() - busy
    print(
        f"{name}, {workers} workers: {len(tasks)} tasks of {SLEEP} s in {took:.1f} s: efficiency "
        f"{len(tasks) * SLEEP / workers / took:.2f}; the sweep's own process used "
        f"{1e3 * busy / len(tasks):.1f} ms a task",
        flush=True,
    )


PARTS = {"make": make, "read": read, "engine": engine_alone, "dask": dask}

if __name__ == "__main__":
    print_machine()
    PARTS[sys.argv[1]](*sys.argv[2:])
