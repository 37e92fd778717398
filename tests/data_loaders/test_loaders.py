"""Image sets: read exactly, refused when damaged, fetched whole or not at all."""

import bz2
import gzip
import hashlib
import http.server
import importlib
import io
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from project import ROOT

from reflfap.data_loaders import archives, cifar, download, idx, images, registry
from reflfap.data_loaders.embedded import make
from reflfap.data_loaders.image_set import ImageSet
from reflfap.errors import DamagedFileError, InputError, ReflfapError, StoreError

COMPLETE = ("mnist", "fashion-mnist", "cifar-10")
complete = pytest.mark.skipif(
    "REFLFAP_DATA" not in os.environ,
    reason="REFLFAP_DATA is not set: it names the folder of the complete data sets",
)
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, "": bytes}
GIVE_UP = r"remove it and fetch it again with `reflfap data fetch`"


def small_batches(records: int = 2, seed: int = 0) -> dict[str, bytes]:
    """The six files of CIFAR-10 with few random records."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (6, records, 3073), dtype=np.uint8)
    table[:, :, 0] = rng.integers(0, 10, (6, records))
    names = (*cifar.BATCHES["train"], *cifar.BATCHES["test"])
    return {name: batch.tobytes() for name, batch in zip(names, table, strict=True)}


def tar(
    files: dict[str, bytes],
    format: int = tarfile.GNU_FORMAT,
    mtime: float = 0,
    within: str = cifar.FOLDER,
) -> bytes:
    """An archive of the library's own making, with a folder and a text besides."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as archive:
        folder = tarfile.TarInfo(within)
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in {"batches.meta.txt": b"airplane\n", **files}.items():
            member = tarfile.TarInfo(f"{within}/{name}")
            member.size, member.mtime = len(content), mtime
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def plain_records(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of batch files by nothing but their description."""
    rows = [content[at : at + 3073] for at in range(0, len(content), 3073)]
    labels = np.array([row[0] for row in rows])
    return np.array([list(row[1:]) for row in rows]).reshape(-1, 3, 32, 32), labels


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# idx


@given(array=arrays(np.uint8, array_shapes(max_dims=3, max_side=9)), packed=st.booleans())
def test_idx_round_trip(tmp_path, array, packed):
    content = idx.header(array.shape) + array.tobytes()
    (tmp_path / "x").write_bytes(gzip.compress(content) if packed else content)
    found = idx.read_idx(tmp_path / "x", most=array.size)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


SOUND = struct.pack(">IIII", 0x803, 2, 3, 4) + bytes(range(24))


def bad_idx():
    yield "empty", b"", "4 bytes of an idx header, got 0"
    yield "half a header", SOUND[:7], "12 bytes of an idx header, got 3"
    yield "cut", SOUND[:-1], "40 bytes, got a file that holds at most 39: truncated"
    yield "long", SOUND + b"\0", "24 bytes of shape .2, 3, 4., got more"
    yield "magic", b"\1" + SOUND[1:], "0x00000801 to 0x00000803, got 0x01000803"
    yield "floats", SOUND[:2] + b"\x0d" + SOUND[3:], "unsigned bytes.*got 0x00000d03"
    yield "no dimension", struct.pack(">I", 0x800), "got 0x00000800"
    yield "four dimensions", struct.pack(">IIIII", 0x804, 1, 1, 1, 1) + b"\0", "got 0x00000804"
    yield "size zero", struct.pack(">II", 0x801, 0), "product is 1 to 1000, got .0,."
    yield "too large", struct.pack(">II", 0x801, 1001) + bytes(1001), "1 to 1000, got .1001,."
    yield "huge", struct.pack(">IIII", 0x803, *[2**32 - 1] * 3), "product is 1 to 1000"
    packed = gzip.compress(SOUND)
    yield "gzip cut", packed[:-9], "a complete compressed file, got a truncated one"
    yield "gzip cut in its checksum", packed[:-1], "complete compressed file"
    yield "gzip with another checksum", packed[:-8] + b"abcd" + packed[-4:], "incorrect data check"
    yield "gzip followed by text", packed + b"text", "sound compressed data, got damage"
    yield "gzip of more", gzip.compress(SOUND + b"\0"), "24 bytes of shape .*, got more"
    yield "gzip of less", gzip.compress(SOUND[:-1]), "24 bytes of shape .*, got 23: truncated"


@pytest.mark.parametrize(("content", "message"), [pytest.param(*b[1:], id=b[0]) for b in bad_idx()])
def test_bad_idx_is_refused(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=message) as caught:
        idx.read_idx(path, most=1000)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert str(caught.value).endswith("; remove it and fetch it again with `reflfap data fetch`")


def peak(work) -> int:
    """Bytes allocated at most while `work` raises an error of ours."""
    tracemalloc.start()
    try:
        with pytest.raises(ReflfapError):
            work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    """Neither what follows the array nor a size that the file cannot hold costs memory."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(SOUND + bytes(200_000_000), 1))
    with archives.decompressed(path, limit=10**9) as stream:
        stream.take(len(SOUND) + 1, "")
        assert stream.position == len(SOUND) + 1
    assert peak(lambda: idx.read_idx(path)) < 2e6
    path.write_bytes(gzip.compress(struct.pack(">IIII", 0x803, 100_000, 64, 64)))
    assert peak(lambda: idx.read_idx(path)) < 1e6
    wrong = tmp_path / "bomb.tar.gz"
    wrong.write_bytes(gzip.compress(bytes(100) + b"x" + bytes(200_000_000), 1))
    assert peak(lambda: cifar.read_cifar10(wrong, records=1)) < 2e6


def test_idx_memory_is_the_array(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (5000, 40, 40), dtype=np.uint8)
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(idx.header(array.shape) + array.tobytes(), 1))
    tracemalloc.start()
    found = idx.read_idx(path)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, array)
    assert highest < array.nbytes + 3e6


