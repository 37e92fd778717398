"""Which cells: presets, the paper's among them, and grids from TOML files.

seeds = [0, 1, 2]

[common]                  # of all cells
hidden = 200

[[cells]]                 # one table a block of the grid
dim = [500, 1000]         # lists are combined, each value with each
n_adv = [100, 1000]
norm = "l2"
"""

import itertools
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from data_loaders.registry import DATA_SETS
from reflfap.config import ArtificialConfig, ImagesConfig, canonical_json
from reflfap.config_perturbation import SCALES, SCENARIOS, SIZES, LearnConfig
from reflfap.configs import SweptConfig
from reflfap.errors import InputError, refuse

Table = Mapping[str, Any]
Kind = TypeVar("Kind", bound=SweptConfig)

LARGEST_FILE = 2**20  # bytes
MOST_CELLS = 100_000

# the grid of (E1): along d the L2 radius grows in step, as released
DIMS = (100, 500, 1000, 2500, 5000, 7500, 10_000)
L2_BY_DIM = (0.078, 0.17, 0.24, 0.39, 0.55, 0.67, 0.78)
NATURAL = (1000, 2000, 3000, 5000, 7000, 10_000)
NOISE = (1, 10, 100, 500, 1000, 1500, 2500, 5000, 7500, 10_000)
DRAWN = 20  # one N_adv more, of which the paper draws a boundary
EPSILONS = {
    "l2": (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.78),
    "linf": (0.001, 0.005, 0.01, 0.015, 0.02, 0.03),
    "l0": (
        *(0.0001, 0.0004, 0.0008, 0.001, 0.002, 0.004),
        *(0.006, 0.008, 0.01, 0.02, 0.03, 0.04, 0.05),
    ),
}
DISTRIBUTIONS = ("uniform", "gauss")
CLASSES = tuple("0123456789")
RELEASED = ("mnist", "fashion-mnist", "cifar-10")


def paper(norm: str, data: str) -> list[Table]:
    """The four sweeps of (E1) for one norm and distribution, around the released defaults."""
    common = {"norm": norm, "data": data}
    largest = EPSILONS[norm][-1]
    along_d: list[Table] = (
        [{"dim": d, "epsilon": eps} for d, eps in zip(DIMS, L2_BY_DIM, strict=True)]
        if norm == "l2"
        else [{"dim": DIMS, "epsilon": largest}]
    )
    others: list[Table] = [
        {"n": NATURAL, "epsilon": largest},
        {"n_adv": (*NOISE, DRAWN), "epsilon": largest},
        {"epsilon": EPSILONS[norm]},
    ]
    return [common | dict(table) for table in (*along_d, *others)]


def pairs(dataset: str) -> list[Table]:
    """All 45 pairs of classes, three scenarios, two sizes of an L2 perturbation (E3)."""
    root = math.prod(DATA_SETS[dataset].shape) ** 0.5
    common = {
        "dataset": dataset,
        "hidden": 100,
        "n": 500,
        "classes": list(itertools.combinations(CLASSES, 2)),
        "epsilon": [round(share * root, 3) for share in PAIR_SHARES],
    }
    natural = ["natural-random", "natural-flipped"]
    return [
        common | {"n_adv": 1000, "scenario": "noise"},
        common | {"n_adv": 500, "scenario": natural},
    ]


PAIR_SHARES = (0.05, 0.4)  # of sqrt(d): with the smaller one, natural samples teach their targets

RATIOS = (0.05, 0.2, 0.4, 0.6, 0.8)
"""Of the noise samples, beside all of them."""


def perturbations(preset: str, *datasets: str) -> Iterator[Table]:
    """E2: all scenarios and norms, a control each without perturbation, and parts of the noise."""
    for dataset in datasets:
        common = {"dataset": dataset, "preset": preset}
        yield common | {"scenario": SCENARIOS, "norm": list(SIZES[dataset])}
        yield common | {"scenario": SCENARIOS, "epsilon": 0.0}
        noise = SCALES[preset][dataset].noise
        parts = [round(ratio * noise) for ratio in RATIOS]
        yield common | {"scenario": "noise", "norm": list(SIZES[dataset]), "subset": parts}


