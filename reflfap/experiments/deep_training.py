"""Training a deep network on an image set, (E2): options, networks, and what is stored of one."""

import math
from typing import Literal, NamedTuple

import numpy as np

from data_loaders.registry import DATA_SETS
from reflfap import checks
from reflfap.backend import HostArray, Namespace, asarray, to_host
from reflfap.deep import classifier
from reflfap.deep.classifier import Images, to_released
from reflfap.deep.convnet import convnet
from reflfap.deep.network import Chain, initial_arrays
from reflfap.deep.wideresnet import wideresnet
from reflfap.errors import refuse
from reflfap.experiments.experiment import Config, Dataset, Inputs
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.training.minibatch import Curves, Sgd, train_by_batches

NETWORKS = ("convnet", "wideresnet")

RELEASED_WIDTH = 16
"""Channels of the first layer of the released ConvNet."""

NORMALISATION = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "cifar-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "embedded": ((0.2860,), (0.3530,)),
}
"""Mean and deviation of the pixels, which the networks subtract and divide by, as released."""


AXES = {
    1: "channel",
    2: "output, input",
    4: "output channel, input channel, row, column",
}
"""Of weights in the released layout, by the number of their axes."""


class Preset(NamedTuple):
    """What a preset chooses for a data set."""

    epochs: int
    rate: float = 0.1
    depth: int = 0  # of a WideResNet
    width: int = 0  # of the data set's usual network; of a ConvNet, 0 is the released one
    augment: bool = False  # crop and mirror at random


class DeepConfig(Config):
    """What the options of a training have in common; `resolve` fills in those left open."""

    dataset: Literal["mnist", "fashion-mnist", "cifar-10", "embedded"]
    network: Literal["convnet", "wideresnet"] | None
    depth: int | None
    width: int | None
    epochs: int | None
    subset: int
    rate: float | None
    batch: int | None
    augment: bool | None
    dtype: Literal["float32", "float64"]

    def resolve(self, chosen: Preset) -> None:
        """Fill in what is left open, and check the rest."""
        self.fill_in("network", "wideresnet" if self.dataset == "cifar-10" else "convnet")
        self.fill_in("epochs", chosen.epochs)
        self.fill_in("rate", chosen.rate)
        self.fill_in("augment", chosen.augment)
        checks.choice("network", str(self.network), NETWORKS)
        self._resolve_shape(chosen)
        for name, least in (("epochs", 1), ("subset", 0), ("batch", 2), ("seed", 0)):
            self.settle(name, checks.whole_number(name, getattr(self, name), least))
        self.settle("rate", checks.real_number("rate", self.rate, 0, math.inf, "()"))

    def _resolve_shape(self, chosen: Preset) -> None:
        """depth and width. A convnet has no depth, and 0 stands for the released width."""
        wide = self.dataset == "cifar-10"
        if self.network == "convnet":
            if self.depth:
                remedy = "leave it out, or use --network wideresnet"
                refuse("depth", "none for a convnet", self.depth, remedy)
            self.fill_in("width", 0 if wide else chosen.width)
            width = checks.whole_number("width", self.width, 0)
            self.settle("depth", 0)
            self.settle("width", 0 if width == RELEASED_WIDTH else width)
            return
        self.fill_in("depth", (chosen.depth if wide else 0) or 10)
        self.fill_in("width", (chosen.width if wide else 0) or 1)
        self.settle("depth", checks.resnet_depth(self.depth))
        self.settle("width", checks.whole_number("width", self.width, 1))

    @property
    def sgd(self) -> Sgd:
        """How its batches are learned."""
        rate, batch = checks.filled_in("rate", self.rate), checks.filled_in("batch", self.batch)
        return Sgd(rate, batch, augment=bool(self.augment))


class Classified(NamedTuple):
    """All that a training leaves, on the host."""

    metrics: dict[str, float]
    weights: dict[str, HostArray]
    curves: Curves


def deep_network(config: DeepConfig) -> Chain:
    """The network of a config, without weights."""
    data, moments = DATA_SETS[config.dataset], NORMALISATION[config.dataset]
    channels, classes = data.shape[0], len(data.class_names)
    depth, width = (checks.filled_in(name, getattr(config, name)) for name in ("depth", "width"))
    if config.network == "convnet":
        return convnet(*moments, channels, classes, width or RELEASED_WIDTH)
    return wideresnet(depth, width, *moments, channels, classes)


def checked(dataset: str, images: Images) -> Images:
    """Images that a network for this data set takes; InputError for others."""
    data = DATA_SETS[dataset]
    return classifier.images(*images, data.shape, len(data.class_names))


def fit(
    config: DeepConfig,
    name: str,
    images: Images,
    test: Images,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    workers: int = 1,
) -> Classified:
    """The network called `name`, trained on checked images as the config says."""
    made = deep_network(config)
    initial = initial_arrays(made, stream(config.seed, f"{name}/weights"), config.dtype)
    learnt = train_by_batches(
        made,
        {name: asarray(values, xp) for name, values in initial.items()},
        images,
        test,
        config.sgd,
        epochs=checks.filled_in("epochs", config.epochs),
        seed=config.seed,
        workers=workers,
        monitor=monitor,
        stage=name,
    )
    weights = {name: to_host(values) for name, values in learnt.weights.items()}
    return Classified(_metrics(name, learnt.curves), weights, learnt.curves)


def _metrics(name: str, curves: Curves) -> dict[str, float]:
    """The last epoch, and the best test accuracy of all."""
    return {
        f"loss_{name}": float(curves.loss[-1]),
        f"acc_{name}_own": float(curves.accuracy[-1]),
        f"acc_{name}_test": float(curves.accuracy_test[-1]),
        f"acc_{name}_test_best": float(curves.accuracy_test.max()),
    }


def network_datasets(network: str, found: Classified) -> dict[str, Dataset]:
    """The weights of a deep network, in the released layout, and its learning curves."""
    datasets = {
        f"networks/{network}/{name}": Dataset(values, AXES[values.ndim], "none")
        for name, values in to_released(found.weights).items()
    }
    for name, values in found.curves._asdict().items():
        unit = {"loss": "mean loss", "rate": "learning rate"}.get(name, "fraction")
        datasets[f"traces/{network}/{name}"] = Dataset(values, "epoch", unit)
    return datasets


def split_of(inputs: Inputs, dataset: str, split: str) -> tuple[Images, str]:
    """The "train" or "test" images of a data set, and the digest of the files they come from."""
    found = inputs.images(dataset, split)
    return Images(found.images, found.labels), found.sha256


def both_splits(inputs: Inputs, dataset: str) -> tuple[Images, Images, str]:
    """Training and test images of a data set, and the digests of the files they come from."""
    (train, one), (test, other) = (split_of(inputs, dataset, split) for split in ("train", "test"))
    return train, test, f"{one} {other}"
