"""The project's own promises: one-way arrows, plain names, light imports, short files."""

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from project import ROOT

from reflfap.audit.statements import BEYOND, STATEMENTS
from reflfap.experiments import registry

_FOLDERS = os.walk(ROOT / "reflfap", followlinks=True)  # data_loaders and figures are links
MODULES = sorted(Path(at) / one for at, _, names in _FOLDERS for one in names if one[-3:] == ".py")
PACKAGE = [path for path in MODULES if "figures" not in path.parts]
LAYERS = [
    {"reflfap", "reflfap.errors", "reflfap.terminal"},
    {"reflfap.files"},
    {"reflfap.backend", "reflfap.machine", "reflfap.monitor"},
    {"reflfap.paper", "reflfap.checks", "reflfap.rng"},
    {"reflfap.wide"},
    {"reflfap.losses", "reflfap.data_loaders"},  # the light ones: tables, formats, arrays
    {"reflfap.onehidden", "reflfap.norms", "reflfap.float16"},
    {"reflfap.attacks"},
    {"reflfap.fast"},
    {"reflfap.deep"},
    {"reflfap.training"},
    {"reflfap.theory"},
    {"reflfap.sealed"},
    {
        "reflfap.data_loaders.chunked",
        "reflfap.data_loaders.converted",
        "reflfap.data_loaders.download",
        "reflfap.data_loaders.own_files",
        "reflfap.data_loaders.own_images",
        "reflfap.data_loaders.own_perturbed",
        "reflfap.data_loaders.own_tables",
    },
    {"reflfap.data_loaders.images", "reflfap.data_loaders.embedded"},
    {"reflfap.experiments"},
    {"reflfap.audit", "reflfap.runs"},
    {"reflfap.sweep"},
    {"reflfap.figures"},
    {"reflfap.library"},
    {"reflfap.estimator", "reflfap.plot"},
    {"reflfap.cli"},
    {"reflfap.__main__"},
]
"""What stands on what: a module imports its own layer and those before it."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def layer(name: str) -> int:
    """The layer of a module, or of the nearest package above it."""
    while name:
        for level, names in enumerate(LAYERS):
            if name in names:
                return level
        name = name.rpartition(".")[0]
    raise AssertionError("unknown module")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            is_module = {
                name
                for name in below
                if (ROOT / Path(*name.split("."))).is_dir()
                or (ROOT / Path(*name.split("."))).with_suffix(".py").is_file()
            }
            found |= is_module or {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_dependencies_run_one_way(path):
    """No module imports one of a higher layer, not even inside a function."""
    own = layer(module_name(path))
    for name in imports(path):
        if name.split(".")[0] == "reflfap":
            assert layer(name) <= own, f"{module_name(path)} imports {name}"


def test_there_is_no_circle():
    """Modules can be put in an order in which each imports earlier ones only."""
    arrows = {module_name(path): imports(path) for path in MODULES}
    arrows = {name: {one for one in found if one in arrows} for name, found in arrows.items()}
    while free := [name for name, found in arrows.items() if not found - {name}]:
        for name in free:
            del arrows[name]
        arrows = {name: found.difference(free) for name, found in arrows.items()}
    assert not arrows


def test_special_rules():
    """attacks knows no network; experiments do no input or output; cupy stands in one place;
    paper.py knows nothing but how an array's library is found, wide.py that and paper.py."""
    for path in PACKAGE:
        name, names = module_name(path), imports(path)
        if name == "reflfap.attacks":
            assert not names & {"reflfap.onehidden", "reflfap.training"}
        if name.startswith("reflfap.experiments"):
            assert not names & {"h5py", "reflfap.runs.store", "reflfap.sealed", "tqdm"}
        if name == "reflfap.paper":
            assert {one for one in names if one.startswith("reflfap")} == {"reflfap.backend"}
        if name == "reflfap.wide":
            own = {one for one in names if one.startswith("reflfap")}
            assert own == {"reflfap.backend", "reflfap.paper"}
        libraries = {one.split(".")[0] for one in names}
        assert bool(libraries & {"cupy", "cupyx"}) == (name == "reflfap.backend"), name
        assert not names & {"torch", "pickle"}


PAGES = [ROOT / "reflfap" / name for name in ("paper.py", "wide.py")]
MEANS_THE_SAME = {
    *("compute", "cost", "before"),  # of an experiment, as in experiments.experiment
    "settled",  # the config of a command line with what its files say
    *("cell", "shared", "shared_network"),  # of a cell, for each kind of data
}


