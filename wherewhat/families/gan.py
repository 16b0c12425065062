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
from wherewhat.nn.encoder import Discriminator


def build(config: Config) -> dict[str, nn.Module]:
    """Generator, encoder (the paper's Q) and discriminator."""
    discriminator = settings(config).discriminator
    return {
        "generator": build_generator(config),
        "encoder": build_encoder(config, variational=False),
        "discriminator": Discriminator(discriminator, config.size, config.data.channels),
    }


def discriminator_terms(step: Step) -> Terms:
    """Logistic loss on real and generated images; every r1_interval steps the R1 penalty."""
    c, d = settings(step.config), step.networks["discriminator"]
    with torch.no_grad(), step.autocast():
        fake = step.generator(step.sample_latents(LATENTS_D), step.sample_noise(NOISE_D)).image
    penalise = (step.images_seen // step.config.batch) % c.r1_interval == 0
    real = step.real.detach().requires_grad_(penalise)
    with step.autocast():
        logits_real, logits_fake = d(real), d(fake)
    terms = {"d_loss": losses.discriminator_loss(logits_real, logits_fake)}
    if penalise:
        terms["r1"] = losses.r1_penalty(logits_real, real)
    return terms


def generator_terms(step: Step) -> Terms:
    """Logistic loss of the generator; perceptual simplicity and InfoGAN's loss, by which generator and encoder together
    make latents readable.  If both weights are 0 the encoder learns to read the images and changes none."""
    c, d = settings(step.config), step.networks["discriminator"]
    z, noise = step.sample_latents(LATENTS), step.sample_noise(NOISE)
    terms: Terms = {}
    with frozen(d), step.autocast():
        if c.simplicity_weight:
            perturbed, sizes = (step.local_shard(t) for t in sample_perturbation(step))
            z_perturbed = z + perturbed * sizes
            images = step.generator(torch.cat([z, z_perturbed]), tuple(torch.cat([n, n]) for n in noise)).image
            codes, codes_perturbed = step.encoder(images).chunk(2)
            simplicity = losses.perceptual_simplicity_loss(z, z_perturbed, codes, codes_perturbed, perturbed)
            terms["simplicity"] = simplicity
        else:
            images = step.generator(z, noise).image
            codes = step.encoder(images if c.infogan_weight else images.detach())
        terms["infogan"] = losses.infogan_loss(z, codes)
        g_loss = losses.generator_loss(d(images[: len(z)]))
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
        "g_loss": 1.0,
        "infogan": 1.0 if encoder_alone else c.infogan_weight,
        "simplicity": c.simplicity_weight,
    }


def settings(config: Config) -> GanConfig:
    """This family's settings."""
    assert config.gan is not None
    return config.gan


GAN = Family(
    name="gan",
    build=build,
    phases=lambda config: (
        Phase("discriminator", ("discriminator",), discriminator_terms),
        Phase("generator", ("generator", "encoder"), generator_terms),
    ),
    weights=weights,
    encodes_images=False,
    objective_compares=False,
    controls=lambda config: None,
)
