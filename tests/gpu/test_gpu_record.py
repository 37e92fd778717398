"""The record of a device, made on the host at sizes that take seconds."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.gpu_record import __main__ as record
from benchmarks.gpu_record import cell, deep, device, page, panel, paper, tests
from benchmarks.gpu_record.sealed import LARGEST, read_record, write_record
from reflfap.errors import DamagedFileError, InputError
from reflfap.experiments.artificial import ArtificialConfig

STAGES = ["standard", "noise", "attack", "adversarial", "accuracies", "to the host", "all"]
TINY = ArtificialConfig(dim=20, hidden=6, n=5, n_adv=7)


@pytest.fixture
def job(tmp_path):
    """Tiny, on the host, with all the time there is."""
    return record.Job(np, "cpu", True, tmp_path, record.time.monotonic() + 1e6)


def test_every_step_leaves_a_record(tmp_path, monkeypatch):
    """In the order in which they are made; where they came from is in each."""
    made = []
    for name, step in record.STEPS.items():
        run = lambda job, name=name: made.append(name) or {"is": name}  # noqa: E731
        monkeypatch.setitem(record.STEPS, name, step._replace(run=run))
    assert record.main(out=tmp_path / "new", device="cpu") == 0
    assert made == list(record.STEPS)
    for name in made:
        found = read_record(tmp_path / "new" / f"{name}.json")
        assert found["values"] == {"is": name}
        assert found["step"] == name
        assert found["made_by"]["device"] == "cpu"
        assert found["seconds"] >= 0


def test_a_step_that_fails_says_how_and_the_others_go_on(tmp_path, monkeypatch):
    def fails(job):
        raise ValueError("of all things")

    monkeypatch.setitem(record.STEPS, "cell", record.STEPS["cell"]._replace(run=fails))
    done = record.STEPS["deep"]._replace(run=lambda job: {"done": 1})
    monkeypatch.setitem(record.STEPS, "deep", done)
    assert record.main(out=tmp_path, device="cpu", steps=("cell", "deep")) == 1
    found = read_record(tmp_path / "cell.json")
    assert "ValueError: of all things" in found["failed"]
    assert "values" not in found
    assert read_record(tmp_path / "deep.json")["values"] == {"done": 1}


def test_a_step_without_time_is_skipped(tmp_path, monkeypatch):
    """Whole seconds are in its reason; nothing of it runs."""
    monkeypatch.setitem(record.STEPS, "deep", record.STEPS["deep"]._replace(run=None))
    assert record.main(out=tmp_path, device="cpu", steps=("deep",), minutes=0.5) == 0
    found = read_record(tmp_path / "deep.json")
    assert found["skipped"] == "30 s were left, 40 are needed"
    assert "values" not in found


def test_a_missing_device_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected cpu, cuda or cuda:K"):
        record.main(out=tmp_path / "new", device="gpu")
    assert not list(tmp_path.iterdir())


def test_records_are_read_as_written_or_refused(tmp_path):
    path = tmp_path / "a.json"
    write_record(path, {"values": {"x": [1, 0.1]}, "step": "cell"})
    assert read_record(path)["values"] == {"x": [1, 0.1]}
    text = path.read_text()
    for other in (text.replace("0.1", "0.2"), text.replace("cell", "deep"), text[:-9], "[]", "{}"):
        path.write_text(other)
        with pytest.raises(DamagedFileError, match=r"a\.json"):
            read_record(path)
    path.write_text(text + " " * LARGEST)  # JSON still, and too much of it
    with pytest.raises(DamagedFileError, match="another file"):
        read_record(path)


def test_the_device_itself(job):
    """Rates are rates: twice the bytes and the same products, whatever the size."""
    found = device.run(job)
    assert found["product TFLOP/s"].keys() == {"float32", "TF32"}
    assert min(*found["product TFLOP/s"].values(), found["copy GB/s"]) > 0
    assert all(0 < one < 1e6 for one in found["microseconds"].values())


def test_outcomes_of_tests_are_counted(tmp_path):
    """Errors count as failures, and what they say is kept."""
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="a" name="good"/>'
        '<testcase classname="a" name="bad"><failure message="assert 1 == 2"/></testcase>'
        '<testcase classname="b" name="worse"><error message="no device"/></testcase>'
        '<testcase classname="b" name="left"><skipped message="not there"/></testcase>'
        "</testsuite></testsuites>"
    )
    assert tests.counted(report) == {
        "passed": 1,
        "failed": 2,
        "skipped": 1,
        "failures": {"a::bad": "assert 1 == 2", "b::worse": "no device"},
        "reasons to skip": ["not there"],
    }


def test_tests_that_take_too_long_are_stopped(job, monkeypatch):
    """And it is said; what they had printed is kept."""
    real = subprocess.Popen
    sleeps = [sys.executable, "-uc", "import time; print('begun'); time.sleep(600)"]
    monkeypatch.setattr(tests.subprocess, "Popen", lambda _, **options: real(sleeps, **options))
    monkeypatch.setattr(tests, "MOST_SECONDS", 2)
    assert tests.run(job) == {"exit": "stopped after 2 s", "output": "begun\n"}


def test_the_cell_on_the_host(job):
    """Every stage is timed, and a cell without a second device says nothing of differences."""
    found = cell.run(job)["7"]
    assert list(found["seconds, first"]) == STAGES
    *parts, whole = found["seconds, first"].values()
    assert whole == pytest.approx(sum(parts))
    assert found["config"]["n_adv"] == 7
    assert "the same bits twice" not in found


def test_a_cell_against_the_stored_one(tmp_path):
    """Differences of metrics, and the ratio of seconds, of the very cell; of others nothing."""
    path = tmp_path / "cell.json"
    found = cell.measured_cell(TINY, np)
    made_by = {"processor": "p", "threads": 2, "blas": "b", "device": "cpu"}
    write_record(path, {"values": {"7": found}, "made_by": made_by})
    metrics = found["metrics"] | {"acc_noise": found["metrics"]["acc_noise"] + 0.25}
    seconds = {"all": found["seconds, first"]["all"] / 8}
    other = found | {"metrics": metrics, "seconds": seconds}
    told = cell.against_host(other, path)["stored record of a host"]
    assert told["ratio"] == pytest.approx(8)
    assert told["made_by"] == {"processor": "p", "threads": 2, "blas": "b"}
    apart = {name for name, value in told["metrics, difference"].items() if value}
    assert apart == {"acc_noise"}
    assert cell.against_host(other | {"config": {}}, path) == {}
    assert cell.against_host(other, tmp_path / "none.json") == {}


def test_differences_are_those_of_the_cells():
    def made(W, x, accuracy):
        return SimpleNamespace(
            weights={"noise": np.asarray(W)}, x_adv=np.asarray(x), metrics={"acc": accuracy}
        )

    one, other = made([2.0, -4.0], [1.0], 0.5), made([2.0, -3.0], [1.5], 0.75)
    assert cell.differences(one, other) == {
        "metrics": {"acc": 0.25},
        "largest relative": {"noise": 0.25, "perturbed samples": 0.5},
    }
    assert cell.same_bits(one, made([2.0, -4.0], [1.0], 0.0))
    assert not cell.same_bits(one, made([2.0, -4.0], [np.nextafter(1.0, 2.0)], 0.5))
    assert not cell.same_bits(one, made([2.0, np.nextafter(-4.0, 0.0)], [1.0], 0.5))


def test_deep_networks_without_a_peer(job, monkeypatch):
    """Rates agree with the milliseconds; all parts of a step are there."""
    monkeypatch.setattr(deep, "peers", lambda case, on_device: {"float32": 2.0})
    found = deep.run(job)
    for name in deep.CASES:
        ours = found[name]["ours"]
        assert ours["images a second"] * ours["milliseconds"] == pytest.approx(3000)
        assert found[name]["PyTorch, float32"] == {"images a second": 1.5}
        assert found[name]["ratio to PyTorch, float32"] == pytest.approx(
            ours["milliseconds"] / 2000
        )
        assert bool(found[name]["milliseconds of parts"]) == name.endswith("step")


def test_pieces_of_the_paper_preset(job):
    """A cell's minutes are the sum of its parts, each by the seconds of the pieces."""
    found = paper.run(job)
    minutes = found["minutes of a whole cell, extrapolated"]
    assert minutes["all"] == pytest.approx(sum(minutes[name] for name in list(minutes)[:3]))
    epoch = found["classifier"]["seconds of an epoch, median"]
    assert minutes["classifier"] == pytest.approx(epoch * 30 / 60)  # epochs of embedded, cpu
    piece = found["attack in L2"]
    assert minutes["set"] == pytest.approx(piece["seconds"] / 5 * 1000 / 60)


