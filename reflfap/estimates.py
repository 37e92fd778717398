"""Time, memory and disk of the stages of E2, before they run; good to a factor of two or so."""

from typing import NamedTuple

import numpy as np

from data_loaders.registry import DATA_SETS
from reflfap.config_classify import ClassifyConfig, Training
from reflfap.config_perturbation import LearnConfig, PerturbConfig
from reflfap.configs import Config
from reflfap.deep.cost import Cost, cost
from reflfap.experiments import classify
from reflfap.experiments.perturbation_learning import CHUNK
from reflfap.host import blas_threads

WINOGRAD = 0.2
"""Operations done for one that the definition of a layer counts: Winograd's algorithm saves the
rest. This and the next fitted to steps of ConvNet and WideResNet-16-1 (benchmarks/deep.py)."""

PASSES = 310
"""Cost of one number between layers, which is bound by memory, in operations."""


class Estimate(NamedTuple):
    """What a stage needs."""

    flops: float  # operations, at the rate of a matrix product
    memory: float  # bytes at its peak
    disk: float = 0.0  # bytes of the result, and once more of the parts it is put together from


def of(config: Config) -> Estimate:
    """Of any stage, by its config."""
    if isinstance(config, LearnConfig):
        return learning(config)
    if isinstance(config, PerturbConfig):
        return perturbing(config)
    if isinstance(config, ClassifyConfig):
        return classifying(config)
    raise TypeError(type(config))


def classifying(config: ClassifyConfig) -> Estimate:
    """Training a clean classifier."""
    images = DATA_SETS[config.dataset].sizes[0]
    return _training(config, min(config.subset or images, images), 1)


def learning(config: LearnConfig) -> Estimate:
    """Training on a perturbed set, of which memory holds a batch."""
    return _training(config, config.subset or config.samples, 0)


def perturbing(config: PerturbConfig) -> Estimate:
    """Making a perturbed set against the preset's classifier, the images it starts from included.

    Checked by test_estimates.py::test_estimates_grow_with_the_work.
    """
    one = _cost(config.usual_classifier)
    count, inputs = config.samples, int(np.prod(DATA_SETS[config.dataset].shape))
    disk = 4.0 * count * inputs
    memory = 4.0 * CHUNK * blas_threads() * one.numbers + _images(config.dataset) + 16.0 * inputs**2
    return Estimate((config.steps + 1) * count * _operations(one, 2), memory, 2 * disk)


def _training(config: Training, count: int, held: int) -> Estimate:
    one, epochs = _cost(config), config.epochs or 0
    step = count * _operations(one, 3) + DATA_SETS[config.dataset].sizes[1] * _operations(one, 1)
    weights = 4.0 * sum(np.prod(spec.shape) for spec in classify.network(config).arrays().values())
    memory = 4.0 * (config.batch or 0) * one.numbers + 6 * weights + held * _images(config.dataset)
    return Estimate(epochs * step, memory, weights)


def _operations(one: Cost, passes: int) -> float:
    """Of forward, of gradients of inputs and of weights: a third each of a step of training."""
    return passes * (2 * WINOGRAD * one.multiplications + PASSES * one.numbers)


def _cost(config: Training) -> Cost:
    return cost(classify.network(config), DATA_SETS[config.dataset].shape)


def _images(dataset: str) -> float:
    """Bytes of a data set in memory."""
    data = DATA_SETS[dataset]
    return float(data.sizes[0] * np.prod(data.shape))