@pytest.mark.parametrize("pack", PACK.values(), ids=["gz", "bz2", "xz", "plain"])
def test_every_compression_and_joined_members(tmp_path, pack):
    path = tmp_path / "x"
    path.write_bytes(pack(b"one, ") + pack(b"") + pack(b"two"))
    with archives.decompressed(path, limit=8) as stream:
        assert stream.take(8, "text") == b"one, two"
        assert stream.some(1) == b""
    with archives.decompressed(path, limit=7) as stream, pytest.raises(DamagedFileError):
        stream.finish()


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    missing = r"No such file or directory.; fetch it with `reflfap data fetch`"
    for name, message in (("missing", missing), ("pipe", "a regular file"), (".", "a folder")):
        with pytest.raises(StoreError, match=message):
            idx.read_idx(tmp_path / name)


def test_what_is_opened_is_what_was_looked_at(tmp_path, monkeypatch):
    """A pipe that takes the place of a file after a look at it: refused all the same."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    monkeypatch.setattr(os.path, "isfile", lambda _: True)
    with open(os.open(tmp_path / "pipe", os.O_RDWR), "wb", 0) as writer:
        writer.write(SOUND)  # or opening it would wait
        with pytest.raises(StoreError, match="expected a regular file, got a folder, pipe"):
            idx.read_idx(tmp_path / "pipe")
        monkeypatch.setitem(registry.DATA_SETS, "mnist", data_set())
        write(tmp_path / "mnist", {"two.bin": CONTENTS["two.bin"]})
        (tmp_path / "pipe").rename(tmp_path / "mnist" / "one.gz")
        assert "expected a regular file" in dict(download.check("mnist", tmp_path))["one.gz"]


# CIFAR-10


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_cifar_archives_of_every_format(tmp_path, format, ending, split, monkeypatch):
    """In any order of the members, and with extended headers (for a broken time)."""
    monkeypatch.setattr(cifar, "PART", 1)
    files = small_batches()
    mtime = 0.5 if format == tarfile.PAX_FORMAT else 0
    backwards = dict(reversed(files.items()))
    path = tmp_path / f"cifar-10-binary.tar{ending}"
    path.write_bytes(PACK[ending](tar(backwards, format, mtime)))
    found = cifar.read_cifar10(path, split, records=2)
    content = b"".join(files[name] for name in cifar.BATCHES[split])
    expected_images, expected_labels = plain_records(content)
    assert found.images.dtype == found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.images, expected_images)
    np.testing.assert_array_equal(found.labels, expected_labels)
    assert b"".join(part.tobytes() for part in cifar.as_records(*found, rows=3)) == content
    folder = write(tmp_path / cifar.FOLDER, files)
    np.testing.assert_array_equal(cifar.read_cifar10(folder, split, 2).images, found.images)
    assert cifar.find_cifar10(tmp_path, records=2) == folder


def test_cifar_memory_is_the_array(tmp_path):
    batch = np.zeros(2500 * 3073, np.uint8)
    write(tmp_path, {"test_batch.bin": batch.tobytes()})
    tracemalloc.start()
    found = cifar.read_cifar10(tmp_path, "test", records=2500)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert highest < found.images.nbytes + 5.5e6


def with_kind(kind: bytes, content: bytes = b"") -> bytes:
    """The archive with data_batch_3.bin once more in front: a link, a device or a folder."""
    member = tarfile.TarInfo(f"{cifar.FOLDER}/data_batch_3.bin")
    member.linkname, member.size = "/etc/passwd", len(content)
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    header[156:157] = kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512) + tar(small_batches())


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"5", b"6", b"x", b"L", b"S"])
def test_links_are_not_followed(tmp_path, kind):
    path = tmp_path / "x.tar"
    path.write_bytes(with_kind(kind))
    with pytest.raises(DamagedFileError, match="expected a regular file, got a link"):
        cifar.read_cifar10(path, records=2)


def test_names_with_a_dot_in_front(tmp_path):
    """As `tar czf x.tar.gz ./cifar-10-batches-bin` makes them."""
    files = small_batches()
    path = tmp_path / "x.tar"
    path.write_bytes(tar(files, within=f"./{cifar.FOLDER}"))
    found = cifar.read_cifar10(path, "test", records=2)
    np.testing.assert_array_equal(found.images, plain_records(files["test_batch.bin"])[0])


OUTSIDE = (*("..", "", "/", "./..", ".//", "././"), "../" + cifar.FOLDER, "/" + cifar.FOLDER)


@pytest.mark.parametrize("name", ["/data_batch_3.bin", "../data_batch_3.bin", "data_batch_3.bin"])
@pytest.mark.parametrize(
    "folder", [*OUTSIDE, cifar.FOLDER + "/..", ".//" + cifar.FOLDER, "./" + cifar.FOLDER + "/.."]
)
def test_only_exact_names_count(tmp_path, name, folder):
    """A member elsewhere is passed over, whatever it is and wherever it points."""
    files = small_batches()
    member = tarfile.TarInfo(f"{folder}/{name}")
    member.size = 512
    path = tmp_path / "x.tar"
    path.write_bytes(member.tobuf(tarfile.USTAR_FORMAT) + bytes(512) + tar(files))
    found = cifar.read_cifar10(path, records=2)
    content = b"".join(files[name] for name in cifar.BATCHES["train"])
    np.testing.assert_array_equal(found.images, plain_records(content)[0])
    assert listing(tmp_path) == ["x.tar"]


def bad_cifar():
    files = small_batches()
    without = {name: batch for name, batch in files.items() if name != "data_batch_4.bin"}
    good = tar(files)
    yield "a missing batch", tar(without), r"data_batch_4.bin in the archive, got no such member"
    short = files | {"data_batch_4.bin": bytes(3073)}
    yield "a short batch", tar(short), "6146 bytes, 2 records of 3073, got 3073"
    long = files | {"data_batch_4.bin": bytes(6147)}
    yield "a long batch", tar(long), "6146 bytes, 2 records of 3073, got 6147"
    label = files | {"data_batch_4.bin": b"\x0a" + bytes(6145)}
    yield "label 10", tar(label), "labels 0 to 9 in data_batch_4.bin, got 10"
    yield "twice", with_kind(b"0", files["data_batch_3.bin"]), "one such member, got two"
    yield "cut", good[:20_000], "truncated"
    yield "no end", good.rstrip(b"\0") + bytes(-len(good.rstrip(b"\0")) % 512), "truncated"
    yield "a header changed", b"X" + good[1:], "a tar header with its checksum, got other bytes"
    last = good.rindex(cifar.FOLDER.encode())  # of the batch that nobody asks for
    later = good[:last] + b"X" + good[last + 1 :]
    yield "the last header changed", later, "a tar header with its checksum, got other bytes"
    backwards = tarfile.TarInfo("x")
    backwards.size = -512
    yield "a negative size", backwards.tobuf(tarfile.GNU_FORMAT) + good, "at least 0, got -512"
    yield "no archive", b"text" * 1000, "a tar header with its checksum, got other bytes"
    yield "gzip cut", gzip.compress(good)[:-4], "complete compressed file"


@pytest.mark.parametrize(
    ("content", "message"), [pytest.param(*b[1:], id=b[0]) for b in bad_cifar()]
)
def test_bad_cifar_is_refused(tmp_path, content, message):
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=message) as caught:
        cifar.read_cifar10(path, records=2)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", bytes(6145), bytes(6147), b"\xff" + bytes(6145)])
def test_bad_batch_files_are_refused(tmp_path, content):
    write(tmp_path, small_batches() | {"test_batch.bin": content})
    assert len(cifar.read_cifar10(tmp_path, "train", records=2).labels) == 10
    with pytest.raises(DamagedFileError, match=GIVE_UP):
        cifar.read_cifar10(tmp_path, "test", records=2)


def test_no_more_than_the_limit_is_walked(tmp_path, monkeypatch):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(tar(small_batches() | {"more": bytes(100_000)})))
    assert len(cifar.read_cifar10(path, records=2).labels) == 10
    monkeypatch.setattr(cifar, "WALK_LIMIT", 100_000)
    with pytest.raises(DamagedFileError, match="at most 100000 decompressed bytes, got more"):
        cifar.read_cifar10(path, records=2)


def test_pickles_are_refused(tmp_path):
    (tmp_path / "cifar-10" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    for read in (
        lambda: images.load("cifar-10", folder=tmp_path),
        lambda: cifar.read_cifar10(tmp_path / "cifar-10-python.tar.gz"),
    ):
        with pytest.raises(InputError, match=r"pickles run code.*fetch cifar-10-binary.tar.gz"):
            read()
    assert download.check("cifar-10", tmp_path) == [("cifar-10-binary.tar.gz", "missing")]


# image sets


def small_set(n: int = 40, channels: int = 3, seed: int = 0) -> ImageSet:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (n, channels, 4, 5), dtype=np.uint8)
    return ImageSet(pixels, rng.integers(0, 3, n), ("cat", "dog", "2nd"), "here", "ab")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats(dtype):
    small = small_set()
    values = small.floats(dtype)
    assert values.dtype == dtype
    assert np.array_equal(values, np.asarray(small.images, dtype) / np.asarray(255, dtype))
    with pytest.raises(InputError, match="one of float32, float64"):
        small.floats("float16")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_of_perturbed_images_are_as_they_are(dtype):
    """Floats have a range of their own; what counts bytes refuses them."""
    values = small_set().floats() * 3 - 1
    moved = small_set()._replace(images=values)
    assert np.array_equal(moved.floats(dtype), values.astype(dtype))
    assert moved.floats(dtype).dtype == dtype
    assert not np.shares_memory(moved.floats(), values)
    for count in (ImageSet.histogram, ImageSet.mean.fget, ImageSet.std.fget):
        with pytest.raises(InputError, match=r"images: expected bytes .uint8., got float32; take"):
            count(moved)


@given(n=st.integers(1, 2500), channels=st.integers(1, 3), seed=st.integers(0, 99))
def test_moments_are_those_of_floats(n, channels, seed):
    small = small_set(n, channels, seed)
    values = small.floats("float64")
    np.testing.assert_allclose(small.mean, values.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(small.std, values.std(axis=(0, 2, 3)), rtol=1e-12)


@given(n=st.integers(1, 50), rows=st.integers(1, 60))
def test_chunks(n, rows):
    small = small_set(n)
    pieces = list(small.chunks(rows))
    assert all(len(piece.labels) == rows for piece in pieces[:-1])
    assert all(np.shares_memory(piece.images, small.images) for piece in pieces)
    for field in ("images", "labels"):
        joined = np.concatenate([getattr(piece, field) for piece in pieces])
        np.testing.assert_array_equal(joined, getattr(small, field))
    with pytest.raises(InputError, match="rows: expected at least 1"):
        next(small.chunks(0))


@pytest.mark.parametrize("pair", [(2, 0), ("2nd", "cat"), ("2", 0), (np.int64(2), "0")])
def test_two_classes(pair):
    small = small_set()
    two = small.classes(*pair)
    kept = [number for number in range(40) if small.labels[number] in (0, 2)]
    np.testing.assert_array_equal(two.images, small.images[kept])
    assert two.labels.tolist() == [0 if small.labels[number] == 2 else 1 for number in kept]
    assert two.labels.dtype == np.int64
    assert two.class_names == ("2nd", "cat")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((0, 3), r"classes: expected two of 0 \(cat\), 1 \(dog\), 2 \(2nd\), got 3"),
        (("bird", 1), "got 'bird'; choose two, by number or name"),
        ((-1, 1), "got -1"),
        ((True, 0), "got True"),
        ((1.0, 0), "got 1.0"),
        ((1, "dog"), "two different ones, got 'dog' twice"),
    ],
)
def test_unknown_classes_are_refused(pair, message):
    with pytest.raises(InputError, match=message):
        small_set().classes(*pair)


def small_mnist(n: int = 3, **changes: bytes) -> dict[str, bytes]:
    files = {
        "t10k-images-idx3-ubyte": idx.header((n, 28, 28)) + bytes(n * 784),
        "t10k-labels-idx1-ubyte": idx.header((n,)) + bytes(range(n)),
    }
    return files | {f"t10k-{name}-ubyte": content for name, content in changes.items()}


def test_extracted_files_and_digest(tmp_path):
    """The digest is that of the contents, packed or not, as load's docstring says."""
    files = small_mnist()
    write(tmp_path / "mnist", files)
    plain = images.load("mnist", "test", tmp_path)
    assert plain.sha256 == hashlib.sha256(b"".join(files.values())).hexdigest()
    assert plain.images.shape == (3, 1, 28, 28)
    packed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    write(tmp_path / "other" / "mnist", packed)
    assert images.load("mnist", "test", tmp_path / "other").sha256 == plain.sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels-idx1": idx.header((2,)) + bytes(2)}, "2 images of shape .*as there are labels"),
        ({"labels-idx1": idx.header((3,)) + b"\0\1\x0a"}, "labels 0 to 9, got 10"),
        ({"labels-idx1": idx.header((3, 1)) + bytes(3)}, "1 dimensions, got 2"),
        ({"images-idx3": idx.header((3,)) + bytes(3)}, "3 dimensions, got 1"),
        ({"images-idx3": idx.header((3, 2, 2)) + bytes(12)}, "got shape .3, 1, 2, 2"),
    ],
)
def test_files_that_do_not_belong_together(tmp_path, changes, message):
    write(tmp_path / "mnist", small_mnist(**changes))
    with pytest.raises(DamagedFileError, match=message):
        images.load("mnist", "test", tmp_path)


