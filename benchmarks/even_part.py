"""What the even part carries: predicted and measured, by part, on cells with d from 50 to 500.

    python -m benchmarks.even_part FILE.csv [first | new]
    python -m benchmarks.even_part --tables

L2 along the sizes of E1 and four times those, and L0 with 5 percent of the pixels; N from 200 to
3,000, N_adv from 1,000 to 10,000, m = 1,000, uniform data. The cells are halved at random. The
derivation was fixed on the `first` half, before a cell of the `new` one was computed; cells of
N_adv = 10,000 have one seed, others two. `--tables` runs nothing: it compares with the table that
comes with the figure. An hour for either half.
"""

import csv
import itertools
import math
import random
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.timing import print_machine
from reflfap.experiments import artificial, three_networks
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.figures.even_part import CELLS, PARTS, by_cell, read_parts
from reflfap.machine import keep_freed_memory
from reflfap.theory.odd_part import odd_and_even

SEEDS = {"first": (0, 1), "new": (10, 11)}
NAMES = (*PARTS, "(L4)", "(L5)")
FIELDS = ("half", "norm", "d", "n", "n_adv", "epsilon", "hidden", "seed", *PARTS)


def cells(half):
    """The configs of a half, by seed."""
    sizes = [*itertools.product((200, 1000, 3000), (1000, 3000)), (1000, 10_000)]
    attacks, dims = (("l2", 1), ("l2", 4), ("l0", 1)), (50, 100, 200, 500)
    # the order in which they were drawn: those of N_adv = 10,000 last
    every = [(*a, d, *one) for a, d, one in itertools.product(attacks, dims, sizes[:-1])]
    every += [(*a, d, *sizes[-1]) for a, d in itertools.product(attacks, dims)]
    random.Random(0).shuffle(every)
    middle = len(every) // 2
    for seed in SEEDS[half]:
        for norm, scale, dim, n, n_adv in every[:middle] if half == "first" else every[middle:]:
            if n_adv < 10_000 or seed == SEEDS[half][0]:
                size = scale * 0.78 * math.sqrt(dim / 1e4) if norm == "l2" else 0.05
                common = ArtificialConfig(dim=dim, n=n, n_adv=n_adv, seed=seed)
                yield replace(common, norm=norm, epsilon=size, variant=None, attack_steps=None)


def measured(config):
    """Accuracies on the natural samples: of the adversarial network, and of either part alone."""
    natural, noise = artificial.natural(config), artificial.noise(config)
    standard = three_networks.train(config, "standard", *natural).net
    moved = three_networks.attacked(config, standard, *noise, (-1.0, 1.0)).x
    parts = odd_and_even(three_networks.train(config, "adversarial", moved, noise.y).net, natural.x)
    each = (parts.odd + parts.even, parts.odd, parts.even)
    return [float(np.mean(natural.y * part > 0)) for part in each]


def own(half, file):
    with open(file, "w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(FIELDS)
        for one in cells(half):
            sizes = (one.dim, one.n, one.n_adv, one.size, one.hidden, one.seed)
            writer.writerow([half, one.norm, *sizes, *measured(one)])
            out.flush()


def tables():
    """By half and side: mean size of the error over cells, its standard error, and the mean error
    that N independent samples alone would give, sqrt(2 p (1 - p)/(pi N seeds)) by seeds of p."""
    errors, alone = defaultdict(list), defaultdict(list)
    for cell, each in by_cell(read_parts(CELLS)).items():
        config, side = cell.config, "d < N" if cell.config.dim < cell.config.n else "d >= N"
        whole, odd, even = np.mean(each, axis=0)
        linear = [artificial.predicted(config), artificial.predicted_sharper(config)]
        predicted = [*artificial.predicted_parts(config), *linear]
        spread = math.sqrt(2 * whole * (1 - whole) / (math.pi * config.n * len(each)))
        for label in ((cell.half, f"{side}, {config.norm}"), (cell.half, side), (cell.half, "all")):
            errors[label].append(np.subtract(predicted, [whole, odd, even, whole, whole]))
            alone[label].append(spread)
    for label, each in sorted(errors.items()):
        size = np.abs(each)
        error = np.std(size, axis=0) / math.sqrt(len(each))
        print(*label, f"{len(each)} cells, samples alone {np.mean(alone[label]):.4f}", sep=", ")
        for row in zip(NAMES, np.mean(size, 0), error, size.max(0), np.mean(each, 0), strict=True):
            print("    {:8} {:.4f} +- {:.4f}, {:.3f} at most, bias {:+.4f}".format(*row))


if __name__ == "__main__":
    print_machine()
    keep_freed_memory()
    if sys.argv[1:] == ["--tables"]:
        tables()
    else:
        own("".join(sys.argv[2:]) or "first", Path(sys.argv[1]))
