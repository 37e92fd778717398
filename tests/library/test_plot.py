"""`rf.plot`: the pictures show the arrays they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import reflfap as rf
from reflfap import onehidden
from reflfap.figures import decision_map as maps
from reflfap.theory import boundary


@pytest.fixture(scope="module")
def learned():
    rng = np.random.default_rng(0)
    y = rng.choice([-1, 1], 40)
    x = rng.standard_normal((40, 12)) + 0.6 * y[:, None]
    return rf.learn_from_perturbations(x, y, n_adv=60, hidden=8, epochs=1000)


def test_the_map_shows_the_networks(learned, monkeypatch):
    """What is drawn at a point of the plane is what the network says there, up to a factor."""
    seen = []
    monkeypatch.setattr(
        maps, "picture", lambda data, *rest: seen.append((data, *rest)) or plt.figure()
    )
    rf.plot.decision_map(learned)
    data, right, about, classes = seen[0]
    W = learned.standard.net.W
    half = len(W) // 2
    v, u = (part.mean(axis=0) / np.linalg.norm(part.mean(axis=0)) for part in (W[:half], W[half:]))
    P = np.linalg.lstsq(data.directions, np.stack([v, u]), rcond=None)[0]  # rows are the axes
    assert P @ P.T == pytest.approx(np.eye(2), abs=1e-9)
    for name in ("standard", "noise", "adversarial"):
        net = getattr(learned, name).net
        points = np.stack(np.meshgrid(data.axis[::40], data.axis[::40]), axis=-1).reshape(-1, 2)
        f = onehidden.forward(net, points @ P)[0]
        shown = data.outputs[name][::40, ::40].ravel()
        assert shown * np.abs(f).max() == pytest.approx(f * np.abs(shown).max(), abs=1e-9)
        assert right[name] == learned.metrics[f"acc_{name}"]
    assert "$d$ = 12" in about
    assert classes == ("-1", "1")


def test_own_networks(learned):
    """One network and samples are enough; others are refused."""
    x, y = learned.samples.natural
    figure = rf.plot.decision_map({"standard": learned.standard.net}, x, y)
    assert len(figure.axes) == 1
    with pytest.raises(rf.InputError, match="found: expected networks by name"):
        rf.plot.decision_map({"other": learned.standard.net}, x, y)
    with pytest.raises(rf.InputError, match="y: expected"):
        rf.plot.decision_map({"standard": learned.standard.net}, x, y[:3])


def test_a_notebook_shows_a_figure_once(learned):
    """Figures are out of pyplot's hands, and can be saved all the same."""
    before = plt.get_fignums()
    figures = [rf.plot.decision_map(learned), rf.plot.gallery(learned, (3, 4))]
    assert plt.get_fignums() == before
    for one in figures:
        one.canvas.draw()


def test_the_gallery(learned):
    """Perturbed is noise plus perturbation; titles are the classes; shapes must fit."""
    figure = rf.plot.gallery(learned, (3, 4))
    rows = np.reshape(figure.axes, (4, -1))
    images = [np.stack([np.asarray(axes.images[0].get_array()) for axes in row]) for row in rows]
    _, noise, change, perturbed = images
    scale = np.abs(perturbed - noise).max()
    ratio = (perturbed - noise) / scale
    assert change / np.abs(change).max() == pytest.approx(ratio, abs=1e-9)
    titles = {axes.get_title() for axes in rows[3]}
    assert titles == {"target -1", "target 1"}
    b = boundary.normal(learned.perturbed.x, learned.target, np.ones(60))
    for one, axes in zip(perturbed - noise, rows[3], strict=True):
        sign = 1 if axes.get_title() == "target 1" else -1
        assert sign * np.sum(one.ravel() * b) > 0
    with pytest.raises(rf.InputError, match="shape: expected rows and columns of 12 features"):
        rf.plot.gallery(learned, (3, 5))


def test_a_stored_result(tmp_path):
    """The picture of a result is that of the command line."""
    from reflfap.cli import main as cli

    out = str(tmp_path)
    words = ["run", "artificial", "--dim", "50", "--hidden", "8", "--n", "20", "--n-adv", "30"]
    assert cli.main([*words, "--epochs", "100", "--out", out]) == 0
    path = next(tmp_path.rglob("result.h5"))
    with rf.open_result(str(path)) as result:
        assert repr(result).startswith("Result(artificial ")
        assert rf.plot.decision_map(result).axes[0].get_title().startswith("Decision boundaries")
