"""Figures of wide networks: what is plotted, tested as data."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from reflfap import onehidden
from reflfap import wide as page
from reflfap.cli import main as cli
from reflfap.errors import DamagedFileError, InputError
from reflfap.experiments import wide
from reflfap.experiments.experiment import Inputs
from reflfap.experiments.plane import axes_of_plane
from reflfap.experiments.wide_config import RELEASED, SWEEPS, WideConfig
from reflfap.experiments.wide_plane import GRID, class_means_plane, wide_plane
from reflfap.figures import lazy_and_rich, registry, wide_cosine, wide_curves, wide_map
from reflfap.figures.lazy_and_rich import Between
from reflfap.figures.wide_curves import WideCell
from reflfap.losses import EXPONENTIAL
from reflfap.runs.store import open_result
from reflfap.sweep import grid
from reflfap.training.flow import flow

SMALL = Between(dim=1_000, n=8, slope=0.2, widths=(8, 800), across=(0.01, 1e3), starts=2)


@pytest.fixture(scope="module")
def trip():
    return lazy_and_rich.compute(SMALL)


def test_between_both_limits(trip):
    """A small start ends at the rich limit whatever the width. A large one ends at the lazy one up
    to what m random units say of the kernel, which falls as 1/sqrt(m)."""
    rich, to_lazy = trip.angle["rich"].mean(axis=2), trip.angle["lazy"].mean(axis=2)
    assert trip.apart > 10
    # units have moved by 1/0.01 of their start
    assert np.all(rich[:, 0] < 0.05 * trip.apart)
    assert np.all(to_lazy[:, 0] > 0.9 * trip.apart)
    assert to_lazy[1, 1] < 0.2 * trip.apart
    # a hundredth of the units: ten times, and within two of that for two starts
    assert 5 < to_lazy[0, 1] / to_lazy[1, 1] < 20
    assert np.all(trip.aligned[:, 0] == 1)
    # pairs stay where the start put them, half of 6,400 on either side, dependent by unit
    assert trip.aligned[1, 1] == pytest.approx(0.5, abs=0.05)


def test_limits_solve_one_problem():
    """Margins of at least one, with the multipliers of those above at zero: the lazy limit as a
    function on the samples, the rich one as a network, whose sign is that of a linear function."""
    part = lazy_and_rich.drawn(SMALL)
    on_samples = lazy_and_rich.limits(part._replace(z=part.x), SMALL.slope)
    for values in on_samples:
        margins = part.y * values
        # equal where all multipliers are positive, as with so few samples; float64
        assert margins == pytest.approx(margins[0], rel=1e-6)
    ends = lazy_and_rich.limits(part, SMALL.slope)
    kkt = lazy_and_rich.aligned_kkt(part.x, part.y, 2, SMALL.slope).net
    linear = part.z @ (kkt.a @ kkt.W)
    assert np.array_equal(np.sign(ends.rich), np.sign(linear))


def test_width_and_scale_are_one_number():
    """Each unit twice, and start and output weights over sqrt(2): s sqrt(m) is as before, and the
    network the same at any time. It is 0 at the start."""
    part = lazy_and_rich.drawn(SMALL)
    net = lazy_and_rich.paired_start(SMALL, 6, 0.3, 0)
    assert onehidden.forward(net, part.z)[0] == pytest.approx(0, abs=1e-12)
    twice = net._replace(W=np.tile(net.W, (2, 1)) / np.sqrt(2), a=np.tile(net.a, 2) / np.sqrt(2))
    one, other = (
        onehidden.forward(flow(part_of, part.x, part.y, EXPONENTIAL, time=100).net, part.z)[0]
        for part_of in (net, twice)
    )
    # both flows choose the same steps, up to rounding
    assert one == pytest.approx(other, rel=1e-6, abs=1e-6 * np.abs(one).max())


def test_the_trip_is_drawn(trip):
    """Means as marks, extremes as bars, one curve a width, and both limits' accuracies."""
    figure = lazy_and_rich.draw(trip, SMALL)
    drawn = [[one.get_ydata() for one, *_ in axes.containers] for axes in figure.axes]
    expected = [*trip.angle["lazy"], *trip.angle["rich"]], trip.aligned, trip.accuracy
    for curves, values in zip(drawn, expected, strict=True):
        for curve, rows in zip(curves, values, strict=True):
            assert curve == pytest.approx(rows.mean(axis=1))
    levels = [line.get_ydata()[0] for line in figure.axes[2].lines[:2]]
    assert levels == [trip.accuracies["lazy"], trip.accuracies["rich"]]
    plt.close(figure)


