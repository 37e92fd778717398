"""`reflfap list | show | verify | rm`: the results of a folder."""

import contextlib
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import tyro

from reflfap.cli.run import print_json, report
from reflfap.errors import ReflfapError, StoreError, refuse
from reflfap.experiments.experiment import Config
from reflfap.files import is_locked
from reflfap.runs import store
from reflfap.runs.store import Summary
from reflfap.sealed import read_sealed
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
    runs = [_shown(run) for run in store.list_results(out) if _fits(run, wanted)]
    runs.sort(key=SORTS[sort], reverse=True)
    if json:
        keys = ("run_id", "experiment", "path", "status", "metrics")
        print_json(
            [
                {name: getattr(run, name) for name in keys} | {"created": created, "size": size}
                for run, created, size in runs
            ]
        )
        return
    if not runs:
        say(f"no runs below {out}; make one with `reflfap run artificial`")
    for run, created, size in runs:
        name, accuracy = _accuracy(run)
        shown = f"  {name} {accuracy:.3f}" if name else ""
        settings = f"  {changes(run.config)}" if run.config else ""
        tell(
            f"{created[:16].replace('T', ' ')}  {run.experiment:<12}  {run.run_id}  "
            f"{run.status}{shown}  {_size(size)}{settings}"
        )


def _shown(run: Summary) -> Shown:
    folder, found = run.path.parent, []
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(OSError):
            found.append(path.lstat())
    when = datetime.fromtimestamp(max((one.st_mtime for one in found), default=0.0), UTC)
    created = run.created or when.isoformat(timespec="seconds")
    return Shown(run, created, sum(one.st_size for one in found[1:]))


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


def _size(count: int) -> str:
    """Bytes, shortly."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def changes(config: Config, default: Config | None = None) -> str:
    """The settings of a config that differ from the defaults of its kind, or from `default`."""
    usual, changed = default or type(config)(), []
    for name, value in vars(config).items():
        if name not in ("attack_steps", "variant") and value != getattr(usual, name):
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            changed.append(f"{name}={shown}")
    return " ".join(changed) or "defaults"


def show_run(
    run: tyro.conf.Positional[str], out: Path = Path("results"), json: bool = False
) -> None:
    """Show one result: its config, where it comes from, and its metrics.

    Args:
        run: a run id, its beginning, or the path of a result file
        out: folder of all results
        json: print one JSON object on standard output
    """
    with store.open_result(store.find(out, run), copy=Path(run).exists()) as result:
        report(result, [], json, everything=True)


def verify_runs(
    runs: tyro.conf.Positional[tuple[str, ...]] = (), out: Path = Path("results")
) -> None:
    """Check files to the last bit: seal, schema, run id, config. Exit code 1 if one fails.

    Of the networks that cells of a sweep share, the seal and that they are what their name says; of
    tables the seal alone.

    Args:
        runs: run ids or paths, also of copies; all results and shared networks if none is given
        out: folder of all results
    """
    found = [] if runs else list(store.list_results(out))
    paths = {store.find(out, run): Path(run).exists() for run in runs}  # may be a copy
    if not runs:
        paths = {one.path: False for one in found if one.path.exists()}
        paths |= dict.fromkeys(sorted((out / "parts").glob("*.h5")), False)
    bad = [one for one in found if one.status.startswith("unreadable")]
    for one in bad:
        tell(f"unread   {one.path.parent}: {one.status}")
    damaged = len(bad)
    for path, copy in paths.items():
        try:
            tell(f"good     {path}  ({_verified(path, copy)})")
        except ReflfapError as error:
            damaged += 1
            tell(f"damaged  {error}")
    if damaged:
        raise ReflfapError(f"{damaged} of {len(paths)} files are damaged or cannot be read")
    if not paths:
        refuse("out", f"results below {out}", "none", "give the folder of --out", StoreError)


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
        say(
            f"remove {run.experiment} {run.run_id} ({run.status}, {_size(_shown(run).size)})? [y/N]"
        )
        if input().strip().lower() not in ("y", "yes"):
            return False
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be removed ({error.strerror})") from error
    tell(f"removed  {folder}")
    return True
