"""All pairs of classes of an image set (E3): what networks read that saw perturbed samples only.

One small square a pair of classes: the accuracy of the adversarial network on the clean test images
of both, in percent; orange above chance, which is 50, blue below. Above each panel stands the mean
of its squares. A row of panels is a size of the perturbation, a column a scenario. The page has
every number, and so has pairs.csv. Cells that RESULTS has not are taken from
RESULTS/tables/pairs.csv, such a table of other folders. The reading, FILE-reading.md beside
FILE.md, is written by hand; the page takes it in whole.

    reflfap sweep images --preset pairs-mnist       # and pairs-fashion-mnist, pairs-cifar-10
    python -m reflfap.figures.pairs RESULTS FILE.md [FOLDER]
"""

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from reflfap.backend import HostArray
from reflfap.data_loaders.registry import DATA_SETS
from reflfap.errors import refuse
from reflfap.experiments.images import SCENARIOS, ImagesConfig
from reflfap.figures import style
from reflfap.files import write_text
from reflfap.runs.store import complete_results
from reflfap.sweep import grid

COMMAND = "python -m reflfap.figures.pairs RESULTS FILE.md"
KEPT = (
    *("acc_standard_test", "acc_noise_test", "acc_adversarial_test"),
    *("attack_success", "alignment_test"),
)
AS_GOOD = 0.02  # of the attacked network's accuracy: learned


class Pair(NamedTuple):
    """One cell: two classes, a scenario, a size."""

    config: ImagesConfig
    metrics: dict[str, float]

    @property
    def classes(self) -> tuple[int, int]:
        first, second = map(int, self.config.classes)
        return first, second


def complete_pairs(results: Path) -> dict[str, list[Pair]]:
    """The complete cells of the presets pairs-*, by data set, in the order of the preset."""
    runs = tabled(results / "tables" / "pairs.csv")
    runs |= {config: run.metrics for config, run in complete_results(results, ImagesConfig)}
    found = {}
    for dataset in DATA_SETS:
        cells = grid.from_preset(ImagesConfig, f"pairs-{dataset}")
        pairs = [Pair(cell, runs[cell]) for cell in cells if cell in runs]
        if pairs:
            found[dataset] = pairs
    if not found:
        remedy = "run `reflfap sweep images --preset pairs-mnist`"
        refuse("results", "complete cells of all pairs", "none", remedy)
    return found


def tabled(path: Path) -> dict[ImagesConfig, dict[str, float]]:
    """The metrics of each cell in a table that `write` made; none where there is no such file."""
    if not path.exists():
        return {}
    found = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            options: dict[str, Any] = {name: row[name] for name in ("dataset", "scenario")}
            options |= {name: int(row[name]) for name in ("n", "n_adv", "hidden", "seed")}
            options |= {"classes": (row["first"], row["second"]), "epsilon": float(row["epsilon"])}
            config = ImagesConfig(**options)
            names = (*KEPT, "flip_threshold")
            found[config] = {name: float(row[name]) for name in names if row[name]}
    return found


def sizes_of(pairs: Iterable[Pair]) -> list[float]:
    """The sizes of the perturbation, smallest first."""
    return sorted({pair.config.size for pair in pairs})


def chosen(pairs: Iterable[Pair], scenario: str, size: float) -> list[Pair]:
    """The pairs of one panel."""
    wanted = scenario, size
    return [pair for pair in pairs if (pair.config.scenario, pair.config.size) == wanted]


def matrix(pairs: Iterable[Pair], metric: str = "acc_adversarial_test") -> HostArray:
    """(10, 10): the metric at [larger, smaller class]; NaN elsewhere."""
    square = np.full((10, 10), np.nan)
    for pair in pairs:
        square[max(pair.classes), min(pair.classes)] = pair.metrics[metric]
    return square


def draw(dataset: str, pairs: Sequence[Pair]) -> Figure:
    """Sizes down, scenarios across."""
    sizes = sizes_of(pairs)
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(
            len(sizes),
            len(SCENARIOS),
            figsize=(7, 2.6 * len(sizes)),
            layout="constrained",
            squeeze=False,
        )
        for size, line in zip(sizes, panels, strict=True):
            for scenario, axes in zip(SCENARIOS, line, strict=True):
                image = _panel(axes, dataset, chosen(pairs, scenario, size))
                name = f"{scenario}, ε = {size:g}"
                axes.set_title(f"{name}\n{axes.get_title(loc='left')}", loc="left")
        bar = figure.colorbar(image, ax=panels, shrink=0.6, aspect=30)
        bar.set_label("percent right of the clean test images of both classes; chance is 50")
        figure.suptitle(DATA_SETS[dataset].title.partition(",")[0], size=8)
    return figure


def _panel(axes: Axes, dataset: str, pairs: Sequence[Pair]) -> AxesImage:
    """The square of one scenario and size, with its mean."""
    square = matrix(pairs)
    image = axes.imshow(100 * square, vmin=0, vmax=100, cmap=style.SIGNED)
    for (row, column), value in np.ndenumerate(100 * square):
        if np.isfinite(value):
            ink = "white" if abs(value - 50) > 40 else "black"
            axes.text(column, row, f"{value:.0f}", size=5, ha="center", va="center", color=ink)
    names = DATA_SETS[dataset].class_names
    axes.set_xticks(range(9), names[:9], rotation=90)
    axes.set_yticks(range(1, 10), names[1:])
    axes.set(xlim=(-0.5, 8.5), ylim=(9.5, 0.5))  # the larger class of a pair is down, never across
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    shown = np.asarray([pair.metrics["acc_adversarial_test"] for pair in pairs])
    axes.set_title(f"mean {100 * shown.mean():.0f}" if len(shown) else "no cells", loc="left")
    return image


