"""paper.py (P2): the attack is that of the quick code, by evaluation and by updates.

The quick code climbs the margin in place of the loss, scales gradients, and lets samples leave that
move no more; with updates it never forms most products. What it decides must be the same: pixels,
ties, sides of kinks, which iterate is the best. What it computes may differ by rounding.
"""

from functools import partial
from math import inf

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from paper_problems import (
    DTYPES,
    KINDS,
    agree,
    comes_back,
    exact_problems,
    kinks_seen,
    linear_loss,
    steps_seen,
)
from paper_problems import real_problems as real

from reflfap import paper
from reflfap.attacks import L0, L2, LInf, LInfSign, attack
from reflfap.fast.quick_attack import attack_network
from reflfap.onehidden import margin_gradient

NORMS = {
    "l2": L2,
    "linf": LInf,
    "linf-sign": LInfSign,
    "l0": L0,
    "l0-tracked": partial(L0, tracked=True),
}
EACH_NORM = pytest.mark.parametrize("norm", NORMS)
EACH_BALL = pytest.mark.parametrize("norm", ["l2", "linf", "linf-sign"])
EACH_L0 = pytest.mark.parametrize("norm", ["l0", "l0-tracked"])
DOUBLE, SINGLE = ({"dtype": st.just(dtype)} for dtype in reversed(DTYPES))


def evaluated(net, *args, **kwargs):
    return attack(partial(margin_gradient, net), *args, **kwargs)


QUICK = {"evaluated": evaluated, "updated": attack_network}


def quick_attacks(p, norm, size, steps, low=-inf, high=inf):
    """The result of the quick code, in both its ways."""
    for way in QUICK.values():
        yield way(p.net, p.x, p.y, NORMS[norm](size), steps=steps, low=low, high=high)


def clipped(p, share=1.0):
    """The problem with data in [-1, 1], about a third of them at an edge."""
    return p._replace(x=np.clip(p.x * np.asarray(share, p.x.dtype), -1, 1))


def margins(p, x):
    return p.y * paper.f(x, p.W, p.gamma)


def tied(p):
    """The problem with weights +-1 and +-2: gradients are exact, with ties; z is generic as x is.

    1/sqrt(m) is a power of two, and so is gamma.
    """
    W = np.where(p.W < 0, -1, 1) * (1 + (np.abs(p.W) * np.sqrt(p.W.shape[1]) > 0.7))
    return p._replace(W=W.astype(p.W.dtype))


def distinct(p, one, other, rounding):
    """Both results, and how far they may differ: wholly where the attack gained nothing certain.

    There the start and a later iterate have equal margins, and rounding decides which is kept.
    """
    gained = np.abs(margins(p, other) - margins(p, p.x)) > rounding
    return one[gained], other[gained], rounding[gained, None]


TIED = {"half": st.sampled_from([2, 8]), "gamma": st.sampled_from([0.25, 0.5])}


@EACH_NORM
@given(
    p=real(**DOUBLE),
    size=st.floats(0, 2),
    steps=st.integers(0, 60),
    bounded=st.booleans(),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=30)
def test_attack(norm, p, size, steps, bounded, kind):
    """(P2): the same best iterates in float64, in all five variants, at edges of the data too.

    Margins to nine digits: updates lose some 1e-15 a step. Samples to 1e-6: on its way to the best
    point of a ball a margin gains the square of what the sample moves, so that iterates 1e-8 apart
    have equal margins, and rounding decides which is kept.
    """
    low, high = (-1, 1) if bounded else (-inf, inf)
    p = clipped(p) if bounded else p
    if norm.startswith("l0"):
        size = steps = 1 + steps % p.x.shape[1]
    with steps_seen() as path:
        x = paper.attack(p.W, p.x, p.y, p.gamma, norm, size, steps, low, high, kind)
    assume(norm != "l0" or not comes_back(p.x, path, 1e-9))
    for quick in quick_attacks(p, norm, size, steps, low, high):
        agree(quick.margin_start, margins(p, p.x), 1e-12 * (1 + p.output_sizes))
        agree(quick.margin, margins(p, x), 1e-9 * (1 + p.output_sizes))
        agree(quick.x, x, 1e-6)


@EACH_BALL
@given(p=real(**SINGLE, **TIED), size=st.floats(0.1, 2), steps=st.integers(0, 5), cut=st.booleans())
def test_attack_in_float32(norm, p, size, steps, cut):
    """(P2): margins to four digits, after few steps; who comes within 1e-4 of a kink is left out.

    Each step rounds z by some 1e-7 of its sum, 1e-6 at most. With weights +-1 and +-2 and the loss
    -q gradients are exact, so that no entry of them is zero on one side only.
    """
    p, low, high = (clipped(tied(p)), -1, 1) if cut else (tied(p), -inf, inf)
    with linear_loss(), kinks_seen() as kinks:
        x = paper.attack(p.W, p.x, p.y, p.gamma, norm, size, steps, low, high)
    assume(min([1, *kinks]) > 1e-4)
    for quick in quick_attacks(p, norm, size, steps, low, high):
        assert quick.x.dtype == x.dtype == np.float32
        agree(quick.margin, margins(p, x), 1e-4 * (1 + p.output_sizes))


