"""Orders without labels: what they reward, how far they agree with labels, and the command."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small
from PIL import Image

from wherewhat import cli
from wherewhat.errors import UserError
from wherewhat.evaluation import rank as ranking
from wherewhat.evaluation.rank import BEST, default_order, orders, rank
from wherewhat.metrics.ranking import agreement, centrality, spearman, udr
from wherewhat.run.folder import Run
from wherewhat.train.loop import train
from wherewhat.viz.plots import draw_order

RNG = np.random.default_rng(0)
SOURCES = RNG.uniform(-1, 1, (1_000, 4))

# ------------------------------------------------------------------------------------------------------------------ udr


def rotated(seed: int) -> np.ndarray:
    return SOURCES @ np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]


def test_models_that_differ_in_order_and_sign_agree_perfectly() -> None:
    models = [SOURCES, -SOURCES[:, ::-1], SOURCES[:, [2, 0, 3, 1]] * [1, -2, 3, 1]]
    assert udr(models) == pytest.approx([1, 1, 1], abs=0.15)  # 1 but for what finite samples correlate by chance
    assert (udr([m.round(1) for m in models]) > 0.8).all()


def test_rotated_models_agree_less_and_are_ranked_below() -> None:
    found = udr([SOURCES, SOURCES[:, ::-1], -SOURCES, rotated(1), rotated(2)])
    assert found[:3].min() > found[3:].max() + 0.2


def test_unused_codes_do_not_count() -> None:
    padded = np.column_stack([SOURCES, 1e-3 * RNG.standard_normal((1_000, 3))])
    assert udr([padded, SOURCES, SOURCES]) == pytest.approx(udr([SOURCES, SOURCES, SOURCES]))
    assert udr([1e-3 * SOURCES, SOURCES, SOURCES])[0] == 0


def test_one_model_has_nobody_to_agree_with() -> None:
    with pytest.raises(UserError, match="at least two"):
        udr([SOURCES])


# ------------------------------------------------------------------------------------------------------------ agreement


def test_spearman_is_scipys() -> None:
    from scipy.stats import spearmanr

    a, b = RNG.integers(0, 6, (2, 15)).astype(float)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))


def test_agreement_of_a_right_a_wrong_and_a_blind_order() -> None:
    scores = np.linspace(0.2, 0.9, 12)
    right, wrong = agreement(scores**3, scores), agreement(-scores, scores)
    assert (right.spearman, right.regret, right.low) == pytest.approx((1, 0, 1))
    assert (wrong.spearman, wrong.regret) == pytest.approx((-1, 0.7))
    blind = agreement(RNG.standard_normal(12), scores)
    assert blind.low < blind.spearman < blind.high and blind.high - blind.low > 0.5


# -------------------------------------------------------------------------------------------------------------- command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Five tiny autoencoders, their scores written by hand."""
    home = tmp_path_factory.mktemp("ranked")
    runs = []
    for seed in range(5):
        run = train(replace(small("masked", images=64), seed=seed), str(home / f"s{seed}"), "cpu", quiet=True)
        options = {"protocol": "small", "network": "alex", "threshold": 0.1}
        details = {"active": 3 + seed % 2, "error": 0.1}
        rows = [{"metric": "tpl", "value": 5.0 - seed, "options": options, "details": details}]
        rows += [{"metric": "dci", "value": 0.1 * seed, "options": {}}]
        for row in rows:
            run.log_metric({"images": run.images_seen, **row})
        runs.append(run)
    return runs


def test_short_traversals_come_first_and_agreement_is_reported(trained) -> None:
    found = rank(trained, "tpl")
    assert [r.run.config.seed for r in found.ranked] == [4, 3, 2, 1, 0]
    assert set(found.agreements) == {"dci"}  # too few runs of one number of active controls
    assert found.agreements["dci"].spearman == pytest.approx(1) and found.agreements["dci"].regret == 0


def test_the_lowest_loss_comes_first(trained) -> None:
    found = rank(trained, "loss")
    values = [r.value for r in found.ranked]
    assert values == sorted(values)
    row = found.ranked[0].run.rows("train")[-1]
    assert values[0] == pytest.approx(row["reconstruction"] + 3 * row["kl"])


def test_any_score_of_one_model_by_itself_is_an_order(trained) -> None:
    found = rank(trained, "rotation_gain")
    values = [r.value for r in found.ranked]
    assert values == sorted(values)
    assert values == sorted(run.latest("rotation_gain")["value"] for run in trained)
    assert {"tpl", "loss", "udr", "pipe", "direction_gain"} <= set(orders()) and not {"mig", "controls"} & set(orders())
    with pytest.raises(UserError, match="no order by pip; did you mean pipe"):
        rank(trained, "pip")


@pytest.fixture
def measured(monkeypatch):
    """Scores of one model by itself, in place of those of these tiny runs: the seeds 2, 4, 1, 3, 0 are in order."""
    monkeypatch.setattr(ranking, "_alone", lambda run, *_: (0.1, 0.3, 0.5, 0.2, 0.4)[run.config.seed])


def test_without_an_order_the_best_score_decides_and_tpl_where_images_differ(trained, measured) -> None:
    found = rank(trained)
    assert found.by == BEST and [r.run.config.seed for r in found.ranked] == [2, 4, 1, 3, 0]
    other = Run(trained[1].path, replace(trained[1].config, data=replace(trained[1].config.data, source="sprites")))
    assert default_order([trained[0], other]) == "tpl"
    gone = replace(trained[0].config, data=replace(trained[0].config.data, source="no such folder"))
    assert default_order([Run(run.path, gone) for run in trained[:2]]) == "tpl"


