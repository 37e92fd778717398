"""The outcome of sweeps: lists of cells, how far they are, and one table of all numbers."""

import contextlib
import csv
import json
from dataclasses import asdict

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeping import cell, failing_cell, small_grid

from reflfap.cli import main as cli
from reflfap.errors import DamagedFileError, InputError
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import identity
from reflfap.experiments.images import ImagesConfig
from reflfap.files import lock
from reflfap.runs import store
from reflfap.runs.running import Place
from reflfap.sweep import engine, table
from reflfap.sweep.executors import InProcess


def sweep(out, cells):
    return engine.run_tasks(engine.remaining(cells, out), Place(out), InProcess())


def test_lists_of_cells(tmp_path):
    """Read back as they were written; anything else is refused by name."""
    cells = [*small_grid(), ImagesConfig()]
    path = table.write_list(tmp_path, "../odd name", cells)
    assert path.parent == tmp_path / "sweeps"
    assert table.read_list(path) == cells
    for text in ("", "{", "[3]", '["{}"]', '{"a": 3}', "[" * 10_000, '[["a"]]'):
        path.write_text(text)
        with pytest.raises(DamagedFileError, match="a list of a sweep's cells"):
            table.read_list(path)
    path.write_bytes(b'["\xff"]')
    with pytest.raises(DamagedFileError):
        table.read_list(path)


@given(content=st.binary(max_size=200))
def test_random_lists_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("lists") / "x.json"
    path.write_bytes(content)
    with contextlib.suppress(DamagedFileError):
        assert table.read_list(path) == []


def test_status(tmp_path, capsys):
    """Complete, running, failed and waiting cells are counted apart, whoever computes them."""
    done, bad, running = cell(), failing_cell(), cell(seed=1)
    table.write_list(tmp_path, "mine", [done, bad, running, cell(seed=2)])
    table.write_list(tmp_path, "other", [done])
    sweep(tmp_path, [done, bad])
    folder = tmp_path / "artificial" / identity(running)
    folder.mkdir()
    with lock(folder / store.LOCK, lambda holder: None):
        mine, other = table.statuses(tmp_path)
        assert (mine.complete, mine.running, len(mine.failed), mine.waiting) == (1, 1, 1, 1)
        assert (other.complete, other.running, len(other.failed), other.waiting) == (1, 0, 0, 0)
        assert mine.seconds > 0
        assert cli.main(["sweep", "status", "--out", str(tmp_path)]) == 0
        shown = capsys.readouterr().out
        assert "mine: 1 of 4 cells complete, 1 running, 1 failed, 1 waiting" in shown
        assert f"{identity(bad)}  failed: its standard network: NoKKTPointError" in shown
        assert cli.main(["sweep", "status", "--out", str(tmp_path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["waiting"] == 1


def test_a_table_is_read_back(tmp_path):
    """What `collect` wrote gives the configs and metrics that the results hold."""
    cells = small_grid()[:3]
    sweep(tmp_path, cells)
    path, _ = table.collect(tmp_path, tmp_path)
    found = dict(table.read_table(path, ArtificialConfig))
    assert set(found) == set(cells)
    for run in store.list_results(tmp_path):
        assert found[run.config] == run.metrics


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",10,uniform", ",11,uniform"),
        (",10,uniform", ",x,uniform"),
        ("uniform", "cauchy"),
        ("0.5", "half"),
        (",0.5", ""),
        (",dim", ",size"),
        ("run_id,", ""),
        ("l2", "\x00"),
        ("l2", "[" * 10_000),
    ],
)
def test_damaged_tables_are_refused(tmp_path, old, new):
    """A config that is not the run's, what is no number, columns that are missing."""
    path = tmp_path / "artificial.csv"
    config = ArtificialConfig(dim=10)
    values = [identity(config), *asdict(config).values(), 0.5]
    names = ["run_id", *asdict(config), "acc_standard"]
    good = f"{','.join(names)}\n{','.join(map(str, values))}\n"
    path.write_text(good)
    assert table.read_table(path, ArtificialConfig) == [(config, {"acc_standard": 0.5})]
    assert old in good
    path.write_text(good.replace(old, new, 1))
    with pytest.raises(DamagedFileError, match="a table of"):
        table.read_table(path, ArtificialConfig)


def test_the_table_holds_configs_and_metrics(tmp_path):
    """One row a complete cell; the CSV and the HDF5 hold the same, whatever order they came in."""
    cells = small_grid()[:5]
    one, other = tmp_path / "one", tmp_path / "other"
    sweep(one, [*cells, failing_cell()])
    for config in reversed(cells):
        sweep(other, [config])
    texts = []
    for out in (one, other):
        csv_path, h5_path = table.collect(out, out)
        texts.append([line.split(",")[:15] for line in csv_path.read_text().splitlines()])
    assert texts[0] == texts[1]
    with open(csv_path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["run_id"] for row in rows} == {identity(config) for config in cells}
    by_id = {identity(config): config for config in cells}
    with h5py.File(h5_path) as file:
        assert set(file) == set(rows[0])
        for index, row in enumerate(rows):
            config = by_id[row["run_id"]]
            assert (int(row["n"]), float(row["epsilon"])) == (config.n, config.size)
            with store.open_result(other / "artificial" / row["run_id"] / store.RESULT) as result:
                for name, value in result.metrics.items():
                    assert float(row[name]) == file[name][index] == value
            assert file["run_id"][index].decode() == row["run_id"]


def test_nothing_to_collect(tmp_path):
    with pytest.raises(InputError, match="complete cells below"):
        table.collect(tmp_path, tmp_path)
