"""`reflfap audit`: every statement checked, and with --mutate whether the checks can fail."""

import time
from collections import Counter
from pathlib import Path

import reflfap
from reflfap.audit import mutate as planting
from reflfap.audit import page, statements
from reflfap.audit.statements import Row
from reflfap.cli.run import print_json
from reflfap.errors import ReflfapError
from reflfap.runs.progress import Bars
from reflfap.runs.provenance import describe
from reflfap.sealed import write_text


def run_audit(json: bool = False, html: Path | None = None, mutate: bool = False) -> None:
    """Check every tagged statement of the paper, and say where its code is. Some seconds.

    Exit code 1 if one does not hold, has no code, or if code names an unknown tag.

    Args:
        json: print one JSON object on standard output
        html: write a page with the same, to read in a browser, without any network
        mutate: instead, plant some hundred errors in memory and say whether each is noticed; exit
            code 1 if one is not. Under a minute
    """
    if mutate:
        _plant(json)
        return
    start = time.perf_counter()
    rows, unknown = statements.audit(Bars()), statements.unknown_tags()
    if html is not None:
        about = {"version": reflfap.__version__, **describe()}
        del about["versions_json"]
        about["seconds"] = f"{time.perf_counter() - start:.1f}"
        write_text(html, page.page(rows, {name: str(what) for name, what in about.items()}))
    if json:
        print_json({"statements": [row.as_json() for row in rows], "unknown_tags": unknown})
    else:
        print("\n".join(_line(row) for row in rows))
        held = sum(row.passed for row in rows)
        print(f"{held} of {len(rows)} statements hold; of (T1), that it is computed as stated")
    if failed := [row.tag for row in rows if not row.passed] + unknown:
        raise ReflfapError(f"audit: {', '.join(failed)}")


def _line(row: Row) -> str:
    shown = f"{row.residual:.1e} of at most {row.tolerance:.0e}"
    line = f"{row.tag}  {row.verdict}  {shown:<26}  {', '.join(row.places) or 'no code'}"
    return f"{line}; {row.released}" if row.released else line


def _plant(json: bool) -> None:
    """Report, tag by tag, how many errors were planted and noticed, and which were not."""
    planted = planting.mutations()
    left = planting.survivors(planted, Bars())
    counts, unnoticed = Counter(one.tag for one in planted), Counter(one.tag for one in left)
    if json:
        each = {tag: {"planted": n, "noticed": n - unnoticed[tag]} for tag, n in counts.items()}
        print_json({"mutations": each, "survivors": [str(one) for one in left]})
    else:
        for tag, count in counts.items():
            print(f"{tag}  {count} planted, {count - unnoticed[tag]} noticed")
        print(f"{len(planted) - len(left)} of {len(planted)} errors were noticed")
    if left:
        raise ReflfapError("audit: not noticed: " + "; ".join(str(one) for one in left))
