"""States of a run under way, in a folder beside its result, from which it resumes."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reflfap.backend import to_host
from reflfap.files import remove_parts
from reflfap.sealed import check_made_by, names_in, read_sealed, whole_array, write_sealed

FOLDER = "checkpoints"


class Checkpoints:
    """States of a run under way, one sealed file a stage, in the run's folder.

    Each says what it was `made_by` (see runs.provenance) and its stage: the states of another run,
    of other data or code are never taken for it.
    """

    def __init__(
        self, folder: Path, made_by: Mapping[str, str], every: float = 60.0, least: float = 5.0
    ) -> None:
        self.folder = folder / FOLDER
        self.made_by = made_by
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
        with write_sealed(path, made_by={**self.made_by, "stage": stage}) as file:
            for name, values in state.items():
                file.create_dataset(name, data=to_host(values))
        self.last = time.monotonic()
        return path

    def restore(self, stage: str) -> dict[str, Any] | None:
        """The last state of `stage`, or None; StoreError for a damaged or another run's one."""
        path = self.folder / f"{stage}.h5"
        if not path.exists():
            return None
        with read_sealed(path) as file:
            check_made_by(file, path, {**self.made_by, "stage": stage})
            return {name: whole_array(file, name, path) for name in names_in(file, path)}

    def clear(self) -> None:
        """Remove all states, and what killed writers left in the run's folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        remove_parts(self.folder.parent)
