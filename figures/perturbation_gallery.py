"""Samples of perturbed sets (E2): the source, and for each norm what became of it.

One picture a data set and scenario, of stored sets of one seed, which share their sources; these
are drawn again from the seed. Under each source: perturbed by each norm, and the perturbation,
magnified by the factor in its title. Of grey images orange raises a pixel and blue lowers it; of
colour images grey is no change, and each channel is shown as it is. Above: the class a source
shows, and the target that the network learned instead.

    python -m reflfap.figures perturbation_gallery RESULTS [FOLDER]
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap.backend import HostArray
from reflfap.data_loaders.registry import data_set
from reflfap.errors import refuse
from reflfap.experiments.deep_training import split_of
from reflfap.experiments.experiment import Inputs, Stored, both_splits, canonical_json
from reflfap.experiments.perturb_config import PerturbConfig
from reflfap.experiments.perturbed_set import read_set
from reflfap.experiments.perturbed_set import source as source_of
from reflfap.figures import learning_curves, style
from reflfap.figures.perturbation import TITLES, is_released_attack
from reflfap.figures.sweeps import NORMS
from reflfap.runs.running import Place
from reflfap.runs.store import complete_results, open_result

SHOWN = 8


class PerturbedSet(NamedTuple):
    """A stored perturbed set."""

    config: PerturbConfig
    path: Path


class Samples(NamedTuple):
    """What is drawn; images are (SHOWN, C, H, W) on [0, 1], or fewer where a set has fewer."""

    configs: dict[str, PerturbConfig]  # of the sets, by norm
    source: HostArray
    label: HostArray  # class of a source, -1 for noise
    target: HostArray
    perturbed: dict[str, HostArray]  # by norm

    @property
    def config(self) -> PerturbConfig:
        """That of one of the sets: they share data set, scenario and seed."""
        return next(iter(self.configs.values()))


def complete_sets(results: Path) -> list[PerturbedSet]:
    """The stored sets of a results folder, controls left out."""
    complete = complete_results(results, PerturbConfig)
    return [PerturbedSet(config, run.path) for config, run in complete if config.size]


def choose(sets: Iterable[PerturbedSet], dataset: str, scenario: str) -> dict[str, PerturbedSet]:
    """By norm the sets of one seed, that of most norms; InputError where there is none.

    Of several of a norm the one nearest to the paper: its size, its preset, most steps, samples.
    """

    def rank(one: PerturbedSet) -> tuple[Any, ...]:
        c = one.config
        usual = is_released_attack(c), c.preset == "paper"
        return *usual, c.steps, c.samples, canonical_json(c)

    found: dict[int, dict[str, PerturbedSet]] = {}
    for one in sorted(sets, key=rank):
        if (one.config.dataset, one.config.scenario) == (dataset, scenario):
            found.setdefault(one.config.seed, {})[one.config.norm] = one
    if not found:
        remedy = f"run `reflfap run perturb --dataset {dataset} --scenario {scenario}`"
        refuse("results", f"a perturbed set of {dataset}, {scenario}", "none", remedy)
    seed = max(found, key=lambda seed: (len(found[seed]), -seed))
    return {norm: found[seed][norm] for norm in NORMS if norm in found[seed]}


def compute(sets: dict[str, PerturbedSet], inputs: Inputs | None = None) -> Samples:
    """The first samples of sets that share their sources; InputError if they do not."""
    config = next(iter(sets.values())).config
    inputs = inputs or Place(Path()).inputs()
    digests = " ".join(inputs.images(*one).sha256 for one in both_splits(config))
    source = source_of(config, split_of(inputs, config.dataset, "train"))
    count = min(SHOWN, *(one.config.samples for one in sets.values()))
    perturbed = {}
    for norm, one in sets.items():
        with open_result(one.path) as result:
            images = read_set(result)
            target = images.y[:count]
            perturbed[norm] = np.array(images.x[:count])
            same = result.attributes.get("data_sha256") == digests
        if not same or not np.array_equal(target, source.target[:count]):
            remedy = "show it where its images are, or make it again"
            refuse("set", f"one made of the images of {config.dataset}", one.path, remedy)
    x = source.draw(0)[:count].reshape(count, *data_set(config.dataset).shape)
    configs = {norm: one.config for norm, one in sets.items()}
    return Samples(configs, x, source.label[:count], source.target[:count], perturbed)


def factor(change: HostArray) -> float:
    """By what a perturbation is magnified: its largest entry becomes one."""
    return 1 / (float(np.abs(change).max()) or 1.0)


def headings(samples: Samples) -> list[str]:
    """A title a column: what the source shows, if anything, and its target."""
    names = data_set(samples.config.dataset).class_names
    shown = ["noise" if one < 0 else names[one] for one in samples.label]
    return [f"{name}\n→ {names[t]}" for name, t in zip(shown, samples.target, strict=True)]


def draw(samples: Samples) -> Figure:
    """Columns are samples; the source on top, two rows a norm below."""
    rows = 1 + 2 * len(samples.perturbed)
    with plt.rc_context(style.RC):
        figure, grid = plt.subplots(
            rows, SHOWN, figsize=(7, 0.75 * rows + 0.6), layout="constrained", squeeze=False
        )
        for each in grid.ravel():
            each.set_axis_off()
        _row(grid[0], samples.source, "source")
        for axes, heading in zip(grid[0], headings(samples), strict=False):
            axes.set_title(heading, size=6.5)
        for number, (norm, perturbed) in enumerate(samples.perturbed.items()):
            change = perturbed - samples.source
            size = f"{samples.configs[norm].size:g}"
            name = f"{size} inputs" if norm == "l0" else f"ε = {size}"
            line, below = grid[1 + 2 * number], grid[2 + 2 * number]
            _row(line, perturbed, f"{NORMS[norm]}, {name}")
            _row(below, change * factor(change), f"change\n× {factor(change):.3g}", signed=True)
        figure.suptitle(_title(samples), size=style.RC["axes.titlesize"])
    return figure


def _title(samples: Samples) -> str:
    config = samples.config
    presets = " and ".join(sorted({one.preset for one in samples.configs.values()}))
    dataset, scenario = learning_curves.set_title(config.dataset), TITLES[config.scenario]
    return f"{dataset}; {scenario}; preset {presets}; seed {config.seed}"


def _row(line: Sequence[Axes], images: HostArray, name: str, signed: bool = False) -> None:
    for image, axes in zip(images, line, strict=False):
        if len(image) == 3:
            axes.imshow(np.clip((image + 1) / 2 if signed else image, 0, 1).transpose(1, 2, 0))
        elif signed:
            axes.imshow(image[0], cmap=style.SIGNED, vmin=-1, vmax=1)
        else:
            axes.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    line[0].text(-0.08, 0.5, name, transform=line[0].transAxes, ha="right", va="center")


def save(sets: Iterable[PerturbedSet], dataset: str, scenario: str, folder: Path) -> list[Path]:
    """Draw a data set and scenario into `folder`; returns the paths of the PNG and the PDF."""
    figure = draw(compute(choose(sets, dataset, scenario)))
    return style.save(figure, folder / f"perturbation_gallery_{dataset}_{scenario}")


def save_run(result: Stored, inputs: Inputs, folder: Path) -> list[Path]:
    """Draw the set of one run into `folder`."""
    config = result.config_of(PerturbConfig)
    figure = draw(compute({config.norm: PerturbedSet(config, result.path)}, inputs))
    return style.save(figure, folder / "gallery")
