"""Rows of sample images of a cell of E1: natural, noise, attacked noise and the perturbation.

Artificial samples have no shape of their own. The first r c inputs are shown as r rows of c, r and
c as near to each other as they can be with r = floor(sqrt(d)): for d = 10,000 all of them, else up
to r less than all, and the title says so. Natural samples and noise are drawn again from the seed.
The perturbation is signed: orange raises an input, blue lowers it, magnified as its title says.
Above each stands its cosine with the first one. In L2 and L∞ all perturbations towards one target
are nearly the same, and those towards the other nearly the opposite. In L0 an input goes to the end
of its range, so how far it goes depends on the noise; and the two targets share only some of the
inputs that change, so across them the cosine is small. The target is what the attack made the
standard network answer.

    python -m reflfap.figures gallery RESULTS [FOLDER]
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from reflfap.backend import HostArray
from reflfap.data_loaders.artificial import DISTRIBUTIONS
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import GALLERY
from reflfap.figures import style
from reflfap.figures.sweeps import DATA, NORMS, Cell, find_centre, sweep_points
from reflfap.runs.store import Result, open_result

SHOWN = 4


class Samples(NamedTuple):
    """What is drawn; images are (SHOWN, r, c), or fewer of them where the cell has fewer."""

    natural: HostArray
    noise: HostArray
    attacked: HostArray
    label: HostArray  # of the natural samples, +1 or -1
    target: HostArray  # of the attacked ones, +1 or -1

    @property
    def perturbation(self) -> HostArray:
        """What the attack added."""
        change: HostArray = self.attacked - self.noise
        return change

    @property
    def cosines(self) -> HostArray:
        """Of each perturbation with the first, of all inputs shown; 0 where one is zero."""
        flat = self.perturbation.reshape(len(self.attacked), -1).astype(np.float64)
        lengths = np.linalg.norm(flat, axis=1)
        found: HostArray = flat @ flat[0] / np.maximum(lengths * lengths[0], 1e-300)
        return found


def image_shape(dim: int) -> tuple[int, int]:
    """Rows and columns of the largest near-square image of at most `dim` inputs."""
    rows = math.isqrt(dim)
    return rows, dim // rows


def compute(result: Result) -> Samples:
    """The first samples of a stored cell; InputError for a result of another experiment."""
    config = result.config_of(ArtificialConfig)
    target = result.array("data/adversarial/y", (-1,))[:GALLERY]
    attacked = result.array("data/adversarial/x", (-1, config.dim))[:GALLERY]
    # the first rows of a draw do not depend on how many follow
    natural = artificial.natural(replace(config, n=min(GALLERY, config.n)))
    noise = artificial.noise(replace(config, n_adv=len(target)))
    first, second = balanced(natural.y), balanced(target)
    shape = image_shape(config.dim)
    x, source, perturbed = (
        part[:, : math.prod(shape)].reshape(-1, *shape)
        for part in (natural.x[first], noise.x[second], attacked[second])
    )
    return Samples(x, source, perturbed, natural.y[first], target[second])


def balanced(y: HostArray) -> HostArray:
    """Positions of the first SHOWN samples, as many of each label as there are of both."""
    rank = [int(np.sum(y[:i] == y[i])) for i in range(len(y))]  # among those of its label
    return np.sort(np.argsort(rank, kind="stable")[:SHOWN])


def draw(data: Samples, config: ArtificialConfig) -> Figure:
    """The rows of a cell."""
    low, high = DISTRIBUTIONS[config.data].low, DISTRIBUTIONS[config.data].high
    if not math.isfinite(low):
        low, high = -3.0, 3.0  # of a standard Gaussian all but a quarter of a percent
    label, target = (_signed(y) for y in (data.label, data.target))
    return picture(data, (low, high), label, target, _title(data, config))


def picture(
    data: Samples, ends: tuple[float, float], label: list[str], target: list[str], title: str
) -> Figure:
    """Four rows of images, at the width of two columns; the ends of the data are black and white.

    `label` and `target` are what is written above natural and attacked samples.
    """
    low, high = ends
    size = float(np.abs(data.perturbation).max()) or 1.0
    grey = {"cmap": "gray", "vmin": low, "vmax": high}
    signed = {"cmap": style.SIGNED, "vmin": -1.0, "vmax": 1.0}
    alike = [
        "cosine with the first",
        *(f"{one:+.2f}".replace("-", "−") for one in data.cosines[1:]),
    ]
    rows = {
        "natural": (data.natural, grey, [f"label {one}" for one in label]),
        "noise": (data.noise, grey, []),
        f"perturbation\n× {1 / size:.3g}\norange +\nblue −": (
            data.perturbation / size,
            signed,
            alike,
        ),
        "attacked": (data.attacked, grey, [f"target {one}" for one in target]),
    }
    with plt.rc_context(style.RC):
        figure, grid = plt.subplots(len(rows), SHOWN, figsize=(4.8, 5.2), layout="constrained")
        for each in grid.ravel():
            each.set_axis_off()
        for (name, (images, look, titles)), line in zip(rows.items(), grid, strict=True):
            for image, axes in zip(images, line, strict=False):
                axes.imshow(image, interpolation="nearest", **look)
            for above, axes in zip(titles, line, strict=False):
                axes.set_title(above)
            where = {"transform": line[0].transAxes, "ha": "right", "va": "center"}
            line[0].text(-0.08, 0.5, name, **where)
        figure.suptitle(title, size=style.RC["axes.titlesize"])
    return figure


def _signed(y: HostArray) -> list[str]:
    return ["+1" if one > 0 else "−1" for one in y]


def _title(data: Samples, config: ArtificialConfig) -> str:
    rows, columns = data.noise.shape[1:]
    cropped = "" if rows * columns == config.dim else f", the first {rows * columns} of them shown"
    size = "$d_\\delta/d$" if config.norm == "l0" else "$\\epsilon$"
    return (
        f"{NORMS[config.norm]}, {DATA[config.data]}, {size} = {config.size:.3g}: "
        f"$d$ = {config.dim} inputs as {rows} × {columns} pixels{cropped}"
    )


def central(cells: Iterable[Cell], norm: str, data: str) -> Cell:
    """The default cell of a grid with the lowest seed, or the nearest to it: most N_adv."""
    cells = list(cells)
    points = sweep_points(cells, find_centre(cells, norm, data), "n_adv")
    return points[-1].cells[0]


def save(cells: Iterable[Cell], norm: str, data: str, folder: Path) -> list[Path]:
    """Draw one norm and distribution into `folder`; returns the paths of the PNG and the PDF."""
    with open_result(central(cells, norm, data).path) as result:
        figure = draw(compute(result), result.config_of(ArtificialConfig))
    return style.save(figure, folder / f"gallery_{norm}_{data}")
