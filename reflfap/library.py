"""From arrays to results in one call each: `train`, `attack`, `learn_from_perturbations`.

Shorter ways to what the modules below do; `import reflfap as rf` has them all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from reflfap import attacks, checks, norms, onehidden
from reflfap.attacks import MarginFunction, Perturbed
from reflfap.backend import Array, HostArray, asarray, namespace, to_host
from reflfap.errors import refuse
from reflfap.experiments import own_data, own_samples
from reflfap.experiments.cell import RELEASED_STEPS
from reflfap.experiments.own_data import DataConfig, OwnSamples
from reflfap.experiments.three_networks import (
    NETWORKS,
    Labelled,
    in_words,
    limit_of_training,
)
from reflfap.fast.quick_attack import attack_network
from reflfap.losses import Loss, loss_named
from reflfap.monitor import SILENT, Monitor
from reflfap.onehidden import Network
from reflfap.training.descent import descent
from reflfap.training.flow import flow, released_time
from reflfap.training.result import Trained

if TYPE_CHECKING:
    from reflfap.data_loaders.image_set import ImageSet
    from reflfap.data_loaders.own_tables import Table

EPOCHS = 100_000
"""Of the released training."""

METHODS = {"flow": "flow", "descent": "gd", "kkt": "kkt"}
"""Trainers by their names here, and on the command line: gradient flow (N5), gradient descent as
released (N6), the limit of infinite time (T2)."""


def train(
    x: Array,
    y: Any,
    *,
    net: Network | None = None,
    hidden: int = 1_000,
    slope: float = 0.01,
    method: str = "flow",
    time: float | None = None,
    epochs: int | None = None,
    loss: Loss | str = "exponential",
    seed: int = 0,
    monitor: Monitor = SILENT,
) -> Trained:
    """Train the one-hidden-layer network (N1) on samples x (N, d) with labels y (N,) of two kinds.

    It starts from `net`, or from `hidden` units with `slope` and `initial_weights` of the seed.
    `method` says how it trains:

    - "flow": gradient flow (N5) to `time`, or to the time of `epochs` of descent, 0.1 `epochs`. By
      default these are the released 100,000.
    - "descent": (N6) as released, at most so many epochs.
    - "kkt": (T2), the limit of infinite time, which has no initial weights.

    Labels may be +1 and -1, 0 and 1, or any two values. The later in order counts as +1; `predict`
    of the result gives the values back. x is float32 or float64, of NumPy or CuPy. The result is of
    its kind.

    Raises InputError for bad input. Raises NonFiniteError, ConvergenceError and NoKKTPointError as
    the trainers do. They say what each costs: `training.flow.flow`, `training.descent.descent`,
    `theory.kkt.aligned_kkt`.
    """
    xp = checks.matrix("x", x)
    checks.choice("method", method, METHODS)
    classes, signs = _signs(y, x)
    loss = loss_named(loss)
    if method == "kkt":
        for name, given in (("net", net), ("time", time), ("epochs", epochs)):
            if given is not None:
                refuse(name, "none for kkt, the limit of infinite time", "one", "leave it out")
        found = limit_of_training(x, signs, hidden, slope, loss)
        return found._replace(classes=classes)
    if net is None:
        W = onehidden.initial_weights(hidden, x.shape[1], seed)
        net = onehidden.network(xp.astype(asarray(W, xp), x.dtype), slope)
    if method == "descent":
        if time is not None:
            refuse("time", "none for descent", time, "give epochs")
        found = descent(net, x, signs, loss, epochs=epochs or EPOCHS, monitor=monitor)
    else:
        if time is not None and epochs is not None:
            refuse("time", "time or epochs", "both", "leave one of them out")
        epochs = checks.whole_number("epochs", EPOCHS if epochs is None else epochs, 1)
        time = released_time(epochs) if time is None else time
        found = flow(net, x, signs, loss, time=time, monitor=monitor)
    return found._replace(classes=classes)


def attack(
    against: Trained | Network | MarginFunction,
    x: Array,
    target: Any,
    *,
    norm: str = "l2",
    epsilon: float | Sequence[float],
    variant: str | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    bounds: tuple[Any, Any] | None = None,
    random_start: bool = False,
    seed: int = 0,
) -> Any:
    """Perturb samples x (N, d) towards `target` (N,) with at most `epsilon` in a norm, by (P2).

    Returns an `attacks.Perturbed`, for a list of sizes a list of them.

    - `against`: what `train` returned, whose classes `target` may name; a network, with targets +1
      and -1; or any function (x (n, d), target (n,)) -> (margins (n,), their gradients (n, d)).
    - `norm`: "l2", "linf" (`variant` "rescale", as released, or "sign"), or "l0" (`variant`
      "released" or "tracked").
    - `epsilon`: the norm of a perturbation; of l0 the share of features that may change.
    - `steps`: by default 100; of l0 one a feature that may change.
    - `step_size`: in units of x, by default a fifth of epsilon; of l0 0.3.
    - `bounds`: lower and upper limits of x, numbers or one for each feature.
    - `random_start`: the first step is made from a point in the ball, drawn by `seed`.

    Raises and costs as `attacks.attack` does. Raises InputError for other targets.
    """
    if isinstance(epsilon, Sequence | np.ndarray) and np.ndim(epsilon) == 1:
        given: dict[str, Any] = {"norm": norm, "variant": variant, "steps": steps}
        given |= {"step_size": step_size, "bounds": bounds}
        given |= {"random_start": random_start, "seed": seed}
        return [attack(against, x, target, epsilon=one, **given) for one in epsilon]
    xp, epsilon = checks.matrix("x", x), checks.real_number("epsilon", epsilon, 0, np.inf, "[)")
    pixels = None
    if norm == "l0":
        share = checks.real_number("epsilon", epsilon, 0, 1, "(]")
        pixels = max(1, round(share * x.shape[1]))
    how = norms.norm_named(norm, pixels or epsilon, variant, step_size)
    low, high = _bounds(bounds, x)
    start = None
    if random_start:
        eta = norms.random_perturbations(
            how, x.shape[0], x.shape[1], checks.generator("seed", seed)
        )
        start = xp.astype(asarray(eta, xp), x.dtype)
    steps = (pixels or RELEASED_STEPS) if steps is None else steps
    more: dict[str, Any] = {"steps": steps, "low": low, "high": high, "start": start}
    if isinstance(against, Trained | Network):
        net = against.net if isinstance(against, Trained) else against
        classes = against.classes if isinstance(against, Trained) else (-1, 1)
        return attack_network(net, x, _as_signs(target, classes, x, "target"), how, **more)
    values = asarray(np.asarray(target), xp) if isinstance(target, list | tuple) else target
    return attacks.attack(against, x, values, how, **more)


def load(name: str | Path, split: str = "train", folder: Path | str | None = None) -> "ImageSet":
    """The "train" or "test" images of a set: mnist, fashion-mnist, cifar-10, embedded, or a path.

    `folder` has the set; default: $REFLFAP_DATA, else where `reflfap data fetch` puts it. A path is
    that of your own images: `data_loaders.own_images.read_own_images` says which it reads. Raises
    as that, or as `data_loaders.images.load`.
    """
    from reflfap.data_loaders import images, own_images, registry  # read HDF5: slow to import

    if str(name) in registry.DATA_SETS:
        return images.load(str(name), split, None if folder is None else Path(folder))
    return own_images.read_own_images(Path(name), split)


def load_table(*paths: Path | str, samples: str = "x", label: str = "") -> "Table":
    """Samples x (N, d) and their classes y (N,) from .npz, HDF5 or CSV, or from two .npy files.

    The table has x (float64), y (texts), the names of the `features`, and a digest, `sha256`.
    `data_loaders.own_tables.read_samples` says which files it reads, and what is refused.
    """
    from reflfap.data_loaders.own_tables import read_samples

    return read_samples([Path(one) for one in paths], samples, label)


class PerturbationLearning(NamedTuple):
    """Three networks, the perturbed samples between them, and what came out."""

    standard: Trained  # learned the natural samples
    noise: Trained  # learned the source samples as they were
    adversarial: Trained  # learned them perturbed; never saw a natural sample or label
    perturbed: Perturbed  # of the N_adv source samples
    target: Array  # (N_adv,) +1 or -1, towards which
    samples: OwnSamples  # natural, source and test samples, on the host
    metrics: Mapping[str, float]  # acc_* and others, as `reflfap run data` names them
    settings: DataConfig

    @property
    def classes(self) -> tuple[Any, Any]:
        """What labels -1 and +1 stand for."""
        return self.samples.classes

    def __repr__(self) -> str:
        (n, d), how = self.samples.natural.x.shape, self.settings
        size = f"{how.norm} {how.size:.3g}, N_adv={len(self.target)}"
        head = f"PerturbationLearning(N={n}, d={d}, {how.scenario}, {size})"
        return "\n".join([head, *in_words(self.metrics)])


def learn_from_perturbations(
    x: Array,
    y: Any,
    *,
    test: tuple[Array, Any] | None = None,
    scenario: Literal["noise", "natural-random", "natural-flipped"] = "noise",
    n_adv: int = 2_000,
    norm: Literal["l0", "l2", "linf"] = "l2",
    epsilon: float | None = None,
    variant: str | None = None,
    steps: int | None = None,
    bounds: tuple[Any, Any] | None = None,
    scale: Literal["standard", "range", "none"] = "none",
    hidden: int = 1_000,
    slope: float = 0.01,
    method: str = "flow",
    epochs: int = EPOCHS,
    loss: Literal["exponential", "logistic"] = "exponential",
    seed: int = 0,
    monitor: Monitor = SILENT,
) -> PerturbationLearning:
    """The whole experiment, (E1) or (E3), on samples x (N, d) with labels y (N,) of two kinds.

    A standard network learns them. `n_adv` source samples get targets and are perturbed against it,
    (P2). A noise network learns those as they were, an adversarial network the perturbed ones. All
    are measured on x, and on `test`, a pair of samples and labels that none of them learned.

    - `scenario`: "noise" is normal with each feature's mean and deviation, or uniform within finite
      `bounds`. Its targets are random. "natural-random" is x itself, towards random targets.
      "natural-flipped" is x, each towards the other label.
    - `scale`: "none"; "standard", minus the mean, by the deviation; "range", onto [-1, 1], a bound.
    - `bounds`, `epsilon`: of scaled x. By default `epsilon` is 0.5 sqrt(d) in l2, 0.5 in linf, half
      of the features in l0. The rest is as in `train` and `attack`.

    Networks have no bias: boundaries go through zero, where samples should have their mean. dtype
    and device are those of x. `reflfap run data` does this with files. Raises InputError, and as
    training and attack do. Memory: see `experiments.three_networks.train_and_attack`.
    """
    xp = checks.matrix("x", x)
    config = DataConfig(
        data=f"arrays:{x.shape[1]}:{x.shape[0]}+0:{'0' * 16}",
        scenario=scenario,
        n_adv=n_adv,
        norm=norm,
        epsilon=epsilon,
        variant=variant,
        attack_steps=steps,
        scale=scale,
        hidden=hidden,
        slope=slope,
        trainer=METHODS[checks.choice("method", method, METHODS)],  # type: ignore[arg-type]
        epochs=epochs,
        loss=loss,
        seed=seed,
        dtype=str(to_host(x[:1]).dtype),  # type: ignore[arg-type]
    )
    samples = _samples(config, x, y, test, bounds)
    found, metrics = own_data.learn(config, samples, xp, monitor)
    three = [found.trained[name]._replace(classes=samples.classes) for name in NETWORKS]
    rest = found.perturbed, found.target, samples, metrics, config
    return PerturbationLearning(three[0], three[1], three[2], *rest)


def _samples(
    config: DataConfig, x: Array, y: Any, test: tuple[Array, Any] | None, bounds: Any
) -> OwnSamples:
    """What the networks see, on the host: the same for the same numbers as of `run data`."""
    if bounds is not None and config.scale == "range":
        refuse("bounds", "none with scale range, which has its own", bounds, "leave one out")
    classes, signs = _signs(y, x)
    natural, tested = Labelled(to_host(x), to_host(signs)), None
    if test is not None:
        checks.matrix("test x", test[0])
        checks.columns(test[0], x.shape[1])
        signs = _as_signs(test[1], classes, test[0], "test y")
        tested = Labelled(to_host(test[0]), to_host(signs))
    return own_data.samples_of(config, natural, tested, classes, _bounds(bounds, natural.x))


def _signs(y: Any, x: Array) -> tuple[tuple[Any, Any], Array]:
    """The two classes that labels (N,) name, in order, and the labels as -1 and +1 like x."""
    values = _labels("y", y, x)
    classes = own_samples.classes_of(values)
    return classes, _as_signs(values, classes, x, "y")


def _as_signs(y: Any, classes: tuple[Any, Any], x: Array, name: str) -> Array:
    """Labels (N,) of these classes as -1 and +1, in the dtype and on the device of x."""
    values, xp = _labels(name, y, x), namespace(x)
    remedy = "leave other classes out"
    if classes == (-1, 1):
        remedy = "map the two classes to -1 and +1, or train on them, and attack what `train` gives"
    signs = own_samples.signs(values, classes, "float64", name, remedy)
    return xp.astype(asarray(signs, xp), x.dtype)


def _labels(name: str, y: Any, x: Array) -> HostArray:
    """Labels of any kind as one host array (N,)."""
    try:
        values = to_host(y) if hasattr(y, "shape") else np.asarray(y)
    except ValueError:  # of rows of several lengths
        values = np.empty(0)
    if values.dtype == object and all(isinstance(one, str) for one in values.ravel()):
        values = values.astype(str)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        refuse(name, "a class for each sample", "NaN or infinity", "leave those samples out")
    if values.dtype.kind not in "biufSU" or values.shape != (x.shape[0],):
        expected = f"a number, truth value or text for each of {x.shape[0]} samples"
        refuse(name, expected, f"{values.dtype}, shape {values.shape}", "give one label a sample")
    return values


def _bounds(bounds: Any, x: Array) -> tuple[float | Array, float | Array]:
    """The data range as `attacks.attack` takes it: numbers, or arrays of the kind of x."""
    if bounds is None:
        return -np.inf, np.inf
    xp = namespace(x)
    try:
        ends = [to_host(one) if hasattr(one, "shape") else np.asarray(one, "f8") for one in bounds]
        low, high = (
            float(one) if one.ndim == 0 else xp.astype(asarray(one, xp), x.dtype) for one in ends
        )
    except (TypeError, ValueError):
        expected = "a lower and an upper limit, numbers or one for each feature"
        refuse("bounds", expected, repr(bounds), "give for example (-1, 1)")
    return low, high