def test_angles_of_functions():
    """Right angles, none, and what scaling does not change."""
    f, g = np.random.default_rng(0).standard_normal((2, 5))
    g -= f * (f @ g) / (f @ f)
    assert lazy_and_rich.degrees(f, g) == pytest.approx(90)
    assert lazy_and_rich.degrees(f, 3 * f) == pytest.approx(0, abs=1e-5)
    assert lazy_and_rich.degrees(f + g * np.linalg.norm(f) / np.linalg.norm(g), f) == (
        pytest.approx(45)
    )


CLOSED = ("acc_f_predicted", "acc_g_predicted", "acc_g_predicted_targets")
CLOSED += ("agreement_predicted", "agreement_predicted_targets")


def invented(data, scenario, seeds=(0, 1, 2)):
    """All cells of the sweeps, with numbers that tell metric, targets and seed."""
    cells = []
    for config in grid.from_preset(WideConfig, f"{data}-{scenario}", seeds):
        shift = 0.01 * config.seed + 0.1 * (config.targets == "balanced")
        names = ("acc_f", "acc_g", "agreement", "cosine", *CLOSED)
        cells.append(
            WideCell(config, {name: 0.6 + 0.02 * k + shift for k, name in enumerate(names)})
        )
    return cells


@pytest.mark.parametrize("kind", RELEASED)
def test_columns_are_the_sweeps(kind):
    """Every table of SWEEPS that varies something is a column with all its values and seeds, in
    whatever order and company cells come. Balanced targets stand apart."""
    data, scenario = kind
    others = [one for two in RELEASED if two != kind for one in invented(*two, seeds=(0,))]
    strange = WideConfig(data=data, scenario=scenario, dtype="float64", seed=5)
    company = [*others, WideCell(strange, {"acc_f": 0.1})]
    found = wide_curves.compute(company + invented(*kind)[::-1], *kind)
    tables = [table for table in SWEEPS[kind] if set(table) != {"targets"}]
    fixed = [table for table in tables if table.get("targets") != "balanced"]
    assert len(found) == len(fixed)
    for sweep, table in zip(found, fixed, strict=True):
        default = getattr(WideConfig(data=data, scenario=scenario), sweep.swept)
        values = {
            *table[sweep.swept],
            *(() if set(table) - {sweep.swept, "targets"} else [default]),
        }
        assert [point.value for point in sweep.random] == sorted(values)
        assert sweep.loss == table.get("loss", "identity")
        for point in (*sweep.random, *sweep.balanced):
            assert [one.config.seed for one in point.cells] == [0, 1, 2]
            assert len({one.config.targets for one in point.cells}) == 1
    known = {one.config for sweep in found for point in sweep.balanced for one in point.cells}
    assert known == {one.config for one in invented(*kind) if one.config.targets == "balanced"}


