"""What may not grow faster than the number of results: looks, openings, memory. No clock is read,
for a count of calls is the same on any machine."""

import gc
import json
import os
from collections import Counter

import pytest
from sweeping import cell, store_cell

from reflfap import files, sealed
from reflfap.cli import main as cli
from reflfap.experiments import experiment
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import identity
from reflfap.runs import store
from reflfap.runs.running import Place, folder_of
from reflfap.sweep import engine, table
from reflfap.sweep.executors import InProcess
from reflfap.sweep.work import Outcome

MANY = 20


@pytest.fixture
def results(tmp_path):
    """A folder with the results of a sweep."""
    cells = [cell(seed=seed) for seed in range(MANY)]
    for config in cells:
        store_cell(tmp_path, config)
    table.write_list(tmp_path, "many", cells)
    return tmp_path


READERS = {
    "list": ["list"],
    "list as JSON": ["list", "--json"],
    "status": ["sweep", "status"],
    "collect": ["sweep", "collect"],
    "verify": ["verify", "--quick"],
}


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_each_result_is_opened_once_and_not_as_hdf5(results, command, monkeypatch):
    """Their beginnings say all that is shown: HDF5 takes a hundred times as long to open."""
    opened, open_regular = Counter(), sealed.open_regular

    def counted(path, *more):
        opened[path] += 1
        return open_regular(path, *more)

    monkeypatch.setattr(sealed, "open_regular", counted)
    monkeypatch.setattr(store, "open_sealed", None)  # calling it would raise
    assert cli.main([*command, "--out", str(results)]) == 0
    assert opened == Counter(results.glob("artificial/*/result.h5"))


@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_configs_do_not_pile_up(results, command, monkeypatch):
    """When the last result is read, the configs of those before are gone, but for one or two that
    are in hand: memory holds a line or a row of each."""
    before, after = alive(), []
    list_results = store.list_results

    def watched(out):
        yield from list_results(out)
        after.append(alive())

    monkeypatch.setattr(store, "list_results", watched)
    assert cli.main([*command, "--out", str(results)]) == 0
    # the last one, and the default config that a line is held against
    assert after[0] - before <= 2


def alive():
    return sum(type(one) is ArtificialConfig for one in gc.get_objects())


def test_a_table_holds_what_is_there_now(results):
    """Also of a file that was replaced by one of the same length and time."""
    config = cell(seed=3)
    for value in (0.25, 0.75):
        path = store_cell(results, config, flip_threshold=value)
        os.utime(path, (0, 0))
        (csv_path, _), _ = table.collect(results, results)
        assert dict(table.read_table(csv_path, ArtificialConfig))[config]["flip_threshold"] == value


def test_what_is_planned_and_handed_out_grows_with_the_cells(tmp_path, monkeypatch):
    """Run ids are asked for as often for each of many cells as for each of few: neither plan nor
    engine looks at all tasks whenever one begins or ends."""
    counts, encode = Counter(), experiment._canonical

    def counted(content):
        counts[cells] += 1
        return encode(content)

    def simulated(task, place):
        return Outcome(tuple(identity(one) for one in task.configs))

    monkeypatch.setattr(experiment, "_canonical", counted)
    monkeypatch.setattr(engine, "work", simulated)
    for cells in (MANY, 4 * MANY):
        grid = [cell(seed=seed, epsilon=size) for seed in range(cells // 2) for size in (0.5, 1.0)]
        tasks = engine.remaining(grid, Place(tmp_path))
        found = engine.run_tasks(tasks, Place(tmp_path), InProcess())
        assert len(found.done) == cells
    assert counts[4 * MANY] == 4 * counts[MANY]


def test_a_flipped_bit_is_found_before_a_sweep(results, capsys):
    """The digest covers arrays as well, though nothing is handed to HDF5."""
    config = cell(seed=5)
    path = folder_of(results, config) / store.RESULT
    cells = [cell(seed=seed) for seed in range(MANY)]
    assert engine.remaining(cells, Place(results)) == []
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert cli.main(["verify", "--quick", "--out", str(results)]) == 0  # says that it looks at less
    (*_, task) = engine.remaining(cells, Place(results))
    assert task.configs == (config,)
    assert "computing it again" in capsys.readouterr().err


def test_a_quick_look_finds_what_is_short_foreign_or_elsewhere(results, capsys):
    """In the folder, and by name."""
    short, foreign, elsewhere, changed = (
        folder_of(results, cell(seed=seed)) / store.RESULT for seed in range(4)
    )
    short.write_bytes(short.read_bytes()[:-1])
    foreign.write_text("no result")
    elsewhere.write_bytes((folder_of(results, cell(seed=9)) / store.RESULT).read_bytes())
    changed.write_bytes(changed.read_bytes().replace(b'"acc_noise": 0.5', b'"acc_noise": 0.6'))
    bad = {str(path) for path in (short, foreign, elsewhere, changed)}
    for named in ([], sorted(map(str, results.glob("artificial/*/result.h5")))):
        assert cli.main(["verify", "--quick", "--json", *named, "--out", str(results)]) == 1
        said = json.loads(capsys.readouterr().out)
        assert len(said["good"]) == MANY - len(said["bad"])
        # named by its path, a file may be a copy of any run
        assert said["bad"].keys() == (bad - {str(elsewhere)} if named else bad)


@pytest.mark.parametrize(("count", "looks"), [(10, 40), (1000, 4)])
def test_a_folder_of_many_is_looked_through_seldom(tmp_path, count, looks, monkeypatch):
    """At each file that is written among few, at one in n / 100 among n; a writer's leftovers are
    then gone. 40 files more change n / 100 = 10 by less than one."""
    seen, listdir = [], os.listdir
    monkeypatch.setattr(files.os, "listdir", lambda folder: seen.append(folder) or listdir(folder))
    for number in range(count):
        (tmp_path / str(number)).touch()
    (tmp_path / ".part-killed").touch()
    for number in range(40):
        files.write_text(tmp_path / f"new {number}", "")
    assert abs(len(seen) - looks) <= 1
    assert not list(tmp_path.glob(".part-*"))
