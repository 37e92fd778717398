"""A deep network learns a perturbed image set that was made elsewhere, and is tested on clean
images: the third stage of (E2), whoever made the set.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from reflfap import checks
from reflfap.data_loaders.image_set import ImageSet
from reflfap.data_loaders.registry import data_set, short_name
from reflfap.deep.classifier import Images
from reflfap.errors import StoreError, refuse
from reflfap.experiments import deep_training
from reflfap.experiments.deep_training import Preset
from reflfap.experiments.experiment import (
    Computed,
    Estimate,
    Experiment,
    ImagesOptions,
    Inputs,
)
from reflfap.experiments.learn import LearnerConfig, learn_images
from reflfap.experiments.perturb_config import scale_of
from reflfap.monitor import Monitor

_DESCRIBED = re.compile(r"[a-z0-9-]{1,30}:(\d{1,4}x\d{1,4}x\d{1,4}):(\d{1,8}):[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class LearnSetConfig(LearnerConfig):
    """A deep network that learns perturbed images made elsewhere, and is tested on clean ones.

    Options left out are as `reflfap run learn` of natural images has them.
    """

    experiment = "learn-set"

    dataset: str = "embedded"
    """clean images that it is tested on: mnist, fashion-mnist, cifar-10, embedded, or the path of
    your own set (docs/images.md)"""
    perturbed: str | None = None
    """NAME:CxHxW:SAMPLES:DIGEST; by default what --set holds, never another"""
    preset: Literal["paper", "cpu"] = "cpu"
    """paper: the released epochs and networks; cpu: fewer epochs, and narrower networks"""
    seed: int = 0
    """seed of all random numbers"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision of the computation"""

    def __post_init__(self) -> None:
        self.check_words()
        shape = "x".join(map(str, data_set(self.dataset).shape))
        if self.perturbed is None:
            return  # how many samples there are is not known yet
        found = _DESCRIBED.fullmatch(self.perturbed)
        if found is None or found[1] != shape:
            remedy = "leave it out: it is filled in from --set"
            refuse("perturbed", f"NAME:{shape}:SAMPLES:DIGEST", repr(self.perturbed), remedy)
        samples, scale = int(found[2]), scale_of(self.preset, self.dataset)
        rate, epochs = scale.rate or 0.01, scale.natural_epochs
        chosen = Preset(epochs, rate, scale.depth, scale.width, scale.augment)
        self.settle_whole(subset=0)
        batch = min(scale.batch, samples, self.subset or samples)
        self.resolve_learning(chosen, batch, samples)

    @property
    def samples(self) -> int:
        """How many the set has."""
        return int(checks.filled_in("perturbed", self.perturbed).split(":")[2])


@dataclass(frozen=True, kw_only=True)
class LearnSetOptions(ImagesOptions):
    """Which set, and how to run."""

    set: Path | None = None
    """the perturbed set: a .npz or HDF5 file with x (N, C, H, W), pixels on [0, 1], and y (N,),
    the class each was perturbed towards; or a result of `reflfap run perturb`"""


def settled(config: LearnSetConfig, inputs: Inputs) -> LearnSetConfig:
    """The config of a command line with what its set says filled in."""
    said, found = _read(inputs)
    if config.perturbed not in (None, said):
        refuse("perturbed", f"{said}, as the file holds", config.perturbed, "leave it out")
    deep_training.checked(config.dataset, Images(found.images, found.labels))
    return replace(config, perturbed=said)


def _read(inputs: Inputs) -> tuple[str, ImageSet]:
    """What the set is, in short, and the set."""
    options = inputs.options
    if not isinstance(options, LearnSetOptions) or options.set is None:
        refuse("set", "a file with a perturbed set", "none", "give --set FILE")
    found = inputs.files("set")
    shape = "x".join(map(str, found.images.shape[1:]))
    name = short_name(options.set.stem)
    return f"{name}:{shape}:{len(found.labels)}:{found.sha256[:16]}", found


def compute(config: LearnSetConfig, inputs: Inputs, monitor: Monitor) -> Computed:
    """Weights, curves and accuracies of what learned the set."""
    said, given = _read(inputs)
    if said != config.perturbed:  # changed since the config was made
        refuse("set", f"the set {config.perturbed}", said, "start again", StoreError)
    test = deep_training.split_of(inputs, config.dataset, "test")
    images = Images(given.images, given.labels)
    found = learn_images(config, images, test, inputs, monitor)
    about: dict[str, str | int] = {"workers": inputs.workers, "set_sha256": given.sha256}
    return Computed(found.metrics, found.datasets, about)


def cost(config: LearnSetConfig) -> Estimate:
    """Training on the set, which memory holds as float32."""
    found = deep_training.training_cost(config, config.subset or config.samples, holds_images=False)
    size = 4.0 * config.samples * float(np.prod(data_set(config.dataset).shape))
    return found._replace(memory=found.memory + size)


EXPERIMENT = Experiment(
    config=LearnSetConfig,
    summary="Learn perturbed images that were made elsewhere; also as `run learn --set FILE`.",
    compute=compute,
    cost=cost,
    options=LearnSetOptions,
    settled=settled,
    reads=lambda config: [(config.dataset, "test")],
    picture="reflfap.figures.learning_curves",
    makes="network",
)
