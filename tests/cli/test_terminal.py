"""What people and their shells see: help, letters, escape sequences, JSON, completion."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from reflfap.cli import main as cli
from reflfap.cli.options import options_of

COMMANDS = cli.commands()
SIZES = ("--dim=20", "--hidden=6", "--n=5", "--n-adv=7")
RUN = ("run", "artificial", *SIZES, "--trainer=gd")
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ESCAPE = "\x1b"


def process(*words, **environment):
    """One command in an interpreter of its own: its code, output and errors, as bytes."""
    command = [sys.executable, "-m", "reflfap", *map(str, words)]
    return subprocess.run(command, capture_output=True, env=os.environ | environment)


def at_a_terminal(*words, **environment):
    """The exit code of one command at a terminal, and all that it writes there."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 80))
    command = [sys.executable, "-m", "reflfap", *map(str, words)]
    with subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, env=os.environ | environment
    ) as started:
        os.close(its)
        found = b""
        try:
            while piece := os.read(ours, 4096):
                found += piece
        except OSError:  # Linux's word for the end
            pass
        os.close(ours)
    return started.returncode, found.decode()


def said(capsys, *words):
    """Exit code, output and errors of one command in this process."""
    try:
        code = cli.main([str(word) for word in words])
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_is_plain(capsys, words):
    """All options with what they take and do; no word of Python or tyro, and no line too long."""
    code, out, err = said(capsys, *words, "--help")
    assert (code, err) == (0, "")
    assert out.isascii()
    assert out.isprintable() or not set(out) - set(map(chr, range(32, 127))) - {"\n"}
    assert not re.search(r"\bNone\b|default: (False|\))|options options", out)
    assert max(map(len, out.splitlines())) <= 100
    headings = re.findall(r"^(\w.*):$", out, re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert set(headings) <= {
        *("arguments", "options"),
        *("settings, which define the run", "ways to run, which change no number"),
        "files, and ways to run",
    }
    for one in options_of(COMMANDS[words]):
        assert one.about, one.name
        shown = one.name.upper() if one.positional else one.usage
        assert re.search(rf"^  {re.escape(shown)}( |$)", out, re.MULTILINE), shown


def test_defaults_in_words(capsys):
    """Those that follow from others are said, and flags have none."""
    out = " ".join(said(capsys, "run", "artificial", "--help")[1].split())
    assert "may change (default: see above)" in out
    assert "seed of all random numbers (default: 0)" in out
    assert "--norm {l0,l2,linf} norm that limits a perturbation (default: l2)" in out
    assert "as PNG and PDF --device STR" in out
    assert "samples a step (default: as the preset says)" in " ".join(
        said(capsys, "run", "learn", "--help")[1].split()
    )


def test_options_left_open_can_be_said(capsys, tmp_path):
    """What is shown as FLOAT takes None too, as before; a value of another type is refused."""
    out = ("--out", tmp_path)
    assert said(capsys, *RUN, "--epochs=5", "--epsilon", "None", *out)[0] == 0
    code, _, err = said(capsys, *RUN, "--epsilon", "much", *out)
    assert code == 2
    assert "--epsilon FLOAT" in err


@pytest.mark.parametrize("letters", [ASCII, {"PYTHONIOENCODING": "ascii"}], ids=["C", "UTF-8"])
def test_an_ascii_terminal(tmp_path, letters):
    """Nothing is lost and nothing fails where other letters come in, and none can go out."""
    for words in ((*RUN, "--epochs=5"), ("list",), (*RUN, "--epsilon=☃")):
        done = process(*words, "--out", tmp_path / "☃", **letters)
        text = (done.stdout + done.stderr).decode("ascii")  # no other byte
        assert done.returncode == (2 if "--epsilon=☃" in words else 0), text
        assert ESCAPE not in text
        assert "?" not in text
        assert "Traceback" not in text
        assert words == ("list",) or r"\u2603" in text or r"\udce2" in text


@pytest.mark.parametrize(
    ("more", "bars"),
    [({"NO_COLOR": "1", "TERM": "xterm"}, True), ({"TERM": "dumb"}, False), (ASCII, True)],
    ids=["NO_COLOR", "dumb", "ascii"],
)
def test_progress_at_a_terminal(tmp_path, more, bars):
    """Bars without escape sequences, in letters that there are; none where a line only grows."""
    more = {"TERM": "xterm", **more}
    code, found = at_a_terminal(*RUN, "--epochs=5", "--out", tmp_path, **more)
    assert code == 0
    assert ESCAPE not in found
    assert ("standard: 100%" in found) == bars
    assert bars or "\r" not in found.replace("\r\n", "")
    assert found.isascii() == ("PYTHONIOENCODING" in more or not bars)
    assert "adversarial network:" in found


@pytest.mark.parametrize("word", ["--help", "--dimm", "--dim=many", "--norm=l3"])
def test_no_colours_at_a_terminal(word):
    """Nor frames: neither in help nor in what tyro says of a mistake."""
    code, found = at_a_terminal("run", "artificial", word, TERM="xterm", LC_ALL="C.UTF-8")
    assert code == (0 if word == "--help" else 2)
    assert word.partition("=")[0] in found
    assert ESCAPE not in found
    assert found.isascii()


def test_json_is_alone_on_standard_output(capsys, tmp_path):
    """Of every command that has --json: one line, which is JSON."""
    out = ("--out", tmp_path)
    said(capsys, *RUN, "--epochs=5", *out)
    (path,) = tmp_path.glob("*/*/result.h5")
    lines = {
        ("run", "artificial"): (*SIZES, "--trainer=gd", "--epochs=6", *out),
        ("sweep", "artificial"): ("--preset", "smoke", "--dry-run", *out),
        ("sweep", "status"): out,
        ("figures",): ("decision_map", *out, "--folder", tmp_path / "pictures"),
        ("audit",): (),
        ("list",): out,
        ("show",): (path,),
        ("verify",): out,
        ("export",): (path, "--npz", tmp_path / "arrays.npz"),
    }
    with_json = {
        words for words in COMMANDS if "json" in [one.name for one in options_of(COMMANDS[words])]
    }
    assert lines.keys() <= with_json
    assert {words[0] for words in with_json} >= {words[0] for words in lines}
    for words, more in lines.items():
        _, text, _ = said(capsys, *words, *more, "--json")
        assert text.count("\n") == 1, words
        json.loads(text)


COMPLETED = {  # what is on the command line: what may follow, at least
    ("",): {"run", "sweep", "data", "list", "export"},
    ("run", "art"): {"artificial"},
    ("run", ""): {"artificial", "images", "learn"},
    ("run", "artificial", "--ep"): {"--epsilon", "--epochs"},
    ("run", "artificial", "--seed", "1", "--norm", ""): {"l0", "l2", "linf"},
    ("run", "artificial", "--norm", "li"): {"linf"},
    ("list", "--"): {"--where", "--sort", "--out", "--json", "--help"},
    ("data", "fe"): {"fetch"},
    ("run", "artificial", "--out", "x"): set(),  # then the shell's own: files
}
SHELLS = {
    "bash": ("bash", "--norc", "-c", "{script}{words}"),
    # as zsh's bashcompinit calls it; compdef belongs to the line editor, which is not there
    "zsh": (
        *("zsh", "-f", "-c"),
        "compdef() {{ :; }}\n{script}emulate sh\nsetopt kshglob noshglob braceexpand\n{words}",
    ),
}
CALL = "COMP_WORDS=({})\nCOMP_CWORD={}\n_reflfap; printf '%s\\n' \"${{COMPREPLY[@]}}\""


@pytest.mark.parametrize("shell", SHELLS)
def test_completion(capsys, shell):
    """Commands, options and their words, in the shell itself; no more than begins as asked."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    script = said(capsys, "completion", shell)[1]
    *before, last = SHELLS[shell]
    for typed, expected in COMPLETED.items():
        words = CALL.format(" ".join(f"'{word}'" for word in ("reflfap", *typed)), len(typed))
        text = last.format(script=script, words=words)
        done = subprocess.run([*before, text], capture_output=True, text=True)
        offered = set(done.stdout.split())
        found = {one for one in offered if one.startswith(typed[-1])}
        assert done.stderr == ""
        assert expected <= found, typed
        assert bool(found) == bool(expected)
        assert found == offered or shell == "zsh"  # whose line editor leaves out the others


def test_completion_is_registered(capsys):
    """Bash knows of it, and nothing is printed on the way."""
    script = said(capsys, "completion", "bash")[1]
    command = ["bash", "--norc", "-c", f"{script}complete -p reflfap"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("complete -o default -F _reflfap reflfap\n", "")


def test_completion_of_another_shell_is_refused(capsys):
    code, out, err = said(capsys, "completion", "fish")
    assert (code, out) == (2, "")
    assert "expected one of bash, zsh" in err


def test_the_page_of_commands_names_all():
    """docs/command-line.md has an example of each command."""
    page = (Path(cli.__file__).parents[2] / "docs" / "command-line.md").read_text()
    for words in COMMANDS:
        assert f"reflfap {' '.join(words)}" in page, words


def test_data_sets_as_json(capsys):
    """One list and nothing else, of what the lines for people say."""
    for command in ("list", "check"):
        words = ["data", command] + (["embedded"] if command == "check" else [])
        _, lines, _ = said(capsys, *words)
        code, out, _ = said(capsys, *words, "--json")
        assert code == 0
        assert out.count("\n") == 1
        rows = json.loads(out)
        assert len(rows) == len(lines.splitlines())
        for row, line in zip(rows, lines.splitlines(), strict=True):
            assert all(value in line for value in row.values())


def test_a_notebook_has_bars(monkeypatch, capsys):
    """Where a kernel runs, whatever standard error is; a quiet run has none there either."""
    from reflfap.runs.progress import Bars

    shown = []
    for kernel in (False, True):
        with monkeypatch.context() as patch:
            if kernel:
                patch.setitem(sys.modules, "ipykernel", object())
            for quiet in (False, True):
                bars = Bars(quiet)
                bars.begin("training", 10, "epoch")
                bars.advance(5)
                shown.append(not bars._bar.disable)
                bars.end()
    assert shown == [False, False, True, False]
    capsys.readouterr()
