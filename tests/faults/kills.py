"""Commands that are killed, terminated or interrupted somewhere, then given again.

After SIGTERM and SIGINT a command ends with exit code 130, or with 0 where it had ended before, or
had only its result left to write. An interpreter that is only starting may also end by the signal.
"""

import random
import signal
import time
from pathlib import Path
from typing import NamedTuple

from faults import sites
from faults.campaign import Bench, Trial
from faults.child import Child, Defect, Ended, Process, run
from faults.contents import Numbers, differing, entries, numbers, size
from faults.sites import Words, placed, with_out

STARTING = 0.8
"""Seconds in which an interpreter imports reflfap."""


class Work(NamedTuple):
    """A command that writes, and what of a site it starts from."""

    weight: int
    words: Words
    site: str = ""
    only: tuple[str, ...] = ()

    def place(self, bench: Bench, here: Path) -> list[str]:
        """Its words, once the folder is as it needs it."""
        if self.site:
            bench.site(self.site).copy(here, self.only)
        return placed(self.words, here)

    @property
    def name(self) -> str:
        """Its first words, and the options that matter."""
        marks = ("--trainer", "--figure", "--workers", "--html")
        return " ".join([*self.words[:2], *(one for one in self.words[2:] if one in marks)])


_SMOKE = ("--preset", "smoke")
_LONGER = (*sites.DESCENT[:-3], "1500", "--trainer", "gd")
_CELLS = ("results/artificial", "results/images")
_CLASSIFIER = ("results/classify",)
_TRAINED = (*_CLASSIFIER, "results/perturb")

WORKS = (
    Work(180, with_out(sites.ARTIFICIAL)),
    Work(150, with_out(_LONGER)),
    Work(30, with_out((*sites.ARTIFICIAL, "--figure"))),
    Work(100, with_out(sites.IMAGES)),
    Work(80, with_out(sites.CLASSIFY)),
    Work(60, with_out(sites.PERTURB), "stages", _CLASSIFIER),
    Work(50, with_out(sites.LEARN), "stages", _CLASSIFIER),
    Work(30, with_out(sites.LEARN), "stages", _TRAINED),
    Work(50, with_out(sites.CERTIFICATES)),
    Work(60, with_out(("sweep", "artificial", *_SMOKE))),
    Work(40, with_out(("sweep", "images", *_SMOKE))),
    Work(60, with_out(sites.SWEEP), "sweeps", ("grid.toml",)),
    Work(6, with_out(("sweep", "artificial", *_SMOKE, "--workers", "2"))),
    Work(4, with_out(("sweep", "images", *_SMOKE, "--workers", "2"))),
    Work(40, with_out(sites.COLLECT), "sweeps", _CELLS),
    Work(30, with_out(("figures", "decision_map")), "runs"),
    Work(8, ("audit", "--html", "{here}/results.html")),
    Work(60, sites.CONVERT, "data", ("data/mnist/*.gz",)),
)


class Reference(NamedTuple):
    """What a command does undisturbed."""

    seconds: float
    entries: set[str]
    numbers: Numbers
    written: int  # bytes


def reference(bench: Bench, work: Work) -> Reference:
    """Of one of WORKS, measured when it is first asked for."""

    def measured() -> Reference:
        here = bench.empty("reference")
        words = work.place(bench, here)
        before, start = size(here), time.monotonic()
        ended = run(here, words, usual=60)
        seconds = time.monotonic() - start
        if ended.code != 0:
            raise RuntimeError(f"{words} ended with {ended.code}: {ended.err}")
        return Reference(seconds, entries(here), numbers(here), size(here) - before)

    found: Reference = bench.once(work, measured)
    return found


def compared(here: Path, expected: Reference) -> list[Defect]:
    """A folder against that of an undisturbed command: the same entries, the same numbers."""
    found, defects = entries(here), []
    outside = {one for one in found - expected.entries if one.startswith("cwd/")}
    if outside:
        defects.append(Defect("outside", f"{sorted(outside)}"))
    if extra := found - expected.entries - outside:
        defects.append(Defect("litter", f"left over: {sorted(extra)}"))
    if missing := expected.entries - found:
        defects.append(Defect("litter", f"missing: {sorted(missing)}"))
    if other := differing(numbers(here), expected.numbers):
        defects.append(Defect("numbers", other))
    return defects


def trial(rng: random.Random, bench: Bench, here: Path) -> Trial:
    """One command, one signal or two, and the command again."""
    if rng.random() < 0.02:
        return starting(rng, bench, here)
    (work,) = rng.choices(WORKS, [one.weight for one in WORKS])
    expected, words = reference(bench, work), work.place(bench, here)
    number = rng.choices((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), (6, 2, 2))[0]
    delay, twice, group = rng.random() * expected.seconds, rng.random() < 0.15, rng.random() < 0.5
    child = Child(here, words)
    time.sleep(delay)
    child.send(number, group)
    if twice:
        time.sleep(rng.random() * 0.1)
        child.send(number, group)
    ended = child.end(expected.seconds)
    codes = (-number, 0) if number == signal.SIGKILL else (130, 0)
    defects = [*ended.complaints(codes), *_again(here, words, expected)]
    child.sweep_up()
    sent = " and ".join([signal.Signals(number).name] * (1 + twice))
    return Trial(f"{work.name}, {sent}", f"{' '.join(words)}  # {delay:.3f} s", defects)


def starting(rng: random.Random, bench: Bench, here: Path) -> Trial:
    """A process of its own, which gets its signal while it starts, or soon after."""
    work = WORKS[0]
    expected, words = reference(bench, work), work.place(bench, here)
    number = rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
    delay = rng.random() * 2 * STARTING
    child = Process(here, words, bench.path)
    time.sleep(delay)
    child.send(number)
    ended = child.end(expected.seconds + STARTING)
    ours = Ended(ended.code, ended.out, ended.err if "/reflfap/" in ended.err else "")
    defects = [*ours.complaints((-number, 130, 0)), *_again(here, words, expected)]
    name = f"starting, {signal.Signals(number).name}"
    return Trial(name, f"python -m {' '.join(['reflfap', *words])}  # {delay:.3f} s", defects)


def _again(here: Path, words: list[str], expected: Reference) -> list[Defect]:
    """The same command to its end: exit code 0, and all as if nothing had been."""
    ended = run(here, words, expected.seconds)
    return [*ended.complaints((0,)), *compared(here, expected)]
