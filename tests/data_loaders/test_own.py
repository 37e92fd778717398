"""Image sets that people bring: the same in every form, called by what they hold, or refused."""

import contextlib
import gzip
import os
import struct
import tarfile
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reflfap.data_loaders import cifar, images, own_images, registry
from reflfap.data_loaders.converted import write_images
from reflfap.data_loaders.image_set import ImageSet
from reflfap.data_loaders.own_images import descriptor, own_set, read_own_images
from reflfap.errors import DamagedFileError, InputError, ReflfapError, StoreError

SPLITS = ("train", "test")


def drawn(
    seed: int = 0, shape: tuple[int, int, int] = (1, 5, 6), classes: int = 3
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Random images (N, C, H, W) and labels of both splits; every class is there."""
    rng, found = np.random.default_rng(seed), {}
    for split, count in zip(SPLITS, (2 * classes + 1, 4), strict=True):
        x = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        found[split] = (x, rng.permutation(np.arange(count) % classes))
    return found


def resized(*shape: int):
    """Of any images, others of this shape."""
    return lambda x: np.resize(x, (len(x), *shape))


def as_arrays(parts: dict, x=lambda x: x, y=lambda y: y) -> dict[str, np.ndarray]:
    return {
        f"{what}_{split}": change(values)
        for split, both in parts.items()
        for what, values, change in zip("xy", both, (x, y), strict=True)
    }


def idx_content(values: np.ndarray, kind: int = 8) -> bytes:
    values = np.ascontiguousarray(values, {8: "u1", 12: ">i4"}[kind])
    start = struct.pack(f">HBB{values.ndim}I", 0, kind, values.ndim, *values.shape)
    return start + values.tobytes()


def write_idx(folder: Path, parts: dict, names: str, test: str = "t10k", turned=False) -> Path:
    """`names` as in "{split}-{what}-ubyte.gz", {what} being images-idx3 or labels-idx1."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, (x, y) in parts.items():
        x = x[:, 0].swapaxes(1, 2) if turned else x[:, 0]
        for what, values in (("images-idx3", x), ("labels-idx1", y)):
            name = names.format(split=split if split == "train" else test, what=what)
            content = idx_content(values)
            path = folder / (name.replace("-idx", ".idx") if "dotted" in str(folder) else name)
            path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def forms(folder: Path, parts: dict):
    """One grey set in all forms, each in a place of its own."""
    plain, packed = "{split}-{what}-ubyte", "{split}-{what}-ubyte.gz"
    for name, change in {
        "nhw": lambda x: x[:, 0],
        "nhwc": lambda x: x.transpose(0, 2, 3, 1),
        "nchw": lambda x: x,
        "columns": np.asfortranarray,
    }.items():
        np.savez(folder / name, **as_arrays(parts, change, lambda y: y[:, None].astype("u1")))
        yield folder / f"{name}.npz"
    np.savez_compressed(folder / "packed", **as_arrays(parts))
    yield folder / "packed.npz"
    with h5py.File(folder / "flat.h5", "w") as file:
        for name, values in as_arrays(parts).items():
            file.create_dataset(name, data=values, compression="gzip")
    yield folder / "flat.h5"
    with h5py.File(folder / "grouped.hdf5", "w") as file:
        for name, values in as_arrays(parts, lambda x: x[:, 0]).items():
            what, split = name.split("_")
            file[f"{split}/{what}"] = values
    yield folder / "grouped.hdf5"
    yield write_idx(folder / "plain", parts, plain)
    yield write_idx(folder / "gz", parts, packed)
    yield write_idx(folder / "dotted", parts, packed)
    yield write_idx(folder / "tested", parts, plain, "test")
    yield write_idx(folder / "below" / "raw", parts, packed).parent
    yield write_idx(folder / "raw", parts, packed)
    yield write_idx(folder / "emnist", parts, f"emnist-digits-{packed}", "test", turned=True)
    (folder / "converted").mkdir()
    for split, (x, y) in parts.items():
        names = tuple(str(number) for number in range(y.max() + 1))
        write_images(folder / "converted" / f"{split}.h5", ImageSet(x, y, names, "", "other"))
    yield folder / "converted"


def test_all_forms_are_one_set(tmp_path):
    """The same images, labels, names and digests; only the descriptor's first word differs."""
    parts = drawn()
    found = {str(path): own_set(path) for path in forms(tmp_path, parts)}
    assert len(found) == 15
    for path, one in found.items():
        for split, (x, y) in parts.items():
            read = one.split(split)
            np.testing.assert_array_equal(read.images, x, err_msg=path)
            assert read.images.dtype == np.uint8
            assert read.images.flags.c_contiguous
            np.testing.assert_array_equal(read.labels, y, err_msg=path)
            assert read.labels.dtype == np.int64
            assert read.class_names == ("0", "1", "2")
    assert len({one.descriptor.partition(":")[2] for one in found.values()}) == 1
    stems = {one.descriptor.partition(":")[0] for one in found.values()}
    assert {"nhw", "plain", "below", "emnist-digits", "converted"} < stems
    assert len({(one.train.sha256, one.test.sha256) for one in found.values()}) == 1


@given(st.integers(0, 10**6), st.sampled_from(SPLITS), st.booleans(), st.data())
def test_any_change_changes_the_descriptor(tmp_path, seed, split, label, data):
    """Of a pixel, of a label, of a name."""
    parts = drawn(seed)
    np.savez(tmp_path / "a.npz", **as_arrays(parts))
    before = descriptor(tmp_path / "a.npz")
    names = ["a", "b", "c"]
    np.savez(tmp_path / "a.npz", **as_arrays(parts), class_names=names)
    named = descriptor(tmp_path / "a.npz")
    values = parts[split][int(label)]
    place = data.draw(st.integers(0, values.size - 1))
    values.flat[place] = (int(values.flat[place]) + 1) % (3 if label else 256)
    assume(len(set(parts["train"][1])) == 3)
    np.savez(tmp_path / "a.npz", **as_arrays(parts))
    assert len({before, named, descriptor(tmp_path / "a.npz")}) == 3


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("last", [True, False])
def test_channels_come_first(tmp_path, channels, last):
    """Whichever way a file has them."""
    parts = drawn(1, (channels, 7, 5))
    turned = (lambda x: x.transpose(0, 2, 3, 1)) if last else (lambda x: x)
    np.savez(tmp_path / "a.npz", **as_arrays(parts, turned), class_names=["p", "q", "ü"])
    found = read_own_images(tmp_path / "a.npz", "test")
    np.testing.assert_array_equal(found.images, parts["test"][0])
    assert found.class_names == ("p", "q", "ü")
    assert f":{channels}x7x5:3:7+4:" in descriptor(tmp_path / "a.npz")


def test_letters_count_from_one(tmp_path):
    """And are turned upright, as all of EMNIST; of several sets a file says which."""
    parts = drawn(2, (1, 5, 4), 26)
    later = {split: (x, y + 1) for split, (x, y) in parts.items()}
    for kind, one in (("letters", later), ("digits", drawn(3))):
        write_idx(tmp_path, one, f"emnist-{kind}-{{split}}-{{what}}-ubyte.gz", "test", turned=True)
    with pytest.raises(InputError, match=r"one set, got emnist-digits-, emnist-letters-; give a"):
        own_set(tmp_path)
    found = own_set(tmp_path / "emnist-letters-train-images-idx3-ubyte.gz")
    np.testing.assert_array_equal(found.train.images, parts["train"][0])
    np.testing.assert_array_equal(found.test.labels, parts["test"][1])
    assert "".join(found.train.class_names) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert found.descriptor.startswith("emnist-letters:1x5x4:26:")
    (tmp_path / "emnist-digits-test-labels-idx1-ubyte.gz").unlink()
    assert own_set(tmp_path).descriptor == found.descriptor  # the one that is whole


def test_qmnist_has_eight_numbers_an_image(tmp_path):
    """The class is the first of them."""
    parts, rng = drawn(4), np.random.default_rng(0)
    for split, (x, y) in parts.items():
        about = rng.integers(-(2**31), 2**31, (len(y), 8))
        about[:, 0] = y
        start = tmp_path / f"qmnist-{split}"
        Path(f"{start}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_content(x[:, 0])))
        Path(f"{start}-labels-idx2-int.gz").write_bytes(gzip.compress(idx_content(about, 12)))
    found = own_set(tmp_path)
    np.testing.assert_array_equal(found.train.labels, parts["train"][1])
    assert found.descriptor.startswith("qmnist:1x5x6:3:7+4:")


@pytest.fixture
def few_records(monkeypatch):
    """CIFAR-100 with an image of each class."""
    monkeypatch.setattr(cifar.read_cifar100, "__defaults__", ({"train": 100, "test": 2},))


def cifar100(seed: int = 0) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    rng, found, tables = np.random.default_rng(seed), {}, {}
    for split, count in (("train", 100), ("test", 2)):
        table = rng.integers(0, 256, (count, 2 + 3072), dtype=np.uint8)
        table[:, 0], table[:, 1] = rng.integers(0, 20, count), rng.permutation(100)[:count]
        found[f"{split}.bin"], tables[split] = table.tobytes(), table
    names = "\n".join(f"class_{number}" for number in range(100))
    return found | {"fine_label_names.txt": f"{names}\n".encode()}, tables


def tar(files: dict[str, bytes]) -> bytes:
    target = BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{cifar.FOLDER_100}/{name}")
            member.size = len(content)
            archive.addfile(member, BytesIO(content))
    return target.getvalue()


def test_cifar100(tmp_path, few_records):
    """Fine labels, names, colours in their order; from the archive, its folder, and above it."""
    files, tables = cifar100()
    (tmp_path / "packed").mkdir()
    archive = tmp_path / "packed" / "cifar-100-binary.tar.gz"
    archive.write_bytes(gzip.compress(tar(files | {"coarse_label_names.txt": b"x" * 999})))
    extracted = tmp_path / "open" / cifar.FOLDER_100
    extracted.mkdir(parents=True)
    for name, content in files.items():
        (extracted / name).write_bytes(content)
    places = (archive, archive.parent, extracted, extracted.parent)
    found = [own_set(place) for place in places]
    for one in found:
        for split, table in tables.items():
            read = one.split(split)
            assert read.labels.tolist() == table[:, 1].tolist()
            np.testing.assert_array_equal(read.images[1, 2, 3, 4], table[1, 2 + 2048 + 3 * 32 + 4])
            np.testing.assert_array_equal(read.images.reshape(len(table), -1), table[:, 2:])
        assert one.train.class_names[99] == "class_99"
    assert len({one.descriptor for one in found}) == 1
    assert found[0].descriptor.startswith("cifar-100:3x32x32:100:100+2:")


def bad_cifar100():
    files, _ = cifar100()
    yield "short", files | {"test.bin": files["test.bin"][:-1]}, "6148 bytes, 2 records of 3074"
    yield "long", files | {"test.bin": files["test.bin"] + b"x"}, "6148 bytes, 2 records of 3074"
    yield "label", files | {"test.bin": b"\0\x64" + files["test.bin"][2:]}, "labels 0 to 99"
    yield "names", files | {"fine_label_names.txt": b"a\nb\n"}, "100 names, got 2"
    yield "none", {name: files[name] for name in files if name != "train.bin"}, "train.bin"


@pytest.mark.parametrize(
    ("files", "message"), [pytest.param(*one[1:], id=one[0]) for one in bad_cifar100()]
)
def test_bad_cifar100_is_refused(tmp_path, few_records, files, message):
    """And nobody is told to fetch it with a command that cannot."""
    folder, archive = tmp_path / cifar.FOLDER_100, tmp_path / "cifar-100-binary.tar"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    archive.write_bytes(tar(files))
    for place in (folder, archive):
        with pytest.raises(StoreError, match=message) as caught:
            own_set(place)
        assert "give the archive cifar-100-binary.tar.gz, or its folder" in str(caught.value)


def test_pickles_are_refused(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    for path in (tmp_path, tmp_path / "cifar-100-python"):
        with pytest.raises(InputError, match="whose pickles run code"):
            own_set(path)


PARTS = drawn(5)
GOOD = as_arrays(PARTS)
BAD = {
    "floats": (GOOD | {"x_test": GOOD["x_test"] / 255}, r"bytes \(uint8\), .* float64; give bytes"),
    "integers": (GOOD | {"x_test": GOOD["x_test"].astype(int)}, r"bytes \(uint8\)"),
    "rows": (as_arrays(PARTS, lambda x: x.reshape(len(x), -1)), "images .N, H, W."),
    "no channels": (
        as_arrays(PARTS, resized(5, 6, 7)),
        "images .N, H, W.",
    ),
    "two axes": (
        as_arrays(PARTS, resized(3, 9, 4)),
        "either axis may be C",
    ),
    "no images": (GOOD | {"x_test": GOOD["x_test"][:0]}, "1 to 10000000 images"),
    "no pixels": (as_arrays(PARTS, lambda x: x[..., :0]), "1 to 1024 pixels each way"),
    "wide": (as_arrays(PARTS, resized(1, 5, 1025)), "1 to 1024 pixels"),
    "other sizes": (GOOD | {"x_test": GOOD["x_test"][..., :5]}, "images of one shape"),
    "few labels": (GOOD | {"y_test": GOOD["y_test"][1:]}, "4 whole numbers as labels"),
    "floats as labels": (as_arrays(PARTS, y=lambda y: y * 1.0), "7 whole numbers as labels"),
    "texts as labels": (as_arrays(PARTS, y=lambda y: y.astype(str)), "7 whole numbers as labels"),
    "one-hot": (as_arrays(PARTS, y=lambda y: np.eye(3, dtype=int)[y]), "7 whole numbers as labels"),
    "negative": (as_arrays(PARTS, y=lambda y: y - 1), "labels from 0 to at most 255, got -1 to 1"),
    "large": (as_arrays(PARTS, y=lambda y: y + 254), "labels from 0 to at most 255"),
    "from one": (as_arrays(PARTS, y=lambda y: y + 1), "got none of class 0; number the classes"),
    "a gap": (as_arrays(PARTS, y=lambda y: 2 * y), "got none of class 1"),
    "one class": (as_arrays(PARTS, y=lambda y: 0 * y), "got one class alone"),
    "few names": (GOOD | {"class_names": ["a", "b"]}, "labels 0 to 1, as there are names, got 2"),
    "many names": (GOOD | {"class_names": ["a", "b", "c", "d"]}, "got none of class 3"),
    "names twice": (GOOD | {"class_names": ["a", "b", "b"]}, "another name for each class"),
    "no names": (GOOD | {"class_names": [1, 2, 3]}, "class_names to be 2 to 256 short texts"),
    "objects": (GOOD | {"class_names": np.array(["a"], object)}, "objects, whose pickles run code"),
    "missing": ({"x_train": GOOD["x_train"]}, "an array x_test, got x_train; "),
    "a bad npz": ({"a": GOOD["x_train"]}, "an array x_train, got a; "),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_arrays_are_refused(tmp_path, content, message):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(InputError, match=message) as caught:
        own_set(tmp_path / "a.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: ")


def test_what_is_no_set_is_refused(tmp_path):
    """Empty folders, pipes, unknown endings, nothing at all; what lacks a file says which."""
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "a.txt").touch()
    for path in (tmp_path, tmp_path / "a.txt", tmp_path / "none"):
        with pytest.raises(InputError, match=r"a \.npz or HDF5 file with x_train"):
            own_set(path)
    for name in ("pipe.npz", "none.h5"):
        with pytest.raises(StoreError, match="give a file that is whole"):
            own_set(tmp_path / name)
    write_idx(tmp_path / "few", PARTS, "{split}-{what}-ubyte")
    (tmp_path / "few" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match=r"few: expected a file test-labels-idx1-ubyte.gz, got no"):
        own_set(tmp_path / "few")


@pytest.mark.parametrize("form", ["npz", "idx", "gz", "h5", "converted"])
def test_truncated_files_are_refused(tmp_path, form):
    """By the name of the file, without the advice to fetch it."""
    paths = {str(path.relative_to(tmp_path)): path for path in forms(tmp_path, PARTS)}
    place = paths[{"npz": "nhw.npz", "idx": "plain", "h5": "flat.h5"}.get(form, form)]
    file = sorted(place.iterdir())[0] if place.is_dir() else place
    content = file.read_bytes()
    for size in {0, 1, 3, 10, len(content) // 2, len(content) - 1}:
        file.write_bytes(content[:size])
        with pytest.raises(DamagedFileError, match=str(file)) as caught:
            own_set(place)
        assert "data fetch" not in str(caught.value)


@given(st.sampled_from(["nhw.npz", "plain", "gz"]), st.data())
def test_altered_files_never_surprise(tmp_path, form, data):
    """Any bytes changed: a set, or an error of this package."""
    if not (tmp_path / form).exists():
        list(forms(tmp_path, PARTS))
    place = tmp_path / form
    file = data.draw(st.sampled_from(sorted(place.iterdir()))) if place.is_dir() else place
    good = file.read_bytes()
    content = bytearray(good)
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), min_size=1, max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    with contextlib.suppress(ReflfapError):
        assert own_set(place).train.images.ndim == 4
    file.write_bytes(good)


def test_load_takes_a_descriptor_and_a_path(tmp_path):
    """Data that are not what it says are refused; the same under another name are not."""
    np.savez(tmp_path / "a.npz", **GOOD)
    name = descriptor(tmp_path / "a.npz")
    assert images.load(name, "test", tmp_path / "a.npz").sha256 == own_set(tmp_path / "a.npz")[1][4]
    os.rename(tmp_path / "a.npz", tmp_path / "b.npz")
    assert len(images.load(name, "train", tmp_path / "b.npz").labels) == 7
    other = own_set(write_idx(tmp_path / "c", drawn(6), "{split}-{what}-ubyte")).descriptor
    with pytest.raises(StoreError, match="expected the image set") as caught:
        images.load(name, "train", tmp_path / "c")
    assert name in str(caught.value)
    assert other in str(caught.value)


@given(
    st.text(max_size=40),
    st.tuples(st.integers(1, 4), st.integers(1, 1024), st.integers(1, 1024)),
    st.integers(2, 256),
    st.tuples(st.integers(1, 10**7), st.integers(1, 10**7)),
    st.text("0123456789abcdef", min_size=64, max_size=64),
)
def test_a_descriptor_says_all_that_configs_ask(stem, shape, classes, sizes, digest):
    name = registry.descriptor_for(stem, shape, classes, sizes, digest)
    found = registry.data_set(name)
    assert registry.is_own(name)
    assert (found.shape, found.sizes, len(found.class_names)) == (shape, sizes, classes)
    assert found.class_names[-1] == str(classes - 1)
    assert name.endswith(f":{digest[:16]}")
    assert not name.startswith("-")  # which the command line takes for an option


DESCRIPTOR = "digits:1x8x8:10:1500+297:0123456789abcdef"


@pytest.mark.parametrize(
    "name",
    [
        *("", "digits", "mnist2", "/etc", "Digits" + DESCRIPTOR[6:], ":" + DESCRIPTOR, "a" * 99),
        *(DESCRIPTOR + "\n", DESCRIPTOR + "0", DESCRIPTOR[:-1], DESCRIPTOR[:-1] + "F"),
        *("d:5x8x8:10:1+1:" + "0" * 16, "d:1x0x8:10:1+1:" + "0" * 16, "d:1x8:10:1+1:" + "0" * 16),
        *("d:1x1025x8:10:1+1:" + "0" * 16, "d:1x08x8:10:1+1:" + "0" * 16),
        *("d:1x8x8:1:1+1:" + "0" * 16, "d:1x8x8:257:1+1:" + "0" * 16),
        *("d:1x8x8:10:0+1:" + "0" * 16, "d:1x8x8:10:1+10000001:" + "0" * 16),
        *("d:1x8x٨:10:1+1:" + "0" * 16, None, 7, ["mnist"]),
    ],
)
def test_other_names_are_refused(name):
    """Each descriptor has one spelling; what is near a known name is told."""
    with pytest.raises(InputError, match=r"^dataset: expected one of .*path of your own set"):
        registry.data_set(name)


def test_near_names_are_told():
    for word, meant in (("mnits", "mnist"), ("cifar10", "cifar-10"), ("fashion", "fashion-mnist")):
        with pytest.raises(InputError, match=rf"did you mean {meant}\? "):
            registry.data_set(word)


def test_known_names_stay_what_they_are():
    for name, about in registry.DATA_SETS.items():
        assert registry.data_set(name) is about
        assert not registry.is_own(name)
    assert own_images.BOTH == tuple(images.SPLITS)
