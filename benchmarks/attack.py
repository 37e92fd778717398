"""The attack at the paper's size: evaluated, against its own matrix products; followed, by updates
and in coordinates; memory.

    python -m benchmarks.attack

The products: two of 2 m d n operations a step and chunk, the forward and the gradient of the
network. Wanted of the evaluated attack: at least 80 percent of their speed, peak memory below 3 GB
at N_adv = d = 10,000. The attack by updates,
reflfap.fast.linear_updates, does the same without the products. In L2 that in coordinates,
reflfap.fast.l2_coordinates, does it without the (n, d) arrays.
"""

from functools import partial

import numpy as np

from benchmarks.descent import DIM, HIDDEN, SLOPE
from benchmarks.timing import paired, peak_memory, print_machine
from reflfap import onehidden
from reflfap.attacks import CHUNK_ELEMENTS, L0, L2, LInf, LInfSign, attack
from reflfap.data_loaders import artificial as data
from reflfap.fast.l2_coordinates import coordinates
from reflfap.fast.linear_updates import in_cache, linear_updates
from reflfap.fast.quick_attack import attack_network
from reflfap.losses import EXPONENTIAL
from reflfap.machine import keep_freed_memory
from reflfap.rng import stream
from reflfap.training.flow import flow, released_time

STEPS = 10
FEW, LONG = 400, 100
PAPER = L2(0.78)


def trained_network():
    """That of (E1), trained on 1,000 samples: an attack turns few of its units a step."""
    x = data.samples("uniform", 1_000, DIM, stream(0, "x"), "float32")
    y = data.labels(1_000, stream(0, "y"), "float32")
    W = onehidden.initial_weights(HIDDEN, DIM, stream(0, "W")).astype(np.float32)
    start = onehidden.network(W, SLOPE)
    return flow(start, x, y, EXPONENTIAL, time=released_time(100_000)).net


def main():
    print_machine()
    keep_freed_memory()  # as the command line does
    net = trained_network()
    rows = 4 * (CHUNK_ELEMENTS // DIM)
    noise = data.samples("uniform", 10_000, DIM, stream(0, "noise"), "float32")
    target = data.labels(10_000, stream(0, "target"), "float32")

    margin = partial(onehidden.margin_gradient, net)

    def run(n=rows, steps=STEPS, norm=PAPER):
        return attack(margin, noise[:n], target[:n], norm, steps=steps, low=-1.0, high=1.0)

    def products():
        chunk = CHUNK_ELEMENTS // DIM
        for first in range(0, rows, chunk):
            for _ in range(STEPS + 1):
                Z = net.W @ noise[first : first + chunk].T
                Z.T @ net.W

    times = paired(run, products)
    print(
        f"{rows} samples, {STEPS} steps: {times.a:.2f} s, products alone {times.b:.2f} s, share "
        f"{times.ratio:.3f} [{times.least:.3f}, {times.most:.3f}] (wanted 0.80)"
    )
    for norm in (PAPER, LInf(0.03), LInfSign(0.03), L0(500)):

        def evaluated(norm=norm):
            return run(FEW, LONG, norm)

        def followed(norm=norm):
            return attack_network(
                net, noise[:FEW], target[:FEW], norm, steps=LONG, low=-1.0, high=1.0
            )

        times = paired(followed, evaluated, runs=3)
        print(
            f"{norm}, {FEW} samples, {LONG} steps: followed {times.a:.2f} s, evaluated "
            f"{times.b:.2f} s, {times.ratio:.1f} times [{times.least:.1f}, {times.most:.1f}]; "
            f"margins differ by {np.abs(followed().margin - evaluated().margin).max():.1e}",
            flush=True,
        )
    updates = linear_updates(net)

    few = partial(
        attack, x=noise[:FEW], target=target[:FEW], norm=PAPER, steps=LONG, low=-1.0, high=1.0
    )
    by = partial(in_cache, few, net=net)
    times = paired(partial(by, coordinates(updates)), partial(by, updates), runs=5)
    print(
        f"{PAPER}, {FEW} samples, {LONG} steps: in coordinates {times.a:.2f} s, by updates "
        f"{times.b:.2f} s, {times.ratio:.1f} times [{times.least:.1f}, {times.most:.1f}]"
    )
    run(n=10_000, steps=1)
    print(f"N_adv = 10,000: peak memory {peak_memory():.2f} GB (wanted below 3)")


if __name__ == "__main__":
    main()
