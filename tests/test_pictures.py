"""Pictures: what they show, where, on which scale; that files decode; sheets of data sets."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from conftest import small
from helpers import enlivened, places, the_place
from matplotlib import colormaps
from PIL import Image

from wherewhat.data.factors import Factors
from wherewhat.errors import UserError
from wherewhat.evaluation.controls import visible_shares
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.families.family import build_generator
from wherewhat.nn.controls import Controls, PolarPair
from wherewhat.priors import PRIORS
from wherewhat.run.folder import Run
from wherewhat.run.model import ControlSummary
from wherewhat.viz import canvas, plots
from wherewhat.viz import traversals as drawing
from wherewhat.viz.canvas import LABEL_WIDTH, Canvas, save_moving, save_still, to_tiles
from wherewhat.viz.plots import draw_factor_map, factor_map
from wherewhat.viz.sheets import data_sheet, image_rows
from wherewhat.viz.traversals import draw_traversals, loop, moving_traversals, starting_point, sweep, traversals


def colour(value):
    return np.rint(np.array(colormaps["inferno"](np.float32(value))[:3]) * 255)


def film(path, size):
    """Frames of a film and how many it has a second, by the decoder itself."""
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    decoded = subprocess.run(words, capture_output=True, check=True)
    log = decoded.stderr.decode()
    assert f"{size[0]}x{size[1]}" in log
    frames = np.frombuffer(decoded.stdout, np.uint8).reshape(-1, size[1], size[0], 3)
    return frames, float(re.search(r"([\d.]+) fps", log)[1])


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    made = build_generator(small("rooms", (16, 24)))
    with torch.no_grad():
        for stage in made.stages:
            stage.style.mul_(3)
    return made.eval().requires_grad_(False)


@pytest.fixture
def masks():
    return np.linspace(0, 1, 4 * 16 * 24, dtype=np.float32).reshape(4, 16, 24)


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory):
    """A run whose two controls change the image visibly, with its TPL measured: z1 is longer than z0."""
    run = enlivened(trained, tmp_path_factory.mktemp("lively") / "run")
    evaluate(run, ["tpl"], "fast", distance="pixels", threshold=0.01)
    assert [d.index for d in run.control_table if d.active] == [1, 0]
    return run


@pytest.fixture
def run(scored, tmp_path):
    return Run.open(shutil.copytree(scored.path, tmp_path / "run"))


BASE = torch.tensor([0.5, -0.4, 1.0, 0.2])
PLAIN = [drawing.ControlLabel.plain(i) for i in (2, 0, 3, 1)]


def image_at(generator, index, value):
    z = BASE.clone()[None]
    z[0, index] = value
    return to_tiles(generator(z).image)[0]


# -------------------------------------------------------------------------------------------------------- traversals


def test_rows_come_in_the_order_given_and_columns_from_minus_to_plus_reach(generator, masks):
    picture = traversals(generator, PLAIN, BASE, masks, steps=5, reach=3.0)
    tops, mask_columns = [], []
    for control in PLAIN:
        spots = [the_place(picture, image_at(generator, control.index, v)) for v in (-3.0, -1.5, 0.0, 1.5, 3.0)]
        (top, column) = the_place(picture, canvas.heat(masks[control.index], (64, 96)))
        assert {y for y, _ in spots} == {top}
        distances = np.diff([column] + [x for _, x in spots])
        assert distances[1:].tolist() == [distances[1]] * 4
        assert distances[0] >= distances[1] > 96
        tops.append(top)
        mask_columns.append(column)
    assert tops == sorted(set(tops))
    assert set(mask_columns) == {LABEL_WIDTH}


def test_the_middle_column_is_the_base_point_with_that_control_at_0(generator, masks):
    picture = traversals(generator, PLAIN, BASE, masks)
    for control in PLAIN:
        row = [x for y, x in places(picture, image_at(generator, control.index, 0.0))]
        first = the_place(picture, image_at(generator, control.index, -2.0))[1]
        last = the_place(picture, image_at(generator, control.index, 2.0))[1]
        assert row == [(first + last) // 2]


def test_the_base_point_is_left_as_it_was(generator, masks):
    before = BASE.clone()
    traversals(generator, PLAIN, BASE, masks, steps=2)
    loop(generator, BASE, 1, is_angle=False, frames=4)
    assert torch.equal(before, BASE)


@pytest.mark.parametrize("others", [0.0, 0.1, 1.0])
def test_masks_are_drawn_on_a_scale_from_0_to_1_whatever_the_others_are(generator, others):
    masks = np.full((4, 16, 24), others, np.float32)
    masks[2] = 0.5
    picture = np.asarray(traversals(generator, PLAIN[:2], BASE, masks, steps=2))
    top, _ = the_place(picture, image_at(generator, 2, -2.0))
    half = picture[top : top + 64, LABEL_WIDTH : LABEL_WIDTH + 96]
    assert (half == colour(0.5)).all()
    moving = moving_traversals(generator, PLAIN[:2], BASE, masks, frames=2)
    assert all(len(places(frame, half)) == 1 for frame in moving)


def test_heat_is_the_same_colour_for_the_same_value():
    assert (canvas.heat(np.full((3, 4), 0.25, np.float32), (6, 8)) == colour(0.25)).all()
    assert (canvas.heat(np.array([[-1.0, 2.0]]), (1, 2)) == [[colour(0), colour(1)]]).all()
    assert canvas.heat(np.zeros((4, 6)), (8, 18)).shape == (8, 18, 3)


def test_masks_of_single_images_stand_beside_them(generator):
    z = torch.stack([BASE, -2 * BASE])
    picture = drawing.single_masks(generator, PLAIN, z)
    made = generator(z)
    masks = made.masks_at(16, 24).numpy()
    for i in range(2):
        top, left = the_place(picture, to_tiles(made.image)[i])
        for k, control in enumerate(PLAIN, 1):
            x = left + k * (96 + canvas.GAP)
            tile = np.asarray(picture)[top : top + 64, x : x + 96]
            assert (tile == canvas.heat(masks[i, control.index], (64, 96))).all()


def test_a_sweep_moves_one_control_in_equal_steps_from_minus_to_plus_reach(generator):
    images = sweep(generator, BASE, 3, steps=3, reach=1.5)
    z = BASE.repeat(3, 1)
    z[:, 3] = torch.tensor([-1.5, 0.0, 1.5])
    assert torch.equal(images, generator(z).image)


def test_a_loop_starts_at_minus_reach_and_comes_back_the_same_way(generator):
    for frames in (2, 3, 8, 9, 32):
        images = loop(generator, BASE, 1, is_angle=False, frames=frames, reach=2.5)
        assert len(images) == frames
        for k in range(1, frames):
            torch.testing.assert_close(images[k], images[frames - k], atol=2e-5, rtol=0)
        if frames % 2 == 0:
            ends = torch.stack([BASE, BASE])
            ends[:, 1] = torch.tensor([-2.5, 2.5])
            torch.testing.assert_close(images[[0, frames // 2]], generator(ends).image, atol=2e-5, rtol=0)
    changes = (images[1:17] - images[:16]).abs().mean((1, 2, 3))
    assert changes[0] < changes[7] > changes[15]


def test_the_loop_of_an_angle_goes_all_the_way_round(generator):
    generator.controls = Controls.plain(len(BASE), (PolarPair(1, 2, (0.0, 0.0), 0.4, 1.0, 0.5),))
    try:
        images = loop(generator, BASE, 1, is_angle=True, frames=8, reach=2.5)
        ends = BASE.repeat(2, 1)
        ends[:, 1] = torch.tensor([-2.0, 2.0])
        torch.testing.assert_close(generator(ends).image[0], generator(ends).image[1], atol=1e-5, rtol=0)
        torch.testing.assert_close(images[0], generator(ends).image[0], atol=2e-5, rtol=0)
        assert all((images[k] - images[8 - k]).abs().max() > 1e-4 for k in range(1, 4))  # never the way it came
    finally:
        generator.controls = None


@pytest.mark.parametrize("prior", ["generalized_normal", "normal"])
def test_angles_are_drawn_all_the_way_round(run, prior):
    """Samples of the generalized normal are within ±√3, and so would never show an eighth of the circle."""
    run.config = replace(run.config, prior=prior)
    latents = run.config.latents
    pair = PolarPair(1, 0, (0.0, 0.0), 0.0, 1.0, 0.2)
    run.generator.controls = Controls.plain(latents, (pair,))
    drawn = run.draw(4_000, 0)
    assert np.histogram(drawn[:, 1], 8, (-2, 2))[0].min() > 400
    assert (np.delete(drawn, 1, 1) == np.delete(PRIORS[prior].draw(4_000, latents, 0), 1, 1)).all()


# -------------------------------------------------------------------------------------------------------------- tiles


def test_transparent_pixels_become_white():
    images = torch.full((3, 4, 2, 2), -1.0)
    images[1, 3], images[2, 3] = 0.0, 1.0
    clear, half, solid = to_tiles(images)
    assert (clear == 255).all()
    assert (abs(half.astype(int) - 127) <= 1).all()
    assert (solid == 0).all()
    picture = image_rows([("clear", images[:1])])
    assert places(picture, clear)


@pytest.mark.parametrize(
    ("size", "tile"), [((16, 24), (64, 96)), ((64, 64), (128, 128)), ((70, 100), (70, 100)), ((300, 400), (144, 192))]
)
def test_tiles_keep_the_aspect_ratio_and_whole_pixels(size, tile):
    images = torch.rand(1, 1, *size) * 2 - 1
    made = to_tiles(images)
    assert made.shape == (1, *tile, 3)
    assert (made[..., 0] == made[..., 2]).all()
    if tile[0] > size[0]:
        times = tile[0] // size[0]
        assert (made[0].reshape(size[0], times, size[1], times, 3).std((1, 3)) == 0).all()


def test_values_outside_the_range_are_clipped():
    made = to_tiles(torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0]).view(1, 1, 1, 5), side=5)
    assert made[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("size", [(101, 57), (100, 58), (1, 1)])
def test_sides_are_even_for_video(size):
    made = Canvas(*size).image.size
    assert all(side % 2 == 0 and 0 <= side - asked <= 1 for side, asked in zip(made, size, strict=True))


def test_long_words_are_fitted_into_their_column():
    sheet = Canvas(200, 40)
    sheet.fitted(10, 5, "an unreasonably long name of a control, and more of it " * 3, 120, 15)
    dark = np.asarray(sheet.image).min(2) < 128
    assert dark[:, 10:130].any()
    assert not dark[:, 131:].any()


# ----------------------------------------------------------------------------------------------------- names and words


def control(index, **more):
    return ControlSummary(index, 1.234, 0.056, True, 0.1, 0.9, 0.25, 1.0, **more)


def test_labels_have_name_factor_tpl_and_place():
    known, unknown = drawing.control_labels([control(3, factor="hue", share=0.87), control(1)])
    assert (known.index, known.title) == (3, "z3  hue")
    assert known.lines == ("hue 87% · TPL 1.23 ± 0.06", "top right, 25% of the image")
    assert (unknown.index, unknown.title) == (1, "z1  top right")
    assert unknown.lines[0] == "TPL 1.23 ± 0.06"


def test_the_users_names_go_before_matched_factors():
    controls = [control(3, factor="hue", share=0.9), control(1), control(0)]
    named = drawing.control_labels(controls, {3: "sky", 1: "smile"})
    assert [s.title for s in named] == ["z3  sky", "z1  smile", "z0  top right 2"]


def test_controls_of_one_factor_are_numbered_as_on_the_page_and_in_the_report():
    controls = [control(k, factor="hue", share=0.9) for k in (3, 1)]
    assert [s.title for s in drawing.control_labels(controls)] == ["z3  hue 1", "z1  hue 2"]


def test_names_of_a_run_appear_in_its_pictures(run, tmp_path, monkeypatch):
    shown = []
    real = drawing.shown_controls
    monkeypatch.setattr(drawing, "shown_controls", lambda *a: shown.append(real(*a)) or shown[-1])
    before = np.asarray(Image.open(draw_traversals(run, tmp_path / "before.png")))
    (run.path / "names.json").write_text(json.dumps({"1": "the light"}))
    after = np.asarray(Image.open(draw_traversals(run, tmp_path / "after.png")))
    assert [s.title.split("  ")[1:] == ["the light"] for s in shown[1]] == [True, False]
    rows, columns = np.nonzero((before != after).any(2))
    assert len(columns) > 0
    assert columns.max() < LABEL_WIDTH
    assert rows.max() < 60


# -------------------------------------------------------------------------------------------------- pictures of a run


def own_tile(run, index, value, seed=0):
    z = starting_point(run, seed, "cpu").clone()[None]
    z[0, index] = value
    return to_tiles(run.generator(z).image)[0]


def test_traversals_start_from_an_image_of_the_data_if_the_encoder_reads_real_images(run):
    class One:
        factors = None

        def __len__(self):
            return 1

        def images(self, index):
            return image[index]

    image = np.random.default_rng(1).integers(0, 256, (1, 3, 16, 16), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wherewhat.data.open_data", lambda config: One())
        start = starting_point(run, 0, "cpu")
    torch.testing.assert_close(start, run.encoder(torch.from_numpy(image).float() / 127.5 - 1)[0])
    one, same, other = (starting_point(run, seed, "cpu") for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert (one - other).abs().max() > 0.01


@pytest.mark.parametrize("family", ["gan", "autoencoder"])
def test_traversals_start_from_the_prior_for_a_gan_and_where_the_data_cannot_be_opened(run, family):
    source = "/nowhere/at/all"
    assert run.generator.controls is None
    config = small("masked" if family == "autoencoder" else "rooms-lean")
    run.config = replace(config, data=replace(config.data, source=source))
    starts = torch.stack([starting_point(run, seed, "cpu") for seed in range(50)])
    assert starts.shape[1] == config.latents
    assert 0.8 < starts.std() < 1.2
    assert torch.equal(starting_point(run, 7, "cpu"), starts[7])


def test_rows_of_a_run_are_in_the_order_of_tpl_unless_chosen(run, tmp_path):
    def order(**options):
        picture = Image.open(draw_traversals(run, tmp_path / "a.png", steps=3, **options)).convert("RGB")
        found = {k: places(picture, own_tile(run, k, 2.0)) for k in (0, 1)}
        return [k for k in sorted(found, key=found.get) if found[k]]

    assert order() == [1, 0]
    assert order(chosen=[0, 1]) == [0, 1]
    assert order(chosen=[0]) == [0]


def test_controls_not_in_use_are_drawn_on_demand_or_if_there_are_no_others(run, tmp_path, monkeypatch):
    def rows(**options):
        with Image.open(draw_traversals(run, tmp_path / "a.png", **options)) as picture:
            return picture.height

    both = rows()
    shares = sorted(d.visible for d in run.control_table)
    monkeypatch.setattr("wherewhat.run.model.VISIBLE_SHARE", shares[1])
    assert sorted(d.in_use for d in run.control_table) == [False, True]
    assert rows() < both
    assert rows(inactive=True) == both
    monkeypatch.setattr("wherewhat.run.model.VISIBLE_SHARE", 2.0)
    assert rows() == both


def test_what_a_person_sees_decides_which_controls_are_in_use_not_a_threshold_of_tpl(run):
    evaluate(run, ["tpl"], "fast", distance="pixels", threshold=1e6)
    assert not any(d.active for d in run.control_table)
    assert any(d.in_use for d in run.control_table)
    with torch.no_grad():
        run.generator.stages[0].style[0] = 0  # this latent changes nothing any more
    shares = visible_shares(run.generator, torch.from_numpy(run.draw(8, 0)))
    assert shares[0] == 0 < shares[1]


def test_another_seed_starts_from_another_image(run, tmp_path):
    draw_traversals(run, tmp_path / "a.png", steps=3, seed=5)
    with Image.open(tmp_path / "a.png") as picture:
        assert places(picture, own_tile(run, 1, 2.0, seed=5))
        assert not places(picture, own_tile(run, 1, 2.0, seed=0))


def test_a_picture_goes_into_the_runs_folder_if_no_name_is_given(run):
    assert draw_traversals(run) == run.path / "pictures" / "traversals.png"
    assert (run.path / "pictures" / "traversals.png").stat().st_size > 1000


def test_a_png_decodes(run, tmp_path):
    with Image.open(draw_traversals(run, tmp_path / "new" / "a.PNG")) as picture:
        picture.load()
        assert (picture.format, picture.mode) == ("PNG", "RGB")


def test_a_gif_is_an_endless_loop_of_32_frames(run, tmp_path):
    with Image.open(draw_traversals(run, tmp_path / "a.gif")) as picture:
        assert picture.n_frames == 32
        assert picture.info["loop"] == 0
        durations, frames = [], []
        for k in range(32):
            picture.seek(k)
            durations.append(picture.info["duration"])
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
    assert 3800 <= sum(durations) <= 4200
    assert abs(frames[16] - frames[0]).max() > 50


def test_an_mp4_is_the_same_32_frames(run, tmp_path):
    with Image.open(draw_traversals(run, tmp_path / "a.gif")) as picture:
        frames, rate = film(draw_traversals(run, tmp_path / "a.mp4"), picture.size)
        assert (len(frames), rate) == (32, 8)
        for k in (0, 10, 16):
            picture.seek(k)
            dotted, plain = (np.asarray(i.reduce(4), int) for i in (picture.convert("RGB"), Image.fromarray(frames[k])))
            assert abs(dotted - plain).mean() < 6  # colours of a GIF are mixed from dots


def test_odd_frames_are_made_even_for_the_codec(tmp_path):
    frames, _ = film(save_moving([Canvas(51, 33).image] * 3, tmp_path / "a.mp4"), (52, 34))
    assert len(frames) == 3


def test_a_still_of_frames_is_the_first(tmp_path):
    frames = [Image.new("RGB", (2, 2), c) for c in ("red", "blue")]
    with Image.open(save_moving(frames, tmp_path / "a.png")) as picture:
        assert picture.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("name", ["a.tiff", "a", "a.jpg", ".png"])
def test_another_ending_is_reported_before_anything_is_drawn(run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(drawing, "masks_of_run", None)
    with pytest.raises(UserError, match=r"must end in .png, .gif, .mp4"):
        draw_traversals(run, tmp_path / "new" / name)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"steps": 1}, "--steps 1"), ({"reach": 0.0}, "--reach 0"), ({"reach": float("nan")}, "--reach nan")],
)
def test_steps_and_reach_that_cannot_be_drawn_are_reported(run, tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        draw_traversals(run, tmp_path / "a.png", **options)


def test_a_picture_that_cannot_be_written_is_reported_and_leaves_nothing(tmp_path, monkeypatch):
    picture = Image.new("RGB", (4, 4))
    (tmp_path / "file").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cannot write .*a.png"):
        save_still(picture, tmp_path / "file" / "a.png")
    save_still(picture, tmp_path / "a.gif")
    before = (tmp_path / "a.gif").read_bytes()

    def full(self, file, **_):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_still(picture, tmp_path / "a.gif")
    assert (tmp_path / "a.gif").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gif", "file"]


# ---------------------------------------------------------------------------------------------------------- factor map


def blues(picture, value):
    """Pixels that have the colour of this value on the scale from 0 to 1."""
    wanted = np.array(colormaps["Blues"](value)[:3]) * 255
    return int((abs(np.asarray(picture).astype(int) - wanted).max(2) <= 1).sum())


def test_a_factor_map_shows_the_rows_of_the_codes_on_a_fixed_scale():
    matrix = np.array([[0.0, 0.5], [0.9, 0.0], [0.0, 0.0]])
    names = ["hue", "size"]
    one = factor_map(matrix, [0, 2], names, "title")
    other = factor_map(matrix, [0, 1], names, "title")
    cell = blues(one, 0.5)
    assert cell > 1000
    assert abs(blues(other, 0.5) - cell) < 200  # the same colour, although a larger value is beside it
    assert blues(one, 0.9) < 200 < 1000 < blues(other, 0.9)
    upside_down = factor_map(matrix, [1, 0], names, "title")
    assert (np.asarray(upside_down) != np.asarray(other)).any()


def test_the_factor_map_of_a_run_is_shares_of_each_factor(run, monkeypatch):
    seen = []
    monkeypatch.setattr(plots, "factor_map", lambda *a: seen.append(a) or factor_map(*a))
    importance = [[1.0, 0.0], [3.0, 0.0]]
    row = {"details": {"importance": importance}, "options": {"factors": ["hue", "size"], "protocol": "fast"}}
    path = draw_factor_map(run, row)
    matrix, shown, names, title = seen[0]
    assert matrix.tolist() == [[0.25, 0], [0.75, 0]]
    assert shown == [1, 0]
    assert names == ["hue", "size"]
    assert "fast" in title
    assert path == run.path / "pictures" / "factors.png"
    with Image.open(path) as picture:
        assert min(picture.size) > 100


# --------------------------------------------------------------------------------------------------------- data sheets


class Colours:
    """Images of one colour each, another one for each image."""

    def __init__(self, count, factors=None):
        self.count, self.factors = count, factors
        self.name, self.size, self.channels = "colours", (8, 8), 3

    def __len__(self):
        return self.count

    def images(self, index):
        # far from the greys of text
        colours = np.stack([200 + index % 50, index // 50, np.full(len(index), 77)], 1).astype(np.uint8)
        return colours[:, :, None, None].repeat(8, 2).repeat(8, 3)


def shown_rows(path):
    """The images of `Colours` on a sheet, a list a row."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    is_tile = (pixels[..., 2] == 77) & (pixels[..., 0] >= 200)
    rows = []
    for line in pixels * is_tile[..., None]:
        found = [int(r - 200 + 50 * g) for r, g, b in line if b]
        rows.append([value for k, value in enumerate(found) if k == 0 or value != found[k - 1]])
    return [row for k, row in enumerate(rows) if row and row != rows[k - 1]]


