"""Networks that cells share, kept as sealed files in DIR/parts, each trained by one process."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reflfap import onehidden
from reflfap.backend import HostArray
from reflfap.errors import DamagedFileError, refuse
from reflfap.experiments.cell import CellConfig
from reflfap.experiments.experiment import run_id
from reflfap.sealed import (
    MADE_BY,
    check_made_by,
    fitting_array,
    read_made_by,
    read_sealed,
    write_sealed,
)
from reflfap.training.result import FlowTrace, Trace, Trained

TRACES = {kind.__name__: kind for kind in (Trace, FlowTrace)}


def path_of(out: Path, key: str) -> Path:
    """Where the network of the task `key` is kept."""
    return out / "parts" / f"{key}.h5"


def write_network(path: Path, trained: Trained, made_by: Mapping[str, str]) -> None:
    """Keep a trained network, whole or not at all, with what made it."""
    with write_sealed(path, made_by=made_by) as file:
        file.attrs.update(trace=type(trained.trace).__name__, stopped=trained.stopped)
        file.create_dataset("W", data=trained.net.W)
        file.create_dataset("q", data=trained.q)
        if trained.C is not None:
            file.create_dataset("C", data=trained.C)
        for name, values in trained.trace._asdict().items():
            file.create_dataset(f"trace/{name}", data=values)


def read_network(path: Path, config: CellConfig, made_by: Mapping[str, str]) -> Trained:
    """What `write_network` kept, with the sizes of `config`; StoreError for anything else, also for
    the network of other cells, of other data or code."""
    m, d = config.hidden, config.inputs
    with read_sealed(path) as file:
        check_made_by(file, path, made_by)
        kind, stopped = file.attrs.get("trace"), file.attrs.get("stopped")
        if not (isinstance(kind, str) and isinstance(stopped, str) and kind in TRACES):
            raise DamagedFileError(f"{path}: expected a network of a sweep, got {kind!r}")
        W = _floats(file, "W", path, (m, d))
        q = _floats(file, "q", path, (-1,))
        C = _floats(file, "C", path, (m, len(q))) if "C" in file else None
        parts = (_floats(file, f"trace/{name}", path, (-1,)) for name in TRACES[kind]._fields)
        trace: Any = TRACES[kind](*parts)
    return Trained(onehidden.network(W, config.slope), q, trace, stopped, C)


def content_of(path: Path) -> str:
    """What is in a file of the folder of parts, verified: the network that it is called by, or one
    of an earlier revision, which says nothing of what made it, and is not used."""
    with read_sealed(path) as file:
        if MADE_BY not in file.attrs:
            return "sealed; not used, since it does not say what made it"
        found = read_made_by(file, path)
    key = f"{found.get('stage')}-{run_id(found.get('config', ''))}"
    if key != path.stem:
        refuse(str(path), f"the network {path.stem}", key, "remove it", DamagedFileError)
    return "a shared network"


def _floats(file: Any, name: str, path: Path, shape: tuple[int, ...]) -> HostArray:
    """A dataset of floats, of which there is at least one."""
    values = fitting_array(file, name, path, shape, "remove it")
    if values.size == 0:
        raise DamagedFileError(f"{path}: expected {name} to hold floats, got none; remove it")
    return values
