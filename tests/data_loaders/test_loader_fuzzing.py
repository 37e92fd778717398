"""Mutated files load as what they hold or are refused by one of our errors, and cost little.

Where a checksum guards the contents (gzip, bzip2, xz) whatever loads must equal the original;
plain files have none, so there what loads must be the bytes of the file, no others.
"""

import bz2
import gzip
import lzma
import os
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loaders import small_batches, tar

from reflfap.data_loaders import cifar, idx
from reflfap.errors import ReflfapError

ARRAY = np.random.default_rng(0).integers(0, 256, (5, 6, 7), dtype=np.uint8)
IDX = idx.header(ARRAY.shape) + ARRAY.tobytes()
FILES = small_batches(records=1)
TAR = tar(FILES)
TRAIN = [FILES[name] for name in cifar.BATCHES["train"]]
PACK = {
    "plain": bytes,
    "gz": lambda content: gzip.compress(content, mtime=0),
    "bz2": bz2.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
}


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three flips, truncations, insertions, repetitions or removals, often at the front."""
    for _ in range(rng.integers(1, 4)):
        size = max(1, len(content) if rng.random() < 0.6 else min(len(content), 600))
        at, length = int(rng.integers(size)), int(rng.integers(1, 40))
        how = rng.integers(6)
        if how <= 1:  # one bit
            at = min(at, len(content) - 1)
            flipped = content[at : at + 1] and bytes([content[at] ^ (1 << rng.integers(8))])
            content = content[:at] + flipped + content[at + 1 :]
        elif how == 2:
            content = content[:at] + rng.bytes(length) + content[at + length :]
        elif how == 3:
            content = content[:at]
        elif how == 4:
            content = content[:at] + rng.bytes(length) + content[at:]
        else:
            content = content[:at] + content[at + length :]
    return content


def mutated_header(content: bytes, rng: np.random.Generator) -> bytes:
    """A tar archive with a field of a member's header changed, and its checksum put right."""
    headers = [0]
    while content[headers[-1]]:
        size = int(content[headers[-1] + 124 :][:11], 8)
        headers.append(headers[-1] + 512 + -(-size // 512) * 512)
    at = int(rng.choice(headers[:-1]))
    header = bytearray(content[at : at + 512])
    names = (b"../../x", b"/etc/passwd", b"\0", b"\xff" * 100, f"{cifar.FOLDER}/x".encode())
    size_fields = (b"77777777777\0", b"\x80" + b"\xff" * 11, b"-0000000001\0", b"0o000000010\0")
    choice = rng.integers(5)
    if choice == 0:
        name = names[rng.integers(len(names))]
        header[: len(name)] = name
    elif choice == 1:
        header[124:136] = size_fields[rng.integers(len(size_fields))]
    elif choice == 2:
        header[124:136] = b"%011o\0" % rng.integers(0, 2 ** rng.integers(1, 33))
    elif choice == 3:
        header[156] = rng.integers(256)
    else:
        header[rng.integers(512)] = rng.integers(256)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[:at] + bytes(header) + content[at + 512 :]


WATCHED: list[str] = []
ELSEWHERE: list[tuple[str, str]] = []


def _audit(event: str, args: tuple) -> None:
    changes = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate")
    if WATCHED and (event in changes or (event == "open" and _writes(args))):
        place = os.fspath(args[0]) if isinstance(args[0], str | bytes | os.PathLike) else ""
        if not os.path.abspath(os.fsdecode(place)).startswith(WATCHED[0] + os.sep):
            ELSEWHERE.append((event, str(place)))


def _writes(args: tuple) -> bool:
    return bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if args[2] else False


sys.addaudithook(_audit)  # hooks stay for good, so this one sleeps unless WATCHED


@pytest.fixture
def guarded(tmp_path):
    """While it lasts, nothing may be written outside of tmp_path, nor 8 MB be allocated."""
    WATCHED.append(str(tmp_path))
    ELSEWHERE.clear()
    tracemalloc.start()
    try:
        yield tmp_path
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        WATCHED.clear()
    assert ELSEWHERE == []
    assert highest < 8e6


def attempt(read: Callable[[], object], content: bytes) -> object:
    """What `read` gives, None when it refuses; any other exception shows the bytes."""
    try:
        return read()
    except ReflfapError as error:
        message = str(error)
    except Exception as error:
        pytest.fail(f"{error!r} on {content.hex()[:2000]}")
    assert "expected" in message
    return None


def mutations(original: bytes, kind: str, n: int, seed: int) -> Iterator[bytes]:
    """n mutations: half of the packed bytes, half of what is packed."""
    rng = np.random.default_rng(seed)
    packed = PACK[kind](original)
    for number in range(n):
        if kind == "plain" or number % 2:
            yield mutated(packed, rng)
        else:
            yield PACK[kind](mutated(original, rng))


def check_idx(path, content: bytes, held: bytes) -> bool:
    """Whether it loads; then the array is what the file holds."""
    path.write_bytes(content)
    found = attempt(lambda: idx.read_idx(path, most=10_000), content)
    if found is None:
        return False
    assert idx.header(found.shape) + found.tobytes() == held
    return True


@pytest.mark.parametrize("kind", ["plain", "gz"])
def test_mutated_idx(guarded, kind):
    loads = 0
    for content in mutations(IDX, kind, 5000, seed=1):
        held = content
        if kind == "gz":
            try:  # a sound gzip file of other contents, by the library's word
                held = gzip.decompress(content)
            except (OSError, EOFError, ValueError, gzip.zlib.error):
                held = IDX
        loads += check_idx(guarded / "x", content, held)
    assert 0 < loads < 3000


def check_archive(path, content: bytes, guarded: bool) -> bool:
    """Whether it loads; then it is the original, if `guarded`, else batches in `content`."""
    path.write_bytes(content)
    found = attempt(lambda: cifar.read_cifar10(path, records=1), content)
    if found is None:
        return False
    records = [record.tobytes() for record in cifar.as_records(*found, rows=1)]
    if guarded:
        assert records == TRAIN
    else:
        assert all(record in content for record in records)
    return True


@pytest.mark.parametrize("kind", PACK)
def test_mutated_archives(guarded, kind):
    """Damage to the packed bytes: with a checksum the original or an error, nothing else."""
    rng = np.random.default_rng(2)
    packed = PACK[kind](TAR)
    n = {"plain": 3000, "gz": 2500, "bz2": 600, "xz": 1000}[kind]
    loads = 0
    for _ in range(n):
        content = mutated(packed, rng)
        loads += check_archive(guarded / "x", content, guarded=kind != "plain")
    assert loads < n


def test_mutated_headers(guarded):
    """Headers that are well made and say what is wrong: names, kinds, sizes."""
    rng = np.random.default_rng(3)
    loads = 0
    for _ in range(3000):
        content = mutated_header(TAR, rng)
        loads += check_archive(guarded / "x", content, guarded=False)
    assert 0 < loads < 2500


def test_mutated_batches(guarded):
    """A folder of plain batches: the bytes of the files, or an error."""
    rng = np.random.default_rng(4)
    for name, content in FILES.items():
        (guarded / name).write_bytes(content)
    target = guarded / "data_batch_3.bin"
    loads = 0
    for _ in range(3000):
        content = mutated(FILES[target.name], rng)
        target.write_bytes(content)
        found = attempt(lambda: cifar.read_cifar10(guarded, records=1), content)
        if found is not None:
            loads += 1
            held = [content if number == 2 else batch for number, batch in enumerate(TRAIN)]
            assert b"".join(part.tobytes() for part in cifar.as_records(*found)) == b"".join(held)
    assert 0 < loads < 2500


@settings(max_examples=300)
@given(content=st.binary(max_size=200))
def test_any_bytes(tmp_path, content):
    """Bytes of any kind after a sound beginning, or none."""
    path = tmp_path / "x"
    for start in (b"", IDX[:4], IDX[:16], gzip.compress(IDX)[:10], TAR[:512], lzma.compress(b"")):
        path.write_bytes(start + content)
        found = attempt(lambda: idx.read_idx(path, most=10_000), start + content)
        if found is not None:
            assert idx.header(found.shape) + found.tobytes() == start + content
        assert attempt(lambda: cifar.read_cifar10(path, records=1), start + content) is None


@given(
    name=st.sampled_from([f"{cifar.FOLDER}/{name}" for name in FILES]) | st.text(max_size=50),
    kind=st.sampled_from([bytes([kind]) for kind in range(256)]),
    size=st.integers(0, 2**40),
)
def test_any_member(tmp_path, name, kind, size):
    """A member of any name, kind and size before the sound ones."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    try:
        header = member.tobuf(tarfile.GNU_FORMAT)
    except (ValueError, UnicodeEncodeError):
        return
    path = tmp_path / "x.tar"
    check_archive(path, header + TAR, guarded=False)
