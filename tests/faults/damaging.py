"""Ways to damage a file: its bytes, what stands in its place, and what a text of it says."""

import contextlib
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

ESCAPE = "\x1b[31m\x1b]0;mine\x07\x9b2J"

Damage = Callable[[random.Random, Path], object]
"""Does it to the file; a file that was there stays where it is, or something else does."""


def flip_a_bit(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def overwrite_a_part(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    start, length = rng.randrange(len(content) + 1), rng.choice((1, 4, 30, 512))
    content[start : start + length] = rng.randbytes(length)
    path.write_bytes(content)


def blank_a_part(rng: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    start, length = rng.randrange(len(content) + 1), rng.choice((16, 512, 4096))
    length = len(content[start : start + length])
    content[start : start + length] = bytes(length)
    path.write_bytes(content)


def drop_a_part(rng: random.Random, path: Path) -> None:
    content = path.read_bytes()
    start = rng.randrange(len(content) + 1)
    path.write_bytes(content[:start] + content[start + rng.choice((1, 7, 512)) :])


def truncate(rng: random.Random, path: Path) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size + 1))


def extend(rng: random.Random, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content + rng.choice((b"\0", b"\n", content, rng.randbytes(600))))


def make_huge(rng: random.Random, path: Path) -> None:
    """A terabyte of zeros, of which the disk holds none."""
    os.truncate(path, 2**40)


def empty(rng: random.Random, path: Path) -> None:
    path.write_bytes(b"")


def put_another(rng: random.Random, path: Path) -> None:
    """The content of another file of the trial."""
    top = next(parent for parent in path.parents if (parent / "cwd").is_dir())
    others = sorted(one for one in top.rglob("*") if one.is_file() and one != path)
    path.write_bytes(rng.choice(others).read_bytes() if others else b"another")


def _in_its_place(make: Callable[[Path], object]) -> Damage:
    def damage(rng: random.Random, path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        make(path)

    damage.__name__ = f"put_{make.__name__}"
    return damage


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_full_folder(path: Path) -> None:
    (path / "result.h5").mkdir(parents=True)


def a_socket(path: Path) -> None:
    """Made under a short name, since a socket's has at most some hundred bytes."""
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
        os.rename("socket", path.name)


def a_dead_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def a_circle(path: Path) -> None:
    path.symlink_to(path.name)


def an_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


BYTES: tuple[Damage, ...] = (
    *(flip_a_bit, flip_a_bit, overwrite_a_part, blank_a_part, drop_a_part, truncate, extend),
)
REPLACED: tuple[Damage, ...] = (
    *map(_in_its_place, (a_pipe, a_folder, a_full_folder, a_socket)),
    *map(_in_its_place, (a_dead_link, a_circle, an_endless_device, a_terminal)),
)
PLACES: tuple[Damage, ...] = (empty, make_huge, put_another, *REPLACED)

_WORDS = (
    *('"a"', "nan", "-1", "1e999", "9" * 5000, "[]", "{}", "null", "true", "0x", '""', "-0.0"),
    *("[" * 2000, '{"a":' * 2000, "\0", "é", "\ud800", "../../x", f'"{ESCAPE}"', "1979-05-27"),
)


def replace_a_word(rng: random.Random, path: Path) -> None:
    """A number or word of a text by something hostile."""
    words = path.read_text(errors="replace").split(" ")
    for _ in range(rng.choice((1, 1, 3))):
        words[rng.randrange(len(words))] = rng.choice(_WORDS)
    path.write_text(" ".join(words), errors="surrogatepass")


def replace_a_line(rng: random.Random, path: Path) -> None:
    """A line of a text by something hostile, none, or itself twice."""
    lines = path.read_text(errors="replace").splitlines()
    number = rng.randrange(len(lines) or 1)
    line = lines[number] if lines else ""
    lines[number : number + 1] = rng.choice(([], [line, line], [rng.choice(_WORDS)]))
    path.write_text("\n".join(lines), errors="surrogatepass")


def replace_a_value(rng: random.Random, path: Path) -> None:
    """What stands between two signs that separate."""
    text = path.read_text(errors="replace")
    places = [number for number, one in enumerate(text) if one in ",:=[\n"] or [0]
    start = rng.choice(places) + 1
    end = next((one for one in places if one > start), len(text))
    path.write_text(text[:start] + rng.choice(_WORDS) + text[end:], errors="surrogatepass")


def replace_all(rng: random.Random, path: Path) -> None:
    word = rng.choice((*_WORDS, ESCAPE, "x" * 2**20, "\n" * 1000))
    path.write_text(word, errors="surrogatepass")


TEXTS: tuple[Damage, ...] = (replace_a_word, replace_a_line, replace_a_value, replace_all)


def plant(rng: random.Random, folder: Path) -> str:
    """Something in a results folder that reflfap did not put there; where."""
    names = (ESCAPE, "a\nb", "☃", "\udcff", " ", "-h", "x" * 200, "[*]", "0" * 16)
    name = rng.choice(names).replace("/", "")
    place = rng.choice(
        (
            *(f"artificial/{name}/result.h5", f"{name}/{name}/result.h5", f"parts/{name}.h5"),
            *(f"artificial/{name}/failed.txt", f"artificial/{name}/lock", f"sweeps/{name}.json"),
            *(f"tables/artificial{name}.csv", f"tables/learn{name}.csv", f"artificial/{name}"),
            f"artificial/{name}/checkpoints/standard.h5",
        )
    )
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rng.choice((b"", ESCAPE.encode(), b"\xff" * 9, b"x" * 3000, b"[]", b"9" * 40)))
    if rng.random() < 0.3:
        rng.choice(REPLACED)(rng, path)
    return ascii(place)
