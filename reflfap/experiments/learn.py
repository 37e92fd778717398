"""A deep network learns a perturbed image set, the third stage of (E2), and is tested on clean
images. It never meets a clean label.
"""

from dataclasses import dataclass, fields
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import Array, HostArray, asarray
from reflfap.data_loaders.registry import data_set
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.deep.network import Chain, Weights
from reflfap.errors import refuse
from reflfap.experiments import bridge, deep_training, perturb
from reflfap.experiments.deep_training import DeepConfig, Preset
from reflfap.experiments.experiment import (
    Computed,
    Config,
    Dataset,
    Estimate,
    Experiment,
    ImagesOptions,
    Inputs,
    RunOf,
    Table,
)
from reflfap.experiments.perturb_config import SCALES, SCENARIOS, SIZES, PerturbConfig
from reflfap.experiments.perturbed_set import probe_gradients, read_set
from reflfap.fast.worker_pool import WorkerPool
from reflfap.monitor import Monitor


@dataclass(frozen=True, kw_only=True)
class LearnerConfig(DeepConfig):
    """The options of learning a perturbed set, wherever it was made."""

    network: Literal["convnet", "wideresnet"] | None = None
    """the network that learns; default: wideresnet for three colours and for fewer than 11 pixels a
    side, else convnet"""
    depth: int | None = None
    """of a wideresnet: 10, 16, 22, 28 and so on, 6 n + 4"""
    width: int | None = None
    """of a wideresnet: channels are 16, 32, 64 times this; of a convnet: this, 8 and 16 times this,
    16 as released"""
    epochs: int | None = None
    """passes through the set"""
    subset: int = 0
    """the first so many samples of the set; 0, or as many as there are: all"""
    rate: float | None = None
    """learning rate, cut to a tenth after more than ten epochs in a row without a lower loss"""
    batch: int | None = None
    """samples a step"""
    augment: bool | None = None
    """crop and mirror at random; default: of preset paper for three colours, else not"""

    def resolve_learning(self, chosen: Preset, batch: int, samples: int) -> None:
        """Fill in what is left open, for a set of so many samples, and check that a batch fits."""
        self.settle_whole(subset=0)
        if self.subset >= samples:
            self.settle("subset", 0)
        learned = self.subset or samples
        self.fill_in("batch", batch)
        self.resolve(chosen)
        if checks.filled_in("batch", self.batch) > learned:
            refuse("batch", f"at most the {learned} samples", self.batch, "use a smaller batch")


@dataclass(frozen=True, kw_only=True)
class LearnConfig(LearnerConfig, PerturbConfig):
    """A deep network that learns a perturbed image set, the third stage of E2.

    The first options say which set, and stages that are not there yet are made first.
    """

    experiment = "learn"

    def __post_init__(self) -> None:
        super().__post_init__()
        scale = self.scale
        epochs = scale.noise_epochs if self.scenario == "noise" else scale.natural_epochs
        if deep_training.usual_set(self.dataset) == "cifar-10":
            slow = self.scenario == "natural-random" and self.norm == "linf"
        else:
            slow = self.scenario == "noise" or self.norm != "l0"
        rate = scale.rate or (0.01 if slow else 0.1)  # as released
        chosen = Preset(epochs, rate, scale.depth, scale.width, scale.augment)
        self.resolve_learning(chosen, scale.batch, self.samples)

    @property
    def perturbed(self) -> PerturbConfig:
        """The config of the set."""
        return PerturbConfig(**{one.name: getattr(self, one.name) for one in fields(PerturbConfig)})


def confusion(
    network: Chain, weights: Weights, test: Images, classes: int, pool: WorkerPool
) -> HostArray:
    """(classes, classes) int64: how many images of a class (row) are taken for which (column)."""
    taken = classifier.predictions(network, weights, test.x, pool)
    counts = np.bincount(test.y * classes + taken, minlength=classes**2)
    return counts.reshape(classes, classes)


class Learned(NamedTuple):
    """What learned a perturbed set, on the device, and what is kept of it."""

    network: Chain
    weights: dict[str, Array]
    metrics: dict[str, float]
    datasets: dict[str, Dataset]


