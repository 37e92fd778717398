"""Sentences of the pages are short: the median number of words in one, page by page."""

import re
from statistics import median

import pytest
from project import ROOT

LIMITS = {"README.md": 18}
LIMIT = 22
"""Medians. Newspapers have some twenty words a sentence; what everybody reads first has less. Of
the pages that readers called dense the densest had 23; README.md, which was clear to them, 12."""
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
FEWEST = 15
"""Sentences of a page of prose: below, a page is a list or a table with a few words around it."""

FENCED = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.DOTALL | re.MULTILINE)
LEFT_OUT = (FENCED, re.compile(r"<!--.*?-->", re.DOTALL), re.compile(r"\$\$.*?\$\$", re.DOTALL))
PICTURE = re.compile(r"!\[[^]]*\]\([^)]*\)(\{[^}]*\})?")
ONE_WORD = re.compile(r"(`+)[^`]+\1|\$[^$]+\$")
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
ENTRY = re.compile(r"\A\s*(?:[-*]|\d+\.) ")
NO_END = re.compile(r"\b(e\.g|i\.e|al|vs|cf)\.")


def sentences(page):
    """The number of words of each sentence in Markdown.

    Left out are code, displayed formulas, tables, titles, pictures, comments, entries of lists that
    are nothing but a link, and what has one word alone, such as QED. Code or a formula within a
    sentence is one word. A paragraph or an entry of a list ends a sentence, whatever its last sign.
    """
    for pattern in LEFT_OUT:
        page = pattern.sub("", page)
    page = ONE_WORD.sub("Word", PICTURE.sub("", page))
    counts = []
    for paragraph in paragraphs(page):
        for one in re.split(r"(?<=[.!?])[)\"'*_]*\s+", NO_END.sub(r"\1", paragraph)):
            counts.append(sum(bool(re.search(r"\w", word)) for word in one.split()))
    return [count for count in counts if count > 1]


def paragraphs(page):
    """The paragraphs and the entries of lists, a line each; of links their words."""
    for block in re.split(r"\n\s*\n", page.strip("\n")):
        if block.startswith("    "):
            continue  # code, or what belongs to an entry of a list
        lines = [line for line in block.splitlines() if not re.match(r"\s*[|#<]", line)]
        for one in re.split(r"\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines)):
            words = " ".join(ENTRY.sub("", one, count=1).split())
            if not LINK.fullmatch(words.rstrip(".,;")):
                yield LINK.sub(r"\1", words)


@pytest.mark.parametrize("page", PAGES)
def test_sentences_are_short(page):
    counts = sentences((ROOT / page).read_text(encoding="utf-8"))
    if len(counts) < FEWEST:
        pytest.skip("hardly any prose")
    assert median(counts) <= LIMITS.get(page, LIMIT)


def test_most_pages_are_counted():
    counts = [sentences((ROOT / page).read_text(encoding="utf-8")) for page in PAGES]
    assert sum(len(one) >= FEWEST for one in counts) > 15


LONG = " ".join(["word"] * 30)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("One two three. Four five!\nSix seven?", [3, 2, 2]),
        ("One two\nthree\n\nfour five", [3, 2]),
        (f"One two. {LONG.capitalize()}.", [2, 30]),  # a long one is found
        (f"One two {LONG}, or {LONG}; and {LONG}: {LONG}.", [124]),  # no other sign ends one
        ("- one two\n- three four\n  five.\n1. six seven", [2, 3, 2]),
        ("Of `a long. Code here` and $f(x) = 1. 5$ one.", [5]),
        ("Kumano et al. found 0.98 of it, e.g. this.", [9]),
        ("(One two.) Three *four.* Five six", [2, 2, 2]),
        ("See [the page. Two](there.md) now.", [3, 2]),
        ("One two.\n\n```python\nsome code here\n```\n\nThree four.", [2, 2]),
        ("So\n\n$$ a = b. c $$\n\nholds for it. QED", [3]),
        ("One two:\n\n    reflfap run artificial --figure\n\n![a picture of it](x.png)", [2]),
        ("# A title of it\n\n| a table | of |\n|---|---|\n\n<p>some html</p>", []),
        ("- [a link of five words](a.md)\n- [another one](b.md), which is\n", [4]),
    ],
)
def test_how_words_are_counted(page, expected):
    assert sentences(page) == expected
