"""Files that are whole or absent, and locks that end with their process, in folders as they are.

Folders may be shared, read-only, on network disks without locks, or hold what somebody planted:
nothing is followed, waited for or read without a bound that was not made by reflfap.
"""

import contextlib
import errno
import fcntl
import fnmatch
import functools
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from reflfap.errors import ReflfapError, StoreError, refuse
from reflfap.terminal import say

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems say that have no locks, such as network shares."""

OLD = 86_400.0
"""Seconds after which a part is left over where no lock tells; writing one takes minutes."""

DEFLATE_RATIO = 1032
"""Deflate never expands further (zlib's manual): a bound of what a short file can hold."""

_MOST_OF_A_LOCK = 32  # bytes: a process's number


def open_regular(
    path: Path, remedy: str = "remove it", error: type[ReflfapError] = StoreError
) -> BinaryIO:
    """The file at `path`, open for reading; `error` for none, and for pipes, folders and devices,
    of which some would be waited for, and others never end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as failure:
        raise error(f"{path}: cannot be read ({failure.strerror}); {remedy}") from failure
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        refuse(str(path), "a regular file", "a folder, pipe or device", remedy, error)
    return os.fdopen(descriptor, "rb")


def read_text(
    path: Path, most: int, remedy: str = "remove it", error: type[ReflfapError] = StoreError
) -> str:
    """The text of a file of at most `most` bytes; `error` for anything else."""
    with open_regular(path, remedy, error) as file:
        content = file.read(most + 1)
    if len(content) > most:
        refuse(str(path), f"at most {most} bytes", "more", remedy, error)
    try:
        return content.decode()
    except UnicodeDecodeError as wrong:
        raise error(f"{path}: expected a text, got other bytes ({wrong}); {remedy}") from wrong


def write_text(path: Path, text: str, other: str = "--out") -> None:
    """Write a text file whole or not at all; StoreError if that cannot be done."""
    write_whole(path, text.encode(), other)


def write_whole(path: Path, content: bytes, other: str = "--out") -> None:
    """Write a file whole or not at all; StoreError if that cannot be done."""
    with whole_file(path, other) as descriptor:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]


@contextlib.contextmanager
def whole_file(path: Path, other: str = "--out") -> Iterator[int]:
    """The descriptor of a new hidden file in the folder of `path`, to which it is moved at the end.

    On any exception it is removed, as is what killed writers left there. StoreError if it cannot be
    written, which touches nothing else and advises to choose another `other`.
    """
    try:
        if path.exists() and not path.is_file():  # the move would put a file in /dev/null's place
            got, remedy = "a folder, pipe or device", f"choose another {other}"
            refuse(str(path), "a regular file or none", got, remedy, StoreError)
        _look_through(path.parent)
        temporary, descriptor = new_part(path.parent)
    except OSError as error:
        raise unwritable(path.parent, error, other) from error
    try:
        yield descriptor
        os.fsync(descriptor)
        os.replace(temporary, path)  # while it is locked: a living writer's file is left alone
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path}: writing failed ({error}); free some space or choose another {other}; "
            "earlier results are untouched"
        ) from error
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _sync_folder(folder: Path) -> None:
    """Have the move itself survive a loss of power, where the file system can promise it."""
    with contextlib.suppress(OSError):  # CIFS and others refuse; the file is whole all the same
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def new_part(folder: Path, before: str = ".part-", after: str = "") -> tuple[Path, int]:
    """A new hidden file and its open descriptor, locked as long as its writer lives.

    Not tempfile, whose files nobody else could read, whatever the umask.
    """
    while True:
        part = folder / f"{before}{secrets.token_hex(8)}{after}"
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if part.exists():  # else another writer took it for left over, before the lock
            return part, descriptor
        os.close(descriptor)


_FEW = 100
_unseen: dict[Path, int] = {}
"""Files that this process may still write into a folder of many before it looks through it."""


def _look_through(folder: Path) -> None:
    """`remove_parts`, as seldom as it takes for all looks together to cost no more than the writes:
    after one at n files, not before n / 100 more are written."""
    left = _unseen.pop(folder, 0)
    left = left - 1 if left else remove_parts(folder) // _FEW
    if left:
        _unseen[folder] = left


def remove_parts(folder: Path, pattern: str = ".part-*") -> int:
    """Remove the parts of writers that were killed, none of living ones; how many files are there.

    Where no locks tell them apart, those that are older than a day.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return 0
    for part in (folder / name for name in fnmatch.filter(names, pattern)):
        with contextlib.suppress(OSError, StoreError), open_regular(part) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError as error:
                age = time.time() - os.fstat(file.fileno()).st_mtime
                if error.errno not in NO_LOCKS or age < OLD:
                    continue
            part.unlink()
    return len(names)


@contextlib.contextmanager
def lock(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file `path`; if another process does, call `on_wait(its id)` and wait.

    The lock ends with its process, however that dies; the file itself stays. Where the file system
    has no locks, says so once and goes on without.
    """
    descriptor = _open_lock(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, _MOST_OF_A_LOCK, 0).decode("ascii", "replace")
            on_wait(holder.strip())
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise unwritable(path, error) from error
            _say_unlocked(path.parent.parent)
        if os.fstat(descriptor).st_size <= _MOST_OF_A_LOCK:  # else it is somebody's file, linked
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path, how: int) -> int:
    """The descriptor of a regular file, no link; StoreError for what is none."""
    try:
        descriptor = os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            refuse(str(path), "a lock file", "a symbolic link", "remove it", StoreError)
        raise unwritable(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        refuse(str(path), "a lock file", "a folder, pipe or device", "remove it", StoreError)
    return descriptor


@functools.cache
def _say_unlocked(folder: Path) -> None:
    say(
        f"{folder}: this file system has no locks: nothing keeps two processes from one result; "
        "start one at a time, or choose another --out"
    )


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock file `path`; no where that cannot be known."""
    try:
        descriptor = _open_lock(path, os.O_RDONLY)
    except StoreError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def unwritable(path: Path, error: OSError, other: str = "--out") -> StoreError:
    """What to raise where a file cannot be made."""
    return StoreError(f"{path}: cannot write there ({error.strerror}); choose another {other}")
