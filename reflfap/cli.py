"""The command line, `reflfap`: joins experiments, store and figures.

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted (run again to resume).
"""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from tqdm import tqdm

import reflfap
from reflfap import store
from reflfap.backend import keep_freed_memory, namespace_for
from reflfap.config import ArtificialConfig, canonical_json
from reflfap.errors import InputError, ReflfapError, refuse
from reflfap.experiments import artificial
from reflfap.files import lock
from reflfap.monitor import Monitor
from reflfap.provenance import describe


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run; nothing here changes a number."""

    out: Path = Path("results")
    """folder of all results"""
    json: bool = False
    """print one JSON object on standard output"""
    figure: bool = False
    """draw the decision map next to the result, as PNG and PDF"""
    save_data: bool = False
    """store natural data and noise too, which are otherwise drawn again from the seed"""
    force: bool = False
    """compute again even if a complete result is there"""
    device: Literal["cpu", "cuda"] = "cpu"
    """cpu: NumPy; cuda: CuPy"""


def run_artificial(
    config: tyro.conf.OmitArgPrefixes[ArtificialConfig],
    options: tyro.conf.OmitArgPrefixes[RunOptions],
) -> None:
    """Learn from perturbed noise (E1): standard, noise and adversarial networks."""
    xp = namespace_for(options.device)
    keep_freed_memory()
    text = canonical_json(config)
    folder = store.folder_for(options.out, config.experiment, text)
    with lock(folder / store.LOCK, _say_waiting):
        path, checkpoints = folder / store.RESULT, store.Checkpoints(folder)
        if options.force or not _reusable(path, options.save_data):
            if options.force:
                checkpoints.clear()
            start = time.perf_counter()
            with RunMonitor(checkpoints) as monitor:
                cell = artificial.run(config, xp, monitor)
                attributes = {
                    **describe(xp.__name__, options.device),
                    "dtype": config.dtype,
                    "wall_seconds": time.perf_counter() - start,
                }
                datasets = _datasets(config, cell, options.save_data)
                store.write(folder, text, attributes, cell.metrics, datasets)
        else:
            _say(f"complete result found, nothing to compute: {path}")
        checkpoints.clear()  # also those of a run that was killed just after its result was there
    with store.open_result(path) as result:
        pictures = _draw(result) if options.figure else []
        _report(result, pictures, options.json)


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
        _say(f"no runs below {out}; make one with `reflfap run artificial`")
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
        _say(f"reflfap: error: {error}")
        return 2
    except (ReflfapError, OSError, MemoryError) as error:
        _say(f"reflfap: failed: {error}")
        return 1
    except KeyboardInterrupt:
        _say("reflfap: interrupted; the same command resumes")
        return 130


class RunMonitor(Monitor):
    """Progress bars on standard error, checkpoints, and an orderly end on Ctrl-C or SIGTERM.

    The first signal lets the step under way finish and keeps its state; a second ends at once.
    Checked by test_cli.py::test_an_interrupted_run_resumes.
    """

    def __init__(self, checkpoints: store.Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.interrupted = False
        self._bar: Any = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "RunMonitor":
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # signals belong to the main thread
                self._handlers[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: object) -> None:
        if self.interrupted:
            os._exit(130)  # an exception could land inside HDF5, which bears none; files are atomic
        self.interrupted = True
        _say("stopping after the step under way; once more to stop at once")

    def begin(self, stage: str, total: int, unit: str, done: int = 0) -> None:
        quiet = None  # tqdm: quiet unless standard error is a terminal
        self._bar = tqdm(total=total, initial=done, desc=stage, unit=unit, disable=quiet)

    def advance(self, amount: int = 1) -> None:
        self._bar.update(amount)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def restore(self, stage: str) -> Mapping[str, Any] | None:
        state = self.checkpoints.restore(stage)
        if state is not None:
            _say(f"{stage}: resumed from a checkpoint")
        return state

    def due(self) -> bool:
        return self.interrupted or self.checkpoints.due()

    def keep(self, stage: str, state: Mapping[str, Any]) -> None:
        self.checkpoints.keep(stage, state, at_once=self.interrupted)
        if self.interrupted:
            raise KeyboardInterrupt


def _reusable(path: Path, save_data: bool) -> bool:
    """Whether a valid complete result with all that is asked for is there."""
    if not path.exists():
        return False
    try:
        with store.open_result(path) as result:
            return not save_data or "data/natural/x" in result.names()
    except ReflfapError as error:
        _say(f"{error}\ncomputing it again")
        return False


def _datasets(
    config: ArtificialConfig, cell: artificial.Cell, save_data: bool
) -> dict[str, store.Dataset]:
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
    for name, value in sorted(result.metrics.items()):
        print(f"{name:<24}{value:.6g}")
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


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _say_waiting(holder: str) -> None:
    _say(f"another process ({holder}) is working on this run; waiting for it")
