"""Names of controls, and one picture read by itself."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from wherewhat.data.pictures import open_picture
from wherewhat.errors import UserError
from wherewhat.run.folder import ControlSummary, Run
from wherewhat.run.names import find_control, shown, suggested


@pytest.fixture
def run(trained, tmp_path):
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def control(latent, factor=None, share=None, row=0.1, column=0.1):
    return ControlSummary(latent, 1.0, 0.1, True, row, column, 0.1, 1.0, factor, share)


def test_a_clear_factor_or_the_place_suggests_a_name():
    found = suggested([control(0, "shape", 0.9), control(1, "shape", 0.2), control(2), control(3, row=0.9)])
    assert found == {0: "shape", 1: "top left 1", 2: "top left 2", 3: "bottom left"}


def test_names_are_kept_found_and_taken_away(run):
    run.rename(1, "  Übermut ")
    assert Run.open(run.path).names == {1: "Übermut"}
    assert find_control(run, "übermut") == 1 == find_control(run, "z1") == find_control(run, "1")
    assert shown(run)[1] == "Übermut" and set(shown(run)) == set(range(run.config.generator.latents))
    run.rename(1, "")
    assert run.names == {}


def test_what_is_no_name_or_no_dimension_is_reported(run):
    for latent, name in ((99, "a"), (0, "two\nlines"), (0, "x" * 61)):
        with pytest.raises(UserError):
            run.rename(latent, name)
    run.rename(0, "smile")
    with pytest.raises(UserError, match=re.escape("no control smiel; did you mean smile?")):
        find_control(run, "smiel")
    assert run.names == {0: "smile"}


def as_png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_a_picture_is_cropped_shrunk_and_enlarged(tmp_path):
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = (255, 0, 0)  # all that is left of it
    for height, width in ((8, 8), (64, 64)):
        pixels = open_picture(as_png(wide), height, width, 3)
        assert pixels.shape == (3, height, width)
        assert (pixels[0, :, 1:-1] > 230).all() and (pixels[1:] < 25).all()
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert np.array_equal(open_picture(tmp_path / "wide.png", 8, 8, 1)[0], open_picture(as_png(wide), 8, 8, 1)[0])


NOISE = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)


@pytest.mark.parametrize("broken", [b"", b"hello", as_png(NOISE)[:90]])
def test_what_is_no_picture_is_reported_in_one_line(broken):
    with pytest.raises(UserError, match=r"^photo.png cannot be read as a picture: [^\n]+$"):
        open_picture(broken, 8, 8, 3, name="photo.png")


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="too many pixels"):
        open_picture(as_png(np.zeros((100, 100, 3), np.uint8)), 8, 8, 3)
