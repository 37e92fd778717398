"""What made a result: device, versions, BLAS kernel, threads, source revision."""

import contextlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import reflfap
from reflfap.backend import Namespace, device_facts
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
