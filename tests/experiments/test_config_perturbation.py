"""Configs of perturbed sets and of what learns them: presets, ids, JSON, refusals."""

import dataclasses
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reflfap.data_loaders.registry import DATA_SETS
from reflfap.errors import InputError
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.experiment import canonical_json, identity
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import SCALES, SCENARIOS, PerturbConfig
from reflfap.experiments.registry import from_json
from reflfap.norms import VARIANTS

NATURAL = ("natural-random", "natural-deterministic")
NORMS = ("l0", "l2", "linf")
RELEASED = ("mnist", "fashion-mnist", "cifar-10")
KINDS = pytest.mark.parametrize("kind", [PerturbConfig, LearnConfig])


@pytest.mark.parametrize(
    ("dataset", "l2", "linf", "l0"),
    [("mnist", 2.0, 0.3, 10), ("fashion-mnist", 2.0, 0.3, 35), ("cifar-10", 0.5, 0.1, 150)],
)
def test_released_sizes(dataset, l2, linf, l0):
    """Norms, of l0 pixels, and steps, of l0 one a pixel; a preset of few samples has the same
    sizes, so that its perturbations are those of the paper."""
    for scenario in SCENARIOS:
        for norm, size in (("l2", l2), ("linf", linf), ("l0", l0)):
            paper = PerturbConfig(dataset=dataset, preset="paper", norm=norm, scenario=scenario)
            cpu = PerturbConfig(dataset=dataset, norm=norm, scenario=scenario)
            assert paper.size == cpu.size == size
            assert paper.steps == (l0 if norm == "l0" else 100)
            assert paper.variant == {"l2": "released", "linf": "rescale", "l0": "released"}[norm]
            assert cpu.steps <= paper.steps


def test_released_samples():
    """All training images; of noise 1,200,000, for CIFAR-10 50,000."""
    expected = {
        "mnist": (60_000, 1_200_000),
        "fashion-mnist": (60_000, 1_200_000),
        "cifar-10": (50_000, 50_000),
    }
    for dataset, (natural, noise) in expected.items():
        for scenario in NATURAL:
            config = PerturbConfig(dataset=dataset, preset="paper", scenario=scenario)
            assert config.samples == natural
        config = PerturbConfig(dataset=dataset, preset="paper", scenario="noise")
        assert config.samples == noise


def released_rate(dataset, scenario, norm):
    """0.01 for all noise sets of MNIST and Fashion-MNIST, natural R and D with L2 and Linf of MNIST
    and Fashion-MNIST, natural R Linf of CIFAR-10; 0.1 for the others."""
    if dataset == "cifar-10":
        return 0.01 if (scenario, norm) == ("natural-random", "linf") else 0.1
    return 0.1 if scenario in NATURAL and norm == "l0" else 0.01


def test_released_trainings():
    """Epochs: 100 for MNIST, 200 for Fashion-MNIST and CIFAR-10, 300 for noise sets of the first
    two; rates; batches of 128; crops and mirrors for CIFAR-10 alone; networks."""
    natural = {"mnist": 100, "fashion-mnist": 200, "cifar-10": 200}
    noise = {"mnist": 300, "fashion-mnist": 300, "cifar-10": 200}
    for dataset in RELEASED:
        for scenario in SCENARIOS:
            for norm in NORMS:
                config = LearnConfig(dataset=dataset, preset="paper", scenario=scenario, norm=norm)
                epochs = noise if scenario == "noise" else natural
                assert config.epochs == epochs[dataset], config
                assert config.rate == released_rate(dataset, scenario, norm), config
                assert (config.batch, config.subset) == (128, 0)
                colours = dataset == "cifar-10"
                assert config.augment == colours
                assert config.network == ("wideresnet" if colours else "convnet")
                if colours:
                    assert (config.depth, config.width) == (28, 10)
                else:  # 0 stands for the released width
                    assert (config.depth, config.width) == (0, 0)


