"""An autoencoder with an adversary: the terms of the constricted autoencoder and of the paper's GAN, of one generator.

The autoencoder finds the controls and keeps pictures invertible; the discriminator makes samples look real, and
perceptual simplicity makes their latents readable.
"""

from torch import nn

from wherewhat.config import Config
from wherewhat.families import autoencoder, gan
from wherewhat.families.family import Family, Phase, Step, Terms, build_encoder, build_generator


def build(config: Config) -> dict[str, nn.Module]:
    """Generator, variational encoder and discriminator."""
    return {
        "generator": build_generator(config),
        "encoder": build_encoder(config, variational=True),
        "discriminator": gan.build_discriminator(config),
    }


def discriminator_terms(step: Step) -> Terms:
    """Those of the GAN, once the autoencoder has learnt alone for start_images."""
    if step.images_seen < gan.settings(step.config).start_images:
        return {}
    return gan.discriminator_terms(step)


def generator_terms(step: Step) -> Terms:
    """Those of the autoencoder, and after start_images those of the GAN."""
    found = autoencoder.terms(step)
    if step.images_seen < gan.settings(step.config).start_images:
        return found
    return found | gan.generator_terms(step)


def weights(config: Config, images_seen: int) -> dict[str, float]:
    """Of the terms of both."""
    return autoencoder.weights(config, images_seen) | gan.weights(config, images_seen)


ADVERSARIAL = Family(
    name="adversarial",
    build=build,
    phases=(
        Phase("discriminator", ("discriminator",), discriminator_terms),
        Phase("generator", ("generator", "encoder"), generator_terms),
    ),
    weights=weights,
    encodes_images=True,
    objective_compares=False,
    controls=autoencoder.how_controls,
    wants_lpips=lambda config: autoencoder.AUTOENCODER.wants_lpips(config) or gan.GAN.wants_lpips(config),
)
