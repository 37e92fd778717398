"""Experiments are objects: adding one touches one module, as below, and a line of the table."""

import json
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest

from reflfap.cli import main as cli
from reflfap.errors import InputError
from reflfap.experiments import registry
from reflfap.experiments.experiment import (
    Computed,
    Config,
    Dataset,
    Estimate,
    Experiment,
    canonical_json,
)
from reflfap.runs import store


@dataclass(frozen=True, kw_only=True)
class CoinConfig(Config):
    """A toy: how often a coin shows heads."""

    experiment = "coin"

    tosses: int = 100
    """number of tosses"""
    seed: int = 0
    """seed of all random numbers"""


def compute(config, inputs, monitor):
    heads = np.random.default_rng(config.seed).integers(0, 2, config.tosses)
    datasets = {"data/heads": Dataset(heads.astype(np.float64), "toss", "heads")}
    return Computed({"heads": float(heads.mean())}, datasets)


EXPERIMENT = Experiment(
    config=CoinConfig,
    summary="Toss a coin.",
    compute=compute,
    cost=lambda config: Estimate(float(config.tosses), 8.0 * config.tosses),
    presets={"smoke": lambda: [{"tosses": [10, 20]}]},
)


@pytest.fixture
def coin(monkeypatch):
    """The line of registration, of a module that holds what stands above."""
    module = types.ModuleType("toy_coin")
    module.EXPERIMENT = EXPERIMENT
    monkeypatch.setitem(sys.modules, "toy_coin", module)
    monkeypatch.setitem(registry.MODULES, "coin", "toy_coin")


def test_a_toy_runs(coin, tmp_path, capsys):
    """`run`, found again, `list`, `show`, `verify`, and the config back from its file."""
    words = ["run", "coin", "--tosses", "50", "--out", str(tmp_path), "--json"]
    assert cli.main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert 0.2 < report["metrics"]["heads"] < 0.8
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out) == report
    with store.open_result(tmp_path / "coin" / report["run_id"] / store.RESULT) as result:
        assert result.config == CoinConfig(tosses=50)
        assert result.array("data/heads", (50,)).mean() == report["metrics"]["heads"]
    for command in (["list"], ["show", report["run_id"]], ["verify"]):
        assert cli.main([*command, "--out", str(tmp_path)]) == 0
    assert "heads" in capsys.readouterr().out


def test_a_toy_is_swept(coin, tmp_path, capsys):
    """Its grid by name, the cells found again, and one table of them."""
    words = ["sweep", "coin", "--preset", "smoke", "--seeds", "0", "1", "--out", str(tmp_path)]
    assert cli.main([*words, "--dry-run"]) == 0
    for computed in (4, 0):
        assert cli.main([*words, "--json"]) == 0
        line = capsys.readouterr().out.splitlines()[-1]
        assert json.loads(line) == {
            "sweep": "coin-smoke-seed-0-1",
            "cells": 4,
            "computed": computed,
            "failed": {},
        }
    assert cli.main(["sweep", "collect", "--out", str(tmp_path)]) == 0
    assert len((tmp_path / "coin.csv").read_text().splitlines()) == 5


def test_bad_input_of_a_toy_is_refused(coin, tmp_path):
    """As of any other experiment."""
    with pytest.raises(SystemExit) as end:
        cli.main(["run", "coin", "--tosses", "many", "--out", str(tmp_path)])
    assert end.value.code == 2


HELD = {
    "data": {"data": "some:5:40+0:0123456789abcdef"},
    "learn-set": {"perturbed": "some:1x28x28:100:0123456789abcdef"},
}
"""What files hold whose results are asked for."""


@pytest.mark.parametrize("name", registry.MODULES)
def test_every_experiment_is_registered_by_its_name(name):
    """And its config comes back from its JSON."""
    experiment = registry.named(name)
    assert experiment.name == name
    config = experiment.config(**HELD.get(name, {}))
    assert registry.experiment_of(config) is experiment
    assert registry.from_json(canonical_json(config)) == config
    assert experiment.cost(config).flops > 0


def test_unknown_experiments_are_refused():
    with pytest.raises(InputError, match=r"experiment: expected one of artificial, .*'flight'"):
        registry.named("flight")
