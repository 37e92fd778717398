"""The command line, `reflfap`: joins experiments, store and figures.

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted (run again to resume).
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tyro

import reflfap
from reflfap import audit, audit_page, store
from reflfap.cli_data import check_data, convert_data, fetch_data, list_data
from reflfap.cli_figures import make_figures
from reflfap.cli_run import (
    print_json,
    report,
    run_artificial,
    run_certificates,
    run_classify,
    run_images,
    run_learn,
    run_perturb,
)
from reflfap.cli_sweep import (
    sweep_artificial,
    sweep_collect,
    sweep_images,
    sweep_learn,
    sweep_status,
)
from reflfap.errors import InputError, ReflfapError, refuse
from reflfap.files import read_sealed, write_text
from reflfap.progress import Bars, say
from reflfap.provenance import describe


def run_audit(json: bool = False, html: Path | None = None) -> None:
    """Check every tagged statement of the paper, and say where its code is. Under a minute.

    Exit code 1 if one does not hold, has no code, or if code names an unknown tag.

    Args:
        json: print one JSON object on standard output
        html: write a page with the same, to read in a browser, without any network
    """
    start = time.perf_counter()
    rows, unknown = audit.audit(Bars()), audit.unknown_tags()
    failed = [row.tag for row in rows if not row.passed]
    if html is not None:
        about = {"version": reflfap.__version__, **describe()}
        del about["versions_json"]
        about["seconds"] = f"{time.perf_counter() - start:.1f}"
        write_text(html, audit_page.page(rows, {name: str(what) for name, what in about.items()}))
    if json:
        print_json({"statements": [row._asdict() for row in rows], "unknown_tags": unknown})
    else:
        for row in rows:
            verdict = "holds" if row.passed else "FAILS"
            shown = f"{row.residual:.1e} of at most {row.tolerance:.0e}"
            print(f"{row.tag}  {verdict}  {shown:<26}  {', '.join(row.places) or 'no code'}")
        print(f"{len(rows) - len(failed)} of {len(rows)} statements hold")
    if failed or unknown:
        raise ReflfapError(f"audit: {', '.join(failed + unknown)}")


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
        print(f"{run.experiment}  {run.run_id}  {run.status}{shown}")


def show_run(
    run: tyro.conf.Positional[str], out: Path = Path("results"), json: bool = False
) -> None:
    """Show one result: its config, where it comes from, and its metrics.

    Args:
        run: a run id, its beginning, or the path of a result file
        out: folder of all results
        json: print one JSON object on standard output
    """
    with store.open_result(store.find(out, run)) as result:
        report(result, [], json, everything=True)


def verify_runs(
    runs: tyro.conf.Positional[tuple[str, ...]] = (), out: Path = Path("results")
) -> None:
    """Check files to the last bit: seal, schema, run id, config. Exit code 1 if one fails.

    Of a sweep's tables and shared networks, which are no results of a run, the seal alone.

    Args:
        runs: run ids or paths; all complete results below the folder if none is given
        out: folder of all results
    """
    paths = [store.find(out, run) for run in runs]
    paths = paths or [run.path for run in store.list_results(out) if run.path.exists()]
    damaged = 0
    for path in paths:
        try:
            print(f"good     {path}  ({_verified(path)})")
        except ReflfapError as error:
            damaged += 1
            print(f"damaged  {error}")
    if damaged:
        raise ReflfapError(f"{damaged} of {len(paths)} results are damaged")


def _verified(path: Path) -> str:
    """What a file holds, in short, once it is found to be good."""
    if path.name != store.RESULT:
        with read_sealed(path) as file:
            if "run_id" not in file.attrs:
                return "sealed"
    with store.open_result(path) as result:
        return f"{len(result.names())} arrays"


COMMANDS: dict[tuple[str, ...], Callable[..., None]] = {
    ("run", "artificial"): run_artificial,
    ("run", "images"): run_images,
    ("run", "certificates"): run_certificates,
    ("run", "classify"): run_classify,
    ("run", "perturb"): run_perturb,
    ("run", "learn"): run_learn,
    ("sweep", "artificial"): sweep_artificial,
    ("sweep", "images"): sweep_images,
    ("sweep", "learn"): sweep_learn,
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, never a traceback for what reflfap refuses."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] in (["-h"], ["--help"], ["--version"]):
        print(f"reflfap {reflfap.__version__}" if args[0] == "--version" else _usage())
        return 0
    try:
        for words, command in COMMANDS.items():
            if tuple(args[: len(words)]) == words:
                prog = " ".join(("reflfap", *words))
                flags = (tyro.conf.FlagCreatePairsOff,)
                tyro.cli(command, prog=prog, args=args[len(words) :], config=flags)
                return 0
        known = ", ".join(" ".join(words) for words in COMMANDS)
        refuse("command", f"one of {known}", " ".join(args[:2]) or "none", "see reflfap --help")
    except InputError as error:
        say(f"reflfap: error: {error}")
        return 2
    except (ReflfapError, OSError, MemoryError) as error:
        say(f"reflfap: failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("reflfap: interrupted; the same command resumes")
        return 130


def _usage() -> str:
    lines = ["usage: reflfap COMMAND [options]", "", "commands:"]
    for words, command in COMMANDS.items():
        summary = (command.__doc__ or "").partition("\n")[0]
        lines.append(f"  {' '.join(words):<18}{summary}")
    return "\n".join([*lines, "", "`reflfap COMMAND --help` lists the options of a command."])
