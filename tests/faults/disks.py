"""Full disks of many sizes: exit code 1 and a message in words, all that was there untouched.

With room again, the same command ends as if nothing had been. The disk is a small file system in
memory where the runner may mount one, or else a limit of the size of each file.
"""

import contextlib
import ctypes
import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path

from faults import sites
from faults.campaign import Bench, Trial
from faults.child import Child, Defect, command, run
from faults.contents import differing, numbers
from faults.kills import Work, compared, reference
from faults.sites import with_out

_CELLS = ("results/artificial", "results/images")

WORKS = (
    Work(3, with_out(sites.ARTIFICIAL)),
    Work(1, with_out(sites.IMAGES)),
    Work(1, with_out(sites.CLASSIFY)),
    Work(1, with_out(sites.LEARN), "stages", ("results/classify",)),
    Work(3, with_out(sites.SWEEP), "sweeps", ("grid.toml",)),
    Work(0.3, with_out((*sites.SWEEP, "--workers", "2")), "sweeps", ("grid.toml",)),
    Work(2, with_out(sites.COLLECT), "sweeps", _CELLS),
    Work(0.3, with_out(("figures", "decision_map")), "runs"),
    Work(1, sites.CONVERT, "data", ("data/mnist/*.gz",)),
)

LEAST = 2.0**13
"""Bytes of room; at most there is twice what the command writes."""

NEW_USER, NEW_MOUNTS = 0x10000000, 0x20000
ALL_PRIVATE, AGAIN, AT_ONCE = (1 << 18) | (1 << 14), 32, 2

_libc = ctypes.CDLL(None)


def may_mount() -> bool:
    """Whether this process has mounts of its own from now on, which end with it."""
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(NEW_MOUNTS | (NEW_USER if user else 0)) != 0:
        return False
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path("/proc/self", name).write_text(text)
    return bool(_libc.mount(b"none", b"/", None, ALL_PRIVATE, None) == 0)


@contextlib.contextmanager
def disk(folder: Path, allowed: bool) -> Iterator[bool]:
    """A file system at `folder`, large until `leave` makes it small; whether there is one."""
    folder.mkdir()
    name = os.fsencode(folder)
    mounted = allowed and _libc.mount(b"tmpfs", name, b"tmpfs", 0, b"size=64m") == 0
    try:
        yield mounted
    finally:
        if mounted:
            _libc.umount2(name, AT_ONCE)


def leave(folder: Path, room: int) -> None:
    """Leave so many bytes on the disk at `folder`."""
    state = os.statvfs(folder)
    used = (state.f_blocks - state.f_bfree) * state.f_frsize
    options = f"size={used + room}".encode()
    if _libc.mount(None, os.fsencode(folder), None, AGAIN, options) != 0:
        raise OSError(f"{folder}: cannot be mounted again")


def trial(rng: random.Random, bench: Bench, here: Path) -> Trial:
    """One command without room, then with it."""
    (work,) = rng.choices(WORKS, [one.weight for one in WORKS])
    expected = reference(bench, work)
    room = int(LEAST * max(2, 2 * expected.written / LEAST) ** rng.random())
    wanted = rng.random() < 0.7 and bench.once("mounts", may_mount)
    folder = here / ("data" if work.words[0] == "data" else "results")
    with disk(folder, wanted) as mounted:
        words = work.place(bench, here)
        before = numbers(here)
        if mounted:
            leave(folder, room)
            ended = run(here, words, expected.seconds)
            leave(folder, 2**26)
        else:
            child = Child(here, words, lambda: _limited(words, room))
            ended = child.end(expected.seconds)
            child.sweep_up()
        defects = ended.complaints((0, 1))
        if ended.code == 1 and "failed" not in ended.err:
            defects.append(Defect("exit code", f"1 without a word: {ended.err}"))
        now = numbers(here)
        if touched := differing(now, before) or sorted(before.keys() - now.keys()):
            defects.append(Defect("numbers", f"touched: {touched}"))
        ended = run(here, words, expected.seconds)
        defects += [*ended.complaints((0,)), *compared(here, expected)]
    how = "a small disk" if mounted else "a limit"
    return Trial(f"{work.name}, {how}", f"{' '.join(words)}  # {how} of {room} bytes", defects)


def _limited(words: list[str], room: int) -> int:
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    return command(words)
