"""`import reflfap as rf`: labels of any kind, norms by name, the experiment on arrays."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from problems import make_problem

import reflfap as rf
from reflfap import attacks, losses, onehidden
from reflfap.errors import InputError
from reflfap.fast.quick_attack import attack_network
from reflfap.training.flow import flow

KINDS = {
    "signs": np.array([-1.0, 1.0]),
    "whole signs": np.array([-1, 1]),
    "0 and 1": np.array([0, 1]),
    "truth values": np.array([False, True]),
    "texts": np.array(["cat", "dog"]),
    "objects": np.array(["cat", "dog"], dtype=object),
    "years": np.array([1999, 2024]),
}


@pytest.fixture(scope="module")
def two_clouds():
    """Samples of two classes, +-1, that a boundary through zero tells apart, but for some."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(60) < 0.5, -1, 1)
    x = 0.4 * y[:, None] + rng.standard_normal((60, 10))
    return x, y


def test_every_name_is_there():
    """The names of the page are those of the package, and of its stub; no other is offered."""
    stub = {}
    with open(rf.__file__ + "i") as file:
        exec(file.read(), stub)
    assert set(rf.__all__) - {"__version__"} == {one for one in stub if not one.startswith("__")}
    for name in rf.__all__:
        assert getattr(rf, name) is not None
    assert dir(rf) == sorted(rf.__all__)
    with pytest.raises(AttributeError, match=r"has no attribute 'trian'; it has .*train"):
        rf.trian  # noqa: B018
    for name in dir(rf.theory):
        assert getattr(rf.theory, name).__name__ == f"reflfap.theory.{name}"
    with pytest.raises(AttributeError, match="nothing"):
        rf.theory.nothing  # noqa: B018


def test_one_import_is_enough():
    """No other import is needed for any public name, and none of them is read before."""
    code = (
        "import sys, reflfap as rf\n"
        "assert not {'numpy.linalg', 'h5py', 'scipy', 'matplotlib'} & set(sys.modules) - base\n"
        "rf.theory.prediction.accuracy_l2, rf.plot.gallery, rf.theory.orthogonality.orthogonality"
    )
    subprocess.run(
        [sys.executable, "-c", f"import sys, numpy; base = set(sys.modules)\n{code}"], check=True
    )


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_any_kind(two_clouds, kind):
    """Whatever the two labels are, the network is that of +-1, and they come back."""
    x, y = two_clouds
    labels = KINDS[kind][(y > 0).astype(int)]
    plain = rf.train(x, y.astype(float), hidden=10, time=10.0)
    found = rf.train(x, labels, hidden=10, time=10.0)
    assert np.array_equal(found.net.W, plain.net.W)
    assert np.array_equal(found.predict(x) == labels, plain.q > 0)
    assert np.array_equal(rf.train(x, labels.tolist(), hidden=10, time=10.0).net.W, plain.net.W)
    target = KINDS[kind][(y < 0).astype(int)]
    same = rf.attack(plain, x, -y, epsilon=1.0)
    assert np.array_equal(rf.attack(found, x, target, epsilon=1.0).x, same.x)
    if set(KINDS[kind].tolist()) != {-1, 1}:
        with pytest.raises(InputError, match=r"target: expected -1 and 1, got .*; map the two"):
            rf.attack(found.net, x, target, epsilon=1.0)


