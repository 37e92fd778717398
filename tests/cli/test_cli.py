"""The command line: what is printed, which exit code, and what interruptions leave behind."""

import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from processes import exit_code, fork, hold, kill, wait_until

import reflfap
from reflfap.cli import main as cli
from reflfap.errors import DeviceMemoryError
from reflfap.experiments import artificial, three_networks
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import canonical_json, identity, run_id
from reflfap.experiments.three_networks import in_words
from reflfap.files import is_locked
from reflfap.onehidden import network
from reflfap.runs import progress, provenance, running, store
from reflfap.runs.checkpoints import Checkpoints

SIZES = ("--dim=20", "--hidden=6", "--n=5", "--n-adv=7")
RUN = ("run", "artificial", *SIZES)
SHORT = (*RUN, "--trainer=gd", "--epochs=50")
LONG = (*RUN, "--trainer=gd", "--epochs=12000")  # two seconds
LONG_CONFIG = ArtificialConfig(dim=20, hidden=6, n=5, n_adv=7, epochs=12000, trainer="gd")
L2_METRICS = {
    *("acc_standard", "acc_noise", "acc_adversarial", "acc_noise_own", "acc_adversarial_own"),
    *("loss_standard", "loss_noise", "loss_adversarial", "attack_success", "acc_predicted"),
}


def call(*argv: object) -> int:
    """The exit code of one command; tyro leaves by SystemExit after what it refuses itself."""
    try:
        return cli.main([str(word) for word in argv])
    except SystemExit as end:
        return end.code


def only_result(out: Path) -> Path:
    (path,) = out.glob("*/*/result.h5")
    return path


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        found: dict[str, np.ndarray] = {}
        file.visititems(
            lambda name, item: (
                found.update({name: item[...]}) if isinstance(item, h5py.Dataset) else None
            )
        )
        return found


def assert_same_result(path: Path, other: Path) -> None:
    """Equal to the last bit; only provenance and times may differ."""
    arrays, expected = arrays_of(path), arrays_of(other)
    assert arrays.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays[name], values, err_msg=name)
    with h5py.File(path) as file, h5py.File(other) as reference:
        assert dict(file["metrics"].attrs) == dict(reference["metrics"].attrs)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("norm", ["l2", "linf", "l0"])
def test_json_is_one_object(tmp_path, reflfap_cli, norm):
    said = reflfap_cli(*SHORT, "--norm", norm, "--out", tmp_path, "--json")
    assert said.code == 0
    assert said.json.keys() == {"run_id", "path", "metrics", "wall_seconds"}
    metrics = said.json["metrics"]
    assert metrics.keys() >= L2_METRICS - {"acc_predicted"}
    assert norm != "l2" or "acc_predicted" in metrics
    assert all(0 <= metrics[name] <= 1 for name in metrics if not name.startswith("loss"))
    assert said.json["wall_seconds"] > 0
    config = ArtificialConfig(dim=20, hidden=6, n=5, n_adv=7, trainer="gd", epochs=50, norm=norm)
    expected = tmp_path / "artificial" / run_id(canonical_json(config)) / "result.h5"
    assert said.json["run_id"] == expected.parent.name
    assert Path(said.json["path"]) == expected
    assert expected.is_file()


def test_lines_for_people_hold_the_same(tmp_path, reflfap_cli):
    report = reflfap_cli(*SHORT, "--out", tmp_path, "--json").json
    said = reflfap_cli(*SHORT, "--out", tmp_path)
    shown = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert shown["run"].startswith(report["run_id"])
    path, size = shown["result"].split(maxsplit=1)
    assert path == report["path"]
    assert size == f"({Path(path).stat().st_size / 1e3:.1f} kB)"
    for name, value in report["metrics"].items():
        assert float(shown[name]) == pytest.approx(value, rel=1e-5)


def test_a_result_is_reused_unless_forced(tmp_path, reflfap_cli):
    first = reflfap_cli(*SHORT, "--out", tmp_path, "--json")
    path = only_result(tmp_path)
    content, before = path.read_bytes(), path.stat()
    again = reflfap_cli(*SHORT, "--out", tmp_path, "--json")
    assert (again.code, again.json) == (0, first.json)
    assert "nothing to compute" in again.err
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert path.read_bytes() == content
    kept = tmp_path / "kept.h5"
    kept.write_bytes(content)
    forced = reflfap_cli(*SHORT, "--out", tmp_path, "--json", "--force")
    assert forced.code == 0
    assert path.stat().st_mtime_ns > after.st_mtime_ns
    assert_same_result(path, kept)


