"""Pieces of the `paper` preset on MNIST: epochs of the classifier, attacks, and what a cell takes.

A cell is the classifier, the perturbed set, and the network that learns it. Images are read from
REFLFAP_DATA; of a tiny record they are those that come with the package.
"""

import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu_record.cell import device_memory
from reflfap.backend import asarray, synchronise
from reflfap.data_loaders import images as image_sets
from reflfap.data_loaders.registry import data_set
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.experiments import deep_training, perturbed_set
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.experiment import Inputs
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import PerturbConfig
from reflfap.monitor import Monitor
from reflfap.terminal import say

EPOCHS, SAMPLES, STEPS = 10, 2000, 100


class Lines(Monitor):
    """Hands on what training says of its epochs, with the seconds they took."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def say(self, text: str) -> None:
        self.ends.append(time.perf_counter())
        say(f"  {text}")


def run(job: Any) -> dict[str, Any]:
    """Seconds of the pieces, and of a whole cell in L2 of natural images by them."""
    xp, dataset = job.xp, "embedded" if job.tiny else "mnist"
    preset = "cpu" if job.tiny else "paper"
    inputs = Inputs(xp=xp)
    train, test = (Images(*image_sets.load(dataset, split)[:2]) for split in ("train", "test"))
    config = ClassifyConfig(dataset=dataset, preset=preset, epochs=1 if job.tiny else EPOCHS)
    if job.tiny:
        train, test = (Images(one.x[:130], one.y[:130]) for one in (train, test))
    lines, start = Lines(), time.perf_counter()
    done = deep_training.fit(config, "standard", train, test, inputs, lines)
    epochs = np.diff([start, *lines.ends])

    samples = 5 if job.tiny else SAMPLES
    set_config = PerturbConfig(
        dataset=dataset, preset=preset, norm="l2", n_adv=samples, attack_steps=STEPS
    )
    weights = {name: asarray(values, xp) for name, values in done.weights.items()}
    network = deep_training.deep_network(config)
    margin = classifier.margin_function(network, weights, data_set(dataset).shape)
    source = perturbed_set.source(set_config, train)
    make = partial(perturbed_set.perturb_block, set_config, margin, source, inputs=inputs)
    seconds, hits = [], 0
    for number in range(source.blocks):
        start = time.perf_counter()
        hits += int((make(number).margin > 0).sum())
        synchronise(xp)
        seconds.append(time.perf_counter() - start)

    learn = LearnConfig(dataset=dataset, preset=preset, norm="l2")
    whole = ClassifyConfig(dataset=dataset, preset=preset)
    epoch, sample = float(np.median(epochs)), sum(seconds) / samples
    cell = {
        "classifier": whole.epochs * epoch,
        "set": learn.samples * sample,
        "learning": learn.epochs * epoch * learn.samples / len(train.y),
    }
    return {
        "data": dataset,
        "classifier": {
            "epochs": config.epochs,
            "seconds of an epoch, median": epoch,
            "of the first": float(epochs[0]),
            "metrics": done.metrics,
        },
        "attack in L2": {
            "samples": samples,
            "steps": STEPS,
            "seconds": sum(seconds),
            "of the first block": seconds[0],
            "reach their target": hits / samples,
        },
        "minutes of a whole cell, extrapolated": {
            **{name: value / 60 for name, value in cell.items()},
            "all": sum(cell.values()) / 60,
        },
        "GB": device_memory(xp),
    }
