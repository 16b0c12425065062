"""Run folders of earlier formats open, resume and evaluate."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from wherewhat.config import FORMAT, from_json, to_json
from wherewhat.data import open_data
from wherewhat.errors import UserError
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.nn.controls import Controls
from wherewhat.run.folder import Run
from wherewhat.train.loop import train

FIXTURES = Path(__file__).parent / "fixtures" / "format1"
FAMILIES = ["autoencoder", "gan"]


@pytest.fixture(params=FAMILIES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a run of 64 images that was stored by format 1."""
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / request.param))


def test_a_run_of_format_1_opens_with_settings_and_rows_under_the_names_of_today(old):
    run = Run.open(old)
    assert json.loads((old / "config.json").read_text())["format"] == 1
    assert (run.config.total_images, run.config.batch, run.config.log_every) == (64, 8, 16)
    assert run.config.generator.stages[0].channels == 8
    assert from_json(to_json(run.config), "here") == run.config
    row = run.rows("train")[-1]
    expected = {"reconstruction", "kl"} if run.config.autoencoder else {"d_loss", "g_loss", "infogan", "simplicity"}
    assert row["images_seen"] == 64 and expected <= row.keys()


def test_a_run_of_format_1_makes_and_encodes_images(old):
    run = Run.open(old)
    image, masks = run.generator(torch.zeros(2, run.config.latents))
    assert run.images_seen == 64
    assert run.encoder(image).shape == (2, run.config.latents) and len(masks) > 0
    assert run.encoder(image).isfinite().all()


def test_a_run_of_format_1_resumes(old):
    longer = replace(Run.open(old).config, total_images=96)
    run = train(longer, str(old), "cpu", quiet=True)
    assert run.images_seen == 96
    assert [row["images_seen"] for row in run.rows("train")] == [16, 32, 48, 64, 80, 96]
    assert json.loads((old / "config.json").read_text())["format"] == FORMAT


def test_a_run_of_format_1_is_evaluated(old):
    rows = evaluate(Run.open(old), ["mig", "tpl"], "fast", distance="pixels")
    assert [row["metric"] for row in rows] == ["mig", "tpl", "controls"]
    assert len(open_data(Run.open(old).config.data)) > 0


def test_controls_of_format_1_open():
    pair = {"angle": 0, "radius": 1, "centre": [0.1, 0.2], "start": 0.5, "middle": 1.0, "spread": 0.2}
    old = {"mixing": [[1.0, 0.0], [0.5, 1.0]], "mean": [0.0, 0.1], "rings": [pair]}
    found = Controls.from_json(old)
    assert found.polar_pairs[0].centre == (0.1, 0.2)
    assert Controls.from_json(found.to_json()) == found


def test_a_later_format_is_refused_with_its_number():
    with pytest.raises(UserError, match=f"format {FORMAT + 1}"):
        from_json(json.dumps({"format": FORMAT + 1}), "config.json")
