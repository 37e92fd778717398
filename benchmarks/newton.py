"""One Newton system of the flow's implicit step: conjugate gradients against a Cholesky factor.

    python -m benchmarks.newton

The system (I + c E H E) u = b at N = 1,000 and 5,000, float32, with the c of a step in which the
margins move by about one, on white data and, with REFLFAP_DATA, on raw images.
"""

import numpy as np
from scipy import linalg

from benchmarks.descent import initial_network
from benchmarks.raw_images import two_classes
from benchmarks.timing import paired, print_machine
from reflfap import onehidden
from reflfap.data_loaders import artificial as data
from reflfap.rng import stream
from reflfap.training.implicit import conjugate_gradients, interaction


def main():
    print_machine()
    for n in (1_000, 5_000):
        uniform = data.samples("uniform", n, 10_000, stream(0, "x"), "float32")
        problems = {"white": (uniform, data.labels(n, stream(0, "y"), "float32"))}
        found = two_classes("mnist", (3, 7), n)
        if found is not None:
            problems["raw MNIST"] = found
        for name, (x, y) in problems.items():
            net = initial_network(x)
            slopes = onehidden.activation_slope(net.W @ x.T, net.slope)
            M = interaction(x @ x.T, slopes)
            y = y.astype(np.float64)
            c = 1 / np.abs(y * (M @ y.astype(np.float32))).mean()
            b = np.ones(n)
            count = 0

            def matrix(v, M=M, y=y, c=c):
                nonlocal count
                count += 1
                return v + c * y * (M @ (y * v).astype(np.float32))

            def factor(M=M, y=y, c=c, b=b):
                A = (c * y[:, None] * M * y).astype(np.float32)
                A[np.diag_indices_from(A)] += 1
                return linalg.cho_solve(linalg.cho_factor(A, overwrite_a=True), b)

            conjugate_gradients(matrix, b, 1e-4)
            products = count
            times = paired(lambda m=matrix, b=b: conjugate_gradients(m, b, 1e-4), factor, runs=5)
            print(
                f"N = {n}, {name}: conjugate gradients {1e3 * times.a:.1f} ms, "
                f"{products} products; Cholesky {1e3 * times.b:.1f} ms, {times.ratio:.0f} times "
                f"[{times.least:.0f}, {times.most:.0f}]",
                flush=True,
            )


if __name__ == "__main__":
    main()
