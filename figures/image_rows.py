"""Rows of images of a cell of E3: what was perturbed, the perturbation, what came out, and b.

Columns are source samples with their targets. The perturbation is signed: orange raises a pixel,
blue lowers it, and it is magnified by the factor in its title. At the right stand the normals b
(T5) of the standard and of the adversarial network: what each looks for in the first class. The
second network never saw a natural image when the source is noise.

    python -m reflfap.figures.image_rows RESULT [DATA_FOLDER]
"""

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap.backend import HostArray
from reflfap.data_loaders.registry import data_set
from reflfap.experiments import images
from reflfap.experiments.experiment import Inputs, Stored
from reflfap.experiments.images import ImagesConfig, two_classes
from reflfap.figures import style
from reflfap.onehidden import output_weights
from reflfap.runs.running import Place
from reflfap.runs.store import open_result

SHOWN = 6


class Rows(NamedTuple):
    """What is drawn; images are (SHOWN, C, H, W) on the data range."""

    source: HostArray
    perturbation: HostArray
    perturbed: HostArray
    target: HostArray  # (SHOWN,) +1 or -1
    normals: HostArray  # (2, C, H, W): standard, adversarial; each of largest magnitude one


def compute(result: Stored, data: images.ClassPair) -> Rows:
    """The rows of a stored cell of E3; `data` are the images it was computed from."""
    config = result.config_of(ImagesConfig)
    shape = data_set(config.dataset).shape
    x_adv = result.array("data/adversarial/x", (-1, config.inputs))[:SHOWN]
    target = result.array("data/adversarial/y", (-1,))[:SHOWN]
    samples = images.prepare(config, data)
    source = samples.source.x[:SHOWN]
    before, change, after = (p.reshape(-1, *shape) for p in (source, x_adv - source, x_adv))
    normals = []
    for name in ("standard", "adversarial"):
        W = result.array(f"networks/{name}/W", (config.hidden, config.inputs))
        b = output_weights(config.hidden) @ W  # u - v up to a factor, which is b by (T4)
        normals.append(b / np.abs(b).max())
    return Rows(before, change, after, target, np.reshape(normals, (2, *shape)))


def draw(rows: Rows, names: tuple[str, str]) -> Figure:
    """Three rows of images, and the two normals at the right."""
    size = float(np.abs(rows.perturbation).max()) or 1.0
    with plt.rc_context(style.RC):
        figure, axes = plt.subplots(
            3,
            SHOWN + 2,
            figsize=(7, 3.2),
            layout="constrained",
            width_ratios=[1] * SHOWN + [0.3, 1.3],
        )
        for each in axes.ravel():
            each.set_axis_off()
        for column in range(len(rows.target)):
            _show(axes[0, column], rows.source[column], grey=True)
            _show(axes[1, column], rows.perturbation[column] / size)
            _show(axes[2, column], rows.perturbed[column], grey=True)
            axes[0, column].set_title(
                f"target\n{names[0] if rows.target[column] > 0 else names[1]}"
            )
        for row, title in enumerate(("source", f"perturbation\n× {1 / size:.2g}", "perturbed")):
            axes[row, 0].text(
                -0.1, 0.5, title, transform=axes[row, 0].transAxes, ha="right", va="center"
            )
        for row, (normal, title) in enumerate(
            zip(rows.normals, ("$b$, standard", "$b$, adversarial"), strict=True)
        ):
            _show(axes[2 * row, -1], normal)
            axes[2 * row, -1].set_title(title)
        axes[1, -1].text(
            0.5, 0.5, f"orange: {names[0]}\nblue: {names[1]}", ha="center", va="center"
        )
    return figure


def _show(axes: Axes, image: HostArray, grey: bool = False) -> None:
    """One image: colour as it is, a single channel in grey, signed values by their mean channel."""
    if grey and len(image) == 3:
        axes.imshow(np.clip((image.transpose(1, 2, 0) + 1) / 2, 0, 1))
    elif grey:
        axes.imshow(image[0], cmap="gray", vmin=-1, vmax=1)
    else:
        signed = image.mean(axis=0)
        limit = float(np.abs(signed).max()) or 1.0
        axes.imshow(signed, cmap=style.SIGNED, vmin=-limit, vmax=limit)


def save(result: Stored, data: images.ClassPair, folder: Path) -> list[Path]:
    """Draw the cell and save it as image_rows.png and .pdf in `folder`."""
    config, rows = result.config_of(ImagesConfig), compute(result, data)
    names = data_set(config.dataset).class_names
    titles = tuple(names[int(one)] if one.isdigit() else one for one in config.classes)
    return style.save(draw(rows, (titles[0], titles[1])), folder / "image_rows")


def save_run(result: Stored, inputs: Inputs, folder: Path) -> list[Path]:
    """Draw a run whose images `inputs` reads."""
    return save(result, two_classes(result.config_of(ImagesConfig), inputs.images), folder)


def main() -> None:
    with open_result(Path(sys.argv[1])) as result:
        inputs = Place(Path(), Path(sys.argv[2]) if sys.argv[2:] else None).inputs()
        print(*save_run(result, inputs, style.RENDERED), sep="\n")


if __name__ == "__main__":
    main()
