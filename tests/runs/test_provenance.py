"""What a stored piece was made by: config, data, code and stages before, compared by its reader."""

import gzip
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from processes import exit_code, fork, hold, kill, open_to_all
from staging import set_config

from reflfap.cli import main as cli
from reflfap.errors import InputError, NoKKTPointError, StoreError
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.experiment import RunOptions, identity
from reflfap.experiments.images import ImagesConfig
from reflfap.runs import provenance, running, store
from reflfap.runs.checkpoints import Checkpoints
from reflfap.runs.interruption import Interruption
from reflfap.runs.progress import RunMonitor
from reflfap.runs.running import Place
from reflfap.sweep import engine
from reflfap.sweep.executors import InProcess

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = ArtificialConfig(dim=20, hidden=4, n=6, n_adv=8, trainer="gd", epochs=60)
IMAGES = ImagesConfig(dataset="mnist", classes=("1", "8"), hidden=4, n=8, n_adv=8)


def digits(folder, seed):
    """A tiny set under MNIST's names in folder/mnist."""
    rng = np.random.default_rng(seed)
    (folder / "mnist").mkdir(parents=True, exist_ok=True)
    for split, n in (("train", 60), ("t10k", 40)):
        x, y = rng.integers(0, 256, (n, 28, 28), "u1"), np.arange(n).astype("u1") % 10
        contents = {
            "images-idx3": struct.pack(">4i", 2051, n, 28, 28) + x.tobytes(),
            "labels-idx1": struct.pack(">2i", 2049, n) + y.tobytes(),
        }
        for name, content in contents.items():
            path = folder / "mnist" / f"{split}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(content, mtime=0))
    return folder


def metrics_of(path):
    with store.open_result(path) as result:
        return dict(result.metrics)


def stopping(monkeypatch, count):
    """The user stops a run at the count-th state that it could keep."""
    asked = []

    def due(self):
        asked.append(1)
        if len(asked) == count:
            os.kill(os.getpid(), signal.SIGINT)
        return self.interrupted

    monkeypatch.setattr(RunMonitor, "due", due)


def interrupted(config, place, monkeypatch, count=30):
    with monkeypatch.context() as patch:
        stopping(patch, count)
        with pytest.raises(KeyboardInterrupt):
            running.make(config, place)


def test_a_result_is_of_its_images(tmp_path, capsys):
    """Asked for with other images, or none, it is refused and stays; with its own it is found."""
    one, other = (Place(tmp_path / "out", digits(tmp_path / str(n), n)) for n in (1, 2))
    path = running.make(IMAGES, one)
    before = path.read_bytes()
    for place, error in ((other, StoreError), (one._replace(data_dir=tmp_path), InputError)):
        with pytest.raises(error, match=r"images that are there now|no such folder"):
            running.make(IMAGES, place)
        with pytest.raises(error):
            engine.remaining([IMAGES], place)
    assert path.read_bytes() == before
    assert running.make(IMAGES, one) == path
    assert engine.remaining([IMAGES], one) == []
    own = running.make(IMAGES, other._replace(out=tmp_path / "else"))
    assert metrics_of(own) != metrics_of(path)


def test_images_that_change_under_their_name_are_read_anew(tmp_path):
    """In one process: what is kept of a set is forgotten with its files."""
    place = Place(tmp_path / "out", digits(tmp_path / "a", 1))
    before = place.data_of(IMAGES)
    running.make(IMAGES, place)
    digits(tmp_path / "a", 2)
    assert place.data_of(IMAGES) != before
    with pytest.raises(StoreError, match="images that are there now"):
        running.make(IMAGES, place)
    again = running.make(IMAGES, place, RunOptions(force=True))
    assert again.exists()


def test_a_classifier_of_other_files_is_not_attacked(tmp_path):
    """Of the same data set by name, with other images."""
    one, other = (Place(tmp_path / "out", digits(tmp_path / str(n), n)) for n in (1, 2))
    how = ClassifyConfig(dataset="mnist", epochs=1, subset=20, batch=10, width=1)
    running.make(how, one)
    config = set_config(dataset="mnist", classifier=identity(how), n_adv=10, attack_steps=1)
    with pytest.raises(StoreError, match=r"classify.*images that are there now"):
        running.make(config, other)
    assert not list((tmp_path / "out" / "perturb").glob("*/result.h5"))
    running.make(config, one)


