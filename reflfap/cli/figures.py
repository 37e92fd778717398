"""`reflfap figures`: the pictures drawn from results and from theory."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from reflfap.cli.run import print_json
from reflfap.errors import ReflfapError
from reflfap.terminal import say, tell

if TYPE_CHECKING:
    from reflfap.figures.registry import Outcome


def make_figures(
    names: tyro.conf.Positional[tuple[str, ...]] = (),
    all: bool = False,
    out: Path = Path("results"),
    folder: Path | None = None,
    reference: Path | None = None,
    json: bool = False,
) -> None:
    """Draw figures, as PNG and PDF; without names, list them. Exit code 1 if none could be drawn.

    Args:
        names: which figures
        all: all of them, in about two minutes with all grids; one line says what is missing
        out: folder of all results, which those of runs and grids are drawn from
        folder: where to; default: figures/ in the results folder
        reference: folder with other points of the released code, artificial_uniform.csv; default:
            REFLFAP_REFERENCE, else those that come with the package
        json: print one JSON object on standard output
    """
    from reflfap.figures import (  # matplotlib is slow to import: only when asked for
        prediction,
        registry,
    )

    if not names and not all:
        for name, entry in registry.FIGURES.items():
            tell(f"{name:<22} needs {entry.needs}")
        say("make some with `reflfap figures NAME ...`, or all with --all")
        return
    where, points = folder or out / "figures", reference or prediction.reference_folder()
    found = []
    for one in registry.make_all(out, where, points, () if all else names):
        found.append(one)
        if one.paths and not json:
            first, *others = one.paths
            tell(" and ".join([f"picture   {first}", *(path.suffix for path in others)]))
        if one.missing and not (all and one.remedy):
            say(f"missing   {one.name}: {one.missing}")
    if json:
        made = {one.name: [str(path) for path in one.paths] for one in found if one.paths}
        print_json(
            {"made": made, "missing": {one.name: one.missing for one in found if one.missing}}
        )
    elif all and (lacking := [one for one in found if one.remedy]):
        say(_in_one_line(lacking))
    if not any(one.paths for one in found):
        raise ReflfapError(f"figures: none of {len(found)} could be drawn")


def _in_one_line(lacking: "Sequence[Outcome]") -> str:
    """Which figures lack results, by the command for the first of their pictures that do."""
    figures: dict[str, list[str]] = {}
    for name, remedy in {one.figure: one.remedy for one in reversed(lacking)}.items():
        figures.setdefault(remedy, []).insert(0, name)
    each = "; ".join(f"{', '.join(figures[one])} ({one})" for one in reversed(figures))
    return f"{len(lacking)} more need results that are not there; for the first of each: {each}"
