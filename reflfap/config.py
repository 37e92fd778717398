"""What defines a run: frozen dataclasses, canonical JSON, and the run id that hashes it.

This module imports no mathematics. Only what can change a number belongs to a config: device,
thread count and paths do not.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, cast

from data_loaders.registry import DATA_SETS
from reflfap import checks
from reflfap.errors import refuse

VARIANTS = {
    "l2": ("released",),
    "linf": ("rescale", "sign"),
    "l0": ("released", "tracked"),
}
"""The attacks of (P2) by norm; the first of each is the released one and the default."""

RELEASED_STEPS = 100
"""Of an attack in L2 or Linf."""

LONGEST = 10**9
"""Of the dimensions of an array: the product of two still has a size in bytes below 2^63."""


@dataclass(frozen=True, kw_only=True)
class CellConfig:
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
        self._set("hidden", checks.hidden_units(self.hidden))
        for name, least in (("n", 1), ("n_adv", 1), ("epochs", 1), ("seed", 0)):
            self._set(name, checks.whole_number(name, getattr(self, name), least))
        for name in ("hidden", "n", "n_adv"):
            self._limit(name)
        for name, choices in _CHOICES.items():
            checks.choice(name, getattr(self, name), choices)
        self._set("slope", checks.leaky_slope(self.slope))
        self._resolve_attack()

    def _resolve_attack(self) -> None:
        """Replace None by the default it stands for, so that equal runs have equal ids."""
        epsilon = self._released[self.norm] if self.epsilon is None else self.epsilon
        top, closed = (1.0, "(]") if self.norm == "l0" else (math.inf, "[)")
        epsilon = checks.real_number("epsilon", epsilon, 0.0, top, closed)
        self._set("epsilon", epsilon + 0.0)  # -0.0 equals 0.0 and must have its id
        variants = VARIANTS[self.norm]
        variant = variants[0] if self.variant is None else self.variant
        self._set("variant", checks.choice("variant", variant, variants))
        steps = RELEASED_STEPS if self.norm != "l0" else self.pixels
        if self.attack_steps is None:
            self._set("attack_steps", steps)
        self._set("attack_steps", checks.whole_number("attack_steps", self.attack_steps, 0))
        if self.norm == "l0" and self.attack_steps != steps:
            got, remedy = self.attack_steps, "leave it out and choose --epsilon"
            refuse("attack_steps", f"{steps}, one step a pixel", got, remedy)

    def _limit(self, name: str) -> None:
        if (length := getattr(self, name)) > LONGEST:
            refuse(name, f"at most {LONGEST}", length, "no memory holds such an array")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen for everybody else

    @property
    def pixels(self) -> int:
        """d_delta, the number of entries that an l0 attack with this epsilon may change."""
        return max(1, round(self.size * self.inputs))

    @property
    def size(self) -> float:
        """epsilon, which is never None once the config exists."""
        return cast(float, self.epsilon)

    @property
    def steps(self) -> int:
        """attack_steps, which is never None once the config exists."""
        return cast(int, self.attack_steps)

    @property
    def inputs(self) -> int:
        """The input dimension d."""
        raise NotImplementedError

    @property
    def experiment(self) -> str:
        """The name of the experiment, as on the command line."""
        raise NotImplementedError

    @property
    def _released(self) -> dict[str, float]:
        """The default epsilon of each norm."""
        raise NotImplementedError


DISTRIBUTIONS = ("uniform", "gauss")


@dataclass(frozen=True, kw_only=True)
class ArtificialConfig(CellConfig):
    """One cell of E1: standard, noise and adversarial networks on artificial data.

    Default epsilon: l2 0.78 sqrt(dim/10000), linf 0.03, l0 0.05.
    """

    dim: int = 10_000
    """input dimension d"""
    data: Literal["uniform", "gauss"] = "uniform"
    """natural data and noise: uniform on [-1, 1]^d, or standard Gaussian"""

    def __post_init__(self) -> None:
        self._set("dim", checks.whole_number("dim", self.dim, 1))
        self._limit("dim")
        checks.choice("data", self.data, DISTRIBUTIONS)
        super().__post_init__()

    @property
    def inputs(self) -> int:
        return self.dim

    @property
    def _released(self) -> dict[str, float]:
        return {"l2": 0.78 * math.sqrt(self.dim / 10_000), "linf": 0.03, "l0": 0.05}

    @property
    def experiment(self) -> str:
        return "artificial"


SCENARIOS = ("noise", "natural-random", "natural-flipped")


@dataclass(frozen=True, kw_only=True)
class ImagesConfig(CellConfig):
    """One cell of E3: two classes of images in the theory's own setting, pixels on [-1, 1].

    Default epsilon: l2 0.1 sqrt(d), linf 0.1, l0 0.05.
    """

    dataset: Literal["mnist", "fashion-mnist", "cifar-10", "embedded"] = "embedded"
    """images; embedded, a part of Fashion-MNIST, comes with the package"""
    classes: tuple[str, str] = ("1", "8")
    """two classes, numbers or names; the first has label +1, the second -1"""
    scenario: Literal["noise", "natural-random", "natural-flipped"] = "noise"
    """what is perturbed: noise on [-1, 1]^d with random targets, or natural images with random
    targets or with the other class as target"""
    n: int = 1_000
    """natural samples N, at most; fewer if the two classes have fewer"""
    n_adv: int = 5_000
    """source samples, which are perturbed, N_adv; natural ones at most as many as there are"""
    centre: bool = False
    """subtract the mean of the natural samples from all; digits and clothes are less alike then,
    yet no nearer to (T1)"""

    def __post_init__(self) -> None:
        checks.choice("dataset", self.dataset, DATA_SETS)
        checks.choice("scenario", self.scenario, SCENARIOS)
        if len(self.classes) != 2 or not all(isinstance(one, str) for one in self.classes):
            refuse("classes", "two numbers or names", repr(self.classes), "give two, as in 3 7")
        self._set("classes", tuple(self.classes))  # a list, when it comes from JSON
        super().__post_init__()

    @property
    def inputs(self) -> int:
        return math.prod(DATA_SETS[self.dataset].shape)

    @property
    def _released(self) -> dict[str, float]:
        return {"l2": 0.1 * math.sqrt(self.inputs), "linf": 0.1, "l0": 0.05}

    @property
    def experiment(self) -> str:
        return "images"


@dataclass(frozen=True, kw_only=True)
class CertificatesConfig:
    """E4: the theory's statements, checked in regimes where (T1) holds, nearly holds and fails."""

    hidden: int = 20
    """hidden units m, even"""
    starts: int = 2
    """initial weights to follow gradient flow from, with each loss"""
    time: float = 1e30
    """flow time; the limit is approached like 1/log(time)"""
    seed: int = 0
    """seed of all random numbers"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", checks.hidden_units(self.hidden))
        for name, least in (("starts", 1), ("seed", 0)):
            object.__setattr__(self, name, checks.whole_number(name, getattr(self, name), least))
        object.__setattr__(self, "time", checks.real_number("time", self.time, 0, 1e100, "(]"))

    @property
    def experiment(self) -> str:
        return "certificates"


_CHOICES = {
    "norm": VARIANTS,
    "loss": ("exponential", "logistic"),
    "trainer": ("flow", "gd", "kkt"),
    "dtype": ("float32", "float64"),
}


class Experiment(Protocol):
    """What a config is: a dataclass of values, and the name of its experiment."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def experiment(self) -> str: ...


def canonical_json(config: Experiment) -> str:
    """The config as JSON with sorted keys and no spaces; equal configs give equal text.

    Checked by test_config.py::test_equal_configs_have_equal_ids.
    """
    content = {"experiment": config.experiment, **asdict(config)}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_id(config_json: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON.

    Checked by test_config.py::test_equal_configs_have_equal_ids.
    """
    return hashlib.sha256(config_json.encode()).hexdigest()[:16]


def identity(config: Experiment) -> str:
    """The run id of a config."""
    return run_id(canonical_json(config))
