"""The device itself: what it is, and its rates of products, copies, launches and transfers."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.timing import repeated
from reflfap.backend import Namespace, asarray, synchronise, to_host

QUERY = "name,driver_version,memory.total,clocks.max.sm"


def run(job: Any) -> dict[str, Any]:
    """Facts, and rates in float32."""
    xp = job.xp
    return {
        "nvidia-smi": driver(),
        "product TFLOP/s": products(xp, 256 if job.tiny else 8192),
        "copy GB/s": copies(xp, 2**16 if job.tiny else 2**30),
        "microseconds": latencies(xp),
        "transfer GB/s": transfers(xp, 2**16 if job.tiny else 2**30),
    }


def driver() -> str:
    """What the driver says of the device; empty where there is none."""
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


@contextlib.contextmanager
def tf32(xp: Namespace) -> Iterator[None]:
    """CuPy's float32 products in TF32, as CUPY_TF32=1 has them; nothing elsewhere."""
    if xp.__name__ != "cupy":
        yield
        return
    products = xp._core._routines_linalg
    before = products.get_compute_type(np.float32)
    products.set_compute_type(np.float32, products.COMPUTE_TYPE_TF32)
    try:
        yield
    finally:
        products.set_compute_type(np.float32, before)


def products(xp: Namespace, side: int) -> dict[str, float]:
    """Of square matrices of random numbers."""
    x = _random(xp, side * side).reshape(side, side)

    def rate() -> float:
        seconds = repeated(lambda: x @ x, lambda: synchronise(xp)).seconds
        return 2e-12 * side**3 / seconds

    found = {"float32": rate()}
    with tf32(xp):
        found["TF32"] = rate()
    return found


def copies(xp: Namespace, numbers: int) -> float:
    """Bytes read and written a second, of a copy on the device."""
    x = _random(xp, numbers // 4)
    y = xp.empty_like(x)

    def copy() -> None:
        y[...] = x

    return 2e-9 * x.nbytes / repeated(copy, lambda: synchronise(xp)).seconds


def latencies(xp: Namespace) -> dict[str, float]:
    """To hand out a small operation, to go through one, and to read a number."""
    x = xp.ones(8, dtype=xp.float32)

    def small() -> None:
        for _ in range(100):
            xp.add(x, 1, out=x)

    def read() -> None:
        for _ in range(100):
            float(xp.sum(x))

    add, sums = (repeated(call, lambda: synchronise(xp), each=10) for call in (small, read))
    return {
        "to hand out an operation": 1e4 * add.queued,
        "to make it": 1e4 * add.seconds,
        "to sum and read a number": 1e4 * sums.seconds,
    }


def transfers(xp: Namespace, numbers: int) -> dict[str, float]:
    """By our pinned pieces and by CuPy alone."""
    if xp.__name__ != "cupy":
        return {}
    values = np.random.default_rng(0).random(numbers // 4, np.float32)
    there = asarray(values, xp)
    calls = {
        "to the device": lambda: asarray(values, xp),
        "to the device, CuPy alone": lambda: xp.asarray(values),
        "to the host": lambda: to_host(there),
        "to the host, CuPy alone": lambda: there.get(),
    }
    return {
        name: 1e-9 * values.nbytes / repeated(call, lambda: synchronise(xp)).seconds
        for name, call in calls.items()
    }


def _random(xp: Namespace, numbers: int) -> Any:
    return asarray(np.random.default_rng(0).random(numbers, np.float32), xp)
