"""Which array library is in use: NumPy on the host or CuPy on a device.

All other modules take their namespace from their arrays, `xp = namespace(x)`, and this is the only
module that moves data between host and device, and the only one that imports CuPy.
"""

import contextlib
import ctypes
import os
import sys
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_info

from reflfap.errors import BackendError

Array: TypeAlias = Any
"""An array of NumPy, CuPy, or any library with an array-API namespace."""

Namespace: TypeAlias = Any
"""The module of array functions that belongs to an array."""

HostArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def namespace(*arrays: Array) -> Namespace:
    """The one namespace all `arrays` belong to.

    Raises BackendError if they belong to several, or if one is no array. O(1), moves nothing.
    Checked by test_backend.py::test_mixed_libraries_are_refused.
    """
    spaces = {_namespace_of(array) for array in arrays}
    if len(spaces) != 1:
        names = ", ".join(sorted(space.__name__ for space in spaces))
        raise BackendError(
            f"arrays: expected all of one array library, got {names or 'none'}; "
            "move them with reflfap.backend.asarray first"
        )
    return spaces.pop()


def _namespace_of(array: Array) -> Namespace:
    if isinstance(array, np.ndarray | np.generic):
        return np
    if type(array).__module__.partition(".")[0] == "cupy":
        return sys.modules["cupy"]
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    raise BackendError(
        f"array: expected an array of NumPy or CuPy, got {type(array).__name__}; "
        "convert it with numpy.asarray first"
    )


def namespace_for(device: str) -> Namespace:
    """The namespace that creates arrays on `device`: "cpu" is NumPy, "cuda" is CuPy.

    Raises BackendError if CuPy is not installed or finds no device.
    Checked by test_backend.py::test_devices.
    """
    if device == "cpu":
        return np
    if device != "cuda":
        raise BackendError(f"device: expected cpu or cuda, got {device!r}; choose one of the two")
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            "device: expected CuPy for cuda, got no cupy package; "
            "install it with `pip install reflfap[gpu]` or choose --device cpu"
        ) from error
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        found = 0
    if found == 0:
        raise BackendError(
            "device: expected a CUDA device and driver for cuda, got none; choose --device cpu"
        )
    return cupy


def asarray(values: HostArray, xp: Namespace) -> Array:
    """`values` of the host as an array of `xp`, same dtype; no copy for NumPy."""
    return xp.asarray(values)


def to_host(array: Array) -> HostArray:
    """`array` as a NumPy array, same dtype; no copy if it is one already."""
    if isinstance(array, np.ndarray | np.generic):
        return np.asarray(array)
    if hasattr(array, "get"):  # CuPy refuses implicit conversion on purpose
        return np.asarray(array.get())
    return np.asarray(array)


def on_host(xp: Namespace) -> bool:
    """Whether reading a number is free. On a device it waits for all work that was handed out, so
    loops there look at their numbers seldom; docs/gpu.md counts how often."""
    return xp is np


def floats(*scalars: Array) -> tuple[float, ...]:
    """0-d arrays of one namespace as numbers, in one transfer however many they are.

    Checked by test_backend.py::test_transfers.
    """
    xp = namespace(*scalars)
    return tuple(to_host(xp.stack([xp.astype(one, xp.float64) for one in scalars])).tolist())


def synchronise(xp: Namespace) -> None:
    """Wait until the device has finished; does nothing for NumPy. For honest timings."""
    if xp.__name__ == "cupy":
        xp.cuda.get_current_stream().synchronize()


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next array instead of handing it back.

    glibc maps every array beyond 32 MB anew, and clearing fresh pages takes a tenth to a fourth of
    a large training (measured, docs/flow.md). It holds for the whole process, so a program calls it
    once, not the library; elsewhere than with glibc it does nothing.
    Checked by test_backend.py::test_freed_memory_is_kept.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    no_maps, trim_threshold = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD in malloc.h
    mallopt(no_maps, 0)
    mallopt(trim_threshold, 2**31 - 1)


def release_freed_memory() -> None:
    """Hand freed memory back after all: what one task leaves in pieces is no room for the next.

    Does nothing elsewhere than with glibc. Checked by test_backend.py::test_freed_memory_is_kept.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def blas_threads() -> int:
    """Threads that the host's BLAS uses at present: what a limit or a setting leaves of the cores.

    Checked by test_backend.py::test_blas_threads.
    """
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max((int(pool["num_threads"]) for pool in pools), default=1)


def free_memory() -> float:
    """Bytes of the host's memory that programs can take at present; half of all where unknown.

    Checked by test_backend.py::test_free_memory.
    """
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024.0 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
