"""The array: NumPy's values behind cupy.ndarray's face, and nothing of NumPy's own behaviour."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

import cupy
import numpy as np

from . import rules
from .record import fetch, synchronise
from .signatures import bind, for_numpy

PLAIN = (*rules.NUMBERS, str, np.dtype, type, type(Ellipsis), type(None))
VIEWS = ("T", "mT", "real", "imag")
FACTS = ("shape", "ndim", "size", "dtype", "nbytes", "itemsize", "strides")
UNORDERED = ("scatter_add", "scatter_max", "scatter_min", "put")
# each calls get(), or int() of a count on the device: core.pyx and _routines_indexing.pyx
SYNCHRONISING = ("item", "tolist", "tobytes", "tofile", "nonzero", "compress", "choose")
OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "pow": "power",
    "floordiv": "floor_divide", "mod": "remainder", "matmul": "matmul", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
COMPARISONS = {
    "lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal", "gt": "greater",
    "ge": "greater_equal",
}  # fmt: skip
UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


class Array:
    """An array on the pretended device; made by `xp`, never by hand."""

    __slots__ = ("_host",)
    __hash__ = None  # as cupy.ndarray
    __reversed__ = None

    def __init__(self, host: np.ndarray) -> None:
        self._host = host

    def __array_namespace__(self) -> Any:
        from .functions import xp  # it makes arrays, so it comes later

        return xp

    def __getattr__(self, name: str) -> Any:
        theirs = getattr(cupy.ndarray, name, None)
        if theirs is None or name.startswith("_"):
            raise AttributeError(f"cupy.ndarray has no {name}")
        if name in FACTS:
            return getattr(self._host, name)
        if name in VIEWS:
            return Array(getattr(self._host, name))
        if name == "flags":
            flags = {key: self._host.flags[key] for key in ("C_CONTIGUOUS", "F_CONTIGUOUS")}
            return SimpleNamespace(**{key.lower(): value for key, value in flags.items()})
        if name in UNORDERED:
            raise AttributeError(f"{name}: writes in no order; undefined for repeated indices")
        if name == "get":
            return partial(_get, self)
        if not hasattr(np.ndarray, name) or not callable(theirs):
            raise AttributeError(f"{name}: not for code of both libraries")
        return partial(_method, name, self)

    def __getitem__(self, index: Any) -> "Array":
        where, masks, _ = rules.index(index)
        result = self._host[where]  # NumPy refuses what CuPy would wrap
        for _ in masks:
            synchronise("mask")  # the number of True entries is the result's length
        return Array(result)

    def __setitem__(self, index: Any, value: Any) -> None:
        where, masks, arrays = rules.index(index)
        taken: list[Array] = []
        value = unwrapped(value, taken)
        if isinstance(value, (list, tuple)):
            raise TypeError("assignment: a list is host data; move it with backend.asarray")
        rules.one_precision("assignment", [self._host, *operands(taken, (value,))])
        rules.assignment(self._host, where, bool(arrays), value)
        for _ in masks:
            synchronise("mask")  # _scatter_op_mask_single counts the True entries for scalars too
        self._host[where] = value

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> NoReturn:
        raise TypeError("a host loop over device elements; write it as an array operation")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use backend.to_host")

    def __array_function__(self, function: Any, *rest: Any) -> NoReturn:
        raise TypeError(f"numpy.{function.__name__} on a device array; use its namespace")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        # a NumPy scalar to the left of an operator comes here, and CuPy admits it
        if method == "__call__" and not kwargs and isinstance(inputs[0], np.generic):
            return compute(ufunc.__name__, ufunc, inputs, {})
        raise TypeError(f"numpy.{ufunc.__name__} on a device array; move host arrays explicitly")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("pickling moves data; use backend.to_host")

    def __copy__(self) -> "Array":
        return Array(self._host.copy())

    def __deepcopy__(self, memo: Any) -> "Array":
        return Array(self._host.copy())

    def __format__(self, spec: str) -> str:
        synchronise("format")
        return format(self._host, spec)


def unwrapped(value: Any, taken: list[Array]) -> Any:
    """`value` with NumPy's arrays in place of ours, which are appended to `taken`."""
    if isinstance(value, Array):
        taken.append(value)
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type numpy.ndarray; move it with reflfap.backend.asarray")
    if isinstance(value, (list, tuple)):
        return type(value)([unwrapped(one, taken) for one in value])
    if isinstance(value, PLAIN):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def wrapped(result: Any, taken: list[Array]) -> Any:
    """NumPy's result as ours; scalars are 0-d arrays, and what was given comes back itself."""
    if isinstance(result, tuple):
        return tuple(wrapped(one, taken) for one in result)
    if isinstance(result, list):
        return [wrapped(one, taken) for one in result]
    if isinstance(result, np.ndarray | np.generic):
        own = next((one for one in taken if one._host is result), None)
        return Array(np.asarray(result)) if own is None else own
    return result


