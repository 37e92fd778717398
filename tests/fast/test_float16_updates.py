"""The released attack in float16: updates are products, where it stalls, and where it does not."""

import math

import numpy as np
import pytest
from gradients import EACH_NORM
from hypothesis import given
from hypothesis import strategies as st
from problems import make_problem

from reflfap import attacks, losses
from reflfap.attacks import L0, L2
from reflfap.errors import InputError
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import initial_network
from reflfap.fast.float16_updates import attack_rounded, rounded_updates
from reflfap.fast.quick_attack import attack_network
from reflfap.float16 import rounded_margin_gradient, rounded_network, stopping_margins
from reflfap.training.released import train_in_float16

EXPONENTIAL = losses.EXPONENTIAL


class Compared:
    """The updated model; wherever it goes, it has to say what products say there.

    Sums of another order differ in float32's last digits, which may change a rounding to float16:
    by one of its steps, of z before all others. Weights and inputs here are of about one.
    """

    def __init__(self, net):
        self.net, self.model = net, rounded_updates(net, EXPONENTIAL)
        self.seen = 0

    def start(self, x, target):
        return self.compared(self.model.start(x, target), x, target)

    def follow(self, before, move, target):
        return self.compared(self.model.follow(before, move, target), move.x, target)

    def compared(self, point, x, target):
        q, g = rounded_margin_gradient(self.net, EXPONENTIAL, x, target)
        assert np.all(np.abs(point.q - q) <= 2.0**-9 * (1 + np.abs(q)))
        same = point.q == q  # else -l' is another
        sizes = np.abs(g[same]).max(axis=1, initial=2.0**-24)[:, None]
        assert np.all(np.abs(point.g[same] - g[same]) <= 2.0**-9 * sizes + 2.0**-24)
        self.seen += same.sum()
        return point


@EACH_NORM
@given(seed=st.integers(0, 10**6), dim=st.integers(2, 60), bounded=st.booleans())
def test_updates_are_products(norm, seed, dim, bounded):
    """At each step of each norm, with and without a data range, for nearly all samples exactly."""
    net, x, y = make_problem(seed, dim=dim, n=9, hidden=8, data="uniform", dtype="float32")
    model = Compared(rounded_network(net))
    limits = {"low": -1.0, "high": 1.0} if bounded else {}
    attacks.attack(model, x, y, norm, steps=12, **limits)
    assert model.seen > 9


@EACH_NORM
def test_far_from_the_threshold_it_is_the_exact_attack(norm):
    """Margins of about one: those of the exact attack to a few roundings of 2^-11."""
    net, x, y = make_problem(dim=40, n=30, hidden=20, data="uniform", dtype="float32", slope=0.1)
    got = attack_rounded(net, EXPONENTIAL, x, y, norm, steps=15, low=-1.0, high=1.0)
    expected = attack_network(net, x, y, norm, steps=15, low=-1.0, high=1.0)
    assert got.margin == pytest.approx(expected.margin, abs=0.02)
    assert not got.zero_gradient.any()


def steep(seed=0, n=40):
    """A network whose attack in L0 goes far beyond the threshold, and its samples."""
    net, x, y = make_problem(seed, dim=60, hidden=10, n=n, dtype="float32", slope=0.01)
    return net._replace(W=4 * net.W), x, y


def test_it_stalls_at_the_threshold():
    """Samples leave with a gradient of zero, no sooner than their margin is beyond the stop.

    float16 margins there have steps of 2^-7. The exact attack goes on.
    """
    net, x, y = steep()
    stop, _ = stopping_margins(rounded_network(net), EXPONENTIAL, 1.0)
    got = attack_rounded(net, EXPONENTIAL, x, y, L0(40), steps=40)
    assert got.zero_gradient.mean() > 0.8
    assert np.all(got.margin[got.zero_gradient] >= stop - 2.0**-7)
    assert np.all(got.margin[~got.zero_gradient] <= stop + 2.0**-7)
    exact = attack_network(net, x, y, L0(40), steps=40)
    assert np.all(exact.margin[got.zero_gradient] > got.margin[got.zero_gradient] + 1)
    assert np.all((got.x != x).sum(axis=1) <= got.steps)


def test_the_earlier_of_equal_iterates_is_kept():
    """A radius below the resolution of the output moves x, and changes no margin: x is kept."""
    net, x, y = make_problem(dim=30, n=20, hidden=8, dtype="float32")
    x = np.round(x * 8) / 8
    got = attack_rounded(net, EXPONENTIAL, x, y, L2(1e-7), steps=5)
    assert (got.steps > 0).mean() > 0.5
    assert np.array_equal(got.x, x)


