"""The engine: one table whatever computes it, and whatever dies, fails or waits on the way."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import pytest
from processes import wait_until
from sweeping import cell, failing_cell, small_grid, work_or_die

from reflfap.cli import main as cli
from reflfap.errors import InputError
from reflfap.experiments.experiment import identity
from reflfap.monitor import Monitor
from reflfap.runs import store
from reflfap.runs.running import Place
from reflfap.sweep import engine, plan, table
from reflfap.sweep.executors import InProcess, Processes


def sweep(out, cells, executor=None, **options):
    tasks = engine.remaining(cells, Place(out))
    return engine.run_tasks(tasks, Place(out, threads=1), executor or InProcess(), **options)


def rows(out):
    """The table's rows by run id, without what computed them."""
    (path, _), _ = table.collect(out, out)
    _, *lines = path.read_text().splitlines()
    return {line.partition(",")[0]: line for line in lines}


def numbers(line):
    return [float(word) for word in line.split(",")[1:] if re.fullmatch(r"[\d.e+-]+", word)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    found = sweep(out, small_grid())
    assert len(found.done) == len(small_grid())
    assert not found.failed
    return rows(out)


def assert_same(found, expected):
    """The same cells with the same numbers, to the rounding of other batches and threads."""
    assert found.keys() == expected.keys()
    for run, line in expected.items():
        assert numbers(found[run]) == pytest.approx(numbers(line), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_the_same_table_whatever_the_executor(tmp_path, undisturbed, kind):
    with ThreadPoolExecutor(2) if kind == "threads" else Processes(2) as executor:
        found = sweep(tmp_path, small_grid(), executor, workers=2)
    assert sorted(found.done) == sorted(undisturbed)
    assert_same(rows(tmp_path), undisturbed)


def test_cells_are_those_of_single_runs(tmp_path, undisturbed, capsys):
    """`reflfap run` of a cell of a sweep gives its numbers, and all arrays."""
    config = small_grid()[4]
    values = {"dim": config.dim, "hidden": config.hidden, "n": config.n, "n-adv": config.n_adv}
    values |= {"epochs": config.epochs, "epsilon": config.epsilon, "out": tmp_path}
    args = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    assert cli.main(["run", "artificial", "--save-networks", *args]) == 0
    assert_same(rows(tmp_path), {run: undisturbed[run] for run in rows(tmp_path)})
    (path,) = tmp_path.glob("artificial/*/result.h5")
    sweep(tmp_path, [config])
    with h5py.File(path) as file:
        assert "networks" in file  # a sweep leaves a whole result alone
    capsys.readouterr()


def test_what_is_there_is_not_computed_again(tmp_path):
    """Cells by their results, networks by their files; a damaged result is computed again."""
    cells = small_grid()
    sweep(tmp_path, cells[:2])
    left = engine.remaining(cells, Place(tmp_path))
    assert {one for task in left if task.network is None for one in task.configs} == {*cells[2:]}
    kept = {path.stem for path in tmp_path.glob("parts/*.h5")}
    assert kept
    assert kept.isdisjoint(task.key for task in left)
    assert engine.remaining(cells[:2], Place(tmp_path)) == []
    path = tmp_path / "artificial" / identity(cells[0]) / store.RESULT
    path.write_bytes(path.read_bytes()[:-1])
    (task,) = engine.remaining(cells[:2], Place(tmp_path))
    assert task.configs == (cells[0],)


def test_results_of_another_schema_are_computed_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(store, "SCHEMA_VERSION", 99)
        sweep(tmp_path, [cell()])
    assert len(engine.remaining([cell()], Place(tmp_path))) == 1
    assert sweep(tmp_path, [cell()]).done == (identity(cell()),)
    with store.open_result(next(tmp_path.glob("artificial/*/result.h5"))) as result:
        assert result.attributes["schema_version"] == 1


def test_a_failing_cell_fails_alone(tmp_path):
    """Its error is returned and recorded, also where one of its networks was at fault."""
    bad, good = failing_cell(), [cell(), cell(seed=1)]
    found = sweep(tmp_path, [good[0], bad, good[1]])
    assert set(found.done) == {identity(one) for one in good}
    assert found.failed.keys() == {identity(bad)}
    assert "standard network: NoKKTPointError" in found.failed[identity(bad)]
    (status,) = (one for one in store.list_results(tmp_path) if one.run_id in found.failed)
    assert status.status.startswith("failed")


@pytest.fixture
def dying_work(monkeypatch):
    monkeypatch.setattr(engine, "work", work_or_die)


def test_a_killed_worker_costs_one_cell(tmp_path, dying_work):
    """A worker dies once at a cell, which is tried again; another dies always: it is given up."""
    cells = [cell(seed=seed, n_adv=n_adv) for seed in (1, 13, 14) for n_adv in (3, 7)]
    with Processes(2) as executor:
        found = sweep(tmp_path, cells, executor, workers=2)
    given_up = {identity(one) for one in cells if one.seed == 13}
    assert found.failed.keys() == given_up
    assert all(f"{engine.TRIES} workers died" in error for error in found.failed.values())
    assert set(found.done) == {identity(one) for one in cells} - given_up


def test_a_worker_told_to_end_costs_one_cell(tmp_path):
    """SIGTERM to one worker: it gives up its task, which is handed out again."""
    config = cell(trainer="gd", epochs=8_000)

    def terminate():
        wait_until(lambda: list(tmp_path.glob("parts/*.lock")))
        time.sleep(0.2)
        os.kill(int(next(tmp_path.glob("parts/*.lock")).read_text()), signal.SIGTERM)

    thread = threading.Thread(target=terminate)
    with Processes(1) as executor:
        thread.start()
        found = sweep(tmp_path, [config], executor)
    thread.join()
    assert found.done == (identity(config),)
    assert not found.failed


def test_memory_is_kept(tmp_path):
    """Never more at once than was stated, however many workers there are."""
    cells = [cell(seed=seed) for seed in range(4)]
    most = max(task.memory for task in plan.plan(cells))

    class Counting(ThreadPoolExecutor):
        under_way, peak = 0.0, 0.0

        def submit(self, fn, task, place):
            self.under_way += task.memory
            self.peak = max(self.peak, self.under_way)
            future = super().submit(fn, task, place)
            future.add_done_callback(lambda _: self._less(task.memory))
            return future

        def _less(self, memory):
            self.under_way -= memory

    with Counting(4) as executor:
        sweep(tmp_path, cells, executor, workers=4, memory=2.5 * most)
        assert most < executor.peak <= 2.5 * most
    with pytest.raises(InputError, match=r"memory: expected tasks of at most .* give more"):
        sweep(tmp_path, [cell(seed=9)], memory=0.5 * most)


def test_progress_is_told(tmp_path, monkeypatch):
    """The whole work is announced, and told to be done at the end."""
    monkeypatch.setattr(engine, "GB", 1e3)  # a finer unit for small cells

    class Telling(Monitor):
        def begin(self, stage, total, unit, done=0):
            self.total, self.done = total, 0

        def advance(self, amount=1):
            self.done += amount

    bar = Telling()
    cells = small_grid()
    sweep(tmp_path, cells, monitor=bar)
    tasks = len(plan.plan(cells))
    assert bar.total > 10 * tasks
    assert bar.total - tasks <= bar.done <= bar.total


def test_two_sweeps_at_once(tmp_path, undisturbed):
    """They share the work: each cell is computed by one of them, and both end when all is done."""
    found = {}

    def run(name, cells):
        with Processes(1) as executor:
            found[name] = sweep(tmp_path, cells, executor)

    orders = {"one": small_grid(), "other": small_grid()[::-1]}
    threads = [threading.Thread(target=run, args=item) for item in orders.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(rows(tmp_path), undisturbed)
    done = [run for one in found.values() for run in one.done]
    assert set(done) == set(undisturbed)
    assert not any(one.failed for one in found.values())


GRID = "[common]\ndim = 20\nhidden = 4\nepochs = 100\n[[cells]]\nn = [5, 6]\nn_adv = [3, 7]\n"
GRID += "epsilon = [0.5, 1.0, 1.5]\n"


def start(folder, *options):
    (folder / "grid.toml").write_text(GRID)
    command = [sys.executable, "-m", "reflfap", "sweep", "artificial", "--grid"]
    command += [str(folder / "grid.toml"), "--out", str(folder / "results"), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_sweeps_resume(tmp_path, undisturbed, workers):
    """Killed at random moments, ten times each way, then resumed: the undisturbed table."""
    rng = random.Random(workers)
    kills, delay = 0, 2.0
    while kills < 10:
        with start(tmp_path, "--workers", str(workers)) as process:
            try:
                process.communicate(timeout=rng.uniform(0.3, delay))
                for path in tmp_path.glob("results/artificial/*/result.h5"):
                    path.unlink()  # all done too soon: once more
                delay *= 0.8
            except subprocess.TimeoutExpired:
                process.send_signal(rng.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM]))
                kills += 1
    with start(tmp_path, "--workers", str(workers)) as process:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert_same(rows(tmp_path / "results"), undisturbed)
    assert not list((tmp_path / "results").glob("**/.part-*"))


def test_ctrl_c_keeps_the_step_under_way(tmp_path):
    """Exit code 130, a state of the training that was under way, and a sweep that goes on."""
    long = "[[cells]]\ndim = 20\nhidden = 6\nn = 5\nn_adv = 7\ntrainer = 'gd'\nepochs = 40_000\n"
    (tmp_path / "grid.toml").write_text(long)
    out = tmp_path / "results"
    for workers in ("1", "2"):
        command = [sys.executable, "-m", "reflfap", "sweep", "artificial", "--workers", workers]
        command += ["--grid", str(tmp_path / "grid.toml"), "--out", str(out)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: list(out.glob("parts/*.lock")))
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "the same command resumes" in errors
        assert list(out.glob("**/checkpoints/*.h5")), errors
        for path in [*out.glob("parts/*.lock"), *out.glob("**/checkpoints/*.h5")]:
            path.unlink()


def test_keys_tell_networks_apart():
    """Different networks are different files; the same network of two cells is one."""
    cells = [cell(), cell(seed=1), cell(dim=21), cell(hidden=6)]
    keys = [task.key for task in plan.plan(cells) if task.network]
    assert len(keys) == len(set(keys)) == 8
    twice = plan.plan([cell(), replace(cell(), epsilon=0.7)])
    assert sum(task.network is not None for task in twice) == 2
