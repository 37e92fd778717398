"""Stochastic gradient descent on batches for deep networks: Nesterov momentum and weight decay."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import (
    Array,
    HostArray,
    asarray,
    device_memory,
    floats,
    namespace,
    on_host,
    slices,
)
from reflfap.deep import classifier, softmax
from reflfap.deep.classifier import Images
from reflfap.deep.network import Chain, Gradients, Moments, Pass, Weights, running
from reflfap.errors import NonFiniteError, refuse
from reflfap.fast.worker_pool import Total, WorkerPool, share
from reflfap.monitor import SILENT, Monitor
from reflfap.training import batches
from reflfap.training.batches import Draw
from reflfap.training.schedule import Plateau

BLOCK = 2**16
"""Weights that are updated at once: what a step needs of them then stays in a cache. A device
takes each array as a whole."""

CURVES = ("loss", "accuracy", "accuracy_test")


class Sgd(NamedTuple):
    """How to descend; the defaults are the paper's."""

    rate: float = 0.1
    batch: int = 128
    momentum: float = 0.9
    decay: float = 5e-4
    augment: bool = False


class Curves(NamedTuple):
    """The course of a training, one entry an epoch, float64 on the host."""

    loss: HostArray  # mean over the epoch's batches, each before its step
    accuracy: HostArray  # likewise
    accuracy_test: HostArray  # after the epoch
    rate: HostArray  # in the epoch


class TrainedByBatches(NamedTuple):
    """A trained network's weights, with what happened on the way."""

    weights: dict[str, Array]
    curves: Curves


