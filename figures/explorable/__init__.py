"""The explorable page: the paper's experiment, computed in a browser while sliders are moved.

One HTML file without network requests, put together from the files beside this one: engine.js has
the formulas of reflfap/paper.py, experiment.js the experiment, words.js what is said of it,
drawing.js and page.js what is shown. Stored runs: figures/rendered/artificial_cells.csv.

    python -m reflfap.figures.explorable OUT.html
"""

import csv
import json
import re
from importlib.resources import files
from typing import Any

from reflfap.figures import style

COLUMNS = {
    "norm": str,
    "dim": int,
    "n": int,
    "n_adv": int,
    "epsilon": float,
    "acc_predicted": float,
    "acc_adversarial": float,
}
NAMES = ("norm", "d", "N", "N_adv", "eps", "predicted", "measured")  # of these, on the page


def stored_runs() -> list[dict[str, Any]]:
    """The cells of E1 on uniform data, one a row, by the names that the page has for its sliders.

    For L0 eps is the ratio of numbers that may change.
    """
    with (style.RENDERED / "artificial_cells.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["data"] == "uniform"]
    return [
        dict(zip(NAMES, (kind(row[name]) for name, kind in COLUMNS.items()), strict=True))
        for row in rows
    ]


def page(home: str = "") -> str:
    """The page as text, with its scripts, its style and the stored runs inside.

    `home`: a link, such as index.html, to the documentation that it lies beside.
    """
    here = files(__name__)
    back = f'<p class="home"><a href="{home}">← Documentation</a></p>' if home else ""
    given = {"stored": json.dumps(stored_runs(), separators=(",", ":")), "home": back}

    def part(match: re.Match[str]) -> str:
        name = match[1]
        return given[name] if name in given else here.joinpath(name).read_text(encoding="utf-8")

    return re.sub(r"\{\{([\w.]+)\}\}", part, here.joinpath("page.html").read_text(encoding="utf-8"))