def test_means_and_spreads_of_wide_networks():
    """Marks are means over three seeds, bars their ends; lines are the closed forms' means, of the
    identity loss alone what targets add; squares are what was read off."""
    kind = "shifted-gauss", "perturbations"
    numbers = wide_curves.released_numbers()
    sweeps = wide_curves.compute(invented(*kind), *kind, numbers)
    figure = wide_curves.draw(sweeps, *kind)
    axes = np.reshape(figure.axes, (2, len(sweeps)))
    levels = {"$f$": 0.61, "$g$": 0.63, "$g$, balanced targets": 0.73}
    for column, sweep in zip(axes.T, sweeps, strict=True):
        drawn = {one.get_label(): one for one in column[0].containers}
        assert set(drawn) == (set(levels) if sweep.balanced else {"$f$", "$g$"})
        for name, (marks, _, (bars,)) in drawn.items():
            assert marks.get_ydata() == pytest.approx(levels[name])
            for segment in bars.get_segments():
                assert np.ptp(segment[:, 1]) == pytest.approx(0.02)
        lines = {one.get_label(): one for one in column[0].lines}
        assert sweep.loss == "identity" or "released, read off" not in lines
        assert lines["predicted, $\\hat f$"].get_ydata() == pytest.approx(0.69)
        assert ("predicted, $\\hat g$ and targets" in lines) == (sweep.loss == "identity")
    squares = [one for one in axes[0, 0].lines if one.get_marker() == "s"]
    expected = [
        [one.number for one in numbers if one[:3] == (*kind, "dim") and one.metric == metric]
        for metric in ("acc_f", "acc_g")
    ]
    assert [list(one.get_ydata()) for one in squares] == expected
    assert len(expected[0]) == 10
    assert "3 seeds a point" in figure.get_suptitle()
    plt.close(figure)


def test_cells_of_results_or_those_that_come_with_us(tmp_path):
    """Tables in the results folder come first; a changed row is refused. The committed table has
    three seeds of every default cell."""
    committed = wide_curves.wide_cells(tmp_path)
    for data, scenario in RELEASED:
        default = WideConfig(data=data, scenario=scenario)
        seeds = {
            one.config.seed
            for one in committed
            if one.config == default
            or (one.config == WideConfig(data=data, scenario=scenario, seed=one.config.seed))
        }
        assert {0, 1, 2} <= seeds
    header, row, other, *_ = wide_curves.CELLS.read_text().splitlines()
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "wide-mine.csv"
    table.write_text("\n".join([header, row, ""]))
    assert len(wide_curves.wide_cells(tmp_path)) == 1
    wrong = re.sub("^[^,]*", other.split(",")[0], row)
    table.write_text("\n".join([header, wrong, ""]))
    with pytest.raises(DamagedFileError, match="not the config of run"):
        wide_curves.wide_cells(tmp_path)


def test_wide_curves_without_results(tmp_path):
    """The committed cells are drawn; what has no cells says how to get them."""
    pictures = registry.FIGURES["wide_curves"].pictures
    assert len(pictures) == len(RELEASED)
    draw = pictures["wide_curves_gauss_samples"]
    assert all(path.exists() for path in draw(registry.Sources(tmp_path), tmp_path))
    few = invented("mnist", "samples")[:1]
    with pytest.raises(InputError, match="--preset mnist-samples"):
        wide_curves.compute(few, "mnist", "samples")


def test_read_off_numbers_are_checked(tmp_path):
    """A metric that none has is refused, with the row."""
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("data,scenario,swept,value,metric,number\nmnist,samples,n,10,acc_h,0.5\n")
    with pytest.raises(InputError, match="row 1"):
        wide_curves.released_numbers(wrong)


@pytest.mark.parametrize("scenario", ["perturbations", "samples"])
def test_wide_networks_on_their_plane(scenario):
    """Networks on the plane are those in all dimensions; closed forms are those of the page, at the
    points of the plane that the grid names. Class means are on it."""
    options = {"data": "gauss", "scenario": scenario, "n": 30, "dim": 12, "hidden": 6}
    config = WideConfig(**options, epsilon=0.5, dtype="float64")
    part = wide.wide_samples(config, Inputs())
    x, y = part.x[:, :-1], part.y
    net = wide.start_network(config, "f", np)
    t = np.asarray(wide.drawn_targets(config, 30))
    u = page.combinations(x, y, 0.0)
    found = {name: one.values for name, one in wide_plane(config, x, y, u, t, {"f": net}).items()}
    means = np.stack([x[y == label].mean(axis=0) for label in (1, -1)])
    P = axes_of_plane(*(means / np.linalg.norm(means, axis=1)[:, None]))
    axis, base = found["plane/axis"], x if scenario == "samples" else 0 * x
    r = base + 0.5 * t[:, None] * u / np.linalg.norm(u, axis=1)[:, None]
    rows = found["plane/f"]
    for i, j in ((0, 0), (3, 40), (20, 11)):
        at = axis[j], axis[i]
        z = (np.asarray(at) @ P)[None]
        assert found["plane/fhat"][i, j] == pytest.approx(page.fhat(z, x, y, 0.0)[0], abs=1e-9)
        assert found["plane/ghat"][i, j] == pytest.approx(page.ghat(z, r, u, 0.0)[0], abs=1e-9)
        whole = page.fhat(z, r, t, 0.0)[0]
        assert found["plane/ghat_targets"][i, j] == pytest.approx(whole, abs=1e-9)
        there = rows[:, 3] @ np.maximum(rows[:, :3] @ [*at, 1.0], 0)
        expected = page.f(z, net.W, net.a, 0.0)[0]
        assert there == pytest.approx(expected, abs=1e-9)
    assert means == pytest.approx(means @ P.T @ P)


