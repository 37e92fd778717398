"""The theory's figures: what is plotted, tested as data."""

import math
from dataclasses import replace

import numpy as np
import pytest
from problems import make_problem
from scipy.stats import norm as normal_distribution

from reflfap import onehidden
from reflfap.data_loaders.image_set import ImageSet
from reflfap.errors import InputError
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.figures import (
    float16_stops,
    flow_cost,
    multiplier_bounds,
    odd_part,
    origins,
    prediction,
    two_effects,
)
from reflfap.theory.odd_part import odd_and_even
from reflfap.theory.orthogonality import smallest_dimension
from reflfap.theory.prediction import accuracy_l0, accuracy_l2, accuracy_linf

SMALL = ArtificialConfig(
    dim=800, hidden=4, n=30, n_adv=12, slope=0.5, epsilon=0.8, dtype="float64", seed=3
)
HEADER = "norm,data,sweep,d,n,n_adv,constraint,acc_adv"
GOOD = "l2,uniform,d,100,1000,10000,0.078,0.63"


@pytest.fixture(scope="module")
def effects():
    return two_effects.compute(SMALL)


def test_effects_have_the_networks_signs(effects):
    """The trained networks agree right of the line, and both kinds of natural sample are there."""
    for points in effects:
        total = points.samples + points.perturbations
        assert np.array_equal(points.agree, total > 0)
        assert 0 < points.agree.mean() < 1
        assert set(points.side) == {-1.0, 1.0}
    # all margins are one, so the heights are nearly one; a random z has f_bdy(z) on both sides of 0
    assert np.ptp(effects.natural.perturbations) < 0.5 * effects.natural.perturbations.mean()
    assert effects.fresh.perturbations.mean() < 0.5 * effects.natural.perturbations.mean()


def test_the_shaded_region_is_l3(effects):
    """(L3) is where the height exceeds the distance from the middle, and assures agreement."""
    for points in effects:
        assert np.array_equal(points.aligned, points.perturbations > np.abs(points.samples))
        assert np.all(points.agree[points.aligned])
        assert points.aligned.sum() < points.agree.sum()
        assert np.all(points.perturbations >= 0)  # (L2)


def test_the_perturbations_lift_as_predicted(effects):
    """The height of natural samples is eps sigma sqrt(d/N) on average, the mean in (L4).

    It is eps ||b||/(N lam) for equal multipliers. The products of different samples change ||b||^2
    by sqrt(2/d) of itself, 5 %, and its root by half of that: four deviations.
    """
    mean = SMALL.size * math.sqrt(SMALL.dim / SMALL.n / 3)
    assert effects.natural.perturbations.mean() == pytest.approx(mean, rel=0.1)


def test_titles_state_the_fractions(effects):
    """The title of each panel has the fractions of its own points, and no point is cut off."""
    figure = two_effects.draw(effects, SMALL)
    for axes, points in zip(figure.axes, effects, strict=True):
        assert f"{points.agree.mean():.1%}" in axes.get_title()
        assert f"{points.aligned.mean():.1%}" in axes.get_title()
        drawn = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections])
        assert len(drawn) == len(points.side) == SMALL.n
        assert np.abs(drawn[:, 0]).max() <= axes.get_xlim()[1]
        assert drawn[:, 1].max() <= axes.get_ylim()[1]


@pytest.fixture(scope="module")
def multipliers():
    return multiplier_bounds.compute(np.asarray([16, 300, 100_000]), draws=4)


def test_multipliers_keep_their_bounds(multipliers):
    """Wherever (T1) holds the point exists, within (T3); far below it exists beyond them, too."""
    assert np.all(multipliers.kept[multipliers.holds])
    assert np.all(multipliers.exists[multipliers.kept])
    # (T1) is likely from here on, and out of reach at d = 300
    assert multipliers.dims[1] < smallest_dimension(10, 0.7) / 100
    assert multipliers.dims[2] > 2 * smallest_dimension(10, 0.7)
    assert not multipliers.holds[:2].any()
    assert multipliers.holds[2].any()
    assert np.any(multipliers.exists[0] & ~multipliers.kept[0])


