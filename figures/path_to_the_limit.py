"""Along gradient flow to its limit: loss, alignment, direction and accuracy from t = 1 to 10^30.

A network learns from perturbed noise, on data on which the aligned KKT point (T2) exists. Drawn
against flow time: its mean loss, the fraction of unit-sample pairs on the side that (T2) gives
them, the distance of its direction W/||W|| to that of the KKT point, and its accuracy on the
natural data it never saw. The released experiment stops at t = 10^4. Dashed: what (C1) and (C2)
predict from the first time on at which all pairs are proved to stay aligned, from that network
alone; the last panel shows measurement over prediction. Weights grow like log t, to about
70 W*, and no rate of the loss underflows: the flow is followed as it is. Ten seconds.

    python -m reflfap.figures.path_to_the_limit [FOLDER]
"""

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

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
from reflfap.theory.rate import aligned_for_good, angle_at, asymptote, loss_limit
from reflfap.training.flow import flow

CONFIG = ArtificialConfig(
    dim=4_000, hidden=50, n=200, n_adv=50, slope=0.5, epsilon=1.2, dtype="float64"
)
TIMES = np.geomspace(1.0, 1e30, 61)
RELEASED = 1e4
TOLERANCE = 0.003
"""Of the flow. It stays in t L(t) as a relative error of half its size, however late."""

MEASURED: dict[str, Any] = {"color": "black"}
PREDICTED: dict[str, Any] = {"color": "#D55E00", "linestyle": "--"}


class Course(NamedTuple):
    """What is drawn, one entry a time of TIMES; predictions are NaN before all is aligned."""

    loss: HostArray
    loss_predicted: HostArray  # (C1): sum_n lam_n / t
    aligned: HostArray  # fraction of pairs with z_jn a_j y_n > 0
    distance: HostArray  # || W/||W|| - W_kkt/||W_kkt|| ||
    distance_predicted: HostArray  # (C2): 2 sin(angle/2)
    accuracy: HostArray  # on the natural data
    accuracy_limit: float  # of the KKT point itself


def compute(config: ArtificialConfig = CONFIG, times: HostArray = TIMES) -> Course:
    """Follow the adversarial network of one cell of E1; memory as for the cell."""
    cell = artificial.cell(config)
    x, y, natural = cell.x_adv, cell.y_adv, artificial.natural(config)
    point = aligned_kkt(x, y, config.hidden, config.slope)
    limit = point.net.W / np.linalg.norm(point.net.W)
    net = initial_network(config, "adversarial")
    rows, t, line = [], 0.0, None
    for time in map(float, times):
        trained = flow(net, x, y, EXPONENTIAL, time=time - t, tolerance=TOLERANCE)
        net, t = trained.net, time
        pairs = (net.W @ x.T) * net.a[:, None] * y > 0
        if line is None and np.all(pairs):
            line = asymptote(net, x, y) if aligned_for_good(net, x, y, t) else None
        late = math.nan if line is None else 1.0
        rows.append(
            (
                trained.trace.loss[-1],
                late * loss_limit(point.lam) / t,
                np.mean(pairs),
                np.linalg.norm(net.W / np.linalg.norm(net.W) - limit),
                late if line is None else 2 * math.sin(angle_at(line, t) / 2),
                onehidden.accuracy(onehidden.margins(net, *natural)),
            )
        )
    last = onehidden.accuracy(onehidden.margins(point.net, *natural))
    loss, predicted, aligned, distance, distance_predicted, accuracy = np.asarray(rows).T
    return Course(loss, predicted, aligned, distance, distance_predicted, accuracy, last)


def draw(data: Course, times: HostArray = TIMES) -> Figure:
    """Five panels over one time axis."""
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(5, 1, figsize=(4.2, 6.6), sharex=True, layout="constrained")
        for axes, name, values, predicted in (
            (panels[0], "mean loss", data.loss, data.loss_predicted),
            (panels[1], "aligned pairs", data.aligned, None),
            (panels[2], "distance to the\nKKT direction", data.distance, data.distance_predicted),
            (panels[3], "accuracy on\nnatural data", data.accuracy, None),
        ):
            axes.plot(times, values, label="gradient flow", **MEASURED)
            if predicted is not None:
                axes.plot(times, predicted, label="(C1), (C2)", **PREDICTED | {"linewidth": 2.2})
            axes.set_ylabel(name)
        panels[3].axhline(data.accuracy_limit, color="#0072B2", linestyle=":", label="KKT point")
        for what, over, marker in (
            ("loss", data.loss / data.loss_predicted, "o"),
            ("distance", data.distance / data.distance_predicted, "s"),
        ):
            look: dict[str, Any] = {"marker": marker, "markersize": 2.5, "linestyle": "none"}
            shown = {"color": "black", "fillstyle": "full" if what == "loss" else "none"}
            panels[4].plot(times, over, label=what, **look | shown)
        panels[4].axhline(1.0, color="#bbbbbb", linewidth=0.6, zorder=0)
        panels[4].set(ylabel="measured over\npredicted", xlabel="gradient-flow time t")
        panels[4].set_ylim(0.99, 1.01)
        panels[0].set(xscale="log", yscale="log")
        panels[2].set_ylim(bottom=0)
        for axes in panels:
            axes.axvline(RELEASED, color="#999999", linestyle=":")
        panels[1].text(RELEASED, panels[1].get_ylim()[0], " released end", va="bottom")
        for axes in (panels[2], panels[3], panels[4]):
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        panels[0].set_title(
            f"Learning from perturbed noise to the limit\n$d$ = {CONFIG.dim}, $N$ = {CONFIG.n}, "
            f"$N_{{adv}}$ = {CONFIG.n_adv}, $\\gamma$ = {CONFIG.slope}"
        )
    return figure


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "path_to_the_limit"), sep="\n")
