"""Image sets as HDF5: the same set, quicker; nothing else is accepted."""

import errno
import gzip
import hashlib
import tracemalloc
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_loaders import few_records, small_batches, tar, write

from reflfap import files
from reflfap.cli import main as cli
from reflfap.data_loaders import chunked, cifar, registry
from reflfap.data_loaders.converted import pieces, read_images, write_images
from reflfap.data_loaders.images import check_converted, convert, load, load_original
from reflfap.data_loaders.registry import place
from reflfap.errors import DamagedFileError, InputError, StoreError
from reflfap.sealed import write_sealed


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
    expected = load_original("fashion-mnist", split, folder)
    got = read_images(path)
    assert np.array_equal(got.images, expected.images)
    assert np.array_equal(got.labels, expected.labels)
    assert got.images.dtype == np.uint8
    assert got[2:] == expected[2:]


def test_load_takes_it(folder):
    """HDF5 where it is there, and never in silence something else; the originals otherwise."""
    path = convert("fashion-mnist", "test", folder)
    expected = load_original("fashion-mnist", "test", folder)
    for original in (folder / "fashion-mnist").glob("t10k*"):
        original.unlink()
    got = load("fashion-mnist", "test", folder)
    assert np.array_equal(got.images, expected.images)
    assert np.array_equal(got.labels, expected.labels)
    assert got[2:] == expected[2:]
    train = load_original("fashion-mnist", "train", folder)
    assert np.array_equal(load("fashion-mnist", "train", folder).images, train.images)

    remedy = r"remove it and convert the set again with `reflfap data convert`"
    other = [
        train._replace(class_names=tuple("0123456789")),
        train._replace(images=train.floats()),
        train._replace(images=train.images[:, :, :14]),
    ]
    for one in other:
        write_images(path.with_name("train.h5"), one)
        with pytest.raises(DamagedFileError, match=f"train.h5: .*another set; {remedy}"):
            load("fashion-mnist", "train", folder)
    for content in (b"", path.read_bytes()[:-1], path.read_bytes()[:-1] + b"x"):
        path.with_name("train.h5").write_bytes(content)
        with pytest.raises(DamagedFileError, match=f"train.h5: .*{remedy}"):
            load("fashion-mnist", "train", folder)


def test_check_of_converted_sets(folder, monkeypatch, capsys):
    """Good only if images, labels and the stated digest are those of the complete set."""
    name, mine = "fashion-mnist", registry.DATA_SETS["embedded"].contents
    published = registry.DATA_SETS[name]
    assert check_converted(name, folder) == []
    path = convert(name, "train", folder)
    ((file, status),) = check_converted(name, folder)
    assert file == "train.h5"
    assert status == f"differs (expected contents {published.contents[0]})"
    monkeypatch.setitem(registry.DATA_SETS, name, published._replace(contents=mine))
    assert check_converted(name, folder) == [("train.h5", "good")]
    assert cli.main(["data", "list", "--data-dir", str(folder)]) == 0
    assert "differs, HDF5 " in capsys.readouterr().out

    one = load(name, "train", folder)
    images, labels = one.images.copy(), one.labels.copy()
    images[-1, 0, 0, 0] ^= 1
    labels[-1] = (labels[-1] + 1) % 10
    for change in ({"images": images}, {"labels": labels}, {"sha256": mine[1]}):
        write_images(path, one._replace(**change))
        ((_, status),) = check_converted(name, folder)
        wrong = "made from other files" if "sha256" in change else "differs (expected contents"
        assert wrong in status
    path.write_bytes(path.read_bytes()[:-1])
    assert "truncated" in check_converted(name, folder)[0][1]
    assert cli.main(["data", "check", name, "--data-dir", str(folder)]) == 1
    assert "train.h5                     differs" in capsys.readouterr().out


def gunzip(place) -> None:
    for path in place.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize("stated", [True, False])
def test_hdf5_of_other_originals_is_refused(folder, stated):
    """Newer originals beside it are never passed over; the same in other packing are no others."""
    place = folder / "fashion-mnist"
    path = convert("fashion-mnist", "test", folder)
    first = load("fashion-mnist", "test", folder)
    if not stated:  # as files of before the originals were
        write_images(path, first)
    assert load("fashion-mnist", "test", folder).sha256 == first.sha256
    gunzip(place)
    assert load("fashion-mnist", "test", folder).sha256 == first.sha256

    labels = place / "t10k-labels-idx1-ubyte"
    content = labels.read_bytes()
    labels.write_bytes(content[:-1] + bytes([(content[-1] + 1) % 10]))
    remedy = r"convert the set again with `reflfap data convert`, or remove the file"
    with pytest.raises(DamagedFileError, match=f"test.h5: .*made from other files; {remedy}"):
        load("fashion-mnist", "test", folder)
    assert "made from other files" in check_converted("fashion-mnist", folder)[0][1]
    labels.unlink()  # as good as none: alone the images cannot be read
    assert load("fashion-mnist", "test", folder).sha256 == first.sha256
    labels.write_bytes(content[:-1] + bytes([(content[-1] + 1) % 10]))
    convert("fashion-mnist", "test", folder)
    assert load("fashion-mnist", "test", folder).sha256 != first.sha256


