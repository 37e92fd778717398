"""A perturbed image set, made in blocks, so that neither memory nor an accident sets it a limit.

Images, or uniform noise, get targets that say nothing about what they show, and are perturbed
towards them against a clean classifier, (P2).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from reflfap import attacks
from reflfap.attacks import MarginFunction
from reflfap.backend import HostArray, asarray, on_host, to_host
from reflfap.data_loaders.registry import data_set
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.errors import DamagedFileError
from reflfap.experiments import bridge
from reflfap.experiments.cell import attack_norm
from reflfap.experiments.deep_training import checked
from reflfap.experiments.experiment import ON_HOST, Dataset, Inputs, Pieces, Stored
from reflfap.experiments.perturb_config import PerturbConfig
from reflfap.losses import Logistic, value
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream

BLOCK = 512
"""Samples that are made at once: what an accident costs, and of noise what one stream draws."""

CHUNK = 64
"""Samples that a thread attacks at once: the activations of so many stay in the caches."""

PROBE = 500
"""Clean test images over which input gradients are averaged."""

SET = "data/adversarial/"


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
    """
    data = data_set(config.dataset)
    images = checked(config.dataset, images)
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


def perturb_block(
    config: PerturbConfig,
    margin: MarginFunction,
    source: Source,
    number: int,
    inputs: Inputs = ON_HOST,
    monitor: Monitor = SILENT,
) -> Block:
    """One block of the set, attacked as the config says; the monitor hears of chunks.

    The attack stays in the released range [0, 1], in which rounding to float32, as a set is stored,
    leaves it.
    Peak memory: the block a few times, and a chunk's activations a worker.
    """
    x, target, xp = source.draw(number), source.target[source.rows(number)], inputs.xp
    found = attacks.attack(
        margin,
        asarray(x.astype(config.dtype), xp),
        asarray(target, xp),
        attack_norm(config),
        steps=config.steps,
        low=0.0,
        high=1.0,
        chunk=CHUNK if on_host(xp) else BLOCK,
        workers=inputs.workers,
        monitor=_Advance(monitor),
    )
    q_start, q = (to_host(part).astype(np.float64) for part in (found.margin_start, found.margin))
    return Block(to_host(found.x).astype(np.float32), q_start, q)


class _Advance(Monitor):
    """Of a block's attack only the progress is of interest; its end is kept with the block."""

    def __init__(self, outer: Monitor) -> None:
        self.advance = outer.advance  # type: ignore[method-assign]


class SetSummary(NamedTuple):
    """What is said of a set, from one pass over its blocks."""

    metrics: dict[str, float]
    success: HostArray  # (classes,) by target
    margins: tuple[HostArray, HostArray]  # (N,) before and after
    eta: bridge.Moments


def summary(config: PerturbConfig, source: Source, blocks: Iterable[Block]) -> SetSummary:
    """Success and losses before and after, in all and by target, norms, and moments of eta.

    Success: the target has more than half of the probability. Norms: of the stored perturbation.
    """
    classes = len(data_set(config.dataset).class_names)
    eta = bridge.Moments.none(classes, int(np.prod(data_set(config.dataset).shape)))
    q_start, q, sizes = [], [], []
    for number, block in enumerate(blocks):
        moved = block.x - source.draw(number)
        eta.add(moved, source.target[source.rows(number)])
        sizes.append([np.linalg.norm(moved, order, axis=1) for order in (0, 2, np.inf)])
        q_start.append(block.margin_start)
        q.append(block.margin)
    before, after = (np.concatenate(parts) for parts in (q_start, q))
    hits = after > 0
    by_class = _shares(source.target, hits, classes)
    metrics = {
        "attack_success": float(hits.mean()),
        "loss_source": float(value(Logistic(), before).mean()),
        "loss_perturbed": float(value(Logistic(), after).mean()),
    }
    l0, l2, linf = np.concatenate(sizes, axis=1)
    for name, values in (("l0", l0), ("l2", l2), ("linf", linf)):
        metrics |= {f"size_{name}": float(values.mean()), f"size_{name}_max": float(values.max())}
    return SetSummary(metrics, by_class, (before, after), eta)


def mean_over_targets(target: HostArray, taken: Sequence[HostArray]) -> float:
    """The success that the released code reports: the share of samples whose largest output is the
    target, a mean over the targets that occur. `taken`: the classes of the samples, in parts."""
    shares = _shares(target, np.concatenate(taken) == target, int(target.max()) + 1)
    return float(shares[np.unique(target)].mean())


def _shares(target: HostArray, hits: HostArray, classes: int) -> HostArray:
    """(classes,) the share of the samples with a target that are hits; 0 where it never occurs."""
    shares: HostArray = np.bincount(target, hits, classes) / np.maximum(
        np.bincount(target, minlength=classes), 1
    )
    return shares


def probe_gradients(
    config: PerturbConfig, margin: MarginFunction, test: Images, inputs: Inputs
) -> HostArray:
    """(classes, d) the mean input gradients of a margin over the first clean test images."""
    some = test.x[:PROBE]
    probe = classifier.pixels(some.reshape(len(some), -1), np, config.dtype)
    classes = len(data_set(config.dataset).class_names)
    return bridge.mean_gradients(margin, probe, classes, inputs.xp)


def make_blocks(
    source: Source, names: Sequence[str], make: Callable[[int], Block], monitor: Monitor
) -> None:
    """The blocks that the monitor does not hold yet are made, and held."""
    there = {name for name in names if monitor.held(name) is not None}
    done = sum(len(source.target[source.rows(n)]) for n, name in enumerate(names) if name in there)
    monitor.begin("perturb", len(source.target), "sample", done)
    for number, name in enumerate(names):
        if name not in there:
            monitor.hold(name, make(number)._asdict())
    monitor.end()


def kept_blocks(names: Sequence[str], monitor: Monitor) -> Iterator[Block]:
    """The blocks of the set, as they were kept."""
    for name in names:
        kept = monitor.held(name)
        if kept is None:
            raise DamagedFileError(f"block {name} of the set is gone; run the same command again")
        yield Block(**kept)


def set_datasets(
    source: Source,
    blocks: Iterator[Block],
    margins: tuple[HostArray, HostArray],
    shape: tuple[int, int, int],
) -> dict[str, Dataset]:
    """The set as a result holds it; images go from the blocks to the file one by one."""
    pieces = (block.x.reshape(-1, *shape) for block in blocks)
    x = Pieces((len(source.target), *shape), "f4", pieces)
    return {
        f"{SET}x": Dataset(x, "sample, channel, row, column", "pixels on [0, 1]"),
        f"{SET}y": Dataset(source.target, "sample", "target class"),
        f"{SET}margin_start": Dataset(margins[0], "sample", "margin"),
        f"{SET}margin": Dataset(margins[1], "sample", "margin"),
        "data/source/y": Dataset(source.label, "sample", "class it shows, -1 none"),
    }


def weights_digest(weights: Mapping[str, HostArray]) -> str:
    """SHA-256 of all weights, by name."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(np.ascontiguousarray(weights[name]).tobytes())
    return found.hexdigest()


def read_set(result: Stored) -> Images:
    """The images and targets of a perturbed set; the images are mapped, not read."""
    shape = data_set(result.config_of(PerturbConfig).dataset).shape
    x = result.mapped(f"{SET}x", (-1, *shape))
    return Images(x, result.array(f"{SET}y", (len(x),), "i"))
