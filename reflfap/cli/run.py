"""`reflfap run EXPERIMENT`: one command an experiment, made from its config and its options."""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import tyro

from reflfap.experiments.experiment import Config, Experiment, RunOptions, Stored
from reflfap.experiments.registry import experiment_of
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


def report(result: Stored, pictures: list[Path], as_json: bool, everything: bool = False) -> None:
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
    tell(f"run       {attributes['run_id']}  ({attributes['wall_seconds']:.1f} s)")
    if everything:
        for name, value in sorted(attributes.items()):
            tell(f"{name:<18}{value}")
    width = 2 + max([22, *map(len, result.metrics)])
    for name, value in sorted(result.metrics.items()):
        tell(f"{name:<{width}}{value:.6g}")
    for line in in_words(result.metrics):
        tell(line)
    tell(f"result    {result.path}")
    for picture in pictures:
        tell(f"picture   {picture}")


def in_words(metrics: Mapping[str, float]) -> Iterator[str]:
    """What the numbers of learning from perturbations say, each network on what it never saw."""
    for network in ("standard", "noise", "adversarial"):
        what = "test images" if f"acc_{network}_test" in metrics else "natural samples"
        name = f"acc_{network}_test" if what == "test images" else f"acc_{network}"
        if name not in metrics:
            continue
        known = ["chance 0.5"] if "acc_noise" in metrics else []  # of two classes
        if name == "acc_adversarial" and "acc_predicted" in metrics:
            known.insert(0, f"predicted {metrics['acc_predicted']:.3f}")
        more = f" ({', '.join(known)})" if known else ""
        yield f"{network} network: {metrics[name]:.3f} of {what}{more}"


def print_json(content: object) -> None:
    print(json.dumps(content, sort_keys=True, default=str))  # paths as text
