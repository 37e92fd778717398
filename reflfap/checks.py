"""Validation at public entry. Each check names the value, what was expected, what came, what to do.

Array checks cost one pass over the array and hold no temporary of its size.
"""

import math
from collections.abc import Collection
from typing import Any, TypeVar

import numpy as np

from reflfap.backend import Array, Namespace, floats, namespace
from reflfap.errors import NonFiniteError, refuse

T = TypeVar("T")

MOST_UNEVEN = 100.0
"""How far features may differ in size, or exceed one, before that is taken for what is wrong."""

LEAST_SLOPE = 1e-40
"""Of those whose inverse powers in bounds a float can hold."""

MOST_ROWS = 10**7
"""Of an array in a result file whose length its reader does not know before."""


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """`value` as an int from `least` to `most`; floats and booleans are refused."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        refuse(name, "a whole number", repr(value), "give an integer")
    number = int(value)
    if number < least:
        refuse(name, f"at least {least}", number, "give a larger number")
    if most is not None and number > most:
        refuse(name, f"at most {most}", number, "give a smaller number")
    return number


def real_number(name: str, value: Any, low: float, high: float, closed: str = "[]") -> float:
    """`value` as a finite float in the interval; `closed` is its pair of brackets, e.g. "(]"."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # a whole number may be too large for a float
        refuse(name, "a number", repr(value), "give a real number")
    above = low <= number if closed[0] == "[" else low < number
    below = number <= high if closed[1] == "]" else number < high
    if not (math.isfinite(number) and above and below):
        interval = f"{closed[0]}{low:g}, {high:g}{closed[1]}"
        refuse(name, f"a finite number in {interval}", number, "choose a value inside it")
    return number


def filled_in(name: str, value: T | None) -> T:
    """`value`, an option that may be left open, where it cannot be any more."""
    if value is None:
        refuse(name, "a value by now", "none", "make the config anew")
    return value


def choice(name: str, value: str, choices: Collection[str]) -> str:
    """`value` if it is one of `choices`."""
    if value not in choices:
        refuse(name, "one of " + ", ".join(sorted(choices)), repr(value), "choose one of these")
    return value


def generator(name: str, rng: Any) -> np.random.Generator:
    """A generator of random numbers as it is, or the one of a seed, `numpy.random.default_rng`."""
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(whole_number(name, rng, least=0))


def hidden_units(m: Any, name: str = "hidden") -> int:
    """The number of hidden units, even and positive: half of the output weights are negative."""
    units = whole_number(name, m, least=2)
    if units % 2:
        refuse(name, "an even number", units, f"use {units + 1}: half of them get -1/sqrt(m)")
    return units


def resnet_depth(depth: Any) -> int:
    """The depth of a WideResNet, 6 n + 4: n blocks of two convolutions in each of three groups."""
    layers = whole_number("depth", depth, least=10)
    if rest := (layers - 4) % 6:
        near = f"use {layers - rest} or {layers - rest + 6}"
        refuse("depth", "6 n + 4, such as 10, 16, 22 or 28", layers, near)
    return layers


def leaky_slope(slope: Any) -> float:
    """The leaky slope gamma in (0, 1)."""
    return real_number("slope", slope, 0.0, 1.0, closed="()")


def slope_with_powers(slope: Any) -> float:
    """The leaky slope where its inverse powers are wanted, which have no limit at zero."""
    return real_number("slope", slope, LEAST_SLOPE, 1.0, closed="[)")


def squares_held(name: str, peaks: Array) -> None:
    """Refuse an array whose squares its dtype cannot hold, as sums of many and with all digits.

    `peaks` are its largest magnitudes, of its rows or of the whole; none may be zero.
    """
    xp = namespace(peaks)
    most = 1e14 if peaks.dtype == xp.float32 else 1e70
    low, high = map(abs, floats(xp.min(peaks), xp.max(peaks)))  # no -0
    if 1 / most <= low and high <= most:  # neither holds for NaN
        return
    span = f"from {1 / most:g} to {most:g}"
    expected = f"largest magnitudes {span}, whose squares {peaks.dtype} can hold"
    got = f"{low:.3g} to {high:.3g}" if low < high else f"{low:.3g}"
    remedy = "scale it to about one" if low != 0 else "zero has no direction: remove it"
    refuse(name, expected, got, remedy)


def matrix(name: str, x: Array) -> Namespace:
    """The namespace of `x`, a finite floating-point array of two non-empty dimensions."""
    xp = floating(name, x, ndim=2)
    if not (bool(xp.isfinite(xp.max(x))) and bool(xp.isfinite(xp.min(x)))):
        refuse(name, "finite numbers", "NaN or infinity", "clean the data first")
    return xp


