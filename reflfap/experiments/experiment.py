"""What an experiment is: config, computation, what it stores, draws and costs, in one object.

Command line, runs, sweeps, tables and figures are written once, for such objects. An experiment is
a module that defines one as EXPERIMENT, and a line in `experiments.registry`. It computes, and
leaves files, folders and progress to others: what it needs from disk comes with its Inputs.
"""

import functools
import hashlib
import json
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray, Namespace
from reflfap.data_loaders.image_set import ImageSet
from reflfap.errors import refuse
from reflfap.monitor import Monitor

Table: TypeAlias = Mapping[str, Any]
"""Options of many cells by name; a list stands for each of its values."""


class Config:
    """What defines a run: a frozen dataclass of values that can change a number, and no others.

    Device, thread count and paths do not belong here. An option that is left open is None, and is
    filled in when the config is made, so that equal runs have equal ids.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    experiment: ClassVar[str]  # its name, as on the command line
    later: ClassVar[Mapping[str, Any]] = {}
    """Options that came after results were there, each with the value that those have; with it an
    option is left out of the JSON, so that ids stay."""
    seed: int

    def settle(self, name: str, value: Any) -> None:
        """Set an option while the config is made; it is frozen for everybody else."""
        object.__setattr__(self, name, value)

    def fill_in(self, name: str, value: Any) -> None:
        """Set an option that was left open."""
        if getattr(self, name) is None:
            self.settle(name, value)

    def settle_whole(self, **least: int) -> None:
        """Check and set whole numbers, each at least so much."""
        for name, smallest in least.items():
            self.settle(name, checks.whole_number(name, getattr(self, name), smallest))

    def check_words(self) -> None:
        """Refuse what is none of the words that an option's type lists, or left open."""
        kind: Any = type(self)
        for name, words, is_open in _words_of(kind):
            value = getattr(self, name)
            if not (value is None and is_open):
                checks.choice(name, value, words)


@functools.cache
def _words_of(kind: Any) -> list[tuple[str, tuple[str, ...], bool]]:
    """Options of a config that take words, with these, and whether they may be left open."""
    found = [(one.name, _words(one.type), one.default is None) for one in fields(kind)]
    return [one for one in found if one[1]]


def _words(kind: Any) -> tuple[str, ...]:
    """Those of a type Literal, which may be one of several; of other types none."""
    parts = (kind, *typing.get_args(kind))
    return sum((typing.get_args(one) for one in parts if typing.get_origin(one) is Literal), ())


Kind = TypeVar("Kind", bound=Config)


