"""Sealed files are complete or absent, intact or refused; locks end with their process."""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from processes import exit_code, fork, hold, kill, listing, wait_until

from reflfap import files
from reflfap.data_loaders.download import remove_left_over, scratch
from reflfap.errors import DamagedFileError, StoreError
from reflfap.files import is_locked, lock, write_text
from reflfap.sealed import (
    SEAL_BYTES,
    dataset_names,
    names_in,
    read_head,
    read_sealed,
    write_sealed,
)


def write_small(path: Path, value: float = 1.0) -> Path:
    with write_sealed(path) as file:
        file["x"] = np.full((2, 3), value)
        file.attrs["name"] = "small"
    return path


def read_small(path: Path) -> float:
    with read_sealed(path) as file:
        return float(file["x"][0, 0])


def seal_before(content: bytes) -> bytes:
    """A seal before `content`, made from its description in reflfap.sealed."""
    digest = hashlib.sha256(content).hexdigest()
    return f"reflfap sealed HDF5 1\n{digest}\n{len(content)}".encode().ljust(512, b"\0") + content


KINDS = st.sampled_from(["f4", "f8", "i8", "?"])


@given(values=KINDS.flatmap(lambda kind: arrays(kind, array_shapes(min_dims=0, min_side=0))))
def test_round_trip(tmp_path, values):
    with write_sealed(tmp_path / "x.h5") as file:
        file["group/values"] = values
    with read_sealed(tmp_path / "x.h5") as file:
        found = file["group/values"][...]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
    assert listing(tmp_path) == ["x.h5"]


def test_the_file_is_as_documented(tmp_path):
    path = write_small(tmp_path / "x.h5")
    assert path.read_bytes() == seal_before(path.read_bytes()[SEAL_BYTES:])
    with h5py.File(path) as file:  # any HDF5 tool skips the seal
        assert file["x"].shape == (2, 3)


def test_others_may_read_what_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        path = write_small(tmp_path / "x.h5")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from reflfap.errors import StoreError
from reflfap.sealed import read_sealed, write_sealed

path = Path(sys.argv[1]) / "x.h5"

def write(n):
    with write_sealed(path) as file:
        # after a failed write of chunks HDF5 crashes at exit, unless the error is kept from it
        file.create_dataset("chunks", data=np.ones(n), chunks=True)
        for part in range(3):
            file[f"part{part}/x"] = np.ones(n)
            file[f"part{part}"].attrs["name"] = 100 * "x"

