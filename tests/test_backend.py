"""Array libraries: found from the arrays, never mixed; devices refused with a clear message."""

import builtins
import os
import platform
import subprocess
import sys

import array_api_strict
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from reflfap import backend
from reflfap.errors import BackendError


def test_namespace_comes_from_the_arrays():
    assert backend.namespace(np.ones(2), np.float32(1)) is np
    assert backend.namespace(array_api_strict.ones(2)) is array_api_strict


@pytest.mark.parametrize("arrays", [(), ([1.0],), (np.ones(2), array_api_strict.ones(2))])
def test_mixed_libraries_are_refused(arrays):
    with pytest.raises(BackendError, match="got"):
        backend.namespace(*arrays)


def test_devices(monkeypatch):
    """cpu is NumPy; cuda without CuPy, and unknown devices, say what to do."""
    assert backend.namespace_for("cpu") is np
    with pytest.raises(BackendError, match="expected cpu or cuda, got 'tpu'"):
        backend.namespace_for("tpu")
    real = builtins.__import__

    def without_cupy(name, *rest):
        if name == "cupy":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_cupy)
    with pytest.raises(BackendError, match=r"pip install reflfap\[gpu\]"):
        backend.namespace_for("cuda")


def test_transfers():
    """Host arrays are not copied on the host; a round trip through another library keeps all."""
    x = np.arange(3, dtype=np.float32)
    assert backend.asarray(x, np) is x
    assert backend.to_host(x) is x
    there = backend.asarray(x, array_api_strict)
    assert backend.namespace(there) is array_api_strict
    back = backend.to_host(there)
    assert back.dtype == x.dtype
    assert np.array_equal(back, x)


def test_blas_threads():
    """A limit set from outside is seen."""
    with threadpool_limits(1, "blas"):
        assert backend.blas_threads() == 1
    assert backend.blas_threads() >= 1


def test_freed_memory_is_kept():
    """After the call a freed array's memory stays with the process, until it is released."""
    code = (
        "import numpy as np, sys\n"
        "from reflfap.backend import keep_freed_memory, release_freed_memory\n"
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
    assert 1e8 < backend.free_memory() <= whole
