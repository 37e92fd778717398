"""`--dataset PATH`: every experiment on images takes a set that the user brings."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT

from reflfap.cli import main as cli
from reflfap.cli.own import with_own_images
from reflfap.data_loaders.own_images import own_set
from reflfap.data_loaders.registry import DATA_SETS, data_set
from reflfap.deep import classifier
from reflfap.errors import InputError
from reflfap.experiments import classify, deep_training
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.deep_training import Preset
from reflfap.experiments.experiment import canonical_json, identity
from reflfap.experiments.images import ImagesConfig
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import PerturbConfig
from reflfap.experiments.registry import experiment_of, from_json
from reflfap.runs import running

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = ("run", "images", "--classes", "left", "right", "--hidden", "10", "--n-adv", "50")


@pytest.fixture
def bars(tmp_path):
    """A file of 60 and 12 images of 8 x 8: a bar at the left, at the right, or none."""
    return write_bars(tmp_path / "data" / "My Bars.npz")


def write_bars(path: Path, seed: int = 0) -> Path:
    rng, content = np.random.default_rng(seed), {}
    for split, count in (("train", 60), ("test", 12)):
        y = np.arange(count) % 3
        x = rng.integers(0, 100, (count, 8, 8), dtype=np.uint8)
        x[y == 0, :, :3] = 255
        x[y == 1, :, -3:] = 255
        content |= {f"x_{split}": x, f"y_{split}": y}
    path.parent.mkdir(exist_ok=True, parents=True)
    np.savez(path, **content, class_names=["left", "right", "none"])
    return path


def call(*argv: object) -> int:
    try:
        return cli.main([str(word) for word in argv])
    except SystemExit as end:
        return int(end.code or 0)


def run(capsys, tmp_path, *argv: object) -> dict:
    """The report of a run that succeeds."""
    code = call(*argv, "--out", tmp_path / "results", "--json")
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


def test_a_path_stands_for_a_set(bars, tmp_path, capsys, monkeypatch):
    """The run depends on what the file holds, not on where it lies or how it is packed."""
    first = run(capsys, tmp_path, *IMAGES, "--dataset", bars)
    assert first["metrics"]["acc_standard_test"] == 1
    path = Path(first["path"])
    made = path.stat().st_mtime_ns
    moved = tmp_path / "elsewhere" / bars.name
    moved.parent.mkdir()
    with np.load(bars) as arrays:
        np.savez_compressed(moved, **{name: arrays[name][...] for name in arrays})
    bars.unlink()
    monkeypatch.chdir(moved.parent)
    name = own_set(moved).descriptor
    for words in (
        ("--dataset", moved),
        (f"--dataset={moved.name}",),
        ("--dataset", name, "--data-dir", moved),
    ):
        again = run(capsys, tmp_path, *IMAGES, *words)
        assert again["run_id"] == first["run_id"]
    assert path.stat().st_mtime_ns == made
    assert name.startswith("my-bars:1x8x8:3:60+12:")


def test_results_are_read_without_the_files(bars, tmp_path, capsys):
    """Listed, shown, verified; their config says which set it was."""
    made = run(capsys, tmp_path, *IMAGES, "--dataset", bars)
    name = own_set(bars).descriptor
    shutil.rmtree(bars.parent)
    for words in (["list"], ["show", made["run_id"]], ["verify"]):
        assert call(*words, "--out", tmp_path / "results") == 0
    assert name in capsys.readouterr().out
    config = ImagesConfig(dataset=name, classes=("left", "right"), hidden=10, n_adv=50)
    assert identity(config) == made["run_id"]
    assert call(*IMAGES, "--dataset", name, "--out", tmp_path / "results") == 2
    assert "data-dir: expected the path of the image set my-bars" in capsys.readouterr().err


def test_other_data_are_refused(bars, tmp_path, capsys):
    """By both descriptors, also where they have the file's place."""
    made = run(capsys, tmp_path, *IMAGES, "--dataset", bars)
    name = own_set(bars).descriptor
    write_bars(bars, seed=1)
    assert call(*IMAGES, "--dataset", name, "--data-dir", bars, "--out", tmp_path / "results") == 2
    said = capsys.readouterr().err
    assert name in said
    assert own_set(bars).descriptor in said
    assert run(capsys, tmp_path, *IMAGES, "--dataset", bars)["run_id"] != made["run_id"]


