"""An autoencoder with an adversary: the terms of the constricted autoencoder and of the paper's GAN, of one generator.

The autoencoder finds the controls and keeps pictures invertible; the discriminator makes every mixture of them look
real; perceptual simplicity, if it has a weight, makes mixtures readable.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.config import Config
from wherewhat.families import autoencoder, gan
from wherewhat.families.family import (
    LATENTS,
    LATENTS_D,
    NOISE,
    PERMUTATIONS,
    Family,
    Phase,
    Step,
    Terms,
    build_encoder,
    build_generator,
    frozen,
)  # fmt: skip

MIXED = 8
"""images whose latents are mixed with each other: few, so that it does not matter how a batch is shared"""


def build(config: Config) -> dict[str, nn.Module]:
    """Generator, variational encoder and discriminator."""
    return {
        "generator": build_generator(config),
        "encoder": build_encoder(config, variational=True),
        "discriminator": gan.build_discriminator(config),
    }


def recombined(step: Step, purpose: int) -> Float[Tensor, "b z"]:
    """Latents of which each is that of one of some real images: if they are independent controls, any such mixture is a
    picture like the others (as DAVA demands, Estermann & Wattenhofer 2023).  The encoder learns nothing from them."""
    with torch.no_grad(), step.autocast():
        mean, log_variance = step.encoder.posterior(step.real)
    z = mean + (log_variance / 2).exp() * step.sample_normal(purpose)
    together, latents = math.gcd(MIXED, len(z)), z.shape[1]
    drawn = torch.rand(step.config.batch, latents, generator=step.rng(PERMUTATIONS), device=z.device)
    order = step.local_shard(drawn).view(-1, together, latents).argsort(1)
    return z.view(-1, together, latents).gather(1, order).flatten(0, 1)


def discriminator_terms(step: Step) -> Terms:
    """Real images against those of recombined latents, once the autoencoder has learnt alone for start_images."""
    if step.images_seen < gan.settings(step.config).start_images:
        return {}
    return gan.discriminator_terms(step, recombined(step, LATENTS_D))


def generator_terms(step: Step) -> Terms:
    """Those of the autoencoder, and after start_images those of the GAN."""
    c, found = gan.settings(step.config), autoencoder.terms(step)
    if step.images_seen < c.start_images:
        return found
    z = recombined(step, LATENTS)
    if c.simplicity_weight or c.infogan_weight:
        return found | gan.generator_terms(step, z)
    with frozen(step.networks["discriminator"]), step.autocast():
        return found | {"g_loss": gan.adversarial_loss(step, step.generator.images(z, step.sample_noise(NOISE)))}


def weights(config: Config, images_seen: int) -> dict[str, float]:
    """Of the terms of both.  Images of the prior teach the encoder only where it is asked for."""
    infogan = {"infogan": gan.settings(config).infogan_weight}
    return autoencoder.weights(config, images_seen) | gan.weights(config, images_seen) | infogan


ADVERSARIAL = Family(
    name="adversarial",
    build=build,
    phases=lambda config: (
        Phase("discriminator", ("discriminator",), discriminator_terms),
        Phase("generator", ("generator", "encoder"), generator_terms),
    ),
    weights=weights,
    encodes_images=True,
    objective_compares=False,
    controls=autoencoder.how_controls,
    wants_lpips=lambda config: autoencoder.AUTOENCODER.wants_lpips(config) or gan.GAN.wants_lpips(config),
)
