"""`reflfap audit`: every tagged statement, where it stands in the code, and whether it holds.

A function whose docstring begins with a tag, as in "(T5): b = ...", is that statement's code; it is
found here by reading the source, so a tag without code, or code with an unknown tag, is a failure.
"""

import ast
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from reflfap import audit_checks as check
from reflfap.monitor import SILENT, Monitor

SOURCE = Path(__file__).resolve().parent
TAG = re.compile(r"\([A-Z]\d\)")
HEAD = re.compile(r"\s*(\([A-Z]\d\)(?:, \([A-Z]\d\))*)[:,]")  # as in "(L4), L2: ..."
EXPERIMENTS = {f"(E{number})" for number in range(1, 7)}
ROUNDING = "float64 rounding of sums of some hundred terms of order one"
DIFFERENCES = "central differences with h = 1e-6: rounding 1e-16/h, truncation h^2"
INEQUALITY = "an inequality either holds or does not"


class Statement(NamedTuple):
    """A tagged statement of the paper, or derived from it, and its check."""

    tag: str
    statement: str  # TeX
    words: str
    residual: Callable[[], float]
    check: str
    tolerance: float
    reason: str


class Row(NamedTuple):
    """What the audit found about a statement."""

    tag: str
    statement: str
    words: str
    places: tuple[str, ...]  # "reflfap/onehidden.py:78 forward"
    check: str
    residual: float
    tolerance: float
    reason: str
    passed: bool


STATEMENTS = (
    Statement(
        "(N1)",
        r"f(x) = \sum_j a_j \phi(\langle w_j, x \rangle), \quad \phi(z) = \max(z, \gamma z)",
        "The network: one hidden layer, leaky ReLU, fixed output weights, no bias.",
        *(check.n1, "against loops over units and samples", 1e-12, ROUNDING),
    ),
    Statement(
        "(N2)",
        r"L(W) = \frac{1}{N} \sum_n l(q_n), \quad l(q) = \exp(-q) \text{ or } \log(1 + \exp(-q))",
        "The mean loss of the margins.",
        *(check.n2, "against the plain formulas on [-20, 20], relative", 1e-13, ROUNDING),
    ),
    Statement(
        "(N3)",
        r"\frac{\partial L}{\partial w_j} = \frac{1}{N} \sum_n l'(q_n) y_n a_j"
        r" \phi'(\langle w_j, x_n \rangle) x_n",
        "Every gradient is a combination of the samples.",
        *(check.n3, "every entry by central differences, both losses", 1e-8, DIFFERENCES),
    ),
    Statement(
        "(N4)",
        r"\frac{\partial l}{\partial x} = l'(q) y \sum_j a_j \phi'(\langle w_j, x \rangle) w_j",
        "The gradient with respect to a sample, which attacks follow.",
        *(check.n4, "every entry by central differences, both losses", 1e-8, DIFFERENCES),
    ),
    Statement(
        "(N5)",
        r"\frac{dW}{dt} = -\nabla L(W)",
        "Gradient flow.",
        check.n5,
        "weights at t = 5 against scipy's DOP853 in weight space",
        1e-6,
        "ours was asked for 3e-7 a step",
    ),
    Statement(
        "(N6)",
        r"v \gets 0.9 v + \nabla L(W), \quad W \gets W - 0.01 v",
        "Gradient descent with momentum, as released.",
        *(check.n6, "twenty epochs against the two lines in a loop", 1e-12, ROUNDING),
    ),
    Statement(
        "(T1)",
        r"\frac{\gamma^3 R_{\min}^4}{3 N R_{\max}^2} \ge p_{\max}",
        "The samples are nearly orthogonal.",
        *(check.t1, "both sides against a double loop, relative", 1e-12, ROUNDING),
    ),
    Statement(
        "(T2)",
        r"w_j = \sum_n \lambda_n y_n a_j \phi'(\langle w_j, x_n \rangle) x_n, \quad"
        r" \lambda_n \ge 0, \quad \lambda_n (q_n - 1) = 0",
        "The point to which the direction of gradient flow tends.",
        check.t2,
        "the four conditions on the network itself; multipliers recovered from W alone",
        1e-9,
        "float64 rounding times the condition number of six nearly orthogonal samples",
    ),
    Statement(
        "(T3)",
        r"\frac{1}{2 R_{\max}^2} < \lambda_n < \frac{3}{2 \gamma^2 R_{\min}^2}",
        "Multipliers lie between bounds: no sample is left out.",
        *(check.t3, "largest violation, on samples that meet (T1)", 0.0, INEQUALITY),
    ),
    Statement(
        "(T4)",
        r"\sgn f(z) = \sgn f_b(z), \quad f_b(z) = \sum_n \lambda_n y_n \langle x_n, z \rangle",
        "The decision boundary is a hyperplane.",
        check.t4,
        "fraction of points of another sign: random ones, both sides of the boundary, the samples",
        0.0,
        INEQUALITY,
    ),
    Statement(
        "(T5)",
        r"b = \sum_n \lambda_n y_n x_n",
        "Its normal.",
        check.t5,
        "against the difference of the network's two weight vectors, (1 + gamma) b / sqrt(m)",
        1e-9,
        ROUNDING,
    ),
    Statement(
        "(P1)",
        r"y^{\mathrm{adv}} \eta = \epsilon \frac{b}{\|b\|}, \quad \epsilon \sgn(b), \quad"
        r" \epsilon \sgn(b_i) \text{ on the largest } |b_i|",
        "The perturbation that changes a linear boundary function most, in L2, Linf and L0.",
        *(check.p1, "how much 2,000 random ones exceed it, each norm", 1e-12, ROUNDING),
    ),
    Statement(
        "(P2)",
        r"x \gets \text{clip}(x_0 + \text{project}(\eta + \text{step}(\nabla q)))",
        "Projected gradient descent on the network itself, the best iterate kept.",
        check.p2,
        "reaches (P1) on a linear function; stays in its ball; no margin falls",
        1e-9,
        ROUNDING,
    ),
    Statement(
        "(L1)",
        r"f_b^{\mathrm{adv}}(z)"
        r" = \sum_n \lambda_n^{\mathrm{adv}} y_n^{\mathrm{adv}} \langle x_n, z \rangle"
        r" + \sum_n \lambda_n^{\mathrm{adv}} y_n^{\mathrm{adv}} \langle \eta_n, z \rangle",
        "The boundary learned from perturbed samples is the sum of two effects.",
        *(check.l1, "against the boundary function of the perturbed samples", 1e-12, ROUNDING),
    ),
    Statement(
        "(L2)",
        r"\sum_n \lambda_n^{\mathrm{adv}} y_n^{\mathrm{adv}} \langle \eta_n, z \rangle"
        r" = \epsilon \Lambda \frac{f_b(z)}{\|b\|}",
        "The perturbations' effect is a positive multiple of the standard boundary function.",
        *(check.l2, "against the effect summed sample by sample", 1e-12, ROUNDING),
    ),
    Statement(
        "(L3)",
        r"\sgn f_b^{\mathrm{adv}}(z) = \sgn f_b(z)",
        "Both boundaries agree where the perturbations' effect outweighs the samples'.",
        check.l3,
        "fraction of points that meet the condition and have the other sign",
        0.0,
        INEQUALITY,
    ),
    Statement(
        "(L4)",
        r"\text{accuracy} = \Phi(\frac{s}{\sqrt{1 + s^2 N / d}}), \quad"
        r" s = \frac{\epsilon}{\sigma} \sqrt{\frac{N_{\mathrm{adv}}}{N}}",
        "The accuracy after learning from perturbed noise, without a fitted constant.",
        check.l4,
        "against trained networks: d = 2,000, N = 400, N_adv = 1,000, eps = 0.5",
        0.06,
        "three standard errors of a fraction of 400 samples",
    ),
)


