"""Formulas: nothing is lost on the way to MathML, and nothing wrong passes."""

from collections import Counter
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reflfap.errors import InputError
from reflfap.mathml import mathml

SIGNS = {"-": "−", r"\le": "≤", r"\ge": "≥", r"\ne": "≠", r"\in": "∈", r"\to": "→", r"\cdot": "⋅"}
GREEK = {r"\lambda": "λ", r"\gamma": "γ", r"\eta": "η", r"\eps": "ε", r"\Phi": "Φ", r"\xi": "ξ"}
NAMES = {r"\max": "max", r"\min": "min", r"\sgn": "sgn", r"\log": "log", r"\exp": "exp"}
FENCES = {("(", ")"): "()", ("|", "|"): "||", (r"\langle", r"\rangle"): "⟨⟩", (r"\|", r"\|"): "‖‖"}


class Formula(NamedTuple):
    """TeX, and the texts of the leaves that it shows, from left to right."""

    tex: str
    leaves: tuple[str, ...]


def leaf(tex: str, shown: str) -> Formula:
    return Formula(f"{tex} ", (shown,))


def joined(parts: list[Formula]) -> Formula:
    return Formula("".join(p.tex for p in parts), sum((p.leaves for p in parts), ()))


def fenced(ends: tuple[str, str], inner: Formula) -> Formula:
    opening, closing = FENCES[ends]
    return Formula(f"{ends[0]} {inner.tex}{ends[1]} ", (opening, *inner.leaves, closing))


def scripted(base: Formula, prime: str, below: Formula, above: Formula, above_first: bool):
    marks = [f"_{{{below.tex}}}", f"^{{{above.tex}}}"]
    shown = ("′" * len(prime),) if prime else ()
    tex = f"{{{base.tex}}}{prime}" + "".join(reversed(marks) if above_first else marks)
    return Formula(tex, (*base.leaves, *shown, *below.leaves, *above.leaves))


LEAVES = st.one_of(
    st.sampled_from("abfxyzLNW").map(lambda letter: leaf(letter, letter)),
    st.from_regex(r"\A(0|[1-9][0-9]{0,4})(\.[0-9]{1,3})?\Z").map(lambda n: leaf(n, n)),
    st.sampled_from("+=<>,;").map(lambda sign: leaf(sign, sign)),
    st.sampled_from([*SIGNS.items(), *GREEK.items(), *NAMES.items(), (r"\sum", "∑")]).map(
        lambda pair: leaf(*pair)
    ),
    st.sampled_from(["adv", "bdy", "a<b & c", "\"'"]).map(
        lambda word: leaf(rf"\mathrm{{{word}}}", word)
    ),
)


def grown(inner: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
    """Everything that holds formulas, one level above `inner`."""
    return st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(joined),
        st.builds(fenced, st.sampled_from(list(FENCES)), inner),
        st.builds(scripted, inner, st.sampled_from(["", "'", "''"]), inner, inner, st.booleans()),
        st.builds(
            lambda a, b: Formula(rf"\frac{{{a.tex}}}{{{b.tex}}}", (*a.leaves, *b.leaves)),
            *(inner, inner),
        ),
        inner.map(lambda a: Formula(rf"\sqrt{{{a.tex}}}", a.leaves)),
        inner.map(lambda a: Formula(rf"\hat{{{a.tex}}}", (*a.leaves, "^"))),
    )


FORMULAS = st.recursive(LEAVES, grown, max_leaves=12)


def leaves(xml: str) -> list[str]:
    """The texts of the leaves of well-formed XML, in its order."""
    return [element.text for element in ElementTree.fromstring(xml).iter() if element.text]


@given(formula=FORMULAS)
def test_every_leaf_is_kept(formula):
    """Well-formed, every identifier, number and sign once, in the order in which they are read."""
    xml = mathml(formula.tex)
    root = ElementTree.fromstring(xml)
    assert root.tag == "math"
    assert root.attrib["alttext"] == formula.tex
    assert leaves(xml) == list(formula.leaves)
    children = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2}
    for element in root.iter():
        expected = {**children, "msubsup": 3, "munderover": 3}.get(element.tag, len(element))
        assert len(element) == expected
        assert not (element.text and len(element))
        assert not element.tail


