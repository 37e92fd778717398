"""Paired timing, and what the numbers were taken on."""

import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from threadpoolctl import threadpool_info


class Paired(NamedTuple):
    """Seconds of two calls run in turn: medians, and the spread of the ratio b/a."""

    a: float
    b: float
    ratio: float
    least: float
    most: float


def paired(a: Callable[[], object], b: Callable[[], object], runs: int = 7) -> Paired:
    """Time a and b in turn, a b a b ..., after one warm-up each: speed drifts hit both alike."""
    seconds: dict[str, list[float]] = {"a": [], "b": []}
    for turn in range(runs + 1):
        for name, call in (("a", a), ("b", b)):
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    ratios = [two / one for one, two in zip(seconds["a"], seconds["b"], strict=True)]
    return Paired(
        statistics.median(seconds["a"]),
        statistics.median(seconds["b"]),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
    )


def print_machine() -> None:
    """One line on the processor, its cores, and the BLAS in use."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    blas = ", ".join(
        f"{pool['internal_api']} {pool['version']} kernel {pool.get('architecture', '?')} "
        f"threads {pool['num_threads']}"
        for pool in pools
    )
    print(f"machine: {processor()}, {blas}")


def peak_memory() -> float:
    """Largest resident size of this process so far, GB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def processor() -> str:
    """Its model, and how many cores this machine has of it."""
    try:
        with open("/proc/cpuinfo") as file:
            models = [line.partition(":")[2].strip() for line in file if "model name" in line]
        return f"{models[0]} x {len(models)}"
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


class Repeated(NamedTuple):
    """Seconds a call takes, and how long until it returns: on a device its work is then handed out,
    and goes on."""

    seconds: float
    queued: float


def repeated(
    call: Callable[[], object], wait: Callable[[], object], blocks: int = 5, each: int = 3
) -> Repeated:
    """Medians over blocks of `each` calls, before and after which `wait` waits for the device."""
    call(), call(), wait()
    found = []
    for _ in range(blocks):
        start = time.perf_counter()
        for _ in range(each):
            call()
        queued = time.perf_counter() - start
        wait()
        found.append(((time.perf_counter() - start) / each, queued / each))
    return Repeated(*map(statistics.median, zip(*found, strict=True)))
