"""The plane of the standard network's mean weights, and what the three networks are on it.

A network restricted to a plane is a network with two inputs, so that (m, 2) numbers of each are all
that a decision map needs: with orthonormal rows P (2, d), W (P^T s) = (W P^T) s.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from reflfap.backend import HostArray
from reflfap.experiments.three_networks import Labelled

MOST_SAMPLES = 400  # of each label; a map with more would hide the lines


class Plane(NamedTuple):
    """Coordinates on the plane, float64 on the host."""

    weights: dict[str, HostArray]  # (m, 2) W P^T by network
    samples: HostArray  # (n, 2) projections of samples
    labels: HostArray  # (n,)
    directions: HostArray  # (2, 2) v and u


def project(weights: Mapping[str, HostArray], samples: Labelled) -> Plane:
    """Networks (m, d) by name and the first samples of each label on the plane of "standard".

    Memory: a copy of each W in float64, one at a time.
    """
    v, u = mean_directions(weights["standard"].astype(np.float64))
    P = axes_of_plane(v, u)
    shown = np.concatenate([np.flatnonzero(samples.y == y)[:MOST_SAMPLES] for y in (1, -1)])
    on_plane = {name: W.astype(np.float64) @ P.T for name, W in weights.items()}
    return Plane(on_plane, samples.x[shown] @ P.T, samples.y[shown], np.stack([v, u]) @ P.T)


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
