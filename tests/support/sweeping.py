"""Small sweeps for tests, in a module of their own so that worker processes can import them."""

import os
import time
from pathlib import Path

from result_files import ATTRIBUTES

from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import canonical_json
from reflfap.runs import store
from reflfap.runs.running import Place
from reflfap.sweep import work as worker
from reflfap.sweep.work import Outcome

SIZES = {"dim": 20, "hidden": 4, "n": 5, "n_adv": 7, "epochs": 100}


def cell(**change) -> ArtificialConfig:
    """A cell of some ten milliseconds."""
    return ArtificialConfig(**SIZES | change)


def small_grid() -> list[ArtificialConfig]:
    """Twelve cells of six tasks, with networks and attacks in common."""
    return [
        cell(n_adv=n_adv, epsilon=epsilon, n=n)
        for n in (5, 6)
        for epsilon in (0.5, 1.0, 1.5)
        for n_adv in (3, 7)
    ]


def failing_cell(**change) -> ArtificialConfig:
    """A cell whose run raises: at this slope no aligned KKT point exists."""
    return cell(**{"trainer": "kkt", "n": 19} | change)


def store_cell(out, config, **metrics):
    """A result of these metrics, without its arrays."""
    text = canonical_json(config)
    folder = store.folder_for(out, config.experiment, text)
    found = dict.fromkeys(("acc_standard", "acc_noise", "acc_adversarial"), 0.5)
    return store.write(folder, text, ATTRIBUTES, found | metrics, {})


def report_and_sleep(folder: Path, seconds: float) -> int:
    """Tell by a file which process this is, then take a while."""
    (folder / str(os.getpid())).touch()
    time.sleep(seconds)
    return os.getpid()


def die(code: int = 9) -> None:
    """End this process without a word, as a lack of memory does."""
    os._exit(code)


def work_or_die(task, place: Place) -> Outcome:
    """`work`, but the process dies at the cell with seed 13 each time, with seed 14 once."""
    seeds = {config.seed for config in task.configs}
    once = place.out / "died-once"
    if task.network is None and (13 in seeds or (14 in seeds and not once.exists())):
        if 14 in seeds:
            once.touch()
        die()
    return worker.work(task, place)
