"""Results: what is written is read; anything else is refused or told apart."""

import contextlib
import hashlib
import itertools
import json
import math
import platform
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fake_cupy import Fake
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from processes import exit_code, fork, hold, kill, listing
from project import ROOT
from result_files import ATTRIBUTES, rewrite

from reflfap import backend
from reflfap.cli import main as cli
from reflfap.errors import DamagedFileError, InputError, StoreError
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import canonical_json, run_id
from reflfap.files import lock
from reflfap.runs import provenance, store
from reflfap.runs.checkpoints import FOLDER, Checkpoints
from reflfap.sealed import write_sealed

CONFIG = ArtificialConfig(dim=20, hidden=6, n=5, n_adv=7, trainer="gd", epochs=50)
TEXT = canonical_json(CONFIG)
W = "networks/standard/W"


def weights(seed: int, rows: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 20))


def write(out: Path, text: str = TEXT, values: np.ndarray | None = None) -> Path:
    """A valid result with one array."""
    folder = store.folder_for(out, "artificial", text)
    array = store.Dataset(weights(0) if values is None else values, "hidden unit, input", "1")
    return store.write(folder, text, ATTRIBUTES, {"acc_adversarial": 0.75}, {W: array})


def refusal(path: Path) -> str:
    with pytest.raises(DamagedFileError) as caught, store.open_result(path):
        pytest.fail(f"{path} was accepted")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message


def forge(out: Path, config_json: str) -> Path:
    """A validly sealed file in the folder that its config's hash demands."""
    path = write(out, config_json)
    assert path.parent.name == hashlib.sha256(config_json.encode()).hexdigest()[:16]
    return path


FLOATS = st.sampled_from(["f4", "f8"]).flatmap(
    lambda kind: arrays(kind, array_shapes(max_dims=3, max_side=5))
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), st.floats(), max_size=4))
def test_round_trip_of_metrics(tmp_path, metrics):
    folder = store.folder_for(tmp_path, "artificial", TEXT)
    store.write(folder, TEXT, ATTRIBUTES, metrics, {})
    with store.open_result(folder / store.RESULT) as result:
        np.testing.assert_equal(result.metrics, metrics)  # NaN equals NaN here


@given(values=FLOATS)
def test_round_trip(tmp_path, values):
    path = write(tmp_path, values=values)
    with store.open_result(path) as result:
        found = result.array(W, values.shape)
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)
        np.testing.assert_array_equal(result.array(W, (-1,) * values.ndim), values)
        assert result.names() == [W]
        assert result.config == CONFIG
        assert ATTRIBUTES.items() <= result.attributes.items()
    with h5py.File(path) as file:
        assert dict(file[W].attrs) == {"shape_names": "hidden unit, input", "units": "1"}


def test_the_run_id_is_the_hash_of_the_canonical_json(tmp_path):
    text = (  # written by hand: sorted keys, no spaces
        '{"attack_steps":100,"data":"uniform","dim":20,"dtype":"float32","epochs":50,'
        '"epsilon":0.5,"experiment":"artificial","hidden":6,"loss":"exponential","n":5,"n_adv":7,'
        '"norm":"l2","seed":3,"slope":0.25,"trainer":"gd","variant":"released"}'
    )
    config = ArtificialConfig(
        dim=20, hidden=6, n=5, n_adv=7, trainer="gd", epochs=50, epsilon=0.5, seed=3, slope=0.25
    )
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = write(tmp_path, canonical_json(config))
    assert path == tmp_path / "artificial" / expected / "result.h5"
    with h5py.File(path) as file:
        assert file.attrs["run_id"] == expected
        assert file.attrs["config_json"] == text


SIZES = ("--dim=20", "--hidden=6", "--n=5", "--n-adv=7", "--trainer=gd", "--epochs=50")
NETWORKS = {"standard", "noise", "adversarial"}


