"""E3: two classes of images, on the embedded set, which needs no download."""

import json
from dataclasses import replace

import numpy as np
import pytest

from reflfap import onehidden
from reflfap.cli import main as cli
from reflfap.data_loaders.images import load
from reflfap.errors import InputError
from reflfap.experiments import images
from reflfap.experiments.experiment import Inputs, canonical_json
from reflfap.experiments.images import ImagesConfig, two_classes
from reflfap.experiments.registry import from_json
from reflfap.experiments.three_networks import KnownParts, initial_network, train
from reflfap.figures import image_rows
from reflfap.runs.store import open_result

SMALL = {"hidden": 20, "n": 100, "n_adv": 300, "epochs": 10_000}
SHAPE = (28, 28)
INPUTS = Inputs(images=load)


def config(**change):
    return ImagesConfig(**(SMALL | change))


def test_the_phenomenon():
    """A network that saw only perturbed noise reads clothes; one of plain noise does not.

    Trousers against bags, 40 test images: chance is 0.5 with a standard error of 0.08.
    """
    metrics = images.cell(config(), INPUTS).metrics
    assert metrics["acc_standard_test"] > 0.9
    assert metrics["acc_adversarial_test"] > 0.9
    assert abs(metrics["acc_noise_test"] - 0.5) < 5 * 0.08
    assert 0.5 < metrics["alignment_test"] <= 1


@pytest.mark.parametrize("scenario", ["noise", "natural-random", "natural-flipped"])
def test_samples_are_what_the_scenario_says(scenario):
    """Pixels on [-1, 1]; targets against the labels if flipped, free of them otherwise."""
    cell = config(scenario=scenario)
    data = two_classes(cell, load)
    got = images.prepare(cell, data)
    for part in (got.natural, got.source, got.test):
        assert np.abs(part.x).max() <= 1
        assert part.x.dtype == part.y.dtype == np.float32
        assert set(np.unique(part.y)) == {-1, 1}
    assert len(got.natural.y) == 100
    natural = (got.natural.x + 1) * 127.5
    assert natural == pytest.approx(np.rint(natural), abs=1e-3)  # bytes again
    if scenario == "noise":
        assert len(got.source.y) == 300
        assert abs(got.source.x.mean()) < 0.01
        return
    assert len(got.source.y) == 200  # all there are
    assert np.array_equal(got.source.x[:100], got.natural.x)
    agreement = np.mean(got.source.y[:100] == got.natural.y)
    assert agreement == 0 if scenario == "natural-flipped" else 0.2 < agreement < 0.8


def test_labels_follow_the_order_of_classes():
    """The first class is +1; the other order gives the same images with the signs exchanged."""
    one, other = (
        images.prepare(config(classes=classes), two_classes(config(classes=classes), load)).test
        for classes in (("Trouser", "Bag"), ("8", "1"))
    )
    assert np.array_equal(one.x, other.x)
    assert np.array_equal(one.y, -other.y)


def test_flipped_labels_have_a_threshold():
    """Far below the size that (L2) asks for flipped labels teach the lie, far beyond the truth."""
    one = config(scenario="natural-flipped", epsilon=0.0, epochs=1000)
    metrics = images.cell(one, INPUTS).metrics
    threshold = metrics["flip_threshold"]
    assert threshold > 0
    assert metrics["acc_adversarial_test"] < 0.2
    far = images.cell(replace(one, epsilon=8 * threshold), INPUTS).metrics
    assert far["flip_threshold"] == threshold
    assert far["acc_adversarial_test"] > 0.8
    assert "flip_threshold" not in images.cell(config(), INPUTS).metrics


def test_centring():
    """The mean of the natural samples is taken from all, and nothing else changes."""
    data = two_classes(config(), load)
    plain, centred = (images.prepare(config(centre=centre), data) for centre in (False, True))
    assert centred.natural.x.mean(axis=0) == pytest.approx(0, abs=1e-6)
    for one, other in zip(plain[:3], centred[:3], strict=True):
        assert one.x - centred.mean == pytest.approx(other.x, abs=1e-6)
    metrics = images.cell(config(centre=True), INPUTS).metrics
    assert metrics["acc_adversarial_test"] > 0.8


