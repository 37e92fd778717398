"""The stages of E2, each a run of its own: clean classifier, perturbed set, network that learns it.

A stage finds what the one before left in the results folder, or has it made first. All of them are
resumable: the set is made in blocks, which are kept one by one until the set is whole.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_loaders.registry import DATA_SETS
from reflfap import runs, store
from reflfap.backend import HostArray, Namespace, asarray
from reflfap.config import identity
from reflfap.config_classify import ClassifyConfig
from reflfap.config_perturbation import LearnConfig, PerturbConfig
from reflfap.configs import Config
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.deep.team import Team
from reflfap.errors import DamagedFileError, StoreError, refuse
from reflfap.experiments import bridge, classify
from reflfap.experiments import perturbation_learning as learning
from reflfap.experiments.perturbation_learning import Block, Source
from reflfap.files import seal_of
from reflfap.monitor import Marked, Monitor
from reflfap.runs import Computed

PROBE = 500
"""Clean test images over which input gradients are averaged."""

SET = "data/adversarial/"


class Place(NamedTuple):
    """Where and on what the stages work."""

    out: Path
    data_dir: Path | None = None
    xp: Namespace = np
    workers: int = 1
    quiet: bool = False
    on_wait: Callable[[str], None] | None = None
    pace: tuple[float, ...] = ()

    def complete(
        self, config: Any, compute: Callable[[Monitor], Computed], force: bool, followed: bool
    ) -> Path:
        """The result of a stage; `followed` by another, it ends an interrupted command."""
        return runs.complete(
            config,
            self.out,
            compute,
            force=force,
            on_wait=self.on_wait,
            quiet=self.quiet,
            pace=self.pace,
            followed=followed,
        )


def of(config: PerturbConfig) -> list[Config]:
    """The stages that end with this one; the classifier only where it is the preset's own."""
    usual = config.usual_classifier
    found: list[Config] = [usual] if config.classifier == identity(usual) else []
    if isinstance(config, LearnConfig):
        found.append(config.perturbed)
    return [*found, config]


def make(config: Config, place: Place) -> Path:
    """The result of any stage, by its config."""
    if isinstance(config, LearnConfig):
        return learnt(config, place)
    if isinstance(config, PerturbConfig):
        return perturbed_set(config, place)
    if isinstance(config, ClassifyConfig):
        return _clean(config, place, followed=False)
    raise TypeError(type(config))


def clean_classifier(config: PerturbConfig, place: Place) -> Path:
    """The result of the classifier to attack; the preset's own one is trained if it is not there.

    InputError where another is missing, or is of another data set.
    Checked by test_stages.py::test_a_missing_classifier and ::test_a_classifier_of_other_images.
    """
    usual = config.usual_classifier
    if config.classifier == identity(usual):
        return _clean(usual, place, followed=True)
    path = _classifier_result(place.out, config)
    if not path.exists():
        remedy = f"train it with `reflfap run classify --dataset {config.dataset}`, or leave it out"
        refuse("classifier", f"a complete run {path.parent}", "none", remedy)
    with store.open_result(path) as result:
        found = result.config_of(ClassifyConfig)
    if found.dataset != config.dataset:
        remedy = "attack a classifier of the same data set"
        refuse("classifier", f"one of {config.dataset}", f"one of {found.dataset}", remedy)
    return path


def _classifier_result(out: Path, config: PerturbConfig) -> Path:
    """Where the result of the classifier to attack is, if it is there."""
    return out / config.usual_classifier.experiment / str(config.classifier) / store.RESULT


def _clean(config: ClassifyConfig, place: Place, followed: bool) -> Path:
    return place.complete(config, partial(_classified, config, place), False, followed)


def _classified(config: ClassifyConfig, place: Place, monitor: Monitor) -> Computed:
    return runs.classified(config, place.data_dir, place.xp, monitor, place.workers)


def perturbed_set(
    config: PerturbConfig, place: Place, force: bool = False, followed: bool = False
) -> Path:
    """The result that holds the perturbed set of a config, after the stage before.

    A set that is there was made against the present classifier, or StoreError is raised.
    Checked by test_stages.py::test_a_set_of_another_classifier_is_refused,
    ::test_a_set_in_another_precision_than_its_classifier and ::test_an_interrupted_set_resumes.
    """
    return _set_against(clean_classifier(config, place), config, place, force, followed)


