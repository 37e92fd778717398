"""The options of a command, read from its signature: what is parsed, shown as help, completed.

A command is a function. Its parameters are options, and so are the fields of those that are
dataclasses; what they mean stands in its docstring, under Args, and below the fields.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import re
import shutil
import textwrap
import typing
from collections.abc import Callable, Iterator, Sequence
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from reflfap.experiments.cell import CellConfig
from reflfap.experiments.experiment import Config, RunOptions
from reflfap.experiments.learn_set import LearnSetOptions
from reflfap.experiments.own_data import DataOptions

POSITIONAL: Any = tyro.conf.Positional
HEADINGS: tuple[tuple[type, str], ...] = (
    (Config, "settings, which define the run"),
    (DataOptions, "files, and ways to run"),
    (LearnSetOptions, "files, and ways to run"),
    (RunOptions, "ways to run, which change no number"),
)
REQUIRED = inspect.Parameter.empty
_HELP = ("-h", "--help")


class Option(NamedTuple):
    """One option, or a word without a name."""

    name: str
    kind: Any
    default: Any
    about: str
    part_of: str  # the parameter that it is a field of; "" for a parameter
    owner: Any  # the dataclass of that; None for a parameter
    positional: bool

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it takes, where its type lists them."""
        inner = _without_none(self.kind)
        if inner is bool and inner is not self.kind:  # a flag that may be left open has a value
            return ("True", "False")
        return typing.get_args(inner) if typing.get_origin(inner) is Literal else ()

    @property
    def metavar(self) -> str:
        """What stands for its value; nothing for a flag."""
        inner = _without_none(self.kind)
        if self.choices:
            return "{" + ",".join(self.choices) + "}"
        if typing.get_origin(inner) is tuple:
            parts = [one for one in typing.get_args(inner) if one is not ...]
            words = " ".join(one.__name__.upper() for one in parts)
            return f"[{words} ...]" if ... in typing.get_args(inner) else words
        return "" if inner is bool else str(inner.__name__).upper()

    @property
    def hint(self) -> str:
        """Its default in words, unless that is nothing, or what it is about says it."""
        if self.default is REQUIRED:
            return "(required)"
        if self.default is None and not re.search("default|released", self.about.lower()):
            if self.owner is None or not issubclass(self.owner, Config):
                return ""
            if "preset" in self.owner.__dataclass_fields__:
                return "(default: as the preset says)"
            return "(default: see above)" if issubclass(self.owner, CellConfig) else ""
        if self.default is None or self.default is False or self.default in ((), ""):
            return ""
        words = self.default if isinstance(self.default, tuple) else (self.default,)
        return f"(default: {' '.join(map(str, words))})"

    @property
    def usage(self) -> str:
        """As it is written on a command line."""
        if not self.positional:
            return f"{self.flag} {self.metavar}".rstrip()
        word = self.name.upper() + (" ..." if self.metavar.startswith("[") else "")
        return word if self.default is REQUIRED else f"[{word}]"


def options_of(command: Callable[..., None]) -> list[Option]:
    """All options of a command, in their order."""
    found, docs = [], _docs_of_function(command)
    hints = typing.get_type_hints(command, include_extras=True)
    for one in inspect.signature(command).parameters.values():
        marks = getattr(hints[one.name], "__metadata__", ())
        kind = typing.get_args(hints[one.name])[0] if marks else hints[one.name]
        if dataclasses.is_dataclass(kind):
            found += list(_fields(one.name, kind))
        else:
            about = docs.get(one.name, "")
            found.append(Option(one.name, kind, one.default, about, "", None, bool(marks)))
    return found


