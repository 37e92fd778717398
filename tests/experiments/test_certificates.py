"""E4: what the theory says where (T1) holds, and what is left where it fails."""

import json

import numpy as np
import pytest

from reflfap.cli import main as cli
from reflfap.errors import InputError
from reflfap.experiments import certificates
from reflfap.experiments.certificates import REGIMES, CertificatesConfig, draw
from reflfap.experiments.experiment import Inputs
from reflfap.monitor import SILENT


@pytest.fixture(scope="module")
def found():
    return certificates.compute(CertificatesConfig(), Inputs(), SILENT).metrics


@pytest.mark.parametrize("regime", ["orthogonal", "holds"])
def test_everything_holds_where_t1_holds(found, regime):
    """(T1) for natural samples and perturbed noise alike; then (T2) to (T4) and (L1) to (L3).

    Gradient flow at t = 10^30 is within 1/log(t), 0.014, of its limit's direction; it differs in
    sign from the limit's boundary only for points within about that angle of it.
    """
    got = {name.partition("/")[2]: v for name, v in found.items() if name.startswith(regime + "/")}
    for name in ("T1 margin", "T1 margin of perturbed noise"):
        assert got[name] >= 1, name
    for name in ("T3 above lower bound", "T3 below upper bound"):
        assert got[name] > 1, name
    for name, value in got.items():
        if name.endswith(("exists", "aligned by flow", "T4 same sign", "where it holds")):
            assert value == 1, name
        if name in ("T2 residual", "L1 residual", "L2 residual"):
            assert value < 1e-12, name
        if name in ("T2 distance of flow", "T2 residual of recovered multipliers"):
            assert value < 1 / np.log(1e30), name
    assert got["T4 same sign by flow"] > 0.99
    assert got["L3 condition at natural samples"] == 1
    assert got["L3 same sign at natural samples"] == 1


def test_what_fails_is_reported(found):
    """Where (T1) fails, it is said, and by how much; without a KKT point nothing is made up."""
    assert 0.5 < found["mild/T1 margin"] < 1
    assert found["bad/T1 margin"] < 1e-6
    assert found["bad/T2 aligned point exists"] == 0
    assert {name for name in found if name.startswith("bad/")} == {
        *(f"bad/{one}" for one in ("R1 margin", "R1 aligned point certified")),
        *(f"bad/{one}" for one in ("R2 margin", "R2 unique point certified")),
        "bad/T1 margin",
        "bad/T2 aligned point exists",
    }


def test_uniqueness_is_certified(found):
    """(R1), (R2): also of samples that just miss (T1); and said in words, but of older results."""
    for name in ("orthogonal", "holds", "mild"):
        assert found[f"{name}/R2 unique point certified"] == 1
        assert found[f"{name}/R1 margin"] > found[f"{name}/R2 margin"] > 1
    assert found["bad/R1 aligned point certified"] == found["bad/R2 unique point certified"] == 0
    orthogonal, holds, mild, bad = certificates.certified_in_words(found)
    assert orthogonal == "orthogonal: unique KKT point, certified by (T1)"
    assert holds == "holds: unique KKT point, certified by (T1)"
    assert mild == "mild: unique KKT point, certified by (R2)"
    missed = f"{1 / found['bad/R1 margin']:.3g}"
    assert bad == f"bad: nothing certified: r is {missed} times what (R1) asks it to be below"
    assert 500 < float(missed) < 1_000
    less = found | {"mild/R2 unique point certified": 0.0}
    assert "whether it is the only one is not" in list(certificates.certified_in_words(less))[2]
    assert list(certificates.certified_in_words({"mild/T1 margin": 0.7})) == []


def test_regimes_are_as_described():
    """Orthogonal samples are that, and of norm sqrt(d); labels come half and half."""
    case = draw(REGIMES["orthogonal"], 0)
    both = np.concatenate([case.x, case.noise])
    assert both @ both.T == pytest.approx(200 * np.eye(20), abs=1e-9)
    for name, regime in REGIMES.items():
        assert draw(regime, 1).y.sum() == 0, name


def test_the_command(tmp_path, capsys):
    args = ["run", "certificates", "--starts", "1", "--time", "1e10", "--out", str(tmp_path)]
    assert cli.main([*args, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metrics"]["orthogonal/T4 same sign"] == 1
    assert cli.main(args) == 0
    assert "nothing to compute" in capsys.readouterr().err
    assert cli.main(["list", "--out", str(tmp_path)]) == 0
    assert cli.main(["verify", "--out", str(tmp_path)]) == 0
    assert cli.main(["show", report["run_id"], "--out", str(tmp_path)]) == 0
    assert "holds/T1 margin" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 3}, "hidden: expected an even number"),
        ({"hidden": 10**9}, "hidden: expected at most 10000, got 1000000000; give a smaller"),
        ({"starts": 0}, "starts: expected at least 1"),
        ({"starts": 10**9}, "starts: expected at most 1000, got 1000000000; give a smaller number"),
        ({"time": 0.0}, "time: expected a finite number"),
        ({"time": 1e200}, "time: expected a finite number"),
    ],
)
def test_bad_configs_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        CertificatesConfig(**options)


def test_the_bounds_themselves_are_allowed():
    CertificatesConfig(starts=certificates.MOST_STARTS, hidden=certificates.MOST_HIDDEN)
