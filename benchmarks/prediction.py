"""(L4) and (L5) against trained networks on random cells, both distributions, three norms.

    python -m benchmarks.prediction [CELLS] [FILE.csv] [first | new]
    python -m benchmarks.prediction --tables

Draws cells with d from 300 to 3,000, N from 50 to 1,000, N_adv from 50 to 3,000 and sizes of the
perturbation up to the released ones, runs each with m = 200, and compares. Nothing is fitted. `new`
draws others, d from 500 to 2,000, N from 200 and m from 100 to 200; they were drawn once (L5) was
fixed. `--tables` runs nothing: it compares with the tables of cells that come with the figures.
With REFLFAP_REFERENCE, a folder with the released code's figures, compares with those as well.
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
from reflfap.figures import style
from reflfap.figures.prediction import read_released
from reflfap.machine import keep_freed_memory

PREDICTED = {"(L4)": artificial.predicted, "(L5)": artificial.predicted_sharper}
RANDOM = (("prediction_cells", 0), ("prediction_cells_new", 0))
NORMS = ("l2", "linf", "linf sign", "l0")
FIELDS = ("norm", "data", "d", "n", "n_adv", "epsilon", "seed", "acc_predicted", "acc_adversarial")
FIELDS += ("hidden", "acc_sharper")


def cells(count, draw="first"):
    """Random configs, by seed; every norm and distribution equally often."""
    first = draw == "first"
    rng = np.random.default_rng(0 if first else 1)
    dims, least = ((300, 3_000), 50) if first else ((500, 2_000), 200)
    for index in range(count):
        norm = NORMS[index % 4]
        dim = round(10 ** rng.uniform(*np.log10(dims)))
        share = rng.uniform(0.2, 1)
        sizes = {"l2": 0.78 * np.sqrt(dim / 1e4), "linf": 0.03, "linf sign": 0.03, "l0": 0.05}
        yield ArtificialConfig(
            dim=dim,
            hidden=200 if first else 2 * int(rng.integers(50, 101)),
            n=round(10 ** rng.uniform(np.log10(least), 3)),
            n_adv=round(10 ** rng.uniform(np.log10(50), np.log10(3_000))),
            norm=norm.split()[0],
            variant="sign" if norm.endswith("sign") else None,
            epsilon=share * sizes[norm] * (3 if norm.startswith("linf") else 1),
            data=("uniform", "gauss")[index // 4 % 2],
            seed=index if first else 1_000 + index,
        )


def own(configs, file):
    errors, rows = defaultdict(list), []
    for config in configs:
        metrics = artificial.cell(config).metrics
        got, expected = metrics["acc_adversarial"], metrics["acc_predicted"]
        label = f"{config.norm} {config.variant}, {config.data}"
        errors["(L4)", label].append(expected - got)
        errors["(L5)", label].append(artificial.predicted_sharper(config) - got)
        row = (config.norm + ("_sign" if config.variant == "sign" else ""), config.data)
        row += (
            config.dim,
            config.n,
            config.n_adv,
            config.epsilon,
            config.seed,
            expected,
            got,
            config.hidden,
        )
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
        for tag, predicted in PREDICTED.items():
            errors[tag, point.config.norm].append(predicted(point.config) - point.accuracy)
    report(errors)


def tables():
    """Both predictions against the tables that come with us: cells of E1, and random ones."""
    for name, least in (("artificial_cells", 500), ("artificial_cells", 1_000), *RANDOM):
        errors = defaultdict(list)
        for config, accuracy in table(style.RENDERED / f"{name}.csv"):
            for tag, predicted in PREDICTED.items():
                error = predicted(config) - accuracy
                if config.dim >= least:
                    label = f"{config.norm} {config.variant}, {config.data}"
                    errors[tag, label].append(error)
        print(f"{name}, d >= {least}")
        report(errors)


def table(path):
    """Configs and measured accuracies of the cells of a table."""
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            norm, _, variant = row["norm"].partition("_")
            sizes = {name: int(row[name]) for name in ("n", "n_adv", "seed")}
            config = ArtificialConfig(
                **sizes,
                dim=int(row.get("d") or row["dim"]),
                hidden=int(row.get("hidden") or 200),
                norm=norm,
                variant=variant or row.get("variant"),
                epsilon=float(row["epsilon"]),
                data=row["data"],
            )
            yield config, float(row["acc_adversarial"])


def report(errors):
    """By prediction and kind of cell: mean size of the error with its standard error, and bias."""
    labels = dict.fromkeys(label for _, label in errors)
    for tag in PREDICTED:
        whole = [error for label in labels for error in errors[tag, label]]
        for label, each in [*((one, errors[tag, one]) for one in labels), ("all", whole)]:
            size = np.abs(each)
            print(
                f"{tag} {label}: {len(each)} points, error {np.mean(size):.4f} on average "
                f"+- {np.std(size) / np.sqrt(len(each)):.4f}, {np.max(size):.3f} at most, "
                f"bias {np.mean(each):+.4f}"
            )


if __name__ == "__main__":
    print_machine()
    keep_freed_memory()
    if sys.argv[1:] == ["--tables"]:
        tables()
        raise SystemExit
    count, draw = int(sys.argv[1]) if sys.argv[1:] else 48, "".join(sys.argv[3:]) or "first"
    own(cells(count, draw), Path(sys.argv[2]) if sys.argv[2:] else None)
    if "REFLFAP_REFERENCE" in os.environ:
        released(Path(os.environ["REFLFAP_REFERENCE"]))
