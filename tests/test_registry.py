"""The registry of metrics: everything that is measured is described there once, and nothing else lists metrics."""

import json
import shutil
from typing import NamedTuple

import numpy as np
import pytest
import torch

from wherewhat import cli
from wherewhat.cli.tables import show_scores
from wherewhat.errors import UserError
from wherewhat.evaluation.evaluate import evaluate, evaluate_codes
from wherewhat.evaluation.kinds import KINDS
from wherewhat.metrics import registry
from wherewhat.metrics.registry import Metric, Score
from wherewhat.run.folder import Run


class Spread(NamedTuple):
    """The result of the metric below."""

    widest: float
    narrowest: float
    per_code: np.ndarray


def spread(codes: np.ndarray, power: int = 1) -> Spread:
    """A metric of codes that exists only here."""
    each = codes.std(0) ** power
    return Spread(float(each.max()), float(each.min()), each)


@pytest.fixture
def made_up(monkeypatch):
    """The registry with one more metric: the only thing that adding it takes."""
    scores = (
        Score("spread", "Spread", "how far codes differ; higher is better", part="widest", digits=5),
        Score("spread_least", "Least spread", "of the code that differs least", part="narrowest"),
    )
    metric = Metric("spread", "codes", spread, scores, fast={"power": 2})
    monkeypatch.setattr(registry, "METRICS", [*registry.METRICS, metric])
    return metric


def test_a_metric_in_the_registry_is_measured_kept_and_shown(made_up, trained, tmp_path, capsys):
    assert "spread" in registry.names_help()
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    rows = evaluate(run, ["spread"], "fast")
    assert [row["metric"] for row in rows] == ["spread", "spread_least"]
    assert rows[0]["options"]["power"] == 2 and rows[0]["value"] == max(rows[0]["details"]["per_code"])
    kept = run.rows("metrics")
    assert evaluate(run, ["spread"], "fast") == rows and run.rows("metrics") == kept
    show_scores(rows)
    assert f"{rows[0]['value']:.5f}" in capsys.readouterr().out
    codes = np.random.default_rng(0).standard_normal((50, 2))
    assert [row["metric"] for row in evaluate_codes(codes)][-2:] == ["spread", "spread_least"]


def test_the_command_measures_it_too(made_up, tmp_path, capsys):
    np.savez(tmp_path / "codes.npz", codes=np.random.default_rng(0).standard_normal((50, 2)))
    cli.main(["evaluate", str(tmp_path / "codes.npz"), "--metrics", "spread", "--json"])
    assert [row["metric"] for row in json.loads(capsys.readouterr().out)] == ["spread", "spread_least"]


def test_the_help_of_the_command_names_every_metric(capsys):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    words = "".join(capsys.readouterr().out.split())
    assert all(metric.name in words for metric in registry.measurable())


@pytest.mark.parametrize("metric", registry.METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_described_and_can_be_loaded(metric):
    if metric.function:
        assert callable(metric.load())
    assert metric.needs in (*KINDS, "where", "rank")
    for score in metric.scores:
        assert score.label and score.help and not score.help.endswith(".")
        assert (score.better == "lower") == ("lower is" in score.help)


def test_names_of_scores_are_unique_and_find_their_metric():
    names = [score.name for metric in registry.METRICS for score in metric.scores]
    assert len(names) == len(set(names)) == len(registry.scores())
    assert registry.find("dci_completeness").name == "dci" and registry.find("recall").name == "precision"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mgi", r"no metric mgi; did you mean mig\?"),
        ("where", "measured by another command: wherewhat where RUN"),
        ("udr", "measured by another command: wherewhat rank RUNS --by udr"),
    ],
)
def test_what_evaluate_cannot_measure_is_reported(name, words):
    with pytest.raises(UserError, match=words):
        registry.find(name)


def test_a_number_that_is_not_one_is_written_as_null():
    values = torch.randn(30, 2).double().numpy()
    kid = registry.find("kid")
    (row,) = kid.rows(kid.compute(values, values, subsets=2), {})
    assert row["details"] == {"error": None} and json.loads(json.dumps(row)) == row
