"""E1, one cell: the phenomenon, its control, its limits, the two endings of the long run."""

import gc
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from fake_cupy import Fake, OutOfMemoryError

from reflfap import onehidden
from reflfap.data_loaders.artificial import DISTRIBUTIONS
from reflfap.errors import DeviceMemoryError
from reflfap.experiments import artificial, three_networks
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import KnownParts
from reflfap.norms import row_norms

SMALL = {"dim": 400, "hidden": 20, "n": 20, "n_adv": 100, "epochs": 500}


@pytest.mark.parametrize("norm", ["l2", "linf", "l0"])
@pytest.mark.parametrize("data", ["uniform", "gauss"])
def test_the_phenomenon(norm, data):
    """Learning from perturbed noise classifies natural data; from plain noise it does not.

    Over five seeds and twenty samples each: chance is 0.5 with a standard error of 0.05.
    """
    epsilon = {"l2": 1.5, "linf": 0.2, "l0": 0.1}[norm]
    cells = [
        artificial.cell(ArtificialConfig(**SMALL, norm=norm, data=data, epsilon=epsilon, seed=seed))
        for seed in range(5)
    ]
    mean = {key: np.mean([cell.metrics[key] for cell in cells]) for key in cells[0].metrics}
    assert mean["acc_standard"] == 1.0
    assert abs(mean["acc_noise"] - 0.5) < 0.2
    assert mean["acc_adversarial"] > 0.8
    assert mean["acc_noise_own"] == 1.0
    assert 0.5 <= mean["acc_predicted"] <= 1


def test_without_perturbation_nothing_is_learned():
    """epsilon = 0: the adversarial network sees plain noise, and the attack changes no sample."""
    config = ArtificialConfig(**SMALL, epsilon=0.0)
    cell = artificial.cell(config)
    assert np.array_equal(cell.x_adv, artificial.noise(config)[0])
    assert cell.metrics["acc_predicted"] == 0.5


def test_metrics_follow_from_what_is_returned():
    """Accuracies are recomputed from the weights, the seeds and the perturbed noise."""
    config = ArtificialConfig(**SMALL)
    cell = artificial.cell(config)
    x, y = artificial.natural(config)
    x_noise, y_noise = artificial.noise(config)
    own = {"noise": x_noise, "adversarial": cell.x_adv}
    for name, W in cell.weights.items():
        net = onehidden.network(W, config.slope)
        assert cell.metrics[f"acc_{name}"] == onehidden.accuracy(onehidden.margins(net, x, y))
        if name in own:
            q = onehidden.margins(net, own[name], y_noise)
            assert cell.metrics[f"acc_{name}_own"] == onehidden.accuracy(q)
    assert np.array_equal(cell.y_adv, y_noise)
    assert row_norms(cell.x_adv - x_noise).max() <= config.size * (1 + 1e-4)
    assert np.abs(cell.x_adv).max() <= DISTRIBUTIONS[config.data].high


def test_given_weights_are_used():
    """A user who hands in W0 gets the training from there; the others are drawn as always."""
    config = ArtificialConfig(**SMALL)
    rng = np.random.default_rng(5)
    W0 = onehidden.initial_weights(config.hidden, config.dim, rng).astype(config.dtype)
    given, drawn = (
        artificial.cell(config, known=KnownParts(initial={"noise": W0})),
        artificial.cell(config),
    )
    assert np.array_equal(given.weights["standard"], drawn.weights["standard"])
    assert not np.array_equal(given.weights["noise"], drawn.weights["noise"])


ALONE = {  # what may change without changing a network
    "standard": {"n_adv": 7, "norm": "linf", "epsilon": 0.3, "attack_steps": 3},
    "noise": {"n": 7, "norm": "linf", "epsilon": 0.3, "attack_steps": 3},
}
OTHERS = {
    "dim": 50,
    "hidden": 4,
    "n": 7,
    "n_adv": 7,
    "seed": 1,
    "slope": 0.5,
    "trainer": "gd",
    "epochs": 7,
    "dtype": "float64",
    "data": "gauss",
    "loss": "logistic",
    "precision": "released",
}


