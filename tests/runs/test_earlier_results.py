"""Results, sweeps and tables of revision 5207697 are read and reused.

Its modules had other names and places; run ids, files and commands are a promise. Pieces of which
nothing tells what made them, checkpoints and shared networks, count as none.
"""

import json
import re
import shutil

import pytest
from project import SUPPORT

from reflfap.cli import main as cli
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import canonical_json, identity
from reflfap.experiments.registry import MODULES
from reflfap.runs import running, store
from reflfap.sweep import engine, table
from reflfap.sweep.executors import InProcess

pytestmark = pytest.mark.usefixtures("one_thread")

EARLIER = SUPPORT / "results-5207697"
RUNS = sorted(path.relative_to(EARLIER) for path in EARLIER.glob("*/*/result.h5"))
SMALL = {"dim": 40, "hidden": 4, "n": 6, "n_adv": 10, "epsilon": 0.8}


@pytest.fixture
def out(tmp_path):
    """A folder of them all, which may be written to."""
    return shutil.copytree(EARLIER, tmp_path / "results")


def test_there_is_one_of_each_experiment():
    later = {"data", "learn-set", "wide"}
    assert {path.parts[0] for path in RUNS} == set(MODULES) - later


@pytest.mark.parametrize("name", RUNS, ids=str)
def test_they_are_read(name):
    """The config makes the same JSON and run id as then; metrics and arrays are there."""
    with store.open_result(EARLIER / name) as result:
        assert canonical_json(result.config) == result.attributes["config_json"]
        assert identity(result.config) == name.parts[1]
        assert result.attributes["source_revision"].startswith("5207697")
        assert result.metrics
        assert bool(result.names()) == (name.parts[0] != "certificates")


def test_the_commands_know_them(out, capsys):
    """`list` shows each as complete, `verify` finds all good, `show` shows each."""
    assert cli.main(["list", "--out", str(out), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert {run["run_id"]: run["status"] for run in runs} == {
        name.parts[1]: "complete" for name in RUNS
    }
    assert cli.main(["verify", "--out", str(out)]) == 0
    assert cli.main(["verify", *map(str, EARLIER.glob("sweep/parts/*.h5"))]) == 0
    for name in RUNS:
        assert cli.main(["show", name.parts[1], "--out", str(out), "--json"]) == 0
    assert "damaged" not in capsys.readouterr().out


@pytest.mark.parametrize("name", RUNS, ids=str)
def test_they_are_found_instead_of_computed(name, out, monkeypatch):
    """Also the stages of E2, each of which has to go back to the one before."""
    with store.open_result(out / name) as result:
        config = result.config
    monkeypatch.setattr(store, "write", lambda *args: pytest.fail("computed"))
    assert running.make(config, running.Place(out, quiet=True)) == out / name


@pytest.mark.parametrize("name", RUNS, ids=str)
def test_they_would_come_out_the_same(name, out, tmp_path):
    """Computed again, up to what another BLAS kernel rounds otherwise: some units of these tiny
    networks may then fall to the other side of a kink. Later metrics have come beside them."""
    with store.open_result(out / name) as result:
        config, before = result.config, dict(result.metrics)
    (out / name).unlink()
    path = running.make(config, running.Place(out, quiet=True))
    with store.open_result(path) as result:
        later = result.metrics.keys() - before.keys()
        assert all(re.search("/R[12] |_argmax$", one) for one in later)
        again = {one: value for one, value in result.metrics.items() if one not in later}
        assert again == pytest.approx(before, rel=0.02, abs=0.02)


def test_a_sweep_goes_on_from_them(tmp_path):
    """The numbers are those of the table of then, which is read back; networks that its cells share
    are trained again."""
    out = shutil.copytree(EARLIER / "sweep", tmp_path / "results")
    (status,) = table.statuses(out)
    assert (status.complete, status.waiting) == (0, 4)
    cells = table.read_list(out / "sweeps" / "artificial-grid-seed-0.json")
    place, before = running.Place(out), {path: path.stat() for path in out.glob("parts/*.h5")}
    done = engine.run_tasks(engine.remaining(cells, place), place, InProcess())
    assert not done.failed
    assert before
    assert all(path.stat().st_mtime_ns > then.st_mtime_ns for path, then in before.items())
    for config, metrics in table.read_table(out / "artificial.csv", ArtificialConfig):
        assert config in cells
        with store.open_result(running.folder_of(out, config) / store.RESULT) as result:
            assert result.metrics == pytest.approx(metrics, rel=0.02, abs=0.02)


@pytest.mark.parametrize(
    "change", [{"trainer": "gd", "epochs": 60, "seed": 3}, {"seed": 4}], ids=["gd", "flow"]
)
def test_an_interrupted_run_begins_anew(change, tmp_path, capsys):
    """Its checkpoint does not say what made it, so it is left aside, and that is said."""
    config = ArtificialConfig(**SMALL | change)
    out = shutil.copytree(EARLIER / "interrupted", tmp_path / "results")
    assert [run.status for run in store.list_results(out)] == ["interrupted"] * 2
    path = running.make(config, running.Place(out))
    said = capsys.readouterr().err
    assert "expected a piece that says what made it" in said
    assert "resumed from a checkpoint" not in said
    alone = running.make(config, running.Place(tmp_path / "alone", quiet=True))
    with store.open_result(path) as one, store.open_result(alone) as other:
        assert one.metrics == other.metrics