def test_originals_are_stated(folder):
    """Name, size and SHA-256 of each file as it is packed, by which reading them is spared."""
    with h5py.File(convert("fashion-mnist", "test", folder)) as file:
        stated = file.attrs["originals"]
    paths = sorted((folder / "fashion-mnist").glob("t10k*"))
    assert stated.split("\n") == [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.name}"
        for path in paths
    ]


def test_cifar_of_other_originals_is_refused(tmp_path, monkeypatch):
    """The archive, or the batches of the split."""
    content = small_batches()
    few_records(monkeypatch, content)
    archive = tmp_path / "cifar-10" / "cifar-10-binary.tar"
    write(archive.parent, {archive.name: tar(content)})
    convert("cifar-10", "test", tmp_path)
    good = load("cifar-10", "test", tmp_path)
    altered = tar(small_batches(seed=1))
    archive.write_bytes(altered)
    with pytest.raises(DamagedFileError, match="made from other files"):
        load("cifar-10", "test", tmp_path)
    batches = write(archive.parent / cifar.FOLDER, content)
    assert load("cifar-10", "test", tmp_path).sha256 == good.sha256
    write(batches, {"test_batch.bin": content["data_batch_1.bin"]})
    with pytest.raises(DamagedFileError, match="made from other files"):
        load("cifar-10", "test", tmp_path)
    archive.unlink()
    write(batches, {"data_batch_1.bin": b""})  # a folder that could not be read is none
    assert load("cifar-10", "test", tmp_path).sha256 == good.sha256


def test_an_unwritable_folder_advises_what_there_is(folder, monkeypatch, capsys):
    """`data convert` has no --out."""

    def refused(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "new_part", refused)
    with pytest.raises(StoreError, match=r"Permission denied.; choose another --data-dir"):
        convert("fashion-mnist", "test", folder)
    with pytest.raises(StoreError, match="choose another folder"):
        write_images(folder / "x.h5", load("embedded", "test"))


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


def masks(path) -> set[int]:
    """The filter masks of the chunks of images: 0 deflated, 1 as they are."""
    found = set()
    with h5py.File(path) as file:
        file["images"].id.chunk_iter(lambda stored: found.add(stored.filter_mask))
    return found


@pytest.mark.parametrize("noisy", [False, True])
def test_any_hdf5_tool_reads_the_same(tmp_path, noisy, monkeypatch):
    """HDF5's own reading, by standard filters; noise, which does not shrink, stays as it is."""
    monkeypatch.setattr(chunked, "CHUNK_BYTES", 40_000)  # several chunks, the last one not full
    one = load("embedded", "train")
    if noisy:
        draw = np.random.default_rng(0).integers(0, 256, one.images.shape, np.uint8)
        one = one._replace(images=draw)
    path = tmp_path / "x.h5"
    write_images(path, one)
    assert masks(path) == ({0, 1} if noisy else {0})  # the last chunk is mostly empty
    assert noisy or path.stat().st_size < 0.7 * one.images.nbytes
    with h5py.File(path) as file:
        assert file["images"].chunks == (51, 1, 28, 28)
        assert np.array_equal(file["images"][...], one.images)
        assert np.array_equal(file["labels"][...], one.labels)
    assert np.array_equal(read_images(path).images, one.images)


@pytest.mark.parametrize("rows", [7, 50, 51, 52, 102, 1000, 2000])
def test_pieces_of_a_file(tmp_path, rows, monkeypatch):
    """The pieces of the set in memory, whether they begin and end with chunks or not."""
    monkeypatch.setattr(chunked, "CHUNK_BYTES", 40_000)
    one = load("embedded", "train")
    write_images(tmp_path / "x.h5", one)
    for got, expected in zip(pieces(tmp_path / "x.h5", rows), one.chunks(rows), strict=True):
        assert np.array_equal(got.images, expected.images)
        assert np.array_equal(got.labels, expected.labels)
        assert got[2:] == expected[2:]
    with pytest.raises(InputError, match="rows: expected at least 1"):
        next(pieces(tmp_path / "x.h5", 0))