def test_multipliers_tend_to_the_orthogonal_limit(multipliers):
    """Sorted, and near 2/(1 + gamma^2); bounds near 1/2 and 3/(2 gamma^2), as ||x||^2 is near d/3.

    At d = 100,000 products are 0.003 of ||x||^2 and norms differ by as much: 5 % is far beyond.
    """
    least, median, largest = np.moveaxis(multipliers.multipliers[1:], 2, 0)
    assert np.all((least <= median) & (median <= largest))
    limit = 2 / (1 + multiplier_bounds.SLOPE**2)
    assert multipliers.multipliers[2] == pytest.approx(limit, rel=0.05)
    assert multipliers.lower[2] == pytest.approx(0.5, rel=0.05)
    assert multipliers.upper[2] == pytest.approx(1.5 / multiplier_bounds.SLOPE**2, rel=0.05)
    spread = largest - least
    assert spread[1].max() < spread[0].min()


def test_multipliers_are_drawn_where_they_are(multipliers):
    """Every existing multiplier is a point of the picture, those too small on its lower edge."""
    axes = multiplier_bounds.draw(multipliers).axes[0]
    drawn = np.concatenate([np.asarray(part.get_offsets()) for part in axes.collections[:3]])
    drawn = drawn[np.isfinite(drawn[:, 1]), 1]
    assert len(drawn) == 3 * multipliers.exists.sum()
    expected = np.maximum(multipliers.multipliers[multipliers.exists], multiplier_bounds.LEAST)
    assert np.sort(drawn) == pytest.approx(np.sort(expected.ravel()))
    assert drawn.max() <= axes.get_ylim()[1]


@pytest.fixture(scope="module")
def curves():
    return prediction.compute().curves


def test_curves_are_those_of_l4(curves):
    """Along each sweep the curves are the formulas at the released sizes of everything else."""
    defaults = (10_000, 1_000, 10_000)
    for position, sweep in enumerate(prediction.LABELS):
        for at in (0, 40, 80):
            value = curves["l2", sweep].across[at]
            sizes = tuple(
                int(value) if i == position else default for i, default in enumerate(defaults)
            )
            growing = 0.78 * math.sqrt(sizes[0] / 10_000)
            expected = {
                "l2": accuracy_l2(*sizes, growing, 1 / 3),
                "linf": accuracy_linf(*sizes, 0.03, 1 / 3),
                "l0": accuracy_l0(*sizes, round(0.05 * sizes[0]), 1 / 3, True),
            }
            for norm, accuracy in expected.items():
                assert curves[norm, sweep].accuracy[at] == pytest.approx(accuracy, rel=1e-12)
    size = curves["l2", "constraint"].across[40]
    assert curves["l2", "constraint"].accuracy[40] == accuracy_l2(*defaults, size, 1 / 3)


def test_curves_are_monotone(curves):
    """More perturbed samples, a larger dimension and larger sizes help; more samples cost."""
    for (norm, sweep), curve in curves.items():
        assert np.all(np.diff(curve.across) > 0)
        slack = 0.01 if norm == "l0" else 0  # its number of pixels is whole
        change = np.diff(curve.accuracy)
        assert np.all(change < 0 if sweep == "n" else change > -slack), (norm, sweep)
        assert np.all((curve.accuracy > 0.5) & (curve.accuracy < 1))


def write(path, *rows):
    path.write_text("\n".join(rows) + "\n")
    return path