def test_training_is_that_of_the_trainers(two_clouds):
    """`train` from a seed is the trainer from the weights of that seed, by each method."""
    x, y = two_clouds
    y = y.astype(float)
    net = rf.network(rf.initial_weights(10, 10, 3), 0.1)
    own = flow(net, x, y, losses.LOGISTIC, time=5.0)
    named = rf.train(x, y, hidden=10, slope=0.1, time=5.0, loss="logistic", seed=3)
    assert np.array_equal(named.net.W, own.net.W)
    assert np.array_equal(rf.train(x, y, net=net, time=5.0, loss="logistic").net.W, own.net.W)
    by_epochs = rf.train(x, y, net=net, epochs=50)
    by_time = rf.train(x, y, net=net, time=5.0)  # 50 * 0.01 / (1 - 0.9) is 5 to rounding
    assert by_epochs.net.W == pytest.approx(by_time.net.W, abs=1e-9)
    down = rf.train(x, y, net=net, method="descent", epochs=40)
    assert len(down.trace.loss) == 41
    assert down.trace.loss[-1] < down.trace.loss[0]
    wide = np.random.default_rng(0).standard_normal((4, 4000))
    limit = rf.train(wide, [0, 1, 1, 0], method="kkt", hidden=4, slope=0.5)
    assert limit.q == pytest.approx(np.ones(4), abs=1e-9)
    assert limit.predict(wide).tolist() == [0, 1, 1, 0]


def test_attacks_by_name(two_clouds):
    """Networks by updates, functions by evaluation; a list of sizes is one attack for each."""
    x, y = two_clouds
    net = rf.train(x, y, hidden=10, time=10.0).net
    target = -y.astype(float)
    expected = attack_network(net, x, target, attacks.L2(0.7), steps=100)
    for one in (net, partial(onehidden.margin_gradient, net)):
        assert rf.attack(one, x, target, epsilon=0.7).x == pytest.approx(expected.x, abs=1e-6)
    several = rf.attack(net, x, target, epsilon=[0.1, 0.7, 2.0], steps=20)
    assert len(several) == 3
    means = [one.success.mean() for one in several]
    assert means == sorted(means)
    assert means[0] < means[-1]
    assert np.array_equal(several[1].x, rf.attack(net, x, target, epsilon=0.7, steps=20).x)
    sparse = rf.attack(net, x, target, norm="l0", epsilon=0.2, variant="tracked").x
    assert np.count_nonzero(sparse != x, axis=1).max() == 2
    low = x.min(axis=0)
    bounded = rf.attack(net, x, target, norm="linf", epsilon=0.5, bounds=(low, np.inf)).x
    assert np.all(bounded >= low)
    starts = [
        rf.attack(net, x, target, epsilon=1.0, random_start=True, seed=s, steps=0)
        for s in (0, 0, 1)
    ]
    assert np.array_equal(starts[0].x, starts[1].x)
    assert not np.array_equal(starts[0].x, starts[2].x)


@pytest.fixture(scope="module")
def learned(two_clouds):
    x, y = two_clouds
    test = np.random.default_rng(9).standard_normal((40, 10)) + 0.4
    return rf.learn_from_perturbations(
        x, np.where(y > 0, "dog", "cat"), test=(test, ["dog"] * 39 + ["cat"]), n_adv=300, hidden=20
    )


def test_the_whole_experiment(learned, two_clouds):
    """What the result says is what its parts say: accuracies, success, sizes of perturbations."""
    x, y = two_clouds
    names = np.where(y > 0, "dog", "cat")
    for name in ("standard", "noise", "adversarial"):
        net = getattr(learned, name)
        assert learned.metrics[f"acc_{name}"] == np.mean(net.predict(x) == names)
        test = learned.samples.test
        own = onehidden.accuracy(onehidden.margins(net.net, *test))
        assert learned.metrics[f"acc_{name}_test"] == own
        assert f"{name} network: {own:.3f} of test samples" in repr(learned)
    assert learned.classes == ("cat", "dog")
    source = learned.samples.source
    sizes = np.linalg.norm(learned.perturbed.x - source.x, axis=1)
    assert sizes.max() <= 0.5 * np.sqrt(10) * (1 + 1e-12)
    assert learned.metrics["attack_success"] == learned.perturbed.success.mean()
    assert np.array_equal(learned.target, source.y)
    assert learned.metrics["share_larger_test"] == 39 / 40
    normal = learned.target @ learned.perturbed.x
    assert learned.metrics["acc_predicted"] == np.mean(y * (x @ normal) > 0)
    assert learned.metrics["acc_adversarial"] > 0.8 > learned.metrics["share_larger"]