def test_memory_is_that_of_the_images(tmp_path, monkeypatch):
    """Reading whole holds the images and chunks of two threads; reading a piece, much less."""
    monkeypatch.setattr(chunked, "THREADS", 2)
    images = np.zeros((20_000, 1, 28, 28), np.uint8)
    one = load("embedded", "train")._replace(images=images, labels=np.zeros(20_000, np.int64))
    write_images(tmp_path / "x.h5", one)

    def peak(work) -> int:
        tracemalloc.start()
        work()
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert images.nbytes < peak(lambda: read_images(tmp_path / "x.h5")) < images.nbytes + 6e6
    assert peak(lambda: next(pieces(tmp_path / "x.h5", 100))) < 6e6


def bad_chunks():
    """Name, what is written to a dataset of four rows in chunks of two, its options, message."""
    deflated = {"chunks": (2, 1, 2, 2), "compression": "gzip"}
    good = zlib.compress(bytes(8))
    yield "missing", [(good, 0)], deflated, "a chunk at row 2, got none"
    yield "more", [(good, 0), (zlib.compress(bytes(9)), 0)], deflated, "8 bytes at row 2, got more"
    yield (
        "fewer",
        [(good, 0), (zlib.compress(bytes(7)), 0)],
        deflated,
        "8 bytes at row 2, got 7, or",
    )
    yield "noise", [(good, 0), (b"noise", 0)], deflated, "a sound chunk at row 2, got damage"
    cut, other = good[:-1], good[:-1] + bytes([good[-1] ^ 1])
    yield "a cut checksum", [(good, 0), (cut, 0)], deflated, "got 8, or a truncated one"
    yield "another checksum", [(good, 0), (other, 0)], deflated, "incorrect data check"
    yield "a long deflated one", [(good, 0), (good + bytes(16), 0)], deflated, "got 27"
    yield "a short one", [(good, 0), (bytes(7), 1)], deflated, "8 bytes at row 2, got 7"
    yield "a long one", [(good, 0), (bytes(17), 1)], deflated, "8 bytes at row 2, got 17"
    split = deflated | {"chunks": (2, 1, 1, 2)}
    yield "split rows", [(zlib.compress(bytes(4)), 0)] * 2, split, "chunks of whole rows"
    yield "shuffled", [(good, 0)] * 2, deflated | {"shuffle": True}, "with filters .2, 1."
    yield "lzf", [(good, 0)] * 2, deflated | {"compression": "lzf"}, "with filters .32000."
    yield "no filter", [(bytes(8), 0)] * 2, {"chunks": (2, 1, 2, 2)}, "with filters .."
    yield "nothing stored", [], deflated, "at most 0 bytes, as stored"
    yield "nothing there", [], {}, "at most 0 bytes, as stored"
    huge = deflated | {"shape": (2**20, 1, 2, 2)}
    yield "beyond what deflate can give", [(good, 0)] * 2, huge, "at most 22704 bytes, as stored"
    large = deflated | {"chunks": (2**20, 1, 2, 2), "maxshape": (None, 1, 2, 2)}
    yield "a chunk beyond the array", [(good, 0)], large, "at most 0 bytes, as stored"


@pytest.mark.parametrize(
    ("chunks", "options", "message"), [pytest.param(*bad[1:], id=bad[0]) for bad in bad_chunks()]
)
def test_damaged_chunks_are_refused(tmp_path, chunks, options, message):
    """Well sealed files whose chunks are not what this package writes: refused, not decoded."""
    path = tmp_path / "x.h5"
    with write_sealed(path) as file:
        options = {"shape": (4, 1, 2, 2), "dtype": np.uint8} | options
        stored = file.create_dataset("images", **options)
        for number, (content, mask) in enumerate(chunks):
            stored.id.write_direct_chunk((2 * number, 0, 0, 0), content, mask)
        file["labels"] = np.zeros(options["shape"][0], np.int64)
        file.attrs.update(class_names="a", source="here", sha256="0")
    with pytest.raises(DamagedFileError, match=message) as caught:
        read_images(path)
    assert "`reflfap data convert`" in str(caught.value)


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
    assert len(read_images(folder / "fashion-mnist" / "test.h5").labels) == 200
    assert cli.main(["data", "convert", "mnist", "--data-dir", str(folder)]) == 2
    assert "reflfap data fetch mnist" in capsys.readouterr().err
    assert cli.main(["data", "convert", "embedded"]) == 2
    assert not list(place("embedded").glob("*.h5"))
