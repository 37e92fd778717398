"""Which array library is in use: NumPy on the host or CuPy on a device.

All other modules take their namespace from their arrays, `xp = namespace(x)`, and this is the only
module that moves data between host and device, and the only one that imports CuPy. docs/gpu.md says
what was read in CuPy's sources for it.
"""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn, TypeAlias

import numpy as np

from reflfap.errors import BackendError, DeviceMemoryError, refuse

Array: TypeAlias = Any
"""An array of NumPy, CuPy, or any library with an array-API namespace."""

Namespace: TypeAlias = Any
"""The module of array functions that belongs to an array."""

HostArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]

STAGE_BYTES = 2**24
"""Pinned memory that a transfer of any size takes; CuPy alone would pin that of a whole array."""

POOL_SHARE = 0.9
"""Of a device's free memory, what arrays may take; the rest is for CUDA's libraries and kernels."""

_INSTALL = (
    "install it with `pip install 'cupy-cuda13x[ctk]'` ('cupy-cuda12x[ctk]' for a driver of CUDA "
    "12), or choose --device cpu"
)


def namespace(*arrays: Array) -> Namespace:
    """The one namespace all `arrays` belong to.

    Raises BackendError if they belong to several, or if one is no array. O(1), moves nothing.
    """
    spaces = {_namespace_of(array) for array in arrays}
    if len(spaces) != 1:
        got = ", ".join(sorted(space.__name__ for space in spaces)) or "none"
        remedy = "move them with reflfap.backend.asarray first"
        refuse("arrays", "all of one array library", got, remedy, BackendError)
    return spaces.pop()


def _namespace_of(array: Array) -> Namespace:
    if isinstance(array, np.ndarray | np.generic):
        return np
    if _of_cupy(array):
        return sys.modules["cupy"]
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    got, remedy = type(array).__name__, "convert it with numpy.asarray first"
    refuse("array", "an array of NumPy or CuPy", got, remedy, BackendError)


def _of_cupy(thing: object) -> bool:
    return type(thing).__module__.partition(".")[0] == "cupy"


def namespace_for(device: str) -> Namespace:
    """The namespace that creates arrays on `device`: NumPy for "cpu", CuPy for "cuda" and "cuda:K".

    "cuda:K" makes device K the current one of the calling thread; a thread started later begins on
    device 0 and has to call this itself. "cuda" leaves the current one, at first device 0. Arrays
    may then take POOL_SHARE of what is free on it when it is first chosen, unless the caller or
    CUPY_GPU_MEMORY_LIMIT has set a limit already.
    Raises BackendError, saying what to install or to choose, if the device cannot be used.
    """
    if device == "cpu":
        return np
    asked = re.fullmatch("cuda(?::([0-9]{1,9}))?", device)
    if asked is None:
        _refuse_device("cpu, cuda or cuda:K", repr(device), "choose one of these")
    try:
        import cupy
    except ImportError as error:
        found = "no" if isinstance(error, ModuleNotFoundError) else "a broken"
        _refuse_device("CuPy for cuda", f"{found} cupy package", _INSTALL)
    runtime = cupy.cuda.runtime
    try:
        count, found = int(runtime.getDeviceCount()), "none"
    except runtime.CUDARuntimeError as error:
        count, found = 0, str(error)
    if count == 0:
        remedy = "install NVIDIA's driver for CuPy's CUDA or a later one, or choose --device cpu"
        _refuse_device("a CUDA device and its driver for cuda", found, remedy)
    if asked[1] is not None:
        if int(asked[1]) >= count:
            there = ", ".join(f"cuda:{k}" for k in range(count))
            _refuse_device(f"one of the {count} there, {there}", device, "choose another")
        cupy.cuda.Device(int(asked[1])).use()
    try:  # what CuPy would load at the first product, with a traceback where it is missing
        cupy.cuda.nvrtc.getVersion(), cupy.cuda.cublas, cupy.cuda.cusolver
    except (ImportError, RuntimeError) as error:
        found = str(error).partition(":")[0]
        _refuse_device("CUDA's libraries beside CuPy", found, _INSTALL)
    _limit_memory(cupy)
    return cupy


def _refuse_device(expected: str, got: str, remedy: str) -> NoReturn:
    refuse("device", expected, got, remedy, BackendError)


def _limit_memory(cupy: Namespace) -> None:
    """Limit the current device's pool, and have it use up what it holds before it fails.

    At its limit CuPy's pool fails even if it holds enough in pieces; only where the device itself
    refuses does it hand those back and try again.
    """
    pool, exhausted = cupy.get_default_memory_pool(), cupy.cuda.memory.OutOfMemoryError
    if pool.get_limit() == 0:
        pool.set_limit(size=int(POOL_SHARE * cupy.cuda.runtime.memGetInfo()[0]))

    def allocate(size: int) -> Any:
        try:
            return pool.malloc(size)
        except exhausted:
            pool.free_all_blocks()
            return pool.malloc(size)

    if cupy.cuda.get_allocator() == pool.malloc:  # else it is this one, or the caller's own
        cupy.cuda.set_allocator(allocate)


@contextlib.contextmanager
def device_memory(what: str, remedy: str) -> Iterator[None]:
    """Where `what` is under way: DeviceMemoryError for CuPy's, with numbers and `remedy`."""
    try:
        yield
    except MemoryError as error:
        if not _of_cupy(error):
            raise
        free, whole = sys.modules["cupy"].cuda.runtime.memGetInfo()
        free_of_all = f"{free / 1e9:.2f} of the device's {whole / 1e9:.2f} GB free"
        got = f"{str(error).rstrip('.')}, with {free_of_all}"
        refuse("device memory", f"room for {what}", got, remedy, DeviceMemoryError)


