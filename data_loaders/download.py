"""The files of the image sets: checked against their SHA-256, and fetched whole or not at all."""

import contextlib
import glob
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import IO, BinaryIO

from reflfap.data_loaders import cifar
from reflfap.data_loaders.archives import size_and_digest
from reflfap.data_loaders.originals import idx_files
from reflfap.data_loaders.registry import CIFAR_BATCHES, DATA_SETS, File, place
from reflfap.errors import DamagedFileError, InputError, StoreError
from reflfap.files import new_part, remove_parts, unwritable

CHUNK = 2**12  # bytes; few, since only whole chunks are seen to arrive
SILENCE = 30.0  # seconds without a byte; a timeout alone lets servers drip one now and then
GRACE = 30.0  # seconds for names, handshakes and redirections, in which nothing need arrive
WINDOW, SLOWEST = 30.0, 1_000.0  # seconds, and bytes a second on their average, or the next mirror
# In all LIMIT seconds and those that the file takes at USUAL bytes a second: 2.4 h for CIFAR-10,
# which at the slowest rate would take two days.
LIMIT, USUAL = 60.0, 20_000.0
FAILURES = (OSError, ValueError, DamagedFileError)  # of a mirror; requests raises OSErrors


def check(name: str, folder: Path | None = None) -> list[tuple[str, str]]:
    """Each file of the data set with "good", "missing" or "differs (expected ..., got ...)".

    Files are named as they are found, from the set's folder, and looked for where `load` does.
    Where CIFAR-10 lies extracted or packed otherwise, its six batches stand for the archive.
    Costs one pass over the files, for CIFAR-10 as xz its decompression.
    """
    where = place(name, folder)
    files = DATA_SETS[name].files
    if name == "cifar-10":
        return _check_cifar10(where, files)
    found = idx_files(name, where)
    paths = [found.get(file.name, where / file.name) for file in files]
    return [
        (os.path.relpath(path, where), _status(path, file))
        for path, file in zip(paths, files, strict=True)
    ]


def _check_cifar10(where: Path, files: Sequence[File]) -> list[tuple[str, str]]:
    found = cifar.find_cifar10(where)
    if found is not None and found.name not in (files[0].name, *cifar.PICKLED):
        size = cifar.RECORDS * cifar.RECORD
        files = [File(batch, size, digest) for batch, digest in CIFAR_BATCHES.items()]
        if found.name != cifar.FOLDER:
            return _check_members(found, files)
        where = found
    return [(file.name, _status(where / file.name, file)) for file in files]


def _check_members(archive: Path, files: Sequence[File]) -> list[tuple[str, str]]:
    digests = {file.name: hashlib.sha256() for file in files}
    try:
        for name, _, records in cifar.batches(archive, tuple(digests)):
            digests[name].update(records.data)
    except StoreError as error:
        return [(archive.name, f"differs ({error})")]
    return [(file.name, _compare(file.sha256, digests[file.name].hexdigest())) for file in files]


def _status(path: Path, file: File) -> str:
    """Of the file at `path`, which is `file` as published or, by its name, unpacked."""
    if not os.path.isfile(path):
        return "missing"
    try:
        size, digest = size_and_digest(path)
    except StoreError as error:
        return f"differs ({error})"
    if file.name.endswith(".gz") and path.suffix != ".gz":
        return _compare(file.unpacked, digest)
    if size != file.size:
        return f"differs (expected {file.size} bytes, got {size})"
    return _compare(file.sha256, digest)


def _compare(expected: str, got: str) -> str:
    return "good" if got == expected else f"differs (expected SHA-256 {expected}, got {got})"


def fetch(name: str, folder: Path | None = None, progress: bool = True) -> Path:
    """Download what is missing or differs of the data set, and return its folder.

    A file appears under its name only when its size and SHA-256 are right; until then it has a
    hidden name in the same folder, removed on any failure, after a kill by the next fetch. Mirrors
    are tried in turn; one that is too slow is given up. What lies in other folders, or under other
    names, is left there, and fetched all the same: this one comes first.
    StoreError with every mirror's reason if none serves, or if the folder cannot be written.
    `progress` shows a bar on standard error. Time: the download and one pass over the files there.
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
        except FAILURES as error:
            failures.append(f"{mirror} ({error})")
    raise StoreError(
        f"{target}: expected a download, got none from {', '.join(failures)}; "
        f"check the connection and try again, or put the file there yourself"
    )


def _download(url: str, target: "_Checked", progress: bool) -> None:
    """Download to `target`; TimeoutError where that is too slow.

    It runs in a thread of its own, because every read may wait for a byte that comes just in time,
    those of the server's name and headers as well. One that is given up ends with its next chunk,
    or with the process.
    """
    import pooch

    # some servers would unpack .gz files on the way, unless asked not to
    plain = {"Accept-Encoding": "identity"}
    get = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=CHUNK, headers=plain, timeout=SILENCE
    )
    done: Future[str] = Future()

    def work() -> None:
        try:
            get(url, target, None)
            done.set_result("")
        except FAILURES as error:
            done.set_result(str(error))  # the exception itself would hold the connection
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        _await(done, target)
    finally:
        target.given_up = True
    target.verify()


def _await(done: Future[str], target: "_Checked") -> None:
    """Wait until a download ends, as long as it gets on; OSError with what it failed for."""
    limit = LIMIT + target.file.size / USUAL
    end = time.monotonic() + limit
    wait([done], GRACE)
    while not done.done():
        before = target.size
        wait([done], min(WINDOW, max(0.0, end - time.monotonic())))
        if done.done():
            break
        if time.monotonic() >= end:
            raise TimeoutError(f"expected the end within {limit:.0f} s, got {target.size} bytes")
        if target.size - before < SLOWEST * WINDOW:
            got = f"{(target.size - before) / WINDOW:.0f}"
            raise TimeoutError(f"expected at least {SLOWEST:.0f} bytes a second, got {got}")
    if failure := done.result():
        raise OSError(failure)


class _Checked:
    """A file being written that refuses to grow beyond its size, and knows its digest."""

    def __init__(self, raw: IO[bytes], file: File) -> None:
        self.file, self.size, self.given_up = file, 0, False
        self._raw, self._digest = raw, hashlib.sha256()

    def write(self, data: bytes) -> None:
        if self.given_up:
            raise TimeoutError("given up")
        self.size += len(data)
        if self.size > self.file.size:
            raise DamagedFileError(f"expected {self.file.size} bytes, got more")
        self._digest.update(data)
        self._raw.write(data)

    def flush(self) -> None:
        self._raw.flush()

    def verify(self) -> None:
        if self.size != self.file.size:
            raise DamagedFileError(f"expected {self.file.size} bytes, got {self.size}")
        if self._digest.hexdigest() != self.file.sha256:
            expected = f"expected SHA-256 {self.file.sha256}"
            raise DamagedFileError(f"{expected}, got {self._digest.hexdigest()}")


@contextlib.contextmanager
def scratch(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new hidden file beside `target`, open for writing and locked; removed at the end.

    Move it to `target` to keep it. StoreError if it cannot be made.
    """
    try:
        part, descriptor = new_part(target.parent, f".{target.name}.", ".part")
    except OSError as error:
        raise unwritable(target, error, "folder") from error
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield part, file
        finally:
            part.unlink(missing_ok=True)


def remove_left_over(target: Path) -> None:
    """Remove the scratch files of `target` whose processes were killed, none of living ones."""
    remove_parts(target.parent, f".{glob.escape(target.name)}.*.part")
