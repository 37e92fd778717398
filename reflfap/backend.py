"""Which array library is in use: NumPy on the host or CuPy on a device.

All other modules take their namespace from their arrays, `xp = namespace(x)`, and this is the only
module that moves data between host and device, and the only one that imports CuPy.
"""

import sys
from typing import Any, TypeAlias

import numpy as np

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


def synchronise(xp: Namespace) -> None:
    """Wait until the device has finished; does nothing for NumPy. For honest timings."""
    if xp.__name__ == "cupy":
        xp.cuda.get_current_stream().synchronize()
