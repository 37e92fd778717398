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
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from reflfap.errors import InputError, refuse
from reflfap.experiments.experiment import Kind, Table, canonical_json
from reflfap.experiments.registry import named
from reflfap.files import read_text

LARGEST_FILE = 2**20  # bytes
MOST_CELLS = 100_000


def from_preset(kind: type[Kind], name: str, seeds: Sequence[int] = (0,)) -> list[Kind]:
    """The cells of a preset for each seed."""
    known = named(kind.experiment).presets
    if name not in known:
        refuse("preset", "one of " + ", ".join(sorted(known)), repr(name), "choose one of these")
    return expand(kind, known[name](), seeds)


def from_file(kind: type[Kind], path: Path, seeds: Sequence[int] = ()) -> list[Kind]:
    """The cells of a TOML grid; `seeds` given here replace those of the file.

    InputError naming the table for anything that is no cell.
    """
    text = read_text(path, LARGEST_FILE, "give another --grid", InputError)
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError, or a number too long
        refuse(str(path), "a TOML file", f"({error})", "mend it; see docs/sweeps.md")
    parts = {"seeds": list, "common": dict, "cells": list}
    for name, value in content.items():
        if name not in parts or not isinstance(value, parts[name]):
            expected = "seeds = [...], [common] and [[cells]]"
            refuse(str(path), expected, f"{name} = {str(value)[:60]}", "see docs/sweeps.md")
    tables = content.get("cells", [])
    for table in tables:
        if not isinstance(table, dict):
            refuse("cells", "tables [[cells]]", repr(table)[:60], "see docs/sweeps.md")
    if not tables:
        refuse(str(path), "at least one table [[cells]]", "none", "see docs/sweeps.md")
    tables = [content.get("common", {}) | table for table in tables]
    return expand(kind, tables, seeds or content.get("seeds", [0]))


def expand(kind: type[Kind], tables: Iterable[Table], seeds: Sequence[int]) -> list[Kind]:
    """The configs of all tables and seeds, each once, in the order of their first mention."""
    cells: dict[str, Kind] = {}
    blocks = []
    for number, table in enumerate(tables, 1):
        if "seed" in table:
            refuse(f"table {number}", "seeds given once for all", "a seed", "use seeds or --seeds")
        blocks.append({name: _choices(name, value) for name, value in table.items()})
    count = sum(math.prod(map(len, block.values())) for block in blocks) * len(seeds)
    if count > MOST_CELLS:  # equal ones too, which would have to be walked to be found
        refuse("grid", f"at most {MOST_CELLS} combinations", count, "split it")
    for number, block in enumerate(blocks, 1):
        for *chosen, seed in itertools.product(*block.values(), seeds):
            config = _config(kind, number, {**dict(zip(block, chosen, strict=True)), "seed": seed})
            cells.setdefault(canonical_json(config), config)
    if not cells:
        refuse("grid", "at least one cell", "none", "give at least one value and one seed")
    return list(cells.values())


def _choices(name: str, value: Any) -> Sequence[Any]:
    several = isinstance(value, list | tuple)
    if several and name == "classes":  # itself a pair, so only a list of pairs is a choice
        several = all(isinstance(one, list | tuple) for one in value)
    return value if several else [value]


def _config(kind: type[Kind], number: int, values: dict[str, Any]) -> Kind:
    known = {field.name for field in fields(kind)}
    for name in values:
        if name not in known:
            refuse(f"table {number}", f"only {', '.join(sorted(known))}", name, "mend the name")
    try:
        return kind(**values)
    except (InputError, TypeError, AttributeError) as error:
        raise InputError(f"table {number}: no such cell: {error}") from error
