"""Variational autoencoders of the literature, as baselines: one encoder and decoder, an objective by name.

To add one, write its loss in losses.py and give it a line in OBJECTIVES.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat import losses
from wherewhat.config import Config, OptimizerConfig, VaeConfig
from wherewhat.errors import UserError, did_you_mean
from wherewhat.families.family import (
    NOISE,
    PERMUTATIONS,
    POSTERIOR,
    Family,
    Phase,
    Step,
    Terms,
    build_encoder,
    build_generator,
    frozen,
)  # fmt: skip
from wherewhat.nn.encoder import CodeDiscriminator
from wherewhat.priors import PRIORS


class Codes(NamedTuple):
    """The posterior of a batch, and one sample of it."""

    mean: Float[Tensor, "b z"]
    log_variance: Float[Tensor, "b z"]
    z: Float[Tensor, "b z"]


class Objective(NamedTuple):
    """What is added to the reconstruction loss."""

    weights: Mapping[str, float]
    """of each term, as published, unless the configuration says otherwise"""
    regularizer: Callable[[Step, Codes], Terms] | None = None
    """terms beside the KL divergence"""
    adversarial: bool = False
    """a discriminator of codes is trained in a phase of its own"""


def annealed_vae(step: Step, codes: Codes) -> Terms:
    """Distance of the KL divergence from a capacity that grows linearly with the images seen."""
    c = settings(step.config)
    capacity = c.capacity * min(1.0, step.images_seen / c.capacity_images)
    kl = PRIORS[step.config.prior].divergence(codes.mean, codes.log_variance)
    return {"capacity": losses.capacity_loss(kl, capacity)}


def factor_vae(step: Step, codes: Codes) -> Terms:
    """Total correlation of codes, by the discriminator's density ratio."""
    discriminator = step.networks["code_discriminator"]
    with frozen(discriminator), step.autocast():
        return {"total_correlation": losses.density_ratio_total_correlation(discriminator(codes.z))}


def beta_tcvae(step: Step, codes: Codes) -> Terms:
    """Total correlation of codes, estimated within the batch."""
    return {"total_correlation": losses.minibatch_total_correlation(codes.z, codes.mean, codes.log_variance)}


def dip_vae_i(step: Step, codes: Codes) -> Terms:
    """Covariances of posterior means, and deviations of their variances from 1."""
    off_diagonal, diagonal = losses.dip_vae_i_penalties(codes.mean)
    return {"dip_off_diagonal": off_diagonal, "dip_diagonal": diagonal}


def dip_vae_ii(step: Step, codes: Codes) -> Terms:
    """Covariances of samples of the posterior, and deviations of their variances from 1."""
    off_diagonal, diagonal = losses.dip_vae_ii_penalties(codes.mean, codes.log_variance)
    return {"dip_off_diagonal": off_diagonal, "dip_diagonal": diagonal}


OBJECTIVES = {
    "beta_vae": Objective({"kl": 4.0}),
    "annealed_vae": Objective({"kl": 0.0, "capacity": 1000.0}, annealed_vae),
    "factor_vae": Objective({"kl": 1.0, "total_correlation": 30.0}, factor_vae, adversarial=True),
    "beta_tcvae": Objective({"kl": 1.0, "total_correlation": 5.0}, beta_tcvae),
    "dip_vae_i": Objective({"kl": 1.0, "dip_off_diagonal": 10.0, "dip_diagonal": 100.0}, dip_vae_i),
    "dip_vae_ii": Objective({"kl": 1.0, "dip_off_diagonal": 10.0, "dip_diagonal": 10.0}, dip_vae_ii),
}
"""by name: β-VAE (Higgins et al. 2017), AnnealedVAE (Burgess et al. 2018), FactorVAE (Kim & Mnih 2018), β-TCVAE (Chen
et al. 2018; β is 1 + the weight of the total correlation, here 6), DIP-VAE-I and -II (Kumar et al. 2018)"""


def build(config: Config) -> dict[str, nn.Module]:
    """Generator (decoder), variational encoder, and FactorVAE's discriminator of codes.  Raises UserError for an
    objective or weight that does not exist."""
    c = settings(config)
    if c.objective not in OBJECTIVES:
        raise UserError(f"vae.objective: there is no {c.objective}{did_you_mean(c.objective, list(OBJECTIVES))}")
    known = list(OBJECTIVES[c.objective].weights)
    for name in c.weights:
        if name not in known:
            raise UserError(f"vae.weights: {c.objective} has no weight {name}{did_you_mean(name, known)}")
    networks: dict[str, nn.Module] = {
        "generator": build_generator(config),
        "encoder": build_encoder(config, variational=True),
    }
    if OBJECTIVES[c.objective].adversarial:
        hidden = c.discriminator_layers, c.discriminator_units
        networks["code_discriminator"] = CodeDiscriminator(config.latents, *hidden)
    return networks


def sample_codes(step: Step) -> Codes:
    """The posterior of the step's images, and the step's sample of it."""
    mean, log_variance = step.encoder.posterior(step.real)
    return Codes(mean, log_variance, mean + (log_variance / 2).exp() * step.sample_normal(POSTERIOR))


def terms(step: Step) -> Terms:
    """Negative log-likelihood, KL divergence, and what the objective adds."""
    c, prior = settings(step.config), PRIORS[step.config.prior]
    with step.autocast():
        codes = sample_codes(step)
        decoded = step.generator.unsquashed(codes.z, step.sample_noise(NOISE))
    if step.config.generator.output == "logits":
        reconstruction = losses.bernoulli_nll(decoded, step.real)
    else:
        reconstruction = losses.gaussian_nll(decoded, step.real, c.sigma)
    regularizer = OBJECTIVES[c.objective].regularizer
    return {
        "reconstruction": reconstruction,
        "kl": prior.divergence(codes.mean, codes.log_variance),
        **(regularizer(step, codes) if regularizer else {}),
    }


def discriminator_terms(step: Step) -> Terms:
    """Logistic loss on codes of the images and the same codes permuted."""
    discriminator = step.networks["code_discriminator"]
    with torch.no_grad(), step.autocast():
        z = sample_codes(step).z
    permuted = losses.permute_codes(z, step.rng(PERMUTATIONS))
    with step.autocast():
        return {"code_d_loss": losses.discriminator_loss(discriminator(z), discriminator(permuted))}


def phases(config: Config) -> tuple[Phase, ...]:
    """Encoder and decoder; then, for FactorVAE, the discriminator of codes."""
    c = settings(config)
    found = Phase("vae", ("generator", "encoder"), terms)
    if c.objective not in OBJECTIVES or not OBJECTIVES[c.objective].adversarial:
        return (found,)
    adam = OptimizerConfig(lr=c.discriminator_lr, betas=(0.5, 0.9))
    return found, Phase("code_discriminator", ("code_discriminator",), discriminator_terms, adam)


def weights(config: Config, images_seen: int) -> dict[str, float]:
    """Of the terms of both phases."""
    c = settings(config)
    objective = OBJECTIVES[c.objective]
    adversarial = {"code_d_loss": 1.0} if objective.adversarial else {}
    return {"reconstruction": 1.0, "kl": 1.0, **objective.weights, **c.weights, **adversarial}


def settings(config: Config) -> VaeConfig:
    """This family's settings."""
    assert config.vae is not None
    return config.vae


VAE = Family(
    name="vae",
    build=build,
    phases=phases,
    weights=weights,
    encodes_images=True,
    objective_compares=True,
    controls=lambda config: None,
)
