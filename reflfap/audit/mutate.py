"""`reflfap audit --mutate`: errors are planted one after the other, and each must be noticed.

An audit that cannot fail says nothing. Errors stand in mutations.toml; each changes the source of
one function, in memory alone: what is swapped is the function's code, wherever it is known by name.
"""

import inspect
import pkgutil
import textwrap
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

import numpy as np

from reflfap.audit.statements import EVERY, compare
from reflfap.errors import ReflfapError, refuse
from reflfap.monitor import SILENT, Monitor

FILE = Path(__file__).with_name("mutations.toml")


class Mutation(NamedTuple):
    """One error: `new` for `old` in the source of a function."""

    tag: str
    function: str  # dotted, below the package
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.function}: {self.old.strip()} -> {self.new.strip()}"


def mutations() -> list[Mutation]:
    """All of the file, in its order."""
    tags = tomllib.loads(FILE.read_text(encoding="utf-8")).items()
    each = [(tag, *one) for tag, functions in tags for one in functions.items()]
    return [Mutation(tag, function, *pair) for tag, function, pairs in each for pair in pairs]


def survivors(planted: Sequence[Mutation], monitor: Monitor = SILENT) -> list[Mutation]:
    """Those that are not noticed. Raises ReflfapError if a check fails without any of them."""
    monitor.begin("audit --mutate", len(planted), "error")
    if failing := [tag for tag in dict.fromkeys(one.tag for one in planted) if _fails(tag)]:
        raise ReflfapError(f"audit --mutate: without an error, {', '.join(failing)} fails")
    left = []
    for one in planted:
        with mutated(one):
            left += [] if _fails(one.tag, one.function) else [one]
        monitor.advance()
    monitor.end()
    return left


def _fails(tag: str, function: str | None = None) -> bool:
    """Whether a comparison under a tag does not pass, of one function or any, or does not end.

    Those after the first that fails are not made: they may take long on what is wrong.
    """
    (statement,) = [one for one in EVERY if one.tag == tag]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return any(
            not one.residual <= one.tolerance
            for one in compare(statement)
            if function is None or {function, ""} & set(one.functions)
        )


@contextmanager
def mutated(one: Mutation) -> Iterator[None]:
    """The function with the error in it, until the block ends."""
    function = function_named(one.function)
    before, function.__code__ = function.__code__, _code(one, function)
    try:
        yield
    finally:
        function.__code__ = before


def function_named(name: str) -> FunctionType:
    """A function by its dotted name below the package; of a property, what computes it."""
    try:
        found = pkgutil.resolve_name(f"reflfap.{name}")
    except (ImportError, AttributeError):
        found = None
    found = getattr(found, "fget", found)
    if not isinstance(found, FunctionType):
        refuse(FILE.name, "functions of the package", name, "mend it")
    return found


def _code(one: Mutation, function: FunctionType) -> CodeType:
    """The code of the function's source with the error in it."""
    source = textwrap.dedent(inspect.getsource(function))
    if one.old == one.new or source.count(one.old) != 1:
        got = f"{one.old!r} {source.count(one.old)} times, for {one.new!r}"
        refuse(f"{FILE.name}, {one.function}", "what its source has once", got, "mend it")
    code = compile(source.replace(one.old, one.new), inspect.getfile(function), "exec")
    parts = [part for part in code.co_consts if isinstance(part, CodeType)]
    return next(part for part in parts if part.co_name == function.__name__)
