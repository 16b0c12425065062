"""From a run to scores: encoding, the table of controls, what is written, and what is refused."""

import json
import re
import shutil
from dataclasses import asdict, replace
from functools import wraps

import numpy as np
import pytest
import torch
from helpers import Few, enlivened, random_lpips
from PIL import Image

from wherewhat.config import to_json
from wherewhat.data import open_data
from wherewhat.errors import UserError
from wherewhat.evaluation import controls, kinds
from wherewhat.evaluation.controls import describe_controls, extent
from wherewhat.evaluation.encoding import Encoded, ImagesOf, encode
from wherewhat.evaluation.evaluate import choose, evaluate, evaluate_codes
from wherewhat.metrics import factors as supervised
from wherewhat.metrics import registry
from wherewhat.metrics.distance import Lpips, Pixels
from wherewhat.metrics.tpl import tpl, tpl_score
from wherewhat.nn.controls import Controls
from wherewhat.run.folder import Run
from wherewhat.run.model import ControlSummary

ALL = [
    "factor_vae", "beta_vae", "mig", "dci", "dci_completeness", "dci_informativeness", "sap", "modularity",
    "explicitness", "irs", "infomec", "infomec_explicitness", "infomec_compactness", "total_correlation",
    "rotation_gain", "negentropy", "code_information", "psnr", "ssim", "tpl", "controls",
]  # fmt: skip


def without_factors(run, folder):
    """The run as if it had been trained on a folder of images."""
    folder.mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8)):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    config = replace(run.config, data=replace(run.config.data, source=str(folder)))
    (run.path / "config.json").write_text(to_json(config))
    return Run.open(run.path)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the trained run, to be written to."""
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(scope="module")
def lively(trained, tmp_path_factory):
    """Such a run and its scores."""
    run = enlivened(trained, tmp_path_factory.mktemp("lively") / "run")
    return run, evaluate(run, None, "fast", distance="pixels", threshold=0.05)


# ------------------------------------------------------------------------------------------------------------- rows


def test_every_metric_has_a_row_and_every_row_is_written(lively):
    run, rows = lively
    assert [row["metric"] for row in rows] == ALL
    for row in rows:
        assert row["images"] == 64
        assert row["metric"] in ("psnr", "ssim") or row["options"]["protocol"] in ("fast", "small")
        assert np.isfinite(row["value"])
    text = (run.path / "metrics.jsonl").read_text()
    assert json.loads(json.dumps(rows)) == [json.loads(line) for line in text.splitlines()][-len(rows) :]
    assert "NaN" not in text


def test_scores_are_those_of_the_metrics_on_the_codes(lively):
    run, rows = lively
    values = {row["metric"]: row for row in rows}
    data = open_data(run.config.data)
    codes, factors = encode(run.encoder, data, 10_000)
    codes = codes.astype(np.float64)
    assert values["mig"]["value"] == pytest.approx(supervised.mig(codes, factors, np.random.default_rng(0)).score)
    for name in ("factor_vae", "sap"):
        metric = registry.find(name)
        found = metric.compute(codes, factors, seed=0, **metric.options("fast"))
        assert values[name]["value"] == pytest.approx(found.score)
    assert values["mig"]["value"] > 0
    assert values["mig"]["options"]["encoded"] == 10_000
    assert values["mig"]["options"]["factors"] == list(data.factors.names)
    codes_by_factors = np.array(values["dci"]["details"]["importance"]).shape
    assert codes_by_factors == (2, len(data.factors.names))
    found = supervised.dci(codes, factors, np.random.default_rng(0), tree_rows=2_000, trees=30)
    assert values["dci_completeness"]["value"] == pytest.approx(found.completeness)
    assert values["dci_informativeness"]["value"] == pytest.approx(found.informativeness)


def test_the_tpl_of_a_run_is_that_of_its_generator(lively):
    run, rows = lively
    result = tpl(ImagesOf(run.generator), 2, Pixels(), "small", threshold=0.05)
    row = next(row for row in rows if row["metric"] == "tpl")
    assert row["value"] == pytest.approx(result.score)
    assert row["details"]["per_latent"] == pytest.approx(result.per_latent.tolist())
    assert row["details"]["active"] == result.active.sum() == rows[-1]["value"]
    assert row["options"]["threshold"] == 0.05


def test_scoring_again_replaces_rows_and_other_options_stand_beside_them(run):
    def count(name):
        return sum(row["metric"] == name for row in run.rows("metrics"))

    for _ in range(2):
        evaluate(run, ["mig", "tpl"], "fast", distance="pixels")
    assert [count(name) for name in ("mig", "tpl", "controls")] == [1, 1, 1]
    evaluate(run, ["tpl"], "fast", distance="pixels", threshold=0.25)
    evaluate(run, ["mig"], "fast", seed=1)
    assert [count(name) for name in ("mig", "tpl", "controls")] == [2, 2, 2]
    assert run.latest("tpl")["options"]["threshold"] == 0.1  # the published one stands for the run
    evaluate(run, ["tpl"], "fast", distance="pixels")
    assert count("tpl") == 2


def test_an_evaluation_that_was_stopped_goes_on(run, monkeypatch):
    """What was measured is not measured again, unless asked for."""

    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kinds, "tpl", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate(run, ["dci", "tpl"], "fast", distance="pixels")
    measured, dci = [], supervised.dci
    monkeypatch.setattr(supervised, "dci", wraps(dci)(lambda *a, **k: measured.append("dci") or dci(*a, **k)))
    rows = evaluate(run, ["dci", "tpl"], "fast", distance="pixels")
    assert measured == []
    assert [row["metric"] for row in rows] == ["dci", "dci_completeness", "dci_informativeness", "tpl", "controls"]
    assert evaluate(run, ["dci"], "fast", seed=1) != rows[:3] and measured == ["dci"]
    evaluate(run, ["dci"], "fast", again=True)
    assert measured == ["dci", "dci"]


def test_scores_of_the_latents_are_not_taken_for_scores_of_other_controls(run):
    """The benchmark of recipes scores a run's controls, then its latents as trained."""
    codes = run.config.latents
    rows = evaluate(run, ["mig"], "fast")
    turned = tuple(map(tuple, np.linalg.qr(np.random.default_rng(0).standard_normal((codes, codes)))[0].tolist()))
    run.generator.controls = run.encoder.controls = Controls(turned, (0.0,) * codes)
    others = evaluate(run, ["mig"], "fast")
    assert others[0]["value"] != rows[0]["value"]
    assert run.latest("mig")["value"] == others[0]["value"]


