"""Hands tasks to an executor: what is largest and ready first, within memory, until all are done.

A worker that dies costs the cell under way, which is tried again, three times at most. A cell that
fails is recorded, and the rest goes on. What another sweep works on is left to it and looked at
again later.
"""

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from typing import NamedTuple

from reflfap.errors import ReflfapError, refuse
from reflfap.experiments.experiment import Config, identity
from reflfap.monitor import SILENT, Monitor
from reflfap.runs import store
from reflfap.runs.running import Place, folder_of, outdated, reusable
from reflfap.sweep import parts
from reflfap.sweep.plan import Task, plan, priorities
from reflfap.sweep.work import Outcome, work

TRIES = 3
BUSY_SECONDS = 1.0  # until what another process works on is looked at again
LOOK_SECONDS = 0.5  # between looks at whether the user has stopped it
GB = 1e9


class Outcomes(NamedTuple):
    """What became of the cells that were not complete before."""

    done: tuple[str, ...]  # run ids
    failed: dict[str, str]  # errors by run id


def remaining(configs: Iterable[Config], place: Place) -> list[Task]:
    """The tasks for all cells without a complete result, less what they share and is kept.

    A stage whose classifier has been trained again is left in: `work` refuses it, saying why.
    StoreError for a result of other images than are there now.
    """
    tasks = plan(one for one in configs if not _complete(place, one))
    kept = {
        task.key
        for task in tasks
        if parts.path_of(place.out, task.key).exists()
        or (task.network and task.sharing is None and _complete(place, task.configs[0]))
    }
    return [task for task in tasks if task.key not in kept]


def _complete(place: Place, config: Config) -> bool:
    path = folder_of(place.out, config) / store.RESULT
    return reusable(path, place) and not outdated(place, config)


