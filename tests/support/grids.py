"""Small grids of E1, computed and stored as a sweep does, for the tests of figures and pages."""

from dataclasses import replace
from functools import partial

from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import NOTHING, swept
from reflfap.runs import running

CENTRE = ArtificialConfig(dim=62, hidden=4, n=12, n_adv=20, epsilon=0.6, epochs=100)
VALUES = {"dim": [31], "n": [24], "n_adv": [1, 10], "epsilon": [0.2]}


def configs(seeds=(0, 1)):
    """A cell or two beside the centre along each sweep."""
    for seed in seeds:
        centre = replace(CENTRE, seed=seed)
        yield centre
        for name, values in VALUES.items():
            for value in values:
                size = {"epsilon": 0.6 * (value / 62) ** 0.5} if name == "dim" else {}
                yield replace(centre, **{name: value}, **size)


def store_cells(out, some):
    """Compute and store cells; returns their paths."""

    def computed(config, inputs, monitor):
        return swept(artificial.EXPERIMENT.sharing.cell(config, inputs, monitor, NOTHING))

    place = running.Place(out, quiet=True)
    return [running.complete(one, place, partial(computed, one)) for one in some]
