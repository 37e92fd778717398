"""`reflfap run EXPERIMENT`: one command an experiment, made from its config and its options."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import tyro

from reflfap.errors import InputError, StoreError
from reflfap.experiments.experiment import Config, Experiment, RunOptions, Stored
from reflfap.experiments.registry import experiment_of
from reflfap.experiments.three_networks import in_words
from reflfap.machine import keep_freed_memory, product_rate
from reflfap.runs import running, store
from reflfap.runs.running import Place
from reflfap.terminal import say, tell


def run_command(experiment: Experiment[Any]) -> Callable[..., None]:
    """The function of `reflfap run NAME`, as tyro reads it: options by type, help by docstring."""

    def command(config: Config, options: RunOptions) -> None:
        run(experiment, config, options)

    command.__doc__ = experiment.summary
    plain: Any = tyro.conf.OmitArgPrefixes
    types = {"config": plain[experiment.config], "options": plain[experiment.options]}
    command.__annotations__ |= types
    return command


def run(experiment: Experiment[Any], config: Config, options: RunOptions) -> None:
    """Make the result of a config, draw what is asked for, report it."""
    keep_freed_memory()
    device, data_dir = getattr(options, "device", "cpu"), getattr(options, "data_dir", None)
    place = Place(options.out, data_dir, device)
    inputs = place.inputs(options)  # refuses a missing device before anything else
    try:
        config = experiment.settled(config, inputs)
    except StoreError as error:  # files that are arguments: bad ones are bad arguments
        raise InputError(str(error)) from error
    if experiment.before(config):
        _say_estimates(config, options, device)
    path = running.make(config, place, options)
    with store.open_result(path) as result:
        pictures = []
        if getattr(options, "figure", False):
            # matplotlib is slow to import: only when asked for
            pictures = import_module(experiment.picture).save_run(result, inputs, path.parent)
        report(result, pictures, options.json)


def _say_estimates(config: Config, options: RunOptions, device: str) -> None:
    """What the stages that have no result yet will take, on standard error."""
    stages = [one for one in experiment_of(config).before(config) if isinstance(one, Config)]
    left = [
        stage
        for stage in (*stages, config)
        if (options.force and stage == config)
        or not (running.folder_of(options.out, stage) / store.RESULT).exists()
    ]
    rate = product_rate() if left else 0.0
    for stage in left:
        needed = experiment_of(stage).cost(stage)
        time = f"about {needed.flops / rate / 60:.2g} minutes, " if device == "cpu" else ""
        sizes = f"{needed.memory / 1e9:.2g} GB of memory, {needed.disk / 1e9:.2g} GB of disk"
        say(f"{stage.experiment}: {time}{sizes}, give or take a factor of two")


def report(result: Stored, pictures: list[Path], as_json: bool) -> None:
    """Print a result: one JSON object, or lines for people."""
    if as_json:
        print_json(as_object(result))
        return
    attributes = result.attributes
    tell(f"run       {attributes['run_id']}  ({attributes['wall_seconds']:.1f} s)")
    width = 2 + max([22, *map(len, result.metrics)])
    for name, value in sorted(result.metrics.items()):
        tell(f"{name:<{width}}{value:.6g}")
    words = experiment_of(result.config).words
    for line in (*in_words(result.metrics), *words(result.metrics)):
        tell(line)
    tell(f"result    {result.path}  ({in_bytes(result.path.stat().st_size)})")
    for picture in pictures:
        tell(f"picture   {picture}")


def as_object(result: Stored) -> dict[str, Any]:
    """What a report says, for programs."""
    return {
        "run_id": result.attributes["run_id"],
        "path": str(result.path.resolve()),
        "metrics": result.metrics,
        "wall_seconds": result.attributes["wall_seconds"],
    }


def in_bytes(count: int) -> str:
    """A number of bytes, shortly."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def print_json(content: object) -> None:
    print(as_json(content))


def as_json(content: object) -> str:
    """One line, with paths as text."""
    return json.dumps(content, sort_keys=True, default=str)
