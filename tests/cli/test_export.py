"""`reflfap export`: what leaves is what the result holds, and what eight bits destroy is said."""

import csv
import json

import numpy as np
import pytest
from matplotlib import image
from perturbed_results import change, store_set
from result_files import ATTRIBUTES

from reflfap.cli import export
from reflfap.cli import main as cli
from reflfap.cli.export import Rounding
from reflfap.data_loaders.images import load
from reflfap.experiments.certificates import CertificatesConfig
from reflfap.experiments.experiment import canonical_json
from reflfap.experiments.images import prepare, two_classes
from reflfap.experiments.perturb_config import PerturbConfig
from reflfap.runs import store
from reflfap.runs.running import Place

SIZES = ("--hidden=6", "--n=20")


@pytest.fixture
def exported(tmp_path, capsys):
    """Run a command, which must end with `code`; what it printed."""

    def run(*words, code=0):
        out = () if "--out" in words else ("--out", tmp_path / "out")
        assert cli.main([str(word) for word in (*words, *out)]) == code
        return capsys.readouterr()

    return run


@pytest.fixture
def images(tmp_path, exported):
    """A run on images, whose samples are all there."""
    exported("run", "images", *SIZES, "--n-adv=30", "--epochs=100")
    (path,) = tmp_path.glob("out/images/*/result.h5")
    return path


@pytest.fixture
def perturbed(tmp_path):
    """A perturbed set, of known perturbations."""
    return store_set(tmp_path / "out", PerturbConfig(n_adv=600, scenario="natural-random"))