def test_anyones_codes_have_the_scores_of_the_metrics():
    rng = np.random.default_rng(0)
    factors = rng.integers([3, 4], size=(300, 2))
    codes = factors + 0.1 * rng.standard_normal((300, 2))
    rows = evaluate_codes(codes, factors, ["hue", "size"], ["mig", "dci"], "fast")
    assert [row["metric"] for row in rows] == ["mig", "dci", "dci_completeness", "dci_informativeness"]
    assert rows[0]["value"] == supervised.mig(codes, factors, np.random.default_rng(0)).score
    assert rows[0]["options"]["factors"] == ["hue", "size"]
    assert rows[0]["options"]["counts"] == "below the published"
    of_codes = [s.name for m in registry.METRICS if m.needs == "codes" for s in m.scores]
    assert [row["metric"] for row in evaluate_codes(codes)] == of_codes


def test_continuous_factors_are_cut_into_equally_filled_bins():
    rng = np.random.default_rng(0)
    factors = np.stack([rng.random(400), rng.integers(0, 3, 400)], 1)
    cut = supervised.discretise(factors)
    assert np.bincount(cut[:, 0]).tolist() == [20] * 20 and (cut[:, 1] == factors[:, 1]).all()
    assert (np.diff(cut[np.argsort(factors[:, 0]), 0]) >= 0).all()
    (row,) = evaluate_codes(factors, factors, metrics=["mig"], protocol="fast")
    assert row["value"] > 0.9 and row["options"]["binned"] == 20


