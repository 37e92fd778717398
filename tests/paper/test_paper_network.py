"""paper.py (N1) to (N4): the network, its loss and its gradients are those of the quick code.

Both form W x^T by the same product, so they see bitwise the same z and take the same side of each
kink. What is left is rounding: of a sum of k terms at most k eps times the sum of their magnitudes,
in each of the two. l'(q) = -exp(-q) changes by the error of q, relatively; l'(q) of the logistic
loss by less.
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from paper_problems import DTYPES, KINDS, SEEDS, agree, exact_problems, real_problems

from reflfap import losses, onehidden, paper

PROBLEMS = real_problems() | exact_problems()
LOSSES = st.sampled_from(KINDS)


def rounding(p):
    """Relative, of the terms of a gradient, l'(q) a_j phi' times an entry of W or x."""
    return 2 * p.terms * p.eps * (1 + p.output_sizes)


@given(half=st.integers(1, 300), dtype=st.sampled_from(DTYPES))
def test_output_weights(half, dtype):
    """(N1): a_j = +-1/sqrt(m), rounded once or twice; exactly where sqrt(m) is a power of two."""
    W = np.zeros((2 * half, 1), dtype)
    expected = paper.output_weights(W)
    assert expected.dtype == onehidden.network(W, 0.5).a.dtype == dtype
    agree(onehidden.network(W, 0.5).a, expected, np.finfo(dtype).eps * np.abs(expected))
    agree(onehidden.output_weights(4**5), paper.output_weights(np.zeros((4**5, 1))))


@given(seed=SEEDS, gamma=st.floats(0.001, 0.999), dtype=st.sampled_from(DTYPES))
def test_activation(seed, gamma, dtype):
    """(N1): phi and phi' at any z, 0 and -0.0 among them: the same numbers."""
    rng = np.random.default_rng(seed)
    z = np.concatenate([rng.standard_normal(20), rng.integers(-1, 2, 20), [-0.0]]).astype(dtype)
    agree(onehidden.activation(z, gamma), paper.phi(z, gamma))
    slopes, expected = onehidden.activation_slope(z, gamma), paper.dphi(z, gamma)
    agree(slopes, expected)
    assert slopes.dtype == expected.dtype == dtype
    assert np.all(expected[z == 0] == np.asarray(gamma, dtype))


@given(p=real_problems())
def test_forward(p):
    """(N1): f(x), up to the rounding of its two sums."""
    agree(onehidden.forward(p.net, p.x)[0], paper.f(p.x, p.W, p.gamma), rounding(p))


@given(p=exact_problems())
def test_forward_at_kinks(p):
    """(N1): f(x) where nothing is rounded: the same numbers."""
    agree(onehidden.forward(p.net, p.x)[0], paper.f(p.x, p.W, p.gamma))
    agree(onehidden.margins(p.net, p.x, p.y), p.y * paper.f(p.x, p.W, p.gamma))


@given(p=exact_problems())
def test_accuracy(p):
    """(E1): the fraction that is classified correctly, to which f(x) = 0 does not count."""
    expected = paper.accuracy(*p)
    agree(onehidden.accuracy(onehidden.margins(p.net, p.x, p.y)), expected, p.eps)


@given(kind=LOSSES, seed=SEEDS, dtype=st.sampled_from(DTYPES))
def test_loss_values(kind, seed, dtype):
    """(N2): l(q) and l'(q), for margins in -20 to 20.

    The quick code computes in float64 through logarithms, whose rounding costs |q| eps. paper.py
    stays in the dtype of q: it rounds exp(-q), and in the logistic loss 1 + exp(-q), which costs
    eps beside the 1.
    """
    q = np.random.default_rng(seed).uniform(-20, 20, 30).astype(dtype)
    loss, eps = losses.LOSSES[kind], np.finfo(dtype).eps * (4 + np.abs(q))
    expected = paper.loss(q, kind)
    agree(losses.value(loss, q), expected, eps * (np.abs(expected) + (kind == "logistic")))
    expected = paper.dloss(q, kind)
    agree(-losses.rate(loss, q), expected, eps * np.abs(expected))


@given(kind=LOSSES, p=PROBLEMS)
def test_mean_loss(kind, p):
    """(N2): L(W). Margins of one rounding, so losses of the same, relative to 1 + l(q)."""
    expected = float(paper.L(*p, kind))
    q = onehidden.margins(p.net, p.x, p.y)
    mean = np.exp(float(losses.log_mean(losses.LOSSES[kind], q)))
    agree(mean, expected, rounding(p).max() * (1 + expected))


@given(kind=LOSSES, p=PROBLEMS)
def test_weight_gradient(kind, p):
    """(N3): dL/dW, and the losses that come with it."""
    values, gradient = onehidden.weight_gradient(p.net, p.x, p.y, losses.LOSSES[kind])
    expected = paper.dL_dW(*p, kind)
    assert gradient.dtype == expected.dtype == p.x.dtype
    q = p.y * paper.f(p.x, p.W, p.gamma)
    sizes = np.abs(paper.dloss(q, kind)) * rounding(p) @ np.abs(p.x) / np.sqrt(len(p.W)) / len(q)
    agree(gradient, expected, sizes)
    agree(values, paper.loss(q, kind), rounding(p) * (1 + paper.loss(q, kind)))


@given(kind=LOSSES, p=PROBLEMS)
def test_input_gradient(kind, p):
    """(N4): d l(y f(x)) / dx; and its factor l'(q) times the gradient that attacks climb."""
    expected = paper.dl_dx(*p, kind)
    q, dq = onehidden.margin_gradient(p.net, p.x, p.y)
    rate = paper.dloss(p.y * paper.f(p.x, p.W, p.gamma), kind)[:, None]
    within = np.abs(rate) * rounding(p)[:, None] * np.abs(p.W).sum(axis=0) / np.sqrt(len(p.W))
    values, gradient = onehidden.input_gradient(p.net, p.x, p.y, losses.LOSSES[kind])
    assert gradient.dtype == expected.dtype == p.x.dtype
    agree(gradient, expected, within)
    agree(rate * dq, expected, within)
    agree(values, losses.value(losses.LOSSES[kind], q))


@given(p=exact_problems(n=st.sampled_from([1, 2, 4, 8])))
def test_phi_prime_at_kinks(p):
    """(N3), (N4): the same numbers where every z is at its kink, for weights 0 and samples 0.

    There q = 0, and l'(0) = -1/2 of the logistic loss is exact, as is all else, 1/N too.
    """
    net, x = onehidden.network(0 * p.W, p.gamma), 0 * p.x
    _, gradient = onehidden.weight_gradient(net, p.x, p.y, losses.LOGISTIC)
    agree(gradient, paper.dL_dW(0 * p.W, p.x, p.y, p.gamma, "logistic"))
    _, gradient = onehidden.input_gradient(p.net, x, p.y, losses.LOGISTIC)
    agree(gradient, paper.dl_dx(p.W, x, p.y, p.gamma, "logistic"))