@pytest.mark.parametrize(
    ("tex", "structure"),
    [
        ("12x^34", "(mrow(mn12)(msup(mix)(mn3))(mn4))"),
        (r"w_j'", "(msub(mrow(miw)(mo′))(mij))"),
        (r"R_{\max}^2", "(msubsup(miR)(momax)(mn2))"),
        (r"\|W\|_F^2", "(msubsup(mrow(mo‖)(miW)(mo‖))(miF)(mn2))"),
        (r"\sum_{n=1}^N q", "(mrow(munderover(mo∑)(mrow(min)(mo=)(mn1))(miN))(miq))"),
        (r"\max_n |x|", "(mrow(munder(momax)(min))(mrow(mo|)(mix)(mo|)))"),
        (r"|(|x|)|", "(mrow(mo|)(mrow(mo()(mrow(mo|)(mix)(mo|))(mo)))(mo|))"),
        (r"\frac{dW}{dt}", "(mfrac(mrow(mid)(miW))(mrow(mid)(mit)))"),
        (r"\frac 12", "(mfrac(mn1)(mn2))"),
        (r"\hat w\quad\sqrt{}", "(mrow(mover(miw)(mo^))(mspace)(msqrt(mrow)))"),
        (r"a\text{ if }b", "(mrow(mia)(mtext\xa0if\xa0)(mib))"),
        (r"f_{\mathrm{bdy}}", "(msub(mif)(mibdy))"),
    ],
)
def test_structure_of_formulas(tex, structure):
    """What is below, above, over or between what."""

    def shape(element: ElementTree.Element) -> str:
        return f"({element.tag}{element.text or ''}{''.join(map(shape, element))})"

    (formula,) = ElementTree.fromstring(mathml(tex))
    assert shape(formula) == structure


def attributes(tex: str, tag: str) -> list[dict[str, str]]:
    return [element.attrib for element in ElementTree.fromstring(mathml(tex)).iter(tag)]


def test_signs_names_and_fences_stand_as_in_tex():
    """A sign without an operand before it is unary; names keep their distance, not from `(`."""
    prefix = {"form": "prefix"}
    assert attributes("-a = -b - c", "mo") == [prefix, {}, prefix, {}]
    assert attributes(r"\text{ or } -a", "mo") == [prefix]
    assert attributes(r"a \log b", "mo") == [{"lspace": "0.167em", "rspace": "0.167em"}]
    assert attributes(r"x_{\min}", "mo") == [{"lspace": "0.0em", "rspace": "0.0em"}]
    assert attributes(r"= \exp(a)", "mo")[1] == {"lspace": "0.0em", "rspace": "0.0em"}
    assert attributes("(a)", "mo") == [{"stretchy": "false"}] * 2
    assert attributes(r"(\frac{a}{b})", "mo") == [{}] * 2
    assert attributes(r"\Phi x", "mi") == [{"mathvariant": "normal"}, {}]


@given(formula=FORMULAS, data=st.data())
def test_a_lost_brace_is_refused(formula, data):
    """Any one brace or fence missing, or one too many, is an error that quotes the formula."""
    ends = [i for i, sign in enumerate(formula.tex) if sign in "{}()"]
    assume(ends)
    at = data.draw(st.sampled_from(ends))
    for tex in (
        formula.tex[:at] + " " + formula.tex[at + 1 :],
        formula.tex[:at] + formula.tex[at] + formula.tex[at:],
    ):
        with pytest.raises(InputError) as caught:
            mathml(tex)
        assert repr(tex) in str(caught.value)


@pytest.mark.parametrize(
    ("tex", "got"),
    [
        (r"a \foo b", r"\foo"),
        (r"\Sum", r"\Sum"),
        (r"\alpha", r"\alpha"),
        ("a & b", "&"),
        ("é", "é"),
        ("²", "²"),
        ("a_", "its end"),
        ("_a", "_"),
        ("a_^2", "^"),
        ("a_b_c", "_"),
        ("a^2'", "'"),
        ("a'_b'", "'"),
        ("a_(b)", "("),
        (r"\sqrt[3]{x}", "["),
        (r"\frac{a}", "its end"),
        ("(a]", "]"),
        (r"\langle a", "its end"),
        ("|a", "its end"),
        (r"\langle a | b \rangle", r"\rangle"),
        (r"\text{a", r"\text"),
        (r"\text{a{b}}", r"\text"),
        ("\\", "\\"),
        ("a\nb", r"'a\nb'"),
    ],
)
def test_what_is_not_understood_is_refused(tex, got):
    """The message has the project's form and says what stands there."""
    with pytest.raises(InputError, match="formula") as caught:
        mathml(tex)
    assert f", got {got}; " in str(caught.value)
    if got in ("]", r"\rangle"):
        assert "balance the braces" in str(caught.value)


@given(
    tex=st.one_of(
        st.text(max_size=20),
        st.text("\\{}()[]|_^'ab12+-<&\" ", max_size=20),
        st.lists(
            st.sampled_from([*"{}()|_^'-2x", r"\frac", r"\sqrt", r"\|", r"\max", r"\text{a}"]),
            max_size=12,
        ).map(" ".join),
    )
)
def test_any_text_is_shown_or_refused(tex):
    """Whatever is given: well-formed XML with all its letters and digits, or InputError."""
    try:
        xml = mathml(tex)
    except InputError:
        return
    ElementTree.fromstring(xml)
    if "\\" not in tex:
        kept = Counter(sign for text in leaves(xml) for sign in text if sign.isalnum())
        assert kept == Counter(sign for sign in tex if sign.isalnum())