@pytest.mark.parametrize(
    ("factors", "metrics", "words"),
    [
        (None, ["mig"], "mig needs factors, and these are codes alone"),
        (np.zeros((9, 1), int), ["tpl"], "tpl needs a generator, and these are codes"),
        (np.zeros((9, 1), int), ["mig"], "no factor varies"),
        (np.zeros((8, 1), int), ["mig"], "codes have 9 rows, factors 8"),
        (np.full((9, 1), np.nan), ["mig"], "factors hold 9 NaN"),
        (np.zeros((9, 1), int), ["dci", "mgi"], "there is no metric mgi; did you mean mig?"),
    ],
)
def test_codes_that_do_not_fit_what_is_asked_for_are_reported(factors, metrics, words):
    with pytest.raises(UserError, match=re.escape(words)):
        evaluate_codes(np.random.default_rng(0).standard_normal((9, 2)), factors, None, metrics)


def test_only_what_was_asked_for_is_measured(run, monkeypatch):
    monkeypatch.setattr(kinds, "tpl", None)
    rows = evaluate(run, ["sap", "mig"], "fast", distance="no such file, and not needed")
    assert [row["metric"] for row in rows] == ["sap", "mig"]


def test_factors_that_never_vary_are_left_out():
    codes = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    values = np.stack([np.zeros(200), np.arange(200) % 3, np.arange(200) // 100], 1).astype(np.int64)
    (row,) = kinds.code_rows(registry.find("mig"), Encoded(codes, values), ["still", "hue", "side"], "fast", 0)
    assert row["options"]["factors"] == ["hue", "side"]
    whole = supervised.mig(codes.astype(np.float64), values[:, 1:], np.random.default_rng(0))
    assert row["value"] == pytest.approx(whole.score)


def test_progress_is_reported_from_0_to_1(run):
    progress = []
    evaluate(run, ["mig", "tpl"], "fast", distance="pixels", progress=lambda what, done: progress.append((what, done)))
    assert list(dict.fromkeys(what for what, _ in progress)) == ["mig", "encoding", "tpl", "done"]
    assert all(0 <= done <= 1 for _, done in progress)


# ---------------------------------------------------------------------------------------------------------- encoding


def test_codes_are_those_of_the_encoder_image_by_image(trained):
    encoder = Run.open(trained).encoder
    codes, factors = encode(encoder, Few(), 12, batch=5)
    images = Few().images(np.arange(12))
    for i in range(12):
        with torch.no_grad():
            alone = encoder(torch.from_numpy(images[i : i + 1]).float() / 255 * 2 - 1)
        np.testing.assert_allclose(codes[i], alone[0].numpy(), atol=1e-5)
        assert factors[i].tolist() == [i // 4, i % 4]


@pytest.mark.parametrize("count", [12, 13, 50_000])
def test_every_image_is_read_once_if_there_are_no_more(trained, count):
    codes, factors = encode(Run.open(trained).encoder, Few(), count, seed=3, batch=5)
    assert codes.shape == (12, 2)
    assert len(np.unique(factors, axis=0)) == 12


def test_of_more_images_some_are_drawn_without_replacement_by_seed(trained):
    encoder = Run.open(trained).encoder
    drawn = [encode(encoder, Few(), 7, seed=seed).factors for seed in (0, 0, 1)]
    assert [len(np.unique(factors, axis=0)) for factors in drawn] == [7, 7, 7]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()


# -------------------------------------------------------------------------------------------- the table of controls


def test_controls_are_sorted_by_their_tpl_and_can_be_read_back(lively):
    run, rows = lively
    table, lengths = rows[-1]["details"], rows[-2]["details"]["per_latent"]
    assert [d["index"] for d in table] == np.argsort(lengths)[::-1].tolist() == [1, 0]
    assert [d["tpl"] for d in table] == sorted(lengths, reverse=True)
    assert [d["active"] for d in table] == [d["tpl"] > 0.05 for d in table] == [True, False]
    assert [asdict(d) for d in run.control_table] == table


def test_controls_are_described_by_their_own_mask_length_and_code(lively, monkeypatch):
    masks = np.zeros((2, 16, 16), np.float32)
    masks[0, :4, 8:] = 0.25
    masks[1] = 0.75
    monkeypatch.setattr(controls, "mean_masks", lambda *_: masks)
    segments = np.array([[[1.0], [0.25]], [[2.0], [0.5]]])
    factors = Few.factors.values(np.arange(12))
    encoded = Encoded(factors[:, ::-1].astype(np.float32), factors)  # z0 is the size, z1 the hue
    result = tpl_score(segments, 1.0)
    first, second = describe_controls(lively[0].generator, lively[0].prior, result, encoded, Few())
    assert (first.share, second.share) == (pytest.approx(1), pytest.approx(1))
    first, second = (replace(one, share=None, visible=None) for one in (first, second))
    assert first == ControlSummary(0, 1.5, 0.5, True, 2 / 16, 12 / 16, 1 / 8, 0.25, "size")
    assert second == ControlSummary(1, 0.375, 0.125, False, 0.5, 0.5, 1.0, 0.75, "hue")
    unlabelled = describe_controls(lively[0].generator, lively[0].prior, result, None, Few())
    assert [(d.factor, d.share) for d in unlabelled] == [(None, None)] * 2


def test_masks_are_means_over_images(lively):
    run, _ = lively
    z = torch.from_numpy(np.random.default_rng([0, 1]).standard_normal((64, 2), np.float32))
    masks = run.generator(z).masks_at(16, 16).mean(0).numpy()
    for d in run.control_table:
        assert d.peak == pytest.approx(masks[d.index].max(), rel=1e-4)
        assert d.area == pytest.approx(extent(masks[d.index])[2], abs=0.02)


def test_the_extent_of_a_mask_is_where_it_is_above_half_its_peak():
    mask = np.zeros((16, 32), np.float32)
    mask[4:8, 16:32] = 0.6
    mask[0, 0] = 0.29
    assert extent(mask) == (6 / 16, 24 / 32, 4 * 16 / (16 * 32))
    assert extent(mask / 10) == extent(mask)
    assert extent(np.full((8, 8), 0.5, np.float32)) == (0.5, 0.5, 1.0)
    single = np.zeros((4, 4), np.float32)
    single[3, 0] = 1
    assert extent(single) == (3.5 / 4, 0.5 / 4, 1 / 16)


def place(row=0.5, column=0.5, area=0.1, peak=1.0):
    return ControlSummary(0, 1.0, 0.1, True, row, column, area, peak).place


def test_places_have_words():
    words = [[place(row, column) for column in (0.0, 0.5, 1.0)] for row in (0.0, 0.5, 1.0)]
    assert words == [
        ["top left", "top", "top right"],
        ["left", "middle", "right"],
        ["bottom left", "bottom", "bottom right"],
    ]
    assert (place(0.32), place(0.34), place(0.66), place(0.67)) == ("top", "middle", "middle", "bottom")
    assert (place(area=0.69), place(area=0.71)) == ("middle", "everywhere")
    assert (place(peak=0.019), place(peak=0.021)) == ("nowhere", "middle")
    assert place(area=1.0, peak=0.0) == "nowhere"


# ------------------------------------------------------------------------------------------- what can be asked, or not


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ((None, "dlib", None), ("dlib", "medium")),
        ((None, "fast", None), ("fast", "small")),
        ((None, "fast", "large"), ("fast", "large")),
        ((None, "large", None), ("dlib", "large")),
        ((["mig", "tpl"], "dlib", None), ("dlib", "medium")),
        ((["tpl"], "dlib", None), ("dlib", "medium")),
        ((["tpl"], "fast", None), ("fast", "small")),
        ((["tpl"], "huge", None), ("dlib", "huge")),
        ((["tpl"], "small", "medium"), ("dlib", "medium")),
    ],
)
def test_one_word_names_the_protocols_of_both_kinds(asked, chosen):
    metrics, *protocols = choose(*asked)
    names = [metric.name for metric in metrics]
    assert names == asked[0] if asked[0] else len(names) == 13
    assert tuple(protocols) == chosen


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((["mgi"], "dlib", None), "no metric mgi; did you mean mig?"),
        ((["mig", "factorvae"], "dlib", None), "no metric factorvae; did you mean factor_vae?"),
        ((None, "fsat", None), "no protocol fsat; did you mean fast?"),
        ((None, "mediun", None), "no protocol mediun; did you mean medium?"),
        ((None, "qqq", None), "no protocol qqq; there is: dlib, fast, small, medium, large, huge"),
        ((None, "dlib", "larg"), "no TPL protocol larg; did you mean large?"),
    ],
)
def test_unknown_names_are_reported_with_the_nearest(asked, words):
    with pytest.raises(UserError, match=re.escape(words)):
        choose(*asked)


