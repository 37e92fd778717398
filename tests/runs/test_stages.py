"""Classifier, perturbed set, network that learns it: made, found, resumed, refused; on a disk."""

import json
import os
import re
import resource
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import exit_code, fork, kill, wait_until
from result_files import ATTRIBUTES, rewrite
from staging import CLASSIFIER, learn_config, set_config, with_classifier

from reflfap.cli import main as cli
from reflfap.deep import classifier
from reflfap.errors import DamagedFileError, InputError, NonFiniteError, StoreError
from reflfap.experiments import (
    classify,
    deep_training,
    perturb_config,
    perturbed_set,
)
from reflfap.experiments.classify import ClassifyConfig
from reflfap.experiments.deep_training import Preset
from reflfap.experiments.experiment import RunOptions, canonical_json, identity
from reflfap.experiments.learn import LearnConfig
from reflfap.experiments.perturb_config import PerturbConfig, Scale
from reflfap.experiments.perturbed_set import BLOCK
from reflfap.files import is_locked
from reflfap.runs import running, store
from reflfap.runs.progress import Bars

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 28, 28)
THREE_BLOCKS = 2 * BLOCK + 10
X = "data/adversarial/x"
FORCE = RunOptions(force=True)


@pytest.fixture(autouse=True)
def few_probes(monkeypatch):
    """Gradients are averaged over twenty images, which takes a tenth of the time."""
    monkeypatch.setattr(perturbed_set, "PROBE", 20)


@pytest.fixture
def place(tmp_path):
    """A results folder with the tiny classifier."""
    return with_classifier(tmp_path / "results")


@pytest.fixture
def tiny(monkeypatch):
    """A preset with which all three stages take a second."""
    scale = Scale(60, 2, 60, 2, steps=2, width=1)
    monkeypatch.setitem(perturb_config.SCALES["cpu"], "embedded", scale)
    monkeypatch.setitem(classify.PRESETS["cpu"], "embedded", Preset(epochs=1))


@pytest.fixture
def made_blocks(tmp_path, monkeypatch):
    """The numbers of the blocks that were made, in this process and its children."""
    log, make_block = tmp_path / "blocks", perturbed_set.perturb_block
    log.touch()

    def logged(config, margin, source, number, **how):
        with open(log, "a") as file:
            file.write(f"{number}\n")
        return make_block(config, margin, source, number, **how)

    monkeypatch.setattr(perturbed_set, "perturb_block", logged)
    return lambda: [int(line) for line in log.read_text().split()]


def content(path):
    """All arrays of a result, its metrics, and the attributes that tell nothing of time."""
    with store.open_result(path) as result:
        found = {name: np.asarray(result._file[name]) for name in result.names()}
        same = {key: result.attributes[key] for key in ("run_id", "data_sha256")}
        return found, dict(result.metrics), same


def assert_same(path, other):
    (arrays, *rest), (others, *its) = content(path), content(other)
    assert arrays.keys() == others.keys()
    for name, values in arrays.items():
        assert values.dtype == others[name].dtype, name
        assert np.array_equal(values, others[name]), name
    assert rest == its


def fresh(place, tmp_path):
    """Another results folder with the same classifier."""
    shutil.copytree(place.out / "classify", tmp_path / "fresh" / "classify")
    return place._replace(out=tmp_path / "fresh")


def statuses(out):
    return {run.experiment: run.status for run in store.list_results(out)}


def test_stages_make_what_is_missing(tmp_path, tiny, monkeypatch):
    """The last stage alone makes all three; again it makes none; each is made again where it is
    gone, from those before; equal to what it was."""
    place, config = running.Place(tmp_path / "results", quiet=True), LearnConfig(batch=20)
    running.make(config, place)
    names = ("classify", "perturb", "learn")
    assert statuses(place.out) == dict.fromkeys(names, "complete")
    paths = {name: next(place.out.glob(f"{name}/*/result.h5")) for name in names}
    assert paths["learn"].parent.name == identity(config)
    assert paths["perturb"].parent.name == identity(config.perturbed)
    assert paths["classify"].parent.name == config.classifier
    times = {name: path.stat().st_mtime_ns for name, path in paths.items()}
    shutil.copytree(place.out, tmp_path / "before")
    for name in (None, "learn", "perturb"):
        if name is not None:
            paths[name].unlink()
        running.make(config, place)
        for one, path in paths.items():
            assert (path.stat().st_mtime_ns == times[one]) == (one != name)
            assert_same(path, tmp_path / "before" / path.relative_to(place.out))
        times = {one: path.stat().st_mtime_ns for one, path in paths.items()}


