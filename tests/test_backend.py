"""Array libraries: found from the arrays, never mixed; devices refused with a clear message."""

import builtins
import sys

import array_api_strict
import numpy as np
import pytest

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
