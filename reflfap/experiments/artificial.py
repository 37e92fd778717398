"""E1, one cell: does a network trained only on perturbed noise classify natural data?

The standard network learns natural samples with random labels. Noise with random targets is drawn
and perturbed against the standard network. The noise network learns the plain noise, the
adversarial network the perturbed noise; neither sees a natural sample or a natural label.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from data_loaders import artificial as data
from reflfap.backend import HostArray, Namespace, asarray, to_host
from reflfap.config import ArtificialConfig
from reflfap.experiments.cell import (
    Cell,
    Given,
    Labelled,
    accuracies,
    learn,
    own_metrics,
    train,
)
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.theory.prediction import accuracy_l0, accuracy_l2, accuracy_linf
from reflfap.training.result import Trained


def natural(config: ArtificialConfig) -> Labelled:
    """Natural samples (N, d) and random labels (N,), by seed, on the host."""
    return _draw(config, "natural", config.n)


def noise(config: ArtificialConfig) -> Labelled:
    """Noise (N_adv, d) of the same distribution and random targets (N_adv,), by seed."""
    return _draw(config, "noise", config.n_adv)


def run(
    config: ArtificialConfig,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    initial: Mapping[str, HostArray] | None = None,
    given: Given | None = None,
) -> Cell:
    """Compute one cell on the device of `xp`; accuracies acc_* are those on the natural samples.

    `initial`, `given` and memory: see `cell.learn`. Natural samples and noise together are
    (N + N_adv) d. Checked by test_artificial.py::test_the_phenomenon,
    ::test_given_weights_are_used and ::test_given_parts_are_those_computed.
    """
    domain, samples = data.DISTRIBUTIONS[config.data], natural(config)
    limits = (domain.low, domain.high)
    learned = learn(config, samples, noise(config), limits, xp, monitor, initial, given)
    metrics = {**accuracies(learned, samples), **own_metrics(learned)}
    metrics["acc_predicted"] = predicted(config)
    return learned.cell(metrics)


def shared(config: ArtificialConfig, network: str) -> ArtificialConfig:
    """The config with all that the standard or the noise network does not depend on set alike.

    Cells for which it is equal have that network in common.
    Checked by test_artificial.py::test_cells_share_networks.
    """
    other: dict[str, Any] = {"n_adv": 1} if network == "standard" else {"n": 1}
    return replace(config, **other, norm="l2", epsilon=0.0, variant=None, attack_steps=0)


def network(
    config: ArtificialConfig, name: str, xp: Namespace = np, monitor: Monitor = SILENT
) -> Trained:
    """The standard or the noise network of a cell alone, on the host, as `Given` takes it."""
    samples = natural(config) if name == "standard" else noise(config)
    x, y = (asarray(part, xp) for part in samples)
    return train(config, name, x, y, monitor).moved(to_host)


def predicted(config: ArtificialConfig) -> float:
    """The accuracy of the adversarial network that (L4) predicts for a cell, without running it.

    Checked by test_artificial.py::test_the_prediction_knows_the_cell.
    """
    domain = data.DISTRIBUTIONS[config.data]
    sizes = (config.dim, config.n, config.n_adv)
    if config.norm == "l2":
        return accuracy_l2(*sizes, config.size, domain.variance)
    if config.norm == "linf":
        return accuracy_linf(*sizes, config.size, domain.variance, str(config.variant))
    return accuracy_l0(*sizes, config.pixels, domain.variance, math.isfinite(domain.high))


def _draw(config: ArtificialConfig, name: str, n: int) -> Labelled:
    x = data.samples(config.data, n, config.dim, stream(config.seed, f"{name}/x"), config.dtype)
    return Labelled(x, data.labels(n, stream(config.seed, f"{name}/y"), config.dtype))
