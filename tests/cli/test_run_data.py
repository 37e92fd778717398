"""`reflfap run data`: own samples from files, a result that is of them alone, and bad files."""

import json

import numpy as np
import pytest

from reflfap.data_loaders.own_tables import read_samples
from reflfap.errors import InputError
from reflfap.experiments import own_data
from reflfap.experiments.experiment import canonical_json, identity
from reflfap.experiments.own_data import DataConfig
from reflfap.runs import running
from reflfap.runs.store import open_result

SMALL = ("--hidden", "6", "--n-adv", "80", "--epochs", "1000", "--attack-steps", "20")
DESCRIBED = "some:5:40+0:0123456789abcdef"


@pytest.fixture
def files(tmp_path):
    """Three classes in a CSV, of which the last column says which; two of them in npz."""
    rng = np.random.default_rng(0)
    y = rng.choice(["ant", "bee", "cow"], 90)
    side = np.select([y == "bee", y == "ant"], [1.0, -1.0])
    x = rng.standard_normal((90, 5)) + side[:, None]
    lines = [
        "a,b,c,d,e,animal",
        *(",".join(map(str, [*row, name])) for row, name in zip(x, y, strict=True)),
    ]
    (tmp_path / "three.csv").write_text("\n".join(lines))
    two = y != "cow"
    x, y = x[two], y[two]
    np.savez(tmp_path / "train.npz", x=x[:40], y=(y[:40] == "bee").astype(int))
    np.savez(tmp_path / "test.npz", x=x[40:], y=(y[40:] == "bee").astype(int))
    np.save(tmp_path / "x.npy", x[:40])
    np.save(tmp_path / "y.npy", (y[:40] == "bee").astype(int))
    return tmp_path


@pytest.fixture
def run_data(files, reflfap_cli):
    """The command in a folder of results of its own."""

    def run(*words):
        return reflfap_cli("run", "data", *SMALL, *words, "--out", files / "results")

    return run


def test_learning_from_own_samples(files, run_data):
    """Three networks, accuracies also on test samples, a picture; noise alone teaches nothing."""
    said = run_data("--train", files / "train.npz", "--test", files / "test.npz", "--figure")
    assert said.code == 0
    metrics = run_data("--train", files / "train.npz", "--test", files / "test.npz", "--json").json[
        "metrics"
    ]
    assert metrics["acc_standard_test"] > 0.85
    assert metrics["acc_adversarial_test"] > 0.85
    assert f"adversarial network: {metrics['acc_adversarial_test']:.3f} of test samples" in said.out
    assert f"larger class {metrics['share_larger_test']:.3f}" in said.out
    pictures = {path.name for path in files.rglob("decision_map.*")}
    assert pictures == {"decision_map.png", "decision_map.pdf"}
    with open_result(next(files.rglob("result.h5"))) as result:
        assert result.attributes["class_negative"] == "0"
        assert result.attributes["class_positive"] == "1"


def test_a_result_is_of_its_data(files, run_data):
    """Where files lie and how they are packed changes nothing; another number is another run."""
    first = run_data("--train", files / "train.npz", "--json").json
    moved = files / "elsewhere"
    moved.mkdir()
    (files / "train.npz").rename(moved / "train.npz")
    said = run_data("--train", moved / "train.npz", "--json")
    assert "complete result found" in said.err
    assert said.json["run_id"] == first["run_id"]
    with np.load(moved / "train.npz") as arrays:
        x, y = arrays["x"], arrays["y"]
    np.savez_compressed(moved / "train.npz", x=x.astype(">f8"), y=y.astype(np.int8))
    assert run_data("--train", moved / "train.npz", "--json").json["run_id"] == first["run_id"]
    x[3, 2] += 1e-6
    np.savez(moved / "train.npz", x=x, y=y)
    assert run_data("--train", moved / "train.npz", "--json").json["run_id"] != first["run_id"]
    pair = run_data("--train", files / "x.npy", files / "y.npy", "--json").json
    assert pair["metrics"] == first["metrics"]


def test_files_are_read_once(files, run_data, monkeypatch):
    """The command asks for the data before it computes, and while it does; and again, anew, where
    a file has changed."""
    read = []

    def counted(*what):
        read.append(what)
        return read_samples(*what)

    monkeypatch.setattr(running, "read_samples", counted)
    assert run_data("--train", files / "train.npz").code == 0
    assert len(read) == 1
    with np.load(files / "train.npz") as arrays:
        np.savez(files / "train.npz", x=arrays["x"] + 1, y=arrays["y"])
    assert run_data("--train", files / "train.npz").code == 0
    assert len(read) == 2


