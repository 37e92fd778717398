"""Which files the image sets consist of, where they come from, and what they must be.

The SHA-256 are those published with TensorFlow Datasets, and for CIFAR-10's batches with Red
Datasets; sizes and SHA-256 belong to the very files whose MD5 the authors and torchvision publish.
Those of unpacked files are those of what the published files hold.
"""

import functools
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from reflfap import checks
from reflfap.errors import refuse


class File(NamedTuple):
    """What a file must be."""

    name: str
    size: int  # bytes
    sha256: str
    unpacked: str = ""  # SHA-256 of what a .gz file holds


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


def _idx_files(*about: tuple[int, str] | tuple[int, str, str]) -> tuple[File, ...]:
    names = (
        f"{s}-{what}-ubyte.gz" for s in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
    )
    return tuple(File(name, *rest) for name, rest in zip(names, about, strict=True))


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
            (
                9912422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            (
                28881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            (
                1648877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            (
                4542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
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
            (
                26421880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            (
                29515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
            (
                4422102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            (
                5148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
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


_DESCRIPTOR = re.compile(
    r"([a-z0-9-]{1,30}):([1-4])x(\d{1,4})x(\d{1,4}):(\d{1,3}):(\d{1,8})\+(\d{1,8}):[0-9a-f]{16}",
    re.ASCII,
)
"""Own set: STEM:CxHxW:CLASSES:TRAIN+TEST:DIGEST, as `descriptor_for` writes it."""

MOST_SIDE, MOST_CLASSES, MOST_IMAGES = 1024, 256, 10**7  # of an own set


def short_name(stem: str) -> str:
    """A file's name as descriptors have it: at most 30 of a to z, 0 to 9 and -."""
    return re.sub("[^a-z0-9]+", "-", stem.lower()).strip("-")[:30].strip("-") or "set"


def descriptor_for(
    stem: str, shape: tuple[int, ...], classes: int, sizes: tuple[int, int], digest: str
) -> str:
    """The descriptor of an own set: all that a config must know of it, and which data it is.

    `stem` is made a `short_name`, `digest` reduced to 16 hexadecimal digits.
    """
    sides = "x".join(map(str, shape))
    return f"{short_name(stem)}:{sides}:{classes}:{sizes[0]}+{sizes[1]}:{digest[:16]}"


def data_set(name: Any, option: str = "dataset") -> DataSet:
    """The data set `name`: one of DATA_SETS, or an own one by its descriptor.

    An own set has no files, licence or checksums here, and its classes are called by number.
    InputError, naming `option`, for anything else: sides 1 to 1024, 2 to 256 classes, up to 10^7
    images. Reads no file.
    """
    if isinstance(name, str):
        if name in DATA_SETS:
            return DATA_SETS[name]
        if found := _own(name):
            return found
    near = get_close_matches(str(name), DATA_SETS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    remedy = f"{hint}on the command line it may be the path of your own set (docs/images.md)"
    known = ", ".join(sorted(DATA_SETS))
    refuse(option, f"one of {known}, or an own set", repr(name)[:120], remedy)


def is_own(name: str) -> bool:
    """Whether `name` is the descriptor of an own set."""
    return name not in DATA_SETS and _own(name) is not None


@functools.lru_cache(maxsize=64)
def _own(descriptor: str) -> DataSet | None:
    """What a descriptor says; None where it is none. Each has one spelling, as each run one id."""
    if (found := _DESCRIPTOR.fullmatch(descriptor)) is None:
        return None
    stem, *texts = found.groups()
    numbers = [int(text) for text in texts]
    channels, height, width, classes, train, test = numbers
    sound = (
        [str(number) for number in numbers] == texts
        and 1 <= min(height, width) <= max(height, width) <= MOST_SIDE
        and 2 <= classes <= MOST_CLASSES
        and 1 <= min(train, test) <= max(train, test) <= MOST_IMAGES
    )
    names = tuple(str(number) for number in range(classes))
    shape, sizes = (channels, height, width), (train, test)
    return DataSet(stem, "your own", names, shape, sizes, (), ("", ""), ()) if sound else None


def place(name: str, folder: Path | None = None) -> Path:
    """The folder of the data set `name`: folder/name; "embedded" lies in this package.

    Without `folder` that of $REFLFAP_DATA, else of the platform's cache. InputError for an unknown
    name. Nothing is created.
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