@pytest.mark.parametrize("what", ["config", "data", "code"])
def test_a_state_of_something_else_is_left_aside(tmp_path, monkeypatch, capsys, what):
    """An interrupted run whose config, images or code are others by now begins anew, says so, and
    ends as an undisturbed one."""
    place = Place(tmp_path / "out", digits(tmp_path / "a", 1))
    config = replace(IMAGES, trainer="gd", epochs=60)
    interrupted(config, place, monkeypatch)
    (kept,) = place.out.rglob("standard.h5")
    if what == "config":
        config = replace(config, epochs=61)
        folder = running.folder_of(place.out, config)
        shutil.copytree(kept.parent, folder / kept.parent.name)
    elif what == "data":
        digits(tmp_path / "a", 2)
    else:
        monkeypatch.setattr(provenance, "source_sha256", lambda: "other")
    path = running.make(config, place)
    said = capsys.readouterr().err
    assert f"of the same {what}, got another's" in said
    assert "resumed from a checkpoint" not in said
    alone = running.make(config, place._replace(out=tmp_path / "alone"))
    assert metrics_of(path) == metrics_of(alone)


def test_states_are_not_exchanged(tmp_path, monkeypatch):
    """Those of two stages of one run, and of two runs: either is left aside."""
    first, second = CONFIG, replace(CONFIG, seed=1)
    place = Place(tmp_path / "out", quiet=True, pace=(60.0, 0.0))
    alone = place._replace(out=tmp_path)
    expected = [metrics_of(running.make(one, alone)) for one in (first, second)]
    for config in (first, second):
        interrupted(config, place, monkeypatch, 90)  # the noise network is half trained
    folders = [running.folder_of(place.out, one) / "checkpoints" for one in (first, second)]
    assert sorted(path.name for path in folders[0].iterdir()) == ["noise.h5", "standard.h5"]
    shutil.copy(folders[0] / "noise.h5", tmp_path / "mine")
    shutil.copy(folders[0] / "standard.h5", folders[0] / "noise.h5")
    shutil.copy(tmp_path / "mine", folders[0] / "standard.h5")
    shutil.copy(tmp_path / "mine", folders[1] / "noise.h5")
    assert [metrics_of(running.make(one, place)) for one in (first, second)] == expected


def test_shared_networks_are_not_exchanged(tmp_path, capsys):
    """Two of a sweep swapped: `verify` says so, and the sweep trains them again."""
    command = ["sweep", "artificial", "--preset", "smoke", "--seeds", "0", "1", "--out"]
    out = tmp_path / "out"
    assert cli.main([*command, str(out)]) == 0
    expected = {path.parent.name: metrics_of(path) for path in out.glob("artificial/*/result.h5")}
    one, other = sorted(out.glob("parts/standard-*.h5"))
    one.rename(tmp_path / "mine")
    other.rename(one)
    (tmp_path / "mine").rename(other)
    capsys.readouterr()
    assert cli.main(["verify", "--out", str(out)]) == 1
    assert capsys.readouterr().out.count("damaged") == 2
    shutil.rmtree(out / "artificial")
    assert cli.main([*command, str(out)]) == 0
    found = {path.parent.name: metrics_of(path) for path in out.glob("artificial/*/result.h5")}
    assert found == expected
    assert cli.main(["verify", "--out", str(out)]) == 0


def test_a_result_of_another_revision_says_so(tmp_path, monkeypatch, capsys):
    place = Place(tmp_path)
    running.make(CONFIG, place)
    running.make(CONFIG, place)
    assert "revision" not in capsys.readouterr().err
    monkeypatch.setattr(running, "source_revision", lambda: "another")
    running.make(CONFIG, place)
    assert re.search(r"computed by revision .*; this is another", capsys.readouterr().err)