def canonical_json(config: Config) -> str:
    """The config as JSON with sorted keys and no spaces; equal configs give equal text."""
    options = {one.name: getattr(config, one.name) for one in fields(config)}
    for name, value in config.later.items():
        if options[name] == value:
            del options[name]
    return _canonical({"experiment": config.experiment, **options})


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def run_id(config_json: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(config_json.encode()).hexdigest()[:16]


def identity(config: Config) -> str:
    """The run id of a config."""
    return run_id(canonical_json(config))


class RunOf(NamedTuple):
    """A run that is known by its id alone, and is there or is not."""

    experiment: str
    run_id: str
    option: str  # that names it
    remedy: str  # where it is not there


class Pieces(NamedTuple):
    """An array that memory need not hold, as pieces of its rows in their order."""

    shape: tuple[int, ...]
    dtype: str
    pieces: Iterable[HostArray]


class Dataset(NamedTuple):
    """An array to store, with the names of its axes and its unit."""

    values: HostArray | Pieces
    shape_names: str
    units: str


class Computed(NamedTuple):
    """What an experiment leaves to be stored."""

    metrics: Mapping[str, float]
    datasets: Mapping[str, Dataset] = {}
    about: Mapping[str, str | int] = {}  # root attributes: what it was made from


class Stored:
    """A result that is there: what the next stage and the figures read."""

    path: Path
    config: Config
    attributes: dict[str, Any]
    metrics: dict[str, float]
    seal: str  # SHA-256 of its content

    def config_of(self, kind: type[Kind]) -> Kind:
        """The config, which must be of one experiment; InputError for a result of another."""
        if not isinstance(self.config, kind):
            got = self.config.experiment
            refuse("result", f"a run of {kind.__name__}", got, "give another result")
        return self.config

    def array(self, name: str, shape: tuple[int, ...], kind: str = "f") -> HostArray:
        """The dataset `name`, which must have floats (kind "f") or whole numbers ("i") in `shape`;
        -1 is any length up to 10^7."""
        raise NotImplementedError

    def mapped(self, name: str, shape: tuple[int, ...]) -> HostArray:
        """The same without reading it: rows come from the disk when they are used."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run; nothing here changes a number."""

    out: Path = Path("results")
    """folder of all results"""
    json: bool = False
    """print one JSON object on standard output"""
    force: bool = False
    """compute again even if a complete result is there"""


@dataclass(frozen=True, kw_only=True)
class DeviceOptions(RunOptions):
    """More ways to run what has pictures, and can run on a device."""

    figure: bool = False
    """draw a picture next to the result, as PNG and PDF"""
    device: str = "cpu"
    """cpu: NumPy; cuda, or cuda:K for device K: CuPy"""


@dataclass(frozen=True, kw_only=True)
class ImagesOptions(DeviceOptions):
    """More ways to run on image sets."""

    data_dir: Path | None = None
    """folder of the data sets; default: REFLFAP_DATA, else where `reflfap data fetch` puts them"""


def _no_images(dataset: str, split: str) -> ImageSet:
    refuse("images", "a way to read them", "none", "give Inputs(images=...)")


def _no_files(option: str) -> Any:
    refuse("files", "a way to read them", "none", "give Inputs(files=...)")


@dataclass(frozen=True)
class Inputs:
    """What a computation has beside its config."""

    xp: Namespace = np
    """array library of the device"""
    workers: int = 1
    """threads that take parts of a batch"""
    images: Callable[[str, str], ImageSet] = _no_images
    """(data set, "train" or "test") -> its images, read when they are asked for"""
    files: Callable[[str], Any] = _no_files
    """what the options call so, such as "train" -> the table or set in those files"""
    before: Mapping[str, Stored] = field(default_factory=dict)
    """results of the stages before, by experiment"""
    options: RunOptions = RunOptions()


ON_HOST = Inputs()


class Estimate(NamedTuple):
    """What a run needs, good to a factor of two or so."""

    flops: float  # operations, at the rate of a matrix product
    memory: float  # bytes of arrays at its peak
    disk: float = 0.0  # bytes of the result, and once more of the parts it is put together from


Stages: TypeAlias = Mapping[str, Stored]


def both_splits(config: Any) -> list[tuple[str, str]]:
    """Training and test images of a config's data set, as Experiment.reads names them."""
    return [(config.dataset, split) for split in ("train", "test")]


@dataclass(frozen=True)
class Experiment(Generic[Kind]):
    """An experiment; only the first four have to be given."""

    config: type[Kind]
    summary: str
    """a line for people who look for a command"""
    compute: Callable[[Kind, Inputs, Monitor], Computed]
    cost: Callable[[Kind], Estimate]
    options: type[RunOptions] = RunOptions
    """its ways to run"""
    settled: Callable[[Kind, Inputs], Kind] = lambda config, inputs: config
    """the config of a command line with what its files say filled in"""
    reads: Callable[[Kind], Sequence[tuple[str, str]]] = lambda config: ()
    """the image sets that a run reads, each with its split: its result is of those alone"""
    words: Callable[[Mapping[str, float]], Iterable[str]] = lambda metrics: ()
    """what its metrics say, in lines, beside accuracies"""
    needed: Callable[[RunOptions], Sequence[str]] = lambda options: ()
    """the datasets that a complete result must have to be taken for this run's"""
    picture: str = ""
    """the module whose save_run(result, inputs, folder) draws what `--figure` asks for"""
    before: Callable[[Kind], Sequence[Config | RunOf]] = lambda config: ()
    """the stages that must be there first, in their order; those before them included"""
    check_before: Callable[[Kind, Stages], None] = lambda config, stages: None
    """InputError where a stage before is not of the kind that this one needs"""
    goes_back: Callable[[Kind, Stored, Stages], bool] = lambda config, result, stages: True
    """whether a complete result was made from those stages as they are now"""
    makes: str = "cell"
    """what a run of it is called in a sweep"""
    presets: Mapping[str, Callable[[], Sequence[Table]]] = field(default_factory=dict)
    """grids of its sweeps by name; an experiment without one has no sweeps"""
    sharing: Any = None
    """what cells of a sweep have in common: an experiments.cell.Sharing"""
    together: Callable[[Kind], tuple[Config, Config]] | None = None
    """of cells that share what memory holds: what those of one task have alike, and their order"""
    accuracies: Sequence[str] = ("acc_adversarial_test",)
    """what each row of its table must have, where no networks are shared"""

    @property
    def name(self) -> str:
        return self.config.experiment
