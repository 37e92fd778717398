"""What a sweep has to compute: networks that cells share, then the cells, with time and memory.

Cells that differ in N_adv only are one task: the perturbed samples of the largest serve all, since
the first rows do not depend on how many follow. The standard and the noise network are tasks of
their own, computed once for all cells that need them and kept in the results folder. So are the
stages of E2, the classifier and the perturbed set, which are runs of their own.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from reflfap.experiments.cell import attack_flops, cell_cost, training_flops, training_memory
from reflfap.experiments.experiment import Config, RunOf, identity
from reflfap.experiments.registry import experiment_of

ALLOCATOR = 1.1
"""Memory of a process over that of its arrays: the interpreter, and what is free in pieces."""

INTERPRETER = 1.5e8
"""Bytes of a process that holds no array."""

SHARED = ("standard", "noise")


class Task(NamedTuple):
    """One piece of work: a network, a stage, or the cells that share their perturbed samples."""

    network: str | None  # what cells share: "standard", "noise", "classifier", "set"; None: cells
    configs: tuple[Any, ...]  # of what cells share one; of cells: the largest N_adv first
    needs: tuple[str, ...]  # keys of what must be there first
    flops: float
    memory: float  # bytes at its peak

    @property
    def key(self) -> str:
        return f"{self.network or 'cells'}-{identity(self.configs[0])}"

    @property
    def sharing(self) -> Any:
        """A Sharing, what its cells share networks by; None for stages, runs of their own."""
        return experiment_of(self.configs[0]).sharing


def shared(config: Any, network: str) -> Any:
    """The config that stands for all cells that have this network in common."""
    return experiment_of(config).sharing.shared(config, network)


def network_task(config: Any, network: str) -> Task:
    """The task that trains one network, `config` as `shared` gives it."""
    n = config.n if network == "standard" else config.n_adv
    memory = _process(training_memory(config, n))
    return Task(network, (config,), (), training_flops(config, n), memory)


def plan(configs: Iterable[Config]) -> list[Task]:
    """The tasks of all cells, networks and stages before the cells that need them."""
    first: dict[str, Task] = {}
    groups: dict[Any, list[Any]] = {}
    beside: dict[Any, list[tuple[str, Any]]] = {}
    for config in configs:
        if (together := experiment_of(config).together) is not None:
            alike, order = together(config)
            beside.setdefault(alike, []).append((str(order), config))
        elif experiment_of(config).sharing is None:
            first |= {task.key: task for task in _stages(config)}
        else:
            groups.setdefault(replace(config, n_adv=1), []).append(config)
    cells = []
    for group in groups.values():
        group.sort(key=lambda config: -config.n_adv)
        needs = []
        for config in group:
            for network in SHARED:
                task = network_task(shared(config, network), network)
                first.setdefault(task.key, task)
                needs.append(task.key)
        largest = group[0]
        flops = attack_flops(largest) + sum(training_flops(one, one.n_adv) for one in group)
        memory = _process(cell_cost(largest).memory)
        cells.append(Task(None, tuple(group), tuple(dict.fromkeys(needs)), flops, memory))
    return [*first.values(), *cells, *map(_beside, beside.values())]


def _beside(group: list[tuple[str, Any]]) -> Task:
    """Cells one after the other, those in a row that have most in common."""
    configs = tuple(config for _, config in sorted(group, key=lambda one: one[0]))
    costs = [experiment_of(config).cost(config) for config in configs]
    memory = _process(max(one.memory for one in costs))
    return Task(None, configs, (), sum(one.flops for one in costs), memory)


def _stages(config: Config) -> list[Task]:
    """The stages of a cell, each after the one before, the last one the cell itself."""
    tasks: list[Task] = []
    for one in (*experiment_of(config).before(config), config):
        if isinstance(one, RunOf):
            continue
        needs, cost = tuple(task.key for task in tasks[-1:]), experiment_of(one).cost(one)
        made = None if one == config else experiment_of(one).makes
        tasks.append(Task(made, (one,), needs, cost.flops, _process(cost.memory)))
    return tasks


def _process(arrays: float) -> float:
    """Bytes of a process that holds arrays of so many."""
    return ALLOCATOR * arrays + INTERPRETER


def priorities(tasks: Iterable[Task]) -> dict[str, float]:
    """The work that waits for a task's end, its own included: what is largest goes first."""
    tasks = list(tasks)
    after: dict[str, float] = {}
    for task in reversed(tasks):  # a set waits for a classifier, and a cell for the set
        for need in task.needs:
            waiting = task.flops + after.get(task.key, 0.0)
            after[need] = max(after.get(need, 0.0), waiting)
    return {task.key: task.flops + after.get(task.key, 0.0) for task in tasks}
