"""Names of controls, and one picture read by itself."""

import json
import re
import shutil
import time

import numpy as np
import pytest
from helpers import as_png
from PIL import Image

from wherewhat.data.pictures import open_picture
from wherewhat.errors import UserError
from wherewhat.run.folder import Run
from wherewhat.run.model import ControlSummary
from wherewhat.run.names import find_control, find_controls, shown, suggested
from wherewhat.viz.canvas import Canvas
from wherewhat.viz.traversals import draw_traversals


@pytest.fixture
def run(trained, tmp_path):
    return Run.open(shutil.copytree(trained, tmp_path / "run"))


def control(index, factor=None, share=None, row=0.1, column=0.1):
    return ControlSummary(index, 1.0, 0.1, True, row, column, 0.1, 1.0, factor, share)


def test_a_clear_factor_or_the_place_suggests_a_name():
    found = suggested([control(0, "shape", 0.9), control(1, "shape", 0.2), control(2), control(3, row=0.9)])
    assert found == {0: "shape", 1: "top left 1", 2: "top left 2", 3: "bottom left"}


def test_names_are_kept_found_and_removed(run):
    run.rename(1, "  Übermut ")
    assert Run.open(run.path).names == {1: "Übermut"}
    assert find_control(run, "übermut") == 1 == find_control(run, "z1") == find_control(run, "1")
    assert find_controls(run, "z0, Übermut") == [0, 1]
    assert shown(run)[1] == "Übermut" and set(shown(run)) == set(range(run.config.latents))
    run.rename(1, "")
    assert run.names == {}


def test_names_of_any_length_in_the_file_are_cut(run, tmp_path):
    """Films write each name many times; a factor of a foreign table may be as long."""
    (run.path / "names.json").write_text(json.dumps({"0": "w" * 10**6, "1": "\x1b[31m" + "i " * 10**6}))
    assert Run.open(run.path).names == {0: "w" * 60, 1: "[31m" + "i " * 28}
    began = time.process_time()
    draw_traversals(Run.open(run.path), tmp_path / "film.gif")
    Canvas(200, 40).fitted(0, 0, "i" * 10**6, 190)
    assert time.process_time() - began < 10


def test_unusable_names_and_controls_that_do_not_exist_are_reported(run):
    for control, name in ((99, "a"), (0, "two\nlines"), (0, "x" * 61)):
        with pytest.raises(UserError):
            run.rename(control, name)
    run.rename(0, "smile")
    with pytest.raises(UserError, match=re.escape("no control smiel; did you mean smile?")):
        find_control(run, "smiel")
    assert run.names == {0: "smile"}


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
def test_a_file_that_is_no_picture_is_reported_in_one_line(broken):
    with pytest.raises(UserError, match=r"^photo.png cannot be read as a picture: [^\n]+$"):
        open_picture(broken, 8, 8, 3, name="photo.png")


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match="too many pixels"):
        open_picture(as_png(np.zeros((100, 100, 3), np.uint8)), 8, 8, 3)
