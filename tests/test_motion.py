"""Films go through the pictures they were given, the short way, and end where they begin."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import small
from helpers import enlivened, the_place
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from test_pictures import film

from wherewhat import cli
from wherewhat.editing import motion
from wherewhat.editing.motion import EASINGS, enlarged, frames, in_a_row, interpolate, keyframed
from wherewhat.editing.states import State, write_state
from wherewhat.errors import UserError
from wherewhat.families.family import build_generator
from wherewhat.nn.controls import Controls, PolarPair
from wherewhat.priors import slerp
from wherewhat.run.folder import Run
from wherewhat.viz.canvas import to_image, to_pixels, to_tiles

ANGLE = 1


@pytest.fixture(scope="module")
def turning(trained):
    """A run of four controls, of which one is an angle and one its radius."""
    run = Run.open(trained)
    torch.manual_seed(0)
    generator = build_generator(small("rooms")).eval().requires_grad_(False)
    for stage in generator.stages:
        stage.style.mul_(3)
    generator.controls = Controls.plain(4, (PolarPair(ANGLE, 2, (0.0, 0.0), 0.3, 1.0, 0.2),))
    run.__dict__["generator"] = generator
    return run


@pytest.fixture(scope="module")
def normal(trained):
    """A run of two latents with a normal prior, and no controls made of them."""
    run = Run.open(trained)
    run.config = replace(run.config, prior="normal")
    run.generator.controls = None
    return run


@pytest.fixture(scope="module")
def lively(trained, tmp_path_factory):
    return enlivened(trained, tmp_path_factory.mktemp("lively") / "run")


def in_range(count):
    return st.lists(st.floats(-2, 2, width=32), min_size=count, max_size=count).map(torch.tensor)


# ---------------------------------------------------------------------------------------------------------------- codes


@given(in_range(4), in_range(4))
def test_a_way_begins_and_ends_at_the_pictures_given_and_goes_evenly(turning, a, b):
    way = interpolate(turning, a, b, torch.linspace(0, 1, 9))
    assert torch.equal(way[0], a) and torch.equal(way[-1], b)
    others = [0, 2, 3]
    torch.testing.assert_close(way[4, others], (a + b)[others] / 2)
    torch.testing.assert_close(way[:, others].diff(dim=0), ((b - a)[others] / 8).expand(8, 3), atol=1e-5, rtol=0)


@given(in_range(4), in_range(4))
def test_an_angle_goes_the_shorter_way_round_and_stays_on_the_circle(turning, a, b):
    way = interpolate(turning, a, b, torch.linspace(0, 1, 9))[:, ANGLE]
    assert way.abs().max() <= 2
    turned = torch.remainder(way.diff() + 2, 4) - 2
    assert turned.sum().abs() <= 2 + 1e-4  # half the circle at most
    assert turned.abs().max() <= 2 / 8 + 1e-4


def test_from_near_plus_two_to_near_minus_two_an_angle_crosses_the_seam(turning):
    a, b = torch.zeros(4), torch.zeros(4)
    a[ANGLE], b[ANGLE] = 1.5, -1.7
    way = interpolate(turning, a, b, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))[:, ANGLE]
    torch.testing.assert_close(way, torch.tensor([1.5, 1.7, 1.9, -1.9, -1.7]))


def test_a_normal_prior_is_crossed_on_an_arc_also_between_opposite_points(normal):
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    way = interpolate(normal, a, b, torch.linspace(0, 1, 7))
    torch.testing.assert_close(way.norm(dim=1), torch.full((7,), 2.0))
    opposite = interpolate(normal, a, -a, torch.linspace(0, 1, 7))
    assert opposite.isfinite().all() and opposite.abs().max() <= 2
    assert torch.equal(opposite[0], a) and torch.equal(opposite[-1], -a)
    torch.testing.assert_close(slerp(a[None], b[None], torch.tensor([[0.5]]))[0], way[3])


def test_where_the_prior_is_not_normal_latents_go_straight(trained):
    run = Run.open(trained)
    run.generator.controls = None
    a, b = torch.tensor([1.5, 0.0]), torch.tensor([0.0, 1.5])
    torch.testing.assert_close(interpolate(run, a, b, torch.tensor([0.5]))[0], torch.tensor([0.75, 0.75]))


# ------------------------------------------------------------------------------------------------------------ keyframes


@pytest.mark.parametrize("easing", EASINGS)
@pytest.mark.parametrize("closed", [True, False])
def test_every_keyframe_is_hit_exactly_after_the_seconds_given(turning, easing, closed):
    keys = torch.rand(3, 4, generator=torch.Generator().manual_seed(1)) * 4 - 2
    seconds = [0.4, 1.2, 0.8][: 3 if closed else 2]
    codes = keyframed(turning, keys, seconds, easing, 10, closed)
    assert len(codes) == (24 if closed else 17)
    for key, at in zip(keys, (0, 4, 16), strict=True):
        assert torch.equal(codes[at], key)


@pytest.mark.parametrize("easing", EASINGS)
def test_a_loop_ends_where_it_begins_and_repeats_no_picture(turning, easing):
    keys = torch.rand(3, 4, generator=torch.Generator().manual_seed(2)) * 4 - 2
    codes = keyframed(turning, keys, [1.0], easing, 20)
    step = codes.roll(-1, 0) - codes
    step[:, ANGLE] = torch.remainder(step[:, ANGLE] + 2, 4) - 2
    assert step.norm(dim=1).min() > 0
    last_way = step[40:].norm(dim=1)
    assert last_way[-1] <= last_way.max() + 1e-4  # the step from the last picture to the first is one of the film's own
    torch.testing.assert_close(last_way, last_way.flip(0), atol=1e-4, rtol=0)


def test_smooth_slows_down_at_the_pictures_and_linear_does_not(turning):
    keys = torch.tensor([[0.0, 0, 0, 0], [1.0, 0, 0, 0]])
    smooth, linear = (keyframed(turning, keys, [1.0], e, 20, closed=False)[:, 0].diff() for e in ("smooth", "linear"))
    assert smooth[0] < smooth[10] / 5 and smooth[-1] < smooth[10] / 5
    torch.testing.assert_close(linear, torch.full((20,), 0.05), atol=1e-6, rtol=0)
    for easing in EASINGS.values():
        ends = easing(torch.tensor([0.0, 0.5, 1.0]))
        torch.testing.assert_close(ends, torch.tensor([0.0, 0.5, 1.0]))


@pytest.mark.parametrize(
    ("keys", "how", "wrong"),
    [
        (1, {}, "name two or more"),
        (3, {"seconds": [1.0, 2.0]}, "2 times for 3 ways"),
        (3, {"seconds": [1.0, 2.0, 3.0], "closed": False}, "3 times for 2 ways"),
        (2, {"seconds": [0.0]}, "positive"),
        (2, {"seconds": [math.inf]}, "positive"),
        (2, {"fps": 0}, "positive"),
        (2, {"easing": "bouncy"}, "no easing bouncy; there is: smooth, linear"),
        (2, {"seconds": [1e6]}, "more than 5,000 pictures"),
    ],
)
def test_what_makes_no_film_is_refused(turning, keys, how, wrong):
    with pytest.raises(UserError, match=wrong):
        keyframed(turning, torch.zeros(keys, 4), **how)


# ------------------------------------------------------------------------------------------------------------- pictures


def test_frames_are_the_pictures_of_the_codes_however_many_there_are(turning, monkeypatch):
    codes = torch.rand(7, 4) * 4 - 2
    monkeypatch.setattr(motion, "BATCH", 3)
    made = frames(turning.generator, codes)
    assert len(made) == 7
    for picture, code in zip(made, codes, strict=True):
        expected = to_pixels(turning.generator.images(code[None]))[0].astype(int)
        assert abs(np.asarray(picture).astype(int) - expected).max() <= 1


def test_both_ends_of_an_angle_are_the_same_picture_so_no_frame_jumps(turning):
    keys = torch.zeros(2, 4)
    keys[:, ANGLE] = torch.tensor([1.4, -1.4])
    made = np.stack([np.asarray(f).astype(int) for f in frames(turning.generator, keyframed(turning, keys, fps=20))])
    steps = abs(made - np.roll(made, -1, 0)).mean((1, 2, 3))
    far = abs(made[0] - np.asarray(frames(turning.generator, torch.zeros(1, 4))[0]).astype(int)).mean()
    assert far > 2 and steps.max() < far / 4


def test_a_picture_is_enlarged_by_a_factor_and_keeps_its_content():
    ramp = Image.fromarray(np.linspace(0, 255, 24).astype(np.uint8)[None, :, None].repeat(16, 0).repeat(3, 2))
    large = enlarged(ramp, 4)
    assert large.size == (96, 64) and enlarged(ramp, 1) is ramp
    again = np.asarray(large.resize(ramp.size, Image.Resampling.BOX)).astype(int)
    assert abs(again - np.asarray(ramp).astype(int)).max() <= 3
    assert len(np.unique(np.asarray(large)[0, :, 0])) > 60  # new values between, no squares of four pixels
    with pytest.raises(UserError, match=r"--scale 1000 makes 24000 × 16000 pixels"):
        enlarged(ramp, 1000)


def test_a_row_has_all_pictures_side_by_side():
    tiles = [np.full((6, 8, 3), value, np.uint8) for value in (10, 90, 170)]
    row = in_a_row([Image.fromarray(tile) for tile in tiles])
    spots = [the_place(row, tile) for tile in tiles]
    assert [y for y, _ in spots] == [0, 0, 0] and [x for _, x in spots] == [0, 12, 24]


# ------------------------------------------------------------------------------------------------------------- commands


@pytest.fixture
def here(lively, tmp_path, monkeypatch):
    """The run, a photograph of it and a saved state, in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(lively.path, "run")
    to_image(to_pixels(lively.generator.images(torch.tensor([[0.5, -1.0]])))[0]).save("a.png")
    write_state(tmp_path / "b.json", State((1.0, 1.5)))
    return Run.open("run")


