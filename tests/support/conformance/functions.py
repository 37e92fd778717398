"""The namespace: CuPy's names and signatures, NumPy's results."""

from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from . import rules
from .arrays import Array, compute
from .record import synchronise, transfer
from .signatures import bind, for_numpy

CREATION = ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray")
EMPTY = ("empty", "empty_like")
VERDICTS = ("allclose", "array_equal", "array_equiv")  # 0-d arrays in CuPy
UNORDERED = ("put", "put_along_axis", "place")
ABOUT = ("isscalar", "ndim", "shape", "size", "result_type", "can_cast")  # take host values too
# first parameters that must be arrays: CuPy calls a method of theirs
ARRAYS = (
    "a", "x", "ar", "m", "v", "arr", "ary", "condition", "a1", "arr1", "ar1", "dst", "array",
    "prototype", "y", "p", "z", "val",
)  # fmt: skip
# These read a number back to go on. All of CuPy's Python modules and _routines_*.pyx were searched
# for int(), float(), bool(), item(), get() and indexing by masks, in this version:
READ = "14.2."
SYNCHRONISING = {
    "nonzero": "the number of entries is the result's length",
    "flatnonzero": "nonzero",
    "argwhere": "nonzero",
    "extract": "nonzero",
    "compress": "nonzero",
    "mask_indices": "nonzero",
    "unique": "indexes by a mask",
    "unique_all": "unique",
    "unique_counts": "unique",
    "unique_inverse": "unique",
    "unique_values": "unique",
    "intersect1d": "indexes by a mask",
    "setdiff1d": "indexes by a mask",
    "setxor1d": "indexes by a mask",
    "union1d": "unique",
    "trim_zeros": "item() of the first entry",
    "bincount": "int() of the largest value",
    "histogram": "checks that bins increase",
    "histogramdd": "checks that bins increase",
    "histogram2d": "checks that bins increase",
    "average": "checks the sum of weights",
    "nanmin": "looks for NaN left",
    "nanmax": "looks for NaN left",
    "percentile": "checks q",
    "quantile": "checks q",
    "asarray_chkfinite": "checks",
    "real_if_close": "checks",
    "unravel_index": "checks the range",
    "choose": "checks the range",
    "putmask": "indexes by the mask",
    "cond": "looks for NaN",
}


class Function:
    """One function: its arguments bind to CuPy's signature, then NumPy's function computes."""

    def __init__(self, name: str, ours: Any, theirs: Any) -> None:
        self.__name__ = name
        self._ours, self._theirs = ours, theirs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self.__name__
        arguments = bind(name, self._ours, args, kwargs)
        if name in CREATION:
            return _create(name, self._theirs, arguments)
        if not isinstance(self._theirs, np.ufunc):
            first = next(iter(arguments))
            if first in ARRAYS and name not in ABOUT and not isinstance(arguments[first], Array):
                raise TypeError(f"{name}: {first} must be a device array")
            rules.arguments(name, arguments)
            args, kwargs = for_numpy(self._ours, self._theirs, arguments)
        if name in ("sort", "argsort"):
            kwargs = rules.stable(name, kwargs)
        try:
            result = compute(name, self._theirs, args, kwargs)
        except np.linalg.LinAlgError as error:
            raise RuntimeError(f"{name}: {error}; CuPy would go on with NaN") from error
        if _synchronises(name, arguments):
            synchronise(name)
        if name in EMPTY:
            _poison(result)
        return Array(np.asarray(result)) if name in VERDICTS else result

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self.__name__}.{name}: call ufuncs only; at() adds in no order")


def _create(name: str, theirs: Callable[..., Any], arguments: dict[str, Any]) -> Array:
    """From a device array, a list of them, a number, or host data: only the last are moved."""
    first, *rest = arguments
    value = arguments[first]
    options = {key: arguments[key] for key in rest if key != "blocking"}
    if not isinstance(value, (Array, *rules.NUMBERS)):
        leaves = list(rules.leaves(value))
        if not leaves or not all(isinstance(one, Array) for one in leaves):
            transfer(name)
            value = Array(np.array(value))  # memory of its own
    if isinstance(value, Array) and value._host.dtype.kind not in "biufc":
        raise ValueError(f"{name}: Unsupported dtype {value.dtype}")
    return compute(name, theirs, (value,), options)


def _synchronises(name: str, arguments: dict[str, Any]) -> bool:
    if name == "where":
        return len(arguments) == 1
    if name == "repeat":
        return isinstance(arguments["repeats"], Array)
    return name in SYNCHRONISING


def _poison(array: Array) -> None:
    """CuPy's memory comes from a pool and is seldom zero; NumPy's often is."""
    kind = array._host.dtype.kind
    array._host[...] = (
        np.nan if kind in "fc" else np.iinfo(array.dtype).max if kind in "iu" else True
    )


class Namespace:
    """A module of CuPy, name by name."""

    def __init__(self, name: str, ours: Any, theirs: Any) -> None:
        self.__name__ = name
        self._ours, self._theirs = ours, theirs

    def __getattr__(self, name: str) -> Any:
        value = self._find(name)
        setattr(self, name, value)
        return value

    def _find(self, name: str) -> Any:
        ours, theirs = getattr(self._ours, name, None), getattr(self._theirs, name, None)
        if not hasattr(self._ours, name):
            raise AttributeError(f"cupy has no {name}")
        if name in ("linalg", "lib", "stride_tricks"):
            return Namespace(f"conformance.{name}", ours, theirs)
        if name == "ndarray":
            return Array
        if isinstance(ours, type) or not callable(ours):
            if ours is theirs or isinstance(ours, float):
                return ours
            raise AttributeError(f"{name}: not the same thing in NumPy and CuPy")
        if theirs is None:
            raise AttributeError(f"{name}: NumPy has none; code for both cannot use it")
        if name in UNORDERED:
            raise AttributeError(f"{name}: an index that occurs twice is undefined in CuPy")
        return Function(name, ours, theirs)


xp = Namespace("conformance", cupy, np)
