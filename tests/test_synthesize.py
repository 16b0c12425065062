"""A synthesised data set follows its codes, is the same for the same seed, opens like any other, is never cut short."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from helpers import enlivened
from PIL import Image

from wherewhat import cli
from wherewhat.data.folder import open_files
from wherewhat.editing import synthesize as making
from wherewhat.editing.synthesize import Plan, synthesize
from wherewhat.errors import UserError
from wherewhat.metrics.where import changed, iou
from wherewhat.nn.ops import to_float
from wherewhat.run.folder import Run
from wherewhat.viz.canvas import to_pixels


@pytest.fixture(scope="module")
def lively(trained, tmp_path_factory):
    run = enlivened(trained, tmp_path_factory.mktemp("lively") / "run")
    run.rename(1, "hair's height")
    return run


@pytest.fixture
def run(lively, tmp_path):
    return Run.open(shutil.copytree(lively.path, tmp_path / "run"))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def image(path):
    with Image.open(path) as opened:
        return np.asarray(opened).astype(int)


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.suffix in (".png", ".csv", ".json")
    }


def test_each_image_is_made_from_the_codes_in_its_row_and_each_mask_is_of_its_control(run, tmp_path, monkeypatch):
    monkeypatch.setattr(making, "BATCH", 4)  # ten images are two batches and a half
    folder = synthesize(run, Plan((1, 0), 10), tmp_path / "made")
    table = rows(folder / "table.csv")
    assert [row["file"] for row in table] == [f"images/{i:06d}.png" for i in range(10)]
    assert sorted(p.name for p in (folder / "masks").iterdir()) == ["hair-s-height", "z0"]
    for row in table:
        made = run.generator(torch.tensor([[float(row["z0"]), float(row["hair's height"])]]))
        assert abs(image(folder / row["file"]) - to_pixels(made.image)[0]).max() <= 1
        for control, name in enumerate(("z0", "hair-s-height")):
            mask = image(folder / "masks" / name / row["file"].removeprefix("images/"))
            codes = torch.tensor([[float(row["z0"]), float(row["hair's height"])]]).repeat(5, 1)
            codes[:, control] = torch.linspace(-2, 2, 5)
            seen = changed(to_pixels(run.generator.images(codes)).transpose(0, 3, 1, 2) / 127.5)
            assert mask.shape == seen.shape and iou(mask >= 128, seen) > 0.95


def test_the_masks_of_a_shipped_run_are_where_each_image_visibly_changes(tmp_path):
    """With values of the control that the masks were not made with."""
    faces = Run.open("pretrained:faces")
    folder = synthesize(faces, Plan(tuple(faces.names), 8), tmp_path / "made")
    codes = torch.from_numpy(Plan(tuple(faces.names), 8).codes(faces))
    for control, name in faces.names.items():
        swept = codes[:, None].repeat(1, 20, 1)
        swept[:, :, control] = torch.linspace(-1.95, 1.95, 20)
        images = faces.generator.sweeps(swept).clamp(-1, 1).numpy()
        masks = [image(folder / "masks" / making.slug(name) / f"{i:06d}.png") for i in range(8)]
        assert np.mean([iou(m >= 128, changed(i)) for m, i in zip(masks, images, strict=True)]) >= 0.6, name
        assert len({mask.tobytes() for mask in masks}) == 8, f"{name}: each image has a mask of its own"


def test_labels_say_on_which_side_of_the_middle_a_code_is(run, tmp_path):
    folder = synthesize(run, Plan((0, 1), 40), tmp_path / "made")
    table, labels = rows(folder / "table.csv"), rows(folder / "images" / "factors.csv")
    for name in ("z0", "hair's height"):
        above = [float(row[name]) > 0 for row in table]
        assert {True, False} == set(above)
        assert [row[f"{name}: above"] == "1" for row in table] == above
        assert [row[name] == "above" for row in labels] == above


def test_its_images_are_a_data_set_with_factors(run, tmp_path):
    folder = synthesize(run, Plan((1,), 12), tmp_path / "made")
    data = open_files(folder / "images", (16, 16), cache=tmp_path / "cache")
    assert len(data) == 12
    assert data.factors.names == ("hair's height",)
    labels = rows(folder / "images" / "factors.csv")
    assert data.factors.values(np.arange(12))[:, 0].tolist() == [int(row["hair's height"] == "below") for row in labels]


def test_the_same_plan_gives_the_same_bytes_and_another_seed_others(run, tmp_path):
    one, same, other = (synthesize(run, Plan((1,), 6, seed), tmp_path / f"made{k}") for k, seed in enumerate((3, 3, 4)))
    assert contents(one) == contents(same)
    assert contents(one)["images/000000.png"] != contents(other)["images/000000.png"]


def test_what_is_not_varied_is_drawn_or_held(run):
    drawn = Plan((1,), 50).codes(run)
    held = Plan((1,), 50, base=np.array([0.7, 0.1], np.float32)).codes(run)
    assert drawn[:, 0].std() > 0.3
    assert (held[:, 0] == np.float32(0.7)).all()
    assert np.array_equal(held[:, 1], drawn[:, 1])
    np.testing.assert_allclose(Plan((1,), 50, spread=0.5).codes(run), drawn / 2)


def test_the_card_says_how_to_make_the_data_set_again(run, tmp_path):
    folder = synthesize(run, Plan((1,), 3, seed=5, spread=0.5, base=np.zeros(2, np.float32)), tmp_path / "made")
    card = json.loads((folder / "card.json").read_text())
    expected = {
        "run": run.path.name,  # never where it lies: data sets are passed on
        "seed": 5,
        "count": 3,
        "spread": 0.5,
        "varied": {"hair's height": 1},
        "others": [0, 0],
    }
    assert expected.items() <= card.items()
    assert card["commit"] == run.about["commit"]


def test_parquet_holds_the_same_table(run, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = synthesize(run, Plan((1,), 4), tmp_path / "made")
    table = parquet.read_table(folder / "table.parquet").to_pydict()
    assert [dict(zip(table, map(str, row), strict=True)) for row in zip(*table.values(), strict=True)] == rows(
        folder / "table.csv"
    )


def test_controls_of_one_name_have_a_column_and_a_folder_each(run, tmp_path):
    run.rename(0, "Hair's  height")
    folder = synthesize(run, Plan((0, 1), 2), tmp_path / "made")
    assert {p.name for p in (folder / "masks").iterdir()} == {"hair-s-height-z0", "hair-s-height-z1"}
    assert list(rows(folder / "table.csv")[0])[1:3] == ["Hair's  height z0", "hair's height z1"]


def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_is(run, tmp_path):
    (tmp_path / "made").mkdir()
    synthesize(run, Plan((1,), 1), tmp_path / "made")
    before = contents(tmp_path / "made")
    with pytest.raises(UserError, match="made already exists"):
        synthesize(run, Plan((1,), 2), tmp_path / "made")
    assert contents(tmp_path / "made") == before


@pytest.mark.parametrize(
    ("error", "raised"), [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_data_set_that_is_not_finished_is_not_there(run, tmp_path, monkeypatch, error, raised):
    def fail(*_):
        raise error

    monkeypatch.setattr(making, "write_tables", fail)
    with pytest.raises(raised):
        synthesize(run, Plan((1,), 2), tmp_path / "new" / "made")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_verb_finds_names_and_holds_the_codes_of_a_picture(run, tmp_path, capsys):
    synthesize(run, Plan((1,), 1), tmp_path / "made")
    photo = tmp_path / "made" / "images" / "000000.png"
    words = ["synthesize", str(run.path), "--vary", "hair's height", "--n", "5", "--device", "cpu"]
    cli.main([*words, "--hold", str(photo)])
    folder = run.path / "synthetic"
    assert capsys.readouterr().out.strip() == str(folder)
    pixels = to_float(torch.from_numpy(image(photo).astype(np.uint8)).permute(2, 0, 1)[None])
    held = json.loads((folder / "card.json").read_text())["others"]
    assert held == pytest.approx(run.encoder(pixels)[0].tolist(), abs=1e-4)
    for wrong in (["--n", "0"], ["--spread", "0"], ["--seed", "-1"], []):
        with pytest.raises(SystemExit) as exit:
            cli.main([*words, *wrong])
        assert exit.value.code == 2


def test_cells_are_no_formulas(tmp_path):
    (tmp_path / "images").mkdir()
    making.write_tables(np.array([[0.5], [-0.5]]), ["=HYPERLINK(1)"], tmp_path)
    rows = (tmp_path / "table.csv").read_text().splitlines()
    assert rows[0].split(",")[1:] == ["'=HYPERLINK(1)", "'=HYPERLINK(1): above"]
    assert [row.split(",")[1] for row in rows[1:]] == ["0.5", "-0.5"]  # numbers stay numbers
