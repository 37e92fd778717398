"""Are perturbations made of what (W2) says? Mean over n of |cos(u_n, eta_n)|, wide networks (E7).

u_n = sum_k y_k Phi(x_n, x_k) x_k is what the perturbation eta_n is made of in the limit. Panels: by
input dimension, by epochs of f, by hidden units; scenario (a), else as released. Marks: means over
seeds, bars from the least to the most. Open squares: read off the released figures. From a results
folder and its tables; without cells there, from `rendered/wide_cells.csv`.

    python -m reflfap.figures wide_cosine RESULTS [FOLDER]
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap.errors import InputError, refuse
from reflfap.figures import style, wide_curves
from reflfap.figures.wide_curves import DATA, LABELS, ReadOff, Sweep, WideCell

SWEPT = ("dim", "epochs", "hidden")
LOOKS: dict[str, dict[str, Any]] = {
    "shifted-gauss": {"color": "#000000", "marker": "o", "linestyle": "-"},
    "gauss": {"color": "#D55E00", "marker": "^", "linestyle": "--"},
    "mnist": {"color": "#0072B2", "marker": "v", "linestyle": ":"},
    "fashion-mnist": {"color": "#009E73", "marker": "D", "linestyle": "-."},
}


def compute(
    cells: Iterable[WideCell], read_off: Sequence[ReadOff] = ()
) -> dict[tuple[str, str], Sweep]:
    """The sweeps of scenario (a), by what is swept and data; InputError where there are none."""
    cells, found = list(cells), {}
    for data in DATA:
        try:
            sweeps = wide_curves.compute(cells, data, "perturbations", read_off)
        except InputError:  # other data may have some
            continue
        for sweep in sweeps:
            if sweep.swept in SWEPT and sweep.loss == "identity":
                found[sweep.swept, data] = sweep
    if not found:
        refuse("cells", "sweeps of E7", "none", "run `reflfap sweep wide --preset all`")
    return found


def draw(found: Mapping[tuple[str, str], Sweep]) -> Figure:
    """A panel for each of SWEPT."""
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(
            1, len(SWEPT), figsize=(7.0, 2.9), sharey=True, layout="constrained"
        )
        for axes, swept in zip(panels, SWEPT, strict=True):
            for data, look in LOOKS.items():
                if (swept, data) in found:
                    _curve(axes, found[swept, data], look | {"label": DATA[data]})
            axes.set(xscale="log", xlabel=LABELS[swept])
        panels[0].set(ylabel="mean $|\\cos(u_n, \\eta_n)|$", ylim=(0, 1.03))
        style.below(figure, *panels, ncols=3)
    return figure


def _curve(axes: Axes, sweep: Sweep, look: dict[str, Any]) -> None:
    each = [point.each("cosine") for point in sweep.random]
    shown: dict[str, Any] = {"markersize": 3, "linewidth": 0.8, "elinewidth": 0.6}
    style.spread(axes, [point.value for point in sweep.random], each, look | shown)
    released = [one for one in sweep.read_off if one.metric == "cosine"]
    if released:
        marks: dict[str, Any] = {"marker": "s", "fillstyle": "none", "linestyle": ""}
        marks |= {"color": look["color"], "markersize": 6, "markeredgewidth": 0.7}
        numbers = [one.number for one in released]
        axes.plot([one.value for one in released], numbers, label="released, read off", **marks)


def save(cells: Iterable[WideCell], folder: Path) -> list[Path]:
    """Draw into `folder`; returns the paths of the PNG and the PDF."""
    return style.save(draw(compute(cells, wide_curves.released_numbers())), folder / "wide_cosine")
