"""The page of `reflfap audit --html`: one file for any browser, without network or scripts."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

from reflfap.audit import Row
from reflfap.errors import refuse
from reflfap.mathml import mathml

_DECADES = (-18, 2)  # of the bars, whatever the residuals, so that two pages compare


def page(rows: Sequence[Row], about: Mapping[str, str]) -> str:
    """The page as text, HTML that is XML too: verdict, `about`, and each row in its order.

    Nothing is loaded from elsewhere; formulas are MathML, light and dark colours follow the
    system. Raises InputError if there is no row, or for a formula that mathml refuses.
    Checked by test_audit_page.py::test_the_page_says_what_the_rows_say, ::test_failures_come_first,
    ::test_the_page_stands_alone, ::test_text_is_inert, ::test_a_browser_shows_the_page.
    """
    if not rows:
        refuse("rows", "at least one statement", "none", "audit something")
    anchors = _anchors(rows)
    held = sum(row.passed for row in rows)
    verdict = f"{held} of {len(rows)} statements hold"
    links = [_link(row, anchor) for row, anchor in zip(rows, anchors, strict=True)]
    cards = "\n".join(_card(row, anchor) for row, anchor in zip(rows, anchors, strict=True))
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in about.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>reflfap audit: {verdict}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>reflfap audit</h1>
<p class="verdict {_class(held == len(rows))}">{_sign(held == len(rows))} {verdict}</p>
{_failures(rows, anchors)}
<nav aria-label="All statements">{" ".join(links)}</nav>
<dl class="about">{facts}</dl>
<p class="legend">{_LEGEND}</p>
</header>
<main>
{cards}
</main>
</body>
</html>
"""


def _anchors(rows: Sequence[Row]) -> list[str]:
    """An id for each row, its tag's letters and digits where no earlier row has them."""
    anchors: list[str] = []
    for row in rows:
        name = re.sub(r"[^A-Za-z0-9]+", "-", row.tag).strip("-") or "row"
        number, anchor = 1, name
        while anchor in anchors:
            number += 1
            anchor = f"{name}-{number}"
        anchors.append(anchor)
    return anchors


def _class(passed: bool) -> str:
    return "holds" if passed else "fails"


def _sign(passed: bool) -> str:
    return f'<span class="sign" aria-hidden="true">{"✓" if passed else "✗"}</span>'


def _link(row: Row, anchor: str) -> str:
    label = f"{escape(row.tag)} {_class(row.passed)}"
    return (
        f'<a class="{_class(row.passed)}" href="#{anchor}" aria-label="{label}">'
        f"{_sign(row.passed)} {escape(row.tag)}</a>"
    )


def _failures(rows: Sequence[Row], anchors: Sequence[str]) -> str:
    """A list of the statements that fail, linked; nothing if there are none."""
    items = [
        f'<li><a href="#{anchor}">{escape(row.tag)}</a> {escape(row.words)} {_measure(row)}'
        f"{'' if row.places else ', no code found'}</li>"
        for row, anchor in zip(rows, anchors, strict=True)
        if not row.passed
    ]
    if not items:
        return ""
    return f'<section class="failures"><h2>These fail</h2><ul>{"".join(items)}</ul></section>'


def _card(row: Row, anchor: str) -> str:
    name = _class(row.passed)
    formulas = " ".join(mathml(part.strip()) for part in row.statement.split(r"\quad"))
    places = "".join(f"<li><code>{escape(place)}</code></li>" for place in row.places)
    where = f"<ul>{places}</ul>" if places else "no code found"
    return f"""<article id="{anchor}" class="{name}">
<h2><a href="#{anchor}">{escape(row.tag)}</a> <span class="badge">{_sign(row.passed)} {name}</span>
</h2>
<div class="statement">{formulas}</div>
<p>{escape(row.words)}</p>
<dl>
<dt>Where</dt><dd>{where}</dd>
<dt>Check</dt><dd>{escape(row.check)}</dd>
<dt>Residual</dt><dd>{_measure(row)}
{_bar(row)}</dd>
<dt>Tolerance</dt><dd>{escape(row.reason)}</dd>
</dl>
</article>"""


def _measure(row: Row) -> str:
    """As in "2.1e-16 of at most 1e-9", the first emphasised."""
    residual, tolerance = (
        f"{value:.2g}".replace("e-0", "e-") for value in (row.residual, row.tolerance)
    )
    return f"<b>{residual}</b> of at most {tolerance}"


