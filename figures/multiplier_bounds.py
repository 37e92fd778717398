"""Multipliers of the KKT point (T2) against their bounds (T3), on random data as d grows.

N uniform samples with random labels, several draws a dimension. Above: the least, median and
largest multiplier of each draw where the aligned KKT point exists, times d sigma^2, the expected
||x||^2, beside both bounds (as wide as they differ between draws) and the value 2/(1 + gamma^2) of
orthogonal samples. Multipliers below the axis, nearly all zero, of inactive constraints, stand on
its edge. Below: the fraction of draws for which that point exists, its multipliers keep the bounds
of their own draw, and (T1) holds, the condition under which (T3) is proved. 12 seconds, 150 MB.

    python -m reflfap.figures.multiplier_bounds [FOLDER]
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap.backend import HostArray
from reflfap.data_loaders.artificial import DISTRIBUTIONS, labels, samples
from reflfap.errors import NoKKTPointError
from reflfap.figures import style
from reflfap.rng import stream
from reflfap.theory.kkt import aligned_kkt, multiplier_bounds
from reflfap.theory.orthogonality import orthogonality, smallest_dimension

DATA = "uniform"
N = 10
SLOPE = 0.7
DIMS = np.geomspace(10, 200_000, 23).round().astype(int)
DRAWS = 20
LEAST = 0.1  # the lower edge, in units of 1/(d sigma^2)


class Multipliers(NamedTuple):
    """By dimension and draw, (D, S); multipliers and bounds in units of 1/(d sigma^2)."""

    dims: HostArray  # (D,)
    multipliers: HostArray  # (D, S, 3) least, median and largest; NaN where no point exists
    lower: HostArray  # (D, S) bound of (T3)
    upper: HostArray  # (D, S) bound of (T3)
    holds: HostArray  # (D, S) bool, (T1)

    @property
    def exists(self) -> HostArray:
        """Where the aligned KKT point exists, (D, S) bool."""
        found: HostArray = np.isfinite(self.multipliers[..., 0])
        return found

    @property
    def kept(self) -> HostArray:
        """Where it does and all multipliers are within the bounds of their draw, (D, S) bool."""
        inside: HostArray = (self.lower < self.multipliers[..., 0]) & (
            self.multipliers[..., 2] < self.upper
        )
        return inside


def compute(dims: HostArray = DIMS, draws: int = DRAWS) -> Multipliers:
    """Solve for the KKT point of every draw in every dimension."""
    points, bounds, holds = [], [], []
    for dim in dims:
        scale = dim * DISTRIBUTIONS[DATA].variance
        for seed in range(draws):
            x = samples(DATA, N, int(dim), stream(seed, "natural/x"), "float64")
            y = labels(N, stream(seed, "natural/y"), "float64")
            try:
                lam = scale * aligned_kkt(x, y, 2, SLOPE).lam
            except NoKKTPointError:
                lam = np.full(N, np.nan)
            points.append((lam.min(), np.median(lam), lam.max()))
            bounds.append([scale * bound for bound in multiplier_bounds(x, SLOPE)])
            holds.append(orthogonality(x, SLOPE).holds)
    shape = (len(dims), draws)
    lower, upper = np.asarray(bounds).T.reshape(2, *shape)
    return Multipliers(
        dims, np.reshape(points, (*shape, 3)), lower, upper, np.reshape(holds, shape)
    )


def draw(data: Multipliers) -> Figure:
    """Multipliers above, fractions below, over one axis of d."""
    with plt.rc_context(style.RC):
        figure, (above, below) = plt.subplots(
            2, 1, figsize=(3.5, 5.2), sharex=True, height_ratios=(1.8, 1), layout="constrained"
        )
        _multipliers(above, data)
        _fractions(below, data)
        first = smallest_dimension(N, SLOPE)
        for axes, top in ((above, 0.75), (below, 1.0)):
            axes.axvline(first, ymax=top, color="#777777", linestyle="-.", linewidth=0.8, zorder=0)
        above.text(0.8 * first, 1.15 * LEAST, "predicted:\n(T1) for half\nof the draws", ha="right")
        above.legend(loc="upper right", ncols=2, columnspacing=1.0)
        below.set_xlabel("input dimension $d$")
        above.set_title(
            f"$N$ = {N} {DATA} samples, $\\gamma$ = {SLOPE}: "
            f"{data.holds.shape[1]} draws at each $d$"
        )
        figure.legend(*below.get_legend_handles_labels(), loc="outside lower center")
    return figure


def _multipliers(axes: Axes, data: Multipliers) -> None:
    across = np.repeat(data.dims, data.holds.shape[1])
    looks: Any = (
        ("largest", {"marker": "^", "color": "#D55E00"}),
        ("median", {"marker": "_", "color": "#000000"}),
        ("least", {"marker": "v", "color": "#0072B2"}),
    )
    for column, (name, look) in zip((2, 1, 0), looks, strict=True):
        values = np.maximum(data.multipliers[..., column].ravel(), LEAST)
        marks: Any = {"s": 9, "alpha": 0.6, "linewidth": 0.6, "clip_on": False, "zorder": 3}
        axes.scatter(across, values, label=f"{name} multiplier", **marks, **look)
    for bound, label in ((data.upper, "bounds (T3)"), (data.lower, None)):
        edges = bound.min(axis=1), bound.max(axis=1)
        axes.fill_between(data.dims, *edges, color="#aaaaaa", linewidth=1.2, label=label)
    limit = 2 / (1 + SLOPE**2)
    axes.axhline(limit, color="black", linewidth=0.8, linestyle="--", label="orthogonal samples")
    axes.set(xscale="log", yscale="log", ylim=(LEAST, 40))
    axes.set_yticks([0.1, 0.3, 1, 3, 10], ["≤0.1", "0.3", "1", "3", "10"])
    axes.set_ylabel("$\\lambda_n\\, d\\, \\sigma^2$ (dimensionless)")


def _fractions(axes: Axes, data: Multipliers) -> None:
    for values, name, look in (
        (data.exists, "the aligned KKT point exists", "standard"),
        (data.kept, "... and its multipliers keep the bounds (T3)", "adversarial"),
        (data.holds, "(T1) holds", "noise"),
    ):
        axes.plot(data.dims, values.mean(axis=1), label=name, **style.NETWORKS[look])
    axes.set_ylabel("fraction of draws")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "multiplier_bounds"), sep="\n")
