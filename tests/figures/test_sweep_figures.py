"""Which cells make a panel of E1, and the accuracy curves drawn from them, tested as data."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap.errors import InputError
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.figures import accuracy_curves, sweeps
from reflfap.figures.prediction import Released
from reflfap.sweep import grid

SEEDS = (0, 1, 2)
CENTRES = {pair: ArtificialConfig(norm=pair[0], data=pair[1]) for pair in sweeps.PAIRS}
NATURAL = ArtificialConfig(norm="l2")


def cell(config, adversarial=0.9, noise=0.5):
    metrics = {"acc_standard": 1.0, "acc_noise": noise, "acc_adversarial": adversarial}
    return sweeps.Cell(config, metrics, Path("nowhere"))


def paper(norm, data, seeds=SEEDS):
    """Cells of the paper's grid, with an accuracy that tells config and seed."""
    configs = grid.from_preset(ArtificialConfig, f"paper-{norm}-{data}", seeds)
    return [cell(one, 0.8 + 0.01 * one.seed, 0.5 + 0.01 * one.seed) for one in configs]


def decoys(centre):
    """Cells that agree with the centre in all but what no sweep varies, or in too little."""
    other = {"l2": "linf", "linf": "l2", "l0": "l2"}[centre.norm]
    changes = [
        {"hidden": 500},
        {"slope": 0.1},
        {"loss": "logistic"},
        {"trainer": "gd"},
        {"epochs": 1000},
        {"dtype": "float64"},
        {"n": 2000, "n_adv": 100},
        {"dim": 500, "n": 2000},
        {"dim": 500, "epsilon": 0.9 * centre.size, "attack_steps": None},
        {"norm": other, "epsilon": None, "variant": None, "attack_steps": None},
    ]
    found = [cell(replace(centre, **({"attack_steps": None} | some))) for some in changes]
    if centre.norm != "l0":
        found.append(cell(replace(centre, attack_steps=50)))
    return found


@pytest.mark.parametrize("pair", sweeps.PAIRS)
def test_panels_of_the_papers_grid(pair):
    """Each panel has its sweep's values, every seed, and nothing else, in whatever order."""
    norm, data = pair
    centre = CENTRES[pair]
    cells = paper(norm, data)
    mixed = [one for two in sweeps.PAIRS for one in paper(*two, seeds=(0,)) if two != pair]
    everything = [*decoys(centre), *cells[::-1], *mixed]
    assert sweeps.find_centre(everything, norm, data) == centre
    expected = {
        "d": artificial.DIMS,
        "n": artificial.NATURAL,
        "n_adv": sorted((*artificial.NOISE, artificial.DRAWN)),
        "constraint": artificial.EPSILONS[norm],
    }
    for sweep, values in expected.items():
        points = sweeps.sweep_points(everything, centre, sweep)
        assert [point.value for point in points] == list(values)
        for point in points:
            assert [one.config.seed for one in point.cells] == list(SEEDS)
            assert len({replace(one.config, seed=0) for one in point.cells}) == 1
        if sweep == "d":
            sizes = artificial.L2_BY_DIM if norm == "l2" else [centre.size] * len(values)
            assert [point.config.size for point in points] == list(sizes)


