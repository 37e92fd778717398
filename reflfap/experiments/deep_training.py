"""Training a deep network on an image set, (E2): options, networks, and what is stored of one.

Time, memory and disk of the stages before they run are good to a factor of two or so.
"""

import math
from typing import Literal, NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray, asarray, to_host
from reflfap.data_loaders.registry import DATA_SETS, data_set
from reflfap.deep import classifier
from reflfap.deep.classifier import Images, to_released
from reflfap.deep.convnet import convnet
from reflfap.deep.cost import Cost, layer_cost
from reflfap.deep.network import Chain, initial_arrays
from reflfap.deep.wideresnet import wideresnet
from reflfap.errors import refuse
from reflfap.experiments.experiment import ON_HOST, Config, Dataset, Estimate, Inputs
from reflfap.machine import blas_threads
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.training.minibatch import Curves, Sgd, train_by_batches

RELEASED_WIDTH = 16
"""Channels of the first layer of the released ConvNet."""

NORMALISATION = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "cifar-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "embedded": ((0.2860,), (0.3530,)),
}
"""Mean and deviation of the pixels, which the networks subtract and divide by, as released; of own
sets 0.5 and 0.25 in each channel."""

SMALL = 10_000
"""Training images of an own set up to which the presets of the embedded set serve it."""

LEAST_SIDE = 11
"""Pixels each way that a convnet takes at least; a wideresnet takes any."""

AXES = {
    1: "channel",
    2: "output, input",
    4: "output channel, input channel, row, column",
}
"""Of weights in the released layout, by the number of their axes."""


WINOGRAD = 0.2
"""Operations done for one that the definition of a layer counts: Winograd's algorithm saves the
rest. This and the next fitted to steps of ConvNet and WideResNet-16-1 (benchmarks/deep.py)."""

PASSES = 310
"""Cost of one number between layers, which is bound by memory, in operations."""


class Preset(NamedTuple):
    """What a preset chooses for a data set."""

    epochs: int
    rate: float = 0.1
    depth: int = 0  # of a WideResNet
    width: int = 0  # of the data set's usual network; of a ConvNet, 0 is the released one
    augment: bool = False  # crop and mirror at random


def usual_set(dataset: str) -> str:
    """The known set whose presets a data set takes: its own, and of an own set those of cifar-10
    for three channels, else of embedded, or for more than SMALL images of fashion-mnist."""
    if dataset in DATA_SETS:
        return dataset
    data = data_set(dataset)
    if data.shape[0] == 3:
        return "cifar-10"
    return "embedded" if data.sizes[0] <= SMALL else "fashion-mnist"


def usual_network(dataset: str) -> str:
    """A wideresnet for images of three channels or of fewer than LEAST_SIDE pixels each way."""
    channels, *sides = data_set(dataset).shape
    return "wideresnet" if channels == 3 or min(sides) < LEAST_SIDE else "convnet"


class DeepConfig(Config):
    """What the options of a training have in common; `resolve` fills in those left open."""

    dataset: str
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
        self.fill_in("network", usual_network(self.dataset))
        _, *sides = data_set(self.dataset).shape
        if self.network == "convnet" and min(sides) < LEAST_SIDE:
            expected = f"wideresnet for images of fewer than {LEAST_SIDE} pixels a side"
            got, remedy = f"convnet for {sides[0]} x {sides[1]}", "use --network wideresnet"
            refuse("network", expected, got, remedy)
        self.fill_in("epochs", chosen.epochs)
        self.fill_in("rate", chosen.rate)
        self.fill_in("augment", chosen.augment)
        self._resolve_shape(chosen)
        self.settle_whole(epochs=1, subset=0, batch=2, seed=0)
        self.settle("rate", checks.real_number("rate", self.rate, 0, math.inf, "()"))

    def _resolve_shape(self, chosen: Preset) -> None:
        """depth and width. A convnet has no depth, and 0 stands for the released width."""
        wide = usual_set(self.dataset) == "cifar-10"
        if self.network == "convnet":
            if self.depth:
                remedy = "leave it out, or use --network wideresnet"
                refuse("depth", "none for a convnet", self.depth, remedy)
            self.fill_in("width", 0 if wide else chosen.width)
            self.settle_whole(width=0)
            self.settle("depth", 0)
            if self.width == RELEASED_WIDTH:
                self.settle("width", 0)
            return
        self.fill_in("depth", (chosen.depth if wide else 0) or 10)
        self.fill_in("width", (chosen.width if wide else 0) or 1)
        self.settle("depth", checks.resnet_depth(self.depth))
        self.settle_whole(width=1)


