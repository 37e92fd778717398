"""Tables of other machines: what `sweep collect` did not write is refused, by line and column."""

import os
from dataclasses import asdict

import pytest
from sweeping import cell

from reflfap.errors import DamagedFileError, InputError
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import identity
from reflfap.experiments.learn import LearnConfig
from reflfap.sweep import grid, table

METRICS = {
    "acc_standard": 1.0,
    "acc_noise": 0.5,
    "acc_adversarial": 0.75,
    "attack_success": 0.9,
    "alignment_test": 0.3,
    "loss_noise": 1e-7,
}


def row(config, **change):
    """The fields of a cell by column."""
    return {"run_id": identity(config), **asdict(config), **METRICS, **change}


def written(path, *rows, names=None):
    """A table of the fields under the names, by default those of the first row."""
    names = list(rows[0]) if names is None else names
    lines = [names, *(one.values() for one in rows)]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    return path


def refused(path, message, kind=ArtificialConfig):
    expected = r"expected a table of `reflfap sweep collect`, got "
    with pytest.raises(DamagedFileError, match=f"{expected}.*{message}"):
        table.read_table(path, kind)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "artificial.csv"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",10,uniform", ",11,uniform", "line 3: not the config of run"),
        (",10,uniform", ",x,uniform", "line 3: dim: expected a whole number"),
        (",10,uniform", "," + 400 * "9" + ",uniform", r"line 3: "),
        ("uniform", "cauchy", "line 3: data: expected one of"),
        ("uniform", "9" * 5000, "line 3: data: expected one of"),
        (",0.5", "", "line 3: .* values for .* columns"),
        (",0.5", ",0.5,0.5", "line 3: .* values for .* columns"),
        ("l2", "\x00", "line 3: norm: expected one of"),
        ("l2", "[" * 10_000, "line 3: "),
        ("l2", '{"a": [1]}', "line 3: "),
        ("0.024665765749313357", "1" + 400 * "0", "line 3: epsilon: expected a number"),
        ("l2", "a" * 200_000, "line 3: field larger than field limit"),
    ],
)
def test_damaged_rows_are_refused(path, old, new, message):
    """A config that is not the run's, and what is no row at all; without repeating all of it."""
    written(path, row(cell(seed=1)), row(ArtificialConfig(dim=10)))
    assert len(table.read_table(path, ArtificialConfig)) == 2
    head, first, second = path.read_text().splitlines(keepends=True)
    assert old in second
    path.write_text(head + first + second.replace(old, new, 1))
    refused(path, message)
    with pytest.raises(DamagedFileError) as caught:
        table.read_table(path, ArtificialConfig)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("value", ["inf", "-inf", "1e400", "high", "7", "-1", "1.0000001", "nan"])
def test_numbers_that_are_no_metrics_are_refused(name, value, path):
    """Accuracies are finite and in [0, 1], others finite; nan is what tables of before call missing
    where a cell may lack it, which no accuracy may."""
    written(path, row(cell()), row(cell(seed=1), **{name: value}))
    fraction = name != "loss_noise"
    if value == "nan" and name in ("alignment_test", "loss_noise"):
        assert name not in table.read_table(path, ArtificialConfig)[1][1]
    elif fraction or value not in ("7", "-1", "1.0000001"):
        kind = "a number from 0 to 1" if fraction else "a finite number"
        refused(path, f"line 3: {name} {value}, not {kind}")
    else:
        assert table.read_table(path, ArtificialConfig)[1][1][name] == float(value)


@pytest.mark.parametrize("name", METRICS)
def test_missing_numbers(name, path):
    """A cell may lack what some cells do not have, and none its accuracies on the natural data."""
    written(path, row(cell()), row(cell(seed=1), **{name: ""}))
    if name in ("acc_standard", "acc_noise", "acc_adversarial"):
        refused(path, f"line 3: no {name}")
    else:
        first, second = (metrics for _, metrics in table.read_table(path, ArtificialConfig))
        assert first.keys() - second.keys() == {name}


NEEDED = ["run_id", "dim", "seed", "acc_standard", "acc_noise", "acc_adversarial"]


@pytest.mark.parametrize("name", NEEDED)
def test_missing_columns_are_refused(name, path):
    rest = row(cell())
    del rest[name]
    refused(written(path, rest), f"line 1: no column {name}")
    names = [f"{one}_own" if one == name else one for one in row(cell())]
    refused(written(path, row(cell()), names=names), f"line 1: no column {name}")


def test_what_a_table_needs_follows_from_its_experiment(path):
    """One network learns in E2, and is tested; three in E1."""
    config = LearnConfig(dataset="embedded")
    metrics = dict.fromkeys(("acc_adversarial_test", "cosine_standard"), 0.5)
    good = {"run_id": identity(config), **asdict(config), **metrics}
    assert table.read_table(written(path, good), LearnConfig) == [(config, metrics)]
    del good["acc_adversarial_test"]
    refused(written(path, good), "line 1: no column acc_adversarial_test", LearnConfig)


def test_repetitions_are_refused(path):
    """A cell, a column, or a header that comes again, whether it contradicts the first or not."""
    good = row(cell())
    for change in ({}, {"acc_noise": 0.25}):
        refused(written(path, good, row(cell(seed=1)), good | change), "line 4: run .* once more")
    refused(written(path, dict(zip(good, good, strict=True)), good), "line 2: ")
    names = ["acc_noise" if name == "loss_noise" else name for name in good]
    refused(written(path, good, names=names), "line 1: 2 columns acc_noise")


def test_a_long_header_is_refused_at_once(path):
    path.write_text(",".join([*row(cell()), *map(str, range(300_000)), "7"]) + "\n")
    refused(path, "line 1: 2 columns 7")


def test_an_empty_table_is_refused(path):
    path.write_text("")
    refused(path, "no column")


@pytest.mark.parametrize("kind", ["pipe", "folder", "none", "large", "binary"])
def test_what_is_no_text_is_refused_at_once(kind, path, monkeypatch):
    """A pipe is not waited for, and nothing read without an end, by any reader of a sweep."""
    for module, limit in ((table, "LARGEST_LIST"), (grid, "LARGEST_FILE")):
        monkeypatch.setattr(module, limit, 100)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "none":
        path.write_bytes({"large": b" " * 101, "binary": b"\xff"}[kind])
    with pytest.raises(DamagedFileError, match=r"artificial\.csv.*; collect it again"):
        table.read_table(path, ArtificialConfig)
    with pytest.raises(DamagedFileError, match=r"artificial\.csv.*; remove it, or run the sweep"):
        table.read_list(path)
    with pytest.raises(InputError, match=r"artificial\.csv.*; give another --grid"):
        grid.from_file(ArtificialConfig, path)
