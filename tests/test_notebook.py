"""What a notebook shows of runs and traversals."""

import base64
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from helpers import enlivened
from PIL import Image

import wherewhat
from wherewhat.errors import UserError
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.run.folder import Run
from wherewhat.viz.traversals import draw_traversals

formatters = pytest.importorskip("IPython.core.formatters")


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory):
    run = enlivened(trained, tmp_path_factory.mktemp("lively") / "a & b")
    evaluate(run, ["tpl"], "fast", distance="pixels", threshold=0.01)
    return run


@pytest.fixture
def run(scored, tmp_path):
    return Run.open(shutil.copytree(scored.path, tmp_path / "a & b"))


def test_everything_that_the_package_names_can_be_imported():
    assert all(getattr(wherewhat, name) is not None for name in wherewhat.__all__)
    with pytest.raises(AttributeError, match="no attribute opne_run"):
        wherewhat.opne_run  # noqa: B018


def shown(thing):
    return formatters.DisplayFormatter().format(thing)[0]


def page(run):
    """The HTML, which is well-formed if everything in it is escaped."""
    html = re.sub("<(br|img[^>]*)>", r"<\1/>", shown(run)["text/html"])
    return ElementTree.fromstring(f"<div>{html}</div>")


def cells(run):
    return [[cell.text for cell in row] for row in page(run).iter("tr")]


def test_a_run_shows_its_active_controls_longest_first(run):
    run.rename(0, "<b>smile</b> & more")
    head, *rows = cells(run)
    assert head[0] == "control"
    assert [row[0] for row in rows] == [f"z{d.index}" for d in run.control_table if d.active]
    assert dict(map(tuple, (row[:2] for row in rows)))["z0"] == "<b>smile</b> & more"
    assert page(run).find("p/b").text == str(run.path)
    assert page(run).find("img") is None


def test_a_run_shows_the_traversals_that_were_drawn(run):
    path = draw_traversals(run, steps=2)
    source = page(run).find("img").get("src")
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == path.read_bytes()


def test_a_run_that_was_not_evaluated_or_saved_says_so(run):
    (run.path / "metrics.jsonl").unlink()
    assert "not evaluated yet" in shown(run)["text/html"]
    shutil.rmtree(run.path / "checkpoints")
    assert "no checkpoint yet" in shown(Run.open(run.path))["text/html"]


def test_traversals_are_the_picture_that_the_command_draws(run):
    picture = wherewhat.traverse(run, steps=3)
    assert shown(picture)["image/png"].startswith(b"\x89PNG")
    with Image.open(draw_traversals(run, steps=3)) as drawn:
        theirs, ours = np.asarray(drawn.convert("RGB")), np.asarray(picture)
    assert theirs.shape == ours.shape
    assert (theirs[:-42] == ours[:-42]).all()  # but for the footnote


def test_controls_are_asked_for_by_name_or_number(run):
    run.rename(0, "smile")
    named, numbered = wherewhat.traverse(run, ["smile"], steps=2), wherewhat.traverse(run, [0], steps=2)
    assert np.array_equal(named, numbered)
    assert not np.array_equal(named, wherewhat.traverse(run, ["z1"], steps=2))
    with pytest.raises(UserError, match="did you mean smile"):
        wherewhat.traverse(run, ["smlie"])


def test_a_run_that_was_not_evaluated_can_be_traversed(run):
    (run.path / "metrics.jsonl").unlink()
    (run.path / "names.json").write_text(json.dumps({"1": "hair"}))
    both = wherewhat.traverse(run, steps=2)
    one = wherewhat.traverse(run, ["hair"], steps=2)
    assert both.height > one.height and both.width == one.width
