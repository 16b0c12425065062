"""An autoencoder with an adversary: the terms of the constricted autoencoder and of the paper's GAN, of one generator.

The autoencoder finds the controls and keeps pictures invertible; the discriminator makes samples look real, and
perceptual simplicity makes their latents readable.
"""

import torch
from torch import nn

from wherewhat.config import Config
from wherewhat.families import autoencoder, gan
from wherewhat.families.family import Family, Phase, Step, Terms, build_encoder, build_generator, frozen


def build(config: Config) -> dict[str, nn.Module]:
    """Generator, variational encoder and discriminator."""
    return {
        "generator": build_generator(config),
        "encoder": build_encoder(config, variational=True),
        "discriminator": gan.build_discriminator(config),
    }


def discriminator_terms(step: Step) -> Terms:
    """Those of the GAN, once the autoencoder has learnt alone for start_images."""
    c = gan.settings(step.config)
    if step.images_seen < c.start_images:
        return {}
    if c.fakes == "prior":
        return gan.discriminator_terms(step)
    with torch.no_grad():
        made = autoencoder.reconstruct(step)
    return gan.told_apart(step, made.image)


def generator_terms(step: Step) -> Terms:
    """Those of the autoencoder, and after start_images those of the GAN."""
    c, made = gan.settings(step.config), autoencoder.reconstruct(step)
    found = autoencoder.terms(step, made)
    if step.images_seen < c.start_images:
        return found
    if c.fakes == "prior":
        return found | gan.generator_terms(step)
    with frozen(step.networks["discriminator"]), step.autocast():
        return found | {"g_loss": gan.adversarial_loss(step, made.image)}


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
