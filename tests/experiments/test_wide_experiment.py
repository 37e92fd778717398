"""(E7): cells by reflfap/wide.py, defaults as released, what cells share, control, command line."""

import json
from dataclasses import replace

import numpy as np
import pytest

from reflfap import wide as page
from reflfap.cli import main as cli
from reflfap.data_loaders.image_set import ImageSet
from reflfap.errors import InputError
from reflfap.experiments import wide, wide_config
from reflfap.experiments.experiment import Inputs, identity
from reflfap.experiments.wide_config import PAIRS, RELEASED, SWEEPS, WideConfig, together
from reflfap.monitor import SILENT
from reflfap.rng import stream
from reflfap.runs.store import open_result
from reflfap.sweep import grid, plan
from reflfap.sweep.table import read_table

SMALL = {"n": 60, "dim": 30, "hidden": 10, "epochs": 40, "dtype": "float64", "epsilon": 0.1}


def metrics(**options):
    return wide.compute(WideConfig(**(SMALL | options)), Inputs(), SILENT).metrics


@pytest.mark.parametrize("scenario", ["perturbations", "samples"])
@pytest.mark.parametrize("data", ["shifted-gauss", "gauss"])
def test_a_cell_is_that_of_the_page(data, scenario):
    """The same samples, starts and targets by descent: (W1) to (W4) as reflfap/wide.py has them."""
    config = WideConfig(**SMALL, data=data, scenario=scenario, trainer="gd")
    part, found = (
        wide.wide_samples(config, Inputs()),
        metrics(data=data, scenario=scenario, trainer="gd"),
    )
    x, y, z = part.x[:, :-1], part.y, part.z[:, :-1]
    f, g = (wide.start_network(config, name, np) for name in "fg")
    V = page.learn(f.W, f.a, x, y, 0.0, 40, 1.0)
    t = np.asarray(wide.artificial.labels(60, stream(0, "target/y"), "float64"))
    eta = page.perturb(x, t, V, f.a, 0.0, 0.1)
    r = eta if scenario == "perturbations" else x + eta
    U = page.learn(g.W, g.a, r, t, 0.0, 40, 1.0)
    f_z, g_z = page.f(z, V, f.a, 0.0), page.f(z, U, g.a, 0.0)
    u, fhat = page.combinations(x, y, 0.0), page.fhat(z, x, y, 0.0)
    base = x if scenario == "samples" else 0 * x
    limit = base + 0.1 * t[:, None] * u / np.linalg.norm(u, axis=1)[:, None]
    whole = page.fhat(x, limit, t, 0.0)
    expected = {
        "acc_f": np.mean(y * page.f(x, V, f.a, 0.0) > 0),
        "acc_g": np.mean(y * page.f(x, U, g.a, 0.0) > 0),
        "agreement": np.mean(f_z * g_z > 0),
        "acc_f_predicted": np.mean(y * page.fhat(x, x, y, 0.0) > 0),
        "acc_f_predicted_released": np.mean(y * page.fhat(x, x, y, 0.0, 0) > 0),
        "acc_g_predicted": np.mean(y * page.ghat(x, limit, u, 0.0) > 0),
        "acc_g_predicted_targets": np.mean(y * whole > 0),
        "agreement_f_fhat": np.mean(f_z * fhat > 0),
        "cosine": np.mean(np.abs(np.sum(u * eta, axis=1)) / np.linalg.norm(u, axis=1) / 0.1),
        "condition_f": np.mean(page.decided(page.descent_time(40, 1.0) * fhat, f_z)),
    }
    # all but the cosine are counts of signs
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("loss", ["identity", "logistic"])
def test_flow_and_descent_say_the_same(loss):
    """Small rates: descent is nearly the flow, and counts differ by few samples."""
    options = {"loss": loss, "rate_f": 0.02, "rate_g": 0.02, "epochs": 400}
    one, other = (metrics(trainer=name, **options) for name in ("flow", "gd"))
    for name in ("acc_f", "acc_g", "agreement"):
        assert one[name] == pytest.approx(other[name], abs=0.05)


def test_without_perturbation_nothing_is_learned():
    """eps = 0 over seeds: chance; perturbations of 0.1, alone or on samples, teach the classes."""
    for scenario, size in (("perturbations", 0.3), ("samples", 3.0)):
        none, some = (
            np.mean([metrics(seed=k, epsilon=e, scenario=scenario)["acc_g"] for k in range(16)])
            for e in (0.0, size)
        )
        # a function that has one sign classifies half; 16 seeds of 60 dependent samples
        assert none == pytest.approx(0.5, abs=0.15)
        assert some > 0.8