def grey(picture):
    """Films keep colours at half the resolution, so pictures of noise compare by their brightness."""
    return np.asarray(picture.convert("L")).astype(int)


def morph(words):
    cli.main(["morph", "run", *words.split()])


def test_a_film_goes_through_a_photograph_a_state_and_a_sample(here, capsys):
    morph("a.png b.json 7 --seconds 0.4 --fps 10 --scale 4 --steps 0 --out film.mp4")
    assert capsys.readouterr().out == "film.mp4\n"
    shown, fps = film("film.mp4", (64, 64))
    assert (len(shown), fps) == (12, 10.0)
    encoded = here.encoder(
        torch.from_numpy(np.asarray(Image.open("a.png")).transpose(2, 0, 1)[None] / 127.5 - 1).float()
    )
    codes = torch.cat([encoded, torch.tensor([[1.0, 1.5]]), torch.from_numpy(here.draw(1, 7))])
    keys = [grey(enlarged(Image.fromarray(tile), 4)) for tile in to_tiles(here.generator.images(codes), 16)]
    for k, frame in enumerate(shown[::4]):
        away = [abs(grey(Image.fromarray(frame)) - key).mean() for key in keys]
        assert np.argmin(away) == k and away[k] < 3


def test_a_gif_is_an_endless_loop_at_its_pace_and_one_way_if_asked_for(here):
    morph("1 2 --seconds 0.5 --fps 10 --scale 1 --once --out way.gif")
    with Image.open("way.gif") as picture:
        assert picture.info["loop"] == 0
        shown = [(frame.info["duration"], frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]
    assert sum(duration for duration, _ in shown) == 600  # five steps and the last picture
    (tile,) = to_tiles(here.generator.images(torch.from_numpy(here.draw(1, 2))), 16)
    assert abs(np.asarray(shown[-1][1]).astype(int) - tile).mean() < 8


def test_a_png_is_a_row_from_the_first_to_the_last_and_of_one_picture_it_alone(here):
    morph("b.json 1 --scale 2 --out row.png")
    morph("b.json --scale 8 --out one.png")
    row, one = Image.open("row.png"), Image.open("one.png")
    assert one.size == (128, 128) and row.height == 32
    small_one = np.asarray(one.resize((32, 32), Image.Resampling.BOX)).astype(int)
    assert abs(np.asarray(row.crop((0, 0, 32, 32))).astype(int) - small_one).mean() < 4
    (last,) = frames(here.generator, torch.from_numpy(here.draw(1, 1)), 2)
    assert the_place(row, np.asarray(last))[1] == row.width - 32


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("", "name the pictures"),
        ("1 --out a.mp4", "name two or more"),
        ("1 2 --out a.jpg", "must end in .png, .gif, .mp4"),
        ("1 2 --fps 60 --out a.gif", "a .gif shows at most 50"),
        ("1 2 --seconds 1 2 3 --out a.gif", "3 times for 2 ways"),
        ("1 none.png --out a.gif", "none.png"),
        ("1 none.json --out a.gif", "cannot read none.json"),
        ("1 2 --scale 0 --out a.gif", "--scale 0: give 1 or more"),
        ("1 2 --scale 999 --out a.gif", "--scale 999 makes"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line_and_writes_nothing(here, capsys, words, wrong):
    with pytest.raises(SystemExit) as ended:
        morph(words)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and wrong in said and said.count("\n") == 1
    assert sorted(path.name for path in here.path.parent.iterdir()) == ["a.png", "b.json", "run"]
