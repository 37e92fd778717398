"""The plateau schedule of (N6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflfap.training.schedule import Plateau


def rates(losses, **settings):
    state, seen = Plateau(**settings), []
    for loss in losses:
        state = state.after(loss)
        seen.append(state.rate)
    return seen, state


def test_hand_computed_sequence():
    """patience 2: the third bad epoch in a row cuts; an improvement starts the count anew."""
    # bad epochs in a row:  0    1    2    0     1     2     3 cut
    losses = [1.0, 1.0, 1.0, 0.9, 0.95, 0.95, 0.95, 0.89]
    seen, state = rates(losses, rate=1.0, patience=2)
    assert seen == pytest.approx([1, 1, 1, 1, 1, 1, 0.1, 0.1])
    assert state.best == 0.89


def test_small_improvements_do_not_count():
    """An improvement below the relative threshold is a bad epoch, but is measured from the best."""
    losses = [1.0, 1 - 0.9e-4, 1 - 1.8e-4]
    state = Plateau(1.0)
    assert [(state := state.after(loss)).bad_epochs for loss in losses] == [0, 1, 0]


def test_the_rate_has_a_floor():
    """Cuts end where they would change the rate by no more than 1e-8, and that is said."""
    seen, state = rates([1.0] * 200, rate=0.01)
    assert min(seen) == pytest.approx(1e-8)  # 1e-8 to 1e-9 would be a change of 9e-9
    assert state.exhausted
    assert not rates([1.0] * 60, rate=0.01)[1].exhausted


@given(st.lists(st.floats(1e-3, 1e3), max_size=120), st.integers(0, 5))
@pytest.mark.torch
def test_against_torch(losses, patience):
    """torch's ReduceLROnPlateau makes the same cuts at the same epochs, if torch is installed."""
    torch = pytest.importorskip("torch")
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.01)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, patience=patience)
    ours = Plateau(0.01, patience=patience)
    for loss in losses:
        theirs.step(loss)
        ours = ours.after(loss)
        assert ours.rate == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)
