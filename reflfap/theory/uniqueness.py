"""(R1), (R2): whether samples are so nearly orthogonal that there is one KKT point (T2), certified.

With r = max_n sum_{k != n} |<x_n, x_k>| / ||x_k||^2, whatever the labels and however many units,

    (R1)  r < gamma (1 + gamma^2)/(1 + gamma - gamma^2 + gamma^3):  the aligned KKT point exists,
    (R2)  and (1 - gamma^3) r^2 < gamma^2 (1 + gamma^2) (1 - r):     there is no other.

Up to gamma = sqrt(2) - 1 they are the same. (T1) implies both. The proofs are in docs/theory.md.
They hold of real numbers, so r is enclosed between two floats, rounding included, and these are
compared with the thresholds as fractions.
"""

import math
from fractions import Fraction
from typing import NamedTuple

from reflfap import checks
from reflfap.backend import Array, floats, namespace, on_host, slices
from reflfap.norms import row_peaks

ROWS = 1_000  # of a block; two blocks of samples and one of products are held
LOOKED_AT = 50  # rows whose sums say what to expect of the others
MUCH_WORK = 1e10  # N^2 d from which float32 products are tried first
SINGLE_RANGE = 2.0**30  # largest magnitudes within this and its inverse lose nothing in float32
SINGLE_INPUTS = 2**22
UNIT = {"float32": 2.0**-24, "float64": 2.0**-53}  # half the distance from one to the next number

Between = tuple[float, float]
"""At least, at most."""


class Interference(NamedTuple):
    """How much samples overlap: enclosures of what (R1), (R2) and (T1) are stated in."""

    r: Between  # max_n sum_{k != n} |<x_n, x_k>| / ||x_k||^2
    p_max: Between  # largest |<x_n, x_k>|, n != k
    least: Between  # smallest ||x_n||^2
    largest: Between  # largest ||x_n||^2
    n: int


class Certified(NamedTuple):
    """What is certified of samples, for every labelling and every number of units."""

    r_low: float  # r is at least this,
    r_high: float  # and at most this, rounding included
    exists_below: float  # thresholds of (R1)
    unique_below: float  # and (R2), rounded
    regime: str  # "orthogonal": (T1) holds; "unique": (R2) does; "exists": (R1) does; "neither"
    line: str  # in words

    @property
    def unique(self) -> bool:
        """(R2): whether the aligned KKT point is certified to be the only KKT point."""
        return self.regime in ("orthogonal", "unique")

    @property
    def exists(self) -> bool:
        """(R1): whether the aligned KKT point is certified to exist."""
        return self.regime != "neither"


def certify(x: Array, slope: float) -> Certified:
    """(R1), (R2): the regime of samples x (N, d), with rigorous rounding, and a line in words.

    What is said to hold does; "neither" says that neither threshold is certified, and the line
    whether r exceeds the first. Cost and errors: `interference`. From N^2 d = 10^10 on, products on
    the host are in float32 first, u = 2^-24, and in float64 only if that leaves the regime open.
    """
    slope = checks.leaky_slope(slope)
    exists_below, unique_below = (float(one) for one in thresholds(Fraction(slope)))
    for dtype in ("float32", "float64") if _single_will_do(x, exists_below) else ("float64",):
        found = _enclosed(x, dtype)
        worst, best = (_regime(found, slope, end) for end in (1, 0))
        if worst == best:
            break
    low, high = found.r
    line = {
        "orthogonal": "unique KKT point, certified: (T1) holds",
        "unique": f"unique KKT point, certified: r is at most {high:.6g}, below {unique_below:.6g}",
        "exists": f"aligned KKT point certified; that it is the only one is not: r is at least "
        f"{low:.6g}, to be below {unique_below:.6g}",
        "neither": f"nothing certified: r is at least {low:.6g}, to be below {exists_below:.6g}",
    }[worst]
    line += "" if worst == best else f"; rounding hides whether {best!r} holds"
    return Certified(low, high, exists_below, unique_below, worst, line)


def thresholds(slope: Fraction) -> tuple[Fraction, Fraction]:
    """(R1), (R2): what r must be below, for existence and for uniqueness.

    rho_1 = gamma (1 + gamma^2)/(1 + gamma - gamma^2 + gamma^3), twice up to gamma = sqrt(2) - 1;
    from there on the root rho_2 > 0 of (1 - gamma^3) r^2 = gamma^2 (1 + gamma^2) (1 - r) is the
    smaller one, which is given rounded down, by 2^-120 at most.
    """
    exists = slope * (1 + slope**2) / (1 + slope - slope**2 + slope**3)
    if slope**2 + 2 * slope <= 1:
        return exists, exists
    a, b = 1 - slope**3, slope**2 * (1 + slope**2)
    square = b**2 + 4 * a * b
    root = Fraction(math.isqrt(int(square * 4**130)), 2**130)  # rounded down
    return exists, (root - b) / (2 * a)


def scaled_multiplier_bounds(r: float, slope: float) -> tuple[float, float]:
    """(R1): (1 - 2 r)/(1 - r) <= h mu_n <= 1/(1 - r), h = (1 + gamma^2)/2, mu_n = ||x_n||^2 lam_n.

    Returns the bounds of mu_n at the aligned point, for r below the threshold of (R1) and 1/2,
    where no constraint is idle; InputError from there on.
    """
    slope = checks.leaky_slope(slope)
    below = min(float(thresholds(Fraction(slope))[0]), 0.5)
    r = checks.real_number("r", r, 0.0, below, "[)")
    h = (1 + slope**2) / 2
    return (1 - 2 * r) / (1 - r) / h, 1 / (1 - r) / h


