"""Edits change what they name and nothing else; their text form is read or refused; pictures show what was done."""

import shutil

import numpy as np
import pytest
import torch
from helpers import enlivened, places, the_place
from PIL import Image

from wherewhat import cli
from wherewhat.editing import edit as edits
from wherewhat.editing.edit import Change, apply_changes, onto, read_change, read_source, take_controls
from wherewhat.editing.invert import open_photos
from wherewhat.errors import UserError
from wherewhat.run.folder import Run
from wherewhat.viz.canvas import to_image, to_pixels, to_tiles

CODES = torch.tensor([[0.5, -1.0, 1.9], [0.0, 0.25, -0.5]])


@pytest.fixture(scope="module")
def lively(trained, tmp_path_factory):
    run = enlivened(trained, tmp_path_factory.mktemp("lively") / "run")
    run.rename(1, "smile")
    return run


@pytest.fixture
def run(lively, tmp_path):
    return Run.open(shutil.copytree(lively.path, tmp_path / "run"))


@pytest.fixture
def files(run, tmp_path):
    """Two photographs twice as large as the run's images."""
    z = torch.tensor([[0.5, -1.0], [1.5, 0.8]])
    made = []
    for i, pixels in enumerate(to_pixels(run.generator(z).image)):
        made.append(tmp_path / f"photo{i}.png")
        to_image(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(made[-1])
    return made


# ---------------------------------------------------------------------------------------------------------------- codes


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("smile=+2", (1, 2.0, True)),
        ("smile=-1", (1, -1.0, True)),
        ("smile=2", (1, 2.0, False)),
        ("smile==-1.5", (1, -1.5, False)),
        ("Smile ==+.5", (1, 0.5, False)),
        ("z0=0", (0, 0.0, False)),
        ("0=+1.", (0, 1.0, True)),
    ],
)
def test_a_signed_number_moves_a_control_and_a_plain_number_sets_it(run, words, expected):
    assert read_change(run, words) == Change(*expected)


@pytest.mark.parametrize(
    "words", ["smile", "smile=", "smile=much", "smile=++2", "=2", "smile=1e3", "smile=nan", "smil=1"]
)
def test_a_change_in_another_form_is_refused_in_one_line(run, words):
    with pytest.raises(UserError, match=r"write NAME=\+2|no control smil|no control ") as raised:
        read_change(run, words)
    assert "\n" not in str(raised.value)


def test_a_source_is_a_picture_and_controls(run):
    path, controls = read_source(run, "C:/my photos/other.png:smile,z0")
    assert (path.name, controls) == ("other.png", [1, 0])
    for words in ("other.png", ":smile", "other.png:"):
        with pytest.raises(UserError, match="PICTURE:NAME"):
            read_source(run, words)


def test_a_change_changes_the_code_of_its_control_alone_and_makes_a_copy():
    before = CODES.clone()
    new = apply_changes(CODES, [Change(1, 2.0, True), Change(2, 0.5, False)])
    assert torch.equal(CODES, before)
    assert torch.equal(new[:, 0], CODES[:, 0])
    assert new[:, 1].tolist() == [1.0, 2.25]
    assert new[:, 2].tolist() == [0.5, 0.5]
    assert torch.equal(apply_changes(CODES, []), CODES)


def test_changes_are_made_in_order():
    one = apply_changes(CODES, [Change(0, 1.0, False), Change(0, 0.5, True)])
    other = apply_changes(CODES, [Change(0, 0.5, True), Change(0, 1.0, False)])
    assert one[:, 0].tolist() == [1.5, 1.5]
    assert other[:, 0].tolist() == [1.0, 1.0]


def test_an_angle_wraps_around_and_other_controls_do_not():
    far = [Change(2, 0.5, True)]
    assert apply_changes(CODES, far, angles=(2,))[:, 2].tolist() == pytest.approx([-1.6, 0.0])
    assert apply_changes(CODES, far)[:, 2].tolist() == pytest.approx([2.4, 0.0])


def test_controls_are_taken_from_the_source_and_the_others_stay():
    source = torch.tensor([9.0, 8.0, 7.0])
    new = take_controls(CODES, source, [0, 2])
    assert new.tolist() == [[9.0, -1.0, 7.0], [9.0, 0.25, 7.0]]
    assert CODES[0, 0] == 0.5


# ------------------------------------------------------------------------------------------------------------- pictures


def test_an_edit_that_changes_nothing_leaves_the_photograph_as_it_is():
    photo, made = torch.rand(1, 3, 16, 16) * 2 - 1, torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(onto(photo, made, made), photo)


def test_where_the_reconstruction_is_right_the_change_is_added_and_elsewhere_nothing():
    photo = torch.rand(1, 3, 16, 16) * 0.1
    before, after = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    after[:, :, :6, :6] = 0.5
    new = onto(photo, before, after)
    torch.testing.assert_close(new[:, :, :5, :5], photo[:, :, :5, :5] + 0.5)
    assert torch.equal(new[:, :, 9:], photo[:, :, 9:])
    assert onto(photo, before, after + 3).max() <= 1


def test_what_the_reconstruction_does_not_have_leaves_no_ghost_where_the_edit_is():
    photo, before = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    photo[:, :, 4:6, 4:6] = photo[:, :, 12:14, 12:14] = -0.9  # two spots that the generator does not draw
    after = before.clone()
    after[:, :, :9, :9] = 0.5
    new = onto(photo, before, after)
    torch.testing.assert_close(new[:, :, 4:6, 4:6], torch.full((1, 3, 2, 2), 0.5))
    torch.testing.assert_close(new[:, :, 12:14, 12:14], photo[:, :, 12:14, 12:14])