def test_a_folder_of_images_has_scores_that_need_no_factors(run, tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    run = without_factors(run, tmp_path / "images")
    rows = evaluate(run, None, "fast", distance="pixels")
    assert [row["metric"] for row in rows] == ALL[ALL.index("total_correlation") :]
    assert all(d.factor is None and d.share is None for d in run.control_table)
    before = run.rows("metrics")
    with pytest.raises(UserError, match=r"the factors of images are not known, so mig cannot be measured"):
        evaluate(run, ["tpl", "mig"], "fast", distance="pixels")
    assert run.rows("metrics") == before


def test_missing_lpips_weights_are_reported_before_anything_is_measured(run, tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path))
    monkeypatch.setattr(kinds, "encode", None)
    with pytest.raises(UserError, match=r"weights are not on this machine.*wherewhat weights"):
        evaluate(run, None, "fast")
    assert run.rows("metrics") == []


def test_images_too_small_for_the_distance_are_reported_before_anything_is_measured(run, monkeypatch):
    monkeypatch.setattr(kinds, "load_distance", lambda *_: Lpips(random_lpips("alex")))
    monkeypatch.setattr(kinds, "encode", None)
    with pytest.raises(UserError, match="images of 16x16: LPIPS-alex needs sides of 31 or more"):
        evaluate(run, None, "fast")


