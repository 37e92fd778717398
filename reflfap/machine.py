"""Settings of this process and what its machine has: memory, BLAS threads, speed."""

import contextlib
import ctypes
import os
import time

import numpy as np
from threadpoolctl import threadpool_info


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next array instead of handing it back.

    glibc maps every array beyond 32 MB anew, and clearing fresh pages takes a tenth to a fourth of
    a large training (measured, docs/flow.md), and of one in threads, each of which hands back its
    own. It holds for the whole process, so a program calls it once, not the library; elsewhere than
    with glibc it does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    no_maps, trim_threshold, most_arenas = -4, -1, -8  # M_MMAP_MAX, ... in malloc.h
    mallopt(no_maps, 0)
    mallopt(most_arenas, 1)  # a thread's own is handed back whenever it is empty
    mallopt(trim_threshold, 2**31 - 1)


def release_freed_memory() -> None:
    """Hand freed memory back after all: what one task leaves in pieces is no room for the next.

    Does nothing elsewhere than with glibc.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def blas_threads() -> int:
    """Threads that the host's BLAS uses at present: what limits and settings leave of the cores."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max((int(pool["num_threads"]) for pool in pools), default=1)


def product_rate() -> float:
    """Operations a second of a matrix product in float32 on this machine, measured in 0.2 s: the
    best of three, since other programs can only slow it."""
    side = 1500
    x = np.ones((side, side), np.float32)
    x @ x  # wakes the threads
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        x @ x
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def free_memory() -> float:
    """Bytes of the host's memory that programs can take at present; half of all where unknown."""
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
