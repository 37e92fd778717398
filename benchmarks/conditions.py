"""The conditions of the theory's statements, on the data of the paper, on images, on (E4)'s.

    python -m benchmarks.conditions

Prints the table of docs/theory.md. Images need REFLFAP_DATA. Two minutes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.raw_images import two_classes
from reflfap import losses, onehidden
from reflfap.backend import HostArray
from reflfap.errors import NoKKTPointError
from reflfap.experiments.artificial import ArtificialConfig, natural
from reflfap.experiments.certificates import REGIMES, draw
from reflfap.rng import stream
from reflfap.theory import boundary, kkt, odd_part, orthogonality, uniqueness
from reflfap.training.flow import flow

HIDDEN, TIME, SMALL = 100, 1e4, 0.01


class Data(NamedTuple):
    """Labelled samples and a slope, and where from."""

    name: str
    x: HostArray  # (N, d) float64
    y: HostArray  # (N,)
    slope: float
    start: float = 1.0  # size of the initial weights, in units of (N6)


def data_sets() -> Iterator[Data]:
    yield Data("(E1)", *natural(ArtificialConfig(dtype="float64")), 0.01)
    images = two_classes("mnist", (3, 7), 1_000)
    if images is None:
        print("REFLFAP_DATA is not set: no images")
    else:
        yield Data("MNIST 3 and 7", *(part.astype("float64") for part in images), 0.01)
    for name, regime in REGIMES.items():
        case = draw(regime, 0)
        yield Data(f"(E4) {name}", case.x, case.y, case.slope, SMALL)


def measured(data: Data) -> dict[str, str]:
    """Of one data set: each condition as a factor, met where it is at least one; what follows."""
    _, x, y, slope, size = data
    found = uniqueness.certify(x, slope)
    line = {
        "(T1) allowed / p_max": f"{orthogonality.orthogonality(x, slope).margin:.2g}",
        "(R1) allowed / r": f"{found.exists_below / found.r_high:.2g}",
        "(R2) allowed / r": f"{found.unique_below / found.r_high:.2g}",
    }
    z = stream(0, "conditions/z").standard_normal((1_000, x.shape[1]))
    try:
        point = kkt.aligned_kkt(x, y, HIDDEN, slope)
    except NoKKTPointError:
        line["aligned KKT point"], line["(T4) same sign"] = "no", "-"
    else:
        b = boundary.normal(x, y, point.lam)
        line["aligned KKT point"] = "yes"
        line["(T4) same sign"] = f"{boundary.sign_agreement(point.net, b, z):.3f}"
    W = size * onehidden.initial_weights(HIDDEN, x.shape[1], stream(0, "conditions/W"))
    net = onehidden.network(W, slope)
    trained = flow(net, x, y, losses.EXPONENTIAL, time=TIME)
    sign = trained.net.a[:, None] * y
    line["pairs aligned at t = 1e4"] = f"{np.mean(sign * (trained.net.W @ x.T) > 0):.3f}"
    odd, even = odd_part.odd_and_even(trained.net, z)
    c = odd_part.odd_multipliers(trained.net, trained.C, y)
    s = odd_part.odd_direction(net) + (c * y) @ x
    error = np.abs(odd - (1 + slope) / 2 * (z @ s)).max() / np.abs(odd + even).max()
    line["(A2) largest error"] = f"{error:.0e}"
    return line


def main() -> None:
    columns = {data.name: measured(data) for data in data_sets()}
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for what in next(iter(columns.values())):
        print(f"| {what} | " + " | ".join(one[what] for one in columns.values()) + " |")


if __name__ == "__main__":
    main()