@pytest.mark.parametrize("name", COMPLETE)
def test_missing_data_are_reported(tmp_path, name):
    for expected in ("no such folder", "no such file"):
        with pytest.raises(InputError, match=expected) as caught:
            images.load(name, folder=tmp_path)
        assert f"run `reflfap data fetch {name}`, or set REFLFAP_DATA" in str(caught.value)
        (tmp_path / name).mkdir(exist_ok=True)


def test_wrong_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="one of cifar-10, embedded, fashion-mnist, mnist"):
        images.load("imagenet")
    with pytest.raises(InputError, match="split: expected one of test, train, got 'valid'"):
        images.load("embedded", "valid")


def test_where_data_are_expected(tmp_path, monkeypatch):
    monkeypatch.setenv("REFLFAP_DATA", str(tmp_path / "a"))
    assert registry.place("mnist") == tmp_path / "a" / "mnist"
    assert registry.place("mnist", tmp_path) == tmp_path / "mnist"
    monkeypatch.delenv("REFLFAP_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert registry.place("mnist") == tmp_path / "cache" / "reflfap" / "mnist"
    assert registry.place("embedded").parent.name == "data_loaders"
    assert listing(tmp_path) == []


# the embedded subset


def test_embedded():
    for split, each in make.EACH.items():
        small = images.load("embedded", split)
        assert small.images.shape == (10 * each, 1, 28, 28)
        assert np.bincount(small.labels).tolist() == [each] * 10
        assert small.class_names[9] == "Ankle boot"
        assert small.sha256 in registry.DATA_SETS["embedded"].contents
    assert [status for _, status in download.check("embedded")] == ["good"] * 4
    folder = registry.place("embedded")
    assert sum(file.stat().st_size for file in folder.glob("*.gz")) < 1.5e6
    assert "Copyright © 2017 Zalando SE" in (folder / "LICENSE-fashion-mnist").read_text("utf-8")


@complete
def test_the_embedded_subset_can_be_made_again(tmp_path):
    """Every embedded image is one of the complete set, with its label, as the seed draws them."""
    make.make_embedded(tmp_path)
    for split, prefix in images.SPLITS.items():
        full, small = images.load("fashion-mnist", split), images.load("embedded", split)
        chosen = make.choose(full.labels, split)
        np.testing.assert_array_equal(small.images, full.images[chosen])
        np.testing.assert_array_equal(small.labels, full.labels[chosen])
        for what in ("images-idx3", "labels-idx1"):
            name = f"{prefix}-{what}-ubyte.gz"
            again = idx.read_idx(tmp_path / name)
            np.testing.assert_array_equal(again, idx.read_idx(registry.place("embedded") / name))


# the complete sets


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Each split read by the plainest means: {(name, split): (images (N, C, H, W), labels)}."""
    data = Path(os.environ["REFLFAP_DATA"])
    found = {}
    for name in ("mnist", "fashion-mnist"):
        for split, prefix in (("train", "train"), ("test", "t10k")):
            pixels = gzip.decompress((data / name / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
            labels = gzip.decompress((data / name / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
            shaped = np.frombuffer(pixels, np.uint8, offset=16).reshape(-1, 1, 28, 28)
            found[name, split] = shaped, np.frombuffer(labels, np.uint8, offset=8)
    folder = tmp_path_factory.mktemp("extracted") / "cifar-10"
    (archive,) = data.glob("cifar-10/cifar-10-binary.tar.*")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    found["folder", ""] = folder.parent, None
    for split, pattern in (("train", "data_batch_*.bin"), ("test", "test_batch.bin")):
        content = b"".join(file.read_bytes() for file in sorted(folder.glob(f"*/{pattern}")))
        records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
        found["cifar-10", split] = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    return found


def loaded(name: str, split: str, plain) -> ImageSet:
    return images.load(name, split, plain["folder", ""][0] if name == "cifar-10" else None)


MNIST_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@complete
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", COMPLETE)
def test_complete_sets(name, split, plain):
    """Numbers of images, in all and of each class, as published."""
    found = loaded(name, split, plain)
    n = {"train": 50_000 if name == "cifar-10" else 60_000, "test": 10_000}[split]
    assert found.images.shape == (n, *registry.DATA_SETS[name].shape)
    counts = np.bincount(found.labels).tolist()
    assert counts == (MNIST_COUNTS[split] if name == "mnist" else [n // 10] * 10)
    assert found.sha256 in registry.DATA_SETS[name].contents


@complete
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", COMPLETE)
def test_against_plain_readings(name, split, plain):
    found, (expected_images, expected_labels) = loaded(name, split, plain), plain[name, split]
    for which in (0, -1):
        np.testing.assert_array_equal(found.images[which], expected_images[which])
        assert found.labels[which] == expected_labels[which]
    assert np.array_equal(found.images, expected_images)
    assert np.array_equal(found.labels, expected_labels)


PUBLISHED = {  # the constants in use for normalising, to the digits they are given with
    "mnist": ([0.1307], [0.3081]),
    "fashion-mnist": ([0.2860], [0.3530]),
    "cifar-10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
}


@complete
@pytest.mark.parametrize("name", COMPLETE)
def test_published_moments(name, plain):
    found = loaded(name, "train", plain)
    assert np.round(found.mean, 4).tolist() == PUBLISHED[name][0]
    assert np.round(found.std, 4).tolist() == PUBLISHED[name][1]


@complete
def test_checksums_of_the_complete_sets(plain):
    for name in COMPLETE:
        statuses = download.check(name)
        assert len(statuses) in (1, 4, 6)
        assert {status for _, status in statuses} == {"good"}
    folder = plain["folder", ""][0]
    assert download.check("cifar-10", folder) == [(b, "good") for b in registry.CIFAR_BATCHES]


@complete
@pytest.mark.slow
def test_the_archive_gives_what_the_folder_gives(plain):
    for split in images.SPLITS:
        packed, extracted = images.load("cifar-10", split), loaded("cifar-10", split, plain)
        assert np.array_equal(packed.images, extracted.images)
        assert packed.sha256 == extracted.sha256


# checking and fetching, from a server of our own


class Server(http.server.ThreadingHTTPServer):
    """Serves `answers`, {path: content}; a pair (content, length) promises more than it sends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers: dict[str, bytes | tuple[bytes, int]] = {}
        self.asked: list[str] = []
        self.half_sent, self.may_end = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_) -> None:
        """Clients hang up here on purpose."""


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
            return
        content, length = answer if isinstance(answer, tuple) else (answer, len(answer))
        if self.path.startswith("/drip"):
            self.drip(content)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)
        if length > len(content) and self.path.startswith("/slow"):
            self.server.half_sent.set()
            self.server.may_end.wait(60)

    def drip(self, content: bytes) -> None:
        """Some bytes at a time, no pause as long as a read's timeout; below /drip/ headers too."""
        head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
        if not self.path.startswith("/drip/"):
            self.wfile.write(head)
            head = b""
        few = 2048 if self.path.startswith("/drip-well/") else 2
        for at in range(0, len(head + content), few):
            self.wfile.write((head + content)[at : at + few])
            if self.server.may_end.wait(0.05):
                return

    def log_message(self, *_) -> None:
        pass


