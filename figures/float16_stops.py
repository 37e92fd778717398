"""Where float16 ends what goes on in exact arithmetic: gradients, an L0 attack, and a training.

Left: the gradient |u_j| of one unit on one sample against the sample's margin, exactly and in
float16, where it falls in steps and is zero from some margin on. Middle: an L0 attack's mean margin
against the pixels it may change; in float16 a sample stalls where its gradient is zero. Right: the
mean loss of the standard network against flow time; in float16 it ends where the thresholds are
passed. The released default cell, N = 1,000, uniform data, 40 samples of noise. Ten seconds, 0.4
GB.

    python -m reflfap.figures.float16_stops [FOLDER]
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap import float16
from reflfap.backend import HostArray
from reflfap.data_loaders.artificial import DISTRIBUTIONS
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import attacked, initial_network, train
from reflfap.figures import accuracy_curves, style
from reflfap.losses import loss_named, rate

CONFIG = ArtificialConfig(norm="l0", n_adv=40)
PIXELS = (1, 10, 25, 50, 100, 150, 200, 250, 300, 400, 500)
EXACT = style.NETWORKS["adversarial"] | {"label": "exact"}
ROUNDED: dict[str, Any] = {
    "color": accuracy_curves.FLOAT16["color"],
    "linestyle": "-",
    "linewidth": 1.1,
    "label": "float16",
}


class Gradients(NamedTuple):
    """|u_j| against the margin, in training or in the attack."""

    q: HostArray
    exact: HostArray  # of a unit that is on
    rounded: HostArray  # the same in float16
    stop: float  # the margin from which on it is zero


class Margins(NamedTuple):
    """The mean margin of a few samples against the pixels an attack may change."""

    exact: HostArray
    rounded: HostArray


class Course(NamedTuple):
    """The mean loss of a training."""

    time: HostArray
    loss: HostArray


class Stops(NamedTuple):
    """The three panels."""

    attack: Gradients
    training: Gradients
    path: Margins
    exact: Course
    rounded: Course


def compute(config: ArtificialConfig = CONFIG, pixels: tuple[int, ...] = PIXELS) -> Stops:
    """Both arithmetics on the same samples; the standard network is each one's own."""
    courses, paths = [], []
    noise = artificial.noise(config)
    domain = DISTRIBUTIONS[config.data]
    for precision in ("exact", "released"):
        how = replace(config, precision=precision)
        standard = train(how, "standard", *artificial.natural(how))
        courses.append(Course(standard.trace.time, standard.trace.loss))
        margins = []
        for count in pixels:
            fewer = replace(how, epsilon=count / config.dim, attack_steps=None)
            done = attacked(fewer, standard.net, *noise, (domain.low, domain.high))
            margins.append(float(done.margin.mean()))
        paths.append(np.asarray(margins))
    return Stops(
        _gradients(config, 1.0, 16.0),
        _gradients(config, 1 / config.n, 9.0),
        Margins(*paths),
        *courses,
    )


def _gradients(config: ArtificialConfig, share: float, most: float) -> Gradients:
    """|u_j| for the weight `share` of a sample in the loss, at margins from 0 to `most`."""
    net, loss = (
        float16.rounded_network(initial_network(config, "standard")),
        loss_named(config.loss),
    )
    q = np.linspace(0, most, 2001, dtype=np.float32)
    on, _ = float16.unit_gradients(net, loss, q, share)
    exact = rate(loss, q) * share / np.sqrt(config.hidden)
    return Gradients(q, exact, on, float16.stopping_margins(net, loss, share)[0])


def draw(data: Stops, pixels: tuple[int, ...] = PIXELS) -> Figure:
    """Three panels in a row, at the width of two columns."""
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(1, 3, figsize=(7, 2.4), layout="constrained")
        for name, part, at in (("attack", data.attack, 7.0), ("training", data.training, 1.0)):
            _draw_gradients(panels[0], part, name, at)
        panels[0].set(
            yscale="log",
            ylim=(2e-8, 0.1),
            xlabel="margin of the sample",
            ylabel="gradient of a unit that is on",
            title="a gradient ends at a margin",
        )
        stop = data.attack.stop
        panels[1].axhline(stop, color="#999999", linewidth=0.8, linestyle=":")
        panels[1].text(pixels[-1], stop, f"{stop:.1f} ", ha="right", va="bottom")
        panels[1].plot(pixels, data.path.exact, **EXACT)
        panels[1].plot(pixels, data.path.rounded, **ROUNDED)
        panels[1].set(
            xlabel="pixels that an L0 attack may change",
            ylabel="mean margin",
            title="so an attack stalls",
        )
        for course, look in ((data.exact, EXACT), (data.rounded, ROUNDED)):
            panels[2].plot(course.time[1:], course.loss[1:], **look)
        end = data.rounded.time[-1], data.rounded.loss[-1]
        panels[2].plot(*end, "o", color=ROUNDED["color"], markersize=4)
        panels[2].annotate(
            f"$t$ = {end[0]:,.0f}", end, (-4, -4), textcoords="offset points", ha="right", va="top"
        )
        panels[2].set(
            xscale="log",
            yscale="log",
            xlabel="flow time $t$",
            ylabel="mean loss",
            title="and a training ends early",
        )
        style.below(figure, panels[1], ncols=2)
    return figure


def _draw_gradients(axes: Axes, part: Gradients, name: str, at: float) -> None:
    """Both arithmetics, named beside margin `at`; the last margin with a gradient is marked."""
    axes.plot(part.q, part.exact, **EXACT)
    there = part.rounded > 0
    axes.plot(part.q[there], part.rounded[there], **ROUNDED)
    last = part.q[there][-1], part.rounded[there][-1]
    axes.plot(*last, "o", color=ROUNDED["color"], markersize=4)
    axes.annotate(f"{part.stop:.1f}", last, (0, 5), textcoords="offset points", ha="center")
    height = float(np.interp(at, part.q, part.exact))
    axes.annotate(name, (at, height), (4, 0), textcoords="offset points", va="center")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "float16_stops"), sep="\n")