def test_a_damaged_result_is_computed_again(tmp_path, reflfap_cli):
    reflfap_cli(*SHORT, "--out", tmp_path)
    path = only_result(tmp_path)
    flip_a_bit(path)
    said = reflfap_cli(*SHORT, "--out", tmp_path, "--json")
    assert said.code == 0
    assert "the content was altered" in said.err
    assert "computing it again" in said.err
    assert reflfap_cli("verify", "--out", tmp_path).code == 0


def plant_a_checkpoint(out: Path) -> None:
    """A state of SHORT that differs from its own."""
    config = ArtificialConfig(dim=20, hidden=6, n=5, n_adv=7, trainer="gd", epochs=50)
    folder = store.folder_for(out, "artificial", canonical_json(config))
    C = np.ones((6, 5), dtype=np.float32)
    state = {"C": C, "U": C, "loss": np.array([3.0, 2.0, 1.0])}
    origin = provenance.made_by(config, "", {})
    Checkpoints(folder, origin).keep("standard", state, at_once=True)


def test_force_starts_from_the_beginning(tmp_path, reflfap_cli):
    reflfap_cli(*SHORT, "--out", tmp_path / "expected")
    for option, resumes in (("--json", True), ("--force", False)):
        out = tmp_path / option
        plant_a_checkpoint(out)
        said = reflfap_cli(*SHORT, "--out", out, option)
        assert said.code == 0
        assert ("standard: resumed" in said.err) == resumes
    assert_same_result(only_result(out), only_result(tmp_path / "expected"))


def test_saved_data_are_what_the_seed_draws(tmp_path, reflfap_cli):
    options = (*SHORT, "--seed=3", "--out", tmp_path)
    assert reflfap_cli(*options).code == 0
    assert "data/natural/x" not in arrays_of(only_result(tmp_path))
    assert reflfap_cli(*options, "--save-data").code == 0  # not in the result: computed again
    path = only_result(tmp_path)
    arrays = arrays_of(path)
    config = ArtificialConfig(dim=20, hidden=6, n=5, n_adv=7, trainer="gd", epochs=50, seed=3)
    for name, drawn in (("natural", artificial.natural), ("noise", artificial.noise)):
        x, y = drawn(config)
        np.testing.assert_array_equal(arrays[f"data/{name}/x"], x)
        np.testing.assert_array_equal(arrays[f"data/{name}/y"], y)
    np.testing.assert_array_equal(arrays["data/adversarial/y"], arrays["data/noise/y"])
    written = path.stat().st_mtime_ns
    for more in ([], ["--save-data"]):  # now all is there, whatever is asked for
        assert reflfap_cli(*options, *more).code == 0
    assert path.stat().st_mtime_ns == written


def test_samples_that_are_not_stored_can_be_made_again(tmp_path, reflfap_cli):
    """From the noise and the stored standard network, to the last bit; 8 of them are there."""
    options = (*SHORT, "--n-adv=12", "--epsilon=0.5", "--save-networks", "--out", tmp_path)
    reflfap_cli(*options)
    some = arrays_of(only_result(tmp_path))
    with store.open_result(only_result(tmp_path)) as result:
        config = result.config
    net = network(some["networks/standard/W"], config.slope)
    made = three_networks.attacked(config, net, *artificial.noise(config), (-1.0, 1.0))
    reflfap_cli(*options, "--save-data")
    every = arrays_of(only_result(tmp_path))
    np.testing.assert_array_equal(made.x, every["data/adversarial/x"])
    for part in "xy":
        name = f"data/adversarial/{part}"
        assert len(some[name]) == 8
        np.testing.assert_array_equal(some[name], every[name][:8])


def test_figures_are_drawn_as_png_and_pdf(tmp_path, reflfap_cli):
    said = reflfap_cli(*SHORT, "--out", tmp_path, "--figure")
    assert said.code == 0
    folder = only_result(tmp_path).parent
    for name, start in (("decision_map.png", b"\x89PNG\r\n"), ("decision_map.pdf", b"%PDF-")):
        content = (folder / name).read_bytes()
        assert content.startswith(start)
        assert len(content) > 5000
        assert str(folder / name) in said.out


