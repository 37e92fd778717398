"""The page of CuPy functions that the package uses; COMMAND writes it.

Functions only, found in the sources. Whether `x.copy()` is called on an array cannot be told there:
methods are checked whenever a test runs them on the conformance backend.
"""

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import cupy

from .signatures import admitted

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "cupy-functions.md"
COMMAND = "PYTHONPATH=tests/support:. python -m conformance.table"
INTRO = """# CuPy functions

The package runs the same source on NumPy and on CuPy ([on a GPU](gpu.md)). So each array function
that it calls has to be one of CuPy's. And each call has to fit CuPy's signature, here that of CuPy
{version}. The tests refuse any other call. The table is made by `{command}`.

There are {count} functions:

| function | CuPy's signature | used in |
| --- | --- | --- |
"""


def used() -> dict[str, set[str]]:
    """Names below `xp`, `self.xp` and `namespace(...)` in reflfap/, each with its files."""
    found = defaultdict(set)
    for path in sorted(ROOT.glob("reflfap/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = _below_namespace(node)
            if name and not name.startswith("__") and not inspect.ismodule(of_cupy(name)):
                found[name].add(str(path.relative_to(ROOT)))
    return found


def _below_namespace(node: ast.AST) -> str | None:
    """`linalg.norm` for the expression xp.linalg.norm; None for what is no namespace's."""
    if not isinstance(node, ast.Attribute):
        return None
    if _is_namespace(node.value):
        return node.attr
    above = _below_namespace(node.value)
    return f"{above}.{node.attr}" if above and inspect.ismodule(of_cupy(above)) else None


def _is_namespace(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "namespace"
    return getattr(node, "id", None) == "xp" or getattr(node, "attr", None) == "xp"


def of_cupy(name: str) -> object:
    """What CuPy has by this name; None if nothing."""
    try:
        return attrgetter(name)(cupy)
    except AttributeError:
        return None


def signature(name: str) -> str:
    """CuPy's own text for a ufunc; for a function its signature without annotations."""
    function = of_cupy(name)
    if isinstance(function, cupy.ufunc):
        return function.__doc__.partition("\n")[0].replace("\\", "")
    plain = [one.replace(annotation=one.empty) for one in admitted(function).parameters.values()]
    text = str(inspect.Signature(plain))
    return name + re.sub(r"<class '(\w+)'>", r"\1", text)


def page() -> str:
    """The whole page."""
    found = used()
    functions = sorted(name for name in found if _is_function(of_cupy(name)))
    others = ", ".join(f"`{name}`" for name in sorted(found.keys() - set(functions)))
    intro = INTRO.format(command=COMMAND, version=cupy.__version__, count=len(functions))
    return "".join([intro, *_rows(functions, found), f"\nTypes and constants: {others}.\n"])


def _is_function(thing: object) -> bool:
    return callable(thing) and not isinstance(thing, type)


def _rows(functions: list[str], found: dict[str, set[str]]) -> Iterator[str]:
    for name in functions:
        files = ", ".join(sorted(found[name]))
        yield f"| `{name}` | `{signature(name)}` | {files} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
