"""Pictures of what `learn_from_perturbations` gives, of a stored result, or of your own arrays.

Each function returns a matplotlib figure, which a notebook shows and `savefig` writes.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from reflfap import checks, onehidden
from reflfap.backend import asarray, namespace, to_host
from reflfap.errors import refuse
from reflfap.experiments.experiment import Stored
from reflfap.experiments.plane import plane_datasets
from reflfap.experiments.three_networks import NETWORKS, Labelled
from reflfap.figures import decision_map as maps
from reflfap.figures import gallery as galleries
from reflfap.library import PerturbationLearning
from reflfap.onehidden import Network

Networks = Mapping[str, Network]


def decision_map(
    found: PerturbationLearning | Stored | Networks, x: Any = None, y: Any = None
) -> Figure:
    """Boundaries on the plane of the standard network's mean weights, and the samples on it.

    `found` is what `learn_from_perturbations` gave, or a result of `open_result`. Or it is networks
    by name: "standard" and, if wanted, "noise" and "adversarial". Then give samples x (N, d) and
    labels y (N,) of +1 and -1, too. The samples are projected: one on the wrong side of a line need
    not be an error.
    """
    if isinstance(found, Stored):
        return _closed(maps.draw(found))
    if isinstance(found, PerturbationLearning):
        networks: Networks = {name: getattr(found, name).net for name in NETWORKS}
        natural, config = found.samples.natural, found.settings
        about = f"$d$ = {natural.x.shape[1]}, $N$ = {len(natural.y)}, {config.norm}, "
        about += f"ε = {config.size:.3g}, $N_{{adv}}$ = {len(found.target)}"
        classes = (str(found.classes[0]), str(found.classes[1]))
    else:
        networks, natural = _given(found, x, y), Labelled(to_host(x), to_host(y))
        about, classes = f"$d$ = {natural.x.shape[1]}, $N$ = {len(natural.y)}", ("−1", "+1")
    weights = {name: to_host(net.W) for name, net in networks.items()}
    datasets = plane_datasets(weights, natural)
    stored = {name: np.asarray(one.values) for name, one in datasets.items()}
    on_plane = {name: stored[f"plane/{name}"] for name in networks}
    parts = (stored[f"plane/{one}"] for one in ("samples", "labels", "directions"))
    plane = maps.Plane(on_plane, *parts)
    right = {name: _accuracy(net, natural) for name, net in networks.items()}
    slope = networks["standard"].slope
    return _closed(maps.picture(maps.on_plane(plane, slope), right, about, classes))


def gallery(
    found: PerturbationLearning, shape: tuple[int, int], ends: tuple[float, float] | None = None
) -> Figure:
    """Samples as images of `shape`, rows and columns: natural, source, perturbation, perturbed.

    `found` is what `learn_from_perturbations` gave for samples whose features are the pixels of
    such images, one channel. The `ends` are black and white. By default they are those of the
    range, else the quantiles 0.01 and 0.99 of the natural samples.
    """
    natural, source, _, limits, classes = found.samples
    if np.shape(shape) != (2,):
        refuse("shape", "rows and columns", repr(shape), "give for example (28, 28)")
    rows, columns = (checks.whole_number("shape", one, 1) for one in shape)
    if rows * columns != natural.x.shape[1]:
        expected = f"rows and columns of {natural.x.shape[1]} features"
        refuse("shape", expected, f"{rows} x {columns}", "give those of the images")
    if ends is None:
        bounded = all(np.ndim(one) == 0 and np.isfinite(one) for one in limits)
        low, high = limits if bounded else np.quantile(natural.x, (0.01, 0.99))
        ends = float(low), float(high)
    first, second = galleries.balanced(natural.y), galleries.balanced(source.y)
    some = asarray(second, namespace(found.perturbed.x))
    perturbed = to_host(found.perturbed.x[some])
    shown = (natural.x[first], source.x[second], perturbed)
    x, noise, attacked = (part.reshape(-1, rows, columns) for part in shown)
    data = galleries.Samples(x, noise, attacked, natural.y[first], source.y[second])
    label, target = ([str(classes[int(y > 0)]) for y in one] for one in (data.label, data.target))
    title = f"{found.settings.norm}, $\\epsilon$ = {found.settings.size:.3g}"
    return _closed(galleries.picture(data, ends, label, target, title))


def _given(networks: Networks, x: Any, y: Any) -> Networks:
    """The user's own networks and samples, checked."""
    if not isinstance(networks, Mapping) or "standard" not in networks:
        expected = 'networks by name, "standard" among them'
        refuse("found", expected, type(networks).__name__, 'give {"standard": net}')
    nets = {name: getattr(one, "net", one) for name, one in networks.items()}  # of `train` too
    for name, net in nets.items():
        checks.choice("network", name, NETWORKS)
        checks.samples_and_labels(x, y, net.W.shape[1])
    return nets


def _accuracy(net: Network, samples: Labelled) -> float:
    x, y = (asarray(part, namespace(net.W)) for part in samples)
    return onehidden.accuracy(onehidden.margins(net, x, y))


def _closed(figure: Figure) -> Figure:
    """Out of pyplot's hands, so that a notebook shows it once; it can be saved all the same."""
    plt.close(figure)
    return figure
