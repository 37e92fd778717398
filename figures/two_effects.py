"""The two effects of (L1) at every test point, and the region where (L3) decides between them.

A network learns from perturbed noise with random targets, (P1) in L2. At a point z its boundary
function is the effect of the mislabelled samples (across) plus that of the perturbations (up). Both
are drawn divided by Lam = sum lam_adv and times sgn f_bdy(z), so that up and right mean: as the
standard network says. By (L2) the height is eps times the distance of z to the standard boundary.
On the black line the two effects cancel: left of it the networks disagree. In the grey region the
perturbations have the larger effect, so that the networks agree whatever the samples do.
Above: the natural samples, all at nearly one distance. Below: fresh points of the same
distribution, most of them close to the boundary. Both networks are KKT points (T2). Three seconds,
120 MB, most of it the libraries.

    python -m reflfap.figures.two_effects [FOLDER]
"""

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflfap import onehidden
from reflfap.attacks import L2
from reflfap.backend import HostArray
from reflfap.data_loaders.artificial import samples
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.figures import style
from reflfap.rng import stream
from reflfap.theory import learning
from reflfap.theory.boundary import boundary_function, normal
from reflfap.theory.kkt import aligned_kkt
from reflfap.theory.perturbations import direction, perturbations

CONFIG = ArtificialConfig(
    dim=4_000, hidden=4, n=200, n_adv=50, slope=0.5, epsilon=1.2, dtype="float64"
)


class Points(NamedTuple):
    """What is drawn of n test points."""

    samples: HostArray  # (n,) effect of the mislabelled samples, times sgn f_bdy / Lam
    perturbations: HostArray  # (n,) effect of the perturbations, likewise
    side: HostArray  # (n,) sgn f_bdy, for natural samples their label
    aligned: HostArray  # (n,) bool, the condition of (L3)
    agree: HostArray  # (n,) bool, whether the outputs of both networks have one sign


class TwoEffects(NamedTuple):
    """The two panels."""

    natural: Points
    fresh: Points


def compute(config: ArtificialConfig = CONFIG) -> TwoEffects:
    """KKT points of the natural and of the perturbed data, and their effects at both sets."""
    x, y = artificial.natural(config)
    noise, target = artificial.noise(config)
    standard = aligned_kkt(x, y, config.hidden, config.slope)
    b = normal(x, y, standard.lam)
    eta = perturbations(direction(L2(config.size), b), target)
    learned = aligned_kkt(noise + eta, target, config.hidden, config.slope)

    def points(z: HostArray) -> Points:
        f_bdy = boundary_function(b, z)
        effects = learning.effects(noise, eta, target, learned.lam, z)
        scale = np.sign(f_bdy) / learned.lam.sum()
        f, f_adv = (onehidden.forward(net, z)[0] for net in (standard.net, learned.net))
        return Points(
            effects.samples * scale,
            effects.perturbations * scale,
            np.sign(f_bdy),
            learning.aligned(effects, f_bdy),
            np.sign(f) == np.sign(f_adv),
        )

    rng = stream(config.seed, "figures/two_effects")
    fresh = samples(config.data, config.n, config.dim, rng, config.dtype)
    return TwoEffects(points(x), points(fresh))


def draw(data: TwoEffects, config: ArtificialConfig = CONFIG) -> Figure:
    """One panel a set of points, over the same axes."""
    width = 1.1 * max(np.abs(part.samples).max() for part in data)
    height = 1.4 * max(part.perturbations.max() for part in data)
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(
            2, 1, figsize=(3.5, 4.9), sharex=True, sharey=True, layout="constrained"
        )
        names = ("natural samples", "fresh random points")
        for axes, points, name in zip(panels, data, names, strict=True):
            _regions(axes, width, height)
            for side, marker in style.CLASSES.items():
                at = points.side == side
                look = marker | {"label": f"$f_{{bdy}}$ {'>' if side > 0 else '<'} 0"}
                look |= {"s": 11, "linewidth": 0.4, "edgecolor": "black", "alpha": 0.85}
                where = points.samples[at], points.perturbations[at]
                axes.scatter(*where, clip_on=False, zorder=3, **look)
            axes.set_ylabel("effect of the perturbations / Λ")
            axes.set_title(
                f"{len(points.side)} {name}: both networks agree on "
                f"{points.agree.mean():.1%},\n{points.aligned.mean():.1%} are in the region of (L3)"
            )
        panels[0].set(xlim=(-width, width), ylim=(0, height))
        panels[1].set_xlabel(
            "effect of the mislabelled samples / Λ\n"
            "(both in squared units of the data;\nabove 0: as the standard network says)"
        )
        figure.suptitle(
            f"$d$ = {config.dim}, $N$ = {config.n}, $N_{{adv}}$ = {config.n_adv}, L2, "
            f"ε = {config.size:g}, $\\gamma$ = {config.slope:g}",
            size=style.RC["axes.titlesize"],
        )
        style.below(figure, panels[0], ncols=2)
    return figure


def _regions(axes: Axes, width: float, height: float) -> None:
    """Shade (L3), |across| < up; draw the line on which the two effects cancel."""
    axes.fill(
        [-height, 0, height],
        [height, 0, height],
        color="#dddddd",
        linewidth=0,
        label="region of (L3)",
    )
    axes.plot([-height, 0], [height, 0], color="black", linewidth=1.2, label="the effects cancel")
    top = 0.97 * height
    for across, text in (
        (-(width + height) / 2, "disagree"),
        (0.0, "agree, (L3)"),
        ((width + height) / 2, "agree, mostly\nby the samples"),
    ):
        axes.text(across, top, text, ha="center", va="top", style="italic")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "two_effects"), sep="\n")