def test_the_grid_has_a_row_for_each_photograph_and_a_column_for_each_source():
    images = torch.linspace(-1, 1, 11).view(11, 1, 1, 1).expand(11, 3, 16, 16)
    photos, sources, grid = images[:2], images[2:5], images[5:].reshape(2, 3, 3, 16, 16)
    picture = edits.transfer_grid(photos, sources, grid, "hair")
    rows = [the_place(picture, tile)[0] for tile in to_tiles(photos)]
    columns = [the_place(picture, tile)[1] for tile in to_tiles(sources)[:2]]
    for i, row in enumerate(rows):
        for k, column in enumerate(columns):
            assert places(picture, to_tiles(grid[i])[k]) == [(row, column)]


# ---------------------------------------------------------------------------------------------------------------- verbs


def test_editing_shows_photograph_reconstruction_and_edit(run, files, capsys, tmp_path):
    words = ["edit", str(run.path), *map(str, files), "--steps", "0", "--set", "smile=+1", "--device", "cpu"]
    cli.main([*words, "--set", "z0==-0.5", "--out", str(tmp_path / "a.png"), "--save", str(tmp_path / "new")])
    assert capsys.readouterr().out.split() == [
        str(tmp_path / name) for name in ("a.png", "new/photo0.png", "new/photo1.png")
    ]
    photos = open_photos(run, files)
    codes = run.encoder(photos)
    wanted = codes + torch.tensor([[0.0, 1.0]])
    wanted[:, 0] = -0.5
    made, edited = run.generator(codes).image, run.generator(wanted).image
    picture = Image.open(tmp_path / "a.png").convert("RGB")
    for i in range(2):
        spots = [the_place(picture, to_tiles(images)[i]) for images in (photos, made, edited)]
        assert len({row for row, _ in spots}) == 1
        assert [column for _, column in spots] == sorted(column for _, column in spots)
        with Image.open(tmp_path / "new" / f"photo{i}.png") as alone:
            assert abs(np.asarray(alone).astype(int) - to_pixels(edited)[i]).max() <= 1


def test_onto_the_photograph_keeps_its_resolution(run, files, tmp_path):
    words = [
        "edit",
        str(run.path),
        str(files[0]),
        "--steps",
        "0",
        "--device",
        "cpu",
        "--save",
        str(tmp_path),
        "--onto-photo",
    ]
    files[0].rename(tmp_path / "before.png")
    words[2] = str(tmp_path / "before.png")
    cli.main([*words, "--set", "smile=+0", "--save", str(tmp_path / "same")])
    with Image.open(tmp_path / "same" / "before.png") as same, Image.open(tmp_path / "before.png") as before:
        assert same.size == (32, 32)
        assert abs(np.asarray(same).astype(int) - np.asarray(before)).max() <= 1
    cli.main([*words, "--set", "smile=+2", "--save", str(tmp_path / "other")])
    with Image.open(tmp_path / "other" / "before.png") as other, Image.open(tmp_path / "before.png") as before:
        assert other.size == (32, 32)
        assert abs(np.asarray(other).astype(int) - np.asarray(before)).max() > 10


def test_a_control_taken_from_another_picture_has_that_pictures_code(run, files, tmp_path):
    words = ["edit", str(run.path), str(files[0]), "--steps", "0", "--device", "cpu", "--save", str(tmp_path / "new")]
    cli.main([*words, "--from", f"{files[1]}:smile"])
    codes = run.encoder(open_photos(run, files))
    wanted = run.generator(torch.stack([codes[0, 0], codes[1, 1]])[None]).image
    with Image.open(tmp_path / "new" / "photo0.png") as alone:
        assert abs(np.asarray(alone).astype(int) - to_pixels(wanted)[0]).max() <= 1


def test_transfer_draws_the_grid(run, files, tmp_path):
    words = [
        "transfer",
        str(run.path),
        *map(str, files),
        "--from",
        str(files[1]),
        "--controls",
        "smile",
        "--steps",
        "0",
    ]
    cli.main([*words, "--out", str(tmp_path / "a.png"), "--device", "cpu"])
    codes = run.encoder(open_photos(run, files))
    wanted = take_controls(codes, codes[1], [1])
    picture = Image.open(tmp_path / "a.png").convert("RGB")
    assert places(picture, to_tiles(run.generator(wanted).image)[0])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to edit"),
        (["--set", "smlie=+1"], "did you mean smile"),
        (["--set", "smile"], "write NAME"),
        (["--from", "nowhere.png:smile"], "nowhere.png cannot be read"),
        (["--set", "smile=1", "--steps", "-1"], "--steps -1"),
        (["--set", "smile=1", "--out", "a.jpg"], "must end in .png"),
    ],
)
def test_an_edit_that_cannot_be_made_is_reported(run, files, words, message, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["edit", str(run.path), str(files[0]), "--steps", "0", "--device", "cpu", *words])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_photograph_is_reported(run, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["edit", str(run.path), "--set", "smile=1", "--steps", "0"])
    assert exit.value.code == 2
    assert "name the photographs" in capsys.readouterr().err


def test_save_overwrites_nothing(run, files, tmp_path, capsys):
    words = ["edit", str(run.path), str(files[0]), "--set", "z0=+1", "--steps", "0", "--device", "cpu"]
    before = files[0].read_bytes()
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--out", str(tmp_path / "a.png"), "--save", str(files[0].parent)])
    assert ended.value.code == 2 and "overwrites nothing" in capsys.readouterr().err
    assert files[0].read_bytes() == before and not (tmp_path / "a.png").exists()
