"""One run: an experiment joined with its data and the store, for the command line and sweeps.

A run from the command line stores networks and perturbed samples whole; a cell of a sweep, of which
there are hundreds, stores what its figures need of them (`cell_datasets`).
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from data_loaders.image_set import ImageSet
from data_loaders.images import load
from data_loaders.registry import place
from reflfap import store
from reflfap.backend import HostArray, Namespace
from reflfap.checkpoints import Checkpoints
from reflfap.config import ArtificialConfig, CellConfig, ImagesConfig, canonical_json, identity
from reflfap.config_classify import ClassifyConfig
from reflfap.configs import Config
from reflfap.deep.classifier import Images, from_released, released_shape, to_released
from reflfap.errors import NonFiniteError, ReflfapError
from reflfap.experiments import artificial, classify, images
from reflfap.experiments.cell import Cell, Labelled
from reflfap.experiments.plane import MOST_SAMPLES, project
from reflfap.files import lock
from reflfap.monitor import Monitor
from reflfap.progress import RunMonitor, say
from reflfap.provenance import describe
from reflfap.training.minibatch import NonFiniteBatchError

GALLERY = 8
"""Perturbed samples that a cell of a sweep keeps."""

_AXES = {
    1: "channel",
    2: "output, input",
    4: "output channel, input channel, row, column",
}

WHOLE = ("networks/standard/W",)
"""What tells a run that kept everything from a cell of a sweep."""


class OfADtype(Protocol):
    """A config that says in which precision it computes."""

    @property
    def dtype(self) -> str: ...


class OfADataSet(Protocol):
    """A config that names a data set."""

    @property
    def dataset(self) -> str: ...


class Computed(NamedTuple):
    """What an experiment leaves to be stored."""

    metrics: Mapping[str, float]
    datasets: Mapping[str, store.Dataset]
    about: Mapping[str, str | int]  # root attributes: where the numbers come from


def complete(
    config: Config,
    out: Path,
    compute: Callable[[Monitor], Computed],
    *,
    force: bool = False,
    needed: Sequence[str] = (),
    on_wait: Callable[[str], None] | None = None,
    quiet: bool = False,
    pace: tuple[float, ...] = (),
    followed: bool = False,
) -> Path:
    """The result file of a config: the complete one with all that is `needed`, or a new one.

    An interruption that comes when only the result is left to be written does no harm to it; where
    the run is `followed` by others, KeyboardInterrupt keeps these from beginning.
    One process at a time works on a run: `on_wait(its id)` is called when that is another one, and
    may raise instead of waiting. `pace` is that of `Checkpoints`.
    Checked by test_cli.py::test_two_processes_share_a_run.
    """
    text = canonical_json(config)
    folder = store.folder_for(out, config.experiment, text)
    with lock(folder / store.LOCK, on_wait or _say_waiting):
        path, checkpoints = folder / store.RESULT, Checkpoints(folder, *pace)
        interrupted = False
        if force or not reusable(path, needed):
            if force:
                checkpoints.clear()
            start = time.perf_counter()
            with RunMonitor(checkpoints, quiet) as monitor:
                found = compute(monitor)
                attributes = {**found.about, "wall_seconds": time.perf_counter() - start}
                store.write(folder, text, attributes, found.metrics, found.datasets)
            interrupted = monitor.interrupted
        elif not quiet:
            say(f"complete result found, nothing to compute: {path}")
        store.forget_failure(folder)
        checkpoints.clear()  # also those of a run that was killed just after its result was there
    if interrupted and followed:
        raise KeyboardInterrupt
    return path


def folder_of(out: Path, config: Config) -> Path:
    """The folder of a result, whether it is there or not."""
    return out / config.experiment / identity(config)


def reusable(path: Path, needed: Sequence[str] = ()) -> bool:
    """Whether a valid complete result with all that is asked for is there."""
    if not path.exists():
        return False
    try:
        with store.open_result(path) as result:
            return set(needed) <= set(result.names())
    except ReflfapError as error:
        say(f"{error}\ncomputing it again")
        return False


def about(xp: Namespace, config: OfADtype, sha256: str = "") -> dict[str, str | int]:
    """The root attributes that say where the numbers of a run come from."""
    found = {**describe(xp), "dtype": config.dtype}
    return found | {"data_sha256": sha256} if sha256 else found


def two_classes(config: ImagesConfig, folder: Path | None) -> images.Images:
    """Training and test images of a config's two classes, one row an image."""
    chosen = [split.classes(*config.classes) for split in _both(config.dataset, folder)]
    train, test = (Labelled(one.images.reshape(len(one.labels), -1), one.labels) for one in chosen)
    return images.Images(train, test, _digests(chosen))


def _both(dataset: str, folder: Path | None) -> list[ImageSet]:
    """The training and the test images of a data set."""
    folder = place(dataset, folder).parent
    return [_split(dataset, split, folder) for split in ("train", "test")]


def _digests(sets: Sequence[ImageSet]) -> str:
    """Of the files that sets come from."""
    return " ".join(one.sha256 for one in sets)


@functools.lru_cache(maxsize=2)
def _split(dataset: str, split: str, folder: Path) -> ImageSet:
    """Kept for the next cell: unpacking CIFAR-10 takes longer than many a cell. At most 180 MB."""
    return load(dataset, split, folder)


