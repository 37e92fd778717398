"""What made a result or a piece of one: code, data, stages before, device, versions, BLAS."""

import contextlib
import functools
import hashlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import reflfap
import reflfap.data_loaders
from reflfap.backend import Namespace, device_facts
from reflfap.experiments.experiment import Config, Stages, canonical_json
from reflfap.machine import blas_threads

_PACKAGES = ("numpy", "scipy", "h5py", "cupy-cuda13x", "cupy-cuda12x")


def describe(xp: Namespace = np) -> dict[str, str | int]:
    """The root attributes of a result file that say where the numbers of `xp` come from.

    Results differ in the last bits between BLAS kernels and thread counts, so both are recorded;
    of a device, what `backend.device_facts` lists.
    """
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    names = sorted(
        {f"{p['internal_api']} {p['version']} {p.get('architecture', '')}".strip() for p in pools}
    )
    found = {"python": platform.python_version(), "reflfap": reflfap.__version__}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return {
        "backend": xp.__name__,
        **device_facts(xp),
        "blas": ", ".join(names) or "unknown",
        "threads": blas_threads(),
        "versions_json": json.dumps(found, sort_keys=True),
        "source_revision": source_revision(),
    }


def made_by(config: Config, data: str, stages: Stages) -> dict[str, str]:
    """What tells a piece of a run, such as a checkpoint, from those of all other runs.

    Config, digests of the data, digest of the code, and the seals of the stages before. Pieces of
    which one differs are never joined.
    """
    before = {name: one.seal for name, one in stages.items()}
    return {"config": canonical_json(config), "data": data, "code": source_sha256(), **before}


@functools.cache
def source_sha256() -> str:
    """SHA-256 of all source that computes: it tells what no commit does that was changed since."""
    found = hashlib.sha256()
    for package in (reflfap, reflfap.data_loaders):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder)
            if name.parts[0] not in ("figures", "data_loaders"):  # folders only where installed
                found.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def source_revision() -> str:
    """The git commit of the source, with -dirty if changed; without git, the version."""
    folder = Path(reflfap.__file__).resolve().parent
    if not (folder.parent / ".git").exists():
        return f"v{reflfap.__version__}"
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return f"v{reflfap.__version__}"
    return done.stdout.strip()
