"""What a sweep has to compute: networks that cells share, then the cells, with time and memory.

Cells that differ in N_adv only are one task: the perturbed samples of the largest serve all, since
the first rows do not depend on how many follow. The standard and the noise network are tasks of
their own, computed once for all cells that need them and kept in the results folder. So are the
stages of E2, the classifier and the perturbed set, which are runs of their own.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from reflfap import estimates, stages
from reflfap.config import ArtificialConfig, CellConfig, ImagesConfig, identity
from reflfap.config_classify import ClassifyConfig
from reflfap.config_perturbation import LearnConfig, PerturbConfig
from reflfap.configs import Config
from reflfap.experiments import artificial, images

FLOW_STEPS = 18
"""Of gradient flow on white data to the released time; raw images take three times as many."""

CG_PRODUCTS = 60
"""Products of M with a vector in a step of gradient flow."""

PASSES = 400
"""Cost of one entry of Z or x in a step of an attack, which is bound by memory, in operations."""

ALLOCATOR = 1.1
"""Memory of a process over that of its arrays: the interpreter, and what is free in pieces."""

INTERPRETER = 1.5e8
"""Bytes of a process that holds no array."""

SHARED = ("standard", "noise")
STAGES: dict[type, str] = {ClassifyConfig: "classifier", PerturbConfig: "set"}


class Task(NamedTuple):
    """One piece of work: a network, or the cells that share their perturbed samples."""

    network: str | None  # what cells share: "standard", "noise", "classifier", "set"; None: cells
    configs: tuple[Config, ...]  # of what cells share one; of cells: the largest N_adv first
    needs: tuple[str, ...]  # keys of the networks that must be there first
    flops: float
    memory: float  # bytes at its peak

    @property
    def key(self) -> str:
        return f"{self.network or 'cells'}-{identity(self.configs[0])}"


def shared(config: CellConfig, network: str) -> CellConfig:
    """The config that stands for all cells that have this network in common."""
    if isinstance(config, ImagesConfig):
        return images.shared(config, network)
    if isinstance(config, ArtificialConfig):
        return artificial.shared(config, network)
    raise TypeError(type(config))


def network_task(config: CellConfig, network: str) -> Task:
    """The task that trains one network, `config` as `shared` gives it."""
    n = config.n if network == "standard" else config.n_adv
    return Task(network, (config,), (), training_flops(config, n), _training_memory(config, n))


def plan(configs: Iterable[Config]) -> list[Task]:
    """The tasks of all cells, networks and stages before the cells that need them.

    Checked by test_plan.py::test_every_cell_is_computed_once and ::test_needs_come_first.
    """
    networks: dict[str, Task] = {}
    groups: dict[CellConfig, list[CellConfig]] = {}
    for config in configs:
        if isinstance(config, LearnConfig):
            networks |= {task.key: task for task in _stages(config)}
        elif isinstance(config, CellConfig):
            groups.setdefault(replace(config, n_adv=1), []).append(config)
    cells = []
    for group in groups.values():
        group.sort(key=lambda config: -config.n_adv)
        needs = []
        for config in group:
            for network in SHARED:
                task = network_task(shared(config, network), network)
                networks.setdefault(task.key, task)
                needs.append(task.key)
        largest = group[0]
        flops = attack_flops(largest) + sum(training_flops(one, one.n_adv) for one in group)
        cells.append(
            Task(None, tuple(group), tuple(dict.fromkeys(needs)), flops, _cell_memory(largest))
        )
    return [*networks.values(), *cells]


def _stages(config: LearnConfig) -> list[Task]:
    """The stages of a cell of E2, the last one the cell itself."""
    tasks: list[Task] = []
    for one in stages.of(config):
        needs, needed = tuple(task.key for task in tasks[-1:]), estimates.of(one)
        memory = ALLOCATOR * needed.memory + INTERPRETER
        tasks.append(Task(STAGES.get(type(one)), (one,), needs, needed.flops, memory))
    return tasks


def priorities(tasks: Iterable[Task]) -> dict[str, float]:
    """The work that waits for a task's end, its own included: what is largest goes first.

    Checked by test_plan.py::test_largest_first.
    """
    tasks = list(tasks)
    after: dict[str, float] = {}
    for task in reversed(tasks):  # a set waits for a classifier, and a cell for the set
        for need in task.needs:
            waiting = task.flops + after.get(task.key, 0.0)
            after[need] = max(after.get(need, 0.0), waiting)
    return {task.key: task.flops + after.get(task.key, 0.0) for task in tasks}


def training_flops(config: CellConfig, n: int) -> float:
    """Operations of one training on n samples, to within a factor of two or so."""
    m, d = config.hidden, config.inputs
    spread = 2 * m * n * min(n, 2 * d)
    gram = n * n * d
    if config.trainer == "gd":
        return float(gram + config.epochs * spread)
    if config.trainer == "kkt":
        return float(gram + n**3 / 3)
    steps = FLOW_STEPS * (3 if isinstance(config, ImagesConfig) else 1)
    return float(gram + steps * (2 * spread + 2 * m * n * n + CG_PRODUCTS * 2 * n * n))


def attack_flops(config: CellConfig) -> float:
    """Operations of the attack, likewise; passes over memory counted as what they cost."""
    return float(config.steps * config.n_adv * (config.hidden + config.inputs) * PASSES)


def _training_memory(config: CellConfig, n: int) -> float:
    """Samples, weights, two (n, n) and ten (m, n): see `training.flow.flow`."""
    m, d = config.hidden, config.inputs
    return _bytes(config, n * d + 3 * m * d + 2 * n * n + 10 * m * n)


def _cell_memory(config: CellConfig) -> float:
    """The largest training, natural samples and those before the attack on top."""
    extra = _bytes(config, (config.n + config.n_adv) * config.inputs)
    return extra + _training_memory(config, config.n_adv)


def _bytes(config: CellConfig, entries: int) -> float:
    return ALLOCATOR * np.dtype(config.dtype).itemsize * entries
