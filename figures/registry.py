"""All figures: what each needs, and how to make it.

Four kinds: those that compute what they show, those of one run, those of a grid of E1, one picture
for each norm and distribution, and those of E2, one for each data set. What cannot be made is said
with its reason, and never stops the others.
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from reflfap.checks import choice
from reflfap.data_loaders.registry import DATA_SETS, is_own
from reflfap.errors import InputError, ReflfapError, StoreError, refuse
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.experiment import canonical_json
from reflfap.experiments.images import ImagesConfig
from reflfap.experiments.perturb_config import SCENARIOS
from reflfap.experiments.three_networks import WHOLE
from reflfap.experiments.wide_config import RELEASED
from reflfap.figures import (
    accuracy_curves,
    decision_boundaries,
    decision_grid,
    decision_map,
    gallery,
    image_rows,
    learning_curves,
    noise_samples,
    pairs,
    perturbation,
    perturbation_confusion,
    perturbation_curves,
    perturbation_gallery,
    prediction,
    style,
    wide_cosine,
    wide_curves,
    wide_map,
)
from reflfap.figures.perturbation import DeepCell
from reflfap.figures.sweeps import PAIRS, Cell, complete_cells, known_cells
from reflfap.runs.running import Place
from reflfap.runs.store import complete_results, open_result


class Sources:
    """What figures are drawn from, read when it is first asked for."""

    def __init__(self, results: Path, reference: Path | None = None) -> None:
        self.results = results
        self.reference = reference

    @cached_property
    def cells(self) -> list[Cell]:
        """The complete cells of E1."""
        return complete_cells(self.results)

    @cached_property
    def known(self) -> list[Cell]:
        """Those, and the ones of which the numbers are known from tables."""
        return known_cells(self.results)

    @cached_property
    def learnt(self) -> list[DeepCell]:
        """The known cells of E2."""
        return perturbation.known_cells(self.results)

    @cached_property
    def wide(self) -> list[wide_curves.WideCell]:
        """The known cells of E7, or those that come with us."""
        return wide_curves.wide_cells(self.results)

    @cached_property
    def sets(self) -> list[perturbation_gallery.PerturbedSet]:
        """The stored perturbed sets of E2."""
        return perturbation_gallery.complete_sets(self.results)

    @cached_property
    def released(self) -> list[prediction.Released]:
        """The released points, of a reference or those that come with the package."""
        return prediction.released_points(self.reference)


Draw = Callable[[Sources, Path], Sequence[Path]]


class Entry(NamedTuple):
    """A figure: what it needs, and how to draw its pictures, by their names."""

    needs: str
    pictures: dict[str, Draw]


class Outcome(NamedTuple):
    """One picture: where it is, or why it is missing."""

    name: str
    paths: Sequence[Path]
    missing: str = ""
    figure: str = ""  # the one that it is a picture of

    @property
    def remedy(self) -> str:
        """How to get the results that it lacks; nothing where it is missing for another reason."""
        lacking = self.missing.startswith(("results: ", "cells: "))
        return self.missing.rpartition("; ")[2] if lacking else ""


def _alone(name: str, needs: str = "nothing; it computes what it shows") -> Entry:
    """A figure that computes what it shows."""

    def draw(_: Sources, folder: Path) -> list[Path]:
        module = importlib.import_module(f"reflfap.figures.{name}")
        return style.save(module.draw(module.compute()), folder / name)

    return Entry(needs, {name: draw})


def _predicted(sources: Sources, folder: Path) -> list[Path]:
    panels = prediction.compute(sources.released, *prediction.own_cells())
    return style.save(prediction.draw(panels), folder / "prediction")


def _map_of_a_run(sources: Sources, folder: Path) -> list[Path]:
    """Of the paper's default cell, or else of the largest."""
    if not sources.cells:
        refuse("results", "a complete cell of E1", "none", "run `reflfap run artificial`")

    def rank(cell: Cell) -> tuple[Any, ...]:
        config = cell.config
        size = config.dim * (config.n + config.n_adv)
        return config == ArtificialConfig(), size, -config.seed, canonical_json(config)

    with open_result(max(sources.cells, key=rank).path) as result:
        return decision_map.save(result, folder)


