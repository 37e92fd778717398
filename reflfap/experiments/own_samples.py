"""Labels of any two kinds, and features of any size, as the networks take them."""

from typing import Any

import numpy as np

from reflfap import checks
from reflfap.backend import HostArray
from reflfap.errors import refuse
from reflfap.experiments.three_networks import Labelled


def classes_of(y: HostArray) -> tuple[Any, Any]:
    """The two values that labels (N,) have, in order; InputError for one, or more than two."""
    found = np.unique(y).tolist()
    if len(found) != 2:
        some = ", ".join(map(repr, found[:5])) + (", ..." if len(found) > 5 else "")
        remedy = "choose two" if len(found) > 2 else "a network needs two to tell apart"
        refuse("classes", "two", f"{len(found)} ({some})", remedy)
    return found[0], found[1]


def signs(
    y: HostArray,
    classes: tuple[Any, Any],
    dtype: str,
    name: str = "y",
    remedy: str = "leave other classes out, or choose others",
) -> HostArray:
    """Labels (N,) of two classes as -1 for the first and +1 for the second, (N,)."""
    unknown = ~np.isin(y, classes)
    if unknown.any():
        expected = f"{classes[0]!r} and {classes[1]!r}"
        refuse(name, expected, repr(y[unknown][0].item()), remedy)
    return np.where(y == classes[1], 1, -1).astype(dtype)


def scaling(kind: str, x: HostArray) -> tuple[HostArray, HostArray]:
    """What each feature of samples (N, d) is to be reduced and divided by, two of (d,) float64.

    A feature that is the same in all samples becomes zero. InputError where all are, or where one
    is too large or too even for its spread to be known.
    """
    x = x.astype(np.float64, copy=False)
    if kind == "none":
        return np.zeros(x.shape[1]), np.ones(x.shape[1])
    low, high = x.min(axis=0), x.max(axis=0)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # refused below
        if kind == "range":
            centre, width = low / 2 + high / 2, high / 2 - low / 2
        else:
            centre, width = x.mean(axis=0), x.std(axis=0)
    # a mean over rows is not exact, so that the deviation of equal numbers need not be zero
    same = high - low <= 8 * np.finfo(np.float64).eps * np.maximum(np.abs(low), np.abs(high))
    if same.all():
        refuse("x", "a feature that differs from sample to sample", "none", "check the samples")
    bad = ~same & ~((width > 0) & np.isfinite(width) & np.isfinite(centre))
    if bad.any():
        got = f"{low[bad][0]:.3g} to {high[bad][0]:.3g} in feature {int(np.argmax(bad))}"
        refuse("x", "features whose spread a float can hold", got, "scale it to about one")
    return np.where(same, low, centre), np.where(same, 1.0, width)


def scaled(part: Labelled, centre: HostArray, width: HostArray, dtype: str) -> Labelled:
    """Samples (N, d) less `centre`, by `width`, (d,) each, and labels, as `dtype`."""
    with np.errstate(over="ignore"):  # refused below
        x = ((part.x - centre) / width).astype(dtype)
    checks.finite_result("x", x, "use float64, or scale the samples down")
    return Labelled(x, part.y.astype(dtype))
