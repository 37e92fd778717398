"""Pictures and page of networks that learned perturbed images, tested as data."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import perturbed_results as made
import pytest
from grids import CENTRE, store_cells
from perturbed_results import config, tables_of

from reflfap.data_loaders.images import load
from reflfap.data_loaders.registry import DATA_SETS
from reflfap.errors import InputError
from reflfap.experiments import perturbed_set
from reflfap.experiments.deep_training import split_of
from reflfap.experiments.experiment import Inputs
from reflfap.experiments.images import ImagesConfig
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import SCENARIOS, PerturbConfig
from reflfap.figures import (
    noise_samples,
    perturbation,
    perturbation_bridge,
    perturbation_confusion,
    perturbation_curves,
    perturbation_gallery,
    perturbation_page,
    registry,
    results_page,
    style,
)
from reflfap.figures.perturbation_released import Released
from reflfap.runs import running


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    made.store_learnt(out, made.grid())
    return out


@pytest.fixture(scope="module")
def cells(results):
    return perturbation.known_cells(results)


def test_curves_show_every_seed(cells):
    """Lines are the stored accuracies by epoch; what is drawn is their mean."""
    panels = perturbation_curves.compute(cells, "embedded")
    assert list(panels) == list(SCENARIOS)
    figure = perturbation_curves.draw(panels, "embedded")
    for (scenario, panel), axes in zip(panels.items(), figure.axes, strict=True):
        assert list(panel.lines) == [*made.NORMS, None]
        drawn = {line.get_label(): line for line in axes.lines}
        for norm, line in panel.lines.items():
            size = {} if norm else {"epsilon": 0}
            some = [config(scenario, norm or "l2", seed, **size) for seed in (0, 1)]
            expected = np.asarray([made.course(one) for one in some])
            assert np.array_equal(line.accuracy, expected)
            name = perturbation.NORMS[norm] if norm else perturbation_curves.UNPERTURBED
            assert np.array_equal(drawn[name].get_ydata(), expected.mean(axis=0))
            assert list(drawn[name].get_xdata()) == [1, 2, 3, 4]
        assert list(drawn["chance"].get_ydata()) == [0.1, 0.1]
    none = [cell._replace(curves=None) for cell in cells]
    with pytest.raises(InputError, match=r"figures\.perturbation"):
        perturbation_curves.compute(none, "embedded")


def test_a_released_mark_means_one_thing():
    """Best, last and unnamed epochs differ in look and words; side by side, norms never overlap."""
    looks = perturbation_curves.RELEASED
    assert len({(look["marker"], look["fillstyle"]) for look in looks.values()}) == len(looks) == 3
    assert len({look["label"] for look in looks.values()}) == 3
    line = perturbation_curves.Line(setting=None, accuracy=np.zeros((1, 4)))
    some = {norm: [Released(1, 0.7, epoch) for epoch in looks] for norm in perturbation.NORMS}
    axes = plt.figure().add_subplot()
    perturbation_curves._panel(axes, perturbation_curves.Panel({"l2": line}, some))
    marks = [one for one in axes.lines if one.get_marker() in "Do" and len(one.get_xdata()) == 1]
    places = {(one.get_color(), float(one.get_xdata()[0])) for one in marks}
    assert len(marks) == 9
    assert len(places) == len({place for _, place in places}) == 3
    assert all(4 < place < 5 for _, place in places)  # beyond the last epoch, within the axes


def test_the_gallery_shows_the_sets(tmp_path):
    """Source plus perturbation is what is stored; sets are of one seed, that of most norms."""
    some = [PerturbConfig(norm=norm, seed=1, n_adv=20) for norm in ("l2", "l0")]
    for one in [
        *some,
        PerturbConfig(n_adv=20),
        PerturbConfig(norm="linf", n_adv=30, epsilon=0, seed=1),
    ]:
        made.store_set(tmp_path, one)
    sets = perturbation_gallery.complete_sets(tmp_path)
    chosen = perturbation_gallery.choose(sets, "embedded", "natural-random")
    assert [one.config for one in chosen.values()] == some
    samples = perturbation_gallery.compute(chosen)
    train = split_of(Inputs(images=load), some[0].dataset, "train")
    source = perturbed_set.source(some[0], train)
    assert np.array_equal(samples.label, source.label[:8])
    assert np.array_equal(samples.target, source.target[:8])
    for one in some:
        eta = samples.perturbed[one.norm] - samples.source
        expected = made.change(one, 20)[:8]
        assert eta == pytest.approx(expected, abs=1e-7)
        assert perturbation_gallery.factor(eta) == pytest.approx(160 / 7)
    headings = perturbation_gallery.headings(samples)
    names = DATA_SETS["embedded"].class_names
    assert headings[0] == f"{names[source.label[0]]}\n→ {names[source.target[0]]}"
    assert len(perturbation_gallery.draw(samples).axes) == 5 * 8
    with pytest.raises(InputError, match="run perturb --dataset embedded --scenario noise"):
        perturbation_gallery.choose(sets, "embedded", "noise")


def test_the_gallery_refuses_other_images(tmp_path):
    """A set that was made of other images is not shown beside these."""
    made.store_set(tmp_path, PerturbConfig(n_adv=9), digests="other")
    chosen = perturbation_gallery.choose(
        perturbation_gallery.complete_sets(tmp_path), "embedded", "natural-random"
    )
    with pytest.raises(InputError, match="the images of embedded"):
        perturbation_gallery.compute(chosen)


def test_confusion(cells):
    """Rows are shares of a class; the usual network if it is stored, else the most accurate."""
    cell = perturbation_confusion.choose(cells, "embedded")
    assert cell.config == config()
    found = perturbation_confusion.compute(cell)
    assert np.array_equal(found.counts, made.confusion(cell.config))
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(10))
    assert found.shares[2, 5] == found.counts[2, 5] / found.counts[2].sum()
    assert found.accuracy == np.trace(found.counts) / found.counts.sum()
    square, bars = perturbation_confusion.draw(found).axes
    assert np.array_equal(square.images[0].get_array(), found.shares)
    widths = [bar.get_width() for bar in bars.patches]
    assert widths == pytest.approx(list(np.diag(found.shares)))
    assert any(text.get_text() == f"{found.shares[9, 9]:.2f}"[1:] for text in square.texts)
    rest = [
        c._replace(metrics=dict(c.metrics))
        for c in cells
        if (c.config.scenario, c.config.norm) != ("natural-random", "l2")
    ]
    for cell in rest:  # a control is none of those to choose from, however accurate
        if not cell.config.size:
            cell.metrics["acc_adversarial_test_best"] = 1.0
    best = perturbation_confusion.choose(rest, "embedded")
    most = max(c.metrics["acc_adversarial_test_best"] for c in rest if c.config.size)
    assert best.metrics["acc_adversarial_test_best"] == most
    tabled = [c._replace(path=c.path.with_suffix(".csv")) for c in cells]
    with pytest.raises(InputError, match="a stored network"):
        perturbation_confusion.choose(tabled, "embedded")


def test_numbers_of_noise_samples(cells):
    """Points are settings by their number of samples, alike in all else; two are needed."""
    lines = noise_samples.compute(cells, "embedded")
    counts = {norm: [one.samples for one in line.settings] for norm, line in lines.items()}
    assert counts == {"l2": [300, 600], "linf": [600], "l0": [600]}
    for one, subset in zip(lines["l2"].settings, (300, 0), strict=True):
        some = [config("noise", "l2", seed, subset=subset) for seed in (0, 1)]
        assert list(one.best) == [made.course(c).max() for c in some]
    axes = noise_samples.draw(lines, "embedded").axes[0]
    drawn = axes.containers[0].lines[0]
    assert list(drawn.get_xdata()) == [300, 600]
    assert list(drawn.get_ydata()) == [one.best.mean() for one in lines["l2"].settings]
    for other in ({"epochs": 9}, {"epsilon": 1}, {"epsilon": 0, "attack_steps": 0}, {"rate": 1.0}):
        some = [cell for cell in cells if not cell.config.subset]
        one = next(c for c in cells if c.config == config("noise", "l2", subset=300))
        odd = one._replace(config=replace(one.config, **other))
        with pytest.raises(InputError, match="--scenario noise"):
            noise_samples.compute([*some, odd], "embedded")


def rows(text):
    """All rows of tables, as cells."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[part.strip() for part in line.strip("|").split("|")] for line in lines]


