"""The encoder that undoes what it has read, and training with transform latents."""

from dataclasses import replace

import pytest
import torch
from conftest import small

from wherewhat import losses
from wherewhat.families import family_of
from wherewhat.families.family import attach
from wherewhat.nn.transform_encoder import TURNS, TransformEncoder, undone_group
from wherewhat.run.folder import Run
from wherewhat.train.loop import train


def moving(kind="circle", mask="open", images=64):
    """The small demo with a transform group in its last stage."""
    config = small("masked", images=images)
    *earlier, last = config.generator.stages
    stages = (*earlier, replace(last, transform=kind, transform_mask=mask))
    return replace(config, generator=replace(config.generator, stages=stages)).checked()


def networks(config):
    torch.manual_seed(0)
    built = family_of(config).build(config)
    attach(built)
    return built["generator"].eval(), built["encoder"].eval()


def test_the_encoder_undoes_one_open_group_and_no_other():
    assert isinstance(networks(moving())[1], TransformEncoder)
    assert undone_group(moving().generator) == (2, "circle")
    assert undone_group(moving("line", "boxes").generator) is None
    assert undone_group(small("masked").generator) is None


@pytest.mark.parametrize("kind", ["line", "circle"])
def test_mean_and_variance_are_those_of_every_latent(kind):
    config = moving(kind)
    _, encoder = networks(config)
    mean, log_variance = encoder.posterior(torch.rand(3, 3, 16, 16) * 2 - 1)
    assert mean.shape == log_variance.shape == (3, config.latents)
    assert kind == "line" or mean[:, 4].abs().max() <= 2


def test_what_is_read_next_does_not_change_what_was_read_before():
    """Shift and size get no gradient from the styles, which are read from an image that was moved back by them."""
    _, encoder = networks(moving())
    mean, _ = encoder.posterior(torch.rand(3, 3, 16, 16) * 2 - 1)
    mean[:, :2].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in (*encoder.place.parameters(), *encoder.turn.parameters()))
    assert any(p.grad is not None and p.grad.any() for p in encoder.style.parameters())


def test_the_search_finds_the_turn_an_image_was_made_with():
    generator, encoder = networks(moving())
    with torch.no_grad():
        generator.constant.mul_(4)
        z = torch.randn(6, 6)
        z[:, 2:4], z[:, 5] = 0, 0
        z[:, 4] = 0.1
        turn = torch.arange(6) * (4 / TURNS)
        image = generator(encoder.with_turn(z, turn)).image
        found = encoder.best_turn(image, z)
    apart = torch.remainder(found - turn + 2, 4) - 2
    assert (apart.abs() < 1e-3).float().mean() >= 0.8  # some contents look alike from several sides


def test_turning_all_the_way_round_is_no_turn():
    _, encoder = networks(moving())
    z = torch.randn(5, 6).clamp(-1.9, 1.9)
    torch.testing.assert_close(encoder.with_turn(z, torch.full((5,), 4.0)), z)
    assert (encoder.with_turn(z, torch.full((5,), 1.5))[:, 4].abs() <= 2).all()


@pytest.mark.parametrize(("kind", "mask"), [("circle", "open"), ("line", "open"), ("line", "boxes")])
def test_a_training_with_transforms_resumes_as_if_never_stopped(tmp_path, kind, mask):
    config = moving(kind, mask, images=96)
    whole = train(config, str(tmp_path / "whole"), "cpu", quiet=True)
    train(replace(config, total_images=64), str(tmp_path / "parts"), "cpu", quiet=True)
    parts = train(config, str(tmp_path / "parts"), "cpu", quiet=True)
    for name in ("generator", "encoder"):
        one, other = (getattr(run, name).state_dict() for run in (whole, parts))
        assert all(torch.equal(one[k], other[k]) for k in one)
    assert ("turn" in whole.rows("train")[-1]) == (kind == "circle")


def test_a_run_with_transforms_draws_encodes_and_keeps_its_transform_latents_as_controls(tmp_path):
    run = train(moving(), str(tmp_path / "run"), "cpu", quiet=True)
    run = Run.open(run.path)
    z = torch.from_numpy(run.draw(500, 0))
    assert z[:, 4].min() < -1.9 and z[:, 4].max() > 1.9
    image, masks = run.generator(z[:4])
    assert run.encoder(image).shape == (4, 6)
    assert masks[-1].shape[1] == 6 and (masks[-1][:, 2:] == 1).all()
    assert 4 in run.generator.angles
    if run.generator.controls:
        mixing = torch.tensor(run.generator.controls.mixing)
        assert torch.equal(mixing[2:, 2:], torch.eye(4)) and not mixing[:2, 2:].any() and not mixing[2:, :2].any()


def test_the_kl_of_a_circle_is_that_of_a_wrapped_gaussian_while_it_is_narrow():
    log_variance = torch.tensor([[-4.0, 9.0]])
    narrow = 1.3862944 - (torch.log(torch.tensor(2 * torch.pi * torch.e)) - 4) / 2
    assert losses.kl_circle(log_variance).item() == pytest.approx(narrow.item(), rel=1e-5)


def test_the_turn_loss_is_0_without_a_turn_and_greatest_at_half_a_turn():
    angle = torch.tensor([0.3, -1.9])
    values = [losses.turn_loss(angle, torch.full((2,), turn)).item() for turn in (0.0, 1.0, 2.0, 4.0)]
    assert values == pytest.approx([0, 1, 2, 0], abs=1e-5)
