"""Cartoon faces: every factor changes its own place, and their table is read with them."""

import csv

import numpy as np
import pytest

from wherewhat import cli
from wherewhat.config import DataConfig
from wherewhat.data.synthetic import faces, open_data
from wherewhat.errors import UserError

pytest.importorskip("python_avatars")
pytest.importorskip("resvg_py")
SIDE = 64
FACE = np.zeros(len(faces.SIZES), np.int64)
FACE[faces.NAMES.index("hair")] = 2


@pytest.mark.parametrize("factor", range(len(faces.SIZES)), ids=faces.NAMES)
def test_every_value_of_a_factor_looks_different(factor):
    values, drawn = FACE.copy(), []
    for value in range(faces.SIZES[factor]):
        values[factor] = value
        drawn.append(faces.draw(values, SIDE).tobytes())
    assert len(set(drawn)) == len(drawn)


def test_parts_act_where_they_are():
    places = {name: faces.region(FACE, f, SIDE) for f, name in enumerate(faces.NAMES)}
    rows = {name: np.nonzero(place)[0].mean() for name, place in places.items()}
    assert rows["eyebrows"] < rows["eyes"] < rows["mouth"] < rows["clothes"]
    assert not (places["eyes"] & places["mouth"]).any()
    assert places["background"][0].all()
    assert places["eyes"].mean() < 0.1 < places["background"].mean()


def test_a_made_folder_opens_with_its_factors(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    cli.main(["data", "make", "faces", str(tmp_path / "faces"), "--count", "30", "--side", "64"])
    data = open_data(DataConfig(str(tmp_path / "faces"), 64, 64))
    assert data.factors is not None
    assert data.factors.names == faces.NAMES
    assert len(data) == len(data.factors) == 30
    values = np.random.default_rng(0).integers(faces.SIZES, size=(30, len(faces.SIZES)))
    assert (data.images(np.array([7]))[0].transpose(1, 2, 0) == faces.draw(values[7], 64)).all()
    with (tmp_path / "faces" / "factors.csv").open(newline="") as file:
        words = list(csv.reader(file))[8]
    assert words[1:] == [faces.word(n, v) for n, v in zip(faces.NAMES, values[7].tolist(), strict=True)]
    same = values[:, 0] == values[7, 0]
    assert ((data.factors.values(np.arange(30))[:, 0] == data.factors.values(np.array([7]))[0, 0]) == same).all()


def test_a_table_without_a_row_for_every_image_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    folder = faces.make(tmp_path / "faces", 3, 64)
    (folder / "factors.csv").write_text("file,hair\n000000.png,bob\n")
    with pytest.raises(UserError, match=r"factors.csv has no whole row for 000001.png"):
        open_data(DataConfig(str(folder), 64, 64))


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        faces.make(tmp_path, 3, 64)


def test_without_the_extra_it_says_how_to_get_it(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UserError, match=r"wherewhat\[faces\]"):
        faces.make(tmp_path / "new", 3, 64)