def test_a_panel_on_the_host(job):
    """All cells of the sweep are counted, and their table is beside the records."""
    found = panel.run(job)["smoke"]
    assert (found["exit"], found["cells"]) == (0, 6)
    rows = (job.out / "panel.csv").read_text().splitlines()
    assert len(rows) == 1 + 6


def test_the_command(tmp_path):
    """As docs/gpu.md has it, one step of it."""
    command = [sys.executable, "-m", "benchmarks.gpu_record", "--out", str(tmp_path)]
    options = ["--device", "cpu", "--tiny", "--steps", "device"]
    subprocess.run([*command, *options], check=True, cwd=Path(__file__).parents[2])
    assert json.loads((tmp_path / "device.json").read_text())["tiny"] is True


@pytest.mark.parametrize("step", [device, cell, deep, paper])
def test_steps_ask_nothing_of_cupy_that_it_has_not(job, step, monkeypatch):
    """On arrays that admit only what CuPy does, and on the paths that a device takes."""
    conformance = pytest.importorskip("conformance", reason="cupy is not installed")
    monkeypatch.setattr(deep, "peers", lambda case, on_device: {})
    monkeypatch.setattr(paper, "STEPS", 2)
    assert step.run(job._replace(xp=conformance.xp))


def test_a_page_of_records(tmp_path):
    """Rows of the same numbers are a table; what was skipped or failed says so."""
    about = {"date": "2020-02-03T04:05:06+00:00", "seconds": 2.4, "made_by": {"tf32": "off"}}
    values = {"rate": 0.12345678, "one": {"a": 1.0, "b": 2}, "all": {"x": {"a": 3}, "y": {"a": 4}}}
    write_record(tmp_path / "device.json", {**about, "step": "device", "values": values})
    write_record(tmp_path / "deep.json", {**about, "step": "deep", "skipped": "no time"})
    write_record(tmp_path / "cell.json", {**about, "step": "cell", "failed": "Error: so"})
    found = page.page(tmp_path)
    for line in ("- rate: 0.1235", "- tf32: off", "| y | 4 |", "Skipped: no time.", "Error: so"):
        assert f"\n{line}\n" in found


def test_the_stored_host_has_the_cells_that_a_device_computes():
    """Else a device is compared with nothing."""
    cells = read_record(cell.HOST)["values"]
    for n_adv in (1000, 10_000):
        config = cell.asdict(ArtificialConfig(n_adv=n_adv))
        assert cells[str(n_adv)]["config"] == config
        found = {"config": config, "metrics": cells[str(n_adv)]["metrics"], "seconds": {"all": 1.0}}
        told = cell.against_host(found)["stored record of a host"]
        assert set(told["metrics, difference"].values()) == {0.0}
