"""An autoencoder with an adversary: the terms of the constricted autoencoder and of the paper's GAN, of one generator.

The autoencoder finds the controls and keeps pictures invertible; the discriminator makes samples look real, and
perceptual simplicity makes their latents readable.
"""

from torch import nn

from wherewhat.config import Config
from wherewhat.families import autoencoder, gan
from wherewhat.families.family import (
    LATENTS,
    NOISE,
    Family,
    Phase,
    Step,
    Terms,
    build_encoder,
    build_generator,
    frozen,
)  # fmt: skip


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
    return gan.discriminator_terms(step)


def generator_terms(step: Step) -> Terms:
    """Those of the autoencoder, and after start_images those of the GAN."""
    c, found = gan.settings(step.config), autoencoder.terms(step)
    if step.images_seen < c.start_images:
        return found
    if c.simplicity_weight or c.infogan_weight:
        return found | gan.generator_terms(step)
    with frozen(step.networks["discriminator"]), step.autocast():
        fake = step.generator.images(step.sample_latents(LATENTS), step.sample_noise(NOISE))
        return found | {"g_loss": gan.adversarial_loss(step, fake)}


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
