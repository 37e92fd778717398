"""The page of the audit: it says what the rows say, alone, and a browser shows it."""

import contextlib
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap.audit.page import formula, page
from reflfap.audit.statements import EVERY, Finding, Row
from reflfap.errors import InputError

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    *("msedge", "microsoft-edge", "firefox"),
)


FORMULA = r"f(x) = \sum_j a_j \phi(\langle w_j, x \rangle), \quad \gamma < 1"
FOUND = Finding("onehidden.forward", "x.py:70 forward", "loops", 2.1e-16, 1e-9, "rounding", True)


def row(
    tag: str = "(N1)", statement: str = FORMULA, words: str = "The network.", passed: bool = True
) -> Row:
    texts = (("reflfap/onehidden.py:70 forward",), "loops", 2.1e-16, 1e-9, "rounding", passed)
    lines = ("reflfap/paper.py:51 f", "  51 def f(x, W, gamma):\n  52     ...")
    return Row(tag, statement, words, *texts, "", (lines,), (FOUND,))


ABOUT = {"version": "0.1.0", "seconds": "12.3"}
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
TAG = st.from_regex(r"\A\([A-Z][0-9]\)\Z")
NUMBERS = st.one_of(st.floats(0, 1e300), st.sampled_from([5e-324, 1e-12, 0.06, math.inf, math.nan]))
FINDINGS = st.builds(Finding, TEXT, TEXT, TEXT, NUMBERS, NUMBERS, TEXT, st.booleans())
MET = st.one_of(
    st.none(), st.fixed_dictionaries({"holds": st.booleans(), "factor": st.floats(1e-3, 1e9)})
)
ROWS = st.builds(
    Row,
    *(TAG, st.sampled_from(["x", FORMULA]), TEXT, st.lists(TEXT, max_size=3).map(tuple)),
    *(TEXT, NUMBERS, NUMBERS, TEXT, st.booleans(), st.one_of(st.just(""), TEXT)),
    st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
    st.lists(FINDINGS, max_size=3).map(tuple),
    MET,
)


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))


