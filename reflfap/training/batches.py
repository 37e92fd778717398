"""What is random in training by batches: order, augmentation, dropout; all drawn on the host.

All follows from (seed, stage, epoch, batch) and from the sample's place in the batch: neither a
resumption nor the number of workers changes a number that is drawn.
"""

from typing import NamedTuple

import numpy as np

from reflfap.backend import Array, HostArray, asarray, namespace
from reflfap.rng import stream

PAD = 4
"""Pixels that a crop may move an image by."""


class Draw(NamedTuple):
    """Names one batch among all."""

    seed: int
    stage: str
    epoch: int
    batch: int

    def stream(self, what: str) -> np.random.Generator:
        return stream(self.seed, f"{self.stage}/{what}/{self.epoch}/{self.batch}")


def order(seed: int, stage: str, epoch: int, count: int) -> HostArray:
    """The samples in the order of an epoch, (count,)."""
    return stream(seed, f"{stage}/order/{epoch}").permutation(count)


def augmented(x: HostArray, draw: Draw, rows: slice, size: int) -> HostArray:
    """Images x (n, C, H, W), rows of a batch of `size`: moved by up to PAD pixels each way, zeros
    coming in, and half of them mirrored.
    """
    rng = draw.stream("augmentation")
    down, across = rng.integers(0, 2 * PAD + 1, (2, size, 1))[:, rows]
    mirrored = rng.integers(0, 2, (size, 1), dtype=bool)[rows]
    n, _, height, width = x.shape
    wide = np.pad(x, ((0, 0), (0, 0), (PAD, PAD), (PAD, PAD)))
    line = np.arange(width)
    lines, columns = down + np.arange(height), across + np.where(mirrored, line[::-1], line)
    each = np.arange(n)[:, None, None]
    return wide[each, :, lines[:, :, None], columns[:, None, :]].transpose(0, 3, 1, 2)


def dropout_mask(draw: Draw, rows: slice, name: str, rate: float, x: Array) -> Array:
    """Of layer `name` for rows of a batch, in the shape of x (H, W, n, C): zeros with probability
    `rate`, to 1/2^17, else one over what is left.

    Sixteen bits a number, samples one after the other, so that each part of a batch draws its own.
    """
    xp, (height, width, n, C) = namespace(x), x.shape
    words = -(-height * width * C // 4)
    generator = draw.stream(f"dropout/{name}")
    bits = generator.bit_generator
    bits.advance(rows.start * words)  # type: ignore[attr-defined]  # of PCG64
    drawn = generator.integers(0, 2**64 - 1, (n, words), np.uint64, endpoint=True).view(np.uint16)
    dropped = round(rate * 2**16)
    kept = asarray(drawn, xp)[:, : height * width * C] >= dropped
    kept = xp.transpose(kept.reshape(n, height, width, C), (1, 2, 0, 3))
    return xp.astype(xp.ascontiguousarray(kept), x.dtype) * (2**16 / (2**16 - dropped))
