"""The plane of the class means, and what wide networks (E7) and their closed forms say on it.

A network with biases restricted to a plane has (m, 2) weights, m biases and m output weights. The
closed forms need all samples, so that their values on a coarse grid are kept, whose zero lines are
smooth enough for it. Only `--plane` asks for them.
"""

from dataclasses import dataclass

import numpy as np

from reflfap.backend import Array, HostArray, asarray, namespace, to_host
from reflfap.errors import refuse
from reflfap.experiments.experiment import Dataset, ImagesOptions, RunOptions
from reflfap.experiments.plane import axes_of_plane, first_of_each, half_width, shown_on_plane
from reflfap.experiments.three_networks import Labelled
from reflfap.experiments.wide_config import WideConfig
from reflfap.onehidden import Network
from reflfap.theory import lazy

GRID = 41
"""Points of the closed forms along each axis."""

AXIS = "plane/axis"
"""What tells a result with its plane."""


@dataclass(frozen=True, kw_only=True)
class WideOptions(ImagesOptions):
    """More ways to run (E7)."""

    plane: bool = False
    """store networks and closed forms on the plane of the class means, which the figure wide_map
    draws; a seventh to two fifths more time for closed forms, 60 kB"""


def plane_needed(options: RunOptions) -> list[str]:
    """The datasets that tell a result which has what the options ask for. A sweep asks for none."""
    return [AXIS] if isinstance(options, WideOptions) and options.plane else []


def class_means_plane(x: Array, y: Array) -> HostArray:
    """The means of the samples x (N, d) of label +1 and of -1, normalised, as rows (2, d), float64
    on the host; InputError where they span no plane."""
    means = [to_host(_mean(x, y == label)).astype(np.float64) for label in (1, -1)]
    v, u = (mean / max(float(np.linalg.norm(mean)), 1e-300) for mean in means)
    apart = min(np.linalg.norm(one) for one in (v - u, v + u, v, u))
    if not apart > 1e-6:
        remedy = "leave --plane out, or use more inputs or samples"
        refuse("plane", "class means that span one", f"{x.shape[0]} of {x.shape[1]} inputs", remedy)
    return np.stack([v, u])


def _mean(x: Array, chosen: Array) -> Array:
    xp = namespace(x)
    weights = xp.astype(chosen, x.dtype)
    return (weights @ x) / xp.maximum(xp.sum(weights), xp.asarray(1, dtype=x.dtype))


def wide_plane(
    config: WideConfig, x: Array, y: Array, u: Array, t: Array, nets: dict[str, Network]
) -> dict[str, Dataset]:
    """Networks, closed forms and the first samples of each label on the plane of the class means.

    x, u (N, d) and y, t (N,) as the closed forms take them. fhat, ghat and ghat with what else g
    learns of the targets t are (GRID, GRID), at [second, first coordinate] of AXIS. InputError
    where there is no plane. Cost: 2 GRID^2 N d for fhat, as much for ghat, twice in scenario (b).
    """
    directions = class_means_plane(x, y)
    xp, P = namespace(x), axes_of_plane(*directions)
    y_host = to_host(y)
    first = first_of_each(y_host)
    some = Labelled(to_host(x[asarray(first, xp)]).astype(np.float64), y_host[first])
    datasets = shown_on_plane(some, directions, P)
    axis = np.linspace(-1, 1, GRID) * half_width(some.x @ P.T)
    at = np.stack(np.meshgrid(axis, axis), axis=2).reshape(-1, 2) @ P
    z = asarray(at.astype(config.dtype), xp)
    natural = x if config.scenario == "samples" else None
    both = lazy.taught(z, natural, u, t, config.size, config.slope)
    values = {
        "fhat": lazy.lazy_function(z, x, y, config.slope),
        "ghat": both.signal,
        "ghat_targets": both.whole(config.size),
    }
    for name, found in values.items():
        on_grid = to_host(found).reshape(GRID, GRID)
        datasets[f"plane/{name}"] = Dataset(on_grid, "second axis, first axis", "none")
    for name, net in nets.items():
        W, a = (to_host(part).astype(np.float64) for part in net[:2])
        rows = np.column_stack([W[:, :-1] @ P.T, W[:, -1], a])
        shape = "hidden unit, axis or bias or output weight"
        datasets[f"plane/{name}"] = Dataset(rows, shape, "none")
    return datasets | {AXIS: Dataset(axis, "coordinate", "data units")}