def run_and_open(out: Path, *options: str) -> Any:
    words = ["run", "artificial", *SIZES, "--save-networks", "--out", str(out), *options]
    assert cli.main(words) == 0
    (path,) = out.glob("artificial/*/result.h5")
    return h5py.File(path)


def test_attributes_of_the_result_file(tmp_path):
    start = datetime.now(UTC)
    with run_and_open(tmp_path) as file:
        found = dict(file.attrs)
    assert set(found) == {  # the stable list
        *("schema_version", "experiment", "run_id", "config_json", "created_utc", "wall_seconds"),
        *("backend", "device", "dtype", "blas", "threads", "versions_json", "source_revision"),
    }
    assert set(found) == set(store.ROOT_ATTRIBUTES)
    assert (found["backend"], found["device"], found["dtype"]) == ("numpy", "cpu", "float32")
    created = datetime.fromisoformat(found["created_utc"])
    assert created.utcoffset() == timedelta(0)
    assert start - timedelta(seconds=1) <= created <= datetime.now(UTC)
    assert 0 < found["wall_seconds"] < 60
    assert found["threads"] >= 1
    versions = json.loads(found["versions_json"])
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == np.__version__
    assert versions["h5py"] == h5py.__version__


def test_the_blas_kernel_and_its_threads_are_recorded():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        described = provenance.describe()
    assert described["threads"] == 1
    for pool in threadpoolctl.threadpool_info():
        if pool["user_api"] == "blas":
            assert f"{pool['internal_api']} {pool['version']}" in described["blas"]


def test_a_device_is_recorded():
    cupy = Fake().modules["cupy"]
    assert backend.device_facts(cupy).items() <= provenance.describe(cupy).items()
    assert provenance.describe(cupy)["backend"] == "cupy"
    assert provenance.describe().keys() < provenance.describe(cupy).keys()


def test_the_source_revision_is_the_commit(monkeypatch):
    repository = ROOT
    command = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 or not (repository / ".git").exists():
        pytest.skip("not a git repository")
    assert provenance.source_revision().removesuffix("-dirty") == done.stdout.strip()
    monkeypatch.setenv("PATH", "")  # no git: the version has to do
    assert provenance.source_revision().startswith("v")


@pytest.mark.parametrize("options", [[], ["--save-data"]])
def test_arrays_of_the_result_file(tmp_path, options):
    data = {"adversarial", "natural", "noise"} if options else {"adversarial"}
    expected = {f"networks/{name}/W" for name in NETWORKS}
    expected |= {f"data/{name}/{part}" for name in data for part in "xy"}
    expected |= {f"traces/{name}/{key}" for name in NETWORKS for key in ("time", "loss", "step")}
    expected |= {f"plane/{name}" for name in (*NETWORKS, "samples", "labels", "directions")}
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = dict(item.attrs)

    with run_and_open(tmp_path, *options) as file:
        file.visititems(visit)
        assert all(file[name].shape == (6, 20) for name in expected if name.endswith("W"))
    assert set(found) == expected
    for attributes in found.values():
        assert set(attributes) == {"shape_names", "units"}
        assert all(attributes.values())


def test_altered_configs_are_refused(tmp_path):
    other = canonical_json(
        ArtificialConfig(dim=20, hidden=6, n=5, n_adv=7, trainer="gd", epochs=50, seed=1)
    )
    path = write(tmp_path)
    rewrite(path, lambda file: file.attrs.update(config_json=other))
    assert "config of another run" in refusal(path)
    rewrite(path, lambda file: file.attrs.update(run_id=run_id(other)))
    assert "config of another run" in refusal(path)
    rewrite(path, lambda file: file.attrs.update(config_json=TEXT))  # now only the id is another
    assert "config of another run" in refusal(path)
    rewrite(path, lambda file: file.attrs.update(run_id=run_id(TEXT)))
    with store.open_result(path) as result:
        assert result.config == CONFIG