class Classified(NamedTuple):
    """All that a training leaves, on the host."""

    metrics: dict[str, float]
    weights: dict[str, HostArray]
    curves: Curves


def deep_network(config: DeepConfig) -> Chain:
    """The network of a config, without weights."""
    data = data_set(config.dataset)
    channels, classes = data.shape[0], len(data.class_names)
    moments = NORMALISATION.get(config.dataset, ((0.5,) * channels, (0.25,) * channels))
    depth, width = (checks.filled_in(name, getattr(config, name)) for name in ("depth", "width"))
    if config.network == "convnet":
        return convnet(*moments, channels, classes, width or RELEASED_WIDTH)
    return wideresnet(depth, width, *moments, channels, classes)


def checked(dataset: str, images: Images) -> Images:
    """Images that a network for this data set takes; InputError for others."""
    data = data_set(dataset)
    return classifier.images(*images, data.shape, len(data.class_names))


def fit(
    config: DeepConfig,
    name: str,
    images: Images,
    test: Images,
    inputs: Inputs = ON_HOST,
    monitor: Monitor = SILENT,
    best: bool = False,
) -> Classified:
    """The network called `name`, trained on images as the config says, and tested on others.

    Its metrics are of the last epoch, and the best test accuracy of all; its weights are of the
    last epoch, or with `best` of that one. Peak memory: the images,
    of which a batch at a time is read where they are mapped, the activations of a batch (ConvNet,
    batch 128: 0.2 GB; WideResNet-28-10: 70 MB an image), the weights three times and once more a
    worker.
    """
    made = deep_network(config)
    images, test = (checked(config.dataset, one) for one in (images, test))
    initial = initial_arrays(made, stream(config.seed, f"{name}/weights"), config.dtype)
    rate, batch = checks.filled_in("rate", config.rate), checks.filled_in("batch", config.batch)
    learnt = train_by_batches(
        made,
        {name: asarray(values, inputs.xp) for name, values in initial.items()},
        images,
        test,
        Sgd(rate, batch, augment=bool(config.augment)),
        epochs=checks.filled_in("epochs", config.epochs),
        best=best,
        seed=config.seed,
        workers=inputs.workers,
        monitor=monitor,
        stage=name,
    )
    curves = learnt.curves
    metrics = {
        f"loss_{name}": float(curves.loss[-1]),
        f"acc_{name}_own": float(curves.accuracy[-1]),
        f"acc_{name}_test": float(curves.accuracy_test[-1]),
        f"acc_{name}_test_best": float(curves.accuracy_test.max()),
    }
    weights = {name: to_host(values) for name, values in learnt.weights.items()}
    return Classified(metrics, weights, curves)


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


def split_of(inputs: Inputs, dataset: str, split: str) -> Images:
    """The "train" or "test" images of a data set."""
    found = inputs.images(dataset, split)
    return Images(found.images, found.labels)


def training_cost(config: DeepConfig, count: int, holds_images: bool) -> Estimate:
    """Training on `count` images; memory holds those of the data set as bytes, or a batch alone."""
    one, data = _cost(config), data_set(config.dataset)
    step = count * _operations(one, 3) + data.sizes[1] * _operations(one, 1)
    weights = 4.0 * sum(np.prod(spec.shape) for spec in deep_network(config).arrays().values())
    memory = 4.0 * checks.filled_in("batch", config.batch) * one.numbers + 6 * weights
    memory += _images(config.dataset) if holds_images else 0.0
    return Estimate(checks.filled_in("epochs", config.epochs) * step, memory, weights)


def attack_cost(config: DeepConfig, count: int, steps: int, chunk: int) -> Estimate:
    """Perturbing `count` images against the network of `config`, `chunk` at a time in a thread; the
    images they start from, and the set on disk twice."""
    one, inputs = _cost(config), int(np.prod(data_set(config.dataset).shape))
    disk = 4.0 * count * inputs
    memory = 4.0 * chunk * blas_threads() * one.numbers + _images(config.dataset) + 16.0 * inputs**2
    return Estimate((steps + 1) * count * _operations(one, 2), memory, 2 * disk)


def _operations(one: Cost, passes: int) -> float:
    """Of forward, of gradients of inputs and of weights: a third each of a step of training."""
    return passes * (2 * WINOGRAD * one.multiplications + PASSES * one.numbers)


def _cost(config: DeepConfig) -> Cost:
    return layer_cost(deep_network(config), data_set(config.dataset).shape)


def _images(dataset: str) -> float:
    """Bytes of a data set in memory."""
    data = data_set(dataset)
    return float(data.sizes[0] * np.prod(data.shape))
