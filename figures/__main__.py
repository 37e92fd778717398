"""python -m reflfap.figures NAME RESULTS [FOLDER]: draw one figure, or one a data set or norm."""

import sys
from pathlib import Path

from reflfap.figures import prediction, registry, style
from reflfap.terminal import tell


def main(argv: list[str]) -> None:
    """Into FOLDER, else beside the pictures of the documentation; what is missing is said."""
    if len(argv) not in (2, 3) or argv[0] not in registry.FIGURES:
        sys.exit(
            f"usage: python -m reflfap.figures NAME RESULTS [FOLDER]; {', '.join(registry.FIGURES)}"
        )
    name, results, *rest = argv
    folder, reference = Path(*rest) if rest else style.RENDERED, prediction.reference_folder()
    for outcome in registry.make_all(Path(results), folder, reference, [name]):
        for line in outcome.paths or (f"{outcome.name}: {outcome.missing}",):
            tell(line)


if __name__ == "__main__":
    main(sys.argv[1:])
