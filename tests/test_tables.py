"""Tables that verbs print."""

from types import SimpleNamespace

from wherewhat.cli.tables import shortened, show_controls, show_ranking, show_scores
from wherewhat.evaluation.rank import Ranked, Ranking
from wherewhat.run.folder import Run


def ranked(path, source, value=1.0):
    run = SimpleNamespace(word=str(path), source=source)
    return Ranked(run, value, 0.1, 3, {})


def test_runs_of_different_data_and_ties_are_said_and_markup_in_paths_is_text(capsys):
    show_ranking(Ranking("tpl", [ranked("[/b]", "rooms"), ranked("[bold]x", "sprites")], {}))
    printed = capsys.readouterr().out
    assert "picked: [/b]" in printed and "[bold]x" in printed
    assert "different data" in printed and "rooms, sprites" in printed
    assert "the same value as the first: 1" in printed


def test_tpl_is_shown_with_the_number_of_active_controls(capsys):
    options = {"protocol": "small", "network": "alex"}
    show_scores([{"metric": "tpl", "value": 0.0, "options": options, "details": {"active": 0, "error": 0.0}}])
    assert "0.000 ± 0.000, 0 active" in capsys.readouterr().out


def test_long_names_are_cut_in_the_middle():
    assert shortened("runs/a-long-folder/seed-12", 15) == "runs/a-…seed-12"
    assert len(shortened("x" * 99, 20)) == 20 and shortened("short", 20) == "short"


def test_a_run_without_visible_controls_says_that_it_is_too_early(trained, capsys):
    run = Run.open(trained)
    show_controls(run)
    assert "64 images" in (out := " ".join(capsys.readouterr().out.split())) and "too few" in out
