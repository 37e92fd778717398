"""The options of a perturbed image set, (E2), and the presets that fill what is left open."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

from reflfap import checks
from reflfap.data_loaders.registry import DATA_SETS, data_set
from reflfap.errors import refuse
from reflfap.experiments.cell import RELEASED_STEPS, AttackConfig
from reflfap.experiments.classify import RELEASED_BATCH, ClassifyConfig
from reflfap.experiments.deep_training import SMALL, usual_network, usual_set
from reflfap.experiments.experiment import identity

SCENARIOS = ("natural-random", "natural-deterministic", "noise")

SIZES: dict[str, dict[str, float]] = {
    "mnist": {"l2": 2.0, "linf": 0.3, "l0": 10},
    "fashion-mnist": {"l2": 2.0, "linf": 0.3, "l0": 35},
    "cifar-10": {"l2": 0.5, "linf": 0.1, "l0": 150},
    "embedded": {"l2": 2.0, "linf": 0.3, "l0": 35},
}
"""The released sizes of a perturbation: norms in units of a pixel, of l0 a number of inputs."""


class Scale(NamedTuple):
    """What a preset chooses for a data set."""

    natural: int  # source images, and epochs on them
    natural_epochs: int
    noise: int  # samples of noise, and epochs on them
    noise_epochs: int
    steps: int = RELEASED_STEPS  # of an attack in L2 or Linf
    depth: int = 0  # of a WideResNet
    width: int = 0
    rate: float = 0.0  # of learning; 0: the released one of its scenario and norm
    batch: int = 128
    augment: bool = False  # crop and mirror the perturbed samples


SCALES = {
    "paper": {
        "mnist": Scale(60_000, 100, 1_200_000, 300),
        "fashion-mnist": Scale(60_000, 200, 1_200_000, 300),
        "cifar-10": Scale(50_000, 200, 50_000, 200, depth=28, width=10, augment=True),
        "embedded": Scale(1_000, 200, 20_000, 300),
    },
    "cpu": {
        "mnist": Scale(20_000, 12, 60_000, 6, steps=20, width=8, rate=0.01, batch=32),
        "fashion-mnist": Scale(20_000, 12, 60_000, 6, steps=20, width=8, rate=0.01, batch=32),
        "cifar-10": Scale(10_000, 20, 10_000, 20, 20, depth=16, width=1, rate=0.02, batch=32),
        "embedded": Scale(1_000, 30, 2_000, 15, steps=20, width=4, rate=0.01, batch=32),
    },
}
"""paper: the released numbers. embedded was not released; it has those of Fashion-MNIST, with as
many samples as it has. cpu: what two cores do within an hour (docs/perturbation-learning.md)."""


def usual_size(dataset: str, norm: str) -> float:
    """The default size of a perturbation: of an own set that of its usual set, to scale.

    With d inputs against d' of that set, L2 takes the factor sqrt(d / d'), rounded to three
    decimals, L0 the factor d / d', and Linf none.
    """
    size = SIZES[usual_set(dataset)][norm]
    if dataset in DATA_SETS or norm == "linf":
        return size
    ratio = math.prod(data_set(dataset).shape) / math.prod(data_set(usual_set(dataset)).shape)
    return max(1, round(size * ratio)) if norm == "l0" else round(size * math.sqrt(ratio), 3)


def scale_of(preset: str, dataset: str) -> Scale:
    """What a preset chooses. An own set has what its usual set has, but all of its own images.

    Of preset cpu it has at most as many images as the usual set. No batch is larger than the set.
    """
    found = SCALES[preset][usual_set(dataset)]
    if dataset in DATA_SETS:
        return found
    images = data_set(dataset).sizes[0]
    natural = min(images, found.natural) if preset == "cpu" and images > SMALL else images
    # the width of a convnet is none for the wideresnet that small images have
    width = found.width if usual_network(dataset) == usual_network(usual_set(dataset)) else 0
    return found._replace(natural=natural, batch=min(found.batch, natural), width=width)


@dataclass(frozen=True, kw_only=True)
class PerturbConfig(AttackConfig):
    """A perturbed image set, the second stage of E2; options left out follow from the preset."""

    experiment = "perturb"
    later: ClassVar = {"classifier_epoch": "last"}

    dataset: str = "embedded"
    """images: mnist, fashion-mnist, cifar-10, or embedded, a part of Fashion-MNIST, which comes
    with the package; or the path of your own set (docs/images.md)"""
    preset: Literal["paper", "cpu"] = "cpu"
    """paper: the released samples and steps; cpu: fewer of both, and narrower networks"""
    classifier: str | None = None
    """run id of the classifier to attack; default: the preset's, trained if it is not there"""
    classifier_epoch: Literal["last", "best"] | None = None
    """which weights of the preset's classifier are attacked: the last epoch's, or those of the best
    accuracy on clean test images, as released. Default: last; of preset paper best"""
    scenario: Literal["natural-random", "natural-deterministic", "noise"] = "natural-random"
    """what is perturbed towards which target: images towards another class at random or towards
    the next one, or uniform noise towards any class at random"""
    norm: Literal["l0", "l2", "linf"] = "l2"
    """norm that limits a perturbation"""
    epsilon: float | None = None
    """size of a perturbation, in units of a pixel: l2, linf its norm; l0 the number of inputs that
    may change; 0 leaves the samples as they are, for a control of any norm. Default: as released"""
    attack_steps: int | None = None
    """steps of the attack; l0 takes one step an input, and no other number"""
    variant: str | None = None
    """variant of the attack: linf rescale (released) or sign; l0 released or tracked"""
    n_adv: int | None = None
    """source samples, which are perturbed, N_adv; of images at most as many as there are"""
    seed: int = 0
    """seed of all random numbers"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision of the computation; a set is stored as float32"""

    def __post_init__(self) -> None:
        self.check_words()
        data_set(self.dataset)  # which says how many images and inputs there are
        self.settle_whole(seed=0)
        self._resolve_attack()
        self._resolve_samples()
        self._resolve_classifier()
        if not isinstance(self.classifier, str) or not self.classifier.isalnum():
            remedy = "`reflfap list` shows the run ids of classifiers"
            refuse("classifier", "a run id", repr(self.classifier), remedy)

    def _resolve_classifier(self) -> None:
        """The classifier's id and epoch; another one than the preset's has the epoch it was kept
        with, which no option changes."""
        if self.classifier is None:
            self.fill_in("classifier_epoch", "best" if self.preset == "paper" else "last")
            self.settle("classifier", identity(self.usual_classifier))
            return
        best = identity(replace(self.usual_classifier, keep_epoch="best"))
        own = "best" if self.classifier == best else "last"
        self.fill_in("classifier_epoch", own)
        if self.classifier_epoch != own:
            remedy = "leave one of classifier and classifier_epoch out"
            refuse("classifier_epoch", f"{own}, as that classifier", self.classifier_epoch, remedy)

    def _resolve_samples(self) -> None:
        """No more images than there are, so that equal sets have equal ids."""
        noise, images = self.scenario == "noise", data_set(self.dataset).sizes[0]
        self.fill_in("n_adv", self.scale.noise if noise else self.scale.natural)
        self.settle_whole(n_adv=1)
        if self.samples > checks.MOST_ROWS:
            most = f"at most {checks.MOST_ROWS}"
            refuse("n_adv", most, self.samples, "a result file holds no more")
        self.settle("n_adv", self.samples if noise else min(self.samples, images))

    def _resolve_attack(self) -> None:
        """Replace None by the default it stands for, so that equal runs have equal ids; a control
        is the same whatever the norm."""
        if self.epsilon == 0:
            for name, value in (("norm", "l2"), ("variant", "released"), ("attack_steps", 0)):
                self.settle(name, value)
        self.fill_in("epsilon", usual_size(self.dataset, self.norm))
        epsilon = checks.real_number("epsilon", self.epsilon, 0.0, math.inf, "[)") + 0.0
        if self.norm == "l0" and not epsilon.is_integer():
            remedy = "give the number of inputs that may change"
            refuse("epsilon", "a whole number for l0", epsilon, remedy)
        inputs = math.prod(data_set(self.dataset).shape)
        if self.norm == "l0" and epsilon > inputs:
            refuse("epsilon", f"at most the {inputs} inputs of an image", epsilon, "change fewer")
        self.settle("epsilon", epsilon)
        self.resolve_steps(self.scale.steps, "an input", "leave it out")

    @property
    def scale(self) -> Scale:
        """What the preset says."""
        return scale_of(self.preset, self.dataset)

    @property
    def usual_classifier(self) -> ClassifyConfig:
        """The classifier that the preset trains."""
        return ClassifyConfig(
            dataset=self.dataset,
            preset=self.preset,
            depth=self.scale.depth or None,
            width=self.scale.width or None,
            batch=min(RELEASED_BATCH, data_set(self.dataset).sizes[0]),
            seed=self.seed,
            dtype=self.dtype,
            keep_epoch=self.classifier_epoch or "last",
        )

    @property
    def pixels(self) -> int:
        """The number of inputs that an l0 attack may change."""
        return int(self.size)

    @property
    def samples(self) -> int:
        """n_adv."""
        return checks.filled_in("n_adv", self.n_adv)
