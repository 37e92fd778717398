"""(T1), (R1), (R2) on Gaussian samples: how many of the draws each certifies; and the cost.

    python -m benchmarks.uniqueness

Samples of d inputs have the Gram matrix L L^T with L lower triangular, L_nn^2 chi-squared of
d - n + 1 degrees of freedom and normal entries below (Bartlett). So rows of L stand for them, and d
may be what no memory holds. Two minutes.
"""

import time
from collections import Counter

import numpy as np

from reflfap.backend import HostArray
from reflfap.rng import stream
from reflfap.theory.uniqueness import certify, interference

CELLS = {  # N and gamma: dimensions, and the number of draws
    (4, 0.9): ((50, 100, 200, 500, 1_000), 1_000),
    (10, 0.5): ((500, 1_000, 2_000, 10_000, 350_000), 1_000),
    (10, 0.1): ((5_000, 10_000, 20_000, 100_000, 5 * 10**9), 1_000),
    (100, 0.1): ((10**6, 1_200_000, 1_400_000, 2 * 10**6, 10**12), 200),
    (1_000, 0.01): ((7 * 10**9, 75 * 10**8, 8 * 10**9, 10**10, 2 * 10**20), 20),
}
TIMED = 10_000


def bartlett(dim: int, n: int, rng: np.random.Generator) -> HostArray:
    """L (N, N), whose rows have the inner products of N Gaussian samples of `dim` inputs."""
    L = np.tril(rng.standard_normal((n, n)), -1)
    return L + np.diag(np.sqrt(rng.chisquare(float(dim) - np.arange(n))))


def main() -> None:
    print("| N | gamma | d | draws | (T1) | (R2) | (R1) | neither | largest r/r* |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (n, slope), (dims, draws) in CELLS.items():
        for dim in dims:
            rng = stream(0, f"uniqueness/{n}/{slope}/{dim}")
            each = [certify(bartlett(dim, n, rng), slope) for _ in range(draws)]
            count = Counter(one.regime for one in each)
            orthogonal, unique = count["orthogonal"], sum(one.unique for one in each)
            exists, worst = sum(one.exists for one in each), max(one.r_high for one in each)
            print(
                f"| {n:,} | {slope} | {dim:.3g} | {draws} | {orthogonal} | {unique} | {exists} "
                f"| {count['neither']} | {worst / each[0].unique_below:.3g} |"
            )
    x = stream(0, "uniqueness").standard_normal((TIMED, TIMED), dtype=np.float32)
    for what, function in (("certify", lambda: certify(x, 0.01)), ("interference", interference)):
        start = time.perf_counter()
        found = function() if what == "certify" else function(x)
        print(f"{what}, N = d = {TIMED:,}: {time.perf_counter() - start:.1f} s, {found}")


if __name__ == "__main__":
    main()
