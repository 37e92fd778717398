"""`reflfap sweep ...`: many cells, on processes of this machine or on a dask cluster."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from reflfap import checks
from reflfap.backend import namespace_for
from reflfap.cli.results import changes
from reflfap.cli.run import print_json
from reflfap.errors import ReflfapError, refuse
from reflfap.experiments.cell import attack_flops, training_flops
from reflfap.experiments.experiment import Config, Experiment, identity
from reflfap.experiments.registry import experiment_of
from reflfap.machine import blas_threads, free_memory, product_rate
from reflfap.runs.interruption import Interruption
from reflfap.runs.progress import Bars
from reflfap.runs.running import Place
from reflfap.sweep import engine, grid, plan, table
from reflfap.sweep.executors import Dask, InProcess, Processes
from reflfap.sweep.plan import Task
from reflfap.terminal import say, tell

GB = 1e9
AnyExecutor = InProcess | Processes | Dask


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Which cells, and how to run them."""

    preset: str | None = None
    """a grid by name, such as smoke, paper-l2-uniform or pairs-mnist: see docs/sweeps.md"""
    grid: Path | None = None
    """a grid from a TOML file instead"""
    seeds: tuple[int, ...] = ()
    """seeds, each for the whole grid; default: those of the file, else 0"""
    workers: int = 1
    """processes on this machine, which share its cores; 1 computes in this one"""
    threads: int | None = None
    """BLAS threads a worker; default: this machine's cores shared out, on a cluster as they are"""
    scheduler: str | None = None
    """address of a dask scheduler, tcp://HOST:PORT, whose workers see the results folder"""
    memory: float | None = None
    """GB that all tasks under way may take; default: four fifths of what is free here"""
    dry_run: bool = False
    """list the cells with estimates of time and memory, and compute nothing"""
    out: Path = Path("results")
    """folder of all results"""
    data_dir: Path | None = None
    """folder of the image sets; default: REFLFAP_DATA, else the platform's cache"""
    device: str = "cpu"
    """cpu: NumPy; cuda, or cuda:K for device K: CuPy"""
    json: bool = False
    """print one JSON object on standard output"""


def sweep_command(experiment: Experiment[Any]) -> Callable[..., None]:
    """The function of `reflfap sweep NAME`, as tyro reads it."""

    def command(options: tyro.conf.OmitArgPrefixes[SweepOptions]) -> None:
        _sweep(experiment, options)

    what = experiment.summary.partition(":")[0].rstrip(".")
    command.__doc__ = f"Many cells of `reflfap run {experiment.name}`: {what[0].lower()}{what[1:]}."
    return command


def sweep_status(out: Path = Path("results"), json: bool = False) -> None:
    """How far the sweeps of a results folder are, whoever computes them.

    Args:
        out: folder of all results
        json: print one JSON list on standard output
    """
    found = list(table.statuses(out))
    if json:
        print_json([one._asdict() for one in found])
        return
    if not found:
        say(f"no sweeps below {out}; start one with `reflfap sweep artificial --preset smoke`")
    for one in found:
        cells = one.complete + one.running + len(one.failed) + one.waiting
        tell(
            f"{one.name}: {one.complete} of {cells} cells complete, {one.running} running, "
            f"{len(one.failed)} failed, {one.waiting} waiting; {one.seconds:.0f} s of work"
        )
        for run, error in one.failed.items():
            tell(f"    {run}  {error}")


def sweep_collect(out: Path = Path("results"), to: Path | None = None) -> None:
    """Write all complete cells of a results folder as one table: CSV and HDF5.

    Args:
        out: folder of all results
        to: folder of the tables; default: the results folder itself
    """
    found = table.collect(out, to or out)
    for path in found.paths:
        tell(path)
    for run in found.damaged:
        say(f"{run.path}: {run.status}")
    if damaged := len(found.damaged):
        remedy = "remove them and run their sweep again"
        raise ReflfapError(f"collect: {damaged} damaged results are in no table; {remedy}")