def test_the_noise_knows_nothing(learned, two_clouds):
    """Noise has the features' mean and deviation, or fills the bounds; targets are as many of each
    kind as chance wants, and independent of the noise."""
    x, _ = two_clouds
    source = learned.samples.source
    error = x.std(axis=0) / np.sqrt(len(source.x))
    assert np.all(np.abs(source.x.mean(axis=0) - x.mean(axis=0)) < 5 * error)
    assert np.all(np.abs(source.x.std(axis=0) / x.std(axis=0) - 1) < 5 / np.sqrt(2 * len(source.x)))
    assert abs(source.y.sum()) < 5 * np.sqrt(len(source.y))
    low, high = x.min(axis=0), x.max(axis=0)
    some = {"n_adv": 300, "hidden": 4, "steps": 1, "epochs": 10}
    bounded = rf.learn_from_perturbations(x, x[:, 0] > 0, bounds=(low, high), **some).samples.source
    assert np.all((low <= bounded.x) & (bounded.x <= high))
    middle = (bounded.x - low) / (high - low)
    assert np.all(np.abs(middle.mean(axis=0) - 0.5) < 5 / np.sqrt(12 * 300))


@pytest.mark.parametrize("scenario", ["natural-random", "natural-flipped"])
def test_other_sources(two_clouds, scenario):
    """Natural samples are perturbed themselves, towards the other label or any."""
    x, y = two_clouds
    found = rf.learn_from_perturbations(x, y, scenario=scenario, hidden=4, steps=2, epochs=10)
    natural, source = found.samples.natural, found.samples.source
    assert np.array_equal(source.x, natural.x)
    flipped = np.mean(source.y == -natural.y)
    assert flipped == 1 if scenario == "natural-flipped" else 0.2 < flipped < 0.8


@pytest.mark.parametrize("scale", ["standard", "range"])
def test_features_are_scaled_by_the_natural_samples(two_clouds, scale):
    """Units of a feature change nothing but for rounding, and test samples are scaled alike."""
    x, y = two_clouds
    units, shift = np.geomspace(1e-6, 1e6, 10), np.linspace(-3, 5, 10)
    some = {"scale": scale, "hidden": 4, "n_adv": 50, "steps": 5, "epochs": 100}
    plain = rf.learn_from_perturbations(x, y, test=(x, y), **some)
    other = rf.learn_from_perturbations(
        x * units + shift * units, y, test=((x + shift) * units, y), **some
    )
    natural = plain.samples.natural.x
    assert other.samples.natural.x == pytest.approx(natural, abs=1e-9)
    in_order, drawn = (np.sort(one.x[:, 0]) for one in (plain.samples.test, plain.samples.natural))
    assert in_order == pytest.approx(drawn, abs=1e-12)
    assert other.perturbed.x == pytest.approx(plain.perturbed.x, abs=1e-5)
    if scale == "range":
        assert np.abs(natural).max(axis=0) == pytest.approx(np.ones(10), abs=1e-12)
        assert np.abs(plain.perturbed.x).max() <= 1
    else:
        assert natural.mean(axis=0) == pytest.approx(np.zeros(10), abs=1e-12)
        assert natural.std(axis=0) == pytest.approx(np.ones(10), abs=1e-12)


def test_a_constant_feature_is_no_feature():
    """One that is the same in all samples becomes zero, and its noise too."""
    rng = np.random.default_rng(0)
    x = np.c_[rng.standard_normal((30, 3)), np.full(30, 1e7 + 0.1)]
    for scale in ("standard", "range"):
        some = {"hidden": 4, "n_adv": 20, "steps": 1, "epochs": 10}
        found = rf.learn_from_perturbations(x, x[:, 0] > 0, scale=scale, **some)
        assert np.abs(found.samples.natural.x[:, 3]).max() < 1e-6


