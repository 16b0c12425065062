"""The paper's GAN: perceptual simplicity and spatial constriction (PS-SC), with InfoGAN and a plain GAN as ablations.

Each step trains the discriminator, then generator and encoder together.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wherewhat import losses
from wherewhat.config import Config, GanConfig
from wherewhat.families.family import (
    LATENTS,
    LATENTS_D,
    NOISE,
    NOISE_D,
    PERTURBATIONS,
    Family,
    Phase,
    Step,
    Terms,
    build_encoder,
    build_generator,
    frozen,
)  # fmt: skip
from wherewhat.metrics.distance import Lpips
from wherewhat.metrics.networks import NETWORKS
from wherewhat.nn.encoder import Discriminator, FeatureDiscriminator

HEAD_WIDTH = 64
"""channels of each head of a discriminator on frozen maps"""


def build(config: Config) -> dict[str, nn.Module]:
    """Generator, encoder (the paper's Q) and discriminator."""
    return {
        "generator": build_generator(config),
        "encoder": build_encoder(config, variational=False),
        "discriminator": build_discriminator(config),
    }


def build_discriminator(config: Config) -> nn.Module:
    """The untrained discriminator of a configuration."""
    c = settings(config)
    if c.features == "pixels":
        return Discriminator(c.discriminator, config.size, config.data.channels)
    return FeatureDiscriminator([layer.width for layer in NETWORKS[c.features] if layer.tap], HEAD_WIDTH)


def seen_by_discriminator(step: Step, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
    """The images themselves, or their maps in the frozen network, with channels of about unit variance."""
    if settings(step.config).features == "pixels":
        return (images,)
    assert isinstance(step.lpips, Lpips)
    units = step.real_units if images is step.real else step.lpips.units(images)
    return tuple(unit * unit.shape[1] ** 0.5 for unit in units)


def discriminator_terms(step: Step, z: Float[Tensor, "b z"]) -> Terms:
    """Loss on real images and those of these latents; every r1_interval steps the gradient penalty."""
    with torch.no_grad(), step.autocast():
        fake = step.generator.images(z, step.sample_noise(NOISE_D))
    return told_apart(step, fake)


def told_apart(step: Step, fake: Float[Tensor, "b c h w"]) -> Terms:
    """What the discriminator minimises, given these generated images."""
    c, d = settings(step.config), step.networks["discriminator"]
    relativistic = c.loss == "relativistic"
    penalise = (step.images_seen // step.config.batch) % c.r1_interval == 0
    with torch.no_grad():
        real_seen, fake_seen = seen_by_discriminator(step, step.real), seen_by_discriminator(step, fake)
    real_seen = tuple(x.detach().requires_grad_(penalise) for x in real_seen)
    fake_seen = tuple(x.detach().requires_grad_(penalise and relativistic) for x in fake_seen)
    with step.autocast():
        real_logits, fake_logits = d(*real_seen), d(*fake_seen)
    if relativistic:
        terms = {"d_loss": losses.relativistic_loss(real_logits, fake_logits)}
    else:
        terms = {"d_loss": losses.discriminator_loss(real_logits, fake_logits)}
    if penalise:
        terms["r1"] = losses.gradient_penalty(real_logits, real_seen)
    if penalise and relativistic:
        terms["r2"] = losses.gradient_penalty(fake_logits, fake_seen)
    return terms


def adversarial_loss(step: Step, fake: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """What the generator minimises; the discriminator should be frozen."""
    d = step.networks["discriminator"]
    logits = d(*seen_by_discriminator(step, fake))
    if settings(step.config).loss == "logistic":
        return losses.generator_loss(logits)
    with torch.no_grad():
        real_logits = d(*seen_by_discriminator(step, step.real))
    return losses.relativistic_loss(logits, real_logits)


def generator_terms(step: Step, z: Float[Tensor, "b z"]) -> Terms:
    """Adversarial loss of images of these latents; perceptual simplicity and InfoGAN's loss, by which generator and
    encoder together make latents readable; visibility, by which no latent hides in changes that nobody sees.  Without
    perceptual simplicity and InfoGAN's loss the encoder learns to read the images and changes none."""
    c = settings(step.config)
    noise = step.sample_noise(NOISE)
    terms: Terms = {}
    with frozen(step.networks["discriminator"]), step.autocast():
        if c.simplicity_weight:
            perturbed, sizes = (step.local_shard(t) for t in sample_perturbation(step))
            z_perturbed = z + perturbed * sizes
            images = step.generator.images(torch.cat([z, z_perturbed]), tuple(torch.cat([n, n]) for n in noise))
            plain, moved = images.chunk(2)
            codes, codes_perturbed = step.encoder(images).chunk(2)
            simplicity = losses.perceptual_simplicity_loss(z, z_perturbed, codes, codes_perturbed, perturbed)
            terms["simplicity"] = simplicity
            if c.visibility_weight:
                terms["visibility"] = losses.visibility_loss(plain, moved, sizes, c.visible_change)
        else:
            images = step.generator.images(z, noise)
            codes = step.encoder(images if c.infogan_weight else images.detach())
        terms["infogan"] = losses.infogan_loss(z, codes)
        g_loss = adversarial_loss(step, images[: len(z)])
    return {"g_loss": g_loss, **terms}


def sample_perturbation(step: Step) -> tuple[Bool[Tensor, "batch z"], Float[Tensor, "batch 1"]]:
    """For each image of the whole batch the one latent that is perturbed, and by how much."""
    c, rng, device = settings(step.config), step.rng(PERTURBATIONS), step.real.device
    batch, latents = step.config.batch, step.config.latents
    chosen = torch.randint(latents, (batch, 1), generator=rng, device=device)
    perturbed = torch.arange(latents, device=device) == chosen
    if c.perturbation == "fixed":
        return perturbed, torch.full((batch, 1), c.perturbation_std, device=device)
    return perturbed, c.perturbation_std * torch.randn(batch, 1, generator=rng, device=device)


def weights(config: Config, images_seen: int) -> dict[str, float]:
    """Of the terms of both phases."""
    c = settings(config)
    encoder_alone = not (c.simplicity_weight or c.infogan_weight)
    return {
        "d_loss": 1.0,
        "r1": c.r1_gamma * c.r1_interval,
        "r2": c.r1_gamma * c.r1_interval if c.loss == "relativistic" else 0.0,
        "g_loss": c.adversarial_weight,
        "infogan": 1.0 if encoder_alone else c.infogan_weight,
        "simplicity": c.simplicity_weight,
        "visibility": c.visibility_weight,
    }


def settings(config: Config) -> GanConfig:
    """This family's settings."""
    assert config.gan is not None
    return config.gan


GAN = Family(
    name="gan",
    build=build,
    phases=lambda config: (
        Phase("discriminator", ("discriminator",), lambda s: discriminator_terms(s, s.sample_latents(LATENTS_D))),
        Phase("generator", ("generator", "encoder"), lambda s: generator_terms(s, s.sample_latents(LATENTS))),
    ),
    weights=weights,
    encodes_images=False,
    objective_compares=False,
    controls=lambda config: None,
    wants_lpips=lambda config: settings(config).features != "pixels",
)
