"""Configs: equal ones have equal ids, other ones other ids, impossible ones do not exist."""

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reflfap.errors import InputError
from reflfap.experiments.artificial import ArtificialConfig
from reflfap.experiments.experiment import canonical_json, run_id
from reflfap.experiments.registry import from_json
from reflfap.norms import VARIANTS

FIELDS = [field.name for field in dataclasses.fields(ArtificialConfig)]
LENGTHS = st.integers(1, 10**9)


def open_interval(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, exclude_min=True, exclude_max=True)


@st.composite
def arguments(draw) -> dict:
    """Keyword arguments of a valid config, each field given or left out."""
    norm = draw(st.sampled_from(sorted(VARIANTS)))
    sizes = st.floats(0, 1, exclude_min=True) if norm == "l0" else st.floats(0, 1e300)
    fields = {
        "dim": LENGTHS,
        "hidden": st.integers(1, 500_000_000).map(lambda half: 2 * half),
        "n": LENGTHS,
        "n_adv": LENGTHS,
        "epsilon": sizes,
        "data": st.sampled_from(["uniform", "gauss"]),
        "slope": open_interval(0, 1),
        "loss": st.sampled_from(["exponential", "logistic"]),
        "epochs": st.integers(1),
        "variant": st.sampled_from(VARIANTS[norm]),
        "seed": st.integers(0),
        "dtype": st.sampled_from(["float32", "float64"]),
        "precision": st.just("exact"),
    }
    if norm != "l0":
        fields["attack_steps"] = st.integers(0)
    given_ones = draw(st.fixed_dictionaries({}, optional=fields))
    return {"norm": norm, **given_ones}


CONFIGS = arguments().map(lambda chosen: ArtificialConfig(**chosen))


def id_of(config: ArtificialConfig) -> str:
    return run_id(canonical_json(config))


@given(arguments(), st.randoms(use_true_random=False))
def test_equal_configs_have_equal_ids(chosen, random):
    config = ArtificialConfig(**chosen)
    # all defaults given explicitly, in another order
    shuffled = [(name, getattr(config, name)) for name in FIELDS]
    random.shuffle(shuffled)
    twin = ArtificialConfig(**dict(shuffled))
    assert twin == config
    assert canonical_json(twin) == canonical_json(config)
    assert id_of(twin) == id_of(config)


@pytest.mark.parametrize(
    ("chosen", "same"),
    [
        ({"epsilon": 1}, {"epsilon": 1.0}),
        ({"epsilon": 0.0}, {"epsilon": -0.0}),
        ({"epsilon": np.float32(0.5)}, {"epsilon": 0.5}),
        ({"slope": np.float64(0.5)}, {"slope": 0.5}),
        ({"dim": np.int64(20)}, {"dim": 20}),
        ({"hidden": np.int32(20), "attack_steps": np.int8(3)}, {"hidden": 20, "attack_steps": 3}),
        ({"norm": "l0", "epsilon": 1}, {"norm": "l0", "epsilon": 1.0}),
        ({"epsilon": None, "variant": None, "attack_steps": None}, {}),
        ({"norm": "linf"}, {"norm": "linf", "epsilon": 0.03, "variant": "rescale"}),
        ({"norm": "l0"}, {"norm": "l0", "epsilon": 0.05, "variant": "released"}),
        ({}, {"dim": 10_000, "hidden": 1_000, "n": 1_000, "n_adv": 10_000, "epsilon": 0.78}),
        ({}, {"slope": 0.01, "loss": "exponential", "epochs": 100_000, "attack_steps": 100}),
    ],
)
def test_equal_values_of_other_types_have_equal_ids(chosen, same):
    config, twin = ArtificialConfig(**chosen), ArtificialConfig(**same)
    assert config == twin
    assert canonical_json(config) == canonical_json(twin)


OTHER = {
    "dim": 9_999,
    "hidden": 998,
    "n": 999,
    "n_adv": 9_999,
    "norm": "linf",
    "epsilon": math.nextafter(0.78, 1),
    "data": "gauss",
    "slope": math.nextafter(0.01, 1),
    "loss": "logistic",
    "epochs": 99_999,
    "attack_steps": 99,
    "seed": 1,
    "dtype": "float64",
    "precision": "released",
}