def test_force_makes_one_stage_again(place):
    """And not those before it."""
    config = learn_config()
    learnt = running.make(config, place)
    paths = [next(place.out.glob(f"{name}/*/result.h5")) for name in ("classify", "perturb")]
    paths.append(learnt)
    for number, stage in ((2, running.make), (1, running.make)):
        before = [path.stat().st_mtime_ns for path in paths]
        stage(config if number == 2 else config.perturbed, place, FORCE)
        changed = [path.stat().st_mtime_ns != old for path, old in zip(paths, before, strict=True)]
        assert changed == [one == number for one in range(3)]


def test_a_missing_classifier(tmp_path):
    """Another one than the preset's is not trained unasked; the refusal says how."""
    place = running.Place(tmp_path, quiet=True)
    for stage, config in (
        (running.make, set_config(classifier="0123456789abcdef")),
        (running.make, learn_config()),
    ):
        with pytest.raises(InputError, match=r"classifier: .*reflfap run classify --dataset emb"):
            stage(config, place)
    assert statuses(tmp_path) == {}


def forged_classifier(out, config, digests=""):
    """A result that says it is of this config and of such images, with no weights in it."""
    text = canonical_json(config)
    folder = store.folder_for(out, "classify", text)
    about = ATTRIBUTES | {"data_sha256": digests or running.Place(out).data_of(config)}
    store.write(folder, text, about, {}, {})
    return identity(config)


def test_a_classifier_of_other_images(tmp_path):
    """Its pixels may fit, yet its classes are others."""
    name = forged_classifier(tmp_path, ClassifyConfig(dataset="mnist"), "any")
    place = running.Place(tmp_path, quiet=True)
    with pytest.raises(InputError, match="classifier: expected one of embedded, got one of mnist"):
        running.make(set_config(classifier=name), place)


def test_a_classifier_without_weights(tmp_path):
    name = forged_classifier(tmp_path, ClassifyConfig(epochs=3))
    place = running.Place(tmp_path, quiet=True)
    with pytest.raises(DamagedFileError, match="networks/standard"):
        running.make(set_config(classifier=name), place)


def retrain(place):
    """The classifier with other weights, as another library or number of threads would train."""

    def change(file):
        file["networks/standard/conv1.weight"][...] *= -0.5
        file["networks/standard/linear.bias"][...] += np.arange(10) / 10

    rewrite(place.out / "classify" / identity(CLASSIFIER) / store.RESULT, change)


def test_a_set_of_another_classifier_is_refused(place, tmp_path):
    """By both stages, until it is made again; then it is one against the present classifier."""
    config = learn_config()
    path = running.make(config.perturbed, place)
    before = content(path)[0]
    retrain(place)
    for stage, its in ((running.make, config.perturbed), (running.make, config)):
        with pytest.raises(StoreError, match=r"other weights; make it again with .*--force"):
            stage(its, place)
    assert running.make(config.perturbed, place, FORCE) == path
    assert not np.array_equal(content(path)[0][X], before[X])
    assert_same(path, running.make(config.perturbed, fresh(place, tmp_path)))
    running.make(config, place)


def test_what_learned_another_set_is_refused(place, tmp_path):
    """A set that was made again is another one where its classifier is."""
    config = learn_config()
    path = running.make(config, place)
    retrain(place)
    running.make(config.perturbed, place, FORCE)
    with pytest.raises(StoreError, match=r"`reflfap run learn .*--force`"):
        running.make(config, place)
    assert running.make(config, place, FORCE) == path
    assert_same(path, running.make(config, fresh(place, tmp_path)))


def interrupting(monkeypatch, stage, count):
    """Ctrl-C at the count-th time that `stage` says it went on; once."""
    begin, advance, seen = Bars.begin, Bars.advance, []

    def begin_and_tell(self, name, *rest):
        seen.append(name)
        begin(self, name, *rest)

    def advance_and_stop(self, amount=1):
        advance(self, amount)
        if seen[-1] == stage:
            seen.append(stage)
            if seen.count(stage) == 1 + count:
                os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Bars, "begin", begin_and_tell)
    monkeypatch.setattr(Bars, "advance", advance_and_stop)


# the stage's own name for its progress: the folder of its result, and at which step to stop
INTERRUPTED = {"standard": ("classify", 3), "perturb": ("perturb", 1), "adversarial": ("learn", 4)}


