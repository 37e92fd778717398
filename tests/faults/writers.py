"""Two or five processes that do the same in the same folder at once."""

import random
from pathlib import Path

from faults import sites
from faults.campaign import Bench, Trial
from faults.child import Child
from faults.kills import Work, compared, reference
from faults.sites import with_out

_CELLS = ("results/artificial", "results/images")

WORKS = (
    Work(3, with_out(sites.ARTIFICIAL)),
    Work(2, with_out(sites.DESCENT)),
    Work(1, with_out((*sites.ARTIFICIAL, "--force"))),
    Work(0.5, with_out((*sites.ARTIFICIAL, "--figure"))),
    Work(1, with_out(sites.IMAGES)),
    Work(1, with_out(sites.CLASSIFY)),
    Work(1, with_out(sites.PERTURB), "stages", ("results/classify",)),
    Work(1, with_out(sites.LEARN), "stages", ("results/classify",)),
    Work(3, with_out(sites.SWEEP), "sweeps", ("grid.toml",)),
    Work(0.5, with_out((*sites.SWEEP, "--workers", "2")), "sweeps", ("grid.toml",)),
    Work(2, with_out(sites.COLLECT), "sweeps", _CELLS),
    Work(0.5, with_out(("figures", "decision_map")), "runs"),
    Work(1, sites.CONVERT, "data", ("data/mnist/*.gz",)),
)


def trial(rng: random.Random, bench: Bench, here: Path) -> Trial:
    """All end with exit code 0, and leave what one alone leaves."""
    (work,) = rng.choices(WORKS, [one.weight for one in WORKS])
    expected, words, count = reference(bench, work), work.place(bench, here), rng.choice((2, 5))
    children = [Child(here, words) for _ in range(count)]
    ended = [child.end(2 * count * expected.seconds) for child in children]
    for child in children:
        child.sweep_up()
    defects = [defect for one in ended for defect in one.complaints((0,))]
    defects += compared(here, expected)
    return Trial(f"{work.name}, {count} at once", " ".join(words), defects)