def test_where_there_is_no_plane():
    """One input, or one class: class means span no plane, which is refused."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 3))
    for part, y in ((x[:, :1], np.asarray([1, 1, -1, -1, 1.0])), (x, np.ones(5))):
        with pytest.raises(InputError, match="leave --plane out"):
            class_means_plane(part, y)
    assert class_means_plane(x, np.asarray([1, 1, -1, -1, 1.0])).shape == (2, 3)


def test_the_wide_map(tmp_path):
    """Of a run by command: the default one is chosen before a larger, values have the networks'
    signs, a panel without a run says so, and a folder without runs how to get one."""
    with pytest.raises(InputError, match="run `reflfap run wide --plane`"):
        wide_map.save(wide_map.stored_maps(tmp_path), tmp_path)
    small = ["--dim", "20", "--n", "40", "--hidden", "8", "--epochs", "50"]
    for more in (small, [*small, "--n", "60"]):
        assert cli.main(["run", "wide", "--plane", *more, "--out", str(tmp_path)]) == 0
    maps = wide_map.stored_maps(tmp_path)
    (found,) = maps.values()
    assert found.config.n == 60
    with open_result(next(tmp_path.glob("wide/*/result.h5"))) as result:
        rows = wide_map.compute(result, 9)
        assert rows.values["g"].shape == (9, 9)
        assert rows.values["fhat"].shape == (GRID, GRID)
        f = result.array("plane/f", (8, 4))
    at = rows.axis["f"][7], rows.axis["f"][2]
    there = f[:, 3] @ np.maximum(f[:, :3] @ [*at, 1.0], 0)
    assert rows.values["f"][2, 7] == pytest.approx(there)
    figure = wide_map.draw(maps)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["no run yet"] * (len(RELEASED) - 1)
    assert f"agree in {found.agreement:.2f}" in figure.axes[0].get_title()
    plt.close(figure)


def test_the_cosine_figure():
    """Means of scenario (a) alone, of the sweeps named, with all that was read off of cosines."""
    cells = [one for kind in RELEASED for one in invented(*kind)]
    numbers = wide_curves.released_numbers()
    figure = wide_cosine.draw(wide_cosine.compute(cells, numbers))
    for axes, swept in zip(figure.axes, wide_cosine.SWEPT, strict=True):
        for marks, _, (bars,) in axes.containers:
            assert marks.get_ydata() == pytest.approx(0.67)
            assert all(np.ptp(one[:, 1]) == pytest.approx(0.02) for one in bars.get_segments())
        names = [one.get_label() for one in axes.containers]
        kinds = [data for data, scenario in RELEASED if scenario == "perturbations"]
        with_it = [
            one for one in kinds if any(swept in table for table in SWEEPS[one, "perturbations"])
        ]
        assert names == [wide_curves.DATA[one] for one in with_it]
        drawn = [y for one in axes.lines if one.get_marker() == "s" for y in one.get_ydata()]
        known = [one.number for one in numbers if (one.swept, one.metric) == (swept, "cosine")]
        assert sorted(drawn) == sorted(known)
    plt.close(figure)
    with pytest.raises(InputError, match="--preset all"):
        wide_cosine.compute([])
