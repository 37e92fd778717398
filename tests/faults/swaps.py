"""Pieces that change places: whole and sealed, but somebody else's.

The commands given again end with the numbers of an undisturbed run, or refuse. Never with exit code
0 and other numbers.
"""

import os
import random
import shutil
from pathlib import Path
from typing import NamedTuple

from faults import sites
from faults.campaign import Bench, Trial
from faults.child import Defect, run
from faults.contents import differing
from faults.damage import expected, written
from faults.sites import Words, placed, with_out

_RESULTS = "results/*/*/result.h5"


class Swap(NamedTuple):
    """Two files of `first` change places, or one of each where `other` is given; what is given
    again then; `without` is removed first."""

    weight: float
    name: str
    site: str
    first: str
    other: str = ""
    again: tuple[Words, ...] = ()  # none: the commands that made the runs
    without: tuple[str, ...] = ()
    same_folder: bool = False


_SWEEPS = tuple(
    with_out(one) for one in (sites.SWEEP, (*sites.SWEEP, "--seeds", "1"), sites.SWEEP_IMAGES)
)
_COLLECTED = (*_SWEEPS, with_out(sites.COLLECT))
_LEARN = tuple(with_out(one) for one in (sites.LEARN, (*sites.LEARN, "--seed", "1")))
_STATES = "results/*/*/checkpoints/*.h5"
_MNIST = with_out((*sites.IMAGES, "--dataset", "mnist", *sites.DATA))
_TABLES = ("results/images.csv", "results/tables/*")
_DRAWN = (with_out(("figures", "accuracy_curves")),)
_CELLS = ("results/artificial/*/result.h5", "results/images/*/result.h5")
_DATA = ("results/images",)

SWAPS = (
    Swap(4, "two shared networks", "sweeps", "results/parts/*.h5", "", _COLLECTED, _CELLS),
    Swap(2, "a network and a result", "sweeps", "results/parts/*.h5", _CELLS[0], _COLLECTED),
    Swap(4, "two states of a run", "interrupted", _STATES, same_folder=True),
    Swap(4, "states of two runs", "interrupted", _STATES),
    Swap(2, "a state and a result", "interrupted", _STATES, _RESULTS),
    Swap(2, "all states of two runs", "interrupted", "results/*/*/checkpoints"),
    Swap(2, "results of two runs", "runs", _RESULTS),
    Swap(1, "folders of two runs", "runs", "results/*/*"),
    Swap(1, "results of two cells", "sweeps", _RESULTS, "", _COLLECTED),
    Swap(1, "two perturbed sets", "stages", "results/perturb/*/result.h5", "", _LEARN),
    Swap(
        *(1, "two perturbed sets, learned again", "stages", "results/perturb/*/result.h5"),
        *("", _LEARN, ("results/learn",)),
    ),
    Swap(1, "results of stages", "stages", _RESULTS),
    Swap(1, "two lists of cells", "sweeps", "results/sweeps/*.json", "", _SWEEPS),
    Swap(1, "a table and a network", "sweeps", "results/*.h5", "results/parts/*.h5", _COLLECTED),
    Swap(1, "two tables", "sweeps", "results/*.csv", "", _COLLECTED),
    Swap(1, "two sealed tables", "sweeps", "results/*.h5", "", _COLLECTED),
    Swap(1, "a table and one from elsewhere", "sweeps", *_TABLES, _DRAWN),
    Swap(1, "images of two splits", "data", "data/mnist/*.h5", "", (_MNIST,), _DATA),
    Swap(1, "images packed", "data", "data/mnist/*.gz", "", (_MNIST,), (*_DATA, "data/mnist/*.h5")),
)


def trial(rng: random.Random, bench: Bench, here: Path) -> Trial:
    """One exchange, then the commands again."""
    (swap,) = rng.choices(SWAPS, [one.weight for one in SWAPS])
    site = bench.site(swap.site)
    site.copy(here)
    one, other = rng.choice(_pairs(here, swap))
    exchange(one, other)
    for pattern in swap.without:
        for path in here.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    again = swap.again or [
        words for run_id, words in site.made.items() if {run_id} & {*one.parts, *other.parts}
    ]
    defects: list[Defect] = []
    for words in again:
        ended = run(here, placed(words, here))
        defects += ended.complaints()
        found, undisturbed = written(site, words, here), expected(bench, site, words)
        if ended.code == 0 and (wrong := differing(found, undisturbed)):
            defects.append(Defect("numbers", wrong))
    return Trial(swap.name, f"{one} <-> {other}; {again}", defects)


def _pairs(here: Path, swap: Swap) -> list[tuple[Path, Path]]:
    """All that may change places."""
    first, others = (sorted(here.glob(one)) for one in (swap.first, swap.other or swap.first))
    pairs = [(one, other) for one in first for other in others if one != other]
    return [pair for pair in pairs if not swap.same_folder or pair[0].parent == pair[1].parent]


def exchange(one: Path, other: Path) -> None:
    """Two files or folders change places."""
    between = one.with_name("between")
    os.rename(one, between)
    os.rename(other, one)
    os.rename(between, other)
