"""`reflfap export`: networks and perturbed samples for other programs, as arrays or as pictures.

Arrays lose nothing. Pictures have eight bits a pixel, and how much of the perturbation that leaves
is measured and said.
"""

import csv
import io
import math
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

from reflfap.backend import HostArray
from reflfap.cli.run import print_json
from reflfap.data_loaders.image_set import WHITE
from reflfap.data_loaders.registry import data_set
from reflfap.errors import DamagedFileError, StoreError, refuse
from reflfap.experiments import images, perturbed_set
from reflfap.experiments.deep_training import split_of
from reflfap.experiments.experiment import Inputs, Stored
from reflfap.experiments.images import ImagesConfig
from reflfap.experiments.perturb_config import PerturbConfig
from reflfap.experiments.perturbed_set import SET
from reflfap.experiments.three_networks import GALLERY
from reflfap.files import unwritable, whole_file
from reflfap.runs import store
from reflfap.runs.interruption import Interruption
from reflfap.runs.running import Place
from reflfap.runs.store import Result
from reflfap.sealed import AGAIN, open_sealed, whole_array
from reflfap.terminal import say, tell

TARGETS = "targets.csv"


class Pictures(NamedTuple):
    """Perturbed images (n, C, H, W) on [0, 1], in blocks, each with what it was perturbed from."""

    targets: list[str]
    blocks: Iterator[tuple[HostArray, HostArray]]