def test_learning_of_an_earlier_set_is_not_resumed(place, tmp_path, monkeypatch, capsys):
    """Interrupted, its set made again against another classifier: it starts anew."""
    config = learn_config()
    path = running.make(config.perturbed, place)
    with monkeypatch.context() as patch:
        interrupting(patch, "adversarial", 4)
        with pytest.raises(KeyboardInterrupt):
            running.make(config, place)
    retrain(place)
    running.make(config.perturbed, place, FORCE)
    other = running.Place(tmp_path / "fresh", quiet=True)
    shutil.copytree(place.out / "classify", other.out / "classify")
    shutil.copytree(path.parent, other.out / "perturb" / path.parent.name)
    assert_same(running.make(config, place), running.make(config, other))


def test_an_interruption_after_the_last_step(place, monkeypatch):
    """Ctrl-C while a set is put together ends it, and no further stage begins."""
    config, summary = learn_config(), perturbed_set.summary

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)
        return summary(*args)

    monkeypatch.setattr(perturbed_set, "summary", interrupted)
    with pytest.raises(KeyboardInterrupt):
        running.make(config, place)
    assert list(place.out.glob("perturb/*/result.h5"))
    assert not list(place.out.glob("learn/*"))


def test_a_batch_that_fails_is_kept(place):
    """A rate that no network bears: batch and weights stay, and the error says where."""
    with pytest.raises(NonFiniteError, match="not-finite") as caught:
        running.make(learn_config(rate=1e30), place)
    (kept,) = place.out.glob("learn/*/checkpoints/not-finite.h5")
    assert str(kept) in str(caught.value)


@pytest.mark.parametrize("stage", INTERRUPTED)
def test_an_interrupted_stage_resumes(tmp_path, tiny, monkeypatch, capsys, stage):
    """Ctrl-C in each of the three: the same command ends as if undisturbed, to the last bit."""
    alone, disturbed = tmp_path / "alone", tmp_path / "disturbed"
    command = ["run", "learn", "--batch", "20", "--json", "--out"]
    assert cli.main([*command, str(alone)]) == 0
    experiment, count = INTERRUPTED[stage]
    with monkeypatch.context() as patch:
        interrupting(patch, stage, count)
        assert cli.main([*command, str(disturbed)]) == 130
    assert "the same command resumes" in capsys.readouterr().err
    assert list(statuses(disturbed).values()).count("interrupted") == 1
    assert statuses(disturbed)[experiment] == "interrupted"
    assert cli.main([*command, str(disturbed)]) == 0
    said = capsys.readouterr().err
    assert re.search(rf"{stage}\S*: resumed from a checkpoint", said) or stage == "perturb"
    for path in alone.glob("*/*/result.h5"):
        assert_same(disturbed / path.relative_to(alone), path)


def test_an_interrupted_set_resumes(place, tmp_path, monkeypatch, made_blocks):
    """The block under way is finished and kept; no block is made twice; the set is that of one
    go, bit for bit."""
    config = set_config(n_adv=THREE_BLOCKS, attack_steps=1)
    with monkeypatch.context() as patch:
        interrupting(patch, "perturb", 3)
        with pytest.raises(KeyboardInterrupt):
            running.make(config, place)
    assert made_blocks() == [0]
    assert statuses(place.out)["perturb"] == "interrupted"
    path = running.make(config, place)
    assert made_blocks() == [0, 1, 2]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["lock", "result.h5"]
    assert_same(path, running.make(config, fresh(place, tmp_path)))


def test_blocks_of_another_classifier_are_made_again(place, tmp_path, monkeypatch, made_blocks):
    """A classifier that was retrained while a set was interrupted: no set is made against two."""
    config = set_config(n_adv=BLOCK + 10, attack_steps=1)
    with monkeypatch.context() as patch:
        interrupting(patch, "perturb", 3)
        with pytest.raises(KeyboardInterrupt):
            running.make(config, place)
    retrain(place)
    path = running.make(config, place)
    assert made_blocks() == [0, 0, 1]
    assert_same(path, running.make(config, fresh(place, tmp_path)))


def test_a_damaged_block_is_made_again(place, tmp_path, monkeypatch, made_blocks):
    config = set_config(n_adv=BLOCK + 10, attack_steps=1)
    with monkeypatch.context() as patch:
        interrupting(patch, "perturb", 3)
        with pytest.raises(KeyboardInterrupt):
            running.make(config, place)
    (block,) = place.out.glob("perturb/*/checkpoints/*.h5")
    block.write_bytes(block.read_bytes()[:-1])
    path = running.make(config, place)
    assert made_blocks() == [0, 0, 1]
    assert_same(path, running.make(config, fresh(place, tmp_path)))


