"""What arguments the installed CuPy admits, read from CuPy itself, and how NumPy wants them."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import cupy

UFUNC_KEYWORDS = ("out", "dtype", "casting")  # any other: TypeError "Wrong arguments", as in CuPy


@cache
def admitted(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of a CuPy function, ufunc or compiled function, methods included."""
    if isinstance(function, cupy.ufunc):
        return _of_ufunc(function)
    if inspect.ismethoddescriptor(function) or inspect.isbuiltin(function):
        return from_text(function.__doc__)
    signature = inspect.signature(function)
    if any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values()):
        return from_text(function.__doc__)  # einsum(*operands, **kwargs) documents its keywords
    return signature


def _of_ufunc(function: Any) -> inspect.Signature:
    """cupy.ufunc has no signature; it takes nin to nargs positional arguments, and keywords."""
    kind = inspect.Parameter.POSITIONAL_ONLY
    names = [f"x{n + 1}" for n in range(function.nargs)]
    given = [inspect.Parameter(name, kind) for name in names[: function.nin]]
    outs = [inspect.Parameter(name, kind, default=None) for name in names[function.nin :]]
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in UFUNC_KEYWORDS
    ]
    return inspect.Signature([*given, *outs, *keywords])


def from_text(doc: str) -> inspect.Signature:
    """The signature in a docstring's first line, such as `_ndarray_base.f(self, int axis=-1)`."""
    line = doc.partition("\n")[0]
    if "(" not in line:
        raise TypeError(f"expected a signature in the first line of the docstring, got {line!r}")
    inside = line[line.index("(") + 1 : line.rindex(")")]
    parameters = []
    for one in inside.split(", "):
        name, equals, default = one.partition("=")
        parameters.append(name.split()[-1] + equals + default)  # without Cython's type
    return inspect.signature(eval(f"lambda {', '.join(parameters)}: None"))


def bind(name: str, function: Callable[..., Any], args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments by the names CuPy gives them; TypeError where CuPy does not take them."""
    try:
        return admitted(function).bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"cupy.{name}{admitted(function)}: {error}") from None


def for_numpy(
    function: Callable[..., Any], theirs: Callable[..., Any], arguments: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The bound arguments of CuPy's `function` as NumPy's function `theirs` takes them.

    Required ones by position, since their names differ (newshape, shape); optional ones by name.
    """
    ours = admitted(function).parameters
    names = _parameters(theirs)
    loose = any(one.kind is one.VAR_KEYWORD for one in names.values())
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, value in arguments.items():
        own = ours[name]
        if own.kind is own.VAR_POSITIONAL:
            args.extend(value)
        elif own.kind is own.KEYWORD_ONLY or (own.default is not own.empty and _named(name, names)):
            kwargs[name] = value
        elif own.default is own.empty or name in names:
            args.append(value)
        elif loose:
            kwargs[name] = value
        else:
            raise TypeError(f"{theirs.__name__}: NumPy has no {name}; code for both cannot use it")
    return args, kwargs


@cache
def _parameters(function: Callable[..., Any]) -> Any:
    return inspect.signature(function).parameters


def _named(name: str, names: Any) -> bool:
    return name in names and names[name].kind is not inspect.Parameter.POSITIONAL_ONLY
