"""The command line, `reflfap`: joins experiments, store and figures.

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted (run again to resume).
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

import reflfap
from reflfap import audit, audit_page, store
from reflfap.backend import keep_freed_memory, namespace_for
from reflfap.config import ArtificialConfig, CertificatesConfig, Config, canonical_json
from reflfap.errors import InputError, ReflfapError, refuse
from reflfap.experiments import artificial, certificates
from reflfap.experiments.cell import Cell
from reflfap.files import lock, write_text
from reflfap.monitor import Monitor
from reflfap.progress import Bars, RunMonitor, say
from reflfap.provenance import describe


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run; nothing here changes a number."""

    out: Path = Path("results")
    """folder of all results"""
    json: bool = False
    """print one JSON object on standard output"""
    force: bool = False
    """compute again even if a complete result is there"""


@dataclass(frozen=True, kw_only=True)
class ArtificialOptions(RunOptions):
    """More ways to run (E1)."""

    figure: bool = False
    """draw the decision map next to the result, as PNG and PDF"""
    save_data: bool = False
    """store natural data and noise too, which are otherwise drawn again from the seed"""
    device: Literal["cpu", "cuda"] = "cpu"
    """cpu: NumPy; cuda: CuPy"""


class Computed(NamedTuple):
    """What an experiment leaves to be stored."""

    metrics: Mapping[str, float]
    datasets: Mapping[str, store.Dataset]


def run_artificial(
    config: tyro.conf.OmitArgPrefixes[ArtificialConfig],
    options: tyro.conf.OmitArgPrefixes[ArtificialOptions],
) -> None:
    """Learn from perturbed noise (E1): standard, noise and adversarial networks."""
    xp = namespace_for(options.device)

    def compute(monitor: Monitor) -> Computed:
        cell = artificial.run(config, xp, monitor)
        return Computed(cell.metrics, _datasets(config, cell, options.save_data))

    needed = ("data/natural/x",) if options.save_data else ()
    about = {**describe(xp.__name__, options.device), "dtype": config.dtype}
    path = _run(config, options, compute, about, needed)
    with store.open_result(path) as result:
        pictures = _draw(result) if options.figure else []
        _report(result, pictures, options.json)


def run_certificates(
    config: tyro.conf.OmitArgPrefixes[CertificatesConfig],
    options: tyro.conf.OmitArgPrefixes[RunOptions],
) -> None:
    """Check the theory where its condition holds, nearly holds and fails (E4)."""

    def compute(monitor: Monitor) -> Computed:
        return Computed(certificates.run(config, monitor), {})

    about = {**describe("numpy", "cpu"), "dtype": "float64"}
    with store.open_result(_run(config, options, compute, about)) as result:
        _report(result, [], options.json)


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
        about = {"version": reflfap.__version__, **describe("numpy", "cpu")}
        del about["versions_json"]
        about["seconds"] = f"{time.perf_counter() - start:.1f}"
        write_text(html, audit_page.page(rows, {name: str(what) for name, what in about.items()}))
    if json:
        _print_json({"statements": [row._asdict() for row in rows], "unknown_tags": unknown})
    else:
        for row in rows:
            verdict = "holds" if row.passed else "FAILS"
            shown = f"{row.residual:.1e} of at most {row.tolerance:.0e}"
            print(f"{row.tag}  {verdict}  {shown:<26}  {', '.join(row.places) or 'no code'}")
        print(f"{len(rows) - len(failed)} of {len(rows)} statements hold")
    if failed or unknown:
        raise ReflfapError(f"audit: {', '.join(failed + unknown)}")


def _run(
    config: Config,
    options: RunOptions,
    compute: Callable[[Monitor], Computed],
    about: Mapping[str, Any],
    needed: Sequence[str] = (),
) -> Path:
    """The result file of a config: the complete one that is there, or a new one."""
    keep_freed_memory()
    text = canonical_json(config)
    folder = store.folder_for(options.out, config.experiment, text)
    with lock(folder / store.LOCK, _say_waiting):
        path, checkpoints = folder / store.RESULT, store.Checkpoints(folder)
        if options.force or not _reusable(path, needed):
            if options.force:
                checkpoints.clear()
            start = time.perf_counter()
            with RunMonitor(checkpoints) as monitor:
                found = compute(monitor)
                attributes = {**about, "wall_seconds": time.perf_counter() - start}
                store.write(folder, text, attributes, found.metrics, found.datasets)
        else:
            say(f"complete result found, nothing to compute: {path}")
        checkpoints.clear()  # also those of a run that was killed just after its result was there
    return path