def test_a_killed_writer_leaves_nothing_complete(place, tmp_path, made_blocks):
    """Killed at the last moment before the set has its name: the blocks are there, the set is not,
    and it is written from the blocks."""
    config = set_config(n_adv=BLOCK + 10, attack_steps=1)
    replace = os.replace

    def killed(old, new):
        if Path(new).name == store.RESULT:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(old, new)

    def work():
        os.replace = killed
        running.make(config, place)

    assert exit_code(fork(work)) == -signal.SIGKILL
    assert statuses(place.out)["perturb"] == "interrupted"
    (folder,) = place.out.glob("perturb/*")
    assert any(folder.glob(".part-*"))
    assert not (folder / store.RESULT).exists()
    path = running.make(config, place)
    assert made_blocks() == [0, 1]
    assert not any(folder.glob(".part-*"))
    assert_same(path, running.make(config, fresh(place, tmp_path)))


# bytes that a file may have: less than a block, and less than the set but more than a block
@pytest.mark.parametrize(("limit", "whole_blocks"), [(500_000, 0), (1_700_000, 2)])
def test_a_full_disk_is_reported(place, tmp_path, made_blocks, limit, whole_blocks):
    """While blocks are kept, or the set is written: exit code 1, a plain message, no set; what was
    kept is used when there is room again."""
    n = BLOCK + 50
    command = ["run", "perturb", "--classifier", identity(CLASSIFIER), "--scenario", "noise"]
    command += ["--n-adv", str(n), "--attack-steps", "1", "--out", str(place.out)]

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with open(tmp_path / "err", "w") as sys.stderr:
            return cli.main(command)

    assert exit_code(fork(work)) == 1
    said = (tmp_path / "err").read_text()
    assert "writing failed" in said
    assert "free some space" in said
    assert "Traceback" not in said
    assert statuses(place.out)["perturb"].startswith("failed: StoreError")
    before = len(made_blocks())
    path = running.make(set_config(n_adv=n, attack_steps=1), place)
    assert len(made_blocks()) - before == 2 - whole_blocks
    assert_same(path, running.make(set_config(n_adv=n, attack_steps=1), fresh(place, tmp_path)))


def test_two_processes_make_one_set(place, tmp_path, made_blocks):
    """The second waits, and finds the set complete; no block is made twice."""
    config = set_config(n_adv=THREE_BLOCKS, attack_steps=2)
    lock = place.out / "perturb" / identity(config) / store.LOCK
    said = tmp_path / "waited"

    def work():
        running.make(config, place._replace(on_wait=lambda holder: said.write_text(holder)))

    first = fork(work)
    wait_until(lambda: is_locked(lock) and lock.read_text() == f"{first}\n")
    second = fork(work)
    assert [exit_code(first), exit_code(second)] == [0, 0]
    assert said.read_text() == str(first)
    assert sorted(made_blocks()) == [0, 1, 2]
    assert statuses(place.out)["perturb"] == "complete"


@pytest.mark.parametrize("scenario", ["natural-random", "noise"])
def test_a_set_is_read_as_it_was_made(place, scenario):
    """Images, targets, labels and margins, bit for bit, from the very weights of the classifier;
    the images are mapped, and stay when the file is closed."""
    config = set_config(n_adv=BLOCK + 10, attack_steps=1, scenario=scenario)
    path = running.make(config, place)
    with store.open_result(path) as result:
        images = perturbed_set.read_set(result)
        found = {
            name: result.array(f"data/adversarial/{name}", (-1,))
            for name in ("margin_start", "margin")
        }
        label = result.array("data/source/y", (-1,), "i")
    with store.open_result(running.make(CLASSIFIER, place)) as result:
        weights = classify.classifier_weights(result)
    margin = classifier.margin_function(deep_training.deep_network(CLASSIFIER), weights, SHAPE)
    source = perturbed_set.source(
        config, deep_training.split_of(place.inputs(), config.dataset, "train")
    )
    blocks = [perturbed_set.perturb_block(config, margin, source, number) for number in (0, 1)]
    assert isinstance(images.x, np.memmap)
    assert (images.x.dtype, images.x.shape) == (np.float32, (BLOCK + 10, *SHAPE))
    assert np.array_equal(
        images.x.reshape(len(images.x), -1), np.concatenate([b.x for b in blocks])
    )
    assert np.array_equal(images.y, source.target)
    assert np.array_equal(label, source.label)
    for name, values in found.items():
        assert np.array_equal(values, np.concatenate([getattr(one, name) for one in blocks]))


