"""Files that are sealed correctly and hold what reflfap would never write."""

import contextlib
import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from faults.damaging import ESCAPE
from reflfap.sealed import FORMAT, SEAL_BYTES

Change = Callable[[random.Random, h5py.File], object]

KINDS = (
    *("f2", ">f4", "f8", "f4", "i1", ">i8", "u8", "?", "c8", "S5", "V7"),
    *([("a", "f4"), ("b", "i4")], h5py.string_dtype(), h5py.ref_dtype, h5py.vlen_dtype("f4")),
)


def reseal(rng: random.Random, path: Path, changes: tuple[Change, ...]) -> str:
    """Change the file in one of these ways, and seal it again; in which way."""
    with io.BytesIO() as target:
        with (
            h5py.File(path) as old,
            h5py.File(target, "w", libver="latest", userblock_size=SEAL_BYTES) as new,
        ):
            new.attrs.update(old.attrs)
            for name in old:
                old.copy(name, new)
            change = rng.choice(changes)
            with contextlib.suppress(OSError, RuntimeError, TypeError, ValueError):
                change(rng, new)  # HDF5 itself refuses some, at least in files of one kind
        content = target.getvalue()[SEAL_BYTES:]
    digest = hashlib.sha256(content).hexdigest().encode()
    seal = b"\n".join([FORMAT, digest, b"%d" % len(content)])
    path.write_bytes(seal.ljust(SEAL_BYTES, b"\0") + content)
    return change.__name__


def _dataset(rng: random.Random, file: h5py.File) -> str:
    """The name of one of its datasets."""
    found: list[str] = []
    file.visititems(
        lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None
    )
    if not found:
        file["x"] = np.ones(3, "f4")
    return rng.choice(sorted(found) or ["x"])


def _replaced(rng: random.Random, file: h5py.File) -> tuple[str, Any]:
    """The name of a dataset that is gone now, and its shape."""
    name = _dataset(rng, file)
    shape = file[name].shape
    del file[name]
    return name, shape


def dtype(rng: random.Random, file: h5py.File) -> None:
    name, shape = _replaced(rng, file)
    file.create_dataset(name, shape, rng.choice(KINDS))


def shape(rng: random.Random, file: h5py.File) -> None:
    name, before = _replaced(rng, file)
    after = rng.choice(((), (0,), (*before, 1), before[::-1], before[1:], (0, *before[1:])))
    file.create_dataset(name, after, "f4")


def huge(rng: random.Random, file: h5py.File) -> None:
    """A dataset that claims terabytes, none of which is there."""
    name, before = _replaced(rng, file)
    size = rng.choice((10**7, 10**9, 10**12))
    after = (size, *before[1:]) if rng.random() < 0.5 else (*before[:-1], size)
    how = rng.choice(({}, {"chunks": True}, {"chunks": True, "compression": "gzip"}))
    file.create_dataset(name, after, rng.choice(("f4", "f8", "u1")), **how)


def bomb(rng: random.Random, file: h5py.File) -> None:
    """Zeros that are there, a thousandth of their size."""
    name, _ = _replaced(rng, file)
    file.create_dataset(name, data=np.zeros((2**22,), "f4"), chunks=True, compression="gzip")


def values(rng: random.Random, file: h5py.File) -> None:
    """NaN, infinity and what overflows, in the shape and type that are expected."""
    name = _dataset(rng, file)
    if file[name].dtype.kind == "f":
        file[name][...] = rng.choice((np.nan, np.inf, -np.inf, 1e38, 1e-45, 0.0))


def group(rng: random.Random, file: h5py.File) -> None:
    name, _ = _replaced(rng, file)
    file.create_group(f"{name}/W")


def kind_of_object(rng: random.Random, file: h5py.File) -> None:
    """A named type where a dataset was, or a dataset where a group was."""
    if rng.random() < 0.5 and (names := [one for one in file if isinstance(file[one], h5py.Group)]):
        name = rng.choice(sorted(names))
        del file[name]
        file[name] = 1.0
    else:
        name, _ = _replaced(rng, file)
        file[name] = np.dtype("f4")


def nested(rng: random.Random, file: h5py.File) -> None:
    """Groups in groups, a thousand deep, or one in itself."""
    if rng.random() < 0.5:
        file["metrics/again" if "metrics" in file else "again"] = file["/"]
        return
    inner = file.create_group("deep")
    for _ in range(1000):
        inner = inner.create_group("d")