CONTENTS = {"one.gz": gzip.compress(b"1" * 5000, mtime=0), "two.bin": bytes(range(256)) * 300}


def data_set(*mirrors: str) -> registry.DataSet:
    files = [
        registry.File(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in CONTENTS.items()
    ]
    return registry.DATA_SETS["mnist"]._replace(files=tuple(files), mirrors=mirrors)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        server.answers = {f"/good/{name}": content for name, content in CONTENTS.items()}
        yield server
        server.may_end.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def mirrors(server, monkeypatch):
    """Gives mnist these mirrors of the server."""

    def choose(*names: str) -> None:
        urls = [f"{server.url}/{name}/" for name in names]
        monkeypatch.setitem(registry.DATA_SETS, "mnist", data_set(*urls))

    return choose


def assert_fetched(folder: Path) -> None:
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == CONTENTS


@pytest.mark.parametrize("progress", [False, True])
def test_fetch(tmp_path, server, mirrors, progress, capfd):
    """All files, once: what is there and right is not asked for again, what differs is."""
    mirrors("good")
    assert download.fetch("mnist", tmp_path, progress) == tmp_path / "mnist"
    assert_fetched(tmp_path / "mnist")
    assert server.asked == ["/good/one.gz", "/good/two.bin"]
    download.fetch("mnist", tmp_path, progress)
    assert len(server.asked) == 2
    (tmp_path / "mnist" / "two.bin").write_bytes(bytes(256 * 300))
    download.fetch("mnist", tmp_path, progress)
    assert server.asked[2:] == ["/good/two.bin"]
    assert_fetched(tmp_path / "mnist")
    out, err = capfd.readouterr()
    assert out == ""
    assert ("100%" in err) == progress


ONE = CONTENTS["one.gz"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(None, "404", id="missing"),
        pytest.param((ONE[:20], len(ONE)), "broken|Incomplete", id="broken off"),
        pytest.param(ONE[:20], "bytes, got 20", id="short"),
        pytest.param(bytes(len(ONE)), "expected SHA-256", id="other bytes"),
        pytest.param(ONE + b"\0", "bytes, got more", id="long"),
        pytest.param(b"", "bytes, got 0", id="empty"),
    ],
)
def test_bad_downloads_leave_nothing(tmp_path, server, mirrors, answer, message):
    mirrors("bad")
    if answer is not None:
        server.answers["/bad/one.gz"] = answer
    older = write(tmp_path / "mnist", {"one.gz": b"older"})
    with pytest.raises(StoreError, match=message) as caught:
        download.fetch("mnist", tmp_path, progress=False)
    assert f"{server.url}/bad/" in str(caught.value)
    assert "check the connection and try again" in str(caught.value)
    assert listing(older) == ["one.gz"]
    assert (older / "one.gz").read_bytes() == b"older"


