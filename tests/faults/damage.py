"""Files that are damaged, replaced, or hostile; then one command that reads them.

Where it ends with exit code 0, what it printed and wrote must be as if nothing had been. Of files
that somebody changed and sealed again, and of texts, which carry no seal, this cannot be asked.
"""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from faults import sites
from faults.campaign import Bench, Trial
from faults.child import Defect, Ended, run
from faults.contents import Numbers, differing, entries, numbers
from faults.damaging import BYTES, PLACES, REPLACED, TEXTS, Damage, plant
from faults.hostile import CHANGES, reseal
from faults.sites import Site, Words, placed, with_out


class Reading(NamedTuple):
    """A command, its words with {id} for the run whose file is damaged and {file} for that file."""

    weight: float
    words: Words  # none: the command that made the run
    judged: str = ""  # by what is "printed" or "written", or that damage is "verified"
    without: tuple[str, ...] = ()  # what is removed first, so that it is made again


class Target(NamedTuple):
    """Files of a site, what befalls them, and who reads them then."""

    weight: float
    site: str
    pattern: str
    damages: tuple[Damage, ...]
    readings: tuple[Reading, ...]
    sealed: bool = True  # else it cannot be told from a file that says something else


def _hostile(rng: random.Random, path: Path) -> str:
    return reseal(rng, path, CHANGES)


def _planted(rng: random.Random, path: Path) -> str:
    return plant(rng, path)


LIST = (
    Reading(3, with_out(("list", "--json")), "printed"),
    Reading(2, with_out(("list",))),
)
SHOW = (
    Reading(3, with_out(("show", "{id}", "--json")), "printed"),
    Reading(2, with_out(("show", "{id}"))),
)
EXPORT = tuple(
    Reading(1, with_out(("export", "{id}", option, "{here}/" + name)))
    for option, name in (("--npz", "arrays.npz"), ("--png", "pictures"))
)
VERIFY = (
    Reading(2, with_out(("verify",)), "verified"),
    Reading(2, with_out(("verify", "{file}")), "verified"),
)
STATUS = (
    Reading(3, with_out(("sweep", "status"))),
    Reading(1, with_out(("sweep", "status", "--json"))),
)
COLLECT = (Reading(3, with_out(sites.COLLECT), "written"),)
AGAIN = (Reading(3, (), "written"),)
_PICTURES = ("decision_map", "image_rows", "accuracy_curves", "learning_curves")
DRAW = tuple(Reading(0.05, with_out(("figures", name)), "written") for name in _PICTURES)
_CELLS = ("results/artificial/*/result.h5",)
SWEEP = (Reading(3, with_out(sites.SWEEP), "written"),)
ANEW = (Reading(3, with_out(sites.SWEEP), "written", _CELLS),)
_LATER = ("results/perturb", "results/learn")
LATER = (
    Reading(1, with_out(sites.LEARN), "written"),
    Reading(1, with_out(sites.LEARN), "written", _LATER[1:]),
    Reading(0.3, with_out(sites.PERTURB), "written", _LATER),
)
_MNIST = (*sites.IMAGES, "--dataset", "mnist", *sites.DATA)
CHECK = tuple(Reading(1, ("data", what, *sites.DATA)) for what in ("check", "list"))
IMAGES = (
    *CHECK,
    Reading(0.5, sites.CONVERT, "written"),
    Reading(1, with_out(_MNIST), "written", ("results/images",)),
    Reading(1, with_out(_MNIST), "written", ("results/images", "data/mnist/*.h5")),
)

RESULT = "results/*/*/result.h5"
SEALED = (*BYTES, *BYTES, *PLACES)
TARGETS = (
    Target(30, "runs", RESULT, SEALED, (*LIST, *SHOW, *EXPORT, *VERIFY, *AGAIN, *DRAW)),
    Target(20, "runs", RESULT, (_hostile,), (*LIST, *SHOW, *EXPORT, *VERIFY, *AGAIN, *DRAW)),
    Target(5, "sweeps", RESULT, SEALED, (*STATUS, *COLLECT, *SWEEP)),
    Target(4, "sweeps", RESULT, (_hostile,), (*STATUS, *COLLECT, *SWEEP)),
    Target(6, "sweeps", "results/parts/*.h5", SEALED, (*ANEW, VERIFY[1], *SWEEP)),
    Target(4, "sweeps", "results/parts/*.h5", (_hostile,), (*ANEW, VERIFY[1])),
    Target(5, "sweeps", "results/sweeps/*", (*TEXTS, *BYTES, *PLACES), (*STATUS, *SWEEP), False),
    Target(6, "sweeps", "grid.toml", (*TEXTS, *BYTES, *PLACES), (*SWEEP, *ANEW), False),
    Target(3, "sweeps", "results/*.h5", (*SEALED, _hostile), (VERIFY[1], *COLLECT)),
    Target(0.4, "sweeps", "results/tables/*", (*TEXTS, *BYTES, *PLACES), DRAW[2:3], False),
    Target(3, "stages", RESULT, (*SEALED, _hostile), (*LIST, *SHOW, *EXPORT, *VERIFY, *LATER)),
    Target(4, "interrupted", "results/*/*/checkpoints/*.h5", SEALED, (*AGAIN, LIST[1])),
    Target(2, "interrupted", "results/*/*/checkpoints/*.h5", (_hostile,), AGAIN),
    Target(2, "interrupted", "results/*/*/lock", (*TEXTS, *PLACES), (*AGAIN, *LIST)),
    Target(1, "interrupted", "results/*/*", REPLACED, (*AGAIN, *LIST, *STATUS)),
    Target(1, "sweeps", "results/*", REPLACED, (*LIST, *STATUS, *COLLECT, *SWEEP)),
    Target(1, "runs", "results", REPLACED, (*LIST, *VERIFY, *STATUS)),
    Target(3, "sweeps", "results", (_planted,), (*LIST, *STATUS, *COLLECT, *SWEEP, *VERIFY[:1])),
    Target(2, "data", "data/mnist/*.gz", (*BYTES, *PLACES), IMAGES),
    Target(2, "data", "data/mnist/*.h5", (*SEALED, _hostile), IMAGES),
    Target(1, "data", "data/cifar-10/*/*", (*BYTES, *PLACES), CHECK),
    Target(0.5, "data", "data/*", REPLACED, IMAGES),
)


