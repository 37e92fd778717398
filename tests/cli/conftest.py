"""Commands run in this process, for the tests of the command line."""

import json
import re
from typing import Any, NamedTuple

import pytest

from reflfap.cli import main as cli


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.out.count("\n") == 1
        return json.loads(self.out)


def call(*argv: object) -> int:
    """The exit code of one command; tyro leaves by SystemExit after what it refuses itself."""
    try:
        return cli.main([str(word) for word in argv])
    except SystemExit as end:
        return end.code


@pytest.fixture
def reflfap_cli(capsys):
    """Run one command in this process; what it printed, without tyro's frames."""

    def run(*argv: object) -> Said:
        code = call(*argv)
        out, err = capsys.readouterr()
        return Said(code, out, " ".join(re.sub("[╭╮╰╯│─]", " ", err).split()))

    return run
