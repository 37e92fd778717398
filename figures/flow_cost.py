"""What one training by gradient flow costs: seconds against the samples N, and the inputs d.

Both axes are logarithmic, so a power law is a straight line. A dot is one training of m = 1,000
units on uniform data to t = 10,000: left with d = 10,000 inputs, right with N = 1,000 samples. A
dashed line is the power law fitted to the dots that it spans. Look at where the dots leave it. The
last steps are steeper than the line, left and right: no one exponent describes a training, and
seconds grow faster than it says.
The times are those of `python -m benchmarks.flow cost` on two cores, kept in
`rendered/flow_cost.csv`; docs/flow.md names the machine.

    python -m reflfap.figures.flow_cost [FOLDER]
"""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from reflfap.backend import HostArray
from reflfap.figures import style
from reflfap.files import write_text

TABLE = style.RENDERED / "flow_cost.csv"
FITTED = {"N": 300, "d": 1_000}
"""The fit begins here; below it, what does not grow with the problem takes most of the time."""


class Timed(NamedTuple):
    """One training."""

    against: str  # "N" or "d": the size that its panel varies
    n: int
    dim: int
    seconds: float

    @property
    def size(self) -> int:
        """The one that varies."""
        return self.n if self.against == "N" else self.dim


def compute(file: Path = TABLE) -> list[Timed]:
    """The measured times."""
    with file.open(newline="", encoding="utf-8") as opened:
        return [
            Timed(row["against"], int(row["n"]), int(row["dim"]), float(row["seconds"]))
            for row in csv.DictReader(opened)
        ]


def write(timed: Sequence[Timed], file: Path) -> None:
    """Keep times as a table, to three digits; a time drifts by more than that."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Timed._fields)
    writer.writerows((*one[:3], f"{one.seconds:.3g}") for one in timed)
    write_text(file, text.getvalue())


def power_law(timed: Sequence[Timed]) -> tuple[float, HostArray, HostArray]:
    """seconds = c size^p by least squares of logarithms: p, and the ends of the line."""
    fitted = [one for one in timed if one.size >= FITTED[one.against]]
    sizes = np.asarray([one.size for one in fitted], float)
    p, log_c = np.polyfit(np.log(sizes), np.log([one.seconds for one in fitted]), 1)
    ends = np.asarray([sizes.min(), sizes.max()])
    return float(p), ends, np.exp(log_c) * ends**p


def draw(timed: Sequence[Timed]) -> Figure:
    """A panel for each size."""
    with plt.rc_context(style.RC):
        figure, panels = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True, layout="constrained")
        for axes, (name, fixed) in zip(panels, (("N", "d"), ("d", "N")), strict=True):
            some = [one for one in timed if one.against == name]
            exponent, *line = power_law(some)
            sizes, seconds = [one.size for one in some], [one.seconds for one in some]
            axes.loglog(sizes, seconds, "o", color="black", label="measured, one training a dot")
            law = f"fit to ${name}$ ≥ {FITTED[name]:,}: seconds ∝ ${name}^{{{exponent:.2f}}}$"
            axes.loglog(*line, color="#D55E00", linestyle="--", label=law)
            value = some[0].dim if name == "N" else some[0].n
            axes.set_title(f"${fixed}$ = {value:,}, $m$ = 1,000")
            what = "samples" if name == "N" else "inputs"
            axes.set_xlabel(f"number of {what} ${name}$")
            axes.legend(loc="upper left")
        panels[0].set_ylabel("seconds to $t$ = 10,000")
        seconds = [one.seconds for one in timed]
        panels[0].set_ylim(min(seconds) / 1.5, 5 * max(seconds))  # room for the legend
    return figure


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else style.RENDERED
    picture = draw(compute())
    print(*style.save(picture, folder / "flow_cost"), sep="\n")
