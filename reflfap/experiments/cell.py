"""Cells of learning from perturbations, (E1) and (E3): what their configs and costs share."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from reflfap import checks
from reflfap.errors import refuse
from reflfap.experiments.experiment import Config, Estimate, Inputs
from reflfap.monitor import Monitor
from reflfap.norms import VARIANTS, Norm, norm_named
from reflfap.training.result import Trained

RELEASED_STEPS = 100
"""Of an attack in L2 or Linf."""

LONGEST = 10**9
"""Of the dimensions of an array: the product of two still has a size in bytes below 2^63."""

FLOW_STEPS = 18
"""Of gradient flow on white data to the released time."""

CG_PRODUCTS = 60
"""Products of M with a vector in a step of gradient flow."""

PASSES = 400
"""Cost of one entry of Z or x in a step of an attack, which is bound by memory, in operations."""


class AttackConfig(Config):
    """What the options of an attack have in common."""

    norm: str
    epsilon: float | None
    variant: str | None
    attack_steps: int | None

    def resolve_steps(self, usual: int, each: str, remedy: str) -> None:
        """Fill in and check variant and steps; l0 takes one step a pixel, and no other number."""
        self.fill_in("variant", VARIANTS[self.norm][0])
        checks.choice("variant", str(self.variant), VARIANTS[self.norm])
        steps = self.pixels if self.norm == "l0" else usual
        self.fill_in("attack_steps", steps)
        self.settle_whole(attack_steps=0)
        if self.norm == "l0" and self.attack_steps != steps:
            refuse("attack_steps", f"{steps}, one {each}", self.attack_steps, remedy)

    @property
    def size(self) -> float:
        """epsilon."""
        return checks.filled_in("epsilon", self.epsilon)

    @property
    def steps(self) -> int:
        """attack_steps."""
        return checks.filled_in("attack_steps", self.attack_steps)

    @property
    def pixels(self) -> int:
        """d_delta, the number of entries that an l0 attack may change."""
        raise NotImplementedError


def attack_norm(config: AttackConfig) -> Norm:
    """The constraint that a config names, (P2)."""
    size = config.pixels if config.norm == "l0" else config.size
    return norm_named(config.norm, size, config.variant)


@dataclass(frozen=True, kw_only=True)
class CellConfig(AttackConfig):
    """What experiments of learning from perturbations have in common: see ArtificialConfig."""

    hidden: int = 1_000
    """hidden units m, even"""
    n: int = 1_000
    """natural samples N"""
    n_adv: int = 10_000
    """source samples, which are perturbed, N_adv"""
    norm: Literal["l0", "l2", "linf"] = "l2"
    """norm that limits a perturbation"""
    epsilon: float | None = None
    """size of a perturbation: l2, linf its norm; l0 the ratio of pixels that may change"""
    slope: float = 0.01
    """slope gamma of the leaky ReLU, between 0 and 1"""
    loss: Literal["exponential", "logistic"] = "exponential"
    """training loss"""
    trainer: Literal["flow", "gd", "kkt"] = "flow"
    """flow: gradient flow to the time of the epochs; gd: gradient descent as released;
    kkt: the limit of infinite time, where it exists"""
    epochs: int = 100_000
    """epochs of gradient descent; for flow, the time 0.1 epochs that they take"""
    attack_steps: int | None = None
    """steps of the attack. Default: 100; l0 takes one step a pixel, and no other number"""
    variant: str | None = None
    """variant of the attack: linf rescale (released) or sign; l0 released or tracked"""
    seed: int = 0
    """seed of all random numbers"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision of the arrays"""

    def __post_init__(self) -> None:
        self.settle("hidden", checks.hidden_units(self.hidden))
        self.settle_whole(n=1, n_adv=1, epochs=1, seed=0)
        for name in ("hidden", "n", "n_adv"):
            self._limit(name)
        self.check_words()
        self.settle("slope", checks.leaky_slope(self.slope))
        self.fill_in("epsilon", self._released[self.norm])
        top, closed = (1.0, "(]") if self.norm == "l0" else (math.inf, "[)")
        epsilon = checks.real_number("epsilon", self.epsilon, 0.0, top, closed)
        self.settle("epsilon", epsilon + 0.0)  # -0.0 equals 0.0 and must have its id
        self.resolve_steps(RELEASED_STEPS, "step a pixel", "leave it out and choose --epsilon")

    def _limit(self, name: str) -> None:
        if (length := getattr(self, name)) > LONGEST:
            refuse(name, f"at most {LONGEST}", length, "no memory holds such an array")

    @property
    def pixels(self) -> int:
        return max(1, round(self.size * self.inputs))

    @property
    def inputs(self) -> int:
        """The input dimension d."""
        raise NotImplementedError

    @property
    def in_float16(self) -> bool:
        """Whether it computes in the arithmetic of the released code."""
        return False

    @property
    def flow_steps(self) -> int:
        """Steps that gradient flow takes to the released time, about."""
        return FLOW_STEPS

    @property
    def _released(self) -> dict[str, float]:
        """The default epsilon of each norm."""
        raise NotImplementedError


class Sharing(NamedTuple):
    """What cells of a sweep have in common, and how to compute a cell from it.

    A network is "standard" or "noise": these do not depend on the attack.
    """

    shared: Callable[[Any, str], Any]
    """(config, network) -> the config that stands for all cells with this network in common"""
    train: Callable[[Any, str, Inputs, Monitor], Trained]
    """(config, network, inputs, monitor) -> that network, on the host"""
    cell: Callable[[Any, Inputs, Monitor, Any], Any]
    """(config, inputs, monitor, three_networks.KnownParts) -> its three_networks.Cell"""


def training_flops(config: CellConfig, n: int) -> float:
    """Operations of one training on n samples, to within a factor of two or so."""
    m, d = config.hidden, config.inputs
    spread = 2 * m * n * min(n, 2 * d)
    gram = n * n * d
    if config.trainer == "gd":
        return float(gram + config.epochs * spread)
    if config.trainer == "kkt":
        return float(gram + n**3 / 3)
    step = 2 * spread + 2 * m * n * n + CG_PRODUCTS * 2 * n * n
    return float(gram + config.flow_steps * step)


def attack_flops(config: CellConfig) -> float:
    """Operations of the attack, likewise; passes over memory counted as what they cost."""
    return float(config.steps * config.n_adv * (config.hidden + config.inputs) * PASSES)


def training_memory(config: CellConfig, n: int) -> float:
    """Bytes of a training on n samples: samples, weights, two (n, n) and ten (m, n): see `flow`."""
    m, d = config.hidden, config.inputs
    return _bytes(config, n * d + 3 * m * d + 2 * n * n + 10 * m * n)


def cell_cost(config: CellConfig) -> Estimate:
    """A cell whose standard and noise networks are there: the attack and the last training.

    Memory: that training, natural samples and those before the attack on top.
    """
    flops = attack_flops(config) + training_flops(config, config.n_adv)
    extra = _bytes(config, (config.n + config.n_adv) * config.inputs)
    return Estimate(flops, extra + training_memory(config, config.n_adv))


def _bytes(config: CellConfig, entries: int) -> float:
    return float(np.dtype(config.dtype).itemsize * entries)
