"""`reflfap run learn --set FILE`: learning from perturbed images that were made elsewhere."""

import re

import h5py
import numpy as np
import pytest

from reflfap.errors import InputError
from reflfap.experiments.learn_set import LearnSetConfig
from reflfap.runs.store import open_result

SMALL = ("--epochs", "1", "--width", "2", "--seed", "3")


@pytest.fixture
def run(tmp_path, reflfap_cli):
    """A command of `run` in a folder of results, and what it reports."""

    def report(*words):
        said = reflfap_cli("run", *words, "--out", tmp_path / "results", "--json")
        assert said.code == 0, said.err
        return said.json

    return report


@pytest.fixture
def some(tmp_path):
    """A perturbed set of no origin."""
    rng = np.random.default_rng(0)
    x = rng.random((40, 1, 28, 28), np.float32)
    return x, rng.integers(0, 10, 40)


def test_it_is_the_third_stage_of_learn(tmp_path, run, reflfap_cli):
    """The set of a run, given as a file in any form, teaches the same network to the last bit."""
    less = ("--n-adv", "64", "--attack-steps", "1", *SMALL)
    classifier = run("classify", *SMALL)["run_id"]
    whole = run("learn", *less, "--classifier", classifier)
    perturb = ("perturb", *less[:4], "--seed", "3", "--classifier", classifier)
    made = run(*perturb)
    given = run("learn", "--set", made["path"], *SMALL)
    with open_result(whole["path"]) as first, open_result(given["path"]) as second:
        names = [name for name in second.names() if name.startswith(("networks/", "traces/"))]
        assert len(names) > 10
        for name in names:
            one, other = (h5py.File(result.path)[name][...] for result in (first, second))
            assert np.array_equal(one, other), name
        assert second.attributes["experiment"] == "learn-set"
    assert given["metrics"]["samples"] == 64
    for name, value in given["metrics"].items():
        assert whole["metrics"][name] == value
    arrays = tmp_path / "set.npz"
    assert reflfap_cli("export", made["path"], "--npz", arrays).code == 0
    exported = run("learn", f"--set={arrays}", *SMALL)
    assert exported["metrics"] == given["metrics"]


def test_the_run_depends_on_what_the_set_holds(tmp_path, run, some):
    """Form and place change nothing; one pixel is another run; a picture can be drawn."""
    x, y = some
    np.savez(tmp_path / "a-set.npz", x=x, y=y)
    first = run("learn", "--set", tmp_path / "a-set.npz", *SMALL, "--figure")
    assert len(list(tmp_path.rglob("learning_curves.png"))) == 1
    (tmp_path / "moved").mkdir()
    with h5py.File(tmp_path / "moved" / "a-set.h5", "w") as file:
        file["x"], file["y"] = x[:, 0].astype(">f8"), y.astype("i2")
    again = run("learn", "--set", tmp_path / "moved" / "a-set.h5", *SMALL)
    assert again["run_id"] == first["run_id"]
    x[0, 0, 0, 0] = 0.5
    np.savez(tmp_path / "a-set.npz", x=x, y=y)
    assert run("learn", "--set", tmp_path / "a-set.npz", *SMALL)["run_id"] != first["run_id"]


def test_bytes_are_pixels(tmp_path, run, some):
    """0 to 255 mean 0 to 1."""
    x, y = some
    whole = np.round(x * 255)
    np.savez(tmp_path / "set.npz", x=whole.astype(np.uint8), y=y)
    first = run("learn", "--set", tmp_path / "set.npz", *SMALL)
    np.savez(tmp_path / "set.npz", x=whole.astype(np.float32) / 255, y=y)
    assert run("learn", "--set", tmp_path / "set.npz", *SMALL)["run_id"] == first["run_id"]


BAD = {
    "no range": (lambda x, y: (2 * x, y), r"x: expected pixels on \[0, 1\]"),
    "NaN": (lambda x, y: (np.where(x > 0.9, np.nan, x), y), r"x: expected pixels on \[0, 1\]"),
    "another shape": (
        lambda x, y: (x[:, :, 1:], y),
        r"x: expected images of shape \(N, 1, 28, 28\)",
    ),
    "flat": (lambda x, y: (x.reshape(40, -1), y), "x: expected floats"),
    "labels": (lambda x, y: (x, y[:-1]), "y: expected a whole number for each of 40"),
    "another class": (lambda x, y: (x, y + 1), "y: expected classes 0 to 9"),
    "negative": (lambda x, y: (x, y - 5), "y: expected classes 0 to 255"),
    "texts": (lambda x, y: (x, y.astype(str)), "y: expected a whole number"),
    "objects": (lambda x, y: (x, y.astype(object)), "object"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_sets_leave_nothing(tmp_path, reflfap_cli, some, case):
    spoil, message = BAD[case]
    x, y = spoil(*some)
    np.savez(tmp_path / "set.npz", x=x, y=y)
    said = reflfap_cli("run", "learn", "--set", tmp_path / "set.npz", "--out", tmp_path / "results")
    assert said.code == 2
    assert re.search(message, said.err), said.err
    assert not (tmp_path / "results").exists()


def test_configs():
    described = "some:1x28x28:40:0123456789abcdef"
    config = LearnSetConfig(perturbed=described)
    assert (config.samples, config.batch, config.network) == (40, 32, "convnet")
    assert LearnSetConfig(perturbed=described, subset=90).subset == 0
    assert LearnSetConfig(perturbed=described, subset=20).batch == 20
    for bad in ("some:1x28x27:40:0123456789abcdef", "some", "Some:1x28x28:40:0123456789abcdef"):
        with pytest.raises(InputError, match="perturbed: expected NAME:1x28x28:SAMPLES"):
            LearnSetConfig(perturbed=bad)
    with pytest.raises(InputError, match="batch: expected at most the 40 samples"):
        LearnSetConfig(perturbed=described, batch=41)