def test_released_points_are_read(tmp_path):
    """Rows become points on their panel; along d the curve takes their sizes."""
    pairs = {100: 0.5, 10_000: 2.0}  # not the released ones
    rows = [f"l2,uniform,d,{d},1000,10000,{size},0.75" for d, size in pairs.items()]
    last = "l0,uniform,constraint,10000,1000,10000,0.02,0.91"
    points = prediction.read_released(write(tmp_path / "points.csv", HEADER, *rows, last))
    assert [point.config.size for point in points] == [0.5, 2.0, 0.02]
    assert prediction.chosen(points, "l0", "constraint") == [points[2]]
    assert points[2].accuracy == 0.91
    data = prediction.compute(points)
    curve = data.curves["l2", "d"]
    for at, size in ((0, 0.5), (40, 1.0), (80, 2.0)):  # the geometric mean in the middle
        accuracy = accuracy_l2(int(curve.across[at]), 1000, 10_000, size, 1 / 3)
        assert curve.accuracy[at] == pytest.approx(accuracy, rel=1e-9)
    circles = prediction.draw(data).axes[0].lines[-1]
    assert list(circles.get_xdata()) == [100, 10_000]
    assert list(circles.get_ydata()) == [0.75, 0.75]


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (HEADER,),
        ("norm,data", "l2,uniform"),
        (HEADER, GOOD.replace("l2", "l3")),
        (HEADER, GOOD.replace("uniform", "gauss")),
        (HEADER, GOOD.replace(",d,", ",m,")),
        (HEADER, GOOD.replace("1000,", "1000.5,")),
        (HEADER, GOOD.replace("0.078", "-1")),
        (HEADER, GOOD.replace("0.63", "1.63")),
        (HEADER, GOOD.replace("0.63", "nan")),
        (HEADER, GOOD, "l2,uniform,d"),
    ],
)
def test_malformed_points_are_refused(tmp_path, rows):
    """Whatever is not such a table is refused with the file's name, by the typed error."""
    path = write(tmp_path / "points.csv", *rows)
    with pytest.raises(InputError, match=r"points\.csv"):
        prediction.read_released(path)
    with pytest.raises(InputError, match=r"points\.csv"):
        prediction.read_cells(path)


def test_missing_files(tmp_path):
    """Without cells there are none; a reference that was named has to be there."""
    missing = tmp_path / "missing.csv"
    assert prediction.read_cells(missing) == []
    with pytest.raises(InputError, match=r"missing\.csv"):
        prediction.read_released(missing)
    figure = prediction.draw(prediction.compute())
    assert len(figure.axes) == len(prediction.NORMS) * len(prediction.SWEEPS)


def test_our_own_cells():
    """The rendered cells are from all attacks and distributions, and near what is predicted.

    Those drawn first against (L4), the new ones against (L5). Two thirds of deviations would be
    within one, 95 % within two, if only the samples' own randomness counted; (L4) errs besides, and
    the samples' outcomes are dependent.
    """
    first, new = prediction.own_cells()
    for cells, most in ((first, 0.05), (new, 0.02)):
        kinds = {(cell.attack, cell.data) for cell in cells}
        assert kinds == {(a, d) for a in prediction.ATTACKS for d in prediction.DISTRIBUTIONS}
        error = [cell.predicted - cell.measured for cell in cells]
        assert np.mean(np.abs(error)) < most
    figure = prediction.draw(prediction.compute(cells=first, new=new))
    lower = figure.axes[-2 * len(prediction.ATTACKS) :]
    drawn = sum(len(part[0].get_xdata()) for axes in lower for part in axes.containers)
    assert drawn == len(first) + len(new)


def test_both_predictions_are_drawn(curves):
    """A dashed line of (L5) beside each of (L4); over noise they agree to a few hundredths."""
    data = prediction.compute()
    assert set(data.sharper) == set(data.curves) == set(curves)
    for key, sharp in data.sharper.items():
        assert np.array_equal(sharp.across, data.curves[key].across)
        far = np.abs(sharp.accuracy - data.curves[key].accuracy)
        assert 0.001 < np.max(far) < 0.1, key
    axes = prediction.draw(data).axes[0]
    lines = {line.get_label(): line.get_linestyle() for line in axes.lines}
    assert lines["predicted, (L4)"] == "-"
    assert lines["predicted, (L5)"] == "--"