def test_colours_on_two_cores():
    """Perturbed ones are not cropped and mirrored, which would hold learning up; clean ones are."""
    config = LearnConfig(dataset="cifar-10", preset="cpu")
    assert not config.augment
    assert config.usual_classifier.augment
    assert LearnConfig(dataset="cifar-10", preset="cpu", augment=True).augment


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_the_classifier_is_the_presets(dataset):
    """By default the released one, of its seed and precision; of cpu one no wider than that."""
    paper = PerturbConfig(dataset=dataset, preset="paper", seed=3)
    assert paper.classifier == identity(ClassifyConfig(dataset=dataset, preset="paper", seed=3))
    assert PerturbConfig(dataset=dataset, preset="paper").classifier != paper.classifier
    double = PerturbConfig(dataset=dataset, dtype="float64")
    assert double.usual_classifier.dtype == "float64"
    assert double.classifier == identity(double.usual_classifier)
    small = PerturbConfig(dataset=dataset)
    assert small.classifier == identity(small.usual_classifier)
    assert small.usual_classifier.dataset == dataset
    learning = LearnConfig(dataset=dataset)
    assert (learning.depth, learning.width) == (
        small.usual_classifier.depth,
        small.usual_classifier.width,
    )


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_which_epochs_classifier_is_attacked(dataset):
    """The best epoch's of preset paper, as released, the last one's of cpu; an id that says which
    is enough, and one that says another is refused."""
    for preset, usual in (("paper", "best"), ("cpu", "last")):
        config = PerturbConfig(dataset=dataset, preset=preset)
        assert config.classifier_epoch == config.usual_classifier.keep_epoch == usual
        for epoch in ("best", "last"):
            one = PerturbConfig(dataset=dataset, preset=preset, classifier_epoch=epoch)
            assert one.usual_classifier.keep_epoch == epoch
            assert one.classifier == identity(one.usual_classifier)
            again = PerturbConfig(dataset=dataset, preset=preset, classifier=one.classifier)
            assert again == one
    with pytest.raises(InputError, match="classifier_epoch: expected last, as that classifier"):
        PerturbConfig(dataset=dataset, classifier="0123456789abcdef", classifier_epoch="best")
    before = ClassifyConfig(dataset=dataset, preset="cpu", keep_epoch="last")
    assert "keep_epoch" not in canonical_json(before)  # results of before keep their ids


SIZES = {"l0": st.integers(0, 784), "l2": st.floats(0, 1e300), "linf": st.floats(0, 1e300)}


@st.composite
def arguments(draw, kind):
    """Keyword arguments of a valid config, each field given or left out."""
    norm, dataset = draw(st.sampled_from(NORMS)), draw(st.sampled_from(sorted(DATA_SETS)))
    fields = {
        "preset": st.sampled_from(sorted(SCALES)),
        "classifier": st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
        "scenario": st.sampled_from(SCENARIOS),
        "epsilon": SIZES[norm],
        "variant": st.sampled_from(VARIANTS[norm]),
        "n_adv": st.integers(1000, 10**7),
        "seed": st.integers(0),
        "dtype": st.sampled_from(["float32", "float64"]),
    }
    if norm != "l0":
        fields["attack_steps"] = st.integers(0)
    if kind is LearnConfig:
        fields |= {
            "network": st.sampled_from(["convnet", "wideresnet"]),
            "width": st.integers(1, 99),
            "epochs": st.integers(1),
            "subset": st.just(0) | st.integers(1000),
            "rate": st.floats(1e-9, 1e9),
            "batch": st.integers(2, 1000),
            "augment": st.booleans(),
        }
    return {"norm": norm, "dataset": dataset, **draw(st.fixed_dictionaries({}, optional=fields))}


