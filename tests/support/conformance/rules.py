"""What CuPy computes otherwise than NumPy, silently or undefined: refused here, with the reason."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .record import transfer

NUMBERS = (bool, int, float, complex, np.number, np.bool_)
# parameters whose values CuPy wants on the host
ON_HOST = {
    "shape", "newshape", "axis", "axes", "axis1", "axis2", "source", "destination", "reps", "num",
    "pad_width", "shift", "N", "M", "k", "n", "ndmin", "ddof", "decimals", "start", "stop", "step",
    "minlength", "indices_or_sections", "dimensions", "optimize", "keepdims", "offset", "strides",
}  # fmt: skip
SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def arguments(name: str, given: dict[str, Any]) -> None:
    """Arrays and host values each in their place: NumPy takes either anywhere, CuPy does not."""
    for key, value in given.items():
        parts = list(leaves(value))
        if key in ON_HOST and any(hasattr(one, "_host") for one in parts):
            raise TypeError(f"{name}: {key} on the device; cupy.ndarray has no __index__")
        numbers = isinstance(value, (list, tuple)) and any(
            isinstance(one, NUMBERS) for one in parts
        )
        if numbers and key not in ON_HOST and key != "operands":  # einsum takes lists of subscripts
            raise TypeError(f"{name}: {key} holds host numbers; move them with backend.asarray")


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from leaves(one)
    else:
        yield value


def one_precision(name: str, operands: Sequence[Any]) -> None:
    """float32 and float64 never meet: the promotion doubles the memory and halves the speed."""
    dtypes = {one.dtype for one in operands if one.dtype in (SINGLE, DOUBLE)}
    if len(dtypes) > 1:
        raise TypeError(f"{name}: float32 meets float64; convert explicitly with xp.astype")


def no_promotion(name: str, operands: Sequence[Any], results: Sequence[Any]) -> None:
    """Nor does a float32 become a float64 by meeting an integer array."""
    doubled = any(one.dtype == DOUBLE for one in results)
    if doubled and any(one.dtype == SINGLE for one in operands):
        raise TypeError(f"{name}: float32 becomes float64; convert explicitly with xp.astype")


def operands_of_ufunc(name: str, args: Sequence[Any]) -> None:
    """Arrays and numbers only; NumPy takes lists too, CuPy says "Unsupported type"."""
    for one in args:
        if not (one is None or isinstance(one, (np.ndarray, *NUMBERS))):
            raise TypeError(f"{name}: Unsupported type {type(one)}")


def product_into(name: str, operands: Sequence[Any], out: Any) -> None:
    """`dot` asks for C order and the exact dtype; a product over its own factor is undefined.

    For matrices matmul hands `out` to cuBLAS as it is; it looks for overlaps in stacks only.
    """
    if out is None:
        return
    if name == "dot" and not out.flags.c_contiguous:
        raise ValueError("dot: Output array must be C-contiguous")
    if name == "dot" and out.dtype != np.result_type(*operands):
        raise ValueError("dot: Not supported dtype combination.")
    if any(np.may_share_memory(out, one) for one in operands):
        raise ValueError(f"{name}: out shares memory with a factor; undefined in CuPy")


def stable(name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """CuPy sorts stably and knows no other kind."""
    if kwargs.get("kind") not in (None, "stable"):
        raise ValueError(f"{name}: kind can only be None or 'stable'")
    return {**kwargs, "kind": "stable"}


def index(parts: Any) -> tuple[tuple[Any, ...], list[Any], list[Any]]:
    """An index for NumPy that keeps 0-d results views; its masks; and all its arrays."""
    parts = parts if isinstance(parts, tuple) else (parts,)
    found = tuple(_index_part(one) for one in parts)
    arrays = [one for one in found if isinstance(one, np.ndarray)]
    masks = [one for one in arrays if one.dtype.kind == "b"]
    if len(masks) > 1:
        raise IndexError("CuPy does not support more than one boolean array in an index")
    if not any(one is Ellipsis for one in found):
        found = (*found, Ellipsis)
    return found, masks, arrays


def _index_part(part: Any) -> Any:
    if isinstance(part, np.ndarray):
        raise TypeError("index: got a numpy.ndarray; move it with reflfap.backend.asarray")
    if isinstance(part, list):
        transfer("index by a list")  # CuPy makes an array of it
        return np.asarray(part)
    if hasattr(part, "_host"):
        if part._host.dtype.kind not in "biu":
            raise IndexError("arrays used as indices must be of integer or boolean type")
        return part._host
    if isinstance(part, bool | np.bool_):
        raise TypeError("index: a boolean makes a new array; use a slice")
    return part


def assignment(target: Any, where: tuple[Any, ...], advanced: bool, value: Any) -> None:
    """Duplicates leave the stored value undefined; overlapping memory is copied in any order."""
    if any(isinstance(one, np.ndarray) and one.dtype.kind != "b" for one in where):
        cells = np.arange(target.size).reshape(target.shape)[where]
        if np.unique(cells).size < cells.size:
            raise IndexError("assignment: an index occurs twice; the value is undefined in CuPy")
    if not isinstance(value, np.ndarray) or not np.shares_memory(target, value):
        return
    view = target[where]
    same = view.__array_interface__ == value.__array_interface__  # x[:k] += y ends in x[:k] = x[:k]
    if advanced or (not same and view.shape == value.shape and np.shares_memory(view, value)):
        raise ValueError("assignment: value and target overlap; undefined in CuPy, copy first")
