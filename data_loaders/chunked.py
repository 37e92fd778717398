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

from reflfap.backend import HostArray
from reflfap.data_loaders.archives import damaged
from reflfap.files import DEFLATE_RATIO

CHUNK_BYTES = 2**20
PIECE = 2**18  # bytes decompressed at once
LEVEL = 6
WORTH = 0.75  # a chunk that deflate leaves longer than this is quicker to read as it is
THREADS = min(8, os.cpu_count() or 1)
AGAIN = "remove it and convert the set again with `reflfap data convert`"
AS_IT_IS = 1  # filter mask: the first filter was skipped


def write_rows(file: Any, name: str, array: HostArray) -> Any:
    """Store `array` (N, ...) as the dataset `name` in chunks of 1 MiB of rows; the dataset.

    Holds a few chunks besides. Time: that of zlib, shared by the threads.
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
    Memory: the rows and, for each thread, a chunk or two.
    """
    last = len(dataset) if last is None else min(last, len(dataset))
    _check_layout(dataset, path)
    if dataset.chunks is None:
        return np.asarray(dataset[first:last])
    rows, there = dataset.chunks[0], {}  # by first row; asking HDF5 for each takes N^2
    dataset.id.chunk_iter(lambda stored: there.update({stored.chunk_offset[0]: stored}))
    target = np.empty((last - first, *dataset.shape[1:]), dataset.dtype)

    def put(start: int) -> None:
        if start not in there:
            damaged(path, f"a chunk at row {start}", "none", AGAIN)
        if first <= start and start + rows <= last:
            _fill(target[start - first : start - first + rows], dataset, there[start], path)
            return
        whole = np.empty(dataset.chunks, dataset.dtype)
        _fill(whole, dataset, there[start], path)
        begin, end = max(start, first), min(start + rows, last)
        target[begin - first : end - first] = whole[begin - start : end - start]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, range(first - first % rows, last, rows)))
    return target


def _fill(whole: HostArray, dataset: Any, stored: Any, path: Path) -> None:
    """All rows of a chunk, from where it is stored, into `whole`, contiguous, of just its size."""
    view, size, at = whole.data.cast("B"), whole.nbytes, f"at row {stored.chunk_offset[0]}"
    if stored.size > 2 * size or (stored.filter_mask == AS_IT_IS and stored.size != size):
        damaged(path, f"a chunk of {size} bytes {at}", f"{stored.size}", AGAIN)
    if stored.filter_mask == AS_IT_IS:
        dataset.id.read_direct_chunk(stored.chunk_offset, out=view)
        return
    _, content = dataset.id.read_direct_chunk(stored.chunk_offset)
    done, decoder = 0, zlib.decompressobj()
    try:  # by pieces, since large ones cost threads as much again for memory
        while piece := decoder.decompress(content, min(PIECE, size - done) or 1):
            if done == size:  # the one byte asked for then, to read the checksum, must not be there
                damaged(path, f"a chunk of {size} bytes {at}", "more", AGAIN)
            view[done : done + len(piece)] = piece
            done, content = done + len(piece), decoder.unconsumed_tail
    except zlib.error as error:
        damaged(path, f"a sound chunk {at}", f"damage ({error})", AGAIN)
    if done < size or not decoder.eof:
        damaged(path, f"a chunk of {size} bytes {at}", f"{done}, or a truncated one", AGAIN)


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
