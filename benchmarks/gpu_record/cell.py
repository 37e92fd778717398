"""Cells of (E1): on the device twice, against the host's stored record; differences and times.

The host's is this step with `--device cpu`, on two cores: docs/gpu/host/cell.json. A smaller cell
is computed on the present host too, so that networks can be compared number by number. CuPy
computes each cell twice: the first time compiles its kernels, the second shows whether the same
bits come out.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.gpu_record.sealed import read_record
from benchmarks.timing import peak_memory
from reflfap.backend import Namespace, synchronise
from reflfap.data_loaders.artificial import DISTRIBUTIONS
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import Cell, accuracies, own_metrics, train_and_attack
from reflfap.monitor import Monitor
from reflfap.terminal import say

HOST = Path(__file__).parents[2] / "docs/gpu/host/cell.json"
COMPARED = 1000
"""Samples up to which the present host computes the cell too."""


def run(job: Any) -> dict[str, Any]:
    """The default cell with N_adv = 1,000 and 10,000."""
    tiny = {"dim": 40, "hidden": 8, "n": 6}
    found = {}
    for n_adv in (7, 9) if job.tiny else (1000, 10_000):
        config = ArtificialConfig(**(tiny if job.tiny else {}), n_adv=n_adv)
        found[str(n_adv)] = measured_cell(config, job.xp)
    return found


def measured_cell(config: ArtificialConfig, xp: Namespace) -> dict[str, Any]:
    """All that is said of one cell."""
    natural, noise = artificial.natural(config), artificial.noise(config)
    first = measured(config, natural, noise, xp)
    steps = {name: len(trace.time) - 1 for name, trace in first.cell.traces.items()}
    found: dict[str, Any] = {
        "config": asdict(config),
        "seconds, first": with_sum(first.seconds),
        "metrics": first.cell.metrics,
        "steps": steps,
        "GB": {"host, largest so far": peak_memory(), **device_memory(xp)},
    }
    if xp is np:
        return found
    again = measured(config, natural, noise, xp)
    found["seconds"] = with_sum(again.seconds)
    found["the same bits twice"] = same_bits(first.cell, again.cell)
    if config.n_adv <= COMPARED:
        host = measured(config, natural, noise, np)
        found["seconds of this host"] = with_sum(host.seconds)
        found["differences from this host"] = differences(host.cell, again.cell)
    return found | against_host(found)


def against_host(found: dict[str, Any], path: Path = HOST) -> dict[str, Any]:
    """Metrics less the host's stored ones, and the ratio of seconds, where the cell is there."""
    if not path.exists():
        return {}
    record = read_record(path)
    cells = record["values"].values()
    host = next((one for one in cells if one["config"] == found["config"]), None)
    if host is None:
        return {}
    metrics = {name: found["metrics"][name] - value for name, value in host["metrics"].items()}
    made_by = {name: record["made_by"][name] for name in ("processor", "threads", "blas")}
    seconds = host["seconds, first"]["all"]
    ratio = seconds / found["seconds"]["all"]
    stored = {"metrics, difference": metrics, "seconds": seconds, "ratio": ratio}
    return {"stored record of a host": {"made_by": made_by, **stored}}


def same_bits(one: Cell, other: Cell) -> bool:
    """Of all weights and perturbed samples."""
    arrays = [(W, other.weights[name]) for name, W in one.weights.items()]
    return all(np.array_equal(*pair) for pair in (*arrays, (one.x_adv, other.x_adv)))


class Clock(Monitor):
    """Wall time from the end of each stage to that of the next, when the device has finished."""

    def __init__(self, xp):
        self.xp, self.stage, self.seconds = xp, "", {}
        self.last = time.perf_counter()

    def begin(self, stage, total, unit, done=0):
        self.stage = stage

    def end(self):
        self.note(self.stage)

    def note(self, what):
        synchronise(self.xp)
        now = time.perf_counter()
        self.seconds[what], self.last = now - self.last, now


class Measured(NamedTuple):
    cell: Cell
    seconds: dict[str, float]  # by stage


def measured(config, natural, noise, xp):
    """The cell on `xp`, from samples that are drawn already."""
    say(f"computing on {xp.__name__}")
    domain, clock = DISTRIBUTIONS[config.data], Clock(xp)
    learned = train_and_attack(config, natural, noise, (domain.low, domain.high), xp, clock)
    metrics = {**accuracies(learned, natural), **own_metrics(learned)}
    clock.note("accuracies")
    cell = learned.cell(metrics)
    clock.note("to the host")
    return Measured(cell, clock.seconds)


def differences(one, other):
    """Of two cells: metrics, and the largest of each network and of the samples, relative."""
    arrays = {name: (W, other.weights[name]) for name, W in one.weights.items()}
    arrays["perturbed samples"] = (one.x_adv, other.x_adv)
    return {
        "metrics": {name: other.metrics[name] - value for name, value in one.metrics.items()},
        "largest relative": {
            name: float(np.max(np.abs(there - here)) / np.max(np.abs(here)))
            for name, (here, there) in arrays.items()
        },
    }


def with_sum(seconds):
    """Seconds by stage, and of all."""
    return {**seconds, "all": sum(seconds.values())}


def device_memory(xp):
    """What CuPy's pool has taken from the device: its peak, unless it came to its limit."""
    if xp.__name__ != "cupy":
        return {}
    return {"device, pool": xp.get_default_memory_pool().total_bytes() / 1e9}
