"""The worlds: their factors mean what they say, their regions are exact, and each is one file."""

import subprocess
import sys

import numpy as np
import pytest

from wherewhat import cli
from wherewhat.config import DataConfig
from wherewhat.data import open_data, region, synthetic
from wherewhat.data.batches import batches, order
from wherewhat.data.factors import Factors
from wherewhat.data.synthetic import WORLDS, Rooms, Sprites, write_folder
from wherewhat.errors import UserError


class Stripes:
    """A made-up world: a bar of one of three shades in one of twelve columns, on black."""

    name = "stripes"
    channels = 1
    fast = True
    factors = Factors(("column", "shade"), (12, 3))

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return len(self.factors)

    def images(self, index):
        column, shade = self.factors.values(index)[:, :, None, None, None].swapaxes(0, 1)
        bar = np.arange(self.size[1]) // 2 == column
        return (bar * (85 * (shade + 1)) * np.ones((self.size[0], 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def rooms():
    return Rooms((32, 32))


@pytest.fixture(scope="module")
def sprites():
    return Sprites((32, 32))


def some(world, count=40, seed=0):
    return np.random.default_rng(seed).choice(len(world), count, replace=False)


@pytest.mark.parametrize("name", ["rooms", "sprites"])
def test_images_of_different_factors_differ(name, request):
    world = request.getfixturevalue(name)
    for index in some(world, 6):
        values = world.factors.values(np.array([index]))
        for f, size in enumerate(world.factors.sizes):
            others = np.repeat(values, size, 0)
            others[:, f] = np.arange(size)
            made = world.images(world.factors.index(others)).reshape(size, -1)
            distinct = len(np.unique(made, axis=0))
            square = name == "sprites" and values[0, 0] == 0 and f == 2
            ellipse = name == "sprites" and values[0, 0] == 1 and f == 2
            assert distinct == (size // 4 if square else size // 2 if ellipse else size), world.factors.names[f]


def test_a_hue_changes_its_own_material_only(rooms):
    for index in some(rooms, 5):
        floor, wall, thing = (region(rooms, int(index), f) for f in range(3))
        assert floor[-1].all()  # the last row is floor, the first is wall
        assert wall[0].all()
        assert not (floor[0].any() or wall[-1].any() or thing[0].any())
        inside = thing & ~floor & ~wall
        assert inside.sum() > 15
        assert (floor | wall | thing).all()


def test_a_region_is_exactly_where_something_can_change(sprites):
    for index in some(sprites, 5):
        for f, size in enumerate(sprites.factors.sizes):
            here = region(sprites, int(index), f)
            values = np.repeat(sprites.factors.values(np.array([index])), size, 0)
            values[:, f] = np.arange(size)
            change = (sprites.images(sprites.factors.index(values)) != sprites.images(np.array([index]))).any(1)
            assert (change.any(0) == here).all()
            assert here.any()
            assert not here.all()


def test_sprites_move_by_their_positions(sprites):
    values = np.array([[1, 5, 0, x, y] for x, y in ((0, 0), (31, 0), (0, 31), (16, 16))])
    made = sprites.images(sprites.factors.index(values))[:, 0].astype(float)
    rows = (made.sum(2) * np.arange(32)).sum(1) / made.sum((1, 2))
    cols = (made.sum(1) * np.arange(32)).sum(1) / made.sum((1, 2))
    np.testing.assert_allclose(cols[1] - cols[0], 15.5, atol=0.1)
    np.testing.assert_allclose(rows[2] - rows[0], 15.5, atol=0.1)
    np.testing.assert_allclose([rows[1], cols[2]], [rows[0], cols[0]], atol=0.1)
    np.testing.assert_allclose([rows[3], cols[3]], [15.75, 15.75], atol=0.3)
    assert (made[:, [0, -1]] == 0).all()


def test_the_same_world_at_twice_the_size_looks_the_same(rooms):
    index = some(rooms, 8)
    large = Rooms((64, 64)).images(index).reshape(8, 3, 32, 2, 32, 2).mean((3, 5))
    assert np.abs(large - rooms.images(index)).mean() < 4


def test_worlds_of_unequal_sides_and_other_channels():
    for name, channels in (("rooms", 1), ("rooms", 4), ("sprites", 3)):
        data = open_data(DataConfig(name, 48, 32, channels))
        made = data.images(np.arange(3))
        assert made.shape == (3, channels, 48, 32)
        assert made.dtype == np.uint8
    assert (open_data(DataConfig("rooms", 48, 32, 4)).images(np.arange(2))[:, 3] == 255).all()


def test_a_synthetic_world_is_one_file_and_a_line_in_the_registry(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(WORLDS, "stripes", Stripes)
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert open_data(DataConfig("stripes", 8, 24)).images(np.arange(5)).shape == (5, 3, 8, 24)
    stripes = open_data(DataConfig("stripes", 8, 24, channels=1))
    assert (region(stripes, 7, 1) == (np.arange(24) // 2 == 2)).all()
    cli.main(["data", "list"])
    cli.main(["data", "show", "stripes", "--resolution", "8x24"])
    cli.main(["data", "make", "stripes", "drawn", "--count", "20", "--side", "24"])
    assert "stripes: 36 images; column 12, shade 3" in capsys.readouterr().out
    assert (tmp_path / "stripes.png").is_file()
    drawn = open_data(DataConfig("drawn", 24, 24, channels=1))
    values = np.random.default_rng(0).integers((12, 3), size=(20, 2))
    expected = Stripes((24, 24)).images(Stripes.factors.index(values))
    assert (drawn.images(np.arange(20)) == expected).all()
    found = drawn.factors.values(np.arange(20))
    assert (np.argsort(found, 0, "stable") == np.argsort(values, 0, "stable")).all()  # 10 comes after 2


def test_a_slow_world_is_read_from_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(Stripes, "fast", False)
    monkeypatch.setitem(WORLDS, "stripes", Stripes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"draw the stripes first: wherewhat data make stripes FOLDER"):
        open_data(DataConfig("stripes"))


@pytest.mark.parametrize("name", WORLDS)
def test_an_unknown_world_is_reported_with_the_nearest(name, capsys):
    with pytest.raises(UserError, match=f"neither a world nor a file here; did you mean {name}"):
        open_data(DataConfig(name + "x"))
    with pytest.raises(SystemExit, match="2"):
        cli.main(["data", "make", name + "x", "folder"])
    assert f"did you mean {name}?" in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        write_folder(Stripes((8, 8)), tmp_path, 3, 0)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("stopped", ["Ctrl-C", "full disk"])
def test_making_a_folder_goes_on_where_it_stopped(tmp_path, monkeypatch, stopped):
    """An unfinished folder is no data set; what was drawn is not drawn again; the end is as if it never had stopped."""
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(synthetic, "CHUNK", 2)
    whole, parts, world = write_folder(Stripes((8, 8)), tmp_path / "whole", 7, 0), tmp_path / "parts", Stripes((8, 8))
    draw, error = synthetic._draw, KeyboardInterrupt if stopped == "Ctrl-C" else OSError(28, "No space left on device")

    def some(world, folder, names, index):
        draw(world, folder, names[:4], index[:4])
        (folder / f".1.{names[4]}").write_bytes(b"half")
        raise error

    monkeypatch.setattr(synthetic, "_draw", some)
    with pytest.raises(KeyboardInterrupt if stopped == "Ctrl-C" else UserError, match=r"No space|^$"):
        write_folder(world, parts, 7, 0)
    with pytest.raises(UserError, match=r"not complete.*the same command goes on"):
        open_data(DataConfig(str(parts), 8, 8))
    drawn = {p: p.stat().st_mtime_ns for p in parts.glob("0*.png")}
    monkeypatch.setattr(synthetic, "_draw", draw)
    with pytest.raises(UserError, match=r'"seed": 0.*not .*"seed": 1'):
        write_folder(world, parts, 7, 1)
    write_folder(world, parts, 7, 0)
    assert len(drawn) == 4 and all(p.stat().st_mtime_ns == then for p, then in drawn.items())
    assert contents(parts) == contents(whole)
    monkeypatch.setattr(synthetic, "_draw", some)
    assert write_folder(world, parts, 7, 0) == parts


def test_a_full_disk_while_images_are_drawn_ends_with_one_message(tmp_path, monkeypatch):
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "from wherewhat.cli import main\n"
        "if __name__ == '__main__': main(['data', 'make', 'sprites', sys.argv[1], '--count', '600', '--side', '64'])\n"
    )
    (tmp_path / "script.py").write_text(script)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "made")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2, ended.stderr[-2000:]
    assert "cannot write to" in ended.stderr and "Traceback" not in ended.stderr
    assert not list((tmp_path / "made").glob(".*"))


def test_images_without_a_full_grid_have_no_regions(sprites, monkeypatch):
    for factors in (None, Factors(("a",), (2,), np.array([[0], [1]]))):
        monkeypatch.setattr(sprites, "factors", factors, raising=False)
        with pytest.raises(ValueError, match=r"regions|full grid"):
            region(sprites, 0, 0)


def test_rooms_hold_little_memory():
    import tracemalloc

    tracemalloc.start()
    held = Rooms((64, 64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held.images(np.arange(64)).shape == (64, 3, 64, 64)
    assert peak < 200e6


def test_factor_index_and_values_are_inverse():
    factors = Factors(("a", "b", "c"), (3, 4, 5))
    index = np.arange(60)
    assert (factors.index(factors.values(index)) == index).all()
    assert (factors.values(np.array([1]))[0] == [0, 0, 1]).all()


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order():
    first, second = order(50, 0, 0, 50), order(50, 0, 50, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert (first != second).any()
    assert (order(50, 0, 30, 40) == np.concatenate([first[30:], second[:20]])).all()
    assert (order(50, 1, 0, 50) != first).any()


def test_batches_resume_by_images_seen_and_processes_share_them(sprites):
    def take(count, **where):
        source = batches(sprites, 8, seed=3, **where)
        return [next(source) for _ in range(count)]

    whole = take(4)
    for a, b in zip(whole[2:], take(2, start=16), strict=True):
        assert (a == b).all()
    halves = [take(4, rank=r, world_size=2) for r in range(2)]
    for a, parts in zip(whole, zip(*halves, strict=True), strict=True):
        assert (a == np.concatenate(parts)).all()


def test_mirroring_flips_about_half_and_is_shared_alike(sprites):
    plain = next(batches(sprites, 64, seed=0))
    flipped = next(batches(sprites, 64, seed=0, hflip=True))
    same = (plain == flipped).all((1, 2, 3))
    mirrored = (plain[..., ::-1] == flipped).all((1, 2, 3))
    assert (same | mirrored).all()
    assert 16 < mirrored.sum() < 48
    halves = [next(batches(sprites, 64, seed=0, hflip=True, rank=r, world_size=2)) for r in range(2)]
    assert (np.concatenate(halves) == flipped).all()
