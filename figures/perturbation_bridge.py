"""The bridge to the theory for its own network: E3's cells by the numbers that E2's cells have.

The mean gradient of class +1 is that of f, of class -1 that of -f. Perturbations, gradients and the
span are those of a whole run of `reflfap run images`; its span is that of its N natural samples.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reflfap import onehidden
from reflfap.attacks import MarginFunction
from reflfap.backend import HostArray
from reflfap.experiments import bridge, images
from reflfap.experiments.experiment import canonical_json
from reflfap.experiments.images import ImagesConfig, two_classes
from reflfap.experiments.three_networks import WHOLE
from reflfap.runs.running import Place
from reflfap.runs.store import Result, complete_results, open_result

TEST = 500
"""Clean test images over which gradients are averaged, as in E2."""


class TwoClasses(NamedTuple):
    """A cell of E3 with its bridge."""

    config: ImagesConfig
    metrics: dict[str, float]  # its own, and those of the bridge


def compute(result: Result, data: images.ClassPair) -> TwoClasses:
    """The bridge of a whole result, from the images it was made of."""
    config = result.config_of(ImagesConfig)
    samples = images.prepare(config, data)
    x = result.array("data/adversarial/x", samples.source.x.shape)
    target = _class(result.array("data/adversarial/y", (len(x),)))
    eta = bridge.Moments.none(2, config.inputs)
    eta.add(x - samples.source.x, target)
    gradients = {}
    for name in ("standard", "adversarial"):
        W = result.array(f"networks/{name}/W", (config.hidden, config.inputs))
        margin = _margin(onehidden.network(W, config.slope))
        gradients[name] = bridge.mean_gradients(margin, samples.test.x[:TEST], 2)
    metrics = {
        "cosine_standard": bridge.cosines(gradients["standard"], eta.mean).mean(),
        "cosine_adversarial": bridge.cosines(gradients["adversarial"], eta.mean).mean(),
        "cosine_gradients": bridge.cosines(*gradients.values()).mean(),
        **bridge.spans(eta, samples.natural.x),
    }
    return TwoClasses(config, result.metrics | {name: float(v) for name, v in metrics.items()})


def whole_runs(results: Path) -> Iterator[TwoClasses]:
    """All whole runs of E3 below a results folder, in the order of their configs."""
    complete = complete_results(results, ImagesConfig)
    found = [(canonical_json(config), run.path) for config, run in complete]
    for _, path in sorted(found):
        with open_result(path) as result:
            if set(WHOLE) <= set(result.names()):
                images = Place(results).inputs().images
                yield compute(result, two_classes(result.config_of(ImagesConfig), images))


def _class(label: HostArray) -> HostArray:
    """+1 is class 0, -1 class 1."""
    return np.where(label > 0, 0, 1)


def _margin(net: onehidden.Network) -> MarginFunction:
    """The margin towards a class, 0 or 1."""

    def margin(x: HostArray, target: HostArray) -> tuple[HostArray, HostArray]:
        return onehidden.margin_gradient(net, x, (1 - 2 * target).astype(x.dtype))

    return margin
