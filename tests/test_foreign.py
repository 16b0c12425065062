"""Anyone's generator: what it is given and may return, its axes, and the commands that take it where a run stands.

The generators here have known parameters, each of which lights a place of its own, mixed by an orthogonal matrix.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import find_browser
from lights import TURN, generate
from torch import nn

import wherewhat
from wherewhat.errors import UserError
from wherewhat.evaluation.axes import closed_form, find_axes
from wherewhat.metrics.where import covered, iou
from wherewhat.nn.generator import mean_masks
from wherewhat.run.axes import Axes, orthonormal

PLACES = {0: (slice(0, 16), slice(0, 32)), 1: (slice(20, 30), slice(2, 16)), 2: (slice(18, 26), slice(20, 28))}
"""parameter → rows and columns that it lights, largest first; parameter 3 does nothing"""
SOURCE = (Path(__file__).parent / "lights.py").read_text("utf-8")
QUICK = ("--distance", "pixels")


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A module of theirs in the current folder, as tests change it: theirs("def f(z): …") adds to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])

    def write(more=""):
        Path("theirs.py").write_text(f"{SOURCE}\n\n{more}\n")
        sys.modules.pop("theirs", None)

    write()
    yield write
    sys.modules.pop("theirs", None)


def aligned(basis):
    """For each true direction but the last, which does nothing: the axis that is nearest, and the cosine."""
    cosines = (TURN[:3] @ basis).abs()
    return cosines.argmax(1).tolist(), cosines.amax(1)


# ----------------------------------------------------------------------------------------------------- what they return


@pytest.mark.parametrize(
    "made",
    [
        lambda image: image,
        lambda image: image.permute(0, 2, 3, 1),
        lambda image: image.numpy().astype(np.float64),
        lambda image: (image + 1) / 2,
        lambda image: (image + 1) * 127.5,
        lambda image: ((image + 1) * 127.5).round().byte(),
        lambda image: ((image + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy(),
    ],
)
def test_images_of_any_range_and_layout_are_the_same_images(made, tmp_path):
    opened = wherewhat.open_generator(lambda z: made(generate(z).clamp(-1, 1)), 4, folder=tmp_path)
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert (opened.size, opened.channels) == ((32, 32), 3)
    torch.testing.assert_close(opened.generator.images(z), generate(z).clamp(-1, 1), atol=0.005, rtol=0)


def test_a_range_that_is_given_is_not_guessed(tmp_path):
    bright = wherewhat.open_generator(lambda z: generate(z).abs(), 4, folder=tmp_path)
    known = wherewhat.open_generator(lambda z: generate(z).abs(), 4, folder=tmp_path, image_range="signed")
    z = torch.randn(3, 4)
    torch.testing.assert_close(bright.generator.images(z), 2 * generate(z).abs() - 1)
    torch.testing.assert_close(known.generator.images(z), generate(z).abs())


def test_latents_come_in_batches_and_large_images_are_averaged(tmp_path):
    given = []

    def large(z):
        given.append(len(z))
        return generate(z).repeat_interleave(4, 2).repeat_interleave(4, 3)

    opened = wherewhat.open_generator(large, 4, folder=tmp_path, batch=8, resolution=32)
    z = torch.randn(20, 4)
    torch.testing.assert_close(opened.generator.images(z), generate(z), atol=1e-5, rtol=0)
    assert max(given) == 8
    swept = opened.generator.sweeps(z.view(4, 5, 4))
    torch.testing.assert_close(swept.flatten(0, 1), generate(z), atol=1e-5, rtol=0)


def test_a_module_is_used_as_it_generates_not_as_it_trains(tmp_path):
    module = nn.Sequential(nn.Linear(4, 3 * 8 * 8), nn.BatchNorm1d(192), nn.Unflatten(1, (3, 8, 8)), nn.Tanh())
    opened = wherewhat.open_generator(module.train(), 4, folder=tmp_path)
    assert opened.generator.images(torch.randn(3, 4)).shape == (3, 3, 8, 8) and not module.training


MISUSE = {
    "raises": (
        "def f(z): return z.view(7, 7)",
        r"theirs:f raised RuntimeError: shape '\[7, 7\]' is invalid.*theirs.py, line \d+, in f: def f.*"
        r"latents of shape \(8, 4\)",
    ),
    "vectors": ("def f(z): return z", r"array of shape \(8, 4\) for 8 latents.*\(8, 1.3.4, height, width\)"),
    "channels": ("def f(z): return torch.zeros(len(z), 5, 8, 8)", r"array of shape \(8, 5, 8, 8\)"),
    "one image": ("def f(z): return torch.zeros(1, 3, 8, 8)", r"array of shape \(1, 3, 8, 8\) for 8 latents"),
    "tuple": ("def f(z): return separate(z), None", "returned a tuple for 8 latents"),
    "nan": ("def f(z): return separate(z) * torch.nan", "not finite"),
    "far": ("def f(z): return separate(z) * 100", "scale them to"),
    "noise": ("def f(z): return separate(z) + torch.randn(len(z), 3, 32, 32)", "of the same latents that differ"),
    "batch": ("def f(z): return separate(z) - separate(z).mean(0)", "no image depends on others of its batch"),
    "class": ("class f: pass", "theirs:f is not a function"),
    "value": ("f = 3", "theirs:f is not a function"),
    "import": ("import nothing_here", "import of theirs raised ModuleNotFoundError.*theirs.py, line"),
    "exit": ("raise SystemExit(3)", "import of theirs raised SystemExit"),
}
"""what they may write → what is said"""


@pytest.mark.parametrize("name", MISUSE)
def test_what_goes_wrong_in_their_code_is_said_as_theirs(name, theirs, call):
    code, words = MISUSE[name]
    theirs(code)
    status, out, err = call("rank", "theirs:f", "--latents", 4, *QUICK)
    assert (status, out) == (2, "") and "Traceback" not in err
    assert re.search(words, err.replace("\n", " ")), err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rank", "nobodys:generate"], "there is no nobodys:generate: No module named 'nobodys'"),
        (["rank", "theirs:missing"], "there is no theirs:missing"),
        (["rank", "nowhere.py:generate"], "there is no file nowhere.py"),
        (["rank", "theirs:activations"], "takes latents: say how many with --latents"),
        (["rank", "theirs:generate", "--latents", 0], "--latents 0: give 1 or more"),
        (["rank", "theirs:generate", "--out", "a.png"], "wherewhat traverse theirs:generate draws the controls of one"),
        (["rank", "theirs:generate", "theirs:separate", "--by", "udr"], "was not trained here and has no encoder"),
        (["rank", "pretrained:rooms", "--latents", 4], "pretrained:rooms is not module:function, whose options"),
        (["rank", "theirs:generate", "--axes", "none.safetensors"], "find some with wherewhat axes"),
        (["rank", "theirs:generate", "--axes", "theirs.py"], "theirs.py does not hold axes"),
        (["evaluate", "theirs:generate", "--metrics", "mig"], "mig needs an encoder, and theirs:generate has none"),
        (["evaluate", "theirs:generate", "--metrics", "fid"], "give some with --data"),
        (["invert", "theirs:generate", "me.png"], "without an encoder"),
        (["edit", "theirs:generate", "me.png"], "what works with it is rank, where, rotate, axes, traverse, explore"),
        (["report", "theirs:generate"], "without an encoder"),
        (["axes", "pretrained:rooms"], "is a run, which has controls"),
        (["axes", "theirs:separate", "--how", "closed-form"], "offers no weights: name those"),
        (["axes", "theirs:generate", "--how", "closed-form", "--weights", "theirs:calls"], "the weights are a list"),
        (["axes", "theirs:generate", "--how", "closed-form", "--weights", "theirs:separate"], "raised TypeError"),
        (["axes", "theirs:generate", "--controls", 5], "--controls 5: there are 4 latents"),
        (["axes", "theirs:generate", "--samples", 5], "--samples 5: to find 4 axes"),
        (["axes", "theirs:generate", "--out", "axes.pt"], "is no .safetensors"),
        (["axes", "theirs:generate", "--axes", "theirs.py"], "leave out --axes"),
        (["axes", "theirs:generate", "--activations", "theirs:calls.append"], "must return activations"),
    ],
)  # fmt: skip
def test_each_misuse_has_one_message(words, message, theirs, call):
    status, out, err = call(*words)
    assert (status, out) == (2, "") and "Traceback" not in err
    assert message in err


# ----------------------------------------------------------------------------------------------------------------- axes


def test_the_closed_form_finds_what_weights_stretch_most_in_this_order():
    weights = torch.tensor([3.0, 2.0, 1.0, 0.0])[:, None] * TURN
    found = closed_form(torch.linalg.qr(torch.randn(9, 9))[0][:, :4] @ weights, 4, 3)
    places, cosines = aligned(found.basis)
    assert places == [0, 1, 2] and (cosines > 0.999).all()
    torch.testing.assert_close(found.shares, torch.tensor([9, 4, 1]) / 14)
    assert found.controls == 3


def test_weights_may_be_a_layer_a_transposed_convolution_or_several():
    weights = torch.randn(6, 4)
    layer, transposed = nn.Linear(4, 6), nn.ConvTranspose2d(4, 3, 2)
    layer.weight.data, transposed.weight.data = weights, torch.randn(4, 3, 2, 2)
    plain = closed_form(weights, 4, 4)
    torch.testing.assert_close(closed_form(layer, 4, 4).basis, plain.basis)
    torch.testing.assert_close(closed_form([weights, weights.numpy()], 4, 4).basis, plain.basis, atol=1e-4, rtol=0)
    flat = closed_form(transposed.weight.data.flatten(1).T, 4, 4)
    torch.testing.assert_close(closed_form(transposed, 4, 4).basis, flat.basis)


def test_principal_components_of_images_find_the_parameters_in_the_order_of_their_variance(tmp_path):
    opened = wherewhat.open_generator(generate, 4, folder=tmp_path)
    found = find_axes(opened, distance="pixels", samples=1_000)
    places, cosines = aligned(found.basis)
    assert places == [0, 1, 2] and (cosines > 0.995).all()
    assert found.shares.sum() == pytest.approx(1, abs=1e-3) and found.shares[3] < 1e-6


def test_principal_components_of_activations_have_their_own_order(theirs):
    opened = wherewhat.open_generator("theirs:generate")
    found = find_axes(opened, activations="theirs:activations", samples=1_000)
    places, cosines = aligned(found.basis)
    assert places == [2, 1, 0] and (cosines > 0.99).all()


def test_a_basis_is_orthonormal_begins_as_asked_and_survives_a_file(tmp_path):
    directions = torch.randn(3, 7)
    basis = orthonormal(directions)
    torch.testing.assert_close(basis.T @ basis, torch.eye(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(basis[:, 0], directions[0] / directions[0].norm(), atol=1e-5, rtol=0)
    assert (directions @ basis[:, 3:]).abs().max() < 1e-5
    axes = Axes(basis, torch.tensor([0.5, 0.2, 0.1]), "pca")
    again = Axes.load(axes.save(tmp_path / "axes.safetensors"))
    assert torch.equal(again.basis, basis) and (again.controls, again.how) == (3, "pca")
    with pytest.raises(UserError, match="no orthonormal basis"):
        Axes.load(Axes(2 * basis, axes.shares, "pca").save(tmp_path / "other.safetensors"))


def test_the_next_command_uses_the_axes_and_names_are_theirs_alone(theirs, call):
    wherewhat.open_generator("theirs:generate").rename(0, "a latent")
    status, out, _ = call("axes", "theirs:generate", "--how", "closed-form", "--controls", 2)
    assert status == 0 and out.endswith("theirs.generate/axes.safetensors\n")
    opened = wherewhat.open_generator("theirs:generate")
    assert (opened.controlled, opened.latents, opened.names) == (2, 4, {})
    opened.rename(1, "an axis")
    z = torch.randn(3, 4)
    torch.testing.assert_close(opened.generator.images(z), generate(z @ opened.axes.basis.T))
    rows = json.loads(call("rank", "theirs:generate", *QUICK, "--json")[1])
    assert sorted(row["index"] for row in rows) == [0, 1]
    assert wherewhat.open_generator("theirs:generate", axes="latents").names == {0: "a latent"}
    status, _, err = call("axes", "theirs:generate")
    assert status == 2 and "exists, and names may belong to it" in err
    with pytest.raises(UserError, match="holds axes of 4 latents, and theirs:generate is to take 5"):
        wherewhat.open_generator("theirs:generate", 5)


# ------------------------------------------------------------------------------------------------------------- commands


def test_latents_are_sorted_by_tpl_and_one_that_changes_nothing_is_last_and_inactive(theirs, call):
    rows = json.loads(call("rank", "theirs:separate", *QUICK, "--json")[1])
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    lengths = [row["tpl"] for row in rows]
    assert lengths == sorted(lengths, reverse=True) and lengths[3] == 0 and not rows[3]["active"]
    assert rows[3]["visible"] == 0 and rows[0]["visible"] == pytest.approx(0.5)
    printed = call("rank", "theirs:separate", *QUICK)[1].splitlines()
    last = next(line for line in printed if " z3 " in line)
    assert (
        "inactive" in last
        and "nowhere" in last
        and printed.index(last) > printed.index(next(line for line in printed if " z2 " in line))
    )


def test_the_change_map_of_a_control_is_its_true_place(theirs, call):
    opened = wherewhat.open_generator("theirs:separate")
    masks = mean_masks(opened.generator, torch.from_numpy(opened.draw(8, 0)))
    for k, (rows, columns) in PLACES.items():
        place = np.zeros((32, 32), bool)
        place[rows, columns] = True
        assert iou(covered(masks[k]), place) == 1
    assert not masks[3].any()
    found = json.loads(call("where", "theirs:separate", *QUICK, "--json")[1])
    assert {row["control"]: row["mask_change"] for row in found} == {0: 1, 1: 1, 2: 1}
    acting = json.loads(call("where", "theirs:separate", "--at", "0.8,0.3", "--json", *QUICK)[1])
    assert acting[0]["control"] == 1 and acting[1]["there"] == 0


def test_axes_bring_back_the_places_that_latents_mix(theirs, call):
    call("axes", "theirs:generate", *QUICK, "--samples", 1_000)
    opened = wherewhat.open_generator("theirs:generate")
    masks = mean_masks(opened.generator, torch.from_numpy(opened.draw(8, 0)))
    mixed = wherewhat.open_generator("theirs:generate", axes="latents")
    before, clear = mean_masks(mixed.generator, torch.from_numpy(mixed.draw(8, 0))), []
    for k, (rows, columns) in PLACES.items():
        place = np.zeros((32, 32), bool)
        place[rows, columns] = True
        assert iou(covered(masks[k]), place) > 0.95
        clear.append(max(iou(covered(mask), place) for mask in before))
    assert sum(overlap > 0.95 for overlap in clear) < 3


def test_what_was_measured_is_kept_until_the_generator_changes(theirs, call):
    words = ["evaluate", "theirs:separate", *QUICK, "--tpl", "small", "--json"]
    first = json.loads(call(*words)[1])
    module = sys.modules["theirs"]
    module.calls.clear()
    assert json.loads(call(*words)[1]) == first
    assert sum(module.calls) <= 2 * 10  # it is looked at, and not swept
    theirs("before = separate\n\n\ndef separate(z): return before(z.flip(1))")
    again = json.loads(call(*words, "--latents", 4)[1])
    assert again[0]["details"] != first[0]["details"] and again[0]["model"] != first[0]["model"]


def test_generators_are_ordered_and_rotated_and_drawn(theirs, call):
    ranked = json.loads(call("rank", "theirs:generate", "theirs:separate", *QUICK, "--json")[1])["ranked"]
    assert {row["run"] for row in ranked} == {"theirs:generate", "theirs:separate"}
    status, out, _ = call("rotate", "theirs:separate", "--pair", 0, 1, "--angles", 5, *QUICK)
    assert status == 0 and Path("theirs.separate/pictures/rotations.png").is_file()
    status, out, _ = call("traverse", "theirs.py:separate", "--latents", 4, *QUICK, "--out", "a.png")
    assert (status, out) == (0, "a.png\n") and Path("a.png").is_file()


def test_it_is_scored_against_pictures_if_some_are_given(theirs, call):
    (row,) = json.loads(call("evaluate", "theirs:generate", "--metrics", "ppl", "--count", 8, *QUICK, "--json")[1])[:1]
    assert row["metric"] == "ppl" and row["value"] > 0


def test_runs_and_generators_stand_side_by_side(trained, theirs, call):
    """The options of a function are for functions alone."""
    shutil.copytree(trained, "run")
    words = ["rank", "run", "theirs.py:separate", "--latents", 4, "--json"]
    ranked = json.loads(call(*words, *QUICK)[1])["ranked"]
    assert [row["run"] for row in ranked] == ["theirs.py:separate", "run"]  # the run has no active control


def test_in_a_notebook_a_function_stands_for_its_name(tmp_path):
    opened = wherewhat.open_generator(generate, 4, folder=tmp_path)
    assert opened.word == "lights:generate"
    assert wherewhat.traverse(opened, [0, 1]).width > 100


# ------------------------------------------------------------------------------------------------------------- the page


def test_the_page_opens_on_a_function(theirs):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_browser()
    if path is None:
        pytest.skip("no browser found")
    words = ["explore", "theirs:separate", "--device", "cpu", *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-c", "from wherewhat import cli; cli.main()", *words], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line.startswith("http://"), line + process.stdout.read()
        with playwright.sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.set_default_timeout(30_000)
            page.goto(line.split()[0])
            page.wait_for_selector("#card-2 .strip img")
            assert "4 latents" in page.locator(".head").first.inner_text()
            before = page.locator(".stage img").first.get_attribute("src")
            page.locator("#card-0 input[type=range]").evaluate(
                "e => { e.value = 2; e.dispatchEvent(new Event('input', {bubbles: true})); }"
            )
            page.wait_for_function("before => document.querySelector('.stage img').src != before", arg=before)
            page.locator("#card-1 .name").fill("left ear")
            page.locator("#card-1 .name").press("Enter")
            page.get_by_role("button", name="Real image").first.click()
            page.wait_for_selector("text=is a generator without an encoder")
            browser.close()
        assert json.loads(Path("theirs.separate/names.json").read_text()) == {"1": "left ear"}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
