"""From deep networks to the theory: what perturbations are made of, and what gradients look like.

The theory (P1) says of a one-hidden-layer network that its perturbations are combinations of
training samples, the same for all samples but for their sign. Of a deep network three questions
can be asked that have a number for an answer: does the perturbation of a target look like the mean
gradient of that class's margin? Does a network that learned perturbations have gradients like the
one they were made against? Do perturbations lie where the training images lie?
"""

from typing import NamedTuple

import numpy as np

from reflfap.attacks import MarginFunction
from reflfap.backend import HostArray, Namespace, asarray, to_host

FEW = 50
"""Principal directions of the images that hold most of them."""


class Moments(NamedTuple):
    """Sums over perturbations eta (d,) with their targets, float64 on the host."""

    samples: HostArray  # (classes,): of each target
    total: HostArray  # (classes, d): sum of eta
    second: HostArray  # (d, d): sum of eta eta^T

    @classmethod
    def none(cls, classes: int, d: int) -> "Moments":
        return cls(np.zeros(classes), np.zeros((classes, d)), np.zeros((d, d)))

    def add(self, eta: HostArray, target: HostArray) -> None:
        """Count perturbations eta (n, d) with targets (n,) in. Cost: n d^2."""
        self.samples[...] += np.bincount(target, minlength=len(self.samples))
        for one in np.unique(target):
            self.total[one] += eta[target == one].sum(axis=0, dtype=np.float64)
        self.second[...] += eta.T @ eta

    @property
    def mean(self) -> HostArray:
        """(classes, d) the mean perturbation towards each class."""
        return np.asarray(self.total / np.maximum(self.samples, 1)[:, None])


def mean_gradients(
    margin: MarginFunction, x: HostArray, classes: int, xp: Namespace = np, chunk: int = 64
) -> HostArray:
    """(classes, d) float64: the mean over samples x (N, d) of dq_t/dx, for each class t.

    Cost: classes N gradients.
    """
    total = np.zeros((classes, x.shape[1]))
    for first in range(0, len(x), chunk):
        some = asarray(x[first : first + chunk], xp)
        for one in range(classes):
            _, g = margin(some, xp.full(some.shape[0], one, dtype=xp.int64))
            total[one] += to_host(g).sum(axis=0, dtype=np.float64)
    return total / len(x)


def cosines(a: HostArray, b: HostArray) -> HostArray:
    """(classes,) the cosine of each row of a with that of b; of a zero row 0."""
    product = np.sum(a * b, axis=1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    there = norms > 0
    return np.where(there, product / np.where(there, norms, 1), 0)


def directions(x: HostArray, chunk: int = 1000) -> tuple[HostArray, HostArray]:
    """The principal directions (d, r) of images x (N, d), bytes or floats, not centred, and the
    mean square (r,) of the images along each; an orthonormal basis, largest first.

    A direction counts to the span if the images' energy along it is above the rounding of the sum:
    d eps times the largest. Cost: N d^2 + d^3; memory: d^2 a few times.
    """
    d = x.shape[1]
    second = np.zeros((d, d))
    for first in range(0, len(x), chunk):
        some = x[first : first + chunk].astype(np.float64)
        second += some.T @ some
    energy, vectors = np.linalg.eigh(second / len(x))
    kept = energy > d * np.finfo(np.float64).eps * energy[-1]
    return vectors[:, kept][:, ::-1], energy[kept][::-1]


def energy_share(second: HostArray, vectors: HostArray) -> float:
    """The share of sum ||eta||^2 that lies in the span of orthonormal vectors (d, k):

        tr(V^T (sum eta eta^T) V) / tr(sum eta eta^T).

    Of a direction at random it is k/d on average. 0 where there is no perturbation.
    """
    whole = np.trace(second)
    return float(np.sum(vectors * (second @ vectors)) / whole) if whole else 0.0


def spans(eta: Moments, images: HostArray) -> dict[str, float]:
    """Where perturbations lie: shares in the span of all training images (n, d), and of their FEW
    principal directions; the ranks over d, which random directions would have; and the images'."""
    vectors, energy = directions(images)
    (d, rank), few = vectors.shape, vectors[:, :FEW]
    return {
        "span": energy_share(eta.second, vectors),
        "span_random": rank / d,
        "span_few": energy_share(eta.second, few),
        "span_few_random": few.shape[1] / d,
        "span_few_images": float(energy[:FEW].sum() / energy.sum()),
    }
