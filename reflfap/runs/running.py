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
from typing import NamedTuple

from data_loaders.image_set import ImageSet
from data_loaders.images import load
from data_loaders.registry import place as place_of_data
from reflfap.backend import namespace_for, on_host
from reflfap.errors import NonFiniteError, ReflfapError, StoreError, refuse
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
from reflfap.runs.provenance import describe
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
        images = partial(images_of, self.data_dir)
        return Inputs(xp, workers, images, stages, options)


def images_of(folder: Path | None, dataset: str, split: str) -> ImageSet:
    """The images of a data set below `folder`, as `data_loaders.images.load` finds them."""
    return _split(dataset, split, place_of_data(dataset, folder).parent)


@functools.lru_cache(maxsize=2)
def _split(dataset: str, split: str, folder: Path) -> ImageSet:
    """Kept for the next cell: unpacking CIFAR-10 takes longer than many a cell. At most 180 MB."""
    return load(dataset, split, folder)


def make(
    config: Config, place: Place, options: RunOptions = _PLAIN, followed: bool = False
) -> Path:
    """The result of a config, after the stages before it, which are made where they are missing.

    With `options.force` the last one is computed again. Raises InputError where a stage that
    cannot be made is missing, or is of another kind; StoreError where a result that is there does
    not go back to the stages before as they are now.
    """
    stages: dict[str, Stored] = {}
    with contextlib.ExitStack() as opened:
        for one in experiment_of(config).before(config):
            path = folder_of(place.out, one) / store.RESULT
            known = isinstance(one, RunOf)
            if not isinstance(one, RunOf):
                _make_after(one, place, stages, _PLAIN, followed=True)
            elif not path.exists():
                refuse(one.option, f"a complete run {path.parent}", "none", one.remedy)
            # what was made or found complete just now needs no second look at its bytes
            stages[one.experiment] = opened.enter_context(store.open_result(path, digest=known))
        return _make_after(config, place, stages, options, followed)


def _make_after(
    config: Config, place: Place, stages: Stages, options: RunOptions, followed: bool
) -> Path:
    """`make` once the stages before are there."""
    experiment = experiment_of(config)
    experiment.check_before(config, stages)
    compute, needed = partial(experiment.compute, config), experiment.needed(options)
    path = complete(config, place, compute, options, stages, needed, followed)
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
    followed: bool = False,
) -> Path:
    """The result file of a config: the complete one with all that is `needed`, or a new one.

    It says what made it. The batch that makes a training leave the finite numbers is kept.
    An interruption that comes when only the result is left to be written does no harm to it; where
    the run is `followed` by others, KeyboardInterrupt keeps these from beginning.
    One process at a time works on a run.
    """
    text = canonical_json(config)
    folder = store.folder_for(place.out, config.experiment, text)
    with lock(folder / store.LOCK, place.on_wait or _say_waiting):
        path, checkpoints = folder / store.RESULT, Checkpoints(folder, *place.pace)
        interrupted = False
        if options.force or not reusable(path, needed):
            if options.force:
                checkpoints.clear()
            start = time.perf_counter()
            with RunMonitor(checkpoints, place.quiet) as monitor:
                inputs = place.inputs(options, stages)
                try:
                    found = compute(inputs, monitor)
                except NonFiniteBatchError as error:
                    where = monitor.rescue("not-finite", error.kept)
                    raise NonFiniteError(f"{error}; what it had is in {where}") from error
                about = {**describe(inputs.xp), "dtype": getattr(config, "dtype", "")}
                about |= {**found.about, "wall_seconds": time.perf_counter() - start}
                store.write(folder, text, about, found.metrics, found.datasets)
            interrupted = monitor.interrupted
        elif not place.quiet:
            say(f"complete result found, nothing to compute: {path}")
        (folder / store.FAILURE).unlink(missing_ok=True)
        checkpoints.clear()  # also those of a run that was killed just after its result was there
    if interrupted and followed:
        raise KeyboardInterrupt
    return path


def folder_of(out: Path, run: Config | RunOf) -> Path:
    """The folder of a result, whether it is there or not."""
    return out / run.experiment / (run.run_id if isinstance(run, RunOf) else identity(run))


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


def outdated(out: Path, config: Config) -> bool:
    """Whether a result, which is there, does not go back to its first stage as that is now.

    Later stages may have gigabytes, and say themselves what they go back to.
    """
    experiment = experiment_of(config)
    for one in experiment.before(config)[:1]:
        if reusable(path := folder_of(out, one) / store.RESULT):
            made = folder_of(out, config) / store.RESULT
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