def test_what_targets_sum_to_decides():
    """Balanced targets change no sample and no f. Where there is little signal, the bias learns the
    mean of random ones, and g has one sign; with balanced ones g knows the classes."""
    options = {"n": 400, "dim": 20, "hidden": 50, "epsilon": 0.005, "epochs": 200}
    random, balanced = (
        [metrics(seed=k, targets=one, **options) for k in range(6)]
        for one in ("random", "balanced")
    )
    assert [one["acc_f"] for one in random] == [one["acc_f"] for one in balanced]
    means = [np.mean([row["acc_g"] for row in rows]) for rows in (random, balanced)]
    # signal 0.005 * 0.3 sqrt(20) / 3, the mean of 400 targets 0.05 / 3, typically: seven times it
    assert means[0] < 0.7
    assert means[1] > 0.85
    t = wide.drawn_targets(WideConfig(targets="balanced"), 400)
    assert t.sum() == 0
    assert len(set(t[:20] * np.where(np.arange(20) % 2, 1, -1))) == 2  # not in turn


def test_defaults_are_released():
    """The table of the successor: sizes, and perturbations that grow as sqrt(d)."""
    assert WideConfig().epsilon == pytest.approx(0.01)
    assert WideConfig(scenario="samples").epsilon == pytest.approx(0.707, abs=1e-3)
    assert WideConfig(data="gauss").epsilon == pytest.approx(0.1)
    assert WideConfig(data="gauss", scenario="samples").epsilon == pytest.approx(10)
    for name in PAIRS:
        config = WideConfig(data=name)
        assert config.epsilon == pytest.approx(0.14)
        assert (config.dim, config.epochs, config.rate_f) == (784, 100, 0.01)
    assert WideConfig(dim=400).epsilon == pytest.approx(0.02)
    assert identity(WideConfig()) == identity(WideConfig(dim=100, n=1_000, rate_g=1.0))
    assert wide_config.descent_time(1_000, 1.0) == pytest.approx(page.descent_time(1_000, 1.0))


@pytest.mark.parametrize(
    "bad",
    [
        {"dim": 0},
        {"slope": 1.0},
        {"slope": -0.1},
        {"epsilon": -1.0},
        {"rate_f": 0.0},
        {"data": "cifar-10"},
        {"data": "mnist", "dim": 100},
        {"loss": "exponential"},
        {"epochs_g": 0},
        {"n": 10**8},
    ],
    ids=str,
)
def test_bad_options_are_refused(bad):
    with pytest.raises(InputError):
        WideConfig(**bad)


def digits(name, split):
    """Forty images of each of ten classes, whose first pixels say which."""
    rng = np.random.default_rng(0 if split == "train" else 1)
    labels = np.repeat(np.arange(10), 40)
    images = rng.integers(0, 100, (400, 1, 28, 28)).astype(np.uint8)
    images[np.arange(400), 0, 0, labels] = 255
    return ImageSet(images, labels, tuple("0123456789"), split, f"{name}-{split}")


@pytest.mark.parametrize("data", PAIRS)
def test_images_are_those_of_the_pair(data):
    """Pixels on [0, 1] less the mean, the first class +1; all test images, and no others."""
    config = WideConfig(data=data, n=50, dtype="float64")
    part = wide.wide_samples(config, Inputs(images=digits))
    x, first = part.x[:, :-1] + PAIRS[data].mean, int(PAIRS[data].classes[0])
    second = int(PAIRS[data].classes[1])
    assert len(x) == 50
    assert len(part.z) == 80
    assert np.all(x[part.y > 0][:, first] == 1)
    assert np.all(x[part.y < 0][:, second] == 1)
    assert x.min() >= -1e-12
    assert np.all(part.x[:, -1] == 1)
    assert (part.z_y > 0).sum() == 40
    assert wide.reads(config) == [(data, "train"), (data, "test")]


def test_cells_share_what_they_have_in_common(monkeypatch):
    """Samples and f are made once for cells that follow one another; numbers are those alone."""
    made = []
    for name in ("wide_samples", "limits", "learner"):
        function = getattr(wide, name)

        def watched(*args, name=name, function=function):
            made.append(args[1] if name == "learner" else name)
            return function(*args)

        monkeypatch.setattr(wide, name, watched)
    alone = metrics(epsilon=0.2)
    del made[:]
    wide._problems.last = wide._limits.last = wide._networks.last = (None, None)
    metrics(epsilon=0.1)
    assert metrics(epsilon=0.2) == alone
    assert made == ["wide_samples", "limits", "f", "g", "g"]
    metrics(epsilon=0.2, hidden=12)
    assert made[5:] == ["f", "g"]
    metrics(epsilon=0.2, seed=1)
    assert made[7:] == ["wide_samples", "limits", "f", "g"]


