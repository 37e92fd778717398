"""The checks of `reflfap audit` on existence and uniqueness of the KKT point: (R1) and (R2)."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from reflfap.audit.checks import COUNTED, ROUNDING, SOLVED, Checks, compared
from reflfap.audit.kkt_points import every_kkt_point
from reflfap.audit.problems import SLOPE, optimize, paper
from reflfap.backend import HostArray
from reflfap.theory import uniqueness

MODULE = "theory.uniqueness"
QUICK = f"{MODULE}.interference {MODULE}._enclosed"
REGIMES = ("orthogonal", "unique", "exists", "neither")
EXACTLY = "fractions"


def r1() -> Checks:
    yield from enclosures()
    route = "where an off unit turns on, of three samples whose first is long, solved"
    for g in (0.3, 0.8):
        edge = optimize.brentq(lambda c, g=g: off_unit(c, g), 0.01, 0.9, xtol=1e-15)
        threshold = uniqueness.thresholds(Fraction(g))[0]
        yield compared(f"{MODULE}.thresholds", threshold, edge, route, SOLVED)
    r, h = 0.1, (1 + SLOPE**2) / 2
    most, least = np.linalg.solve([[1 - r, 0], [r, 1]], [1, 1]) / h
    route = "h mu_n at least 1 - r h mu, at most 1 + r h mu, and the largest at most that"
    found = uniqueness.scaled_multiplier_bounds(r, SLOPE)
    yield compared(f"{MODULE}.scaled_multiplier_bounds", found, (least, most), route)
    yield from regimes()
    each = [uniqueness.Certified(0, 0, 0, 0, regime, "").exists for regime in REGIMES]
    yield compared(f"{MODULE}.Certified.exists", each, [1, 1, 1, 0], "by hand", COUNTED)


def off_unit(c: float, g: float, long: float = 1e10) -> float:
    """s of a unit with a_j < 0 at the first of three samples with labels 1, -1, -1, were all
    aligned. Only the long one is: what the others' sums need of it vanishes, so that r = c."""
    K = np.asarray([[long, c / 2, c / 2], [c / 2, 1, -c], [c / 2, -c, 1]])
    y, phi = np.asarray([1, -1, -1]), np.asarray([g, 1, 1])
    same = np.equal.outer(y, y)
    lam = np.linalg.solve(np.where(same, (1 + g * g) / 2, -g) * K, np.ones(3))
    return float(y @ (K[0] * phi * lam))


def enclosures() -> Checks:
    """Of samples of which all is known exactly, with products in both dtypes; and of many rows."""
    rng = np.random.default_rng(0)
    single = (1e-5, "d u ||x_n||/||x_k||, u of float32")
    kinds = ((QUICK, "float64", ROUNDING), (f"{MODULE}._enclosed", "float32", single))
    for n, d in ((1, 3), (2, 3), (7, 4), (30, 5)):
        x = rng.integers(1, 10, (n, d)) * rng.choice([-0.1, 0.1], (n, d))
        exact = exactly(x)
        for names, dtype, narrow in kinds:
            found = uniqueness._enclosed(x, dtype)
            if dtype == "float64":
                found = uniqueness.interference(x)
            inside = [low <= one <= high for one, (low, high) in zip(exact, found[:4], strict=True)]
            yield compared(names, (inside, found.n), ([True] * 4, n), EXACTLY, COUNTED)
            width = (found.r[1] - found.r[0]) / n
            yield compared(names, width, 0, "an enclosure as narrow as can be", narrow)
    x = rng.integers(1, 10, (2_050, 3)).astype(float)
    x[-1] *= 4  # the worst row, and no other block has it
    squares = [one @ one for one in x]
    sums = [np.sum(abs(x @ one) / squares) - 1 for one in x]
    whole, route = uniqueness.interference(x), "loops over 2,050 rows"
    yield compared(QUICK, whole.r, [max(sums)] * 2, route)
    most = max(float(np.max(abs(x[k + 1 :] @ x[k]))) for k in range(len(x) - 1))
    yield compared(QUICK, whole.p_max, [most] * 2, route)
    by_hand = [1 / 7, 1 / 3, 3 / 13]
    roundings = [uniqueness.rounding(*of) for of in ((1, 0.125), (2, 0.125), (3, 0.0625))]
    route = "k u/(1 - k u) by hand"
    yield compared(f"{MODULE}.rounding", roundings, by_hand, route)


def by_loops(x: HostArray) -> float:
    """r, row by row."""
    rows = range(len(x))
    return float(max(sum(abs(x[n] @ x[k]) / (x[k] @ x[k]) for k in rows if k != n) for n in rows))


def exactly(x: HostArray) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """r, p_max, smallest and largest squared norm, as fractions of the floats as they are."""
    rows = [[Fraction(one) for one in row] for row in x.tolist()]
    K = [[_product(one, other) for other in rows] for one in rows]
    n, nothing = range(len(K)), Fraction(0)
    r = max(sum((abs(K[i][k]) / K[k][k] for k in n if k != i), nothing) for i in n)
    p_max = max((abs(K[i][k]) for i in n for k in n if k != i), default=nothing)
    squares = [K[k][k] for k in n]
    return r, p_max, min(squares), max(squares)


