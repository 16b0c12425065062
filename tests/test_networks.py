"""Generator, encoder, discriminator and losses as wholes."""

import math
from dataclasses import replace

import pytest
import torch

from wherewhat import losses
from wherewhat.config import GeneratorConfig, StageConfig, TrunkConfig
from wherewhat.nn.encoder import Discriminator, Encoder
from wherewhat.nn.generator import LIGHT_GAIN, Generator, Palette, mean_masks
from wherewhat.recipes import at_resolution, find

STAGES = (StageConfig(8, 2, boxes=2), StageConfig(6, 0), StageConfig(6, 3, boxes=2))
SMALL = GeneratorConfig(STAGES, constant_channels=8)


def generator(size=(32, 24), channels=3, **changes):
    torch.manual_seed(0)
    return Generator(replace(SMALL, **changes), size, channels).eval()


@pytest.mark.parametrize("mask", ["boxes", "softmax", "none", "dense"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("head", ["rgb", "double"])
def test_shapes_for_any_sides_channels_and_masks(mask, channels, head):
    size = (64, 48) if head == "double" else (32, 24)
    how = {"decoder": "dense"} if mask == "dense" else {"mask": mask}
    made = generator(size, channels, head=head, **how)(torch.randn(2, 5))
    assert made.image.shape == (2, channels, *size)
    assert [m.shape for m in made.masks] == [(2, 2, 8, 6), (2, 3, 32, 24)]
    at = made.masks_at(16, 16)
    assert at.shape == (2, 5, 16, 16)
    assert at.min() >= 0
    assert at.max() <= 1


def test_a_mask_depends_on_earlier_latents_at_most():
    g, z = generator(), torch.randn(3, 5)
    before = g(z)
    for latent in range(5):
        moved = z.clone()
        moved[:, latent] += 3
        after = g(moved)
        changed = [(a != b).any().item() for a, b in zip(after.masks, before.masks, strict=True)]
        assert changed == [False, latent < 2]  # the second stage follows the first one's latents only


def test_every_latent_reaches_the_image():
    g, z = generator(), torch.randn(1, 5)
    for latent in range(5):
        moved = z.clone()
        moved[:, latent] += 1
        assert (g(moved).image != g(z).image).any()


def test_noise_is_fixed_unless_drawn_and_its_strength_is_learned():
    g, z = generator(), torch.randn(2, 5)
    assert (g(z).image == g(z).image).all()
    with torch.no_grad():
        for stage in g.stages:
            stage.noise_strength.fill_(1.0)
    drawn = g.draw_noise(2, torch.Generator().manual_seed(1))
    assert (g(z, drawn).image != g(z).image).any()
    assert generator(noise=False).draw_noise(2, torch.Generator()) == ()


def test_mean_masks_do_not_depend_on_how_many_are_made_at_once():
    g, z = generator(), torch.randn(40, 5)
    torch.testing.assert_close(
        torch.from_numpy(mean_masks(g, z)), g(z).masks_at(32, 24).mean(0).detach(), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("recipe, side", [("rooms", 64), ("rooms-lean", 32), ("celeba", 128)])
def test_masks_start_half_open(recipe, side):
    """Every latent matters from the first step on, and none of a stage covers the others."""
    config = at_resolution(find(recipe), side, side)
    generator = Generator(config.generator, (side, side), 3)
    with torch.no_grad():
        masks = generator(torch.randn(2, config.latents)).masks
    for mask in masks:
        assert 0.15 < mask.mean() < 0.45


@pytest.mark.parametrize("kind", ["residual", "strided"])
def test_codes_do_not_depend_on_the_other_images(kind):
    r = Encoder(TrunkConfig((8, 8, 8), 16, kind), (32, 24), 3, 5).eval()
    images = torch.randn(6, 3, 32, 24)
    torch.testing.assert_close(r(images)[2:3], r(images[2:3]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["residual", "strided"])
def test_the_discriminator_does_compare_images(kind):
    d = Discriminator(TrunkConfig((8, 8, 8), 16, kind), (32, 24), 3)
    images = torch.randn(4, 3, 32, 24)
    assert (d(images)[:1] - d(images[:1].repeat(4, 1, 1, 1))[:1]).abs() > 1e-6


def test_simplicity_predicts_the_perturbed_latent_from_each_image_and_the_rest_from_both():
    z = torch.tensor([[1.0, 2.0]])
    moved = torch.tensor([[True, False]])
    z_moved = torch.tensor([[4.0, 2.0]])
    right = losses.perceptual_simplicity_loss(z, z_moved, z, z_moved, moved)
    assert right == 0
    # opposite errors of the latent that stayed cancel in the mean of both codes, those of the moved one do not
    off = torch.tensor([[0.0, 0.5]])
    assert losses.perceptual_simplicity_loss(z, z_moved, z + off, z_moved - off, moved) == 0
    off = torch.tensor([[0.5, 0.0]])
    assert losses.perceptual_simplicity_loss(z, z_moved, z + off, z_moved - off, moved) == pytest.approx(0.25)
    assert losses.perceptual_simplicity_loss(z, z_moved, z + 1, z_moved + 1, moved) == pytest.approx(2.0)


def test_a_latent_is_visible_once_it_changes_the_image_by_the_margin():
    image, sizes = torch.zeros(3, 3, 8, 8), torch.tensor([[-4.0], [1.0], [0.5]])
    assert losses.visibility_loss(image, image, sizes, 0.2) == pytest.approx((1 + 1 + 0.5) / 3, abs=0.01)
    assert losses.visibility_loss(image, image + 0.1, sizes, 0.2) == pytest.approx((0.5 + 0.5 + 0) / 3, abs=0.01)
    assert losses.visibility_loss(image, image + 0.2, sizes, 0.2) == pytest.approx(0, abs=1e-4)
    few = image.clone()
    few[:, :, :2] = 0.4  # a quarter of the pixels, twice as much each
    assert losses.visibility_loss(image, few, sizes, 0.2) == pytest.approx(0, abs=1e-4)


def test_visibility_brings_an_unseen_latent_to_light():
    torch.manual_seed(0)
    generator = Generator(replace(SMALL, mask="none"), (64, 48), 3)
    generator.stages[0].style.data[0] *= 0.01
    z = torch.randn(8, generator.latents)
    moved = z.clone()
    moved[:, 0] += 2

    def change():
        return (generator.images(moved) - generator.images(z)).square().mean().sqrt()

    before, optimizer = change().item(), torch.optim.Adam(generator.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        losses.visibility_loss(generator.images(z), generator.images(moved), moved[:, :1] - z[:, :1], 0.15).backward()
        optimizer.step()
    assert before < 0.02 and change() > 0.12


def test_the_infogan_loss_is_the_summed_squared_error():
    assert losses.infogan_loss(torch.zeros(3, 2), torch.full((3, 2), 2.0)) == 8


def test_kl_normal_is_that_of_torch():
    mean, log_variance = torch.randn(2, 7, 5)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (log_variance / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(losses.kl_normal(mean, log_variance), theirs.sum(1).mean())


def test_kl_generalized_normal_is_that_of_its_integral():
    """Against a sum over a fine grid; the prior sums to 1 and has variance 1."""
    mean, log_variance = 0.7 * torch.randn(2, 6, 4, dtype=torch.float64)
    z = torch.linspace(-30, 30, 120_001, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean[..., None], (log_variance[..., None] / 2).exp())
    a = math.sqrt(math.gamma(1 / 8) / math.gamma(3 / 8))
    log_prior = -((z / a) ** 8) - math.log(2 * a * math.gamma(9 / 8))
    assert torch.trapezoid(log_prior.exp(), z).item() == pytest.approx(1)
    assert torch.trapezoid(z**2 * log_prior.exp(), z).item() == pytest.approx(1)
    log_posterior = posterior.log_prob(z)
    theirs = torch.trapezoid(log_posterior.exp() * (log_posterior - log_prior), z)
    torch.testing.assert_close(
        losses.kl_generalized_normal(mean, log_variance), theirs.sum(1).mean(), rtol=1e-5, atol=1e-5
    )


def test_rotating_independent_codes_raises_kl_generalized_normal_alone():
    codes = torch.rand(20_000, 2) * 3.2 - 1.6
    turned = codes @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]]) / math.sqrt(2)
    log_variance = torch.full_like(codes, -4.0)
    assert losses.kl_generalized_normal(turned, log_variance) > losses.kl_generalized_normal(codes, log_variance) + 0.2
    torch.testing.assert_close(losses.kl_normal(turned, log_variance), losses.kl_normal(codes, log_variance))


def test_the_likelihood_is_that_of_torch():
    image, target = torch.randn(2, 3, 1, 4, 4)
    theirs = -torch.distributions.Normal(image, 0.4).log_prob(target).sum((1, 2, 3)).mean()
    same = -torch.distributions.Normal(target, 0.4).log_prob(target).sum((1, 2, 3)).mean()
    torch.testing.assert_close(losses.gaussian_nll(image, target, 0.4), theirs - same, atol=1e-4, rtol=1e-4)


def test_r1_of_a_linear_critic_is_half_its_squared_slope():
    weight, images = torch.randn(3 * 4 * 4), torch.randn(5, 3, 4, 4).requires_grad_()
    logits = (images.flatten(1) @ weight)[:, None]
    torch.testing.assert_close(losses.gradient_penalty(logits, [images]), weight.square().sum() / 2)


def test_adversarial_losses_at_an_undecided_critic():
    undecided = torch.zeros(4, 1)
    torch.testing.assert_close(losses.generator_loss(undecided), torch.tensor(2.0).log())
    torch.testing.assert_close(losses.discriminator_loss(undecided, undecided), 2 * torch.tensor(2.0).log())
    assert losses.discriminator_loss(undecided + 5, undecided - 5) < 0.1


def test_dip_vae_i_penalises_covariances_and_variances_other_than_1():
    codes = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert losses.dip_vae_i_penalties(codes) == (0, 0)
    assert losses.dip_vae_i_penalties(codes + 3) == (0, 0)  # means do not matter
    assert losses.dip_vae_i_penalties(2 * codes) == (0, 2 * (4 - 1) ** 2)
    assert losses.dip_vae_i_penalties(codes[:, :1].repeat(1, 2)) == (2, 0)  # the same code twice: Cov_12 = Cov_21 = 1


MOVING = replace(SMALL, stages=(*STAGES[:2], StageConfig(6, 3, boxes=2, transform="circle")))


def test_transform_latents_follow_the_styles_of_their_stage():
    assert (MOVING.latents, MOVING.transforms, MOVING.angles) == (9, (5, 6, 7, 8), (7,))
    earlier = replace(MOVING, stages=(StageConfig(8, 2, transform="line"), *MOVING.stages[1:]))
    assert (earlier.transforms, earlier.angles) == ((2, 3, 4, 5, 9, 10, 11, 12), (11,))


@pytest.mark.parametrize(("stage", "count"), [(0, 1), (2, 1)])
@pytest.mark.parametrize("mask", ["open", "boxes"])
def test_a_stage_whose_transform_stays_still_is_what_it_was(stage, count, mask):
    plain = generator()
    stages = list(SMALL.stages)
    stages[stage] = replace(stages[stage], transform="line", transform_mask=mask)
    g = generator(stages=tuple(stages))
    g.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        g.stages[stage].transform.gain.zero_()
    first = sum(s.latents for s in SMALL.stages[: stage + 1])
    z = torch.randn(2, 5)
    longer = torch.cat([z[:, :first], torch.randn(2, 4), z[:, first:]], 1)
    torch.testing.assert_close(g(longer).image, plain(z).image, atol=1e-5, rtol=0)
    assert [m.shape[1] for m in g(longer).masks] == [2 + 4 * (stage == 0), 3 + 4 * (stage == 2)]


def test_sweeps_of_transform_latents_are_the_images_one_by_one():
    torch.manual_seed(0)
    g = Generator(MOVING, (32, 24), 3).eval()
    z = torch.randn(2, 1, 9).repeat(1, 6, 1)
    for moved in (2, 7, 8, slice(None)):
        swept = z.clone()
        swept[:, :, moved] += (
            torch.linspace(-1, 1, 6)[None, :, None] if moved == slice(None) else torch.linspace(-1, 1, 6)
        )
        one_by_one = g(swept.flatten(0, 1)).image.unflatten(0, (2, 6))
        torch.testing.assert_close(g.sweeps(swept), one_by_one, atol=1e-4, rtol=1e-4)


def test_a_turn_by_two_ends_of_the_circle_is_the_same_image():
    torch.manual_seed(0)
    g = Generator(MOVING, (32, 24), 3).eval()
    z = torch.randn(2, 9)
    ends = [torch.cat([z[:, :7], torch.full((2, 1), end), z[:, 8:]], 1) for end in (-2.0, 2.0, 0.5)]
    one, other, between = (g(end).image for end in ends)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    assert (one - between).abs().max() > 0.01


COLOURED = replace(SMALL, palette=4, palette_latents=3)


def test_palette_latents_come_last_and_colour_without_moving_parts():
    torch.manual_seed(0)
    g = Generator(COLOURED, (32, 24), 3).eval()
    z = torch.randn(2, 8)
    before = g(z)
    assert COLOURED.latents == 8 and before.masks[-1].shape == (2, 3, 32, 24)
    moved = z.clone()
    moved[:, 6] += 2
    after = g(moved)
    torch.testing.assert_close(after.masks[-1], before.masks[-1])  # parts do not depend on colours
    change = (after.image - before.image).abs().amax(1)
    assert (change > 1e-3).any()
    assert (change <= 2 * g.palette.colours[1].abs().max() * before.masks[-1][:, 1] * 3 + 1e-4).all()  # inside its mask


@pytest.mark.parametrize("head", ["rgb", "double"])
def test_a_palette_of_one_part_is_a_colour_added_everywhere(head):
    torch.manual_seed(0)
    g = Generator(replace(SMALL, palette=1, palette_latents=2, head=head), (64, 48), 3).eval()
    z = torch.randn(2, 7)
    moved = z.clone()
    moved[:, 5] += 1
    change = g(moved).image - g(z).image
    torch.testing.assert_close(
        change, g.palette.colours[0, 0][None, :, None, None].expand_as(change), atol=1e-5, rtol=1e-4
    )


def test_sweeps_with_a_palette_are_the_images_one_by_one():
    torch.manual_seed(0)
    g = Generator(COLOURED, (32, 24), 3).eval()
    for moved in ([0], [6], [3, 7]):
        z = torch.randn(2, 1, 8).repeat(1, 5, 1)
        z[:, :, moved] += torch.linspace(-1, 1, 5)[None, :, None]
        one_by_one = g(z.flatten(0, 1)).image.unflatten(0, (2, 5))
        torch.testing.assert_close(g.sweeps(z), one_by_one, atol=1e-4, rtol=1e-4)


def test_where_masks_are_open_a_control_acts_where_it_changes_the_image():
    torch.manual_seed(0)
    g = Generator(replace(COLOURED, mask="none"), (32, 24), 3).eval()
    with torch.no_grad():
        g.palette.colours[1] = 0  # this latent changes nothing
    masks = mean_masks(g, torch.randn(20, 8))
    assert masks.shape == (8, 32, 24) and masks.min() >= 0
    assert masks[[0, 5, 7]].max((1, 2)) == pytest.approx(1) and masks[6].max() == 0


def test_light_is_the_same_share_of_every_colour():
    """A shade multiplies: of two colours, counted from black, it leaves the ratio."""
    palette = Palette(2, 1, 3, shading=True)
    parts, light = torch.full((1, 2, 1, 2), -50.0), torch.tensor([[[[0.0, 1.5]]]])
    parts[:, 0] = 50.0  # all of the image is of the first part
    maps = torch.cat([parts, light, torch.zeros(1, 3, 1, 2)], 1)
    for z in (torch.zeros(1, 1), torch.ones(1, 1)):
        lit, shaded = (palette(maps, z) + 1)[0, :, 0].T
        torch.testing.assert_close(shaded / lit, torch.full((3,), math.exp(LIGHT_GAIN * 1.5)))
