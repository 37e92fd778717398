"""Attacks of a one-hidden-layer network, each in the quickest way that this package has."""

import math
from functools import partial

import numpy as np

from reflfap import checks
from reflfap.attacks import Perturbed, attack
from reflfap.backend import Array, namespace
from reflfap.fast.l2_coordinates import INPUTS, coordinates
from reflfap.fast.linear_updates import in_cache, linear_updates
from reflfap.monitor import SILENT, Monitor
from reflfap.norms import Norm, row_peaks
from reflfap.onehidden import Network, margin_gradient

SQUARED = 1e-15, 1e15
"""Largest entries of W between which W W^T and the updates from it are float32 with all digits."""


def attack_network(
    net: Network,
    x: Array,
    target: Array,
    norm: Norm,
    *,
    steps: int,
    low: float | Array = -math.inf,
    high: float | Array = math.inf,
    start: Array | None = None,
    monitor: Monitor = SILENT,
) -> Perturbed:
    """`attacks.attack` on a network in the quickest way we know: x (N, d), target (N,), (P2).

    On the host the network follows each path by updates, in L2 in coordinates where it has few
    units, as many chunks at once as BLAS has threads. Elsewhere, or where the squares of its
    weights leave float32, it is evaluated by products. Memory besides x and the result: W three
    times, and about fifteen chunks a thread. Raises as `attack` does, InputError for targets other
    than +1 and -1 too.
    """
    checks.samples_and_labels(x, target, net.W.shape[1])
    run = partial(
        attack, x=x, target=target, norm=norm, steps=steps, low=low, high=high, start=start
    )
    if namespace(x) is not np or not SQUARED[0] <= row_peaks(net.W).max() <= SQUARED[1]:
        return run(partial(margin_gradient, net), monitor=monitor)
    updates = linear_updates(net)
    model = coordinates(updates) if net.W.shape[1] >= INPUTS * net.W.shape[0] else updates
    return in_cache(run, model, net, monitor)
