"""What is published and installed: a whole sdist, one top-level name, a demo beside other names."""

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest
from project import ROOT

import reflfap
from reflfap.figures import prediction, style

EXCEPTIONS = (
    ".ci/*",
    "reflfap/data_loaders",  # links: the folders are there in their place
    "reflfap/figures",
    "figures/rendered/*.pdf",
    "figures/rendered/*.png",  # together many megabytes: only README.md's are there
)
"""Of the tracked files, what the sdist does not have."""

README_PICTURES = set(re.findall(r"!\[[^]]*\]\((.+?)\)", (ROOT / "README.md").read_text()))


def test_the_citation_is_of_this_version():
    """And names the paper."""
    text = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r'^version: "(.+)"$', text, re.M) == [reflfap.__version__]
    assert "arXiv:2402.10470" in text


def test_the_index_shows_all_of_the_description():
    """Pictures and links to files beside it would not work there; where they lie is said."""
    text = (ROOT / "docs" / "index-description.md").read_text()
    assert "![" not in text
    assert all(link.startswith("https://") for link in re.findall(r"\]\((.*?)\)", text))
    assert set(re.findall(r"figures/rendered/[\w-]+\.png", text)) == README_PICTURES


def test_every_pattern_of_package_data_is_of_files():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for package, patterns in setup["options.package_data"].items():
        for pattern in patterns.split():
            assert list((ROOT / package.replace(".", "/")).glob(pattern)), f"{package}: {pattern}"


def test_the_released_points_come_with_the_package():
    """All that are known, with a word on their origin; no reference is needed to draw them."""
    assert len(prediction.released_points(None)) == 88
    assert "arXiv:2402.10470" in (style.RENDERED / "released_points.csv").read_text()


def test_the_sdist_has_every_tracked_file(tmp_path):
    """But for the exceptions above; data_loaders and figures lie where they are imported from."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0 or not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    command = "from setuptools import setup; setup()", "-q", "egg_info", "--egg-base", tmp_path
    subprocess.run([sys.executable, "-c", *command], cwd=ROOT, check=True)
    listed = set((tmp_path / "reflfap.egg-info" / "SOURCES.txt").read_text().splitlines())
    tracked = done.stdout.splitlines()
    missing = {name for name in tracked if not {name, f"reflfap/{name}"} & listed}
    assert {name for name in missing if not any(fnmatch(name, one) for one in EXCEPTIONS)} == set()
    assert listed >= README_PICTURES


class Built(NamedTuple):
    """An sdist, the same unpacked, and wheels made from it and from the tree."""

    sdist: Path
    unpacked: Path
    wheel: Path
    wheel_of_the_tree: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Built:
    """Built from a copy: what git ignores is left behind, and nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("built")
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    left = shutil.ignore_patterns(".git", *ignored)
    tree = shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=left)
    sdist = build("sdist", tree)
    with tarfile.open(sdist) as file:
        file.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    return Built(sdist, unpacked, build("wheel", unpacked), build("wheel", tree))


def build(kind: str, source: Path) -> Path:
    """The file that the build backend makes, without the network."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}('dist-{kind}')"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True)
    (made,) = (source / f"dist-{kind}").iterdir()
    return made


def environment(folder: Path, *paths: Path) -> Path:
    """The Python of a new environment that has these paths, then our dependencies, but not us.

    Folders named in a .pth file are searched, but their own .pth files are not read: an editable
    installation of this project is not seen.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "paths.pth").write_text("\n".join([*map(str, paths), *dependencies]))
    return folder / "bin" / "python"


def install(python: Path, file: Path) -> None:
    """Into that environment alone: --ignore-installed, as pip would else remove what it finds."""
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", *offline, file]
    subprocess.run(command, check=True)


@pytest.mark.slow
def test_the_wheel_has_one_top_level_name(built):
    """All modules and their data, no pictures, and the same whether made from tree or sdist."""
    names = set(zipfile.ZipFile(built.wheel).namelist())
    assert names == set(zipfile.ZipFile(built.wheel_of_the_tree).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"reflfap"}
    expected = {"reflfap/py.typed", "reflfap/figures/rendered/released_points.csv"}
    expected.add("reflfap/data_loaders/embedded/LICENSE-fashion-mnist")
    for pattern in (
        "**/*.py",
        "**/*.pyi",
        "*/*.toml",
        "*/*.css",
        "*/*/*.gz",
        "figures/rendered/*.csv",
        "figures/explorable/*.*",
    ):
        found = list((built.unpacked / "reflfap").glob(pattern))
        expected |= {path.relative_to(built.unpacked).as_posix() for path in found}
    assert {name for name in names if name.startswith("reflfap/")} == expected
    assert built.wheel.stat().st_size < 2e6
    assert built.sdist.stat().st_size < 4e6


DEMO = "run artificial --n-adv 1000 --hidden 20 --dim 200 --n 50 --figure --out results"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_an_installation_runs_beside_other_names(built, kind, tmp_path):
    """The demo, in a folder with its own figures/ and data_loaders.py; then the audit."""
    python = environment(tmp_path / "clean")
    install(python, getattr(built, kind))
    folder = tmp_path / "elsewhere"
    (folder / "figures").mkdir(parents=True)
    for name in ("figures/__init__.py", "data_loaders.py"):
        (folder / name).write_text("raise AssertionError('not of reflfap')\n")
    code = "import reflfap.figures, reflfap.data_loaders; print(reflfap.figures.__file__)"
    command = [python, "-c", code]
    found = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    assert Path(found.stdout.strip()).is_relative_to(tmp_path / "clean")
    for words in (DEMO, "figures prediction", "audit"):
        subprocess.run([python.parent / "reflfap", *words.split()], cwd=folder, check=True)
    results = folder / "results"
    assert len(list(results.glob("artificial/*/result.h5"))) == 1
    assert len(list(results.glob("artificial/*/decision_map.p*"))) == 2
    assert (results / "figures" / "prediction.png").exists()


@pytest.mark.slow
def test_the_tests_run_from_the_sdist(built, tmp_path):
    """All are found there; those of the project, the paper and the audit run."""
    python = environment(tmp_path / "clean", built.unpacked)
    some = ("tests/project", "tests/paper", "tests/audit")
    for words in (["--collect-only"], ["-m", "not slow", *some]):
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
        subprocess.run(command, cwd=built.unpacked, check=True)