def test_a_result_in_the_folder_of_another_run_is_refused(tmp_path):
    path = write(tmp_path)
    folder = path.parent.rename(path.parents[1] / "0123456789abcdef")
    assert "move the file back" in refusal(folder / store.RESULT)


IMPOSSIBLE = {
    "text": "hello",
    "a list": "[]",
    "nothing": "{}",
    "too deep": "[" * 100_000,
    "odd": TEXT.replace('"hidden":6', '"hidden":7'),
    "NaN": TEXT.replace('"dim":20', '"dim":NaN'),
    "huge": TEXT.replace('"dim":20', '"dim":1' + "0" * 400),
    "a list of norms": TEXT.replace('"l2"', '["l2"]'),
    "unknown key": TEXT.replace('"seed"', '"seeds"'),
    "unknown experiment": TEXT.replace("artificial", "images"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_impossible_configs_are_refused(tmp_path, what):
    assert "config_json" in refusal(forge(tmp_path, IMPOSSIBLE[what]))


@pytest.mark.parametrize("version", [0, 2, "one", None])
def test_another_schema_is_refused(tmp_path, version):
    path = write(tmp_path)

    def change(file: Any) -> None:
        del file.attrs["schema_version"]
        if version is not None:
            file.attrs["schema_version"] = version

    rewrite(path, change)
    message = refusal(path)
    assert f"expected schema version 1, got {version}" in message
    assert "read it with the reflfap that wrote it" in message


@pytest.mark.parametrize("name", list(store.ROOT_ATTRIBUTES)[1:])
def test_every_root_attribute_is_required(tmp_path, name):
    path = write(tmp_path)
    rewrite(path, lambda file: file.attrs.pop(name))
    refusal(path)


STRANGE = {
    "text": "0.5",  # these two are good attributes, but no metrics
    "whole number": 1,
    "vector": [1.0, 2.0],
    "nothing": h5py.Empty("f8"),
    "bytes": np.bytes_(b"x"),
    "opaque": np.void(b"xyz"),
    "compound": np.zeros((), [("a", "f8")]),
    "complex": 1j,
    "not UTF-8": np.array(b"\xff", h5py.string_dtype("utf-8")),
}


@pytest.mark.parametrize("what", STRANGE)
def test_strange_metrics_are_refused(tmp_path, what):
    path = write(tmp_path)
    rewrite(path, lambda file: file["metrics"].attrs.update(acc_noise=STRANGE[what]))
    refusal(path)
    (run,) = store.list_results(tmp_path)
    assert run.status.startswith("damaged")


@pytest.mark.parametrize("what", list(STRANGE)[2:])
def test_strange_attributes_are_refused(tmp_path, what):
    path = write(tmp_path)
    rewrite(path, lambda file: file.attrs.update(more=STRANGE[what]))
    refusal(path)


def soft_link(file: Any, name: str, outside: Path) -> None:
    file["elsewhere"] = weights(1)
    file[name] = h5py.SoftLink("/elsewhere")


def external_link(file: Any, name: str, outside: Path) -> None:
    with h5py.File(outside, "w") as other:
        other["W"] = weights(1)
    file[name] = h5py.ExternalLink(str(outside), "W")


def external_storage(file: Any, name: str, outside: Path) -> None:
    outside.write_bytes(weights(1).tobytes())
    size = outside.stat().st_size
    file.create_dataset(name, (6, 20), "f8", external=[(str(outside), 0, size)])


def virtual_dataset(file: Any, name: str, outside: Path) -> None:
    with h5py.File(outside, "w") as other:
        other["W"] = weights(1)
    layout = h5py.VirtualLayout((6, 20), "f8")
    layout[:] = h5py.VirtualSource(str(outside), "W", (6, 20))
    file.create_virtual_dataset(name, layout)


def linked_group(file: Any, name: str, outside: Path) -> None:
    """A true dataset, behind a link at its parent."""
    del file["networks/standard"]
    file["elsewhere/W"] = weights(1)
    file["networks/standard"] = h5py.SoftLink("/elsewhere")


LINKS = [soft_link, external_link, external_storage, virtual_dataset, linked_group]


@pytest.mark.parametrize("link", LINKS)
def test_links_are_refused(tmp_path, link):
    path = write(tmp_path)

    def change(file: Any) -> None:
        del file[W]
        link(file, W, tmp_path / "outside")

    rewrite(path, change)
    with (
        store.open_result(path) as result,
        pytest.raises(DamagedFileError, match=f"expected {W} .*in the file itself"),
    ):
        result.array(W, (6, 20))


@pytest.mark.parametrize("kind", [h5py.SoftLink, lambda at: h5py.ExternalLink("x.h5", at)])
def test_linked_metrics_are_refused(tmp_path, kind):
    path = write(tmp_path)

    def change(file: Any) -> None:
        file.move("metrics", "elsewhere")
        file["metrics"] = kind("/elsewhere")

    rewrite(path, change)
    assert "metrics in the file itself" in refusal(path)
    (run,) = store.list_results(tmp_path)
    assert run.status.startswith("damaged")


@pytest.mark.parametrize(
    "values",
    [
        weights(0).T,
        weights(0, rows=8),
        weights(0)[0],
        weights(0)[None],
        np.float64(1),
        weights(0).astype("i4"),
        weights(0).astype("c8"),
        weights(0).astype("S4"),
        weights(0) > 0,
        np.zeros((6, 20), [("a", "f8")]),
    ],
)
def test_wrong_shapes_and_types_are_refused(tmp_path, values):
    path = write(tmp_path, values=values)
    with (
        store.open_result(path) as result,
        pytest.raises(DamagedFileError, match=f"expected {W} to hold floats in shape"),
    ):
        result.array(W, (6, 20))


@pytest.mark.parametrize("stored", ["i2", "i8", "u4", "f8", "?"])
def test_whole_numbers(tmp_path, stored):
    """Kind "i" is for signed whole numbers of any size alone; floats are no whole numbers, nor the
    other way round."""
    values = np.array([3, 0, 1]).astype(stored)
    path = write(tmp_path, values=values)
    with store.open_result(path) as result:
        if stored.startswith("i"):
            found = result.array(W, (-1,), "i")
            assert found.dtype == stored
            assert np.array_equal(found, values)
            with pytest.raises(DamagedFileError, match="to hold floats"):
                result.array(W, (-1,))
            return
        with pytest.raises(DamagedFileError, match=f"expected {W} to hold whole numbers in shape"):
            result.array(W, (-1,), "i")


def written_in_pieces(out: Path, pieces: Iterable[np.ndarray], shape: tuple[int, ...]) -> Path:
    """A result whose one array comes as pieces, floats of 4 bytes."""
    folder = store.folder_for(out, "artificial", TEXT)
    array = store.Dataset(store.Pieces(shape, "f4", pieces), "hidden unit, input", "1")
    return store.write(folder, TEXT, ATTRIBUTES, {}, {W: array})


@given(cuts=st.lists(st.integers(0, 9), max_size=4), drawn=st.booleans())
def test_pieces_are_one_array(tmp_path, cuts, drawn):
    """However it is cut, empty pieces and generators included; in one block, with its names."""
    values = weights(3, rows=9).astype("f4")
    pieces = np.split(values, sorted(cuts))
    path = written_in_pieces(tmp_path, iter(pieces) if drawn else pieces, values.shape)
    with store.open_result(path) as result:
        assert np.array_equal(result.array(W, (-1, 20)), values)
        assert np.array_equal(result.mapped(W, (9, 20)), values)
    with h5py.File(path) as file:
        assert file[W].dtype == np.float32
        assert dict(file[W].attrs) == {"shape_names": "hidden unit, input", "units": "1"}


@pytest.mark.parametrize("rows", [(), (3,), (3, 5), (9, 1), (3, 7), (3, 6, 3)])
def test_pieces_of_another_number_of_rows_are_refused(tmp_path, rows):
    """Too few and too many: an error, no file, and the older one is as it was."""
    older = write(tmp_path)
    before = older.read_bytes()
    pieces = [weights(number, rows=count).astype("f4") for number, count in enumerate(rows)]
    with pytest.raises((ValueError, TypeError)):
        written_in_pieces(tmp_path, pieces, (9, 20))
    assert older.read_bytes() == before
    assert listing(older.parent) == [store.RESULT]


def test_pieces_that_fail_leave_nothing(tmp_path):
    """What they are made of may be gone half way."""

    def failing() -> Iterator[np.ndarray]:
        yield weights(0).astype("f4")
        raise DamagedFileError("gone")

    with pytest.raises(DamagedFileError, match="gone"):
        written_in_pieces(tmp_path, failing(), (12, 20))
    assert not list(tmp_path.rglob("result.h5"))
    assert not list(tmp_path.rglob(".part-*"))


@given(values=FLOATS)
def test_mapped_arrays(tmp_path, values):
    """Those that are read, without being read; they stay when the file is closed, and show the old
    one where a new one takes its place."""
    path = write(tmp_path, values=values)
    with store.open_result(path) as result:
        found = result.mapped(W, (-1,) * values.ndim)
        assert np.array_equal(found, result.array(W, values.shape), equal_nan=True)
    assert isinstance(found, np.memmap)
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert not found.flags.writeable
    write(tmp_path, values=np.ones((2, 2)))
    assert np.array_equal(found, values, equal_nan=True)
    with store.open_result(path) as result:
        assert np.array_equal(result.mapped(W, (2, 2)), np.ones((2, 2)))


def test_a_file_replaced_while_it_is_open(tmp_path):
    """What is mapped is the file that was verified, not what has its name by now."""
    path = write(tmp_path)
    with store.open_result(path) as result:
        before = result.array(W, (6, 20))
        write(tmp_path, values=weights(0) + 1)
        assert np.array_equal(result.mapped(W, (6, 20)), before)


def brain_float() -> Any:
    """Floats of two bytes with the range of those of four, which NumPy has not."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


def compact(file: Any, values: np.ndarray) -> None:
    """The numbers lie in the dataset's header."""
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_layout(h5py.h5d.COMPACT)
    kind, space = h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple(values.shape)
    made = h5py.h5d.create(file["networks/standard"].id, b"W", kind, space, how)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, values)


def foreign_floats(file: Any, values: np.ndarray) -> None:
    space = h5py.h5s.create_simple(values.shape)
    made = h5py.h5d.create(file["networks/standard"].id, b"W", brain_float(), space)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, values)


