"""Original files: found under every name in use, all from one place, and only where it is whole."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from test_loaders import complete, few_records, listing, small_batches, tar, write

from reflfap.data_loaders import cifar, download, idx, images, registry
from reflfap.errors import DamagedFileError, InputError

# CIFAR-10 extracted and packed


@pytest.fixture
def cifar_folder(tmp_path, monkeypatch):
    """The files of a small CIFAR-10 and the folder of its data set, empty."""
    content = small_batches()
    few_records(monkeypatch, content)
    (tmp_path / "cifar-10").mkdir()
    return content, tmp_path / "cifar-10"


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("broken", ["test_batch.bin", "data_batch_2.bin"])
@pytest.mark.parametrize("change", [None, b"", bytes(6145), bytes(6147)])
def test_a_broken_folder_does_not_hide_an_archive(cifar_folder, broken, change, split):
    """Both splits come from the archive, although five batches are right."""
    content, folder = cifar_folder
    batches = write(folder / cifar.FOLDER, content | {broken: change or b""})
    if change is None:
        (batches / broken).unlink()
    remedy = f"remove the folder {batches} and fetch the set with `reflfap data fetch cifar-10`"
    with pytest.raises(
        DamagedFileError, match=f"{batches / broken}: expected 6146 bytes.*{remedy}"
    ):
        images.load("cifar-10", split, folder.parent)
    assert dict(download.check("cifar-10", folder.parent))[broken] != "good"

    packed = write(folder, {"cifar-10-binary.tar.gz": gzip.compress(tar(small_batches(seed=1)))})
    found = images.load("cifar-10", split, folder.parent)
    expected = cifar.read_cifar10(packed / "cifar-10-binary.tar.gz", split)
    np.testing.assert_array_equal(found.images, expected.images)
    assert [name for name, _ in download.check("cifar-10", folder.parent)] == listing(packed)[1:]


def test_what_is_no_file_is_no_batch(cifar_folder):
    content, folder = cifar_folder
    batches = write(folder / cifar.FOLDER, content)
    assert cifar.find_cifar10(folder) == batches
    (batches / "test_batch.bin").unlink()
    os.mkfifo(batches / "test_batch.bin")
    with pytest.raises(DamagedFileError, match="in all six batches, got no such file"):
        images.load("cifar-10", "train", folder.parent)
    write(folder, {"cifar-10-binary.tar": tar(content)})
    assert cifar.find_cifar10(folder) == folder / "cifar-10-binary.tar"


# idx files


def small_files(seed: int = 0) -> dict[str, bytes]:
    """The four idx files of a small MNIST, unpacked, by their published names without .gz."""
    rng, found = np.random.default_rng(seed), {}
    for prefix, n in (("train", 5), ("t10k", 3)):
        pixels = rng.integers(0, 256, (n, 28, 28), np.uint8)
        found[f"{prefix}-images-idx3-ubyte"] = idx.header(pixels.shape) + pixels.tobytes()
        found[f"{prefix}-labels-idx1-ubyte"] = idx.header((n,)) + bytes(range(n))
    return found


def digest(files: dict[str, bytes], prefix: str) -> str:
    """SHA-256 of images and labels, one after the other."""
    both = [content for name, content in files.items() if name.startswith(prefix)]
    return hashlib.sha256(b"".join(both)).hexdigest()


@pytest.fixture
def small_registry(monkeypatch):
    """Has small files published as MNIST and Fashion-MNIST."""
    files = []
    for name, content in small_files().items():
        packed = gzip.compress(content, mtime=0)
        hashes = [hashlib.sha256(one).hexdigest() for one in (packed, content)]
        files.append(registry.File(f"{name}.gz", len(packed), *hashes))
    for name in ("mnist", "fashion-mnist"):
        about = registry.DATA_SETS[name]._replace(files=tuple(files))
        monkeypatch.setitem(registry.DATA_SETS, name, about)


def spelled(files: dict[str, bytes], dot: bool, packed: bool) -> dict[str, bytes]:
    """The same under other names, packed or not."""
    if dot:
        files = {name.replace("-idx", ".idx"): content for name, content in files.items()}
    if packed:
        return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}
    return files


FOLDERS = [
    *(("mnist", "mnist"), ("mnist", "mnist/raw"), ("mnist", "MNIST/raw")),
    *(("fashion-mnist", "fashion-mnist"), ("fashion-mnist", "FashionMNIST/raw")),
]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dot", [True, False])
@pytest.mark.parametrize(("name", "below"), FOLDERS)
def test_names_in_use(tmp_path, small_registry, name, below, dot, packed):
    """As mirrors, unpackers and torchvision call the files: one digest, and good where it is."""
    files = small_files()
    folder = write(tmp_path / below, spelled(files, dot, packed))
    for split, prefix in images.SPLITS.items():
        found = images.load(name, split, tmp_path)
        assert found.sha256 == digest(files, prefix)
        assert found.source == f"{name} {split} from {folder}"
    statuses = download.check(name, tmp_path)
    assert {status for _, status in statuses} == {"good"}
    assert {(tmp_path / name / file).resolve() for file, _ in statuses} == set(folder.iterdir())
    other = sorted(folder.iterdir())[0]
    other.write_bytes(other.read_bytes()[:-1] + b"x")
    states = [status.split()[0] for _, status in download.check(name, tmp_path)]
    assert sorted(states) == ["differs", "good", "good", "good"]

    for (
        split,
        prefix,
    ) in images.SPLITS.items():  # HDF5 goes to the set's own folder, made if need be
        if other.name.startswith("t10k") and split == "test":
            continue
        assert images.convert(name, split, tmp_path).parent == tmp_path / name
        assert images.load(name, split, tmp_path).sha256 == digest(files, prefix)


def test_both_splits_come_from_one_place(tmp_path):
    """Of two folders with parts the whole one; of two wholes the first; never some of each."""
    mine, other = small_files(), small_files(seed=1)
    own, raw = tmp_path / "mnist", tmp_path / "mnist" / "raw"
    train = {name: content for name, content in mine.items() if name.startswith("train")}
    test = {name: content for name, content in other.items() if name.startswith("t10k")}
    write(own, train)
    write(raw, test)
    assert images.load("mnist", "train", tmp_path).sha256 == digest(mine, "train")
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte.gz in .*got no such file"):
        images.load("mnist", "test", tmp_path)
    write(raw, other)
    for split, prefix in images.SPLITS.items():
        assert images.load("mnist", split, tmp_path).sha256 == digest(other, prefix)
    write(own, mine)  # what `reflfap data fetch` does, wherever else there is something
    for split, prefix in images.SPLITS.items():
        assert images.load("mnist", split, tmp_path).sha256 == digest(mine, prefix)


def test_a_folder_of_a_files_name_is_no_file(tmp_path):
    """Some unpackers make one, with the file in it."""
    files = small_files()
    write(tmp_path / "mnist", spelled(files, dot=True, packed=False))
    (tmp_path / "mnist" / "train-images-idx3-ubyte").mkdir()
    assert images.load("mnist", "train", tmp_path).sha256 == digest(files, "train")


@complete
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_digests_of_unpacked_files(name):
    data = Path(os.environ["REFLFAP_DATA"])
    for file in registry.DATA_SETS[name].files:
        content = gzip.decompress((data / name / file.name).read_bytes())
        assert hashlib.sha256(content).hexdigest() == file.unpacked