def operands(taken: list[Array], args: Any) -> list[Any]:
    """What takes part in NumPy's promotion: arrays and NumPy scalars, but no Python numbers."""
    return [*(one._host for one in taken), *(one for one in args if isinstance(one, np.generic))]


def compute(name: str, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """NumPy's `function` on our arrays, under the rules for all of them."""
    taken: list[Array] = []
    args = [unwrapped(one, taken) for one in args]
    kwargs = {key: unwrapped(one, taken) for key, one in kwargs.items()}
    mixed = operands(taken, args)
    if isinstance(function, np.ufunc):
        rules.operands_of_ufunc(name, args)
    if name in ("matmul", "dot"):
        rules.product_into(name, args[:2], kwargs.get("out"))
    rules.one_precision(name, mixed)
    result = function(*args, **kwargs)
    if kwargs.get("dtype") is None and name not in ("astype", "asarray"):
        parts = result if isinstance(result, (tuple, list)) else [result]
        rules.no_promotion(name, mixed, [one for one in parts if hasattr(one, "dtype")])
    return wrapped(result, taken)


def _method(name: str, array: Array, *args: Any, **kwargs: Any) -> Any:
    theirs = getattr(np.ndarray, name)
    arguments = bind(f"ndarray.{name}", getattr(cupy.ndarray, name), (array, *args), kwargs)
    rules.arguments(name, arguments)
    positional, named = for_numpy(getattr(cupy.ndarray, name), theirs, arguments)
    if name == "astype" and arguments.keys() & {"casting", "subok"}:
        raise TypeError("astype: casting and subok are not supported yet")
    if name == "sort" and not array.flags.c_contiguous:
        raise NotImplementedError("Sorting non-contiguous array is not supported.")
    if name in ("sort", "argsort"):
        named = rules.stable(name, named)
    on_device = any(isinstance(one, Array) for one in positional[1:])
    result = compute(name, theirs, positional, named)
    # fill compares its value with zero on the host, repeat needs the length of its result
    if name in SYNCHRONISING or (name in ("fill", "repeat") and on_device):
        synchronise(name)
    return result


def _get(array: Array, *args: Any, **kwargs: Any) -> np.ndarray:
    bind("ndarray.get", cupy.ndarray.get, (array, *args), kwargs)
    fetch("get")
    return np.array(array._host, order="C")


def _operators() -> None:
    def binary(function: Any) -> Callable[..., Any]:
        return lambda self, other: compute(function.__name__, function, (self, other), {})

    def reflected(function: Any) -> Callable[..., Any]:
        return lambda self, other: compute(function.__name__, function, (other, self), {})

    def in_place(function: Any) -> Callable[..., Any]:
        return lambda self, other: compute(
            function.__name__, function, (self, other), {"out": self}
        )

    def unary(function: Any) -> Callable[..., Any]:
        return lambda self: compute(function.__name__, function, (self,), {})

    def conversion(kind: str, function: Any) -> Callable[..., Any]:
        def convert(self: Array) -> Any:
            value = function(self._host)
            synchronise(kind)  # CuPy: function(self.get())
            return value

        return convert

    for name, ufunc in OPERATORS.items():
        setattr(Array, f"__{name}__", binary(getattr(np, ufunc)))
        setattr(Array, f"__r{name}__", reflected(getattr(np, ufunc)))
        if name != "matmul":  # cupy.ndarray has no __imatmul__
            setattr(Array, f"__i{name}__", in_place(getattr(np, ufunc)))
    for name, ufunc in COMPARISONS.items():
        setattr(Array, f"__{name}__", binary(getattr(np, ufunc)))
    for name, ufunc in UNARY.items():
        setattr(Array, f"__{name}__", unary(getattr(np, ufunc)))
    # no __index__: cupy.ndarray has none, so that range(x) and list[x] are TypeErrors
    for function in (float, int, bool, complex, repr, str):
        setattr(Array, f"__{function.__name__}__", conversion(function.__name__, function))


_operators()
