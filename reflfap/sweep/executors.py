"""Where tasks run: here, in processes of this machine, or on a dask cluster.

All are executors in the sense of concurrent.futures; the engine takes any other as well. A dask
cluster and mpi4py.futures are described in docs/sweeps.md.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    ProcessPoolExecutor,
)
from functools import partial
from typing import Any

from reflfap.errors import BackendError, InputError, refuse

WATCH_SECONDS = 0.5
ANSWER_SECONDS = 10
RECONNECT_SECONDS = 120.0


_NO_WORKER = (
    "workers: expected processes that begin, got none that did: each reads your script anew; put "
    'what it does below `if __name__ == "__main__":`'
)


class InProcess(Executor):
    """Runs what is submitted at once, in the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # KeyboardInterrupt passes: it ends the sweep
            future.set_exception(error)
        return future

    def interrupt(self) -> None:
        """Nothing runs when the caller does."""


class Processes(Executor):
    """One process a worker, each in a pool of its own, so that one that dies takes no other along.

    At most `workers` calls may be under way. Workers end with their parent, however it dies.
    """

    def __init__(self, workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._stop, self._begun = self._context.Event(), self._context.Event()
        self._idle: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
        self._broken: list[ProcessPoolExecutor] = []
        for _ in range(workers):
            self._idle.put(self._pool())
        self._workers = workers

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._context, _watch, (self._stop, self._begun))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        pool, outer = self._idle.get(), Future[Any]()
        # a worker inherits the mask: Ctrl-C, which a terminal sends to all, is the parent's alone
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            try:
                future = pool.submit(fn, *args, **kwargs)
            except BrokenExecutor:  # its worker died between two calls
                pool = self._pool()
                future = pool.submit(fn, *args, **kwargs)
        except BaseException:
            self._idle.put(pool)  # shutdown waits for all
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        future.add_done_callback(lambda done: self._give_back(pool, done, outer))
        return outer

    def _give_back(self, pool: ProcessPoolExecutor, done: Future[Any], outer: Future[Any]) -> None:
        broken = not done.cancelled() and isinstance(done.exception(), BrokenExecutor)
        if broken:
            # kept: from Python 3.12 on its lock is held here; shutdown and its end wait for that
            self._broken.append(pool)
            pool = self._pool()
        self._idle.put(pool)
        if broken and not self._begun.is_set():
            outer.set_exception(InputError(_NO_WORKER))
        else:
            _pass_on(outer, done)

    def interrupt(self) -> None:
        """Have all workers end the step under way, keep their state, and give up their task."""
        self._stop.set()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the calls under way, then end the workers."""
        for _ in range(self._workers):
            self._idle.get().shutdown(wait=wait, cancel_futures=cancel_futures)
        for pool in self._broken:
            pool.shutdown(wait=wait)


def _watch(stop: Any, begun: Any) -> None:
    """In a worker: leave Ctrl-C to the parent; end on its word, or when it is no more."""
    begun.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        while not stop.wait(WATCH_SECONDS):
            if parent is not None and not parent.is_alive():
                os._exit(1)
        os.kill(os.getpid(), signal.SIGTERM)  # runs.interruption.Interruption takes note

    threading.Thread(target=watch, daemon=True).start()


class Dask(Executor):
    """The workers of the dask scheduler at `address`; connects again if it was lost.

    Raises BackendError without dask, InputError if nothing answers at the address.
    """

    def __init__(self, address: str) -> None:
        try:
            import distributed
        except ImportError:
            remedy = "install it with `pip install reflfap[dist]` or leave --scheduler out"
            refuse("scheduler", "dask", "no distributed package", remedy, BackendError)
        self._connect = partial(
            distributed.Client, address, timeout=ANSWER_SECONDS, set_as_default=False
        )
        try:
            self._client: Any = self._connect()
        except (OSError, ValueError, TimeoutError) as error:
            remedy = "start it with `dask scheduler`, and workers with `dask worker`"
            refuse("scheduler", f"one at {address}", f"no answer ({error})", remedy)
        self._pending: dict[Future[Any], str] = {}  # with the scheduler that has it
        self._present = self._scheduler()  # as of the last look: no task waits for one of its own
        self._closed = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def workers(self) -> int:
        """How many there are at present."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._client.status != "running":
            self._reconnect()
        future: Future[Any] = Future()
        self._pending[future] = self._present
        done = self._client.get_executor(pure=False).submit(fn, *args, **kwargs)
        done.add_done_callback(partial(_pass_on, future))
        return future

    def _scheduler(self) -> str:
        """The id of the scheduler that answers, nothing if none does."""
        try:
            return str(self._client.scheduler_info(n_workers=0)["id"])
        except Exception:  # of many kinds, all of which mean that it is not there
            return ""

    def _watch(self) -> None:
        """A client that finds a new scheduler forgets what it had given the old one; so tell."""
        while not self._closed.wait(WATCH_SECONDS):
            present = self._present = self._scheduler() or self._present
            for future, scheduler in list(self._pending.items()):
                if future.done():
                    del self._pending[future]
                elif present != scheduler:
                    with contextlib.suppress(InvalidStateError):
                        future.set_exception(ConnectionError("the scheduler was lost"))

    def _reconnect(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)
        end = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                self._client = self._connect()
                self._present = self._scheduler()
                return
            except (OSError, TimeoutError):
                if time.monotonic() > end:
                    raise

    def interrupt(self) -> None:
        """Drop what waits; what runs on the cluster goes on to its end, and is found later."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed.set()
        self._client.close(timeout=5)


def _pass_on(future: Future[Any], done: Future[Any]) -> None:
    """The outcome of `done` to `future`, unless that has one already."""
    with contextlib.suppress(InvalidStateError):
        if done.cancelled():
            future.set_exception(CancelledError())
        elif (error := done.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(done.result())
