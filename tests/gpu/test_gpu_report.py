"""The report of benchmarks.gpu, with NumPy on both sides."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import gpu
from reflfap.backend import device_facts
from reflfap.errors import InputError
from reflfap.experiments.artificial import ArtificialConfig

STAGES = ["standard", "noise", "attack", "adversarial", "accuracies", "to the host", "all"]


def test_a_report_of_the_host_against_itself(tmp_path, capsys):
    """No difference, every stage timed, and both files say the same."""
    gpu.main(dim=20, hidden=6, n=5, n_adv=7, device="cpu", out=tmp_path)
    text = (tmp_path / "gpu-report.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    found = json.loads((tmp_path / "gpu-report.json").read_text())
    assert found["config"]["n_adv"] == 7
    assert list(found["seconds"]) == STAGES
    for stage, row in found["seconds"].items():
        assert row["ratio"] == pytest.approx(row["host"] / row["device"])
        assert f"| {stage} | {row['host']:.4g} |" in text
    for column in ("host", "device", "device, first time"):
        parts = [found["seconds"][stage][column] for stage in STAGES]
        assert parts[-1] == pytest.approx(sum(parts[:-1]))
        assert min(parts) >= 0
    for values in found["differences from the host"].values():
        assert set(values.values()) == {0.0}
    assert found["device gives the same bits twice"] is True
    assert found["waiting for the device"]["adversarial: Newton iterations"] > 0
    assert found["where"].items() >= device_facts(np).items()
    assert "- device: cpu" in text


def test_differences_are_those_of_the_cells():
    def cell(W, x, accuracy):
        return SimpleNamespace(
            weights={"noise": np.asarray(W)}, x_adv=np.asarray(x), metrics={"acc": accuracy}
        )

    found = gpu.differences(cell([2.0, -4.0], [1.0], 0.5), cell([2.0, -3.0], [1.5], 0.75))
    assert found == {
        "metrics": {"acc": 0.25},
        "largest relative": {"noise": 0.25, "perturbed samples": 0.5},
    }


def test_bits_that_differ_are_told(monkeypatch):
    """A device whose second run differs in one bit of one network."""
    real, runs = gpu.measured, []

    def unsteady(*args):
        runs.append(real(*args))
        if len(runs) == 3:
            W = runs[-1].cell.weights["noise"]
            W[0, 0] = np.nextafter(W[0, 0], W.dtype.type(np.inf))
        return runs[-1]

    monkeypatch.setattr(gpu, "measured", unsteady)
    found = gpu.report(ArtificialConfig(dim=20, hidden=6, n=5, n_adv=7), np)
    assert found["device gives the same bits twice"] is False
    assert found["differences from the host"]["largest relative"]["noise"] > 0


def test_a_missing_device_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected cpu, cuda or cuda:K"):
        gpu.main(device="gpu", out=tmp_path)
    assert not list(tmp_path.iterdir())
