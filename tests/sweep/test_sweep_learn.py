"""Sweeps over E2: stages shared between cells, failures on record, one table."""

import pytest
from result_files import rewrite

from reflfap.experiments import classify
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.deep_training import Preset
from reflfap.experiments.experiment import identity
from reflfap.experiments.learn import LearnConfig
from reflfap.files import lock
from reflfap.monitor import Monitor
from reflfap.runs import running, store
from reflfap.runs.running import Place
from reflfap.sweep import engine, plan, table
from reflfap.sweep.executors import InProcess
from reflfap.sweep.work import Outcome, work

SIZES = {"n_adv": 40, "attack_steps": 2, "width": 1, "epochs": 1, "batch": 20}


@pytest.fixture
def brief(monkeypatch):
    """The usual classifier of the embedded set in one epoch."""
    presets = {"cpu": {"embedded": Preset(epochs=1)}}
    monkeypatch.setattr(classify, "PRESETS", presets)


def swept(cells, out):
    tasks = engine.remaining(cells, Place(out))
    return tasks, engine.run_tasks(tasks, Place(out), InProcess())


def test_stages_are_shared(tmp_path, brief, one_thread):
    """Two cells on one set, one on another: a classifier, two sets, three networks, one table."""
    cells = [
        LearnConfig(**SIZES),
        LearnConfig(**SIZES, subset=20),
        LearnConfig(**SIZES, scenario="noise", norm="linf"),
    ]
    _, done = swept(cells, tmp_path)
    assert not done.failed
    assert set(done.done) == {identity(cell) for cell in cells}
    count = {
        name: len(list(tmp_path.glob(f"{name}/*/result.h5")))
        for name in ("classify", "perturb", "learn")
    }
    assert count == {"classify": 1, "perturb": 2, "learn": 3}
    assert engine.remaining(cells, Place(tmp_path)) == []
    more = LearnConfig(**SIZES, subset=30)
    assert [task.network for task in engine.remaining([more], Place(tmp_path))] == [None]
    table.collect(tmp_path, tmp_path)
    rows = dict(table.read_table(tmp_path / "learn.csv", LearnConfig))
    assert set(rows) == set(cells)
    for cell, metrics in rows.items():
        with store.open_result(running.folder_of(tmp_path, cell) / store.RESULT) as result:
            assert metrics == result.metrics


def test_a_stage_that_fails(tmp_path, brief, one_thread):
    """A rate that no network bears is recorded with the cell; a classifier's takes all cells."""
    bad = LearnConfig(**SIZES, rate=1e30)
    good = LearnConfig(**SIZES)
    _, done = swept([bad, good], tmp_path)
    assert set(done.failed) == {identity(bad)}
    assert (
        "lower the learning rate" in (running.folder_of(tmp_path, bad) / store.FAILURE).read_text()
    )
    assert set(done.done) == {identity(good)}


def test_without_a_classifier(tmp_path, monkeypatch, one_thread):
    """One that diverges is the failure of every cell that needs it, of sets in between none."""
    presets = {"cpu": {"embedded": Preset(epochs=1, rate=1e30)}}
    monkeypatch.setattr(classify, "PRESETS", presets)
    cells = [LearnConfig(**SIZES, norm=norm) for norm in ("l2", "linf")]
    _, done = swept(cells, tmp_path)
    assert set(done.failed) == {identity(cell) for cell in cells}
    assert not done.done


def test_a_classifier_trained_again(tmp_path, brief, one_thread):
    """What goes back to the one before is not taken for done, but refused as `run` refuses it."""
    cell = LearnConfig(**SIZES)
    swept([cell], tmp_path)
    classifier = running.folder_of(tmp_path, cell.usual_classifier) / store.RESULT

    def change(file):
        file["networks/standard/linear.bias"][...] += 1

    rewrite(classifier, change)
    tasks, done = swept([cell], tmp_path)
    assert [task.network for task in tasks] == ["set", None]
    assert "other weights" in done.failed[identity(cell)]
    classifier.unlink()
    assert engine.remaining([cell], Place(tmp_path)) == []


def test_busy(tmp_path, brief):
    """A stage that another process works on is handed back."""
    (first, *_) = plan.plan([LearnConfig(**SIZES)])
    folder = running.folder_of(tmp_path, first.configs[0])
    folder.mkdir(parents=True)
    with lock(folder / store.LOCK, lambda holder: None):
        assert work(first, Place(tmp_path)) == Outcome(busy=True)


def test_any_stage_by_its_config(tmp_path, brief, one_thread):
    """`make` tells the stages apart."""
    cell = LearnConfig(**SIZES)
    place = Place(tmp_path, quiet=True)
    for config in (cell.usual_classifier, cell.perturbed, cell):
        path = running.make(config, place)
        assert path == running.folder_of(tmp_path, config) / store.RESULT
    assert isinstance(cell.usual_classifier, ClassifyConfig)
    assert Monitor().held("block-000000") is None
