"""Small folders as commands leave them, which trials copy: results, sweeps, states, data sets.

In the words of a command {here} stands for the folder of a trial.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from faults.child import Child, command, run
from faults.contents import Numbers, numbers
from reflfap.data_loaders import registry
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.experiment import identity
from reflfap.runs.checkpoints import Checkpoints

Words = tuple[str, ...]

OUT: Words = ("--out", "{here}/results")
ARTIFICIAL: Words = (
    *("run", "artificial", "--dim", "30", "--hidden", "4", "--n", "6", "--n-adv", "8"),
    *("--epochs", "100"),
)
DESCENT: Words = (*ARTIFICIAL[:-1], "300", "--trainer", "gd")
IMAGES: Words = (
    *("run", "images", "--hidden", "4", "--n", "40", "--n-adv", "30", "--epochs", "100"),
)
CERTIFICATES: Words = ("run", "certificates", "--starts", "1", "--time", "10", "--hidden", "2")
WIDE: Words = ("run", "wide", "--n", "30", "--dim", "8", "--hidden", "4", "--epochs", "20")
CLASSIFY: Words = (
    *("run", "classify", "--epochs", "1", "--subset", "40", "--batch", "20", "--width", "1"),
)
_SET: Words = (
    *("--classifier", identity(ClassifyConfig(epochs=1, subset=40, batch=20, width=1))),
    *("--scenario", "noise", "--n-adv", "40", "--attack-steps", "2"),
)
PERTURB: Words = ("run", "perturb", *_SET)
LEARN: Words = ("run", "learn", *_SET, "--epochs", "2", "--batch", "10", "--width", "1")
SWEEP: Words = ("sweep", "artificial", "--grid", "{here}/grid.toml")
SWEEP_IMAGES: Words = ("sweep", "images", "--grid", "{here}/images.toml")
COLLECT: Words = ("sweep", "collect")
DATA: Words = ("--data-dir", "{here}/data")
CONVERT: Words = ("data", "convert", "mnist", *DATA)

GRID = """seeds = [0]

[common]
hidden = 4
epochs = 100

[[cells]]
dim = 20
n = 5
n_adv = [3, 7]
epsilon = [0.5, 1.0]
"""

IMAGES_GRID = """[[cells]]
hidden = 4
n = 40
n_adv = 30
epochs = 100
scenario = ["noise", "natural-flipped"]
"""


def placed(words: Sequence[str], here: Path) -> list[str]:
    """The words of a command in the folder of a trial."""
    return [word.replace("{here}", str(here)) for word in words]


@dataclass(frozen=True)
class Site:
    """A folder, and the commands that made it."""

    folder: Path
    commands: tuple[Words, ...]
    made: dict[str, Words] = field(default_factory=dict)  # the command of a run, by its id
    numbers: Numbers = field(default_factory=dict)

    def copy(self, here: Path, only: Sequence[str] = ()) -> None:
        """All of it, or what fits some patterns, into the folder of a trial."""
        for source in [one for pattern in only or ("*",) for one in self.folder.glob(pattern)]:
            target = here / source.relative_to(self.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copy(source, target)


def of_runs(folder: Path) -> Site:
    """Complete runs of E1, E3 and E4."""
    seeded = (*ARTIFICIAL, "--seed", "1")
    return _made(folder, ARTIFICIAL, seeded, DESCENT, (*IMAGES, "--n", "60"), IMAGES, CERTIFICATES)


def of_stages(folder: Path) -> Site:
    """The three stages of E2, the last one of two networks."""
    return _made(folder, CLASSIFY, PERTURB, LEARN, (*LEARN, "--seed", "1"))


def of_sweeps(folder: Path) -> Site:
    """Sweeps, their lists, their networks and tables, one from elsewhere among them."""
    folder.mkdir(parents=True)
    (folder / "grid.toml").write_text(GRID)
    (folder / "images.toml").write_text(IMAGES_GRID)
    site = _made(folder, SWEEP, (*SWEEP, "--seeds", "1"), SWEEP_IMAGES, COLLECT)
    tables = folder / "results" / "tables"
    tables.mkdir()
    shutil.copy(folder / "results" / "artificial.csv", tables / "artificial-other.csv")
    return site


def of_interrupted(folder: Path) -> Site:
    """Runs of all kinds as they are when they were killed just before their results were there."""
    again = [(*words, "--seed", "1") for words in (ARTIFICIAL, DESCENT, IMAGES)]
    commands = (ARTIFICIAL, DESCENT, IMAGES, *again, (*CLASSIFY, "--seed", "1"), PERTURB, LEARN)
    complete = _made(folder, CLASSIFY, *commands, keeping=True)
    for run_id in complete.made:
        (result,) = folder.glob(f"results/*/{run_id}/result.h5")
        if complete.made[run_id] != with_out(CLASSIFY):
            result.unlink()
    return complete


def of_data(folder: Path) -> Site:
    """The images of the package as if they were MNIST, packed and as HDF5, and a run on them."""
    mnist = folder / "data" / "mnist"
    mnist.mkdir(parents=True)
    for path in registry.place("embedded").glob("*.gz"):
        shutil.copy(path, mnist)
    cifar = folder / "data" / "cifar-10" / "cifar-10-batches-bin"
    cifar.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (cifar / f"{name}.bin").write_bytes(bytes(3073 * 10))
    return _made(folder, CONVERT, (*IMAGES, "--dataset", "mnist", *DATA))


MAKERS = {
    "runs": of_runs,
    "stages": of_stages,
    "sweeps": of_sweeps,
    "interrupted": of_interrupted,
    "data": of_data,
}


def with_out(words: Words) -> Words:
    """A command with the trial's results folder, where it has one."""
    return words if words[0] == "data" else (*words, *OUT)


def _made(folder: Path, *commands: Words, keeping: bool = False) -> Site:
    """The site that the commands make one after the other; `keeping` the states of all stages."""
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(folder, tuple(with_out(words) for words in commands))
    for words in site.commands:
        before = set(folder.glob("results/*/*/result.h5"))
        here = placed(words, folder)
        ended = Child(folder, here, lambda here=here: _keeping(here)).end(60) if keeping else None
        ended = ended or run(folder, here, 60)
        if ended.code != 0:
            raise RuntimeError(f"{here} ended with {ended.code}: {ended.err}")
        new = set(folder.glob("results/*/*/result.h5")) - before
        site.made.update({path.parent.name: words for path in new})
    for name in ("said", "cwd"):
        shutil.rmtree(folder / name)
    site.numbers.update(numbers(folder))
    return site


def _keeping(words: Sequence[str]) -> int:
    """A command that keeps all its states, and leaves them behind."""
    plain = Checkpoints.keep

    def keep(self, stage, state, at_once=False):
        return plain(self, stage, state, at_once=True)

    with (
        mock.patch.object(Checkpoints, "keep", keep),
        mock.patch.object(Checkpoints, "clear"),
    ):
        return command(words)
