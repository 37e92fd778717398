"""How often the host waits for a device: counted on the conformance backend, place by place."""

from collections import Counter

import numpy as np
import pytest
from gradients import EACH_NORM, LOSSES
from problems import make_problem

from reflfap import losses
from reflfap.backend import asarray
from reflfap.experiments import artificial
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.fast.quick_attack import attack_network
from reflfap.training.descent import EPOCHS_UNREAD, descent
from reflfap.training.flow import flow

conformance = pytest.importorskip("conformance", reason="CuPy is not installed")


@pytest.fixture
def problem():
    """A network and samples on the pretended device, in the dtype of the paper."""
    net, x, y = make_problem(
        seed=1, dim=30, hidden=20, n=12, dtype="float32", data="uniform", slope=0.1
    )
    W, a, x, y = (asarray(one, conformance.xp) for one in (net.W, net.a, x, y))
    return net._replace(W=W, a=a), x, y


def waits(function, *args, **options):
    """Result and number of synchronisations by file, checks of the input left out."""
    with conformance.counting() as syncs:
        result = function(*args, **options)
    assert not syncs.transfers  # nothing comes from the host
    files = Counter(sync.place.partition(":")[0].rpartition("/")[2] for sync in syncs)
    files.pop("checks.py", None)
    return result, files


@EACH_NORM
def test_the_attacks_loop_never_waits(norm, problem):
    """As often for 3 steps as for 40, and each time before the loop or after it."""
    net, x, y = problem
    for steps in (3, 40):
        _, files = waits(attack_network, net, x, y, norm, steps=steps, low=-1.0, high=1.0)
        assert files == {"attacks.py": 2}  # is x within [low, high]?


@pytest.mark.parametrize("form", ["weights", "coefficients"])
def test_descent_waits_once_in_a_hundred_epochs(form, problem):
    """And once for the loss at the end."""
    for blocks in (1, 4):
        epochs = blocks * EPOCHS_UNREAD
        _, files = waits(descent, *problem, losses.EXPONENTIAL, epochs=epochs, form=form)
        assert files == {"descent.py": blocks + 1}


@LOSSES
def test_flow_waits_a_handful_of_times_a_step(loss, problem):
    """Once for each of three solves, seldom twice, and once to accept the step."""
    result, files = waits(flow, *problem, loss, time=1e3)
    steps = len(result.trace.time) - 1
    ends = 3  # the first state's loss, the first step's length, the last loss
    assert files["flow.py"] <= 1.5 * steps + ends  # a step that is refused costs one as well
    assert 3 * steps <= files["implicit.py"]  # or the file has another name by now
    assert files["implicit.py"] + files["flow.py"] <= 6 * steps + ends


@pytest.mark.parametrize("trainer", ["flow", "gd"])
@pytest.mark.parametrize("norm", ["l2", "linf", "l0"])
def test_a_cell_in_float16_is_that_of_numpy(trainer, norm):
    """The same: products for what the host updates, and casts for what it rounds by sums.

    Of outputs of about one a rounding to float16, of another order's sums, is 2^-10: a percent of
    the loss, and of seven samples at most one lies so near a boundary.
    """
    sizes = {"dim": 60, "hidden": 4, "n": 6, "n_adv": 7, "slope": 0.9, "epochs": 200}
    config = ArtificialConfig(**sizes, norm=norm, trainer=trainer, precision="released")
    expected, got = artificial.cell(config), artificial.cell(config, conformance.xp)
    for name, metric in expected.metrics.items():
        loose = 1 / 6 if name.startswith("acc_") else 0.01 if name.startswith("loss_") else 1e-6
        assert got.metrics[name] == pytest.approx(metric, rel=loose, abs=loose), name


@pytest.mark.parametrize("trainer", ["flow", "gd", "kkt"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", ["l2", "linf", "l0"])
def test_a_cell_is_that_of_numpy(trainer, dtype, norm):
    """(E1) from one source: the numbers of NumPy up to rounding, where no kink amplifies it.

    For gradient descent and the limit; gradient flow may step otherwise, so up to its tolerance.
    """
    sizes = {"dim": 60, "hidden": 4, "n": 6, "n_adv": 7, "slope": 0.9, "epochs": 200}
    config = ArtificialConfig(**sizes, norm=norm, trainer=trainer, dtype=dtype)
    expected, got = artificial.cell(config), artificial.cell(config, conformance.xp)
    assert all(isinstance(W, np.ndarray) and W.dtype == dtype for W in got.weights.values())
    digits = 1e-3 if dtype == "float32" or trainer == "flow" else 1e-9
    for name, metric in expected.metrics.items():
        assert got.metrics[name] == pytest.approx(metric, rel=digits, abs=digits), name
