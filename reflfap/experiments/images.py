"""E3: two classes of real images in the theory's own setting, the network of (N1).

Pixels are mapped to [-1, 1]. The standard network learns N natural images of two classes. Noise, or
natural images, get targets that say nothing about them, and are perturbed against the standard
network. Does a network trained on those alone read the clean test images of the two classes?
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from data_loaders import artificial
from reflfap.backend import Array, HostArray, Namespace, asarray, namespace, to_host
from reflfap.config import ImagesConfig
from reflfap.errors import refuse
from reflfap.experiments.cell import (
    Cell,
    Given,
    Labelled,
    Learned,
    accuracies,
    learn,
    own_metrics,
    train,
)
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.theory import boundary, kkt, learning
from reflfap.training.result import Trained


class Images(NamedTuple):
    """Images of two classes, pixels as bytes, labels 0 and 1, as the data loaders give them."""

    train: Labelled  # x (N, d) uint8, y (N,) 0 or 1
    test: Labelled
    sha256: str = ""  # digests of the files they come from, training and test


class Samples(NamedTuple):
    """What the networks see: float samples, labels +1 and -1."""

    natural: Labelled
    source: Labelled
    test: Labelled
    limits: tuple[float, float]  # data range
    mean: HostArray  # (d,) what centring subtracted; 0 without


def run(
    config: ImagesConfig,
    images: Images,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    given: Given | None = None,
) -> Cell:
    """One cell: accuracies acc_* on the natural samples, acc_*_test on the clean test images.

    `alignment_test` is the fraction of test images that meet (L3), with effective multipliers;
    `flip_threshold`, of flipped labels, the L2 size from which (L2) says that they teach the truth.
    `given` and memory: see `cell.learn`; the test images on top.
    Checked by test_images.py::test_the_phenomenon and ::test_given_parts_are_those_computed.
    """
    samples = prepare(config, images)
    natural, source = samples.natural, samples.source
    learned = learn(config, natural, source, samples.limits, xp, monitor, given=given)
    metrics = {
        **accuracies(learned, samples.natural),
        **accuracies(learned, samples.test, "_test"),
        **own_metrics(learned),
        **_alignment(config, learned, samples),
    }
    return learned.cell(metrics)


def shared(config: ImagesConfig, network: str) -> ImagesConfig:
    """The config with all that the standard or the noise network does not depend on set alike.

    Cells for which it is equal have that network in common. Centring takes the mean of the N
    natural samples from all. Checked by test_images.py::test_cells_share_networks.
    """
    other: dict[str, Any] = {} if config.centre else {"n": 1}
    if network == "standard":
        other = {"n_adv": 1, "scenario": "noise"}
    return replace(config, **other, norm="l2", epsilon=0.0, variant=None, attack_steps=0)


def network(
    config: ImagesConfig,
    images: Images,
    name: str,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
) -> Trained:
    """The standard or the noise network of a cell alone, on the host, as `Given` takes it."""
    samples = prepare(config, images)
    own = samples.natural if name == "standard" else samples.source
    x, y = (asarray(part, xp) for part in own)
    return train(config, name, x, y, monitor).moved(to_host)


def prepare(config: ImagesConfig, images: Images) -> Samples:
    """The samples of a cell, by seed, on the host; label 0 becomes +1, label 1 becomes -1.

    Checked by test_images.py::test_samples_are_what_the_scenario_says.
    """
    order = stream(config.seed, "natural/order").permutation(len(images.train.y))
    if len(order) == 0 or len(images.test.y) == 0:
        refuse("images", "at least one of the two classes", "none", "check the data set")
    natural = _floats(images.train, order[: config.n], config.dtype)
    test = _floats(images.test, slice(None), config.dtype)
    source = _source(config, images, order)
    limits, mean = (-1.0, 1.0), np.zeros((), config.dtype)
    if config.centre:
        # the mean of the natural samples, from all; the range is no longer one box for all pixels,
        # so the attack is left without one
        mean = natural.x.mean(axis=0, dtype=np.float64).astype(config.dtype)
        natural, test, source = (part._replace(x=part.x - mean) for part in (natural, test, source))
        limits = (-np.inf, np.inf)
    return Samples(natural, source, test, limits, mean)


def normal(trained: Trained, samples: Labelled) -> HostArray | None:
    """(d,) the normal b (T5) by effective multipliers, on the host; None if training kept no C."""
    if trained.C is None:
        return None
    return to_host(_normal(trained, samples)[0])


def _normal(trained: Trained, samples: Labelled) -> tuple[Array, Array]:
    """b (d,) and the effective multipliers (N,) it is made of, on the device of the training."""
    xp = namespace(trained.C)
    x, y = (asarray(part, xp) for part in samples)
    lam = kkt.effective_multipliers(trained.net, trained.C, y)
    return boundary.normal(x, y, lam), lam


def _source(config: ImagesConfig, images: Images, order: HostArray) -> Labelled:
    rng = stream(config.seed, "source/y")
    if config.scenario == "noise":
        draw = stream(config.seed, "source/x")
        x = artificial.samples("uniform", config.n_adv, config.inputs, draw, config.dtype)
        return Labelled(x, artificial.labels(len(x), rng, config.dtype))
    chosen = _floats(images.train, order[: config.n_adv], config.dtype)
    if config.scenario == "natural-flipped":
        return chosen._replace(y=-chosen.y)
    return chosen._replace(y=artificial.labels(len(chosen.y), rng, config.dtype))


def _floats(part: Labelled, rows: HostArray | slice, dtype: str) -> Labelled:
    """Pixels 0 to 255 as -1 to 1, labels 0 and 1 as +1 and -1."""
    x = part.x[rows].astype(dtype)
    x /= np.asarray(127.5, dtype)
    x -= 1
    return Labelled(x, (1 - 2 * part.y[rows]).astype(dtype))


def _alignment(config: ImagesConfig, learned: Learned, samples: Samples) -> dict[str, float]:
    """(L3) on the test images, by effective multipliers, and for flipped labels the size that (L2)
    asks for; nothing if a training kept no C."""
    standard, adversarial = (learned.trained[name] for name in ("standard", "adversarial"))
    if standard.C is None or adversarial.C is None:
        return {}
    xp = namespace(learned.target)
    b, lam = _normal(standard, samples.natural)
    found = {}
    if config.scenario == "natural-flipped":
        found["flip_threshold"] = learning.flipped_threshold(b, lam)
    source, z = (asarray(part.x, xp) for part in (samples.source, samples.test))
    lam = kkt.effective_multipliers(adversarial.net, adversarial.C, learned.target)
    parts = learning.effects(source, learned.perturbed.x - source, learned.target, lam, z)
    holds = learning.aligned(parts, boundary.boundary_function(b, z))
    return {"alignment_test": float(xp.mean(xp.astype(holds, xp.float64)))} | found
