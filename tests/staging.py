"""A tiny classifier in a results folder, and configs of what follows, for tests of E2's stages."""

from functools import partial

import numpy as np

from reflfap import runs, stages
from reflfap.config import identity
from reflfap.config_classify import ClassifyConfig
from reflfap.config_perturbation import LearnConfig, PerturbConfig

CLASSIFIER = ClassifyConfig(epochs=1, subset=40, batch=20, width=1)
_SET = {"classifier": identity(CLASSIFIER), "scenario": "noise", "n_adv": 40, "attack_steps": 2}


def set_config(**changes):
    """A small set against CLASSIFIER."""
    return PerturbConfig(**_SET | changes)


def learn_config(**changes):
    """A small network that learns it."""
    return LearnConfig(**_SET | {"epochs": 2, "batch": 10, "width": 1} | changes)


def with_classifier(out, **how):
    """A place whose results folder holds CLASSIFIER, trained."""
    place = stages.Place(out, **{"quiet": True, **how})
    place.complete(CLASSIFIER, partial(_trained, place), force=False, followed=False)
    return place


def _trained(place, monitor):
    return runs.classified(CLASSIFIER, None, np, monitor, place.workers)
