"""Tables that people bring: the same in every file, refused by name when bad, never believed."""

import contextlib
import io
import os
import pickle
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib import format as npy

from reflfap.data_loaders.own_tables import Table, read_samples
from reflfap.errors import DamagedFileError, InputError, ReflfapError, StoreError

FORMS = ("npz", "packed npz", "npy", "h5", "packed h5", "csv", "tsv", "csv without names")
TYPES = ("u1", "i4", ">i8", "f2", ">f4", "<f8", ">f8", "?")


def write(folder: Path, form: str, x: np.ndarray, y: np.ndarray) -> Path | list[Path]:
    """The table in a file of a form."""
    packed, (folder, stem) = form.startswith("packed"), (folder, folder / "data")
    if form.endswith("npz"):
        (np.savez_compressed if packed else np.savez)(stem, x=x, y=y)
        return stem.with_suffix(".npz")
    if form == "npy":
        for name, values in (("x", x), ("y", y)):
            np.save(folder / name, values)
        return [folder / "x.npy", folder / "y.npy"]
    if form.endswith("h5"):
        with h5py.File(stem.with_suffix(".h5"), "w") as file:
            how = {"compression": "gzip"} if packed else {}
            file.create_dataset("x", data=x, **how)
            file.create_dataset("y", data=y.astype("S") if y.dtype.kind == "U" else y, **how)
        return stem.with_suffix(".h5")
    between = "\t" if form == "tsv" else ","
    rows = zip(x, y, strict=True)
    lines = [between.join([*(repr(float(one)) for one in row), str(label)]) for row, label in rows]
    names = between.join([*(f"column {number}" for number in range(x.shape[1])), "class"])
    path = stem.with_suffix(f".{form[:3]}")
    path.write_text("\n".join([names, *lines] if "without" not in form else lines))
    return path


def random_table(seed: int, dtype: str = "f8") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = rng.integers(2, 9, 2)
    x = rng.normal(0, 20, shape).astype(dtype) if dtype != "u1" else rng.integers(0, 256, shape)
    y = np.arange(shape[0]) % rng.integers(2, 4)
    return x.astype(dtype), rng.permutation(y)


@given(st.integers(0, 10**6), st.sampled_from(FORMS), st.sampled_from(TYPES), st.booleans())
def test_all_files_give_one_table(tmp_path, seed, form, dtype, named):
    """Samples to the last bit, classes as text, and a digest that knows nothing of packing."""
    x, y = random_table(seed, dtype)
    y = np.array(["no", "yes", "maybe"])[y] if named else y
    found = read_samples(write(tmp_path, form, np.asfortranarray(x), y))
    assert found.x.dtype == np.float64
    assert found.x.flags.c_contiguous
    np.testing.assert_array_equal(found.x, x.astype(np.float64))
    assert found.y.tolist() == [str(one) for one in y]
    plain = read_samples(write(tmp_path, "npz", x.astype(np.float64), y))
    assert found.sha256 == plain.sha256
    assert len(found.features) == x.shape[1]


@pytest.mark.parametrize("form", FORMS)
def test_whole_floats_are_classes(tmp_path, form):
    """0.0 is class 0, as it is when a CSV says so."""
    x, y = random_table(3)
    expected = read_samples(write(tmp_path, form, x, y))
    assert read_samples(write(tmp_path, form, x, y.astype(float))).sha256 == expected.sha256


