"""paper.py (N5), (N6): gradient flow and gradient descent are those of the quick code."""

import contextlib
from math import inf
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from paper_problems import (
    DTYPES,
    KINDS,
    SEEDS,
    Problem,
    agree,
    kinks_seen,
    orthogonal_problems,
    real_problems,
)

from reflfap import losses, paper
from reflfap.training.descent import descent
from reflfap.training.flow import flow

# a failure is not made smaller, which would take minutes
FEW = settings(max_examples=6, phases=[Phase.explicit, Phase.reuse, Phase.generate])
EACH_LOSS = pytest.mark.parametrize("kind", KINDS)
EACH_FORM = pytest.mark.parametrize("form", ["weights", "coefficients"])


def margins(p, W):
    return p.y * paper.f(p.x, W, p.gamma)


def gentle(p):
    """The problem with samples half as long, if no margin is so negative that descent diverges."""
    p = p._replace(x=p.x / 2)
    assume(margins(p, p.W).min() > -2)
    return p


def descended(p, kind, form, **settings):
    """The quick code's descent and paper.py's for as many epochs as the quick one made."""
    quick = descent(p.net, p.x, p.y, losses.LOSSES[kind], form=form, **settings)
    epochs = len(quick.trace.loss) - 1
    lr, mu = settings.get("rate", 0.01), settings.get("momentum", 0.9)
    return quick, paper.gradient_descent(*p, epochs, kind, lr, mu)


# --- (N5) -----------------------------------------------------------------------------------------


@EACH_LOSS
@FEW
@given(p=orthogonal_problems(), time=st.floats(0.1, 10))
def test_flow_off_the_kinks(kind, p, time):
    """(N5): the same margins and weights at the same time, where no unit changes side.

    The units begin as at the aligned KKT point, and flow only takes them further from their kinks.
    So flow is smooth, Heun's scheme in 300 steps errs by 1e-5, and the quick code bounds the error
    of a step by 1e-4; it takes some hundred, but later ones forgive: margins grow like log t
    whatever they were.
    """
    W, _ = paper.aligned_kkt_point(p.x, p.y, len(p.W), p.gamma)
    p = p._replace(W=(0.3 * W).astype(p.x.dtype))
    how = {"time": time, "tolerance": 1e-4}
    quick = flow(p.net, p.x, p.y, losses.LOSSES[kind], **how)
    assert not quick.trace.sign_changes.any()
    W = paper.gradient_flow(*p, time, 300, kind)
    agree(quick.q, margins(p, W), 1e-3)
    agree(quick.net.W, W, 1e-3)


@EACH_LOSS
@FEW
@given(seed=SEEDS, dtype=st.sampled_from(DTYPES))
def test_flow_across_kinks(kind, seed, dtype):
    """(N5): from random weights, margins within the quick code's tolerance, in the median.

    It says no more for itself: where a kink repels, a unit that comes to it within the error of
    either of the two falls to one or the other side. So nine problems, and the median of their RMS.
    """
    rng, errors = np.random.default_rng(seed), []
    for n, d, m in ((1, 3, 2), (3, 8, 4), (5, 2, 6)) * 3:
        W, x = rng.standard_normal((m, d)) / np.sqrt(d), rng.standard_normal((n, d))
        y = rng.choice([-1.0, 1.0], n)
        p = Problem(W.astype(dtype), x.astype(dtype), y.astype(dtype), rng.uniform(0.05, 0.95))
        how = {"time": 5.0, "tolerance": 0.01}
        quick = flow(p.net, p.x, p.y, losses.LOSSES[kind], **how)
        expected = margins(p, paper.gradient_flow(*p, 5.0, 200, kind))
        errors.append(np.sqrt(np.mean((quick.q - expected) ** 2)))
    assert np.median(errors) <= 0.01


# --- (N6) -----------------------------------------------------------------------------------------