def call(command: Callable[..., None], prog: str, args: Sequence[str]) -> str:
    """Run a command with what tyro reads from its arguments; SystemExit where it refuses them.

    Asked for help, it does nothing else, and returns it.
    """
    found = options_of(command)
    if any(one in _HELP for one in args):
        return _help(command, prog, found)

    def flat(**given: Any) -> None:
        values = {one.name: given[one.name] for one in found if not one.part_of}
        for part, kind in {one.part_of: one.owner for one in found if one.part_of}.items():
            own = [one.name for one in found if one.part_of == part]
            values[part] = kind(**{name: given[name] for name in own})
        command(**values)

    keyword, signature = inspect.Parameter.KEYWORD_ONLY, []
    for one in found:
        shown = one.usage if one.positional else one.metavar or None
        stated = tyro.conf.arg(metavar=shown, help=one.about, help_behavior_hint=one.hint)
        kind: Any = Annotated[one.kind, stated]
        kind = POSITIONAL[kind] if one.positional else kind
        flat.__annotations__[one.name] = kind
        signature.append(inspect.Parameter(one.name, keyword, default=one.default, annotation=kind))
    flat.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    plain: Any = getattr(tyro, "_experimental_options", {})
    plain.update(utf8_boxes=False, ansi_codes=False)  # for any terminal, file and encoding
    flags = (tyro.conf.FlagCreatePairsOff,)
    tyro.cli(flat, prog=prog, args=args, description="", config=flags)
    return ""


def _help(command: Callable[..., None], prog: str, options: Sequence[Option]) -> str:
    """Usage, what the command does, and its options below their headings."""
    width = min(shutil.get_terminal_size().columns, 100)
    words = [one.usage for one in options if one.positional]
    lines = [" ".join(["usage:", prog, *words, "[options]"])]
    about, _, _ = inspect.cleandoc(command.__doc__ or "").partition("\nArgs:")
    for part in about.strip().split("\n\n"):
        lines += ["", *_wrapped(part, width, "")]
    heading = ""
    for one in options:
        if heading != (heading := _heading(one)):
            lines += ["", f"{heading}:"]
            if one.owner is not None and issubclass(one.owner, Config):
                lines += [*_wrapped(one.owner.__doc__ or "", width, "  "), ""]
        name = one.name.upper() if one.positional else one.usage
        lines += _entry(name, f"{one.about} {one.hint}", width)
    return "\n".join([*lines, "", *_entry("-h, --help", "show this", width)])


def _heading(one: Option) -> str:
    if one.positional:
        return "arguments"
    found = [name for kind, name in HEADINGS if one.owner and issubclass(one.owner, kind)]
    return found[0] if found else "options"


def _entry(name: str, text: str, width: int) -> list[str]:
    """An option and what it is about, beside it where there is room."""
    lines = _wrapped(text, width, 26 * " ")
    if len(name) > 22:
        return [f"  {name}", *lines]
    return [f"  {name:<24}{lines[0].strip() if lines else ''}".rstrip(), *lines[1:]]


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent
    )


def _without_none(kind: Any) -> Any:
    """The type X of one that is X or None."""
    parts = [one for one in typing.get_args(kind) if one is not NoneType]
    return parts[0] if len(parts) == 1 and NoneType in typing.get_args(kind) else kind


def _fields(part: str, owner: Any) -> Iterator[Option]:
    hints, docs = typing.get_type_hints(owner), _docs_of_class(owner)
    for one in dataclasses.fields(owner):
        default = REQUIRED if one.default is dataclasses.MISSING else one.default
        about = docs.get(one.name, "")
        yield Option(one.name, hints[one.name], default, about, part, owner, False)


def _docs_of_function(command: Callable[..., None]) -> dict[str, str]:
    """What a docstring says of each parameter, under Args."""
    _, _, text = inspect.cleandoc(command.__doc__ or "").partition("\nArgs:\n")
    parts = re.split(r"^ {4}(\w+): ", text, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


@functools.cache
def _docs_of_class(owner: type) -> dict[str, str]:
    """The text below each field of a dataclass, and of those it inherits from."""
    docs: dict[str, str] = {}
    for one in reversed(owner.__mro__):
        if not dataclasses.is_dataclass(one):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        for stated, below in itertools.pairwise(getattr(tree, "body", ())):
            match stated, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    docs[name] = " ".join(text.split())
    return docs
