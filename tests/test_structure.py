"""The project's own promises: dependency directions, named tests, lazy imports, file sizes."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reflfap.audit import STATEMENTS

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted([*ROOT.glob("reflfap/**/*.py"), *ROOT.glob("data_loaders/**/*.py")])
LAYERS = [
    {"reflfap", "reflfap.errors"},
    {"reflfap.backend", "reflfap.host", "reflfap.monitor"},
    {"reflfap.checks", "reflfap.rng"},
    {"reflfap.losses", "data_loaders.artificial", "data_loaders"},
    {"reflfap.onehidden"},
    {"reflfap.norms"},
    {"reflfap.attacks"},
    {"reflfap.following", "reflfap.deep"},
    {"reflfap.training", "reflfap.theory"},
    {"reflfap.files", "reflfap.provenance", "data_loaders.registry"},
    {"reflfap.config", "reflfap.config_classify"},
    {"reflfap.config_perturbation"},
    {"reflfap.configs"},
    {"reflfap.experiments", "reflfap.checkpoints", "data_loaders.converted"},
    {"reflfap.store"},
    {"data_loaders.images", "data_loaders.embedded"},
    {"reflfap.mathml", "reflfap.audit_checks", "reflfap.progress"},
    {"reflfap.audit"},
    {"reflfap.audit_page"},
    {"reflfap.runs"},
    {"reflfap.stages", "reflfap.estimates"},
    {"reflfap.sweep"},
    {"reflfap.cli_run", "reflfap.cli_data"},
    {"reflfap.cli_sweep", "reflfap.cli_figures"},
    {"reflfap.cli"},
    {"reflfap.__main__"},
]


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
    """No module imports one of a higher layer; layers are those of docs/architecture."""
    own = layer(module_name(path))
    for name in imports(path):
        if name.split(".")[0] in ("reflfap", "data_loaders"):
            assert layer(name) <= own, f"{module_name(path)} imports {name}"


def test_special_rules():
    """attacks knows no network; experiments do no input or output; cupy stands in one place."""
    for path in MODULES:
        name, names = module_name(path), imports(path)
        if name == "reflfap.attacks":
            assert not names & {"reflfap.onehidden", "reflfap.training"}
        if name.startswith("reflfap.experiments"):
            assert not names & {"h5py", "reflfap.store", "reflfap.files", "tqdm"}
        libraries = {one.split(".")[0] for one in names}
        assert bool(libraries & {"cupy", "cupyx"}) == (name == "reflfap.backend"), name
        assert not names & {"torch", "pickle"}


def test_named_tests_exist():
    """Every test that a docstring names as its check is there."""
    named = set()
    for path in MODULES:
        text = re.sub(r"\s+", " ", path.read_text())
        for sentence in re.findall(r"Checked by (.*?)\.(?= |$|\")(?! ?py)", text):
            file = None
            for part in re.findall(r"(test_\w+\.py)|::(test_\w+)", sentence):
                file = part[0] or file
                if part[1]:
                    named.add((file, part[1]))
    assert len(named) > 20
    for file, test in sorted(named):
        source = ROOT / "tests" / file
        assert source.is_file(), file
        assert f"def {test}(" in source.read_text(), f"{file}::{test}"


def test_importing_is_light():
    """`import reflfap` and the numerical modules load neither h5py nor matplotlib nor cupy."""
    light = "reflfap reflfap.attacks reflfap.training.descent reflfap.training.flow"
    assert loaded(light, "h5py matplotlib cupy scipy tyro") == ""
    numerical = "reflfap.following reflfap.theory.kkt reflfap.theory.prediction"
    assert loaded(numerical, "h5py matplotlib cupy tyro") == ""


@pytest.mark.parametrize("first", ["", "sys.modules['cupy'] = None"], ids=["", "without"])
def test_no_module_needs_cupy(first):
    """All modules import, and none imports CuPy, whether it is there or not."""
    every = [module_name(path) for path in MODULES if path.name not in ("__main__.py", "make.py")]
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
    for path in [*MODULES, *ROOT.glob("figures/*.py")]:
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
    """docs/theory.md has a paragraph for each statement of the audit."""
    text = (ROOT / "docs" / "theory.md").read_text()
    for one in STATEMENTS:
        assert f"**{one.tag}**" in text, one.tag