def test_deep_networks_take_it(bars, tmp_path, capsys, monkeypatch):
    """All stages: the classifier, which is trained first, the set, the network that learns it."""
    monkeypatch.setitem(classify.PRESETS["cpu"], "embedded", Preset(epochs=1))
    out = tmp_path / "results"
    small = ("--attack-steps", 2, "--dataset", bars)
    run(capsys, tmp_path, "run", "perturb", *small)
    (made,) = (path.stat().st_mtime_ns for path in out.glob("classify/*/result.h5"))
    found = run(capsys, tmp_path, "run", "learn", *small, "--epochs", 1)["metrics"]
    assert found["samples"] == 60
    assert 0 <= found["acc_adversarial_test"] <= 1
    (same,) = (path.stat().st_mtime_ns for path in out.glob("classify/*/result.h5"))
    assert same == made
    run(capsys, tmp_path, "run", "classify", "--dataset", bars, "--epochs", 1, "--batch", 60)
    assert len(list(out.glob("classify/*/result.h5"))) == 1  # the preset's own


def test_unknown_sets_are_refused(bars, tmp_path, capsys):
    """Known names, what is near, and that a path will do are said; so is what else is wrong."""
    for words, said in (
        (("classify", "--dataset", "mnits"), "did you mean mnist? on the command line it may be"),
        (("learn", "--dataset", "./none.npz"), "one of cifar-10, embedded, fashion-mnist, mnist"),
        (("images", "--dataset", bars, "--data-dir", tmp_path), "leave --data-dir out"),
        (("images", "--dataset", bars, "--data_dir", tmp_path), "leave --data-dir out"),
        (("images", "--dataset", bars), "classes: expected two of 0 (left), 1 (right), 2 (none)"),
        (("classify", "--dataset", bars, "--network", "convnet"), "got convnet for 8 x 8"),
        (("classify", "--dataset", bars.parent), "a folder with idx files"),
    ):
        assert call("run", *words, "--out", tmp_path / "results") == 2
        assert said in capsys.readouterr().err
    bars.write_bytes(bars.read_bytes()[:-30])
    assert call("run", "images", "--dataset", bars, "--out", tmp_path / "results") == 2
    assert f"{bars}: expected a complete file of its kind" in capsys.readouterr().err


def test_known_names_come_first(tmp_path, monkeypatch):
    """A file of that name needs its folder; what is no path of a set is left to the parser."""
    write_bars(tmp_path / "mnist.npz").rename(tmp_path / "mnist")
    monkeypatch.chdir(tmp_path)
    for words in (["--dataset", "mnist"], ["--dataset"], [], ["--n", "3"], ["--datasets", "x"]):
        assert with_own_images(words) == words
    with pytest.raises(InputError, match="a file without ending"):
        with_own_images(["--dataset", "./mnist"])


def test_a_file_that_changes_is_read_again(bars):
    """In one process: what is kept is that of the file as it was."""
    first = running.own_images_of(bars)
    assert running.own_images_of(bars) is first
    write_bars(bars, seed=2)
    assert running.own_images_of(bars).descriptor != first.descriptor


DIGEST = "0123456789abcdef"
CONFIGS = (ImagesConfig, ClassifyConfig, PerturbConfig, LearnConfig)
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40))


