"""Along gradient flow to its limit: loss, alignment, direction and accuracy from t = 1 to 10^8.

A network learns from perturbed noise, on data on which the aligned KKT point (T2) exists. Drawn
against flow time: its mean loss, the fraction of unit-sample pairs on the side that (T2) gives
them, the distance of its direction W/||W|| to that of the KKT point, and its accuracy on the
natural data it never saw. The released experiment stops at t = 10^4.

    python -m reflfap.figures.path_to_the_limit [FOLDER]
"""

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from reflfap import onehidden
from reflfap.backend import HostArray
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import initial_network
from reflfap.figures import style
from reflfap.losses import EXPONENTIAL
from reflfap.theory.kkt import aligned_kkt
from reflfap.training.flow import flow

CONFIG = ArtificialConfig(
    dim=4_000, hidden=50, n=200, n_adv=50, slope=0.5, epsilon=1.2, dtype="float64"
)
TIMES = np.geomspace(1.0, 1e8, 33)
RELEASED = 1e4


class Course(NamedTuple):
    """What is drawn, one entry a time of TIMES."""

    loss: HostArray
    aligned: HostArray  # fraction of pairs with z_jn a_j y_n > 0
    distance: HostArray  # || W/||W|| - W_kkt/||W_kkt|| ||
    accuracy: HostArray  # on the natural data
    accuracy_limit: float  # of the KKT point itself


def compute(config: ArtificialConfig = CONFIG, times: HostArray = TIMES) -> Course:
    """Follow the adversarial network of one cell of E1; memory as for the cell."""
    cell = artificial.cell(config)
    x, y, natural = cell.x_adv, cell.y_adv, artificial.natural(config)
    point = aligned_kkt(x, y, config.hidden, config.slope)
    limit = point.net.W / np.linalg.norm(point.net.W)
    net = initial_network(config, "adversarial")
    rows, t = [], 0.0
    for time in times:
        trained = flow(net, x, y, EXPONENTIAL, time=float(time) - t, tolerance=0.03)
        net, t = trained.net, float(time)
        Z = net.W @ x.T
        rows.append(
            (
                trained.trace.loss[-1],
                np.mean(Z * net.a[:, None] * y > 0),
                np.linalg.norm(net.W / np.linalg.norm(net.W) - limit),
                onehidden.accuracy(onehidden.margins(net, *natural)),
            )
        )
    last = onehidden.accuracy(onehidden.margins(point.net, *natural))
    loss, aligned, distance, accuracy = np.asarray(rows).T
    return Course(loss, aligned, distance, accuracy, last)


def draw(data: Course, times: HostArray = TIMES) -> Figure:
    """Four panels over one time axis."""
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(4, 1, figsize=(3.5, 5.4), sharex=True, layout="constrained")
        shown = {
            "mean loss": data.loss,
            "aligned pairs": data.aligned,
            "distance to the\nKKT direction": data.distance,
            "accuracy on\nnatural data": data.accuracy,
        }
        for axes, (name, values) in zip(panels, shown.items(), strict=True):
            axes.plot(times, values, color="black")
            axes.set_ylabel(name)
            axes.axvline(RELEASED, color="#999999", linestyle=":")
        panels[0].set(xscale="log", yscale="log")
        panels[2].set_ylim(bottom=0)
        panels[1].text(RELEASED, panels[1].get_ylim()[0], " released end", va="bottom")
        panels[3].axhline(data.accuracy_limit, color="#D55E00", linestyle="--", label="KKT point")
        panels[3].legend(loc="lower right")
        panels[3].set_xlabel("gradient-flow time t")
        panels[0].set_title(
            f"Learning from perturbed noise to the limit\n$d$ = {CONFIG.dim}, $N$ = {CONFIG.n}, "
            f"$N_{{adv}}$ = {CONFIG.n_adv}, $\\gamma$ = {CONFIG.slope}"
        )
    return figure


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "path_to_the_limit"), sep="\n")
