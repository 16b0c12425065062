"""Where: overlaps on constructed places, and a generator whose controls act exactly where its masks say."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small

from wherewhat import cli
from wherewhat.data import open_data, region
from wherewhat.errors import UserError
from wherewhat.evaluation.where import where
from wherewhat.metrics.distance import Pixels
from wherewhat.metrics.where import changed, consistency, covered, iou, perceived, sharpness
from wherewhat.run.folder import Run
from wherewhat.train.loop import train

LEFT = np.arange(8) < 4


def test_overlap_of_known_places() -> None:
    left, top = np.broadcast_to(LEFT, (8, 8)), np.broadcast_to(LEFT[:, None], (8, 8))
    assert iou(left, left) == 1 and iou(left, ~left) == 0 and iou(left, top) == pytest.approx(1 / 3)
    assert iou(left & ~left, left & ~left) == 1


def test_changed_is_what_moves_more_than_the_threshold() -> None:
    images = np.zeros((5, 3, 8, 8))
    images[3, 1, :, :4] = 0.11
    images[4, 0, :, 4:] = 0.09
    assert (changed(images) == LEFT).all()


def test_covered_is_above_half_the_peak() -> None:
    assert (covered(np.where(LEFT, 0.02, 0.009) * np.ones((8, 1))) == LEFT).all()
    assert not covered(np.zeros((4, 4))).any()


def test_a_box_is_sharp_and_a_peak_in_haze_is_not() -> None:
    box = np.where(LEFT, 0.3, 0.0) * np.ones((8, 1))
    assert sharpness(box) == 1 and sharpness(np.zeros((4, 4))) == 0
    assert 0.4 < sharpness(box + 0.1) < 1 and sharpness(np.eye(1, 64).reshape(8, 8) + 0.2) < 0.2


def test_masks_that_wander_are_not_consistent() -> None:
    left = np.broadcast_to(LEFT, (8, 8)).astype(float)
    assert consistency(np.stack([left, left])) == 1
    assert consistency(np.stack([left, left, left, 1 - left])) == pytest.approx(3 / 4)


def test_the_place_that_is_perceived_is_where_a_sweep_changes() -> None:
    images = torch.zeros(5, 3, 32, 32)
    images[:, :, :, :16] = torch.linspace(-1, 1, 5)[:, None, None, None]
    place = perceived(Pixels(), images)
    assert (covered(place) == (np.arange(32) < 16)).all()
    assert place.mean() == pytest.approx(Pixels().path(images[None]).sum().item(), rel=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = train(small("masked", (64, 64), images=16), str(tmp_path_factory.mktemp("where") / "run"), "cpu", quiet=True)
    control = {
        "index": 1,
        "tpl": 1.0,
        "tpl_error": 0.1,
        "active": True,
        "row": 0.5,
        "column": 0.5,
        "area": 1.0,
        "peak": 1.0,
    }
    table = [{**control, "factor": "floor hue", "share": 0.9}, {**control, "index": 0, "active": False}]
    run.log_metric(
        {
            "images": run.images_seen,
            "metric": "controls",
            "value": 1,
            "options": {"protocol": "small"},
            "details": table,
        }
    )
    return run.path


class Painter:
    """Control 1 brings the floor to another colour, in the images it is asked about; its mask is the floor's place."""

    size = (64, 64)

    def __init__(self, places: np.ndarray) -> None:
        self.places = torch.from_numpy(places).float()

    def to(self, _device: str) -> "Painter":
        return self

    def __call__(self, z: torch.Tensor) -> SimpleNamespace:
        places = self.places.repeat_interleave(len(z) // len(self.places), 0)
        image = (torch.tanh(z[:, 1])[:, None, None] * places)[:, None].repeat(1, 3, 1, 1)
        masks = torch.stack([1 - places, places], 1)
        return SimpleNamespace(image=image, masks_at=lambda h, w: masks)

    def images(self, z: torch.Tensor) -> torch.Tensor:
        return self(z).image


def test_a_control_that_acts_on_its_factor_alone_overlaps_fully(trained, tmp_path, monkeypatch) -> None:
    own_masks = "wherewhat.evaluation.where.image_masks"
    monkeypatch.setattr(own_masks, lambda painter, z, controls: painter(z).masks_at(64, 64)[:, controls])
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    data = open_data(run.config.data)
    index = np.random.default_rng(0).choice(len(data), 6, replace=False)
    floor = data.factors.names.index("floor hue")
    assert run.encoder.controls is None  # loaded with the generator of the run, before another takes its place
    run.__dict__["generator"] = Painter(np.stack([region(data, int(i), floor) for i in index]))
    (place,) = where(run, 6, distance="pixels")
    assert place.control == 1 and place.factor == "floor hue"
    assert (place.mask_change, place.change_truth, place.mask_truth, place.sharpness) == (1, 1, 1, 1)
    assert place.area == place.share_changed
    assert 0.1 < place.share_changed < 0.7
    assert run.latest("where")["value"] == 1 and run.latest("where")["options"]["against"] == "truth"
    run.__dict__["generator"].places = 1 - run.generator.places
    assert where(run, 6, distance="pixels")[0].change_truth == 0


def test_the_command_prints_a_table_and_json(trained, tmp_path, capsys) -> None:
    folder = str(shutil.copytree(trained, tmp_path / "run"))
    cli.main(["where", folder, "--count", "3", "--distance", "pixels"])
    assert "floor hue" in capsys.readouterr().out
    cli.main(["where", folder, "--count", "3", "--distance", "pixels", "--json"])
    (record,) = json.loads(capsys.readouterr().out)
    assert record["control"] == 1 and 0 <= record["change_truth"] <= 1


def test_without_data_sweeps_start_from_the_prior(trained, tmp_path) -> None:
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    run.config = replace(run.config, data=replace(run.config.data, source="nowhere/at/all"))
    (place,) = where(run, 4, distance="pixels")
    assert place.change_truth is None and 0 <= place.mask_change <= 1
    assert run.latest("where")["options"]["around"] == "prior"


def test_controls_must_be_known(tmp_path) -> None:
    run = train(small("masked", images=16), str(tmp_path / "run"), "cpu", quiet=True)
    with pytest.raises(UserError, match="wherewhat evaluate"):
        where(run)
