"""Figures of wide networks: what is plotted, tested as data."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from reflfap import onehidden
from reflfap.figures import lazy_and_rich
from reflfap.figures.lazy_and_rich import Between
from reflfap.losses import EXPONENTIAL
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
