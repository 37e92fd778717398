"""Attacks on the ConvNet against PyTorch: images times steps a second, same weights and images.

    python -m benchmarks.deep_attack [WIDTH]

The peer is the released attack in L2 as plain PyTorch code: gradient of the targeted cross-entropy,
normalised, a step of a fifth of the radius, scaled back into the ball, clipped to [0, 1], the best
iterate kept; its two memory formats are tried, and the faster one counts. WIDTH: that of the
network, 16 as released. Wanted: at least PyTorch's speed. The machine has to be quiet.
"""

import sys

import numpy as np

from benchmarks.deep import FORMATS, WORKERS
from benchmarks.timing import paired, print_machine
from benchmarks.torch_networks import ConvNet, load
from reflfap import attacks
from reflfap.deep import classifier
from reflfap.deep.convnet import convnet
from reflfap.deep.network import initial_arrays
from reflfap.experiments.perturbed_set import CHUNK
from reflfap.machine import keep_freed_memory
from reflfap.rng import stream

IMAGES, STEPS, RADIUS = 256, 10, 2.0
MOMENTS = (0.1307,), (0.3081,)
SHAPE = 1, 28, 28


def ours(network, weights, x, target):
    """The attack of this project."""
    margin = classifier.margin_function(network, weights, SHAPE)
    flat, norm = x.reshape(len(x), -1), attacks.L2(RADIUS)
    how = {"steps": STEPS, "low": 0.0, "high": 1.0, "chunk": CHUNK, "workers": WORKERS}
    return lambda: attacks.attack(margin, flat, target, norm, **how)


def theirs(module, x, target):
    """The attack in PyTorch; the best iterates."""
    import torch
    from torch.nn.functional import cross_entropy

    def losses(z):
        return cross_entropy(z, target, reduction="none")

    def norms(values):
        return values.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]

    def attack():
        now, best = x.clone(), x.clone()
        least = torch.full((len(x),), torch.inf)
        for step in range(STEPS + 1):
            now.requires_grad_()
            loss = losses(module(now))
            (g,) = torch.autograd.grad(loss.sum(), now)
            with torch.no_grad():
                better = loss < least
                best[better], least[better] = now[better], loss[better]
                if step == STEPS:
                    return best
                eta = now - x - RADIUS / 5 * g / norms(g)
                eta *= (RADIUS / norms(eta)).clamp_max(1)
                now = (x + eta).clamp(0, 1)

    return attack


def main(width=16):
    import torch

    torch.set_num_threads(WORKERS)
    network = convnet(*MOMENTS, width=width)
    weights = initial_arrays(network, stream(0, "weights"), "float32")
    rng = stream(0, "images")
    x, target = rng.random((IMAGES, *SHAPE), np.float32), rng.integers(0, 10, IMAGES)
    run, work = ours(network, weights, x, target), IMAGES * (STEPS + 1)
    print(f"ConvNet of width {width}, L2, {IMAGES} images, {STEPS} steps and the start")
    for name in FORMATS:
        how = {"memory_format": getattr(torch, name)}
        module = load(ConvNet(*MOMENTS, width=width), classifier.to_released(weights))
        module = module.eval().requires_grad_(False).float().to(**how)
        peer = theirs(module, torch.from_numpy(x).to(**how), torch.from_numpy(target))
        off = np.abs(run().x - peer().numpy().reshape(len(x), -1)).max()
        times = paired(peer, run, 7)
        print(
            f"  ours {work / times.b:.0f} images x steps a second, PyTorch {name} "
            f"{work / times.a:.0f}, ratio of seconds {times.ratio:.2f} "
            f"[{times.least:.2f}, {times.most:.2f}] (wanted 1.0); images differ by {off:.0e}",
            flush=True,
        )


if __name__ == "__main__":
    print_machine()
    keep_freed_memory()  # as the command line does
    main(*map(int, sys.argv[1:]))
