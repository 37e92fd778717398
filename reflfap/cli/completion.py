"""Completion in a shell: a script of bash, which zsh reads too, made from the commands.

It holds all words, so that a Tab need not wait for an interpreter.
"""

from collections.abc import Callable, Mapping

from reflfap.cli.options import options_of
from reflfap.data_loaders.registry import DATA_SETS

SHELLS = ("bash", "zsh")
_NAMES = {"dataset": tuple(DATA_SETS)}  # before those of files

_SCRIPT = """\
# Completion of reflfap. In ~/.bashrc or ~/.zshrc: eval "$(reflfap completion {shell})"
{first}_reflfap() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} before=$((COMP_CWORD - 1)) found=
    case "${{COMP_WORDS[*]:1:$before}} " in
{cases}
    esac
    COMPREPLY=($(compgen -W "$found" -- "$cur"))
}}
complete -o default -F _reflfap reflfap
"""
_FIRST = {
    "bash": "",
    "zsh": """\
whence compdef > /dev/null || { autoload -U +X compinit && compinit; }
autoload -U +X bashcompinit && bashcompinit
""",
}


def script(commands: Mapping[tuple[str, ...], Callable[..., None]], shell: str) -> str:
    """The script: after the words so far, in quotes, what may follow.

    Where a word is neither a command nor begins with a dash, the shell completes names of files.
    """
    cases = []
    for words, command in commands.items():
        options = [one for one in options_of(command) if not one.positional]
        start = " ".join(words)
        for one in options:
            if may_follow := one.choices or _NAMES.get(one.name, ()):
                cases.append(_case(f'"{start} "*"{one.flag} "', may_follow))
        flags = " ".join(one.flag for one in options)
        cases.append(f'        "{start} "*) [[ $cur == -* ]] && found="{flags} --help" ;;')
    groups = dict.fromkeys(words[0] for words in commands if len(words) > 1)
    for group in groups:
        below = [words[1] for words in commands if words[0] == group]
        cases.append(_case(f'"{group} "', below))
    cases.append(_case('" "', list(dict.fromkeys(words[0] for words in commands))))
    return _SCRIPT.format(shell=shell, first=_FIRST[shell], cases="\n".join(cases))


def _case(pattern: str, words: tuple[str, ...] | list[str]) -> str:
    return f'        {pattern}) found="{" ".join(words)}" ;;'
