"""The figure of both parts' accuracies: what is plotted, tested as data; its table, refused."""

import pytest

from reflfap.errors import InputError
from reflfap.experiments import artificial
from reflfap.figures import even_part

HEADER = "half,norm,d,n,n_adv,epsilon,hidden,seed,network,odd,even"


def test_it_is_drawn(tmp_path):
    """Cells are means over their seeds; each panel has each once, where it was predicted."""
    table = tmp_path / "cells.csv"
    rows = [
        "first,l2,60,200,500,0.2,100,0,0.6,0.55,0.5",
        "first,l2,60,200,500,0.2,100,1,0.7,0.6,0.5",
    ]
    rows += ["new,l0,60,30,500,0.05,100,3,0.9,0.8,0.7"]
    table.write_text("\n".join([HEADER, *rows]))
    first, new = even_part.compute(table)
    assert (first.seeds, new.seeds) == (2, 1)
    assert first.accuracy == pytest.approx((0.65, 0.575, 0.5, 0.65))
    assert new.predicted[:3] == artificial.predicted_parts(new.cell.config)
    figure = even_part.draw([first, new])
    for column, axes in enumerate(figure.axes):
        points = {tuple(xy) for bars in axes.containers for xy in bars.lines[0].get_xydata()}
        assert points == {(one.predicted[column], one.accuracy[column]) for one in (first, new)}


@pytest.mark.parametrize(
    "row", ["odd,l2,60,2,5,0.2,9,0,1,1,1", "new,l2,60,2,5,0.2,9,0,2,1,1", "new"]
)
def test_a_bad_table_is_refused(tmp_path, row):
    """An unknown half, an accuracy above one, a row cut short; and no file."""
    table = tmp_path / "cells.csv"
    table.write_text(f"{HEADER}\n{row}\n")
    for path in (table, tmp_path / "none.csv"):
        with pytest.raises(InputError):
            even_part.read_parts(path)