def test_two_of_several_classes(files, run_data):
    """The first has label +1; without a choice the command asks for one."""
    table = ("--train", files / "three.csv")
    said = run_data(*table)
    assert said.code == 2
    assert "classes: expected two, got 3 ('ant', 'bee', 'cow'); choose two" in said.err
    found = run_data(*table, "--classes", "bee", "ant", "--json").json
    with open_result(found["path"]) as result:
        assert result.attributes["class_positive"] == "bee"
    one = run_data(*table, "--classes", "bee", "ant", "--n", "1")
    assert (one.code, "n: expected samples of both classes" in one.err) == (2, True)
    with open_result(found["path"]) as result:
        both = sum(result.array("plane/labels", (-1,)) != 0)
        assert result.config.n == both < 90  # the samples of these two, and their number
    turned = run_data(*table, "--classes", "ant", "bee", "--json").json
    assert turned["metrics"]["share_larger"] == found["metrics"]["share_larger"]
    assert run_data(*table, "--classes", "bee", "dog").code == 2
    assert len(list(files.rglob("result.h5"))) == 2
    assert list(files.rglob("failed.txt")) == []
    assert "those of ant, bee, cow" in run_data(*table, "--classes", "bee", "dog").err
    by_name = run_data(*table, "--label", "animal", "--classes", "bee", "ant", "--json").json
    assert by_name["run_id"] == found["run_id"]


def test_data_that_change_meanwhile_are_noticed(files, run_data, monkeypatch):
    """The config says which data; others, read a moment later, are not taken for them."""
    settled = own_data.settled

    def and_then_changed(config, inputs):
        found = settled(config, inputs)
        with np.load(files / "train.npz") as arrays:
            np.savez(files / "train.npz", x=arrays["x"] + 1, y=arrays["y"])
        return found

    monkeypatch.setattr(
        own_data, "EXPERIMENT", own_data.replace(own_data.EXPERIMENT, settled=and_then_changed)
    )
    said = run_data("--train", files / "train.npz")
    assert said.code == 1
    assert "train: expected the data train:5:40+0:" in said.err
    assert list(files.rglob("result.h5")) == []


BAD = {
    "NaN": ("x", lambda x, y: (np.where(x > 1, np.nan, x), y)),
    "texts for numbers": ("x", lambda x, y: (x.astype(str), y)),
    "one class": ("class", lambda x, y: (x, y * 0)),
    "more labels than rows": ("y", lambda x, y: (x, np.r_[y, y])),
    "a flat array": ("x", lambda x, y: (x[:, 0], y)),
    "objects": ("object", lambda x, y: (x.astype(object), y)),
    "complex": ("complex", lambda x, y: (x + 0j, y)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_samples_leave_nothing(files, run_data, case):
    """Exit code 2, a line that names what is wrong, and no folder."""
    word, spoil = BAD[case]
    with np.load(files / "train.npz") as arrays:
        x, y = spoil(arrays["x"], arrays["y"])
    np.savez(files / "bad.npz", x=x, y=y)
    said = run_data("--train", files / "bad.npz")
    assert said.code == 2, said.err
    assert word in said.err
    assert "Traceback" not in said.err
    assert not (files / "results").exists()


def test_options_that_do_not_fit(files, run_data):
    """No file, a missing one, another width of test samples, one class twice, a data option."""
    assert "give --train FILE" in run_data().err
    assert run_data("--train", files / "none.npz").code == 2
    whole = (files / "train.npz").read_bytes()
    (files / "cut.npz").write_bytes(whole[: len(whole) // 2])
    said = run_data("--train", files / "cut.npz")
    assert (said.code, "cut.npz: expected" in said.err) == (2, True)
    np.savez(files / "wide.npz", x=np.ones((4, 9)), y=[0, 1, 0, 1])
    said = run_data("--train", files / "train.npz", "--test", files / "wide.npz")
    assert (said.code, "test: expected 5 features" in said.err) == (2, True)
    assert run_data("--train", files / "train.npz", "--classes", "0", "0").code == 2
    assert run_data("--train", files / "train.npz", "--classes", "0").code == 2
    assert run_data("--train", files / "train.npz", "--data", DESCRIBED).code == 2
    header, *lines = (files / "three.csv").read_text().splitlines()
    turned = header.replace("a,b", "b,a")
    (files / "turned.csv").write_text("\n".join([turned, *lines]))
    said = run_data(
        "--train", files / "three.csv", "--test", files / "turned.csv", *["--classes", "ant", "bee"]
    )
    assert (said.code, "test: expected the features of train" in said.err) == (2, True)
    assert not (files / "results").exists()


def test_configs():
    """What is left open follows from the data; equal settings have equal ids."""
    config = DataConfig(data=DESCRIBED)
    assert (config.inputs, config.n) == (5, 40)
    assert config.epsilon == pytest.approx(0.5 * np.sqrt(5))
    assert identity(config) == identity(DataConfig(data=DESCRIBED, n=50, epsilon=config.epsilon))
    natural = DataConfig(data=DESCRIBED, scenario="natural-random", n=20)
    assert natural.n_adv == 20
    assert json.loads(json.dumps(canonical_json(config)))
    for bad in ("some:5:40:0123456789abcdef", "a b:5:40+0:0123456789abcdef", "some"):
        with pytest.raises(InputError, match="data: expected NAME:INPUTS"):
            DataConfig(data=bad)
