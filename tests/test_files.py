"""Image files of every kind become the right pixels once, and bad input one clear message and nothing on disk."""

import errno
import io
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import platformdirs
import pytest
from PIL import Image

from wherewhat.data import folder as folders
from wherewhat.data import pictures, prepared
from wherewhat.data.folder import open_files, usual_ratio
from wherewhat.data.prepared import PreparedImages
from wherewhat.errors import UserError

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """The default cache of this test."""
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def folder(tmp_path, cache) -> Path:
    """An empty folder for images."""
    path = tmp_path / "pictures"
    path.mkdir()
    return path


def noise(height: int = 64, width: int = 64, seed: int = 0, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels)


def quarters(width: int = 64, height: int = 64) -> Image.Image:
    """Red, green; blue, white."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    image.paste(BLUE, (0, height // 2, width, height))
    image.paste(WHITE, (width // 2, height // 2, width, height))
    return image


def all_of(data: PreparedImages) -> np.ndarray:
    return data.images(np.arange(len(data)))


def only(path: Path, size: tuple[int, int] = (64, 64), **options) -> np.ndarray:
    """The one image of a data set, channels first."""
    data = open_files(path, size, **options)
    assert (len(data), data.skipped) == (1, ())
    return all_of(data)[0]


def plane(pixels: np.ndarray, color: tuple[int, ...], within: int = 0) -> bool:
    """Every pixel has this colour."""
    return bool((np.abs(pixels.astype(int) - np.reshape(color, (-1, 1, 1))) <= within).all())


def problem(path: Path, *words: str, size: tuple[int, int] = (64, 64), **options) -> str:
    """The message is one line and has these words."""
    with pytest.raises(UserError) as caught:
        open_files(path, size, **options)
    message = str(caught.value)
    assert "\n" not in message, message
    assert all(word in message for word in words), message
    return message


def left(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir()) if cache.exists() else []


# ------------------------------------------------------------------------------------------------------------ modes


RAMP = np.tile(np.linspace(0, 65535, 64), (64, 1))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("a.png", RAMP.astype(np.uint16)),
        ("a.tif", RAMP.astype(np.uint16)),
        ("a.tif", RAMP.astype(">u2")),
        ("a.tif", RAMP.astype(np.int32)),
        ("a.pgm", RAMP.astype(np.uint16)),
        ("a.tif", (RAMP / 65535).astype(np.float32)),
        ("a.pfm", (RAMP / 257).astype(np.float32)),
    ],
)
def test_a_ramp_of_16_bits_or_floats_becomes_the_ramp_of_8(folder, file, values):
    Image.fromarray(values).save(folder / file)
    pixels = only(folder, channels=1)
    assert (np.abs(pixels[0].astype(float) - RAMP / 257) <= 0.6).all()
    assert (only(folder, channels=3) == pixels).all()


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk_red_is_red(folder, format):
    Image.new("CMYK", (64, 64), (0, 255, 255, 0)).save(folder / "a.jpg", format, quality=95)
    assert plane(only(folder), RED, within=2)


@pytest.mark.parametrize(("mode", "compression"), [("YCbCr", "jpeg"), ("LAB", None)])
def test_other_colour_spaces_keep_the_colour(folder, mode, compression):
    Image.new("RGB", (64, 64), (200, 40, 30)).convert(mode).save(folder / "a.tif", compression=compression)
    assert plane(only(folder), (200, 40, 30), within=2)


def test_black_and_white_grey_and_palette_are_colours(folder):
    quarters().convert("1", dither=Image.Dither.NONE).save(folder / "a.png")
    quarters().convert("L").save(folder / "b.png")
    quarters().convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "c.png")
    pixels = all_of(open_files(folder, (64, 64)))
    assert set(np.unique(pixels[0])) == {0, 255}
    assert (pixels[1] == np.asarray(quarters().convert("L"))).all()
    assert (pixels[2] == np.asarray(quarters()).transpose(2, 0, 1)).all()


def test_colour_becomes_grey_by_luma(folder):
    quarters().save(folder / "a.png")
    assert (only(folder, channels=1)[0] == np.asarray(quarters().convert("L"))).all()


def clear_half(mode: str) -> Image.Image:
    """Red (or light grey), the right half transparent."""
    image = Image.new("RGBA", (64, 64), (*RED, 255))
    image.paste((0, 0, 255, 0), (32, 0, 64, 64))
    return image.convert(mode)


@pytest.mark.parametrize("file", ["a.png", "a.webp", "a.tif"])
def test_alpha_lies_on_white(folder, file):
    clear_half("RGBA").save(folder / file, lossless=True)
    pixels = only(folder, (32, 32))
    assert plane(pixels[:, :, :14], RED, within=1)
    assert plane(pixels[:, :, -14:], WHITE, within=1)
    assert plane(only(folder, (32, 32), channels=1)[:, :, -14:], (255,), within=1)


def test_alpha_is_kept_with_four_channels(folder):
    clear_half("RGBA").save(folder / "a.png")
    assert (only(folder, channels=4) == np.asarray(clear_half("RGBA")).transpose(2, 0, 1)).all()
    assert (only(folder, (16, 16), channels=4)[3, :, [0, -1]] == [[255], [0]]).all()


def test_without_alpha_the_fourth_channel_is_opaque(folder):
    quarters().convert("L").save(folder / "a.png")
    assert (only(folder, channels=4)[3] == 255).all()


def test_hidden_colours_do_not_bleed_through_transparency(folder):
    clear_half("RGBA").save(folder / "a.png")
    red, green, blue = only(folder, (16, 16)).astype(int)
    assert (blue <= green + 1).all()
    assert (red == 255).all()


@pytest.mark.parametrize("file", ["a.png", "a.gif"])
def test_a_palette_with_transparency_lies_on_white(folder, file):
    image = Image.new("P", (64, 64), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (32, 0, 64, 64))
    image.save(folder / file, transparency=1)
    pixels = only(folder)
    assert plane(pixels[:, :, :32], RED)
    assert plane(pixels[:, :, 32:], WHITE)


def test_partial_transparency_of_palette_grey_and_colour_key(folder):
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.save(folder / "a.png", transparency=bytes([128, 255]))
    Image.new("LA", (64, 64), (0, 128)).save(folder / "b.png")
    Image.new("RGB", (64, 64), RED).save(folder / "c.png", transparency=RED)
    Image.new("L", (64, 64), 7).save(folder / "d.png", transparency=7)
    pixels = all_of(open_files(folder, (64, 64)))
    assert [int(p[0, 0, 0]) for p in pixels] == [127, 127, 255, 255]
    assert all(plane(p, (int(p[0, 0, 0]),) * 3) for p in pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_a_turned_image_equals_its_upright_twin(tmp_path, cache, file, orientation):
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)  # the turn that the orientation stands for
    upright, exif = quarters(80, 120), Image.Exif()
    exif[0x0112] = orientation
    stored = upright if undo == 1 else upright.transpose(pictures.TURNS[undo])
    for name, image, tag in (("turned", stored, exif), ("upright", upright, Image.Exif())):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / file, exif=tag, lossless=True, quality=100, subsampling=0)
    turned, twin = (only(tmp_path / name, (48, 32)).astype(int) for name in ("turned", "upright"))
    assert np.abs(turned - twin).max() <= (12 if file == "a.jpg" else 0)
    assert plane(twin[:, :20, :12], RED, within=3)
    assert plane(twin[:, -20:, :12], BLUE, within=3)


def test_broken_exif_leaves_the_image_upright(folder):
    quarters().save(folder / "a.jpg", exif=b"Exif\0\0nonsense", quality=100, subsampling=0)
    assert plane(only(folder)[:, :20, :20], RED, within=3)


@pytest.mark.parametrize(("file", "format"), [("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.png", "PNG")])
def test_of_an_animation_the_first_frame_is_taken(folder, file, format):
    frames = [Image.new("RGB", (64, 64), color) for color in (RED, GREEN, BLUE)]
    frames[0].save(folder / file, format, save_all=True, append_images=frames[1:], lossless=True)
    assert plane(only(folder), RED)


# ------------------------------------------------------------------------------------------------------ crop and pad


def test_crop_keeps_the_centre(folder):
    wide, tall = Image.new("RGB", (192, 64), BLUE), Image.new("RGB", (64, 192), BLUE)
    wide.paste(quarters(), (64, 0))
    tall.paste(quarters(), (0, 64))
    for name, image in (("a.png", wide), ("b.png", tall)):
        image.save(folder / name)
    assert (all_of(open_files(folder, (64, 64))) == np.asarray(quarters()).transpose(2, 0, 1)).all()


def test_an_odd_margin_does_not_blur(folder):
    noise(64, 65).save(folder / "a.png")
    assert (only(folder) == np.asarray(noise(64, 65))[:, :64].transpose(2, 0, 1)).all()


def test_pad_keeps_everything(folder):
    Image.new("RGB", (128, 64), RED).save(folder / "a.png")
    pixels = only(folder, fit="pad")
    assert plane(pixels[:, 16:48], RED)
    assert plane(pixels[:, :16], BLACK)
    assert plane(pixels[:, 48:], BLACK)


def test_the_margin_is_transparent_with_four_channels(folder):
    Image.new("RGB", (64, 128), RED).save(folder / "a.png")
    pixels = only(folder, fit="pad", channels=4)
    assert (pixels[3, :, 16:48] == 255).all()
    assert (pixels[:, :, :16] == 0).all()
    assert (pixels[:, :, 48:] == 0).all()


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(48, 32), (32, 48), (7, 61)])
def test_other_shapes_than_squares(folder, size, fit):
    quarters(200, 200).save(folder / "a.png")
    data = open_files(folder, size, fit=fit)
    pixels = all_of(data)
    assert data.size == size
    assert pixels.shape == (1, 3, *size)
    assert pixels.dtype == np.uint8
    height, width = size
    middle = pixels[0, :, height // 2 - 2, width // 2 - 2], pixels[0, :, height // 2 + 2, width // 2 + 2]
    assert np.abs(np.array(middle, int) - [RED, WHITE]).max() <= 40


@pytest.mark.parametrize("file", ["a.png", "a.jpg"])
def test_a_fine_checkerboard_becomes_grey(folder, file):
    board = np.indices((256, 256)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(folder / file, quality=100)
    assert plane(only(folder, (32, 32), channels=1), (127,), within=2)


@pytest.mark.parametrize("size", [(64, 64), (48, 32)])
def test_a_large_jpeg_read_at_a_fraction_looks_the_same(folder, size):
    smooth = noise(24, 32).resize((1024, 768), Image.Resampling.BICUBIC)
    smooth.save(folder / "a.jpg", quality=95)
    smooth.save(folder / "b.png", compress_level=1)
    jpeg, png = all_of(open_files(folder, size)).astype(int)
    assert np.abs(jpeg - png).mean() < 1.5
    assert np.abs(jpeg - png).max() < 16


def test_an_image_of_the_right_size_is_not_touched(folder):
    noise().save(folder / "a.png")
    assert (only(folder) == np.asarray(noise()).transpose(2, 0, 1)).all()


# ------------------------------------------------------------------------------------------------ folders and zips


def some_files(folder: Path) -> dict[str, Image.Image]:
    """Images in subfolders, and what is no image."""
    images = {name: noise(seed=i) for i, name in enumerate(["B.PNG", "a/z.png", "a.png", "b/c/d.png", "ü [x].png"])}
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    for name in (".hidden.png", "readme.txt", "__MACOSX/._a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not an image")
    return images


def test_images_are_in_the_order_of_their_names(folder):
    images = some_files(folder)
    data = open_files(folder, (64, 64))
    assert data.names == tuple(sorted(images))
    assert data.skipped == ()
    assert (all_of(data) == [np.asarray(images[name]).transpose(2, 0, 1) for name in sorted(images)]).all()
    assert (data.name, data.size, data.channels, data.factors) == ("pictures", (64, 64), 3, None)


def test_images_by_index(folder):
    some_files(folder)
    data = open_files(folder, (64, 64))
    assert (data.images(np.array([3, 0, 3])) == all_of(data)[[3, 0, 3]]).all()
    assert data.images(np.array([], int)).shape == (0, 3, 64, 64)
    with pytest.raises(IndexError):
        data.images(np.array([len(data)]))


def test_images_are_a_copy_that_may_be_written_to(folder):
    some_files(folder)
    data = open_files(folder, (64, 64))
    before = all_of(data)
    data.images(np.array([0]))[:] = 0
    assert (all_of(data) == before).all()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_zip_of_a_folder_is_the_folder(folder, compression):
    some_files(folder)
    (folder / "broken.png").write_text("text")
    with zipfile.ZipFile(folder.parent / "pictures.zip", "w", compression) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(folder))
    unpacked, zipped = open_files(folder, (48, 32)), open_files(folder.parent / "pictures.zip", (48, 32))
    assert zipped.names == unpacked.names
    assert zipped.skipped == unpacked.skipped == (("broken.png", "not an image"),)
    assert zipped.name == "pictures"
    assert (all_of(zipped) == all_of(unpacked)).all()


def test_links_to_folders_are_followed_once(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    noise().save(tmp_path / "elsewhere" / "a.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "self").symlink_to(folder)
    assert open_files(folder, (64, 64)).names == ("link/a.png",)


def test_another_process_gets_the_folder_not_the_array(folder):
    some_files(folder)
    data = open_files(folder, (64, 64))
    packed = pickle.dumps(data)
    assert len(packed) < 1000
    assert (all_of(pickle.loads(packed)) == all_of(data)).all()
    shutil.rmtree(data.folder)
    with pytest.raises(UserError, match="damaged or removed"):
        pickle.loads(packed)


# ------------------------------------------------------------------------------------------------------- the cache


def forbid_decoding(monkeypatch) -> None:
    def forbidden(*_, **__):
        raise AssertionError("prepared a second time")

    monkeypatch.setattr(prepared, "_prepare", forbidden)
    monkeypatch.setattr(Image, "open", forbidden)


def test_a_second_open_decodes_nothing(folder, cache, monkeypatch, capsys):
    some_files(folder)
    (folder / "broken.png").write_text("text")
    first = open_files(folder, (64, 64))
    capsys.readouterr()
    forbid_decoding(monkeypatch)
    second = open_files(folder, (64, 64))
    assert (all_of(first) == all_of(second)).all()
    assert capsys.readouterr() == ("", "")
    assert (second.names, second.skipped, second.name) == (first.names, first.skipped, first.name)


def test_the_cache_folder_is_plain_files(folder, cache):
    some_files(folder)
    data = open_files(folder, (64, 64))
    assert data.folder.parent == cache
    assert data.folder.name.startswith("pictures-64x64x3-crop-")
    assert sorted(p.name for p in data.folder.iterdir()) == ["images.npy", "index.json"]
    assert (np.load(data.folder / "images.npy") == all_of(data)).all()
    index = json.loads((data.folder / "index.json").read_text())
    assert (index["format"], index["count"], tuple(index["names"])) == (1, len(data), data.names)


def change_pixels(folder: Path) -> None:
    noise(seed=99).save(folder / "a.png")


def change_time(folder: Path) -> None:
    os.utime(folder / "a.png", ns=(1, 1))


def add(folder: Path) -> None:
    noise(seed=99).save(folder / "new.png")


def remove(folder: Path) -> None:
    (folder / "a.png").unlink()


def rename(folder: Path) -> None:
    (folder / "a.png").rename(folder / "aa.png")


@pytest.mark.parametrize("change", [change_pixels, change_time, add, remove, rename])
def test_a_changed_folder_is_prepared_again(folder, cache, change):
    some_files(folder)
    before = open_files(folder, (64, 64))
    change(folder)
    after = open_files(folder, (64, 64))
    assert after.folder != before.folder
    assert len(left(cache)) == 2


def test_each_way_to_prepare_has_its_own_place(folder, cache):
    noise(96, 96).save(folder / "a.png")
    ways = [{"size": (64, 64)}, {"size": (64, 32)}, {"size": (32, 64)}, {"size": (64, 64), "channels": 1}]
    ways += [{"size": (64, 64), "fit": "pad"}]
    assert len({open_files(folder, **way).folder for way in ways}) == len(left(cache)) == len(ways)


@pytest.mark.parametrize("damage", ["images.npy", "index.json", "both"])
def test_a_damaged_cache_is_prepared_again(folder, cache, damage):
    some_files(folder)
    before = all_of(open_files(folder, (64, 64)))
    place = cache / left(cache)[0]
    for name in ("images.npy", "index.json"):
        if damage in (name, "both"):
            (place / name).write_bytes((place / name).read_bytes()[:-20])
    assert (all_of(open_files(folder, (64, 64))) == before).all()
    assert left(cache) == [place.name]


def test_a_cache_can_be_named(folder, cache, tmp_path):
    some_files(folder)
    data = open_files(folder, (64, 64), cache=tmp_path / "mine")
    assert data.folder.parent == tmp_path / "mine"
    assert not cache.exists()


def test_without_a_name_the_cache_is_the_users(folder, monkeypatch, tmp_path):
    monkeypatch.delenv("WHEREWHAT_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name, **_: str(tmp_path / name))
    some_files(folder)
    assert open_files(folder, (64, 64)).folder.parent == tmp_path / "wherewhat" / "data"


def test_two_threads_at_once_prepare_once(folder, cache, monkeypatch):
    some_files(folder)
    calls, prepare = [], prepared._prepare
    monkeypatch.setattr(prepared, "_prepare", lambda *args: (calls.append(1), time.sleep(0.05), prepare(*args)))
    found: list[PreparedImages] = []
    threads = [threading.Thread(target=lambda: found.append(open_files(folder, (64, 64)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert (all_of(found[0]) == all_of(found[1])).all()
    assert len(left(cache)) == 1


def test_two_processes_at_once_agree(folder, cache):
    some_files(folder)
    code = (
        "import sys, numpy as np; from pathlib import Path; from wherewhat.data.folder import open_files\n"
        "data = open_files(Path(sys.argv[1]), (64, 64)); print(data.images(np.arange(len(data))).sum())"
    )
    command = [sys.executable, "-c", code, str(folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=60) for process in both]
    expected = all_of(open_files(folder, (64, 64))).sum()
    assert [process.returncode for process in both] == [0, 0], answers
    assert [int(out) for out, _ in answers] == [expected] * 2
    assert len(left(cache)) == 1


def test_the_second_of_two_processes_keeps_what_the_first_has_prepared(folder, cache, monkeypatch):
    some_files(folder)
    first, publish = [], prepared._publish

    def late(part: Path, place: Path) -> None:
        if not first:
            first.append(place)
            shutil.copytree(part, place)
            (place / "mark").touch()
        publish(part, place)

    monkeypatch.setattr(prepared, "_publish", late)
    data = open_files(folder, (64, 64))
    assert left(cache) == [data.folder.name]
    assert (data.folder / "mark").exists()


def test_leftovers_of_killed_processes_go_after_a_day(folder, cache):
    some_files(folder)
    for name, age in (("old.part", 2 * prepared.DAY), ("new.part", 60)):
        (cache / name).mkdir(parents=True)
        (cache / name / "images.npy").touch()
        for path in (cache / name / "images.npy", cache / name):
            os.utime(path, (time.time() - age,) * 2)
    data = open_files(folder, (64, 64))
    assert left(cache) == ["new.part", data.folder.name]


# -------------------------------------------------------------------------------------------------------- dSprites


def dsprites(path: Path, sizes=(1, 2, 3, 2, 2, 2), keep=slice(None), **members) -> tuple[Path, np.ndarray, np.ndarray]:
    """A file in the published format; the images (0 or 1) and the classes in it."""
    classes = np.array(list(itertools.product(*map(range, sizes))))[keep]
    images = np.random.default_rng(0).integers(0, 2, (len(classes), 64, 64), np.uint8)
    metadata = np.array({"title": "pickled"}, dtype=object)
    content = {"metadata": metadata, "imgs": images, "latents_classes": classes, "latents_values": classes * 1.0}
    np.savez_compressed(path, **(content | members))
    return path, images, classes


def test_dsprites_is_a_grid_of_five_factors(tmp_path, cache, monkeypatch):
    path, images, classes = dsprites(tmp_path / "dsprites.npz")
    monkeypatch.setattr(folders, "CHUNK", 64 * 64 * 5)  # several reads, the last one shorter
    data = open_files(path, (64, 64), channels=1)
    assert (all_of(data) == images[:, None] * 255).all()
    assert data.factors is not None
    assert data.factors.is_grid
    assert (data.factors.names, data.factors.sizes) == (("shape", "scale", "orientation", "x", "y"), (2, 3, 2, 2, 2))
    assert (data.factors.values(np.arange(len(data))) == classes[:, 1:]).all()
    assert (data.name, data.names, data.skipped) == ("dsprites", (), ())


@pytest.mark.parametrize("keep", [slice(0, None, 3), slice(None, None, -1), slice(5, 40)])
def test_a_part_of_dsprites_has_a_table(tmp_path, cache, keep, monkeypatch):
    path, _images, classes = dsprites(tmp_path / "part.npz", keep=keep)
    data = open_files(path, (64, 64), channels=1)
    assert data.factors is not None
    assert not data.factors.is_grid
    assert len(data.factors) == len(data) == len(classes)
    assert (data.factors.values(np.arange(len(data))) == classes[:, 1:]).all()
    forbid_decoding(monkeypatch)
    again = open_files(path, (64, 64), channels=1).factors
    assert again is not None
    assert (again.table == data.factors.table).all()


def test_a_column_that_never_varies_is_no_factor(tmp_path, cache):
    path, *_ = dsprites(tmp_path / "a.npz", sizes=(1, 1, 3, 2, 2, 2))
    factors = open_files(path, (64, 64)).factors
    assert factors is not None
    assert factors.names == ("scale", "orientation", "x", "y")
    assert factors.is_grid


def test_dsprites_is_shrunk_like_any_image(tmp_path, cache):
    path, images, _ = dsprites(tmp_path / "dsprites.npz")
    data = open_files(path, (32, 32))
    small = Image.fromarray(images[7] * np.uint8(255)).resize((32, 32), Image.Resampling.LANCZOS)
    assert (data.images(np.array([7]))[0] == np.asarray(small)).all()


def test_pickles_are_never_read(tmp_path, cache, monkeypatch):
    path, *_ = dsprites(tmp_path / "a.npz")
    monkeypatch.setattr(pickle, "load", None)
    monkeypatch.setattr(pickle, "loads", None)
    assert len(open_files(path, (64, 64))) == 48
    path, *_ = dsprites(tmp_path / "b.npz", imgs=np.array([{}] * 48, dtype=object))
    problem(path, str(path), "pickled")


@pytest.mark.parametrize("shape", [(9, 64, 64), (9, 64, 64, 1), (9, 70, 64, 3), (9, 64, 64, 4)])
def test_an_npz_of_images_alone(tmp_path, cache, shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    images[..., -1] = 255 if shape[-1] == 4 else images[..., -1]
    np.savez(tmp_path / "a.npz", images=images)
    pixels = all_of(open_files(tmp_path / "a.npz", (64, 64)))
    middle = images[:, 3:67, :, :3] if shape[1] == 70 else images[..., :3] if images.ndim == 4 else images[..., None]
    assert (pixels == np.broadcast_to(middle, (9, 64, 64, 3)).transpose(0, 3, 1, 2)).all()


def test_bad_npz_files_say_what_is_expected_and_found(tmp_path, cache):
    np.savez(tmp_path / "a.npz", pictures=np.zeros(3), names=np.zeros(3))
    problem(tmp_path / "a.npz", "a.npz", "names, pictures", "imgs", "latents_classes", "images")
    problem(dsprites(tmp_path / "b.npz", latents_classes=np.zeros((47, 6)))[0], "(47, 6)", "(48, 6)", "orientation")
    problem(dsprites(tmp_path / "c.npz", imgs=np.zeros((48, 64, 64)))[0], "float64", "uint8")
    problem(dsprites(tmp_path / "d.npz", imgs=np.full((48, 64, 64), 255, np.uint8))[0], "255", "0 or 1")
    np.savez(tmp_path / "e.npz", images=np.zeros((4, 64, 64, 2), np.uint8))
    problem(tmp_path / "e.npz", "(4, 64, 64, 2)", "channels")
    np.savez(tmp_path / "f.npz", images=np.zeros((0, 64, 64, 3), np.uint8))
    problem(tmp_path / "f.npz", "(0, 64, 64, 3)")
    np.savez(tmp_path / "g.npz", images=np.zeros((4, 48, 96, 3), np.uint8))
    problem(tmp_path / "g.npz", "48x96 is smaller than 64x64", "would work is 48x48")
    np.savez(tmp_path / "h.npz", images=np.asfortranarray(np.zeros((4, 64, 64), np.uint8)))
    problem(tmp_path / "h.npz", "Fortran")
    assert left(cache) == []


def test_broken_npz_files(tmp_path, cache):
    whole = dsprites(tmp_path / "a.npz")[0].read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    problem(tmp_path / "cut.npz", "cut.npz", "broken")
    flipped = bytearray(whole)
    place = whole.index(b"imgs.npy") + 2000
    flipped[place : place + 50] = bytes(50)
    (tmp_path / "flipped.npz").write_bytes(flipped)
    problem(tmp_path / "flipped.npz", "flipped.npz", "broken")
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        stream = io.BytesIO()
        np.save(stream, np.zeros((4, 64, 64), np.uint8))
        archive.writestr("images.npy", stream.getvalue()[:-100])
    problem(tmp_path / "short.npz", "short.npz", "broken")
    assert left(cache) == []


# ------------------------------------------------------------------------------------------------------- 3D Shapes


def shapes3d(path: Path, keep=slice(None), sizes=(2, 3, 2, 2, 2, 3), **members) -> tuple[Path, np.ndarray, np.ndarray]:
    """A file in the published format; the images and the classes in it."""
    classes = np.array(list(itertools.product(*map(range, sizes))))[keep]
    images = np.random.default_rng(0).integers(0, 256, (len(classes), 64, 64, 3), np.uint8)
    labels = classes * [0.1, 0.1, 0.1, 0.07, 1, 30] - [0, 0, 0, -0.75, 0, 30]
    with h5py.File(path, "w") as file:
        for name, values in ({"images": images, "labels": labels} | members).items():
            if values is not None:
                file[name] = values
    return path, images, classes


def test_3d_shapes_is_a_grid_of_six_factors(tmp_path, cache, monkeypatch):
    path, images, classes = shapes3d(tmp_path / "3dshapes.h5")
    monkeypatch.setattr(folders, "CHUNK", 64 * 64 * 3 * 7)
    data = open_files(path, (64, 64))
    assert (all_of(data) == images.transpose(0, 3, 1, 2)).all()
    assert data.factors is not None
    assert data.factors.is_grid
    assert data.name == "3dshapes"
    names = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    assert (data.factors.names, data.factors.sizes) == (names, (2, 3, 2, 2, 2, 3))
    assert (data.factors.values(np.arange(len(data))) == classes).all()


def test_a_part_of_3d_shapes_has_a_table(tmp_path, cache):
    path, images, classes = shapes3d(tmp_path / "part.h5", keep=np.random.default_rng(0).permutation(144)[:50])
    data = open_files(path, (64, 64), channels=1)
    assert data.factors is not None
    assert (data.factors.values(np.arange(50)) == classes).all()
    assert (data.images(np.array([3]))[0, 0] == np.asarray(Image.fromarray(images[3]).convert("L"))).all()


def test_bad_h5_files_say_what_is_expected_and_found(tmp_path, cache):
    problem(shapes3d(tmp_path / "a.h5", labels=None, factors=np.zeros(3))[0], "factors, images", "labels")
    problem(shapes3d(tmp_path / "b.h5", labels=np.zeros((144, 5)))[0], "(144, 5)", "(144, 6)", "floor_hue")
    problem(shapes3d(tmp_path / "c.h5", images=np.zeros((144, 64, 64, 3)))[0], "float64", "uint8")
    problem(shapes3d(tmp_path / "d.h5")[0], "64x64 is smaller than 128x128", "would work is 64x64", size=(128, 128))
    (tmp_path / "e.h5").write_bytes((tmp_path / "d.h5").read_bytes()[:3000])
    problem(tmp_path / "e.h5", "e.h5", "broken")
    (tmp_path / "f.h5").write_text("text")
    problem(tmp_path / "f.h5", "f.h5", "broken")
    assert left(cache) == []


# ------------------------------------------------------------------------------------------------------- bad input


def test_a_path_that_does_not_exist_is_named_with_its_neighbours(tmp_path, cache):
    (tmp_path / "celeba").mkdir()
    problem(tmp_path / "celebA", str(tmp_path / "celebA"), "does not exist", "did you mean celeba?")
    problem(tmp_path / "celebaa" / "train", "does not exist", "holds no celebaa", "did you mean celeba?")
    problem(tmp_path / "celeba" / "train", "does not exist")


def test_a_path_of_another_kind_says_what_would_work(tmp_path, cache):
    noise().save(tmp_path / "a.png")
    problem(tmp_path / "a.png", "a.png", f"a folder of images, here {tmp_path}", ".zip", ".npz", ".h5")
    (tmp_path / "a.tar").touch()
    problem(tmp_path / "a.tar", "a.tar", "folder", "unpack")
    problem(tmp_path / "a.png" / "b", "does not exist")


def test_an_empty_folder_says_what_is_looked_for(folder):
    problem(folder, str(folder), "no images", ".jpg", ".png", ".webp")
    (folder / "notes.txt").touch()
    dsprites(folder / "dsprites.npz")
    problem(folder, f"give {folder / 'dsprites.npz'}")


def bad_files(folder: Path) -> dict[str, str]:
    """PreparedImages that cannot be used, and a word of the reason."""
    buffer = io.BytesIO()
    noise().save(buffer, "PNG")
    (folder / "cut.png").write_bytes(buffer.getvalue()[:3000])
    buffer = io.BytesIO()
    noise(256, 256).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[:9000])
    (folder / "text.png").write_text("not an image at all")
    (folder / "empty.png").touch()
    (folder / "script.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\nshowpage\n")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    noise(48, 48).save(folder / "small.png")
    noise(63, 500).save(folder / "flat.png")
    reasons = {"text.png": "not an image", "empty.png": "not an image", "script.jpg": "not an image"}
    reasons |= {"cut.png": "truncated", "cut.jpg": "truncated", "gone.png": "not a file", "pipe.png": "not a file"}
    return reasons | {"small.png": "48x48 is smaller than 64x64", "flat.png": "63x500 is smaller than 64x64"}


def test_bad_files_are_skipped_counted_and_named(folder, capsys):
    reasons = bad_files(folder)
    noise(seed=1).save(folder / "good.png")
    data = open_files(folder, (64, 64))
    assert data.names == ("good.png",)
    assert (all_of(data)[0] == np.asarray(noise(seed=1)).transpose(2, 0, 1)).all()
    assert [name for name, _ in data.skipped] == sorted(reasons)
    assert all(reasons[name] in reason for name, reason in data.skipped), data.skipped
    assert np.load(data.folder / "images.npy").shape == (1, 3, 64, 64)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "1 images prepared at 64x64, 9 skipped: cut.jpg (" in error
    assert "and 6 more" in error


def test_if_nothing_is_left_the_message_has_reasons_and_nothing_is_kept(folder, cache):
    bad_files(folder)
    problem(folder, "no image of", str(folder), "cut.jpg", "and 6 more", "would work is 63x63, and 48x48 for all")
    assert left(cache) == []


@pytest.mark.parametrize(("fit", "works"), [("crop", "32x48"), ("pad", "40x60")])
def test_the_largest_resolution_that_would_work_works(folder, cache, fit, works):
    noise(32, 60).save(folder / "a.png")
    problem(folder, "32x60 is smaller than 64x96", f"would work is {works}", size=(64, 96), fit=fit)
    height, width = map(int, works.split("x"))
    assert len(open_files(folder, (height, width), fit=fit)) == 1


def test_an_image_is_never_enlarged_on_either_side(folder):
    noise(64, 63).save(folder / "a.png")
    problem(folder, "64x63 is smaller than 64x64")
    assert len(open_files(folder, (64, 64), fit="pad")) == 1


def test_decompression_bombs_are_skipped(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    noise(200, 200).save(folder / "bomb.png")
    noise(80, 80).save(folder / "large.png")  # Pillow only warns about this one
    data = open_files(folder, (64, 64))
    assert data.names == ("large.png",)
    assert data.skipped[0][0] == "bomb.png"
    assert "bomb" in data.skipped[0][1]


def test_a_huge_member_of_a_zip_is_skipped(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(folders, "MEMBER_LIMIT", 20_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(10**6))
        buffer = io.BytesIO()
        noise().save(buffer, "PNG")
        archive.writestr("good.png", buffer.getvalue())
    data = open_files(tmp_path / "a.zip", (64, 64))
    assert data.names == ("good.png",)
    assert data.skipped == (("bomb.png", "larger than 0 MB"),)


def test_bad_zips(tmp_path, cache):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "text")
    problem(tmp_path / "a.zip", "a.zip", "no images", ".png")
    buffer = io.BytesIO()
    noise().save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("a.png", buffer.getvalue())
        archive.writestr("b.png", buffer.getvalue())
    whole = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    problem(tmp_path / "cut.zip", "cut.zip", "broken")
    (tmp_path / "wrong.zip").write_bytes(whole[:200] + b"wrong" + whole[205:])  # a.png has another checksum
    data = open_files(tmp_path / "wrong.zip", (64, 64))
    assert data.names == ("b.png",)
    assert "CRC" in data.skipped[0][1]
    locked = bytearray(whole)
    for start in (whole.index(b"PK\3\4") + 6, whole.index(b"PK\1\2") + 8):
        locked[start] |= 1  # the flag of encryption, of the first file and of its entry in the directory
    (tmp_path / "locked.zip").write_bytes(locked)
    problem(tmp_path / "locked.zip", "locked.zip", "encrypted", "unpack")


def test_names_that_confuse_a_terminal_are_shown_harmless(folder, capsys):
    noise().save(folder / "good.png")
    os.close(os.open(os.fsencode(folder) + b"/\xff\x1b[31m.png", os.O_CREAT | os.O_WRONLY))
    data = open_files(folder, (64, 64))
    assert len(data) == len(data.skipped) == 1
    assert "??[31m.png (not an image)" in capsys.readouterr().err


def test_impossible_requests(folder):
    noise().save(folder / "a.png")
    problem(folder, "64x0", size=(64, 0))
    problem(folder, "2 channels", channels=2)


# --------------------------------------------------------------------------------------------- no place to write to


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["_header", "sync", "_describe", "_publish"])
def test_a_full_disk_names_the_cache_and_leaves_nothing(folder, cache, monkeypatch, where):
    some_files(folder)
    monkeypatch.setattr(prepared, where, full)
    problem(folder, str(cache), "No space left", "They need 1 MB", "WHEREWHAT_CACHE")
    assert left(cache) == []


def test_a_disk_without_room_is_found_out_before_decoding(tmp_path, cache, monkeypatch):
    path, *_ = dsprites(tmp_path / "a.npz", sizes=(1, 3, 3, 3, 3, 3))
    monkeypatch.setattr(prepared.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    problem(path, str(cache), "No space left", "They need 3 MB", "WHEREWHAT_CACHE")
    assert left(cache) == []


def test_a_disk_that_fills_up_in_the_middle(folder, cache):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    some_files(folder)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
        problem(folder, str(cache), "File too large", "WHEREWHAT_CACHE")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert left(cache) == []


def test_a_cache_that_may_not_be_written_to(folder, tmp_path, monkeypatch):
    some_files(folder)
    (tmp_path / "file").touch()
    problem(folder, str(tmp_path / "file" / "cache"), "WHEREWHAT_CACHE", cache=tmp_path / "file" / "cache")

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", denied)
    problem(folder, str(tmp_path / "cache"), "Permission denied", "WHEREWHAT_CACHE", cache=tmp_path / "cache")


@pytest.mark.parametrize("where", ["decode", "_header", "_describe"])
def test_ctrl_c_leaves_nothing_half_written(folder, cache, monkeypatch, where):
    some_files(folder)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(folders if where == "decode" else prepared, where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_files(folder, (64, 64))
    assert left(cache) == []
    monkeypatch.undo()
    assert len(open_files(folder, (64, 64), cache=cache)) == 5


def test_the_usual_shape_is_that_of_upright_pictures(folder):
    for k in range(4):
        noise(60, 90, k).save(folder / f"{k}.png")
    assert usual_ratio(folder) == pytest.approx(2 / 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    for k in range(8):
        noise(60, 90, k).save(folder / f"turned{k}.jpg", exif=exif)
    assert usual_ratio(folder) == pytest.approx(3 / 2)
    with zipfile.ZipFile(folder.parent / "turned.zip", "w") as archive:
        archive.write(folder / "turned0.jpg", "turned0.jpg")
    assert usual_ratio(folder.parent / "turned.zip") == pytest.approx(3 / 2)


def test_pictures_of_many_shapes_have_no_usual_one(folder):
    for k, (height, width) in enumerate([(40, 90), (90, 40), (60, 60), (30, 100), (100, 30)]):
        noise(height, width, k).save(folder / f"{k}.png")
    assert usual_ratio(folder) is None