@EACH_FORM
@EACH_LOSS
@settings(max_examples=20)
@given(
    p=real_problems(dtype=st.just("float64")),
    epochs=st.integers(1, 40),
    rate=st.floats(0.001, 0.02),
    momentum=st.floats(0, 0.95),
)
def test_descent(form, kind, p, epochs, rate, momentum):
    """(N6): weights, margins and losses after the same epochs in float64, to nine digits.

    An epoch adds some 1e-15. At these rates it does not amplify what is there by much.
    """
    p = gentle(p)
    quick, W = descended(p, kind, form, epochs=epochs, rate=rate, momentum=momentum)
    scale = 1 + np.abs(W).max()
    agree(quick.net.W, W, 1e-9 * scale)
    agree(quick.q, margins(p, W), 1e-9 * scale * p.output_sizes.max())
    final = float(paper.L(W, p.x, p.y, p.gamma, kind))
    assert quick.trace.loss[-1] == pytest.approx(final, rel=1e-9)


@EACH_FORM
@EACH_LOSS
@settings(max_examples=20)
@given(p=real_problems(dtype=st.just("float32")), epochs=st.integers(1, 12))
def test_descent_in_float32(form, kind, p, epochs):
    """(N6): in float32, to four digits, for twelve epochs: too few for the schedule to cut.

    A cut hangs on whether the loss fell by 1e-4, and float32 knows a loss to 1e-7 only. Likewise
    left out: who comes within 1e-4 of a kink. An epoch adds some 1e-6, of the sums' sizes.
    """
    p = gentle(p)
    with kinks_seen() as kinks:
        quick, W = descended(p, kind, form, epochs=epochs)
    assume(min(kinks) > 1e-4)
    scale = 1 + np.abs(W).max()
    agree(quick.net.W, W, 1e-4 * scale)
    agree(quick.q, margins(p, W), 1e-4 * scale * (1 + p.output_sizes.max()))


@contextlib.contextmanager
def losses_seen():
    """The losses that paper.py's schedule looks at meanwhile."""
    seen, L = [], paper.L

    def watched(*args):
        seen.append(float(L(*args)))
        return seen[-1]

    *others, _, gradient = paper.gradient_descent.__defaults__
    with patch.object(paper.gradient_descent, "__defaults__", (*others, watched, gradient)):
        yield seen


def least_clear(course):
    """How near a loss comes to the one that would count as an improvement, relatively."""
    best, nearest = course[0], inf
    for now in course[1:]:
        nearest = min(nearest, abs(now / best - (1 - 1e-4)))
        best = now if now < (1 - 1e-4) * best else best
    return nearest


@EACH_FORM
@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-9), ("float32", 1e-4)])
@FEW
@given(
    p=real_problems(dtype=st.just("float64"), n=st.integers(1, 4), half=st.integers(1, 3)),
    rate=st.floats(0.05, 0.5),
)
def test_descent_while_the_rate_is_cut(form, dtype, rounding, p, rate):
    """(N6): the schedule cuts at the same epochs, and momentum goes on at the new rate.

    Each sample twice, with both labels: the loss soon stands at log 2, its least, and lr falls to
    its end, where the quick code stops. Descent contracts there, so that rounding does not grow:
    nine digits as above, four in float32. Left out: who comes as near to a kink, or whose loss
    comes within a twentieth of that to the one that decides; float32 knows it to 1e-6.
    """
    x, y = np.concatenate([p.x, p.x]), np.concatenate([p.y, -p.y])
    p = Problem(p.W.astype(dtype), x.astype(dtype), y.astype(dtype), p.gamma)
    with kinks_seen() as kinks, losses_seen() as course:
        quick, W = descended(p, "logistic", form, epochs=400, rate=rate)
    assume(quick.trace.step[-1] < 0.02 * rate)  # cut twice or more
    assume(min(kinks) > rounding)
    assume(least_clear(course) > 0.05 * rounding)
    agree(quick.net.W, W, rounding * (1 + np.abs(W).max()))
    agree(quick.trace.loss[:-1], course, rounding)