@KINDS
@given(data=st.data(), random=st.randoms(use_true_random=False))
def test_equal_configs_have_equal_ids(kind, data, random):
    """With all that was left out given, in another order; and back from their JSON."""
    config = kind(**data.draw(arguments(kind)))
    given_all = [(one.name, getattr(config, one.name)) for one in dataclasses.fields(kind)]
    random.shuffle(given_all)
    twin = kind(**dict(given_all))
    assert twin == config
    assert canonical_json(twin) == canonical_json(config)
    assert None not in dict(given_all).values()
    back = from_json(canonical_json(config))
    assert type(back) is kind
    assert back == config


@pytest.mark.parametrize(
    ("chosen", "same"),
    [
        ({"epsilon": 0.0}, {"epsilon": -0.0}),
        ({"epsilon": 2}, {"epsilon": 2.0}),
        ({"norm": "l0", "epsilon": 7}, {"norm": "l0", "epsilon": 7.0, "attack_steps": 7}),
        ({"epsilon": 0}, {"epsilon": 0, "attack_steps": 9}),
        ({"epsilon": 0}, {"epsilon": 0, "norm": "linf", "variant": "sign"}),
        ({"epsilon": 0}, {"epsilon": 0, "norm": "l0"}),
        ({"n_adv": 1000}, {"n_adv": 5000}),  # there are no more images
        ({"subset": 0, "n_adv": 700}, {"subset": 700, "n_adv": 700}),
        ({"width": 16}, {"width": 0}),
        ({"network": "wideresnet"}, {"network": "wideresnet", "depth": 10, "width": 1}),
    ],
)
def test_equal_values_have_equal_ids(chosen, same):
    assert LearnConfig(**chosen) == LearnConfig(**same)
    assert identity(LearnConfig(**chosen)) == identity(LearnConfig(**same))


OTHER = {
    "dataset": "mnist",
    "scenario": "noise",
    "norm": "linf",
    "epsilon": math.nextafter(2, 3),
    "attack_steps": 19,
    "n_adv": 999,
    "seed": 1,
    "dtype": "float64",
    "classifier": "0123456789abcdef",
    "classifier_epoch": "best",
}
TRAINING = {
    "network": "wideresnet",
    "width": 5,
    "epochs": 7,
    "subset": 300,
    "rate": 0.5,
    "batch": 64,
    "augment": True,
}


def test_any_changed_field_changes_the_id():
    """A set has none of a training's fields; both kinds of one content are two runs."""
    sets = [PerturbConfig(), *(PerturbConfig(**{name: value}) for name, value in OTHER.items())]
    changes = [{}, *({name: value} for name, value in (OTHER | TRAINING).items())]
    configs = [*sets, *(LearnConfig(**one) for one in changes)]
    configs += [PerturbConfig(norm="linf", variant="sign"), PerturbConfig(norm="l0")]
    configs += [PerturbConfig(norm="l0", variant="tracked")]
    assert len({identity(config) for config in configs}) == len(configs)
    # preset has no second value that leaves the rest as it is; depth belongs to a wideresnet
    every = {one.name for one in dataclasses.fields(LearnConfig)}
    assert every - set(OTHER) - set(TRAINING) == {"preset", "variant", "depth"}


@given(data=st.data())
def test_the_set_does_not_depend_on_the_training(data):
    """The config of the set is that of the fields they share, however it is learned."""
    chosen = data.draw(arguments(PerturbConfig))
    training = data.draw(st.fixed_dictionaries({}, optional=TRAINING_DRAWN))
    config = LearnConfig(**chosen, **training)
    assert type(config.perturbed) is PerturbConfig
    assert config.perturbed == PerturbConfig(**chosen)
    assert identity(config.perturbed) == identity(PerturbConfig(**chosen))


TRAINING_DRAWN = {
    "epochs": st.integers(1),
    "subset": st.just(0) | st.integers(1000),
    "rate": st.floats(1e-9, 1e9),
    "batch": st.integers(2, 1000),
    "network": st.sampled_from(["convnet", "wideresnet"]),
    "augment": st.booleans(),
}


