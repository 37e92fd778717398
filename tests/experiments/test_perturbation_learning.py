"""Perturbed image sets and what learns them: targets, constraints, the phenomenon, no leak."""

import functools
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from result_files import rewrite
from small_networks import CLASSES, drawn_images, drawn_weights, every_layer
from staging import learn_config, with_classifier

from reflfap.data_loaders.images import load
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.deep.convnet import convnet
from reflfap.experiments import classify, deep_training, learn, perturbed_set
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.experiment import Inputs
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import SCENARIOS, PerturbConfig
from reflfap.experiments.perturbed_set import BLOCK, Block, source
from reflfap.experiments.perturbed_set import perturb_block as perturb
from reflfap.fast.worker_pool import WorkerPool
from reflfap.monitor import Monitor
from reflfap.runs import running
from reflfap.runs.store import open_result

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE, D = (1, 28, 28), 784
EACH_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS)


def config(**changes):
    return PerturbConfig(**{"n_adv": 40, "classifier": "any", **changes})


@functools.cache
def embedded():
    """The embedded training images, a thousand."""
    return deep_training.split_of(Inputs(images=load), "embedded", "train")


@functools.cache
def some_margin(dtype="float32"):
    """The margin function of a narrow network with weights at random."""
    network = convnet((0.286,), (0.353,), width=1)
    return classifier.margin_function(network, drawn_weights(network, dtype=dtype), SHAPE)


def drawn(made):
    """All samples of a source."""
    return np.concatenate([made.draw(number) for number in range(made.blocks)])


@pytest.mark.parametrize("seed", [0, 1])
@EACH_SCENARIO
def test_targets(scenario, seed):
    """At random: never the class shown, any of the nine others equally often; or the next class;
    of noise any class. With each target comes the image of its label, and each image once."""
    train = embedded()
    made = source(config(scenario=scenario, n_adv=1000, seed=seed), train)
    away = (made.target - made.label) % 10
    assert (made.target.min(), made.target.max()) == (0, 9)
    if scenario == "noise":
        assert np.all(made.label == -1)
        frequencies, expected = np.bincount(made.target), 1000 / 10
    else:
        found = {image.tobytes(): label for image, label in zip(*train, strict=True)}
        shown = np.rint(255 * drawn(made)).astype(np.uint8)
        assert [found[image.tobytes()] for image in shown] == made.label.tolist()
        assert np.array_equal(np.bincount(made.label), np.bincount(train.y))
        frequencies, expected = np.bincount(away, minlength=10)[1:], 1000 / 9
    if scenario == "natural-deterministic":
        assert np.all(away == 1)
        return
    assert np.abs(frequencies - expected).max() < 5 * math.sqrt(expected)
    if scenario == "natural-random":
        assert np.all(away != 0)
        pairs = {(int(one), int(other)) for one, other in zip(made.label, away, strict=True)}
        assert len(pairs) == 10 * 9


def test_noise_is_uniform():
    """On [0, 1], in float32: mean and mean square within five deviations; no block is another."""
    made = source(config(scenario="noise", n_adv=2 * BLOCK), embedded())
    one, other = made.draw(0), made.draw(1)
    for block in (one, other):
        assert block.dtype == np.float32
        assert block.min() >= 0
        assert block.max() <= 1
        assert abs(block.mean(dtype=float) - 1 / 2) < 5 * math.sqrt(1 / 12 / block.size)
        squares = np.mean(block.astype(float) ** 2)
        assert abs(squares - 1 / 3) < 5 * math.sqrt((1 / 5 - 1 / 9) / block.size)
    assert np.mean(one == other) < 1e-3


@EACH_SCENARIO
@settings(max_examples=5)
@given(n=st.integers(1, 2 * BLOCK + 1))
@example(n=BLOCK)
@example(n=BLOCK + 1)
def test_first_samples_do_not_depend(scenario, n):
    """On how many follow; of images there are at most as many as there are."""
    train = embedded()
    longer = source(config(scenario=scenario, n_adv=2 * BLOCK + 9), train)
    made = source(config(scenario=scenario, n_adv=n), train)
    count = n if scenario == "noise" else min(n, len(train.y))
    assert len(made.target) == len(made.label) == len(drawn(made)) == count
    assert made.blocks == math.ceil(count / BLOCK)
    assert np.array_equal(made.target, longer.target[:count])
    assert np.array_equal(made.label, longer.label[:count])
    for number in range(made.blocks):
        part = made.draw(number)
        assert np.array_equal(part, longer.draw(number)[: len(part)])
        assert len(part) == made.target[made.rows(number)].size