def test_runs_without_codes_in_use_are_not_picked(trained) -> None:
    with pytest.raises(UserError, match="no run has two codes in use"):
        rank(trained)


def test_udr_encodes_the_same_images_with_every_model(trained) -> None:
    found = rank(trained, "udr")
    assert len(found.ranked) == 5 and all(0 <= r.value <= 1 for r in found.ranked)


def test_axis_scores_are_measured_once_and_kept(trained, monkeypatch) -> None:
    named = {
        "index": 0,
        "tpl": 1.0,
        "tpl_error": 0.1,
        "active": True,
        "row": 0.5,
        "column": 0.5,
        "area": 1.0,
        "peak": 1.0,
    }
    for run in trained:
        table = [named, {**named, "index": 1}]
        run.log_metric(
            {
                "images": run.images_seen,
                "metric": "controls",
                "value": 2,
                "options": {"protocol": "small"},
                "details": table,
            }
        )
    found = rank(trained, "axis", distance="pixels")
    values = [r.value for r in found.ranked]
    assert values == sorted(values, reverse=True) and set(found.ranked[0].run.latest("axis")["details"]) == {"0,1"}
    monkeypatch.setattr("wherewhat.evaluation.rank.rotate", None)  # never asked again
    assert [r.value for r in rank(trained, "axis", distance="pixels").ranked] == values
    with pytest.raises((TypeError, UserError)):  # but of another distance it is asked
        rank(trained, "axis", distance="vgg")


def test_what_does_not_compare_is_refused(trained, tmp_path) -> None:
    gan = train(small("rooms-lean", images=16), str(tmp_path / "gan"), "cpu", quiet=True)
    with pytest.raises(UserError, match="GAN"):
        rank([trained[0], gan], "loss")
    other = Run(trained[1].path, replace(trained[1].config, data=replace(trained[1].config.data, source="sprites")))
    with pytest.raises(UserError, match="other images"):
        rank([trained[0], other], "loss")
    with pytest.raises(UserError, match="same images"):
        rank([trained[0], other], "udr")
    with pytest.raises(UserError, match="at least two"):
        rank(trained[:1])


def test_the_command_prints_a_table_a_pick_and_json(trained, measured, capsys) -> None:
    paths = [str(run.path) for run in trained]
    cli.main(["rank", *paths])
    printed = capsys.readouterr().out
    assert "picked:" in printed and f"by {BEST}, which agreed best with labels" in printed
    cli.main(["rank", *paths, "--by", "tpl"])
    printed = capsys.readouterr().out
    assert "picked:" in printed and "Spearman +1.00" in printed
    cli.main(["rank", *paths, "--by", "loss", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert len(record["ranked"]) == 5 and record["by"] == "loss"


# ----------------------------------------------------------------------------------------------------------- centrality


def test_the_model_that_all_agree_with_is_the_most_central() -> None:
    scores = np.array([[9.0, 0.8, 0.6], [1.0, 9.0, 0.2], [0.4, 0.4, 9.0]])  # the diagonal is left out
    assert centrality(scores) == pytest.approx([(0.9 + 0.5) / 2, (0.9 + 0.3) / 2, (0.5 + 0.3) / 2])
    with pytest.raises(UserError, match="at least two"):
        centrality(np.ones((1, 1)))


class Reader:
    """Two numbers as the grey of two halves of an image, read back; or their sum in both."""

    controls = None

    def __init__(self, mixed: bool) -> None:
        self.mixing = torch.full((2, 2), 0.5) if mixed else torch.eye(2)

    def to(self, _device: str) -> "Reader":
        return self

    def __call__(self, x: torch.Tensor):
        if x.ndim == 4:
            return torch.stack([x[:, 0, 0, 0], x[:, 0, 0, -1]], 1) * 4 @ self.mixing
        halves = (x @ self.mixing / 4)[:, None, None, :].repeat_interleave(8, 3)
        return SimpleNamespace(image=halves.expand(-1, 3, 16, 16))

    def images(self, z: torch.Tensor) -> torch.Tensor:
        return self(z).image


def test_a_model_that_mixes_latents_is_encoded_worse_and_comes_last(trained) -> None:
    runs = []
    for run, mixed in zip(trained, (False, True, False, True, False), strict=True):
        config = replace(run.config, generator=small("masked").generator)
        stages = (replace(config.generator.stages[0], latents=2),)
        runs.append(Run(run.path, replace(config, generator=replace(config.generator, stages=stages))))
        runs[-1].__dict__["generator"] = runs[-1].__dict__["encoder"] = Reader(mixed)
    found = rank(runs, "centrality")
    assert {r.run.path.name for r in found.ranked[:3]} == {"s0", "s2", "s4"}
    assert found.ranked[2].value > found.ranked[3].value + 0.1
    other = Run(runs[0].path, replace(runs[0].config, data=replace(runs[0].config.data, channels=1)))
    with pytest.raises(UserError, match="each other's images"):
        rank([runs[0], other], "centrality")


def test_the_order_is_drawn_beside_what_labels_say(trained, measured, tmp_path, capsys) -> None:
    cli.main(["rank", *(str(run.path) for run in trained), "--out", str(tmp_path / "order.png")])
    assert capsys.readouterr().out.endswith("order.png\n")
    picture = draw_order(["a", "b"], [1.0, 2.0], [0.1, None], [3, None], "tpl", {}, {})
    with Image.open(tmp_path / "order.png") as with_labels:
        assert with_labels.width > picture.width
