"""paper.py (E1) is the quick experiment; and paper.py as a file: alone, short, on every library."""

import ast
import inspect
import os
import re
import subprocess
import sys
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from libraries import LIBRARIES, library_named
from paper_problems import DTYPES, agree, comes_back, steps_seen

from reflfap import paper
from reflfap.backend import asarray, namespace, to_host
from reflfap.experiments import artificial, three_networks
from reflfap.experiments.artificial import ArtificialConfig

# --- (E1) -----------------------------------------------------------------------------------------

VARIANTS = {
    "l2": {"norm": "l2", "epsilon": 0.8},
    "linf": {"norm": "linf", "epsilon": 0.2},
    "linf-sign": {"norm": "linf", "epsilon": 0.2, "variant": "sign"},
    "l0": {"norm": "l0", "epsilon": 0.3},
    "l0-tracked": {"norm": "l0", "epsilon": 0.3, "variant": "tracked"},
}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("norm", VARIANTS)
@settings(max_examples=4)
@given(
    seed=st.integers(0, 10**6),
    data=st.sampled_from(["uniform", "gauss"]),
    n=st.integers(1, 30),
    n_adv=st.integers(1, 60),
    dim=st.integers(2, 40),
    slope=st.floats(0.01, 0.9),
)
def test_learning_from_perturbations(norm, seed, data, n, n_adv, dim, slope):
    """(E1): the three accuracies, from the same data and initial weights: the same fractions.

    In float64, where trainings agree to nine digits: no margin is that close to zero.
    """
    more = {} if norm.startswith("l0") else {"attack_steps": 15}
    config = ArtificialConfig(
        **VARIANTS[norm], **more, seed=seed, data=data, n=n, n_adv=n_adv, dim=dim, slope=slope,
        hidden=6, epochs=60, trainer="gd", dtype="float64",
    )  # fmt: skip
    names = ("standard", "noise", "adversarial")
    W = [three_networks.initial_network(config, name).W for name in names]
    low, high = (-1, 1) if data == "uniform" else (-inf, inf)
    noise = artificial.noise(config)
    with steps_seen() as path:
        expected = paper.learning_from_perturbations(
            *artificial.natural(config), *noise, W, slope,
            norm, config.epsilon, config.attack_steps, config.epochs, low, high,
        )  # fmt: skip
    assume(norm != "l0" or not comes_back(noise.x, path, 1e-9))
    metrics = artificial.cell(config).metrics
    assert [metrics[f"acc_{name}"] for name in names] == pytest.approx(expected, abs=1e-12)


def test_main_prints_three_accuracies():
    """(E1): python -m reflfap.paper runs by itself, and the perturbed noise teaches the points."""
    root = Path(paper.__file__).parent.parent
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "reflfap.paper"],
        capture_output=True, text=True, timeout=30, cwd=root, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    percentages = [int(found) for found in re.findall(r"(\d+)%", done.stdout)]
    standard, noise, adversarial, predicted = percentages
    assert standard == 100
    assert noise < 70 < 90 < adversarial
    assert abs(adversarial - predicted) < 10


# --- The file -------------------------------------------------------------------------------------


