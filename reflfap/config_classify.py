"""The config of a clean classifier, and the presets that fill what is left open."""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from data_loaders.registry import DATA_SETS
from reflfap import checks
from reflfap.errors import refuse

NETWORKS = ("convnet", "wideresnet")


class Preset(NamedTuple):
    """What a preset chooses for a data set."""

    epochs: int
    rate: float = 0.1
    depth: int = 0  # of a WideResNet
    width: int = 0


PRESETS = {
    "paper": {
        "mnist": Preset(epochs=100),
        "fashion-mnist": Preset(epochs=200),
        "cifar-10": Preset(epochs=200, depth=28, width=10),
        "embedded": Preset(epochs=200),
    },
    "cpu": {
        "mnist": Preset(epochs=4),
        "fashion-mnist": Preset(epochs=6, rate=0.05),
        "cifar-10": Preset(epochs=6, depth=16, width=1),
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
    """of a wideresnet: channels are 16, 32, 64 times this"""
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
        chosen = PRESETS[self.preset][self.dataset]
        usual = "wideresnet" if self.dataset == "cifar-10" else "convnet"
        self._default("network", usual)
        checks.choice("network", cast(str, self.network), NETWORKS)
        self._shape(chosen)
        self._default("epochs", chosen.epochs)
        self._default("rate", chosen.rate)
        self._default("augment", self.dataset == "cifar-10")
        for name, least in (("epochs", 1), ("subset", 0), ("batch", 2), ("seed", 0)):
            self._set(name, checks.whole_number(name, getattr(self, name), least))
        self._set("rate", checks.real_number("rate", self.rate, 0, math.inf, "()"))

    def _shape(self, chosen: Preset) -> None:
        """depth and width, which a convnet has none of."""
        if self.network == "convnet":
            for name in ("depth", "width"):
                if getattr(self, name):
                    got, remedy = getattr(self, name), "leave it out, or use --network wideresnet"
                    refuse(name, "none for a convnet", got, remedy)
                self._set(name, 0)
            return
        self._default("depth", chosen.depth or 10)
        self._default("width", chosen.width or 1)
        checks.resnet_depth(self.depth)
        checks.whole_number("width", self.width, 1)

    def _default(self, name: str, value: Any) -> None:
        if getattr(self, name) is None:
            self._set(name, value)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen for everybody else

    @property
    def experiment(self) -> str:
        """The name of the experiment, as on the command line."""
        return "classify"