def link(rng: random.Random, file: h5py.File) -> None:
    """A link in the place of a dataset or a group."""
    name, _ = _replaced(rng, file)
    if rng.random() < 0.3:
        name = rng.choice(sorted(file)) if len(file) else name
        if name in file:
            del file[name]
    to = (
        h5py.SoftLink(f"/{name}"),
        h5py.SoftLink("/"),
        h5py.ExternalLink("/dev/zero", "/"),
        h5py.ExternalLink("../../grid.toml", "/"),
        h5py.ExternalLink(str(file.filename), "/"),
    )
    file[name] = rng.choice(to)


def stored_elsewhere(rng: random.Random, file: h5py.File) -> None:
    """Data in another file, or put together from datasets of other files."""
    name, before = _replaced(rng, file)
    if rng.random() < 0.5:
        outside = [(rng.choice(("/etc/passwd", "/dev/zero")), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset(name, before, "f4", external=outside)
    else:
        layout = h5py.VirtualLayout(before, "f4")
        layout[...] = h5py.VirtualSource("/etc/passwd", "x", before)
        file.create_virtual_dataset(name, layout)


def missing(rng: random.Random, file: h5py.File) -> None:
    if rng.random() < 0.3 and len(file):
        del file[rng.choice(sorted(file))]
    else:
        _replaced(rng, file)


def _owner(rng: random.Random, file: h5py.File) -> Any:
    """Whose attributes are changed: those of the file, its metrics, or a dataset."""
    owners = [file, file]
    if "metrics" in file:
        owners.append(file["metrics"])
    name = _dataset(rng, file)
    return rng.choice([*owners, file[name]])


def attribute(rng: random.Random, file: h5py.File) -> None:
    """Another type or value of an attribute."""
    attributes = _owner(rng, file).attrs
    name = rng.choice([*sorted(attributes), "new"])
    value = rng.choice(
        (
            *(np.float16(1), np.int8(3), True, 1.5, -1, 10**18, np.nan, np.inf, 1e308, 1 + 2j),
            *(np.ones(3), np.ones((0,)), h5py.Empty("f4"), b"\xff\xfe", "", "☃", ESCAPE, "x\0y"),
            *("../../x", '{"experiment": "artificial"}', "[" * 2000, '{"experiment": []}'),
            *(np.array([ESCAPE.encode()]), np.array(["a", "b"], object), np.void(b"\x1b[2J")),
        )
    )
    attributes[name] = value


def no_attribute(rng: random.Random, file: h5py.File) -> None:
    attributes = _owner(rng, file).attrs
    for name in rng.sample(sorted(attributes), min(len(attributes), rng.choice((1, 99)))):
        del attributes[name]


def long_attribute(rng: random.Random, file: h5py.File) -> None:
    attributes = _owner(rng, file).attrs
    name = rng.choice([*sorted(attributes), "new"])
    attributes[name] = rng.choice((np.ones(2**18), "x" * 2**21, np.full(2**18, b"\x1b")))


def names(rng: random.Random, file: h5py.File) -> None:
    """Names that steer a terminal, or that are no text."""
    name = rng.choice((ESCAPE, "a\nb", "☃", "é" * 200, ".", "..", "x" * 5000)).encode()
    name = rng.choice((name, b"\xff\xfe"))
    what = rng.choice(("metric", "attribute", "dataset"))
    if what == "dataset":
        with_data = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, name.replace(b".", b"dot"), h5py.h5t.IEEE_F32LE, with_data)
        return
    owner = file["metrics"] if what == "metric" and "metrics" in file else file
    single = h5py.h5s.create(h5py.h5s.SCALAR)
    h5py.h5a.create(owner.id, name, h5py.h5t.IEEE_F64LE, single).write(np.array(1.0))


def many(rng: random.Random, file: h5py.File) -> None:
    """Thousands of metrics."""
    owner = file.get("metrics", file)
    for number in range(2000):
        owner.attrs[f"acc_{number}"] = 0.5


def nothing(rng: random.Random, file: h5py.File) -> None:
    """An empty file, sealed."""
    for name in list(file):
        del file[name]
    for name in list(file.attrs):
        del file.attrs[name]


CHANGES: tuple[Change, ...] = (
    *(dtype, shape, huge, bomb, values, group, kind_of_object, nested, link, stored_elsewhere),
    *(missing, attribute, attribute, attribute, no_attribute, long_attribute, names, many, nothing),
)
