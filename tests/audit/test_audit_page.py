"""The page of the audit: it says what the rows say, alone, and a browser shows it."""

import contextlib
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap.audit.page import page
from reflfap.errors import InputError

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    *("msedge", "microsoft-edge", "firefox"),
)


class Row(NamedTuple):
    tag: str = "(N1)"
    statement: str = r"f(x) = \sum_j a_j \phi(\langle w_j, x \rangle), \quad \gamma < 1"
    words: str = "The network."
    places: tuple[str, ...] = ("reflfap/onehidden.py:70 forward",)
    check: str = "against loops"
    residual: float = 2.1e-16
    tolerance: float = 1e-9
    reason: str = "rounding"
    passed: bool = True


ABOUT = {"version": "0.1.0", "seconds": "12.3"}
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
NUMBERS = st.one_of(st.floats(0, 1e300), st.sampled_from([5e-324, 1e-12, 0.06, math.inf, math.nan]))
ROWS = st.builds(
    Row,
    *(TEXT, st.sampled_from(["x", Row().statement]), TEXT, st.lists(TEXT, max_size=3).map(tuple)),
    *(TEXT, NUMBERS, NUMBERS, TEXT, st.booleans()),
)


def parsed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))


def text(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


@given(rows=st.lists(ROWS, min_size=1, max_size=5), about=st.dictionaries(TEXT, TEXT, max_size=3))
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
        assert text(card.find("h2/span")) == ("✓ holds" if row.passed else "✗ fails")
        assert text(card.find("p")) == row.words
        assert len(list(card.iter("math"))) == 1 + row.statement.count(r"\quad")
        where, check, measure, reason = card.findall("dl/dd")
        places = tuple(text(place) for place in where.iter("code"))
        assert (places, text(check), text(reason)) == (row.places, row.check, row.reason)
        assert places or text(where) == "no code found"
        first, last = text(measure).split(" of at most ")
        assert float(first) == pytest.approx(row.residual, rel=0.06, abs=1e-323, nan_ok=True)
        assert float(last) == pytest.approx(row.tolerance, rel=0.06, abs=1e-323, nan_ok=True)
    links = root.findall("body/header/nav/a")
    assert [link.attrib["href"] for link in links] == [f"#{anchor}" for anchor in anchors]


def test_failures_come_first():
    """They are listed above all else, linked, in words; without a failure there is no such list."""
    rows = [Row(), Row("(N2)", words="The loss.", residual=1.0, passed=False), Row("(T1)")]
    root = parsed(page(rows, ABOUT))
    header = root.find("body/header")
    assert [child.tag for child in header][:4] == ["h1", "p", "section", "nav"]
    assert text(header.find("p")) == "✗ 2 of 3 statements hold"
    (failure,) = header.findall("section/ul/li")
    assert text(failure) == "(N2) The loss. 1 of at most 1e-9"
    assert failure.find("a").attrib["href"] == "#N2"
    without_code = page([Row(places=(), passed=False)], ABOUT)
    assert text(parsed(without_code).find(".//li")).endswith("no code found")
    assert "✓ 2 of 2 statements hold" in text(parsed(page([rows[0], rows[2]], {})))
    assert "These fail" not in page([rows[0]], ABOUT)


@given(low=st.floats(1e-18, 100), high=st.floats(1e-18, 100))
def test_bars_keep_the_order(low, high):
    """A residual reaches into what lies beyond the tolerance if and only if it exceeds it."""
    low, high = sorted((low, high))

    def ends(residual: float, tolerance: float) -> tuple[float, float]:
        html = page([Row(residual=residual, tolerance=tolerance)], {})
        found = re.findall(r"(?:width|left):([0-9.]+)%", html[html.index('class="bar"') :])
        return float(found[0]), float(found[1])

    assert 0 <= ends(low, high)[0] <= ends(low, high)[1] <= 100
    assert ends(high, low) == ends(low, high)[::-1]
    assert ends(math.nan, 0.0) == ends(math.inf, 0.0) == (100, 0)
    assert ends(1e-30, 1e30) == (0, 100)


def test_the_page_stands_alone():
    """Nothing is fetched and nothing runs: no address, no source, no import, no script."""
    html = page([Row(), Row("(N2)", passed=False)], ABOUT).lower()
    for forbidden in ("http", "src=", "<script", "<link", "url(", "@import", "//", "javascript"):
        assert forbidden not in html
    assert not re.search(r"\son\w+=", html)
    assert set(re.findall(r'href="(.)', html)) == {"#"}


def test_text_is_inert():
    """Markup in any text is shown, not obeyed."""
    evil = '<script>alert("1")</script>&amp;\'<b onclick="x">'
    formula = r'a < b \text{<b>&lt;"}'
    row = Row(f"({evil})", formula, evil, (evil,), evil, 0.0, 0.0, evil, False)
    html = page([row], {evil: evil})
    assert "<script" not in html
    assert "<b onclick" not in html
    root = parsed(html)
    assert {element.tag for element in root.iter()}.isdisjoint({"script"})
    assert text(root).count(evil) == 10
    assert text(next(root.iter("mtext"))) == '<b>&lt;"'


def test_an_empty_audit_or_a_wrong_formula_is_refused():
    """No page says that all of nothing holds."""
    with pytest.raises(InputError, match="at least one statement"):
        page([], ABOUT)
    with pytest.raises(InputError, match="formula"):
        page([Row(statement=r"\nonsense")], ABOUT)


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
    for name, row in {
        "plain": Row(statement="a b"),
        "fraction": Row(statement=r"\frac{a}{b}"),  # same text: only MathML tells them apart
        "failure": Row(statement="a b", passed=False),
    }.items():
        html = tmp_path / f"{name}.html"
        html.write_text(page([row, Row("(N2)")], ABOUT), encoding="utf-8")
        pictures[name] = screenshot(program, html, 1100, 1400)
        assert pictures[name].shape == (1400, 1100, 3)
        assert np.std(pictures[name]) > 0.02
    assert not np.array_equal(pictures["plain"], pictures["fraction"])
    assert not np.array_equal(pictures["plain"], pictures["failure"])