def table(found: dict[str, list[Pair]]) -> str:
    """All numbers as CSV, one row a cell."""
    text = io.StringIO()
    fields = ("dataset", "first", "second", "scenario", "epsilon", "n", "n_adv", "hidden", "seed")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*fields, *KEPT, "flip_threshold"))
    for dataset, pairs in found.items():
        for pair in pairs:
            c = pair.config
            values = (c.scenario, c.size, c.n, c.n_adv, c.hidden, c.seed)
            numbers = [f"{pair.metrics[name]:.4f}" for name in KEPT]
            threshold = pair.metrics.get("flip_threshold")  # of flipped labels only
            numbers.append("" if threshold is None else f"{threshold:.4f}")
            writer.writerow((dataset, *c.classes, *values, *numbers))
    return text.getvalue()


def page(found: dict[str, list[Pair]], pictures: str, reading: str) -> str:
    """The whole text; `pictures` is the path from the page to the rendered pictures."""
    parts = ["# All pairs of classes: where learning from perturbations succeeds and fails"]
    parts += [
        f"Generated by `{COMMAND}`; changes by hand belong in the reading beside it, "
        f"FILE-reading.md. All numbers: [pairs.csv]({pictures}/pairs.csv).",
        reading.strip(),
    ]
    for dataset, pairs in found.items():
        title, config = DATA_SETS[dataset].title.partition(",")[0], pairs[0].config
        sizes = ", ".join(f"{size:g}" for size in sizes_of(pairs))
        natural = min(pair.config.n_adv for pair in pairs)
        parts += [
            f"## {title}",
            f"![{title}](" + f"{pictures}/pairs_{dataset}.png)",
            f"{len(pairs)} cells: N = {config.n}, N_adv = {config.n_adv} noise images or {natural} "
            f"natural ones, m = {config.hidden}, L2 sizes {sizes} on pixels in [-1, 1], "
            f"seed {config.seed}. Accuracies on the clean test images of both classes. Flip "
            f"threshold: the size from which (L2) says that flipped labels teach the truth. As "
            f"good: pairs within {AS_GOOD} of the attacked network. Below chance: pairs below 0.5.",
            "\n".join(_summary(pairs)),
            "<details><summary>Every pair</summary>",
            "\n".join(_every(dataset, pairs)),
            "</details>",
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(pairs: Sequence[Pair]) -> Iterator[str]:
    """One row a scenario and size."""
    yield (
        "| scenario | eps | attacked network | same samples, unperturbed | perturbed: mean | least "
        "| most | as good | below chance |"
    )
    yield "|---" * 9 + "|"
    for size in sizes_of(pairs):
        for scenario in SCENARIOS:
            some = chosen(pairs, scenario, size)
            if not some:
                continue
            standard, noise, got = (
                np.asarray([pair.metrics[name] for pair in some]) for name in KEPT[:3]
            )
            as_good = int(np.sum(got >= standard - AS_GOOD))
            row = [scenario, f"{size:g}", f"{standard.mean():.3f}", f"{noise.mean():.3f}"]
            row += [f"{got.mean():.3f}", f"{got.min():.3f}", f"{got.max():.3f}"]
            row += [f"{as_good} of {len(got)}", str(int(np.sum(got < 0.5)))]
            yield f"| {' | '.join(row)} |"


def _every(dataset: str, pairs: Sequence[Pair]) -> Iterator[str]:
    """One row a pair of classes: the attacked network, then the perturbed samples' network."""
    columns = [(scenario, size) for size in sizes_of(pairs) for scenario in SCENARIOS]
    heads = [f"{scenario}, {size:g}" for scenario, size in columns]
    yield f"| classes | attacked | {' | '.join(heads)} | flip threshold |"
    yield "|---" * (3 + len(columns)) + "|"
    names = DATA_SETS[dataset].class_names
    by_panel = [{pair.classes: pair for pair in chosen(pairs, *column)} for column in columns]
    for first, second in sorted({pair.classes for pair in pairs}):
        some = [panel.get((first, second)) for panel in by_panel]
        standard = next(pair.metrics["acc_standard_test"] for pair in some if pair is not None)
        flips = [p.metrics["flip_threshold"] for p in some if p and "flip_threshold" in p.metrics]
        flip = f"{flips[0]:.2f}" if flips else "–"
        got = ["–" if p is None else f"{p.metrics['acc_adversarial_test']:.3f}" for p in some]
        pair = f"{names[first]}, {names[second]}"
        yield f"| {pair} | {standard:.3f} | {' | '.join(got)} | {flip} |"


def write(results: Path, file: Path, folder: Path = style.RENDERED) -> list[Path]:
    """Write the page, the table, and a picture a data set; their paths."""
    found = complete_pairs(results)
    pictures, reading = style.path_from(file, folder), style.reading_beside(file)
    write_text(file, page(found, pictures, reading))
    write_text(folder / "pairs.csv", table(found))
    paths = [file, folder / "pairs.csv"]
    for dataset, pairs in found.items():
        paths += style.save(draw(dataset, pairs), folder / f"pairs_{dataset}")
    return paths


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {COMMAND} [FOLDER]")
    print(*write(Path(sys.argv[1]), Path(sys.argv[2]), *map(Path, sys.argv[3:])), sep="\n")