@EACH_SCENARIO
def test_seeds_draw_other_samples(scenario):
    """Another seed, other samples and targets; the same seed, the same ones."""
    one, same, other = (
        source(config(scenario=scenario, seed=seed), embedded()) for seed in (3, 3, 4)
    )
    assert np.array_equal(one.target, same.target)
    assert np.array_equal(one.draw(0), same.draw(0))
    assert not np.array_equal(one.target, other.target)
    assert not np.array_equal(one.draw(0), other.draw(0))


# enough steps of a fifth of epsilon to come to the limit
ATTACKS = {
    "l2": {"norm": "l2", "epsilon": 2.0, "attack_steps": 8},
    "linf": {"norm": "linf", "epsilon": 0.3, "attack_steps": 8},
    "linf sign": {"norm": "linf", "epsilon": 0.3, "attack_steps": 8, "variant": "sign"},
    "l0": {"norm": "l0", "epsilon": 6},
    "l0 tracked": {"norm": "l0", "epsilon": 6, "variant": "tracked"},
}


@pytest.mark.parametrize("scenario", ["natural-random", "noise"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_constraints_hold_as_stored(attack, scenario, dtype):
    """Pixels on [0, 1] in float32, the norm within epsilon, and reached; margins are those of the
    samples, and none is worse than before.

    A stored pixel is off by half of a last place, at most 2^-25, and so is the one it came from;
    that much in each coordinate a norm may be larger, and by the rounding of its own sum.
    """
    how, margin = config(**attack, scenario=scenario, dtype=dtype), some_margin(dtype)
    made = source(how, embedded())
    block, x, target = perturb(how, margin, made, 0), made.draw(0), made.target
    assert (block.x.dtype, block.x.shape) == (np.float32, (40, D))
    assert block.x.min() >= 0
    assert block.x.max() <= 1
    eta, slack = block.x.astype(float) - x, 2.0**-24
    if how.norm == "l0":
        assert how.pixels / 2 < np.count_nonzero(eta, axis=1).max() <= how.pixels
    elif how.norm == "l2":
        norms = np.linalg.norm(eta, axis=1)
        assert 0.9 * how.size < norms.max() <= how.size * (1 + 1e-5) + slack * math.sqrt(D)
    else:
        assert 0.9 * how.size < np.abs(eta).max() <= how.size * (1 + 1e-6) + slack
    assert block.margin.dtype == np.float64
    assert np.all(block.margin >= block.margin_start)
    assert np.mean(block.margin > block.margin_start) > 0.8  # l0 as released may stall
    for samples, margins in ((x, block.margin_start), (block.x, block.margin)):
        q = margin(samples.astype(dtype), target)[0]
        assert margins == pytest.approx(q, rel=1e-4, abs=1e-4)


def test_a_full_range_is_clipped():
    """There are samples whose perturbation leaves [0, 1] if nothing stops it: at 0 and 1 it ends
    there exactly."""
    how = config(**ATTACKS["linf"])
    made = source(how, embedded())
    moved = perturb(how, some_margin(), made, 0).x
    for end in (0, 1):
        assert np.any((moved == end) & (np.abs(made.draw(0) - end) > 0.01))


def test_workers_and_what_the_monitor_hears():
    """Three chunks of a block in two threads are those of one; each sample is told of once."""
    how = config(n_adv=130, attack_steps=2)
    made, told = source(how, embedded()), []

    class Watched(Monitor):
        def advance(self, amount=1):
            told.append(amount)

        def keep(self, stage, state):
            pytest.fail("a block is kept by who made it")

    alone = perturb(how, some_margin(), made, 0)
    together = perturb(how, some_margin(), made, 0, Inputs(workers=2), Watched())
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)
    assert sum(told) == 130


CONTROLS = {name: attack | {"epsilon": 0} for name, attack in ATTACKS.items()}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("attack", CONTROLS.values(), ids=CONTROLS)
def test_a_control_leaves_samples_as_they_are(attack, scenario):
    """With epsilon 0, bit for bit, whatever the norm; the targets are those of the attacked set."""
    how = config(**{name: value for name, value in attack.items() if name != "attack_steps"})
    how = replace(how, scenario=scenario, n_adv=10)
    made = source(how, embedded())
    block = perturb(how, some_margin(), made, 0)
    assert np.array_equal(block.x, made.draw(0))
    assert np.array_equal(block.margin, block.margin_start)
    attacked = source(replace(how, epsilon=2, attack_steps=None), embedded())
    assert np.array_equal(made.target, attacked.target)


def test_a_control_with_steps_is_one_too():
    how = config(epsilon=0.0, attack_steps=3, n_adv=10)
    made = source(how, embedded())
    assert np.array_equal(perturb(how, some_margin(), made, 0).x, made.draw(0))


def test_summaries():
    """Over two blocks, against a loop over samples: success in all and by target, losses as plain
    logarithms of probabilities, the three norms, sums of perturbations."""
    rng, n = np.random.default_rng(0), BLOCK + 3
    how = config(n_adv=n)
    made = source(how, embedded())
    made = made._replace(target=made.target % 7)  # towards three classes there is none
    x, sizes = drawn(made), rng.uniform(0, 0.5, n)
    noise = rng.uniform(-1, 1, (n, D)) * (rng.uniform(0, 1, (n, D)) < 0.1) * sizes[:, None]
    moved = np.clip(x + noise, 0, 1).astype(np.float32)
    q_start, q = rng.normal(-1, 3, (2, n))
    blocks = [Block(*(one[made.rows(number)] for one in (moved, q_start, q))) for number in (0, 1)]
    found = perturbed_set.summary(how, made, iter(blocks))

    hits, number, total = np.zeros(10), np.zeros(10), np.zeros((10, D))
    norms, losses = [], []
    for one, other, target, before, after in zip(x, moved, made.target, q_start, q, strict=True):
        number[target] += 1
        hits[target] += 1 / (1 + math.exp(-after)) > 0.5
        eta = other.astype(float) - one
        total[target] += eta
        norms.append([np.sum(eta != 0), math.sqrt(sum(eta * eta)), max(abs(eta))])
        losses.append([-math.log(1 / (1 + math.exp(-margin))) for margin in (before, after)])
    means = np.mean(losses, axis=0)
    expected = {"attack_success": hits.sum() / n, "loss_source": means[0]}
    expected["loss_perturbed"] = means[1]
    for name, values in zip(("l0", "l2", "linf"), np.transpose(norms), strict=True):
        expected |= {f"size_{name}": values.mean(), f"size_{name}_max": values.max()}
    assert found.metrics == pytest.approx(expected, rel=1e-5)
    assert found.success == pytest.approx(hits / np.maximum(number, 1), rel=1e-12)
    assert 0 < found.metrics["attack_success"] < 1
    assert np.array_equal(found.eta.samples, number)
    assert found.eta.total == pytest.approx(total, abs=1e-5)
    squares = sum(size * size for _, size, _ in norms)
    assert np.trace(found.eta.second) == pytest.approx(squares, rel=1e-5)


def test_success_by_argmax():
    """As released, a mean over the targets that occur: by a loop, and at least the share of samples
    whose target has more than half of the probability, since no other can then have more."""
    target, taken = np.asarray([3, 3, 3, 0, 0, 5]), np.asarray([3, 1, 3, 0, 5, 0])
    expected = np.mean([2 / 3, 1 / 2, 0.0])
    parts = [taken[:2], taken[2:]]
    assert perturbed_set.mean_over_targets(target, parts) == pytest.approx(expected, rel=1e-15)
    rng = np.random.default_rng(0)
    z, target = rng.normal(0, 2, (400, 4)), np.arange(400) % 4
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    more_than_half = np.mean(p[np.arange(400), target] > 0.5)
    by_argmax = perturbed_set.mean_over_targets(target, [z.argmax(axis=1)])
    assert more_than_half < by_argmax < 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_confusion(workers):
    """Against a loop over images; rows add up to the classes, the diagonal to the accuracy."""
    network = every_layer()
    weights, test = drawn_weights(network, 2), drawn_images(23)
    z = classifier.outputs(network, weights, test.x / 255)
    weights["linear.bias"] -= z.mean(axis=0)  # or all would be taken for one class
    expected = [[0] * CLASSES for _ in range(CLASSES)]
    for x, y in zip(*test, strict=True):
        z = classifier.outputs(network, weights, x[None] / 255)[0]
        expected[y][max(range(CLASSES), key=z.__getitem__)] += 1
    with WorkerPool(workers) as pool:
        counts = learn.confusion(network, weights, test, CLASSES, pool)
        accuracy = classifier.image_accuracy(network, weights, test, pool)
    assert counts.tolist() == expected
    assert np.count_nonzero(counts) > CLASSES
    assert np.array_equal(counts.sum(axis=1), np.bincount(test.y, minlength=CLASSES))
    assert np.trace(counts) == pytest.approx(23 * accuracy)


def stripes(n, seed):
    """Images of stripes across (class 0) or along (class 1), as many of each, at any phase."""
    rng, y = np.random.default_rng(seed), np.arange(n) % 2
    phase = np.pi / 2 * (np.arange(28) + rng.uniform(0, 4, n)[:, None])
    across = np.broadcast_to(0.5 + 0.4 * np.cos(phase)[:, :, None], (n, 28, 28))
    x = np.where(y[:, None, None] == 1, across.transpose(0, 2, 1), across)
    x = np.clip(x + rng.normal(0, 0.1, x.shape), 0, 1)
    return Images(x.astype(np.float32)[:, None], y)


SMALL = {"width": 3, "batch": 10, "rate": 0.01}


def test_the_phenomenon():
    """Stripes across or along are read by a network that never saw one: it learned noise that was
    perturbed towards one or the other at random. From the same noise unperturbed it learns nothing.

    Chance is one half, of 200 images with a deviation of 0.04.
    """
    train, test = stripes(200, 1), stripes(200, 2)
    clean = ClassifyConfig(epochs=5, **SMALL)
    found = classify.train_classifier(clean, train, test)
    assert found.metrics["acc_standard_test"] > 0.8
    margin = classifier.margin_function(deep_training.deep_network(clean), found.weights, SHAPE)
    accuracies = []
    for epsilon, steps in ((4.0, 4), (0.0, 0)):
        how = LearnConfig(
            scenario="noise", epsilon=epsilon, attack_steps=steps, n_adv=300, epochs=5, **SMALL
        )
        made = source(how, train)
        made = made._replace(target=made.target % 2)
        images = Images(perturb(how, margin, made, 0).x.reshape(-1, *SHAPE), made.target)
        learnt = deep_training.fit(how, "adversarial", images, test)
        accuracies.append(learnt.metrics["acc_adversarial_test"])
    assert accuracies[0] > 0.7
    assert abs(accuracies[1] - 0.5) < 0.15


def trained(path):
    """The weights of what learned, by name."""
    with open_result(path) as result:
        names = [name for name in result.names() if name.startswith("networks/")]
        return {name: np.asarray(result._file[name]) for name in names}


def test_no_clean_label_leaks(tmp_path, monkeypatch):
    """What learns reads images and targets, no more: with the labels of what the images show
    shuffled in the file of the set, and no training image in reach, it is the same to the last bit.
    """
    place, how = (
        with_classifier(tmp_path / "one"),
        learn_config(n_adv=60, scenario="natural-random"),
    )
    made = running.make(how.perturbed, place)
    shutil.copytree(place.out, tmp_path / "other")
    shuffled = tmp_path / "other" / made.relative_to(place.out)

    def shuffle(file):
        labels = file["data/source/y"]
        labels[...] = np.roll(labels[...], 7)

    rewrite(shuffled, shuffle)
    with open_result(made) as one, open_result(shuffled) as other:
        labels = [result.array("data/source/y", (60,), "i") for result in (one, other)]
    assert np.mean(labels[0] != labels[1]) > 0.5
    inputs, read = running.Place.inputs, []

    def watched(self, *rest):
        found = inputs(self, *rest)

        def images(dataset, which):
            read.append(which)
            return found.images(dataset, which)

        return replace(found, images=images)

    monkeypatch.setattr(running.Place, "inputs", watched)
    one, other = (
        trained(running.make(how, place._replace(out=tmp_path / name))) for name in ("one", "other")
    )
    assert set(read) == {"test"}
    assert one
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert np.array_equal(other[name], values), name


def test_clean_images_only_measure():
    """Other test images, or other labels of them, change the accuracy and no weight."""
    train = embedded()
    how = LearnConfig(epochs=2, batch=10, width=1, classifier="any")
    images = Images(train.x[:40], (train.y[:40] + 1) % 10)
    tests = [Images(train.x[100:200], np.full(100, one)) for one in range(10)]
    tests.append(Images(train.x[200:205], train.y[200:205]))
    found = [deep_training.fit(how, "adversarial", images, test) for test in tests]
    assert len({one.metrics["acc_adversarial_test"] for one in found}) > 1
    for one in found[1:]:
        for name, values in found[0].weights.items():
            assert np.array_equal(one.weights[name], values)
        assert np.array_equal(one.curves.loss, found[0].curves.loss)