write(10)
for limit in sys.argv[2:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        write(200_000)
    except StoreError as error:
        print(error)
    with read_sealed(path) as file:
        assert file["chunks"].shape == (10,), "the older result is gone"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.h5"], "a leftover"
"""


def fill(folder: Path, *limits: str, before: tuple[str, ...] = ()) -> list[str]:
    """The messages of writes that must fail, in an interpreter that must end in order."""
    command = [*before, sys.executable, "-c", FILL_THE_DISK, str(folder), *limits]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_full_disk_is_reported(tmp_path):
    # nothing fits; a part of the seal, of the first metadata, of the arrays; all but the end
    limits = ("0", "100", "700", "50000", "4000000")
    messages = fill(tmp_path, *limits)
    assert len(messages) == len(limits)
    for message in messages:
        assert "x.h5: writing failed" in message
        assert "File too large" in message
        assert "free some space" in message


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


def test_a_full_file_system_is_reported(tmp_path):
    # the mount is seen by one process only and ends with it, whatever happens
    disk = ("sh", "-c", 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"', str(tmp_path))
    before = ("unshare", "--mount", *disk)
    if shutil.which("unshare") is None or not succeeds(*before, "true"):
        pytest.skip("mounting a small file system is not allowed here")
    (message,) = fill(tmp_path, "-1", before=before)
    assert "No space left" in message
    assert listing(tmp_path) == []


def fail_midway(path: Path, error: type[BaseException]) -> None:
    with write_sealed(path) as file:
        file["x"] = np.full((2, 3), 2.0)
        raise error


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("error", [KeyError, ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_nothing(tmp_path, error, older):
    path = tmp_path / "x.h5"
    if older:
        write_small(path, 1.0)
    with pytest.raises(error):
        fail_midway(path, error)
    assert listing(tmp_path) == (["x.h5"] if older else [])
    assert not older or read_small(path) == 1.0


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    path = write_small(tmp_path / "x.h5")
    for folder in (path, tmp_path / "missing"):
        with pytest.raises(StoreError, match=r"cannot write there.*choose another --out"):
            write_small(folder / "y.h5")


def test_every_flipped_bit_is_noticed(tmp_path):
    path = write_small(tmp_path / "x.h5")
    good = path.read_bytes()
    descriptor = os.open(path, os.O_RDWR)
    for position, byte in enumerate(good):  # all of them: 20,000 take two seconds
        for bit in range(8):
            os.pwrite(descriptor, bytes([byte ^ (1 << bit)]), position)
            with pytest.raises(DamagedFileError), read_sealed(path):
                pytest.fail(f"bit {bit} of byte {position} went unnoticed")
        os.pwrite(descriptor, bytes([byte]), position)
    os.close(descriptor)
    assert read_small(path) == 1.0


@given(place=st.floats(0, 1, exclude_max=True), new=st.binary(min_size=1, max_size=30))
def test_overwritten_parts_are_noticed(tmp_path, place, new):
    path = write_small(tmp_path / "x.h5")
    good = path.read_bytes()
    start = int(place * len(good))
    changed = (good[:start] + new + good[start + len(new) :])[: len(good)]
    path.write_bytes(changed)
    if changed == good:
        assert read_small(path) == 1.0
        return
    with pytest.raises(DamagedFileError), read_sealed(path):
        pytest.fail("the change went unnoticed")


def refusal(path: Path, what: str) -> None:
    with pytest.raises(DamagedFileError) as caught, read_sealed(path):
        pytest.fail(f"{what} was read")
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert " got " in message
    assert "run the experiment again" in message


def foreign_files(good: bytes) -> Iterator[tuple[str, bytes]]:
    yield "extended by a zero", good + b"\0"
    yield "extended by itself", good + good
    yield "text", b"dim = 10\nhidden = 6\n"
    yield "as many lines as a seal", b"one\ntwo\nthree"
    yield "PNG", b"\x89PNG\r\n\x1a\n" + bytes(2000)
    yield "HDF5 without its seal", good[SEAL_BYTES:]
    yield "another version", good.replace(b"HDF5 1", b"HDF5 2", 1)


def test_truncated_and_foreign(tmp_path):
    path = write_small(tmp_path / "x.h5")
    good = path.read_bytes()
    for length in reversed(range(len(good))):
        os.truncate(path, length)
        refusal(path, f"the first {length} bytes")
    for what, content in foreign_files(good):
        path.write_bytes(content)
        refusal(path, what)


def test_an_ordinary_hdf5_file_is_refused(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(DamagedFileError, match="got another format"), read_sealed(path):
        pytest.fail("read")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_seal_on_what_is_not_hdf5_is_refused(tmp_path, content):
    path = tmp_path / "x.h5"
    path.write_bytes(seal_before(content))
    with pytest.raises(DamagedFileError, match="not HDF5"), read_sealed(path):
        pytest.fail("read")


def test_missing_files_and_folders_are_reported(tmp_path):
    for path, message in ((tmp_path / "x.h5", "cannot be read"), (tmp_path, "a regular file")):
        with pytest.raises(StoreError, match=message), read_sealed(path):
            pytest.fail("read")


def test_a_lock_is_exclusive_and_ends_with_its_process(tmp_path):
    path = tmp_path / "lock"
    child = hold(path)
    said, ends = [], []

    def on_wait(holder: str) -> None:
        said.append(holder)
        ends.append(kill(child))

    with lock(path, on_wait):  # would wait for ever if the lock outlived its process
        assert said == [str(child)]
        assert ends == [-signal.SIGKILL]
        assert path.read_text() == f"{os.getpid()}\n"
        assert is_locked(path)
    assert not is_locked(path)


def test_what_killed_writers_left_is_removed(tmp_path):
    """The scratch file of a killed process goes; those of living ones and of other files stay."""
    target, other = tmp_path / "[x].gz", tmp_path / ".[x].gz.tar.0.part.gz"
    other.touch()

    def write() -> None:
        with scratch(target) as (_, file):
            file.write(b"half")
            file.flush()
            time.sleep(60)

    child = fork(write)
    # what it has written it has locked; before, its file counts as left over, and it makes another
    wait_until(lambda: any(path.stat().st_size == 4 for path in tmp_path.iterdir()))
    with scratch(target) as (mine, file):
        remove_left_over(target)
        assert len(list(tmp_path.iterdir())) == 3
        kill(child)
        remove_left_over(target)
        assert set(tmp_path.iterdir()) == {mine, other}
        file.write(b"whole")
        file.flush()
        os.replace(mine, target)
    assert target.read_bytes() == b"whole"
    assert set(tmp_path.iterdir()) == {target, other}
    with pytest.raises(KeyError), scratch(target):
        raise KeyError
    with pytest.raises(StoreError, match="choose another folder"), scratch(other / "x"):
        pass
    assert set(tmp_path.iterdir()) == {target, other}


def test_parts_of_killed_writers_are_removed_by_the_next(tmp_path):
    """Those of living ones stay, and both files are written."""
    path = tmp_path / "x.h5"

    def work() -> None:
        with write_sealed(tmp_path / "y.h5") as file:
            file["a"] = 1.0
            time.sleep(1000)

    killed = fork(work)
    wait_until(lambda: listing(tmp_path))
    with write_sealed(path) as file:
        file["a"] = 1.0
    # the file, and the part of one that lives; it makes another if this was gone before its lock
    wait_until(lambda: len(listing(tmp_path)) == 2)
    kill(killed)
    with write_sealed(tmp_path / "z.h5") as outer:
        with write_sealed(path) as file:
            file["a"] = 2.0
        outer["a"] = 3.0
    assert listing(tmp_path) == ["x.h5", "z.h5"]
    for name, value in (("x.h5", 2.0), ("z.h5", 3.0)):
        with read_sealed(tmp_path / name) as file:
            assert file["a"][()] == value


def test_a_part_taken_before_its_lock_is_made_again(tmp_path, monkeypatch):
    """Another writer may find the new file in the moment before it is locked."""
    plain, taken = files.fcntl.flock, []

    def late(file, how: int) -> None:
        if how == files.fcntl.LOCK_EX and not taken:
            taken.extend(tmp_path.glob(".part-*"))
            taken[0].unlink()
        plain(file, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    with write_sealed(tmp_path / "x.h5") as file:
        file["a"] = 1.0
    assert len(taken) == 1
    assert listing(tmp_path) == ["x.h5"]


def test_a_scratch_file_taken_before_its_lock_is_made_again(tmp_path, monkeypatch):
    """Another process may find the new file in the moment before it is locked."""
    target, plain, waits = tmp_path / "x", files.fcntl.flock, []

    def late(file, how: int) -> None:
        if how == files.fcntl.LOCK_EX and not waits:
            waits.append(1)
            remove_left_over(target)
        plain(file, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    with scratch(target) as (part, _):
        assert waits == [1]
        assert list(tmp_path.iterdir()) == [part]


def test_a_free_lock_is_taken_at_once(tmp_path):
    path = tmp_path / "lock"
    assert not is_locked(path)
    for _ in range(2):  # the file of an ended lock is no lock
        with lock(path, lambda holder: pytest.fail("waited")):
            pass


def test_processes_under_a_lock_take_turns(tmp_path):
    path, counter = tmp_path / "lock", tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(20):
            with lock(path, lambda holder: None):
                number = int(counter.read_text())
                time.sleep(0.001)
                counter.write_text(str(number + 1))

    children = [fork(count) for _ in range(3)]
    assert [exit_code(child) for child in children] == [0, 0, 0]
    assert counter.read_text() == "60"


def test_a_lock_that_cannot_be_made_is_reported(tmp_path):
    path = tmp_path / "missing" / "lock"
    with pytest.raises(StoreError, match="cannot write there"), lock(path, lambda holder: None):
        pytest.fail("locked")
    assert not is_locked(path)


def test_texts_are_written_whole(tmp_path):
    """A text is there in full, or the old one is; no leftovers."""
    path = tmp_path / "page.html"
    write_text(path, "one")
    write_text(path, "zwei ≥ 1")
    assert path.read_text(encoding="utf-8") == "zwei ≥ 1"
    with pytest.raises(StoreError, match="nowhere"):
        write_text(tmp_path / "nowhere" / "page.html", "one")
    with pytest.raises(StoreError):
        write_text(tmp_path, "a folder is in the way")
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


def test_groups_in_groups_are_bounded(tmp_path):
    """HDF5 would walk three thousand of them for a quarter of a minute; a circle has no end."""
    path = tmp_path / "x.h5"
    for kind in ("deep", "circle"):
        with write_sealed(path) as file:
            file["a/b/c"] = 1.0
            group = file["a"]
            for _ in range(3000 if kind == "deep" else 0):
                group = group.create_group("a")
            file["a/again"] = group
        with read_sealed(path) as file, pytest.raises(DamagedFileError, match="deeper ones"):
            list(dataset_names(file, path))
    with write_sealed(path) as file:
        file["a/b/c"] = file["d"] = 1.0
        file["a/soft"], file["e"] = h5py.SoftLink("/d"), h5py.ExternalLink("other.h5", "x")
    with read_sealed(path) as file:
        assert sorted(dataset_names(file, path)) == ["a/b/c", "d"]


@given(head=st.text(max_size=3000))
def test_what_stands_in_front_is_read_alone(tmp_path, head):
    """Whatever its length; the rest is plain HDF5, and every bit of both is covered by the seal."""
    path = tmp_path / "x.h5"
    with write_sealed(path, head=head) as file:
        file["x"] = 1.0
    assert read_head(path) == head
    with read_sealed(path) as file:
        assert file["x"][()] == 1.0
    with h5py.File(path) as file:
        assert file["x"][()] == 1.0
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read_head(path) == head  # which the damage does not touch
    if head:
        line = content[:SEAL_BYTES].rstrip(b"\0").rindex(b"\n") + 1
        for place in (line, line + 3):  # the length, the digest of the text
            other = bytearray(path.read_bytes())
            other[-1] ^= 1  # whole again
            other[place] ^= 1
            (tmp_path / "y.h5").write_bytes(other)
            with pytest.raises(DamagedFileError), read_sealed(tmp_path / "y.h5"):
                pytest.fail("read")
        content[SEAL_BYTES] ^= 1
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match="its first text"):
            read_head(path)
    with pytest.raises(DamagedFileError), read_sealed(path):
        pytest.fail("read")


@pytest.mark.parametrize("line", [b"", b"x y", b"9999999999 0", b"-1 0", b"12", b"\xff \xff"])
def test_a_strangers_front_is_refused(tmp_path, line):
    path = write_small(tmp_path / "x.h5")
    content = path.read_bytes()
    seal = content[:SEAL_BYTES].rstrip(b"\0") + b"\n" + line
    path.write_bytes(seal.ljust(SEAL_BYTES, b"\0") + content[SEAL_BYTES:])
    with pytest.raises(DamagedFileError):
        read_head(path)


def test_names_that_are_no_texts_are_refused(tmp_path):
    path = tmp_path / "x.h5"
    with write_sealed(path) as file:
        file.create_dataset(b"\xff", data=1.0)
        file.attrs[b"\xfe"] = 1.0
    with read_sealed(path) as file:
        for group in (file, file.attrs):
            with pytest.raises(DamagedFileError, match="names that are texts"):
                list(names_in(group, path))
        with pytest.raises(DamagedFileError, match="names that are texts"):
            list(dataset_names(file, path))
