"""Image sets in memory: bytes as they are read, or floats where they were perturbed."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.errors import refuse

WHITE = 255


class ImageSet(NamedTuple):
    """N images of C channels with their classes; a piece or a subset of a set is one as well."""

    images: HostArray  # (N, C, H, W), uint8 0 black to 255 white, or float32 of any range
    labels: HostArray  # (N,) int64, indices into class_names
    class_names: tuple[str, ...]
    source: str  # name, split and folder it was read from
    sha256: str  # of the files it was read from, decompressed, one after the other

    def floats(self, dtype: str = "float32") -> HostArray:
        """The images (N, C, H, W) as `dtype`, a copy; holds nothing else of that size.

        Bytes come on [0, 1]; floats keep the range that they have.
        """
        checks.choice("dtype", dtype, ("float32", "float64"))
        values = self.images.astype(dtype)
        if self.images.dtype == np.uint8:
            values /= WHITE
        return values

    def histogram(self) -> HostArray:
        """How often each value occurs in each channel, (C, 256) int64. Holds some 1000 images.

        InputError for images of floats, as `mean` and `std`, which count as well.
        """
        if self.images.dtype != np.uint8:
            remedy = "take the moments of floats() instead"
            refuse("images", "bytes (uint8)", str(self.images.dtype), remedy)
        counts = np.zeros((self.images.shape[1], WHITE + 1), np.int64)
        for piece in self.chunks(1000):
            for channel, count in enumerate(counts):
                count += np.bincount(piece.images[:, channel].ravel(), minlength=WHITE + 1)
        return counts

    @property
    def mean(self) -> HostArray:
        """The mean of `floats` per channel, (C,) float64, from the histogram: exact counts."""
        counts = self.histogram()
        return np.asarray(counts @ _LEVELS / counts.sum(axis=1))

    @property
    def std(self) -> HostArray:
        """The standard deviation (of the population) of `floats` per channel, (C,) float64."""
        counts = self.histogram()
        mean = counts @ _LEVELS / counts.sum(axis=1)
        squares = (_LEVELS - mean[:, None]) ** 2
        return np.asarray(np.sqrt((counts * squares).sum(axis=1) / counts.sum(axis=1)))

    def chunks(self, rows: int) -> Iterator["ImageSet"]:
        """The set in pieces of `rows` images, the last of fewer; views, nothing is copied."""
        checks.whole_number("rows", rows, 1)
        for first in range(0, len(self.labels), rows):
            some = slice(first, first + rows)
            yield self._replace(images=self.images[some], labels=self.labels[some])

    def classes(self, first: int | str, second: int | str) -> "ImageSet":
        """The images of two classes, in their order; `first` has label 0 there, `second` 1.

        Classes are given by number or by name; InputError for unknown ones and for one class twice.
        Copies the images kept.
        """
        a, b = self._class(first), self._class(second)
        if a == b:
            refuse("classes", "two different ones", f"{self.class_names[a]!r} twice", "choose two")
        chosen = np.isin(self.labels, (a, b))
        return self._replace(
            images=self.images[chosen],
            labels=(self.labels[chosen] == b).astype(np.int64),
            class_names=(self.class_names[a], self.class_names[b]),
        )

    def _class(self, which: int | str) -> int:
        numbers = {str(number): number for number in range(len(self.class_names))}
        numbers |= {name: number for number, name in enumerate(self.class_names)}
        if str(which) not in numbers:
            named = ", ".join(f"{number} ({name})" for number, name in enumerate(self.class_names))
            refuse("classes", f"two of {named}", repr(which), "choose two, by number or name")
        return numbers[str(which)]


_LEVELS = np.arange(WHITE + 1) / WHITE
