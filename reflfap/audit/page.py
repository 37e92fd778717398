"""The page of `reflfap audit --html`: one file for any browser, without network or scripts."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape, unescape
from pathlib import Path
from xml.etree.ElementTree import tostring

from reflfap.audit.statements import Finding, Row
from reflfap.errors import refuse

_DECADES = (-18, 2)  # of the bars, whatever the residuals, so that two pages compare
_SHORT = 14  # lines of source that are shown without being asked for
_OTHER_THAN_MATHS = {"href", "src", "style", "class", "id"}
_LEGEND = (
    "Each bar shows the residual in powers of ten, from 1e-18 at its left end to 100 at its right "
    "end; the hatched part lies beyond the tolerance."
)


def page(rows: Sequence[Row], about: Mapping[str, str]) -> str:
    """The page as text, HTML that is XML too: verdict, `about`, and each row in its order.

    Nothing is loaded from elsewhere; formulas are MathML, light and dark colours follow the
    system. Raises InputError if there is no row, or for a formula that cannot be typeset.
    """
    if not rows:
        refuse("rows", "at least one statement", "none", "audit something")
    held = sum(row.passed for row in rows)
    verdict = f"{held} of {len(rows)} statements hold"
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in about.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>reflfap audit: {verdict}</title>
<style>{Path(__file__).with_name("page.css").read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>reflfap audit</h1>
<p class="verdict {_class(held == len(rows))}">{_sign(held == len(rows))} {verdict}</p>
{_failures(rows)}
<nav aria-label="All statements">{" ".join(map(_link, rows))}</nav>
<dl class="about">{facts}</dl>
<p class="legend">{_LEGEND}</p>
</header>
<main>
{"".join(map(_card, rows))}
</main>
</body>
</html>
"""


def formula(tex: str) -> str:
    """One <math> element, for display, that shows `tex`; InputError if that is not understood."""
    from latex2mathml.converter import convert_to_element  # for pages alone

    remedy = "write it in the TeX that latex2mathml reads"
    try:
        root = convert_to_element(tex, display="block")
    except Exception as error:  # its own, and IndexError and others
        refuse("formula", "TeX", f"{tex!r}: {error}", remedy)
    del root.attrib["xmlns"]
    root.set("alttext", tex)
    for part in root.iter():
        part.text = unescape(part.text or "")  # it writes signs as entities
        if part.text.startswith("\\") or part.attrib.keys() & _OTHER_THAN_MATHS:
            refuse("formula", "known commands of mathematics", repr(tex), remedy)
    return tostring(root, encoding="unicode")


def _class(passed: bool) -> str:
    return "holds" if passed else "fails"


def _sign(passed: bool) -> str:
    return f'<span class="sign" aria-hidden="true">{"✓" if passed else "✗"}</span>'


def _anchor(row: Row) -> str:
    return re.sub(r"\W+", "", row.tag)


def _link(row: Row) -> str:
    tag, name = escape(row.tag), _class(row.passed)
    label = f'class="{name}" href="#{_anchor(row)}" aria-label="{tag} {name}"'
    return f"<a {label}>{_sign(row.passed)} {tag}</a>"


def _failures(rows: Sequence[Row]) -> str:
    """A list of the statements that fail, linked; nothing if there are none."""
    items = [
        f'<li><a href="#{_anchor(row)}">{escape(row.tag)}</a> {escape(row.words)} {_measure(row)}'
        f"{'' if row.places else ', no code found'}</li>"
        for row in rows
        if not row.passed
    ]
    if not items:
        return ""
    return f'<section class="failures"><h2>These fail</h2><ul>{"".join(items)}</ul></section>'


def _card(row: Row) -> str:
    formulas = " ".join(formula(part.strip()) for part in row.statement.split(r"\quad"))
    number = f"<small>{escape(row.number)}</small>" if row.number else ""
    released = f'<p class="released">{escape(row.released)}</p>' if row.released else ""
    return f"""<article id="{_anchor(row)}" class="{_class(row.passed)}">
<h2><a href="#{_anchor(row)}">{escape(row.tag)}</a> {number}
<span class="badge">{_sign(row.passed)} {row.verdict}</span></h2>
<div class="statement">{formulas}</div>
<p>{escape(row.words)}{"" if row.places else " No code found."}</p>{released}
{"".join(_source(place, lines) for place, lines in row.paper)}
<table><tr><th>Function</th><th>Checked against</th><th>Residual</th><th>Tolerance</th></tr>
{"".join(map(_finding, row.findings))}
</table>
</article>
"""


def _source(place: str, lines: str) -> str:
    """Lines of the paper's file, folded where they are many."""
    shown = ' open="open"' if lines.count("\n") < _SHORT else ""
    return (
        f"<details{shown}><summary><code>{escape(place)}</code></summary>"
        f"<pre>{escape(lines)}</pre></details>"
    )


def _finding(one: Finding) -> str:
    return (
        f'<tr class="{_class(one.passed)}"><td><code>{escape(one.place)}</code></td>'
        f"<td>{escape(one.against)}</td><td>{_measure(one)}{_bar(one)}</td>"
        f"<td>{escape(one.reason)}</td></tr>\n"
    )


def _measure(one: Row | Finding) -> str:
    """As in "2.1e-16 of at most 1e-9", the first emphasised."""
    residual, tolerance = (
        f"{value:.2g}".replace("e-0", "e-") for value in (one.residual, one.tolerance)
    )
    return f"<b>{residual}</b> of at most {tolerance}"


def _bar(one: Finding) -> str:
    """The residual from the left and what lies beyond the tolerance to the right, in decades."""
    return (
        f'<div class="bar" aria-hidden="true"><i style="width:{_position(one.residual):.1f}%"></i>'
        f'<s style="left:{_position(one.tolerance):.1f}%"></s></div>'
    )


def _position(value: float) -> float:
    """Where a value stands on the bar's axis, in percent; NaN, of which nothing is known, right."""
    if value <= 0:
        return 0.0
    if not math.isfinite(value):
        return 100.0
    low, high = _DECADES
    return 100 * min(max((math.log10(value) - low) / (high - low), 0.0), 1.0)
