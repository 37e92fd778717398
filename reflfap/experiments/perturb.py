"""A perturbed image set as a run, the second stage of (E2)."""

from collections.abc import Iterator
from functools import partial

from reflfap.backend import HostArray, asarray
from reflfap.data_loaders.registry import data_set
from reflfap.deep import classifier
from reflfap.errors import refuse
from reflfap.experiments import bridge, perturbed_set
from reflfap.experiments.classify import ClassifyConfig, classifier_weights
from reflfap.experiments.deep_training import attack_cost, deep_network, split_of
from reflfap.experiments.experiment import (
    Computed,
    Config,
    Dataset,
    Estimate,
    Experiment,
    ImagesOptions,
    Inputs,
    RunOf,
    Stages,
    Stored,
    both_splits,
    identity,
)
from reflfap.experiments.perturb_config import PerturbConfig
from reflfap.experiments.perturbed_set import CHUNK, Block, weights_digest
from reflfap.fast.worker_pool import WorkerPool
from reflfap.monitor import Monitor


def compute(config: PerturbConfig, inputs: Inputs, monitor: Monitor) -> Computed:
    """Make the blocks that are not there yet, then say what the set is."""
    result = inputs.before["classify"]
    weights = classifier_weights(result, config.dtype)
    network = deep_network(result.config_of(ClassifyConfig))
    on_device = {name: asarray(values, inputs.xp) for name, values in weights.items()}
    shape = data_set(config.dataset).shape
    margin = classifier.margin_function(network, on_device, shape)
    train, test = (split_of(inputs, *one) for one in both_splits(config))
    samples = perturbed_set.source(config, train)

    names = [f"block-{number:06d}" for number in range(samples.blocks)]
    perturb = perturbed_set.perturb_block
    make = partial(perturb, config, margin, samples, inputs=inputs, monitor=monitor)
    perturbed_set.make_blocks(samples, names, make, monitor)
    blocks = partial(perturbed_set.kept_blocks, names, monitor)
    taken: list[HostArray] = []
    with WorkerPool(inputs.workers) as pool:

        def classified() -> Iterator[Block]:
            for block in blocks():
                x = block.x.reshape(-1, *shape)
                taken.append(classifier.predictions(network, on_device, x, pool))
                yield block

        found = perturbed_set.summary(config, samples, classified())
    gradients = perturbed_set.probe_gradients(config, margin, test, inputs)
    metrics = {
        **found.metrics,
        "attack_success_argmax": perturbed_set.mean_over_targets(samples.target, taken),
        "samples": float(len(samples.target)),
        "cosine_standard": float(bridge.cosines(gradients, found.eta.mean).mean()),
        **bridge.spans(found.eta, train.x.reshape(len(train.x), -1)),
    }
    datasets = perturbed_set.set_datasets(samples, blocks(), found.margins, shape) | {
        "metrics_by_class/attack_success": Dataset(found.success, "target", "fraction"),
        "gradients/standard": Dataset(gradients, "class, input", "margin per pixel unit"),
        "gradients/perturbation": Dataset(found.eta.mean, "target, input", "pixel units"),
    }
    digest = weights_digest(weights)
    about: dict[str, str | int] = {"classifier_sha256": digest, "workers": inputs.workers}
    return Computed(metrics, datasets, about)


def before(config: PerturbConfig) -> list[Config | RunOf]:
    """The classifier to attack: the preset's own, or one that must be there."""
    usual = config.usual_classifier
    own = config.classifier == identity(usual)
    remedy = f"train it with `reflfap run classify --dataset {config.dataset}`, or leave it out"
    return [usual if own else RunOf("classify", str(config.classifier), "classifier", remedy)]


def check_before(config: PerturbConfig, stages: Stages) -> None:
    """The classifier reads images of this data set."""
    found = stages["classify"].config_of(ClassifyConfig)
    if found.dataset != config.dataset:
        remedy = "attack a classifier of the same data set"
        refuse("classifier", f"one of {config.dataset}", f"one of {found.dataset}", remedy)


def goes_back(config: PerturbConfig, result: Stored, stages: Stages) -> bool:
    """Whether a set, or what learned one, was made against the classifier's present weights.

    Where no classifier is there, nothing is known against it."""
    if "classify" not in stages:
        return True
    present = weights_digest(classifier_weights(stages["classify"], config.dtype))
    return result.attributes.get("classifier_sha256") == present


def cost(config: PerturbConfig) -> Estimate:
    """Against the preset's classifier."""
    return attack_cost(config.usual_classifier, config.samples, config.steps, CHUNK)


EXPERIMENT = Experiment(
    config=PerturbConfig,
    summary="Perturb images, or noise, against a clean classifier (E2), trained first if need be.",
    compute=compute,
    cost=cost,
    options=ImagesOptions,
    reads=both_splits,
    picture="reflfap.figures.perturbation_gallery",
    before=before,
    check_before=check_before,
    goes_back=goes_back,
    makes="set",
)