def test_any_changed_field_changes_the_id():
    # the other two have no second value that leaves the rest as it is; variant: see below
    assert set(FIELDS) - set(OTHER) == {"trainer", "variant"}
    configs = [ArtificialConfig(epsilon=0.78)]
    configs += [dataclasses.replace(configs[0], variant=None, **{k: v}) for k, v in OTHER.items()]
    for norm in ("linf", "l0"):
        configs += [ArtificialConfig(norm=norm, variant=name) for name in VARIANTS[norm]]
    assert len({id_of(config) for config in configs}) == len(configs)


@given(CONFIGS, CONFIGS)
def test_other_configs_have_other_ids(one, other):
    assert (id_of(one) == id_of(other)) == (one == other)


@given(CONFIGS)
def test_json_round_trip(config):
    text = canonical_json(config)
    assert from_json(text) == config
    assert canonical_json(from_json(text)) == text
    content = json.loads(text)
    options = dataclasses.asdict(config)
    assert options.pop("precision") == "exact"  # which came later
    assert content == {"experiment": "artificial", **options}
    # canonical: sorted keys, no space, nothing but ASCII
    assert list(content) == sorted(content)
    assert not any(character.isspace() for character in text)
    assert text.isascii()


@given(st.text())
def test_the_run_id_is_the_start_of_the_hash(text):
    assert run_id(text) == hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    "text",
    [
        *("", "text", "null", "3", "[]", "{}", '"artificial"', '{"experiment":"nothing"}'),
        *('{"experiment":"artificial","dim":0}', '{"experiment":"artificial","more":0}'),
        '{"experiment":"artificial","epsilon":NaN}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_other_json_is_refused(text):
    with pytest.raises(InputError, match="config_json: expected the JSON of a run's config"):
        from_json(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), st.data())
def test_any_json_is_read_or_refused(value, data):
    content = {"experiment": "artificial", data.draw(st.sampled_from(FIELDS)): value}
    try:
        config = from_json(json.dumps(content))
    except InputError:
        return
    assert from_json(canonical_json(config)) == config


WHOLE = {"dim": 1, "hidden": 2, "n": 1, "n_adv": 1, "epochs": 1, "attack_steps": 0, "seed": 0}


@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_small_whole_numbers_are_refused(name, data):
    value = data.draw(st.integers(max_value=WHOLE[name] - 1))
    with pytest.raises(InputError, match=rf"^{name}: expected at least {WHOLE[name]}, got {value}"):
        ArtificialConfig(**{name: value})


@given(
    st.sampled_from(sorted(WHOLE)),
    st.one_of(st.floats(), st.booleans(), st.text(), st.complex_numbers(), st.just([1])),
)
def test_what_is_no_whole_number_is_refused(name, value):
    with pytest.raises(InputError, match=f"^{name}: expected a whole number, got "):
        ArtificialConfig(**{name: value})


@given(st.integers(0, 10**6).map(lambda half: 2 * half + 3))
def test_odd_hidden_is_refused(hidden):
    with pytest.raises(InputError, match=rf"^hidden: expected an even .*; use {hidden + 1}"):
        ArtificialConfig(hidden=hidden)


@pytest.mark.parametrize("name", ["dim", "hidden", "n", "n_adv"])
@pytest.mark.parametrize("length", [10**9 + 2, 2**63, 10**400])
def test_arrays_that_no_memory_holds_are_refused(name, length):
    with pytest.raises(InputError, match=f"^{name}: expected at most"):
        ArtificialConfig(**{name: length})


@given(st.sampled_from(sorted(VARIANTS)), st.floats() | st.floats(-2, 2) | st.integers(-2, 2))
def test_epsilon_outside_its_range_is_refused(norm, epsilon):
    valid = 0 < epsilon <= 1 if norm == "l0" else 0 <= epsilon < math.inf
    assume(not valid)
    with pytest.raises(InputError, match=r"^epsilon: expected a finite number in .*got .*; choose"):
        ArtificialConfig(norm=norm, epsilon=epsilon)


