"""Between both limits: the kernel of (W1) and the aligned KKT point (T2), by scale and by width.

One data set, on which the aligned point exists, and networks with biases, trained by gradient flow
of the exponential loss from s times the start of (W1). Output weights are +1/sqrt(m) and
-1/sqrt(m), and units come in pairs that cancel, so that f is 0 at the start. Both limits minimise a
norm while all margins are at least one, sum_k lam_k y_n y_k Phi_nk (<x_n, x_k> + 1) >= 1, and
differ in Phi alone: the lazy one has the kernel of (W1), the rich one (1 + gamma^2)/2 within a
class and gamma across, (T2).

Across: s sqrt(m), which decides. For v_j = sqrt(m) w_j the network is (1/m) sum_j +-phi(<v_j, x>),
its flow dv_j/dt has no m in it, and v_j starts at s sqrt(m) times a start of no m. So networks of
one s sqrt(m) and any width are samples of one limit. Drawn: the angle between f and each limit as
functions, over new samples; pairs of a unit and a sample on the side that (T2) gives them; accuracy
on the new samples. Marks are means over starts, bars least to most. Half a minute.

    python -m reflfap.figures.lazy_and_rich [FOLDER]
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from reflfap import onehidden
from reflfap.backend import HostArray
from reflfap.data_loaders import artificial
from reflfap.figures import style
from reflfap.losses import EXPONENTIAL
from reflfap.onehidden import Network
from reflfap.rng import stream
from reflfap.theory import lazy
from reflfap.theory.kkt import aligned_kkt, non_negative_solution
from reflfap.training.flow import flow

NEW = 2_000  # new samples
LOOKS: dict[str, dict[str, Any]] = {
    "lazy": {"color": "#0072B2", "linestyle": "-"},
    "rich": {"color": "#D55E00", "linestyle": "--"},
}
MARKS = ("^", "s", "o")  # by width


@dataclass(frozen=True)
class Between:
    """What is drawn: half of N samples N(shift, I) with label +1, half N(-shift, I) with -1."""

    dim: int = 4_000
    n: int = 20
    shift: float = 0.05
    slope: float = 0.15
    time: float = 1e4
    widths: tuple[int, ...] = (16, 128, 1_024)
    across: tuple[float, ...] = tuple(10.0 ** (k / 2) for k in range(-4, 7))  # s sqrt(m)
    starts: int = 3
    seed: int = 0


class Samples(NamedTuple):
    """Samples with a 1 as last input, and new ones."""

    x: HostArray  # (N, d + 1)
    y: HostArray  # (N,)
    z: HostArray  # (n, d + 1)
    z_y: HostArray  # (n,)


class Both(NamedTuple):
    """The two limits on the new samples, (n,) each, up to a factor."""

    lazy: HostArray
    rich: HostArray


class Trip(NamedTuple):
    """Of all networks, (widths, scales, starts), and of both limits."""

    angle: dict[str, HostArray]  # to each limit, degrees
    aligned: HostArray  # fraction of pairs with z_jn a_j y_n > 0
    accuracy: HostArray
    accuracies: dict[str, float]  # of the limits
    apart: float  # degrees between the limits


def drawn(config: Between) -> Samples:
    """The samples, float64."""
    found: list[HostArray] = []
    for name, n in (("natural", config.n), ("test", NEW)):
        y = np.where(np.arange(n) < n // 2, 1.0, -1.0)
        rng = stream(config.seed, f"figures/lazy_and_rich/{name}")
        x = artificial.samples("gauss", n, config.dim, rng, "float64")
        found += [onehidden.with_constant(x + config.shift * y[:, None]), y]
    return Samples(*found)


def limits(part: Samples, slope: float) -> Both:
    """The kernel's solution, and the aligned KKT point; NoKKTPointError where there is none."""
    x, y, z = part.x[:, :-1], part.y, part.z[:, :-1]
    sigma, inner = lazy.start_deviation(x), x @ x.T
    Phi = lazy.kernel(inner, sigma, sigma, x.shape[1], slope)
    lam = non_negative_solution(Phi * (inner + 1) * y * y[:, None])
    rich = aligned_kkt(part.x, y, 2, slope).net
    return Both(lazy.lazy_function(z, x, lam * y, slope), onehidden.forward(rich, part.z)[0])


