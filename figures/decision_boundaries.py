"""Boundaries of adversarial networks that learned more and more perturbed samples, on one map.

The map is that of `decision_map`: regions and solid line are the standard network's, samples the
natural ones it learned. The other lines are adversarial networks of the sweep over N_adv, of one
seed, so that all learned noise perturbed against the same standard network.

    python -m reflfap.figures decision_boundaries RESULTS [FOLDER]
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from reflfap.figures import decision_map, style
from reflfap.figures.sweeps import DATA, NORMS, Cell, find_centre, sweep_points
from reflfap.runs.store import open_result

WANTED = (10, 20, 100)  # N_adv
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#CC79A7", "linestyle": ":", "linewidth": 1.8},
    {"color": "#0072B2", "linestyle": "-.", "linewidth": 1.8},
    {"color": "#D55E00", "linestyle": "--", "linewidth": 1.8},
)


class Boundaries(NamedTuple):
    """What is drawn: a map a cell, all of one standard network."""

    cells: Sequence[Cell]  # by N_adv
    maps: Sequence[decision_map.DecisionMap]


def chosen(cells: Iterable[Cell], norm: str, data: str) -> list[Cell]:
    """The cells with the wanted N_adv, topped up to three by the next larger ones, of one seed.

    The seed is the one with most cells, among equals the lowest.
    """
    cells = list(cells)
    points = sweep_points(cells, find_centre(cells, norm, data), "n_adv")
    of_sweep = [cell for point in points for cell in point.cells]
    seeds = Counter(cell.config.seed for cell in sorted(of_sweep, key=lambda c: c.config.seed))
    seed = seeds.most_common(1)[0][0]
    own = {cell.config.n_adv: cell for cell in of_sweep if cell.config.seed == seed}
    wanted = [n_adv for n_adv in WANTED if n_adv in own]
    others = [n_adv for n_adv in own if n_adv >= min(WANTED) and n_adv not in wanted]
    some = sorted([*wanted, *others[: len(WANTED) - len(wanted)]]) or [max(own)]
    return [own[n_adv] for n_adv in some]


def compute(cells: Sequence[Cell]) -> Boundaries:
    """The maps of stored cells."""
    maps = []
    for cell in cells:
        with open_result(cell.path) as result:
            maps.append(decision_map.compute(result))
    return Boundaries(cells, maps)


def draw(data: Boundaries) -> Figure:
    """The picture, at column width."""
    config = data.cells[0].config
    with plt.rc_context(style.RC):
        figure, axes = plt.subplots(figsize=(3.5, 4.5), layout="constrained")
        decision_map.backdrop(axes, data.maps[0])
        accuracy = data.cells[0].metrics["acc_standard"]
        standard = style.NETWORKS["standard"] | {"label": f"standard ({accuracy:.2f})"}
        decision_map.boundary(axes, data.maps[0], "standard", standard)
        for cell, one, look in zip(data.cells, data.maps, LOOKS, strict=False):
            accuracy = cell.metrics["acc_adversarial"]
            label = f"$N_{{adv}}$ = {cell.config.n_adv} ({accuracy:.2f})"
            decision_map.boundary(axes, one, "adversarial", look | {"label": label})
        decision_map.name_axes(axes)
        decision_map.legend(figure, axes)
        axes.set_title(
            "Boundaries learned from $N_{adv}$ samples (and accuracy)\n"
            f"{NORMS[config.norm]}, {DATA[config.data]}, $d$ = {config.dim}, $N$ = {config.n}, "
            f"ε = {config.size:.3g}"
        )
    return figure


def save(cells: Iterable[Cell], norm: str, data: str, folder: Path) -> list[Path]:
    """Draw one norm and distribution into `folder`; returns the paths of the PNG and the PDF."""
    figure = draw(compute(chosen(cells, norm, data)))
    return style.save(figure, folder / f"boundaries_{norm}_{data}")