@given(st.integers(0, 10**6), st.data())
def test_any_change_changes_the_digest(tmp_path, seed, data):
    """Of a value, of a class, of the order of classes, of the shape."""
    x, y = random_table(seed)
    y = np.sort(y)  # so that an order that is another one has another first
    before = read_samples(write(tmp_path, "npz", x, y))
    row, column = (data.draw(st.integers(0, size - 1)) for size in x.shape)
    other = x.copy()
    other[row, column] = np.nextafter(x[row, column], np.inf)
    assert read_samples(write(tmp_path, "npz", other, y)).sha256 != before.sha256
    other_y = y.copy()
    other_y[row] = 7
    assert read_samples(write(tmp_path, "npz", x, other_y)).sha256 != before.sha256
    assert read_samples(write(tmp_path, "npz", x, np.roll(y, 1))).sha256 != before.sha256
    if len(y) % 2 == 0:
        longer = x.reshape(len(x) // 2, -1)
        if len(set(y[: len(longer)])) > 1:
            changed = read_samples(write(tmp_path, "npz", longer, y[: len(longer)]))
            assert changed.sha256 != before.sha256


def test_truth_values(tmp_path):
    x, y = random_table(1)
    assert set(read_samples(write(tmp_path, "npz", x, y > 0)).y) == {"False", "True"}


def test_names_of_arrays(tmp_path):
    """Of HDF5 with slashes; those that are there are named where one is missing."""
    x, y = random_table(2)
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["train/x"], file["train/y"] = x, y
    found = read_samples(tmp_path / "a.hdf5", "train/x", "train/y")
    np.testing.assert_array_equal(found.x, x)
    for name in ("x", "train", "train/z", "train/x/z", "/", "", "../x"):
        with pytest.raises(ReflfapError, match="expected"):
            read_samples(tmp_path / "a.hdf5", name, "train/y")
    with pytest.raises(InputError, match=r"expected an array x, got train/x, train/y; "):
        read_samples(tmp_path / "a.hdf5")
    np.savez(tmp_path / "a.npz", first=x, second=y)
    with pytest.raises(InputError, match="expected an array x, got first, second; "):
        read_samples(tmp_path / "a.npz")


def text(tmp_path: Path, content: str | bytes, name: str = "a.csv") -> Path:
    content = content.encode() if isinstance(content, str) else content
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize(
    ("content", "label", "features", "x", "y"),
    [
        ("a,b,k\n1,2,p\n3,4,q\n", "", "a b", [[1, 2], [3, 4]], "p q"),
        ("\ufeffa,b,k\r\n1,2,p\r\n3,4,q\r\n", "", "a b", [[1, 2], [3, 4]], "p q"),
        ("k,a,b\np,1,2\nq,3,4\n", "k", "a b", [[1, 2], [3, 4]], "p q"),
        ('a,"b ""c"", d",k\n"1",2,"p, p"\n3,4,q', "", 'a|b "c", d', [[1, 2], [3, 4]], "p, p|q"),
        ("1,2,0\n3,4,1\n", "", "0 1", [[1, 2], [3, 4]], "0 1"),
        ("1,2,p\n3,4,q\n", "", "0 1", [[1, 2], [3, 4]], "p q"),
        ("0,1,label\n1,2,p\n3,4,q\n", "", "0 1", [[1, 2], [3, 4]], "p q"),
        ("a,k\n\n 1 ,p\n\n-2e3,q\n\n", "", "a", [[1], [-2000]], "p q"),
        ("a,k\n1,01\n2,1\n3,2.0", "", "a", [[1], [2], [3]], "1 1 2"),
    ],
)
def test_csv(tmp_path, content, label, features, x, y):
    """Names or none, quotes, a byte order mark, blank lines, the column of classes by name."""
    found = read_samples(text(tmp_path, content), label=label)
    assert list(found.features) == features.split("|" if "|" in features else " ")
    assert found.x.tolist() == x
    assert found.y.tolist() == y.split("|" if "|" in y else " ")


BAD_TEXT = {
    "empty": ("", "an empty file"),
    "names alone": ("a,k\n", "at least one sample"),
    "one class": ("a,k\n1,p\n2,p\n", "at least two classes, got 'p' alone"),
    "one column": ("a;k\n1;p\n", "at least two columns, got one, 'a;k'"),
    "ragged": ("a,k\n1,p\n2\n", "row 3: expected 2 fields, got 1"),
    "too long": ("a,k\n1,p\n2,q,r\n", "row 3: expected 2 fields, got 3"),
    "a word": ("a,b,k\n1,2,p\n1,x,q\n", "row 3: expected a number, got 'x' in column 'b'"),
    "no value": ("a,b,k\n1,,p\n1,x,q\n", "row 2: expected a number, got '' in column 'b'"),
    "an underscore": ("a,b,k\n1,1_0,p\n1,2,q\n", "got '1_0' in column 'b'"),
    "NaN": ("a,b,k\n\n1,2,p\nnan,2,q\n", "row 4: expected a number, got 'nan' in column 'a'"),
    "NaN at first": ("nan,1,p\n2,2,q\n", "row 1: expected a number, got 'nan' in column '0'"),
    "infinity": ("a,b,k\n1,2,p\n1,1e999,q\n", "row 3: .* got '1e999' in column 'b'"),
    "no class": ("a,k\n1,p\n2,\n", "row 3: expected a class of 1 to 200 characters"),
    "NaN as class": ("a,k\n1,p\n2,NaN\n", "row 3: expected a class, got NaN"),
    "a measured value": ("a,k\n1,1\n2,0.37\n", "row 3: expected a class, got 0.37"),
    "one name twice": ("a,a,k\n1,2,p\n", "each name once, got 'a' twice"),
    "no name": (",a,k\n0,2,p\n", "a name for each column, got none for column 0"),
    "an open quote": ('a,k\n"1,p\n2,q\n', "quoted where need be"),
    "latin-1": ("a,k\n1,é\n2,q\n".encode("latin-1"), "text as UTF-8"),
    "UTF-16": ("a,k\n1,p\n2,q\n".encode("utf-16"), "text as UTF-8"),
    "a long class": ("a,k\n1,p\n2," + "q" * 201, "a class of 1 to 200"),
    "a long field": ("a,k\n1,p\n2," + "q" * 200_000, "field larger than field limit"),
}


@pytest.mark.parametrize(("content", "message"), BAD_TEXT.values(), ids=BAD_TEXT)
def test_bad_text_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=rf"{message}.*; \w") as caught:
        read_samples(text(tmp_path, content))
    assert str(caught.value).startswith(str(tmp_path / "a.csv"))