PRESETS: dict[type[Any], dict[str, Callable[[], list[Table]]]] = {
    ArtificialConfig: {
        **{
            f"paper-{norm}-{data}": lambda norm=norm, data=data: paper(norm, data)  # type: ignore[misc]
            for data in DISTRIBUTIONS
            for norm in EPSILONS
        },
        "paper-all": lambda: [
            table for data in DISTRIBUTIONS for norm in EPSILONS for table in paper(norm, data)
        ],
        "smoke": lambda: [
            {"dim": 400, "hidden": 20, "n": 40, "n_adv": (20, 60, 200), "epsilon": (0.5, 1.0)},
        ],
    },
    LearnConfig: {
        **{
            f"{preset}-{dataset}": lambda preset=preset, dataset=dataset: [  # type: ignore[misc]
                *perturbations(preset, dataset)
            ]
            for preset, scales in SCALES.items()
            for dataset in scales
        },
        **{
            f"{preset}-all": lambda preset=preset: [*perturbations(preset, *RELEASED)]  # type: ignore[misc]
            for preset in SCALES
        },
        "smoke": lambda: [
            {"epochs": 2, "n_adv": 600, "attack_steps": 2, "scenario": SCENARIOS},
        ],
    },
    ImagesConfig: {
        **{
            f"pairs-{dataset}": lambda dataset=dataset: pairs(dataset)  # type: ignore[misc]
            for dataset in ("mnist", "fashion-mnist", "cifar-10", "embedded")
        },
        "smoke": lambda: [
            {
                "classes": [("1", "8"), ("3", "7")],
                "hidden": 20,
                "n": 100,
                "n_adv": 300,
                "scenario": ["noise", "natural-flipped"],
            }
        ],
    },
}
"""Grids by experiment and name."""


def from_preset(kind: type[Kind], name: str, seeds: Sequence[int] = (0,)) -> list[Kind]:
    """The cells of a preset for each seed. Checked by test_grid.py::test_the_papers_grid."""
    known = PRESETS[kind]
    if name not in known:
        refuse("preset", "one of " + ", ".join(sorted(known)), repr(name), "choose one of these")
    return expand(kind, known[name](), seeds)


def from_file(kind: type[Kind], path: Path, seeds: Sequence[int] = ()) -> list[Kind]:
    """The cells of a TOML grid; `seeds` given here replace those of the file.

    InputError naming the table for anything that is no cell.
    Checked by test_grid.py::test_a_grid_from_a_file and ::test_bad_grids_are_refused.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            refuse(str(path), f"at most {LARGEST_FILE} bytes", "more", "split the grid")
        content = tomllib.loads(text.decode())
    except OSError as error:
        refuse(str(path), "a grid that can be read", error.strerror, "give another --grid")
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError or no UTF-8
        refuse(str(path), "a TOML file", f"({error})", "mend it; see docs/sweeps.md")
    parts = {"seeds": list, "common": dict, "cells": list}
    for name, value in content.items():
        if name not in parts or not isinstance(value, parts[name]):
            expected = "seeds = [...], [common] and [[cells]]"
            refuse(str(path), expected, f"{name} = {str(value)[:60]}", "see docs/sweeps.md")
    tables = [_table(content.get("common", {}), table) for table in content.get("cells", [])]
    if not tables:
        refuse(str(path), "at least one table [[cells]]", "none", "see docs/sweeps.md")
    return expand(kind, tables, seeds or content.get("seeds", [0]))


def _table(common: Table, table: Any) -> Table:
    if not isinstance(table, dict):
        refuse("cells", "tables [[cells]]", repr(table)[:60], "see docs/sweeps.md")
    return {**common, **table}


def expand(kind: type[Kind], tables: Iterable[Table], seeds: Sequence[int]) -> list[Kind]:
    """The configs of all tables and seeds, each once, in the order of their first mention.

    Checked by test_grid.py::test_every_combination_once and ::test_bad_grids_are_refused.
    """
    cells: dict[str, Kind] = {}
    for number, table in enumerate(tables, 1):
        if "seed" in table:
            refuse(f"table {number}", "seeds given once for all", "a seed", "use seeds or --seeds")
        for values in _combinations(table):
            for seed in seeds:
                config = _config(kind, number, {**values, "seed": seed})
                cells.setdefault(canonical_json(config), config)
                if len(cells) > MOST_CELLS:
                    refuse("grid", f"at most {MOST_CELLS} cells", "more", "split it")
    if not cells:
        refuse("grid", "at least one cell", "none", "give at least one value and one seed")
    return list(cells.values())


def _combinations(table: Table) -> Iterator[dict[str, Any]]:
    """One dictionary for each choice of one value from each list."""
    choices = [_choices(name, value) for name, value in table.items()]
    for chosen in itertools.product(*choices):
        yield dict(zip(table, chosen, strict=True))


def _choices(name: str, value: Any) -> Sequence[Any]:
    if name == "classes":  # itself a pair, so only a list of pairs is a choice
        several = isinstance(value, list | tuple) and all(
            isinstance(one, list | tuple) for one in value
        )
        return value if several else [value]
    return value if isinstance(value, list | tuple) else [value]


def _config(kind: type[Kind], number: int, values: dict[str, Any]) -> Kind:
    known = {field.name for field in fields(kind)}
    for name in values:
        if name not in known:
            refuse(f"table {number}", f"only {', '.join(sorted(known))}", name, "mend the name")
    try:
        return kind(**values)
    except (InputError, TypeError, AttributeError) as error:
        raise InputError(f"table {number}: no such cell: {error}") from error