@pytest.mark.parametrize("network", ["standard", "noise"])
def test_cells_share_networks(network):
    """A network is the same for all cells of one `shared`, which knows all it depends on."""
    config = ArtificialConfig(**SMALL)
    common = artificial.shared(config, network)
    alone = artificial.shared_network(common, network)
    assert np.array_equal(alone.net.W, artificial.cell(config).weights[network])
    for name, value in ALONE[network].items():
        change = {"variant": None, name: value}
        assert artificial.shared(replace(config, **change), network) == common, name
    for name, value in OTHERS.items():
        changed = artificial.shared(replace(config, **{name: value}), network)
        assert (changed == common) == (name in ALONE[network]), name
    assert {*ALONE[network], *OTHERS, "variant"} == {field.name for field in fields(config)}


@pytest.mark.parametrize("norm", ["l2", "linf", "l0"])
def test_given_parts_are_those_computed(norm):
    """Networks and the first perturbed samples of a larger cell give what the cell itself gives."""
    sizes = {**SMALL, "norm": norm, "epsilon": None, "dtype": "float64"}
    large, small = (ArtificialConfig(**sizes | {"n_adv": n_adv}) for n_adv in (100, 60))
    known = KnownParts(
        artificial.shared_network(small, "standard"),
        artificial.shared_network(small, "noise"),
        artificial.cell(large).perturbed,
    )
    expected, got = artificial.cell(small), artificial.cell(small, known=known)
    assert got.metrics == pytest.approx(expected.metrics, abs=1e-9)
    for name, W in expected.weights.items():
        assert got.weights[name] == pytest.approx(W, abs=1e-9)
    for one, other in zip(got.perturbed, expected.perturbed, strict=True):
        assert one == pytest.approx(other, abs=1e-9)
    assert np.array_equal(got.y_adv, expected.y_adv)


def test_the_limit_of_infinite_time():
    """--trainer kkt: every network is a KKT point, with all margins at least one."""
    sizes = {"dim": 2000, "hidden": 4, "n": 8, "n_adv": 12, "slope": 0.5, "epsilon": 2.0}
    cell = artificial.cell(ArtificialConfig(**sizes, trainer="kkt", dtype="float64"))
    x, y = artificial.natural(ArtificialConfig(**sizes, dtype="float64"))
    q = onehidden.margins(onehidden.network(cell.weights["standard"], 0.5), x, y)
    assert q.min() >= 1 - 1e-9
    assert cell.metrics["acc_standard"] == cell.metrics["acc_adversarial_own"] == 1.0
    assert cell.traces["standard"].time.tolist() == [np.inf]


def test_precisions_agree():
    """float32 and float64 see the same data and come to the same accuracies."""
    single, double = (
        artificial.cell(ArtificialConfig(**SMALL, dtype=dtype)) for dtype in ("float32", "float64")
    )
    for name, value in single.metrics.items():
        # one sample of a hundred may sit on the boundary
        assert value == pytest.approx(double.metrics[name], rel=1e-2, abs=0.05)


@pytest.mark.parametrize("norm", ["l2", "linf", "l0"])
@pytest.mark.parametrize("data", ["uniform", "gauss"])
def test_exact_and_released_agree_where_no_threshold_is_met(norm, data):
    """At d = 400 training meets none in this time, and attacks of this size do not: the accuracies
    are equal but for samples on the boundary, and it is said that nothing stalled."""
    config = ArtificialConfig(**SMALL, norm=norm, data=data, epsilon=0.02 if norm == "l0" else 0.1)
    one, other = (
        artificial.cell(replace(config, precision=name)).metrics for name in ("exact", "released")
    )
    for name, value in one.items():
        # two samples of twenty may be on either side
        assert other[name] == pytest.approx(value, rel=0.05, abs=0.11), name
    assert other["stalled"] == 0
    assert "stalled_margin" not in other
    # in l2 and linf a sample that no longer changes leaves; in l0 each step takes a pixel more
    assert 0 < other["steps_made"] <= config.steps
    assert norm != "l0" or other["steps_made"] == config.steps
    stops = {name: other[name] for name in other.keys() - one.keys() if name[:5] == "stop_"}
    assert len(stops) == 3
    assert all(value == pytest.approx(0.1 * config.epochs) for value in stops.values())


