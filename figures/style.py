"""One style for all figures: readable without colour vision, in grey, and at column width."""

import io
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from reflfap.backend import HostArray
from reflfap.files import write_whole

# Okabe and Ito's palette, distinct for all common forms of colour vision; each network also has
# its own line style, each class its own marker, so that nothing depends on colour.
NETWORKS: dict[str, dict[str, Any]] = {
    "standard": {"color": "#000000", "linestyle": "-", "linewidth": 1.8},
    "noise": {"color": "#0072B2", "linestyle": ":", "linewidth": 1.8},
    "adversarial": {"color": "#D55E00", "linestyle": "--", "linewidth": 1.8},
}
CLASSES: dict[int, dict[str, Any]] = {
    1: {"color": "#E69F00", "marker": "o", "label": "label +1"},
    -1: {"color": "#56B4E9", "marker": "^", "label": "label −1"},
}
SIGNED = LinearSegmentedColormap.from_list("signed", ["#0072B2", "#FFFFFF", "#D55E00"])

RENDERED = Path(__file__).parent / "rendered"

RC: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}


def reading_beside(file: Path) -> str:
    """What is written by hand in FILE-reading.md for the generated page FILE.md; may be nothing."""
    beside = file.with_name(f"{file.stem}-reading.md")
    return beside.read_text(encoding="utf-8") if beside.exists() else ""


def path_from(file: Path, folder: Path) -> str:
    """The path of `folder` as a link on the page `file` has it."""
    return Path(os.path.relpath(folder.resolve(), file.resolve().parent)).as_posix()


def below(figure: Figure, *panels: Axes, ncols: int, order: Sequence[str] = ()) -> None:
    """One legend of all panels below the figure, each name once, as they come or in `order`."""
    entries = {
        name: line
        for axes in panels
        for line, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    names = sorted(entries, key=order.index) if order else list(entries)
    lines = [entries[name] for name in names]
    figure.legend(lines, names, loc="outside lower center", ncols=ncols)


def spread(
    axes: Axes, across: Sequence[float], each: Sequence[HostArray], look: Mapping[str, Any]
) -> None:
    """The mean of each array at its place, and a bar from its least to its largest number."""
    middle = np.asarray([one.mean() for one in each])
    ends = np.asarray([(one.min(), one.max()) for one in each]).T
    axes.errorbar(across, middle, np.abs(ends - middle), **look)


def seeds_a_point(counts: Collection[int]) -> str:
    """From the numbers of seeds that points have."""
    seeds = "–".join(str(count) for count in sorted({min(counts), max(counts)}))
    return f"{seeds} seed{'' if set(counts) == {1} else 's'} a point"


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write the figure as PNG (200 dots per inch) and PDF beside each other, and close it.

    Without a date, so that an unchanged figure is an unchanged file; each whole or not at all.
    """
    paths = [stem.with_suffix(".png"), stem.with_suffix(".pdf")]
    for path in paths:
        without = {"Creator": None, "CreationDate": None} if path.suffix == ".pdf" else None
        drawn = io.BytesIO()
        figure.savefig(drawn, format=path.suffix[1:], dpi=200, metadata=without)
        write_whole(path, drawn.getvalue(), "folder")
    plt.close(figure)
    return paths