def _set_against(
    against: Path, config: PerturbConfig, place: Place, force: bool, followed: bool
) -> Path:
    compute = partial(_perturbed, config, place, against)
    path = place.complete(config, compute, force, followed)
    _check_classifier(path, against, config)
    return path


def _check_classifier(path: Path, against: Path, config: PerturbConfig) -> None:
    """StoreError unless the result of a later stage goes back to the classifier as it is now."""
    if not _goes_back(path, against, config):
        raise StoreError(
            f"{path}: expected it to go back to the classifier {against.parent.name} as it is "
            f"now, got one of other weights; make it again with `{_command(config)} --force`"
        )


def _goes_back(path: Path, against: Path, config: PerturbConfig) -> bool:
    """Of a result that has just been verified: a set may have gigabytes."""
    with store.open_result(against) as result:
        present = _digest(runs.classifier_weights(result, config.dtype))
    with store.open_result(path, digest=False) as made:
        return made.attributes.get("classifier_sha256") == present


def outdated(path: Path, config: Config) -> bool:
    """Whether a result, which is there, goes back to a classifier that has been trained again.

    Not where no classifier is there: nothing is known against it then.
    Checked by test_sweep_learn.py::test_a_classifier_trained_again.
    """
    if not isinstance(config, PerturbConfig):
        return False
    against = _classifier_result(path.parents[2], config)
    return runs.reusable(against) and not _goes_back(path, against, config)


def _command(config: PerturbConfig) -> str:
    """The command line of a stage, with all that is no default of its kind."""
    usual = type(config)()
    words = ["reflfap", "run", config.experiment]
    for one in fields(config):
        value = getattr(config, one.name)
        if value != getattr(usual, one.name):
            words += [f"--{one.name.replace('_', '-')}", str(value)]
    return " ".join(words)


def _perturbed(config: PerturbConfig, place: Place, against: Path, monitor: Monitor) -> Computed:
    """Make the blocks that are not there yet, then say what the set is."""
    with store.open_result(against) as result:
        weights = runs.classifier_weights(result, config.dtype)
        network = classify.network(result.config_of(ClassifyConfig))
    on_device = {name: asarray(values, place.xp) for name, values in weights.items()}
    shape = DATA_SETS[config.dataset].shape
    margin = classifier.margin_function(network, on_device, shape)
    train, test, digests = runs.whole_set(config, place.data_dir)
    source = learning.source(config, train)

    def make(number: int) -> Block:
        return learning.perturb(config, margin, source, number, place.xp, place.workers, monitor)

    digest = _digest(weights)
    mark = hashlib.sha256(f"{digest} {digests} {learning.BLOCK}".encode()).hexdigest()[:16]
    names = [f"{mark}-{number:06d}" for number in range(source.blocks)]
    _make_blocks(source, names, make, monitor)
    blocks = partial(_blocks, names, monitor)
    found = learning.summary(config, source, blocks())
    probe = _probe(test, config.dtype)
    gradients = bridge.mean_gradients(margin, probe, len(found.success), place.xp)
    similar = bridge.cosines(gradients, found.eta.mean)
    metrics = {
        **found.metrics,
        "samples": float(len(source.target)),
        "cosine_standard": float(similar.mean()),
        **bridge.spans(found.eta, train.x.reshape(len(train.x), -1)),
    }
    datasets = _set_datasets(source, blocks(), found.margins, shape) | {
        "metrics_by_class/attack_success": store.Dataset(found.success, "target", "fraction"),
        "gradients/standard": store.Dataset(gradients, "class, input", "margin per pixel unit"),
        "gradients/perturbation": store.Dataset(found.eta.mean, "target, input", "pixel units"),
    }
    about = runs.about(place.xp, config, digests)
    about |= {"classifier_sha256": digest, "workers": place.workers}
    return Computed(metrics, datasets, about)


def _probe(test: Images, dtype: str) -> HostArray:
    some = test.x[:PROBE]
    return np.asarray(classifier.pixels(some.reshape(len(some), -1), np, dtype))


def _make_blocks(
    source: Source, names: Sequence[str], make: Callable[[int], Block], monitor: Monitor
) -> None:
    """Their names tell classifier, data and size: blocks made of others do not count.

    Checked by test_stages.py::test_blocks_of_another_classifier_are_made_again.
    """
    there = {name for name in names if monitor.held(name) is not None}
    done = sum(len(source.target[source.rows(n)]) for n, name in enumerate(names) if name in there)
    monitor.begin("perturb", len(source.target), "sample", done)
    for number, name in enumerate(names):
        if name not in there:
            monitor.hold(name, make(number)._asdict())
    monitor.end()


