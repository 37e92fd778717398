"""The plane of the standard network's mean weights, and what the three networks are on it.

A network restricted to a plane is a network with two inputs, so that (m, 2) numbers of each are all
that a decision map needs: with orthonormal rows P (2, d), W (P^T s) = (W P^T) s.
"""

from collections.abc import Mapping

import numpy as np

from reflfap.backend import HostArray
from reflfap.experiments.experiment import Dataset
from reflfap.experiments.three_networks import Labelled

MOST_SAMPLES = 400  # of each label; a map with more would hide the lines


def plane_datasets(weights: Mapping[str, HostArray], samples: Labelled) -> dict[str, Dataset]:
    """Networks (m, d) by name and the first samples of each label on the plane of "standard".

    float64 on the host: W P^T (m, 2), samples (n, 2), labels (n,), v and u (2, 2). Memory: a copy
    of each W in float64, one at a time.
    """
    v, u = mean_directions(weights["standard"].astype(np.float64))
    P = axes_of_plane(v, u)
    datasets = {
        f"plane/{name}": Dataset(W.astype(np.float64) @ P.T, "hidden unit, axis", "1 / data units")
        for name, W in weights.items()
    }
    shown = first_of_each(samples.y)
    some = Labelled(samples.x[shown], samples.y[shown])
    return datasets | shown_on_plane(some, np.stack([v, u]), P)


def first_of_each(y: HostArray) -> HostArray:
    """Which samples a map shows: the first of label +1, then of -1, by labels (N,)."""
    return np.concatenate([np.flatnonzero(y == label)[:MOST_SAMPLES] for label in (1, -1)])


def shown_on_plane(samples: Labelled, directions: HostArray, P: HostArray) -> dict[str, Dataset]:
    """Samples (n, d) and directions (2, d) on the plane of the rows of P."""
    return {
        "plane/samples": Dataset(samples.x @ P.T, "sample, axis", "data units"),
        "plane/labels": Dataset(samples.y, "sample", "label +1 or -1"),
        "plane/directions": Dataset(directions @ P.T, "v or u, axis", "none"),
    }


def half_width(samples: HostArray) -> float:
    """How far a map of samples (n, 2) goes each way: as far as all but a hundredth of them lie, and
    a quarter more."""
    return 1.25 * float(np.quantile(np.abs(samples).max(axis=1), 0.99)) or 1.0


def mean_directions(W: HostArray) -> HostArray:
    """v and u as rows, (2, d): means of the first and of the second half of W, normalised."""
    half = W.shape[0] // 2
    means = np.stack([W[:half].mean(axis=0), W[half:].mean(axis=0)])
    directions: HostArray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return directions


def axes_of_plane(v: HostArray, u: HostArray) -> HostArray:
    """Orthonormal rows (2, d) spanning v and u, symmetric in them: G^(-1/2) [v; u], G their Gram.

    For two unit vectors v - u and v + u are orthogonal; the axes lie half way between those.
    """
    across = (v - u) / np.linalg.norm(v - u)
    along = (v + u) / np.linalg.norm(v + u)
    axes: HostArray = np.stack([along + across, along - across]) / np.sqrt(2)
    return axes