@given(
    sizes=st.tuples(st.integers(10, 1000), st.integers(10, 500), st.integers(10, 5000)),
    epsilon=st.floats(0.05, 1.0),
    pair=st.sampled_from(sweeps.PAIRS),
)
def test_a_grid_of_other_sizes(sizes, epsilon, pair):
    """The centre is found where the cells are, whatever the sizes; panels keep to their own."""
    norm, data = pair
    dim, n, n_adv = sizes
    common = {"norm": norm, "data": data, "hidden": 20}
    centre = ArtificialConfig(dim=dim, n=n, n_adv=n_adv, epsilon=epsilon, **common)
    steps = {"attack_steps": None}
    around = {
        "d": [replace(centre, dim=k * dim, epsilon=sweeps.size_at(centre, k * dim), **steps)
              for k in (2, 3)],
        "n": [replace(centre, n=k * n) for k in (2, 3)],
        "n_adv": [replace(centre, n_adv=k * n_adv) for k in (2, 3)],
        "constraint": [replace(centre, epsilon=epsilon / k, **steps) for k in (2, 3)],
    }  # fmt: skip
    cells = [cell(one) for some in around.values() for one in (*some, centre)]
    assert sweeps.find_centre(cells, norm, data) == centre
    for sweep, own in around.items():
        configs = {point.config for point in sweeps.sweep_points(cells, centre, sweep)}
        assert configs == {centre, *own}


@given(dim=st.integers(2, 10**6), off=st.floats(-0.2, 0.2))
def test_sizes_go_with_the_dimension(dim, off):
    """Cut and rounded to two digits a size is in step with sqrt(d); a fifth off it is not."""
    exact = NATURAL.size * math.sqrt(dim / NATURAL.dim)
    unit = 10.0 ** (math.floor(math.log10(exact)) - 1)
    for size in (exact, float(f"{exact:.2g}"), unit * math.floor(exact / unit)):
        if dim != NATURAL.dim:
            assert sweeps.belongs(replace(NATURAL, dim=dim, epsilon=size), NATURAL, "d")
    if abs(off) > 0.11:  # the second digit's unit is at most a tenth
        wrong = replace(NATURAL, dim=dim, epsilon=exact * (1 + off))
        assert not sweeps.belongs(wrong, NATURAL, "d")


def test_two_sizes_at_one_dimension_are_two_points():
    """The released 0.17 and the exact 0.174 are not seeds of one point."""
    cells = [cell(replace(NATURAL, dim=500, epsilon=size)) for size in (0.17, 0.1744133)]
    points = sweeps.sweep_points([*cells, cell(NATURAL)], NATURAL, "d")
    assert [(point.value, len(point.cells)) for point in points] == [
        (500, 1),
        (500, 1),
        (10_000, 1),
    ]


def test_the_centre_of_few_cells():
    """Cells of one sweep lie around the default, also before it is there; a lone one is its own."""
    along = [cell(replace(NATURAL, n=n)) for n in (2000, 3000)]
    assert sweeps.find_centre(along, "l2", "uniform") == NATURAL
    lone = replace(NATURAL, dim=300, n=40, epsilon=0.5, seed=7)
    assert sweeps.find_centre([cell(lone)], "l2", "uniform") == replace(lone, seed=0)


def test_no_cells_say_how_to_get_them():
    """Another norm's cells are none of this one's."""
    with pytest.raises(InputError, match="--preset paper-linf-gauss"):
        sweeps.find_centre(paper("linf", "uniform"), "linf", "gauss")


@pytest.mark.parametrize("pair", [("l2", "gauss"), ("l0", "uniform")])
def test_the_line_is_l4(pair):
    """At every point and along the line: what `artificial.predicted` says of that config."""
    curves = accuracy_curves.compute(paper(*pair), *pair)
    centre = curves.centre
    for sweep, panel in curves.panels.items():
        for match in accuracy_curves.matches(panel):
            assert match.predicted == artificial.predicted(match.point.config)
        line, points = panel.curve, panel.points
        assert (line.across[0], line.across[-1]) == pytest.approx(
            (points[0].value, points[-1].value)
        )
        for end, point in ((0, points[0]), (-1, points[-1])):
            assert line.accuracy[end] == pytest.approx(point.predicted, rel=1e-9)
        if sweep in ("n", "n_adv"):
            middle = replace(centre, **{sweep: int(line.across[40])})
            assert line.accuracy[40] == artificial.predicted(middle)


def container(axes, network):
    (found,) = (one for one in axes.containers if one.get_label() == f"{network} network")
    return found