def test_a_run_without_a_checkpoint_is_reported(run):
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(UserError, match="has no checkpoint yet"):
        evaluate(run, ["tpl"], "fast", distance="pixels")


# ------------------------------------------------------------------------------------------ which row stands for a run


def other_images(run, tmp_path):
    """The run, pointed at a folder of other images."""
    folder = tmp_path / "others"
    folder.mkdir()
    for k in range(4):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{k}.png")
    pointed = Run.open(run.path)
    pointed.config = replace(run.config, data=replace(run.config.data, source=str(folder)))
    return pointed


def test_scores_on_other_images_do_not_stand_for_the_run(run, tmp_path):
    own = evaluate(run, ["reconstruction"], "fast", "small", "pixels")
    others = evaluate(other_images(run, tmp_path), ["reconstruction"], "fast", "small", "pixels")
    assert "other_data" not in own[0]["options"] and others[0]["options"]["other_data"] == 4
    assert run.latest("psnr")["value"] == own[0]["value"] != others[0]["value"]


def test_the_same_images_in_another_place_are_its_own(run):
    moved = Run.open(run.path)
    moved.config = replace(run.config, data=replace(run.config.data, source="rooms"))
    moved._trained_on = "elsewhere"
    assert "other_data" not in evaluate(moved, ["reconstruction"], "fast", "small", "pixels")[0]["options"]


def test_scores_on_other_images_are_shown_as_such(run, tmp_path, capsys):
    from wherewhat.cli.tables import show_scores

    show_scores(evaluate(other_images(run, tmp_path), ["reconstruction"], "fast", "small", "pixels"))
    assert "on other images: 4 of others" in " ".join(capsys.readouterr().out.split())


def test_the_larger_protocol_and_the_published_threshold_stand_for_the_run(run):
    evaluate(run, ["tpl"], "fast", "medium", "pixels")
    evaluate(run, ["tpl"], "fast", "small", "pixels")
    evaluate(run, ["tpl"], "fast", "medium", "pixels", threshold=0.7)
    row = run.latest("controls")
    assert (row["options"]["protocol"], row["options"]["threshold"]) == ("medium", 0.1)
    assert run.latest("tpl", protocol="small")["options"]["protocol"] == "small"
    assert run.latest("tpl", protocol="large") is None