def list_runs(out: Path = Path("results"), json: bool = False) -> None:
    """List the runs below a results folder, complete or not.

    Args:
        out: folder of all results
        json: print one JSON list on standard output
    """
    runs = list(store.list_results(out))
    if json:
        _print_json([run._asdict() for run in runs])
        return
    if not runs:
        say(f"no runs below {out}; make one with `reflfap run artificial`")
    for run in runs:
        accuracy = run.metrics.get("acc_adversarial")
        shown = "" if accuracy is None else f"  acc_adversarial {accuracy:.3f}"
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
        _report(result, [], json, everything=True)


def verify_runs(
    runs: tyro.conf.Positional[tuple[str, ...]] = (), out: Path = Path("results")
) -> None:
    """Check files to the last bit: seal, schema, run id, config. Exit code 1 if one fails.

    Args:
        runs: run ids or paths; all complete results below the folder if none is given
        out: folder of all results
    """
    paths = [store.find(out, run) for run in runs]
    paths = paths or [run.path for run in store.list_results(out) if run.path.exists()]
    damaged = 0
    for path in paths:
        try:
            with store.open_result(path) as result:
                names = result.names()
            print(f"good     {path}  ({len(names)} arrays)")
        except ReflfapError as error:
            damaged += 1
            print(f"damaged  {error}")
    if damaged:
        raise ReflfapError(f"{damaged} of {len(paths)} results are damaged")


COMMANDS: dict[tuple[str, ...], Callable[..., None]] = {
    ("run", "artificial"): run_artificial,
    ("run", "certificates"): run_certificates,
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


def _reusable(path: Path, needed: Sequence[str]) -> bool:
    """Whether a valid complete result with all that is asked for is there."""
    if not path.exists():
        return False
    try:
        with store.open_result(path) as result:
            return set(needed) <= set(result.names())
    except ReflfapError as error:
        say(f"{error}\ncomputing it again")
        return False


def _datasets(config: ArtificialConfig, cell: Cell, save_data: bool) -> dict[str, store.Dataset]:
    """All arrays of the result file, by name."""
    sets = {"adversarial": (cell.x_adv, cell.y_adv)}
    if save_data:
        sets |= {"natural": artificial.natural(config), "noise": artificial.noise(config)}
    datasets = {}
    for name, (x, y) in sets.items():
        datasets[f"data/{name}/x"] = store.Dataset(x, "sample, input", "data units")
        datasets[f"data/{name}/y"] = store.Dataset(y, "sample", "label +1 or -1")
    for name, W in cell.weights.items():
        datasets[f"networks/{name}/W"] = store.Dataset(W, "hidden unit, input", "1 / data units")
    units = {"time": "flow time", "loss": "mean loss", "step": "learning rate or flow time"}
    for name, trace in cell.traces.items():
        for key, values in trace._asdict().items():
            datasets[f"traces/{name}/{key}"] = store.Dataset(
                values, "state", units.get(key, "count")
            )
    return datasets


def _draw(result: store.Result) -> list[Path]:
    from figures import decision_map  # matplotlib is slow to import: only when asked for

    return decision_map.save(result, result.path.parent)


def _report(
    result: store.Result, pictures: list[Path], as_json: bool, everything: bool = False
) -> None:
    """Print a result: one JSON object, or lines for people."""
    attributes = result.attributes
    if as_json:
        report = {
            "run_id": attributes["run_id"],
            "path": str(result.path.resolve()),
            "metrics": result.metrics,
            "wall_seconds": attributes["wall_seconds"],
        }
        if everything:
            report["config"] = json.loads(attributes["config_json"])
            report["attributes"] = attributes
        _print_json(report)
        return
    print(f"run       {attributes['run_id']}  ({attributes['wall_seconds']:.1f} s)")
    if everything:
        for name, value in sorted(attributes.items()):
            print(f"{name:<18}{value}")
    width = 2 + max(22, *(len(name) for name in result.metrics))
    for name, value in sorted(result.metrics.items()):
        print(f"{name:<{width}}{value:.6g}")
    print(f"result    {result.path}")
    for picture in pictures:
        print(f"picture   {picture}")


def _usage() -> str:
    lines = ["usage: reflfap COMMAND [options]", "", "commands:"]
    for words, command in COMMANDS.items():
        summary = (command.__doc__ or "").partition("\n")[0]
        lines.append(f"  {' '.join(words):<16}{summary}")
    return "\n".join([*lines, "", "`reflfap COMMAND --help` lists the options of a command."])


def _print_json(content: object) -> None:
    print(json.dumps(content, sort_keys=True, default=str))  # paths as text


def _say_waiting(holder: str) -> None:
    say(f"another process ({holder}) is working on this run; waiting for it")
