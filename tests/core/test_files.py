"""Files in folders as they are: shared, read-only, without locks, or with what somebody planted."""

import errno
import fcntl
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import exit_code, fork, hold, kill, listing, open_to_all

from reflfap import files, terminal
from reflfap.errors import InputError, StoreError
from reflfap.files import (
    is_locked,
    lock,
    new_part,
    open_regular,
    read_text,
    remove_parts,
    write_text,
)
from reflfap.sealed import write_sealed


def refuse_flock(monkeypatch, number):
    """As network shares do that have no locks."""

    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.fcntl, "flock", flock)


@pytest.fixture(params=["pipe", "folder", "device"])
def irregular(request, tmp_path):
    path = tmp_path / request.param
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    return path


def test_what_is_no_file_is_refused_and_not_waited_for(irregular):
    """A pipe without a writer would be waited for; /dev/zero never ends."""
    for error in (StoreError, InputError):
        with pytest.raises(error, match=r"expected a regular file, got .*; mend it"):
            open_regular(irregular, "mend it", error)
        with pytest.raises(error, match="expected a regular file"):
            read_text(irregular, 100, error=error)


def test_what_is_no_file_is_no_lock(irregular):
    with pytest.raises(StoreError, match=r"lock file|Is a directory"), lock(irregular, pytest.fail):
        pass
    assert not is_locked(irregular)


def test_texts_are_bounded(tmp_path):
    path = tmp_path / "x"
    path.write_text("ä" * 50)
    assert read_text(path, 100) == "ä" * 50
    with pytest.raises(StoreError, match="at most 99 bytes"):
        read_text(path, 99)
    path.write_bytes(b"\xff")
    with pytest.raises(StoreError, match="expected a text"):
        read_text(path, 99)
    with pytest.raises(InputError, match=r"cannot be read .*; give another"):
        read_text(tmp_path / "missing", 99, "give another", InputError)


def test_a_lock_follows_no_link(tmp_path):
    """Neither is the target of a planted symbolic link touched, nor a file that is linked twice."""
    mine = tmp_path / "mine"
    mine.write_text("a long text that is not the number of a process")
    (tmp_path / "soft").symlink_to(mine)
    (tmp_path / "hard").hardlink_to(mine)
    with pytest.raises(StoreError, match="got a symbolic link"), lock(tmp_path / "soft", print):
        pass
    with lock(tmp_path / "hard", pytest.fail):
        pass
    assert mine.read_text().startswith("a long text")


def test_a_text_follows_no_link(tmp_path, monkeypatch):
    """Under whatever name a link may be planted: the hidden file is new, and its name random."""
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / f".page.{os.getpid()}").symlink_to(mine)
    (tmp_path / "page").symlink_to(mine)
    write_text(tmp_path / "page", "new")
    assert mine.read_text() == "mine"
    assert (tmp_path / "page").read_text() == "new"
    assert not (tmp_path / "page").is_symlink()
    tokens = iter(["planted", "free"])
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: next(tokens))
    (tmp_path / ".part-planted").symlink_to(mine)
    with pytest.raises(FileExistsError):
        new_part(tmp_path)


def test_folders_without_locks_do(tmp_path, monkeypatch, capsys):
    """It is said once that nothing keeps two processes apart; other errors are reported."""
    files._say_unlocked.cache_clear()
    for number in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        with monkeypatch.context() as patch:
            refuse_flock(patch, number)
            with lock(tmp_path / "lock", pytest.fail):
                pass
            assert not is_locked(tmp_path / "lock")
            with write_sealed(tmp_path / "x.h5") as file:
                file["x"] = 1.0
            write_text(tmp_path / "x", "text")
    said = capsys.readouterr().err
    assert said.count("has no locks") == 1
    refuse_flock(monkeypatch, errno.EIO)
    with pytest.raises(StoreError, match="Input/output error"), lock(tmp_path / "lock", print):
        pass


def test_left_over_parts_where_no_lock_tells(tmp_path, monkeypatch):
    """Those of a day ago go, since no writer takes so long; younger ones stay."""
    refuse_flock(monkeypatch, errno.ENOLCK)
    old, young = tmp_path / ".part-old", tmp_path / ".part-young"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - files.OLD - 1,) * 2)
    remove_parts(tmp_path)
    assert listing(tmp_path) == [".part-young"]


def test_folders_that_refuse_to_be_synced_do(tmp_path, monkeypatch):
    """As CIFS and others do; a file that is refused is an error."""
    sync = os.fsync

    def refused(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refused)
    with write_sealed(tmp_path / "x.h5") as file:
        file["x"] = 1.0
    write_text(tmp_path / "x", "text")
    assert listing(tmp_path) == ["x", "x.h5"]
    monkeypatch.setattr(os, "fsync", lambda descriptor: refuse(descriptor))

    def refuse(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(StoreError, match="writing failed"):
        write_text(tmp_path / "y", "text")
    assert listing(tmp_path) == ["x", "x.h5"]


def test_texts_of_killed_writers_are_removed_by_the_next(tmp_path):
    """Whoever writes next in a folder removes what no living process owns, whatever it writes."""

    def work():
        files.os.fsync = lambda descriptor: time.sleep(1000)
        write_text(tmp_path / "x", "text")

    child = fork(work)
    while not listing(tmp_path):
        time.sleep(0.005)
    write_text(tmp_path / "y", "text")
    assert len(listing(tmp_path)) == 2
    kill(child)
    write_text(tmp_path / "y", "text")
    assert listing(tmp_path) == ["y"]


def test_a_lock_that_may_not_be_written_is_seen(tmp_path):
    """By somebody else, who may read it alone."""
    path = tmp_path / "lock"
    child = hold(path)
    path.chmod(0o444)

    def look():
        if os.getuid() == 0:
            os.setuid(65534)
        return 0 if is_locked(path) else 1

    open_to_all(tmp_path)
    path.chmod(0o444)
    try:
        assert exit_code(fork(look)) == 0
    finally:
        kill(child)


@given(st.text(st.characters()))
def test_nothing_that_is_shown_steers_a_terminal(text):
    """Letters stay; control characters, surrogates and marks of direction are spelled out."""
    shown = terminal.plain(text)
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    if all(one.isprintable() for one in text):
        assert shown == text
    assert "\x1b" not in terminal.plain("\x1b[31mred\u202e")


def test_parts_are_locked(tmp_path):
    part, descriptor = new_part(tmp_path)
    with open(part, "rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_living_writer_may_take_its_time(tmp_path):
    """Where there are locks, age tells nothing."""
    part, descriptor = new_part(tmp_path)
    os.utime(part, (0, 0))
    remove_parts(tmp_path)
    assert part.exists()
    os.close(descriptor)
    remove_parts(tmp_path)
    assert listing(tmp_path) == []


def test_what_is_no_file_is_not_replaced(irregular):
    """Moved over a device, a file would take its place: for whoever has the rights, /dev/null's."""
    before = irregular.lstat()
    with pytest.raises(StoreError, match="a regular file or none"):
        write_text(irregular, "text")
    with pytest.raises(StoreError, match="a regular file or none"), write_sealed(irregular) as file:
        file["x"] = 1.0
    assert irregular.lstat() == before
    assert listing(irregular.parent) == [irregular.name]