def test_mirrors_are_tried_in_turn(tmp_path, server, mirrors):
    mirrors("missing", "bad", "good")
    server.answers |= {"/bad/one.gz": bytes(30), "/bad/two.bin": (b"", 10)}
    download.fetch("mnist", tmp_path, progress=False)
    assert_fetched(tmp_path / "mnist")
    assert server.asked[:3] == ["/missing/one.gz", "/bad/one.gz", "/good/one.gz"]


@pytest.fixture
def impatient(monkeypatch):
    """Tenths of a second instead of half minutes."""
    importlib.import_module("requests")  # which takes as long
    monkeypatch.setattr(download, "GRACE", 0.4)
    monkeypatch.setattr(download, "WINDOW", 0.4)


@pytest.mark.parametrize("slow", ["drip", "drip-after-headers"])
def test_a_server_that_drips_is_given_up(tmp_path, server, mirrors, impatient, slow):
    """Whatever it drips, and although no read takes long; then the next mirror."""
    server.answers[f"/{slow}/one.gz"] = bytes(10**6)
    mirrors(slow)
    with pytest.raises(StoreError, match="at least 1000 bytes a second, got 0"):
        download.fetch("mnist", tmp_path, progress=False)
    assert listing(tmp_path / "mnist") == []
    mirrors(slow, "good")
    download.fetch("mnist", tmp_path, progress=False)
    assert_fetched(tmp_path / "mnist")
    assert server.asked[1:3] == [f"/{slow}/one.gz", "/good/one.gz"]


