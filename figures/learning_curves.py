"""Learning curves of a deep network: loss, and error on its training and test images, by epoch.

python -m reflfap.figures.learning_curves RESULT.h5 [FOLDER]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from reflfap.backend import HostArray
from reflfap.data_loaders.registry import data_set
from reflfap.experiments.deep_training import DeepConfig
from reflfap.experiments.experiment import Inputs, Stored
from reflfap.experiments.learn import LearnConfig
from reflfap.figures import style
from reflfap.runs.store import open_result
from reflfap.training.minibatch import Curves

TITLES = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "cifar-10": "CIFAR-10",
    "embedded": "the embedded set",
}
CLOSE = (1.5, 2, 3, 4, 5, 7)
TEST = style.NETWORKS["adversarial"] | {"marker": "o", "markersize": 2.5}
TRAIN = style.NETWORKS["standard"] | {"linewidth": 1.0, "marker": "s", "markersize": 2.5}


def compute(result: Stored) -> Curves:
    """The curves that the result of a classifier, or of what learned a perturbed set, holds."""
    name = "standard" if result.config.experiment == "classify" else "adversarial"
    return Curves(*(result.array(f"traces/{name}/{one}", (-1,)) for one in Curves._fields))


def set_title(dataset: str) -> str:
    """A data set, as a reader knows it; an own one is called as its file."""
    return TITLES.get(dataset) or data_set(dataset).title


def network_name(config: DeepConfig) -> str:
    """The network that learns, as a reader knows it."""
    if config.network == "wideresnet":
        return f"WideResNet-{config.depth}-{config.width}"
    return f"ConvNet, width {config.width}" if config.width else "ConvNet"


def title(config: DeepConfig) -> str:
    """What was trained on what."""
    images = f"{config.subset:,} images" if config.subset else "all images"
    if config.experiment == "learn-set":
        images = images.replace("images", "perturbed images made elsewhere")
    if isinstance(config, LearnConfig):
        count = f"{config.subset or config.samples:,}"
        images = f"{count} perturbed ({config.scenario}, {config.norm})"
        images = images if config.size else f"{count} unperturbed ({config.scenario})"
    return f"{network_name(config)}, {set_title(config.dataset)},\n{images}"


def error(accuracy: HostArray) -> HostArray:
    """1 - accuracy; none, which a logarithm cannot show, is left out."""
    return np.where(accuracy < 1, 1 - accuracy, np.nan)


def draw(curves: Curves, heading: str) -> Figure:
    """Two panels over one axis of epochs; a cut of the rate is a grey line."""
    epochs = np.arange(1, len(curves.loss) + 1)
    with plt.rc_context(style.RC):
        figure, (top, bottom) = plt.subplots(
            2, 1, figsize=(3.5, 3.6), sharex=True, layout="constrained"
        )
        top.semilogy(epochs, curves.loss, **TRAIN)
        top.set_ylabel("training loss")
        top.set_title(heading)
        bottom.semilogy(epochs, error(curves.accuracy), **TRAIN, label="training images")
        bottom.semilogy(epochs, error(curves.accuracy_test), **TEST, label="clean test images")
        bottom.set_ylabel("error, 1 − accuracy")
        bottom.set_xlabel("epoch")
        bottom.xaxis.get_major_locator().set_params(integer=True)
        bottom.legend()
        for axes in (top, bottom):
            _ticks(axes)
        for cut in epochs[1:][curves.rate[1:] < curves.rate[:-1]]:
            for axes in (top, bottom):
                axes.axvline(cut - 0.5, color="0.7", linewidth=0.8, zorder=0)
    return figure


def _ticks(axes: Axes) -> None:
    """Labels at powers of ten, and between them where the axis need not have two of these."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}" if high < 100 * low else "")
    if high < 100 * low:
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5) if high > 5 * low else CLOSE))


def figure_of(result: Stored) -> Figure:
    """The figure of a result."""
    return draw(compute(result), title(result.config_of(DeepConfig)))


def save(result: Stored, folder: Path) -> list[Path]:
    """Draw a result's curves into a folder."""
    return style.save(figure_of(result), folder / "learning_curves")


def save_run(result: Stored, inputs: Inputs, folder: Path) -> list[Path]:
    """Draw a run; its result holds all that is shown."""
    return save(result, folder)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m reflfap.figures.learning_curves RESULT [FOLDER]")
    source = Path(sys.argv[1])
    with open_result(source) as opened:
        for path in save(opened, Path(sys.argv[2]) if len(sys.argv) > 2 else source.parent):
            print(path)
