"""A photograph is cut out where it is asked to be, changes where an edit changes it and nowhere else; the best crop is
found; a picture that is unlike the run's is noticed; inversion can be stopped."""

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from helpers import as_png, enlivened
from PIL import Image

from wherewhat import cli
from wherewhat.app import fitting
from wherewhat.app.scene import Look, Scene
from wherewhat.data.pictures import Form, open_picture
from wherewhat.editing.align import aligning
from wherewhat.editing.invert import invert, inverting
from wherewhat.editing.nearness import WORDS, Nearness, nearness, usual_distance
from wherewhat.editing.photograph import WHOLE, Crop, Photograph, box_of
from wherewhat.errors import UserError
from wherewhat.metrics.distance import Pixels
from wherewhat.metrics.where import iou
from wherewhat.progress import finish, portion
from wherewhat.run.folder import Run
from wherewhat.viz.canvas import to_pixels


@pytest.fixture
def run(trained, tmp_path):
    return enlivened(trained, tmp_path / "run")


@pytest.fixture(scope="module")
def faces():
    return Run.open("pretrained:faces")


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photograph(array, size=16, fit="crop"):
    return Photograph(as_png(array), Form(size, size, 3, fit), "photo.png")


# ---------------------------------------------------------------------------------------------------------------- crops


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_the_whole_crop_is_what_data_sets_are_made_of(fit):
    array = noise(40, 64)
    same = open_picture(as_png(array), 16, 16, 3, fit).astype(int)
    assert abs(photograph(array, fit=fit).cut() - same).max() <= 1


def test_a_crop_shows_its_part():
    array = np.zeros((40, 80, 3), np.uint8)
    array[10:20, 50:60] = 255
    photo = photograph(array)
    assert (photo.cut(Crop(15 / 40, 55 / 80, 10 / 40))[:, 2:-2, 2:-2] > 245).all()
    half = photo.cut(Crop(15 / 40, 55 / 80, 20 / 40))
    assert (half[:, 6:10, 6:10] > 230).all() and (half[:, :2] < 20).all() and (half[:, :, -2:] < 20).all()


def test_a_crop_that_reaches_beyond_the_photograph_goes_on_as_its_edge_does():
    array = noise(32, 32)
    array[:, 0] = (9, 99, 199)
    cut = photograph(array).cut(Crop(0.5, 0.0, 1.0))
    assert (cut[:, :, :6] == np.array([9, 99, 199])[:, None, None]).all()


@pytest.mark.parametrize("text", ["", "middle", "0.5,0.5", "0.5,0.5,0.5,0.5", "2,0.5,1", "0.5,0.5,0", "nan,0.5,1"])
def test_a_crop_in_another_form_is_refused(text):
    with pytest.raises(UserError, match="--crop"):
        Crop.read(text)


def test_a_crop_is_read_as_it_is_written():
    assert Crop.read(str(Crop(0.25, 0.5, 0.75))) == Crop(0.25, 0.5, 0.75)


def test_the_best_crop_is_where_the_model_knows_the_picture(faces):
    face = to_pixels(faces.generator.images(torch.from_numpy(faces.draw(1, 4))))[0]
    array = np.full((300, 400, 3), (90, 140, 60), np.uint8)
    array[80:240, 170:330] = np.asarray(Image.fromarray(face).resize((160, 160), Image.Resampling.BICUBIC))
    photo = Photograph.of(faces, as_png(array))
    crop = finish(aligning(faces, photo, Pixels()))

    def place(box):
        inside = np.zeros(array.shape[:2], bool)
        inside[box[1] : box[3], box[0] : box[2]] = True
        return inside

    true = place((170, 80, 330, 240))
    image = Image.fromarray(array)
    assert iou(place(box_of(photo.form, WHOLE, image)), true) < 0.4
    assert iou(place(box_of(photo.form, crop, image)), true) > 0.8


# ---------------------------------------------------------------------------------------------------- on the photograph


def test_an_edit_of_a_part_leaves_every_other_pixel_of_a_photograph():
    array = noise(100, 200)
    photo, crop = photograph(array), Crop(0.5, 0.25, 0.8)
    before = photo.images(crop)
    after = before.clone()
    after[:, :, 6:10, 6:10] += 0.6
    new = np.asarray(photo.edited(crop, before, after.clamp(-1, 1))).astype(int)
    change = abs(new - array).max(2)
    assert new.shape == array.shape
    assert change[45:55, 45:55].mean() > 30
    left, top, right, bottom = box_of(photo.form, crop, Image.fromarray(array))
    inside = np.zeros_like(change, bool)
    inside[top:bottom, left:right] = True
    assert (change[~inside] == 0).all() and (change[inside] > 0).mean() < 0.4
    assert np.array_equal(np.asarray(photo.edited(crop, before, before)), array)


def test_no_seam_is_seen_where_the_crop_ends_inside_a_photograph():
    array = np.full((64, 64, 3), 100, np.uint8)
    photo, crop = photograph(array), Crop(0.5, 0.5, 0.5)
    before = photo.images(crop)
    new = np.asarray(photo.edited(crop, before, before + 0.5))[:, :, 0].astype(int)
    assert new[32, 32] > 150 and new[32, 15] == 100
    assert abs(new[32, 16] - 100) < 40  # fades over the rim


# ---------------------------------------------------------------------------------------------------------------- words


