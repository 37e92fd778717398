"""A clean classifier, the first stage of E2: a deep network that learns a whole image set."""

from typing import NamedTuple, cast

import numpy as np

from data_loaders.registry import DATA_SETS
from reflfap.backend import HostArray, Namespace, asarray, to_host
from reflfap.config_classify import RELEASED_WIDTH, ClassifyConfig, Training
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.deep.convnet import convnet
from reflfap.deep.network import Chain, initial_weights
from reflfap.deep.wideresnet import wideresnet
from reflfap.monitor import SILENT, Monitor
from reflfap.rng import stream
from reflfap.training.minibatch import Curves, Sgd, train

NORMALISATION = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "cifar-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "embedded": ((0.2860,), (0.3530,)),
}
"""Mean and deviation of the pixels, which the networks subtract and divide by, as released."""


class Classified(NamedTuple):
    """All that a training leaves, on the host."""

    metrics: dict[str, float]
    weights: dict[str, HostArray]
    curves: Curves


def network(config: Training) -> Chain:
    """The network of a config, without weights. Checked by test_classify.py::test_networks."""
    data, moments = DATA_SETS[config.dataset], NORMALISATION[config.dataset]
    channels, classes = data.shape[0], len(data.class_names)
    depth, width = cast(int, config.depth), cast(int, config.width)
    if config.network == "convnet":
        return convnet(*moments, channels, classes, width or RELEASED_WIDTH)
    return wideresnet(depth, width, *moments, channels, classes)


def run(
    config: ClassifyConfig,
    images: Images,
    test: Images,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    workers: int = 1,
) -> Classified:
    """Train on the images of a data set, or a subset of them, and test after each epoch.

    Peak memory: the images as bytes, the activations of a batch (ConvNet, batch 128: 0.2 GB;
    WideResNet-28-10: 70 MB an image), the weights three times and once more a worker.
    Checked by test_classify.py::test_it_learns and ::test_subsets.
    """
    images, test = (checked(config.dataset, part) for part in (images, test))
    if config.subset and config.subset < len(images.y):
        some = stream(config.seed, "natural/order").permutation(len(images.y))[: config.subset]
        images = Images(images.x[some], images.y[some])
    return fit(config, "standard", images, test, xp, monitor, workers)


def checked(dataset: str, images: Images) -> Images:
    """Images that a network for this data set takes; InputError for others."""
    data = DATA_SETS[dataset]
    return classifier.images(*images, data.shape, len(data.class_names))


def fit(
    config: Training,
    name: str,
    images: Images,
    test: Images,
    xp: Namespace = np,
    monitor: Monitor = SILENT,
    workers: int = 1,
) -> Classified:
    """The network called `name`, trained on checked images as the config says."""
    made = network(config)
    initial = initial_weights(made, stream(config.seed, f"{name}/weights"), config.dtype)
    how = Sgd(cast(float, config.rate), cast(int, config.batch), augment=bool(config.augment))
    learnt = train(
        made,
        {name: asarray(values, xp) for name, values in initial.items()},
        images,
        test,
        how,
        epochs=cast(int, config.epochs),
        seed=config.seed,
        workers=workers,
        monitor=monitor,
        stage=name,
    )
    weights = {name: to_host(values) for name, values in learnt.weights.items()}
    return Classified(_metrics(name, learnt.curves), weights, learnt.curves)


def _metrics(name: str, curves: Curves) -> dict[str, float]:
    """The last epoch, and the best test accuracy of all."""
    return {
        f"loss_{name}": float(curves.loss[-1]),
        f"acc_{name}_own": float(curves.accuracy[-1]),
        f"acc_{name}_test": float(curves.accuracy_test[-1]),
        f"acc_{name}_test_best": float(curves.accuracy_test.max()),
    }