def _bar(row: Row) -> str:
    """The residual from the left and what lies beyond the tolerance to the right, in decades."""
    return (
        f'<div class="bar" aria-hidden="true"><i style="width:{_position(row.residual):.1f}%"></i>'
        f'<s style="left:{_position(row.tolerance):.1f}%"></s></div>'
    )


def _position(value: float) -> float:
    """Where a value stands on the bar's axis, in percent; NaN, of which nothing is known, right."""
    if value <= 0:
        return 0.0
    if not math.isfinite(value):
        return 100.0
    low, high = _DECADES
    return 100 * min(max((math.log10(value) - low) / (high - low), 0.0), 1.0)


_LEGEND = (
    "Each bar shows the residual in powers of ten, from 1e-18 at its left end to 100 at its right "
    "end; the hatched part lies beyond the tolerance."
)

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #1c2128; --soft: #57606a; --line: #d5dae0;
  --good: #1a7f37; --bad: #b3261e; --track: #e8ebef; --link: #0a58ca;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #101419; --card: #181e25; --ink: #e4e8ed; --soft: #9aa6b2; --line: #2f3843;
    --good: #4ac26b; --bad: #ff7b72; --track: #2a323c; --link: #79b8ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 3rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1 { font-size: 1.1rem; font-weight: 600; color: var(--soft); margin: 0; }
h2 { font-size: 1.05rem; margin: 0; display: flex; align-items: center; gap: .75rem; }
a { color: var(--link); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
.verdict { font-size: 1.9rem; line-height: 1.2; font-weight: 650; margin: .25rem 0 1rem; }
.verdict.holds, .holds > .sign, .holds .badge { color: var(--good); }
.verdict.fails, .fails > .sign, .fails .badge { color: var(--bad); }
.failures { border-left: .25rem solid var(--bad); padding: .1rem 0 .1rem 1rem; margin: 1rem 0; }
.failures ul { margin: .25rem 0 0; padding-left: 1.1rem; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin-bottom: 1rem; }
nav a {
  padding: .1rem .55rem; border: 1px solid var(--line); border-radius: 1rem;
  background: var(--card); color: var(--ink); font-size: .9rem; white-space: nowrap;
}
nav a.fails { border-color: var(--bad); font-weight: 650; }
dl { display: grid; grid-template-columns: 6rem 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
dd ul { margin: 0; padding: 0; list-style: none; }
.about, .legend { font-size: .9rem; color: var(--soft); }
.about { grid-template-columns: max-content 1fr; }
.about dd { color: var(--ink); }
code { font: .875em ui-monospace, Consolas, "DejaVu Sans Mono", monospace; }
article {
  background: var(--card); border: 1px solid var(--line); border-left: .25rem solid var(--good);
  border-radius: .5rem; padding: .9rem 1.1rem; margin-top: 1rem; break-inside: avoid;
  scroll-margin-top: 1rem;
}
article.fails { border-left-color: var(--bad); }
article:target { outline: 2px solid var(--link); }
article > p { margin: .25rem 0 .75rem; }
.badge { font-size: .85rem; font-weight: 600; }
.statement {
  display: flex; flex-wrap: wrap; align-items: baseline; gap: .5rem 2rem;
  overflow-x: auto; padding: .6rem 0; font-size: 1.2rem;
  /* a shade at the right edge, which what scrolls with the formula covers at its end */
  background:
    linear-gradient(to left, var(--card) 40%, transparent) 100% 0 / 3rem 100% no-repeat local,
    linear-gradient(to left, var(--line), transparent) 100% 0 / 1rem 100% no-repeat scroll;
}
math {
  display: inline math; math-style: normal;
  font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "DejaVu Math TeX Gyre",
    "Noto Sans Math", math, serif;
}
.bar {
  position: relative; height: .6rem; margin: .3rem 0; border-radius: .3rem; overflow: hidden;
  background: var(--track); max-width: 30rem;
}
.bar i, .bar s { position: absolute; inset: 0 auto 0 0; }
.bar i { background: var(--good); }
.fails .bar i { background: var(--bad); }
.bar s {
  right: 0; border-left: 2px solid var(--ink);
  background: repeating-linear-gradient(135deg, transparent 0 5px, var(--soft) 5px 6.5px);
}
@media (max-width: 34rem) {
  article { padding: .75rem .8rem; }
  article dl { grid-template-columns: 1fr; gap: 0; }
  article dd { margin-bottom: .4rem; }
  .verdict { font-size: 1.5rem; }
  .statement { font-size: 1.1rem; }
}
"""
