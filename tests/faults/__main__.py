"""`python -m faults`: all campaigns, or a part of each, or one trial again.

Exit code 1 if there is a defect.
"""

import argparse
import contextlib
import importlib
import io
import os
import secrets
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import faults.one_thread  # noqa: F401  before anything that imports NumPy
from faults import damage, disks, kills, lines, numerics, swaps, writers
from faults.campaign import Bench, Campaign, play, play_all, say
from faults.child import command
from faults.table import table

CAMPAIGNS = (
    Campaign("kills", 1_000, kills.trial),
    Campaign("damage", 10_000, damage.trial),
    Campaign("command-lines", 1_000, lines.trial),
    Campaign("numerical", 500, numerics.trial),
    Campaign("full-disks", 150, disks.trial),
    Campaign("writers", 100, writers.trial),
    Campaign("swaps", 300, swaps.trial),
)

PRELOADED = (
    *(
        "reflfap.figures.registry",
        "reflfap.figures.prediction",
        "reflfap.audit.page",
        "reflfap.audit.statements",
    ),
    *("matplotlib.backends.backend_pdf", "matplotlib.backends.backend_agg"),
)


def main() -> int:
    """Read the options, play, print the table; the exit code."""
    about = __doc__.partition("\n")[0]
    options = argparse.ArgumentParser("python -m faults", description=about)
    options.add_argument("--share", type=float, default=1.0, help="of the full counts; default 1")
    options.add_argument("--only", nargs="*", choices=[one.name for one in CAMPAIGNS])
    options.add_argument("--seed", type=int, default=secrets.randbelow(10**8), help="of the first")
    options.add_argument("--minutes", type=float, default=20.0, help="after which it stops")
    options.add_argument("--out", type=Path, help="a file for the table, besides standard output")
    options.add_argument("--replay", metavar="CAMPAIGN:SEED", help="one trial, verbosely")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")  # of NumPy, which trials provoke on purpose
    scratch = Path(tempfile.mkdtemp(prefix="faults-", dir=_fast_folder()))
    try:
        path = _preload(scratch)
        if chosen.replay:
            return _replay(chosen.replay, Bench(scratch, path))
        wanted = [one for one in CAMPAIGNS if not chosen.only or one.name in chosen.only]
        parts = [one._replace(count=max(1, round(chosen.share * one.count))) for one in wanted]
        print(f"seeds from {chosen.seed} on", file=sys.stderr, flush=True)
        records = play_all(parts, chosen.seed, scratch, path, 60 * chosen.minutes)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    text = table(parts, records, chosen.seed)
    print(text)
    if chosen.out:
        chosen.out.write_text(text)
    return int(any(record.defects for record in records))


def _fast_folder() -> str | None:
    """Memory where there is enough, so that syncing costs nothing; else the usual one."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2**31 else None


def _preload(scratch: Path) -> str:
    """Import all that commands need, as each does it once, and see to their environment: no data
    sets, no network, no programs. The PATH there was."""
    path = os.environ.get("PATH", "")
    gone = "http://127.0.0.1:9"  # where nobody answers
    os.environ |= {"PATH": "/nowhere", "REFLFAP_DATA": str(scratch / "no-data")}
    os.environ |= {"http_proxy": gone, "https_proxy": gone}
    for name in PRELOADED:
        importlib.import_module(name)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for words in ("list", "show 0", "sweep artificial --help", "run images --help"):
            command([*words.split(), *(("--out", str(scratch)) if "-" not in words else ())])
    return path


def _replay(which: str, bench: Bench) -> int:
    name, _, seed = which.partition(":")
    (campaign,) = (one for one in CAMPAIGNS if one.name == name)
    record = play(campaign, int(seed), bench)
    print(f"{record.what}\n{record.command}\n{record.seconds:.1f} s, {len(record.defects)} defects")
    say(record)
    return int(bool(record.defects))


if __name__ == "__main__":
    raise SystemExit(main())