@pytest.mark.parametrize("scenario", ["noise", "natural-random"])
@pytest.mark.parametrize("centre", [False, True])
def test_cells_share_networks(scenario, centre):
    """The networks of a cell trained alone, from the config that all such cells have in common."""
    one = config(scenario=scenario, centre=centre, epochs=100)
    cell = images.cell(one, INPUTS)
    for name, change in (("standard", {"n_adv": 9, "scenario": "noise"}), ("noise", {"n": 90})):
        alone = images.shared_network(images.shared(one, name), name, INPUTS)
        assert np.array_equal(alone.net.W, cell.weights[name])
        changed = replace(one, **change, epsilon=0.5)
        same = images.shared(changed, name) == images.shared(one, name)
        assert same == (name == "standard" or not centre)


def test_given_parts_are_those_computed():
    """Networks and perturbed samples computed before give the same cell."""
    one = config(dtype="float64", scenario="natural-flipped", n_adv=80)
    before = images.cell(replace(one, n_adv=120), INPUTS).perturbed
    parts = (images.shared_network(one, name, INPUTS) for name in ("standard", "noise"))
    known = KnownParts(*parts, before)
    got, expected = images.cell(one, INPUTS, known=known), images.cell(one, INPUTS)
    assert got.metrics == pytest.approx(expected.metrics, abs=1e-9)
    assert got.weights["adversarial"] == pytest.approx(expected.weights["adversarial"], abs=1e-9)


def test_the_normal_is_that_of_the_mean_weights():
    """(T5) by effective multipliers is the difference of the mean weights less that of W0."""
    cell, data = config(dtype="float64"), two_classes(config(), load)
    samples = images.prepare(cell, data)
    net = train(cell, "standard", *samples.natural)
    start = initial_network(cell, "standard")
    b, _ = images.learned_normal(net, samples.natural)
    difference = 2 / (1 + cell.slope) * onehidden.output_weights(20) @ (net.net.W - start.W)
    assert b == pytest.approx(difference, rel=1e-6, abs=1e-9)


def test_the_command(tmp_path, capsys):
    """One JSON object, the pictures, and what is drawn: the stored arrays."""
    args = ["--n", "60", "--n-adv", "80", "--hidden", "4", "--epochs", "1000"]
    command = ["run", "images", *args, "--classes", "Trouser", "8", "--out", str(tmp_path)]
    assert cli.main([*command, "--figure", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (path,) = tmp_path.glob("images/*/result.h5")
    assert {one.suffix for one in path.parent.glob("image_rows.*")} == {".png", ".pdf"}
    assert report["metrics"]["acc_standard_test"] > 0.8
    with open_result(path) as result:
        assert from_json(canonical_json(result.config)) == result.config
        digests = str(result.attributes["data_sha256"]).split()
        assert digests == [load("embedded", split).sha256 for split in ("train", "test")]
        rows = image_rows.compute(result, two_classes(result.config, load))
    assert rows.source + rows.perturbation == pytest.approx(rows.perturbed, abs=1e-6)
    norms = np.linalg.norm(rows.perturbation.reshape(len(rows.target), -1), axis=1)
    assert norms.max() <= 0.1 * 28 * (1 + 1e-4)
    assert rows.normals.shape == (2, 1, *SHAPE)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--classes", "Trouser", "Hat"], "classes: expected two of 0 (T-shirt/top)"),
        (["--classes", "1", "Trouser"], "twice"),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "reflfap data fetch mnist"),
    ],
)
def test_bad_classes_and_missing_data_are_refused(args, message, tmp_path, capsys):
    assert cli.main(["run", "images", *args, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_bad_configs_are_refused():
    with pytest.raises(InputError, match="dataset: expected one of"):
        ImagesConfig(dataset="imagenet")
    with pytest.raises(InputError, match="scenario: expected one of"):
        ImagesConfig(scenario="signal")
    with pytest.raises(InputError, match="classes: expected two"):
        ImagesConfig(classes=("1",))


def test_data_commands(capsys):
    """The embedded set is always there and good."""
    assert cli.main(["data", "list"]) == 0
    assert "embedded       there" in capsys.readouterr().out
    assert cli.main(["data", "check", "embedded"]) == 0
    assert cli.main(["data", "fetch", "embedded"]) == 2
    assert cli.main(["data", "check", "mnist", "--data-dir", "nowhere"]) == 1
    assert "missing" in capsys.readouterr().out
