"""One epoch of descent at the paper's size, against its own matrix product and against PyTorch.

    python -m benchmarks.descent

The product: C K alone, (m, N) by (N, N). PyTorch, if installed: the released step, weights form,
float32, SGD with momentum. Wanted: at least 75 percent of the product's speed, and 20 times
(N = 1,000) and 3 times (N = 10,000) PyTorch's.
"""

import threading

import numpy as np

from benchmarks.timing import paired, peak_memory, print_machine
from reflfap import onehidden
from reflfap.data_loaders import artificial as data
from reflfap.losses import EXPONENTIAL
from reflfap.monitor import Monitor
from reflfap.rng import stream
from reflfap.training.descent import descent

DIM, HIDDEN, SLOPE = 10_000, 1_000, 0.01


def problem(n):
    x = data.samples("uniform", n, DIM, stream(0, "x"), "float32")
    y = data.labels(n, stream(0, "y"), "float32")
    return initial_network(x), x, y


def initial_network(x, hidden=HIDDEN):
    """The network that all measurements start from, for samples like x."""
    W = onehidden.initial_weights(hidden, x.shape[1], stream(0, "W")).astype(x.dtype)
    return onehidden.network(W, SLOPE)


class Stepwise:
    """Seconds of `epochs` epochs inside descent, without its set-up: it waits at the first."""

    def __init__(self, net, x, y, epochs):
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        outer = self

        class Gate(Monitor):
            def begin(self, *args):
                outer.go.acquire()

            def advance(self, amount=1):
                self.count = getattr(self, "count", 0) + 1
                if self.count % epochs == 0:
                    outer.done.release()
                    outer.go.acquire()

        settings = {"epochs": 10**9, "form": "coefficients", "monitor": Gate()}
        threading.Thread(
            target=descent, args=(net, x, y, EXPONENTIAL), kwargs=settings, daemon=True
        ).start()

    def __call__(self):
        self.go.release()
        self.done.acquire()


def torch_step(net, x, y):
    import torch

    W = torch.nn.Parameter(torch.tensor(net.W))
    X, Y, a = torch.tensor(x), torch.tensor(y), torch.tensor(net.a)
    optimiser = torch.optim.SGD([W], lr=0.01, momentum=0.9)

    def step():
        optimiser.zero_grad()
        f = torch.nn.functional.leaky_relu(X @ W.T, net.slope) @ a
        torch.exp(-Y * f).mean().backward()
        optimiser.step()

    return step


def main():
    print_machine()
    for n, epochs in ((1_000, 20), (10_000, 1)):
        net, x, y = problem(n)
        C, K = np.ones((HIDDEN, n), np.float32), x @ x.T
        product = np.empty_like(C)

        def products(C=C, K=K, product=product, epochs=epochs):
            for _ in range(epochs):
                np.matmul(C, K, out=product)

        run = Stepwise(net, x, y, epochs)
        times = paired(run, products)
        print(
            f"N = {n}: epoch {1e3 * times.a / epochs:.1f} ms, product alone "
            f"{1e3 * times.b / epochs:.1f} ms, share {times.ratio:.3f} "
            f"[{times.least:.3f}, {times.most:.3f}] (wanted 0.75)"
        )
        try:
            step = torch_step(net, x, y)
        except ImportError:
            print("PyTorch is not installed: no peer")
            continue
        times = paired(run, step, runs=5)
        print(
            f"N = {n}: PyTorch step {1e3 * times.b:.0f} ms, times as long as our epoch: "
            f"{times.ratio * epochs:.1f} [{times.least * epochs:.1f}, {times.most * epochs:.1f}] "
            f"(wanted {20 if n == 1_000 else 3})"
        )
    print(f"peak memory {peak_memory():.1f} GB, PyTorch's copies included")


if __name__ == "__main__":
    main()
