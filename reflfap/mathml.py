"""Formulas for HTML pages: a small subset of TeX, read by recursive descent, as MathML.

A row is a run of items, an item an atom with its scripts, and an atom a letter, a number, a symbol,
a command with its arguments, or a row in braces or fences. Fences must pair, as braces must: they
grow with fractions and sums between them, and a script on the closing one belongs to the whole.
"""

import re
from collections import deque
from html import escape
from typing import NoReturn

from reflfap.errors import refuse

_TOKEN = re.compile(r"\\(?:text|mathrm)\{[^{}\\]*\}|\\[A-Za-z]+|\\.|[0-9]+(?:\.[0-9]+)?|'+|\S")
_WORDS = re.compile(r"\\(text|mathrm)\{(.*)\}")


def _table(commands: str, signs: str) -> dict[str, str]:
    return dict(zip(commands.split(), signs.split(), strict=True))


_FENCES = _table(r"( [ \{ \langle | \|", r") ] \} \rangle | \|")
_FENCE_SIGNS = _table(r"( ) [ ] \{ \} \langle \rangle | \|", "( ) [ ] { } ⟨ ⟩ | ‖")
_CLOSING = {"", "}", *_FENCES.values()} - {"|", r"\|"}  # those two open where they cannot close
_NAMES = _table(r"\max \min \sgn \log \exp", "max min sgn log exp")
_OPERATORS = _table(r"+ - = < > , ; : \sum \cdot", "+ − = < > , ; : ∑ ⋅")
_OPERATORS |= _table(r"\le \ge \ne \in \to \gets", "≤ ≥ ≠ ∈ → ←")
_IDENTIFIERS = _table(
    r"\gamma \delta \eps \epsilon \eta \lambda \mu \xi \sigma \tau \phi \ell \partial \infty . /",
    "γ δ ε ε η λ μ ξ σ τ φ ℓ ∂ ∞ . /",
)
_UPRIGHT = _table(r"\Lambda \Phi \nabla \top", "Λ Φ ∇ ⊤")
_SCRIPT_TAGS = {"_": ("msub", "munder"), "^": ("msup", "mover"), "^_": ("msubsup", "munderover")}


def mathml(tex: str) -> str:
    r"""One <math> element, for display, that shows `tex`; its alttext is `tex` itself.

    Understood: letters, numbers, + - = < > , ; : . / and the fences ( ) [ ] | \| \{ \} \langle
    \rangle in pairs; _ ^ and primes; \frac \sqrt \hat \text \mathrm \quad; and the commands in
    the tables of this module. As in TeX, an argument without braces is one letter, digit or
    command. Raises InputError for anything else, naming the formula and what stands there.
    Checked by test_mathml.py::test_every_leaf_is_kept, ::test_structure_of_formulas,
    ::test_a_lost_brace_is_refused, ::test_any_text_is_shown_or_refused.
    """
    if not tex.isprintable():  # much of the rest may not even stand in an XML attribute
        refuse("formula", "one line of printable characters", repr(tex), "remove the others")
    return f'<math display="block" alttext="{escape(tex)}">{_Parser(tex).row("")}</math>'


def _element(tag: str, text: str, attributes: str = "") -> str:
    return f"<{tag}{attributes}>{escape(text)}</{tag}>"


