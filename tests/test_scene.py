"""What the web page shows and does, without the page."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import as_png, huge_png
from PIL import Image

from wherewhat.app import html, server
from wherewhat.app.scene import THUMBNAILS, Scene, png
from wherewhat.cli import main
from wherewhat.editing.invert import PIXEL_WEIGHT
from wherewhat.errors import UserError
from wherewhat.nn.controls import Controls, PolarPair
from wherewhat.nn.generator import image_masks
from wherewhat.nn.ops import to_float
from wherewhat.run import shipped
from wherewhat.run.folder import Run
from wherewhat.run.model import VISIBLE_SHARE

EYES, HAIR = 15, 29
"""controls of the shipped run faces: one whose mask is small, one that changes many pixels much"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shutil.copytree(shipped.SHIPPED / "faces", tmp_path_factory.mktemp("scene") / "faces")


@pytest.fixture(scope="module")
def scene(folder):
    return Scene(Run.open(folder), str(folder))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A run whose data are always there."""
    return Scene(
        Run.open(shutil.copytree(shipped.SHIPPED / "rooms", tmp_path_factory.mktemp("scene") / "rooms")), "rooms"
    )


def direct(scene, codes):
    with torch.no_grad():
        return scene.generator(torch.tensor([codes])).image[0].clamp(-1, 1)


# ---------------------------------------------------------------------------------------------------------------- looks


def test_moves_locks_and_truncation_determine_the_codes(scene):
    look = scene.sample(3)
    drawn = look.drawn
    assert scene.codes(look) == drawn == scene.codes(look.move(2, 1.5).reset())
    half = look.move(2, 1.5).truncate(0.5)
    assert scene.codes(half)[2] == 1.5, "what the user set stays"
    plain = np.setdiff1d(np.arange(len(drawn)), [2, *scene.angles])  # angles have no middle
    assert np.allclose(np.array(scene.codes(half))[plain], np.array(drawn)[plain] / 2, atol=1e-4)
    fresh = scene.sample(4, half.lock(2, True).lock(5, True))
    assert scene.codes(fresh)[2] == 1.5 and scene.codes(fresh)[5] == scene.codes(half)[5]
    assert scene.codes(fresh)[0] != scene.codes(half)[0]
    assert scene.codes(scene.sample(4, fresh.lock(5, False)))[5] == round(scene.sample(4).drawn[5] / 2, 4)


def test_truncation_leaves_angles(scene, monkeypatch):
    monkeypatch.setattr(scene, "angles", (4,))
    look = scene.sample(0)
    assert scene.codes(look.truncate(0.0))[4] == look.drawn[4] != 0
    assert set(scene.codes(look.truncate(0.0))) == {0.0, look.drawn[4]}
    assert scene.reach(4) == 2 and scene.reach(5) == 3


def test_controls_are_taken_from_another_picture_and_returned(scene):
    giver, look = scene.sample(8), scene.sample(9).move(0, 2.0)
    mixed = look.take(scene.codes(giver), [3, 4])
    codes = scene.codes(mixed)
    assert (codes[3], codes[4]) == (giver.drawn[3], giver.drawn[4]) and codes[0] == 2.0 and codes[5] == look.drawn[5]
    assert scene.codes(mixed.take(scene.codes(giver), [4]))[3] == look.drawn[3]
    assert scene.codes(mixed.take(scene.codes(giver), [])) == scene.codes(look)
    assert mixed.move(3, 0.5).take(scene.codes(giver), []).moved[3] == 0.5, "moved by the user since then: stays"


def test_the_codes_of_a_photograph_are_the_encoders_improved_by_descent(rooms):
    read = rooms.real_image(1)
    sent = rooms.photograph(as_png(read.photo.transpose(1, 2, 0)), "it.png")
    assert np.array_equal(sent.photo, read.photo) and sent.origin == "it.png"
    photo = to_float(torch.from_numpy(read.photo)[None])
    near, nearer = (rooms.image(look) for look in (read, sent))
    errors = [rooms.distance(i, photo) + PIXEL_WEIGHT * (i - photo).square().mean() for i in (near, nearer)]
    assert errors[1] < errors[0]
    shown = rooms.picture(read).astype(float)
    assert abs(shown - rooms.original(read)).mean() < 12, "the model reconstructs it"
    assert abs(shown - rooms.picture(rooms.real_image(2))).mean() > 12


def test_without_the_data_an_image_that_comes_with_the_run_is_shown(scene):
    look = scene.first()
    assert look == scene.real_image(0) and look.drawn == scene.real_image(8).drawn != scene.real_image(1).drawn
    assert np.array_equal(scene.original(look), np.asarray(Image.open(scene.run.path / "images" / "0.png")))
    assert abs(scene.picture(look).astype(int) - scene.original(look)).mean() < 6, "the model reconstructs it"


def test_without_data_and_images_the_page_opens_with_a_draw(folder, tmp_path):
    path = shutil.copytree(folder, tmp_path / "alone", ignore=shutil.ignore_patterns("images"))
    alone = Scene(Run.open(path), "alone")
    with pytest.raises(UserError, match="wherewhat data make faces"):
        alone.real_image(0)
    assert alone.first() == alone.sample(0)


def test_a_run_that_was_evaluated_without_looking_shows_what_can_be_seen_to_change(scene, folder, tmp_path):
    path = shutil.copytree(folder, tmp_path / "old")
    rows = (path / "metrics.jsonl").read_text().splitlines()
    old = [json.loads(row) for row in rows]
    for row in (row for row in old if row["metric"] == "controls"):
        row["details"] = [{k: v for k, v in control.items() if k != "visible"} for control in row["details"]]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in old))
    run = Run.open(path)
    assert all(control.visible is None for control in run.control_table)
    found = Scene(run, "old")
    clear = {k for k, known in scene.controls.items() if known.visible > 2 * VISIBLE_SHARE}
    assert clear <= set(found.in_use) and 0 < len(found.not_in_use) <= len(scene.not_in_use)
    assert clear > {k for k, known in scene.controls.items() if known.active}, "not by TPL"


def test_one_control_is_restored_and_others_stay(scene):
    look = scene.sample(3).move(2, 1.5).move(4, -1.0)
    assert look.restore(2) == scene.sample(3).move(4, -1.0)
    assert look.restore(5) == look


def test_other_samples_are_moved_as_far(scene):
    look = scene.sample(3)
    angle = scene.angles[0]
    plain = next(k for k in scene.in_use if k not in scene.angles)
    before, after = scene._others(look.move(plain, look.drawn[plain] + 0.5).move(angle, look.drawn[angle] + 1.5))
    moved = after - before
    assert np.allclose(moved[:, plain], 0.5, atol=1e-3), "as far, not to the same place"
    assert np.allclose(np.minimum(abs(moved[:, angle] - 1.5), abs(moved[:, angle] + 2.5)), 0, atol=1e-3), "once around"
    assert abs(after[:, angle]).max() <= 2
    assert np.allclose(np.delete(moved, [plain, angle], 1), 0, atol=1e-6)
    tiles = scene.others(look).astype(int)
    assert tiles.shape == (2 * 64, 6 * 64, 3) and abs(tiles[:64] - tiles[64:]).max() <= 1, "nothing was changed"


def test_codes_that_were_saved_are_loaded_with_what_was_changed(scene):
    for start in (scene.sample(5), scene.real_image(3)):
        look = start.move(1, -0.123456).truncate(0.7)
        found = scene.from_json(scene.codes_json(look), "codes.json")
        assert scene.codes(found) == scene.codes(look) and found.reset().drawn == look.drawn
        assert set(found.moved) == {1} and found.truncation == 0.7 and found.origin == look.origin
    assert scene.from_json(scene.codes_json(scene.sample(5)), "x") == scene.sample(5)
    plain = scene.from_json(json.dumps({"codes": look.drawn}), "mine.json")
    assert plain.drawn == look.drawn and plain.origin == "mine.json" and not plain.moved


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"codes": "1"}', '{"codes": [1, 2]}', '{"codes": [NaN]}', "[" * 100_000, '{"codes": null}',
             "start", "truncation"]
)  # fmt: skip
def test_a_file_without_codes_is_reported(scene, text):
    if text in ("start", "truncation"):
        text = json.dumps({"codes": scene.sample(0).drawn, text: [1, 2]})
    with pytest.raises(UserError, match=r"^mine\.json"):
        scene.from_json(text, "mine.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not an image"), (b"text", "not an image"),
     (huge_png(), "too many pixels"), (huge_png(8_100), "too many pixels"),
     (as_png(np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8))[:90], r"\S")],
)  # fmt: skip
def test_a_file_that_is_not_a_picture_is_reported(content, reason, scene):
    with pytest.raises(UserError, match=rf"^x\.png cannot be read as a picture: {reason}"):
        scene.photograph(content, "x.png")


# ------------------------------------------------------------------------------------------------------------- pictures


def test_pictures_are_what_the_generator_makes(scene):
    look = scene.sample(1).move(EYES, 2.0)
    image = ((direct(scene, scene.codes(look)) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(scene.picture(look), image)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(scene.picture(look))))), image)
    assert np.array_equal(scene.picture(look, "start"), scene.picture(scene.sample(1)))


def test_where_fades_the_picture_outside_the_mask(scene):
    look = scene.sample(1)
    faded, plain = scene.picture(look, "where", EYES), scene.picture(look)
    times = len(faded) // len(plain)
    faded = faded[times // 2 :: times, times // 2 :: times].astype(float)
    with torch.no_grad():
        mask = image_masks(scene.generator, torch.tensor([scene.codes(look)]), [EYES])[0, 0].numpy()
    outside, inside = mask < 0.05, mask > 0.9
    assert abs(255 - faded - 0.2 * (255.0 - plain))[outside].max() < 12
    assert abs(faded - plain)[inside].mean() < 20 < abs(faded - plain)[outside].mean()


def glow_and_change(scene, control):
    """How much redder than blue each pixel of the view is, and how much it changes from −2 to +2."""
    look = scene.sample(1)
    glow = scene.picture(look, "change", control)
    times = len(glow) // 64
    glow = glow[times // 2 :: times, times // 2 :: times].astype(float)
    steps = torch.stack([direct(scene, scene.codes(look.move(control, v))) for v in (-2.0, -1.0, 0.0, 1.0, 2.0)])
    return glow[..., 0] - glow[..., 2], (steps.amax(0) - steps.amin(0)).amax(0).numpy() / 2


def test_change_glows_where_a_sweep_changes_pixels(scene):
    red, change = glow_and_change(scene, HAIR)
    assert red[change > 0.6].mean() > 60
    red, change = glow_and_change(scene, EYES)
    assert abs(red[change < 0.01]).max() <= 30


def test_a_strip_shows_the_values_of_its_control(scene):
    look = scene.sample(1)
    strips = [scene.strip(look, control) for control in (EYES, 33)]
    assert [s.shape for s in strips] == [(64, 64 * THUMBNAILS, 3)] * 2
    third = scene.picture(look.move(33, 0.0))
    assert abs(strips[1][:, 64 * 3 : 64 * 4].astype(int) - third).max() <= 1


def test_a_grid_has_each_pair_of_values_in_its_place(scene):
    look = scene.sample(1)
    drawn = np.asarray(scene.grid(look, EYES, 8, 7)).astype(int)
    right_top = scene.picture(look.move(EYES, 2.0).move(8, -2.0))
    assert abs(drawn[40:104, 44 + 6 * 68 : 44 + 6 * 68 + 64] - right_top).max() <= 1


def test_codes_and_python_code_make_the_picture_again(scene, tmp_path, monkeypatch):
    look = scene.sample(5).move(1, -0.123456).truncate(0.7)
    written = json.loads(scene.codes_json(look))
    again = direct(scene, written["codes"])
    assert torch.equal(again, direct(scene, scene.codes(look)))
    assert written["run"] == scene.title and written["named"][f"z1 {scene.names[1]}"] == -0.1235
    monkeypatch.chdir(tmp_path)
    exec(scene.python_code(look), {})
    assert np.array_equal(np.asarray(Image.open("picture.png")), scene.picture(look))


def test_a_film_is_a_loop(scene):
    film = Image.open(io.BytesIO(scene.film(scene.sample(1), 8, ".gif")))
    assert film.n_frames == 32 and film.size == (256, 256)


# ---------------------------------------------------------------------------------------------------- runs and commands


def test_angles_go_once_around(trained, tmp_path):
    run = Run.open(shutil.copytree(trained, tmp_path / "run"))
    found = Controls.plain(run.config.latents, (PolarPair(0, 1, (0.0, 0.0), 0.3, 1.0, 0.5),))
    run.save(64, run.generator, run.encoder, {"images_seen": 64})
    (run.checkpoints()[-1] / "controls.json").write_text(json.dumps(found.to_json()))
    run = Run.open(run.path)
    with pytest.raises(UserError, match="wherewhat evaluate"):
        Scene(run, "run")
    from wherewhat.evaluation.evaluate import evaluate

    evaluate(run, ["tpl"], "fast", distance="pixels")
    scene = Scene(run, "run")
    assert scene.angles == (0,) and scene.reach(0) == 2 and scene.reach(1) == 3
    strip = scene.strip(scene.sample(0), 0)
    width = strip.shape[1] // THUMBNAILS
    assert abs(strip[:, :width].astype(int) - strip[:, -width:]).max() <= 1, "both ends look the same"


def test_an_earlier_checkpoint_is_opened_by_name(trained, tmp_path):
    path = shutil.copytree(trained, tmp_path / "a@b")
    run = Run.open(path)
    assert run.checkpoint is None, "a folder may have an @ in its name"
    first = run.checkpoints()[-1]
    run.save(5000, run.generator, run.encoder, {"images_seen": 5000})
    before = Run.open(f"{path}@{first.name}")
    assert before.images_seen < 5000 == Run.open(path).images_seen
    assert before.control_table is None and before.path == path
    assert before.generator is not run.generator
    with pytest.raises(UserError, match="has no checkpoint 000006k; did you mean 000005k"):
        Run.open(f"{path}@000006k")


def test_other_machines_need_a_password(scene, tmp_path, capsys):
    for host in ("0.0.0.0", "::", "192.168.0.7"):
        with pytest.raises(UserError, match="--password"):
            server.serve([scene], tmp_path, host)
    with pytest.raises(SystemExit) as ended:
        main(["explore", scene.title, "--host", "0.0.0.0"])
    assert ended.value.code == 2 and "--password" in capsys.readouterr().err


def test_importing_wherewhat_does_not_load_gradio():
    code = "import sys, wherewhat.app.server, wherewhat.cli; assert not {'gradio', 'fastapi'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_names_are_written_into_the_run_alone(scene, folder):
    look = scene.sample(0)
    scene.run.rename(EYES, "<b>grin</b>")
    shown = html.stage(scene, look, "where", EYES)
    assert "&lt;b&gt;grin&lt;/b&gt;" in shown and "<b>grin" not in shown
    scene.run.rename(EYES, "mouth")
    assert replace(look) == look and sorted(p.name for p in folder.iterdir()) == sorted(
        p.name for p in (shipped.SHIPPED / "faces").iterdir()
    )