class NonFiniteBatchError(NonFiniteError):
    """Training left the finite numbers; `kept` holds the batch and the weights that it met, for
    inspection, or the weights alone where the last step of an epoch is to blame."""

    def __init__(self, message: str, kept: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.kept = kept


def train_by_batches(
    network: Chain,
    weights: Weights,
    images: Images,
    test: Images,
    how: Sgd,
    *,
    epochs: int,
    best: bool = False,
    seed: int = 0,
    workers: int = 1,
    monitor: Monitor = SILENT,
    stage: str = "training",
) -> TrainedByBatches:
    """Train a classifier from `weights`, which are copied, and test it after each epoch.

    Each epoch goes through the images in a new order, in batches, a last partial one left out;
    the rate is cut by `Plateau` on the epoch's mean loss. On the host `workers` threads take a part
    of each batch; a device is busy with one. A state is kept whenever the monitor asks for one, and
    after each epoch; a resumed training is that of an undisturbed one to the last bit, with the
    same number of workers. The weights returned are those of the last epoch, or, with `best`, of
    the first that has the highest accuracy on the test images. Memory: the weights, their copy and
    velocity, with `best` once more, a gradient a worker, and the activations of one batch; a device
    is waited for once a batch.
    Raises InputError for bad input or a state of another network, NonFiniteBatchError.
    """
    _check(images, how, epochs)
    course = _Course(weights, how, monitor.restore(stage), best)
    count = len(images.y) // how.batch
    done = (course.epoch * count + course.batch) * how.batch
    monitor.begin(stage, epochs * count * how.batch, "image", done)
    remedy = "use a smaller batch"
    with WorkerPool(workers) as pool, device_memory(f"batches of {how.batch} images", remedy):
        while course.epoch < epochs:
            order = batches.order(seed, stage, course.epoch, len(images.y))
            rate = Plateau(how.rate).course(course.past["loss"])[0].rate
            for number in range(course.batch, count):
                some = order[number * how.batch : (number + 1) * how.batch]
                batch = Images(images.x[some], images.y[some])
                draw = Draw(seed, stage, course.epoch, number)
                course.step(network, batch, rate, pool, draw)
                monitor.advance(how.batch)
                if monitor.due():
                    monitor.keep(stage, course.state())
            course.check()
            on_test = classifier.image_accuracy(network, course.weights, test, pool)
            monitor.say(course.end_epoch(count * how.batch, on_test))
            monitor.keep(stage, course.state())
    monitor.end()
    return TrainedByBatches(course.best or course.weights, course.curves())


class _Course:
    """A training on its way: all that a checkpoint holds."""

    def __init__(
        self, weights: Weights, how: Sgd, kept: Mapping[str, Any] | None, best: bool = False
    ) -> None:
        xp = namespace(*weights.values())
        self.how = how
        self.weights = {name: values.copy() for name, values in weights.items()}
        self.velocity = {
            name: xp.zeros_like(values) for name, values in weights.items() if not running(name)
        }
        self.best = {name: values.copy() for name, values in weights.items()} if best else {}
        self.epoch = self.batch = 0
        self.loss = self.hits = 0.0  # sums over the epoch so far
        self.past: dict[str, list[float]] = {name: [] for name in CURVES}
        if kept is not None:
            self._restore(kept)

    def _restore(self, kept: Mapping[str, Any]) -> None:
        held = (("weights", self.weights), ("velocity", self.velocity), ("best", self.best))
        for prefix, arrays in held:
            for name, values in arrays.items():
                found = kept.get(f"{prefix}:{name}")
                if found is None or found.shape != values.shape or found.dtype != values.dtype:
                    got = "none" if found is None else f"{found.dtype} {found.shape}"
                    expected = f"{prefix} {name}, {values.dtype} {values.shape}"
                    refuse("checkpoint", expected, got, "it is of another network: use --force")
                own = np.array(found, order="C")  # steps are made in place
                arrays[name] = asarray(own, namespace(values))
        self.epoch, self.batch = (int(kept[name]) for name in ("epoch", "batch"))
        self.loss, self.hits = (float(kept[name]) for name in ("loss_sum", "hits"))
        self.past = {name: [float(one) for one in kept[name]] for name in CURVES}

    def state(self) -> dict[str, Any]:
        """What `_restore` takes."""
        arrays = _prefixed("weights", self.weights) | _prefixed("velocity", self.velocity)
        arrays |= _prefixed("best", self.best)
        numbers = {"epoch": self.epoch, "batch": self.batch, "loss_sum": self.loss}
        rest = {"hits": self.hits, **self.past}
        return arrays | {name: np.asarray(one) for name, one in {**numbers, **rest}.items()}

    def step(
        self, network: Chain, batch: Images, rate: float, pool: WorkerPool, draw: Draw
    ) -> None:
        """One batch: gradients, running statistics, weights."""
        found = gradient(network, self.weights, batch, pool, draw, self.how.augment)
        loss, hits = map(sum, zip(*(floats(*one) for one in found.sums), strict=True))
        if not math.isfinite(loss):
            raise NonFiniteBatchError(
                f"loss: expected a finite number, got {loss} at epoch {draw.epoch + 1}, batch "
                f"{draw.batch + 1}; lower the learning rate",
                batch._asdict() | _prefixed("weights", self.weights),
            )
        self.weights |= network.moved(self.weights, found.moments)
        step(self.weights, self.velocity, found.gradients, self.how, rate, pool)
        self.loss += loss
        self.hits += hits
        self.batch += 1

    def check(self) -> None:
        """The last step of all has no loss after it that would tell."""
        xp = namespace(*self.weights.values())
        finite = floats(*(xp.all(xp.isfinite(values)) for values in self.weights.values()))
        for name, good in zip(self.weights, finite, strict=True):
            if not good:
                raise NonFiniteBatchError(
                    f"{name}: expected finite numbers, got NaN or infinity after epoch "
                    f"{self.epoch + 1}; lower the learning rate",
                    _prefixed("weights", self.weights),
                )

    def end_epoch(self, seen: int, accuracy_test: float) -> str:
        """Takes note of the epoch's curves, and gives a line about it for people."""
        if self.best and accuracy_test > max(self.past["accuracy_test"], default=-1.0):
            self.best = {name: values.copy() for name, values in self.weights.items()}
        values = (self.loss / seen, self.hits / seen, accuracy_test)
        for name, value in zip(CURVES, values, strict=True):
            self.past[name].append(value)
        self.loss = self.hits = 0.0
        self.epoch, self.batch = self.epoch + 1, 0
        loss, own, test = values
        return f"epoch {self.epoch}: loss {loss:.4f}, accuracy {own:.4f}, on test images {test:.4f}"

    def curves(self) -> Curves:
        rates = Plateau(self.how.rate).course(self.past["loss"])[1]
        return Curves(*(np.asarray(one) for one in (*self.past.values(), rates)))


def _prefixed(prefix: str, arrays: Weights) -> dict[str, Any]:
    return {f"{prefix}:{name}": values for name, values in arrays.items()}


class BatchGradient(NamedTuple):
    """What a batch in training mode says; the parts are to be added up."""

    gradients: Sequence[Gradients]  # of the mean loss, one a worker
    sums: Sequence[tuple[Array, Array]]  # of losses, and numbers of hits; one a worker
    moments: Moments  # of the whole batch


def gradient(
    network: Chain,
    weights: Weights,
    batch: Images,
    pool: WorkerPool,
    draw: Draw | None = None,
    augment: bool = False,
) -> BatchGradient:
    """The gradient of a batch's mean cross-entropy; without a `draw` no dropout, nothing random."""
    size, like = len(batch.y), next(iter(weights.values()))
    xp, dtype = namespace(like), str(like.dtype)

    def work(part: int, total: Total) -> tuple[Gradients, tuple[Array, Array], Moments]:
        rows = share(size, pool.workers, part)
        x, y, mask = batch.x[rows], asarray(batch.y[rows], xp), None
        if draw is not None:
            mask = partial(batches.dropout_mask, draw, rows)
            x = batches.augmented(x, draw, rows, size) if augment else x
        how = Pass(training=True, count=size, total=total, mask=mask)
        with np.errstate(over="ignore", invalid="ignore"):  # the loss will say so
            z, cache = network.forward(weights, classifier.pixels(x, xp, dtype), how)
            losses, dz = softmax.cross_entropy(z, y)
            _, found = network.backward(weights, cache, dz / size, how)
        return found, (xp.sum(losses), xp.sum(xp.argmax(z, axis=1) == y)), how.moments

    gradients, sums, moments = zip(*pool.run(work), strict=True)
    return BatchGradient(gradients, sums, moments[0])


def step(
    weights: dict[str, Array],
    velocity: dict[str, Array],
    gradients: Sequence[Gradients],
    how: Sgd,
    rate: float,
    pool: WorkerPool,
) -> None:
    """One step of all weights that have a velocity, in place; parts of gradients are added up:

    g <- sum of gradients + decay w,   v <- mu v + g,   w <- w - rate (g + mu v).
    """
    host = on_host(namespace(*weights.values()))
    blocks = [
        (name, block)
        for name, v in velocity.items()
        for block in slices(v.size, BLOCK if host else v.size)
    ]

    def work(part: int, total: Total) -> None:
        for name, block in blocks[part :: pool.workers]:
            w, v = (arrays[name].reshape(-1)[block] for arrays in (weights, velocity))
            g = how.decay * w
            for found in gradients:
                g += found[name].reshape(-1)[block]
            v *= how.momentum
            v += g
            g += how.momentum * v
            g *= rate
            w -= g

    pool.run(work)


def _check(images: Images, how: Sgd, epochs: int) -> None:
    checks.whole_number("epochs", epochs, least=1)
    checks.real_number("rate", how.rate, 0, math.inf, closed="()")
    checks.real_number("momentum", how.momentum, 0, 1, closed="[)")
    checks.real_number("decay", how.decay, 0, 1)
    checks.whole_number("batch", how.batch, least=1)
    if how.batch > len(images.y):
        refuse("batch", f"at most the {len(images.y)} images", how.batch, "use a smaller batch")