def test_a_download_has_an_end(tmp_path, server, mirrors, impatient, monkeypatch):
    """Fast enough for each window, but not for all of the file."""
    monkeypatch.setattr(download, "LIMIT", 0.5)
    monkeypatch.setattr(download, "USUAL", 1e9)
    server.answers["/drip-well/one.gz"] = bytes(10**6)
    mirrors("drip-well")
    monkeypatch.setattr(download, "DATA_SETS", {"mnist": larger(registry.DATA_SETS["mnist"])})
    with pytest.raises(StoreError, match=r"the end within 1 s, got [1-9]"):
        download.fetch("mnist", tmp_path, progress=False)


def larger(one: registry.DataSet) -> registry.DataSet:
    return one._replace(files=tuple(file._replace(size=10**6) for file in one.files))


def test_a_slow_server_that_gets_on_is_waited_for(tmp_path, server, mirrors, impatient):
    server.answers |= {f"/drip-well/{name}": content for name, content in CONTENTS.items()}
    mirrors("drip-well")
    download.fetch("mnist", tmp_path, progress=False)
    assert_fetched(tmp_path / "mnist")


FETCH = """
import sys
from pathlib import Path
from reflfap.data_loaders import download, registry
sys.path[:0] = ["tests/data_loaders", "tests/support"]
from test_loaders import data_set
registry.DATA_SETS["mnist"] = data_set(sys.argv[1])
download.fetch("mnist", Path(sys.argv[2]), progress=False)
"""