def run_tasks(
    tasks: list[Task],
    place: Place,
    executor: Executor,
    workers: int = 1,
    memory: float = float("inf"),
    monitor: Monitor = SILENT,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcomes:
    """Compute all tasks with at most `workers` at once and `memory` bytes in all.

    `executor` may be any of concurrent.futures: tasks and outcomes are small, and results go to
    files below place.out, which all workers must see. InputError if a task alone needs more than
    `memory`; KeyboardInterrupt soon after the user has `stopped` it.
    """
    for task in tasks:
        if task.memory > memory:
            got = f"{task.memory / GB:.2g} GB for {task.key}"
            refuse("memory", f"tasks of at most {memory / GB:.2g} GB", got, "give more --memory")
    return _Engine(tasks, place, monitor, stopped).run(executor, workers, memory)


class _Engine:
    """Tasks that wait and that run, and what became of the others.

    Whatever happens to a task costs no look at all the others: one that waits for networks is
    found from them, and one that can start from its memory, of which there are few sizes.
    """

    def __init__(
        self, tasks: list[Task], place: Place, monitor: Monitor, stopped: Callable[[], bool]
    ) -> None:
        rank = priorities(tasks)
        self.place, self.monitor, self.stopped = place, monitor, stopped
        self.running: dict[Future[Outcome], Task] = {}
        self.ready: dict[float, list[tuple[int, Task]]] = {}  # heaps by memory, by order
        self.busy: deque[tuple[float, Task]] = deque()  # elsewhere, with when to look again
        self.after: dict[str, list[str]] = {}  # by network, what has waited for it
        self.blocked: dict[str, tuple[set[str], int, Task]] = {}  # and the networks not there yet
        self.lost: dict[str, int] = {}  # workers, by task
        self.done: list[str] = []
        self.failed: dict[str, str] = {}
        self.total = int(sum(task.flops for task in tasks) / GB)
        ordered = sorted(((task.key, task) for task in tasks), key=lambda one: -rank[one[0]])
        for order, (key, task) in enumerate(ordered):
            needs = set(task.needs) & rank.keys()
            for need in needs:
                self.after.setdefault(need, []).append(key)
            if needs:
                self.blocked[key] = needs, order, task
            else:
                self._put(order, task)
        self.first, self.last = 0, len(ordered)  # orders that are free before and behind all

    def _put(self, order: int, task: Task) -> None:
        heapq.heappush(self.ready.setdefault(task.memory, []), (order, task))

    def run(self, executor: Executor, workers: int, memory: float) -> Outcomes:
        self.monitor.begin("sweep", self.total, "Gflop")
        try:
            while self.running or self.busy or any(self.ready.values()):
                while len(self.running) < workers and (task := self._next(memory)) is not None:
                    if self.stopped():
                        raise KeyboardInterrupt
                    self.running[executor.submit(work, task, self.place)] = task
                if self.stopped():
                    raise KeyboardInterrupt
                if not self.running:
                    time.sleep(LOOK_SECONDS)
                    continue
                for future in wait(self.running, LOOK_SECONDS, FIRST_COMPLETED).done:
                    self._finish(self.running.pop(future), future)
        finally:
            self.monitor.end()
        return Outcomes(tuple(self.done), self.failed)

    def _next(self, memory: float) -> Task | None:
        """The first task whose networks are there and that has room; None: nothing can start."""
        while self.busy and self.busy[0][0] <= time.monotonic():
            self.last += 1
            self._put(self.last, self.busy.popleft()[1])
        room = memory - sum(task.memory for task in self.running.values())
        heaps = [heap for size, heap in self.ready.items() if heap and size <= room]
        if not heaps:
            return None
        return heapq.heappop(min(heaps, key=lambda heap: heap[0][0]))[1]

    def _finish(self, task: Task, future: Future[Outcome]) -> None:
        """Take note of a task's end, whatever it was."""
        try:
            error = future.exception()
        except CancelledError as cancelled:
            error = cancelled
        if isinstance(error, ReflfapError):  # the executor refuses
            raise error
        if error is not None:  # work() returns what fails; so a worker was lost, or told to end
            self._worker_lost(task, f"{type(error).__name__}: {error}")
            return
        outcome = future.result()
        self.done += outcome.done if task.network is None else ()
        if task.network is None:
            self.failed |= dict(outcome.failed)
        elif outcome.failed:
            self._give_up(task, outcome.failed[0][1])
        if outcome.busy:
            left = tuple(one for one in task.configs if identity(one) not in outcome.done)
            self.busy.append((time.monotonic() + BUSY_SECONDS, task._replace(configs=left)))
        else:
            self._release(task)
            self.monitor.advance(int(task.flops / GB))

    def _release(self, network: Task) -> None:
        """Let those start that have waited for this alone."""
        name = network.key  # reckoned anew at each look
        for key in self.after.pop(name, ()):
            if key not in self.blocked:  # it was given up for want of another
                continue
            needs, order, task = self.blocked[key]
            needs.remove(name)
            if not needs:
                del self.blocked[key]
                self._put(order, task)

    def _worker_lost(self, task: Task, error: str) -> None:
        """Hand a task out again; after so many workers give up the cell that took them."""
        self.lost[task.key] = self.lost.get(task.key, 0) + 1
        if self.lost[task.key] >= TRIES:
            error = f"{TRIES} workers died at it, the last one with {error}"
            if task.network is not None:
                self._give_up(task, error)
                return
            left = remaining(task.configs, self.place)
            if not left:  # the last one died after its work was done
                return
            suspect, *others = left[-1].configs
            self._record(suspect, error)
            del self.lost[task.key]
            task = task._replace(configs=tuple(others))
        if task.configs:
            self.first -= 1
            self._put(self.first, task)

    def _give_up(self, network: Task, error: str) -> None:
        """Record all cells that need a network or a set that cannot be had."""
        for key in self.after.pop(network.key, ()):
            if key not in self.blocked:
                continue
            *_, task = self.blocked.pop(key)
            if task.network is not None:
                self._give_up(task, error)
                continue
            for config in task.configs:
                self._record(config, f"its {network.network} network: {error}")

    def _record(self, config: Config, error: str) -> None:
        run = identity(config)
        self.failed[run] = error
        store.record_failure(folder_of(self.place.out, config), error)
