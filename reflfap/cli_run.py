"""`reflfap run ...`: experiments joined with data, store and figures."""

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import tyro

from data_loaders.images import load
from reflfap import store
from reflfap.backend import keep_freed_memory, namespace_for
from reflfap.config import (
    ArtificialConfig,
    CertificatesConfig,
    Config,
    ImagesConfig,
    canonical_json,
)
from reflfap.errors import ReflfapError
from reflfap.experiments import artificial, certificates, images
from reflfap.experiments.cell import Cell, Labelled
from reflfap.files import lock
from reflfap.monitor import Monitor
from reflfap.progress import RunMonitor, say
from reflfap.provenance import describe


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run; nothing here changes a number."""

    out: Path = Path("results")
    """folder of all results"""
    json: bool = False
    """print one JSON object on standard output"""
    force: bool = False
    """compute again even if a complete result is there"""


@dataclass(frozen=True, kw_only=True)
class ArtificialOptions(RunOptions):
    """More ways to run (E1)."""

    figure: bool = False
    """draw the decision map next to the result, as PNG and PDF"""
    save_data: bool = False
    """store natural data and noise too, which are otherwise drawn again from the seed"""
    device: Literal["cpu", "cuda"] = "cpu"
    """cpu: NumPy; cuda: CuPy"""


class Computed(NamedTuple):
    """What an experiment leaves to be stored."""

    metrics: Mapping[str, float]
    datasets: Mapping[str, store.Dataset]
    about: Mapping[str, str | int]  # root attributes: where the numbers come from


def run_artificial(
    config: tyro.conf.OmitArgPrefixes[ArtificialConfig],
    options: tyro.conf.OmitArgPrefixes[ArtificialOptions],
) -> None:
    """Learn from perturbed noise (E1): standard, noise and adversarial networks."""
    xp = namespace_for(options.device)

    def compute(monitor: Monitor) -> Computed:
        cell = artificial.run(config, xp, monitor)
        about = {**describe(xp.__name__, options.device), "dtype": config.dtype}
        return Computed(cell.metrics, _datasets(config, cell, options.save_data), about)

    needed = ("data/natural/x",) if options.save_data else ()
    path = _run(config, options, compute, needed)
    with store.open_result(path) as result:
        pictures = _draw(result) if options.figure else []
        report(result, pictures, options.json)


@dataclass(frozen=True, kw_only=True)
class ImagesOptions(RunOptions):
    """More ways to run (E3)."""

    data_dir: Path | None = None
    """folder of the data sets; default: REFLFAP_DATA, else where `reflfap data fetch` puts them"""
    figure: bool = False
    """draw natural, perturbed and learned images next to the result, as PNG and PDF"""
    device: Literal["cpu", "cuda"] = "cpu"
    """cpu: NumPy; cuda: CuPy"""


def run_images(
    config: tyro.conf.OmitArgPrefixes[ImagesConfig],
    options: tyro.conf.OmitArgPrefixes[ImagesOptions],
) -> None:
    """Read real images after learning from perturbed noise (E3): two classes of a data set."""
    xp = namespace_for(options.device)

    @functools.cache  # read once, and only by what needs it: unpacking CIFAR-10 takes a while
    def data() -> images.Images:
        return two_classes(config, options.data_dir)

    def compute(monitor: Monitor) -> Computed:
        cell = images.run(config, data(), xp, monitor)
        about = {**describe(xp.__name__, options.device), "dtype": config.dtype}
        about["data_sha256"] = data().sha256
        return Computed(cell.metrics, _cell_datasets(cell), about)

    path = _run(config, options, compute)
    with store.open_result(path) as result:
        pictures = []
        if options.figure:
            from figures import image_rows  # matplotlib is slow to import: only when asked for

            pictures = image_rows.save(result, data(), path.parent)
        report(result, pictures, options.json)


def two_classes(config: ImagesConfig, folder: Path | None) -> images.Images:
    """Training and test images of a config's two classes, one row an image."""
    splits = (load(config.dataset, split, folder) for split in ("train", "test"))
    chosen = [split.classes(*config.classes) for split in splits]
    train, test = (Labelled(one.images.reshape(len(one.labels), -1), one.labels) for one in chosen)
    return images.Images(train, test, " ".join(one.sha256 for one in chosen))


