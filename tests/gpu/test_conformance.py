"""The conformance backend: what CuPy does not admit raises, what it admits computes as NumPy."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from reflfap import backend
from reflfap.errors import BackendError

conformance = pytest.importorskip("conformance", reason="cupy is not installed")
from conformance import Sync, counting, functions, table, xp  # noqa: E402
from conformance.signatures import from_text  # noqa: E402

cupy = pytest.importorskip("cupy")

VALUES = {
    "x": np.arange(6.0).reshape(2, 3),
    "y": np.asarray([[0.5, -1.0, 2.0], [3.0, 0.0, -2.0]]),
    "f": np.asarray([1.5, -2.0, 0.25], dtype=np.float32),
    "d": np.asarray([0.5, 1.0, -1.0]),
    "i": np.asarray([2, 0]),
    "m": np.asarray([True, False, True]),
    "s": np.asarray([[2.0, 1.0], [1.0, 3.0]]),
}
VIOLATIONS = [
    # what NumPy has and CuPy has not
    ("function", "xp.vecdot(x, x)", AttributeError, "cupy has no vecdot"),
    ("where= in a sum", "xp.sum(x, where=m)", TypeError, "where"),
    ("initial= in a maximum", "xp.max(x, initial=0.0)", TypeError, "initial"),
    ("correction=", "xp.std(x, correction=1)", TypeError, "correction"),
    ("keywords of clip", "xp.clip(x, min=0.0, max=1.0)", TypeError, "a_min"),
    ("keyword of reshape", "xp.reshape(x, shape=(3, 2))", TypeError, "newshape"),
    ("kind of argsort", "xp.argsort(d, kind='quicksort')", ValueError, "stable"),
    ("stable= of argsort", "xp.argsort(d, stable=True)", TypeError, "stable"),
    ("mode= of take", "xp.take(d, i, mode='clip')", TypeError, "mode"),
    ("out= of einsum", "xp.einsum('ij->i', x, out=d)", TypeError, "out"),
    ("where= of a ufunc", "xp.add(d, d, where=m)", TypeError, "where"),
    ("order= of a ufunc", "xp.exp(d, order='C')", TypeError, "order"),
    ("too many for a ufunc", "xp.exp(d, d, d)", TypeError, "too many"),
    ("too few for a ufunc", "xp.add(d)", TypeError, "x2"),
    ("argument of item", "d.item(0)", TypeError, "too many"),
    ("where= in a method", "x.sum(where=m)", TypeError, "where"),
    ("method", "x.to_device('cpu')", AttributeError, "no to_device"),
    ("casting= of astype", "x.astype('f4', casting='no')", TypeError, "not supported"),
    ("attribute", "x.ctypes", AttributeError, "no ctypes"),
    ("random numbers", "xp.random", AttributeError, "not the same"),
    ("only in CuPy", "xp.asnumpy(x)", AttributeError, "NumPy has none"),
    # data that move, or should have
    ("NumPy's conversion", "np.asarray(x)", TypeError, "Implicit conversion"),
    ("NumPy's ufunc", "np.sqrt(x)", TypeError, "numpy.sqrt"),
    ("NumPy's function", "np.sum(x)", TypeError, "numpy.sum"),
    ("transfer to the device", "xp.asarray(np.ones(2))", TypeError, "only reflfap/backend.py"),
    ("transfer of a list", "xp.asarray([1.0, 2.0])", TypeError, "only reflfap/backend.py"),
    ("transfer to the host", "x.get()", TypeError, "only reflfap/backend.py"),
    ("index by a list", "x[:, [0, 1]]", TypeError, "only reflfap/backend.py"),
    ("index by a host array", "x[np.asarray([0])]", TypeError, "backend.asarray"),
    ("pickle", "pickle.dumps(x)", TypeError, "pickling"),
    ("host array right", "x * np.ones(3)", TypeError, "Unsupported type"),
    ("host array left", "np.ones(3) * x", TypeError, "numpy.multiply"),
    ("0-d host array", "x * np.asarray(2.0)", TypeError, "Unsupported type"),
    ("host array in a list", "xp.concatenate([d, np.ones(2)])", TypeError, "Unsupported type"),
    ("host array assigned", "d[:] = np.ones(3)", TypeError, "Unsupported type"),
    ("list assigned", "d[:] = [1.0, 2.0, 3.0]", TypeError, "backend.asarray"),
    ("list as an operand", "d + [1.0, 2.0, 3.0]", TypeError, "Unsupported type"),
    ("list as an argument", "xp.sum([1.0, 2.0])", TypeError, "must be a device array"),
    ("list as another", "xp.where(m, [1.0, 2.0, 3.0], d)", TypeError, "host numbers"),
    ("number for an array", "xp.mean(2.0)", TypeError, "must be a device array"),
    ("objects", "backend.asarray(np.asarray([None]), xp)", ValueError, "Unsupported dtype"),
    # the host's use of device values
    ("host loop", "[v for v in d]", TypeError, "host loop"),
    ("zip", "list(zip(d, d))", TypeError, "host loop"),
    ("unpacking", "a, b, c = d", TypeError, "host loop"),
    ("membership", "1.0 in d", TypeError, "not iterable"),
    ("reversal", "reversed(d)", TypeError, "not reversible"),
    ("range", "range(i[0])", TypeError, "integer"),
    ("device slice", "d[:i[0]]", TypeError, "__index__"),
    ("device axis", "xp.sum(x, axis=i[1])", TypeError, "__index__"),
    ("device axis of a method", "x.sum(axis=i[1])", TypeError, "__index__"),
    ("device size", "xp.zeros((2, i[0]))", TypeError, "__index__"),
    ("hash", "hash(x)", TypeError, "unhashable"),
    # what CuPy computes otherwise, or leaves undefined
    ("wrapped index", "d[i + 1]", IndexError, "out of bounds"),
    ("wrapped assignment", "d[i + 1] = 0.0", IndexError, "out of bounds"),
    ("wrapped take", "xp.take(d, i + 1)", IndexError, "out of bounds"),
    ("duplicates", "d[i - i] = d[:2]", IndexError, "occurs twice"),
    ("duplicates by wrapping", "d[i - i[:1] * (i > 0)] += 1", IndexError, "occurs twice"),
    ("add.at", "xp.add.at(d, i, 1.0)", AttributeError, "no order"),
    ("scatter_add", "d.scatter_add(i, 1.0)", AttributeError, "no order"),
    ("method put", "d.put(i, 1.0)", AttributeError, "no order"),
    ("sort of a view", "x.T.sort()", NotImplementedError, "non-contiguous"),
    ("put", "xp.put(d, i, 1.0)", AttributeError, "undefined"),
    ("overlap", "d[1:] = d[:-1]", ValueError, "overlap"),
    ("overlap through an index", "d[i] = d[:2]", ValueError, "overlap"),
    ("two masks", "x[x[:, 0] > 1, m]", IndexError, "more than one boolean"),
    ("float index", "x[d]", IndexError, "integer or boolean"),
    ("a product of numbers", "xp.matmul(d[0], d[0])", ValueError, "matmul"),
    ("a product over its factor", "xp.matmul(s, s, out=s)", ValueError, "shares memory"),
    ("dot into Fortran order", "xp.dot(s, s, out=xp.empty((2, 2)).T)", ValueError, "C-contig"),
    ("dot into another dtype", "xp.dot(f, f, out=d[0])", ValueError, "dtype"),
    ("linear algebra unchecked", "xp.linalg.cholesky(-s)", RuntimeError, "go on with NaN"),
    # float64 by accident
    ("promotion", "x * f", TypeError, "float32 meets float64"),
    ("promotion by a 0-d array", "f * d[0]", TypeError, "float32 meets float64"),
    ("promotion by a NumPy scalar", "f * np.float64(2.0)", TypeError, "float32 meets float64"),
    ("promotion from the left", "np.float64(2.0) * f", TypeError, "float32 meets float64"),
    ("promotion by integers", "f * xp.arange(3)", TypeError, "float32 becomes float64"),
    ("promotion in place", "f *= d[0]", TypeError, "float32 meets float64"),
    ("promotion by assignment", "f[0] = d[0]", TypeError, "float32 meets float64"),
    ("comparison", "f < d", TypeError, "float32 meets float64"),
    ("concatenation", "xp.concatenate([f, d])", TypeError, "float32 meets float64"),
    ("product", "x @ f", TypeError, "float32 meets float64"),
]
LEGITIMATE = [
    "xp.sum(x, axis=1, keepdims=True)",
    "xp.sum(f, dtype=xp.float64)",
    "xp.max(x)",
    "xp.clip(f, 0.1, 1.0)",
    "xp.astype(x, xp.float32)",
    "xp.where(m, d, xp.inf)",
    "xp.where(f > 0, 1.0, f)",
    "xp.logaddexp(0.0, -xp.minimum(d, 40.0))",
    "xp.einsum('ij,ij->i', x, y)",
    "xp.einsum('ij,kj->ik', x, y, optimize=True)",
    "xp.einsum(x, [0, 1], d, [1], [0])",
    "xp.matmul(x.T, x, out=xp.empty((3, 3)))",
    "xp.reshape(x, (3, 2))",
    "xp.concatenate([d, d])",
    "xp.stack((d, d), axis=1)",
    "xp.add(d, 1.0, dtype=xp.float64)",
    "xp.argsort(-xp.abs(d))",
    "xp.take(x, i, axis=1)",
    "xp.zeros_like(f)",
    "xp.full((2, 3), 2.0)",
    "xp.arange(3)",
    "xp.mean(xp.astype(m, xp.float64))",
    "xp.linalg.norm(x)",
    "xp.linalg.cholesky(s)",
    "xp.repeat(d, 2)",
    "xp.broadcast_to(d, (2, 3))",
    "xp.allclose(x, x)",
    "x[0, 1]",
    "x[:, m]",
    "x[i[1], i]",
    "x[..., ::-1]",
    "x[:, None, :] @ y[:, :, None]",
    "(x @ y.T).sum(axis=0)",
    "np.float64(2.0) * x",
    "2 / (1 + x)",
    "x ** 2 - (-x) // 2.0",
    "(x > 2) & ~(y > 0)",
    "x.reshape(3, 2).T.copy()",
    "x.argmax(axis=1)",
    "f.astype(xp.float64).mean()",
    "d.shape + (d.ndim, x.size, x.nbytes)",
    "xp.finfo(f.dtype).eps",
]
STATEMENTS = [
    "x[:1] += 1",
    "x *= d",
    "x.T[0] = 7.0",
    "x[i[1:], i[1:]] = 7.0",
    "x[x > 2] = 0.0",
    "x[:, m] = y[:, m]",
    "x[0][1:] -= 2",
    "v = x[0, 1]; v += 5",
    "x[:, 0] = x[:, 1]",
    "x[...] = x",
    "xp.add(x, 1.0, out=x)",
    "d.sort()",
    "d.fill(2.0)",
]
FUNCTIONS = [
    "xp.exp(x)", "xp.log(xp.abs(x))", "xp.sqrt(x)", "xp.sign(x)", "xp.isfinite(x)", "x + x[0]",
    "x * 3.1", "1 / x", "x ** 2", "xp.maximum(x, -x)", "xp.logaddexp(x, 0.5)", "x.sum(axis=0)",
    "xp.mean(x)", "xp.max(x, axis=1)", "xp.min(x)", "xp.argmin(x, axis=0)", "xp.cumsum(x)",
    "x @ x.T", "xp.clip(x, -1.0, 2.0)", "xp.where(x > 0, x, 0.1 * x)", "xp.sort(x, axis=1)",
    "xp.argsort(x, axis=1, kind='stable')", "x[x > 0]", "x.T.ravel()", "xp.std(x, axis=0)",
    "xp.einsum('ij,ik->jk', x, x)", "xp.concatenate([x, -x], axis=1)", "xp.any(x > 1, axis=1)",
]  # fmt: skip


def on_device():
    return {name: backend.asarray(value, xp) for name, value in VALUES.items()} | {"xp": xp}


def on_host():
    return {name: value.copy() for name, value in VALUES.items()} | {"xp": np}


def run(code, names):
    """Run `code` as a module that is neither the backend nor a test."""
    exec(
        compile(code, "kernel.py", "exec"), {"np": np, "backend": backend, "pickle": pickle}, names
    )


def to_host(value):
    return backend.to_host(value) if isinstance(value, xp.ndarray) else value


def assert_same(ours, theirs):
    """Bit for bit, dtype and shape included; but the sign of a NaN, and of a zero that einsum adds
    up, depends on where memory begins."""
    ours, theirs = np.array(to_host(ours)), np.array(theirs)
    for one in (ours, theirs):
        if one.dtype.kind == "f":
            one[np.isnan(one)], one[one == 0] = np.nan, 0.0
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize(
    ("code", "exception", "match"),
    [one[1:] for one in VIOLATIONS],
    ids=[one[0] for one in VIOLATIONS],
)
def test_violations_are_caught(code, exception, match):
    with pytest.raises(exception, match=match):
        run(code, on_device())


@pytest.mark.parametrize("code", LEGITIMATE)
def test_legitimate_uses_agree_with_numpy(code):
    names = [on_device(), on_host()]
    for one in names:
        run(f"result = {code}", one)
    assert_same(*(one["result"] for one in names))


@pytest.mark.parametrize("code", STATEMENTS)
def test_statements_change_what_they_would_in_numpy(code):
    """Views stay views: but for v = x[0, 1], which is one in CuPy and none in NumPy."""
    names = [on_device(), on_host()]
    run(code, names[0])
    run(code.replace("x[0, 1]", "x[0, 1, ...]"), names[1])
    for name in VALUES:
        assert_same(names[0][name], names[1][name])


@given(
    x=st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=2, max_dims=2, max_side=5))
    )
)
def test_results_are_numpys_bit_for_bit(x):
    with np.errstate(all="ignore"):
        for code in FUNCTIONS:
            ours = eval(code, {"xp": xp, "x": backend.asarray(x, xp)})
            assert_same(ours, eval(code, {"xp": np, "x": x}))


def test_it_is_a_library_of_its_own():
    x = backend.asarray(np.ones(2), xp)
    assert backend.namespace(x) is xp
    assert xp.__name__ == "conformance"
    assert not isinstance(x, np.ndarray)
    with pytest.raises(BackendError, match="conformance, numpy"):
        backend.namespace(x, np.ones(2))


def test_device_memory_is_its_own():
    """No array of the host shares memory with one of the device; empty ones hold no zeros."""
    host = np.ones(2)
    there = backend.asarray(host, xp)
    host[0] = 2.0
    back = backend.to_host(there)
    there[1] = 3.0
    assert back.tolist() == [1.0, 1.0]
    assert backend.to_host(copy.deepcopy(there)).tolist() == [1.0, 3.0]
    assert np.isnan(backend.to_host(xp.empty(3))).all()
    assert (backend.to_host(xp.empty_like(there, dtype=xp.int64)) != 0).all()


def test_copies_and_the_same():
    """An index on the device copies, even a single one; what is filled or kept is itself."""
    names = on_device()
    run("v = d[i[1]]; v += 5; w = d; w += 0; same = xp.asarray(x)", names)
    run("out = xp.empty((2, 2)); product = xp.matmul(x, x.T, out=out)", names)
    assert_same(names["d"], VALUES["d"])
    assert names["w"] is names["d"]
    assert names["same"] is names["x"]
    assert names["product"] is names["out"]


def small(x, mask):
    total = float(xp.sum(x))
    if bool(x[0] > 0):
        total += x[mask].item()
    x[mask] = xp.max(x)
    xp.nonzero(x)
    x.fill(total)
    x[1:] = x[0] * 2
    return backend.to_host(x)


def test_synchronisations_are_counted_where_they_are():
    mask = backend.asarray(np.asarray([False, True]), xp)
    x = backend.asarray(np.asarray([1.0, 2.0]), xp)
    with counting() as syncs:
        small(x, mask)
    first = small.__code__.co_firstlineno
    lines = {
        1: ["float"],
        2: ["bool"],
        3: ["mask", "item"],
        4: ["mask"],
        5: ["nonzero"],
        8: ["get"],
    }
    expected = [
        Sync(kind, f"tests/gpu/test_conformance.py:{first + line}")
        for line, kinds in lines.items()
        for kind in kinds
    ]
    assert syncs == expected
    assert syncs.transfers == []


@pytest.mark.parametrize(
    ("code", "kinds"),
    [
        ("x[x > 1]", ["mask"]),
        ("x[:, m] = 0.0", ["mask"]),  # cupy/_core/_routines_indexing.pyx counts here too
        ("xp.where(m)", ["where"]),
        ("xp.where(m, d, d)", []),
        ("xp.unique(d)", ["unique"]),
        ("xp.repeat(d, i[:1])", ["repeat"]),
        ("xp.repeat(d, 2)", []),
        ("d.fill(d[0])", ["fill"]),
        ("d.tolist(); complex(d[0]); int(i[0])", ["tolist", "complex", "int"]),
        ("f'{d[0]:g}', str(d), repr(d)", ["format", "str", "repr"]),
        ("xp.allclose(d, d)", []),
        ("if xp.array_equal(d, d): pass", ["bool"]),
        ("d[i] = 1.0; x[0] = d; d[:2] += d[i]; x @ d", []),
        ("xp.linalg.cholesky(s)", []),
    ],
)
def test_what_synchronises(code, kinds):
    names = on_device()
    with counting() as syncs:
        run(code, names)
    assert [sync.kind for sync in syncs] == kinds


def test_counting_nests_and_sets_transfers_apart():
    with counting() as outer:
        x = backend.asarray(np.asarray(1.0), xp)
        with counting() as inner:
            float(x)
        bool(x)
    assert [sync.kind for sync in outer] == ["float", "bool"]
    assert [sync.kind for sync in inner] == ["float"]
    (transfer,) = outer.transfers
    assert transfer.kind == "asarray"
    assert transfer.place.startswith("tests/gpu/test_conformance.py:")
    assert inner.transfers == []


def test_signatures_of_compiled_methods():
    text = "_ndarray_base.swapaxes(self, Py_ssize_t axis1, int axis2=0, order='C') -> _ndarray_base"
    assert str(from_text(text)) == "(self, axis1, axis2=0, order='C')"
    with pytest.raises(TypeError, match="expected a signature"):
        from_text("Sorts.")


def test_the_cupy_that_was_read():
    """Which functions synchronise was read from one version; read again before trusting another."""
    assert cupy.__version__.startswith(functions.READ)
    for name in functions.SYNCHRONISING:
        assert hasattr(cupy, name) or hasattr(cupy.linalg, name), name


def test_the_table_of_functions_is_up_to_date():
    assert table.PAGE.read_text() == table.page(), f"run {table.COMMAND}"
    for name in table.used():
        assert table.of_cupy(name) is not None, f"cupy has no {name}"