def test_the_formula_by_hand(curves):
    """One point of one curve, computed here: Phi(s / sqrt(1 + s^2 N/d))."""
    s = 0.78 * math.sqrt(3) * math.sqrt(100 / 1000)
    expected = normal_distribution.cdf(s / math.sqrt(1 + s**2 * 1000 / 10_000))
    assert curves["l2", "n_adv"].accuracy[0] == pytest.approx(expected, rel=1e-12)


@pytest.fixture(scope="module")
def odd_parts():
    """All columns of the odd part's figure, smaller, and their times."""
    times = (0.1, 10.0, 1e4)
    white = replace(odd_part.WHITE, dim=200, hidden=6, n=30, n_adv=40)
    clothes = replace(odd_part.CLOTHES, hidden=6, n=30, n_adv=40)
    outlier = ArtificialConfig(
        norm="l0", dim=40, hidden=20, n=300, n_adv=800, epsilon=0.1, dtype="float64"
    )
    return odd_part.compute(white, clothes, outlier, times), times


def test_the_two_effects_hold_at_all_times(odd_parts):
    """(L1) by (A1), (A2) is what the outputs say, (L2) what the perturbations do, at every time.

    Float64 sums of some hundred terms, of which the parts cancel to a tenth: below 1e-12.
    """
    figures, times = odd_parts
    geometric = [True, True, False]
    for course, known in zip(figures.courses.values(), geometric, strict=True):
        assert course.error < 1e-12
        assert course.outputs == pytest.approx(course.parts[:, 2], rel=1e-9, abs=1e-12)
        assert len(course.share) == len(times)
        if known:
            assert course.second == pytest.approx(course.parts[:, 0], rel=1e-9)
        assert np.isnan(course.second).any() != known
        network, odd, even, mirrored = course.accuracy.T
        assert np.all((course.accuracy >= 0) & (course.accuracy <= 1))
        assert np.all((course.share > 0) & (course.share < 1))
        assert np.abs(network - odd).max() > 0 or np.all(even >= 0)
        # the even part changes at most half of the samples of a pair: (A3)
        assert np.all(np.abs(mirrored - odd) <= 0.5)


def test_the_outlier_is_of_the_even_part(odd_parts):
    """Where samples outnumber inputs: the network's accuracy comes from the even part attacked.

    300 samples, a standard error of 0.03: with the odd part attacked alone it is what (L4) says
    within four, and the odd part's own; with the even part attacked alone it is far beyond.
    """
    figures, _ = odd_parts
    odd, even = figures.odd_only, figures.even_only
    assert odd[0] == pytest.approx(figures.predicted, abs=0.12)
    assert odd[0] == pytest.approx(odd[1], abs=0.05)
    assert even[0] > figures.predicted + 0.12
    assert even[2] > even[1] + 0.12


def test_parts_as_networks():
    """Multiples of either part, at every point."""
    net, z, _ = make_problem(hidden=6)
    odd, even = odd_part.parts_as_networks(net)
    parts = odd_and_even(net, z)
    for one, part in ((odd, parts.odd), (even, parts.even)):
        outputs = onehidden.forward(one, z)[0]
        factor = outputs @ part / (part @ part)
        assert factor > 0
        assert outputs == pytest.approx(factor * part, rel=1e-9)


