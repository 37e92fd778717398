"""A hundred thousand results in one folder: what writing, reading and planning them takes.

    python -m benchmarks.scale FOLDER COUNT [COUNT ...] [--make] [--read] [--plan] [--engine]

`--make` fills FOLDER/COUNT. One tiny cell is computed. The others have its arrays, other seeds and
other metrics, and the package's own writer seals each of them. `--read` times the commands on it.
"""

import argparse
import time
from pathlib import Path

from benchmarks.timing import print_machine
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import canonical_json
from reflfap.files import lock
from reflfap.runs import running, store
from reflfap.sweep import engine, table
from reflfap.sweep.executors import InProcess

SIZES = {"dim": 20, "hidden": 4, "n": 5, "n_adv": 7, "epochs": 10}
WRITTEN = {"schema_version", "experiment", "run_id", "config_json", "created_utc"}  # by store.write


def cells(count):
    return [ArtificialConfig(**SIZES, seed=seed) for seed in range(count)]


def make(out, count):
    """Fill `out`, and go on where an earlier call was stopped; the seconds a result, wall and
    processor. One is computed; of the others, which have their own seeds, no arrays are kept."""
    place = running.Place(out, threads=1, quiet=True)
    first, *others = cells(count)
    engine.run_tasks(engine.remaining([first], place), place, InProcess())
    with store.open_result(running.folder_of(out, first) / store.RESULT) as result:
        kept = set(store.ROOT_ATTRIBUTES) - WRITTEN
        about, metrics = {name: result.attributes[name] for name in kept}, dict(result.metrics)
    others = [one for one in others if not (running.folder_of(out, one) / store.RESULT).exists()]
    start, busy = time.perf_counter(), time.process_time()
    for config in others:
        text = canonical_json(config)
        folder = store.folder_for(out, config.experiment, text)
        with lock(folder / store.LOCK, lambda holder: None):
            metrics["loss_noise"] = 1 / (1 + config.seed)
            store.write(folder, text, about, metrics, {})
    table.write_list(out, "many", cells(count))
    each = max(len(others), 1)
    return (time.perf_counter() - start) / each, (time.process_time() - busy) / each