def audit(monitor: Monitor = SILENT) -> list[Row]:
    """Check every statement; some seconds. A check that raises, or gives NaN, has failed.

    Checked by test_audit.py::test_every_statement_holds and ::test_a_broken_formula_is_noticed.
    """
    places = locate(SOURCE)
    rows = []
    monitor.begin("audit", len(STATEMENTS), "statement")
    for one in STATEMENTS:
        try:
            residual = float(one.residual())
        except Exception:  # whatever it is, the statement does not hold
            residual = math.inf
        found = tuple(places.get(one.tag, ()))
        passed = residual <= one.tolerance and bool(found)
        texts = (one.tag, one.statement, one.words, found, one.check)
        rows.append(Row(*texts, residual, one.tolerance, one.reason, passed))
        monitor.advance()
    monitor.end()
    return rows


def unknown_tags(source: Path = SOURCE) -> list[str]:
    """Places whose docstring names a tag that is no statement, as "file:line name tag".

    Checked by test_audit.py::test_unknown_and_missing_tags_are_found.
    """
    known = {one.tag for one in STATEMENTS} | EXPERIMENTS
    return [
        f"{place} {tag}"
        for place, text in _docstrings(source)
        for tag in sorted(set(TAG.findall(text)) - known)
    ]


def locate(source: Path) -> dict[str, list[str]]:
    """Places by tag: functions and classes whose docstring begins with it.

    Checked by test_audit.py::test_unknown_and_missing_tags_are_found.
    """
    found: dict[str, list[str]] = {}
    for place, text in _docstrings(source):
        if (head := HEAD.match(text)) is not None and " " in place:
            for tag in TAG.findall(head[1]):
                found.setdefault(tag, []).append(place)
    return found


def _docstrings(source: Path) -> Iterator[tuple[str, str]]:
    """("reflfap/file.py:line name", docstring) of all that has one; a module has no name."""
    for path in sorted(source.rglob("*.py")):
        file = path.relative_to(source.parent).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                name = "" if isinstance(node, ast.Module) else f":{node.lineno} {node.name}"
                yield file + name, ast.get_docstring(node) or ""