def test_the_file_stands_alone():
    """It takes one function from the package, namespace, is short, and has each tag in its order.

    Nothing is imported but at the top.
    """
    text = Path(paper.__file__).read_text()
    assert text.count("\n") <= 360
    tree, found = ast.parse(text), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node in tree.body
            assert node.level == 0
            found |= {f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            assert node in tree.body
            found |= {one.name for one in node.names}
    ours = {name for name in found if name.startswith("reflfap")}
    assert ours == {"reflfap.backend.namespace"}
    assert found - ours <= {
        *("math.exp", "math.inf", "math.log1p", "math.pi", "math.sqrt"),
        *("statistics.NormalDist", "numpy"),
    }
    tags = re.findall(r'"""\(([A-Z]\d)\)', text)
    assert list(dict.fromkeys(tags)) == [
        *(f"N{k}" for k in range(1, 7)), *(f"T{k}" for k in range(1, 6)), "P1", "P2",
        *(f"L{k}" for k in range(1, 5)), "E1",
    ]  # fmt: skip


# --- On every library -----------------------------------------------------------------------------


class Arrays(NamedTuple):
    """A problem on some library."""

    W: np.ndarray  # (4, 3)
    x: np.ndarray  # (5, 3)
    y: np.ndarray
    z: np.ndarray  # (2, 3)
    lam: np.ndarray
    b: np.ndarray


def arrays(dtype):
    """With a kink and a tie, and moderate margins."""
    rng = np.random.default_rng(0)
    W, x, z = (rng.standard_normal((rows, 3)) for rows in (4, 5, 2))
    x[0] = 0
    y, lam = rng.choice([-1.0, 1.0], 5), rng.uniform(0.5, 1, 5)
    whole = Arrays(W, x, y, z, lam, np.asarray([0.5, -0.5, 0.25]))
    return Arrays(*(part.astype(dtype) for part in whole))


def attacked(norm, low=-inf, high=inf):
    return lambda p: paper.attack(p.W, p.x / 4, p.y, 0.3, norm, 0.5, 3, low, high)


def learned(p):
    noise, W = p.x[::-1, :] / 2, [p.W, p.W / 2, p.W / 4]
    return paper.learning_from_perturbations(
        p.x, p.y, noise, p.y, W, 0.3, "l2", 0.5, steps=3, epochs=3, low=-inf, high=inf
    )


def orthogonal(p):
    """Three samples that are nearly orthogonal, and their labels."""
    xp = namespace(p.x)
    return xp.eye(3, dtype=p.x.dtype) + p.x[1:4, :] / 100, p.y[:3]


def violations(p):
    x, y = orthogonal(p)
    return paper.kkt_violations(p.W, p.lam[:3], x, y, 0.3)


KIND = {f"{kind} loss": kind for kind in ("exponential", "logistic")}
CALLS = {
    "phi": lambda p: paper.phi(p.W @ p.x.T, 0.3),
    "dphi": lambda p: paper.dphi(p.W @ p.x.T, 0.3),
    "output_weights": lambda p: paper.output_weights(p.W),
    "f": lambda p: paper.f(p.x, p.W, 0.3),
    **{f"loss, {k}": lambda p, k=k: paper.loss(p.y, k) for k in KIND.values()},
    **{f"dloss, {k}": lambda p, k=k: paper.dloss(p.y, k) for k in KIND.values()},
    "L": lambda p: paper.L(p.W, p.x, p.y, 0.3),
    "dL_dW": lambda p: paper.dL_dW(p.W, p.x, p.y, 0.3),
    "dl_dx": lambda p: paper.dl_dx(p.W, p.x, p.y, 0.3, "logistic"),
    "gradient_flow": lambda p: paper.gradient_flow(p.W, p.x, p.y, 0.3, time=1.0, steps=3),
    "gradient_descent": lambda p: paper.gradient_descent(p.W, p.x, p.y, 0.3, epochs=3),
    "orthogonality": lambda p: paper.orthogonality(p.x, 0.3),
    "kkt_violations": violations,
    "aligned_kkt_point": lambda p: paper.aligned_kkt_point(*orthogonal(p), 4, 0.3),
    "multiplier_bounds": lambda p: paper.multiplier_bounds(p.x[1:, :], 0.3),
    "f_bdy": lambda p: paper.f_bdy(p.z, p.lam, p.x, p.y),
    "boundary_normal": lambda p: paper.boundary_normal(p.lam, p.x, p.y),
    **{
        f"geometry_inspired, {norm}": lambda p, norm=norm: paper.geometry_inspired(
            p.b, p.y, norm, 0.5, 2
        )
        for norm in ("l2", "linf", "l0")
    },
    **{f"attack, {norm}": attacked(norm) for norm in VARIANTS},
    "attack, bounded": attacked("l0", -0.5, 0.5),
    "length, l2": lambda p: paper.length(p.x, "l2"),
    "length, linf": lambda p: paper.length(p.x, "linf"),
    "effects": lambda p: paper.effects(p.z, p.lam, p.x, p.x / 2, p.y),
    **{
        f"perturbation_effect, {norm}": lambda p, norm=norm: paper.perturbation_effect(
            p.z, p.lam, p.b, norm, 0.5, 2
        )
        for norm in ("l2", "linf", "l0")
    },
    "perturbations_decide": lambda p: paper.perturbations_decide(p.x[1, :], p.x[2, :], p.b),
    "accuracy": lambda p: paper.accuracy(p.W, p.x, p.y, 0.3),
    "learning_from_perturbations": learned,
}
WITHOUT_ARRAYS = {"predicted_accuracy", "main"}


def test_each_function_is_called():
    """Of paper.py, in what follows."""
    own = {
        name
        for name, value in inspect.getmembers(paper, inspect.isfunction)
        if value.__module__ == paper.__name__
    }
    assert own == {name.partition(",")[0] for name in CALLS} | WITHOUT_ARRAYS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_same_numbers_on_each_library(library, call, dtype):
    """All tags: paper.py on each array library gives the numbers, and the dtype, of NumPy.

    The conformance library computes with NumPy, but for the order of its memory: bitwise, or
    nearly. CuPy sums in another order.
    """
    xp = library_named(library)
    here = arrays(dtype)
    expected = CALLS[call](here)
    got = CALLS[call](Arrays(*(asarray(part, xp) for part in here)))
    parts = (got, expected) if isinstance(expected, tuple | list) else ((got,), (expected,))
    for one, other in zip(*parts, strict=True):
        if hasattr(other, "dtype"):
            assert namespace(one) is xp
            assert one.dtype == other.dtype
            assert other.dtype in (dtype, bool)
            one = to_host(one)
        agree(one, other, 100 * np.finfo(dtype).eps * (1 + np.abs(np.asarray(other, float))))
