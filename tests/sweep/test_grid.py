"""Grids of cells: presets, TOML files, and what is refused of them."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap.data_loaders.artificial import DISTRIBUTIONS
from reflfap.errors import InputError
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import identity
from reflfap.experiments.images import ImagesConfig
from reflfap.sweep import grid

DEFAULT = ArtificialConfig()


@pytest.mark.parametrize("data", DISTRIBUTIONS)
@pytest.mark.parametrize("norm", artificial.EPSILONS)
def test_the_papers_grid(norm, data):
    """Four sweeps that cross in the released cell; other cells differ in what is swept only."""
    cells = grid.from_preset(ArtificialConfig, f"paper-{norm}-{data}")
    assert all((cell.norm, cell.data, cell.hidden) == (norm, data, 1000) for cell in cells)
    centre = ArtificialConfig(norm=norm, data=data)
    assert centre in cells
    swept = [
        frozenset(
            name
            for name in ("dim", "n", "n_adv", "epsilon")
            if getattr(cell, name) != getattr(centre, name)
        )
        for cell in cells
    ]
    along_d = {"dim", "epsilon"} if norm == "l2" else {"dim"}
    assert set(swept) == {frozenset(), *map(frozenset, (along_d, {"n"}, {"n_adv"}, {"epsilon"}))}
    sizes = (
        len(artificial.DIMS),
        len(artificial.NATURAL),
        len(artificial.NOISE),
        len(artificial.EPSILONS[norm]),
    )
    assert len(cells) == sum(sizes) - 3 + 1  # the centre is in all four; one N_adv is for a figure
    assert {cell.dim for cell in cells} == set(artificial.DIMS)


@pytest.mark.parametrize("norm", artificial.EPSILONS)
def test_the_released_precision_has_the_papers_grid(norm):
    """The same cells, each with another id."""
    exact = grid.from_preset(ArtificialConfig, f"paper-{norm}-gauss")
    released = grid.from_preset(ArtificialConfig, f"released-{norm}-gauss")
    assert [replace(cell, precision="exact") for cell in released] == exact
    assert not {identity(cell) for cell in exact} & {identity(cell) for cell in released}


def test_paper_all_is_all_of_it():
    cells = grid.from_preset(ArtificialConfig, "paper-all", (0, 1))
    parts = [
        cell
        for norm, data in itertools.product(artificial.EPSILONS, DISTRIBUTIONS)
        for cell in grid.from_preset(ArtificialConfig, f"paper-{norm}-{data}", (0, 1))
    ]
    assert set(cells) == set(parts)
    assert len(cells) == len(parts)


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist", "cifar-10", "embedded"])
def test_all_pairs(dataset):
    """Each of the 45 pairs once for each scenario and size."""
    cells = grid.from_preset(ImagesConfig, f"pairs-{dataset}")
    assert len(cells) == 45 * 3 * 2
    assert len({frozenset(cell.classes) for cell in cells}) == 45
    assert {cell.dataset for cell in cells} == {dataset}
    assert len({cell.size for cell in cells}) == 2


values = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@given(dim=values, n=values, seeds=values)
def test_every_combination_once(dim, n, seeds):
    """A table is the product of its lists; what is named twice is one cell."""
    cells = grid.expand(ArtificialConfig, [{"dim": dim, "n": n}, {"dim": dim[:1], "n": n}], seeds)
    expected = set(itertools.product(dim, n, seeds))
    assert len(cells) == len(expected)
    assert {(cell.dim, cell.n, cell.seed) for cell in cells} == expected


def test_a_grid_from_a_file(tmp_path):
    """What stands in [common] holds for all tables, unless a table says otherwise."""
    path = tmp_path / "grid.toml"
    path.write_text(
        'seeds = [3, 4]\n[common]\nhidden = 6\nnorm = "linf"\n'
        "[[cells]]\ndim = [10, 20]\nepsilon = 0.1\n[[cells]]\nhidden = 8\n"
    )
    cells = grid.from_file(ArtificialConfig, path)
    found = [(cell.dim, cell.hidden, cell.norm, cell.seed) for cell in cells]
    expected = [(dim, 6, "linf", seed) for dim in (10, 20) for seed in (3, 4)]
    assert found == [*expected, (DEFAULT.dim, 8, "linf", 3), (DEFAULT.dim, 8, "linf", 4)]
    assert {cell.seed for cell in grid.from_file(ArtificialConfig, path, (9,))} == {9}
    path.write_text('[[cells]]\ndataset = "embedded"\nclasses = [["1", "8"], ["3", "7"]]\n')
    pairs = [cell.classes for cell in grid.from_file(ImagesConfig, path)]
    assert pairs == [("1", "8"), ("3", "7")]
    path.write_text('[[cells]]\nclasses = ["Bag", "Coat"]\n')
    assert [cell.classes for cell in grid.from_file(ImagesConfig, path)] == [("Bag", "Coat")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one table"),
        ("cells = 3", r"seeds = \[...\], \[common\] and \[\[cells\]\]"),
        ("cells = [3]", "expected tables"),
        ("other = 3", "other = 3"),
        ("[[cells]]\ndimension = 3", "table 1: expected only .*dim, .*got dimension"),
        ("[[cells]]\ndim = 3\n[[cells]]\ndim = -3", "table 2: no such cell: dim: expected"),
        ("[[cells]]\nhidden = 3", "no such cell: hidden: expected an even number"),
        ('[[cells]]\nnorm = "l0"\nattack_steps = 7', "attack_steps: expected 500"),
        ('[[cells]]\nepsilon = "much"', "epsilon: expected a number"),
        ("seeds = [1]\n[[cells]]\nseed = [2, 3]", "expected seeds given once"),
        ("seeds = [-1]\n[[cells]]", "seed: expected at least 0"),
        ("[[cells]]\ndim = []", "at least one cell"),
        ("[[cells]\n", "expected a TOML file"),
        ("\x00", "expected a TOML file"),
        ("[[cells]]\nseed = 1979-05-27", "expected seeds given once"),
        ("[[cells]]\ndim = 1979-05-27", "no such cell"),
        ("[[cells]]\nepsilon = 1" + "0" * 400, "epsilon: expected a number"),
        ("[[cells]]\ndim = 1" + "0" * 5_000, "expected a TOML file"),
        ("[[cells]]\nn = [" + "1," * 300 + "]\ndim = [" + "2," * 300 + "]", None),
    ],
)
def test_bad_grids_are_refused(tmp_path, text, message):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    if message is None:  # many mentions of one cell are one cell
        assert len(grid.from_file(ArtificialConfig, path)) == 1
        return
    with pytest.raises(InputError, match=message):
        grid.from_file(ArtificialConfig, path)


def test_files_that_are_no_grids(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: cannot be read .*; give another --grid"):
        grid.from_file(ArtificialConfig, tmp_path / "none.toml")
    (tmp_path / "large.toml").write_text("# " + "x" * grid.LARGEST_FILE)
    with pytest.raises(InputError, match="at most"):
        grid.from_file(ArtificialConfig, tmp_path / "large.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(InputError, match="expected a text"):
        grid.from_file(ArtificialConfig, tmp_path / "latin.toml")
    with pytest.raises(InputError, match="preset: expected one of paper-all"):
        grid.from_preset(ArtificialConfig, "paper")


def test_a_grid_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(grid, "MOST_CELLS", 10)
    for tables, seeds, count in [
        ([{"dim": list(range(1, 1001))}], [0], 1000),
        ([{"dim": [9] * 11}], [0], 11),
        ([{"dim": [9]}], [0] * 11, 11),
        ([{"dim": [9] * 2}, {"dim": [9] * 2, "n": [1] * 2}], [0, 0], 12),
    ]:
        with pytest.raises(InputError, match=f"at most 10 combinations, got {count}"):
            grid.expand(ArtificialConfig, tables, seeds)
    assert len(grid.expand(ArtificialConfig, [{"dim": [9] * 4}, {"n": [1]}], [0, 1])) == 4


def test_equal_cells_without_end_are_refused_before_they_are_walked(tmp_path):
    """A billion mentions of one cell in a few kilobytes; looking for equal ones would take days."""
    path = tmp_path / "grid.toml"
    lists = "\n".join(f"{name} = [{'1,' * 1000}]" for name in ("dim", "n", "n_adv"))
    path.write_text(f"[[cells]]\n{lists}\n")
    with pytest.raises(InputError, match="at most 100000 combinations, got 1000000000; split it"):
        grid.from_file(ArtificialConfig, path)