def test_the_classifier_shapes_its_own_network(tmp_path):
    """A classifier of another kind than the preset's is attacked as it is."""
    wide = ClassifyConfig(epochs=1, subset=20, batch=10, network="wideresnet")
    place = running.Place(tmp_path, quiet=True)
    running.make(wide, place)
    path = running.make(set_config(classifier=identity(wide), n_adv=5), place)
    assert statuses(tmp_path) == {"classify": "complete", "perturb": "complete"}
    with store.open_result(path) as result:
        assert result.metrics["loss_perturbed"] < result.metrics["loss_source"]


def test_a_damaged_set_is_refused(place):
    """One changed bit: no reader takes it, and the stages make it again."""
    config = learn_config()
    path = running.make(config.perturbed, place)
    before, good = content(path), path.read_bytes()
    middle = len(good) // 2
    path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    with pytest.raises(DamagedFileError, match="altered"), store.open_result(path):
        pytest.fail("read")
    running.make(config, place)
    after = content(path)
    assert before[1:] == after[1:]
    assert np.array_equal(before[0][X], after[0][X])


FOREIGN = {
    "chunked": {"chunks": (1, *SHAPE)},
    "compressed": {"compression": "gzip"},
    "whole numbers": {"dtype": "i4"},
    "of another shape": {"shape": (40, 784)},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_strangers_set_is_refused(place, what):
    """Sealed well, yet with images that cannot be mapped."""
    config = learn_config()
    path = running.make(config.perturbed, place)

    def change(file):
        values = file[X][...]
        del file[X]
        how = {"shape": values.shape, **FOREIGN[what]}
        file.create_dataset(X, data=values.astype(how.pop("dtype", "f4")), **how)

    rewrite(path, change)
    with pytest.raises(DamagedFileError, match=X):
        running.make(config, place)
    assert statuses(place.out).get("learn", "failed: Damaged").startswith("failed: Damaged")


@pytest.mark.parametrize("subset", [0, 30, 1000])
def test_subsets_are_the_first_samples(place, subset):
    """A part of the set is learned as if there were no more; of fewer, all are."""
    config = learn_config(subset=subset)
    path = running.make(config, place)
    with store.open_result(running.make(config.perturbed, place)) as result:
        images = perturbed_set.read_set(result)
    few = classifier.Images(images.x[: subset or 40], images.y[: subset or 40])
    test = deep_training.split_of(place.inputs(), config.dataset, "test")
    expected = deep_training.fit(learn_config(), "adversarial", few, test)
    arrays, metrics, _ = content(path)
    for name, values in classifier.to_released(expected.weights).items():
        assert np.array_equal(arrays[f"networks/adversarial/{name}"], values)
    assert metrics["acc_adversarial_test"] == expected.metrics["acc_adversarial_test"]


def test_a_batch_larger_than_the_set_is_refused(place):
    with pytest.raises(InputError, match="batch: expected at most the 40 samples, got 41"):
        running.make(learn_config(batch=41), place)


SET_METRICS = {"attack_success", "attack_success_argmax", "loss_source", "loss_perturbed"}
SET_METRICS |= {"samples", "cosine_standard"}
SET_METRICS |= {f"size_{norm}{which}" for norm in ("l0", "l2", "linf") for which in ("", "_max")}
SET_METRICS |= {"span", "span_random", "span_few", "span_few_random", "span_few_images"}
LEARN_METRICS = SET_METRICS | {"cosine_adversarial", "cosine_gradients", "loss_adversarial"}
LEARN_METRICS |= {f"acc_adversarial_{which}" for which in ("own", "test", "test_best")}
OPTIONS = ["--classifier", identity(CLASSIFIER), "--n-adv", "40", "--attack-steps", "2"]


def test_commands(place, capsys):
    """One JSON object each, with these keys; the files are good, and hold what docs promise."""
    reports = {}
    for command, more in (("perturb", []), ("learn", ["--epochs=1", "--batch=10", "--width=1"])):
        words = ["run", command, *OPTIONS, *more, "--out", str(place.out), "--json"]
        assert cli.main(words) == 0
        reports[command] = json.loads(capsys.readouterr().out)
        assert set(reports[command]) == {"run_id", "path", "metrics", "wall_seconds"}
        assert cli.main(words) == 0  # found, not made again
        assert json.loads(capsys.readouterr().out) == reports[command]
    assert set(reports["perturb"]["metrics"]) == SET_METRICS
    assert set(reports["learn"]["metrics"]) == LEARN_METRICS
    assert reports["perturb"]["metrics"]["samples"] == 40
    arrays = content(Path(reports["perturb"]["path"]))[0]
    assert arrays["metrics_by_class/attack_success"].shape == (10,)
    assert {"gradients/standard", "gradients/perturbation", "data/source/y"} <= arrays.keys()
    arrays, metrics, _ = content(Path(reports["learn"]["path"]))
    assert arrays["confusion"].sum() == 200  # test images
    accuracy = np.trace(arrays["confusion"]) / 200
    assert metrics["acc_adversarial_test"] == pytest.approx(accuracy)
    assert arrays["gradients/adversarial"].shape == (10, 784)
    assert arrays["traces/adversarial/accuracy_test"].shape == (1,)
    assert cli.main(["verify", "--out", str(place.out)]) == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["perturb", "--n-adv", "0"], "n_adv"),
        (["perturb", "--scenario", "natural"], "scenario"),
        (["perturb", "--norm", "l0", "--epsilon", "0.5"], "epsilon"),
        (["perturb", "--epsilon", "nan"], "epsilon"),
        (["perturb", "--classifier", "../x"], "classifier"),
        (["perturb", "--classifier", "0123456789abcdef"], "reflfap run classify"),
        (["learn", "--classifier", "0123456789abcdef"], "reflfap run classify"),
        (["learn", "--depth", "16"], "depth"),
        (["learn", "--batch", "1"], "batch"),
        (["perturb", "--device", "tpu"], "device"),
        (["perturb", "--epochs", "3"], "epochs"),
    ],
)
def test_bad_input_is_refused(tmp_path, capsys, words, named):
    """Exit code 2, the option by its name, nothing on standard output, nothing made."""
    try:
        code = cli.main(["run", *words, "--out", str(tmp_path)])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert code == 2
    assert named in said.err.replace("-", "_") or named in said.err
    assert said.out == ""
    assert statuses(tmp_path) == {}


