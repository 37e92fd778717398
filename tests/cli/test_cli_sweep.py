"""`reflfap sweep`: options, what is printed, exit codes."""

import json
import signal

import pytest
from sweeping import SIZES

from reflfap.cli import main as cli

GRID = "[[cells]]\n" + "\n".join(f"{name} = {value}" for name, value in SIZES.items())
GRID += "\nepsilon = [0.5, 1.0]\n"


@pytest.fixture
def run(tmp_path, capsys):
    (tmp_path / "grid.toml").write_text(GRID)

    def run(*words, grid="grid.toml", experiment="artificial"):
        options = ("--grid", str(tmp_path / grid)) if grid else ()
        args = ["sweep", experiment, *options, "--out", str(tmp_path / "out"), *words]
        code = cli.main([str(word) for word in args])
        return code, capsys.readouterr()

    return run


def test_a_sweep_and_the_same_again(run, tmp_path):
    handler = signal.getsignal(signal.SIGTERM)
    code, said = run()
    assert code == 0
    assert said.out == "artificial-grid-seed-0: 2 cells computed, 0 were there\n"
    assert run()[1].out == "artificial-grid-seed-0: 0 cells computed, 2 were there\n"
    code, said = run("--seeds", "0", "1", "--json")
    assert json.loads(said.out) == {
        "sweep": "artificial-grid-seed-0-1",
        "cells": 4,
        "computed": 2,
        "failed": {},
    }
    assert signal.getsignal(signal.SIGTERM) == handler
    assert len(list(tmp_path.glob("out/sweeps/*.json"))) == 2


def test_a_dry_run_computes_nothing(run, tmp_path):
    """Cells and networks with time and memory; what is complete is left out."""
    code, said = run("--dry-run")
    assert code == 0
    assert not (tmp_path / "out").exists()
    assert "2 cells and 2 networks or sets that they share to compute: about" in said.out
    assert "epsilon=0.5" in said.out
    rows = json.loads(run("--dry-run", "--json")[1].out)
    assert [row["what"] for row in rows] == ["standard", "noise", "cell", "cell"]
    assert all(row["seconds"] > 0 and row["memory_gb"] > 0 for row in rows)
    run()
    assert json.loads(run("--dry-run", "--json")[1].out) == []


def test_failed_cells_give_exit_code_1(run, tmp_path):
    (tmp_path / "bad.toml").write_text(GRID.replace("n = 5", "n = 19\ntrainer = 'kkt'"))
    code, said = run(grid="bad.toml")
    assert code == 1
    assert "sweep: 2 of 2 cells failed" in said.err
    assert said.out.count("NoKKTPointError") == 2


def test_images_sweep(run, tmp_path):
    (tmp_path / "images.toml").write_text(
        "[[cells]]\nhidden = 4\nn = 40\nn_adv = 30\nepochs = 100\n"
        'scenario = ["noise", "natural-flipped"]\n'
    )
    code, _ = run(grid="images.toml", experiment="images")
    assert code == 0
    assert cli.main(["sweep", "collect", "--out", str(tmp_path / "out")]) == 0
    header, *rows = (tmp_path / "out" / "images.csv").read_text().splitlines()
    assert len(rows) == 2
    assert {"acc_adversarial_test", "alignment_test", "classes"} <= set(header.split(","))


def test_verify_knows_the_files_of_sweeps(run, tmp_path, capsys):
    """Tables are good while their seal holds, shared networks while they are what their name says,
    and a copy of a result anywhere."""
    run()
    cli.main(["sweep", "collect", "--out", str(tmp_path / "out")])
    capsys.readouterr()
    assert cli.main(["verify", "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count("a shared network") == 2
    files = [*tmp_path.glob("out/parts/*.h5"), tmp_path / "out" / "artificial.h5"]
    assert len(files) == 3
    capsys.readouterr()
    assert cli.main(["verify", *map(str, files)]) == 0
    assert "(sealed)" in capsys.readouterr().out
    with open(files[0], "r+b") as file:
        file.seek(-1, 2)
        byte = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([byte[0] ^ 1]))
    assert cli.main(["verify", *map(str, files)]) == 1
    assert capsys.readouterr().out.count("good") == 2
    result = next(tmp_path.glob("out/artificial/*/result.h5")).rename(tmp_path / "mine.h5")
    assert cli.main(["verify", str(result)]) == 0
    assert "a copy of run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "smoke"), "got both"),
        (("--workers", "0"), "workers: expected at least 1"),
        (("--threads", "0"), "threads: expected at least 1"),
        (("--memory", "-1"), "memory: expected a finite number"),
        (("--memory", "1e-9"), "memory: expected tasks of at most"),
        (("--scheduler", "nonsense"), "scheduler: expected one at nonsense"),
        (("--device", "cuda"), "device: expected"),
    ],
)
def test_bad_options(run, words, message):
    code, said = run(*words)
    assert code == 2
    assert message in said.err


def test_no_grid(run):
    code, said = run(grid=None)
    assert code == 2
    assert "paper-l2-uniform" in said.err
    assert "got neither" in said.err


def test_status_of_nothing(tmp_path, capsys):
    assert cli.main(["sweep", "status", "--out", str(tmp_path)]) == 0
    assert "start one with" in capsys.readouterr().err
    assert cli.main(["sweep", "collect", "--out", str(tmp_path)]) == 2
