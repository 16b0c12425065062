"""Steps that can be undone and done again."""

from hypothesis import given
from hypothesis import strategies as st

from wherewhat.app.history import LIMIT, History

STATES = st.lists(st.integers(0, 9), max_size=12)


def after(states):
    history = History(0)
    for state in states:
        history = history.record(state)
    return history


@given(STATES)
def test_undoing_all_steps_goes_to_the_start_and_doing_them_again_to_the_end(states):
    history = done = after(states)
    for _ in done.past:
        history = history.undo()
    assert history.present == 0 and history.undo() == history
    for _ in done.past:
        history = history.redo()
    assert history == done and history.redo() == history


@given(STATES, st.integers(0, 12), st.integers(0, 9))
def test_after_a_new_step_nothing_is_done_again(states, back, new):
    history = after(states)
    for _ in range(back):
        history = history.undo()
    changed = history.record(new)
    assert changed.present == new
    if new != history.present:
        assert changed.redo() == changed and changed.undo().present == history.present


def test_the_same_state_again_is_no_step():
    history = after([1, 2]).undo()
    assert history.record(1) == history, "and what was undone can still be done again"


def test_the_oldest_steps_are_forgotten():
    assert len(after(range(1, LIMIT + 50)).past) == LIMIT