def test_list_show_and_verify(tmp_path, reflfap_cli):
    report = reflfap_cli(*SHORT, "--out", tmp_path, "--json").json
    found = report["run_id"]
    (row,) = reflfap_cli("list", "--out", tmp_path, "--json").json
    assert row["run_id"] == found
    assert (row["experiment"], row["status"]) == ("artificial", "complete")
    assert row["metrics"] == report["metrics"]
    assert row["path"] == report["path"]
    assert f"{found}  complete" in reflfap_cli("list", "--out", tmp_path).out
    for name in (found, found[:5], report["path"]):
        shown = reflfap_cli("show", name, "--out", tmp_path, "--json").json
        assert report.items() <= shown.items()
        assert shown["config"]["dim"] == 20
        assert shown["attributes"]["backend"] == "numpy"
    lines = reflfap_cli("show", found, "--out", tmp_path).out
    blocks = {part.partition(":\n")[0]: part for part in lines.split("\n\n")[1:]}
    assert {name: blocks[name].count("\n") for name in list(blocks)[:2]} == {
        "settings that differ from the defaults": 7,  # the sizes, epsilon with one, trainer, epochs
        "all other settings": len(shown["config"]) - 1 - 7,
    }
    assert blocks["metrics"].count("\n") == len(report["metrics"])
    assert re.search(r"^  dim +20$", blocks["settings that differ from the defaults"], re.M)
    assert re.search(r"^  backend +numpy$", blocks["made by"], re.M)
    assert not set('{}"') & set(lines)  # no JSON
    for names in ((), (found,), (report["path"],)):
        said = reflfap_cli("verify", *names, "--out", tmp_path)
        assert said.code == 0
        arrays = 9 + 2 + 6  # traces, x and y, the plane
        assert said.out == f"good     {report['path']}  ({arrays} arrays)\n"


def test_a_report_in_words(tmp_path, reflfap_cli):
    """Each network with its accuracy, where there is a prediction with it; on test images first."""
    said = reflfap_cli(*SHORT, "--out", tmp_path)
    metrics = reflfap_cli(*SHORT, "--out", tmp_path, "--json").json["metrics"]
    expected = f"{metrics['acc_adversarial']:.3f} of natural samples (predicted "
    assert f"adversarial network: {expected}" in said.out
    assert "standard network: 1.000 of natural samples (chance 0.5)" in said.out
    lines = list(in_words({"acc_standard_test": 0.25, "acc_standard": 1.0}))
    assert lines == ["standard network: 0.250 of test samples"]
    assert list(in_words({"other": 1.0})) == []


