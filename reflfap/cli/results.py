"""`reflfap list | show | verify | rm`: the results of a folder."""

import contextlib
import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from json import loads
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from reflfap.cli.run import as_json, as_object, in_bytes, print_json
from reflfap.errors import ReflfapError, StoreError, refuse
from reflfap.experiments.experiment import Config, Stored
from reflfap.experiments.registry import experiment_of
from reflfap.experiments.three_networks import in_words
from reflfap.files import is_locked
from reflfap.runs import store
from reflfap.runs.store import Summary
from reflfap.sealed import read_head, read_sealed
from reflfap.sweep import parts
from reflfap.terminal import say, tell

ACCURACIES = ("acc_adversarial_test", "acc_standard_test", "acc_adversarial", "attack_success")
"""The first of these that a run has is shown: on test data where there are any."""


class Shown(NamedTuple):
    """A run, and what its folder tells of it."""

    run: Summary
    created: str  # UTC; without a result, when something in the folder was changed last
    size: int  # bytes of all that lies in it


SORTS: dict[str, Callable[[Shown], Any]] = {
    "created": lambda one: one.created,
    "accuracy": lambda one: _accuracy(one.run)[1],
    "size": lambda one: one.size,
    "seconds": lambda one: one.run.wall_seconds,
}


def list_runs(
    out: Path = Path("results"),
    where: tuple[str, ...] = (),
    sort: str = "created",
    json: bool = False,
) -> None:
    """List the runs below a results folder, complete or not, the newest first.

    Args:
        out: folder of all results
        where: NAME=VALUE ...: only runs with these settings, such as norm=l2 experiment=images
        sort: created, accuracy, size or seconds; the largest first
        json: print one JSON list on standard output
    """
    if sort not in SORTS:
        refuse("sort", "one of " + ", ".join(SORTS), repr(sort), "choose one of these")
    wanted = [_setting(text) for text in where]
    line = _as_json if json else _as_line
    # of each run no more stays in memory than its line
    runs = map(_shown, (run for run in store.list_results(out) if _fits(run, wanted)))
    lines = [(SORTS[sort](one), line(one)) for one in runs]
    lines.sort(key=itemgetter(0), reverse=True)
    if json:
        print("[" + ", ".join(text for _, text in lines) + "]")
        return
    if not lines and wanted:
        say(f"no run below {out} has {' and '.join(where)}; `reflfap list` shows their settings")
    elif not lines:
        say(f"no runs below {out}; make one with `reflfap run artificial`")
    for _, text in lines:
        tell(text)


def _as_json(one: Shown) -> str:
    keys = ("run_id", "experiment", "path", "status", "metrics")
    about = {name: getattr(one.run, name) for name in keys}
    return as_json(about | {"created": one.created, "size": one.size})


def _as_line(one: Shown) -> str:
    run, (name, accuracy) = one.run, _accuracy(one.run)
    shown = f"  {name} {accuracy:.3f}" if name else ""
    settings = f"  {changes(run.config)}" if run.config else ""
    return (
        f"{one.created[:16].replace('T', ' ')}  {run.experiment:<12}  {run.run_id}  "
        f"{run.status}{shown}  {in_bytes(one.size)}{settings}"
    )


def _shown(run: Summary) -> Shown:
    found = list(_stats(str(run.path.parent)))
    created = run.created
    if not created:
        newest = max([one.st_mtime for one in found], default=0.0)
        with contextlib.suppress(OSError):
            newest = max(newest, run.path.parent.lstat().st_mtime)
        created = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds")
    return Shown(run, created, sum(one.st_size for one in found))


