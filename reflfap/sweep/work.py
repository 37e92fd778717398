"""What a worker does with one task: train a network that cells share, or compute its cells.

Everything passes through files in the results folder, so a worker may be a thread, a process, or
another machine that sees the folder. A task finds what is there and computes the rest, so it may be
handed out again after any accident.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn, cast

from threadpoolctl import threadpool_limits

from reflfap import runs, stages, store
from reflfap.attacks import Perturbed
from reflfap.backend import namespace_for, on_host
from reflfap.checkpoints import Checkpoints
from reflfap.config import ArtificialConfig, CellConfig, ImagesConfig, identity
from reflfap.experiments import artificial, images
from reflfap.experiments.cell import Cell, Given
from reflfap.host import blas_threads, keep_freed_memory, release_freed_memory
from reflfap.monitor import Monitor
from reflfap.progress import RunMonitor
from reflfap.sweep import parts
from reflfap.sweep.plan import SHARED, Task, network_task, shared
from reflfap.training.result import Trained

PACE = (300.0, 300.0)
"""Checkpoints at most every five minutes: shorter cells are computed again after an accident."""


class Place(NamedTuple):
    """Where and on what the work is done."""

    out: Path
    data_dir: Path | None = None
    device: str = "cpu"
    threads: int | None = None  # of BLAS; None leaves it as it is


class Outcome(NamedTuple):
    """What became of a task."""

    done: tuple[str, ...] = ()  # run ids of cells, or the key of a network
    failed: tuple[tuple[str, str], ...] = ()  # run id and error
    busy: bool = False  # another process works on a part of it: to be handed out again


class Busy(Exception):
    """Another process works on this."""


def work(task: Task, place: Place) -> Outcome:
    """Do one task. Errors of cells are recorded beside them and returned, never raised.

    Checked by test_sweep_work.py::test_a_failing_cell_is_recorded and ::test_busy.
    """
    release_freed_memory()  # of the task before
    keep_freed_memory()
    with threadpool_limits(place.threads, "blas"):
        if not isinstance(task.configs[0], CellConfig):
            return _stage(task, place)
        if task.network is not None:
            return _network(task, place)
        return _cells(task, place)


def _network(task: Task, place: Place) -> Outcome:
    checkpoints = Checkpoints(parts.path_of(place.out, task.key).with_suffix(""), *PACE)
    try:
        with RunMonitor(checkpoints, quiet=True) as monitor:
            _obtain(task, place, monitor)
    except Busy:
        return Outcome(busy=True)
    except Exception as error:  # whatever it is, it ends this task and no other
        return Outcome(failed=((task.key, _text(error)),))
    checkpoints.clear()
    return Outcome(done=(task.key,))


def _stage(task: Task, place: Place) -> Outcome:
    """A stage of E2, which is a run of its own."""
    (config,) = task.configs
    xp = namespace_for(place.device)
    threads = blas_threads() if on_host(xp) else 1
    where = stages.Place(place.out, place.data_dir, xp, threads, True, _busy, PACE)
    try:
        stages.make(config, where)
    except Busy:
        return Outcome(busy=True)
    except Exception as error:  # whatever it is, it ends this task and no other
        store.record_failure(runs.folder_of(place.out, config), _text(error))
        return Outcome(failed=((task.key if task.network else identity(config), _text(error)),))
    return Outcome(done=(identity(config),))


def _cells(task: Task, place: Place) -> Outcome:
    done: list[str] = []
    failed: list[tuple[str, str]] = []
    perturbed: Perturbed | None = None

    def compute(config: CellConfig, monitor: Monitor) -> runs.Computed:
        nonlocal perturbed
        tasks = (network_task(shared(config, name), name) for name in SHARED)
        standard, noise = (_obtain(task, place, monitor) for task in tasks)
        given = Given(standard, noise, perturbed)
        cell, about = _cell(config, place, given, monitor)
        perturbed = cell.perturbed if perturbed is None else perturbed
        return runs.Computed(cell.metrics, runs.cell_datasets(config, cell), about)

    for config in cast(tuple[CellConfig, ...], task.configs):
        try:
            how = partial(compute, config)
            runs.complete(config, place.out, how, on_wait=_busy, quiet=True, pace=PACE)
        except Busy:
            return Outcome(tuple(done), tuple(failed), busy=True)
        except Exception as error:
            failed.append((identity(config), _text(error)))
            store.record_failure(runs.folder_of(place.out, config), _text(error))
        else:
            done.append(identity(config))
    return Outcome(tuple(done), tuple(failed))


def _cell(
    config: CellConfig, place: Place, given: Given, monitor: Monitor
) -> tuple[Cell, dict[str, str | int]]:
    """One cell, and where its numbers come from."""
    xp = namespace_for(place.device)
    if isinstance(config, ImagesConfig):
        data = runs.two_classes(config, place.data_dir)
        return images.run(config, data, xp, monitor, given), runs.about(xp, config, data.sha256)
    if isinstance(config, ArtificialConfig):
        return artificial.run(config, xp, monitor, given=given), runs.about(xp, config)
    raise TypeError(type(config))


def _obtain(task: Task, place: Place, monitor: Monitor) -> Trained:
    """The network of a network task: kept by an earlier one, or trained now."""
    config, name = cast(CellConfig, task.configs[0]), str(task.network)
    xp = namespace_for(place.device)

    def train() -> Trained:
        if isinstance(config, ImagesConfig):
            data = runs.two_classes(config, place.data_dir)
            return images.network(config, data, name, xp, monitor)
        if isinstance(config, ArtificialConfig):
            return artificial.network(config, name, xp, monitor)
        raise TypeError(type(config))

    return parts.obtain(place.out, task.key, config, train, _busy)


def _busy(holder: str) -> NoReturn:
    raise Busy(holder)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
