"""`reflfap run ...`: experiments joined with data, store and figures."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from reflfap import estimates, runs, stages, store
from reflfap.backend import namespace_for, on_host
from reflfap.config import ArtificialConfig, CertificatesConfig, ImagesConfig
from reflfap.config_classify import ClassifyConfig
from reflfap.config_perturbation import LearnConfig, PerturbConfig
from reflfap.configs import Config
from reflfap.experiments import artificial, certificates, images
from reflfap.host import blas_threads, keep_freed_memory, product_rate
from reflfap.monitor import Monitor
from reflfap.progress import say
from reflfap.provenance import describe
from reflfap.runs import Computed


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
    device: str = "cpu"
    """cpu: NumPy; cuda, or cuda:K for device K: CuPy"""


def run_artificial(
    config: tyro.conf.OmitArgPrefixes[ArtificialConfig],
    options: tyro.conf.OmitArgPrefixes[ArtificialOptions],
) -> None:
    """Learn from perturbed noise (E1): standard, noise and adversarial networks."""
    xp = namespace_for(options.device)

    def compute(monitor: Monitor) -> Computed:
        cell = artificial.run(config, xp, monitor)
        datasets = runs.whole_datasets(config, cell, options.save_data)
        return Computed(cell.metrics, datasets, runs.about(xp, config))

    needed = (*runs.WHOLE, *(("data/natural/x",) if options.save_data else ()))
    path = _run(config, options, compute, needed)
    with store.open_result(path) as result:
        pictures = _draw(result) if options.figure else []
        report(result, pictures, options.json)


@dataclass(frozen=True, kw_only=True)
class ImagesOptions(RunOptions):
    """More ways to run on image sets."""

    data_dir: Path | None = None
    """folder of the data sets; default: REFLFAP_DATA, else where `reflfap data fetch` puts them"""
    figure: bool = False
    """draw a picture next to the result, as PNG and PDF: images (run images), samples of a set (run
    perturb), learning curves"""
    device: str = "cpu"
    """cpu: NumPy; cuda, or cuda:K for device K: CuPy"""


def run_images(
    config: tyro.conf.OmitArgPrefixes[ImagesConfig],
    options: tyro.conf.OmitArgPrefixes[ImagesOptions],
) -> None:
    """Read real images after learning from perturbed noise (E3): two classes of a data set."""
    xp = namespace_for(options.device)

    @functools.cache  # read once, and only by what needs it: unpacking CIFAR-10 takes a while
    def data() -> images.Images:
        return runs.two_classes(config, options.data_dir)

    def compute(monitor: Monitor) -> Computed:
        cell = images.run(config, data(), xp, monitor)
        datasets = runs.whole_datasets(config, cell)
        return Computed(cell.metrics, datasets, runs.about(xp, config, data().sha256))

    path = _run(config, options, compute, runs.WHOLE)
    with store.open_result(path) as result:
        pictures = []
        if options.figure:
            from figures import image_rows  # matplotlib is slow to import: only when asked for

            pictures = image_rows.save(result, data(), path.parent)
        report(result, pictures, options.json)


def run_classify(
    config: tyro.conf.OmitArgPrefixes[ClassifyConfig],
    options: tyro.conf.OmitArgPrefixes[ImagesOptions],
) -> None:
    """Train a deep network on clean images (E2): ConvNet or WideResNet, by hand."""
    xp = namespace_for(options.device)
    workers = blas_threads() if on_host(xp) else 1

    def compute(monitor: Monitor) -> Computed:
        return runs.classified(config, options.data_dir, xp, monitor, workers)

    path = _run(config, options, compute)
    with store.open_result(path) as result:
        pictures = []
        if options.figure:
            from figures import learning_curves  # matplotlib is slow to import

            pictures = learning_curves.save(result, path.parent)
        report(result, pictures, options.json)


@dataclass(frozen=True, kw_only=True)
class StageOptions(ImagesOptions):
    """More ways to run a stage of E2; stages before it are made if they are not there."""

    @property
    def place(self) -> stages.Place:
        """Where and on what the stage works."""
        xp = namespace_for(self.device)
        return stages.Place(self.out, self.data_dir, xp, blas_threads() if on_host(xp) else 1)


def run_perturb(
    config: tyro.conf.OmitArgPrefixes[PerturbConfig],
    options: tyro.conf.OmitArgPrefixes[StageOptions],
) -> None:
    """Perturb images, or noise, against a clean classifier (E2), trained first if need be."""
    keep_freed_memory()
    _say_estimates(config, options)
    path = stages.perturbed_set(config, options.place, options.force)
    pictures = []
    if options.figure:
        from figures import perturbation_gallery  # matplotlib is slow to import

        pictures = perturbation_gallery.save_one(config, path, options.data_dir)
    with store.open_result(path) as result:
        report(result, pictures, options.json)


def run_learn(
    config: tyro.conf.OmitArgPrefixes[LearnConfig],
    options: tyro.conf.OmitArgPrefixes[StageOptions],
) -> None:
    """Learn from perturbed images alone, test on clean ones (E2); all stages in one command."""
    keep_freed_memory()
    _say_estimates(config, options)
    path = stages.learnt(config, options.place, options.force)
    with store.open_result(path) as result:
        pictures = []
        if options.figure:
            from figures import learning_curves  # matplotlib is slow to import

            pictures = learning_curves.save(result, path.parent)
        report(result, pictures, options.json)


def _say_estimates(config: PerturbConfig, options: StageOptions) -> None:
    """What the stages that have no result yet will take, on standard error."""
    left = [
        stage
        for stage in stages.of(config)
        if (options.force and stage == config)
        or not (runs.folder_of(options.out, stage) / store.RESULT).exists()
    ]
    if not left:
        return
    rate = product_rate()
    for stage in left:
        needed = estimates.of(stage)
        time = f"about {needed.flops / rate / 60:.2g} minutes, " if options.device == "cpu" else ""
        sizes = f"{needed.memory / 1e9:.2g} GB of memory, {needed.disk / 1e9:.2g} GB of disk"
        say(f"{stage.experiment}: {time}{sizes}, give or take a factor of two")


def run_certificates(
    config: tyro.conf.OmitArgPrefixes[CertificatesConfig],
    options: tyro.conf.OmitArgPrefixes[RunOptions],
) -> None:
    """Check the theory where its condition holds, nearly holds and fails (E4)."""

    def compute(monitor: Monitor) -> Computed:
        about = {**describe(), "dtype": "float64"}
        return Computed(certificates.run(config, monitor), {}, about)

    with store.open_result(_run(config, options, compute)) as result:
        report(result, [], options.json)


def _run(
    config: Config,
    options: RunOptions,
    compute: Callable[[Monitor], Computed],
    needed: Sequence[str] = (),
) -> Path:
    keep_freed_memory()
    return runs.complete(config, options.out, compute, force=options.force, needed=needed)


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
