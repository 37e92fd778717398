"""The figure, the page and the table of all pairs: what they show is what was computed."""

import csv
import itertools
import re

import numpy as np
import pytest

from reflfap.errors import InputError
from reflfap.experiments.experiment import canonical_json
from reflfap.experiments.images import SCENARIOS, ImagesConfig
from reflfap.figures import pairs
from reflfap.runs.store import folder_for, write
from reflfap.sweep import grid

ABOUT = {
    **dict.fromkeys(("backend", "device", "dtype", "blas", "versions_json"), "x"),
    "threads": 1,
    "source_revision": "x",
    "wall_seconds": 1.0,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Cells of which every number tells the classes, the scenario and the size; one is missing."""
    out = tmp_path_factory.mktemp("results")
    cells = grid.from_preset(ImagesConfig, "pairs-embedded")
    for config in [*cells[1:], ImagesConfig(), grid.from_preset(ImagesConfig, "pairs-mnist")[7]]:
        first, second = map(int, config.classes)
        number = first / 10 + second / 100 + (config.size > 5) / 1000
        metrics = dict.fromkeys(pairs.KEPT, 0.9)
        metrics["acc_adversarial_test"] = number * (SCENARIOS.index(config.scenario) + 1) / 3
        if config.scenario == "natural-flipped":
            metrics["flip_threshold"] = 2.5
        text = canonical_json(config)
        write(folder_for(out, "images", text), text, ABOUT, metrics, {})
    return out


def test_panels(results):
    """Each cell in its own square, in one triangle; foreign cells nowhere."""
    found = pairs.complete_pairs(results)
    assert {name: len(some) for name, some in found.items()} == {"embedded": 269, "mnist": 1}
    sizes = pairs.sizes_of(found["embedded"])
    assert sizes == pytest.approx([0.05 * 28, 0.4 * 28])
    for (index, scenario), size in itertools.product(enumerate(SCENARIOS), sizes):
        square = pairs.matrix(pairs.chosen(found["embedded"], scenario, size))
        missing = [(0, 1)] if (scenario, size) == (SCENARIOS[0], sizes[0]) else []
        assert np.isnan(square[np.triu_indices(10)]).all()
        for i, j in itertools.combinations(range(10), 2):
            expected = (i / 10 + j / 100 + (size > 5) / 1000) * (index + 1) / 3
            if (i, j) in missing:
                assert np.isnan(square[j, i])
            else:
                assert square[j, i] == pytest.approx(expected)


def test_cells_of_other_folders(results, tmp_path):
    """A table of another folder stands for its cells, to four decimals; own results go first."""
    pairs.write(results, tmp_path / "p.md", tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "pairs.csv").rename(tmp_path / "tables" / "pairs.csv")
    there, found = pairs.complete_pairs(results), pairs.complete_pairs(tmp_path)
    for dataset, some in there.items():
        assert [pair.config for pair in some] == [pair.config for pair in found[dataset]]
        for one, other in zip(some, found[dataset], strict=True):
            assert one.metrics == pytest.approx(other.metrics, abs=5.1e-5)
    (own,) = there["mnist"]
    text = canonical_json(own.config)
    write(
        folder_for(tmp_path, "images", text), text, ABOUT, own.metrics | {"acc_noise_test": 0}, {}
    )
    assert pairs.complete_pairs(tmp_path)["mnist"][0].metrics["acc_noise_test"] == 0


def test_page_table_and_pictures(results, tmp_path):
    """Everything is written, with the reading kept; summaries follow from the rows."""
    (tmp_path / "p-reading.md").write_text("What we read.\n")
    paths = pairs.write(results, tmp_path / "p.md", tmp_path)
    assert {path.name for path in paths} >= {"p.md", "pairs.csv", "pairs_embedded.png"}
    assert all(path.stat().st_size > 0 for path in paths)
    with open(tmp_path / "pairs.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "embedded"]
    assert len(rows) == 269
    assert None not in rows[0]  # as many names as values
    for row in rows:
        flips = row["scenario"] == "natural-flipped"
        assert row["flip_threshold"] == ("2.5000" if flips else "")
    text = (tmp_path / "p.md").read_text()
    assert "What we read." in text
    last = [row for row in rows if row["scenario"] == SCENARIOS[-1] and float(row["epsilon"]) > 5]
    got = np.asarray([float(row["acc_adversarial_test"]) for row in last])
    line = next(line for line in text.splitlines() if line.startswith(f"| {SCENARIOS[-1]} | 11.2 "))
    words = [word.strip() for word in line.strip("|").split("|")]
    assert float(words[4]) == pytest.approx(got.mean(), abs=6e-4)
    assert words[7:] == [f"{np.sum(got >= 0.88)} of 45", str(np.sum(got < 0.5))]
    assert re.search(r"\| T-shirt/top, Trouser \| 0.900 \| – \|.*\| 2.50 \|", text)
    assert pairs.page(pairs.complete_pairs(results), ".", "What we read.") == text


def test_nothing_to_show(tmp_path):
    with pytest.raises(InputError, match="pairs-mnist"):
        pairs.complete_pairs(tmp_path)
