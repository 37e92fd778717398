"""The config of a clean classifier, and the presets that fill what is left open."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from data_loaders.registry import DATA_SETS
from reflfap import checks
from reflfap.errors import refuse

NETWORKS = ("convnet", "wideresnet")

RELEASED_WIDTH = 16
"""Channels of the first layer of the released ConvNet."""


class Preset(NamedTuple):
    """What a preset chooses for a data set."""

    epochs: int
    rate: float = 0.1
    depth: int = 0  # of a WideResNet
    width: int = 0  # of the data set's usual network; of a ConvNet, 0 is the released one
    augment: bool = False  # crop and mirror at random


PRESETS = {
    "paper": {
        "mnist": Preset(epochs=100),
        "fashion-mnist": Preset(epochs=200),
        "cifar-10": Preset(epochs=200, depth=28, width=10, augment=True),
        "embedded": Preset(epochs=200),
    },
    "cpu": {
        "mnist": Preset(epochs=4),
        "fashion-mnist": Preset(epochs=6, rate=0.05),
        "cifar-10": Preset(epochs=9, depth=16, width=1, augment=True),
        "embedded": Preset(epochs=30, rate=0.05),
    },
}
"""paper: the released numbers (of embedded, which was not released, those of Fashion-MNIST); cpu:
what two cores do within half an hour. On clothes the released
rate is at the edge of stability, where rounding decides whether the first epoch ends well
(docs/deep-networks.md), so cpu takes half of it there."""


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """A clean classifier, the first stage of E2; options left out follow from preset and data."""

    dataset: Literal["mnist", "fashion-mnist", "cifar-10", "embedded"] = "embedded"
    """images; embedded, a part of Fashion-MNIST, comes with the package"""
    network: Literal["convnet", "wideresnet"] | None = None
    """default: wideresnet for cifar-10, else convnet"""
    preset: Literal["paper", "cpu"] = "cpu"
    """paper: the released epochs, rate and WideResNet-28-10; cpu: fewer epochs, WideResNet-16-1"""
    depth: int | None = None
    """of a wideresnet: 10, 16, 22, 28 and so on, 6 n + 4"""
    width: int | None = None
    """of a wideresnet: channels are 16, 32, 64 times this; of a convnet: this, 8 and 16 times this,
    default 16, as released"""
    epochs: int | None = None
    """passes through the images"""
    subset: int = 0
    """training images, chosen by seed; 0, or as many as there are: all"""
    rate: float | None = None
    """learning rate, cut to a tenth after more than ten epochs in a row without a lower loss;
    default: 0.1 as released, of preset cpu 0.05 for clothes"""
    batch: int = 128
    """images a step"""
    augment: bool | None = None
    """crop and mirror at random; default: for cifar-10"""
    seed: int = 0
    """seed of all random numbers"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision of the arrays"""

    def __post_init__(self) -> None:
        checks.choice("dataset", self.dataset, DATA_SETS)
        checks.choice("preset", self.preset, PRESETS)
        checks.choice("dtype", self.dtype, ("float32", "float64"))
        resolve(self, PRESETS[self.preset][self.dataset])

    @property
    def experiment(self) -> str:
        """The name of the experiment, as on the command line."""
        return "classify"


class Training(Protocol):
    """What the config of a training of a deep network holds; None is filled in by `resolve`."""

    @property
    def dataset(self) -> str: ...
    @property
    def network(self) -> str | None: ...
    @property
    def depth(self) -> int | None: ...
    @property
    def width(self) -> int | None: ...
    @property
    def epochs(self) -> int | None: ...
    @property
    def subset(self) -> int: ...
    @property
    def rate(self) -> float | None: ...
    @property
    def batch(self) -> int | None: ...
    @property
    def augment(self) -> bool | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def dtype(self) -> str: ...


def resolve(config: Any, chosen: Preset) -> None:
    """Fill in what a new config of a training leaves open, and check the rest.

    Checked by test_classify.py::test_configs and ::test_bad_configs_are_refused.
    """

    def put(name: str, value: Any) -> None:
        object.__setattr__(config, name, value)  # the dataclass is frozen for everybody else

    defaults = {
        "network": "wideresnet" if config.dataset == "cifar-10" else "convnet",
        "epochs": chosen.epochs,
        "rate": chosen.rate,
        "augment": chosen.augment,
    }
    for name, value in defaults.items():
        if getattr(config, name) is None:
            put(name, value)
    checks.choice("network", config.network, NETWORKS)
    for name, value in _shape(config, chosen).items():
        put(name, value)
    for name, least in (("epochs", 1), ("subset", 0), ("batch", 2), ("seed", 0)):
        put(name, checks.whole_number(name, getattr(config, name), least))
    put("rate", checks.real_number("rate", config.rate, 0, math.inf, "()"))


def _shape(config: Training, chosen: Preset) -> dict[str, int]:
    """depth and width. A convnet has no depth, and 0 stands for the released width."""
    if config.network == "convnet":
        if config.depth:
            remedy = "leave it out, or use --network wideresnet"
            refuse("depth", "none for a convnet", config.depth, remedy)
        own = 0 if config.dataset == "cifar-10" else chosen.width
        width = checks.whole_number("width", own if config.width is None else config.width, 0)
        return {"depth": 0, "width": 0 if width == RELEASED_WIDTH else width}
    wide = config.dataset == "cifar-10"
    depth = (chosen.depth if wide else 0) or 10 if config.depth is None else config.depth
    width = (chosen.width if wide else 0) or 1 if config.width is None else config.width
    return {"depth": checks.resnet_depth(depth), "width": checks.whole_number("width", width, 1)}
