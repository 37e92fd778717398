"""Lines for people: without colours, in letters that their terminal has, and from which nothing
that a file says can steer it."""

import sys
from typing import TextIO


def say(message: object) -> None:
    """A line on standard error: what happens, and what went wrong."""
    print(_writable(message, sys.stderr), file=sys.stderr, flush=True)


def tell(message: object) -> None:
    """A line on standard output: what was asked for."""
    print(_writable(message, sys.stdout))


def plain(message: object) -> str:
    """Its text with control characters, such as those of escape sequences, spelled out."""
    text = str(message)
    if text.isprintable():  # as almost all are: no look at each letter
        return text
    return "".join(one if _harmless(one) else ascii(one)[1:-1] for one in text)


def _harmless(one: str) -> bool:
    """Also spelled out: marks that turn the direction of writing, lone surrogates."""
    return one.isprintable() or one in "\n\t"


def _writable(message: object, stream: TextIO) -> str:
    """The plain text, letters that the stream cannot write spelled out as well."""
    encoding = stream.encoding or "utf-8"
    return plain(message).encode(encoding, "backslashreplace").decode(encoding)