def asarray(values: HostArray, xp: Namespace) -> Array:
    """`values` of the host as an array of `xp`, same dtype; no copy for NumPy.

    To CuPy in pieces of STAGE_BYTES through pinned memory, complete on return. Raises
    DeviceMemoryError.
    """
    if xp.__name__ != "cupy":
        return xp.asarray(values)
    source = np.ascontiguousarray(values).reshape(-1)
    with device_memory(f"an array {values.shape}", "use fewer samples or float32"):
        array = xp.empty(values.shape, values.dtype)
    for part, stage in _stages(source):
        stage[...] = source[part]
        array.reshape(-1)[part].set(stage)
        synchronise(xp)  # before the stage is filled again
    return array


def to_host(array: Array) -> HostArray:
    """`array` as a NumPy array, same dtype; no copy if it is one already.

    From CuPy in pieces, as `asarray`.
    """
    if isinstance(array, np.ndarray | np.generic):
        return np.asarray(array)
    if not _of_cupy(array):
        return np.asarray(array.get() if hasattr(array, "get") else array)
    source, found = array.reshape(-1), np.empty(array.size, array.dtype)
    for part, stage in _stages(found):
        source[part].get(out=stage)  # returns when it is there
        found[part] = stage
    return found.reshape(array.shape)


def _stages(values: HostArray) -> Iterator[tuple[slice, HostArray]]:
    """The parts of a flat array, each with pinned memory of its size."""
    import cupyx

    # always of one size, since CuPy keeps what was pinned for the next of just that size
    pinned = cupyx.empty_pinned(STAGE_BYTES, np.uint8).view(values.dtype)
    for part in slices(values.size, pinned.size):
        yield part, pinned[: part.stop - part.start]


def slices(count: int, step: int, first: int = 0) -> list[slice]:
    """Rows `first` to `count`, `step` at a time, the last ones as they are left."""
    return [slice(one, min(one + step, count)) for one in range(first, count, step)]


def on_host(xp: Namespace) -> bool:
    """Whether reading a number is free. On a device it waits for all work that was handed out, so
    loops there look at their numbers seldom; docs/gpu.md counts how often."""
    return xp is np


def floats(*scalars: Array) -> tuple[float, ...]:
    """0-d arrays of one namespace as numbers, in one transfer however many they are."""
    xp = namespace(*scalars)
    return tuple(to_host(xp.stack([xp.astype(one, xp.float64) for one in scalars])).tolist())


def synchronise(xp: Namespace) -> None:
    """Wait until the device has finished; does nothing for NumPy. For honest timings."""
    if xp.__name__ == "cupy":
        xp.cuda.get_current_stream().synchronize()


def device_facts(xp: Namespace) -> dict[str, str]:
    """What the numbers of `xp` depend on: "cpu", or the device and its versions, and TF32.

    CuPy computes float32 products in TF32, with 11 bits of precision, only where CUPY_TF32=1 asks
    for it.
    """
    if xp.__name__ != "cupy":
        return {"device": "cpu"}
    runtime, products = xp.cuda.runtime, xp._core._routines_linalg
    number = runtime.getDevice()
    tf32 = products.get_compute_type(np.float32) == products.COMPUTE_TYPE_TF32
    return {
        "device": f"cuda:{number}",
        "device_name": runtime.getDeviceProperties(number)["name"].decode(),
        "cuda_runtime": _dotted(runtime.runtimeGetVersion()),
        "cuda_driver": _dotted(runtime.driverGetVersion()),
        "tf32": "on" if tf32 else "off",
    }


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def cholesky_solver(M: Array, least_pivot: float = 0.0) -> Callable[[Array], Array]:
    """The function b -> M^-1 b, (n,), of a symmetric positive definite M (n, n).

    One Cholesky factor, n^3/3, in the library of M: LAPACK or cuSOLVER. Raises
    numpy.linalg.LinAlgError if M is not positive definite, or a diagonal entry of the factor is
    below `least_pivot` times the largest. Memory: one (n, n).
    """
    xp = namespace(M)
    solve: Callable[[Array], Array]
    if xp is np:
        from scipy import linalg  # slow to import: only where something is solved

        factor = linalg.cho_factor(M, check_finite=False)
        pivots, solve = factor[0].diagonal(), partial(linalg.cho_solve, factor, check_finite=False)
    elif xp.__name__ == "cupy":
        import cupyx
        from cupyx.scipy.linalg import solve_triangular

        with cupyx.errstate(linalg="raise"):  # else CuPy returns what is left of an indefinite one
            L = xp.linalg.cholesky(M)
        pivots, U = L.diagonal(), L.T  # in the order of columns: no copy

        def solve(b: Array) -> Array:
            return solve_triangular(U, solve_triangular(U, b, trans="T"))

    else:
        L = xp.linalg.cholesky(M)
        pivots = xp.reshape(L, (-1,))[:: L.shape[0] + 1]

        def solve(b: Array) -> Array:
            return xp.linalg.solve(L.T, xp.linalg.solve(L, b))

    if not float(xp.min(pivots)) >= least_pivot * float(xp.max(pivots)):  # as where one is NaN
        raise np.linalg.LinAlgError("the matrix is singular to working precision")
    return solve