UNMAPPABLE = {
    "chunks": lambda file, values: file.create_dataset(W, data=values, chunks=(2, 20)),
    "compressed": lambda file, values: file.create_dataset(W, data=values, compression="gzip"),
    "compact": compact,
    "foreign floats": foreign_floats,
    "whole numbers": lambda file, values: file.create_dataset(W, data=values.astype("i8")),
    "complex numbers": lambda file, values: file.create_dataset(W, data=values.astype("c8")),
    "another shape": lambda file, values: file.create_dataset(W, data=values.T),
}


@pytest.mark.parametrize("what", UNMAPPABLE)
def test_what_cannot_be_mapped_is_refused(tmp_path, what):
    """Rows that do not lie one after another in the file, or are no floats of NumPy's."""
    path = write(tmp_path)

    def change(file: Any) -> None:
        del file[W]
        UNMAPPABLE[what](file, weights(0))

    rewrite(path, change)
    with store.open_result(path) as result, pytest.raises(DamagedFileError, match=W):
        result.mapped(W, (6, 20))


def test_floats_of_the_other_byte_order_are_mapped(tmp_path):
    path = write(tmp_path, values=weights(0).astype(">f4"))
    with store.open_result(path) as result:
        assert np.array_equal(result.mapped(W, (6, 20)), weights(0).astype("f4"))


