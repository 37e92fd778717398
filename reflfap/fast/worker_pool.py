"""Workers that take a batch through a network together, a part of it each.

Each has a thread, whose BLAS has one thread: NumPy's own loops use one, so that this is the way to
several cores. What the parts have in common, moments and gradients, they add up in the order of the
parts: the same number of workers gives the same bits.
"""

import functools
import operator
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeAlias, TypeVar

from threadpoolctl import threadpool_limits

from reflfap import checks
from reflfap.backend import Array
from reflfap.errors import refuse

T = TypeVar("T")

Total: TypeAlias = Callable[[Array], Array]
"""Adds up over all parts of a batch."""


class WorkerPool:
    """A fixed number of workers, at their disposal inside `with`."""

    def __init__(self, workers: int) -> None:
        self.workers = checks.whole_number("workers", workers, least=1)
        self._barrier = threading.Barrier(workers)
        self._parts: list[Any] = [None] * workers
        self._stack = ExitStack()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "WorkerPool":
        self._stack.enter_context(threadpool_limits(1, "blas"))
        if self.workers > 1:
            self._pool = self._stack.enter_context(ThreadPoolExecutor(self.workers))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()
        self._pool = None

    def run(self, work: Callable[[int, Total], T]) -> list[T]:
        """work(number of the worker, total) of all at once; total(values) adds up over them.

        All have to call `total` equally often. Where one fails the others end, and its error is
        raised.
        """
        if self.workers == 1:
            return [work(0, lambda values: values)]
        if self._pool is None:
            remedy = "use `with WorkerPool(...) as pool:`"
            refuse("pool", "one at work", "one outside `with`", remedy)
        self._barrier.reset()
        done = [self._pool.submit(self._guarded, work, part) for part in range(self.workers)]
        errors = [error for one in done if (error := one.exception()) is not None]
        errors.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
        if errors:
            raise errors[0]
        return [one.result() for one in done]

    def _guarded(self, work: Callable[[int, Total], T], part: int) -> T:
        try:
            return work(part, functools.partial(self._total, part))
        except BaseException:
            self._barrier.abort()
            raise

    def _total(self, part: int, values: Array) -> Array:
        self._parts[part] = values
        self._barrier.wait()
        total = functools.reduce(operator.add, self._parts)
        self._barrier.wait()  # all have read the parts before the next ones come
        return total


def share(count: int, workers: int, part: int) -> slice:
    """The part of `count` samples that worker `part` takes: in order, of about equal size."""
    return slice(count * part // workers, count * (part + 1) // workers)
