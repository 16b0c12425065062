"""Families of models, one file each; FAMILIES is the registry."""

from wherewhat.config import Config
from wherewhat.families.adversarial import ADVERSARIAL
from wherewhat.families.autoencoder import AUTOENCODER
from wherewhat.families.family import Family
from wherewhat.families.gan import GAN
from wherewhat.families.vae import VAE

FAMILIES = {family.name: family for family in (ADVERSARIAL, AUTOENCODER, GAN, VAE)}


def family_of(config: Config) -> Family:
    """The family that a configuration has settings for."""
    if config.gan and config.autoencoder:
        return ADVERSARIAL
    return next(family for name, family in FAMILIES.items() if getattr(config, name, None) is not None)