@pytest.mark.parametrize("link", LINKS)
def test_no_link_is_mapped(tmp_path, link):
    path = write(tmp_path)

    def change(file: Any) -> None:
        del file[W]
        link(file, W, tmp_path / "outside")

    rewrite(path, change)
    with store.open_result(path) as result, pytest.raises(DamagedFileError, match="file itself"):
        result.mapped(W, (6, 20))


@pytest.mark.parametrize("name", ["networks/noise/W", "networks", "metrics"])
def test_what_is_no_array_is_refused(tmp_path, name):
    with store.open_result(write(tmp_path)) as result, pytest.raises(DamagedFileError, match=name):
        result.array(name, (6, 20))


def config_of(seed: int) -> str:
    return canonical_json(ArtificialConfig(dim=20, hidden=2000, n=5, n_adv=7, seed=seed))


def write_run(out: Path, seed: int) -> None:
    """One run as the command line does it: checkpoint and result under the lock, then tidy up."""
    values = weights(seed, rows=2000)  # 320 kB, so that most kills land inside a write
    folder = store.folder_for(out, "artificial", config_of(seed))
    with lock(folder / store.LOCK, lambda holder: None):
        checkpoints = Checkpoints(folder, MADE_BY, least=0.0)
        checkpoints.keep("standard", {"W": values})
        write(out, config_of(seed), values)
        checkpoints.clear()


