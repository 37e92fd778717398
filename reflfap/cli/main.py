"""The command line, `reflfap`: joins experiments, store and figures.

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted (run again to resume).
"""

import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tyro

import reflfap
from reflfap.cli.audit import run_audit
from reflfap.cli.data import check_data, convert_data, fetch_data, list_data
from reflfap.cli.figures import make_figures
from reflfap.cli.run import print_json, report, run_command
from reflfap.cli.sweep import sweep_collect, sweep_command, sweep_status
from reflfap.errors import InputError, ReflfapError, StoreError, refuse
from reflfap.experiments import registry
from reflfap.runs import store
from reflfap.runs.interruption import EXIT_CODE
from reflfap.sealed import read_sealed
from reflfap.sweep import parts
from reflfap.terminal import say, tell


def list_runs(out: Path = Path("results"), json: bool = False) -> None:
    """List the runs below a results folder, complete or not.

    Args:
        out: folder of all results
        json: print one JSON list on standard output
    """
    runs = list(store.list_results(out))
    if json:
        keys = ("run_id", "experiment", "path", "status", "metrics")
        print_json([{name: getattr(run, name) for name in keys} for run in runs])
        return
    if not runs:
        say(f"no runs below {out}; make one with `reflfap run artificial`")
    for run in runs:
        names = [
            name
            for name in ("acc_adversarial", "acc_adversarial_test", "acc_standard_test")
            if name in run.metrics
        ]
        shown = f"  {names[0]} {run.metrics[names[0]]:.3f}" if names else ""
        tell(f"{run.experiment}  {run.run_id}  {run.status}{shown}")


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


OTHERS: dict[tuple[str, ...], Callable[..., None]] = {
    ("sweep", "status"): sweep_status,
    ("sweep", "collect"): sweep_collect,
    ("data", "list"): list_data,
    ("data", "fetch"): fetch_data,
    ("data", "check"): check_data,
    ("data", "convert"): convert_data,
    ("figures",): make_figures,
    ("audit",): run_audit,
    ("list",): list_runs,
    ("show",): show_run,
    ("verify",): verify_runs,
}


def commands() -> dict[tuple[str, ...], Callable[..., None]]:
    """All commands by their words: `run` of each experiment, `sweep` where there are grids."""
    every = [registry.named(name) for name in registry.MODULES]
    found: dict[tuple[str, ...], Callable[..., None]] = {}
    found |= {("run", one.name): run_command(one) for one in every}
    found |= {("sweep", one.name): sweep_command(one) for one in every if one.presets}
    return found | OTHERS


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, never a traceback for what reflfap refuses."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(args)
    except InputError as error:
        say(f"reflfap: error: {error}")
        return 2
    except BrokenPipeError:  # whoever reads has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ReflfapError, OSError, MemoryError) as error:
        say(f"reflfap: failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("reflfap: interrupted; the same command resumes")
        return EXIT_CODE


def _run(args: list[str]) -> int:
    """The command that the arguments say, or help on what they begin."""
    if args[:1] in (["-V"], ["--version"]):
        tell(f"reflfap {reflfap.__version__}")
        return 0
    known = commands()
    for words, command in known.items():
        if tuple(args[: len(words)]) == words:
            prog = " ".join(("reflfap", *words))
            flags = (tyro.conf.FlagCreatePairsOff,)
            tyro.cli(command, prog=prog, args=args[len(words) :], config=flags)
            sys.stdout.flush()
            return 0
    asked = [word for word in args if word not in _HELP]
    of_group = [words for words in known if words[: len(asked)] == tuple(asked)]
    if of_group and (len(asked) < len(args) or not args):  # `reflfap`, `help`, `run --help`
        tell(_usage({words: known[words] for words in of_group}, " ".join(asked)))
        return 0
    near = difflib.get_close_matches(" ".join(asked[:2]), map(" ".join, known), n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`reflfap --help` lists the commands"
    of_first = [" ".join(words) for words in known if words[:1] == tuple(asked[:1])]
    choices = ", ".join(of_first or dict.fromkeys(words[0] for words in known))
    refuse("command", f"one of {choices}", " ".join(args[:2]), hint)


_HELP = {"-h", "--help", "help"}


def _usage(known: Mapping[tuple[str, ...], Callable[..., None]], of: str) -> str:
    """What can be asked for, all of it or the commands of a group."""
    lines = [f"usage: reflfap {of or 'COMMAND'} {'... ' if of else ''}[options]", "", "commands:"]
    for words, command in known.items():
        summary = (command.__doc__ or "").partition("\n")[0]
        lines.append(f"  {' '.join(words):<18}{summary}")
    last = "`reflfap COMMAND --help` lists the options of a command; `reflfap -V` says the version."
    return "\n".join([*lines, "", last])