def learn_images(
    config: DeepConfig, images: Images, test: Images, inputs: Inputs, monitor: Monitor
) -> Learned:
    """Learn perturbed images, their labels being the targets; clean images only test it."""
    if config.subset:
        images = Images(images.x[: config.subset], images.y[: config.subset])
    found = deep_training.fit(config, "adversarial", images, test, inputs, monitor)
    network = deep_training.deep_network(config)
    weights = {name: asarray(values, inputs.xp) for name, values in found.weights.items()}
    classes = len(data_set(config.dataset).class_names)
    with WorkerPool(inputs.workers) as pool:
        counts = confusion(network, weights, test, classes, pool)
    metrics = {"samples": float(len(images.y)), **found.metrics}
    datasets = deep_training.network_datasets("adversarial", found)
    datasets["confusion"] = Dataset(counts, "class, taken for", "test images")
    return Learned(network, weights, metrics, datasets)


def compute(config: LearnConfig, inputs: Inputs, monitor: Monitor) -> Computed:
    """Weights, curves, accuracies, and how alike its gradients and the classifier's are."""
    classes, shape = len(data_set(config.dataset).class_names), data_set(config.dataset).shape
    made = inputs.before["perturb"]
    size = (classes, int(np.prod(shape)))
    standard, eta = (made.array(f"gradients/{name}", size) for name in ("standard", "perturbation"))
    test = deep_training.split_of(inputs, config.dataset, "test")
    found = learn_images(config, read_set(made), test, inputs, monitor)
    margin = classifier.margin_function(found.network, found.weights, shape)
    gradients = probe_gradients(config, margin, test, inputs)
    metrics = {
        **made.metrics,
        **found.metrics,
        "cosine_adversarial": float(bridge.cosines(gradients, eta).mean()),
        "cosine_gradients": float(bridge.cosines(gradients, standard).mean()),
    }
    datasets = found.datasets | {
        "gradients/adversarial": Dataset(gradients, "class, input", "margin per pixel unit"),
    }
    about: dict[str, str | int] = {
        "workers": inputs.workers,
        "set": made.path.parent.name,
        "classifier_sha256": str(made.attributes["classifier_sha256"]),
    }
    return Computed(metrics, datasets, about)


def before(config: LearnConfig) -> list[Config | RunOf]:
    """The classifier, and the set that was perturbed against it."""
    return [*perturb.before(config), config.perturbed]


def cost(config: LearnConfig) -> Estimate:
    """Training on the set, of which memory holds a batch."""
    return deep_training.training_cost(config, config.subset or config.samples, holds_images=False)


RELEASED = ("mnist", "fashion-mnist", "cifar-10")

RATIOS = (0.05, 0.2, 0.4, 0.6, 0.8)
"""Of the noise samples, beside all of them."""


def perturbation_tables(preset: str, *datasets: str) -> list[Table]:
    """All scenarios and norms, a control each without perturbation, and parts of the noise."""
    tables: list[Table] = []
    for dataset in datasets:
        common = {"dataset": dataset, "preset": preset}
        noise = SCALES[preset][dataset].noise
        parts = [round(ratio * noise) for ratio in RATIOS]
        tables += [
            common | {"scenario": SCENARIOS, "norm": list(SIZES[dataset])},
            common | {"scenario": SCENARIOS, "epsilon": 0.0},
            common | {"scenario": "noise", "norm": list(SIZES[dataset]), "subset": parts},
        ]
    return tables


_GRIDS = {f"{p}-{one}": partial(perturbation_tables, p, one) for p in SCALES for one in SCALES[p]}
_GRIDS |= {f"{p}-all": partial(perturbation_tables, p, *RELEASED) for p in SCALES}

EXPERIMENT = Experiment(
    config=LearnConfig,
    summary="Learn from perturbed images alone, test on clean ones (E2); --set: see learn-set.",
    compute=compute,
    cost=cost,
    options=ImagesOptions,
    reads=lambda config: [(config.dataset, "test")],  # the stage before tells of the others
    picture="reflfap.figures.learning_curves",
    before=before,
    check_before=perturb.check_before,
    goes_back=perturb.goes_back,
    presets={
        **_GRIDS,
        "smoke": lambda: [{"epochs": 2, "n_adv": 600, "attack_steps": 2, "scenario": SCENARIOS}],
    },
)
