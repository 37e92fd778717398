"""(T1): how nearly orthogonal samples are, and how large random ones must be to meet the condition.

With R_min, R_max the smallest and largest ||x_n|| and p_max = max |<x_n, x_k>| over n != k,

    gamma^3 R_min^4 / (3 N R_max^2) >= p_max.
"""

import math
from bisect import bisect_right
from typing import NamedTuple

from scipy.special import ndtri

from reflfap import checks
from reflfap.backend import Array
from reflfap.norms import row_peaks

CHUNK_ROWS = 1_000
MOST_COUNTED = 10**30  # samples or dimensions; beyond, what is computed of them may leave a float


class Orthogonality(NamedTuple):
    """The quantities of (T1), in squared data units."""

    r_min: float  # smallest ||x_n||
    r_max: float  # largest ||x_n||
    p_max: float  # largest |<x_n, x_k>|, n != k; 0 for a single sample
    bound: float  # gamma^3 r_min^4 / (3 N r_max^2)

    @property
    def holds(self) -> bool:
        return self.bound >= self.p_max

    @property
    def margin(self) -> float:
        """bound / p_max: at least one where (T1) holds, infinite for orthogonal samples."""
        return self.bound / self.p_max if self.p_max > 0 else math.inf


def orthogonality(x: Array, slope: float) -> Orthogonality:
    """(T1): gamma^3 R_min^4 / (3 N R_max^2) against p_max, for samples x (N, d).

    Inner products in the dtype of x, 2 N^2 d operations in blocks of 1,000 rows. Raises InputError
    for a sample that is zero: it has no direction, and no margin can ever be positive there; and
    for samples whose squared norms leave the dtype.
    """
    xp = checks.matrix("x", x)
    slope = checks.leaky_slope(slope)
    n = x.shape[0]
    checks.squares_held("x", row_peaks(x))
    squares = xp.sum(x * x, axis=1)
    r_min, r_max = (math.sqrt(float(pick(squares))) for pick in (xp.min, xp.max))
    p_max = 0.0
    for first in range(0, n, CHUNK_ROWS):
        products = xp.abs(x[first : first + CHUNK_ROWS] @ x.T)
        own = xp.arange(products.shape[0])
        products[own, first + own] = 0
        p_max = max(p_max, float(xp.max(products)))
    return Orthogonality(r_min, r_max, p_max, slope**3 * r_min**4 / (3 * n * r_max**2))


def smallest_dimension(n: int, slope: float) -> float:
    """The d at which N random samples meet (T1) about every second time, if of equal norms.

    At small d the spread of the norms lowers that: to a third at N = 4, gamma = 0.9.
    For independent zero-mean coordinates of variance sigma^2, ||x||^2 = d sigma^2 nearly, and the
    N (N-1)/2 inner products are nearly normal of deviation sqrt(d) sigma^2, the largest of them in
    the median z sqrt(d) sigma^2 with z the quantile below. So sqrt(d) = 3 N z / gamma^3, whatever
    sigma. A float, since it may exceed every array: 2e20 at N = 1,000, gamma = 0.01.
    Raises InputError for N above 10^30 and gamma below 10^-40, where no float may hold it.
    """
    n, slope = checks.whole_number("n", n, 1, MOST_COUNTED), checks.slope_with_powers(slope)
    return (3 * n * median_of_largest(n * (n - 1) // 2) / slope**3) ** 2


def largest_number(dim: int, slope: float) -> int:
    """The largest N for which `smallest_dimension` is at most d; at least 1.

    Raises InputError as that does, and for d above 10^30.
    """
    dim = checks.whole_number("dim", dim, 1, MOST_COUNTED)
    high = 2
    while smallest_dimension(high, slope) <= dim:
        high *= 2
    return bisect_right(range(1, high), float(dim), key=lambda n: smallest_dimension(n, slope))


def median_of_largest(count: int) -> float:
    """The median of the largest of `count` independent |xi|, xi standard normal; 0 for none.

    Phi(z) = 1 - (1 - 2^(-1/count))/2, with expm1 for the digits of large counts.
    """
    if count == 0:
        return 0.0
    return float(-ndtri(-math.expm1(-math.log(2) / count) / 2))
