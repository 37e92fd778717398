"""`reflfap audit`: every tagged statement, where it stands in the code, and whether it holds.

A function whose docstring begins with a tag, as in "(T5): b = ..." or "(T5) Its normal: ...", is
that statement's code. It is found by reading the source, and must be compared with a second route.
"""

import ast
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from reflfap.audit import (
    asymptotic_checks,
    checks,
    further_checks,
    theory_checks,
    uniqueness_checks,
    wide_checks,
)
from reflfap.audit.checks import Checks, Compared
from reflfap.data_loaders.artificial import samples
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.theory.orthogonality import orthogonality

SOURCE = Path(__file__).resolve().parent.parent
TAG = re.compile(r"\([A-Z]\d\)")
HEAD = re.compile(r"\s*(\([A-Z]\d\)(?:, \([A-Z]\d\))*)[:, ]")  # as in "(L4), L2: ..."
EXPERIMENTS = {f"(E{number})" for number in range(1, 8)}


class Statement(NamedTuple):
    """A tagged statement of the paper, or derived from it."""

    tag: str
    statement: str  # TeX
    words: str
    number: str  # the paper's own, where it is known

    def checks(self) -> Checks:
        """Its comparisons: those of n1 for (N1), and so on."""
        name = self.tag[1:-1].lower()
        modules = (
            *(checks, theory_checks, uniqueness_checks, further_checks, asymptotic_checks),
            wide_checks,
        )
        yield from next(vars(one)[name] for one in modules if name in vars(one))()


def _statements() -> Iterator[Statement]:
    text = (SOURCE / "audit" / "statements.toml").read_text(encoding="utf-8")
    for tag, one in tomllib.loads(text).items():
        yield Statement(tag, one["tex"], one["words"], one.get("number", ""))


EVERY = tuple(_statements())
BEYOND = {"(R1)", "(R2)", "(L5)", "(A1)", "(A2)", "(A3)", "(C1)", "(C2)"}
"""Not of the paper, so that reflfap/paper.py does not have them."""
SUCCESSOR = {"(W1)", "(W2)", "(W3)", "(W4)"}
"""Of the successor, in reflfap/wide.py."""
PAGES = ("paper.", "wide.")
STATEMENTS = tuple(one for one in EVERY if one.tag not in EXPERIMENTS)  # docs/theory.md has them


class Definition(NamedTuple):
    """A module, class or function of the source."""

    name: str  # dotted, below the package
    place: str  # "reflfap/onehidden.py:78 forward"
    docstring: str
    lines: str


class Finding(NamedTuple):
    """A function and its worst comparison of a kind."""

    function: str  # dotted, below the package
    place: str
    against: str
    residual: float
    tolerance: float
    reason: str
    passed: bool

    @property
    def excess(self) -> float:
        """Residual by tolerance, infinite where it does not pass."""
        if not self.passed:
            return math.inf
        return self.residual / self.tolerance if self.tolerance else 0.0


class Row(NamedTuple):
    """What the audit found about a statement; its residual is the one nearest to its tolerance."""

    tag: str
    statement: str
    words: str
    places: tuple[str, ...]  # of the quick functions
    check: str
    residual: float
    tolerance: float
    reason: str
    passed: bool
    number: str = ""
    paper: tuple[tuple[str, str], ...] = ()  # places in paper.py or wide.py, and the lines there
    findings: tuple[Finding, ...] = ()
    met_by_released_data: dict[str, float] | None = None  # (T1) alone: a condition on data

    @property
    def verdict(self) -> str:
        """In words; that a condition is computed as stated does not say that data meet it."""
        stated = "holds" if self.met_by_released_data is None else "computed as stated"
        return stated if self.passed else "FAILS"

    @property
    def released(self) -> str:
        """Of a condition, whether the released data meet it."""
        if (met := self.met_by_released_data) is None:
            return ""
        missed = f"no, missed by a factor of {met['factor']:.0e}"
        return f"met by the released data: {'yes' if met['holds'] else missed}"

    def __str__(self) -> str:
        """One line."""
        shown = f"{self.residual:.1e} of at most {self.tolerance:.0e}"
        line = f"{self.tag}  {self.verdict}  {shown:<26}  {', '.join(self.places) or 'no code'}"
        return f"{line}; {self.released}" if self.released else line

    def as_json(self) -> dict[str, Any]:
        """All of it by name."""
        return self._asdict() | {"findings": [one._asdict() for one in self.findings]}


