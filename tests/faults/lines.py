"""Command lines with values that nobody means: none, wrong, huge, empty, in other letters.

The options are those of the commands themselves. What would be a long computation in earnest stays
out: sizes are small or absurd, epochs and steps are small. So does --scheduler, which waits ten
seconds for an answer, as its message says.
"""

import dataclasses
import inspect
import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path

from faults import sites
from faults.campaign import Bench, Trial
from faults.child import Defect, run
from faults.contents import entries
from faults.sites import placed
from reflfap.cli.main import commands

Words = tuple[str, ...]

USUAL: dict[Words, Words] = {
    ("run", "artificial"): sites.ARTIFICIAL[2:],
    ("run", "images"): sites.IMAGES[2:],
    ("run", "certificates"): sites.CERTIFICATES[2:],
    ("run", "wide"): sites.WIDE[2:],
    ("run", "classify"): sites.CLASSIFY[2:],
    ("run", "perturb"): sites.PERTURB[2:],
    ("run", "learn"): sites.LEARN[2:],
    ("sweep", "artificial"): sites.SWEEP[2:],
    ("sweep", "images"): ("--preset", "smoke"),
    ("sweep", "wide"): ("--preset", "smoke"),
    ("sweep", "learn"): ("--preset", "smoke", "--dry-run"),
    ("data", "fetch"): ("mnist",),
    ("data", "convert"): ("mnist",),
    ("figures",): (),
    ("show",): ("0",),
    ("export",): ("0", "--npz", "{here}/results/arrays.npz"),
    ("completion",): ("bash",),
}
"""What keeps a command short."""

RARE = (("audit",), ("sweep", "images"), ("figures",), ("run", "learn"), ("run", "certificates"))
"""Take a second or more."""

LEFT_OUT = {"scheduler", "mutate", "all"}
ENDLESS = {"epochs", "epochs_g", "attack_steps", "starts"}
PATHS = {"out", "to", "folder", "html", "data_dir", "reference", "grid", "npz", "png"}

HUGE = ("1" + 30 * "0", str(2**63), "1e308", "1000000000000")
ODD = (
    *("", " ", "nan", "inf", "-inf", "-1", "0", "-0.0", "1e-320", "0x10", "1_0", "½", "٣", "☃"),
    *("\udcff", 300 * "a", "../..", "true", "None", "[1]", "--", "-", "'", "\n", "l2", "3", "7.5"),
    *("cuda", "cpu", "float64", "kkt", "gd", "noise", "smoke", "mnist", "cifar-10", "--help"),
)
PLACES = (
    *("", ".", "☃", "\udcff", 300 * "a", "/proc/nowhere/x", "/dev/null", "/dev/full", "a\nb"),
    *("{here}/pipe", "{here}/file", "{here}/folder", "{here}/file/below", "{here}/link", "~/x"),
)


def options_of(function: Callable[..., None]) -> list[str]:
    """The names that tyro reads from a function: its parameters, and the fields of dataclasses."""
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        kind = getattr(parameter.annotation, "__origin__", parameter.annotation)
        if dataclasses.is_dataclass(kind):
            names += [one.name for one in dataclasses.fields(kind)]
        elif not hasattr(parameter.annotation, "__metadata__"):  # else it is a word without a name
            names.append(parameter.name)
    return [one for one in names if one not in LEFT_OUT]


def trial(rng: random.Random, bench: Bench, here: Path) -> Trial:
    """One command, its usual options but for some."""
    every = commands()
    chosen = rng.choices(list(every), [0.3 if one in RARE else 1 for one in every])[0]
    options = options_of(every[chosen])
    words = [*chosen, *_usual(rng, chosen)]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        _change(rng, words, len(chosen), options)
    bench.site("stages").copy(here, ("results/classify",))
    (here / "grid.toml").write_text(sites.GRID)
    (here / "file").write_text("mine")
    (here / "folder").mkdir()
    (here / "link").symlink_to("nowhere")
    os.mkfifo(here / "pipe")
    for name, place in (("out", "{here}/results"), ("data_dir", "{here}/data")):
        if name in options and _flag(name) not in words:
            words += [_flag(name), place]
    words = placed(words, here)
    before = entries(here)
    ended = run(here, words)
    outside = [one for one in entries(here) - before - {"cwd"} if not _allowed(one, words, here)]
    defects = ended.complaints((0, 1, 2), escapes=False)
    if outside:
        defects.append(Defect("outside", f"{sorted(outside)}"))
    return Trial(" ".join(chosen), " ".join(map(ascii, words)), defects)


def _usual(rng: random.Random, chosen: Words) -> list[str]:
    usual = list(USUAL.get(chosen, ()))
    if chosen == ("audit",):  # takes seconds to say anything but no
        usual = rng.choice((["--html", "{here}/results/page.html"], ["--help"], ["x"], ["--html"]))
    if chosen == ("figures",):
        usual = rng.choice(([], ["pairs"], ["decision_map"], ["☃"], [""], ["prediction"]))
    return usual


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _change(rng: random.Random, words: list[str], first: int, options: list[str]) -> None:
    """Another value for an option; or the option without one, a word too many, or one too few."""
    how = rng.random()
    if how < 0.1 and len(words) > first:
        del words[rng.randrange(first, len(words))]
        if not _short(words):
            words.append("--help")
    elif how < 0.25 or not options:
        words.insert(rng.randrange(first, len(words) + 1), rng.choice(ODD))
    else:
        name = rng.choice(options)
        values = PLACES if name in PATHS else ODD if name in ENDLESS else (*ODD, *HUGE)
        flag, value = _flag(name), rng.choice(values)
        if flag in words:
            place = words.index(flag)
            words[place + 1 : place + 2] = [value]
        else:
            words += [flag, value] if how < 0.9 else [flag]


def _short(words: list[str]) -> bool:
    """Whether no option that keeps the command short is gone."""
    usual = USUAL.get(tuple(words[:2]), ())
    return all(one in words for one in usual if one.startswith("--"))


def _allowed(one: str, words: list[str], here: Path) -> bool:
    """Whether an entry is in a place that the command was given."""
    path, pairs = here / one, itertools.pairwise(words)
    given = [here / "cwd" / value for flag, value in pairs if flag in map(_flag, PATHS)]
    places = [*given, here / "results", here / "data"]
    return any(path == place or place in path.parents or path in place.parents for place in places)