def paired_start(config: Between, width: int, scale: float, number: int) -> Network:
    """`scale` times the start of (W1), each unit once with +1/sqrt(m) and once with -1/sqrt(m)."""
    rng = stream(config.seed + number, "figures/lazy_and_rich/W")
    W, _ = onehidden.wide_start(width // 2, config.dim, rng)
    a = np.repeat([1.0, -1.0], width // 2) / math.sqrt(width)
    return Network(scale * np.tile(W, (2, 1)), a, config.slope)


def degrees(f: HostArray, g: HostArray) -> float:
    """The angle between two functions by their values, (n,)."""
    unit, other = f / np.linalg.norm(f), g / np.linalg.norm(g)
    return math.degrees(2 * math.asin(min(1.0, float(np.linalg.norm(unit - other)) / 2)))


def compute(config: Between | None = None) -> Trip:
    """Train all networks; the widest has (m, d + 1) numbers a few times."""
    config = config or Between()
    part = drawn(config)
    ends = limits(part, config.slope)
    rows = []
    for width in config.widths:
        for across in config.across:
            for number in range(config.starts):
                net = paired_start(config, width, across / math.sqrt(width), number)
                net = flow(net, part.x, part.y, EXPONENTIAL, time=config.time).net
                f = onehidden.forward(net, part.z)[0]
                sides = (net.W @ part.x.T) * net.a[:, None] * part.y > 0
                to_each = (degrees(f, end) for end in ends)
                rows.append((*to_each, np.mean(sides), np.mean(f * part.z_y > 0)))
    shape = len(config.widths), len(config.across), config.starts
    lazy_angle, rich_angle, aligned, accuracy = (
        column.reshape(shape) for column in np.asarray(rows).T
    )
    known = {
        name: float(np.mean(end * part.z_y > 0))
        for name, end in zip(Both._fields, ends, strict=True)
    }
    angle = {"lazy": lazy_angle, "rich": rich_angle}
    return Trip(angle, aligned, accuracy, known, degrees(*ends))


def draw(data: Trip, config: Between | None = None) -> Figure:
    """Three panels over one axis."""
    config = config or Between()
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(1, 3, figsize=(7.0, 2.9), sharex=True, layout="constrained")
        for name, angle in data.angle.items():
            _marks(panels[0], config, angle, LOOKS[name])
            look = LOOKS[name] | {"linewidth": 1, "label": f"{name} limit"}
            panels[2].axhline(data.accuracies[name], **look)
        for axes, values in ((panels[1], data.aligned), (panels[2], data.accuracy)):
            _marks(axes, config, values, {"color": "black", "linestyle": "-"})
        look = {"color": "#999999", "linestyle": ":", "linewidth": 1}
        panels[0].axhline(data.apart, **look, label="angle between both limits")
        panels[0].set(ylabel="angle of $f$ to each limit (degrees)", ylim=(0, None))
        panels[1].set(ylabel="pairs on the side of (T2)", ylim=(0.45, 1.02))
        panels[2].set(ylabel=f"accuracy on {NEW:,} new samples", ylim=(0.45, 1.02))
        for axes in panels:
            axes.set(xscale="log", xlabel="scale of the start $s\\sqrt{m}$")
            axes.xaxis.set_major_locator(LogLocator(numticks=12))
            axes.xaxis.set_minor_formatter(NullFormatter())
        style.below(figure, panels[2], panels[0], ncols=6)
        figure.suptitle(
            f"Rich on the left, lazy on the right. $d$ = {config.dim:,}, $N$ = {config.n}, "
            f"N(±{config.shift:g}, $I$), $\\gamma$ = {config.slope:g}, flow to "
            f"$t$ = {config.time:,.0f}, {config.starts} starts",
            size=style.RC["axes.titlesize"],
        )
    return figure


def _marks(axes: Axes, config: Between, values: HostArray, look: dict[str, Any]) -> None:
    """Means over starts, bars from the least to the most, a mark and a line for each width."""
    for width, rows, mark in zip(config.widths, values, MARKS, strict=False):
        shown: dict[str, Any] = {"marker": mark, "markersize": 3.5}
        shown |= {"linewidth": 0.9, "elinewidth": 0.6}
        if look["color"] == "black":
            shown["label"] = f"$m$ = {width:,}"
        style.spread(axes, config.across, rows, look | shown | {"fillstyle": "none"})


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "lazy_and_rich"), sep="\n")
