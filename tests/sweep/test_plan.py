"""The plan of a sweep: every cell once, what is shared once, what is needed first."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.images import ImagesConfig
from reflfap.experiments.learn import LearnConfig
from reflfap.sweep import grid, plan

SIZES = {"dim": 20, "hidden": 4, "n": 5, "n_adv": 6}
configs = st.builds(
    lambda **values: ArtificialConfig(**SIZES | values),
    n=st.sampled_from([5, 7]),
    n_adv=st.sampled_from([1, 6, 9]),
    epsilon=st.sampled_from([0.1, 0.2]),
    norm=st.sampled_from(["l2", "linf"]),
    seed=st.integers(0, 1),
)


@given(cells=st.lists(configs, min_size=1, max_size=20, unique=True))
def test_every_cell_is_computed_once(cells):
    """All cells and no others; cells of one task differ in N_adv only, the largest comes first."""
    tasks = plan.plan(cells)
    planned = [one for task in tasks if task.network is None for one in task.configs]
    assert len(planned) == len(cells)
    assert set(planned) == set(cells)
    for task in tasks:
        sizes = [one.n_adv for one in task.configs]
        assert sizes == sorted(sizes, reverse=True)
        assert len({replace(one, n_adv=1) for one in task.configs}) == 1
    assert len({task.key for task in tasks}) == len(tasks)


@given(cells=st.lists(configs, min_size=1, max_size=20, unique=True))
def test_needs_come_first(cells):
    """Each network is a task once, before the cells whose it is, and for no other reason."""
    seen, needed = set(), set()
    for task in plan.plan(cells):
        assert set(task.needs) <= seen
        seen.add(task.key)
        needed |= set(task.needs)
        if task.network is None:
            for config in task.configs:
                for name in plan.SHARED:
                    network = plan.network_task(plan.shared(config, name), name)
                    assert network.key in task.needs
                    assert plan.shared(network.configs[0], name) == network.configs[0]
    networks = {task.key for task in plan.plan(cells) if task.network is not None}
    assert networks == needed


def test_what_the_paper_trains_once():
    """Along N_adv one standard network and one attack, along eps one noise network, and so on."""
    tasks = plan.plan(grid.from_preset(ArtificialConfig, "paper-all"))
    count = {name: sum(task.network == name for task in tasks) for name in ("standard", "noise")}
    dims, natural, noise = len(artificial.DIMS), len(artificial.NATURAL), len(artificial.NOISE) + 1
    assert count == {"standard": 2 * (dims + natural - 1), "noise": 2 * (dims + noise - 1)}
    attacks = sum(dims + natural - 1 + len(sizes) - 1 for sizes in artificial.EPSILONS.values())
    assert sum(task.network is None for task in tasks) == 2 * attacks


def test_largest_first():
    """A network takes the rank of the largest work that waits for it."""
    cells = [ArtificialConfig(**SIZES | {"n_adv": n_adv}) for n_adv in (5, 500)]
    cells.append(ArtificialConfig(**SIZES | {"n_adv": 50, "epsilon": 0.3}))
    tasks = plan.plan(cells)
    rank = plan.priorities(tasks)
    for task in tasks:
        for need in task.needs:
            assert rank[need] > rank[task.key]
    noise = {task.configs[0].n_adv: rank[task.key] for task in tasks if task.network == "noise"}
    assert noise[500] > noise[50]


@pytest.mark.parametrize("name", ["dim", "hidden", "n_adv", "epochs", "attack_steps"])
@pytest.mark.parametrize("trainer", ["flow", "gd", "kkt"])
def test_costs_grow_with_sizes(name, trainer):
    """No size makes a cell cheaper or smaller; which matter depends on the trainer."""
    small = ArtificialConfig(**SIZES, epochs=100, attack_steps=3, trainer=trainer)
    large = replace(small, **{name: 4 * getattr(small, name)})
    one, other = (
        (plan.training_flops(c, c.n_adv) + plan.attack_flops(c), plan.plan([c])[-1].memory)
        for c in (small, large)
    )
    assert all(b >= a for a, b in zip(one, other, strict=True))
    grows = name != "epochs" or trainer == "gd"
    assert (other[0] > one[0]) == grows


def test_memory_is_that_of_the_docstrings():
    """Measured: 1.6 GB for a training at N = d = 10,000 (docs/flow.md), 2.16 for a cell with its
    networks given (docs/sweeps.md). A plan that says less would overfill the machine; one that says
    a third more would leave workers idle."""
    tasks = plan.plan([ArtificialConfig()])
    noise, cell = (task.memory / 1e9 for task in tasks[1:])
    assert 1.6 <= noise <= 1.33 * 1.6
    assert 2.16 <= cell <= 1.33 * 2.16


def test_images_share_too():
    """Sizes share both networks, scenarios the standard one."""
    cells = [
        ImagesConfig(scenario=scenario, epsilon=epsilon)
        for scenario in ("noise", "natural-random")
        for epsilon in (0.1, 0.2)
    ]
    names = [task.network for task in plan.plan(cells)]
    assert [names.count(name) for name in ("standard", "noise", None)] == [1, 2, 4]


def test_stages_of_perturbation_learning():
    """Cells share a classifier and sets; each stage comes after what it needs, and once."""
    cells = grid.from_preset(LearnConfig, "cpu-mnist")
    tasks = plan.plan(cells)
    kinds = [task.network for task in tasks]
    assert kinds.count("classifier") == 1
    assert kinds.count("set") == len({cell.perturbed for cell in cells})
    assert {task.configs[0] for task in tasks if task.network is None} == set(cells)
    seen = set()
    for task in tasks:
        assert set(task.needs) <= seen
        assert len(task.needs) == (task.network != "classifier")
        seen.add(task.key)
    own = plan.plan([replace(cells[0], classifier="0123456789abcdef")])
    assert [task.network for task in own] == ["set", None]  # the user's classifier is there


def test_what_waits_longest_goes_first():
    """A classifier waits for all that its longest chain of stages takes."""
    tasks = plan.plan(grid.from_preset(LearnConfig, "cpu-mnist"))
    rank = plan.priorities(tasks)
    by_key = {task.key: task for task in tasks}
    for task in tasks:
        for need in task.needs:
            assert rank[need] >= by_key[need].flops + rank[task.key]
