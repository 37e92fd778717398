"""Cells of E2 from runs and from tables, which are alike, and the released values beside them."""

import contextlib
import itertools
from dataclasses import replace

import perturbed_results as made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perturbed_results import config, tables_of

from reflfap.errors import DamagedFileError
from reflfap.experiments.experiment import identity
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import SCENARIOS, SIZES
from reflfap.figures import perturbation, perturbation_released


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    made.store_learnt(out, made.grid())
    return out


@pytest.fixture(scope="module")
def cells(results):
    return perturbation.known_cells(results)


def content(cells):
    """By config: metrics, and the bytes of the curves."""
    return {
        cell.config: (cell.metrics, cell.curves and [part.tobytes() for part in cell.curves])
        for cell in cells
    }


def test_tables_stand_for_runs(results, cells, tmp_path):
    """Every number comes back to the last bit; what is stored comes before what is in a table."""
    known = perturbation.known_cells(tables_of(results, tmp_path))
    assert len(cells) == 26
    assert content(known) == content(cells)
    assert all(cell.stored for cell in cells)
    assert not any(cell.stored for cell in known)
    made.store_learnt(tmp_path, [config()], left_out=["span"])
    joined = perturbation.known_cells(tmp_path)
    (own,) = (cell for cell in joined if cell.stored)
    assert own.config == config()
    assert "span" not in own.metrics
    assert len(joined) == 26
    (tmp_path / perturbation.CURVES).unlink()
    without = perturbation.known_cells(tmp_path)
    assert [cell.stored for cell in without if cell.curves is not None] == [True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("run_id", "run"),
        ("accuracy_test,rate", "rate,accuracy_test"),
        (",2,", ",3,"),
        (",1,", ",0,"),
        ("0.01\n", "nan\n"),
        ("0.01\n", "1e999\n"),
        ("0.01\n", "0.01,3\n"),
        (",0.01\n", "\n"),
        ("0.01\n", "much\n"),
        ("0.01\n", '"0.01\n'),
        ("0.01\n", "\n\n"),
    ],
)
def test_damaged_curves_are_refused(tmp_path, old, new):
    """Other columns, epochs out of order, what is no finite number, too much or too little."""
    (tmp_path / "tables").mkdir()
    made.store_learnt(tmp_path, [config()])
    path = perturbation.write(tmp_path, tmp_path / "tables")
    good = path.read_text().replace(identity(config()), "c0")
    path.write_text(good)
    assert list(perturbation.read_curves(path)) == ["c0"]
    assert old in good
    path.write_text(good.replace(old, new, 1))
    with pytest.raises(DamagedFileError, match=r"learn_curves\.csv"):
        perturbation.read_curves(path)


def test_curves_of_other_lengths_and_large_files_are_refused(results, tmp_path, monkeypatch):
    """A curve has as many epochs as its run; a file too large is not read."""
    tables_of(results, tmp_path)
    path = tmp_path / perturbation.CURVES
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(DamagedFileError, match="other epochs"):
        perturbation.known_cells(tmp_path)
    monkeypatch.setattr(perturbation, "LARGEST", 100)
    with pytest.raises(DamagedFileError, match="too large"):
        perturbation.read_curves(path)


@given(rest=st.binary(max_size=100), headed=st.booleans())
def test_random_curves_are_refused(tmp_path_factory, rest, headed):
    path = tmp_path_factory.mktemp("curves") / "learn_curves.csv"
    path.write_bytes((",".join(perturbation.COLUMNS) + "\n").encode() * headed + rest)
    with contextlib.suppress(DamagedFileError):
        assert perturbation.read_curves(path) == {}
        assert headed


def test_settings_hold_seeds(cells):
    """What differs in the seed, and in the classifier of that seed, is one; nothing else is."""
    found = perturbation.settings(cells)
    assert len(found) == 13
    for one in found:
        assert [cell.config.seed for cell in one.cells] == [0, 1]
        assert len({replace(c.config, seed=0, classifier=None) for c in one.cells}) == 1
    foreign = [cell._replace(config=replace(cell.config, classifier="abc")) for cell in cells]
    assert len(perturbation.settings([*cells, *foreign])) == 26
    order = [(one.config.scenario, one.config.norm) for one in found]
    assert order == sorted(order, key=lambda o: (SCENARIOS.index(o[0]), made.NORMS.index(o[1])))
    sizes = [one.config.size for one in found if one.config.scenario == "natural-random"]
    assert sizes == [2.0, 0.0, 0.3, 35.0]


def test_the_foremost_setting():
    """The released size comes first, then the preset, then the larger; controls are apart."""
    usual = config(n_adv=500)
    others = [config(epsilon=1), config(n_adv=400), config(n_adv=500, epochs=3)]
    control = config(norm="linf", epsilon=0)
    others += [control, config(norm="linf"), config("noise")]
    cells = [perturbation.DeepCell(c, {}, "x", None) for c in [*others, usual]]
    assert perturbation.foremost(cells, "natural-random", "l2").config == usual
    assert perturbation.foremost(cells, "natural-random", None).config == control
    assert perturbation.foremost(cells, "natural-deterministic", "l2") is None
    paper = config(preset="paper", n_adv=200)
    more = [*cells, perturbation.DeepCell(paper, {}, "x", None)]
    assert perturbation.foremost(more, "natural-random", "l2").config == paper


def test_released_values():
    """Of the data set, scenario and norm; of noise those of the nearest number of samples."""
    values = perturbation_released.released
    assert values("mnist", "natural-random", "l0") == [
        (60_000, 0.48, "best"),
        (60_000, 0.28, "last"),
    ]
    assert values("cifar-10", "natural-deterministic", "linf") == [(50_000, 0.53, "")]
    assert values("fashion-mnist", "noise", "l2")[-1] == (1_200_000, 0.355, "best")
    assert values("cifar-10", "noise", "l2") == [(50_000, 0.11, "best")]
    assert values("embedded", "noise", "l2") == []
    for dataset, scenario, norm in itertools.product(SIZES, SCENARIOS, made.NORMS):
        assert bool(values(dataset, scenario, norm)) == (dataset != "embedded")
    near = LearnConfig(dataset="mnist", scenario="noise", n_adv=10**6, subset=400_000)
    assert perturbation_released.comparable(near) == [(480_000, 0.33, "best")]
    other = LearnConfig(dataset="mnist", epsilon=1.0)
    assert perturbation_released.comparable(other) == []