def pictures(folder):
    """(N, H, W) grey levels of a folder's pictures, and the targets, in the order of the table."""
    with (folder / "targets.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(list(folder.iterdir())) == len(rows) + 1
    levels = [np.rint(image.imread(folder / row["file"]) * 255) for row in rows]
    return np.array(levels), [row["target"] for row in rows]


def test_arrays_are_those_of_the_result(tmp_path, exported, images):
    """Bit for bit, under their names, with the config; readable without pickles."""
    said = exported("export", images, "--npz", tmp_path / "all.npz")
    assert said.out == f"arrays    {tmp_path / 'all.npz'}\n"
    with store.open_result(images) as result, np.load(tmp_path / "all.npz") as found:
        names = [one for one in result.names() if one.startswith(("networks/", "data/"))]
        assert set(found) == {*names, "config_json"}
        assert str(found["config_json"]) == result.attributes["config_json"]
        W = result.array("networks/adversarial/W", (6, 784))
        assert np.array_equal(found["networks/adversarial/W"], W)
        x = result.array("data/adversarial/x", (30, 784))
        assert np.array_equal(found["data/adversarial/x"], x)
        assert found["data/adversarial/y"].dtype == x.dtype


def test_what_a_result_does_not_hold_is_said(tmp_path, exported):
    """By default the first 8 perturbed samples; with --save-data all, and nothing is said."""
    run = ("run", "artificial", *SIZES, "--dim=20", "--n-adv=9", "--trainer=gd", "--epochs=5")
    for more, count in (((), 8), (("--save-data",), 9)):
        exported(*run, *more)
        (path,) = tmp_path.glob("out/artificial/*/result.h5")
        said = exported("export", path, "--npz", tmp_path / f"{count}.npz")
        assert ("the result holds 8 of 9 perturbed samples" in said.err) == (count == 8)
        assert np.load(tmp_path / f"{count}.npz")["data/adversarial/x"].shape == (count, 20)


@pytest.mark.parametrize("centre", [False, True])
def test_pictures_of_two_classes(tmp_path, exported, centre):
    """Grey levels are the perturbed images, rounded; the mean that centring took is put back."""
    more = ("--centre", "--scenario=natural-random") if centre else ()
    exported("run", "images", *SIZES, "--n-adv=30", "--epochs=100", "--epsilon=1", *more)
    (path,) = tmp_path.glob("out/images/*/result.h5")
    exported("export", path, "--png", tmp_path / "pictures")
    levels, targets = pictures(tmp_path / "pictures")
    with store.open_result(path) as result:
        x = result.array("data/adversarial/x", (-1, 784))
        y = result.array("data/adversarial/y", (-1,))
        of = result.config
    mean = prepare(of, two_classes(of, Place(tmp_path).inputs().images)).mean
    assert bool(np.any(mean)) == centre
    expected = np.clip((x + mean + 1) * 127.5, 0, 255).reshape(-1, 28, 28)
    assert np.abs(levels - expected).max() <= 0.5 + 1e-3
    assert targets == [of.classes[0] if one > 0 else of.classes[1] for one in y]


def test_pictures_of_a_set(tmp_path, exported, perturbed):
    """Each with its target; unchanged is what a perturbation below half a grey level leaves."""
    said = exported("export", perturbed, "--png", tmp_path / "set", "--json")
    told = json.loads(said.out)
    levels, targets = pictures(tmp_path / "set")
    with store.open_result(perturbed) as result:
        x = result.array("data/adversarial/x", (600, 1, 28, 28))[:, 0]
        y = result.array("data/adversarial/y", (600,), "i")
    assert targets == [load("embedded", "train").class_names[one] for one in y]
    assert np.array_equal(levels, np.clip(np.rint(x * 255), 0, 255))
    eta = change(PerturbConfig(), 600)
    assert told["images"] == 600
    assert told["perturbation_rms"] == pytest.approx(np.sqrt((eta**2).mean()), rel=1e-4)
    assert told["perturbation_largest"] == pytest.approx(np.abs(eta).max(), rel=1e-5)
    error = levels / 255 - x
    assert told["rounding_rms"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-6)
    assert told["rounding_largest"] == pytest.approx(np.abs(error).max(), rel=1e-6)
    assert 0 < told["unchanged_images"] < 600
    assert told["unchanged"] == pytest.approx(told["unchanged_images"] / 599)  # an input an image
    for number in (told["rounding_rms"], told["perturbation_rms"]):
        assert f"{number:.2g}" in said.err
    assert f"{told['unchanged_images']} of 600 images" in said.err


def test_counts_do_not_depend_on_blocks():
    """Of two blocks the same as of one."""
    rng = np.random.default_rng(0)
    source = rng.random((9, 3, 4, 5), np.float32)
    x = source + rng.normal(0, 0.003, source.shape).astype(np.float32)
    whole, parts = Rounding(), Rounding()
    levels = whole.rounded(x, source)
    assert np.array_equal(
        levels, [*parts.rounded(x[:4], source[:4]), *parts.rounded(x[4:], source[4:])]
    )
    assert parts.as_json() == pytest.approx(whole.as_json())
    assert 0 < whole.as_json()["unchanged"] < 1


def test_colours(tmp_path):
    """Channels are red, green and blue."""
    pixels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    (tmp_path / "one.png").write_bytes(export._png(pixels))
    found = np.rint(image.imread(tmp_path / "one.png") * 255)
    assert np.array_equal(found, np.moveaxis(pixels, 0, -1))


def test_nothing_is_written_over(tmp_path, exported, perturbed):
    """Without --force; with it what was exported alone, and never a folder with other files."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    for option, name in (("--npz", "one.npz"), ("--png", "one")):
        to = tmp_path / name
        exported("export", perturbed, option, to)
        before = to.stat().st_mtime_ns
        assert "--force to replace" in exported("export", perturbed, option, to, code=2).err
        assert to.stat().st_mtime_ns == before
        exported("export", perturbed, option, to, "--force")
        assert to.stat().st_mtime_ns > before
    for force in ((), ("--force",)):
        said = exported("export", perturbed, "--png", tmp_path / "mine", *force, code=2)
        assert "with other files" in said.err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["mine", "one", "one.npz", "out"]
    assert (tmp_path / "mine" / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize("option", ["--npz", "--png"])
def test_nothing_half_written_is_left(tmp_path, exported, perturbed, monkeypatch, option):
    """A full disk leaves what was there before."""
    to = tmp_path / "one"
    exported("export", perturbed, option, to)
    before = sorted(to.rglob("*")) or to.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.np, "savez", full)
    monkeypatch.setattr(export, "_table", full)
    said = exported("export", perturbed, option, to, "--force", code=1)
    assert "No space left" in said.err
    assert (sorted(to.rglob("*")) or to.read_bytes()) == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one", "out"]


def test_the_last_step_can_fail(tmp_path, exported, perturbed, monkeypatch):
    """Then the pictures of before are put back."""
    exported("export", perturbed, "--png", tmp_path / "one")
    real = export.Path.rename

    def rename(path, to):
        if path.suffix == ".part":
            raise OSError(28, "No space left on device")
        return real(path, to)

    monkeypatch.setattr(export.Path, "rename", rename)
    exported("export", perturbed, "--png", tmp_path / "one", "--force", code=1)
    assert len(pictures(tmp_path / "one")[1]) == 600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one", "out"]


def test_what_has_no_images_is_refused(tmp_path, exported):
    """Typed, with what does; and a result without arrays, and a command without a place."""
    exported("run", "artificial", *SIZES, "--dim=20", "--n-adv=3", "--trainer=gd", "--epochs=5")
    (path,) = tmp_path.glob("out/artificial/*/result.h5")
    said = exported("export", path, "--png", tmp_path / "pictures", code=2)
    assert (
        "run: expected a run of perturb or images, which holds images, got one of art" in said.err
    )
    for more in ((), ("--npz", "a", "--png", "b")):
        assert "--npz FILE or --png FOLDER" in exported("export", path, *more, code=2).err
    text = canonical_json(CertificatesConfig())
    folder = store.folder_for(tmp_path / "out", "certificates", text)
    empty = store.write(folder, text, ATTRIBUTES, {}, {})
    said = exported("export", empty, "--npz", tmp_path / "all.npz", code=2)
    assert "a result with networks or samples" in said.err
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_other_images_are_refused(tmp_path, exported):
    """Sources are not drawn from images that a set was not made from."""
    path = store_set(tmp_path / "out", PerturbConfig(n_adv=20), digests="others")
    said = exported("export", path, "--png", tmp_path / "pictures", code=1)
    assert "expected the images that the result was made from" in said.err
    assert not (tmp_path / "pictures").exists()
