"""python -m reflfap.figures.explorable OUT.html: write the explorable page."""

import sys
from pathlib import Path

from reflfap.figures.explorable import page
from reflfap.files import write_whole
from reflfap.terminal import tell

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m reflfap.figures.explorable OUT.html")
    out = Path(sys.argv[1])
    write_whole(out, page().encode(), "folder")
    tell(str(out))