def test_a_sheet_of_a_grid_has_a_row_a_factor_that_changes_it_alone(tmp_path):
    factors = Factors(("hue", "size", "turn"), (3, 12, 4))
    rows = shown_rows(data_sheet(Colours(144, factors), tmp_path / "a.png"))
    assert [len(row) for row in rows] == [3, 10, 4]
    for f, row in enumerate(rows):
        values = factors.values(np.array(row))
        others = np.delete(values, f, 1)
        assert (others == others[0]).all()
        assert values[0, f] == 0
        assert values[-1, f] == factors.sizes[f] - 1
        assert (np.diff(values[:, f]) > 0).all()


@pytest.mark.parametrize(("count", "lengths"), [(7, [7]), (10, [10]), (12, [10, 2]), (200, [10] * 5)])
def test_a_sheet_of_a_folder_has_rows_of_different_images(tmp_path, count, lengths):
    rows = shown_rows(data_sheet(Colours(count), tmp_path / "a.png"))
    assert [len(row) for row in rows] == lengths
    assert len({image for row in rows for image in row}) == sum(lengths)


def test_a_table_of_factors_that_is_no_grid_is_shown_like_a_folder(tmp_path):
    table = np.arange(12)[:, None] % 3
    rows = shown_rows(data_sheet(Colours(12, Factors(("hue",), (3,), table)), tmp_path / "a.png"))
    assert [len(row) for row in rows] == [10, 2]