def check_runs(out: Path, seeds: range) -> list[str]:
    """Whatever is there is whole; returns the statuses."""
    seed_of = {run_id(config_of(seed)): seed for seed in seeds}
    statuses = []
    for run in store.list_results(out):
        values = weights(seed_of[run.run_id], rows=2000)
        if run.status == "complete":
            with store.open_result(run.path) as result:
                np.testing.assert_array_equal(result.array(W, (2000, 20)), values)
        state = Checkpoints(run.path.parent, MADE_BY).restore("standard")
        assert state is None or np.array_equal(state["W"], values)
        statuses.append(run.status)
    return statuses


def test_killed_writes_leave_nothing_complete(tmp_path):
    seeds, inside = range(4), 0
    for attempt in range(15):
        out = tmp_path / str(attempt)

        def work(out: Path = out) -> None:
            for seed in itertools.cycle(seeds):
                write_run(out, seed)

        child = fork(work)
        time.sleep(random.uniform(0.005, 0.12))
        assert kill(child) == -signal.SIGKILL
        inside += any(out.rglob(".part-*"))
        assert set(check_runs(out, seeds)) <= {"complete", "interrupted"}
        for seed in seeds:
            write_run(out, seed)
        assert check_runs(out, seeds) == ["complete"] * len(seeds)
        assert not any(out.rglob(".part-*")), "a leftover"
    assert inside > 0, "no kill landed inside a write: this test tested nothing"


def test_list_tells_complete_from_interrupted(tmp_path):
    complete = write(tmp_path)
    damaged = write(tmp_path, config_of(1))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    kept, begun, running = (
        store.folder_for(tmp_path, "artificial", config_of(seed)) for seed in (2, 3, 4)
    )
    Checkpoints(kept, MADE_BY, least=0.0).keep("standard", {"W": weights(0)})
    with lock(begun / store.LOCK, lambda holder: None):
        pass
    store.folder_for(tmp_path, "artificial", config_of(5))  # empty: nothing was begun
    (tmp_path / "artificial" / "notes.txt").write_text("mine")
    child = hold(running / store.LOCK)
    try:
        runs = {run.path: run for run in store.list_results(tmp_path)}
    finally:
        kill(child)
    status = {path.parent: run.status.partition(":")[0] for path, run in runs.items()}
    assert status == {
        complete.parent: "complete",
        damaged.parent: "damaged",
        kept: "interrupted",
        begun: "interrupted",
        running: "running",
    }
    assert runs[complete].metrics == {"acc_adversarial": 0.75}
    assert runs[complete].run_id == complete.parent.name
    assert runs[complete].experiment == "artificial"
    assert "truncated" in runs[damaged].status
    after = {run.path.parent: run.status for run in store.list_results(tmp_path)}
    assert after[running] == "interrupted"


