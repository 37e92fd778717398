"""Which files the image sets consist of, where they come from, and what they must be.

The SHA-256 are those published with TensorFlow Datasets, and for CIFAR-10's batches with Red
Datasets; sizes and SHA-256 belong to the very files whose MD5 the authors and torchvision publish.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from data_loaders import cifar
from reflfap import checks
from reflfap.errors import DamagedFileError, InputError, StoreError
from reflfap.files import remove_left_over, scratch


class File(NamedTuple):
    """What a file must be."""

    name: str
    size: int  # bytes
    sha256: str


class DataSet(NamedTuple):
    """An image set; every file is found under each mirror, the surest mirror first."""

    title: str
    licence: str
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]  # channels, height, width
    sizes: tuple[int, int]  # images of train, and of test
    files: tuple[File, ...]
    contents: tuple[str, str]  # SHA-256 of all of train, and of test, unpacked and joined
    mirrors: tuple[str, ...]


def _idx_files(*sizes_and_digests: tuple[int, str]) -> tuple[File, ...]:
    names = (
        f"{s}-{what}-ubyte.gz" for s in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
    )
    return tuple(File(name, *rest) for name, rest in zip(names, sizes_and_digests, strict=True))


FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

DATA_SETS = {
    "mnist": DataSet(
        title="MNIST handwritten digits, Y. LeCun, C. Cortes, C. J. C. Burges",
        licence="CC BY-SA 3.0",
        class_names=tuple("0123456789"),
        shape=(1, 28, 28),
        sizes=(60_000, 10_000),
        files=_idx_files(
            (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        contents=(
            "c5097fdd51cfdbe7695fd9df3612695696864b5c424f58d843ffdc5d335e9914",
            "18489308deedfe2f7bd3a11e599a597126f161d991b1ffcffb71642aa76f7f62",
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",  # the origin, which often refuses
        ),
    ),
    "fashion-mnist": DataSet(
        title="Fashion-MNIST, H. Xiao, K. Rasul, R. Vollgraf (Zalando)",
        licence="MIT",
        class_names=FASHION_NAMES,
        shape=(1, 28, 28),
        sizes=(60_000, 10_000),
        files=_idx_files(
            (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        contents=(
            "d9ef4273af5c2e360155dad0c06bd939447bf37a6620db007d69fc79e4732045",
            "30214f3fe91405cb8ea60b11ecf0914a65dd6a6ca8e13c13a62eb434f2d9fe56",
        ),
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
    ),
    "cifar-10": DataSet(
        title="CIFAR-10, A. Krizhevsky, V. Nair, G. Hinton",
        licence="none stated: do not pass it on",
        class_names=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
        shape=(3, 32, 32),
        sizes=(50_000, 10_000),
        files=(
            File(
                "cifar-10-binary.tar.gz",
                170052171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        contents=(
            "a0181da372c0d63a5920fdbea2ec3f83ecbc552d378218e1cb473cf634941a3b",
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        ),
        mirrors=("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/"),
    ),
    "embedded": DataSet(
        title="1000 training and 200 test images of Fashion-MNIST, part of this package",
        licence="MIT",
        class_names=FASHION_NAMES,
        shape=(1, 28, 28),
        sizes=(1_000, 200),
        files=_idx_files(
            (437574, "0ed8174c042f7b706ac8d09654923d3f6432b626530cc39a4b5a3bc8801201de"),
            (524, "d815bb6fedcd85af80b98a029740c33a0507bba5af312f82613ba5d9fe2c2154"),
            (87568, "a54a08f020cb1e8519ed64453fb6cdd23790800d3cabba9db8656994c9512f13"),
            (131, "bf7bf9329b326e73f5dfb06fab804806a9962dbe9fe340bb92f67f1be374c739"),
        ),
        contents=(
            "bf728f9480efd1fe1e0715fed9a13f37ba4f55bd0748a06c8deb67fca0735498",
            "d757d716b65b16d451538837ca9d7b10c76d52733c9df73b62d444b5884a97fc",
        ),
        mirrors=(),
    ),
}

CIFAR_BATCHES = {  # for archives packed anew and extracted folders
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}


def place(name: str, folder: Path | None = None) -> Path:
    """The folder of the data set `name`: folder/name; "embedded" lies in this package.

    Without `folder` that of $REFLFAP_DATA, else of the platform's cache. InputError for an unknown
    name. Nothing is created.
    Checked by test_loaders.py::test_where_data_are_expected.
    """
    checks.choice("data", name, DATA_SETS)
    if name == "embedded":
        return Path(__file__).parent / name
    if folder is not None:
        return Path(folder) / name
    if named := os.environ.get("REFLFAP_DATA"):
        return Path(named) / name
    import pooch  # half of its time is spent on what downloads need

    return Path(pooch.os_cache("reflfap")) / name


def check(name: str, folder: Path | None = None) -> list[tuple[str, str]]:
    """Each file of the data set with "good", "missing" or "differs (expected ..., got ...)".

    Where CIFAR-10 lies extracted or packed otherwise, its six batches stand for the archive.
    Costs one pass over the files, for CIFAR-10 as xz its decompression.
    Checked by test_loaders.py::test_check and ::test_checksums_of_the_complete_sets.
    """
    where = place(name, folder)
    files: Sequence[File] = DATA_SETS[name].files
    found = cifar.find(where) if name == "cifar-10" else None
    if found is not None and found.name not in (files[0].name, *cifar.PICKLED):
        size = cifar.RECORDS * cifar.RECORD
        files = [File(batch, size, digest) for batch, digest in CIFAR_BATCHES.items()]
        if not found.is_dir():
            return _check_members(found, files)
        where = found
    return [(file.name, _status(where / file.name, file)) for file in files]


def _check_members(archive: Path, files: Sequence[File]) -> list[tuple[str, str]]:
    digests = {file.name: hashlib.sha256() for file in files}
    try:
        for name, _, records in cifar.batches(archive, tuple(digests)):
            digests[name].update(records.data)
    except DamagedFileError as error:
        return [(archive.name, f"differs ({error})")]
    return [(file.name, _compare(file.sha256, digests[file.name].hexdigest())) for file in files]


def _status(path: Path, file: File) -> str:
    if not path.is_file():
        return "missing"
    if (size := path.stat().st_size) != file.size:
        return f"differs (expected {file.size} bytes, got {size})"
    with open(path, "rb") as raw:
        return _compare(file.sha256, hashlib.file_digest(raw, "sha256").hexdigest())


def _compare(expected: str, got: str) -> str:
    return "good" if got == expected else f"differs (expected SHA-256 {expected}, got {got})"


def fetch(name: str, folder: Path | None = None, progress: bool = True) -> Path:
    """Download what is missing or differs of the data set, and return its folder.

    A file appears under its name only when its size and SHA-256 are right; until then it has a
    hidden name in the same folder, removed on any failure, after a kill by the next fetch. Mirrors
    are tried in turn.
    StoreError with every mirror's reason if none serves, or if the folder cannot be written.
    `progress` shows a bar on standard error. Time: the download and one pass over the files there.
    Checked by test_loaders.py::test_fetch, ::test_bad_downloads_leave_nothing,
    ::test_mirrors_are_tried_in_turn, ::test_an_interrupted_download_is_done_again and
    ::test_a_download_under_way_is_left_alone.
    """
    where = place(name, folder)
    if name == "embedded":
        raise InputError("data: expected a set to download, got embedded; it is in the package")
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot be made ({error.strerror})"
        raise StoreError(f"{where}: {reason}; choose another folder") from error
    for file in DATA_SETS[name].files:
        remove_left_over(where / file.name)
        if _status(where / file.name, file) != "good":
            _fetch_file(file, where / file.name, DATA_SETS[name].mirrors, progress)
    return where


def _fetch_file(file: File, target: Path, mirrors: Sequence[str], progress: bool) -> None:
    failures = []
    for mirror in mirrors:
        try:
            with scratch(target) as (part, raw):
                _download(mirror + file.name, _Checked(raw, file), progress)
                raw.flush()
                os.fsync(raw.fileno())
                os.replace(part, target)
            return
        except (OSError, ValueError, DamagedFileError) as error:  # requests raises OSErrors
            failures.append(f"{mirror} ({error})")
    raise StoreError(
        f"{target}: expected a download, got none from {', '.join(failures)}; "
        f"check the connection and try again, or put the file there yourself"
    )


def _download(url: str, target: "_Checked", progress: bool) -> None:
    import pooch

    # some servers would unpack .gz files on the way, unless asked not to
    plain = {"Accept-Encoding": "identity"}
    get = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**16, headers=plain, timeout=30)
    get(url, target, None)
    target.verify()


class _Checked:
    """A file being written that refuses to grow beyond its size, and knows its digest."""

    def __init__(self, raw: IO[bytes], file: File) -> None:
        self._raw, self._file = raw, file
        self._size, self._digest = 0, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._file.size:
            raise DamagedFileError(f"expected {self._file.size} bytes, got more")
        self._digest.update(data)
        self._raw.write(data)

    def flush(self) -> None:
        self._raw.flush()

    def verify(self) -> None:
        if self._size != self._file.size:
            raise DamagedFileError(f"expected {self._file.size} bytes, got {self._size}")
        if self._digest.hexdigest() != self._file.sha256:
            expected = f"expected SHA-256 {self._file.sha256}"
            raise DamagedFileError(f"{expected}, got {self._digest.hexdigest()}")
