"""Trials by seed, played by two runners side by side, and counted.

A trial gets random numbers of its own, from its campaign's name and its seed, an empty folder, and
the bench: sites to copy, and what undisturbed commands did. What it returns goes to the table.
"""

import gc
import json
import os
import random
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from processes import exit_code, fork

from faults.child import Defect
from faults.sites import MAKERS, Site

RUNNERS = 2


class Trial(NamedTuple):
    """What was done, in a word and as somebody would repeat it, and what was wrong."""

    what: str
    command: str
    defects: Sequence[Defect]


class Record(NamedTuple):
    """A trial as runners pass it on."""

    campaign: str
    seed: int
    what: str
    command: str
    defects: list[Any]  # kind and text
    seconds: float

    @property
    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.defects}


class Bench:
    """What the trials of a runner have in common, each made when it is first asked for."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder = folder
        self.path = path  # of programs; the commands of trials have none, and so ask git nothing
        self._kept: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gave the first time."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def site(self, name: str) -> Site:
        """A site by name."""
        found: Site = self.once(name, lambda: MAKERS[name](self.folder / "sites" / name))
        return found

    def empty(self, name: str) -> Path:
        """A new folder."""
        found = self.folder / name
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir(parents=True)
        return found


class Campaign(NamedTuple):
    """A kind of trial, and how many of them there are."""

    name: str
    count: int
    trial: Callable[[random.Random, Bench, Path], Trial]


def play(campaign: Campaign, seed: int, bench: Bench) -> Record:
    """One trial. An error of the campaign itself is a defect too, so that none goes unnoticed."""
    start = time.monotonic()
    rng, here = random.Random(f"{campaign.name}:{seed}"), bench.empty("trial")
    try:
        found = campaign.trial(rng, bench, here)
    except Exception:
        found = Trial("the campaign itself", "", [Defect("campaign", traceback.format_exc())])
    shutil.rmtree(here, ignore_errors=True)
    command = found.command.replace(str(here), "HERE")
    defects = [(one.kind, one.what.replace(str(here), "HERE")) for one in found.defects]
    return Record(campaign.name, seed, found.what, command, defects, time.monotonic() - start)


def in_turn(campaigns: Sequence[Campaign], seed: int) -> list[tuple[Campaign, int]]:
    """All trials, the campaigns mixed, so that each is as far as the others at any time."""
    every = [(one, number) for one in campaigns for number in range(one.count)]
    every.sort(key=lambda pair: (pair[1] + 0.5) / pair[0].count)
    return [(one, seed + number) for one, number in every]


def play_all(
    campaigns: Sequence[Campaign], seed: int, scratch: Path, path: str, seconds: float
) -> list[Record]:
    """All trials by two runners, or as many as there is time for."""
    trials, end = in_turn(campaigns, seed), time.monotonic() + seconds

    def work(number: int) -> None:
        bench = Bench(scratch / str(number), path)
        with open(scratch / f"{number}.json", "w") as file:
            for campaign, own in trials[number::RUNNERS]:
                if time.monotonic() > end:
                    break
                record = play(campaign, own, bench)
                say(record)
                file.write(json.dumps(record) + "\n")

    gc.collect()
    gc.freeze()  # so that children share these pages
    runners = [fork(lambda number=number: work(number)) for number in range(RUNNERS)]
    codes = [exit_code(one) for one in runners]
    if any(codes):
        raise RuntimeError(f"runners ended with {codes}")
    return [record for number in range(RUNNERS) for record in read(scratch / f"{number}.json")]


def read(path: Path) -> Iterator[Record]:
    with open(path) as file:
        yield from (Record(*json.loads(line)) for line in file)


def say(record: Record) -> None:
    """What was wrong in a trial, and how to play it again."""
    for kind, text in record.defects:
        lines = "".join(f"\n    {line}" for line in str(text).splitlines())
        where = f"--replay {record.campaign}:{record.seed}"
        message = f"{kind}: {where}  {record.what}\n    {record.command}{lines}\n"
        os.write(sys.stderr.fileno(), message.encode(errors="backslashreplace"))