def test_the_section_has_every_cell(cells):
    """A row a setting: both accuracies over seeds, the set's numbers, the bridge; and its order."""
    text = perturbation_page.section(cells, "pictures", "What we read.\n")
    assert text == perturbation_page.section(cells[::-1], "pictures", "What we read.\n")
    assert text.count("What we read.") == 1
    first = [row for row in rows(text) if len(row) == 16][1:]
    second = [row for row in rows(text) if len(row) == 15][1:]
    found = perturbation.settings(cells)
    assert len(first) == len(second) == len(found)
    for one, row, bridge in zip(found, first, second, strict=True):
        of = one.config
        courses = np.asarray([made.course(replace(of, seed=seed)) for seed in (0, 1)])
        name = [of.scenario, perturbation.NORMS[of.norm], f"{of.size:g}"]
        assert row[:3] == bridge[:3] == name
        assert row[7:11] == bridge[3:7]  # at which scale
        for shown, values in ((row[4], courses.max(axis=1)), (row[5], courses[:, -1])):
            least, most = values.min(), values.max()
            assert shown == f"{values.mean():.3f} ({least:.3f} to {most:.3f})"
        assert row[6:9] == ["2", "cpu", str(of.subset or 600)]
        assert row[9:] == [
            "4",
            "ConvNet, width 4",
            f"{of.rate:g}",
            str(of.steps),
            "0.901",
            "–",
            "–",
        ]
        if of.size:
            expected = [f"{made.BRIDGE[name] + 0.001:.3f}" for name in perturbation_page.BRIDGE]
            assert bridge[7:] == expected
        else:
            assert [number == "–" for number in bridge[7:]] == [1, 1, 0, 1, 0, 1, 0, 0]
    assert "No networks yet" not in text
    assert "No control yet" not in text


