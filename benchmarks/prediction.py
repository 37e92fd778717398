"""(L4) against trained networks on random cells, both distributions, three norms.

    python -m benchmarks.prediction [CELLS] [FILE.csv]

Draws cells with d from 300 to 3,000, N from 50 to 1,000, N_adv from 50 to 3,000 and sizes of the
perturbation up to the released ones, runs each with m = 200, and compares. Nothing is fitted. With
REFLFAP_REFERENCE, a folder with the released code's figures, compares with those as well.
"""

import csv
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.timing import print_machine
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.figures.prediction import read_released
from reflfap.machine import keep_freed_memory

NORMS = ("l2", "linf", "linf sign", "l0")
FIELDS = ("norm", "data", "d", "n", "n_adv", "epsilon", "seed", "acc_predicted", "acc_adversarial")


def cells(count):
    """Random configs, by seed; every norm and distribution equally often."""
    rng = np.random.default_rng(0)
    for index in range(count):
        norm = NORMS[index % 4]
        dim = round(10 ** rng.uniform(np.log10(300), np.log10(3_000)))
        share = rng.uniform(0.2, 1)
        sizes = {"l2": 0.78 * np.sqrt(dim / 1e4), "linf": 0.03, "linf sign": 0.03, "l0": 0.05}
        yield ArtificialConfig(
            dim=dim,
            hidden=200,
            n=round(10 ** rng.uniform(np.log10(50), 3)),
            n_adv=round(10 ** rng.uniform(np.log10(50), np.log10(3_000))),
            norm=norm.split()[0],
            variant="sign" if norm.endswith("sign") else None,
            epsilon=share * sizes[norm] * (3 if norm.startswith("linf") else 1),
            data=("uniform", "gauss")[index // 4 % 2],
            seed=index,
        )


def own(count, file):
    errors, rows = defaultdict(list), []
    for config in cells(count):
        metrics = artificial.cell(config).metrics
        got, expected = metrics["acc_adversarial"], metrics["acc_predicted"]
        label = f"{config.norm} {config.variant}, {config.data}"
        errors[label].append(expected - got)
        row = (config.norm + ("_sign" if config.variant == "sign" else ""), config.data)
        row += (config.dim, config.n, config.n_adv, config.epsilon, config.seed, expected, got)
        rows.append(dict(zip(FIELDS, row, strict=True)))
        print(*(f"{value:.4g}" if isinstance(value, float) else value for value in row), flush=True)
    report(errors)
    if file is not None:
        with open(file, "w", newline="") as out:
            writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def released(folder):
    errors = defaultdict(list)
    for point in read_released(folder / "artificial_uniform.csv"):
        errors[point.config.norm].append(artificial.predicted(point.config) - point.accuracy)
    report(errors)


def report(errors):
    whole = [error for each in errors.values() for error in each]
    for label, each in [*errors.items(), ("all", whole)]:
        size = np.abs(each)
        print(
            f"{label}: {len(each)} points, error {np.mean(size):.3f} on average, "
            f"{np.max(size):.3f} at most, bias {np.mean(each):+.3f}"
        )


if __name__ == "__main__":
    print_machine()
    keep_freed_memory()
    own(int(sys.argv[1]) if sys.argv[1:] else 48, Path(sys.argv[2]) if sys.argv[2:] else None)
    if "REFLFAP_REFERENCE" in os.environ:
        released(Path(os.environ["REFLFAP_REFERENCE"]))
