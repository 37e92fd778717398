"""States of a run under way, in a folder beside its result, from which it resumes."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reflfap.backend import to_host
from reflfap.errors import StoreError
from reflfap.sealed import plain_dataset, read_sealed, write_sealed

FOLDER = "checkpoints"


class Checkpoints:
    """States of a run under way, one sealed file a stage, in the run's folder."""

    def __init__(self, folder: Path, every: float = 60.0, least: float = 5.0) -> None:
        self.folder = folder / FOLDER
        self.every = every
        self.least = least
        self.last = time.monotonic()

    def due(self) -> bool:
        """Whether `every` seconds have passed since the last state was kept."""
        return time.monotonic() - self.last >= self.every

    def keep(self, stage: str, state: Mapping[str, Any], at_once: bool = False) -> Path:
        """Write the state, unless the last one is less than `least` seconds old; its file."""
        path = self.folder / f"{stage}.h5"
        if time.monotonic() - self.last < self.least and not at_once:
            return path
        self.folder.mkdir(parents=True, exist_ok=True)
        with write_sealed(path) as file:
            for name, values in state.items():
                file.create_dataset(name, data=to_host(values))
        self.last = time.monotonic()
        return path

    def restore(self, stage: str) -> dict[str, Any] | None:
        """The last state of `stage`, or None; a damaged one is as good as none."""
        path = self.folder / f"{stage}.h5"
        if not path.exists():
            return None
        try:
            with read_sealed(path) as file:
                return {name: plain_dataset(file, name, path)[...] for name in file}
        except StoreError:
            return None

    def clear(self) -> None:
        """Remove all states, and what killed writers left in the run's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for leftover in self.folder.parent.glob(".part-*"):
            leftover.unlink(missing_ok=True)