def test_means_and_spreads_are_drawn():
    """Marks at the mean over seeds, bars from the least to the most, a dot for each seed."""
    cells = paper("l2", "uniform")
    curves = accuracy_curves.compute(cells, "l2", "uniform")
    figure = accuracy_curves.draw(curves)
    for axes, (sweep, panel) in zip(figure.axes, curves.panels.items(), strict=True):
        for network, middle in (("adversarial", 0.81), ("noise", 0.51)):
            line, _, (bars,) = container(axes, network)
            assert list(line.get_xdata()) == [point.value for point in panel.points], sweep
            assert line.get_ydata() == pytest.approx(middle)
            for low, high in (part[:, 1] for part in bars.get_segments()):
                assert (low, high) == pytest.approx((middle - 0.01, middle + 0.01))
            color = accuracy_curves.LOOKS[network]["color"]
            dots = [
                one for one in axes.lines if one.get_marker() == "." and one.get_color() == color
            ]
            assert len(dots) == len(panel.points)
            assert all(len(dot.get_ydata()) == len(SEEDS) for dot in dots)
    assert "3 seeds a point" in figure.get_suptitle()


def test_one_seed_and_many():
    """One seed needs no dots, and of many they would be a smear."""
    for seeds in ((0,), tuple(range(accuracy_curves.MANY))):
        curves = accuracy_curves.compute(paper("linf", "gauss", seeds), "linf", "gauss")
        figure = accuracy_curves.draw(curves)
        assert not [one for axes in figure.axes for one in axes.lines if one.get_marker() == "."]
        assert f"{len(seeds)} seed" in figure.get_suptitle()


def test_missing_panels_are_said():
    """A sweep of which no cell is there has no line either, and says so."""
    along = [cell(replace(NATURAL, n=n)) for n in (2000, 3000)]
    curves = accuracy_curves.compute(along, "l2", "uniform")
    figure = accuracy_curves.draw(curves)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [["no cells yet"], [], ["no cells yet"], ["no cells yet"]]
    assert [panel.curve is None for panel in curves.panels.values()] == [True, False, True, True]


def released(sweep, accuracy, **changes):
    return Released(sweep, replace(NATURAL, **changes), accuracy)


def test_released_points_stand_beside_ours():
    """Differences are of the points at the same sizes; others of the panel are drawn, only."""
    cells = [
        cell(replace(NATURAL, seed=s, n=n), 0.7 + s / 10) for s in (0, 1) for n in (1000, 2000)
    ]
    theirs = [
        released("n", 0.70, n=1000),
        released("n", 0.95, n=2000),
        released("n", 0.10, n=5000),  # not ours
        released("n", 0.20, n=2000, n_adv=500),  # on no sweep around the centre
        released("n_adv", 0.30, n_adv=100),  # on another
        Released("n", replace(NATURAL, norm="linf", epsilon=None, variant=None), 0.4),
    ]
    curves = accuracy_curves.compute(cells, "l2", "uniform", theirs)
    panel = curves.panels["n"]
    assert panel.released == theirs[:3]
    assert curves.panels["n_adv"].released == [theirs[4]]
    assert accuracy_curves.differences([panel], "released") == pytest.approx([0.05, -0.2])
    predicted = [0.75 - artificial.predicted(replace(NATURAL, n=n)) for n in (1000, 2000)]
    assert accuracy_curves.differences([panel], "predicted") == pytest.approx(predicted)
    (squares,) = (
        line
        for line in accuracy_curves.draw(curves).axes[1].lines
        if line.get_label() == "released code"
    )
    assert list(squares.get_xdata()) == [1000, 2000, 5000]
    assert list(squares.get_ydata()) == [0.70, 0.95, 0.10]