@EACH_L0
@given(p=real(**TIED, d=st.integers(2, 12)), pixels=st.integers(1, 11), bounded=st.booleans())
def test_pixels_that_are_tied(norm, p, pixels, bounded):
    """(P2): of equal |g_i| the first is chosen, in every step, in float32 too.

    So the same pixels end up changed, by the same. At least one is left as it was, which keeps z
    off its kinks though others have gone to the data's edge.
    """
    pixels = min(pixels, p.x.shape[1] - 1)
    p, low, high = (clipped(tied(p), 0.9), -1, 1) if bounded else (tied(p), -inf, inf)
    with linear_loss(), kinks_seen() as kinks, steps_seen() as path:
        x = paper.attack(p.W, p.x, p.y, p.gamma, norm, 0, pixels, low, high)
    rounding = 100 * p.eps * (1 + p.output_sizes)
    assume(min(kinks) > rounding.max() and not comes_back(p.x, path, 1e3 * p.eps))
    for quick in quick_attacks(p, norm, pixels, pixels, low, high):
        agree(quick.margin, margins(p, x), rounding)
        agree(*distinct(p, quick.x, x, rounding))


@given(p=exact_problems(), stride=st.integers(1, 3), steps=st.integers(0, 20), cut=st.booleans())
def test_signs_where_nothing_is_rounded(p, stride, steps, cut):
    """(P2): linf-sign with eps/5 of whole quarters: bitwise the same, kinks and zeros all along.

    So sgn 0 = 0, phi'(0) = gamma, and of equal margins the earlier iterate is kept.
    """
    low, high = (-1, 1) if cut else (-inf, inf)
    eps = 1.25 * stride
    with linear_loss():
        x = paper.attack(p.W, p.x, p.y, p.gamma, "linf-sign", eps, steps, low, high)
    for quick in quick_attacks(p, "linf-sign", eps, steps, low, high):
        assert np.array_equal(quick.x, x)
        assert np.array_equal(quick.margin, margins(p, x))


@EACH_NORM
@given(p=exact_problems(), cut=st.booleans())
def test_first_step_from_kinks(norm, p, cut):
    """(P2): one step from samples at kinks, of a gradient with ties, zeros, or nothing else.

    The margin after the step is continuous in it, so that kinks there do not matter.
    """
    low, high = (-1, 1) if cut else (-inf, inf)
    size = 1 if norm.startswith("l0") else 0.5
    with linear_loss():
        x = paper.attack(p.W, p.x, p.y, p.gamma, norm, size, 1, low, high)
    rounding = 4 * p.terms * p.eps * (1 + p.output_sizes)
    for quick in quick_attacks(p, norm, size, 1, low, high):
        agree(quick.margin, margins(p, x), rounding)
        agree(*distinct(p, quick.x, x, rounding))


@EACH_NORM
@given(p=exact_problems())
def test_first_step_from_zero(norm, p):
    """(P2): the same with the logistic loss itself, whose l'(0) = -1/2 is exact."""
    p = p._replace(x=0 * p.x)
    size = 1 if norm.startswith("l0") else 0.5
    x = paper.attack(p.W, p.x, p.y, p.gamma, norm, size, 1, kind="logistic")
    rounding = 4 * p.terms * p.eps * (1 + p.output_sizes)
    for quick in quick_attacks(p, norm, size, 1):
        agree(*distinct(p, quick.x, x, rounding))


@given(p=real(**DOUBLE, d=st.integers(2, 12)), stuck=st.integers(1, 5))
def test_released_l0_stalls_at_the_edge(p, stuck):
    """(P2): the pixel of largest |g| lies at the edge and is pushed outwards: nothing ever moves.

    The tracked variant goes on to the next ones. So do both of the quick code.
    """
    p = clipped(p, 0.3)
    g = paper.dl_dx(p.W, p.x, p.y, p.gamma)
    pixel = np.argmax(np.abs(g), axis=1)
    assume(np.abs(g).max(axis=1).min() > 1e-3)
    rows = np.arange(len(g))
    p.x[rows, pixel] = -np.sign(g)[rows, pixel]
    g = paper.dl_dx(p.W, p.x, p.y, p.gamma)
    there = np.argmax(np.abs(g), axis=1) == pixel
    stalls = there & (np.sign(g)[rows, pixel] == -p.x[rows, pixel])
    for norm in ("l0", "l0-tracked"):
        with steps_seen() as path:
            x = paper.attack(p.W, p.x, p.y, p.gamma, norm, 0, 1 + stuck, -1, 1)
        assume(not comes_back(p.x, path, 1e-9))
        if norm == "l0":
            assert np.array_equal(x[stalls], p.x[stalls])
        for quick in quick_attacks(p, norm, 1 + stuck, 1 + stuck, -1, 1):
            agree(quick.margin, margins(p, x), 1e-9 * (1 + p.output_sizes))
            assert np.array_equal(quick.x[stalls] == p.x[stalls], x[stalls] == p.x[stalls])
