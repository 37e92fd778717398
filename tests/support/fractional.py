"""Linear systems in exact fractions."""

from fractions import Fraction


def solved(M):
    """lam with M lam = 1, by elimination in fractions."""
    rows = [[*row, Fraction(1)] for row in M]
    n = len(rows)
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [one / rows[i][i] for one in rows[i]]
        for k in range(n):
            if k != i:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]