def test_a_killed_set_resumes(place, tmp_path, made_blocks):
    """A process that is killed while it makes a block leaves the lock free, and earlier blocks."""
    config = set_config(n_adv=THREE_BLOCKS, attack_steps=1)
    child = fork(lambda: running.make(config, place))
    wait_until(lambda: len(made_blocks()) >= 2)
    kill(child)
    path = running.make(config, place)
    assert set(made_blocks()) == {0, 1, 2}
    assert made_blocks().count(0) == 1
    assert_same(path, running.make(config, fresh(place, tmp_path)))


def test_sets_of_each_norm(place):
    """Sizes of what is stored are within epsilon, in the units of its norm."""
    for norm, epsilon in (("l0", 4), ("l2", 1.5), ("linf", 0.2)):
        config = PerturbConfig(
            classifier=identity(CLASSIFIER), norm=norm, epsilon=epsilon, n_adv=20
        )
        with store.open_result(running.make(config, place)) as result:
            assert 0 < result.metrics[f"size_{norm}_max"] <= epsilon * (1 + 1e-5)


def test_a_set_in_another_precision_than_its_classifier(place):
    """Is one against that classifier all the same, also when it is found again."""
    config = set_config(dtype="float64")
    path = running.make(config, place)
    before = path.stat().st_mtime_ns
    assert running.make(config, place) == path
    assert path.stat().st_mtime_ns == before


def test_figures_on_request(place, capsys):
    """Samples of a set, and the curves of what learned it, drawn beside their results."""
    some = ("--classifier", identity(CLASSIFIER), "--n-adv", "20", "--attack-steps", "1")
    brief = ("--epochs", "1", "--batch", "10", "--width", "1")
    for stage, rest, name in (("perturb", (), "gallery"), ("learn", brief, "learning_curves")):
        command = ("run", stage, *some, *rest, "--out", str(place.out), "--figure")
        assert cli.main(list(command)) == 0
        assert f"/{name}.png" in capsys.readouterr().out
        (picture,) = place.out.glob(f"{stage}/*/{name}.png")
        assert picture.stat().st_size > 1000
