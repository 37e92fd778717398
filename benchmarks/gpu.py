"""One cell of (E1) on NumPy and on CuPy: differences, times, memory, in a report to send back.

    python -m benchmarks.gpu [--device cuda:1] [--dim 1000 --n-adv 1000 ...] [--out DIR]

Writes gpu-report.md to read and gpu-report.json with the same. CuPy computes the cell twice: the
first time compiles its kernels, and the second shows whether the same bits come out.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from benchmarks.timing import peak_memory, processor
from reflfap.backend import asarray, namespace_for, synchronise, to_host
from reflfap.data_loaders.artificial import DISTRIBUTIONS
from reflfap.errors import InputError
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import accuracies, own_metrics, train_and_attack
from reflfap.machine import keep_freed_memory
from reflfap.monitor import Monitor
from reflfap.runs.provenance import describe
from reflfap.terminal import say

READS = 100


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
    cell: object
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


def report(config, xp):
    """All that is measured, as JSON takes it."""
    natural, noise = artificial.natural(config), artificial.noise(config)
    host = measured(config, natural, noise, np)
    first = measured(config, natural, noise, xp)
    again = measured(config, natural, noise, xp)
    weights = (first.cell.weights, again.cell.weights)
    return {
        "config": asdict(config),
        "where": {"processor": processor(), **describe(xp)},
        "seconds": {
            stage: {
                "host": seconds,
                "device, first time": first.seconds[stage],
                "device": again.seconds[stage],
                "ratio": seconds / again.seconds[stage],
            }
            for stage, seconds in with_sum(host, first, again).items()
        },
        "metrics on the host": host.cell.metrics,
        "differences from the host": differences(host.cell, again.cell),
        "device gives the same bits twice": all(
            np.array_equal(W, weights[1][name]) for name, W in weights[0].items()
        ),
        "memory in GB": {"host, largest so far": peak_memory(), **device_memory(xp)},
        "waiting for the device": waits(again.cell, xp),
        "transfers in GB/s": transfers(noise.x, xp),
    }


def with_sum(host, *others):
    """The host's seconds by stage; adds the sum of all stages to each of the measurements."""
    for one in (host, *others):
        one.seconds["all"] = sum(one.seconds.values())
    return host.seconds


def device_memory(xp):
    """What CuPy's pool has taken from the device: its peak, unless it came to its limit."""
    if xp.__name__ != "cupy":
        return {}
    return {"device, pool": xp.get_default_memory_pool().total_bytes() / 1e9}


def waits(cell, xp):
    """How long the host waits for one number, and the steps of each training, which make it wait as
    often as docs/gpu.md says."""
    one = xp.ones(1)
    float(one[0])
    start = time.perf_counter()
    for _ in range(READS):
        float(xp.sum(one))
    found = {"microseconds a number": 1e6 * (time.perf_counter() - start) / READS}
    for name, trace in cell.traces.items():
        found[f"{name}: steps"] = len(trace.time) - 1
        if hasattr(trace, "newton"):
            found[f"{name}: Newton iterations"] = int(trace.newton.sum())
    return found


def transfers(values, xp):
    """Speed by our pinned pieces and by CuPy alone, of samples as large as the cell's."""
    if xp.__name__ != "cupy":
        return {}
    there = asarray(values, xp)
    calls = {
        "to the device": lambda: asarray(values, xp),
        "to the device, CuPy alone": lambda: xp.asarray(values),
        "to the host": lambda: to_host(there),
        "to the host, CuPy alone": lambda: there.get(),
    }
    return {name: values.nbytes / 1e9 / seconds(call, xp) for name, call in calls.items()}


def seconds(call, xp):
    """The second of two calls: the first pins its memory."""
    call()
    synchronise(xp)
    start = time.perf_counter()
    call()
    synchronise(xp)
    return time.perf_counter() - start


def readable(found):
    """The report as Markdown: a table of the stages, and lines for the rest."""
    columns = list(found["seconds"]["all"])
    lines = [
        "# One cell on the host and on the device",
        "",
        "| stage | " + " | ".join(columns) + " |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for stage, row in found["seconds"].items():
        lines.append(f"| {stage} | " + " | ".join(f"{row[name]:.4g}" for name in columns) + " |")
    lines += ["", "Seconds, and the host's over the device's.", ""]
    for title in found:
        if title != "seconds":
            lines += [f"## {title}", "", *_lines(found[title]), ""]
    return "\n".join(lines)


def _lines(part, indent=""):
    if not isinstance(part, dict):
        return [f"{indent}{part}"]
    lines = []
    for name, value in part.items():
        if isinstance(value, dict):
            lines += [f"{indent}- {name}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}- {name}: {f'{value:.4g}' if type(value) is float else value}")
    return lines


def main(
    dim: int = 10_000,
    hidden: int = 1_000,
    n: int = 1_000,
    n_adv: int = 10_000,
    device: str = "cuda",
    out: Path = Path(),
) -> None:
    """Compare one cell on the host and on a device; the host takes minutes at the full size.

    Args:
        dim: inputs
        hidden: hidden units
        n: natural samples
        n_adv: noise samples
        device: cuda, or cuda:K for device K
        out: folder of the report
    """
    xp = namespace_for(device)
    keep_freed_memory()
    config = ArtificialConfig(dim=dim, hidden=hidden, n=n, n_adv=n_adv)
    found = report(config, xp)
    (out / "gpu-report.json").write_text(json.dumps(found, indent=1, default=str) + "\n")
    (out / "gpu-report.md").write_text(readable(found))
    print(readable(found))


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except InputError as error:
        say(f"error: {error}")
        sys.exit(2)