def whole_datasets(
    config: CellConfig, cell: Cell, save_data: bool = False
) -> dict[str, store.Dataset]:
    """All arrays of a result file, by name; natural samples and noise only when asked for."""
    datasets = labelled("adversarial", Labelled(cell.x_adv, cell.y_adv))
    for name, W in cell.weights.items():
        datasets[f"networks/{name}/W"] = store.Dataset(W, "hidden unit, input", "1 / data units")
    if save_data and isinstance(config, ArtificialConfig):
        datasets |= labelled("natural", artificial.natural(config))
        datasets |= labelled("noise", artificial.noise(config))
    return datasets | _small_datasets(config, cell)


def cell_datasets(config: CellConfig, cell: Cell) -> dict[str, store.Dataset]:
    """What a cell of a sweep keeps: of networks the plane, of perturbed samples the first few."""
    some = Labelled(cell.x_adv[:GALLERY], cell.y_adv[:GALLERY])
    return labelled("adversarial", some) | _small_datasets(config, cell)


def labelled(name: str, samples: Labelled) -> dict[str, store.Dataset]:
    return {
        f"data/{name}/x": store.Dataset(samples.x, "sample, input", "data units"),
        f"data/{name}/y": store.Dataset(samples.y, "sample", "label +1 or -1"),
    }


def test_set(config: OfADataSet, folder: Path | None) -> tuple[Images, str]:
    """The test images of a data set alone, and the digest of the files they come from."""
    found = _split(config.dataset, "test", place(config.dataset, folder).parent)
    return Images(found.images, found.labels), found.sha256


def whole_set(config: OfADataSet, folder: Path | None) -> tuple[Images, Images, str]:
    """Training and test images of a data set, and the digests of the files they come from."""
    sets = _both(config.dataset, folder)
    train, test = (Images(one.images, one.labels) for one in sets)
    return train, test, _digests(sets)


def classified(
    config: ClassifyConfig, folder: Path | None, xp: Namespace, monitor: Monitor, workers: int
) -> Computed:
    """Train a clean classifier. A batch that leaves the finite numbers is kept beside the run.

    Checked by test_classify.py::test_a_batch_that_fails_is_kept.
    """
    train, test, digests = whole_set(config, folder)
    with rescued(monitor):
        found = classify.run(config, train, test, xp, monitor, workers)
    origin = about(xp, config, digests) | {"workers": workers}
    return Computed(found.metrics, network_datasets("standard", found), origin)


@contextlib.contextmanager
def rescued(monitor: Monitor) -> Iterator[None]:
    """Keep the batch that makes a training leave the finite numbers, and say where."""
    try:
        yield
    except NonFiniteBatchError as error:
        where = monitor.rescue("not-finite", error.kept)
        raise NonFiniteError(f"{error}; what it had is in {where}") from error


def network_datasets(network: str, found: classify.Classified) -> dict[str, store.Dataset]:
    """The weights of a deep network, in the released layout, and its learning curves."""
    datasets = {
        f"networks/{network}/{name}": store.Dataset(values, _AXES[values.ndim], "none")
        for name, values in to_released(found.weights).items()
    }
    for name, values in found.curves._asdict().items():
        unit = {"loss": "mean loss", "rate": "learning rate"}.get(name, "fraction")
        datasets[f"traces/{network}/{name}"] = store.Dataset(values, "epoch", unit)
    return datasets


def classifier_weights(result: store.Result, dtype: str = "") -> dict[str, HostArray]:
    """The weights of a classifier's result, in the layout of `deep`; as `dtype`, else its own.

    Checked by test_classify.py::test_weights_come_back_from_a_result.
    """
    config = result.config_of(ClassifyConfig)
    network = classify.network(config)
    arrays = {
        name: result.array(f"networks/standard/{name}", released_shape(spec.shape))
        for name, spec in network.arrays().items()
    }
    return from_released(network, arrays, dtype or config.dtype)


def _small_datasets(config: CellConfig, cell: Cell) -> dict[str, store.Dataset]:
    """Traces, and for artificial data the plane of its decision map."""
    datasets = _plane(config, cell) if isinstance(config, ArtificialConfig) else {}
    units = {"time": "flow time", "loss": "mean loss", "step": "learning rate or flow time"}
    for name, trace in cell.traces.items():
        for key, values in trace._asdict().items():
            datasets[f"traces/{name}/{key}"] = store.Dataset(
                values, "state", units.get(key, "count")
            )
    return datasets


def _plane(config: ArtificialConfig, cell: Cell) -> dict[str, store.Dataset]:
    some = replace(config, n=min(config.n, 4 * MOST_SAMPLES))  # holds enough of each label
    plane = project(cell.weights, artificial.natural(some))
    datasets = {
        f"plane/{name}": store.Dataset(W, "hidden unit, axis", "1 / data units")
        for name, W in plane.weights.items()
    }
    datasets["plane/samples"] = store.Dataset(plane.samples, "sample, axis", "data units")
    datasets["plane/labels"] = store.Dataset(plane.labels, "sample", "label +1 or -1")
    datasets["plane/directions"] = store.Dataset(plane.directions, "v or u, axis", "none")
    return datasets


def _say_waiting(holder: str) -> None:
    say(f"another process ({holder}) is working on this run; waiting for it")
