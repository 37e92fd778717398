"""(L4): predicted accuracy of a network that learned from perturbed noise."""

import math

from reflfap import checks


def accuracy_l2(dim: int, n: int, n_adv: int, epsilon: float, variance: float) -> float:
    """(L4) for L2: the accuracy on N natural samples after learning from N_adv perturbed ones.

    accuracy = Phi(s / sqrt(1 + s^2 N/d)), s = (eps/sigma) sqrt(N_adv/N), with Phi the normal
    distribution function. Assumes independent zero-mean coordinates of variance sigma^2, natural
    and noise alike, random labels and targets, and near-equal multipliers; fits no constant.
    Checked by test_prediction.py::test_limits and ::test_against_simulated_effects.
    """
    for name, count in (("dim", dim), ("n", n), ("n_adv", n_adv)):
        checks.whole_number(name, count, 1)
    checks.real_number("epsilon", epsilon, 0, math.inf, closed="[)")
    checks.real_number("variance", variance, 0, math.inf, closed="()")
    s = epsilon / math.sqrt(variance) * math.sqrt(n_adv / n)
    return _normal_distribution(s / math.sqrt(1 + s**2 * n / dim))


def _normal_distribution(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))
