"""Time, memory and disk of the stages of (E2), before they run; good to a factor of two or so."""

import numpy as np

from data_loaders.registry import DATA_SETS
from reflfap import checks
from reflfap.deep.cost import Cost, layer_cost
from reflfap.experiments.deep_training import DeepConfig, deep_network
from reflfap.experiments.experiment import Estimate
from reflfap.machine import blas_threads

WINOGRAD = 0.2
"""Operations done for one that the definition of a layer counts: Winograd's algorithm saves the
rest. This and the next fitted to steps of ConvNet and WideResNet-16-1 (benchmarks/deep.py)."""

PASSES = 310
"""Cost of one number between layers, which is bound by memory, in operations."""


def training_cost(config: DeepConfig, count: int, holds_images: bool) -> Estimate:
    """Training on `count` images; memory holds those of the data set as bytes, or a batch alone."""
    one, data = _cost(config), DATA_SETS[config.dataset]
    step = count * _operations(one, 3) + data.sizes[1] * _operations(one, 1)
    weights = 4.0 * sum(np.prod(spec.shape) for spec in deep_network(config).arrays().values())
    memory = 4.0 * checks.filled_in("batch", config.batch) * one.numbers + 6 * weights
    memory += _images(config.dataset) if holds_images else 0.0
    return Estimate(checks.filled_in("epochs", config.epochs) * step, memory, weights)


def attack_cost(config: DeepConfig, count: int, steps: int, chunk: int) -> Estimate:
    """Perturbing `count` images against the network of `config`, `chunk` at a time in a thread; the
    images they start from, and the set on disk twice."""
    one, inputs = _cost(config), int(np.prod(DATA_SETS[config.dataset].shape))
    disk = 4.0 * count * inputs
    memory = 4.0 * chunk * blas_threads() * one.numbers + _images(config.dataset) + 16.0 * inputs**2
    return Estimate((steps + 1) * count * _operations(one, 2), memory, 2 * disk)


def _operations(one: Cost, passes: int) -> float:
    """Of forward, of gradients of inputs and of weights: a third each of a step of training."""
    return passes * (2 * WINOGRAD * one.multiplications + PASSES * one.numbers)


def _cost(config: DeepConfig) -> Cost:
    return layer_cost(deep_network(config), DATA_SETS[config.dataset].shape)


def _images(dataset: str) -> float:
    """Bytes of a data set in memory."""
    data = DATA_SETS[dataset]
    return float(data.sizes[0] * np.prod(data.shape))
