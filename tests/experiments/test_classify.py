"""Clean classifiers from the command line, on the embedded set, which needs no download."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from reflfap.cli import main as cli
from reflfap.data_loaders.images import load
from reflfap.data_loaders.registry import DATA_SETS
from reflfap.deep import classifier
from reflfap.deep.classifier import Images
from reflfap.errors import InputError, NonFiniteError
from reflfap.experiments import classify, deep_training
from reflfap.experiments.classify import PRESETS, ClassifyConfig
from reflfap.experiments.experiment import Inputs, both_splits, canonical_json, run_id
from reflfap.experiments.registry import from_json
from reflfap.figures import learning_curves
from reflfap.monitor import Monitor
from reflfap.runs.store import open_result
from reflfap.training.minibatch import Curves

SHORT = ("run", "classify", "--epochs", "2", "--subset", "100", "--batch", "20")


def some(config, count=None):
    """The embedded set, or its first images."""
    inputs = Inputs(images=load)
    train, test = (deep_training.split_of(inputs, *one) for one in both_splits(config))
    return Images(train.x[:count], train.y[:count]), test


def test_it_learns():
    """Eight epochs on trousers and bags alone, which differ plainly: chance is one half."""
    config = ClassifyConfig(epochs=8, batch=20, rate=0.02)
    parts = []
    for part in some(config):
        chosen = np.isin(part.y, (1, 8))
        parts.append(Images(part.x[chosen], part.y[chosen]))
    found = classify.train_classifier(config, *parts, Inputs(workers=2))
    assert found.metrics["acc_standard_test"] > 0.9
    assert found.curves.loss[-1] < found.curves.loss[0]
    assert found.metrics["acc_standard_test_best"] == found.curves.accuracy_test.max()
    assert found.metrics["loss_standard"] == found.curves.loss[-1]


def test_subsets():
    """A subset is drawn by seed and trained on as if there were no others; of fewer, all."""
    config = ClassifyConfig(epochs=1, batch=20, subset=40)
    train, test = some(config)
    test = Images(test.x[:20], test.y[:20])
    totals = []

    class Watched(Monitor):
        def begin(self, stage, total, unit, done=0):
            totals.append(total)

    def trained(config, images):
        found = classify.train_classifier(config, images, test, Inputs(workers=2), Watched())
        return found.weights["conv5.bias"]

    assert not np.array_equal(trained(config, train), trained(replace(config, seed=1), train))
    trained(replace(config, subset=10**6), Images(train.x[:60], train.y[:60]))
    assert totals == [40, 40, 60]


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_networks(dataset):
    """Each data set's network takes its images and has an output for each of its classes."""
    config = ClassifyConfig(dataset=dataset)
    net, data = deep_training.deep_network(config), DATA_SETS[dataset]
    weights = {name: np.zeros(spec.shape, np.float32) for name, spec in net.arrays().items()}
    z = classifier.outputs(net, weights, np.zeros((2, *data.shape), np.float32))
    assert z.shape == (2, len(data.class_names))


def test_normalisation_is_that_of_the_data():
    """The constants are the mean and deviation of Fashion-MNIST, of which the set is a part.

    1,000 images of it estimate them to some percent.
    """
    train, _ = some(ClassifyConfig())
    (mean,), (std,) = deep_training.NORMALISATION["embedded"]
    values = train.x / 255
    assert values.mean() == pytest.approx(mean, rel=0.05)
    assert values.std() == pytest.approx(std, rel=0.05)