def _product(one: list[Fraction], other: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(one, other, strict=True)), Fraction(0))


def beside_each_edge() -> Iterator[tuple[HostArray, float, str]]:
    """Two samples on either side of each edge, by a billionth, and their regime.

    Of equal length with the cosine c, r = c and p_max/R^2 = c: the edges at slope 1/2 are 1/48,
    (sqrt(305) - 5)/28 and 5/11. Of lengths 1 and 2 at slope 0.9, r = 2 c, and (T1) holds up to
    c = 0.243/16. Whole numbers on the last edge itself, where rounding leaves two regimes.
    """
    yield np.asarray([[3.0, 1, 1], [1, 3, -1]]), SLOPE, "neither"
    edges = zip((1 / 48, (305**0.5 - 5) / 28, 5 / 11), REGIMES, REGIMES[1:], strict=False)
    for edge, before, after in edges:
        for factor, regime in ((1 - 1e-9, before), (1 + 1e-9, after)):
            c = edge * factor
            yield np.asarray([[200, 0], [200 * c, 200 * np.sqrt(1 - c * c)]]), SLOPE, regime
    for factor, regime in ((1 - 1e-9, "orthogonal"), (1 + 1e-9, "unique")):
        c = 0.9**3 / 48 * factor
        yield np.asarray([[1, 0], [2 * c, 2 * np.sqrt(1 - c * c)]]), 0.9, regime


def regimes() -> Checks:
    """The regime, in a word and in a line, and the numbers beside it."""
    cases = list(beside_each_edge())
    found = [uniqueness.certify(x, slope) for x, slope, _ in cases]
    expected = [REGIMES.index(regime) for _, _, regime in cases]
    names, route = f"{MODULE}.certify {MODULE}._regime", "pairs of samples beside each edge"
    numbers = [REGIMES.index(one.regime) for one in found]
    yield compared(names, numbers, expected, route, COUNTED)
    for words, regimes in (("unique KKT point, certified", (0, 1)), ("nothing certified", (3,))):
        said = [words in one.line for one in found]
        yield compared(names, said, [one in regimes for one in expected], route, COUNTED)
    for one, (x, slope, _) in zip(found, cases, strict=True):
        r, a, b = by_loops(x), 1 - slope**3, slope**2 + slope**4
        exists = slope * (1 + slope**2) / (1 + slope - slope**2 + slope**3)
        beside = (r, r, exists, min(exists, (np.sqrt(b * b + 4 * a * b) - b) / (2 * a)))
        yield compared(f"{MODULE}.certify", one[:4], beside)


def r2() -> Checks:
    route = "where units that are not aligned can turn another off, solved"
    for g in (0.6, 0.9):
        weight = (1 - g**3) / g / (1 + g * g)  # times r^2/(1 - r): what they add, beside gamma
        edge = optimize.brentq(
            lambda r, g=g, w=weight: g - w * r * r / (1 - r), 0, 0.99, xtol=1e-15
        )
        found = uniqueness.thresholds(Fraction(g))[1]
        yield compared(f"{MODULE}.thresholds", found, edge, route, SOLVED)
    g = 0.3
    edge = float(uniqueness.thresholds(Fraction(g))[1])
    yield from regimes()
    rng, route = np.random.default_rng(0), "all KKT points, by trial of every pattern"
    for n, hidden in ((2, 2), (2, 4), (3, 2), (3, 2)):
        G = np.triu(rng.uniform(0.5, 1, (n, n)) * rng.choice([-1, 1], (n, n)), 1)
        G = 0.999 * edge * (G + G.T) / np.max(np.sum(abs(G + G.T), axis=1)) + np.eye(n)
        x, y = np.linalg.cholesky(G), rng.choice([-1.0, 1.0], n)
        unique, points = uniqueness.certify(x, g).unique, every_kkt_point(x, y, g, hidden)
        yield compared(f"{MODULE}.certify", [unique, len(points)], [1, 1], route, COUNTED)
        W = paper.aligned_kkt_point(x, y, hidden, g)[0]
        yield compared(f"{MODULE}.certify", points[0], W, f"{route}: the aligned one", SOLVED)
    x = np.linalg.cholesky(np.asarray([[1, -0.31], [-0.31, 1]]))  # r just beyond gamma
    unique, points = uniqueness.certify(x, g).unique, every_kkt_point(x, np.ones(2), g, 4)
    yield compared(f"{MODULE}.certify", [unique, len(points) > 1], [0, 1], route, COUNTED)
    each = [uniqueness.Certified(0, 0, 0, 0, regime, "").unique for regime in REGIMES]
    yield compared(f"{MODULE}.Certified.unique", each, [1, 1, 0, 0], "by hand", COUNTED)
