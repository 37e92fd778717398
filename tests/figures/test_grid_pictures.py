"""Boundaries, grids of decision maps and galleries of a small stored grid, tested as data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from grids import CENTRE, configs, store_cells
from hypothesis import given
from hypothesis import strategies as st

from reflfap.errors import InputError
from reflfap.experiments import artificial
from reflfap.figures import decision_boundaries, decision_grid, decision_map, gallery, sweeps
from reflfap.runs.store import open_result


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    store_cells(out, configs())
    return sweeps.complete_cells(out)


def unstored(n_adv, seed):
    metrics = {f"acc_{name}": 0.5 for name in ("standard", "noise", "adversarial")}
    return sweeps.Cell(replace(CENTRE, n_adv=n_adv, seed=seed), metrics, Path("nowhere"))


@pytest.mark.parametrize(
    ("there", "drawn"),
    [
        ([1, 10, 20, 100, 500], [10, 20, 100]),
        ([1, 10, 100, 500, 1000], [10, 100, 500]),
        ([1, 300, 400, 500, 600], [300, 400, 500]),
        ([1, 10], [10]),
        ([1, 2], [2]),
    ],
)
def test_the_wanted_boundaries(there, drawn):
    """10, 20 and 100 where they are, else the next larger, all of the one seed that has most."""
    for most, fewer in ((1, 5), (5, 1)):
        cells = [unstored(n_adv, most) for n_adv in there]
        cells += [unstored(n_adv, fewer) for n_adv in there[1:]]
        chosen = decision_boundaries.chosen(cells[::-1], "l2", "uniform")
        assert [one.config.n_adv for one in chosen] == drawn
        assert {one.config.seed for one in chosen} == {most}


def test_boundaries_are_of_one_standard_network(cells):
    """Maps differ in the adversarial network, and only in what comes with it."""
    chosen = decision_boundaries.chosen(cells, "l2", "uniform")
    assert [one.config.n_adv for one in chosen] == [10, 20]
    first, second = decision_boundaries.compute(chosen).maps
    assert np.array_equal(first.outputs["standard"], second.outputs["standard"])
    assert np.array_equal(first.samples, second.samples)
    assert not np.array_equal(first.outputs["adversarial"], second.outputs["adversarial"])


def test_boundaries_are_labelled(cells):
    """The legend has each network with its own accuracy."""
    data = decision_boundaries.compute(decision_boundaries.chosen(cells, "l2", "uniform"))
    (axes,) = decision_boundaries.draw(data).axes
    labels = axes.get_legend_handles_labels()[1]
    for one in data.cells:
        expected = f"$N_{{adv}}$ = {one.config.n_adv} ({one.metrics['acc_adversarial']:.2f})"
        assert expected in labels
    assert f"standard ({data.cells[0].metrics['acc_standard']:.2f})" in labels


def test_maps_reach_as_far_in_deviations(tmp_path):
    """Gaussian samples have sqrt(3) times the deviation of uniform ones, and so has their map."""
    uniform, gauss = store_cells(tmp_path, [CENTRE, replace(CENTRE, data="gauss")])
    edges = []
    for path in (uniform, gauss):
        with open_result(path) as result:
            axis = decision_map.compute(result, 21).axis
        assert axis[0] == -axis[-1]
        edges.append(axis[-1])
    assert edges == pytest.approx([3.6, 3.6 * 3**0.5])


@given(st.integers(0, 30))
def test_columns_are_spread(count):
    """At most COLUMNS, in order, the ends among them, no two steps differing by more than one."""
    points = [sweeps.Point(CENTRE, value, ()) for value in range(count)]
    at = [point.value for point in decision_grid.spread(points)]
    assert len(at) == min(count, decision_grid.COLUMNS)
    if count:
        assert at[-1] == count - 1
        assert at[0] == 0 or count == 1
        steps = np.diff(at)
        assert np.all(steps >= 1)
        assert len(steps) == 0 or np.ptp(steps) <= 1


def test_the_grid_shows_its_cells(cells):
    """A row a sweep; each title has the value and the three accuracies of the lowest seed."""
    rows = decision_grid.chosen(cells, "l2", "uniform")
    assert {sweep: len(some) for sweep, some in rows.items()} == dict(
        zip(sweeps.SWEEPS, (2, 2, 3, 2), strict=True)
    )
    figure = decision_grid.draw(rows)
    grid = np.reshape(figure.axes, (len(rows), decision_grid.COLUMNS))
    for (sweep, some), line in zip(rows.items(), grid, strict=True):
        for one, axes in zip(some, line, strict=False):
            assert one.config.seed == 0
            value = getattr(one.config, sweeps.VARIED[sweep])
            numbers = [one.metrics[f"acc_{name}"] for name in ("standard", "noise", "adversarial")]
            expected = " / ".join(f"{number:.2f}" for number in numbers)
            assert axes.get_title() == f"{value:g}\n{expected}"
        assert not any(axes.axison for axes in line[len(some) :])
    del rows["n_adv"]
    assert len(decision_grid.draw(rows | {"n_adv": []}).axes) == 3 * decision_grid.COLUMNS


@given(st.integers(1, 10**7))
def test_images_are_nearly_square(dim):
    """They hold all inputs but fewer than a row, and have at most two columns more than rows."""
    rows, columns = gallery.image_shape(dim)
    assert dim - rows < rows * columns <= dim
    assert rows <= columns <= rows + 2
    assert gallery.image_shape(10_000) == (100, 100)


@given(st.lists(st.sampled_from([1.0, -1.0]), min_size=1, max_size=12))
def test_both_labels_are_shown(y):
    """As many of each as possible, the first of each, in their order."""
    y = np.asarray(y)
    at = gallery.balanced(y)
    assert len(at) == min(len(y), gallery.SHOWN)
    assert np.all(np.diff(at) > 0)
    for label in (1.0, -1.0):
        there, shown = np.flatnonzero(y == label), at[y[at] == label]
        assert np.array_equal(there[: len(shown)], shown)
        assert len(shown) >= min(len(there), gallery.SHOWN // 2)


def test_the_gallery_shows_what_was_attacked(cells):
    """Noise drawn again is what the stored samples were made of; d = 62 loses six inputs."""
    cell = gallery.central(cells, "l2", "uniform")
    assert cell.config == CENTRE
    with open_result(cell.path) as result:
        data = gallery.compute(result)
        stored = result.array("data/adversarial/x", (8, 62))
        targets = result.array("data/adversarial/y", (8,))
    shown = gallery.balanced(targets)
    assert np.array_equal(data.attacked.reshape(gallery.SHOWN, 56), stored[shown, :56])
    assert np.array_equal(data.target, targets[shown])
    change = stored - artificial.noise(CENTRE).x[:8]
    assert np.allclose(data.perturbation.reshape(gallery.SHOWN, 56), change[shown, :56])
    sizes = np.linalg.norm(change, axis=1)
    assert np.all((0.3 < sizes) & (sizes <= 0.6 * (1 + 1e-5)))
    x, y = artificial.natural(CENTRE)
    first = gallery.balanced(y[:8])
    assert np.array_equal(data.natural.reshape(gallery.SHOWN, 56), x[first, :56])
    assert np.array_equal(data.label, y[first])


def test_the_gallery_says_what_it_shows(cells):
    """Targets, the magnification, and that inputs are missing."""
    with open_result(gallery.central(cells, "l2", "uniform").path) as result:
        data = gallery.compute(result)
    figure = gallery.draw(data, CENTRE)
    assert "the first 56 of them shown" in figure.get_suptitle()
    titles = [axes.get_title() for axes in figure.axes]
    assert [title for title in titles if title.startswith("target")] == [
        f"target {'+1' if one > 0 else '−1'}" for one in data.target
    ]
    (factor,) = (
        text.get_text().split("\n")[1]
        for axes in figure.axes
        for text in axes.texts
        if text.get_text().startswith("perturbation")
    )
    assert float(factor.removeprefix("× ")) == pytest.approx(
        1 / np.abs(data.perturbation).max(), rel=1e-2
    )
    first, *others = data.perturbation.reshape(gallery.SHOWN, -1).astype(float)
    alike = [one @ first / np.linalg.norm(one) / np.linalg.norm(first) for one in others]
    above = [axes.get_title().replace("−", "-") for axes in figure.axes[2 * gallery.SHOWN :]]
    assert [float(one) for one in above[1 : gallery.SHOWN]] == pytest.approx(alike, abs=0.006)
    signed = figure.axes[2 * gallery.SHOWN].images[0].get_array()
    assert np.abs(signed).max() <= 1
    whole = gallery.draw(data, replace(CENTRE, dim=56, epsilon=0.6))
    assert "shown" not in whole.get_suptitle()


def test_no_cells_no_pictures(cells):
    """Each says how to get what it lacks."""
    for chosen in (decision_boundaries.chosen, decision_grid.chosen, gallery.central):
        with pytest.raises(InputError, match="--preset paper-l0-gauss"):
            chosen(cells, "l0", "gauss")
