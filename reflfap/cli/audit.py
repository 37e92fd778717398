"""`reflfap audit`: every statement checked, and with --mutate whether the checks can fail.

The audit is imported where it is asked for: scipy's solvers take longer than any other command.
"""

import time
from collections import Counter
from pathlib import Path

import reflfap
from reflfap.cli.run import print_json
from reflfap.errors import ReflfapError, refuse
from reflfap.files import write_text
from reflfap.runs.progress import Bars
from reflfap.runs.provenance import describe
from reflfap.terminal import tell


def run_audit(json: bool = False, html: Path | None = None, mutate: bool = False) -> None:
    """Check every tagged statement of the paper, and say where its code is. Some seconds.

    Exit code 1 if one does not hold, has no code, or if code names an unknown tag.

    Args:
        json: print one JSON object on standard output
        html: write a page with the same, to read in a browser, without any network
        mutate: instead, plant some hundred errors in memory, and say whether each is noticed; exit
            code 1 if one is not. Under a minute
    """
    if mutate:
        if html is not None:
            refuse("html", "an audit without errors", "--mutate", "leave one of them out")
        _plant_errors(json)
        return
    from reflfap.audit import page, statements

    start = time.perf_counter()
    rows, unknown = statements.audit(Bars()), statements.unknown_tags()
    if html is not None:
        about = {"version": reflfap.__version__, **describe()}
        del about["versions_json"]
        about["seconds"] = f"{time.perf_counter() - start:.1f}"
        write_text(
            html, page.page(rows, {name: str(what) for name, what in about.items()}), "--html"
        )
    if json:
        print_json({"statements": [row.as_json() for row in rows], "unknown_tags": unknown})
    else:
        tell("\n".join(map(str, rows)))
        held = sum(row.passed for row in rows)
        tell(f"{held} of {len(rows)} statements hold; of (T1), that it is computed as stated")
    if failed := [row.tag for row in rows if not row.passed] + unknown:
        raise ReflfapError(f"audit: {', '.join(failed)}")


def _plant_errors(json: bool) -> None:
    """Say, tag by tag, how many errors were planted and noticed, and which were not."""
    from reflfap.audit import mutate

    planted = mutate.mutations()
    left = mutate.survivors(planted, Bars())
    counts, unnoticed = Counter(one.tag for one in planted), Counter(one.tag for one in left)
    each = {tag: {"planted": n, "noticed": n - unnoticed[tag]} for tag, n in counts.items()}
    if json:
        print_json({"mutations": each, "survivors": list(map(str, left))})
    else:
        for tag, numbers in each.items():
            tell(f"{tag}  {numbers['planted']} planted, {numbers['noticed']} noticed")
        tell(f"{len(planted) - len(left)} of {len(planted)} errors were noticed")
    if left:
        raise ReflfapError("audit: not noticed: " + "; ".join(map(str, left)))
