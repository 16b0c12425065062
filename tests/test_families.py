"""Families: named terms, their weights, and the promise that an objective is added in one place."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import small

from wherewhat import losses
from wherewhat.config import VaeConfig
from wherewhat.errors import UserError
from wherewhat.families import FAMILIES, adversarial, family_of, gan, vae
from wherewhat.families.family import LATENTS, frozen, objective
from wherewhat.train.loop import launch, train
from wherewhat.train.state import State
from wherewhat.train.step import train_step

RECIPES = {"autoencoder": "demo", "gan": "rooms-lean", "adversarial": "folder-gan", "vae": "factor-vae"}


def terms_of(config):
    """All terms of one step, by phase."""
    state = State(config, launch(config, "cpu", 1))
    state.images_seen = 16  # the adversary of folder-gan begins here
    step = state.step(torch.rand(config.batch, config.data.channels, *config.size) * 2 - 1)
    return state, [phase.losses(step) for phase in state.phases]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_weight_is_of_a_term_and_every_network_is_trained(name):
    config = small(RECIPES[name])
    assert family_of(config) is FAMILIES[name]
    state, terms = terms_of(config)
    weights = {k: w for k, w in state.family.weights(config, state.images_seen).items() if w}
    assert weights.keys() <= {term for found in terms for term in found}
    assert {n for phase in state.phases for n in phase.trains} == state.networks.keys()
    for phase, found in zip(state.phases, terms, strict=True):
        objective(found, weights).backward()
        for trained in phase.trains:
            assert any(p.grad is not None for p in state.networks[trained].parameters())


def test_the_objective_is_the_weighted_sum_and_terms_without_a_weight_are_left_out():
    assert objective({"a": 2.0, "b": 3.0, "c": float("nan")}, {"a": 1.0, "b": 0.5, "c": 0.0}) == 3.5


def test_an_objective_is_added_by_a_loss_and_a_line(monkeypatch, tmp_path):
    """The promise for whoever adds one: nothing but its loss and its line in OBJECTIVES is touched."""
    spread = vae.Objective({"kl": 1.0, "spread": 2.0}, lambda step, codes: {"spread": codes.mean.square().mean()})
    monkeypatch.setitem(vae.OBJECTIVES, "spread", spread)
    config = replace(small("beta-vae", images=16), vae=VaeConfig("spread", {"spread": 3.0}))
    run = train(config, str(tmp_path / "run"), "cpu", quiet=True)
    assert run.rows("train")[-1].keys() >= {"reconstruction", "kl", "spread"}
    assert family_of(config).weights(config, 0) == {"reconstruction": 1.0, "kl": 1.0, "spread": 3.0}


def test_unknown_objectives_and_weights_are_refused_with_the_nearest():
    for changed, words in ((VaeConfig("dip_vae_1"), "dip_vae_i"), (VaeConfig("beta_vae", {"k": 1.0}), "no weight k")):
        config = replace(small("beta-vae"), vae=changed)
        with pytest.raises(UserError, match=words):
            family_of(config).build(config)


def test_dip_vae_i_lowers_the_covariance_of_its_codes():
    """Descent on its penalties alone makes correlated codes uncorrelated and of variance 1."""
    torch.manual_seed(0)
    codes = (torch.randn(64, 3) @ torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.3, 0.0], [0.0, 0.5, 2.0]])).requires_grad_()
    optimizer = torch.optim.Adam([codes], 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        sum(losses.dip_vae_i_penalties(codes)).backward()
        optimizer.step()
    assert torch.cov(codes.detach().T, correction=0).sub(torch.eye(3)).abs().max() < 0.02


def test_mixtures_have_each_latent_of_another_image_of_their_group():
    state = State(small("folder-gan"), launch(small("folder-gan"), "cpu", 1))
    step = state.step(torch.rand(8, 3, *state.config.size) * 2 - 1)
    mixed = adversarial.recombined(step, LATENTS)
    with torch.no_grad():
        mean, log_variance = step.encoder.posterior(step.real)
    z = mean + (log_variance / 2).exp() * step.sample_normal(LATENTS)
    assert torch.equal(mixed.sort(0).values, z.sort(0).values) and not mixed.requires_grad
    from_image = (mixed[:, None] == z).float().mean(2)  # of each mixture, the share of each image
    assert from_image.max() < 0.6 and (from_image > 0).sum(1).min() > 2


def test_frozen_maps_pass_gradients_to_images_and_take_none():
    """The discriminator learns, the network whose maps it sees does not, and the generator learns through both."""
    config = small("folder-gan")
    state = State(config, launch(config, "cpu", 1))
    state.images_seen = 16
    step = state.step(torch.rand(8, 3, *config.size) * 2 - 1)
    before = [kernel.clone() for kernel in state.lpips.parameters()]
    images = (torch.rand(8, 3, *config.size) * 2 - 1).requires_grad_()
    with frozen(state.networks["discriminator"]):
        gan.adversarial_loss(step, images).backward()
    assert images.grad.abs().amax((1, 2, 3)).min() > 0
    assert all(p.grad is None for p in state.networks["discriminator"].parameters())
    train_step(state, torch.randint(256, (8, 3, *config.size), dtype=torch.uint8))
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, state.lpips.parameters(), strict=True))
    assert not any(name.startswith("kernels") for name in state.networks["discriminator"].state_dict())


def test_a_discriminator_on_frozen_maps_tells_two_kinds_of_images_apart():
    config = small("folder-gan")
    state = State(config, launch(config, "cpu", 1))
    torch.manual_seed(0)
    blank, noise = torch.zeros(8, 3, *config.size), torch.rand(8, 3, *config.size) * 2 - 1
    for _ in range(30):
        terms = gan.told_apart(state.step(noise), blank)
        state.optimizers["discriminator"].zero_grad()
        terms["d_loss"].backward()
        state.optimizers["discriminator"].step(5e-3)
    d = state.networks["discriminator"]
    logits = [d(*gan.seen_by_discriminator(state.step(x), x)).mean().item() for x in (noise, blank)]
    assert logits[0] > logits[1] + 1


def test_the_relativistic_loss_is_of_differences_alone():
    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    assert torch.allclose(losses.relativistic_loss(real, fake), losses.relativistic_loss(real + 9, fake + 9))
    assert losses.relativistic_loss(real, real).item() == pytest.approx(math.log(2))
    assert losses.relativistic_loss(fake + 20, fake).item() == pytest.approx(0, abs=1e-6)
