"""What this process asks of the C library and of BLAS, and what its machine has free."""

import os
import platform
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_limits

from reflfap import machine


def test_blas_threads():
    """A limit set from outside is seen."""
    with threadpool_limits(1, "blas"):
        assert machine.blas_threads() == 1
    assert machine.blas_threads() >= 1


def test_freed_memory_is_kept():
    """After the call a freed array's memory stays with the process, until it is released."""
    code = (
        "import numpy as np, sys\n"
        "from reflfap.machine import keep_freed_memory, release_freed_memory\n"
        "if sys.argv[1] != 'default': keep_freed_memory()\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "x = np.ones(25_000_000); del x\n"  # 200 MB
        "if sys.argv[1] == 'release': release_freed_memory()\n"
        "print(resident())"
    )
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        pytest.skip("glibc only: elsewhere the call does nothing")

    def left(how):
        command = [sys.executable, "-c", code, how]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    assert left("keep") - left("default") > 150e6
    assert left("keep") - left("release") > 150e6


def test_free_memory():
    """Between a tenth of a gigabyte and all the machine has."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1e8 < machine.free_memory() <= whole