def test_nothing_is_listed_where_nothing_is(tmp_path):
    (tmp_path / "file").write_text("")
    assert list(store.list_results(tmp_path / "missing")) == []
    with pytest.raises(StoreError, match="Not a directory"):
        list(store.list_results(tmp_path / "file"))


def test_a_run_is_found_by_path_id_and_beginning(tmp_path, monkeypatch):
    path = write(tmp_path)
    found = path.parent.name
    for name in (found, found[:6], found[:1], str(path), str(path.parent)):
        assert store.find(tmp_path, name) == path
    monkeypatch.chdir(path.parent)  # a relative path has no folder name of its own
    assert store.find(tmp_path, "result.h5") == path


def test_an_ambiguous_or_unknown_run_is_refused(tmp_path):
    for name in ("ab12", "ab34", "cd56"):
        (tmp_path / "artificial" / name).mkdir(parents=True)
        (tmp_path / "artificial" / name / store.RESULT).touch()
    assert store.find(tmp_path, "ab1").parent.name == "ab12"
    # no pattern, no part but the beginning, and no way out of the folder
    for name in ("ab", "ef", "", "*", "ab1?", "12", "../artificial/ab12"):
        with pytest.raises(InputError, match="run: expected one result below"):
            store.find(tmp_path, name)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="out: expected a folder that can be written"):
        store.folder_for(tmp_path / "file" / "below", "artificial", TEXT)


MADE_BY = {"config": "of a test", "data": "", "code": "this"}


@contextlib.contextmanager
def checkpoint(folder: Path) -> Iterator[Path]:
    """The file of a state that was kept and can be restored."""
    Checkpoints(folder, MADE_BY, least=0.0).keep("standard", {"C": weights(0)})
    (path,) = (folder / FOLDER).iterdir()
    assert Checkpoints(folder, MADE_BY).restore("standard") is not None
    yield path
    with pytest.raises(StoreError):
        Checkpoints(folder, MADE_BY).restore("standard")


@pytest.mark.parametrize("name", MADE_BY)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, name):
    """Of another config, of other data or code: it says which. So is one of another stage, and one
    that does not say what made it, as of earlier revisions."""
    with checkpoint(tmp_path) as path:
        pass_on = Checkpoints(tmp_path, MADE_BY | {name: "other"}, least=0.0)
        with pytest.raises(StoreError, match=f"of the same {name}, got another's"):
            pass_on.restore("standard")
        path.rename(path.with_name("noise.h5"))
        with pytest.raises(StoreError, match="of the same stage"):
            Checkpoints(tmp_path, MADE_BY).restore("noise")
        pass_on.keep("standard", {"C": weights(0)})
    with write_sealed(path) as file:
        file["C"] = weights(0)
    with pytest.raises(StoreError, match="says what made it"):
        Checkpoints(tmp_path, MADE_BY).restore("standard")


def test_a_checkpoint_that_claims_too_much_is_refused(tmp_path):
    """Gigabytes of nothing, which a small file may claim, are not allocated."""
    made_by = MADE_BY | {"stage": "standard"}
    with checkpoint(tmp_path) as path, write_sealed(path, made_by=made_by) as file:
        file.create_dataset("C", (10**4, 10**4), "f4", chunks=(100, 100))
    with pytest.raises(DamagedFileError, match="0 bytes for 400000000"):
        Checkpoints(tmp_path, MADE_BY).restore("standard")