@given(st.floats().filter(lambda slope: not 0 < slope < 1))
def test_slope_outside_its_range_is_refused(slope):
    with pytest.raises(InputError, match=r"^slope: expected a finite number in \(0, 1\), got "):
        ArtificialConfig(slope=slope)


@pytest.mark.parametrize(
    "name", ["norm", "data", "loss", "trainer", "dtype", "variant", "precision"]
)
@given(value=st.text())
def test_unknown_choices_are_refused(name, value):
    good = {"l2", "linf", "l0", "uniform", "gauss", "exponential", "logistic"}
    good |= {"flow", "gd", "kkt", "float32", "float64", "exact", "released"}
    assume(value not in good)
    with pytest.raises(InputError, match=f"^{name}: expected one of "):
        ArtificialConfig(**{name: value})


@given(st.sampled_from(sorted(VARIANTS)), st.sampled_from(sum(VARIANTS.values(), ())))
def test_a_variant_belongs_to_its_norm(norm, variant):
    if variant in VARIANTS[norm]:
        assert ArtificialConfig(norm=norm, variant=variant).variant == variant
        return
    with pytest.raises(InputError, match=r"^variant: expected one of .*, got .*"):
        ArtificialConfig(norm=norm, variant=variant)


def test_the_released_variants_are_the_defaults():
    released = {"l2": "released", "linf": "rescale", "l0": "released"}
    assert {norm: ArtificialConfig(norm=norm).variant for norm in VARIANTS} == released


@given(LENGTHS)
def test_default_epsilon(dim):
    # l2 grows with the norm of a sample; the paper's 0.78 at 10,000 inputs
    assert ArtificialConfig(dim=dim).size ** 2 == pytest.approx(0.78**2 * dim / 10_000)
    assert ArtificialConfig(dim=dim, norm="linf").size == 0.03
    assert ArtificialConfig(dim=dim, norm="l0").size == 0.05


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_min=True))
def test_l0_takes_one_step_a_pixel(dim, epsilon):
    config = ArtificialConfig(dim=dim, norm="l0", epsilon=epsilon)
    assert config.steps == config.pixels
    assert 1 <= config.pixels <= dim
    # the nearest number of pixels, but at least one
    assert abs(config.pixels - epsilon * dim) <= 0.5 or epsilon * dim < 0.5
    assert dataclasses.replace(config, attack_steps=config.pixels) == config
    with pytest.raises(InputError, match=r"^attack_steps: expected .* one step a pixel"):
        dataclasses.replace(config, attack_steps=config.pixels + 1)


IDS_BEFORE = {  # of revision 353fd1f, which knew no precision
    "a3adf7adbc17ccb7": {},
    "309c971d65235371": {"norm": "linf", "data": "gauss"},
    "23869387f993f30f": {"norm": "l0", "n": 3_000},
    "c5a1c3ee0abfdcc0": {
        "hidden": 4,
        "seed": 3,
        "dim": 40,
        "n": 6,
        "n_adv": 10,
        "epsilon": 0.8,
        "trainer": "gd",
        "epochs": 60,
    },
    "bdf7d6c6923d4044": {"trainer": "kkt", "slope": 0.5, "dtype": "float64", "loss": "logistic"},
    "47a3f00f6b6e58d8": {"norm": "l0", "variant": "tracked", "epsilon": 0.1, "dim": 500},
}


@pytest.mark.parametrize("run", IDS_BEFORE)
def test_ids_are_those_from_before_there_was_a_precision(run):
    """Exact results are found again; released ones have ids of their own, and are read back."""
    exact = ArtificialConfig(**IDS_BEFORE[run])
    assert id_of(exact) == id_of(dataclasses.replace(exact, precision="exact")) == run
    if exact.dtype == "float32":
        released = dataclasses.replace(exact, precision="released")
        assert id_of(released) != run
        assert from_json(canonical_json(released)) == released


@pytest.mark.parametrize("option", [{"dtype": "float64"}, {"trainer": "kkt"}])
def test_the_released_precision_is_of_float32_and_of_training(option):
    with pytest.raises(InputError, match=r"^precision: expected exact for .*, got released"):
        ArtificialConfig(**option, precision="released")


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ArtificialConfig().dim = 3
