"""The outcome of sweeps: lists of cells, how far they are, and one table of all numbers."""

import contextlib
import csv
import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweeping import cell, failing_cell, small_grid, store_cell

from reflfap.cli import main as cli
from reflfap.errors import DamagedFileError, InputError
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.certificates import CertificatesConfig
from reflfap.experiments.experiment import identity
from reflfap.experiments.images import ImagesConfig
from reflfap.files import lock
from reflfap.runs import store
from reflfap.runs.running import Place
from reflfap.sweep import engine, table
from reflfap.sweep.executors import InProcess


def sweep(out, cells):
    return engine.run_tasks(engine.remaining(cells, Place(out)), Place(out), InProcess())


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
    (path, _), damaged = table.collect(tmp_path, tmp_path)
    assert not damaged
    found = dict(table.read_table(path, ArtificialConfig))
    assert set(found) == set(cells)
    for run in store.list_results(tmp_path):
        assert found[run.config] == run.metrics


def test_the_table_holds_configs_and_metrics(tmp_path):
    """One row a complete cell; the CSV and the HDF5 hold the same, whatever order they came in."""
    cells = small_grid()[:5]
    one, other = tmp_path / "one", tmp_path / "other"
    sweep(one, [*cells, failing_cell()])
    for config in reversed(cells):
        sweep(other, [config])
    texts = []
    for out in (one, other):
        csv_path, h5_path = table.collect(out, out).paths
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


def test_what_some_cells_do_not_have_is_left_empty(tmp_path):
    """Not nan, which a computation may have come to."""
    store_cell(tmp_path, cell(), flip_threshold=0.25)
    store_cell(tmp_path, cell(seed=1), alignment_test=0.125)
    (csv_path, h5_path), _ = table.collect(tmp_path, tmp_path)
    with open(csv_path, newline="") as file:
        one, other = csv.DictReader(file)
    assert (one["flip_threshold"], one["alignment_test"]) == ("0.25", "")
    assert (other["flip_threshold"], other["alignment_test"]) == ("", "0.125")
    found = dict(table.read_table(csv_path, ArtificialConfig))
    for run in store.list_results(tmp_path):
        assert found[run.config] == run.metrics
    with h5py.File(h5_path) as file:
        assert file["flip_threshold"][...] == pytest.approx([0.25, np.nan], nan_ok=True)


def test_a_table_from_before_an_option_came_has_what_was_implied(tmp_path):
    """Released cells are told apart from exact ones; without the column, all are exact."""
    cells = [cell(), cell(precision="released")]
    for one in cells:
        store_cell(tmp_path, one)
    (path, _), _ = table.collect(tmp_path, tmp_path)
    assert [config for config, _ in table.read_table(path, ArtificialConfig)] == cells
    with open(path, newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "precision"} for row in csv.DictReader(file)]
    for row, found in ((rows[0], cells[:1]), (rows[1], None)):
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerow(row)
        if found is None:  # whose run id is of another config
            with pytest.raises(DamagedFileError, match="not the config of run"):
                table.read_table(path, ArtificialConfig)
        else:
            assert [config for config, _ in table.read_table(path, ArtificialConfig)] == found


def test_damaged_results_are_left_out_and_named(tmp_path, capsys):
    """The table of the others is written, the command fails, and says which file it is."""
    good = store_cell(tmp_path, cell())
    truncated, text = (store_cell(tmp_path, cell(seed=seed)) for seed in (1, 2))
    foreign = store_cell(tmp_path, CertificatesConfig())  # no row of any table
    truncated.write_bytes(truncated.read_bytes()[:-1])
    for path in (text, foreign):
        path.write_text("no result")
    command = ["sweep", "collect", "--out", str(tmp_path), "--to", str(tmp_path / "tables")]
    assert cli.main(command) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert all(f"{path}: damaged: " in shown.err for path in (truncated, text))
    assert str(good) not in shown.err
    assert str(foreign) not in shown.err
    assert "2 damaged results are in no table; remove them" in shown.err
    cells = table.read_table(tmp_path / "tables" / "artificial.csv", ArtificialConfig)
    assert [config for config, _ in cells] == [cell()]
    good.unlink()  # nothing but damaged ones is no empty folder
    assert cli.main(command) == 1
    assert f"{truncated}: damaged: " in capsys.readouterr().err
    truncated.unlink(), text.unlink()
    assert cli.main(command) == 2
    store_cell(tmp_path, cell())
    assert cli.main(command) == 0


def test_nothing_to_collect(tmp_path):
    with pytest.raises(InputError, match="complete cells below"):
        table.collect(tmp_path, tmp_path)
