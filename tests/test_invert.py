"""Inversion is never worse than its start, exact where it can be, does not mix photographs, leaves the run alone."""

import json

import pytest
import torch
from conftest import small
from helpers import enlivened
from PIL import Image

from wherewhat import cli
from wherewhat.editing import invert as inverting
from wherewhat.editing.invert import PIXEL_WEIGHT, invert
from wherewhat.families.family import build_generator
from wherewhat.metrics.distance import Pixels
from wherewhat.metrics.images import psnr
from wherewhat.nn.controls import Controls, PolarPair
from wherewhat.run.folder import Run
from wherewhat.viz.canvas import to_image, to_pixels


@pytest.fixture
def run(trained, tmp_path):
    return enlivened(trained, tmp_path / "run")


@pytest.fixture
def photos(run):
    """Three images that the generator makes, whose codes the encoder does not find."""
    z = torch.tensor([[0.5, -1.0], [1.5, 0.8], [-1.2, 0.3]])
    return run.generator(z).image.clamp(-1, 1)


class ConstantEncoder(torch.nn.Module):
    """An encoder that gives the same codes for all images."""

    def __init__(self, codes):
        super().__init__()
        self.codes = codes

    def forward(self, images):
        return self.codes


def error(images, photos):
    return (1 + PIXEL_WEIGHT) * (images - photos).square().mean((1, 2, 3))  # the distance is pixels too


def test_without_descent_the_codes_are_the_encoders(run, photos):
    found = invert(run, photos, steps=0, distance=Pixels())
    torch.testing.assert_close(found.codes, run.encoder(photos))
    torch.testing.assert_close(found.image, run.generator(found.codes).image.clamp(-1, 1))
    assert found.generator is run.generator
    for before, after in zip(found.before, found.after, strict=True):
        assert torch.equal(before, after)
    torch.testing.assert_close(found.after.psnr, psnr(found.image, photos))


def test_an_image_of_the_generator_is_found_again(run, photos):
    found = invert(run, photos, steps=200, lr=0.1, distance=Pixels())
    assert (found.before.psnr < 30).all()
    assert (found.after.psnr > 35).all()
    assert (found.after.ssim > found.before.ssim).all()


@pytest.mark.parametrize("lr", [0.1, 1000.0])
def test_it_is_never_worse_than_the_encoder_however_large_the_steps(run, photos, lr):
    found = invert(run, photos, steps=4, lr=lr, distance=Pixels())
    assert (error(found.image, photos) <= error(found.start, photos) + 1e-6).all()
    again = found.generator(found.codes, found.noise).image.clamp(-1, 1)
    torch.testing.assert_close(again, found.image)


def test_the_codes_of_a_photograph_do_not_depend_on_the_others(run, photos):
    together = invert(run, photos, steps=10, distance=Pixels())
    alone = invert(run, photos[1:2], steps=10, distance=Pixels())
    torch.testing.assert_close(together.codes[1:2], alone.codes, atol=1e-4, rtol=0)


def test_tuning_changes_a_copy_and_improves_photographs_that_the_generator_cannot_make(run, photos):
    strange = photos.flip(3)
    weights = {name: w.clone() for name, w in run.generator.state_dict().items()}
    plain = invert(run, strange, steps=20, distance=Pixels())
    tuned = invert(run, strange, steps=20, tune=30, distance=Pixels())
    assert tuned.generator is not run.generator
    assert all(torch.equal(w, weights[name]) for name, w in run.generator.state_dict().items())
    assert tuned.after.psnr.mean() > plain.after.psnr.mean() + 0.1
    torch.testing.assert_close(tuned.codes, plain.codes)
    assert not any(p.requires_grad for p in tuned.generator.parameters())


def test_tuning_that_only_harms_returns_the_generator_unchanged(run, photos, monkeypatch):
    monkeypatch.setattr(inverting, "TUNING_LR", 100.0)
    found = invert(run, photos, steps=0, tune=3, distance=Pixels())
    torch.testing.assert_close(found.image, found.start)


def test_an_angle_is_found_across_its_ends(run):
    pair = Controls.plain(2, (PolarPair(0, 1, (0.0, 0.0), 0.0, 1.0, 0.5),))
    run.generator.controls = run.encoder.controls = pair
    photo = run.generator(torch.tensor([[1.9, 0.5]])).image.clamp(-1, 1)
    run.encoder = ConstantEncoder(torch.tensor([[-1.9, 0.5]]))
    found = invert(run, photo, steps=100, distance=Pixels())
    assert found.codes[0, 0] > 1.5  # descent on the angle itself would be stuck at −2
    assert found.after.psnr > 40


def test_noise_is_found_too(tmp_path):
    run = Run(tmp_path, small("rooms"))
    torch.manual_seed(0)
    generator = build_generator(run.config).eval().requires_grad_(False)
    for stage in generator.stages:
        stage.noise_strength.fill_(0.5)
    noise = generator.draw_noise(2, torch.Generator().manual_seed(1))
    photos = generator(torch.zeros(2, 4), noise).image.clamp(-1, 1)
    run.generator, run.encoder = generator, ConstantEncoder(torch.zeros(2, 4))
    found = invert(run, photos, steps=60, distance=Pixels())
    assert len(found.noise) == len(noise) > 0
    kept = invert(run, photos, steps=3, distance=Pixels(), with_noise=False)
    assert kept.noise == () and torch.equal(kept.image, generator(kept.codes).image.clamp(-1, 1))
    assert (found.after.psnr > found.before.psnr + 1).all()


def test_the_verb_prints_scores_before_and_after_and_draws(run, photos, tmp_path, capsys):
    files = []
    for i, pixels in enumerate(to_pixels(photos)):
        files.append(str(tmp_path / f"{i}.png"))
        to_image(pixels).save(files[-1])
    words = ["invert", str(run.path), *files, "--steps", "20", "--distance", "pixels", "--device", "cpu"]
    cli.main([*words, "--json", "--out", str(tmp_path / "a.png")])
    rows = json.loads(capsys.readouterr().out)
    assert [row["photo"] for row in rows] == files
    for row in rows:
        assert set(row["before"]) == set(row["after"]) == {"PSNR", "SSIM", "pixels"}
        assert row["after"]["PSNR"] > row["before"]["PSNR"]
        assert len(row["codes"]) == 2
    cli.main(words)
    out = capsys.readouterr().out
    assert "mean" in out and out.count("→") == 12
    with Image.open(run.path / "pictures" / "inverted.png") as drawn, Image.open(tmp_path / "a.png") as same:
        assert drawn.size == same.size
