"""Bytes from compressed files and tar archives, bounded, in order, nothing written to disk.

Of the library's tarfile only the parser of one header is used. Its TarFile reads extended headers
of any stated size into memory, and takes a damaged header for the end of the archive.
"""

import bz2
import contextlib
import hashlib
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from reflfap.backend import HostArray
from reflfap.errors import DamagedFileError, StoreError
from reflfap.files import DEFLATE_RATIO, open_regular

BLOCK = 2**16  # bytes read at once
PIECE = 2**20  # bytes decompressed at once
LARGEST = 2**29  # bytes of an original file: CIFAR-10 unpacked has 184 million
XZ_MEMORY = 2**27  # the strongest preset, xz -9, takes half of it
FETCH = "remove it and fetch it again with `reflfap data fetch`"
GET = "fetch it with `reflfap data fetch`"


def damaged(path: Path, expected: str, got: str, remedy: str = FETCH) -> NoReturn:
    """Raise DamagedFileError in the one form: file, expected, got, what to do."""
    raise DamagedFileError(f"{path}: expected {expected}, got {got}; {remedy}")


class Inflate:
    """zlib for gzip files, with the interface that bz2 and lzma share."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=31)

    @property
    def needs_input(self) -> bool:
        return not (self._zlib.eof or self._zlib.unconsumed_tail)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, most)


DECODERS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": Inflate,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY),
}


class Stream:
    """The decompressed bytes of an open file, in order, never more than are asked for.

    Compression is told by the first bytes; members one after the other are joined, as gzip, bzip2
    and xz do. Reading beyond `limit` decompressed bytes, damage and truncation raise
    DamagedFileError, which says `remedy`. Holds 64 KiB of input, 1 MiB of output and what the
    decoder needs.
    """

    def __init__(self, file: BinaryIO, path: Path, limit: int, remedy: str = FETCH) -> None:
        self.path, self.limit, self.remedy, self.position = path, limit, remedy, 0
        self._file = file
        head = file.read(6)
        file.seek(0)
        kinds = [make for magic, make in DECODERS.items() if head.startswith(magic)]
        self._make: Any = kinds[0] if kinds else None
        self._decoder: Any = kinds[0]() if kinds else None

    def refuse(self, expected: str, got: str) -> NoReturn:
        """Raise DamagedFileError for this file."""
        damaged(self.path, expected, got, self.remedy)

    def most(self) -> int:
        """An upper bound of what the whole file can hold, in bytes, known before reading it."""
        size = self._file.seek(0, 2)
        self._file.seek(0)
        if self._make is None:
            return size
        return min(self.limit, size * DEFLATE_RATIO) if self._make is Inflate else self.limit

    def some(self, most: int) -> bytes:
        """Between 1 and `most` of the next bytes; none only at the sound end of the file."""
        most = min(most, PIECE)
        piece = self._file.read(most) if self._decoder is None else self._decompressed(most)
        self.position += len(piece)
        if self.position > self.limit:
            self.refuse(f"at most {self.limit} decompressed bytes", "more")
        return piece

    def _decompressed(self, most: int) -> bytes:
        decoder = self._decoder
        while True:
            if decoder.eof:  # of one member; another may follow
                data = decoder.unused_data or self._file.read(BLOCK)
                if not data:
                    return b""
                decoder = self._decoder = self._make()
            else:
                data = self._file.read(BLOCK) if decoder.needs_input else b""
            starved = decoder.needs_input and not data
            try:
                piece: bytes = decoder.decompress(data, most)
            except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
                self.refuse("sound compressed data", f"damage ({error})")
            if piece:
                return piece
            if starved and not decoder.eof:
                self.refuse("a complete compressed file", "a truncated one")

    def fill(self, target: HostArray, what: str) -> None:
        """The next bytes into the whole of `target`, contiguous uint8; `what` names them."""
        view = target.data.cast("B")
        done = 0
        while done < len(view):
            piece = self.some(len(view) - done)
            if not piece:
                self.refuse(f"{len(view)} bytes of {what}", f"{done}: truncated")
            view[done : done + len(piece)] = piece
            done += len(piece)

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes, few."""
        target = bytearray()
        while len(target) < size:
            piece = self.some(size - len(target))
            if not piece:
                self.refuse(f"{size} bytes of {what}", f"{len(target)}: truncated")
            target += piece
        return bytes(target)

    def skip_to(self, position: int, what: str) -> None:
        """Read on to `position` and forget what passes."""
        while self.position < position:
            if not self.some(position - self.position):
                self.refuse(f"{position} bytes of {what}", f"{self.position}: truncated")

    def finish(self) -> None:
        """Read to the end, which verifies the checksums that gzip, bzip2 and xz files carry."""
        while self.some(PIECE):
            pass


@contextlib.contextmanager
def _opened(path: Path, remedy: str = FETCH) -> Iterator[BinaryIO]:
    """The regular file at `path`, open; StoreError if there is none, or if it cannot be read."""
    with open_regular(path, GET if remedy == FETCH else remedy) as file:
        try:
            yield file
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be read ({error.strerror}); check the disk and the permissions"
            ) from error


@contextlib.contextmanager
def decompressed(path: Path, limit: int, remedy: str = FETCH) -> Iterator[Stream]:
    """The Stream of the file at `path`; StoreError if it cannot be read or is no regular file."""
    with _opened(path, remedy) as file:
        yield Stream(file, path, limit, remedy)


def size_and_digest(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of the file at `path`, as it is packed; StoreError as for `decompressed`,
    DamagedFileError for one larger than any image set.

    Time: one pass, 0.1 to 0.2 s for 170 MB.
    """
    size, digest = 0, hashlib.sha256()
    with _opened(path) as file:
        if (found := os.fstat(file.fileno()).st_size) > LARGEST:
            damaged(path, f"at most {LARGEST} bytes", f"{found}")
        while piece := file.read(PIECE):
            size += len(piece)
            digest.update(piece)
    return size, digest.hexdigest()


def members(stream: Stream) -> Iterator[tarfile.TarInfo]:
    """The headers of the tar archive `stream`, in order, to its very end.

    While it stands at a member, its content is what `stream` gives next; the rest is skipped.
    Extended headers (pax and GNU) are members like others here: they give times, owners, and names
    beyond 100 bytes, which no file wanted here has. DamagedFileError for what is no tar archive.
    """
    while (block := stream.take(tarfile.BLOCKSIZE, "a tar header")).strip(b"\0"):
        try:
            member = tarfile.TarInfo.frombuf(block, "ascii", "replace")
        except tarfile.HeaderError as error:
            got = f"other bytes ({error}): damaged, or no tar archive"
            stream.refuse("a tar header with its checksum", got)
        if member.size < 0:  # the library takes it
            stream.refuse("a member size of at least 0", f"{member.size}")
        end = stream.position + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        yield member
        stream.skip_to(end, "the archive")
    stream.finish()
