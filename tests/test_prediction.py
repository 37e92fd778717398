"""(L4) for L2: limits, and a simulation of the two effects it weighs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap.errors import InputError
from reflfap.theory.prediction import accuracy_l2

SIZES = {
    "dim": st.integers(1, 10**5),
    "n": st.integers(1, 10**4),
    "n_adv": st.integers(1, 10**4),
    "epsilon": st.floats(0, 10),
    "variance": st.floats(0.1, 4),
}


@given(**SIZES)
def test_limits(**sizes):
    """Chance without perturbation; better with more noise; at best Phi(sqrt(d/N))."""
    accuracy = accuracy_l2(**sizes)
    assert accuracy_l2(**(sizes | {"epsilon": 0.0})) == 0.5
    assert 0.5 <= accuracy <= accuracy_l2(**(sizes | {"n_adv": 2 * sizes["n_adv"]}))
    best = accuracy_l2(**(sizes | {"epsilon": 1e9}))
    assert accuracy <= best + 1e-12


@given(scale=st.floats(0.1, 10), **SIZES)
def test_scaling(scale, **sizes):
    """Data and perturbation scaled together change nothing."""
    scaled = sizes | {
        "epsilon": scale * sizes["epsilon"],
        "variance": scale**2 * sizes["variance"],
    }
    assert accuracy_l2(**scaled) == pytest.approx(accuracy_l2(**sizes), rel=1e-9)


def test_against_simulated_effects():
    """Draw data, the boundary of equal multipliers, and its perturbations (P1): count the signs.

    f(z) = sum_n y_adv_n <x_adv_n, z> with x_adv_n = x_n + eps y_adv_n b/||b||, b = sum_k y_k x_k.
    This is what (L4) describes, without a network: the mean over draws must agree with it.
    """
    dim, n, n_adv, epsilon = 400, 40, 60, 0.5
    rng = np.random.default_rng(0)
    fractions = []
    for _ in range(200):
        x, y = rng.uniform(-1, 1, (n, dim)), rng.choice([-1, 1], n)
        noise, target = rng.uniform(-1, 1, (n_adv, dim)), rng.choice([-1, 1], n_adv)
        b = y @ x
        perturbed = noise + epsilon * target[:, None] * b / np.linalg.norm(b)
        fractions.append(np.mean(y * (x @ (target @ perturbed)) > 0))
    error = np.std(fractions) / np.sqrt(len(fractions))
    predicted = accuracy_l2(dim, n, n_adv, epsilon, 1 / 3)
    # five standard errors, and 0.01 for the norms of finite samples that (L4) takes as constant
    assert abs(np.mean(fractions) - predicted) < 5 * error + 0.01


@pytest.mark.parametrize(
    "change", [{"dim": 0}, {"n": 0}, {"n_adv": 0}, {"epsilon": -1.0}, {"variance": 0.0}]
)
def test_bad_input_is_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        accuracy_l2(**({"dim": 9, "n": 9, "n_adv": 9, "epsilon": 1.0, "variance": 1.0} | change))
