"""A CuPy for tests of reflfap.backend, on NumPy: no more than that module uses, with a log.

tests/test_backend.py checks that the real CuPy, where it is installed, has all that stands here.
"""

import contextlib
from types import ModuleType, SimpleNamespace

import numpy as np
from scipy import linalg


class CUDARuntimeError(RuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    def __init__(self, size, total, limit=0):
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes, "
            f"limit set to: {limit:,} bytes)."
        )


class ndarray:
    """A part of device memory; what reaches it or leaves it is counted in bytes."""

    def __init__(self, values, log):
        self.values, self.log = values, log
        self.dtype, self.shape, self.size = values.dtype, values.shape, values.size
        self.T = self if values.ndim < 2 else SimpleNamespace(values=values.T)

    def reshape(self, *shape):
        return ndarray(self.values.reshape(*shape), self.log)

    def __getitem__(self, key):
        return ndarray(self.values[key], self.log)

    def diagonal(self):
        return ndarray(self.values.diagonal(), self.log)

    def set(self, arr):
        assert arr.shape == self.shape
        assert arr.dtype == self.dtype
        self.values[...] = arr
        self.log.append(("to device", arr.nbytes))

    def get(self, out):
        assert out.shape == self.shape
        assert out.dtype == self.dtype
        out[...] = self.values
        self.log.append(("to host", out.nbytes))


class Pool:
    """Memory of which `cached` bytes are held in pieces that only free_all_blocks makes of use."""

    def __init__(self, fake):
        self.fake, self.limits, self.used, self.cached = fake, {}, 0, 0

    def get_limit(self):
        return self.limits.get(self.fake.current, 0)

    def set_limit(self, size):
        self.limits[self.fake.current] = size

    def malloc(self, size):
        if self.used + self.cached + size > self.get_limit():
            raise OutOfMemoryError(size, self.used + self.cached, self.get_limit())
        self.used += size
        return size

    def free_all_blocks(self):
        self.cached = 0


class Fake:
    """The modules, and what was done with them. Sizes in bytes, `free` by device."""

    def __init__(self, free=(8_000, 9_000), tf32=False):
        self.free, self.current, self.log, self.pool = free, 0, [], Pool(self)
        self.raises = "ignore"
        self.allocator = self.pool.malloc
        self.modules = {
            "cupy": self._cupy(tf32),
            "cupyx": self._module(
                "cupyx", empty_pinned=self._empty_pinned, errstate=self._errstate
            ),
            "cupyx.scipy": self._module("cupyx.scipy"),
            "cupyx.scipy.linalg": self._module(
                "cupyx.scipy.linalg", solve_triangular=self._solve_triangular
            ),
        }

    def array(self, values):
        return ndarray(values, self.log)

    def _module(self, name, **members):
        module = ModuleType(name)
        module.__dict__.update(members)
        return module

    def _cupy(self, tf32):
        products = SimpleNamespace(
            COMPUTE_TYPE_TF32=7, get_compute_type=lambda dtype: 7 if tf32 else 1
        )
        stream = SimpleNamespace(synchronize=lambda: self.log.append(("wait", 0)))
        cuda = SimpleNamespace(
            runtime=SimpleNamespace(
                CUDARuntimeError=CUDARuntimeError,
                getDeviceCount=lambda: len(self.free),
                getDevice=lambda: self.current,
                getDeviceProperties=lambda device: {"name": f"Fake {device}".encode()},
                memGetInfo=lambda: (self.free[self.current], 10_000),
                runtimeGetVersion=lambda: 13020,
                driverGetVersion=lambda: 12040,
            ),
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
            cublas=object(),
            cusolver=object(),
            Device=lambda device: SimpleNamespace(use=lambda: self._use(device)),
            get_current_stream=lambda: stream,
            get_allocator=lambda: self.allocator,
            set_allocator=self._set_allocator,
        )
        return self._module(
            "cupy",
            cuda=cuda,
            _core=SimpleNamespace(_routines_linalg=products),
            linalg=SimpleNamespace(cholesky=self._cholesky),
            empty=self._empty,
            min=lambda a: a.values.min(),
            max=lambda a: a.values.max(),
            get_default_memory_pool=lambda: self.pool,
        )

    def _use(self, device):
        self.current = device

    def _set_allocator(self, allocator):
        self.allocator = allocator

    def _empty(self, shape, dtype):
        values = np.full(shape, 77).astype(dtype)
        self.allocator(values.nbytes)
        return self.array(values)

    def _empty_pinned(self, shape, dtype):
        self.log.append(("pinned", shape * np.dtype(dtype).itemsize))
        return np.empty(shape, dtype)

    @contextlib.contextmanager
    def _errstate(self, *, linalg):
        before, self.raises = self.raises, linalg
        try:
            yield
        finally:
            self.raises = before

    def _cholesky(self, a):
        try:
            return self.array(np.linalg.cholesky(a.values))
        except np.linalg.LinAlgError:
            if self.raises == "raise":
                raise
            return self.array(np.tril(a.values))  # as cuSOLVER leaves it: no error, no factor

    def _solve_triangular(self, a, b, trans=0, lower=False):
        assert a.values.flags.f_contiguous  # else the real one copies it
        return self.array(linalg.solve_triangular(a.values, b.values, trans=trans, lower=lower))


for one in (CUDARuntimeError, OutOfMemoryError, ndarray):
    one.__module__ = "cupy"
