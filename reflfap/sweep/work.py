"""What a worker does with one task: train a network that cells share, or compute its cells.

Everything passes through files in the results folder, so a worker may be a thread, a process, or
another machine that sees the folder. A task finds what is there and computes the rest, so it may be
handed out again after any accident.
"""

from functools import partial
from typing import Any, NamedTuple, NoReturn

from threadpoolctl import threadpool_limits

from reflfap.attacks import Perturbed
from reflfap.experiments.cell import Sharing
from reflfap.experiments.experiment import Computed, identity
from reflfap.experiments.three_networks import KnownParts
from reflfap.machine import keep_freed_memory, release_freed_memory
from reflfap.monitor import Monitor
from reflfap.runs import running, store
from reflfap.runs.checkpoints import Checkpoints
from reflfap.runs.progress import RunMonitor
from reflfap.runs.provenance import describe
from reflfap.runs.running import Place
from reflfap.sweep import parts
from reflfap.sweep.plan import SHARED, Task, network_task
from reflfap.training.result import Trained

PACE = (300.0, 300.0)
"""Checkpoints at most every five minutes: shorter cells are computed again after an accident."""


class Outcome(NamedTuple):
    """What became of a task."""

    done: tuple[str, ...] = ()  # run ids of cells, or the key of a network
    failed: tuple[tuple[str, str], ...] = ()  # run id and error
    busy: bool = False  # another process works on a part of it: to be handed out again


class Busy(Exception):
    """Another process works on this."""


def work(task: Task, place: Place) -> Outcome:
    """Do one task. Errors of cells are recorded beside them and returned, never raised."""
    release_freed_memory()  # of the task before
    keep_freed_memory()
    place = place._replace(quiet=True, on_wait=_busy, pace=PACE)
    with threadpool_limits(place.threads, "blas"):
        if (sharing := task.sharing) is None:
            return _stage(task, place)
        if task.network is not None:
            return _network(task, sharing, place)
        return _cells(task, sharing, place)


def _network(task: Task, sharing: Sharing, place: Place) -> Outcome:
    checkpoints = Checkpoints(parts.path_of(place.out, task.key).with_suffix(""), *PACE)
    try:
        with RunMonitor(checkpoints, quiet=True) as monitor:
            _obtain(task, sharing, place, monitor)
    except Busy:
        return Outcome(busy=True)
    except Exception as error:  # whatever it is, it ends this task and no other
        return Outcome(failed=((task.key, _text(error)),))
    checkpoints.clear()
    return Outcome(done=(task.key,))


def _stage(task: Task, place: Place) -> Outcome:
    """A stage of E2, which is a run of its own."""
    (config,) = task.configs
    try:
        running.make(config, place)
    except Busy:
        return Outcome(busy=True)
    except Exception as error:  # whatever it is, it ends this task and no other
        store.record_failure(running.folder_of(place.out, config), _text(error))
        return Outcome(failed=((task.key if task.network else identity(config), _text(error)),))
    return Outcome(done=(identity(config),))


def _cells(task: Task, sharing: Sharing, place: Place) -> Outcome:
    done: list[str] = []
    failed: list[tuple[str, str]] = []
    perturbed: Perturbed | None = None

    def compute(config: Any, monitor: Monitor) -> Computed:
        nonlocal perturbed
        tasks = (network_task(sharing.shared(config, name), name) for name in SHARED)
        standard, noise = (_obtain(task, sharing, place, monitor) for task in tasks)
        inputs = place.inputs()
        known = KnownParts(standard, noise, perturbed)
        cell, kept = sharing.compute(config, inputs, monitor, known)
        perturbed = cell.perturbed if perturbed is None else perturbed
        about = {**describe(inputs.xp), "dtype": config.dtype, **kept.about}
        return kept._replace(about=about)

    for config in task.configs:
        try:
            running.complete(config, place, partial(compute, config))
        except Busy:
            return Outcome(tuple(done), tuple(failed), busy=True)
        except Exception as error:
            failed.append((identity(config), _text(error)))
            store.record_failure(running.folder_of(place.out, config), _text(error))
        else:
            done.append(identity(config))
    return Outcome(tuple(done), tuple(failed))


def _obtain(task: Task, sharing: Sharing, place: Place, monitor: Monitor) -> Trained:
    """The network of a network task: kept by an earlier one, or trained now."""
    (config,) = task.configs

    def train() -> Trained:
        return sharing.train(config, str(task.network), place.inputs(), monitor)

    return parts.obtain(place.out, task.key, config, train, _busy)


def _busy(holder: str) -> NoReturn:
    raise Busy(holder)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
