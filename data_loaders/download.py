"""The files of the image sets: checked against their SHA-256, and fetched whole or not at all."""

import contextlib
import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO

from data_loaders import cifar
from data_loaders.registry import CIFAR_BATCHES, DATA_SETS, File, place
from reflfap.errors import DamagedFileError, InputError, StoreError
from reflfap.files import new_part, remove_parts, unwritable


def check(name: str, folder: Path | None = None) -> list[tuple[str, str]]:
    """Each file of the data set with "good", "missing" or "differs (expected ..., got ...)".

    Where CIFAR-10 lies extracted or packed otherwise, its six batches stand for the archive.
    Costs one pass over the files, for CIFAR-10 as xz its decompression.
    """
    where = place(name, folder)
    files: Sequence[File] = DATA_SETS[name].files
    found = cifar.find_cifar10(where) if name == "cifar-10" else None
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
