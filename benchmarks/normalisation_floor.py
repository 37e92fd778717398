"""What a floor in the normalisation of gradients does to the released attack in L0.

    python -m benchmarks.normalisation_floor [N ...]

The released attack descends the loss exp(-q) and divides its gradient by max(norm, 1e-12), as
PyTorch's normalisation does. Once exp(-q) times the gradient of q falls below that, steps shrink
and the attack stops, however many inputs it may still change; this project climbs q itself, which
has no such limit. Compared: no floor, the floor on the gradient of each sample's loss, and on that
of the mean over 10,000 samples. Two minutes a line on one core, for 500 of the samples.
"""

import sys

import numpy as np

from reflfap import onehidden
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import train

FLOOR, RATE, SAMPLES = 1e-12, 0.3, 500
DIVISORS = {"no floor": None, "each loss": 1.0, "mean of 10,000": 1e4}


def attacked(net, x0, y, pixels, divisor):
    """The best iterates, and their margins, of (P2)'s L0 attack with the floor."""
    x, best, top, rows = x0.copy(), x0.copy(), np.full(len(y), -np.inf), np.arange(len(y))
    for step in range(pixels + 1):
        q, g = onehidden.margin_gradient(net, x, y)
        better = q > top
        best[better], top[better] = x[better], q[better]
        if step == pixels:
            return best, top
        changed = x != x0
        changed[rows, np.abs(np.where(changed, 0, g)).argmax(axis=1)] = True
        g *= changed
        peak = np.abs(g).max(axis=1)
        scale = 1 / peak
        if divisor is not None:
            rate = np.exp(-q.astype(np.float64)) / divisor  # -dl/dq
            scale = rate / np.maximum(rate * peak, FLOOR)
        x = np.clip(x + (RATE * scale[:, None] * g).astype(x.dtype), -1, 1)


def main(sizes):
    for n in sizes:
        config = ArtificialConfig(norm="l0", n=n, n_adv=SAMPLES)
        natural, noise = artificial.natural(config), artificial.noise(config)
        standard = train(config, "standard", *natural)
        for name, divisor in DIVISORS.items():
            x, margin = attacked(standard.net, noise.x, noise.y, config.pixels, divisor)
            learnt = train(config, "adversarial", x, noise.y)
            accuracy = onehidden.accuracy(onehidden.margins(learnt.net, *natural))
            print(
                f"N = {n}, floor on {name}: margin {margin.mean():.1f}, ||eta|| "
                f"{np.linalg.norm(x - noise.x, axis=1).mean():.1f}, accuracy {accuracy:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [1000, 3000])