def _rows_of_a_run(sources: Sources, folder: Path) -> list[Path]:
    """Of the whole run on images with most perturbed samples."""
    found = complete_results(sources.results, ImagesConfig)
    runs = [
        (config.n_adv, canonical_json(config), run.path)
        for config, run in found
        if not is_own(config.dataset)  # whose images are not known here
    ]
    for *_, path in sorted(runs, reverse=True):
        with open_result(path) as result:
            if set(WHOLE) <= set(result.names()):
                return image_rows.save_run(result, Place(sources.results).inputs(), folder)
    refuse("results", "a whole run on images", "none", "run `reflfap run images`")


def _curves_of(dataset: str) -> Draw:
    def draw(sources: Sources, folder: Path) -> list[Path]:
        """Of the classifier that saw most images, and of those of the most epochs."""
        runs = [
            (not config.subset, config.subset, config.epochs, run.path)
            for config, run in complete_results(sources.results, ClassifyConfig)
            if config.dataset == dataset
        ]
        if not runs:
            remedy = f"run `reflfap run classify --dataset {dataset}`"
            refuse("results", f"a classifier of {dataset}", "none", remedy)
        with open_result(max(runs)[-1]) as result:
            stem = folder / f"learning_curves_{dataset}"
            return style.save(learning_curves.figure_of(result), stem)

    return draw


def _pairs_of(dataset: str) -> Draw:
    def draw(sources: Sources, folder: Path) -> list[Path]:
        found = None
        with contextlib.suppress(InputError):  # which names another data set
            found = pairs.complete_pairs(sources.results).get(dataset)
        if not found:
            remedy = f"run `reflfap sweep images --preset pairs-{dataset}`"
            refuse("results", f"pairs of classes of {dataset}", "none", remedy)
        return style.save(pairs.draw(dataset, found), folder / f"pairs_{dataset}")

    return draw


def _all_curves(sources: Sources, folder: Path) -> list[Path]:
    return accuracy_curves.save_all(sources.known, folder, sources.released)


def _of_a_grid(
    stem: str,
    save: Callable[..., Sequence[Path]],
    released: bool = False,
    more: Mapping[str, Draw] = {},
) -> Entry:
    """A figure of which there is one for each norm and distribution, and some of them all."""

    def draw(sources: Sources, folder: Path, norm: str, data: str) -> Sequence[Path]:
        if released:
            return save(sources.known, norm, data, folder, sources.released)
        return save(sources.cells, norm, data, folder)

    pictures: dict[str, Draw] = {
        f"{stem}_{norm}_{data}": partial(draw, norm=norm, data=data) for norm, data in PAIRS
    }
    return Entry("cells of E1, from `reflfap sweep artificial`", {**more, **pictures})


def _of_networks(stem: str, save: Callable[..., Sequence[Path]], needs: str) -> Entry:
    """A figure of E2 of which there is one for each data set."""

    def draw(sources: Sources, folder: Path, dataset: str) -> Sequence[Path]:
        return save(sources.learnt, dataset, folder)

    pictures: dict[str, Draw] = {
        f"{stem}_{dataset}": partial(draw, dataset=dataset) for dataset in DATA_SETS
    }
    return Entry(needs, pictures)


def _gallery_of(dataset: str, scenario: str) -> Draw:
    def draw(sources: Sources, folder: Path) -> Sequence[Path]:
        return perturbation_gallery.save(sources.sets, dataset, scenario, folder)

    return draw


def _wide_curves_of(data: str, scenario: str) -> Draw:
    def draw(sources: Sources, folder: Path) -> Sequence[Path]:
        return wide_curves.save(sources.wide, data, scenario, folder)

    return draw