@given(SHAPES, st.integers(2, 256), st.integers(2, 30_000), st.sampled_from(["cpu", "paper"]))
def test_configs_of_own_sets(shape, classes, images, preset):
    """Any set has defaults that hold together, and its config comes back from its JSON."""
    name = f"some-set:{'x'.join(map(str, shape))}:{classes}:{images}+7:{DIGEST}"
    for kind in CONFIGS:
        config = kind(dataset=name) if kind is ImagesConfig else kind(dataset=name, preset=preset)
        assert from_json(canonical_json(config)) == config
        assert experiment_of(config).cost(config).flops > 0
    found = LearnConfig(dataset=name, preset=preset)
    small = min(shape[1:]) < 11
    assert found.network == ("wideresnet" if shape[0] == 3 or small else "convnet")
    most = {"paper": images, "cpu": 10_000 if shape[0] == 3 else 20_000}[preset]
    assert found.samples == min(images, most)
    assert found.batch <= min(images, found.samples)
    assert found.usual_classifier.batch == min(128, images)
    d, known = np.prod(shape), {3: (0.5, 3072)}.get(shape[0], (2.0, 784))
    assert found.size == pytest.approx(known[0] * np.sqrt(d / known[1]), abs=6e-4)
    sparse = PerturbConfig(dataset=name, norm="l0")
    assert 1 <= sparse.pixels <= d


@given(SHAPES, st.sampled_from(["convnet", "wideresnet"]))
def test_networks_take_own_images(shape, network):
    """Those that are not refused by name: outputs for each class."""
    name = f"some-set:{'x'.join(map(str, shape))}:5:100+7:{DIGEST}"
    if network == "convnet" and min(shape[1:]) < 11:
        with pytest.raises(InputError, match="network: expected wideresnet for images of fewer"):
            ClassifyConfig(dataset=name, network=network)
        return
    config = ClassifyConfig(dataset=name, network=network, width=1)
    net = deep_training.deep_network(config)
    weights = {one: np.zeros(spec.shape, np.float32) for one, spec in net.arrays().items()}
    z = classifier.outputs(net, weights, np.zeros((2, *shape), np.float32))
    assert z.shape == (2, 5)


def test_rules_follow_known_sets():
    """A set with the shape and the number of images of a known one gets its defaults."""
    for known in ("cifar-10", "embedded", "fashion-mnist"):
        about = data_set(known)
        sides, (train, test) = "x".join(map(str, about.shape)), about.sizes
        name = f"own:{sides}:10:{train}+{test}:{DIGEST}"
        for norm in ("l2", "linf", "l0"):
            for preset in ("cpu", "paper"):
                mine, its = (
                    LearnConfig(dataset=one, norm=norm, preset=preset) for one in (name, known)
                )
                for option in ("epsilon", "n_adv", "epochs", "rate", "batch", "width", "depth"):
                    assert getattr(mine, option) == getattr(its, option), (known, option)
    assert deep_training.usual_set("mnist") == "mnist"
    assert set(DATA_SETS) == set(deep_training.NORMALISATION)


def test_the_page_says_what_works(tmp_path, monkeypatch, capsys):
    """docs/images.md: the lines of Python write a set, and its commands run on it."""
    monkeypatch.setitem(classify.PRESETS["cpu"], "embedded", Preset(epochs=1))
    text = (ROOT / "docs" / "images.md").read_text()
    section = text[text.index("## Your own images") : text.index("## A set that was perturbed")]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    commands = re.findall(r"^    reflfap (run .*)$", section, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert [words.split()[1] for words in commands] == ["images", "classify", "learn"]
    for words in commands:
        less = [] if "images" in words else ["--epochs", "1", "--width", "1"]
        less += ["--n-adv", "100", "--attack-steps", "2"] if "learn" in words else []
        found = run(capsys, tmp_path, *words.split(), *less, "--figure")["metrics"]
        if "images" in words:
            assert found["acc_standard_test"] > 0.95
            assert found["acc_adversarial_test"] > 0.95
    assert len(list((tmp_path / "results").rglob("*.png"))) == 3
    assert own_set(tmp_path / "my-shapes.npz").descriptor[:27] in section