def export_run(
    run: tyro.conf.Positional[str],
    out: Path = Path("results"),
    npz: Path | None = None,
    png: Path | None = None,
    force: bool = False,
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Write networks and perturbed samples of a result for other programs.

    Pictures are of perturbed images alone, and eight bits round the perturbation: a line says how
    much.

    Args:
        run: a run id, its beginning, or the path of a result file
        out: folder of all results
        npz: file of NumPy arrays, named as in the result; nothing is lost
        png: folder of pictures, and targets.csv with the target of each
        force: replace what was exported there before
        data_dir: folder of the data sets; default: REFLFAP_DATA, else the platform's cache
        json: print one JSON object on standard output
    """
    to = npz or png
    if to is None or (npz is not None and png is not None):
        got = "both" if to else "neither"
        refuse("export", "--npz FILE or --png FOLDER", got, "give one of the two")
    with store.open_result(store.find(out, run), copy=Path(run).exists()) as result:
        if npz is not None:
            names, line = _write_arrays(result, npz, force), f"arrays    {to}"
            found: dict[str, Any] = {"arrays": names}
        else:
            found = _write_pictures(_pictures(result, Place(out, data_dir)), to, force).as_json()
            line = f"pictures  {to}"
    if json:
        print_json({"path": str(to.resolve()), **found})
    else:
        tell(line)


def _write_arrays(result: Result, to: Path, force: bool) -> list[str]:
    """Networks and samples as an .npz file, and the config as `config_json`."""
    if to.exists() and not force:
        refuse("npz", "a file that is not there yet", to, "give another, or --force to replace it")
    arrays = {"config_json": np.array(result.attributes["config_json"])}
    with open_sealed(result.path, digest=False) as (file, *_):
        names = [one for one in result.names() if one.startswith(("networks/", "data/"))]
        for name in names:
            arrays[name] = whole_array(file, name, result.path)
            if arrays[name].dtype.kind not in "fiu":  # others may be code, to who reads them
                got = str(arrays[name].dtype)
                refuse(f"{result.path}: {name}", "numbers", got, AGAIN, DamagedFileError)
    if not names:
        expected = "a result with networks or samples"
        refuse("run", expected, f"one of {result.config.experiment}", "export another")
    with whole_file(to, "--npz") as part, os.fdopen(part, "wb", closefd=False) as written:
        np.savez(written, **arrays)  # type: ignore[arg-type]
    asked, there = getattr(result.config, "n_adv", 0), len(arrays.get(f"{SET}x", ()))
    if there == GALLERY < asked:
        say(f"the result holds {there} of {asked} perturbed samples; `--save-data` keeps all")
    return names


def _write_pictures(pictures: Pictures, to: Path, force: bool) -> "Rounding":
    """A PNG file for each image, whole or not at all, and what eight bits do to them."""
    part, old = (to.parent / f".{to.name}.{what}" for what in ("part", "old"))
    _check_folder(to, force)
    lost = Rounding()
    try:
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)  # of one that was killed
        part.mkdir()
        with Interruption() as stop:
            for perturbed, source in pictures.blocks:
                for number, one in enumerate(lost.rounded(perturbed, source), lost.images):
                    (part / _name(number)).write_bytes(_png(one))
                lost.images += len(perturbed)
                if stop.seen:
                    raise KeyboardInterrupt
        (part / TARGETS).write_text(_table(pictures.targets), "utf-8")
        if to.exists():
            to.rename(old)
        part.rename(to)
    except OSError as error:
        raise unwritable(to, error, "--png") from error
    finally:
        if old.exists() and not to.exists():
            old.rename(to)
        for left in (part, old):
            shutil.rmtree(left, ignore_errors=True)
    say(lost)
    return lost


def _check_folder(to: Path, force: bool) -> None:
    """Refuse to write over anything but an empty folder, or pictures that were exported."""
    try:
        there = [one.name for one in to.iterdir()] if to.exists() else []
    except OSError as error:
        raise unwritable(to, error, "--png") from error
    own = [one for one in there if one == TARGETS or re.fullmatch(r"\d{6,}\.png", one)]
    if len(own) < len(there):
        refuse("png", "a folder for pictures alone", f"{to} with other files", "give another")
    if there and not force:
        refuse("png", "a new folder", to, "give another, or --force to replace what is in it")


def _name(number: int) -> str:
    return f"{number:06d}.png"


def _table(targets: list[str]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([("file", "target"), *((_name(n), one) for n, one in enumerate(targets))])
    return text.getvalue()


class Rounding:
    """What rounding to eight bits does to perturbed images, counted block by block."""

    def __init__(self) -> None:
        self.images = self.same_images = 0
        self._inputs = self._moved = self._same = 0
        self._squares = np.zeros(2)  # of rounding, of perturbation
        self._largest = np.zeros(2)

    def rounded(self, perturbed: HostArray, source: HostArray) -> HostArray:
        """The images (n, C, H, W) on [0, 1] as bytes; what that costs is counted."""
        level, before = (_bytes(one) for one in (perturbed, source))
        moved, same = perturbed != source, level == before
        for number, error in enumerate((level / WHITE - perturbed, perturbed - source)):
            self._squares[number] += np.square(error, dtype=np.float64).sum()
            self._largest[number] = max(self._largest[number], np.abs(error).max())
        self._inputs += moved.size
        self._moved += int(moved.sum())
        self._same += int((moved & same).sum())
        whole = (1, 2, 3)
        self.same_images += int((same.all(whole) & moved.any(whole)).sum())
        return level

    def as_json(self) -> dict[str, float]:
        """In units of a pixel, white is 1; `unchanged` is a share of the perturbed inputs."""
        rounding, perturbation = np.sqrt(self._squares / max(self._inputs, 1))
        return {
            "images": self.images,
            "rounding_rms": float(rounding),
            "rounding_largest": float(self._largest[0]),
            "perturbation_rms": float(perturbation),
            "perturbation_largest": float(self._largest[1]),
            "unchanged": self._same / max(self._moved, 1),
            "unchanged_images": self.same_images,
        }

    def __str__(self) -> str:
        one = self.as_json()
        return (
            f"warning: eight bits round a pixel by {one['rounding_rms']:.2g} (root mean square; at "
            f"most {one['rounding_largest']:.2g}), where the perturbation is "
            f"{one['perturbation_rms']:.2g} (at most {one['perturbation_largest']:.2g}); "
            f"{one['unchanged']:.1%} of the perturbed inputs come out unchanged, and "
            f"{self.same_images} of {self.images} images; --npz loses nothing"
        )


def _bytes(x: HostArray) -> HostArray:
    return np.asarray(np.clip(np.rint(x * WHITE), 0, WHITE), np.uint8)


def _png(pixels: HostArray) -> bytes:
    """A picture (C, H, W) of bytes, grey or colour, as a PNG file."""
    channels, height, width = pixels.shape
    rows = np.moveaxis(pixels, 0, -1).reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)  # 0: a row as it is, no filter
    colours = {1: 0, 2: 4, 3: 2, 4: 6}[channels]  # of two and four the last is taken for opacity
    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _pictures(result: Stored, place: Place) -> Pictures:
    """The perturbed images of a result; InputError where it holds none."""
    read = _READERS.get(result.config.experiment)
    if read is None:
        expected = f"a run of {' or '.join(_READERS)}, which holds images"
        refuse("run", expected, f"one of {result.config.experiment}", "use --npz, or another run")
    if result.attributes.get("data_sha256") != place.data_of(result.config):
        expected, got = "the images that the result was made from", "others"
        refuse(str(result.path), expected, got, "give the --data-dir that has them", StoreError)
    return read(result, place.inputs())


def _of_a_set(result: Stored, inputs: Inputs) -> Pictures:
    config = result.config_of(PerturbConfig)
    source = perturbed_set.source(config, split_of(inputs, config.dataset, "train"))
    x, target = perturbed_set.read_set(result)
    names = data_set(config.dataset).class_names

    def blocks() -> Iterator[tuple[HostArray, HostArray]]:
        for number in range(source.blocks):
            some = x[source.rows(number)]
            yield some, source.draw(number).reshape(some.shape)

    return Pictures([names[one] for one in target], blocks())


def _of_two_classes(result: Stored, inputs: Inputs) -> Pictures:
    config = result.config_of(ImagesConfig)
    samples = images.prepare(config, images.two_classes(config, inputs.images))
    shape = (-1, *data_set(config.dataset).shape)
    x = result.array(f"{SET}x", (-1, math.prod(shape[1:])))
    target = result.array(f"{SET}y", (len(x),))
    first, second = config.classes
    # from [-1, 1], of which centred samples lack their mean
    both = ((one + samples.mean + 1) / 2 for one in (x, samples.source.x[: len(x)]))
    perturbed, source = (one.reshape(shape) for one in both)
    return Pictures([first if one > 0 else second for one in target], iter([(perturbed, source)]))


_READERS: dict[str, Callable[[Stored, Inputs], Pictures]] = {
    "perturb": _of_a_set,
    "images": _of_two_classes,
}