def test_endless_lines_are_not_read(tmp_path):
    path = text(tmp_path, b"1" * 2**25)
    tracemalloc.start()
    with pytest.raises(InputError, match="lines of some length"):
        read_samples(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27


X, Y = random_table(5)
BAD_ARRAYS = {
    "words": ({"x": X.astype(str), "y": Y}, "numbers as samples"),
    "complex": ({"x": X + 0j, "y": Y}, "floats of up to 64 bits"),
    "long": ({"x": X.astype(np.longdouble), "y": Y}, "floats of up to 64 bits"),
    "dates": ({"x": X, "y": Y.astype("M8[s]")}, "whole numbers"),
    "structures": ({"x": np.zeros(3, "f8,f8"), "y": Y}, "whole numbers"),
    "a row": ({"x": X[0], "y": Y}, "samples (N, d) and labels (N,)"),
    "images": ({"x": X[None], "y": Y}, "samples (N, d) and labels (N,)"),
    "one-hot": ({"x": X, "y": np.eye(4)[Y]}, "samples (N, d) and labels (N,)"),
    "few labels": ({"x": X, "y": Y[1:]}, "as many labels as samples"),
    "many labels": ({"x": X[1:], "y": Y}, "as many labels as samples"),
    "no samples": ({"x": X[:0], "y": Y[:0]}, "at least one sample"),
    "no columns": ({"x": X[:, :0], "y": Y}, "at least one sample and one column"),
    "one class": ({"x": X, "y": 0 * Y}, "at least two classes"),
    "values": ({"x": X, "y": Y + 0.5}, "row 0: expected a class, got "),
    "NaN as class": ({"x": X, "y": np.where(Y == Y[1], np.nan, 0)}, "row 1: expected a class"),
    "long labels": ({"x": X, "y": np.array(["a", "b" * 300])}, "at most 200 characters"),
    "bytes": ({"x": X, "y": np.array([b"\xff", b"a"])}, "labels as UTF-8"),
}


@pytest.mark.parametrize(("content", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays_are_refused(tmp_path, content, message):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(InputError) as caught:
        read_samples(tmp_path / "a.npz")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: ")
    assert "; " in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", ["npz", "npy", "h5", "csv"])
def test_what_is_not_finite_is_named(tmp_path, form, value):
    """By its row and column."""
    x, y = random_table(4)
    x[1, 0] = value
    with pytest.raises(InputError, match=r"row (1|3).*column '(0|column 0)'|got .* in column"):
        read_samples(write(tmp_path, form, x, y))


class Bomb:
    """What a pickle would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_objects_are_never_read(tmp_path, form):
    """Neither an array of them, nor a file that is a pickle."""
    x = np.array([[Bomb(tmp_path / "ran")]], dtype=object)
    with pytest.raises(InputError, match="objects, whose pickles run code"):
        read_samples(write(tmp_path, form, x, Y))
    for name in ("x.npy", "y.npy", "a.npz"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    for paths in ([tmp_path / "x.npy", tmp_path / "y.npy"], tmp_path / "a.npz"):
        with pytest.raises(DamagedFileError):
            read_samples(paths)
    assert not (tmp_path / "ran").exists()


def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    target = io.BytesIO()
    about = {"descr": dtype, "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(target, about)
    return target.getvalue()


def npz_of(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def claims(tmp_path: Path):
    """Files that say that they hold much, by name."""
    ten = header((10**5, 12_500))  # 10 GB
    two = header((10**5, 2_500))  # 2 GB
    good = header((2,), "<i8") + bytes(16)
    yield npz_of(tmp_path / "ten.npz", {"x": ten, "y": good})
    yield npz_of(tmp_path / "two.npz", {"x": two, "y": good})
    yield npz_of(tmp_path / "header.npz", {"x": b"\x93NUMPY\2\0" + b"\xff" * 4, "y": good})
    long = b"\x93NUMPY\2\0" + struct.pack("<I", 2**27) + b" " * 2**27
    yield npz_of(tmp_path / "spaces.npz", {"x": long, "y": good})
    yield npz_of(tmp_path / "negative.npz", {"x": header((-1, -(10**9))), "y": good})
    path = npz_of(tmp_path / "directory.npz", {"x": two, "y": good})
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2", 0, content.rindex(b"PK\1\2"))
    struct.pack_into("<I", content, at + 24, 2_000_000_128)  # the size of x, unpacked
    path.write_bytes(content)
    yield path
    path = tmp_path / "long.npz"
    path.write_bytes(bytes(2**24) + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, 2**24, 0, 0))
    yield path
    for name, one in (("ten", ten), ("two", two)):
        (tmp_path / f"{name}.npy").write_bytes(one)
        yield [tmp_path / f"{name}.npy", tmp_path / f"{name}.npy"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (10**5, 2_500), "f8", chunks=(10, 10))
        file["y"] = Y
    yield tmp_path / "a.h5"


def test_claims_are_not_believed(tmp_path):
    """None of them makes us allocate more than a few megabytes."""
    for paths in claims(tmp_path):
        tracemalloc.start()
        with pytest.raises(ReflfapError, match=r"expected .* got .*; "):
            read_samples(paths)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**24, paths


def test_a_bomb_is_not_unpacked(tmp_path):
    """An array beyond the limit is refused unread, though half a megabyte holds its start."""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            file.write(header((6 * 10**6, 100)))
            for _ in range(48):
                file.write(bytes(10**7))
        archive.writestr("y.npy", header((2,), "<i8") + bytes(16))
    tracemalloc.start()
    with pytest.raises(ReflfapError, match="at most 4294967296 bytes, got 4800000000"):
        read_samples(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("form", ["npz", "packed npz", "npy", "h5", "packed h5"])
def test_truncated_files_are_refused(tmp_path, form):
    """Wherever they end."""
    paths = write(tmp_path, form, *random_table(6))
    path = paths[0] if isinstance(paths, list) else paths
    content = path.read_bytes()
    for size in {0, 1, 6, 8, 10, 64, 100, *range(0, len(content), 37), len(content) - 1}:
        path.write_bytes(content[:size])
        with pytest.raises(DamagedFileError, match=rf"{path}.*; "):
            read_samples(paths)
    path.write_bytes(content)
    assert isinstance(read_samples(paths), Table)


@given(
    st.sampled_from(["npz", "packed npz", "npy", "csv"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
)
@example("npz", [(0.0, 0)])
def test_altered_files_never_surprise(tmp_path, form, changes):
    """Any bytes changed: a table, or an error of this package; and numbers that are finite."""
    paths = write(tmp_path, form, *random_table(7))
    path = paths[0] if isinstance(paths, list) else paths
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    path.write_bytes(content)
    with contextlib.suppress(ReflfapError):
        found = read_samples(paths)
        assert np.isfinite(found.x).all()
        assert len(found.x) == len(found.y)


@given(st.binary(max_size=300), st.sampled_from([".npz", ".npy", ".csv", ".tsv"]))
def test_any_bytes(tmp_path, content, ending):
    start = {".npy": b"\x93NUMPY\1\0", ".npz": b"PK\3\4"}.get(ending, b"")
    for one in (content, start + content):
        path = tmp_path / f"a{ending}"
        path.write_bytes(one)
        with contextlib.suppress(ReflfapError):
            read_samples([path, path] if ending == ".npy" else path)


@given(arrays(np.float64, (3, 2), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_floats_survive_text(tmp_path, x):
    """repr and back, subnormal ones too."""
    assume(len(x))
    found = read_samples(write(tmp_path, "csv", x, np.array([0, 1, 0])))
    np.testing.assert_array_equal(found.x, x)


def test_links_and_outer_files_are_not_followed(tmp_path):
    """Of HDF5: nothing but this file is read."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = X
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["y"], file["real"] = Y, X
        file["soft"] = h5py.SoftLink("/real")
        file["outer"] = h5py.ExternalLink("other.h5", "x")
        file["group"] = h5py.ExternalLink("other.h5", "/")
        file.create_dataset("stored", X.shape, "f8", external=[(tmp_path / "raw", 0, X.nbytes)])
        layout = h5py.VirtualLayout(X.shape, "f8")
        layout[...] = h5py.VirtualSource(tmp_path / "other.h5", "x", X.shape)
        file.create_virtual_dataset("virtual", layout)
        file["ragged"] = np.array(["a", "b"], dtype=h5py.string_dtype())
    assert len(read_samples(tmp_path / "a.h5", "real").x) == len(X)
    for name in ("soft", "outer", "group/x", "stored", "virtual", "ragged"):
        with pytest.raises(ReflfapError, match=name):
            read_samples(tmp_path / "a.h5", name)


@pytest.mark.parametrize("form", ["npz", "packed npz"])
def test_every_byte_of_an_array_counts(tmp_path, form):
    """Its checksum is compared, whichever byte is another; deflate has bits that mean nothing."""
    path = write(tmp_path, form, *random_table(8))
    good, expected = path.read_bytes(), read_samples(path).sha256
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo("x.npy")
    start = first.header_offset + 30 + len("x.npy") + 20
    for at in range(start, start + first.compress_size - 20):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with contextlib.suppress(ReflfapError):
            assert read_samples(path).sha256 == expected


def test_other_zip_files_are_refused(tmp_path):
    """Packed otherwise, with one name twice, or with none of ours."""
    good = header((2,), "<i8") + bytes(16)
    path = npz_of(tmp_path / "a.npz", {"x": good, "y": good}, zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="a plain or deflated array"):
        read_samples(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", good)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", good)
    with pytest.raises(DamagedFileError, match=r"one array x.npy, got two"):
        read_samples(path)


def test_what_is_no_file_is_refused(tmp_path):
    """Pipes are not waited for; names that nobody knows are not guessed at."""
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.npz").mkdir()
    for name in ("pipe.csv", "folder.npz", "none.h5", "none.csv"):
        with pytest.raises(StoreError, match=rf"{name}.*; give a file that is whole"):
            read_samples(tmp_path / name)
    for paths in (tmp_path / "a.parquet", [tmp_path / "x.npy"], [tmp_path / "a.csv"] * 2, []):
        with pytest.raises(InputError, match=r"expected one file, \.csv, \.tsv, \.npz"):
            read_samples(paths)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("0,1,2", "names of columns, or a first row, got 0, 1, 2, which may be either"),
        ("5.1,3.5,?,0.2,x", "numbers alone, in the first line, got '5.1' among"),
        ("M,17.9,10.3,1", "in the first line, got '17.9' among 'M, 17.9"),
        ("1,5;a", "fields separated by commas, or tabs, got semicolons"),
    ],
)
def test_a_first_line_of_two_meanings_is_refused(tmp_path, first, message):
    """Neither is a row lost to the names, nor are names taken for a row."""
    (tmp_path / "a.csv").write_text(f"{first}\n{first}\n")
    with pytest.raises(InputError, match=re.escape(message)):
        read_samples(tmp_path / "a.csv")