def text(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


@given(
    rows=st.lists(ROWS, min_size=1, max_size=5, unique_by=lambda row: row.tag),
    about=st.dictionaries(TEXT, TEXT, max_size=3),
)
def test_the_page_says_what_the_rows_say(rows, about):
    """Well-formed; all texts there as given, in the rows' order; every link leads to its row."""
    root = parsed(page(rows, about))
    held = sum(row.passed for row in rows)
    verdict = f"{held} of {len(rows)} statements hold"
    assert verdict in text(root.find("head/title"))
    assert verdict in text(root.find("body/header/p"))
    shown = [text(one) for name in ("dt", "dd") for one in root.findall(f"body/header/dl/{name}")]
    assert shown == [*about.keys(), *about.values()]
    cards = root.findall("body/main/article")
    anchors = [card.attrib["id"] for card in cards]
    assert len(set(anchors)) == len(cards) == len(rows)
    for card, row in zip(cards, rows, strict=True):
        assert text(card.find("h2/a")) == row.tag
        sign = "✓" if row.passed else "✗"
        assert text(card.find("h2/span")) == f"{sign} {row.verdict}"
        assert text(card.find("h2")).count(row.number) >= 1
        words = row.words if row.places else f"{row.words} No code found."
        said = [one for one in (words, row.released) if one]
        assert [text(one) for one in card.findall("p")] == said
        assert len(list(card.iter("math"))) == 1 + row.statement.count(r"\quad")
        stated = [(text(one[0]), text(one[1])) for one in card.findall("details")]
        assert tuple(stated) == row.paper
        for found, line in zip(row.findings, card.findall("table/tr")[1:], strict=True):
            place, against, measure, reason = map(text, line)
            assert (place, against, reason) == (found.place, found.against, found.reason)
            first, last = measure.split(" of at most ")
            assert float(first) == pytest.approx(found.residual, rel=0.06, abs=1e-323, nan_ok=True)
            assert float(last) == pytest.approx(found.tolerance, rel=0.06, abs=1e-323, nan_ok=True)
    links = root.findall("body/header/nav/a")
    assert [link.attrib["href"] for link in links] == [f"#{anchor}" for anchor in anchors]


def test_failures_come_first():
    """They are listed above all else, linked, in words; without a failure there is no such list."""
    failed = row("(N2)", words="The loss.", passed=False)._replace(residual=1.0)
    root = parsed(page([row(), failed, row("(T1)")], ABOUT))
    header = root.find("body/header")
    assert [child.tag for child in header][:4] == ["h1", "p", "section", "nav"]
    assert text(header.find("p")) == "✗ 2 of 3 statements hold"
    (failure,) = header.findall("section/ul/li")
    assert text(failure) == "(N2) The loss. 1 of at most 1e-9"
    assert failure.find("a").attrib["href"] == "#N2"
    without_code = page([row(passed=False)._replace(places=())], ABOUT)
    assert text(parsed(without_code).find(".//li")).endswith("no code found")
    assert "✓ 2 of 2 statements hold" in text(parsed(page([row(), row("(T1)")], {})))
    assert "These fail" not in page([row()], ABOUT)


def test_long_sources_are_folded():
    """Fifteen lines or more are shown when asked for."""
    for lines, attributes in ((14, {"open": "open"}), (15, {})):
        shown = row()._replace(paper=(("reflfap/paper.py:1 f", "\n".join("x" * lines)),))
        assert parsed(page([shown], {})).find(".//details").attrib == attributes


@given(low=st.floats(1e-18, 100), high=st.floats(1e-18, 100))
def test_bars_keep_the_order(low, high):
    """A residual reaches into what lies beyond the tolerance if and only if it exceeds it."""
    low, high = sorted((low, high))

    def ends(residual: float, tolerance: float) -> tuple[float, float]:
        found = FOUND._replace(residual=residual, tolerance=tolerance)
        html = page([row()._replace(findings=(found,))], {})
        found = re.findall(r"(?:width|left):([0-9.]+)%", html[html.index('class="bar"') :])
        return float(found[0]), float(found[1])

    assert 0 <= ends(low, high)[0] <= ends(low, high)[1] <= 100
    assert ends(high, low) == ends(low, high)[::-1]
    assert ends(math.nan, 0.0) == ends(math.inf, 0.0) == (100, 0)
    assert ends(1e-30, 1e30) == (0, 100)


def test_the_page_stands_alone():
    """Nothing is fetched and nothing runs: no address, no source, no import, no script."""
    html = page([row(), row("(N2)", passed=False)], ABOUT).lower()
    for forbidden in ("http", "src=", "<script", "<link", "url(", "@import", "//", "javascript"):
        assert forbidden not in html
    assert not re.search(r"\son\w+=", html)
    assert set(re.findall(r'href="(.)', html)) == {"#"}


EVIL = '<script>alert("1")</script>&amp;\'<b onclick="x">'


def test_text_is_inert():
    """Markup in any text is shown, not obeyed; in a formula too."""
    found = Finding(EVIL, EVIL, EVIL, 0.0, 0.0, EVIL, False)
    texts = (EVIL, (EVIL,), EVIL, 0.0, 0.0, EVIL, False, EVIL, ((EVIL, EVIL),), (found,))
    html = page([Row(EVIL, r"a < b \text{<b>\"}", *texts)], {EVIL: EVIL})
    assert "<script" not in html
    assert "<b onclick" not in html
    root = parsed(html)
    assert {element.tag for element in root.iter()}.isdisjoint({"script"})
    assert text(root).count(EVIL) == 13
    assert text(next(root.iter("mtext"))) == '<b>\\"'


MATHS = {
    *("math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt"),
    *("msub", "msup", "msubsup", "munder", "mover", "munderover"),
}


@pytest.mark.parametrize("one", EVERY, ids=[one.tag for one in EVERY])
def test_every_statement_is_typeset(one):
    """As well-formed MathML that shows each letter and digit of the formula, and TeX nowhere."""
    root = ElementTree.fromstring(formula(one.statement))
    assert {element.tag for element in root.iter()} <= MATHS
    assert root.attrib["alttext"] == one.statement
    plain = re.sub(r"\\text\{([^}]*)\}|\\operatorname\{([^}]*)\}", r" \1\2 ", one.statement)
    plain = re.sub(r"\\(?!max|min|exp|log)[A-Za-z]+", " ", plain)
    letters = sorted(sign for sign in plain if sign.isascii() and sign.isalnum())
    shown = sorted(sign for sign in text(root) if sign.isascii() and sign.isalnum())
    assert shown == letters
    assert "\\" not in text(root)


@given(tex=st.text("\\{}()[]|_^'ab12+-<&\" ;#x\n", max_size=20))
def test_any_formula_is_inert_or_refused(tex):
    """Whatever is given: well-formed XML of mathematics alone, or InputError."""
    try:
        html = formula(tex)
    except InputError:
        return
    for element in ElementTree.fromstring(html).iter():
        assert element.tag.startswith("m")
        assert not element.attrib.keys() & {"href", "src", "style", "class", "id", "onclick"}


@pytest.mark.parametrize(
    "tex",
    [r"\nonsense", "{", r"\left( a", r"\href{javascript:alert(1)}{x}", r"\style{color:red}{x}"],
)
def test_a_wrong_formula_is_refused(tex):
    with pytest.raises(InputError, match="formula"):
        page([row(statement=tex)], ABOUT)


def test_an_empty_audit_is_refused():
    """No page says that all of nothing holds."""
    with pytest.raises(InputError, match="at least one statement"):
        page([], ABOUT)


def test_formulas_are_typeset_for_a_page_alone():
    """Without a page, the library that does it is not even imported."""
    code = "import sys; import reflfap.cli.audit; print('latex2mathml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def browser() -> str | None:
    """A browser that can work without a screen; REFLFAP_BROWSER comes first."""
    for name in (os.environ.get("REFLFAP_BROWSER", ""), *BROWSERS):
        if found := shutil.which(name):
            return found
    with contextlib.suppress(Exception):  # playwright is not there, or is without its browser
        from playwright.sync_api import sync_playwright

        with sync_playwright() as engines:
            return shutil.which(engines.chromium.executable_path)
    return None


def screenshot(program: str, html: Path, width: int, height: int) -> np.ndarray:
    """What the browser shows of the file, (height, width, 3) in [0, 1]."""
    picture, profile = html.with_suffix(".png"), html.parent / "profile"
    profile.mkdir(exist_ok=True)
    if "firefox" in Path(program).name:
        options = ["--no-remote", "--profile", str(profile), "--screenshot", str(picture)]
    else:
        options = ["--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += [f"--user-data-dir={profile}", f"--screenshot={picture}"]
    command = [program, "--headless", *options, f"--window-size={width},{height}", html.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert picture.is_file(), done.stderr[-2000:]
    return matplotlib.image.imread(picture)[..., :3]


def test_a_browser_shows_the_page(tmp_path):
    """Drawn at the size asked for, not blank; that a row fails and a fraction stacks is seen."""
    program = browser()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)}, REFLFAP_BROWSER or playwright")
    pictures = {}
    for name, one in {
        "plain": row(statement="a b"),
        "fraction": row(statement=r"\frac{a}{b}"),  # same text: only MathML tells them apart
        "failure": row(statement="a b", passed=False),
    }.items():
        html = tmp_path / f"{name}.html"
        html.write_text(page([one, row("(N2)")], ABOUT), encoding="utf-8")
        pictures[name] = screenshot(program, html, 1100, 1400)
        assert pictures[name].shape == (1400, 1100, 3)
        assert np.std(pictures[name]) > 0.02
    assert not np.array_equal(pictures["plain"], pictures["fraction"])
    assert not np.array_equal(pictures["plain"], pictures["failure"])
