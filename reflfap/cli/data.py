"""`reflfap data ...`: which image sets there are, fetching them, checking what is there."""

from pathlib import Path

import tyro

from reflfap.cli.run import print_json
from reflfap.data_loaders import download, registry
from reflfap.data_loaders.images import check_converted, convert
from reflfap.errors import ReflfapError
from reflfap.terminal import tell


def list_data(data_dir: Path | None = None, json: bool = False) -> None:
    """List the image sets, their licences, and whether they are there.

    Args:
        data_dir: folder of the data sets; default: REFLFAP_DATA, else the platform's cache
        json: print one JSON list on standard output
    """
    rows = []
    for name, about in registry.DATA_SETS.items():
        states = {
            status.partition(",")[0].split()[0] for _, status in download.check(name, data_dir)
        }
        state = "there" if states == {"good"} else ", ".join(sorted(states))
        if converted := check_converted(name, data_dir):
            good = {status for _, status in converted} == {"good"}
            state += ", HDF5" if good else ", HDF5 differs"
        rows.append({"name": name, "state": state, "title": about.title, "licence": about.licence})
    if json:
        print_json(rows)
    for row in () if json else rows:
        tell(f"{row['name']:<14} {row['state']:<14} {row['title']} ({row['licence']})")


def fetch_data(name: tyro.conf.Positional[str], data_dir: Path | None = None) -> None:
    """Download an image set from its official address or a mirror, and check it.

    Args:
        name: mnist, fashion-mnist or cifar-10
        data_dir: folder of the data sets; default: REFLFAP_DATA, else the platform's cache
    """
    download.fetch(name, data_dir)
    tell(f"{name} is there: {registry.place(name, data_dir)}")


def convert_data(name: tyro.conf.Positional[str], data_dir: Path | None = None) -> None:
    """Write an image set as HDF5, without archives and with its digest, beside its files.

    Args:
        name: mnist, fashion-mnist or cifar-10
        data_dir: folder of the data sets; default: REFLFAP_DATA, else the platform's cache
    """
    for split in ("train", "test"):
        tell(convert(name, split, data_dir))


def check_data(
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    data_dir: Path | None = None,
    json: bool = False,
) -> None:
    """Check the files of image sets against published checksums, and HDF5 against what it is made
    from. Exit code 1 if one differs.

    Args:
        names: image sets; all that are there if none is given
        data_dir: folder of the data sets; default: REFLFAP_DATA, else the platform's cache
        json: print one JSON list on standard output
    """
    wrong, rows = 0, []
    for name in names or registry.DATA_SETS:
        for file, status in (*download.check(name, data_dir), *check_converted(name, data_dir)):
            rows.append({"name": name, "file": file, "status": status})
            if not json:
                tell(f"{name:<14} {file:<28} {status}")
            wrong += status != "good" and (status != "missing" or bool(names))
    if json:
        print_json(rows)
    if wrong:
        remedy = "run `reflfap data fetch`, or `convert` for HDF5"
        raise ReflfapError(f"data: {wrong} files differ or are missing; {remedy}")
