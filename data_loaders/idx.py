"""The idx format of MNIST and its relatives: arrays of whole numbers, plain or gzipped.

A file is two zero bytes, the type (8: unsigned bytes; 12: four bytes with a sign), the number of
dimensions, each size as four bytes, most significant first, and then the values in row-major order.
"""

import math
import struct
from pathlib import Path

import numpy as np

from reflfap.backend import HostArray
from reflfap.data_loaders.archives import FETCH, decompressed

UNSIGNED_BYTES, FOUR_BYTES = 8, 12
TYPES = {UNSIGNED_BYTES: ("unsigned bytes", "u1"), FOUR_BYTES: ("whole numbers", ">i4")}
MOST_BYTES = 100_000 * 64 * 64


def header(shape: tuple[int, ...]) -> bytes:
    """The first 4 + 4 len(shape) bytes of the idx file of a uint8 array of this shape."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, UNSIGNED_BYTES, len(shape), *shape)


def read_idx(
    path: Path, most: int = MOST_BYTES, kind: int = UNSIGNED_BYTES, remedy: str = FETCH
) -> HostArray:
    """The array of one to three dimensions in an idx file, plain or gzipped: uint8, or for the kind
    FOUR_BYTES big-endian int32.

    The header is read and its sizes limited to `most` bytes before anything of their size is
    allocated; then exactly as many bytes are decompressed, into the array itself, and one more is
    asked for, which must not be there. DamagedFileError otherwise, StoreError without a file; both
    say `remedy`.
    Time: one pass. Memory: the array and about 1 MiB.
    """
    path = Path(path)
    (what, dtype) = TYPES[kind]
    with decompressed(path, most + 4 + 4 * 3, remedy) as stream:
        bound = stream.most()
        zeros, found, dims = struct.unpack(">HBB", stream.take(4, "an idx header"))
        if zeros != 0 or found != kind or not 1 <= dims <= 3:
            got = f"0x{zeros << 16 | found << 8 | dims:08x}"
            stream.refuse(f"an idx file of {what}, 0x{kind:06x}01 to 0x{kind:06x}03", got)
        shape = struct.unpack(f">{dims}I", stream.take(4 * dims, "an idx header"))
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not 0 < size <= most:
            stream.refuse(f"sizes whose product is 1 to {most}", f"{shape}")
        if stream.position + size > bound:  # so that no short file makes us allocate much
            got = f"a file that holds at most {bound}: truncated"
            stream.refuse(f"{stream.position + size} bytes", got)
        content = np.empty(size, np.uint8)
        stream.fill(content, f"shape {shape}")
        if stream.some(1):
            stream.refuse(f"{size} bytes of shape {shape}", "more")
    return content.view(dtype).reshape(shape)
