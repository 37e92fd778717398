"""Image sets as HDF5: the same set, quicker; nothing else is accepted."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_loaders.converted import convert, load_converted, read_images, write_images
from data_loaders.images import load
from data_loaders.registry import place
from reflfap import cli
from reflfap.errors import DamagedFileError, InputError
from reflfap.files import write_sealed


@pytest.fixture
def folder(tmp_path):
    """The embedded set in the place of Fashion-MNIST, which it is a part of."""
    target = tmp_path / "fashion-mnist"
    target.mkdir()
    for path in place("embedded").glob("*.gz"):
        (target / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_converted_set_is_the_set(folder, split):
    """Images, labels, names, source and digest, to the last bit."""
    path = convert("fashion-mnist", split, folder)
    assert path == folder / "fashion-mnist" / f"{split}.h5"
    expected, got = (
        load("fashion-mnist", split, folder),
        load_converted("fashion-mnist", split, folder),
    )
    assert np.array_equal(got.images, expected.images)
    assert np.array_equal(got.labels, expected.labels)
    assert got.images.dtype == np.uint8
    assert got[2:] == expected[2:]


def test_perturbed_sets_are_kept_as_floats(tmp_path):
    """Perturbed images leave the bytes; float32 goes in and comes out."""
    plain = load("embedded", "test")
    moved = plain._replace(images=plain.floats() - np.float32(0.1))
    write_images(tmp_path / "moved.h5", moved)
    got = read_images(tmp_path / "moved.h5")
    assert got.images.dtype == np.float32
    assert np.array_equal(got.images, moved.images)
    with pytest.raises(InputError, match="images: expected uint8 or float32"):
        write_images(tmp_path / "double.h5", plain._replace(images=plain.floats("float64")))


def test_damaged_files_are_refused(tmp_path):
    """Well sealed files with the wrong content, each part in turn."""
    good = {
        "images": np.zeros((3, 1, 2, 2), np.uint8),
        "labels": np.asarray([0, 1, 1]),
        "names": "a\nb",
    }
    wrong = [
        {"images": np.zeros((3, 2, 2), np.uint8)},
        {"images": np.zeros((3, 1, 2, 2), np.int16)},
        {"images": np.zeros((2, 1, 2, 2), np.uint8)},
        {"labels": np.asarray([0, 1, 2])},
        {"labels": np.asarray([0, -1, 1])},
        {"labels": np.asarray([0.0, 1, 1])},
        {"names": 3},
        {"images": h5py.ExternalLink("elsewhere.h5", "images")},
        {"images": h5py.SoftLink("/labels")},
    ]
    for number, change in enumerate([{}, *wrong]):
        path, content = tmp_path / f"{number}.h5", good | change
        with write_sealed(path) as file:
            file["images"], file["labels"] = content["images"], content["labels"]
            file.attrs.update(class_names=content["names"], source="here", sha256="0")
        if not change:
            assert read_images(path).class_names == ("a", "b")
            continue
        with pytest.raises(DamagedFileError, match=str(path)):
            read_images(path)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "small.h5"
    small = load("embedded", "test")
    write_images(path, next(small.chunks(3)))
    return path


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["flip", "cut", "insert"]))
def test_altered_files_are_refused(sealed, seed, kind):
    """Any byte changed, cut off or put in: refused before HDF5 sees it."""
    rng, data = np.random.default_rng(seed), bytearray(sealed.read_bytes())
    where = int(rng.integers(len(data)))
    if kind == "flip":
        data[where] ^= int(rng.integers(1, 256))
    elif kind == "cut":
        del data[where:]
    else:
        data[where:where] = rng.bytes(int(rng.integers(1, 9)))
    path = sealed.with_name("altered.h5")
    path.write_bytes(data)
    with pytest.raises(DamagedFileError):
        read_images(path)


def test_the_command(folder, capsys):
    """`reflfap data convert` writes both splits and says where; without data it says what to do."""
    assert cli.main(["data", "convert", "fashion-mnist", "--data-dir", str(folder)]) == 0
    assert "train.h5" in capsys.readouterr().out
    assert len(load_converted("fashion-mnist", "test", folder).labels) == 200
    assert cli.main(["data", "convert", "mnist", "--data-dir", str(folder)]) == 2
    assert "reflfap data fetch mnist" in capsys.readouterr().err
    with pytest.raises(InputError, match="reflfap data convert mnist"):
        load_converted("mnist", "train", folder)