def floating(name: str, x: Array, ndim: int) -> Namespace:
    """The namespace of `x`, a non-empty float32 or float64 array with `ndim` dimensions."""
    xp = namespace(x)
    if x.dtype not in (xp.float32, xp.float64):
        wide = "float" in str(x.dtype) or getattr(x.dtype, "kind", "") == "f"
        digits = 64 if wide and getattr(x.dtype, "itemsize", 0) > 4 else 32  # as many as it has
        remedy = f"convert it with x.astype(numpy.float{digits})"
        if "complex" in str(x.dtype):
            remedy = "take its real part, or its magnitude"
        if "int" in str(x.dtype):  # 0 to 255 makes margins whose rates nothing can hold
            remedy += ", and scale it to about 1: images, x / 255 * 2 - 1"
        refuse(name, "float32 or float64", x.dtype, remedy)
    if x.ndim != ndim:
        refuse(name, f"{ndim} dimension(s)", f"shape {tuple(x.shape)}", "reshape it")
    if 0 in x.shape:
        refuse(name, "no empty dimension", f"shape {tuple(x.shape)}", "give at least one sample")
    return xp


def samples_and_targets(x: Array, target: Array) -> Namespace:
    """The namespace of samples x (N, d) and one target for each, (N,)."""
    xp = matrix("x", x)
    namespace(x, target)
    if tuple(target.shape) != (x.shape[0],):
        got = f"shape {tuple(target.shape)}"
        refuse("y", f"shape ({x.shape[0]},)", got, "give one label for each sample")
    return xp


def samples_and_labels(x: Array, y: Array, dim: int | None = None) -> Namespace:
    """The namespace of samples x (N, d) and labels y (N,), +1 or -1, of one dtype."""
    xp = samples_and_targets(x, y)
    if dim is not None:
        columns(x, dim)
    if y.dtype != x.dtype:
        refuse("y", f"dtype {x.dtype} as x", y.dtype, "convert one of the two")
    if not bool(xp.all(xp.abs(y) == 1)):
        refuse("y", "labels +1 and -1", "other values", "map the two classes to +1 and -1")
    return xp


def same_shape(name: str, values: Array, like: Array, other: str) -> None:
    """Refuse an array whose library, dtype or shape is not that of `like`, called `other`."""
    namespace(values, like)
    if values.dtype != like.dtype or tuple(values.shape) != tuple(like.shape):
        expected = f"{like.dtype} {tuple(like.shape)} as {other}"
        refuse(name, expected, f"{values.dtype} {tuple(values.shape)}", "convert it")


def columns(x: Array, dim: int) -> None:
    """Refuse samples (N, d) that a network with `dim` inputs cannot take."""
    if x.shape[1] != dim:
        refuse("x", f"{dim} columns as the network has inputs", x.shape[1], "use matching data")


def scaling_advice(x: Array, otherwise: str) -> str:
    """What to do about finite samples x (N, d) whose features are far from one or from each other
    in size, for an error's remedy; `otherwise` where they are not."""
    xp = namespace(x)
    peaks = xp.maximum(xp.max(x, axis=0), -xp.min(x, axis=0))
    least, most = floats(xp.min(xp.where(peaks > 0, peaks, xp.inf)), xp.max(peaks))
    if max(most, most / least) <= MOST_UNEVEN:  # 0 / inf where all are zero
        return otherwise
    return f"features span {least:.2g} to {most:.2g}: standardise them, or {otherwise}"


def finite_or_raise(
    values: Array, what: str, when: str, remedy: str, index: Array | None = None
) -> None:
    """Raise NonFiniteError naming `what`, `when` and the first bad sample of `values` (N,).

    `index` (N,) gives the samples' own numbers where they are not 0 to N-1.
    """
    xp = namespace(values)
    if bool(xp.all(xp.isfinite(values))):
        return
    first = int(xp.argmin(xp.astype(xp.isfinite(values), xp.int64)))
    sample = first if index is None else int(index[first])
    got = f"{float(values[first])} for sample {sample} at {when}"
    refuse(what, "finite values", got, remedy, NonFiniteError)


def finite_result(name: str, values: Array, remedy: str) -> None:
    """Raise NonFiniteError if `values`, of any shape, computed as `name`, are not all finite."""
    xp = namespace(values)
    if not bool(xp.all(xp.isfinite(values))):
        expected = f"what {values.dtype} can hold"
        refuse(name, expected, "infinity or NaN", remedy, NonFiniteError)
