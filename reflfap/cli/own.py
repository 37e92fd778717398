"""`--dataset PATH`: a user's own image set in the place of one that is known by name."""

import os
from collections.abc import Sequence
from pathlib import Path

from reflfap.data_loaders.registry import DATA_SETS, data_set, is_own
from reflfap.errors import InputError, StoreError, refuse
from reflfap.runs.running import own_images_of

_DATASET, _DATA_DIR = "--dataset", "--data-dir"


def with_own_images(args: Sequence[str]) -> list[str]:
    """The arguments of a run, `--dataset PATH` made to `--dataset DESCRIPTOR --data-dir PATH`.

    A name of a known set, or a descriptor, stays as it is, also where a file is called so: write
    ./mnist then. InputError for what is none of these, and for a --data-dir besides a path; raises
    as `own_images.own_set` does. Cost: reading the set, which is kept for the run.
    """
    found = list(args)
    for place in range(len(args) - 1, -1, -1):
        name, equals, value = args[place].partition("=")
        if _option(name) != _DATASET or not (equals or place + 1 < len(args)):
            continue
        value = value if equals else args[place + 1]
        if value in DATA_SETS or is_own(value):
            continue
        if not os.path.exists(value):
            data_set(value)  # says what there is
        if any(_option(one.partition("=")[0]) == _DATA_DIR for one in args):
            remedy = "leave --data-dir out: the path says where the images are"
            refuse(_DATA_DIR, f"none beside {_DATASET} {value}", "one", remedy)
        try:
            descriptor = own_images_of(Path(value)).descriptor
        except StoreError as error:  # what is no image set is a bad argument
            raise InputError(str(error)) from error
        end = place + (1 if equals else 2)
        found[place:end] = [f"{_DATASET}={descriptor}", f"{_DATA_DIR}={value}"]
    return found


def _option(word: str) -> str:
    """How an option is spelled: the parser takes --data_dir as well."""
    return word.replace("_", "-")