def trial(rng: random.Random, bench: Bench, here: Path) -> Trial:
    """One file, one damage, one command."""
    (target,) = rng.choices(TARGETS, [one.weight for one in TARGETS])
    (reading,) = rng.choices(target.readings, [one.weight for one in target.readings])
    site = bench.site(target.site)
    site.copy(here)
    (here / "cwd").mkdir()
    file = rng.choice(sorted(here.glob(target.pattern)))
    _remove(here, reading.without, file)
    content = file.read_bytes() if file.is_file() else b""
    damage = rng.choice(target.damages)
    how = str(damage(rng, file) or damage.__name__)
    changed = damage in BYTES and file.read_bytes() != content
    run_id = next((part for part in file.parts if part in site.made), "0")
    plain = reading.words or site.made.get(run_id, with_out(sites.ARTIFICIAL))
    words = tuple(one.replace("{id}", run_id).replace("{file}", str(file)) for one in plain)
    placed_words = placed(words, here)
    ended = run(here, placed_words)
    defects = ended.complaints()
    if ended.code == 0 and target.sealed and damage is not _hostile:
        undisturbed = expected(bench, site, words)
        found = judged(reading, words, ended, site, here, undisturbed)
        if found and words[0] == "figures":  # drawn from the other runs, it may be another picture
            undisturbed = expected(bench, site, words, str(file.relative_to(here)))
            found = judged(reading, words, ended, site, here, undisturbed)
        defects += found
        if reading.judged == "verified" and changed:
            defects.append(Defect("numbers", "verify found nothing"))
    defects += _litter(here, damage)
    what = f"{target.pattern}: {_short(damage, how)}, then {' '.join(plain[:2])}"
    return Trial(what, f"{how} of {file}; {' '.join(placed_words)}", defects)


def _short(damage: Damage, how: str) -> str:
    """The damage in the words of the table."""
    return {"_hostile": f"sealed, {how}", "_planted": "planted"}.get(damage.__name__, how)


def _remove(here: Path, patterns: Sequence[str], but: Path) -> None:
    for pattern in patterns:
        for path in here.glob(pattern):
            if path == but or path in but.parents:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def expected(bench: Bench, site: Site, words: Words, without: str = "") -> Numbers:
    """The numbers of a site; the pictures, too, that are drawn from it, perhaps without a file."""
    if words[:1] != ("figures",):
        return site.numbers

    def drawn() -> Numbers:
        here = bench.empty("drawn")
        site.copy(here)
        if without:
            (here / without).unlink()
        run(here, placed(words, here), usual=60)
        return numbers(here)

    found: Numbers = bench.once((site.folder, words, without), drawn)
    return found


def judged(
    reading: Reading, words: Words, ended: Ended, site: Site, here: Path, undisturbed: Numbers
) -> list[Defect]:
    """Whether what a command printed or wrote differs."""
    found: Numbers = {}
    if reading.judged == "written":
        found = written(site, words, here)
    elif reading.judged == "printed":
        found = printed(ended.out)
    other = differing(found, undisturbed)
    return [Defect("numbers", other)] if other else []


def written(site: Site, words: Words, here: Path) -> Numbers:
    """The numbers in the results that a command makes; of one that makes none, in its tables,
    sets or pictures. Other files may not be what they should."""
    own = {run_id for run_id, command in site.made.items() if command == words}

    def counts(name: str) -> bool:
        parts = name.partition(":")[0].split("/")
        return not own.isdisjoint(parts) if own else parts[-1] != "result.h5"

    return {name: value for name, value in numbers(here).items() if counts(name)}


def printed(out: str) -> Numbers:
    """The metrics that `list --json` or `show --json` printed, named as `contents.numbers` does."""
    content = json.loads(out)
    found: Numbers = {}
    for run_of in content if isinstance(content, list) else [content]:
        path = Path(run_of["path"])
        name = "/".join(path.parts[-4:])
        found |= {f"{name}: {metric}": value for metric, value in run_of["metrics"].items()}
    return found


def _litter(here: Path, damage: Damage) -> list[Defect]:
    """Hidden files, and whatever came to the folder where the command stood."""
    found = entries(here)
    hidden = [one for one in found if one.rpartition("/")[2].startswith(".")]
    defects = [Defect("litter", f"{hidden}")] if hidden and damage is not _planted else []
    outside = [one for one in found if one.startswith("cwd/")]
    return [*defects, *([Defect("outside", f"{outside}")] if outside else [])]
