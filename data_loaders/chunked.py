"""Arrays in HDF5 by whole rows, deflated where that pays, coded and decoded by several threads.

HDF5 would decode one chunk after the other, into as many bytes as the data say. Here chunks are
fetched as they are stored, decoded side by side, since zlib lets other threads run, and no further
than their size. The files are plain HDF5 all the same: deflate is the filter that every HDF5 tool
has, and a chunk that was left as it is says so in its filter mask.
"""

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from data_loaders.archives import DEFLATE_RATIO, damaged
from reflfap.backend import HostArray

CHUNK_BYTES = 2**20
LEVEL = 6
WORTH = 0.75  # a chunk that deflate leaves longer than this is quicker to read as it is
THREADS = min(8, os.cpu_count() or 1)
AGAIN = "remove it and convert the set again with `reflfap data convert`"
AS_IT_IS = 1  # filter mask: the first filter was skipped


def write_rows(file: Any, name: str, array: HostArray) -> Any:
    """Store `array` (N, ...) as the dataset `name` in chunks of 1 MiB of rows; the dataset.

    Holds a few chunks besides. Time: that of zlib, shared by the threads.
    Checked by test_converted.py::test_any_hdf5_tool_reads_the_same.
    """
    rows = min(max(1, CHUNK_BYTES // max(1, array[:1].nbytes)), len(array))
    shape, chunks = array.shape, (rows, *array.shape[1:])
    stored = file.create_dataset(
        name, shape, array.dtype, chunks=chunks, compression="gzip", compression_opts=LEVEL
    )

    def coded(first: int) -> tuple[int, int, bytes]:
        whole = np.zeros(chunks, array.dtype)  # the last chunk is as long as all
        part = array[first : first + rows]
        whole[: len(part)] = part
        short = zlib.compress(whole.data, LEVEL)
        if len(short) > WORTH * whole.nbytes:
            return first, AS_IT_IS, whole.tobytes()
        return first, 0, short

    with ThreadPoolExecutor(THREADS) as pool:
        for first, mask, content in pool.map(coded, range(0, len(array), rows)):
            stored.id.write_direct_chunk(_corner(stored, first), content, mask)
    return stored


def read_rows(dataset: Any, path: Path, first: int = 0, last: int | None = None) -> HostArray:
    """Rows `first` to `last` of a dataset of `write_rows`, or of one that is not chunked.

    DamagedFileError if its chunks are others, or not what they must be; nothing is decoded beyond
    the size of a chunk, and nothing allocated that the file could not fill.
    Memory: the rows and, for each thread, two chunks.
    Checked by test_converted.py::test_damaged_chunks_are_refused and ::test_pieces_of_a_file.
    """
    last = len(dataset) if last is None else min(last, len(dataset))
    _check_layout(dataset, path)
    if dataset.chunks is None:
        return np.asarray(dataset[first:last])
    rows, sizes = dataset.chunks[0], {}  # in bytes, by first row; asking for each takes N^2
    dataset.id.chunk_iter(lambda stored: sizes.update({stored.chunk_offset[0]: stored.size}))
    target = np.empty((last - first, *dataset.shape[1:]), dataset.dtype)

    def put(start: int) -> None:
        chunk = _chunk(dataset, start, sizes.get(start, 0), path)
        begin, end = max(start, first), min(start + rows, last)
        target[begin - first : end - first] = chunk[begin - start : end - start]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, range(first - first % rows, last, rows)))
    return target


def _chunk(dataset: Any, first: int, stored: int, path: Path) -> HostArray:
    """All rows of the chunk whose first row is `first`, from its `stored` bytes; read-only."""
    size = int(np.prod(dataset.chunks)) * dataset.dtype.itemsize
    if not 0 < stored <= 2 * size:
        damaged(path, f"a chunk of at most {size} bytes at row {first}", f"{stored}", AGAIN)
    mask, content = dataset.id.read_direct_chunk(_corner(dataset, first))
    if mask != AS_IT_IS:
        content = _inflated(content, size, path)
    if len(content) != size:
        damaged(path, f"a chunk of {size} bytes at row {first}", f"{len(content)}", AGAIN)
    return np.frombuffer(content, dataset.dtype).reshape(dataset.chunks)


def _inflated(content: bytes, size: int, path: Path) -> bytes:
    """What `content` was deflated from, if it is sound and has at most `size` bytes."""
    decoder = zlib.decompressobj()
    try:
        inflated = decoder.decompress(content, size)
        excess = decoder.decompress(decoder.unconsumed_tail, 1)  # reads the checksum, too
    except zlib.error as error:
        damaged(path, "sound chunks", f"damage ({error})", AGAIN)
    if excess or not decoder.eof:
        damaged(path, f"chunks of {size} bytes", "more" if excess else "a truncated one", AGAIN)
    return inflated


def _check_layout(dataset: Any, path: Path) -> None:
    """No chunks, or deflated ones of whole rows; and bytes enough to make all of it from."""
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
    most = dataset.id.get_storage_size()
    if dataset.chunks is not None:
        rows, *rest = dataset.chunks
        if filters != [h5py.h5z.FILTER_DEFLATE] or (*rest,) != dataset.shape[1:]:
            got = f"chunks {dataset.chunks} with filters {filters}"
            damaged(path, f"deflated chunks of whole rows of {dataset.shape}", got, AGAIN)
        most = DEFLATE_RATIO * most if rows <= len(dataset) else 0
    if dataset.size * dataset.dtype.itemsize > most:
        got = f"shape {dataset.shape}, chunks {dataset.chunks}"
        damaged(path, f"an array of at most {most} bytes, as stored", got, AGAIN)


def _corner(dataset: Any, first: int) -> tuple[int, ...]:
    return (first, *(0 for _ in dataset.shape[1:]))