def test_weights_come_back_from_a_result(tmp_path, capsys):
    """The result holds curves and weights by the released names; read back they are the network."""
    assert cli.main([*SHORT, "--out", str(tmp_path), "--json", "--figure"]) == 0
    report = json.loads(capsys.readouterr().out)
    with open_result(tmp_path / "classify" / report["run_id"] / "result.h5") as result:
        weights = classify.classifier_weights(result)
        config = result.config_of(ClassifyConfig)
        assert result.array("networks/standard/conv4.weight", (256, 128, 3, 3)).size
        curves = learning_curves.compute(result)
        assert result.attributes["data_sha256"].count(" ") == 1
    assert [len(values) for values in curves] == [2] * 4
    test = some(config)[1]
    z = classifier.outputs(
        deep_training.deep_network(config), weights, classifier.pixels(test.x, np, "float32")
    )
    accuracy = np.mean(z.argmax(axis=1) == test.y)
    assert accuracy == pytest.approx(report["metrics"]["acc_standard_test"])
    assert (tmp_path / "classify" / report["run_id"] / "learning_curves.png").exists()
    assert cli.main([*SHORT, "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


@pytest.mark.parametrize("fall", [1.2, 1.6, 8.0, 40.0, 300.0])
def test_curves_can_be_read(fall):
    """Both axes have labels at two heights at least, however little or much the curves fall."""
    values = 0.7 * fall ** -np.linspace(0, 1, 6)
    curves = Curves(2 * values, 1 - values, 1 - 0.9 * values, np.full(6, 0.1))
    figure = learning_curves.draw(curves, "some network")
    figure.canvas.draw()
    for axes in figure.axes:
        low, high = axes.get_ylim()
        ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
        labels = [tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high]
        heights = [float(label) for label in labels if label]
        assert len(set(heights)) >= 2
        assert all(low <= height <= high for height in heights)
    plt.close(figure)


def test_an_interrupted_run_resumes(tmp_path):
    """Ctrl-C keeps the state of the batch under way; the same command ends as if undisturbed."""
    command = [sys.executable, "-m", "reflfap", *SHORT, "--epochs", "4", "--out"]

    def run(out, interrupt=False):
        with subprocess.Popen([*command, out], stderr=subprocess.PIPE, text=True) as child:
            said = child.stderr.readline()
            if interrupt:
                child.send_signal(signal.SIGINT)
            return said + child.stderr.read(), child.wait()

    said, code = run(tmp_path / "disturbed", interrupt=True)
    assert code == 130
    assert said.startswith("epoch 1:")
    assert "the same command resumes" in said
    said, code = run(tmp_path / "disturbed")
    assert code == 0
    assert said.startswith("standard: resumed from a checkpoint")
    assert run(tmp_path / "alone")[1] == 0
    one, other = (next(out.glob("*/*/result.h5")) for out in sorted(tmp_path.iterdir()))
    with open_result(one) as first, open_result(other) as second:
        assert first.metrics == second.metrics
        for name, values in classify.classifier_weights(first).items():
            assert np.array_equal(values, classify.classifier_weights(second)[name])


def test_a_batch_that_fails_is_kept(tmp_path, capsys):
    """A rate that no network bears ends the run at once, and says where the batch is."""
    assert cli.main([*SHORT, "--out", str(tmp_path), "--rate", "1e30"]) == 1
    said = capsys.readouterr().err
    assert "epoch 1, batch 2" in said
    kept = next(tmp_path.glob("classify/*/checkpoints/not-finite.h5"))
    assert str(kept) in said


def test_a_failure_without_a_place_to_keep_it():
    """From Python, the error holds the batch."""
    config = ClassifyConfig(epochs=1, batch=20, rate=1e30, subset=100)
    with pytest.raises(NonFiniteError) as caught:
        classify.train_classifier(config, *some(config))
    assert caught.value.kept["x"].shape == (20, 1, 28, 28)


def test_configs():
    """What is left out follows from preset and data, and is part of the id once it is filled in."""
    paper = ClassifyConfig(dataset="cifar-10", preset="paper")
    assert (paper.network, paper.depth, paper.width) == ("wideresnet", 28, 10)
    assert (paper.epochs, paper.subset, paper.augment) == (200, 0, True)
    assert ClassifyConfig(dataset="mnist", preset="paper").epochs == 100
    assert {ClassifyConfig(dataset=one, preset="paper").rate for one in DATA_SETS} == {0.1}
    assert ClassifyConfig(dataset="mnist").rate == 0.1
    assert ClassifyConfig(dataset="fashion-mnist").rate == 0.05
    assert ClassifyConfig(dataset="fashion-mnist", rate=0.1).rate == 0.1
    for preset in PRESETS:
        for dataset in DATA_SETS:
            config = ClassifyConfig(dataset=dataset, preset=preset)
            assert from_json(canonical_json(config)) == config
    full = {"dataset": "cifar-10", "preset": "paper", "depth": 28, "width": 10, "epochs": 200}
    same = ClassifyConfig(**full, subset=0, augment=True, network="wideresnet")
    assert run_id(canonical_json(same)) == run_id(canonical_json(paper))


def test_widths():
    """Of a convnet 0 and 16 are both the released network, and the default of every preset; another
    width is another run, of a network with so many channels."""
    for preset in PRESETS:
        for dataset in ("mnist", "fashion-mnist", "embedded"):
            default = ClassifyConfig(dataset=dataset, preset=preset)
            for width in (0, 16):
                same = replace(default, width=width)
                assert run_id(canonical_json(same)) == run_id(canonical_json(default))
    narrow = ClassifyConfig(width=4)
    assert run_id(canonical_json(narrow)) != run_id(canonical_json(ClassifyConfig()))
    assert from_json(canonical_json(narrow)) == narrow
    for config, channels in ((ClassifyConfig(), 16), (narrow, 4)):
        shapes = {
            name: spec.shape for name, spec in deep_training.deep_network(config).arrays().items()
        }
        assert shapes["conv1.weight"] == (3, 3, 1, channels)
        assert shapes["linear.weight"] == (16 * channels, 10)
    colours = ClassifyConfig(dataset="cifar-10", network="convnet")
    assert colours.width == 0
    assert deep_training.deep_network(colours).arrays()["conv1.weight"].shape == (3, 3, 3, 16)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": -1}, "width"),
        ({"width": 2.5}, "width"),
        ({"dataset": "imagenet"}, "dataset"),
        ({"network": "resnet"}, "network"),
        ({"preset": "gpu"}, "preset"),
        ({"network": "wideresnet", "depth": 12}, "use 10 or 16"),
        ({"network": "wideresnet", "width": 0}, "width"),
        ({"depth": 16}, "convnet"),
        ({"epochs": 0}, "epochs"),
        ({"subset": -1}, "subset"),
        ({"rate": 0.0}, "rate"),
        ({"batch": 1}, "batch"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_bad_configs_are_refused(change, named):
    with pytest.raises(InputError, match=named):
        ClassifyConfig(**change)


def test_images_of_another_network_are_refused():
    """A convnet for one channel takes no colours; a batch is no larger than the set."""
    config = ClassifyConfig(epochs=1, batch=128)
    colours = Images(np.zeros((200, 3, 32, 32), np.uint8), np.zeros(200, np.int64))
    with pytest.raises(InputError, match="x: expected images of shape"):
        classify.train_classifier(config, colours, colours)
    few, test = some(config, 100)
    with pytest.raises(InputError, match="batch"):
        classify.train_classifier(config, few, test)