def test_list_can_be_narrowed_and_sorted(tmp_path, reflfap_cli):
    """The newest first, or the largest by what is asked for; settings as they may be written."""
    for seed, norm in enumerate(("l2", "linf", "l2")):
        reflfap_cli(*SHORT, "--seed", seed, "--norm", norm, "--epsilon", "0.5", "--out", tmp_path)
    (tmp_path / "artificial" / "0123456789abcdef").mkdir()
    store.record_failure(tmp_path / "artificial" / "0123456789abcdef", "a reason")

    def seeds(*words):
        runs = reflfap_cli("list", "--out", tmp_path, "--json", *words).json
        ids = {identity(one): one.seed for one in configs}
        return [ids.get(run["run_id"]) for run in runs]

    kind = partial(ArtificialConfig, dim=20, hidden=6, n=5, n_adv=7, trainer="gd", epochs=50)
    configs = [kind(norm=norm, seed=n, epsilon=0.5) for n, norm in enumerate(("l2", "linf", "l2"))]
    assert sorted(seeds("--where", "norm=l2")) == [0, 2]
    assert seeds("--where", "norm=linf", "n-adv=7", "epsilon=5e-1") == [1]
    assert seeds("--where", "status=failed") == [None]
    assert seeds("--where", "nothing=1") == []
    assert set(seeds("--sort", "seconds")[:3]) == {0, 1, 2}  # the failed one took none
    rows = reflfap_cli("list", "--out", tmp_path, "--json", "--sort", "size").json
    sizes = [row["size"] for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    created = [row["created"] for row in reflfap_cli("list", "--out", tmp_path, "--json").json]
    assert created == sorted(created, reverse=True)
    shown = reflfap_cli("list", "--out", tmp_path).out
    assert "failed: a reason" in shown
    assert "norm=linf" in shown
    for words in (("--where", "norm"), ("--sort", "name")):
        assert reflfap_cli("list", "--out", tmp_path, *words).code == 2


def test_runs_are_removed_after_asking(tmp_path, reflfap_cli, monkeypatch):
    """No other goes along, and none while a process works on it."""
    runs = [reflfap_cli(*SHORT, "--seed", n, "--out", tmp_path, "--json").json for n in range(3)]
    first, second, third = (run["run_id"] for run in runs)
    said = reflfap_cli("rm", first, "--out", tmp_path)
    assert (said.code, "give --yes" in said.err) == (2, True)
    assert reflfap_cli("rm", "--out", tmp_path).code == 2
    assert reflfap_cli("rm", "", "--out", tmp_path, "--yes").code == 2
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, left in (("n", 3), ("", 3), ("y", 2)):
        monkeypatch.setattr("builtins.input", lambda answer=answer: answer)
        said = reflfap_cli("rm", first, "--out", tmp_path)
        assert (said.code == 0) == (left == 2)
        assert len(list(tmp_path.glob("artificial/*"))) == left
    child = hold(tmp_path / "artificial" / second / store.LOCK)
    said = reflfap_cli("rm", second, third[:9], "--out", tmp_path, "--yes")
    kill(child)
    assert (said.code, "a process works on it" in said.err) == (1, True)
    assert [path.name for path in tmp_path.glob("artificial/*")] == [second]


def test_list_and_verify_of_nothing(tmp_path, reflfap_cli):
    said = reflfap_cli("list", "--out", tmp_path)
    assert (said.code, said.out) == (0, "")
    assert "no runs below" in said.err
    assert reflfap_cli("list", "--out", tmp_path, "--json").json == []
    for folder in (tmp_path, tmp_path / "nowhere"):
        said = reflfap_cli("verify", "--out", folder)
        assert said.code == 1
        assert f"expected results below {folder}, got none" in said.err


def test_verify_fails_for_a_damaged_file(tmp_path, reflfap_cli):
    for seed in range(3):
        reflfap_cli(*SHORT, "--seed", seed, "--out", tmp_path)
    damaged = sorted(tmp_path.glob("*/*/result.h5"))[0]
    flip_a_bit(damaged)
    said = reflfap_cli("verify", "--out", tmp_path)
    assert said.code == 1
    assert said.out.startswith(f"damaged  {damaged}: expected SHA-256")
    assert said.out.count("good") == 2  # the check goes on after the first damage
    assert said.err == "reflfap: failed: 1 of 3 files are damaged or cannot be read"
    told = reflfap_cli("verify", "--out", tmp_path, "--json")
    assert (told.code, len(told.json["good"]), list(told.json["bad"])) == (1, 2, [str(damaged)])
    shown = reflfap_cli("show", damaged.parent.name, "--out", tmp_path)
    assert (shown.code, shown.out) == (1, "")


BAD = {  # options: what the message must name
    ("--hidden=7",): "hidden: expected an even number, got 7; use 8",
    ("--hidden=0",): "hidden: expected at least 2, got 0; give",
    ("--n=0",): "n: expected at least 1, got 0; give",
    ("--n-adv=-3",): "n_adv: expected at least 1, got -3; give",
    ("--dim=0",): "dim: expected at least 1, got 0; give",
    ("--dim=1" + 400 * "0",): "dim: expected at most",
    ("--epochs=0",): "epochs: expected at least 1, got 0; give",
    ("--seed=-1",): "seed: expected at least 0, got -1; give",
    ("--epsilon=-0.5",): "epsilon: expected a finite number in [0, inf), got -0.5; choose",
    ("--epsilon=nan",): "epsilon: expected a finite number in [0, inf), got nan; choose",
    ("--epsilon=inf",): "epsilon: expected a finite number in [0, inf), got inf; choose",
    ("--norm=l0", "--epsilon=0"): "epsilon: expected a finite number in (0, 1], got 0.0; choose",
    ("--norm=l0", "--epsilon=1.5"): "epsilon: expected a finite number in (0, 1], got 1.5; choose",
    ("--norm=l0", "--attack-steps=7"): "attack_steps: expected 1, one step a pixel, got 7; leave",
    ("--attack-steps=-1",): "attack_steps: expected at least 0, got -1; give",
    ("--norm=l3",): "invalid choice 'l3' for argument '--norm'. Expected one of ('l0', 'l2'",
    ("--variant=sign",): "variant: expected one of released, got 'sign'; choose",
    ("--norm=linf", "--variant=tracked"): "variant: expected one of rescale, sign, got 'tracked'",
    ("--variant=",): "variant: expected one of released, got ''; choose",
    ("--slope=0",): "slope: expected a finite number in (0, 1), got 0.0; choose",
    ("--slope=1",): "slope: expected a finite number in (0, 1), got 1.0; choose",
    ("--data=mnist",): "invalid choice 'mnist' for argument '--data'",
    ("--dtype=float16",): "invalid choice 'float16' for argument '--dtype'",
    ("--dim=many",): "--dim",
    ("--epoch=5",): "--epoch",
}


@pytest.mark.parametrize("options", BAD)
def test_bad_arguments_are_refused(tmp_path, reflfap_cli, options):
    said = reflfap_cli(*RUN, *options, "--out", tmp_path / "results", "--json")
    assert (said.code, said.out) == (2, "")
    assert BAD[options] in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "results").exists()


