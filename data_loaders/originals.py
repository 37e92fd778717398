"""Where the original files of an image set lie, under the names that are in use for them.

Mirrors and unpackers spell the names of idx files in four ways, and torchvision has folders of its
own. Whatever their names, the files are the same, and so is the digest of what they hold.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from reflfap.data_loaders.archives import size_and_digest
from reflfap.data_loaders.registry import DATA_SETS

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


def idx_candidates(name: str, place: Path) -> list[dict[str, list[Path]]]:
    """Every path at which the idx files of the set `name` are looked for, in order.

    For each folder, `place` first, the paths of each file, by its name in the registry.
    """
    folders = [place]
    if name in TORCHVISION:
        folders += [place / "raw", place.parent / TORCHVISION[name] / "raw"]
    return [
        {
            file.name: [folder / one for one in spellings(file.name)]
            for file in DATA_SETS[name].files
        }
        for folder in folders
    ]


def spellings(name: str) -> list[str]:
    """The names that an idx file goes by which is published as `name`, the surest first."""
    names = (name, name.removesuffix(".gz"))
    return list(dict.fromkeys((*names, *(one.replace("-idx", ".idx") for one in names))))


def idx_files(name: str, place: Path) -> dict[str, Path]:
    """The idx files of the set `name` that are there, by their names in the registry.

    All are from one folder, the first that has all of them, else the first of those that have
    most: whatever the split, so that nobody trains on one folder and tests on another.
    """
    folders = []
    for candidates in idx_candidates(name, place):
        there = {
            file: [path for path in paths if os.path.isfile(path)]
            for file, paths in candidates.items()
        }
        folders.append({file: paths[0] for file, paths in there.items() if paths})
    return max(folders, key=len)


def fingerprint(paths: Sequence[Path]) -> str:
    """A line for each file: its SHA-256, bytes and name, as it is packed. Time: one pass."""
    lines = []
    for path in paths:
        size, digest = size_and_digest(path)
        lines.append(f"{digest} {size} {path.name}")
    return "\n".join(lines)
