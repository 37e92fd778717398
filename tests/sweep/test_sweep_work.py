"""What a worker does: networks kept and shared, cells from them, failures on record."""

import h5py
import numpy as np
import pytest
from sweeping import cell, failing_cell

from reflfap.errors import DamagedFileError, StoreError
from reflfap.experiments import artificial, three_networks
from reflfap.experiments.experiment import identity
from reflfap.files import lock
from reflfap.runs import store
from reflfap.runs.running import Place
from reflfap.sealed import write_sealed
from reflfap.sweep import parts, plan
from reflfap.sweep.work import Outcome, work


def tasks_of(*cells):
    return plan.plan(cells)


def metrics_of(out, config):
    path = out / "artificial" / identity(config) / store.RESULT
    with store.open_result(path) as result:
        return result.metrics, set(result.names())


def test_a_cell_is_that_of_a_single_run(tmp_path):
    """The numbers of `artificial.run`; kept are the plane and a few samples, no networks."""
    cells = [cell(n_adv=n_adv, dtype="float64") for n_adv in (4, 12)]
    for task in tasks_of(*cells):
        assert not work(task, Place(tmp_path)).failed
    for config in cells:
        metrics, names = metrics_of(tmp_path, config)
        assert metrics == pytest.approx(artificial.cell(config).metrics, abs=1e-9)
        assert "plane/standard" in names
        assert not [name for name in names if name.startswith("networks")]
    path = tmp_path / "artificial" / identity(cells[1]) / store.RESULT
    with store.open_result(path) as result:
        shown = result.array("data/adversarial/x", (three_networks.GALLERY, 20))
    assert np.array_equal(shown, artificial.cell(cells[1]).x_adv[: three_networks.GALLERY])


def test_networks_are_trained_once(tmp_path, monkeypatch):
    """All three sizes of a perturbation take the two networks that were trained before them."""
    trained = []
    network = artificial.shared_network

    def counted(config, name, *rest):
        trained.append(name)
        return network(config, name, *rest)

    monkeypatch.setattr(artificial, "shared_network", counted)
    for task in tasks_of(*(cell(epsilon=epsilon) for epsilon in (0.1, 0.2, 0.3))):
        work(task, Place(tmp_path))
    assert sorted(trained) == ["noise", "standard"]


@pytest.mark.parametrize("trainer", ["flow", "gd"])
def test_kept_networks(tmp_path, trainer):
    """Read back to the last bit, whatever the trainer kept."""
    config = cell(trainer=trainer)
    trained = artificial.shared_network(config, "standard")
    parts.write_network(tmp_path / "x.h5", trained, {"config": "this"})
    got = parts.read_network(tmp_path / "x.h5", config, {"config": "this"})
    with pytest.raises(StoreError, match="of the same config"):
        parts.read_network(tmp_path / "x.h5", config, {"config": "another"})
    assert got.stopped == trained.stopped
    assert type(got.trace) is type(trained.trace)
    pairs = [
        (got.net.W, trained.net.W),
        (got.net.a, trained.net.a),
        (got.q, trained.q),
        *zip(got.trace, trained.trace, strict=True),
    ]
    assert (got.C is None) == (trained.C is None)
    if got.C is not None:
        pairs.append((got.C, trained.C))
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def broken(change):
    def make(path, config):
        with write_sealed(path, made_by={}) as file:
            file.attrs.update(trace="FlowTrace", stopped="time")
            file["W"] = np.ones((config.hidden, config.dim), np.float32)
            file["q"] = np.ones(config.n, np.float32)
            for name in ("time", "loss", "step", "sign_changes", "newton", "flops"):
                file[f"trace/{name}"] = np.ones(3)
            change(file)

    return make


def replaced(name, values):
    def change(file):
        del file[name]
        if values is not None:
            file[name] = values

    return change


@pytest.mark.parametrize(
    "change",
    [
        replaced("W", np.ones((3, 3), np.float32)),
        replaced("W", np.ones((4, 20), np.int64)),
        replaced("q", None),
        replaced("q", np.ones((5, 5))),
        replaced("trace/loss", None),
        replaced("q", h5py.ExternalLink("other.h5", "q")),
        replaced("W", h5py.SoftLink("/q")),
        lambda file: file.attrs.update(trace="object"),
        lambda file: file.attrs.__delitem__("stopped"),
        lambda file: file.attrs.update(trace=np.ones(3)),
        lambda file: file.__setitem__("C", np.ones((4, 9))),
    ],
)
def test_damaged_networks_are_refused(tmp_path, change):
    """Sealed by somebody, but not what a sweep keeps; a sweep trains it again."""
    config = cell()
    key = plan.network_task(plan.shared(config, "standard"), "standard").key
    path = parts.path_of(tmp_path, key)
    path.parent.mkdir()
    broken(lambda file: None)(path, config)
    assert len(parts.read_network(path, config, {}).q) == 5
    broken(change)(path, config)
    with pytest.raises(DamagedFileError):
        parts.read_network(path, config, {})
    for task in tasks_of(config):
        assert not work(task, Place(tmp_path)).failed
    assert metrics_of(tmp_path, config)[0]["acc_standard"] == 1.0


def test_a_failing_cell_is_recorded(tmp_path):
    """Its error stands beside it and in `list`; the other cells go on; success forgets it."""
    bad, good = failing_cell(), cell()
    outcomes = [work(task, Place(tmp_path)) for task in tasks_of(bad)]
    failed = dict(pair for outcome in outcomes for pair in outcome.failed)
    assert "NoKKTPointError" in failed[identity(bad)]
    (run,) = store.list_results(tmp_path)
    assert run.status.startswith("failed: NoKKTPointError")
    assert [work(task, Place(tmp_path)) for task in tasks_of(good)][-1] == Outcome(
        (identity(good),)
    )
    folder = tmp_path / "artificial" / identity(good)
    store.record_failure(folder, "once")
    work(tasks_of(good)[-1], Place(tmp_path))
    assert not (folder / store.FAILURE).exists()


@pytest.mark.parametrize("what", ["network", "cell"])
def test_busy(tmp_path, what):
    """What another process works on is left to it."""
    config = cell()
    network, *_, cells = tasks_of(config)
    place = Place(tmp_path)
    if what == "network":
        path = parts.path_of(tmp_path, network.key).with_suffix(".lock")
        task = network
    else:
        path = tmp_path / "artificial" / identity(config) / store.LOCK
        task = cells
    path.parent.mkdir(parents=True)
    with lock(path, lambda holder: None):
        assert work(task, place).busy
        assert work(cells, place) == Outcome(busy=True)  # cells need their networks
    assert work(task, place).done


def test_an_interrupted_task_goes_on(tmp_path, monkeypatch):
    """KeyboardInterrupt is no failure: nothing is recorded, and the next attempt succeeds."""
    config = cell()
    (*_, cells) = tasks_of(config)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(artificial, "cell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            work(cells, Place(tmp_path))
    assert not list(tmp_path.glob("artificial/*/failed.txt"))
    assert work(cells, Place(tmp_path)).done == (identity(config),)
