"""The command line, `reflfap`: joins experiments, store and figures.

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted (run again to resume).
"""

import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import tyro

import reflfap
from reflfap import checks
from reflfap.cli.audit import run_audit
from reflfap.cli.completion import SHELLS, script
from reflfap.cli.data import check_data, convert_data, fetch_data, list_data
from reflfap.cli.export import export_run
from reflfap.cli.figures import make_figures
from reflfap.cli.options import call
from reflfap.cli.own import with_own_images
from reflfap.cli.results import list_runs, remove_runs, show_run, verify_runs
from reflfap.cli.run import run_command
from reflfap.cli.sweep import sweep_collect, sweep_command, sweep_status
from reflfap.errors import InputError, ReflfapError, refuse
from reflfap.experiments import registry
from reflfap.runs.interruption import EXIT_CODE
from reflfap.terminal import say, tell

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
    ("export",): export_run,
    ("verify",): verify_runs,
    ("rm",): remove_runs,
}


def completion(shell: tyro.conf.Positional[str]) -> None:
    """Print what makes a shell complete commands, options and their words.

    In ~/.bashrc: eval "$(reflfap completion bash)"; in ~/.zshrc the same with zsh.

    Args:
        shell: bash or zsh
    """
    checks.choice("shell", shell, SHELLS)
    tell(script(commands(), shell))


def commands() -> dict[tuple[str, ...], Callable[..., None]]:
    """All commands by their words: `run` of each experiment, `sweep` where there are grids."""
    every = [registry.named(name) for name in registry.MODULES]
    found: dict[tuple[str, ...], Callable[..., None]] = {}
    found |= {("run", one.name): run_command(one) for one in every}
    found |= {("sweep", one.name): sweep_command(one) for one in every if one.presets}
    return found | OTHERS | {("completion",): completion}


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
    if args[:2] == ["run", "learn"] and any(one.partition("=")[0] == "--set" for one in args):
        args = ["run", "learn-set", *args[2:]]  # a set that is there needs none of the stages
    for words, command in known.items():
        if tuple(args[: len(words)]) == words:
            rest = args[len(words) :]
            rest = with_own_images(rest) if words[0] == "run" else rest
            if text := call(command, " ".join(("reflfap", *words)), rest):
                tell(text)
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
