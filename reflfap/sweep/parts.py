"""Networks that cells share, kept as sealed files in DIR/parts, each trained by one process."""

from pathlib import Path
from typing import Any

import numpy as np

from reflfap import onehidden
from reflfap.backend import HostArray
from reflfap.errors import DamagedFileError
from reflfap.experiments.cell import CellConfig
from reflfap.sealed import fitting, read_sealed, write_sealed
from reflfap.training.result import FlowTrace, Trace, Trained

TRACES = {kind.__name__: kind for kind in (Trace, FlowTrace)}


def path_of(out: Path, key: str) -> Path:
    """Where the network of the task `key` is kept."""
    return out / "parts" / f"{key}.h5"


def write_network(path: Path, trained: Trained) -> None:
    """Keep a trained network, whole or not at all."""
    with write_sealed(path) as file:
        file.attrs.update(trace=type(trained.trace).__name__, stopped=trained.stopped)
        file.create_dataset("W", data=trained.net.W)
        file.create_dataset("q", data=trained.q)
        if trained.C is not None:
            file.create_dataset("C", data=trained.C)
        for name, values in trained.trace._asdict().items():
            file.create_dataset(f"trace/{name}", data=values)


def read_network(path: Path, config: CellConfig) -> Trained:
    """What `write_network` kept, with the sizes of `config`; DamagedFileError for anything else."""
    m, d = config.hidden, config.inputs
    with read_sealed(path) as file:
        kind, stopped = file.attrs.get("trace"), file.attrs.get("stopped")
        if not (isinstance(kind, str) and isinstance(stopped, str) and kind in TRACES):
            raise DamagedFileError(f"{path}: expected a network of a sweep, got {kind!r}")
        W = _floats(file, "W", path, (m, d))
        q = _floats(file, "q", path, (-1,))
        C = _floats(file, "C", path, (m, len(q))) if "C" in file else None
        parts = (_floats(file, f"trace/{name}", path, (-1,)) for name in TRACES[kind]._fields)
        trace: Any = TRACES[kind](*parts)
    return Trained(onehidden.network(W, config.slope), q, trace, stopped, C)


def _floats(file: Any, name: str, path: Path, shape: tuple[int, ...]) -> HostArray:
    """A dataset of floats, of which there is at least one."""
    values = np.asarray(fitting(file, name, path, shape, "remove it")[...])
    if values.size == 0:
        raise DamagedFileError(f"{path}: expected {name} to hold floats, got none; remove it")
    return values