def scalar_attack(net, x, target, pixels, steps):
    """The released attack in L0 as a loop of numpy.float16 products, losses kept strictly smaller.

    Nothing stops it: where a gradient is no number, the sample is none from then on.
    """
    half = np.float16

    def loss_and_gradient(x):
        with np.errstate(all="ignore"):
            z = (net.W @ x.astype(half).astype(np.float32)).astype(half)
            p = np.where(z > 0, z, (np.float32(net.slope) * z).astype(half))
            f = np.float32(half(net.a @ p.astype(np.float32)))
            g = half(-target * np.exp(-target * f))
            u = g * net.a.astype(half)
            u = np.where(z > 0, u, half(net.slope) * u)
            return np.exp(-target * f), (u.astype(np.float32) @ net.W).astype(half)

    best, eta = x, np.zeros_like(x)
    least, g = loss_and_gradient(x)
    for _ in range(steps):
        with np.errstate(all="ignore"):
            changed = eta != 0
            order = np.where(changed, -1, np.abs(g).astype(np.float32))
            if changed.sum() < pixels:
                changed[np.argmax(order)] = True
            along = -np.float32(0.3) * (g / np.abs(g).max()).astype(np.float32)
            eta = eta + np.where(changed, along, 0)
        loss, g = loss_and_gradient(x + eta)
        if loss < least:
            best, least = x + eta, loss
    return best


def test_what_float16_cannot_hold_stays():
    """exp(11.1) is beyond 65504. Such samples are left as they were, as by a loop that only keeps
    smaller losses; the loop moves the others as far, to the digits that its steps have."""
    net, x, y = steep(n=60)
    far = net._replace(W=4 * net.W)
    got = attack_rounded(far, EXPONENTIAL, x, y, L0(4), steps=4)
    held = got.margin_start < -11.1
    assert 5 < held.sum() < 55
    assert np.array_equal(got.x[held], x[held])
    assert got.zero_gradient[held].all()
    assert np.array_equal(got.margin[held], got.margin_start[held])
    net = rounded_network(far)
    expected = np.stack([scalar_attack(net, *one, 4, 4) for one in zip(x, y, strict=True)])
    assert np.array_equal(expected[held], x[held])
    moved = (got.x != x).any(axis=1)
    assert np.array_equal(moved, (expected != x).any(axis=1))
    same = np.isclose(got.x, expected, rtol=0, atol=4 * 0.3 * 2.0**-10).all(axis=1)
    assert same.mean() > 0.9  # where two pixels nearly tie, another digit chooses the other


def test_there_is_no_float64():
    wide = make_problem()
    with pytest.raises(InputError, match=r"^x: expected dtype float32"):
        attack_rounded(*wide[:1], EXPONENTIAL, *wide[1:], L0(2), steps=2)


@pytest.fixture(scope="module")
def of_the_paper():
    """The standard network of E1, uniform data, and 20 samples of its noise."""
    config = ArtificialConfig(norm="l0", n_adv=20, precision="released")
    x, y = artificial.natural(config)
    trained = train_in_float16(initial_network(config, "standard"), x, y, EXPONENTIAL)
    return config, trained.net, artificial.noise(config)


def test_the_plateau_of_the_released_experiment(of_the_paper):
    """L0, d = 10,000, N = 1,000, ratio 0.05: all samples stall at log(2^25/sqrt(1,000)) = 13.87,
    within 0.1, of their 500 pixels having used about half. The exact attack uses all, and gains 5.
    """
    config, net, (x, target) = of_the_paper
    got = attack_rounded(net, EXPONENTIAL, x, target, L0(500), steps=500, low=-1.0, high=1.0)
    assert got.zero_gradient.all()
    assert abs(got.margin.mean() - math.log(2**25 / math.sqrt(config.hidden))) < 0.1
    assert 200 < got.steps.mean() < 300
    exact = attack_network(net, x, target, L0(500), steps=500, low=-1.0, high=1.0)
    assert np.all(exact.margin > got.margin + 5)


def test_l2_does_not_reach_it(of_the_paper):
    """At the released radius margins end below the threshold, and agree to float16's digits."""
    _, net, (x, target) = of_the_paper
    got = attack_rounded(net, EXPONENTIAL, x, target, L2(0.78), steps=100, low=-1.0, high=1.0)
    exact = attack_network(net, x, target, L2(0.78), steps=100, low=-1.0, high=1.0)
    assert not got.zero_gradient.any()
    assert got.margin.max() < 13
    # of margins of five 2^-8 is a step; the rest is of z, of which a thousand are added
    assert got.margin == pytest.approx(exact.margin, abs=0.03)
