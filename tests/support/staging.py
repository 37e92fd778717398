"""A tiny classifier in a results folder, and configs of what follows, for tests of E2's stages."""

from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.experiment import identity
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import PerturbConfig
from reflfap.runs import running

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
    place = running.Place(out, **{"quiet": True, **how})
    running.make(CLASSIFIER, place)
    return place