def test_cells_of_a_task_have_their_samples_in_common():
    """And those with one f come after one another."""
    cells = grid.from_preset(WideConfig, "shifted-gauss-perturbations", (0, 1))
    tasks = plan.plan(cells)
    assert sorted(identity(one) for task in tasks for one in task.configs) == sorted(
        map(identity, cells)
    )
    for task in tasks:
        assert len({together(one)[0] for one in task.configs}) == 1
        order = [identity(together(one)[1]) for one in task.configs]
        assert len([k for k, one in enumerate(order) if one not in order[:k]]) == len(
            [k for k, one in enumerate(order) if k == 0 or order[k - 1] != one]
        )
    assert len(tasks) < len(cells) / 2
    assert all(task.flops > 0 and task.memory < 4e9 for task in tasks)


def test_every_sweep_is_around_its_default():
    """All eight; each has the default itself, and values of one option each."""
    assert set(SWEEPS) == set(RELEASED)
    for data, scenario in SWEEPS:
        cells = grid.from_preset(WideConfig, f"{data}-{scenario}")
        assert WideConfig(data=data, scenario=scenario) in cells
        assert any(one.epsilon == 0 for one in cells)
        assert {one.slope for one in cells} == set(wide_config.SLOPES)
        assert {"identity", "logistic"} == {one.loss for one in cells}


def test_the_largest_cell_fits():
    """N = d = 10,000 in 4 GB."""
    for scenario in ("perturbations", "samples"):
        assert wide.wide_cost(WideConfig(data="gauss", scenario=scenario)).memory < 4e9
        widest = WideConfig(data="gauss", scenario=scenario, hidden=1_000)
        assert wide.wide_cost(widest).memory < 4e9


def test_the_commands(tmp_path, capsys):
    """`run wide`, its sweep, and the table of it read back."""
    words = ["run", "wide", "--n", "50", "--dim", "20", "--epochs", "30", "--hidden", "10"]
    assert cli.main([*words, "--json", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert {"acc_f", "acc_g", "agreement", "acc_f_predicted", "acc_g_predicted"} <= set(found)
    assert cli.main([*words, "--out", str(tmp_path)]) == 0
    assert "which learned perturbations" in capsys.readouterr().out
    assert cli.main(["sweep", "wide", "--preset", "smoke", "--out", str(tmp_path)]) == 0
    assert cli.main(["sweep", "collect", "--out", str(tmp_path)]) == 0
    cells = dict(read_table(tmp_path / "wide.csv", WideConfig))
    assert len(cells) == 4
    one = WideConfig(n=50, dim=20, epochs=30, hidden=10)
    assert cells[one]["acc_f"] == found["acc_f"]
    assert cli.main(["run", "wide", "--slope", "1", "--out", str(tmp_path)]) == 2


def test_the_plane_is_kept_where_it_is_asked_for(tmp_path, capsys):
    """`--plane` changes neither the run's id nor a number. A result without its plane is made again
    when it is asked for, one that has it is taken for both, and a sweep keeps none."""
    words = ["run", "wide", "--n", "50", "--dim", "20", "--epochs", "30", "--hidden", "10"]
    path = tmp_path / "wide" / identity(WideConfig(n=50, dim=20, epochs=30, hidden=10))
    numbers, planes = [], []
    for more in ([], ["--plane"], []):
        assert cli.main([*words, *more, "--out", str(tmp_path)]) == 0
        with open_result(path / "result.h5") as result:
            numbers.append(result.metrics)
            planes.append({name for name in result.names() if name.startswith("plane/")})
    assert numbers[0] == numbers[1] == numbers[2]
    assert planes[0] == set()
    assert {"plane/axis", "plane/fhat", "plane/g"} <= planes[1] == planes[2]
    assert cli.main(["sweep", "wide", "--preset", "smoke", "--out", str(tmp_path / "swept")]) == 0
    for one in (tmp_path / "swept" / "wide").glob("*/result.h5"):
        with open_result(one) as result:
            assert not [name for name in result.names() if name.startswith("plane/")]


def test_no_plane_is_said_before_anything_is_trained(tmp_path, capsys, monkeypatch):
    """Class means of one input span none."""
    monkeypatch.setattr(wide, "learner", None)
    words = ["run", "wide", "--n", "50", "--dim", "1", "--plane", "--out", str(tmp_path)]
    assert cli.main(words) == 2
    assert "leave --plane out" in capsys.readouterr().err


def test_a_seed_changes_all(tmp_path):
    """Samples, starts and targets; and the first samples do not depend on how many follow."""
    one, other = (wide.wide_samples(WideConfig(**SMALL, seed=k), Inputs()) for k in (0, 1))
    assert not np.any(one.x[:, 0] == other.x[:, 0])
    more = wide.wide_samples(replace(WideConfig(**SMALL), n=90), Inputs())
    assert np.array_equal(more.x[:60], one.x)