def test_an_interrupted_download_is_done_again(tmp_path, server, mirrors):
    """Killed half-way, it leaves no file under its name; afterwards it is fetched whole."""
    server.answers["/slow/one.gz"] = (ONE[:20], len(ONE))
    command = [sys.executable, "-c", FETCH, f"{server.url}/slow/", str(tmp_path)]
    child = subprocess.Popen(command, cwd=ROOT)
    assert server.half_sent.wait(60)
    child.kill()
    child.wait()
    left = listing(tmp_path / "mnist")
    assert len(left) == 1
    assert left[0].startswith(".one.gz.")
    mirrors("good")
    download.fetch("mnist", tmp_path, progress=False)
    assert_fetched(tmp_path / "mnist")
    (tmp_path / "mnist" / left[0]).write_bytes(b"")  # also beside a file that is good
    download.fetch("mnist", tmp_path, progress=False)
    assert_fetched(tmp_path / "mnist")


def test_a_download_under_way_is_left_alone(tmp_path, server, mirrors):
    """Two at once: the second has what it wants, the first keeps its file until it ends."""
    server.answers["/slow/one.gz"] = (ONE[:20], len(ONE))
    command = [sys.executable, "-c", FETCH, f"{server.url}/slow/", str(tmp_path)]
    child = subprocess.Popen(command, cwd=ROOT)
    assert server.half_sent.wait(60)
    mirrors("good")
    download.fetch("mnist", tmp_path, progress=False)
    names = listing(tmp_path / "mnist")
    assert [name.startswith(".one.gz.") for name in names] == [True, False, False]
    child.kill()
    child.wait()
    download.fetch("mnist", tmp_path, progress=False)
    assert_fetched(tmp_path / "mnist")


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, mirrors):
    mirrors("good")
    (tmp_path / "mnist").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot be made .*choose another folder"):
        download.fetch("mnist", tmp_path)
    with pytest.raises(InputError, match="it is in the package"):
        download.fetch("embedded")


