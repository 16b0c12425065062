"""Cartoon faces: every factor changes its own place, and their table is read with them."""

import csv
import sys

import numpy as np
import pytest

from wherewhat import cli
from wherewhat.config import DataConfig
from wherewhat.data import open_data, region
from wherewhat.data.synthetic import Faces, write_folder
from wherewhat.errors import UserError

pytest.importorskip("python_avatars")
pytest.importorskip("resvg_py")
FACTORS = Faces.factors
FACE = np.zeros((1, len(FACTORS.sizes)), np.int64)
FACE[0, FACTORS.names.index("hair")] = 2


@pytest.fixture(scope="module")
def faces():
    return Faces((64, 64))


@pytest.mark.parametrize("factor", range(len(FACTORS.sizes)), ids=FACTORS.names)
def test_every_value_of_a_factor_looks_different(faces, factor):
    values = np.repeat(FACE, FACTORS.sizes[factor], 0)
    values[:, factor] = np.arange(len(values))
    drawn = faces.images(FACTORS.index(values)).reshape(len(values), -1)
    assert len(np.unique(drawn, axis=0)) == len(values)


def test_parts_act_where_they_are(faces):
    index = int(FACTORS.index(FACE)[0])
    places = {name: region(faces, index, f) for f, name in enumerate(FACTORS.names)}
    rows = {name: np.nonzero(place)[0].mean() for name, place in places.items()}
    assert rows["eyebrows"] < rows["eyes"] < rows["mouth"] < rows["clothes"]
    assert not (places["eyes"] & places["mouth"]).any()
    assert places["background"][0].all()
    assert places["eyes"].mean() < 0.1 < places["background"].mean()


def test_a_face_of_unequal_sides_is_the_middle_of_a_square_one(faces):
    index = FACTORS.index(FACE)
    assert (Faces((64, 48)).images(index) == faces.images(index)[..., 8:56]).all()


def test_a_made_folder_opens_with_its_factors(faces, tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    cli.main(["data", "make", "faces", str(tmp_path / "faces"), "--count", "30", "--side", "64"])
    data = open_data(DataConfig(str(tmp_path / "faces"), 64, 64))
    assert data.factors is not None
    assert data.factors.names == FACTORS.names
    assert len(data) == len(data.factors) == 30
    values = np.random.default_rng(0).integers(FACTORS.sizes, size=(30, len(FACTORS.sizes)))
    assert (data.images(np.array([7])) == faces.images(FACTORS.index(values[7:8]))).all()
    with (tmp_path / "faces" / "factors.csv").open(newline="") as file:
        words = list(csv.reader(file))[8]
    assert words[1:] == [FACTORS.word(f, value) for f, value in enumerate(values[7].tolist())]
    same = values[:, 0] == values[7, 0]
    assert ((data.factors.values(np.arange(30))[:, 0] == data.factors.values(np.array([7]))[0, 0]) == same).all()


def test_a_table_without_a_row_for_every_image_is_reported(faces, tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREWHAT_CACHE", str(tmp_path / "cache"))
    folder = write_folder(faces, tmp_path / "faces", 3, 0)
    (folder / "factors.csv").write_text("file,hair\n000000.png,bob\n")
    with pytest.raises(UserError, match=r"factors.csv has no whole row for 000001.png"):
        open_data(DataConfig(str(folder), 64, 64))


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UserError, match=r"wherewhat\[faces\]"):
        Faces((64, 64))