class _Parser:
    """The tokens of one formula still to be read; each method takes what it turns into MathML."""

    def __init__(self, tex: str) -> None:
        self.tex = tex
        self.tokens = deque(_TOKEN.findall(tex))

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def refuse(self, expected: str, got: str, remedy: str) -> NoReturn:
        refuse(f"formula {self.tex!r}", expected, got or "its end", remedy)

    def row(self, close: str) -> str:
        """Items up to the token `close`, which is taken too; "" is the end of the formula."""
        items = []
        after_operand = False  # else a sign is unary, and a name needs no space before it
        while (token := self.peek()) != close:
            if token in _CLOSING:
                self.refuse(close or "a formula in balanced braces", token, "balance the braces")
            items.append(self.item(after_operand))
            after_operand = token.split("{")[0] not in {*_OPERATORS, *_NAMES, r"\text", r"\quad"}
        if close:
            self.tokens.popleft()
        return items[0] if len(items) == 1 else f"<mrow>{''.join(items)}</mrow>"

    def item(self, after_operand: bool) -> str:
        """An atom with its subscript and superscript, below and above it where it takes limits."""
        limits = self.peek() in {r"\sum", r"\max", r"\min"}
        base = self.atom(after_operand)
        scripts: dict[str, str] = {}
        while (mark := self.peek()[:1]) in {"_", "^", "'"}:
            if mark in scripts or (mark == "'" and "^" in scripts):
                self.refuse("one script of a kind, primes first", self.peek(), "use braces")
            token = self.tokens.popleft()
            scripts[mark] = self.argument() if mark != "'" else _element("mo", "′" * len(token))
        if prime := scripts.pop("'", ""):  # beside its base: fonts that raise it would do so twice
            base = f"<mrow>{base}{prime}</mrow>"
        if not scripts:
            return base
        tag = _SCRIPT_TAGS["".join(sorted(scripts))][limits]
        return f"<{tag}>{base}{scripts.get('_', '')}{scripts.get('^', '')}</{tag}>"

    def argument(self) -> str:
        """One atom, of a number its first digit only; no fence, which would be ambiguous."""
        token = self.peek()
        if token in _CLOSING or token in _FENCES or token[0] in "_^'":
            self.refuse("an argument", token, "put the argument into braces")
        if token[0].isdigit() and len(token) > 1:
            self.tokens[0] = token[1:]
            return _element("mn", token[0])
        return self.atom(False)

    def atom(self, after_operand: bool) -> str:
        """One element. The row before it decides how a sign or a name stands."""
        token = self.tokens.popleft()
        if token == "{":
            return self.row("}")
        if token in _FENCES:
            inner = self.row(_FENCES[token])
            grow = "" if re.search("<mfrac|<munder", inner) else ' stretchy="false"'
            ends = [_element("mo", _FENCE_SIGNS[end], grow) for end in (token, _FENCES[token])]
            return f"<mrow>{ends[0]}{inner}{ends[1]}</mrow>"
        if token.isascii() and token.isalpha():
            return _element("mi", token)
        if token[0].isascii() and token[0].isdigit():
            return _element("mn", token)
        if token in _OPERATORS:
            unary = token in "+-" and not after_operand
            return _element("mo", _OPERATORS[token], ' form="prefix"' if unary else "")
        return self.command(token, after_operand)

    def command(self, token: str, after_operand: bool) -> str:
        if token in _IDENTIFIERS:
            return _element("mi", _IDENTIFIERS[token])
        if token in _UPRIGHT:
            return _element("mi", _UPRIGHT[token], ' mathvariant="normal"')
        if token in _NAMES:
            left, right = after_operand, self.peek() not in {"(", *_CLOSING}
            space = f' lspace="{left * 0.167}em" rspace="{right * 0.167}em"'
            return _element("mo", _NAMES[token], space)
        if words := _WORDS.fullmatch(token):
            if words[1] == "mathrm":
                return _element("mi", words[2], ' mathvariant="normal"')
            return _element("mtext", words[2].replace(" ", "\N{NO-BREAK SPACE}"))  # kept at edges
        match token:
            case r"\frac":
                return f"<mfrac>{self.argument()}{self.argument()}</mfrac>"
            case r"\sqrt":
                return f"<msqrt>{self.argument()}</msqrt>"
            case r"\hat":
                return f'<mover accent="true">{self.argument()}<mo stretchy="false">^</mo></mover>'
            case r"\quad":
                return '<mspace width="1em"></mspace>'
        self.refuse("the subset of TeX in reflfap/mathml.py", token, "write it otherwise")