def _blocks(names: Sequence[str], monitor: Monitor) -> Iterator[Block]:
    """The blocks of the set, as they were kept."""
    for name in names:
        kept = monitor.held(name)
        if kept is None:
            raise DamagedFileError(f"block {name} of the set is gone; run the same command again")
        yield Block(**kept)


def _set_datasets(
    source: Source,
    blocks: Iterator[Block],
    margins: tuple[HostArray, HostArray],
    shape: tuple[int, int, int],
) -> dict[str, store.Dataset]:
    """The set as a result holds it; images go from the blocks to the file one by one."""
    pieces = (block.x.reshape(-1, *shape) for block in blocks)
    x = store.Pieces((len(source.target), *shape), "f4", pieces)
    return {
        f"{SET}x": store.Dataset(x, "sample, channel, row, column", "pixels on [0, 1]"),
        f"{SET}y": store.Dataset(source.target, "sample", "target class"),
        f"{SET}margin_start": store.Dataset(margins[0], "sample", "margin"),
        f"{SET}margin": store.Dataset(margins[1], "sample", "margin"),
        "data/source/y": store.Dataset(source.label, "sample", "class it shows, -1 none"),
    }


def _digest(weights: Mapping[str, HostArray]) -> str:
    """SHA-256 of all weights, by name."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(np.ascontiguousarray(weights[name]).tobytes())
    return found.hexdigest()


def read_set(result: store.Result) -> Images:
    """The images and targets of a perturbed set; the images are mapped, not read."""
    shape = DATA_SETS[result.config_of(PerturbConfig).dataset].shape
    x = result.mapped(f"{SET}x", (-1, *shape))
    return Images(x, result.array(f"{SET}y", (len(x),), "i"))


def learnt(config: LearnConfig, place: Place, force: bool = False) -> Path:
    """The result of the network that learns the set of a config, after the stages before.

    One that is there learned the present set, or StoreError is raised.
    Checked by test_stages.py::test_what_learned_another_set_is_refused.
    """
    against = clean_classifier(config, place)
    made = _set_against(against, config.perturbed, place, force=False, followed=True)
    path = place.complete(config, partial(_learnt, config, place, made), force, followed=False)
    _check_classifier(path, against, config)
    return path


def _learnt(config: LearnConfig, place: Place, made: Path, monitor: Monitor) -> Computed:
    classes, shape = len(DATA_SETS[config.dataset].class_names), DATA_SETS[config.dataset].shape
    test, digest = runs.test_set(config, place.data_dir)
    with store.open_result(made) as result:
        images, about_set = read_set(result), result.metrics
        against = str(result.attributes["classifier_sha256"])
        standard, eta = (
            result.array(f"gradients/{name}", (classes, int(np.prod(shape))))
            for name in ("standard", "perturbation")
        )
    if config.subset:
        images = Images(images.x[: config.subset], images.y[: config.subset])
    marked = Marked(monitor, seal_of(made)[:16])
    with runs.rescued(monitor):
        found = learning.learn(config, images, test, place.xp, marked, place.workers)
    network = classify.network(config)
    weights = {name: asarray(values, place.xp) for name, values in found.weights.items()}
    margin = classifier.margin_function(network, weights, shape)
    probe = _probe(test, config.dtype)
    gradients = bridge.mean_gradients(margin, probe, classes, place.xp)
    metrics = {
        **about_set,
        "samples": float(len(images.y)),
        **found.metrics,
        "cosine_adversarial": float(bridge.cosines(gradients, eta).mean()),
        "cosine_gradients": float(bridge.cosines(gradients, standard).mean()),
    }
    with Team(place.workers) as team:
        counts = learning.confusion(network, weights, test, classes, team)
    datasets = runs.network_datasets("adversarial", found) | {
        "confusion": store.Dataset(counts, "class, taken for", "test images"),
        "gradients/adversarial": store.Dataset(gradients, "class, input", "margin per pixel unit"),
    }
    about = runs.about(place.xp, config, digest)
    about |= {"workers": place.workers, "set": made.parent.name, "classifier_sha256": against}
    return Computed(metrics, datasets, about)