@pytest.mark.parametrize("trainer", ["flow", "gd"])
def test_where_float16_decides(trainer):
    """Gaussian L0 with inputs that may move far: attacks stall in float16, and the exact go on."""
    config = ArtificialConfig(
        **SMALL | {"trainer": trainer, "slope": 0.01}, norm="l0", data="gauss", epsilon=0.25
    )
    exact, released = (
        artificial.cell(replace(config, precision=name)) for name in ("exact", "released")
    )
    assert released.metrics["stalled"] > 0.9
    assert released.metrics["steps_made"] < 0.8 * config.steps
    stalled = released.perturbed.zero_gradient
    assert np.all(exact.perturbed.margin[stalled] > released.perturbed.margin[stalled] + 1)
    assert "stalled" not in exact.metrics


@pytest.mark.slow
def test_the_released_epochs_on_the_issue_cell():
    """`run artificial --dim 2000 --hidden 200 --n 200 --n-adv 1000 --epsilon 0.8 --trainer gd`."""
    config = ArtificialConfig(
        dim=2000, hidden=200, n=200, n_adv=1000, norm="l2", epsilon=0.8, trainer="gd"
    )
    metrics = artificial.cell(config).metrics
    assert metrics["acc_standard"] == 1.0
    assert abs(metrics["acc_noise"] - 0.5) < 5 * 0.5 / np.sqrt(200)
    assert metrics["acc_adversarial"] == pytest.approx(metrics["acc_predicted"], abs=0.05)


@pytest.mark.parametrize("norm", ["l2", "linf", "l0"])
@pytest.mark.parametrize("data", ["uniform", "gauss"])
def test_the_prediction_knows_the_cell(norm, data):
    """(L4) in the metrics: more noise samples and larger perturbations never predict less."""
    config = ArtificialConfig(dim=400, n=50, n_adv=100, norm=norm, data=data)
    more = [
        artificial.predicted(replace(config, **change, attack_steps=None))
        for change in ({}, {"n_adv": 1_000}, {"n": 20})
    ]
    assert 0.5 < more[0] < min(more[1:])


@pytest.mark.parametrize("trainer", ["flow", "gd", "kkt"])
def test_nothing_waits_for_the_garbage_collector(trainer):
    """A cell leaves no array in a reference cycle: the collector comes when it will, and at the
    paper's size each training's (N, N) would wait for it beside those of the next."""
    small = ArtificialConfig(dim=40, hidden=4, n=6, n_adv=7, trainer=trainer, epochs=20, slope=0.9)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)  # what only the collector could free goes to gc.garbage
    try:
        artificial.cell(small)
        gc.collect()
        owners = {type(one).__name__ for one in gc.garbage if "reflfap" in type(one).__module__}
        arrays = [one.shape for one in gc.garbage if isinstance(one, np.ndarray)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not owners
    assert not arrays


@pytest.mark.parametrize(
    ("function", "trainer", "what"),
    [
        ("flow", "flow", "training standard on 20 samples"),
        ("descent", "gd", "training standard on 20 samples"),
        ("aligned_kkt", "kkt", "training standard on 20 samples"),
        ("attack_network", "flow", "the attack on 100 samples"),
    ],
)
def test_exhausted_memory_names_the_stage(monkeypatch, function, trainer, what):
    """A device's memory that does not suffice ends a cell with the stage, sizes and a remedy."""

    def exhausted(*args, **kwargs):
        raise OutOfMemoryError(5_000, 4_000, 7_200)

    monkeypatch.setitem(sys.modules, "cupy", Fake().modules["cupy"])
    monkeypatch.setattr(three_networks, function, exhausted)
    with pytest.raises(DeviceMemoryError) as report:
        artificial.cell(ArtificialConfig(**SMALL, trainer=trainer))
    assert f"expected room for {what}, got Out of memory allocating 5,000" in str(report.value)
    assert str(report.value).endswith("; use fewer samples or --dtype float32")