def _sweep(experiment: Experiment[Any], options: SweepOptions) -> None:
    namespace_for(options.device)  # refuse a missing device before anything else
    name, configs = _cells(experiment, options)
    data_dir = options.data_dir
    if data_dir is None and "REFLFAP_DATA" in os.environ:  # a worker may have another environment
        data_dir = Path(os.environ["REFLFAP_DATA"]).resolve()
    place = Place(options.out.resolve(), data_dir, options.device)
    tasks = engine.remaining(configs, place)
    if options.dry_run:
        _list(tasks, options.json)
        return
    table.write_list(options.out, name, configs)
    executor, workers, threads = _executor(options)
    place = place._replace(threads=threads)
    with _orderly_end(executor) as stop:
        memory = _memory(options)
        found = engine.run_tasks(tasks, place, executor, workers, memory, Bars(), lambda: stop.seen)
    if options.json:
        cells = {"cells": len(configs), "computed": len(found.done), "failed": found.failed}
        print_json({"sweep": name, **cells})
    else:
        there = len(configs) - len(found.done) - len(found.failed)
        tell(f"{name}: {len(found.done)} cells computed, {there} were there")
        for run, error in found.failed.items():
            tell(f"failed    {run}  {error}")
    if found.failed:
        raise ReflfapError(f"sweep: {len(found.failed)} of {len(configs)} cells failed")


def _cells(experiment: Experiment[Any], options: SweepOptions) -> tuple[str, list[Any]]:
    """The name of the sweep, and its cells."""
    if (options.preset is None) == (options.grid is None):
        known = ", ".join(sorted(experiment.presets))
        got = "neither" if options.preset is None else "both"
        refuse("cells", f"--preset, one of {known}, or --grid FILE", got, "give one of the two")
    kind = experiment.config
    if options.grid is not None:
        name, configs = options.grid.stem, grid.from_file(kind, options.grid, options.seeds)
    else:
        name = str(options.preset)
        configs = grid.from_preset(kind, name, options.seeds or (0,))
    seeds = sorted({config.seed for config in configs})
    ends = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]}"
    return f"{configs[0].experiment}-{name}-seed-{ends}", configs


def _executor(options: SweepOptions) -> tuple[AnyExecutor, int, int | None]:
    """The executor, how many tasks it takes at once, and BLAS threads for each."""
    workers = checks.whole_number("workers", options.workers, 1)
    if options.threads is not None:
        checks.whole_number("threads", options.threads, 1)
    if options.scheduler is not None:
        cluster = Dask(options.scheduler)
        if cluster.workers == 0:
            refuse("scheduler", "at least one worker", "none", "start `dask worker ADDRESS`")
        return cluster, cluster.workers, options.threads
    if workers == 1:
        return InProcess(), 1, options.threads
    return Processes(workers), workers, options.threads or max(1, blas_threads() // workers)


def _memory(options: SweepOptions) -> float:
    """Bytes that tasks under way may take."""
    if options.memory is not None:
        return checks.real_number("memory", options.memory, 0, math.inf, "()") * GB
    return math.inf if options.scheduler else 0.8 * free_memory()


@contextlib.contextmanager
def _orderly_end(executor: AnyExecutor) -> Iterator[Interruption]:
    """On Ctrl-C or SIGTERM let workers keep the state of the step under way; twice: end at once."""
    with Interruption() as stop:
        try:
            yield stop
        except KeyboardInterrupt:
            executor.interrupt()
            raise
        finally:
            executor.shutdown()


def _list(tasks: Sequence[Task], as_json: bool) -> None:
    """What there is to compute, each with its time and memory."""
    rate = product_rate()
    rows = [row for task in tasks for row in _rows(task, rate)]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        what, seconds, memory = row["what"], row["seconds"], row["memory_gb"]
        tell(f"{row['id']}  {what:<9}{seconds:>8.1f} s {memory:>6.2f} GB  {row['config']}")
    cells = sum(row["what"] == "cell" for row in rows)
    minutes = sum(row["seconds"] for row in rows) / 60
    largest = max((row["memory_gb"] for row in rows), default=0.0)
    tell(
        f"{cells} cells and {len(rows) - cells} networks or sets that they share to compute: about "
        f"{_duration(minutes)} on this machine, {largest:.2g} GB at most for one"
    )


def _duration(minutes: float) -> str:
    return f"{minutes:.2g} minutes" if minutes < 99 else f"{minutes / 60:.3g} hours"


def _rows(task: Task, rate: float) -> Iterator[dict[str, Any]]:
    for number, config in enumerate(task.configs):
        flops = task.flops
        if task.network is None and task.sharing is not None:  # one of those of the task
            flops = training_flops(config, config.n_adv)
            flops += attack_flops(config) if number == 0 else 0.0
        elif task.network is None:
            flops = experiment_of(config).cost(config).flops
        yield {
            "id": identity(config),
            "what": task.network or "cell",
            "seconds": flops / rate,
            "memory_gb": task.memory / GB,
            "config": _changes(config, task.network),
        }


def _changes(config: Config, network: str | None) -> str:
    """The values that differ from the defaults; of a network, among those it depends on."""
    default = type(config)()
    if network is not None and experiment_of(config).sharing is not None:
        default = plan.shared(default, network)
    return changes(config, default)
