"""The six autoencoders of disentanglement_lib: their losses against closed forms, their networks, their commands."""

import math
from dataclasses import replace

import pytest
import torch
from conftest import small
from torch import nn

from wherewhat import losses
from wherewhat.config import with_settings
from wherewhat.families import family_of, vae
from wherewhat.nn.encoder import CodeDiscriminator
from wherewhat.nn.generator import Generator
from wherewhat.recipes import VAE_GRIDS, find
from wherewhat.run.folder import Run
from wherewhat.train.loop import launch, train
from wherewhat.train.state import State
from wherewhat.train.step import train_step

CORRELATION = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.3], [0.0, 0.3, 1.0]])
TRUE = -0.5 * math.log(torch.linalg.det(CORRELATION))  # total correlation of such a Gaussian, in nats


def correlated(count, seed=0, scale=(1.0, 1.0, 1.0)):
    """Samples of a Gaussian of this correlation; total correlation does not depend on the scale."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=rng) @ torch.linalg.cholesky(CORRELATION).T * torch.tensor(scale)


# -------------------------------------------------------------------------------------------------------- losses


def test_bernoulli_likelihood_is_pytorchs_and_stays_finite_for_large_logits():
    torch.manual_seed(0)
    logits, target = torch.randn(3, 1, 4, 4), torch.rand(3, 1, 4, 4).round() * 2 - 1
    theirs = -torch.distributions.Bernoulli(logits=logits).log_prob((target + 1) / 2).sum((1, 2, 3)).mean()
    torch.testing.assert_close(losses.bernoulli_nll(logits, target), theirs)
    assert losses.bernoulli_nll(-200 * target, target) == 200 * 16


def test_capacity_is_a_distance_on_both_sides():
    assert losses.capacity_loss(torch.tensor(3.0), 5.0) == losses.capacity_loss(torch.tensor(7.0), 5.0) == 2


def test_dip_vae_ii_counts_the_variance_of_the_posterior():
    """Means of covariance Σ − v and posteriors of variance v are a population of covariance Σ."""
    mean, half = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * 0.5**0.5, torch.full((4, 2), 0.5)
    assert [float(p) for p in losses.dip_vae_ii_penalties(mean, half.log())] == pytest.approx([0, 0], abs=1e-6)
    off, on = losses.dip_vae_ii_penalties(mean[:, :1].repeat(1, 2), half.log())
    assert [float(off), float(on)] == pytest.approx([2 * 0.25, 0], abs=1e-6)
    nothing = torch.full((4, 2), -100.0)
    assert losses.dip_vae_ii_penalties(mean, nothing) == losses.dip_vae_i_penalties(mean)


@pytest.mark.parametrize("scale", [(1.0, 1.0, 1.0), (0.5, 2.0, 1.0)])
def test_minibatch_estimate_of_a_gaussian(scale):
    """Means of covariance Σ − v and posteriors of variance v: the aggregate posterior has covariance Σ."""
    share = 0.12
    rng = torch.Generator().manual_seed(1)
    covariance = CORRELATION * torch.tensor(scale) * torch.tensor(scale)[:, None]
    variance = torch.diag(covariance) * share
    mean = torch.randn(4_000, 3, generator=rng) @ torch.linalg.cholesky(covariance - variance.diag()).T
    log_variance = variance.log().expand_as(mean)
    z = mean + variance.sqrt() * torch.randn(4_000, 3, generator=rng)
    assert float(losses.minibatch_total_correlation(z, mean, log_variance)) == pytest.approx(TRUE, abs=0.06)
    alone = losses.permute_codes(mean, rng)
    z = alone + variance.sqrt() * torch.randn(4_000, 3, generator=rng)
    assert float(losses.minibatch_total_correlation(z, alone, log_variance)) == pytest.approx(0, abs=0.06)


def test_the_optimal_discriminator_gives_the_total_correlation():
    z = correlated(20_000)
    joint = torch.distributions.MultivariateNormal(torch.zeros(3), CORRELATION).log_prob(z)
    marginals = torch.distributions.Normal(0, 1).log_prob(z).sum(1)
    found = losses.density_ratio_total_correlation((joint - marginals)[:, None])
    assert float(found) == pytest.approx(TRUE, abs=0.03)


def test_a_trained_discriminator_nearly_does():
    torch.manual_seed(0)
    discriminator, rng = CodeDiscriminator(3, 2, 64), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)
    for step in range(500):
        z = correlated(512, seed=step)
        loss = losses.discriminator_loss(discriminator(z), discriminator(losses.permute_codes(z, rng)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = losses.density_ratio_total_correlation(discriminator(correlated(20_000, seed=-1)))
    assert found.item() == pytest.approx(TRUE, abs=0.1)


def test_permuted_codes_keep_each_column_and_lose_what_they_share():
    z = correlated(5_000)
    permuted = losses.permute_codes(z, torch.Generator().manual_seed(1))
    assert torch.equal(permuted.sort(0).values, z.sort(0).values)
    assert (torch.corrcoef(permuted.T) - torch.eye(3)).abs().max() < 0.06


# ---------------------------------------------------------------------------------------------------- the family


def state_of(config):
    return State(config, launch(config, "cpu", 1))


def images(config, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (config.batch, config.data.channels, *config.size), generator=rng, dtype=torch.uint8)


@pytest.mark.parametrize("recipe", VAE_GRIDS)
def test_every_setting_of_the_grids_is_one_of_its_recipe(recipe):
    configs = [with_settings(find(recipe), [setting]).checked() for setting in VAE_GRIDS[recipe]]
    assert len({str(config) for config in configs}) == 6
    with torch.device("meta"):
        for config in configs:
            family_of(config).build(config)


def test_networks_are_those_of_disentanglement_lib():
    """Number of weights of its conv_encoder, deconv_decoder and fc_discriminator for 64 × 64 × 3 images, 10 latents."""
    with torch.device("meta"):
        built = vae.build(find("factor-vae"))
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in built.items()}
    encoder = [3 * 32, 32 * 32, 32 * 64, 64 * 64]
    assert count["encoder"] == 16 * sum(encoder) + 192 + 1025 * 256 - 256 + 256 + 256 * 20 + 20
    decoder = 16 * (64 * 64 + 64 * 32 + 32 * 32 + 32 * 3) + 64 + 32 + 32 + 3
    assert count["generator"] == 10 * 256 + 256 + 256 * 1024 + 1024 + decoder + 1024  # and the constant, one more bias
    assert count["code_discriminator"] == 10 * 1000 + 1000 + 5 * (1000 * 1000 + 1000) + 1000 + 1
    activations = [m for name in ("encoder", "generator") for m in built[name].modules() if isinstance(m, nn.LeakyReLU)]
    assert activations and all(m.negative_slope == 0 for m in activations)


def test_pixels_of_logits_are_their_expectation():
    torch.manual_seed(0)
    generator = Generator(small("beta-vae").generator, (16, 16), 3)
    z = torch.randn(4, generator.config.latents)
    logits = generator.unsquashed(z)
    torch.testing.assert_close(generator(z).image, 2 * logits.sigmoid() - 1)
    torch.testing.assert_close(generator.images(z), generator.sweeps(z[:, None])[:, 0])


def test_the_capacity_follows_the_images_seen():
    config = small("annealed-vae")
    config = replace(config, vae=replace(config.vae, capacity=10.0, capacity_images=80))
    state = state_of(config)
    for _ in range(12):
        logged = train_step(state, images(config))
        capacity = min(10.0, 10 * (state.images_seen - 8) / 80)
        assert float(logged["capacity"]) == pytest.approx(abs(float(logged["kl"]) - capacity), abs=1e-4)
    assert family_of(config).weights(config, 0)["kl"] == 0  # only its distance from the capacity is trained


def test_the_discriminator_of_codes_has_a_phase_and_an_optimizer_of_its_own():
    config = small("factor-vae")
    state = state_of(config)
    before = {name: [p.clone() for p in network.parameters()] for name, network in state.networks.items()}
    ours, theirs = state.phases
    assert theirs.trains == ("code_discriminator",)
    adam = state.optimizers["code_discriminator"].config
    assert (adam.lr, adam.betas, adam.kind) == (1e-4, (0.5, 0.9), "adam")
    ours.losses(state.step(torch.zeros(8, 3, 16, 16)))["total_correlation"].backward()
    assert all(p.grad is None for p in state.networks["code_discriminator"].parameters())
    assert any(p.grad is not None and p.grad.any() for p in state.networks["encoder"].parameters())
    assert all(p.grad is None for p in state.networks["generator"].parameters())  # it makes no codes
    train_step(state, images(config))
    for name, network in state.networks.items():
        assert any(not torch.equal(a, b) for a, b in zip(before[name], network.parameters(), strict=True)), name
    assert len(state_of(small("beta-vae")).phases) == 1


def test_the_discriminator_comes_back_when_a_training_is_resumed(tmp_path):
    whole = train(small("factor-vae", images=64), str(tmp_path / "whole"), "cpu", quiet=True)
    train(small("factor-vae", images=32), str(tmp_path / "parts"), "cpu", quiet=True)
    parts = train(small("factor-vae", images=64), str(tmp_path / "parts"), "cpu", quiet=True)
    a, b = (Run.open(run.path).resume_point()["code_discriminator"] for run in (whole, parts))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
