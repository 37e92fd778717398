"""All experiments by name: one line each. A module is imported when its experiment is asked for."""

import json
from importlib import import_module
from typing import Any

from reflfap.checks import choice
from reflfap.errors import refuse
from reflfap.experiments.experiment import Config, Experiment

MODULES = {
    "artificial": "reflfap.experiments.artificial",
    "images": "reflfap.experiments.images",
    "data": "reflfap.experiments.own_data",
    "certificates": "reflfap.experiments.certificates",
    "classify": "reflfap.experiments.classify",
    "perturb": "reflfap.experiments.perturb",
    "learn": "reflfap.experiments.learn",
    "learn-set": "reflfap.experiments.learn_set",
    "wide": "reflfap.experiments.wide",
}


def named(name: str) -> Experiment[Any]:
    """The experiment called `name`; InputError for an unknown one."""
    module = import_module(MODULES[choice("experiment", name, MODULES)])
    found: Experiment[Any] = module.EXPERIMENT
    return found


def experiment_of(config: Config) -> Experiment[Any]:
    """The experiment that a config is of."""
    return named(config.experiment)


def from_json(config_json: str) -> Config:
    """The config that `canonical_json` wrote; InputError for anything else."""
    try:
        content = json.loads(config_json)
        config: Config = named(content.pop("experiment")).config(**content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse("config_json", "the JSON of a run's config", config_json[:200], f"({error})")
    return config
