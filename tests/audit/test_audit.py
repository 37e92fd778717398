"""The audit: every statement holds and has its code; what is broken is noticed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from reflfap import losses, onehidden
from reflfap.audit import statements
from reflfap.audit.statements import STATEMENTS, locate, unknown_tags
from reflfap.cli import main as cli
from reflfap.theory import boundary, kkt, learning, orthogonality

PAPER = Path(__file__).resolve().parent.parent.parent / "shared" / "spec" / "paper.md"


def test_every_statement_holds():
    """All tags, once each, with code, within their tolerances."""
    rows = statements.audit()
    assert len({row.tag for row in rows}) == len(rows) == len(STATEMENTS)
    for row in rows:
        assert row.passed, row
        assert row.places
    assert unknown_tags() == []


@pytest.mark.skipif(not PAPER.is_file(), reason="the list of tags is not beside the checkout")
def test_the_tags_are_those_of_the_paper():
    """Tags of the specification that head a line or a bullet, experiments aside."""
    listed = set(re.findall(r"^\s?(\([NTPL]\d\))", PAPER.read_text(), flags=re.M))
    assert {one.tag for one in STATEMENTS} == listed


BROKEN = {
    "(N1)": (onehidden, "activation", lambda z, slope: np.maximum(z, -slope * z)),
    "(N2)": (losses.Exponential, "log_value", lambda self, q: -2 * q),
    "(N3)": (onehidden, "output_gradient", lambda loss, y, q: y * losses.rate(loss, q)),
    "(T1)": (orthogonality.checks, "leaky_slope", lambda slope: 2 * slope),
    "(T3)": (kkt, "multiplier_bounds", lambda x, slope: (1.0, 0.5)),
    "(T4)": (boundary, "boundary_function", lambda b, z: -(z @ b)),
    "(T5)": (boundary, "normal", lambda x, y, lam: lam @ x),
    "(L2)": (learning, "perturbation_effect", lambda v, total, z: z @ v),
    "(L3)": (learning, "aligned", lambda parts, f: np.arange(len(f)) % 2 == 0),
}


@pytest.mark.parametrize("tag", BROKEN)
def test_a_broken_formula_is_noticed(tag, monkeypatch):
    """With its code changed, the row of the tag fails; a check that raises counts as failed."""
    owner, name, wrong = BROKEN[tag]
    monkeypatch.setattr(owner, name, wrong)
    (row,) = [row for row in statements.audit() if row.tag == tag]
    assert not row.passed


def test_unknown_and_missing_tags_are_found(tmp_path):
    """Tags are read from docstrings: a head locates, an unknown one anywhere is reported."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "one.py").write_text(
        '"""Of (N1) and (E1)."""\n\n\ndef f():\n    """(T5), (L1): b."""\n\n\n'
        'def g():\n    """By (X9)."""\n'
    )
    assert locate(package) == {tag: ["package/one.py:4 f"] for tag in ("(T5)", "(L1)")}
    assert unknown_tags(package) == ["package/one.py:8 g (X9)"]


def test_a_statement_without_code_fails(monkeypatch):
    monkeypatch.setattr(statements, "locate", lambda source: {})
    assert not any(row.passed for row in statements.audit())


def test_the_command(tmp_path, capsys, monkeypatch):
    """Text, JSON and a page; exit code 1 as soon as one statement fails."""
    page = tmp_path / "audit.html"
    assert cli.main(["audit", "--json", "--html", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["tag"] for row in found["statements"]] == [one.tag for one in STATEMENTS]
    text = page.read_text()
    assert all(f"{one.tag[1:-1]}" in text for one in STATEMENTS)
    assert cli.main(["audit"]) == 0
    assert f"{len(STATEMENTS)} of {len(STATEMENTS)} statements hold" in capsys.readouterr().out
    monkeypatch.setattr(boundary, "normal", lambda x, y, lam: lam @ x)
    assert cli.main(["audit"]) == 1
    printed = capsys.readouterr()
    assert "(T5)  FAILS" in printed.out
    assert "(T5)" in printed.err
    assert cli.main(["audit", "--html", str(tmp_path / "nowhere" / "audit.html")]) == 1