def audit(monitor: Monitor = SILENT) -> list[Row]:
    """Check every statement; some seconds. A check that raises, or gives NaN, has failed."""
    defined = {one.name: one for one in definitions(SOURCE)}
    listed = locate(SOURCE)
    rows = []
    monitor.begin("audit", len(EVERY), "statement")
    for one in EVERY:
        row = _row(one, listed.get(one.tag, []), defined)
        met = released_orthogonality() if one.tag == "(T1)" else None
        rows.append(row._replace(met_by_released_data=met))
        monitor.advance()
    monitor.end()
    return rows


def compare(statement: Statement) -> Iterator[Compared]:
    """Its comparisons, the last one of nothing if a check raised."""
    try:
        with threadpool_limits(1, "blas"):  # on small matrices, threads only wait for each other
            yield from statement.checks()
    except Exception as error:  # whatever it is, the statement does not hold
        yield Compared([""], math.inf, f"{type(error).__name__}: {error}", 0.0, "a check that ends")


def _row(statement: Statement, listed: list[Definition], defined: dict[str, Definition]) -> Row:
    worst: dict[tuple[str, str], Finding] = {}
    for functions, residual, against, tolerance, reason in compare(statement):
        for name in functions:
            place = defined[name].place if name in defined else "no code"
            passed = residual <= tolerance and name in defined
            found = Finding(name, place, against, residual, tolerance, reason, passed)
            if found.excess >= worst.setdefault((name, against), found).excess:
                worst[name, against] = found
    seen = {name for name, _ in worst}
    for one in listed:
        if one.name not in seen:
            worst[one.name, ""] = Finding(one.name, one.place, "nothing", math.inf, 0.0, "", False)
    findings = tuple(worst.values())
    names = dict.fromkeys([one.name for one in listed] + [one.function for one in findings])
    code = [defined[name] for name in names if name in defined]
    quick = tuple(one.place for one in code if not one.name.startswith(PAGES))
    stated = tuple((one.place, one.lines) for one in code if one.name.startswith(PAGES))
    nearest = max(findings, key=lambda one: one.excess)
    return Row(
        *(statement.tag, statement.statement, statement.words, quick),
        "; ".join(dict.fromkeys(one.against for one in findings)),
        *(nearest.residual, nearest.tolerance, nearest.reason),
        bool(listed) and bool(quick) and all(one.passed for one in findings),
        *(statement.number, stated, findings),
    )


def released_orthogonality() -> dict[str, float]:
    """Whether the samples of the released default cell meet (T1): the factor is p_max / bound."""
    x = samples("uniform", 1_000, 10_000, stream(0, "natural/x"), "float32")
    found = orthogonality(x, 0.01)
    return {"holds": found.holds, "factor": 1 / found.margin}


def unknown_tags(source: Path = SOURCE) -> list[str]:
    """Places whose docstring names a tag that is no statement, as "file:line name tag"."""
    known = {one.tag for one in EVERY} | EXPERIMENTS
    return [
        f"{one.place} {tag}"
        for one in definitions(source)
        for tag in sorted(set(TAG.findall(one.docstring)) - known)
    ]


def locate(source: Path) -> dict[str, list[Definition]]:
    """By tag, the public functions and classes whose docstring begins with it."""
    found: dict[str, list[Definition]] = {}
    for one in definitions(source):
        if (head := HEAD.match(one.docstring)) and " " in one.place and "._" not in one.name:
            for tag in TAG.findall(head[1]):
                found.setdefault(tag, []).append(one)
    return found


def definitions(source: Path) -> Iterator[Definition]:
    """All of a package, methods after their class; the place of a module has no name."""
    for path in sorted(source.rglob("*.py")):
        file = path.relative_to(source.parent).as_posix()
        text = path.read_text(encoding="utf-8")
        module = ".".join(path.relative_to(source).with_suffix("").parts)
        tree = ast.parse(text)
        yield Definition(module, file, ast.get_docstring(tree) or "", "")
        yield from _inside(tree, module, file, text.splitlines())


def _inside(
    node: ast.AST, module: str, file: str, lines: list[str], within: str = ""
) -> Iterator[Definition]:
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.ClassDef | ast.FunctionDef):
            numbers = range(one.lineno, (one.end_lineno or one.lineno) + 1)
            shown = "\n".join(f"{number:4} {lines[number - 1]}".rstrip() for number in numbers)
            place = f"{file}:{one.lineno} {within}{one.name}"
            name = f"{module}.{within}{one.name}"
            yield Definition(name, place, ast.get_docstring(one) or "", shown)
            yield from _inside(one, module, file, lines, f"{within}{one.name}.")