UNKNOWN = {  # what was asked for: what the message says
    ("fly",): "figures, audit, list, show, export, verify, rm, completion, got fly",
    ("run",): "expected one of run artificial, run images, run ",
    ("run", "artifical"): "did you mean run artificial",
    ("rum", "images"): "got rum images; did you mean run images",
    ("lists",): "did you mean list?",
    ("sweep", "nothing"): "expected one of sweep artificial, sweep images, sweep learn, sweep wide",
}


@pytest.mark.parametrize("words", UNKNOWN)
def test_unknown_commands_are_refused(reflfap_cli, words):
    said = reflfap_cli(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("reflfap: error: command: ")
    assert UNKNOWN[words] in said.err


@pytest.mark.parametrize(
    ("words", "of"),
    [
        ((), ""),
        (("help",), ""),
        (("-h",), ""),
        (("run", "--help"), "run "),
        (("help", "sweep"), "sweep "),
    ],
)
def test_help_on_what_there_is(reflfap_cli, words, of):
    """All commands, or those of a group, each with its summary."""
    said = reflfap_cli(*words)
    assert (said.code, said.err) == (0, "")
    listed = [line for line in said.out.splitlines() if line.startswith("  ")]
    names = [" ".join(command) for command in cli.commands()]
    assert len(listed) == sum(name.startswith(of) for name in names)
    assert all(any(line.startswith(f"  {name}") for name in names) for line in listed)


def test_a_reader_that_has_seen_enough_ends_it_quietly(tmp_path):
    """As `head` does."""
    command = [sys.executable, "-m", "reflfap", "audit", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_cuda_without_cupy_is_refused(tmp_path, reflfap_cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # import fails, as where it is not installed
    said = reflfap_cli(*SHORT, "--device=cuda", "--out", tmp_path / "results")
    assert (said.code, said.out) == (2, "")
    assert "device: expected CuPy for cuda, got no cupy package; install it" in said.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:"])
@pytest.mark.parametrize("command", ["run artificial", "run images", "sweep artificial"])
def test_an_unknown_device_is_refused(tmp_path, reflfap_cli, command, device):
    out = tmp_path / "results"
    said = reflfap_cli(*command.split(), "--device", device, "--out", out)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"reflfap: error: device: expected cpu, cuda or cuda:K, got {device!r}; choose one of these"
    )
    assert not out.exists()


def test_a_missing_driver_is_reported(tmp_path, reflfap_cli):
    cupy = pytest.importorskip("cupy")
    if cupy.is_available():
        pytest.skip("there is a device")
    said = reflfap_cli(*SHORT, "--device=cuda:0", "--out", tmp_path / "results")
    assert (said.code, said.out) == (2, "")
    assert "device: expected a CUDA device and its driver for cuda, got cudaError" in said.err
    assert "or choose --device cpu" in said.err


def test_exhausted_memory_of_a_device_is_reported(tmp_path, reflfap_cli, monkeypatch):
    def exhausted(*args, **options):
        raise DeviceMemoryError("device memory: expected room")

    monkeypatch.setattr(artificial, "cell", exhausted)
    said = reflfap_cli(*SHORT, "--out", tmp_path)
    assert (said.code, said.out) == (1, "")
    assert said.err == "reflfap: failed: device memory: expected room"


def test_an_unwritable_folder_is_refused(tmp_path, reflfap_cli):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        said = reflfap_cli(*SHORT, "--out", out)
        assert (said.code, said.out) == (2, "")
        assert f"out: expected a folder that can be written, got {out}" in said.err
        assert "choose another --out" in said.err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", ["show", "verify"])
def test_an_unknown_run_is_refused(tmp_path, reflfap_cli, command):
    said = reflfap_cli(command, "0123456789abcdef", "--out", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "run: expected one result below" in said.err
    assert "got 0 for '0123456789abcdef'; `reflfap list` shows the run ids" in said.err


def test_a_device_too_small_for_the_run_is_reported(tmp_path, reflfap_cli):
    said = reflfap_cli(*RUN, "--n=1000000000", "--dim=1000000000", "--out", tmp_path)
    assert (said.code, said.out) == (1, "")
    assert "failed: Unable to allocate" in said.err


def test_help_and_version(reflfap_cli):
    assert reflfap_cli("--version").out == f"reflfap {reflfap.__version__}\n"
    assert "run artificial" in reflfap_cli("--help").out
    said = reflfap_cli("run", "artificial", "--help")
    assert said.code == 0
    names = "dim hidden n n-adv norm epsilon data slope loss trainer epochs attack-steps variant"
    for name in [*names.split(), "seed", "device", "dtype", "out", "json"]:  # the stable options
        assert re.search(rf"--{name}\b", said.out), name


def test_progress_is_silent_without_a_terminal(tmp_path, reflfap_cli):
    assert reflfap_cli(*SHORT, "--out", tmp_path).err == ""
    assert reflfap_cli("show", only_result(tmp_path)).err == ""


def test_progress_is_drawn_on_a_terminal(tmp_path, reflfap_cli, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress.tqdm, "monitor_interval", 0)  # no thread that outlives the test
    said = reflfap_cli(*SHORT, "--out", tmp_path, "--json")
    assert said.json["metrics"]
    for stage in ("standard", "noise", "attack", "adversarial"):
        assert f"{stage}: 100%" in said.err


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The result of LONG, computed in one go."""
    out = tmp_path_factory.mktemp("undisturbed")
    assert call(*LONG, "--out", out) == 0
    return only_result(out)


def folder_of(out: Path) -> Path:
    return out / "artificial" / run_id(canonical_json(LONG_CONFIG))


def kept_within_a_stage(out: Path) -> bool:
    """Whether LONG left a state of an unfinished training."""
    checkpoints = Checkpoints(folder_of(out), provenance.made_by(LONG_CONFIG, "", {}))
    kept = [checkpoints.restore(stage) or {} for stage in ("standard", "noise", "adversarial")]
    return any(0 < len(state.get("loss", ())) < LONG_CONFIG.epochs for state in kept)


@contextlib.contextmanager
def begun(out: Path) -> Iterator[subprocess.Popen[str]]:
    """LONG in an interpreter of its own that has begun to compute."""
    command = [sys.executable, "-m", "reflfap", *LONG, "--out", str(out), "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            wait_until(lambda: is_locked(folder_of(out) / store.LOCK))
            time.sleep(random.uniform(0.1, 0.4))
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_resumes(tmp_path, reflfap_cli, undisturbed, number):
    with begun(tmp_path) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "the same command resumes" in err
    assert "Traceback" not in err
    assert kept_within_a_stage(tmp_path)
    assert "interrupted" in reflfap_cli("list", "--out", tmp_path).out
    said = reflfap_cli(*LONG, "--out", tmp_path, "--json")
    assert said.code == 0
    assert "standard: resumed from a checkpoint" in said.err
    assert_same_result(Path(said.json["path"]), undisturbed)
    assert sorted(entry.name for entry in folder_of(tmp_path).iterdir()) == ["lock", "result.h5"]


def test_a_second_signal_ends_at_once(tmp_path):
    def work() -> None:
        with progress.RunMonitor(Checkpoints(tmp_path, {})):
            os.kill(os.getpid(), signal.SIGINT)
            (tmp_path / "still running").touch()
            os.kill(os.getpid(), signal.SIGTERM)
            (tmp_path / "not reached").touch()

    assert exit_code(fork(work)) == 130
    assert [entry.name for entry in tmp_path.iterdir()] == ["still running"]


def test_a_signal_while_the_result_is_written_does_no_harm(tmp_path, monkeypatch):
    """It is there, and the command says that it was interrupted; again, it finds the result."""

    def write(*content: object) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        return real_write(*content)

    real_write = store.write
    monkeypatch.setattr(store, "write", write)
    assert exit_code(fork(lambda: call(*SHORT, "--out", tmp_path))) == 130
    with store.open_result(only_result(tmp_path)):
        pass
    monkeypatch.setattr(store, "write", lambda *content: pytest.fail("computed again"))
    assert exit_code(fork(lambda: call(*SHORT, "--out", tmp_path))) == 0


def test_signals_work_as_before_after_a_run(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    call(*SHORT, "--out", tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def start(out: Path, log: Path, every: float = 60.0) -> int:
    """The id of a child that does LONG, a checkpoint `every` seconds, and prints to files."""

    def work() -> int:
        running.Checkpoints = partial(running.Checkpoints, every=every, least=0.0)
        with open(f"{log}.out", "w") as sys.stdout, open(f"{log}.err", "w") as sys.stderr:
            return call(*LONG, "--out", out, "--json")

    return fork(work)


def test_killed_runs_resume(tmp_path, undisturbed):
    ends, said, within = [], "", False
    while 0 not in ends:
        assert len(ends) < 100, "the run never ends"
        child = start(tmp_path, tmp_path / "log", every=0.05)
        # ever longer: a restart reads and writes all states, which takes what the disk makes of it
        time.sleep(random.uniform(0.02, 0.2 + 0.05 * len(ends)))
        ends.append(kill(child))  # too late for a child that has ended: then its own exit code
        log = tmp_path / "log.err"
        said += log.read_text() if log.exists() else ""
        within |= kept_within_a_stage(tmp_path)
        for run in store.list_results(tmp_path):
            assert run.status in ("interrupted", "complete")
    assert set(ends) == {0, -signal.SIGKILL}
    assert "standard: resumed" in said
    assert "noise: resumed" in said
    assert within
    assert_same_result(only_result(tmp_path), undisturbed)


def test_two_processes_share_a_run(tmp_path, undisturbed):
    logs = [tmp_path / "first", tmp_path / "second"]
    first = start(tmp_path / "results", logs[0])
    wait_until(lambda: is_locked(folder_of(tmp_path / "results") / store.LOCK))
    second = start(tmp_path / "results", logs[1])
    assert [exit_code(first), exit_code(second)] == [0, 0]
    reports = [json.loads(log.with_suffix(".out").read_text()) for log in logs]
    assert reports[0] == reports[1]
    assert logs[0].with_suffix(".err").read_text() == ""
    said = logs[1].with_suffix(".err").read_text()
    assert f"another process ({first}) is working on this run; waiting" in said
    assert "nothing to compute" in said
    assert_same_result(only_result(tmp_path / "results"), undisturbed)


def test_different_runs_do_not_wait(tmp_path):
    child = start(tmp_path, tmp_path / "other")
    wait_until(lambda: is_locked(folder_of(tmp_path) / store.LOCK))
    assert call(*SHORT, "--out", tmp_path) == 0
    assert kill(child) == -signal.SIGKILL  # it was still at work


def test_a_full_disk_is_reported(tmp_path):
    def work() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        with open(tmp_path / "err", "w") as sys.stderr:
            return call(*SHORT, "--out", tmp_path)

    assert exit_code(fork(work)) == 1
    assert "result.h5: writing failed" in (tmp_path / "err").read_text()
    (run,) = store.list_results(tmp_path)
    assert run.status.startswith("failed: StoreError")
    assert call(*SHORT, "--out", tmp_path) == 0


def test_a_picture_that_cannot_be_written_is_reported(tmp_path, reflfap_cli):
    reflfap_cli(*SHORT, "--out", tmp_path)
    (only_result(tmp_path).parent / "decision_map.png").mkdir()
    said = reflfap_cli(*SHORT, "--out", tmp_path, "--figure")
    assert (said.code, said.out) == (1, "")
    assert "decision_map.png" in said.err
