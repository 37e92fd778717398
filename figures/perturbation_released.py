"""What the released code reached with deep networks that learned perturbed images (E2)."""

from typing import NamedTuple

import numpy as np

from reflfap.experiments.learn import LearnConfig
from reflfap.figures.perturbation import is_released_attack, samples


class Released(NamedTuple):
    """An accuracy on the clean test images in the published plots."""

    samples: int
    accuracy: float
    epoch: str  # "best", "last", or "" where that is not said


_SETS = ("mnist", "fashion-mnist", "cifar-10")
_IMAGES: dict[tuple[str, str], tuple[dict[str, float], ...]] = {
    ("natural-random", "l0"): (
        {"best": 0.48, "last": 0.28},
        {"best": 0.2, "last": 0.1},
        {"": 0.58},
    ),
    ("natural-random", "l2"): ({"": 0.93}, {"best": 0.7, "last": 0.55}, {"": 0.77}),
    ("natural-random", "linf"): ({"": 0.9}, {"best": 0.7, "last": 0.62}, {"": 0.78}),
    ("natural-deterministic", "l0"): ({"": 0.02}, {"": 0.01}, {"": 0.18}),
    ("natural-deterministic", "l2"): ({"": 0.39}, {"": 0.26}, {"": 0.45}),
    ("natural-deterministic", "linf"): ({"": 0.12}, {"": 0.24}, {"": 0.53}),
}
_NOISE_SIZES = (60_000, 240_000, 480_000, 720_000, 960_000, 1_200_000)
_NOISE = {
    "l0": ((0.4, 0.45, 0.42, 0.49, 0.48, 0.48), (0.3, 0.29, 0.27, 0.31, 0.32, 0.33), (0.1,)),
    "l2": ((0.28, 0.3, 0.33, 0.36, 0.37, 0.32), (0.35, 0.37, 0.38, 0.38, 0.37, 0.355), (0.11,)),
    "linf": ((0.37, 0.39, 0.39, 0.39, 0.375, 0.38), (0.35, 0.35, 0.35, 0.335, 0.35, 0.35), (0.1,)),
}


_SUCCESS = {  # in percent: L0, L2, Linf
    "natural-random": ((4.6, 41.7, 3.6), (31.2, 97.8, 93.9), (98.2, 98.9, 100)),
    "natural-deterministic": ((2.9, 34.6, 3.2), (32.9, 98.2, 92.6), (98.2, 98.6, 100)),
    "noise": ((10.1, 69.9, 69.7), (72.9, 99.8, 97.7), (82.4, 29.9, 38.6)),
}


def released_success(config: LearnConfig) -> float | None:
    """The share of samples whose largest output was the target in the released code's attack, a
    mean over the targets; None where size or variant of the attack is not the released one."""
    if config.dataset not in _SETS or not is_released_attack(config):
        return None
    by_norm = _SUCCESS[config.scenario][_SETS.index(config.dataset)]
    return by_norm[("l0", "l2", "linf").index(config.norm)] / 100


def released(dataset: str, scenario: str, norm: str) -> list[Released]:
    """What the released code reached at the released sizes, one seed; of noise by sample count.

    The numbers were read off published plots, by eye, of the best or the last epoch as marked. They
    are for comparison only. Of the embedded set there are none.
    """
    if dataset not in _SETS:
        return []
    which = _SETS.index(dataset)
    if scenario == "noise":
        sizes = _NOISE_SIZES if dataset != "cifar-10" else (50_000,)
        return [Released(*pair, "best") for pair in zip(sizes, _NOISE[norm][which], strict=True)]
    count = 50_000 if dataset == "cifar-10" else 60_000
    return [
        Released(count, value, epoch) for epoch, value in _IMAGES[scenario, norm][which].items()
    ]


def comparable(config: LearnConfig) -> list[Released]:
    """Released values of a config's scenario and norm, of noise those of the nearest sample count;
    none where size or variant of the attack is not the released one."""
    if not is_released_attack(config):
        return []
    found = released(config.dataset, config.scenario, config.norm)
    if config.scenario != "noise" or not found:
        return found
    return [min(found, key=lambda one: abs(np.log(one.samples / samples(config))))]
