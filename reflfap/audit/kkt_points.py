"""All KKT points (T2) of a few samples, by trial of every pattern: a check of (R1) and (R2)."""

from collections.abc import Iterator
from itertools import combinations_with_replacement, product

import numpy as np

from reflfap.backend import HostArray

OFF, ON, KINK = 0, 1, 2
Pattern = tuple[tuple[int, ...], ...]


def every_kkt_point(x: HostArray, y: HostArray, slope: float, hidden: int) -> list[HostArray]:
    """W (m, d) of each KKT point in the sense of Clarke, up to the order of like units.

    For samples x (N, d) in general position. Each unit is on, off or at its kink at each sample, at
    the kink with any phi' between gamma and 1; each constraint is active or not. All that is left
    then is linear: lam_n of the active ones, and lam_n phi'_jn at the kinks. (3^N)^m 2^N systems,
    some less for like units.
    """
    states = list(product((OFF, ON, KINK), repeat=len(y)))
    halves = list(combinations_with_replacement(states, hidden // 2))
    found = []
    for first, second in product(halves, halves):
        for active in product((False, True), repeat=len(y)):
            found += list(_solved(x, y, slope, first + second, active))
    return found


def _solved(
    x: HostArray, y: HostArray, slope: float, pattern: Pattern, active: tuple[bool, ...]
) -> Iterator[HostArray]:
    """The W of one pattern and active set, if it is a KKT point."""
    G, m, n = x @ x.T, len(pattern), len(y)
    a = np.repeat([1, -1], m // 2) / np.sqrt(m)
    kinks = [(j, k) for j in range(m) for k in range(n) if pattern[j][k] == KINK]
    if any(not active[k] for _, k in kinks):  # it has no part in W, and off stands for it
        return
    names: list[int | tuple[int, int]] = [*np.flatnonzero(active).tolist(), *kinks]
    C = np.zeros((m, n, len(names)))  # w_j = sum_n (C unknowns)_jn x_n
    dphi = np.where(np.asarray(pattern) == ON, 1, slope)
    for column, name in enumerate(names):
        if isinstance(name, tuple):
            C[*name, column] = a[name[0]] * y[name[1]]
        else:
            free = np.asarray(pattern)[:, name] == KINK
            C[:, name, column] = np.where(free, 0, a * y[name] * dphi[:, name])
    Z = np.einsum("jku,kn->jnu", C, G)
    q = y[:, None] * np.einsum("j,jn,jnu->nu", a, dphi, Z)
    system = np.asarray([Z[name] if isinstance(name, tuple) else q[name] for name in names])
    right = [0.0 if isinstance(name, tuple) else 1.0 for name in names]
    if not names or abs(np.linalg.det(system / np.max(abs(system)))) < 1e-13:
        return
    unknown = np.linalg.solve(system, right)
    lam = dict(zip(names, unknown, strict=True))
    signs = np.asarray(pattern) - 0.5  # of z, where it is not zero
    agrees = np.where(np.asarray(pattern) == KINK, True, signs * (Z @ unknown) >= -1e-12)
    slopes = all(slope * lam[k] <= lam[j, k] <= lam[k] for j, k in kinks)
    if agrees.all() and slopes and min(unknown) >= 0 and min(q @ unknown) >= 1 - 1e-9:
        yield C @ unknown @ x