def test_the_code_is_told_by_its_text(tmp_path, monkeypatch):
    """Any changed line of the package is another code, whatever git or the version says."""
    for package in (provenance.reflfap, provenance.reflfap.data_loaders):
        name, file = package.__name__, package.__file__
        folder = shutil.copytree(os.path.dirname(file), tmp_path / name)
        monkeypatch.setattr(package, "__file__", str(folder / "__init__.py"))
    digest = provenance.source_sha256.__wrapped__
    before = digest()
    assert digest() == before
    path = tmp_path / "reflfap" / "losses.py"
    path.write_text(path.read_text() + "#\n")
    assert digest() != before


# results in folders that are not ours


def as_nobody(work):
    """The exit code of a child that does `work` without the rights of root."""

    def child():
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return exit_code(fork(child))


@pytest.fixture
def readable(tmp_path):
    """A folder of results that others may read and not write."""
    place = Place(tmp_path / "out", quiet=True)
    running.make(CONFIG, place)
    running.make(replace(CONFIG, seed=1), place)
    open_to_all(tmp_path)
    return place


def test_a_result_of_somebody_else_is_found(readable):
    """Complete ones are; one that would have to be written is refused with advice."""

    def work():
        running.make(CONFIG, readable)
        try:
            running.make(replace(CONFIG, seed=2), readable)
        except InputError as error:
            return 0 if "choose another --out" in str(error) else 2
        return 3

    assert as_nobody(work) == 0


def test_what_cannot_be_read_breaks_nothing_else(readable, capsys):
    """One folder without rights, and one result with a text for its seconds: the others are listed,
    collected and found good, and these are named."""
    closed, wrong = (running.folder_of(readable.out, replace(CONFIG, seed=n)) for n in (0, 1))
    running.make(replace(CONFIG, seed=2), readable)
    with store.open_result(wrong / store.RESULT) as result:
        about = {**result.attributes, "wall_seconds": "soon"}
    store.write(wrong, str(about["config_json"]), about, {}, {})
    (wrong / store.RESULT).chmod(0o644)
    closed.chmod(0o000)

    def work():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return (
            cli.main(["verify", str(good), "--out", str(readable.out)])
            + 2 * cli.main(["verify", "--out", str(readable.out)])
            + 4
            * sum(run.status.startswith("unreadable") for run in store.list_results(readable.out))
        )

    good = running.folder_of(readable.out, replace(CONFIG, seed=2))
    try:
        assert as_nobody(work) == 0 + 2 + 4  # good, one of them bad, one of them unreadable
    finally:
        closed.chmod(0o755)
    runs = {run.path.parent: run.status for run in store.list_results(readable.out)}
    assert runs[wrong].startswith("damaged: ")
    assert list(runs.values()).count("complete") == 2
    assert cli.main(["verify", "--out", str(readable.out)]) == 1
    assert capsys.readouterr().out.count("good") == 2


def test_what_is_left_of_a_complete_run_is_removed(tmp_path):
    """By whoever finds the result, unless somebody works on the run again."""
    place = Place(tmp_path, quiet=True)
    folder = running.make(CONFIG, place).parent
    Checkpoints(folder, {}).keep("standard", {"x": np.ones(1)}, at_once=True)
    (folder / ".part-old").touch()
    child = hold(folder / store.LOCK)
    running.make(CONFIG, place)
    assert (folder / "checkpoints").exists()
    kill(child)
    running.make(CONFIG, place)
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "result.h5"]


def test_a_failed_run_says_why(tmp_path, capsys):
    """In `list`, as a cell of a sweep does, until it succeeds or is interrupted."""
    config = replace(CONFIG, trainer="kkt", dim=2, n=6)  # not orthogonal: no such limit
    place = Place(tmp_path, quiet=True)
    with pytest.raises(NoKKTPointError):
        running.make(config, place)
    (run,) = store.list_results(tmp_path)
    assert run.status.startswith("failed: NoKKTPointError")


# signals


def test_an_interruption_is_known_within_and_without():
    """What is opened inside knows what came before, and what is outside what came meanwhile."""
    with Interruption() as outer:
        with Interruption() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        assert inner.seen
        assert outer.seen
        with Interruption() as later:
            assert later.seen
    with Interruption() as other:
        assert not other.seen


