"""The code on the pages for users runs as it stands there."""

import contextlib
import importlib
import re
import subprocess
import sys

import numpy as np
import pytest
from project import ROOT

from reflfap.cli import main as cli


def code_of(page):
    """All Python on a page, one block after the other."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # of scikit-learn
def test_the_page_of_the_interface(capsys):
    """What it prints is what it says."""
    pytest.importorskip("sklearn")
    blocks, names = code_of("docs/library.md"), {}
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr().out
    assert "loss=0.00102, accuracy=1.000" in said
    shares = [float(one) for one in re.findall(r"Perturbed\(.*success=([0-9.]+)", said)]
    stated = re.search(r"# ([0-9.]+), ([0-9.]+) and ([0-9.]+) of them", "".join(blocks))
    expected = [float(one) for one in stated.groups()]
    assert shares == pytest.approx(expected, abs=0.05)  # two of fifty: BLAS kernels differ


@pytest.fixture
def cancer(tmp_path, monkeypatch):
    """The file cancer.csv in the current folder, as the pages say."""
    datasets = pytest.importorskip("sklearn.datasets")
    monkeypatch.chdir(tmp_path)
    table = datasets.load_breast_cancer()
    rows = np.c_[table.data.astype(str), table.target_names[table.target]]
    header = ",".join([*table.feature_names, "diagnosis"])
    lines = "\n".join([header, *map(",".join, rows)])
    (tmp_path / "cancer.csv").write_text(lines)


@pytest.mark.usefixtures("cancer")
def test_the_five_lines_of_the_readme(capsys):
    """They print the test accuracy that stands below them, and the others that stand there."""
    (block,) = code_of("README.md")
    assert len([line for line in block.splitlines() if line]) == 5
    names = {}
    exec(block, names)
    said, text = float(capsys.readouterr().out), (ROOT / "README.md").read_text()
    assert said == pytest.approx(float(re.search(r"This prints ([0-9.]+)\.\s", text)[1]), abs=0.03)
    stated = re.search(
        r"network is right for\s+([0-9.]+), .*? class is right for ([0-9.]+)\.\s", text, re.DOTALL
    )
    metrics = names["found"].metrics
    assert metrics["acc_standard_test"] == pytest.approx(float(stated[1]), abs=0.03)
    assert metrics["share_larger_test"] == pytest.approx(float(stated[2]), abs=0.001)


@pytest.mark.usefixtures("cancer")
def test_the_guide(tmp_path, capsys):
    """Five lines, one import, and the map: the numbers that it shows are those that come out."""
    first = code_of("docs/your-data.md")[0]
    assert len([line for line in first.splitlines() if line]) == 5
    exec(first, {})
    page = (ROOT / "docs" / "your-data.md").read_text()
    said = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert len(said) == 4
    for line in said:
        network, _, number = line.partition(": ")
        stated = re.search(rf"{re.escape(network)}(?:: ([0-9.]+))?", page)
        assert stated, line
        if number and "noise" not in network:  # to some samples: BLAS kernels differ
            assert float(number.split()[0]) == pytest.approx(float(stated[1]), abs=0.03)
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_the_page_on_reading_results(tmp_path, monkeypatch):
    """Its lines read and verify a result without the package, and find a bit that has changed."""
    monkeypatch.chdir(tmp_path)
    sizes = ["--dim=20", "--hidden=6", "--n=5", "--n-adv=7"]
    assert cli.main(["run", "artificial", *sizes]) == 0
    alone = "import sys\nassert not [one for one in sys.modules if one.startswith('reflfap')]\n"
    code = "".join([*code_of("docs/reading-results.md"), alone])

    def read():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    said = read()
    assert said.returncode == 0, said.stderr
    assert "data/adversarial/x | (7, 20) | float32 | sample, input | data units" in said.stdout
    assert re.search(r"^[01]\.[0-9]+ predicted: 0\.[0-9]+$", said.stdout, re.MULTILINE)
    (path,) = tmp_path.glob("results/artificial/*/result.h5")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "AssertionError" in read().stderr


def test_the_page_of_deep_networks(capsys):
    """Its code runs: with one epoch for ten, and an attack on few images, which some resist."""
    (code,) = code_of("docs/deep-networks.md")
    for stands, shorter in (
        ("epochs=10", "epochs=1"),
        ("attack(margin, x,", "attack(margin, x[:8],"),
    ):
        assert stands in code
        code = code.replace(stands, shorter)
    exec(code.replace(", target, L2", ", target[:8], L2"), {})
    assert 0 <= float(capsys.readouterr().out) < 1  # of a network that has hardly learned


FOLDERS = ["", *sorted(f"{path.name}." for path in (ROOT / "reflfap").iterdir() if path.is_dir())]


def resolves(name):
    """Whether a dotted name is something in the package, at its top or in one of its folders."""
    for folder in FOLDERS:
        *parts, last = ("reflfap." + folder + name).split(".")
        for count in range(len(parts), 1, -1):
            with contextlib.suppress(ImportError):
                found = importlib.import_module(".".join(parts[:count]))
                with contextlib.suppress(AttributeError, ImportError):
                    for part in parts[count:]:
                        found = getattr(found, part)
                    if hasattr(found, last) or importlib.import_module(f"{found.__name__}.{last}"):
                        return True
    return False


@pytest.mark.parametrize("page", sorted(path.name for path in ROOT.glob("docs/*.md")))
def test_named_code_is_there(page):
    """What tables of code say is where: every `module.name` in a row beside what it does."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\|.* (?:code|quick and checked) \|.*\n(?:\|.*\n)+", text, re.MULTILINE)
    names = re.findall(r"`((?!net\.)[a-z_]+(?:\.\w+)+)`", "".join(rows))
    assert [name for name in names if not resolves(name) and not name.endswith(".py")] == []


def test_what_resolves():
    assert resolves("kkt.aligned_kkt")
    assert resolves("deep.cost")
    assert not resolves("deep.team")
    assert not resolves("kkt.aligned")