@given(
    values=st.dictionaries(
        st.sampled_from(["W", "V", "loss", "margin"]),
        st.sampled_from(["f4", "f8", "i8", "?"]).flatmap(
            lambda kind: arrays(kind, array_shapes(max_dims=2, min_side=0, max_side=4))
        ),
        min_size=1,
    )
)
def test_checkpoints_restore_what_was_kept(tmp_path, values):
    checkpoints = Checkpoints(tmp_path, MADE_BY, least=0.0)
    checkpoints.clear()
    assert checkpoints.restore("attack") is None
    checkpoints.keep("attack", values)
    restored = Checkpoints(tmp_path, MADE_BY).restore("attack")
    assert restored is not None
    assert restored.keys() == values.keys()
    for name, kept in values.items():
        assert restored[name].dtype == kept.dtype
        np.testing.assert_array_equal(restored[name], kept)
    assert checkpoints.restore("standard") is None


def test_checkpoints_keep_the_last_state_of_every_stage(tmp_path):
    checkpoints = Checkpoints(tmp_path, MADE_BY, least=0.0)
    for value in (1.0, 2.0):
        checkpoints.keep("standard", {"loss": np.array([value])})
    checkpoints.keep("noise", {"loss": np.array([3.0])})
    for stage, last in (("standard", 2.0), ("noise", 3.0)):
        restored = checkpoints.restore(stage)
        assert restored is not None
        assert restored["loss"].tolist() == [last]


def test_cleared_checkpoints_leave_the_result_alone(tmp_path):
    path = write(tmp_path)
    checkpoints = Checkpoints(path.parent, MADE_BY, least=0.0)
    checkpoints.keep("standard", {"C": weights(0)})
    (path.parent / ".part-killed").touch()
    checkpoints.clear()
    checkpoints.clear()  # nothing to do is no error
    assert listing(path.parent) == [store.RESULT]


def test_checkpoints_are_neither_too_many_nor_too_few(tmp_path):
    state = {"C": weights(0)}
    assert Checkpoints(tmp_path, MADE_BY, every=0.0).due()
    assert not Checkpoints(tmp_path, MADE_BY, every=1000.0).due()
    seldom = Checkpoints(tmp_path, MADE_BY, every=0.0, least=1000.0)
    seldom.keep("standard", state)
    assert seldom.restore("standard") is None
    seldom.keep("standard", state, at_once=True)
    assert seldom.restore("standard") is not None


def test_a_damaged_checkpoint_is_refused(tmp_path):
    with checkpoint(tmp_path) as path:
        path.write_bytes(path.read_bytes()[:-1])
    with checkpoint(tmp_path) as path:
        path.write_bytes(path.read_bytes().replace(b"C", b"D"))
    with checkpoint(tmp_path) as path:
        path.write_text("text")
    with checkpoint(tmp_path) as path, h5py.File(path, "w") as file:
        file["C"] = weights(0)
    with checkpoint(tmp_path) as path, write_sealed(path) as file:
        external_storage(file, "C", tmp_path / "outside")


def test_a_full_disk_during_a_checkpoint_keeps_the_last(tmp_path):
    def work() -> int:
        checkpoints = Checkpoints(tmp_path, MADE_BY, least=0.0)
        checkpoints.keep("standard", {"C": weights(0)})
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            checkpoints.keep("standard", {"C": weights(1, rows=2000)})
        except StoreError:
            return 7
        return 0

    assert exit_code(fork(work)) == 7
    restored = Checkpoints(tmp_path, MADE_BY).restore("standard")
    np.testing.assert_array_equal(restored["C"], weights(0))
    assert listing(tmp_path / FOLDER) == ["standard.h5"]


def test_metrics_need_not_be_finite_to_be_shown(tmp_path):
    path = write(tmp_path)
    rewrite(path, lambda file: file["metrics"].attrs.update(acc_noise=math.nan))
    (run,) = store.list_results(tmp_path)
    assert run.status == "complete"
    assert math.isnan(run.metrics["acc_noise"])