def test_differences_are_of_the_same_size():
    """Each size of a perturbation has its own released point; a lone point has no line."""
    sizes = {0.1: 0.6, 0.3: 0.9}
    cells = [cell(replace(NATURAL, epsilon=size), 0.7) for size in (0.1, 0.3, 0.78)]
    theirs = [released("constraint", accuracy, epsilon=size) for size, accuracy in sizes.items()]
    curves = accuracy_curves.compute(cells, "l2", "uniform", theirs)
    off = accuracy_curves.differences(curves.panels.values(), "released")
    assert off == pytest.approx([0.1, -0.2])
    assert len(curves.panels["n"].points) == 1
    assert curves.panels["n"].curve is None


def test_released_points_are_of_uniform_data():
    """They were measured on uniform data, by descent: so they are compared with uniform cells."""
    theirs = [released("n", 0.7, n=1000)]
    gauss = accuracy_curves.compute(paper("l2", "gauss", (0,)), "l2", "gauss", theirs)
    assert not any(panel.released for panel in gauss.panels.values())
    descent = [cell(replace(NATURAL, trainer="gd", n=n)) for n in (1000, 2000)]
    ours = accuracy_curves.compute(descent, "l2", "uniform", theirs)
    assert ours.centre.trainer == "gd"
    assert ours.panels["n"].released == theirs
    assert len(accuracy_curves.differences(ours.panels.values(), "released")) == 1


def test_cells_in_float16_are_compared_with_the_released_code():
    """They lie beside the exact cells, whose centre is the panel's, however few those are."""
    sizes = (1000, 2000, 3000)
    float16 = [cell(replace(NATURAL, n=n, precision="released"), 0.8) for n in sizes]
    exact = [cell(replace(NATURAL, n=n), 0.9) for n in sizes[:2]]
    theirs = [released("n", 0.75, n=n) for n in sizes]
    curves = accuracy_curves.compute([*float16, *exact], "l2", "uniform", theirs)
    panel = curves.panels["n"]
    assert curves.centre == NATURAL
    assert [point.value for point in panel.points] == [1000, 2000]
    assert [point.value for point in panel.float16] == list(sizes)
    assert accuracy_curves.differences([panel], "released") == pytest.approx([0.15, 0.15])
    off = accuracy_curves.differences([panel], "released", "float16")
    assert off == pytest.approx([0.05, 0.05])
    (line, _, _) = container(accuracy_curves.draw(curves).axes[1], "adversarial")
    assert list(line.get_xdata()) == [1000, 2000]
    alone = accuracy_curves.compute(float16, "l2", "uniform", theirs)
    assert alone.centre == replace(NATURAL, precision="released")
    assert alone.panels["n"].released == theirs
    assert not alone.panels["n"].float16


def test_all_panels_in_one_picture(tmp_path):
    """A row a norm and distribution, in the order of the pages; none is refused."""
    cells = [*paper("l0", "uniform", (0,)), *paper("l2", "gauss", (0,))]
    rows = [accuracy_curves.compute(cells, *pair) for pair in (("l2", "gauss"), ("l0", "uniform"))]
    figure = accuracy_curves.draw(*rows)
    titles = [axes.get_title("left") for axes in figure.axes[::4]]
    assert titles == ["L2, Gaussian data, 1 seed a point", "L0, uniform data, 1 seed a point"]
    saved = accuracy_curves.save_all(cells, tmp_path)
    assert [path.name for path in saved] == ["accuracy_all.png", "accuracy_all.pdf"]
    with pytest.raises(InputError, match="reflfap sweep artificial"):
        accuracy_curves.save_all([], tmp_path)


def test_every_accuracy_is_within_the_picture():
    """Also of a control far below chance, as few natural samples make it."""
    cells = [cell(replace(NATURAL, n=n), 1.0, 0.2) for n in (1000, 2000)]
    figure = accuracy_curves.draw(accuracy_curves.compute(cells, "l2", "uniform"))
    low, high = figure.axes[0].get_ylim()
    assert low < 0.2 < 1.0 < high
