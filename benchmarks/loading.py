"""Image sets from archives, from CIFAR-10's extracted folder, and from HDF5: seconds and memory.

    python -m benchmarks.loading [mnist] [fashion-mnist] [cifar-10]

Needs REFLFAP_DATA with the sets named; without names all three. Copies go to a temporary folder,
of CIFAR-10 also a .tar.gz, which is what its authors publish, if the archive at hand is another.
Each form is read in turn with HDF5; the files are in the system's cache. Memory is the growth of
the peak resident size of a process that loads the set once, as a multiple of its array of images;
it contains what decoders hold, and is read from /proc, so it is measured on Linux only.
"""

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks.timing import paired, print_machine
from reflfap.data_loaders import cifar, images

NAMES = ("mnist", "fashion-mnist", "cifar-10")
LOAD = """
import sys
from pathlib import Path
from reflfap.data_loaders.images import load

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
    print(f"{'':20}{'from':<9}{'seconds':>8}{'to HDF5 (least to most)':>26}{'memory':>8}")
    with tempfile.TemporaryDirectory() as temporary:
        for name in names or NAMES:
            places = prepare(name, Path(data) / name, Path(temporary))
            for split in images.SPLITS:
                for form in places:
                    report(name, split, form, places)


def prepare(name: str, data: Path, work: Path) -> dict[str, Path]:
    """Folders that hold the set in one form each, named by the form."""
    packed = [file for file in data.iterdir() if file.suffix in (".gz", ".xz", ".bz2")]
    places = {packed[0].suffix[1:]: link(packed, work / "packed" / name)}
    originals = packed
    if name == "cifar-10":
        with tarfile.open(packed[0]) as archive:
            archive.extractall(work / "folder" / name, filter="data")
        originals = [work / "folder" / name / cifar.FOLDER]
        if "gz" not in places:
            (work / "gz" / name).mkdir(parents=True)
            with tarfile.open(work / "gz" / name / "cifar-10-binary.tar.gz", "w:gz") as archive:
                archive.add(originals[0], cifar.FOLDER)
            places["gz"] = work / "gz"
        places["folder"] = work / "folder"
    places["HDF5"] = link(originals, work / "HDF5" / name)
    for split in images.SPLITS:
        images.convert(name, split, places["HDF5"])
    for file in originals:
        (places["HDF5"] / name / file.name).unlink()
    return places


def link(files: list[Path], folder: Path) -> Path:
    """Links to the files in `folder`; the folder above it."""
    folder.mkdir(parents=True)
    for file in files:
        (folder / file.name).symlink_to(file)
    return folder.parent


def report(name: str, split: str, form: str, places: dict[str, Path]) -> None:
    def load(form: str) -> images.ImageSet:
        return images.load(name, split, places[form])

    assert load(form).sha256 == load("HDF5").sha256
    times = paired(lambda: load("HDF5"), lambda: load(form), 3 if form == "xz" else 9)
    ratio = f"{times.ratio:.1f} ({times.least:.1f} to {times.most:.1f})" if form != "HDF5" else ""
    memory = memories(name, split, places[form])
    print(f"{name:<14}{split:<6}{form:<9}{times.b:8.3f}{ratio:>26}{memory:8.2f}", flush=True)


def memories(name: str, split: str, place: Path) -> float:
    command = [sys.executable, "-c", LOAD, name, split, str(place)]
    done = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
    return statistics.median(float(one.stdout) for one in done)


if __name__ == "__main__":
    main(sys.argv[1:])
