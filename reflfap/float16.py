"""The network (N1) in the released experiment's arithmetic: float16 where that ran in float16.

The released code wraps the model for 16 bits, and not the optimiser: inputs, weights and each
intermediate result are rounded to float16, products are accumulated in float32, and no scale
keeps small gradients above the smallest float16 number. With h the rounding, c = 1/sqrt(m), and s
the weight of a sample in the loss, 1/N in training and 1 in the attack, whose loss is a sum:

    z = h(h(x) h(W)^T)       p = h(phi(z))       f = h(p h(a)),   in float32 from here to g
    g = h(-y r(q) s)         u_j = h(g h(a_j)) where z_j > 0, else h(gamma h(g h(a_j)))
    training  dW = h(u^T h(x))                   attack  dx = h(u h(W))

with r = -l'. Arrays here are float32 and hold float16 numbers: float16 itself is slow on the host,
below 2^-14 a hundred times as slow as this. docs/precision.md says what follows from it.
"""

import numpy as np

from reflfap import checks
from reflfap.backend import Array, namespace, on_host, to_host
from reflfap.errors import refuse
from reflfap.losses import Loss, rate
from reflfap.norms import row_peaks
from reflfap.onehidden import Network, activation

SMALLEST = 2.0**-24
"""The smallest positive float16 number; what is at most half of it is rounded to zero."""

_EXPONENT = np.uint32(0x7F800000)
_LEAST, _MOST = np.uint32((127 - 14) << 23), np.uint32((127 + 16) << 23)
_TIMES_1536 = np.uint32((13 << 23) | (1 << 22))  # to the bits of 2^e, which makes 1.5 2^(e + 13)
_TOP = np.float32(2.0**112)


def rounded(x: Array) -> Array:
    """x (...) float32 rounded to the nearest float16 number, ties to even, as float32; a new array.

    With 2^e <= |x| < 2^(e+1), float16 has steps of 2^(e-10), but none below 2^-24. So has float32
    from 2^(e+13) on: it rounds x + 1.5 2^(e+13) just so, and the difference is exact. Beyond 65504,
    2^112 times the result is beyond float32, and infinite. Zeros lose their sign. InputError for
    another dtype. On a device the casts do it.
    """
    xp = namespace(x)
    if x.dtype != xp.float32:
        refuse("x", "dtype float32", x.dtype, "convert it")
    if not on_host(xp):
        with np.errstate(over="ignore"):
            return xp.astype(xp.astype(x, xp.float16), xp.float32)
    x = np.asarray(x)
    magic = np.ascontiguousarray(x).view(np.uint32) & _EXPONENT
    np.clip(magic, _LEAST, _MOST, out=magic)
    magic += _TIMES_1536
    shift = magic.view(np.float32)
    found = x + shift
    found -= shift
    with np.errstate(over="ignore"):
        found *= _TOP
    found *= 1 / _TOP
    return found


def rounded_network(net: Network) -> Network:
    """The network with h(W) and h(a), which all functions below take. InputError for float64."""
    return net._replace(W=rounded(net.W), a=rounded(net.a))


def rounded_outputs(net: Network, Z: Array) -> Array:
    """f, (N,), from z, (m, N), both float16 numbers."""
    with np.errstate(over="ignore", invalid="ignore"):  # who reads the margins refuses them
        return rounded(net.a @ rounded(activation(Z, net.slope)))


def unit_gradients(net: Network, loss: Loss, q: Array, share: float) -> tuple[Array, Array]:
    """|u_j| of a unit that is on, and of one that is off, (N,) each, at margins q (N,).

    All |a_j| are one number. `share` is s.
    """
    xp = namespace(q)
    with np.errstate(over="ignore"):
        g = rounded(xp.astype(rate(loss, q) * share, xp.float32))
        on = rounded(g * xp.abs(net.a[0]))
        return on, rounded(net.slope * on)


def rounded_backward(net: Network, Z: Array, y: Array, on: Array, off: Array) -> Array:
    """-u, (m, N): y_n sign(a_j) times |u_j|, from z (m, N) and what `unit_gradients` gave."""
    xp = namespace(Z)
    return xp.where(Z > 0, y * on, y * off) * xp.sign(net.a)[:, None]


def rounded_margin_gradient(net: Network, loss: Loss, x: Array, y: Array) -> tuple[Array, Array]:
    """Margins, (n,), and -dx, (n, d): what the released attack climbs, for a `rounded_network`.

    -dx is `rounded_direction`. Costs two products, 4 m d n operations.
    """
    checks.samples_and_labels(x, y, net.W.shape[1])
    Z = rounded(net.W @ rounded(x).T)
    q = y * rounded_outputs(net, Z)
    u = rounded_backward(net, Z, y, *unit_gradients(net, loss, q, 1.0))
    with np.errstate(over="ignore", invalid="ignore"):
        return q, rounded_direction(u.T @ net.W)


def rounded_direction(dx: Array) -> Array:
    """h(dx), (n, d) from float32, and zero for a sample where that is not finite.

    Beyond 65504 an entry is infinite; in exponential loss a margin below -11.1 makes all of them
    so. The released step divides by the length, its sample is no number from then on, and no loss
    of it is the smaller: the best iterate is the one before. That is what a gradient of zero does.
    """
    xp = namespace(dx)
    dx = rounded(dx)
    held = xp.isfinite(row_peaks(dx))  # NaN is kept by it
    return xp.where(held[:, None], dx, 0)


def stopping_margins(net: Network, loss: Loss, share: float) -> tuple[float, float]:
    """The margins from which on the gradients of units that are on, and off, are zero.

    By bisection, since -l' falls and every rounding keeps the order: to the last bit of float32.
    """
    net, ends = net._replace(a=to_host(net.a[:1])), []
    for unit in range(2):
        low, high = np.float32(-80.0), np.float32(120.0)
        while low < (middle := (low + high) / 2) < high:
            q = np.asarray([middle], dtype=np.float32)
            zero = unit_gradients(net, loss, q, share)[unit][0] == 0
            low, high = (low, middle) if zero else (middle, high)
        ends.append(float(high))
    return ends[0], ends[1]