def test_the_section_says_what_is_missing(tmp_path):
    """Scenarios and norms without networks, numbers that a result lacks; released ones beside."""
    of = LearnConfig(dataset="mnist", scenario="noise", norm="l0", subset=50_000)
    of = replace(of, dtype="float64", classifier="abc")
    made.store_learnt(tmp_path, [of], left_out=["span", "attack_success"])
    text = perturbation_page.section(perturbation.known_cells(tmp_path), "pictures", "")
    (row,) = (row for row in rows(text) if len(row) == 16 and row[0] == "noise")
    assert row[3] == "0.4 best (60,000)"
    assert row[7] == "cpu, dtype float64, classifier abc"
    assert row[13:] == ["–", "–", "0.101"]  # the released attack's, by argmax, of noise in L0
    assert "(" not in row[4]
    (bridge,) = (row for row in rows(text) if len(row) == 15 and row[0] == "noise")
    assert [number == "–" for number in bridge[7:]] == [0, 0, 0, 1, 0, 0, 0, 0]
    assert "natural-deterministic L2, natural-deterministic L∞, natural-determ" in text
    assert "noise L∞." in text
    assert "No control yet: natural-random, natural-deterministic, noise." in text


def test_only_rendered_pictures_are_linked(cells, tmp_path, monkeypatch):
    """None that is not there; a link from the page to each that is."""
    monkeypatch.setattr(style, "RENDERED", tmp_path)
    assert "](pictures/" not in perturbation_page.section(cells, "pictures", "")
    names = ("perturbation_curves_embedded", "perturbation_gallery_embedded_noise")
    for name in names:
        (tmp_path / f"{name}.png").touch()
    text = perturbation_page.section(cells, "pictures", "")
    assert [f"](pictures/{name}.png)" in text for name in names] == [True, True]
    assert text.count("](pictures/") == 2


def test_the_page_takes_the_section_in(results, tmp_path):
    """Below the artificial experiment, with the reading; the same cells give the same text."""
    store_cells(tmp_path / "e1", [CENTRE])
    results_page.write(tmp_path / "e1", tmp_path / "alone.md")
    store_cells(tmp_path, [CENTRE])
    tables_of(results, tmp_path)
    texts = []
    for _ in range(2):
        results_page.write(tmp_path, tmp_path / "page.md")
        texts.append((tmp_path / "page.md").read_text())
    assert texts[0] == texts[1]
    own, _, section = texts[0].partition("\n# Learning from perturbations with deep networks")
    assert own.replace("page", "alone") == (tmp_path / "alone.md").read_text().replace(
        "page", "alone"
    )
    assert "Networks: 26, 26 of them from tables" in section
    (tmp_path / "perturbation-reading.md").write_text("What *we* read.\n")
    results_page.write(tmp_path, tmp_path / "page.md")
    assert "\n\nWhat *we* read.\n\n" in (tmp_path / "page.md").read_text()


def test_pictures_of_what_is_there(results, tmp_path):
    """One for each data set that has cells; for the others, how to get them."""
    names = [name for name in registry.FIGURES if "perturbation" in name or "noise" in name]
    found = {one.name: one for one in registry.make_all(results, tmp_path, None, names)}
    assert {name for name, one in found.items() if one.paths} == {
        f"{name}_embedded" for name in names if "gallery" not in name
    }
    for name, one in found.items():
        if one.paths:
            assert [path.name for path in one.paths] == [f"{name}.png", f"{name}.pdf"]
            assert all(path.stat().st_size > 1000 for path in one.paths)
    assert "run learn --dataset mnist" in found["perturbation_curves_mnist"].missing
    assert "--scenario noise" in found["perturbation_gallery_embedded_noise"].missing


def test_the_theorys_own_network(tmp_path):
    """(P1) the longer a network trains, the more of a perturbation is a combination of its training
    samples, the rest being what is left of the initial weights; gradients look like it."""
    short = ImagesConfig(hidden=20, n=60, n_adv=200, epochs=10, centre=True)
    for one in (short, replace(short, epochs=10**8)):
        running.make(one, running.Place(tmp_path, quiet=True))
    two = list(perturbation_bridge.whole_runs(tmp_path))
    early, late = (cell.metrics for cell in sorted(two, key=lambda cell: cell.config.epochs))
    assert early["span_random"] == late["span_random"] <= 60 / 784
    assert early["span_random"] < early["span"] < late["span"] < 1
    assert late["span"] > 0.9
    for name in ("cosine_standard", "cosine_adversarial", "cosine_gradients"):
        assert 0.5 < late[name] <= 1
    text = perturbation_page.section([], "pictures", "", two)
    assert text.count("| the embedded set | 1 and 8 | noise |") == 2
