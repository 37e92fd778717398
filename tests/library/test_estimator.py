"""OneHiddenClassifier: scikit-learn's own checks, where it is installed, and without it."""

import numpy as np
import pytest

import reflfap as rf
from reflfap.errors import InputError


def clouds(n=80):
    rng = np.random.default_rng(0)
    y = rng.choice(["no", "yes"], n)
    return rng.standard_normal((n, 5)) + np.where(y == "yes", 1.0, -1.0)[:, None], y


@pytest.mark.filterwarnings("ignore")  # of scikit-learn, about what it does not check
def test_scikit_learns_checks():
    """All of `check_estimator` that it does not skip itself."""
    pytest.importorskip("sklearn")
    from sklearn.utils.estimator_checks import check_estimator

    found = check_estimator(rf.OneHiddenClassifier(hidden=20, time=100.0), on_fail=None)
    failed = {one["check_name"]: one["exception"] for one in found if one["status"] == "failed"}
    assert failed == {}
    assert sum(one["status"] == "passed" for one in found) > 40


def test_it_is_train():
    """The network is that of `train`; labels are the user's; the score is the share of hits."""
    x, y = clouds()
    made = rf.OneHiddenClassifier(hidden=10, time=20.0, seed=4).fit(x, y)
    trained = rf.train(x, y, hidden=10, time=20.0, seed=4)
    assert np.array_equal(made.trained_.net.W, trained.net.W)
    assert made.classes_.tolist() == ["no", "yes"]
    assert np.array_equal(made.predict(x), trained.predict(x))
    assert made.score(x, y) == np.mean(trained.predict(x) == y)
    assert made.score(x, y) > 0.9
    f = made.decision_function(x)
    assert np.array_equal(made.predict(x) == "yes", f > 0)


def test_parameters():
    made = rf.OneHiddenClassifier(hidden=10)
    assert repr(made) == "OneHiddenClassifier(hidden=10)"
    assert made.set_params(slope=0.2, method="descent").get_params()["slope"] == 0.2
    assert repr(made) == "OneHiddenClassifier(hidden=10, slope=0.2, method='descent')"
    with pytest.raises(InputError, match="width: expected one of hidden, slope"):
        made.set_params(width=3)


def test_without_scikit_learn(monkeypatch):
    """Nothing of it is needed; before `fit` there is nothing to ask for."""
    monkeypatch.setitem(__import__("sys").modules, "sklearn.exceptions", None)
    x, y = clouds()
    with pytest.raises(AttributeError, match="call fit first"):
        rf.OneHiddenClassifier().predict(x)
    with pytest.warns(UserWarning, match="column-vector"):
        rf.OneHiddenClassifier(hidden=4, time=1.0).fit(x, y[:, None])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda x, y: (x[:, 0], y), "Expected 2D array, got 1D"),
        (lambda x, y: (x[:0], y[:0]), "0 sample"),
        (lambda x, y: (np.where(x > 2, np.nan, x), y), "NaN or inf"),
        (lambda x, y: (x.astype(str), y), "Found|numbers"),
        (lambda x, y: (x, y[:-1]), r"y: expected shape \(80,\)"),
        (lambda x, y: (x, x[:, 0]), "Unknown label type: continuous"),
        (lambda x, y: (x, np.arange(80)), "Only binary classification is supported"),
        (lambda x, y: (x, None), "requires y"),
    ],
)
def test_bad_input(bad, message):
    x, y = clouds()
    if message.startswith("Found"):
        x = x.astype(object)
        x[0, 0] = "many"
        with pytest.raises(ValueError, match="numbers"):
            rf.OneHiddenClassifier().fit(x, y)
        return
    with pytest.raises(ValueError, match=message):
        rf.OneHiddenClassifier().fit(*bad(x, y))


def test_a_fit_that_fails_leaves_the_one_before():
    x, y = clouds()
    made = rf.OneHiddenClassifier(hidden=4, time=1.0).fit(x, y)
    before = made.predict(x)
    for bad in (np.where(y == "yes", "ant", "bee"), ["ant"] * len(y)):
        with pytest.raises(InputError):
            made.set_params(slope=2.0).fit(x, bad)
        assert np.array_equal(made.predict(x), before)


def test_samples_beyond_the_dtype_of_the_fit_are_refused():
    x, y = clouds()
    made = rf.OneHiddenClassifier(hidden=4, time=1.0).fit(x.astype(np.float32), y)
    with pytest.raises(ArithmeticError, match="X: expected what float32 can hold"):
        made.predict(x * 1e39)