def test_check(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.DATA_SETS, "mnist", data_set())
    assert download.check("mnist", tmp_path) == [("one.gz", "missing"), ("two.bin", "missing")]
    altered = bytes(len(ONE))
    write(tmp_path / "mnist", {"one.gz": altered, "two.bin": b"short"})
    (_, one), (_, two) = download.check("mnist", tmp_path)
    good, bad = (hashlib.sha256(content).hexdigest() for content in (ONE, altered))
    assert one == f"differs (expected SHA-256 {good}, got {bad})"
    assert two == "differs (expected 76800 bytes, got 5)"


def few_records(monkeypatch, files: dict[str, bytes]) -> None:
    """Have CIFAR-10 consist of these batches of two records."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(download, "CIFAR_BATCHES", digests)
    monkeypatch.setattr(cifar, "RECORDS", 2)
    monkeypatch.setattr(cifar.read_cifar10, "__defaults__", ("train", 2))
    for each in (cifar.batches, cifar.find_cifar10, cifar.wrong_batches):
        monkeypatch.setattr(each, "__defaults__", (2,))


def test_check_of_archives_packed_anew(tmp_path, monkeypatch):
    files = small_batches()
    few_records(monkeypatch, files)
    assert download.check("cifar-10", tmp_path) == [("cifar-10-binary.tar.gz", "missing")]
    write(tmp_path / "cifar-10", {"cifar-10-binary.tar.xz": lzma.compress(tar(files))})
    assert dict(download.check("cifar-10", tmp_path)) == dict.fromkeys(files, "good")
    altered = files | {"test_batch.bin": bytes(6146)}
    write(tmp_path / "cifar-10", {"cifar-10-binary.tar.xz": lzma.compress(tar(altered))})
    assert download.check("cifar-10", tmp_path)[-1][1].startswith("differs (expected SHA-256")
    write(tmp_path / "cifar-10", {"cifar-10-binary.tar.xz": b"text"})
    assert "tar header" in download.check("cifar-10", tmp_path)[0][1]
    write(tmp_path / "cifar-10" / cifar.FOLDER, altered)  # comes before archives
    statuses = dict(download.check("cifar-10", tmp_path))
    assert list(statuses.values())[:5] == ["good"] * 5
    assert statuses["test_batch.bin"].startswith("differs")