def interference(x: Array) -> Interference:
    """(R1): r of samples x (N, d) between two floats, and what (T1) needs, rounding included.

    With gamma_k = k u/(1 - k u), an inner product of d terms, summed in any order, errs by at most
    gamma_d ||x_n|| ||x_k||, and a sum of k positive terms by gamma_k of itself (Higham, Accuracy
    and Stability, 3.1). So r errs by gamma_(d+4) max_n ||x_n|| sum_k 1/||x_k|| for the products,
    and by gamma_(N+d+32) of all this for the rest; 4 and 32 leave room for conversion, underflow
    and the last steps. The first is near N d u, 10^-8 at N = d = 10,000. All in float64, float32
    data exactly. N^2 d operations, for products come in pairs; memory: 2,000 rows of x, and 1,000
    times 6,000 numbers. Raises InputError for a sample that is zero, or whose squares leave the
    dtype.
    """
    return _enclosed(x, "float64")


def _enclosed(x: Array, dtype: str) -> Interference:
    """The same with products in that dtype, whose u counts for them; the rest in float64."""
    xp = checks.matrix("x", x)
    checks.squares_held("x", row_peaks(x))
    n, d = x.shape
    squares = _squares(x)
    sums, p_max = xp.zeros(n, dtype=xp.float64), 0.0
    # <x_n, x_k> is <x_k, x_n>: only blocks on and above the diagonal are formed, and each is summed
    # along its rows and its columns. Each product errs by gamma_d as before, and the terms of a
    # sum are the same positive N - 1 in another order, each added N times at most: gamma_N holds.
    for rows in slices(n, ROWS):
        left = xp.astype(x[rows, :], getattr(xp, dtype), copy=False)
        for columns in slices(n, ROWS, rows.start):
            right = xp.astype(x[columns, :], left.dtype, copy=False)
            K = xp.abs(xp.astype(left @ right.T, xp.float64, copy=False))
            if columns.start == rows.start:
                K *= 1 - xp.eye(K.shape[0], dtype=K.dtype)
            else:
                sums[columns] += (1 / squares[rows]) @ K
            sums[rows] += K @ (1 / squares[columns])
            p_max = max(p_max, float(xp.max(K)))
    of_products = rounding(d + 4, UNIT[dtype]) if n > 1 else 0.0
    more = rounding(n + d + 32, UNIT["float64"])
    errors = of_products * _spread(squares)
    low = float(xp.max(sums * (1 - more) - errors * (1 + more)))
    high = float(xp.max(sums + errors)) * (1 + more)
    least, largest = float(xp.min(squares)), float(xp.max(squares))
    p_error = of_products * largest * (1 + more)
    return Interference(
        (max(low, 0.0), high),
        (max(p_max - p_error, 0.0), (p_max + p_error) * (1 + more)),
        (least * (1 - more), least * (1 + more)),
        (largest * (1 - more), largest * (1 + more)),
        n,
    )


def rounding(count: int, unit: float) -> float:
    """Higham's gamma_k = k u/(1 - k u), of `count` roundings with relative error `unit` each."""
    return count * unit / (1 - count * unit)


def _squares(x: Array) -> Array:
    """||x_n||^2 in float64, (n,)."""
    xp, squares = namespace(x), []
    for rows in slices(x.shape[0], ROWS):
        wide = xp.astype(x[rows, :], xp.float64, copy=False)
        squares.append(xp.sum(wide * wide, axis=1))
    return xp.concat(squares)


def _spread(squares: Array) -> Array:
    """||x_n|| sum_k 1/||x_k||, (n,): how far errors of products reach."""
    xp = namespace(squares)
    lengths = xp.sqrt(squares)
    return lengths * xp.sum(1 / lengths)


def _single_will_do(x: Array, below: float) -> bool:
    """Whether float32 products are worth a try, and err by no more than is allowed for.

    Not on a device, which may round them to fewer digits. Where they err by `below` or more, the
    larger threshold, they can only say that r is larger still: a few rows tell beforehand.
    """
    xp = checks.matrix("x", x)
    n, d = x.shape
    if not on_host(xp) or n**2 * d < MUCH_WORK or d > SINGLE_INPUTS:
        return False
    low, high = floats(xp.min(row_peaks(x)), xp.max(row_peaks(x)))
    if not (1 / SINGLE_RANGE <= low and high <= SINGLE_RANGE):
        return False
    squares = _squares(x)
    error = rounding(d + 4, UNIT["float32"]) * xp.max(_spread(squares))
    some = xp.abs(x[:LOOKED_AT, :] @ x.T) @ (1 / squares) - 1  # without k = n
    return bool(error < below or error < xp.max(some))


def _regime(found: Interference, slope: float, end: int) -> str:
    """The regime at one end of the enclosures: 1, what is certain; 0, what may be, at best."""
    g, other = Fraction(slope), 1 - end
    r, p_max = Fraction(found.r[end]), Fraction(found.p_max[end])
    least, largest = Fraction(found.least[other]), Fraction(found.largest[end])
    exists, unique = thresholds(g)
    if p_max <= g**3 * least**2 / (3 * found.n * largest):
        return "orthogonal"
    if r < unique:
        return "unique"
    return "exists" if r < exists else "neither"