def test_a_public_name_means_one_thing():
    """No two modules of the package define one public name, but for what means the same."""
    places = defaultdict(list)
    for path in PACKAGE:
        if path in PAGES or path.name == "library.py":  # which state, and offer, what others do
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module_name(path))
    several = {name for name, found in places.items() if len(found) > 1}
    assert several == MEANS_THE_SAME


def test_experiments_are_not_told_apart_by_their_types():
    """But in two places: where a result is read as one of a kind, and for a picture's title."""
    found = []
    for path in MODULES:
        asked = re.findall(r"isinstance\([^()]*(?:Config|kind)\)", path.read_text())
        found += [module_name(path)] * sum(
            "self.config" in one or "Config)" in one for one in asked
        )
    assert set(found) <= {"reflfap.experiments.experiment", "reflfap.figures.learning_curves"} | {
        "reflfap.cli.run"  # a stage that is a config, and not the id of a run
    }


def test_tests_name_their_tags():
    """Each statement is named by tests of the quick code and by one of paper.py, but for (R), (A)
    and (C), which are not the paper's."""
    quick, stated = "", ""
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text())
        texts = [ast.get_docstring(one) or "" for one in ast.walk(tree) if isinstance(one, _NAMED)]
        if path.parent.name == "paper":
            stated += "\n".join(texts)
        else:
            quick += "\n".join(texts)
    for one in STATEMENTS:
        assert one.tag in stated or one.tag in BEYOND, one.tag
        assert one.tag in quick, one.tag


_NAMED = (ast.FunctionDef, ast.Module)


def test_importing_is_light():
    """`import reflfap`, numerics, and any experiment's config load no h5py, matplotlib, cupy."""
    light = "reflfap reflfap.paper reflfap.attacks reflfap.training.descent reflfap.training.flow"
    assert loaded(light, "h5py matplotlib cupy scipy tyro") == ""
    numerical = "reflfap.fast.linear_updates reflfap.theory.kkt reflfap.theory.prediction"
    experiments = " ".join(registry.MODULES.values())
    heavy = "h5py matplotlib cupy tyro pooch"
    assert loaded(f"{numerical} {experiments} reflfap.data_loaders.registry", heavy) == ""
    assert loaded("reflfap.runs.store", "reflfap.training reflfap.theory matplotlib tyro") == ""


@pytest.mark.parametrize("first", ["", "sys.modules['cupy'] = None"], ids=["", "without"])
def test_no_module_needs_cupy(first):
    """All modules import, and none imports CuPy, whether it is there or not."""
    every = [module_name(path) for path in PACKAGE if path.name not in ("__main__.py", "make.py")]
    assert loaded(" ".join(every), "cupyx cupy_backends", first) == ""


def loaded(modules: str, others: str, first: str = "") -> str:
    """Which of `others` an interpreter has loaded after it imported `modules`."""
    code = (
        f"import os, sys\n{first}\nfrom importlib import import_module\n"
        f"for name in {modules.split()}: import_module(name)\n"
        f"print(*sorted(set({others.split()}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_files_and_functions_are_short():
    """A page of thought: 350 lines a file, 60 a function with its docstring."""
    for path in MODULES:
        text = path.read_text()
        assert len(text.splitlines()) <= 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 60, f"{path}: {node.name}"


def test_documented_functions_exist():
    """Each [`module.function`](../path) of the pages names a function of that file."""
    count = 0
    for page in ROOT.glob("docs/*.md"):
        for name, path in re.findall(r"\[`\w+\.(\w+)`\]\(\.\./([\w/]+\.py)\)", page.read_text()):
            count += 1
            assert f"def {name}(" in (ROOT / path).read_text(), f"{page.name}: {path} {name}"
    assert count > 20


def test_every_tag_is_explained():
    """docs/theory.md or docs/wide.md has a paragraph for each statement of the audit."""
    text = "".join((ROOT / "docs" / name).read_text() for name in ("theory.md", "wide.md"))
    for one in STATEMENTS:
        assert f"**{one.tag}**" in text, one.tag


def test_best_epochs_stand_beside_last_ones():
    """A best epoch is chosen on test data. So wherever our own is quoted, the last one is, too."""
    count = 0
    for name in ("README.md", "docs/perturbation-reading.md"):
        for head in re.findall(r"^\|.*best epoch.*$", (ROOT / name).read_text(), re.MULTILINE):
            count += 1
            assert "last epoch" in head, f"{name}: {head}"
        for one in re.split(r"\n\n|\n(?=- )|(?<=[.;]) (?=[A-Z])", (ROOT / name).read_text()):
            text = " ".join(one.split())
            if re.search(r"(?<!released, )best epoch (of \d+ )?\(?0\.", text):
                count += 1
                assert re.search(r"\blast\b", text), f"{name}: {text}"
    assert count >= 4
