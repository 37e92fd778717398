"""One run: an experiment joined with its data, the stages before it, and the store.

`make` gives the result of any config: the complete one that is there, or a new one.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from reflfap.backend import namespace_for, on_host
from reflfap.data_loaders.image_set import ImageSet
from reflfap.data_loaders.images import load
from reflfap.data_loaders.own_images import OwnSet, find_own, own_set
from reflfap.data_loaders.own_perturbed import read_perturbed
from reflfap.data_loaders.own_tables import Table, read_samples
from reflfap.data_loaders.registry import is_own
from reflfap.data_loaders.registry import place as place_of_data
from reflfap.errors import (
    DamagedFileError,
    NonFiniteError,
    ReflfapError,
    StoreError,
    refuse,
)
from reflfap.experiments.experiment import (
    Computed,
    Config,
    Inputs,
    RunOf,
    RunOptions,
    Stages,
    Stored,
    canonical_json,
    identity,
)
from reflfap.experiments.registry import experiment_of
from reflfap.files import lock
from reflfap.machine import blas_threads
from reflfap.monitor import Monitor
from reflfap.runs import store
from reflfap.runs.checkpoints import Checkpoints
from reflfap.runs.progress import RunMonitor
from reflfap.runs.provenance import describe, made_by, source_revision
from reflfap.terminal import say
from reflfap.training.minibatch import NonFiniteBatchError

_PLAIN = RunOptions()
_NONE: Stages = {}


class Place(NamedTuple):
    """Where and on what runs are made; nothing here changes a number, but for its last bits."""

    out: Path
    data_dir: Path | None = None
    device: str = "cpu"
    threads: int | None = None  # of BLAS; None leaves it as it is
    quiet: bool = False
    on_wait: Callable[[str], None] | None = None  # told whom we wait for; may raise instead
    pace: tuple[float, ...] = ()  # of Checkpoints

    def inputs(self, options: RunOptions = _PLAIN, stages: Stages = _NONE) -> Inputs:
        """What an experiment has beside its config."""
        xp = namespace_for(self.device)
        workers = blas_threads() if on_host(xp) else 1
        images, files = partial(images_of, self.data_dir), partial(files_of, options)
        return Inputs(xp, workers, images, files, stages, options)

    def data_of(self, config: Config) -> str:
        """The digests of the images that a run reads, as they are now; nothing if it reads none."""
        sets = experiment_of(config).reads(config)
        return " ".join(images_of(self.data_dir, *one).sha256 for one in sets)


def images_of(folder: Path | None, dataset: str, split: str) -> ImageSet:
    """The images of a data set below `folder`, as `reflfap.data_loaders.images.load` finds them;
    of an own set, by its descriptor, `folder` is the path."""
    if is_own(dataset):
        if folder is None:
            refuse("data-dir", f"the path of the image set {dataset}", "none", "give it")
        return own_images_of(folder).called(dataset, folder).split(split)
    where = place_of_data(dataset, folder)
    stamp = tuple(_stamp(path) for path in sorted(where.rglob("*")))
    return _split(dataset, split, where.parent, stamp)


def own_images_of(path: Path) -> OwnSet:
    """Both splits of the own image set at `path`, as `own_images.own_set` gives them; the last one
    is kept until a file of it changes."""
    return _own_set(path, tuple(_stamp(one) for one in find_own(path).files))


@functools.lru_cache(maxsize=1)
def _own_set(path: Path, stamp: object) -> OwnSet:
    return own_set(path)


def files_of(options: Any, option: str) -> Table | ImageSet:
    """What is in the files that an option names: a perturbed set, or a table of samples."""
    if option == "set":
        return _given(read_perturbed, options.set, stamp=_stamp(options.set))
    paths = getattr(options, option)
    stamp = tuple(map(_stamp, paths))
    return _given(read_samples, paths, options.samples, options.label, stamp=stamp)


@functools.lru_cache(maxsize=2)
def _given(read: Callable[..., Any], *what: Any, stamp: object) -> Table | ImageSet:
    """Read once a command, which asks before and while it computes, unless a file changes."""
    found: Table | ImageSet = read(*what)
    return found


@functools.lru_cache(maxsize=6)
def _split(dataset: str, split: str, folder: Path, stamp: object) -> ImageSet:
    """Kept for the next cell, until a file changes: unpacking CIFAR-10 takes longer than many a
    cell. 0.3 GB for all sets."""
    return load(dataset, split, folder)


def make(config: Config, place: Place, options: RunOptions = _PLAIN) -> Path:
    """The result of a config, after the stages before it, which are made where they are missing.

    With `options.force` the last one is computed again. Raises InputError where a stage that
    cannot be made is missing, or is of another kind; StoreError where a result that is there does
    not go back to the data or the stages before as they are now.
    """
    stages: dict[str, Stored] = {}
    with contextlib.ExitStack() as opened:
        for one in experiment_of(config).before(config):
            path = folder_of(place.out, one) / store.RESULT
            known = isinstance(one, RunOf)
            if not isinstance(one, RunOf):
                _make_after(one, place, stages, _PLAIN)
            elif not path.exists():
                refuse(one.option, f"a complete run {path.parent}", "none", one.remedy)
            # what was made or found complete just now needs no second look at its bytes
            stages[one.experiment] = opened.enter_context(store.open_result(path, digest=known))
        return _make_after(config, place, stages, options)


def _make_after(config: Config, place: Place, stages: Stages, options: RunOptions) -> Path:
    """`make` once the stages before are there."""
    experiment = experiment_of(config)
    experiment.check_before(config, stages)
    for one in stages.values():
        _check_data(one.path, one, place)
    compute, needed = partial(experiment.compute, config), experiment.needed(options)
    path = complete(config, place, compute, options, stages, needed)
    with store.open_result(path, digest=False) as result:
        if not experiment.goes_back(config, result, stages):
            names = " and ".join(f"{name} {one.path.parent.name}" for name, one in stages.items())
            expected = f"it to go back to {names} as they are now"
            remedy = f"make it again with `{_command(config)} --force`"
            refuse(str(path), expected, "one of other weights", remedy, StoreError)
    return path


def complete(
    config: Config,
    place: Place,
    compute: Callable[[Inputs, Monitor], Computed],
    options: RunOptions = _PLAIN,
    stages: Stages = _NONE,
    needed: Sequence[str] = (),
) -> Path:
    """The result file of a config: the complete one with all that is `needed`, or a new one.

    One that is there is found without a lock, so also where nothing may be written. One process at
    a time computes a run. KeyboardInterrupt after an interruption, also where the result was
    written all the same.
    """
    text, data = canonical_json(config), place.data_of(config)
    path = folder_of(place.out, config) / store.RESULT
    seen = _stamp(path)
    if not options.force and reusable(path, place, needed):
        _tidy(path.parent)
    else:
        folder = store.folder_for(place.out, config.experiment, text)
        with lock(folder / store.LOCK, place.on_wait or _say_waiting):
            made_meanwhile = _stamp(path) != seen and reusable(path, place, needed)
            if options.force or not made_meanwhile:
                checkpoints = Checkpoints(folder, made_by(config, data, stages), *place.pace)
                if options.force:
                    checkpoints.clear()
                _compute(config, place, compute, options, stages, checkpoints)
                return path
    if not place.quiet:
        say(f"complete result found, nothing to compute: {path}{_of_another_revision(path)}")
    return path


def _compute(
    config: Config,
    place: Place,
    compute: Callable[[Inputs, Monitor], Computed],
    options: RunOptions,
    stages: Stages,
    checkpoints: Checkpoints,
) -> None:
    """Compute a run and store it, with what made it; say beside it why it failed.

    The batch that makes a training leave the finite numbers is kept.
    """
    text, folder, start = canonical_json(config), checkpoints.folder.parent, time.perf_counter()
    (folder / store.FAILURE).unlink(missing_ok=True)  # of an attempt before
    with RunMonitor(checkpoints, place.quiet) as monitor:
        inputs = place.inputs(options, stages)
        try:
            found = compute(inputs, monitor)
            about = {**describe(inputs.xp), "dtype": getattr(config, "dtype", "")}
            if data := checkpoints.made_by["data"]:
                about["data_sha256"] = data
            about |= {**found.about, "wall_seconds": time.perf_counter() - start}
            store.write(folder, text, about, found.metrics, found.datasets)
        except NonFiniteBatchError as error:
            where = monitor.rescue("not-finite", error.kept)
            store.record_failure(folder, error)
            raise NonFiniteError(f"{error}; what it had is in {where}") from error
        except Exception as error:
            store.record_failure(folder, error)
            if monitor.resumed and not isinstance(error, ReflfapError):  # somebody sealed that
                expected, got = "a state to go on from", f"one that fails ({error!r})"
                remedy = f"remove {checkpoints.folder}, or use --force"
                refuse(monitor.resumed, expected, got, remedy, DamagedFileError)
            raise
        checkpoints.clear()
    if monitor.interrupted:
        raise KeyboardInterrupt


class _Busy(Exception):
    """Another process works on this run."""


def _tidy(folder: Path) -> None:
    """Remove what a run needs no more once its result is there, if it was killed just then.

    Unless another process works on it, or nothing may be written there.
    """
    if not any(path.name not in (store.RESULT, store.LOCK) for path in folder.iterdir()):
        return

    def leave(holder: str) -> None:
        raise _Busy

    with contextlib.suppress(OSError, StoreError, _Busy), lock(folder / store.LOCK, leave):
        (folder / store.FAILURE).unlink(missing_ok=True)
        Checkpoints(folder, {}).clear()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from the one that replaces it; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def folder_of(out: Path, run: Config | RunOf) -> Path:
    """The folder of a result, whether it is there or not."""
    return out / run.experiment / (run.run_id if isinstance(run, RunOf) else identity(run))


def reusable(path: Path, place: Place, needed: Sequence[str] = ()) -> bool:
    """Whether a valid complete result with all that is asked for is there; StoreError for one of
    other images than there are now."""
    if not path.exists():
        return False
    try:
        found = store.stated(path, digest=True)
        _check_data(path, found, place)
        if not needed:
            return True
        with store.open_result(path, digest=False) as result:
            return set(needed) <= set(result.names())
    except DamagedFileError as error:
        say(f"{error}\ncomputing it again")
        return False


def _check_data(path: Path, result: Stored | store.About, place: Place) -> None:
    """StoreError unless the images that a result was made from are those that are there now."""
    then, now = str(result.attributes.get("data_sha256", "")), place.data_of(result.config)
    if then != now:
        expected = f"a result of the images that are there now, SHA-256 {now or 'none'}"
        remedy = "give the --data-dir that has its images, or another --out"
        refuse(str(path), expected, then or "none", remedy, StoreError)


def _of_another_revision(path: Path) -> str:
    """What to say of a result that other source computed."""
    with store.open_result(path, digest=False) as result:
        then, now = str(result.attributes["source_revision"]), source_revision()
    return "" if then == now else f" (computed by revision {then}; this is {now})"


def outdated(place: Place, config: Config) -> bool:
    """Whether a result, which is there, does not go back to its first stage as that is now.

    Later stages may have gigabytes, and say themselves what they go back to.
    """
    experiment = experiment_of(config)
    for one in experiment.before(config)[:1]:
        path = folder_of(place.out, one) / store.RESULT
        if reusable(path, place):
            made = folder_of(place.out, config) / store.RESULT
            with store.open_result(path, False) as first, store.open_result(made, False) as result:
                return not experiment.goes_back(config, result, {one.experiment: first})
    return False


def _command(config: Config) -> str:
    """The command line of a run, with all that is no default of its kind."""
    usual = type(config)()
    words = ["reflfap", "run", config.experiment]
    for one in fields(config):
        value = getattr(config, one.name)
        if value != getattr(usual, one.name):
            words += [f"--{one.name.replace('_', '-')}", str(value)]
    return " ".join(words)


def _say_waiting(holder: str) -> None:
    say(f"another process ({holder}) is working on this run; waiting for it")
