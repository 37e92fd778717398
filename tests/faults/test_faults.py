"""The fault campaign itself: a few trials of each kind, so that it does not rot."""

import os
import subprocess
import sys

from project import ROOT, SUPPORT


def test_a_small_campaign(tmp_path):
    """All campaigns play, and the table says so; a defect would give exit code 1."""
    folders = (ROOT, ROOT / "tests", SUPPORT)
    done = subprocess.run(
        [sys.executable, "-m", "faults", "--share", "0.0005", "--seed", "0", "--out", "table.md"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
    )
    assert (done.returncode, done.stderr) == (0, "seeds from 0 on\n")
    assert done.stdout == (tmp_path / "table.md").read_text() + "\n"
    for name in ("kills", "damage", "command-lines", "numerical", "full-disks", "writers", "swaps"):
        assert f"\n| {name} | " in done.stdout
