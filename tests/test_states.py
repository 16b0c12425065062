"""A saved state comes back as it was; what is none is refused with one message."""

import pytest

from wherewhat.editing.states import State, from_json, read_state, to_json, write_state
from wherewhat.errors import UserError
from wherewhat.run.folder import Run


@pytest.fixture(scope="module")
def run(trained):
    return Run.open(trained)  # of two controls


@pytest.mark.parametrize("state", [State((0.5, -1.25)), State((1e-4, 1 / 3), 7)])
def test_a_state_comes_back_as_it_was_whatever_else_is_in_the_file(run, tmp_path, state):
    path = write_state(tmp_path / "new" / "a.json", state, run="rooms", named={"z0 größe": 0.5})
    assert read_state(path, run) == state
    assert "größe" in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "holds no codes"),
        ("[1, 2]", "holds no codes"),
        ('{"seed": 1}', "holds no codes"),
        ('{"codes": [1, "much"]}', "holds no codes"),
        ('{"codes": [1, [2]]}', "holds no codes"),
        ('{"codes": 5}', "holds no codes"),
        ('{"codes": "12"}', "holds no codes"),
        ('{"codes": [1, 2], "seed": "x"}', "holds no codes"),
        ("[" * 100_000, "holds no codes"),
        ('{"codes": [1, NaN]}', "not finite"),
        ('{"codes": [1, 1e99]}', "not finite"),
        ('{"codes": [1, 2, 3]}', "has 3 codes and .* 2: it is of another run"),
        ('{"format": 2, "codes": [1, 2]}', "this version reads format 1"),
    ],
)
def test_what_is_no_state_of_the_run_is_refused_in_one_line(run, text, wrong):
    with pytest.raises(UserError, match=wrong) as raised:
        from_json(text, run, "a.json")
    assert "a.json" in str(raised.value) and "\n" not in str(raised.value)


def test_codes_without_a_format_are_read(run):
    assert from_json('{"codes": [1, 2]}', run, "a.json") == State((1.0, 2.0))
    assert from_json(to_json(State((1.0, 2.0), 5)), run, "a.json").seed == 5


def test_a_file_that_cannot_be_read_or_written_says_so(run, tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.json"):
        read_state(tmp_path / "none.json", run)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_state(tmp_path / "file" / "a.json", State((0.0,)))
