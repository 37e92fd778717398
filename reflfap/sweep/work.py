"""What a worker does with one task: train a network that cells share, or compute its cells.

Everything passes through files in the results folder, so a worker may be a thread, a process, or
another machine that sees the folder. A task finds what is there and computes the rest, so it may be
handed out again after any accident.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

from threadpoolctl import threadpool_limits

from reflfap.attacks import Perturbed
from reflfap.errors import StoreError
from reflfap.experiments.cell import Sharing
from reflfap.experiments.experiment import Computed, Inputs, identity
from reflfap.experiments.three_networks import KnownParts, swept
from reflfap.files import lock
from reflfap.machine import keep_freed_memory, release_freed_memory
from reflfap.monitor import Monitor
from reflfap.runs import running, store
from reflfap.runs.checkpoints import Checkpoints
from reflfap.runs.progress import RunMonitor
from reflfap.runs.provenance import made_by
from reflfap.runs.running import Place
from reflfap.sweep import parts
from reflfap.sweep.plan import SHARED, Task, network_task
from reflfap.training.result import Trained

PACE = (300.0, 300.0)
"""Checkpoints at most every five minutes: shorter cells are computed again after an accident."""


class Outcome(NamedTuple):
    """What became of a task."""

    done: tuple[str, ...] = ()  # ids of its configs
    failed: tuple[tuple[str, str], ...] = ()  # id and error
    busy: bool = False  # another process works on a part of it: to be handed out again


class Busy(Exception):
    """Another process works on this."""


def work(task: Task, place: Place) -> Outcome:
    """Do one task. Errors are recorded beside the runs that fail and returned, never raised."""
    release_freed_memory()  # of the task before
    keep_freed_memory()
    place = place._replace(quiet=True, on_wait=_busy, pace=PACE)
    done: list[str] = []
    failed: list[tuple[str, str]] = []
    with threadpool_limits(place.threads, "blas"):
        make = _maker(task, place)
        for config in task.configs:
            try:
                make(config)
            except Busy:
                return Outcome(tuple(done), tuple(failed), busy=True)
            except Exception as error:  # whatever it is, it ends this cell and no other
                failed.append((identity(config), f"{type(error).__name__}: {error}"))
                if task.sharing is None or task.network is None:  # a run of its own
                    store.record_failure(running.folder_of(place.out, config), error)
            else:
                done.append(identity(config))
    return Outcome(tuple(done), tuple(failed))


def _maker(task: Task, place: Place) -> Callable[[Any], object]:
    """What makes one config of a task: a stage, a network, or a cell."""
    if (sharing := task.sharing) is None:
        return lambda config: running.make(config, place)
    if task.network is not None:
        return lambda config: _network(task, sharing, place)
    perturbed: Perturbed | None = None

    def compute(config: Any, inputs: Inputs, monitor: Monitor) -> Computed:
        nonlocal perturbed
        tasks = (network_task(sharing.shared(config, name), name) for name in SHARED)
        standard, noise = (_obtain(task, sharing, place, monitor) for task in tasks)
        cell = sharing.cell(config, inputs, monitor, KnownParts(standard, noise, perturbed))
        perturbed = cell.perturbed if perturbed is None else perturbed
        return swept(cell)

    return lambda config: running.complete(config, place, partial(compute, config))


def _network(task: Task, sharing: Sharing, place: Place) -> None:
    folder = parts.path_of(place.out, task.key).with_suffix("")
    checkpoints = Checkpoints(folder, _made_by(task, place), *PACE)
    with RunMonitor(checkpoints, quiet=True) as monitor:
        _obtain(task, sharing, place, monitor)
    checkpoints.clear()
    with contextlib.suppress(OSError):  # there is none, mostly: the training was short
        folder.rmdir()
    if monitor.interrupted:
        raise KeyboardInterrupt


def _made_by(task: Task, place: Place) -> dict[str, str]:
    """What the network of a network task is made by."""
    (config,) = task.configs
    return {**made_by(config, place.data_of(config), {}), "stage": str(task.network)}


def _obtain(task: Task, sharing: Sharing, place: Place, monitor: Monitor) -> Trained:
    """The network of a network task: kept by an earlier one, or trained and kept now by one
    process; a damaged one, and one that something else made, is trained again."""
    (config,), path = task.configs, parts.path_of(place.out, task.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = _made_by(task, place)
    with lock(path.with_suffix(".lock"), _busy):
        if path.exists():
            with contextlib.suppress(StoreError):
                return parts.read_network(path, config, origin)
        trained = sharing.train(config, str(task.network), place.inputs(), monitor)
        parts.write_network(path, trained, origin)
        return trained


def _busy(holder: str) -> NoReturn:
    raise Busy(holder)