def test_a_signal_in_a_callback_is_not_lost():
    """Where an exception would vanish: in a finalizer, which the interpreter calls."""

    class Last:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)

    with Interruption() as stop:
        Last()
        assert stop.seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_ends_after_the_step_under_way(tmp_path, monkeypatch, number):
    """Also where the signal comes when a cell has no state left to keep: the next do not begin."""
    cells = [replace(CONFIG, n_adv=n) for n in (8, 6, 4)]
    write, written = store.write, []

    def stop(*content):
        os.kill(os.getpid(), number)
        written.append(content)
        return write(*content)

    monkeypatch.setattr(store, "write", stop)
    place = Place(tmp_path, quiet=True)
    with Interruption() as seen, pytest.raises(KeyboardInterrupt):
        engine.run_tasks(
            engine.remaining(cells, place), place, InProcess(), stopped=lambda: seen.seen
        )
    assert len(written) == 1
    monkeypatch.setattr(store, "write", write)
    assert not engine.run_tasks(engine.remaining(cells, place), place, InProcess()).failed


def test_a_sweep_that_is_stopped_begins_nothing(tmp_path):
    place = Place(tmp_path, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        engine.run_tasks(
            engine.remaining([CONFIG], place), place, InProcess(), stopped=lambda: True
        )
    assert not list(tmp_path.iterdir())


READING = """
import os, sys

class Look:
    def find_spec(self, name, *rest):
        if name == "{module}":
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Look())
from reflfap.__main__ import entry
sys.argv[1:] = ["list"]
entry()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["reflfap.cli.main", "numpy.linalg", "h5py"])
def test_a_signal_while_modules_are_read_ends_quietly(tmp_path, number, module):
    """In the first second, at the beginning and in the midst of others' code: no traceback, 130."""
    text = READING.format(module=module, number=int(number))
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "reflfap: interrupted\n"


def test_workers_without_a_main_guard_are_refused(tmp_path):
    """Instead of being waited for."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from reflfap.experiments.artificial import ArtificialConfig\n"
        "from reflfap.runs.running import Place\n"
        "from reflfap.sweep import engine, grid\n"
        "from reflfap.sweep.executors import Processes\n"
        "place = Place(Path('out'))\n"
        "cells = grid.from_preset(ArtificialConfig, 'smoke')\n"
        "with Processes(2) as executor:\n"
        "    engine.run_tasks(engine.remaining(cells, place), place, executor, 2)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "InputError: workers: expected processes that begin" in done.stderr
    assert "__main__" in done.stderr.splitlines()[-1]


def test_a_pipe_for_a_lock_or_a_result_is_refused(tmp_path, capsys):
    """Instead of being waited for."""
    folder = running.folder_of(tmp_path, CONFIG)
    folder.mkdir(parents=True)
    for name, what in ((store.LOCK, "a lock file"), (store.RESULT, "a regular file")):
        os.mkfifo(folder / name)
        with pytest.raises(StoreError, match=f"expected {what}"):
            running.make(CONFIG, Place(tmp_path, quiet=True))
        (run,) = store.list_results(tmp_path)
        assert run.status.split(":")[0] in ("unreadable", "interrupted")


def test_texts_of_files_do_not_steer_the_terminal(tmp_path, capsys):
    """What a result or a failure says is shown with its control characters spelled out."""
    folder = running.make(CONFIG, Place(tmp_path, quiet=True)).parent
    with store.open_result(folder / store.RESULT) as result:
        about = {**result.attributes, "blas": "\x1b[2Jgone"}
    store.write(folder, str(about["config_json"]), about, {}, {})
    failed = running.folder_of(tmp_path, replace(CONFIG, seed=1))
    store.record_failure(failed, "\x1b]0;title\x07")
    assert cli.main(["show", folder.name, "--out", str(tmp_path)]) == 0
    assert cli.main(["list", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "gone" in shown.out
    assert "title" in shown.out
    assert "\x1b" not in shown.out + shown.err
