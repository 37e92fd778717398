"""A clean classifier, the first stage of (E2): a deep network that learns a whole image set."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from reflfap.backend import HostArray
from reflfap.data_loaders.registry import data_set
from reflfap.deep.classifier import Images, from_released, released_shape
from reflfap.experiments import deep_training
from reflfap.experiments.deep_training import Classified, DeepConfig, Preset
from reflfap.experiments.experiment import (
    ON_HOST,
    Computed,
    Estimate,
    Experiment,
    ImagesOptions,
    Inputs,
    Stored,
    both_splits,
)
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream

RELEASED_BATCH = 128

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
what two cores do within half an hour; an own set takes those of its `usual_set`. On clothes the
released rate is at the edge of stability, where rounding decides whether the first epoch ends well
(docs/deep-networks.md), so cpu takes half of it there."""


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(DeepConfig):
    """A clean classifier, the first stage of E2; options left out follow from preset and data."""

    experiment = "classify"
    later: ClassVar = {"keep_epoch": "last"}

    dataset: str = "embedded"
    """images: mnist, fashion-mnist, cifar-10, or embedded, a part of Fashion-MNIST, which comes
    with the package; or the path of your own set (docs/images.md)"""
    network: Literal["convnet", "wideresnet"] | None = None
    """default: wideresnet for three colours and for fewer than 11 pixels a side, else convnet"""
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
    batch: int = RELEASED_BATCH
    """images a step"""
    keep_epoch: Literal["last", "best"] | None = None
    """whose weights are kept: the last epoch's, or those of the best test accuracy, as released.
    Default: last; of preset paper best"""
    augment: bool | None = None
    """crop and mirror at random; default: for three colours"""
    seed: int = 0
    """seed of all random numbers"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision of the arrays"""

    def __post_init__(self) -> None:
        self.check_words()
        data_set(self.dataset)
        self.fill_in("keep_epoch", "best" if self.preset == "paper" else "last")
        self.resolve(PRESETS[self.preset][deep_training.usual_set(self.dataset)])


def train_classifier(
    config: ClassifyConfig,
    images: Images,
    test: Images,
    inputs: Inputs = ON_HOST,
    monitor: Monitor = SILENT,
) -> Classified:
    """Train on the images of a data set, or a subset of them, and test after each epoch."""
    if config.subset and config.subset < len(images.y):
        some = stream(config.seed, "natural/order").permutation(len(images.y))[: config.subset]
        images = Images(images.x[some], images.y[some])
    best = config.keep_epoch == "best"
    return deep_training.fit(config, "standard", images, test, inputs, monitor, best)


def classifier_weights(result: Stored, dtype: str = "") -> dict[str, HostArray]:
    """The weights of a classifier's result, in the layout of `deep`; as `dtype`, else its own."""
    config = result.config_of(ClassifyConfig)
    network = deep_training.deep_network(config)
    arrays = {
        name: result.array(f"networks/standard/{name}", released_shape(spec.shape))
        for name, spec in network.arrays().items()
    }
    return from_released(network, arrays, dtype or config.dtype)


def compute(config: ClassifyConfig, inputs: Inputs, monitor: Monitor) -> Computed:
    """Weights, curves and accuracies of a clean classifier."""
    train, test = (deep_training.split_of(inputs, *one) for one in both_splits(config))
    found = train_classifier(config, train, test, inputs, monitor)
    datasets = deep_training.network_datasets("standard", found)
    return Computed(found.metrics, datasets, {"workers": inputs.workers})


def cost(config: ClassifyConfig) -> Estimate:
    """Training on all images, or a subset, which memory holds as bytes."""
    images = data_set(config.dataset).sizes[0]
    return deep_training.training_cost(
        config, min(config.subset or images, images), holds_images=True
    )


EXPERIMENT = Experiment(
    config=ClassifyConfig,
    summary="Train a deep network on clean images (E2): ConvNet or WideResNet, by hand.",
    compute=compute,
    cost=cost,
    options=ImagesOptions,
    reads=both_splits,
    picture="reflfap.figures.learning_curves",
    makes="classifier",
)