def _wide_cosine(sources: Sources, folder: Path) -> Sequence[Path]:
    return wide_cosine.save(sources.wide, folder)


def _wide_map(sources: Sources, folder: Path) -> Sequence[Path]:
    return wide_map.save(wide_map.stored_maps(sources.results), folder)


FIGURES: dict[str, Entry] = {
    "multiplier_bounds": _alone("multiplier_bounds"),
    "path_to_the_limit": _alone("path_to_the_limit"),
    "two_effects": _alone("two_effects"),
    "lazy_and_rich": _alone("lazy_and_rich"),
    "odd_part": _alone("odd_part"),
    "even_part": _alone("even_part"),
    "float16_stops": _alone("float16_stops"),
    "flow_cost": _alone("flow_cost", "nothing; it draws times that come with us"),
    "origins": _alone("origins", "MNIST; it computes what it shows"),
    "prediction": Entry("nothing; it computes what it shows", {"prediction": _predicted}),
    "decision_map": Entry("a cell of E1", {"decision_map": _map_of_a_run}),
    "image_rows": Entry("a run of `reflfap run images`", {"image_rows": _rows_of_a_run}),
    "learning_curves": Entry(
        "a run of `reflfap run classify`",
        {f"learning_curves_{dataset}": _curves_of(dataset) for dataset in DATA_SETS},
    ),
    "accuracy_curves": _of_a_grid(
        "accuracy", accuracy_curves.save, released=True, more={"accuracy_all": _all_curves}
    ),
    "decision_boundaries": _of_a_grid("boundaries", decision_boundaries.save),
    "decision_grid": _of_a_grid("decision_grid", decision_grid.save),
    "gallery": _of_a_grid("gallery", gallery.save),
    "pairs": Entry(
        "cells of E3, from `reflfap sweep images`",
        {f"pairs_{dataset}": _pairs_of(dataset) for dataset in DATA_SETS},
    ),
    "perturbation_curves": _of_networks(
        "perturbation_curves",
        perturbation_curves.save,
        "runs of `reflfap run learn`, or tables of them with curves",
    ),
    "perturbation_gallery": Entry(
        "sets of `reflfap run perturb`, and their images",
        {
            f"perturbation_gallery_{dataset}_{scenario}": _gallery_of(dataset, scenario)
            for dataset in DATA_SETS
            for scenario in SCENARIOS
        },
    ),
    "perturbation_confusion": _of_networks(
        "perturbation_confusion", perturbation_confusion.save, "a run of `reflfap run learn`"
    ),
    "noise_samples": _of_networks(
        "noise_samples",
        noise_samples.save,
        "runs of `reflfap run learn --scenario noise` with two numbers of samples, or their table",
    ),
    "wide_curves": Entry(
        "nothing; with cells of `reflfap sweep wide`, it draws them",
        {
            f"wide_curves_{data}_{scenario}": _wide_curves_of(data, scenario)
            for data, scenario in RELEASED
        },
    ),
    "wide_cosine": Entry(
        "nothing; with cells of `reflfap sweep wide`, it draws them", {"wide_cosine": _wide_cosine}
    ),
    "wide_map": Entry("runs of `reflfap run wide --plane`", {"wide_map": _wide_map}),
}


def make_all(
    results: Path, folder: Path, reference: Path | None = None, names: Sequence[str] = ()
) -> Iterator[Outcome]:
    """Make the figures called `names`, or all, into `folder`; InputError for an unknown name."""
    for name in names:
        choice("figure", name, FIGURES)
    _create(folder)
    sources = Sources(results, reference)
    for name in names or FIGURES:
        for picture, draw in FIGURES[name].pictures.items():
            try:
                yield Outcome(picture, draw(sources, folder), "", name)
            except ReflfapError as error:
                yield Outcome(picture, (), str(error), name)


def _create(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be created ({error}); choose another folder") from error
