"""Image sets from archives, from CIFAR-10's extracted folder, and from HDF5: seconds and memory.

    python -m benchmarks.loading [mnist] [fashion-mnist] [cifar-10]

Needs REFLFAP_DATA with the sets named; without names all three. Copies go to a temporary folder.
Archive and HDF5 are read in turn; the files are in the system's cache. Memory is the growth of the
peak resident size of a process that loads the set once, as a multiple of its array of images; it
contains what decoders hold, and is read from /proc, so it is measured on Linux only.
"""

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.timing import paired, print_machine
from data_loaders import cifar, images

RUNS = {"mnist": 9, "fashion-mnist": 9, "cifar-10": 3}  # xz takes 10 s
LOAD = """
import sys
from pathlib import Path
from data_loaders.images import load

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

load("embedded", "test")
before = peak()
found = load(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
print((peak() - before) / found.images.nbytes)
"""


def main(names: list[str]) -> None:
    print_machine()
    data = os.environ.get("REFLFAP_DATA")
    if data is None:
        print("REFLFAP_DATA is not set: nothing to load")
        return
    print(f"{'':19}{'archive':>9}{'folder':>9}{'HDF5':>9}{'ratio (least to most)':>24}", end="")
    print(f"{'memory: archive, folder, HDF5':>32}")
    with tempfile.TemporaryDirectory() as temporary:
        for name in names or RUNS:
            places = prepare(name, Path(data) / name, Path(temporary))
            for split in images.SPLITS:
                report(name, split, places)


def prepare(name: str, data: Path, work: Path) -> dict[str, Path]:
    """Folders that hold the set in one form each, named by the form."""
    forms = ("archive", "folder", "HDF5") if name == "cifar-10" else ("archive", "HDF5")
    places = {form: work / form for form in forms}
    for place in places.values():
        (place / name).mkdir(parents=True)
    packed = [file for file in data.iterdir() if file.suffix in (".gz", ".xz", ".bz2")]
    for file in packed:
        (places["archive"] / name / file.name).symlink_to(file)
    if name == "cifar-10":
        with tarfile.open(packed[0]) as archive:
            archive.extractall(places["folder"] / name, filter="data")
        packed = [places["folder"] / name / cifar.FOLDER]
    links = [places["HDF5"] / name / file.name for file in packed]
    for link, file in zip(links, packed, strict=True):
        link.symlink_to(file)
    for split in images.SPLITS:
        images.convert(name, split, places["HDF5"])
    for link in links:
        link.unlink()
    return places


def report(name: str, split: str, places: dict[str, Path]) -> None:
    def load(form: str) -> images.ImageSet:
        return images.load(name, split, places[form])

    assert load("archive").sha256 == load("HDF5").sha256
    times = paired(lambda: load("HDF5"), lambda: load("archive"), RUNS[name])
    folder = ""
    if "folder" in places:
        folder = f"{paired(lambda: load('HDF5'), lambda: load('folder'), 9).b:.3f}"
    ratio = f"{times.ratio:.1f} ({times.least:.1f} to {times.most:.1f})"
    memory = ", ".join(f"{memories(name, split, place):.2f}" for place in places.values())
    print(f"{name:<14}{split:<5}{times.b:9.3f}{folder:>9}{times.a:9.3f}{ratio:>24}{memory:>32}")


def memories(name: str, split: str, place: Path) -> float:
    command = [sys.executable, "-c", LOAD, name, split, str(place)]
    done = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    return statistics.median(float(one.stdout) for one in done)


if __name__ == "__main__":
    main(sys.argv[1:])