X = make_problem().x
Y = [0, 1, 1, 0, 1]
REFUSED = {
    "three classes": (
        lambda: rf.train(X, [0, 1, 2, 0, 1]),
        r"classes: expected two, got 3 \(0, 1, 2\)",
    ),
    "one class": (lambda: rf.train(X, ["a"] * 5), "classes: expected two, got 1"),
    "too few labels": (
        lambda: rf.train(X, [0, 1]),
        r"y: .*for each of 5 samples, got int64, shape \(2,\)",
    ),
    "no class": (lambda: rf.train(X, [0.0, 1, 1, np.nan, 0]), "y: expected a class for each"),
    "measured values": (
        lambda: rf.train(X, [0.1, 0.2, 0.3, 0.4, 0.5]),
        "classes: expected two, got 5",
    ),
    "objects": (
        lambda: rf.train(X, np.array([None] * 5)),
        "y: expected a number, truth value or text",
    ),
    "a list": (lambda: rf.train([[1.0, 2.0]], [1]), "array: expected an array of NumPy or CuPy"),
    "whole numbers": (
        lambda: rf.train(X.astype(int), Y),
        "x: expected float32 or float64, got int64",
    ),
    "half": (lambda: rf.train(X.astype("f2"), Y), r"got float16; convert it with .*float32\)"),
    "big-endian": (lambda: rf.train(X.astype(">f8"), Y), r"got >f8; convert it with .*float64\)"),
    "long double": (lambda: rf.train(X.astype("g"), Y), r"convert it with .*float64\)"),
    "complex": (lambda: rf.train(X + 0j, Y), "got complex128; take its real part"),
    "method": (lambda: rf.train(X, Y, method="adam"), "method: expected one of descent, flow, kkt"),
    "loss": (lambda: rf.train(X, Y, loss="hinge"), "loss: expected one of exponential, logistic"),
    "time of descent": (
        lambda: rf.train(X, Y, method="descent", time=1.0),
        "time: expected none for descent",
    ),
    "net of a limit": (
        lambda: rf.train(X, Y, method="kkt", net=make_problem().net),
        "net: expected none for kkt",
    ),
    "seed": (lambda: rf.initial_weights(4, 3, "0"), "rng: expected a whole number, got '0'"),
    "columns": (
        lambda: rf.attack(make_problem().net, X[:, :3], [1, 1, 1, 1, -1], epsilon=1.0),
        "x: expected 7 columns",
    ),
    "norm": (
        lambda: rf.attack(make_problem().net, X, Y, epsilon=1.0, norm="l3"),
        "norm: expected one of l0",
    ),
    "bounds": (
        lambda: rf.attack(make_problem().net, X, Y, epsilon=1.0, bounds=3),
        "bounds: expected a lower",
    ),
    "share": (
        lambda: rf.attack(make_problem().net, X, Y, epsilon=2, norm="l0"),
        r"epsilon: .*\(0, 1\]",
    ),
    "predict": (
        lambda: rf.train(X, Y, hidden=4, time=1.0).predict(X[:, :3]),
        "x: expected 7 columns",
    ),
    "scenario": (
        lambda: rf.learn_from_perturbations(X, Y, scenario="x"),
        "scenario: expected one of",
    ),
    "scale": (lambda: rf.learn_from_perturbations(X, Y, scale="x"), "scale: expected one of"),
    "test": (
        lambda: rf.learn_from_perturbations(X, Y, test=(X, [2] * 5)),
        "test y: expected 0 and 1, got 2",
    ),
    "two bounds": (
        lambda: rf.learn_from_perturbations(X, Y, scale="range", bounds=(-1, 1)),
        "bounds: expected none with scale range",
    ),
    "image set": (lambda: rf.load("no such set"), "no such set"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused(case):
    """With its name, what was expected, what came, and what to do."""
    call, message = REFUSED[case]
    with pytest.raises(rf.ReflfapError, match=message):
        call()


def test_in_a_line(learned):
    """Networks, trainings and attacks say in a line what they are."""
    assert repr(make_problem().net) == "Network(m=6, d=7, slope=0.3, float64)"
    assert repr(learned.standard).startswith(
        "Trained(Network(m=20, d=10, slope=0.01, float64), loss="
    )
    share = f"{learned.perturbed.success.mean():.3f}"
    assert repr(learned.perturbed) == f"Perturbed(300 samples, d=10, success={share}, float64)"
    assert len(repr(learned).splitlines()) == 4


def test_images_by_name():
    found = rf.load("embedded", "test")
    assert found.images.shape == (200, 1, 28, 28)


def test_it_is_run_data(tmp_path, two_clouds):
    """The command and the function give the same numbers for the same samples, by seed."""
    from reflfap.cli import main as cli

    x, y = two_clouds
    np.savez(tmp_path / "a.npz", x=x, y=y)
    words = [
        "--hidden",
        "6",
        "--n-adv",
        "40",
        "--epochs",
        "500",
        "--seed",
        "3",
        "--dtype",
        "float64",
    ]
    for scenario in ("noise", "natural-random", "natural-flipped"):
        out = tmp_path / scenario
        more = ["--scenario", scenario, "--out", str(out)]
        assert cli.main(["run", "data", "--train", str(tmp_path / "a.npz"), *words, *more]) == 0
        with rf.open_result(next(out.rglob("result.h5"))) as result:
            stored = result.metrics
        some = {"hidden": 6, "n_adv": 40, "epochs": 500, "seed": 3, "scale": "standard"}
        found = rf.learn_from_perturbations(x, y, scenario=scenario, **some)
        assert dict(found.metrics) == stored


SPOILT = {
    "all alike": (lambda x: x * 0 + 3, "x: expected a feature that differs"),
    "too large": (lambda x: x * 1e300, "x: expected features whose spread"),
    "too small": (lambda x: x * 1e-170, "x: expected features whose spread"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_features_that_cannot_be_scaled_are_refused(two_clouds, case):
    """Rather than scaled away, after which every accuracy would be zero."""
    x, y = two_clouds
    spoil, message = SPOILT[case]
    with pytest.raises(InputError, match=message):
        rf.learn_from_perturbations(spoil(x), y, scale="standard", hidden=4, n_adv=9)


def test_equal_numbers_are_no_feature_whatever_their_mean():
    """The rounding of a mean over many rows is not taken for a spread."""
    rng = np.random.default_rng(0)
    x = np.full((1000, 3), 0.1)
    x[:, 0] = rng.standard_normal(1000)
    test = x[:50].copy()
    test[:, 1] += 1e-9
    some = {"scale": "standard", "hidden": 4, "n_adv": 20, "steps": 1, "epochs": 10}
    found = rf.learn_from_perturbations(x, x[:, 0] > 0, test=(test, test[:, 0] > 0), **some)
    assert np.all(found.samples.natural.x[:, 1:] == 0)
    assert np.abs(found.samples.test.x[:, 1:]).max() < 1e-8


def test_bounds_are_of_the_samples(two_clouds):
    """Natural samples outside of them are refused; an open side bounds the noise there alone."""
    x, y = two_clouds
    with pytest.raises(InputError, match=r"x: expected values in \[0.0, 1.0\]"):
        rf.learn_from_perturbations(x, y, bounds=(0, 1))
    with pytest.raises(InputError, match="low: expected a number, or float64 of shape"):
        rf.learn_from_perturbations(x, y, bounds=(np.full(3, -9.0), 9))
    low = x.min(axis=0)
    some = {"hidden": 4, "n_adv": 400, "steps": 1, "epochs": 10}
    found = rf.learn_from_perturbations(x, y, bounds=(low, np.inf), **some)
    assert np.any(found.samples.source.x == low)
    assert np.all(found.perturbed.x >= low)
