"""What three networks make of two sets that come with scikit-learn: a table for docs/your-data.md.

    python -m benchmarks.own_data

Breast cancer (569 samples, 30 features), and digits 3 against 8 (357 samples, 64 features); three
quarters are natural samples, a quarter test samples, another split for each of five seeds.
"""

import time

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import reflfap as rf

SEEDS = range(5)
NAMES = ("standard", "noise", "adversarial", "predicted")


def sets():
    x, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer", x, y
    x, y = load_digits(return_X_y=True)
    chosen = np.isin(y, (3, 8))
    yield "digits 3, 8", x[chosen], y[chosen]


def main() -> None:
    print("| set | source | standard | noise | adversarial | predicted | logistic | larger class |")
    print("|---|---|---|---|---|---|---|---|")
    for name, x, y in sets():
        for scenario in ("noise", "natural-random", "natural-flipped"):
            rows, start = [], time.perf_counter()
            for seed in SEEDS:
                split = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=y)
                train_x, test_x, train_y, test_y = split
                found = rf.learn_from_perturbations(
                    *(train_x, train_y),
                    test=(test_x, test_y),
                    scenario=scenario,
                    scale="standard",
                    seed=seed,
                )
                natural, tested = found.samples.natural, found.samples.test
                peer = LogisticRegression(max_iter=1000).fit(*natural).score(*tested)
                accuracies = [found.metrics[f"acc_{one}_test"] for one in NAMES]
                rows.append([*accuracies, peer, found.metrics["share_larger_test"]])
            cells = [
                f"{mean:.3f} ({low:.3f} to {high:.3f})"
                for mean, low, high in zip(
                    np.mean(rows, axis=0), np.min(rows, axis=0), np.max(rows, axis=0), strict=True
                )
            ]
            print("|", " | ".join([name, scenario, *cells]), "|", flush=True)
            print(f"<!-- {(time.perf_counter() - start) / len(rows):.1f} s a seed -->", flush=True)


if __name__ == "__main__":
    main()