def _stats(folder: str) -> Iterator[os.stat_result]:
    """Of all that lies below a folder, links not followed, as far as it can be read."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    yield from _stats(entry.path)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        refuse("where", "NAME=VALUE", repr(text), "write for example --where norm=l2")
    return name.replace("-", "_"), value


def _fits(run: Summary, wanted: list[tuple[str, str]]) -> bool:
    """Whether a run has the settings; numbers may be written in any way."""
    has = {"experiment": run.experiment, "status": run.status.partition(":")[0]}
    has |= vars(run.config) if run.config else {}
    return all(name in has and _same(has[name], value) for name, value in wanted)


def _same(value: Any, text: str) -> bool:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) == text
    try:
        return float(text) == value or str(value) == text
    except ValueError:
        return str(value) == text


def _accuracy(run: Summary) -> tuple[str, float]:
    """The name and value of what a run is about; none where it has none."""
    return next(((one, run.metrics[one]) for one in ACCURACIES if one in run.metrics), ("", -1.0))


def changes(config: Config, default: Config | None = None) -> str:
    """The settings of a config that differ from the defaults of its kind, or from `default`."""
    kind: Any = type(config)
    usual, changed = default or _usual(kind), []
    for name, value in vars(config).items():
        if name not in ("attack_steps", "variant") and value != getattr(usual, name):
            changed.append(f"{name}={_setting_in_words(value)}")
    return " ".join(changed) or "defaults"


@functools.cache
def _usual(kind: Any) -> Any:
    """The config of a kind that has all defaults."""
    return kind()


def _setting_in_words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def show_run(
    run: tyro.conf.Positional[str], out: Path = Path("results"), json: bool = False
) -> None:
    """Show one result: what it is, its settings, its metrics, and what made it.

    Args:
        run: a run id, its beginning, or the path of a result file
        out: folder of all results
        json: print one JSON object on standard output
    """
    with store.open_result(store.find(out, run), copy=Path(run).exists()) as result:
        if json:
            config = vars(result.config) | loads(result.attributes["config_json"])
            print_json(as_object(result) | {"config": config, "attributes": result.attributes})
        else:
            tell("\n".join(_in_blocks(result)))


def _in_blocks(result: Stored) -> Iterator[str]:
    """A result for people: what it is and when, settings, accuracies, metrics, provenance."""
    about = dict(result.attributes)
    taken, size = about.pop("wall_seconds"), in_bytes(result.path.stat().st_size)
    yield f"run {about.pop('run_id')}: {experiment_of(result.config).summary}"
    yield f"made {about.pop('created_utc')}, in {taken:.1f} s"
    yield f"{result.path}  ({size})"
    usual = vars(type(result.config)())
    settings = {name: _setting_in_words(value) for name, value in vars(result.config).items()}
    other = {name for name, value in vars(result.config).items() if value != usual[name]}
    changed = {name: text for name, text in settings.items() if name in other}
    rest = {name: text for name, text in settings.items() if name not in other}
    metrics = {name: f"{value:.6g}" for name, value in sorted(result.metrics.items())}
    about["versions"] = re.sub('["{}]', "", about.pop("versions_json"))
    for name in ("experiment", "config_json", "schema_version"):
        del about[name]
    yield from _block("settings that differ from the defaults", changed or {"none": ""})
    yield from _block("all other settings", rest)
    if words := list(in_words(result.metrics)):
        yield from ("", "accuracies:", *(f"  {line}" for line in words))
    if words := list(experiment_of(result.config).words(result.metrics)):
        yield from ("", "in words:", *(f"  {line}" for line in words))
    yield from _block("metrics", metrics)
    yield from _block("made by", dict(sorted(about.items())))


def _block(title: str, lines: Mapping[str, object]) -> Iterator[str]:
    yield from ("", f"{title}:")
    width = 2 + max([16, *map(len, lines)])
    for name, value in lines.items():
        yield f"  {name:<{width}}{value}".rstrip()


def verify_runs(
    runs: tyro.conf.Positional[tuple[str, ...]] = (),
    out: Path = Path("results"),
    json: bool = False,
    quick: bool = False,
) -> None:
    """Check files to the last bit: seal, schema, run id, config. Exit code 1 if one fails.

    Of the networks that cells of a sweep share, the seal and that they are what their name says; of
    tables the seal alone.

    Args:
        runs: run ids or paths, also of copies; all results and shared networks if none is given
        out: folder of all results
        json: print one JSON object on standard output: what each file holds, or what is wrong
        quick: look at format, length and what lists show alone, and read no arrays
    """
    line = (lambda _: None) if json else tell
    good: dict[str, str] = {}
    bad: dict[str, str] = {}
    count = 0
    for path, copy, status in _to_verify(runs, out):
        if status.startswith("unreadable"):
            bad[str(path.parent)] = status
            line(f"unread   {path.parent}: {status}")
            continue
        count += 1
        try:
            found = _seen(path, copy, status) if quick else _verified(path, copy)
            if json:
                good[str(path)] = found
            line(f"good     {path}  ({found})")
        except ReflfapError as error:
            bad[str(path)] = str(error)
            line(f"damaged  {error}")
    if json:
        print_json({"good": good, "bad": bad})
    if bad:
        raise ReflfapError(f"{len(bad)} of {count} files are damaged or cannot be read")
    if not count:
        refuse("out", f"results below {out}", "none", "give the folder of --out", StoreError)


def _to_verify(runs: tuple[str, ...], out: Path) -> Iterator[tuple[Path, bool, str]]:
    """Files, whether each may be a copy, and its status in a list if it was looked for there."""
    named = {store.find(out, run): Path(run).exists() for run in runs}
    yield from ((path, copy, "") for path, copy in named.items())
    if not runs:
        for one in store.list_results(out):
            if one.path.exists() or one.status.startswith("unreadable"):
                yield one.path, False, one.status
        for path in sorted((out / "parts").glob("*.h5")):
            yield path, False, ""


def _seen(path: Path, copy: bool, status: str) -> str:
    """What `verify --quick` says of a file that it finds to be good."""
    if status.startswith("damaged: "):
        raise ReflfapError(status.removeprefix("damaged: "))
    if path.name == store.RESULT and not status:
        store.stated(path, copy=copy)
    elif not status:
        read_head(path)
    return "looked at its beginning alone"


def _verified(path: Path, copy: bool) -> str:
    """What a file holds, in short, once it is found to be good."""
    if path.parent.name == "parts":
        return parts.content_of(path)
    if path.name != store.RESULT:
        with read_sealed(path) as file:
            if "run_id" not in file.attrs:
                return "sealed"
    with store.open_result(path, copy=copy) as result:
        own = result.attributes["run_id"]
        elsewhere = "" if own == path.parent.name else f", a copy of run {own}"
        return f"{len(result.names())} arrays{elsewhere}"


def remove_runs(
    runs: tyro.conf.Positional[tuple[str, ...]], out: Path = Path("results"), yes: bool = False
) -> None:
    """Remove runs with all that lies in their folders, after asking. Exit code 1 if one is kept.

    Args:
        runs: run ids, or their beginnings
        out: folder of all results
        yes: do not ask
    """
    if not runs:
        refuse("runs", "at least one run id", "none", "`reflfap list` shows the run ids")
    known = {run.run_id: run for run in store.list_results(out)}
    kept = 0
    for name in runs:
        found = [run for run in known.values() if name and run.run_id.startswith(name)]
        if len(found) != 1:
            got = f"{len(found)} for {name!r}"
            refuse("run", f"one run below {out}", got, "`reflfap list` shows the run ids")
        kept += not _remove(found[0], yes)
    if kept:
        raise ReflfapError(f"{kept} of {len(runs)} runs were kept")


def _remove(run: Summary, yes: bool) -> bool:
    """Whether a run is gone."""
    folder = run.path.parent
    if is_locked(folder / store.LOCK):
        say(f"{folder}: a process works on it; end that first")
        return False
    if not yes:
        if not sys.stdin.isatty():
            refuse("yes", "an answer", "no terminal to ask at", "give --yes")
        size = in_bytes(_shown(run).size)
        say(f"remove {run.experiment} {run.run_id} ({run.status}, {size})? [y/N]")
        if input().strip().lower() not in ("y", "yes"):
            return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be removed ({error.strerror})") from error
    tell(f"removed  {folder}")
    return True
