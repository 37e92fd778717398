"""Estimates of E2's stages: counts by hand, growth with the work, what is said before a run."""

from dataclasses import replace

import numpy as np
import pytest

from reflfap.deep.convnet import convnet
from reflfap.deep.cost import layer_cost
from reflfap.deep.network import Chain, Convolution, Layer, Pass, Relu, Residual, initial_arrays
from reflfap.deep.wideresnet import wideresnet
from reflfap.experiments import classify, learn, perturb
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import PerturbConfig


def test_costs_by_hand():
    """A convolution multiplies inputs times pixels of its kernel for each number it gives."""
    one = Convolution("a", 3, 5, stride=2, padding=1)  # 7 x 8 to 4 x 4
    assert layer_cost(one, (3, 7, 8)) == (4 * 4 * 5 * 3 * 9, 4 * 4 * 5)
    assert layer_cost(Chain((one, Relu())), (3, 7, 8)) == (4 * 4 * 5 * 3 * 9, 2 * 4 * 4 * 5)
    past = Residual(Chain((Convolution("b", 3, 3, padding=1),)))  # the sum counts once more
    assert layer_cost(past, (3, 7, 8)) == (7 * 8 * 3 * 3 * 9, 2 * 7 * 8 * 3)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (convnet((0.1,), (0.3,), width=2), (1, 28, 28)),
        (wideresnet(10, 1, (0.5,) * 3, (0.2,) * 3), (3, 32, 32)),
    ],
    ids=["convnet", "wideresnet"],
)
def test_costs_are_those_of_arrays(network, shape, monkeypatch):
    """The numbers counted are those of all outputs of one image, however the layers are nested."""
    found = []

    def watched(kind):
        forward = kind.forward

        def count(self, weights, x, how):
            y, cache = forward(self, weights, x, how)
            found.append(y.size)
            return y, cache

        monkeypatch.setattr(kind, "forward", count)

    for kind in Layer.__subclasses__():
        if kind is not Chain:
            watched(kind)
    weights = initial_arrays(network, np.random.default_rng(0), "float32")
    network.forward(weights, np.zeros((1, *shape), np.float32), Pass(keep=False))
    assert layer_cost(network, shape).numbers == sum(found)


def test_estimates_grow_with_the_work():
    """In proportion to samples and steps, epochs and images; noise is not limited by the images."""
    few = PerturbConfig(n_adv=100, attack_steps=9)
    more = replace(few, n_adv=300, attack_steps=19)
    assert perturb.cost(more).flops == pytest.approx(6 * perturb.cost(few).flops)
    assert perturb.cost(more).disk == 3 * perturb.cost(few).disk
    short = LearnConfig(n_adv=100, epochs=2)
    long = replace(short, epochs=6)
    assert learn.cost(long).flops == pytest.approx(3 * learn.cost(short).flops)
    assert learn.cost(replace(short, subset=50)).flops < learn.cost(short).flops
    wide = classify.cost(ClassifyConfig(dataset="cifar-10", preset="paper"))
    narrow = classify.cost(ClassifyConfig(dataset="cifar-10"))
    assert wide.flops > 100 * narrow.flops
    assert wide.memory > 5 * narrow.memory


def test_the_papers_sizes():
    """1.2 million images of 28 x 28 in float32 are 3.8 GB, twice while they are put together."""
    noise = LearnConfig(dataset="mnist", preset="paper", scenario="noise")
    assert perturb.cost(noise.perturbed).disk == pytest.approx(2 * 3.76e9, rel=0.01)
    assert learn.cost(noise).memory < 1e9  # of which memory never holds all