def test_words_say_worse_things_of_worse_pictures():
    words = [words for _, _, words in WORDS]
    said = [Nearness(db, 0.3 - db / 120, False).words for db in np.linspace(40, 5, 30)]
    assert [words.index(one) for one in said] == sorted(words.index(one) for one in said)
    assert Nearness(40, 0.01, False).words == "very close" != Nearness(40, 0.2, False).words
    assert Nearness(35, None, False).words == "very close" != Nearness(10, None, False).words


def test_pictures_of_another_kind_are_unlike_and_those_of_the_run_are_not(faces):
    rooms = Run.open("pretrained:rooms")
    usual = usual_distance(faces, Pixels())
    for images, unlike in ((faces, False), (rooms, True)):
        made = images.generator.images(torch.from_numpy(images.draw(12, 5))).clamp(-1, 1)
        found = invert(faces, made, 0, distance=Pixels())
        seen = [near.unlike for near in nearness(found.before, found.after, Pixels(), usual)]
        assert sum(seen) == 12 if unlike else sum(seen) <= 1


# ----------------------------------------------------------------------------------------------------------------- work


def test_work_that_is_stopped_does_no_further_step_and_leaves_the_run_alone(run, monkeypatch):
    images = run.generator.images(torch.tensor([[0.5, -1.0]])).clamp(-1, 1)
    weights = {name: w.clone() for name, w in run.generator.state_dict().items()}
    made = []
    monkeypatch.setattr(type(run.generator), "images", spy := _counting(type(run.generator).images, made))
    work = inverting(run, images, 50, tune=5, distance=Pixels())
    done = [next(work) for _ in range(5)]
    count = len(made)
    work.close()
    assert spy and 4 <= len(made) == count <= 7
    assert [share for _, share in done] == sorted(share for _, share in done) and done[-1][1] < 0.2
    assert all(torch.equal(w, weights[name]) for name, w in run.generator.state_dict().items())
    assert not any(p.requires_grad for p in run.generator.parameters())


def _counting(function, calls):
    def counted(*words, **named):
        calls.append(1)
        return function(*words, **named)

    return counted


def test_a_portion_of_a_work_has_its_result_and_goes_on_where_the_last_one_ended(run):
    def work():
        yield "a", 0.0
        yield "a", 0.5
        return 7

    shares = []
    assert finish(portion(work(), 1, 4), lambda _, share: shares.append(share)) == 7
    assert shares == [0.25, 0.375]


# ------------------------------------------------------------------------------------------------- what the page does


@pytest.fixture(scope="module")
def scene(faces):
    return Scene(faces, "faces")


def face_file(scene, seed, side=128):
    face = to_pixels(scene.generator.images(torch.from_numpy(scene.run.draw(1, seed))))[0]
    return as_png(np.asarray(Image.fromarray(face).resize((side, side), Image.Resampling.BICUBIC)))


def test_what_was_moved_while_a_photograph_was_inverted_stays_moved(scene):
    photo = scene.opened(face_file(scene, 3), "me.png")
    before = Look(scene.first().drawn, "x").move(5, 1.0)
    found = finish(fitting.fitting(scene, photo, WHOLE, False, before))
    now = before.move(7, -1.5)
    look = fitting.taken(scene, found, now)
    assert look.moved == {7: -1.5}  # what was moved before belongs to the picture before
    assert look.origin == "me.png" and look.cut == (photo, WHOLE)
    assert not np.allclose(look.drawn, before.drawn)


def test_many_photographs_get_the_edit_and_come_back_at_their_own_size(scene):
    photos = [scene.opened(face_file(scene, seed, side), "a.png") for seed, side in ((3, 96), (5, 150))]
    look = Look(scene.first().drawn, "x")
    look = look.move(29, look.drawn[29] + 1.0)
    file = finish(fitting.editing(scene, photos, look, onto_photo=True, find_crop=False))
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        assert archive.namelist() == ["a.png", "a-2.png"]
        images = [np.asarray(Image.open(io.BytesIO(archive.read(name)))).astype(int) for name in archive.namelist()]
    assert [image.shape for image in images] == [(96, 96, 3), (150, 150, 3)]
    for image, photo in zip(images, photos, strict=True):
        assert abs(image - np.asarray(photo.whole())).max() > 40


# --------------------------------------------------------------------------------------------------------------- verbs


def test_the_verbs_take_crops_and_say_how_near_they_came(run, tmp_path, capsys):
    Image.fromarray(noise(40, 60)).save(tmp_path / "noise.png")
    words = ["pretrained:faces", str(tmp_path / "noise.png"), "--steps", "0", "--device", "cpu", "--crop"]
    cli.main(["invert", *words, "0.5,0.4,0.5", "--distance", "pixels", "--json", "--out", str(tmp_path / "a.png")])
    out = capsys.readouterr()
    (row,) = json.loads(out.out)
    assert row["crop"] == [0.5, 0.4, 0.5] and row["unlike"] and row["near"] in [words for _, _, words in WORDS]
    assert "noise.png: This picture is unlike" in out.err
    words[0] = str(run.path)
    cli.main(["edit", *words, "best", "--set", "z1=+1", "--onto-photo", "--save", str(tmp_path / "new")])
    assert "noise.png: --crop 0." in capsys.readouterr().err
    with Image.open(tmp_path / "new" / "noise.png") as new:
        assert new.size == (60, 40)
    with pytest.raises(SystemExit) as ended:
        cli.main(["edit", *words, "middle", "--set", "z1=+1"])
    assert ended.value.code == 2 and "write ROW,COLUMN,SIZE" in capsys.readouterr().err
