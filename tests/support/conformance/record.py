"""Where a program waits for the device and where data move: each time with the line that asked."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reflfap import backend

HERE = str(Path(__file__).parent) + os.sep
TESTS = str(Path(__file__).parents[2]) + os.sep
ROOT = str(Path(__file__).parents[3]) + os.sep
BACKEND = backend.__file__


class Sync(NamedTuple):
    """The host waited for the device."""

    kind: str  # float, bool, item, get, mask, nonzero, ...
    place: str  # file:line; for `get` that of the caller of reflfap.backend


class Transfer(NamedTuple):
    """Data went from the host to the device."""

    kind: str
    place: str


class Syncs(list[Sync]):
    """The synchronisations while counting, in their order; the transfers apart."""

    def __init__(self) -> None:
        super().__init__()
        self.transfers: list[Transfer] = []


_counting: list[Syncs] = []


@contextlib.contextmanager
def counting() -> Iterator[Syncs]:
    """Counts what happens inside; nests."""
    syncs = Syncs()
    _counting.append(syncs)
    try:
        yield syncs
    finally:
        _counting.pop()


def synchronise(kind: str) -> None:
    place = _place(HERE, BACKEND)
    for syncs in _counting:
        syncs.append(Sync(kind, place))


def transfer(kind: str) -> None:
    """Data go to the device: from reflfap/backend.py or a test, TypeError from elsewhere."""
    _refuse_elsewhere(kind)
    place = _place(HERE, BACKEND)
    for syncs in _counting:
        syncs.transfers.append(Transfer(kind, place))


def fetch(kind: str) -> None:
    """Data come to the host by intent: a synchronisation, from the same places as a transfer."""
    _refuse_elsewhere(kind)
    synchronise(kind)


def _refuse_elsewhere(kind: str) -> None:
    place = _place(HERE)
    file = os.path.join(ROOT, place.rpartition(":")[0])
    if file != BACKEND and not file.startswith(TESTS):
        raise TypeError(f"{kind} at {place}: only reflfap/backend.py moves data; call it there")


def _place(*skipped: str) -> str:
    """file:line of the first frame whose file is none of `skipped`, from the repository's root."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(skipped):
        frame = frame.f_back
    return f"{frame.f_code.co_filename.removeprefix(ROOT)}:{frame.f_lineno}"