def run_certificates(
    config: tyro.conf.OmitArgPrefixes[CertificatesConfig],
    options: tyro.conf.OmitArgPrefixes[RunOptions],
) -> None:
    """Check the theory where its condition holds, nearly holds and fails (E4)."""

    def compute(monitor: Monitor) -> Computed:
        about = {**describe("numpy", "cpu"), "dtype": "float64"}
        return Computed(certificates.run(config, monitor), {}, about)

    with store.open_result(_run(config, options, compute)) as result:
        report(result, [], options.json)


def _run(
    config: Config,
    options: RunOptions,
    compute: Callable[[Monitor], Computed],
    needed: Sequence[str] = (),
) -> Path:
    """The result file of a config: the complete one that is there, or a new one."""
    keep_freed_memory()
    text = canonical_json(config)
    folder = store.folder_for(options.out, config.experiment, text)
    with lock(folder / store.LOCK, _say_waiting):
        path, checkpoints = folder / store.RESULT, store.Checkpoints(folder)
        if options.force or not _reusable(path, needed):
            if options.force:
                checkpoints.clear()
            start = time.perf_counter()
            with RunMonitor(checkpoints) as monitor:
                found = compute(monitor)
                attributes = {**found.about, "wall_seconds": time.perf_counter() - start}
                store.write(folder, text, attributes, found.metrics, found.datasets)
        else:
            say(f"complete result found, nothing to compute: {path}")
        checkpoints.clear()  # also those of a run that was killed just after its result was there
    return path


def _reusable(path: Path, needed: Sequence[str]) -> bool:
    """Whether a valid complete result with all that is asked for is there."""
    if not path.exists():
        return False
    try:
        with store.open_result(path) as result:
            return set(needed) <= set(result.names())
    except ReflfapError as error:
        say(f"{error}\ncomputing it again")
        return False


def _datasets(config: ArtificialConfig, cell: Cell, save_data: bool) -> dict[str, store.Dataset]:
    """All arrays of the result file, by name; natural samples and noise only when asked for."""
    datasets = _cell_datasets(cell)
    if save_data:
        datasets |= _labelled("natural", artificial.natural(config))
        datasets |= _labelled("noise", artificial.noise(config))
    return datasets


def _labelled(name: str, samples: Labelled) -> dict[str, store.Dataset]:
    return {
        f"data/{name}/x": store.Dataset(samples.x, "sample, input", "data units"),
        f"data/{name}/y": store.Dataset(samples.y, "sample", "label +1 or -1"),
    }


def _cell_datasets(cell: Cell) -> dict[str, store.Dataset]:
    """Perturbed samples, weights and traces, by name."""
    datasets = _labelled("adversarial", Labelled(cell.x_adv, cell.y_adv))
    for name, W in cell.weights.items():
        datasets[f"networks/{name}/W"] = store.Dataset(W, "hidden unit, input", "1 / data units")
    units = {"time": "flow time", "loss": "mean loss", "step": "learning rate or flow time"}
    for name, trace in cell.traces.items():
        for key, values in trace._asdict().items():
            datasets[f"traces/{name}/{key}"] = store.Dataset(
                values, "state", units.get(key, "count")
            )
    return datasets


def _draw(result: store.Result) -> list[Path]:
    from figures import decision_map  # matplotlib is slow to import: only when asked for

    return decision_map.save(result, result.path.parent)


def report(
    result: store.Result, pictures: list[Path], as_json: bool, everything: bool = False
) -> None:
    """Print a result: one JSON object, or lines for people."""
    attributes = result.attributes
    if as_json:
        report = {
            "run_id": attributes["run_id"],
            "path": str(result.path.resolve()),
            "metrics": result.metrics,
            "wall_seconds": attributes["wall_seconds"],
        }
        if everything:
            report["config"] = json.loads(attributes["config_json"])
            report["attributes"] = attributes
        print_json(report)
        return
    print(f"run       {attributes['run_id']}  ({attributes['wall_seconds']:.1f} s)")
    if everything:
        for name, value in sorted(attributes.items()):
            print(f"{name:<18}{value}")
    width = 2 + max(22, *(len(name) for name in result.metrics))
    for name, value in sorted(result.metrics.items()):
        print(f"{name:<{width}}{value:.6g}")
    print(f"result    {result.path}")
    for picture in pictures:
        print(f"picture   {picture}")


def print_json(content: object) -> None:
    print(json.dumps(content, sort_keys=True, default=str))  # paths as text


def _say_waiting(holder: str) -> None:
    say(f"another process ({holder}) is working on this run; waiting for it")
