"""Learning from perturbations on a user's own samples: (E3) on any table of numbers.

The standard network learns natural samples of two classes. Noise, or natural samples, get targets
that say nothing about them, and are perturbed against the standard network. Does a network trained
on those alone classify the natural samples, and test samples that no network saw?
"""

import hashlib
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from reflfap import attacks
from reflfap.backend import Array, Namespace, asarray, namespace
from reflfap.data_loaders import artificial
from reflfap.data_loaders.registry import short_name
from reflfap.errors import StoreError, refuse
from reflfap.experiments import three_networks
from reflfap.experiments.cell import CellConfig, cell_cost
from reflfap.experiments.experiment import Computed, DeviceOptions, Experiment, Inputs
from reflfap.experiments.own_samples import classes_of, scaled, scaling, signs
from reflfap.experiments.plane import plane_datasets
from reflfap.experiments.three_networks import WHOLE, Cell, Labelled, ThreeNetworks
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.theory import boundary

if TYPE_CHECKING:  # it reads HDF5, which is slow to import
    from reflfap.data_loaders.own_tables import Table

_DESCRIBED = re.compile(r"[a-z0-9-]{1,30}:(\d{1,10}):(\d{1,10})\+\d{1,10}:[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class DataConfig(CellConfig):
    """Learning from perturbations on your own samples, two classes of them.

    Default epsilon: l2 0.5 sqrt(d), linf 0.5, l0 0.5 of the features. The published experiments
    have hundreds of inputs and more; few inputs take larger perturbations.
    """

    experiment = "data"

    data: str | None = None
    """NAME:INPUTS:SAMPLES+TEST:DIGEST; by default what --train and --test hold, never another"""
    classes: tuple[str, ...] = ()
    """two classes, the first of them has label +1, the second -1. Default: the two that there are,
    the later in the alphabet has label +1"""
    scale: Literal["standard", "range", "none"] = "standard"
    """what is done to each feature, by the natural samples: standard, minus its mean, by its
    deviation; range, onto [-1, 1], which perturbations respect; none"""
    scenario: Literal["noise", "natural-random", "natural-flipped"] = "noise"
    """what is perturbed: noise with random targets, each feature of it uniform on its range where
    there is one, else normal with the feature's mean and deviation; or natural samples, with random
    targets or with the other class as target"""
    n: int = 0
    """natural samples N, at most; 0: all there are"""
    n_adv: int = 2_000
    """source samples, which are perturbed, N_adv; natural ones at most as many as there are"""

    def __post_init__(self) -> None:
        self.check_words()
        self.settle("classes", tuple(self.classes))
        if len(self.classes) not in (0, 2) or len(set(self.classes)) != len(self.classes):
            refuse("classes", "two different ones", repr(self.classes), "give two, as in cat dog")
        if self.data is None:
            return  # how many inputs there are is not known yet
        _, most = self._described()
        self.settle_whole(n=0)
        self.settle("n", min(self.n or most, most))
        if self.scenario != "noise":
            self.settle("n_adv", min(self.n_adv, self.n))
        super().__post_init__()

    def _described(self) -> tuple[int, int]:
        """Inputs and samples."""
        found = _DESCRIBED.fullmatch(str(self.data))
        if found is None:
            remedy = "leave it out: it is filled in from --train and --test"
            refuse("data", "NAME:INPUTS:SAMPLES+TEST:DIGEST", repr(self.data), remedy)
        return int(found[1]), int(found[2])

    @property
    def inputs(self) -> int:
        return self._described()[0]

    @property
    def _released(self) -> dict[str, float]:
        return {"l2": 0.5 * math.sqrt(self.inputs), "linf": 0.5, "l0": 0.5}


@dataclass(frozen=True, kw_only=True)
class DataOptions(DeviceOptions):
    """Which files, and how to run them."""

    train: tuple[Path, ...] = ()
    """samples and their classes: a .npz, .h5 or .csv file, or two .npy files"""
    test: tuple[Path, ...] = ()
    """the same, which no network learns"""
    samples: str = "x"
    """name of the array of samples (N, d) in .npz and .h5 files"""
    label: str = ""
    """name of the array of classes (N,), default y; of the column of a .csv file, default the last
    one"""


class OwnSamples(NamedTuple):
    """What the networks see, on the host: float samples, labels +1 and -1."""

    natural: Labelled
    source: Labelled
    test: Labelled | None
    limits: tuple[Any, Any]  # data range, numbers or (d,) arrays
    classes: tuple[Any, Any] = (-1, 1)  # what labels -1 and +1 stand for


def described(name: str, train: "Table", test: "Table | None") -> str:
    """What a config knows of the data: the same for the same numbers, wherever they lie."""
    count, more = (0, "") if test is None else (len(test.y), test.sha256)
    digest = hashlib.sha256(f"{train.sha256} {more}".encode()).hexdigest()[:16]
    return f"{short_name(name)}:{train.x.shape[1]}:{len(train.y)}+{count}:{digest}"


def settled(config: DataConfig, inputs: Inputs) -> DataConfig:
    """The config of a command line with what its files say filled in."""
    data, train, test = _read(inputs)
    if config.data not in (None, data):
        refuse("data", f"{data}, as the files hold", config.data, "leave it out")
    natural, _, _ = _two_of(config, train, test)
    most = len(natural.y)
    found = replace(config, data=data, n=min(config.n or most, most))
    _drawn(found, natural)  # which refuses before anything is made
    return found


def _read(inputs: Inputs) -> "tuple[str, Table, Table | None]":
    """What the files hold, in short, and the tables of natural and of test samples."""
    options = inputs.options
    if not isinstance(options, DataOptions) or not options.train:
        refuse("train", "a file with samples and their classes", "none", "give --train FILE")
    train, test = inputs.files("train"), inputs.files("test") if options.test else None
    return described(options.train[0].stem, train, test), train, test


def samples_of(
    config: DataConfig,
    natural: Labelled,
    test: Labelled | None,
    classes: tuple[Any, Any],
    limits: tuple[Any, Any] = (-math.inf, math.inf),
) -> OwnSamples:
    """What the networks see, by seed: natural samples in random order, at most n of them, features
    scaled, sources drawn within the limits, which are of scaled features."""
    natural = _drawn(config, natural)
    centre, width = scaling(config.scale, natural.x)
    natural = scaled(natural, centre, width, config.dtype)
    if config.scale == "range":
        limits = (-1.0, 1.0)
        np.clip(natural.x, *limits, out=natural.x)  # which rounding may have left
    limits = attacks.data_range(natural.x, *limits)
    tested = None if test is None else scaled(test, centre, width, config.dtype)
    return OwnSamples(natural, sources(config, natural, limits), tested, limits, classes)


def _drawn(config: DataConfig, natural: Labelled) -> Labelled:
    """n of the samples, in random order, by seed; InputError where they are of one class."""
    order = stream(config.seed, "natural/order").permutation(len(natural.y))[: config.n]
    natural = Labelled(natural.x[order], natural.y[order])
    if abs(natural.y.sum()) == len(natural.y):
        refuse("n", "samples of both classes", f"{len(natural.y)} of one", "take more")
    return natural


def _two_of(
    config: DataConfig, train: "Table", test: "Table | None"
) -> tuple[Labelled, Labelled | None, tuple[Any, Any]]:
    """Samples of the classes for -1 and +1, and these; InputError where there are none."""
    first, second = config.classes[::-1] or classes_of(train.y)
    classes = (first, second)
    if train.x.shape[1] < 2:
        refuse("train", "at least two features", "one", "give more")
    natural = _chosen(train, classes)
    for one, sign in zip(classes, (-1, 1), strict=True):
        if not np.any(natural.y == sign):
            there = ", ".join(np.unique(train.y)[:20].tolist())
            refuse("train", f"samples of class {one!r}", f"those of {there}", "choose others")
    if test is None:
        return natural, None, classes
    if test.x.shape[1] != train.x.shape[1]:
        expected = f"{train.x.shape[1]} features, as train has"
        refuse("test", expected, test.x.shape[1], "give samples of the same kind")
    named = [one.features != tuple(map(str, range(train.x.shape[1]))) for one in (train, test)]
    if all(named) and test.features != train.features:
        pairs = zip(train.features, test.features, strict=True)
        other = next((a, b) for a, b in pairs if a != b)
        expected = f"the features of train in their order, {other[0]!r} next"
        refuse("test", expected, repr(other[1]), "give the columns the same names and order")
    tested = _chosen(test, classes)
    if len(tested.y) == 0:
        there = ", ".join(np.unique(test.y)[:20].tolist())
        expected = f"samples of class {first!r} or {second!r}"
        refuse("test", expected, f"those of {there}", "give samples of the same classes")
    return natural, tested, classes


def _chosen(table: "Table", classes: tuple[Any, Any]) -> Labelled:
    """The rows of two classes, labelled -1 and +1."""
    kept = np.isin(table.y, classes)
    return Labelled(table.x[kept], signs(table.y[kept], classes, "f8"))


def sources(config: DataConfig, natural: Labelled, limits: tuple[Any, Any]) -> Labelled:
    """What is perturbed, towards which targets: samples (N_adv, d) and (N_adv,), by seed."""
    rng = stream(config.seed, "source/y")
    if config.scenario != "noise":
        some = Labelled(natural.x[: config.n_adv], natural.y[: config.n_adv])
        if config.scenario == "natural-flipped":
            return some._replace(y=-some.y)
        return some._replace(y=artificial.labels(len(some.y), rng, config.dtype))
    bounded = all(np.all(np.isfinite(one)) for one in limits)
    kind, draw = "uniform" if bounded else "gauss", stream(config.seed, "source/x")
    x = artificial.samples(kind, config.n_adv, config.inputs, draw, config.dtype)
    if bounded:
        low, high = (np.asarray(one, np.float64) for one in limits)
        centre, width = low / 2 + high / 2, high / 2 - low / 2
    else:
        wide = natural.x.astype(np.float64, copy=False)
        centre, width = wide.mean(axis=0), wide.std(axis=0)
    x *= width.astype(x.dtype)
    x += centre.astype(x.dtype)
    np.clip(x, *limits, out=x)  # which rounding may have left, or a tail where one side is open
    return Labelled(x, artificial.labels(len(x), rng, config.dtype))


def learn(
    config: DataConfig, samples: OwnSamples, xp: Namespace = np, monitor: Monitor = SILENT
) -> tuple[ThreeNetworks, dict[str, float]]:
    """The three networks and the attack between them, and what can be said of them in numbers.

    acc_* on the natural samples, acc_*_test on the test samples; `share_larger` of them, who always
    names the larger class is right in; `acc_predicted` is what (L1) says before any network learned
    the perturbed samples, see `predicted_normal`. Memory: see `train_and_attack`.
    """
    natural, source, test, limits, _ = samples
    limits = tuple(one if np.ndim(one) == 0 else asarray(one, xp) for one in limits)
    found = three_networks.train_and_attack(config, natural, source, limits, xp, monitor)
    metrics = three_networks.own_metrics(found)
    normal = predicted_normal(found.perturbed.x, found.target)
    for suffix, part in (("", natural), ("_test", test)):
        if part is None:
            continue
        metrics |= three_networks.accuracies(found, part, suffix)
        x, y = (asarray(one, xp) for one in part)
        right = y * boundary.boundary_function(normal, x) > 0
        metrics[f"acc_predicted{suffix}"] = float(xp.mean(xp.astype(right, xp.float64)))
        positive = int(np.sum(part.y > 0))
        metrics[f"share_larger{suffix}"] = max(positive, len(part.y) - positive) / len(part.y)
    return found, metrics


def predicted_normal(x_adv: Array, target: Array) -> Array:
    """The normal, (d,), of what learning the perturbed samples x_adv (N_adv, d) leads to.

    By (L1) and (T5) with equal multipliers: sum_n y_adv_n x_adv_n / N_adv. No training is needed,
    nothing is fitted.
    """
    one = namespace(x_adv).ones_like(target) / x_adv.shape[0]
    return boundary.normal(x_adv, target, one)


def compute(config: DataConfig, inputs: Inputs, monitor: Monitor) -> Computed:
    """Networks, perturbed samples, traces and metrics, and the plane of the decision map."""
    data, train, test = _read(inputs)
    if data != config.data:  # changed since the config was made
        refuse("train", f"the data {config.data}", data, "start again", StoreError)
    samples = samples_of(config, *_two_of(config, train, test))
    learned, metrics = learn(config, samples, inputs.xp, monitor)
    cell: Cell = learned.cell(metrics)
    cell = cell._replace(more=plane_datasets(cell.weights, samples.natural))
    found = three_networks.whole_run(cell)
    negative, positive = map(str, samples.classes)
    return found._replace(about={"class_negative": negative, "class_positive": positive})


EXPERIMENT = Experiment(
    config=DataConfig,
    summary="Learn from perturbations on your own samples: two classes of a table of numbers.",
    compute=compute,
    cost=cell_cost,
    options=DataOptions,
    settled=settled,
    needed=lambda options: WHOLE,
    picture="reflfap.figures.decision_map",
)
