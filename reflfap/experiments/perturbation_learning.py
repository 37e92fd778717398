"""E2: a deep network learns mislabelled perturbed images, and is tested on clean ones.

Images, or uniform noise, get targets that say nothing about what they show, and are perturbed
towards them against a clean classifier, (P2). The set is made in blocks, so that neither memory nor
an accident sets it a limit; a network trained on it never meets a clean label.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from data_loaders.registry import DATA_SETS
from reflfap import attacks
from reflfap.attacks import MarginFunction
from reflfap.backend import HostArray, Namespace, asarray, on_host, to_host
from reflfap.config_perturbation import LearnConfig, PerturbConfig
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.deep.network import Chain, Weights
from reflfap.deep.team import Team
from reflfap.experiments import bridge, classify
from reflfap.experiments.cell import attack_norm
from reflfap.experiments.classify import Classified
from reflfap.losses import Logistic, value
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream

BLOCK = 512
"""Samples that are made at once: what an accident costs, and of noise what one stream draws."""

CHUNK = 64
"""Samples that a thread attacks at once: the activations of so many stay in the caches."""


class Source(NamedTuple):
    """What is perturbed, on the host: sample n is `draw(block)[n - first of block]`."""

    target: HostArray  # (N,) int64, the class it is perturbed towards
    label: HostArray  # (N,) int64, the class it shows; -1: noise shows none
    draw: Callable[[int], HostArray]  # number of a block -> (n, d) pixels on [0, 1]

    @property
    def blocks(self) -> int:
        """How many there are."""
        return -(-len(self.target) // BLOCK)

    def rows(self, number: int) -> slice:
        """The samples of a block."""
        return slice(number * BLOCK, min((number + 1) * BLOCK, len(self.target)))


class Block(NamedTuple):
    """Perturbed samples with their targets, on the host."""

    x: HostArray  # (n, d) float32, pixels on [0, 1]
    margin_start: HostArray  # (n,) before the attack
    margin: HostArray  # (n,) after it


def source(config: PerturbConfig, images: Images) -> Source:
    """The samples of a config before their perturbation, by seed.

    natural-random: images in random order, a target drawn from the nine other classes each;
    natural-deterministic: label + 1 mod 10; noise: pixels uniform on [0, 1], any class. The first
    samples do not depend on how many follow.
    Checked by test_perturbation_learning.py::test_targets and ::test_first_samples_do_not_depend.
    """
    data = DATA_SETS[config.dataset]
    images = classify.checked(config.dataset, images)
    rng, classes = stream(config.seed, "source/target"), len(data.class_names)
    if config.scenario == "noise":
        target = rng.integers(0, classes, config.samples)

        def noise(number: int) -> HostArray:
            count = min(BLOCK, config.samples - number * BLOCK)
            draw = stream(config.seed, f"source/x/{number}")
            x = draw.random((BLOCK, int(np.prod(data.shape))), np.float32)
            return np.asarray(x[:count])

        return Source(target, np.full(config.samples, -1), noise)
    order = stream(config.seed, "source/order").permutation(len(images.y))[: config.samples]
    label = images.y[order].astype(np.int64)
    away = np.ones(len(order), np.int64)
    if config.scenario == "natural-random":
        away = rng.integers(1, classes, len(images.y))[: len(order)]

    def natural(number: int) -> HostArray:
        some = images.x[order[number * BLOCK : (number + 1) * BLOCK]]
        return np.asarray(classifier.pixels(some.reshape(len(some), -1), np, "float32"))

    return Source((label + away) % classes, label, natural)


def perturb(
    config: PerturbConfig,
    margin: MarginFunction,
    source: Source,
    number: int,
    xp: Namespace = np,
    workers: int = 1,
    monitor: Monitor = SILENT,
) -> Block:
    """One block of the set, attacked as the config says; the monitor hears of chunks.

    The attack stays in the released range [0, 1], in which rounding to float32, as a set is stored,
    leaves it.
    Peak memory: the block a few times, and a chunk's activations a worker.
    Checked by test_perturbation_learning.py::test_constraints_hold_as_stored.
    """
    x = source.draw(number)
    target = source.target[source.rows(number)]
    found = attacks.attack(
        margin,
        asarray(x.astype(config.dtype), xp),
        asarray(target, xp),
        attack_norm(config),
        steps=config.steps,
        low=0.0,
        high=1.0,
        chunk=CHUNK if on_host(xp) else BLOCK,
        workers=workers,
        monitor=_Advance(monitor),
    )
    q_start, q = (to_host(part).astype(np.float64) for part in (found.margin_start, found.margin))
    return Block(to_host(found.x).astype(np.float32), q_start, q)


class _Advance(Monitor):
    """Of a block's attack only the progress is of interest; its end is kept with the block."""

    def __init__(self, outer: Monitor) -> None:
        self.advance = outer.advance  # type: ignore[method-assign]


class Summary(NamedTuple):
    """What is said of a set, from one pass over its blocks."""

    metrics: dict[str, float]
    success: HostArray  # (classes,) by target
    margins: tuple[HostArray, HostArray]  # (N,) before and after
    eta: bridge.Moments


def summary(config: PerturbConfig, source: Source, blocks: Iterable[Block]) -> Summary:
    """Success and losses before and after, in all and by target, norms, and moments of eta.

    Success: the target has more than half of the probability. Norms: of the stored perturbation.
    Checked by test_perturbation_learning.py::test_summaries.
    """
    classes = len(DATA_SETS[config.dataset].class_names)
    eta = bridge.Moments.none(classes, int(np.prod(DATA_SETS[config.dataset].shape)))
    q_start, q, sizes = [], [], []
    for number, block in enumerate(blocks):
        moved = block.x - source.draw(number)
        eta.add(moved, source.target[source.rows(number)])
        sizes.append([np.linalg.norm(moved, order, axis=1) for order in (0, 2, np.inf)])
        q_start.append(block.margin_start)
        q.append(block.margin)
    before, after = (np.concatenate(parts) for parts in (q_start, q))
    hits = after > 0
    per_class = np.bincount(source.target, minlength=classes)
    by_class = np.bincount(source.target, hits, classes) / np.maximum(per_class, 1)
    metrics = {
        "attack_success": float(hits.mean()),
        "loss_source": float(value(Logistic(), before).mean()),
        "loss_perturbed": float(value(Logistic(), after).mean()),
    }
    l0, l2, linf = np.concatenate(sizes, axis=1)
    for name, values in (("l0", l0), ("l2", l2), ("linf", linf)):
        metrics |= {f"size_{name}": float(values.mean()), f"size_{name}_max": float(values.max())}
    return Summary(metrics, by_class, (before, after), eta)


def learn(
    config: LearnConfig,
    images: Images,
    test: Images,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    workers: int = 1,
) -> Classified:
    """Train a network on perturbed images, labels being their targets; clean ones only test it.

    Peak memory: that of `classify.run` without its images, of which a batch at a time is read where
    `images.x` is mapped. Checked by test_perturbation_learning.py::test_the_phenomenon and
    ::test_no_clean_label_leaks.
    """
    images, test = (classify.checked(config.dataset, part) for part in (images, test))
    return classify.fit(config, "adversarial", images, test, xp, monitor, workers)


def confusion(
    network: Chain, weights: Weights, test: Images, classes: int, team: Team
) -> HostArray:
    """(classes, classes) int64: how many images of a class (row) are taken for which (column).

    Checked by test_perturbation_learning.py::test_confusion.
    """
    taken = classifier.predictions(network, weights, test.x, team)
    counts = np.bincount(test.y * classes + taken, minlength=classes**2)
    return counts.reshape(classes, classes)