@given(st.integers(1, 784))
def test_l0_takes_one_step_an_input(count):
    config = PerturbConfig(norm="l0", epsilon=count)
    assert config.steps == config.pixels == count
    with pytest.raises(InputError, match=f"^attack_steps: expected {count}, one an input"):
        PerturbConfig(norm="l0", epsilon=count, attack_steps=count + 1)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_control_takes_no_step(norm, scenario):
    """Without a perturbation there is no norm to choose: one control for all."""
    config = PerturbConfig(norm=norm, epsilon=0, scenario=scenario)
    assert (config.size, config.steps) == (0, 0)
    assert config == PerturbConfig(epsilon=0, scenario=scenario)


def test_batches_no_larger_than_the_samples():
    """Refused before anything is made: of a subset, of the set, of the images there are."""
    assert LearnConfig(n_adv=40, batch=40).batch == 40
    for sizes in ({"n_adv": 40, "batch": 41}, {"subset": 40, "batch": 41}, {"batch": 1001}):
        with pytest.raises(InputError, match=r"^batch: expected at most the \d+ samples"):
            LearnConfig(**sizes)


@given(st.sampled_from(NORMS), st.floats() | st.floats(-2, 900))
def test_impossible_sizes_are_refused(norm, epsilon):
    """No norm below zero or beyond all bounds; of inputs a whole number, at most all of them."""
    valid = 0 <= epsilon < math.inf
    if norm == "l0":
        valid = valid and epsilon.is_integer() and epsilon <= 28 * 28
    assume(not valid)
    with pytest.raises(InputError, match=r"^epsilon: expected "):
        PerturbConfig(norm=norm, epsilon=epsilon)


def test_inputs_of_colours_count_each():
    """3,072 of CIFAR-10."""
    assert PerturbConfig(dataset="cifar-10", norm="l0", epsilon=3072).pixels == 3072
    with pytest.raises(InputError, match="epsilon: expected at most the 3072"):
        PerturbConfig(dataset="cifar-10", norm="l0", epsilon=3073)


WHOLE = {"n_adv": 1, "seed": 0, "attack_steps": 0}
WHOLE_OF_TRAINING = {"epochs": 1, "subset": 0, "batch": 2}


@given(st.sampled_from(sorted(WHOLE | WHOLE_OF_TRAINING)), st.data())
def test_bad_whole_numbers_are_refused(name, data):
    """Too small, or no whole number at all."""
    least = (WHOLE | WHOLE_OF_TRAINING)[name]
    small = st.integers(max_value=least - 1)
    value = data.draw(small | st.floats() | st.booleans() | st.text() | st.just([1]))
    kinds = [LearnConfig, PerturbConfig] if name in WHOLE else [LearnConfig]
    for kind in kinds:
        with pytest.raises(InputError, match=f"^{name}: expected "):
            kind(**{name: value})


NAMES = ["dataset", "preset", "scenario", "norm", "dtype", "variant", "network"]


@given(st.sampled_from(NAMES), st.text())
def test_unknown_choices_are_refused(name, value):
    known = {*DATA_SETS, *SCALES, *SCENARIOS, *NORMS, "float32", "float64", "released"}
    assume(value not in known | {"convnet", "wideresnet"})
    with pytest.raises(InputError, match=f"^{name}: expected one of "):
        LearnConfig(**{name: value})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n_adv": 10**9 + 1}, "n_adv"),
        ({"classifier": ""}, "classifier"),
        ({"classifier": "../0123"}, "classifier"),
        ({"classifier": 7}, "classifier"),
        ({"variant": "sign"}, "variant"),
        ({"depth": 16}, "depth"),
        ({"network": "wideresnet", "depth": 12}, "use 10 or 16"),
        ({"network": "wideresnet", "width": 0}, "width"),
        ({"width": -1}, "width"),
        ({"width": 1.5}, "width"),
        ({"rate": 0.0}, "rate"),
        ({"rate": math.inf}, "rate"),
    ],
)
def test_bad_configs_are_refused(change, named):
    with pytest.raises(InputError, match=named):
        LearnConfig(**change)


@KINDS
def test_a_config_is_frozen(kind):
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().seed = 3
