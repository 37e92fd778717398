"""The idx format of MNIST and its relatives: arrays of unsigned bytes, plain or gzipped.

A file is two zero bytes, the type (8: unsigned bytes), the number of dimensions, each size as four
bytes, most significant first, and then the values in row-major order.
"""

import math
import struct
from pathlib import Path

import numpy as np

from reflfap.backend import HostArray
from reflfap.data_loaders.archives import damaged, decompressed

UNSIGNED_BYTES = 8
MOST_BYTES = 100_000 * 64 * 64


def header(shape: tuple[int, ...]) -> bytes:
    """The first 4 + 4 len(shape) bytes of the idx file of a uint8 array of this shape."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, UNSIGNED_BYTES, len(shape), *shape)


def read_idx(path: Path, most: int = MOST_BYTES) -> HostArray:
    """The uint8 array of one to three dimensions in an idx file, plain or gzipped.

    The header is read and its sizes limited to `most` bytes before anything of their size is
    allocated; then exactly as many bytes are decompressed, into the array itself, and one more is
    asked for, which must not be there. DamagedFileError otherwise, StoreError without a file.
    Time: one pass. Memory: the array and about 1 MiB.
    """
    path = Path(path)
    with decompressed(path, limit=most + 4 + 4 * 3) as stream:
        bound = stream.most()
        zeros, kind, dims = struct.unpack(">HBB", stream.take(4, "an idx header"))
        if zeros != 0 or kind != UNSIGNED_BYTES or not 1 <= dims <= 3:
            got = f"0x{zeros << 16 | kind << 8 | dims:08x}"
            damaged(path, "an idx file of unsigned bytes, 0x00000801 to 0x00000803", got)
        shape = struct.unpack(f">{dims}I", stream.take(4 * dims, "an idx header"))
        size = math.prod(shape)
        if not 0 < size <= most:
            damaged(path, f"sizes whose product is 1 to {most}", f"{shape}")
        if stream.position + size > bound:  # so that no short file makes us allocate much
            got = f"a file that holds at most {bound}: truncated"
            damaged(path, f"{stream.position + size} bytes", got)
        array = np.empty(shape, np.uint8)
        stream.fill(array, f"shape {shape}")
        if stream.some(1):
            damaged(path, f"{size} bytes of shape {shape}", "more")
    return array
