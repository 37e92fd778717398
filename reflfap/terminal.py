"""Lines for people, from which nothing that a file says can steer their terminal."""

import sys


def say(message: object) -> None:
    """A line on standard error: what happens, and what went wrong."""
    print(plain(message), file=sys.stderr, flush=True)


def tell(message: object) -> None:
    """A line on standard output: what was asked for."""
    print(plain(message))


def plain(message: object) -> str:
    """Its text with control characters, such as those of escape sequences, spelled out."""
    return "".join(one if _harmless(one) else ascii(one)[1:-1] for one in str(message))


def _harmless(one: str) -> bool:
    """Also spelled out: marks that turn the direction of writing, lone surrogates."""
    return one.isprintable() or one in "\n\t"
