"""Figures: what is plotted, tested as data."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap import onehidden
from reflfap.cli import main as cli
from reflfap.experiments import artificial, plane
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.three_networks import NETWORKS
from reflfap.figures import decision_map, path_to_the_limit, style
from reflfap.runs.store import open_result


@given(seed=st.integers(0, 10**6), dim=st.integers(2, 20))
def test_axes_of_the_plane(seed, dim):
    """Orthonormal, spanning v and u, symmetric in the two, and v, u themselves if orthonormal."""
    v, u = np.random.default_rng(seed).standard_normal((2, dim))
    v, u = v / np.linalg.norm(v), u / np.linalg.norm(u)
    axes = plane.axes_of_plane(v, u)
    assert axes @ axes.T == pytest.approx(np.eye(2), abs=1e-6)
    for vector in (v, u):
        assert axes.T @ (axes @ vector) == pytest.approx(vector, abs=1e-6)
    assert axes[0] @ v == pytest.approx(axes[1] @ u)
    assert axes[0] @ v > 0
    first, second = np.eye(dim)[:2]
    assert plane.axes_of_plane(first, second) == pytest.approx(np.eye(dim)[:2])


def test_decision_map(tmp_path, capsys):
    """Outputs have the networks' own signs on the plane; samples are projected orthogonally."""
    args = ["--dim", "60", "--hidden", "6", "--n", "9", "--n-adv", "12", "--epochs", "100"]
    args.append("--save-networks")
    assert cli.main(["run", "artificial", *args, "--out", str(tmp_path), "--figure"]) == 0
    assert "decision_map.png" in capsys.readouterr().out
    (path,) = tmp_path.glob("*/*/result.h5")
    with open_result(path) as result:
        data = decision_map.compute(result)
        W = {name: result.array(f"networks/{name}/W", (6, 60)) for name in NETWORKS}
        config = result.config
    axes = plane.axes_of_plane(*plane.mean_directions(W["standard"]))
    for i, j in ((0, 0), (10, 200), (340, 5), (170, 169)):
        point = (data.axis[j] * axes[0] + data.axis[i] * axes[1])[None].astype(np.float32)
        for name in NETWORKS:
            f = onehidden.forward(onehidden.network(W[name], config.slope), point)[0]
            assert np.sign(f[0]) == np.sign(data.outputs[name][i, j])
    x, y = artificial.natural(config)
    order = np.argsort(-y, kind="stable")  # positive labels first
    residual = x[order] - data.samples @ axes
    assert residual @ axes.T == pytest.approx(0, abs=1e-4)
    assert np.array_equal(data.labels, y[order])


def test_path_to_the_limit():
    """Loss and distance fall, pairs align, on a cell small enough for a test; then both are as
    (C1) and (C2) predict, up to the flow's tolerance of 0.003, and only then is it predicted."""
    config = ArtificialConfig(
        dim=400, hidden=6, n=10, n_adv=6, slope=0.5, epsilon=1.0, dtype="float64", epochs=100
    )
    times = np.asarray([1.0, 1e2, 1e4, 1e8, 1e30])
    course = path_to_the_limit.compute(config, times)
    assert np.all(np.diff(course.loss) < 0)
    assert np.all(np.diff(course.distance) < 0)
    assert course.aligned[0] < course.aligned[-1] == 1.0
    proved = np.isfinite(course.loss_predicted)
    assert list(proved[[0, -2, -1]]) == [False, True, True]
    assert np.array_equal(proved, np.isfinite(course.distance_predicted))
    assert np.all(course.aligned[proved] == 1)
    late = times >= 1e4
    assert course.loss[late] == pytest.approx(course.loss_predicted[late], rel=0.005)
    assert course.distance[late] == pytest.approx(course.distance_predicted[late], rel=0.002)
    figure = path_to_the_limit.draw(course, times)
    over = figure.axes[4].lines[0].get_ydata()
    assert np.array_equal(over[proved], (course.loss / course.loss_predicted)[proved])


def test_saved_twice(tmp_path, monkeypatch):
    """Equal figures are equal files, whenever they are saved."""
    found = []
    for day in (1, 2):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(86_400 * day))
        figure, axes = plt.subplots()
        axes.plot([0, 1], [0, 1])
        found.append([path.read_bytes() for path in style.save(figure, tmp_path / str(day))])
        assert not plt.fignum_exists(figure.number)
    assert found[0] == found[1]
