"""Runs numerical tests, which are written for NumPy, on every array library that is there.

A test module that asks for the fixture `library` runs once a library. For all but NumPy the
functions of reflfap that it names are replaced by lifted ones: host arrays among their arguments
are moved to the library, and what comes back is moved to the host. So one test, with one oracle in
NumPy, judges all libraries.
"""

import functools
import importlib.util
import inspect
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

from reflfap.backend import HostArray, asarray, namespace_for, to_host
from reflfap.errors import BackendError

KERNELS = tuple(f"reflfap.{one}" for one in ("onehidden", "losses", "attacks", "norms", "float16"))
PACKAGES = ("reflfap.training.", "reflfap.theory.", "reflfap.deep.")
LIBRARIES = ("numpy", "conformance", "cupy")


def library_named(name: str) -> Any:
    """The namespace of a library; skips the test, saying why, if it is not there."""
    if name == "numpy":
        return np
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    if name == "conformance":
        import conformance

        return conformance.xp
    try:
        return namespace_for("cuda")
    except BackendError as error:
        pytest.skip(f"no device: {error}")


def lift(module: ModuleType, xp: Any, patch: pytest.MonkeyPatch) -> None:
    """Have a test module call reflfap's numerical functions on arrays of `xp`."""
    for name, value in vars(module).copy().items():
        if isinstance(value, ModuleType) and _numerical(value.__name__):
            patch.setattr(module, name, _Module(value, xp))
        elif isinstance(value, FunctionType) and _numerical(value.__module__):
            patch.setattr(module, name, lifted(value, xp))


def _numerical(module: str) -> bool:
    return module in KERNELS or module.startswith(PACKAGES)


class _Module:
    """A module whose functions are lifted."""

    def __init__(self, module: ModuleType, xp: Any) -> None:
        self._module, self._xp = module, xp

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        return lifted(value, self._xp) if isinstance(value, FunctionType) else value


def lifted(function: Callable[..., Any], xp: Any) -> Callable[..., Any]:
    """`function` on arrays of `xp`, for arrays of the host, except where it asks for those."""
    signature = inspect.signature(function)
    host_only = {name for name, one in signature.parameters.items() if one.annotation is HostArray}
    to_device = functools.partial(asarray, xp=xp)

    def lowered(callback: Callable[..., Any]) -> Callable[..., Any]:
        """A test's own function, written for NumPy, as `function` may call it."""
        return lambda *args: _mapped(callback(*_mapped(args, to_host)), to_device)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        for name, value in given.arguments.items():
            if isinstance(value, FunctionType | functools.partial):
                given.arguments[name] = lowered(value)
            elif name not in host_only:
                given.arguments[name] = _mapped(value, to_device)
        return _mapped(function(*given.args, **given.kwargs), to_host)

    return call


def _mapped(value: Any, move: Callable[[Any], Any]) -> Any:
    """`value` with its arrays moved, in tuples and named tuples too; scalars stay what they are."""
    if isinstance(value, tuple):
        parts = [_mapped(one, move) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    is_array = hasattr(value, "__array_namespace__") and not isinstance(value, np.generic)
    return move(value) if is_array else value
