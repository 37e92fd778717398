"""Array libraries and devices: found from the arrays, never mixed; what is missing is named.

On a CuPy that is faked, and on the real one where it is installed, as far as it goes without a
driver.
"""

import builtins
import importlib
import inspect
import os
import sys
from types import ModuleType, SimpleNamespace

import array_api_strict
import numpy as np
import pytest
from fake_cupy import CUDARuntimeError, Fake, OutOfMemoryError

from reflfap import backend
from reflfap.attacks import L2, attack
from reflfap.errors import BackendError, DeviceMemoryError


@pytest.fixture
def fake(monkeypatch):
    """A fake CuPy with two devices in place of any other."""
    fake = Fake()
    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def test_namespace_comes_from_the_arrays(fake):
    assert backend.namespace(np.ones(2), np.float32(1)) is np
    assert backend.namespace(array_api_strict.ones(2)) is array_api_strict
    assert backend.namespace(fake.array(np.ones(2))) is sys.modules["cupy"]


@pytest.mark.parametrize("arrays", [(), ([1.0],), (np.ones(2), array_api_strict.ones(2))])
def test_mixed_libraries_are_refused(arrays):
    with pytest.raises(BackendError, match="got"):
        backend.namespace(*arrays)


@pytest.mark.parametrize("device", ["tpu", "gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "cuda:0 "])
def test_devices(device):
    """cpu is NumPy; what is no device is refused before CuPy is looked for."""
    assert backend.namespace_for("cpu") is np
    with pytest.raises(BackendError) as refused:
        backend.namespace_for(device)
    assert str(refused.value) == (
        f"device: expected cpu, cuda or cuda:K, got {device!r}; choose one of these"
    )


def without(monkeypatch, error):
    """An installation in which `import cupy` fails."""
    real = builtins.__import__

    def fails(name, *rest):
        if name == "cupy":
            raise error
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fails)


def test_what_is_missing_is_named(monkeypatch, fake):
    """CuPy, a part of it, the driver, a device, a library of CUDA: one line, with what to do."""
    cuda = sys.modules["cupy"].cuda

    def refused(match):
        with pytest.raises(BackendError, match=match) as refused:
            backend.namespace_for("cuda")
        assert "\n" not in str(refused.value)
        assert "choose --device cpu" in str(refused.value)

    for error, found in ((ModuleNotFoundError("cupy"), "no"), (ImportError("=\n=\n"), "a broken")):
        with monkeypatch.context() as patch:
            without(patch, error)
            refused(rf"got {found} cupy package; install it with `pip .*'cupy-cuda13x\[ctk\]'`")
    with monkeypatch.context() as patch:
        patch.setattr(cuda.runtime, "getDeviceCount", lambda: 0)
        refused("expected a CUDA device and its driver for cuda, got none; install NVIDIA's")
    with monkeypatch.context() as patch:
        text = "cudaErrorNoDevice: no CUDA-capable device is detected"
        patch.setattr(cuda.runtime, "getDeviceCount", lambda: throw(CUDARuntimeError(text)))
        refused(f"got {text}; install NVIDIA's driver")
    with monkeypatch.context() as patch:
        error = RuntimeError('Failure finding "libnvrtc.so.13": No such file: one\ntwo\n')
        patch.setattr(cuda.nvrtc, "getVersion", lambda: throw(error))
        refused('CUDA\'s libraries beside CuPy, got Failure finding "libnvrtc.so.13"; install it')
    assert backend.namespace_for("cuda") is sys.modules["cupy"]


def throw(error):
    raise error


def test_the_real_cupy_without_a_driver():
    """What CuPy says of a missing driver is passed on in one line."""
    cupy = pytest.importorskip("cupy")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        said = str(error)
    else:
        pytest.skip("there is a driver")
    for device in ("cuda", "cuda:1"):
        with pytest.raises(BackendError) as refused:
            backend.namespace_for(device)
        assert f"got {said}; install NVIDIA's driver" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_device_is_chosen_by_its_index(fake):
    assert backend.namespace_for("cuda:1") is sys.modules["cupy"]
    assert fake.current == 1
    backend.namespace_for("cuda")  # the current one
    assert fake.current == 1
    backend.namespace_for("cuda:0")
    assert fake.current == 0
    with pytest.raises(BackendError) as refused:
        backend.namespace_for("cuda:2")
    assert str(refused.value) == (
        "device: expected one of the 2 there, cuda:0, cuda:1, got cuda:2; choose another"
    )
    assert fake.current == 0


def test_the_memory_of_a_device_is_limited_once(fake):
    """To a share of what is free when it is first chosen."""
    backend.namespace_for("cuda")
    fake.free = (1_000, 9_000)
    backend.namespace_for("cuda")
    backend.namespace_for("cuda:1")
    assert fake.pool.limits == {0: 7_200, 1: 8_100}


def test_memory_that_the_caller_manages_is_left_alone(fake):
    fake.pool.set_limit(5)
    fake.allocator = own = object()
    backend.namespace_for("cuda")
    assert fake.pool.limits == {0: 5}
    assert fake.allocator is own


def test_what_the_pool_holds_is_used_up_before_it_fails(fake):
    backend.namespace_for("cuda")
    fake.pool.cached = 7_000
    assert fake.allocator(7_200) == 7_200
    assert fake.pool.cached == 0
    with pytest.raises(OutOfMemoryError):
        fake.allocator(1)


def test_exhausted_memory_is_reported(fake):
    """What was under way, what was needed, what there was, what to do; other errors pass."""
    xp = backend.namespace_for("cuda")
    with (
        pytest.raises(DeviceMemoryError) as report,
        backend.device_memory("the attack", "halve the chunk"),
    ):
        raise OutOfMemoryError(5_000, 4_000, 7_200)
    assert str(report.value) == (
        "device memory: expected room for the attack, got Out of memory allocating 5,000 bytes "
        "(allocated so far: 4,000 bytes, limit set to: 7,200 bytes), with 0.00 of the device's "
        "0.00 GB free; halve the chunk"
    )
    with pytest.raises(DeviceMemoryError, match=r"room for an array \(90, 30\), got"):
        backend.asarray(np.ones((90, 30)), xp)
    with pytest.raises(MemoryError, match=r"^of the host$"), backend.device_memory("a", "b"):
        raise MemoryError("of the host")
    with pytest.raises(ZeroDivisionError), backend.device_memory("a", "b"):
        1 / 0  # noqa: B018


def test_an_attack_without_memory_suggests_a_chunk(fake):
    backend.namespace_for("cuda")

    def margin(x, target):
        raise OutOfMemoryError(5_000, 4_000, 7_200)

    with pytest.raises(DeviceMemoryError, match=r"room for 4 samples.*attack with chunk=2, or"):
        attack(margin, np.ones((9, 2)), np.ones(9), L2(1.0), steps=3, chunk=4)


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


@pytest.mark.parametrize(
    "x",
    [
        np.arange(77.0).reshape(7, 11),
        np.asfortranarray(np.arange(77, dtype=np.float32).reshape(7, 11)),
        np.arange(24)[::-2],
        np.asarray([True, False] * 40),
        np.asarray(3.0),
        np.empty((0, 3)),
    ],
    ids=["C", "Fortran", "strided", "bool", "scalar", "empty"],
)
def test_transfers_are_staged(fake, monkeypatch, x):
    """Through pinned memory of bounded size, in as many pieces as it takes, and waited for."""
    monkeypatch.setattr(backend, "STAGE_BYTES", 64)
    xp = backend.namespace_for("cuda")
    there = backend.asarray(x, xp)
    sent, fake.log[:] = fake.log[:], []
    assert there.dtype == x.dtype
    back = backend.to_host(there)
    for log, where in ((sent, "to device"), (fake.log, "to host")):
        assert [size for what, size in log if what == "pinned"] == [64]
        assert sum(size for what, size in log if what == where) == x.nbytes
        assert all(size <= 64 for _, size in log)
    assert [what for what, _ in sent[1:]] == ["to device", "wait"] * -(-x.nbytes // 64)
    assert back.dtype == x.dtype
    assert np.array_equal(back, x)


def test_facts_of_a_device(fake, monkeypatch):
    assert backend.device_facts(np) == {"device": "cpu"}
    assert backend.device_facts(array_api_strict) == {"device": "cpu"}
    assert backend.device_facts(backend.namespace_for("cuda:1")) == {
        "device": "cuda:1",
        "device_name": "Fake 1",
        "cuda_runtime": "13.2",
        "cuda_driver": "12.4",
        "tf32": "off",
    }
    assert backend.device_facts(Fake(tf32=True).modules["cupy"])["tf32"] == "on"


@pytest.mark.parametrize("library", ["numpy", "array_api_strict", "cupy"])
def test_cholesky_solver(fake, library):
    """M solve(b) = b; indefinite and nearly singular matrices are refused whatever the library."""
    rng = np.random.default_rng(0)
    root, b = rng.standard_normal((6, 6)), rng.standard_normal(6)
    move = {"numpy": np.asarray, "array_api_strict": array_api_strict.asarray, "cupy": fake.array}
    M = root @ root.T + np.eye(6)
    solve = backend.cholesky_solver(move[library](M), 1e-3)
    for _ in range(2):
        x = solve(move[library](b))
        assert M @ (x.values if library == "cupy" else backend.to_host(x)) == pytest.approx(b)
    indefinite = np.asarray([[1.0, 2.0], [2.0, 1.0]])  # of which CuPy leaves a good diagonal
    for bad in (indefinite, M - 9 * np.eye(6), np.full((2, 2), np.nan), np.diag([1.0, 1e-8])):
        with pytest.raises(np.linalg.LinAlgError):
            backend.cholesky_solver(move[library](bad), 1e-3)
    assert backend.cholesky_solver(move[library](np.diag([1.0, 1e-8])))
    assert fake.raises == "ignore"


def test_the_real_cupy_has_what_the_fake_has():
    """Every name, and every parameter of a function, so that what passes here exists there."""
    cupy = pytest.importorskip("cupy")

    def compare(ours, theirs, name):
        for member, value in vars(ours).items():
            if member.startswith("__") or member in ("values", "log", "dtype", "shape", "size"):
                continue
            path = f"{name}.{member}"
            if path in ("cupy.cuda.cublas", "cupy.cuda.cusolver"):  # need CUDA's libraries
                continue
            assert hasattr(theirs, member), path
            if isinstance(value, SimpleNamespace | ModuleType):
                compare(value, getattr(theirs, member), path)
            elif inspect.isfunction(value) or inspect.ismethod(value):
                there = getattr(theirs, member)
                for parameter in set(inspect.signature(value).parameters) - {"self"}:
                    assert parameter in signature(there), f"{path}: {parameter}"

    products = cupy._core._routines_linalg
    if "CUPY_TF32" not in os.environ:
        assert products.get_compute_type(np.float32) != products.COMPUTE_TYPE_TF32
    fake = Fake()
    for name in ("cupy", "cupyx"):
        compare(fake.modules[name], importlib.import_module(name), name)
    compare(type(fake.array(np.ones(1))), cupy.ndarray, "cupy.ndarray")
    compare(type(fake.pool), cupy.cuda.MemoryPool, "cupy.cuda.MemoryPool")
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    ours, theirs = (
        str(kind(5_000, 4_000, 7_200))
        for kind in (OutOfMemoryError, cupy.cuda.memory.OutOfMemoryError)
    )
    assert ours == theirs


def signature(function):
    """Of a compiled function, as its docstring begins."""
    try:
        return str(inspect.signature(function))
    except ValueError:
        return (function.__doc__ or "").partition("\n")[0]
