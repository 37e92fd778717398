"""Cells of (E7): their options, with the released defaults, and the grids of the successor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from reflfap import checks
from reflfap.errors import refuse
from reflfap.experiments.experiment import Config, Table

MOMENTUM = 0.9


class ImagePair(NamedTuple):
    """Two classes of an image set as the released code takes them."""

    classes: tuple[str, str]  # of label +1 and -1
    mean: float  # of all pixels of the set on [0, 1], subtracted
    n: int  # training images of both


PAIRS = {
    "mnist": ImagePair(("1", "2"), 0.1307, 12_700),
    "fashion-mnist": ImagePair(("0", "9"), 0.2860, 12_000),
}


class Released(NamedTuple):
    """The released default cell of a kind of data and a scenario."""

    dim: int
    n: int
    per_root: float  # epsilon / sqrt(d)
    epochs: int
    rate: float  # the first of the grid, for f and g


RELEASED = {
    ("shifted-gauss", "perturbations"): Released(100, 1_000, 0.001, 1_000, 1.0),
    ("shifted-gauss", "samples"): Released(5_000, 10_000, 0.01, 1_000, 1.0),
    ("gauss", "perturbations"): Released(10_000, 10_000, 0.001, 1_000, 1.0),
    ("gauss", "samples"): Released(10_000, 10_000, 0.1, 1_000, 1.0),
    **{
        (name, scenario): Released(784, pair.n, 0.005, 100, 0.01)
        for name, pair in PAIRS.items()
        for scenario in ("perturbations", "samples")
    },
}


@dataclass(frozen=True, kw_only=True)
class WideConfig(Config):
    """One cell of E7: a wide network learns from the perturbations of another, (W1) to (W4).

    What is left open is as released for the data and the scenario: see docs/wide.md.
    """

    experiment = "wide"

    data: Literal["shifted-gauss", "gauss", "mnist", "fashion-mnist"] = "shifted-gauss"
    """shifted-gauss: N(+-0.3, I) by label; gauss: N(0, I), random labels; mnist: 1 and 2;
    fashion-mnist: 0 and 9"""
    scenario: Literal["perturbations", "samples"] = "perturbations"
    """what g learns: perturbations alone, (a), or perturbed samples, (b)"""
    dim: int | None = None
    """input dimension d; of images 784"""
    n: int | None = None
    """samples N; of images at most"""
    hidden: int = 100
    """hidden units m"""
    targets: Literal["random", "balanced"] = "random"
    """targets: each +1 or -1 by chance, as released; or half of each, by chance"""
    slope: float = 0.0
    """slope gamma of the leaky ReLU, from 0 to below 1"""
    epsilon: float | None = None
    """length of a perturbation"""
    epochs: int | None = None
    """epochs of f, and of g unless it has its own"""
    epochs_g: int | None = None
    """epochs of g"""
    rate_f: float | None = None
    """learning rate of f"""
    rate_g: float | None = None
    """learning rate of g"""
    loss: Literal["identity", "logistic"] = "identity"
    """training loss of a margin q: -q, or log(1 + exp(-q))"""
    trainer: Literal["flow", "gd"] = "flow"
    """flow: gradient flow to the time of the epochs; gd: gradient descent as released"""
    seed: int = 0
    """seed of all random numbers"""
    dtype: Literal["float32", "float64"] = "float32"
    """precision of the arrays"""

    def __post_init__(self) -> None:
        self.check_words()
        released = RELEASED[self.data, self.scenario]
        for name in ("dim", "n", "epochs"):
            self.fill_in(name, getattr(released, name))
        self.fill_in("epochs_g", self.epochs)
        self.settle_whole(dim=1, n=1, hidden=1, epochs=1, epochs_g=1, seed=0)
        if self.data in PAIRS and self.dim != released.dim:
            refuse("dim", f"{released.dim} for {self.data}", self.dim, "leave it out")
        for name in ("dim", "n", "hidden"):
            checks.whole_number(name, getattr(self, name), 1, 10**7)
        self.settle("slope", checks.real_number("slope", self.slope, 0.0, 1.0, "[)"))
        self.fill_in("epsilon", released.per_root * math.sqrt(self.inputs))
        epsilon = checks.real_number("epsilon", self.epsilon, 0.0, math.inf, "[)")
        self.settle("epsilon", epsilon + 0.0)  # -0.0 equals 0.0 and must have its id
        for name in ("rate_f", "rate_g"):
            self.fill_in(name, released.rate)
            self.settle(name, checks.real_number(name, getattr(self, name), 0, math.inf, "()"))

    @property
    def inputs(self) -> int:
        """The input dimension d."""
        return checks.filled_in("dim", self.dim)

    @property
    def samples(self) -> int:
        """n."""
        return checks.filled_in("n", self.n)

    @property
    def size(self) -> float:
        """epsilon."""
        return checks.filled_in("epsilon", self.epsilon)

    def course(self, network: str) -> tuple[int, float]:
        """Epochs and learning rate of f or g."""
        f = network == "f"
        epochs = checks.filled_in("epochs", self.epochs if f else self.epochs_g)
        return epochs, checks.filled_in("rate", self.rate_f if f else self.rate_g)

    def time(self, network: str) -> float:
        """The time that its descent takes along a constant gradient."""
        return descent_time(*self.course(network))


def descent_time(epochs: int, rate: float, momentum: float = MOMENTUM) -> float:
    """(W1): rate/(1 - mu) (epochs - mu (1 - mu^epochs)/(1 - mu)): momentum has to build up."""
    late = momentum * (1 - momentum**epochs) / (1 - momentum)
    return rate / (1 - momentum) * (epochs - late)


def together(config: WideConfig) -> tuple[WideConfig, WideConfig]:
    """The config with all that its samples do not depend on set alike, and so for its network f.

    A sweep sorts its cells by both, so that cells with the same samples come after one another.
    """
    of_g: dict[str, Any] = {"targets": "random", "epochs_g": 1, "rate_g": 1.0}
    alike = replace(config, scenario="perturbations", epsilon=0.0, **of_g)
    usual: dict[str, Any] = {"hidden": 1, "slope": 0.0, "epochs": 1, "rate_f": 1.0}
    return replace(alike, **usual, loss="identity", trainer="flow"), alike


TENS = tuple(range(1, 11))
UP_TO_100 = (*TENS, *range(20, 101, 10))
HIDDEN = (*UP_TO_100, *range(200, 1_001, 100))
NUMBERS = (*HIDDEN[1:], *range(2_000, 10_001, 1_000))
SLOPES = (0.0, 0.25, 0.5, 0.75, 0.99)


def steps(most: float, count: int) -> tuple[float, ...]:
    """0 to `most` in equal steps, without the noise of binary fractions."""
    return tuple(float(f"{most * k / count:.6g}") for k in range(count + 1))


SWEEPS: dict[tuple[str, str], Sequence[Table]] = {
    ("shifted-gauss", "perturbations"): (
        {"dim": range(10, 101, 10), "targets": ("random", "balanced")},
        {"dim": range(10, 51, 5), "loss": "logistic"},
        {"hidden": HIDDEN},
        {"n": NUMBERS},
        {"epochs_g": UP_TO_100},
        {"epochs": TENS, "epochs_g": 1_000, "rate_f": 0.1},
        {"epsilon": steps(0.01, 10)},
        {"slope": SLOPES},
    ),
    ("shifted-gauss", "samples"): (
        {"dim": (10, 50, 100, 500, *range(1_000, 5_001, 1_000))},
        {"targets": "balanced"},
        {"dim": (10, 100, 1_000, 5_000), "loss": "logistic", "rate_f": 10.0, "rate_g": 10.0},
        {"hidden": HIDDEN},
        {"n": NUMBERS},
        {"epsilon": steps(0.7, 7)},
        {"epochs": UP_TO_100, "epochs_g": 1_000, "rate_f": 0.01},
        {"epochs_g": UP_TO_100, "rate_g": 0.01},
        {"slope": SLOPES},
    ),
    **{
        ("gauss", scenario): (
            {"dim": (100, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000, 10_000)},
            {"dim": (100, 1_000, 10_000), "targets": "balanced"},
            {"dim": (100, 1_000, 10_000), "loss": "logistic"},
            {"hidden": HIDDEN},
            {"n": NUMBERS},
            {"epsilon": steps(most, 10)},
            {"epochs_g": UP_TO_100},
            {"epochs": UP_TO_100, "epochs_g": 1_000, "rate_f": 0.1},
            {"slope": SLOPES},
        )
        for scenario, most in (("perturbations", 0.1), ("samples", 10.0))
    },
    **{
        (name, scenario): (
            {"hidden": (*range(10, 101, 10), *range(200, 1_001, 100))},
            {"epochs": UP_TO_100, "epochs_g": 100},
            {"epochs_g": range(10, 101, 10)},
            {"epsilon": steps(0.14, 10), "targets": "balanced"},
            {"epsilon": steps(0.14, 10)},
            {"epsilon": steps(most, 10), "loss": "logistic"},
            {"slope": SLOPES},
        )
        for name in PAIRS
        for scenario, most in (("perturbations", 0.14), ("samples", 1.4))
    },
}
"""The sweeps of the successor by data and scenario, each around the released default."""


def sweeps(data: str, scenario: str) -> list[Table]:
    """The tables of a cell's sweeps. Along d the perturbation grows as sqrt(d), as released."""
    return [
        {"data": data, "scenario": scenario}
        | {
            name: list(one) if not isinstance(one, str | float | int) else one
            for name, one in table.items()
        }
        for table in SWEEPS[data, scenario]
    ]