def test_odd_parts_are_drawn(odd_parts):
    """Nine panels; outputs are drawn beside (L1), and every line is in a legend."""
    figures, times = odd_parts
    figure = odd_part.draw(figures, times)
    assert len(figure.axes) == 9
    for axes, course in zip(figure.axes[:3], figures.courses.values(), strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert np.array_equal(drawn["(f(z) − f(−z))/2"], course.outputs)
        for name, values in zip(odd_part.PARTS, course.parts.T, strict=True):
            assert np.array_equal(drawn[name], values)
    said = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert set(odd_part.PARTS) | set(odd_part.ACCURACIES) <= set(said)


def digits(name, split):
    """Twenty images of random pixels, half of either class; the upper half is black in all."""
    rng = np.random.default_rng(len(split))
    pixels = rng.integers(0, 256, (20, 1, 28, 28), dtype=np.uint8)
    pixels[:, :, :14] = 0
    return ImageSet(pixels, np.arange(20) % 2 * 4 + 3, tuple("0123456789"), f"{name} {split}", "")


@pytest.fixture(scope="module")
def four_origins():
    """All panels, smaller; the networks to t = 10^9, where all pairs are aligned."""
    pixels = replace(origins.DIGITS, hidden=20, n=15)
    line = replace(origins.LINE, dim=1_500, hidden=20, n=6)
    return origins.compute(
        (2, 6, 60), 3, 3_000, pixels, (0.01, 100.0), line, (0.01, 1.0, 1e6, 1e9), digits
    )


def test_distances_are_within_their_bounds(four_origins):
    """Where (R1) holds, which few samples meet and many do not; half-way to the other label is
    farther than the boundary, but for two samples, and first order says too much.

    Two samples: 1/sqrt(2) for both but for their overlap, 1/sqrt(d) = 0.02 of the squares.
    """
    found = four_origins.distances
    assert np.all(found.low[:2] <= found.least[:2])
    assert np.all(found.largest[:2] <= found.high[:2])
    assert np.isnan(found.low[2]).all()
    assert found.least[0] == pytest.approx(found.other[0], rel=0.05)
    assert np.all(found.largest[1:] < 0.7 * found.other[1:])
    assert np.all(found.first_order > found.least)


def test_what_is_outside_stays(four_origins):
    """Half of the pixels are left out; 392 of them, a deviation of (2/392)^(1/2) = 0.07 a seed.

    The patterns change the share of units that are on, and with it both alike. The rest grows.
    """
    found = four_origins.gradients
    assert list(found.left_out) == [392] * 3
    assert found.outside == pytest.approx(found.expected, rel=4 * 0.07)
    assert np.all(found.whole > found.outside)
    assert np.all(found.whole[:, 1] > 2 * found.whole[:, 0])


def test_courses_end_on_their_line(four_origins):
    """Late the line of (C2) has the measured stable rank, up to the flow's tolerance, and within
    its bounds; of larger starts it is larger; two singular values of C grow and the rest stay; and
    W - W0 has the training samples, of others sqrt(1 - N/d) is left, a deviation of 1/d^(1/2)."""
    last = []
    for course in four_origins.courses.values():
        late = np.isfinite(course.line)
        assert list(late) == [False, *late[1:2], True, True]
        assert course.line[2:] == pytest.approx(course.stable_rank[2:], rel=0.003)
        assert np.all(course.bounds[2:, 0] <= course.line[2:] * (1 + 1e-9))
        assert np.all(course.line[2:] <= course.bounds[2:, 1] * (1 + 1e-9))
        assert np.all(course.singular[3, :2] > 1.2 * course.singular[2, :2])
        assert course.singular[3, 2:] == pytest.approx(course.singular[2, 2:], rel=0.01)
        assert course.residuals[:, 0] == pytest.approx(0, abs=1e-9)
        assert course.residuals[:, 1] == pytest.approx(math.sqrt(1 - 6 / 1_500), abs=1e-3)
        last.append(course.stable_rank[1])
    assert last == sorted(last, reverse=True)
    # two of six samples' worth: sqrt(1 - 1/3) on average of shares of classes of equal norms
    counts = [1 / np.sum(four_origins_labels(four_origins) == one) for one in (-1, 1)]
    expected = np.mean([math.sqrt(1 - one) for one in counts for _ in range(round(1 / one))])
    assert four_origins.limit_residuals[0] == pytest.approx(expected, abs=0.02)
    assert four_origins.limit_residuals[1] > 0.99


def four_origins_labels(data):
    """The labels of the network that is followed."""
    return artificial.natural(data.line).y


def test_four_origins_are_drawn(four_origins):
    """Each panel has what it is of."""
    figure = origins.draw(four_origins)
    one, two, three, four = figure.axes
    drawn = {line.get_label(): line.get_ydata() for line in (*one.lines, *two.lines, *three.lines)}
    found = four_origins.distances.other.mean(axis=1)
    assert np.array_equal(drawn["half-way to the other label"], found)
    found = four_origins.gradients.outside.mean(axis=0)
    assert np.array_equal(drawn["outside the data's span"], found)
    for size, course in four_origins.courses.items():
        assert np.array_equal(drawn[f"start × {size:g}"], course.stable_rank)
    assert len(four.lines) == 3 * 6


def test_float16_ends_what_exact_arithmetic_goes_on_with():
    """Thresholds are where the drawn gradients end; beyond them an attack and a training stop."""
    sizes = {"dim": 600, "hidden": 1000, "n": 20, "n_adv": 5, "epochs": 10_000_000}
    config = ArtificialConfig(norm="l0", seed=1, **sizes)
    pixels = (1, 200, 400)
    found = float16_stops.compute(config, pixels)
    for part in (found.attack, found.training):
        assert np.array_equal(part.rounded > 0, part.q < part.stop)
        normal = part.rounded > 2**-14  # there float16 has 11 bits, and two roundings follow
        assert part.rounded[normal] == pytest.approx(part.exact[normal], rel=2e-3)
    # the last step begins below the threshold; twice the mean step of the exact attack bounds it
    exact, rounded = found.path
    assert np.all(np.diff(exact) > 0)
    assert rounded[-1] == rounded[-2]
    assert found.attack.stop <= rounded[-1] < found.attack.stop + 2 * (exact[1] - exact[0]) / 199
    assert exact[-1] > 2 * rounded[-1]
    assert found.rounded.time[-1] < found.exact.time[-1]
    last = np.exp(-found.training.stop)  # all samples' losses are near it
    assert found.rounded.loss[-1] == pytest.approx(last, rel=0.02)
    assert len(float16_stops.draw(found, pixels).axes) == 3


def test_a_power_law_is_found(tmp_path):
    """Exact powers give their exponent, whatever smaller sizes take; a table keeps the times."""
    times = [flow_cost.Timed("N", n, 50, 0.002 * n**1.5) for n in (300, 1_000, 5_000)]
    times += [flow_cost.Timed("d", 40, d, 3.0 * d**0.25) for d in (1_000, 10_000)]
    times += [flow_cost.Timed("N", 10, 50, 9.0), flow_cost.Timed("d", 40, 10, 1e-3)]
    flow_cost.write(times, tmp_path / "times.csv")
    read = flow_cost.compute(tmp_path / "times.csv")
    for name, exponent, ends in (("N", 1.5, (300, 5_000)), ("d", 0.25, (1_000, 10_000))):
        some = [one for one in read if one.against == name]
        found, sizes, seconds = flow_cost.power_law(some)
        # three digits of the seconds: half a percent of each, and sizes a factor of ten apart
        assert found == pytest.approx(exponent, abs=0.005)
        assert tuple(sizes) == ends
        assert seconds == pytest.approx([one.seconds for one in some if one.size in ends], rel=0.01)
    figure = flow_cost.draw(read)
    for axes, exponent in zip(figure.axes, ("1.50", "0.25"), strict=True):
        assert exponent in axes.get_legend_handles_labels()[1][1]
        low, high = axes.get_ylim()
        shown = axes.lines[0].get_ydata()
        assert low < min(shown)
        assert max(shown) < high
