"""The one-hidden-layer leaky-ReLU network, (N1) to (N4), with hand-derived gradients.

Samples are rows, x (N, d). Pre-activations are kept as Z = W X^T of shape (m, N). So each formula
below reads as in the paper, with j the row and n the column. Forward stands above backward.
Every function works on float32 and float64 and on any array namespace, and keeps the dtype.
"""

import math
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import Array, HostArray, asarray, namespace
from reflfap.errors import refuse
from reflfap.losses import Loss, rate, value


class Network(NamedTuple):
    """The network f(x) = sum_j a_j phi(<w_j, x>) of (N1), as its numbers; `network` makes one."""

    W: Array  # (m, d) hidden weights, rows w_j; trained
    a: Array  # (m,) output weights +-1/sqrt(m), or any, as in (W1); never trained
    slope: float  # gamma in (0, 1); in (W1) also 0

    def __repr__(self) -> str:
        m, d = self.W.shape
        return f"Network(m={m}, d={d}, slope={self.slope:g}, {self.W.dtype})"


def network(W: Array, slope: float) -> Network:
    """The network (N1) with hidden weights `W` (m, d), given or drawn, and leaky slope gamma.

    Its output weights are +1/sqrt(m) for the first half of the units, and -1/sqrt(m) for the
    second. dtype (float32 or float64) and namespace are those of W. Raises InputError for an odd m,
    a slope outside (0, 1), or weights that are not finite.
    """
    xp = checks.matrix("W", W)
    m = checks.hidden_units(W.shape[0], "W.shape[0]")
    a = xp.astype(asarray(output_weights(m), xp), W.dtype)
    return Network(W, a, checks.leaky_slope(slope))


def output_weights(hidden: int) -> HostArray:
    """a_j = 1/sqrt(m) for the first half of the units, -1/sqrt(m) for the second, (m,) float64."""
    return np.repeat(np.asarray([1, -1]) / math.sqrt(hidden), hidden // 2)


def initial_weights(hidden: int, dim: int, rng: np.random.Generator | int) -> HostArray:
    """Hidden weights (m, d) to start from: entries uniform on [-1/sqrt(d), 1/sqrt(d)], as in (N6).

    float64 on the host, drawn from a generator, or from the one of a seed. Raises InputError for an
    odd number of units, or no input.
    """
    rng = checks.generator("rng", rng)
    bound = 1 / math.sqrt(checks.whole_number("dim", dim, 1))
    return rng.uniform(-bound, bound, size=(checks.hidden_units(hidden), dim))


def with_constant(x: Array) -> Array:
    """(x, 1), (N, d + 1): a bias is the weight of one more input, which is always 1.

    This is exact for flow and descent: their steps in a parameter depend on its own gradient alone.
    The input has to be 1, and the bias needs a start of its own. With sqrt(d) for 1 all weights
    could start alike, but the bias would learn d times as fast.
    """
    xp = namespace(x)
    return xp.concatenate([x, xp.ones_like(x[:, :1])], axis=1)


def wide_start(
    hidden: int, dim: int, rng: np.random.Generator | int
) -> tuple[HostArray, HostArray]:
    """W with biases as last column, (m, d + 1), and a, (m,), float64 on the host, as in (W1):
    w_j ~ N(0, I/d), b_j ~ N(0, 1), a_j ~ N(0, 1/m).

    Drawn unit by unit, so that the first units do not depend on how many follow.
    """
    rng = checks.generator("rng", rng)
    drawn = rng.standard_normal(
        (checks.whole_number("hidden", hidden, 1), checks.whole_number("dim", dim, 1) + 2)
    )
    drawn[:, :dim] /= math.sqrt(dim)
    return drawn[:, :-1], drawn[:, -1] / math.sqrt(hidden)


def activation(z: Array, slope: float) -> Array:
    """phi(z) = max(z, gamma z), elementwise."""
    return namespace(z).maximum(z, slope * z)


def activation_slope(z: Array, slope: float) -> Array:
    """phi'(z) = 1 for z > 0, else gamma, elementwise; so phi'(0) = gamma. Exactly 1 or gamma.

    Clipping the indicator of z > 0 to [gamma, 1] is three times faster than maximum (measured).
    """
    xp = namespace(z)
    return xp.clip(xp.astype(z > 0, z.dtype), slope, 1.0)


def forward(net: Network, x: Array) -> tuple[Array, Array]:
    """(N1): outputs f(x_n), (N,), and the cache Z = W X^T, (m, N).

    f_n = sum_j a_j phi(Z_jn). Costs one product, 2 m d N operations.
    """
    Z = net.W @ x.T
    return net.a @ activation(Z, net.slope), Z


def backward(net: Network, slopes: Array, df: Array) -> Array:
    """The gradient with respect to Z, (m, N), from df (N,), that with respect to the outputs f.

    dZ_jn = a_j phi'(Z_jn) df_n, whence dW = dZ X and dx = dZ^T W. Takes and overwrites `slopes`,
    phi'(Z), since training would otherwise allocate one more of its size an epoch.
    """
    dZ = slopes
    dZ *= net.a[:, None]
    dZ *= df
    return dZ


def output_gradient(loss: Loss, y: Array, q: Array) -> Array:
    """dL/df_n = (1/N) l'(q_n) y_n, (N,), in the dtype of q; L is the mean loss, (N2)."""
    return -y * namespace(q).astype(rate(loss, q), q.dtype) / q.shape[0]


def weight_gradient(net: Network, x: Array, y: Array, loss: Loss) -> tuple[Array, Array]:
    """(N2), (N3): per-sample losses l(q_n), (N,) float64, and dL/dW, (m, d), of their mean L.

    dL/dw_j = (1/N) sum_n l'(q_n) y_n a_j phi'(Z_jn) x_n: every gradient is a combination of the
    samples. Costs two products, 4 m d N operations.
    """
    checks.samples_and_labels(x, y, net.W.shape[1])
    f, Z = forward(net, x)
    dZ = backward(net, activation_slope(Z, net.slope), output_gradient(loss, y, y * f))
    return value(loss, y * f), dZ @ x


def margin_gradient(net: Network, x: Array, y: Array) -> tuple[Array, Array]:
    """Margins q_n = y_n f(x_n), (N,), and dq_n/dx_n, (N, d): (N4) without its factor l'(q).

    dq/dx = y sum_j a_j phi'(Z_j) w_j. This is what attacks climb: -l'(q) > 0 only scales
    a sample's step, and underflows. Costs two products, 4 m d N operations.
    """
    f, Z = forward(net, x)
    return y * f, backward(net, activation_slope(Z, net.slope), y).T @ net.W


def input_gradient(net: Network, x: Array, y: Array, loss: Loss) -> tuple[Array, Array]:
    """(N4): per-sample losses, (N,) float64, and d l(y f(x)) / dx, (N, d).

    d l/dx = l'(q) dq/dx.
    """
    xp = checks.samples_and_labels(x, y, net.W.shape[1])
    q, dq = margin_gradient(net, x, y)
    return value(loss, q), -xp.astype(rate(loss, q), x.dtype)[:, None] * dq


def margins(net: Network, x: Array, y: Array) -> Array:
    """q_n = y_n f(x_n), (N,), without a gradient."""
    checks.samples_and_labels(x, y, net.W.shape[1])
    return y * forward(net, x)[0]


def accuracy(q: Array) -> float:
    """The fraction of samples with a positive margin; f(x) = 0 classifies nothing."""
    if q.shape[0] == 0:
        refuse("q", "at least one margin", "none", "give at least one sample")
    xp = namespace(q)
    return float(xp.mean(xp.astype(q > 0, xp.float64)))
