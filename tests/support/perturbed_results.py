"""Results of E2 without training: numbers that tell the config, for the tests of figures."""

import numpy as np

from reflfap.data_loaders.registry import DATA_SETS
from reflfap.experiments import perturbed_set
from reflfap.experiments.deep_training import split_of
from reflfap.experiments.experiment import Dataset, canonical_json
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import SCENARIOS, PerturbConfig
from reflfap.experiments.perturbed_set import SET
from reflfap.figures import perturbation
from reflfap.runs import running, store
from reflfap.sweep.table import collect
from reflfap.training.minibatch import Curves

ABOUT = {
    **dict.fromkeys(("backend", "device", "dtype", "blas", "versions_json"), "x"),
    "threads": 1,
    "source_revision": "abc",
    "wall_seconds": 1.0,
}
NORMS = ("l2", "linf", "l0")
BRIDGE = {"cosine_standard": 0.41, "cosine_adversarial": 0.42, "cosine_gradients": 0.43}
BRIDGE |= {"span": 0.44, "span_random": 0.45, "span_few": 0.46, "span_few_random": 0.47}
BRIDGE |= {"span_few_images": 0.48, "attack_success": 0.9}


def config(scenario="natural-random", norm="l2", seed=0, **more):
    """A small one of the embedded set."""
    sizes = {"n_adv": 600, "epochs": 4, "width": 4}
    return LearnConfig(**({"scenario": scenario, "norm": norm, "seed": seed} | sizes | more))


def grid(seeds=(0, 1)):
    """All scenarios and norms, a control each, and of L2 noise a second number of samples."""
    for seed in seeds:
        for scenario in SCENARIOS:
            yield from (config(scenario, norm, seed) for norm in NORMS)
            yield config(scenario, "l2", seed, epsilon=0)
        yield config("noise", "l2", seed, subset=300)


def course(of):
    """The test accuracy of a config's network by epoch: its best is not its last."""
    level = 0.2 * SCENARIOS.index(of.scenario) + 0.1 * NORMS.index(of.norm) + 0.05 * bool(of.size)
    rise = np.sin(np.arange(1, of.epochs + 1) / of.epochs * 2) / 3
    return level + 0.01 * of.seed + rise + of.subset / 1e5


def metrics(of):
    accuracy = course(of)
    own = {"acc_adversarial_test": accuracy[-1], "acc_adversarial_test_best": accuracy.max()}
    return {**own, **{name: value + 0.002 * of.seed for name, value in BRIDGE.items()}}


def confusion(of):
    """Mostly right, in a way that no transposition or other class shares."""
    counts = np.arange(100).reshape(10, 10) % 7 + 20 * np.diag(np.arange(10))
    return counts + of.seed


def store_learnt(out, some, left_out=()):
    """Store networks that learned; returns their paths."""
    paths = []
    for one in some:
        accuracy = course(one)
        curves = Curves(1 - accuracy, accuracy / 2, accuracy, np.full(one.epochs, 0.01))
        datasets = {
            f"traces/adversarial/{name}": Dataset(values, "epoch", "x")
            for name, values in curves._asdict().items()
        }
        datasets["confusion"] = Dataset(confusion(one), "class, taken for", "images")
        kept = {name: value for name, value in metrics(one).items() if name not in left_out}
        text = canonical_json(one)
        folder = store.folder_for(out, "learn", text)
        paths.append(store.write(folder, text, ABOUT, kept, datasets))
    return paths


def change(of, count):
    """(count, 1, 28, 28) perturbations that tell sample and norm."""
    shape = DATA_SETS[of.dataset].shape
    eta = np.zeros((count, *shape), np.float32)
    eta[:, 0, 3, NORMS.index(of.norm)] = -0.125 * np.arange(count) / count
    return eta


def store_set(out, of: PerturbConfig, digests=None):
    """Store a perturbed set of images whose perturbations are `change`."""
    place = running.Place(out)
    train, found = split_of(place.inputs(), of.dataset, "train"), place.data_of(of)
    source = perturbed_set.source(of, train)
    x = np.concatenate([source.draw(block) for block in range(source.blocks)])
    x = x.reshape(len(x), *DATA_SETS[of.dataset].shape).astype(np.float32)
    text = canonical_json(of)
    datasets = {
        f"{SET}x": Dataset(x + change(of, len(x)), "sample, channel, row, column", "pixels"),
        f"{SET}y": Dataset(source.target, "sample", "target class"),
    }
    about = ABOUT | {"data_sha256": digests or found}
    return store.write(store.folder_for(out, "perturb", text), text, about, {}, datasets)


def tables_of(results, out):
    """A folder with nothing but the tables of another one."""
    collect(results, out / "tables")
    perturbation.write(results, out / "tables")
    return out
