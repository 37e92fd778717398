"""`reflfap figures`: the pictures drawn from results and from theory."""

from pathlib import Path

import tyro

from reflfap.cli.run import print_json
from reflfap.errors import ReflfapError
from reflfap.terminal import say, tell


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
        all: all of them, in about two minutes with all grids; what is missing is said
        out: folder of all results, which those of runs and grids are drawn from
        folder: where to; default: figures/ in the results folder
        reference: folder with the released code's points, artificial_uniform.csv; default:
            REFLFAP_REFERENCE
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
        for path in () if json else one.paths:
            tell(f"picture   {path}")
        if one.missing:
            say(f"missing   {one.name}: {one.missing}")
    if json:
        made = {one.name: [str(path) for path in one.paths] for one in found if one.paths}
        print_json(
            {"made": made, "missing": {one.name: one.missing for one in found if one.missing}}
        )
    if not any(one.paths for one in found):
        raise ReflfapError(f"figures: none of {len(found)} could be drawn")
