"""Variational autoencoders of the literature, as baselines: one encoder and decoder, an objective by name.

To add one, write its loss in losses.py and give it a line in OBJECTIVES.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from wherewhat import losses
from wherewhat.config import Config, VaeConfig
from wherewhat.errors import UserError, did_you_mean
from wherewhat.families.family import NOISE, POSTERIOR, Family, Phase, Step, Terms, build_encoder, build_generator
from wherewhat.priors import PRIORS

Regularizer = Callable[[Float[Tensor, "b z"], Float[Tensor, "b z"]], Terms]
"""means and log-variances of the posterior → named terms"""


class Objective(NamedTuple):
    """What is added to the reconstruction loss."""

    weights: Mapping[str, float]
    """of each term, as published, unless the configuration says otherwise"""
    regularizer: Regularizer | None = None
    """terms beside the KL divergence"""


def dip_vae_i(mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]) -> Terms:
    """Covariances of posterior means, and deviations of their variances from 1."""
    off_diagonal, diagonal = losses.dip_vae_i_penalties(mean)
    return {"dip_off_diagonal": off_diagonal, "dip_diagonal": diagonal}


OBJECTIVES = {
    "beta_vae": Objective({"kl": 4.0}),
    "dip_vae_i": Objective({"kl": 1.0, "dip_off_diagonal": 10.0, "dip_diagonal": 100.0}, dip_vae_i),
}
"""by name: β-VAE (Higgins et al. 2017), DIP-VAE-I (Kumar et al. 2018, λ_d = 10 λ_od as in disentanglement_lib)"""


def build(config: Config) -> dict[str, nn.Module]:
    """Generator (decoder) and variational encoder.  Raises UserError for an objective or weight that does not exist."""
    c = settings(config)
    if c.objective not in OBJECTIVES:
        raise UserError(f"vae.objective: there is no {c.objective}{did_you_mean(c.objective, list(OBJECTIVES))}")
    known = list(OBJECTIVES[c.objective].weights)
    for name in c.weights:
        if name not in known:
            raise UserError(f"vae.weights: {c.objective} has no weight {name}{did_you_mean(name, known)}")
    return {"generator": build_generator(config), "encoder": build_encoder(config, variational=True)}


def terms(step: Step) -> Terms:
    """Negative log-likelihood, KL divergence, and what the objective adds."""
    c, prior = settings(step.config), PRIORS[step.config.prior]
    with step.autocast():
        mean, log_variance = step.encoder.posterior(step.real)
        z = mean + (log_variance / 2).exp() * step.sample_normal(POSTERIOR)
        image = step.generator(z, step.sample_noise(NOISE)).image
    regularizer = OBJECTIVES[c.objective].regularizer
    return {
        "reconstruction": losses.gaussian_nll(image, step.real, c.sigma),
        "kl": prior.divergence(mean, log_variance),
        **(regularizer(mean, log_variance) if regularizer else {}),
    }


def weights(config: Config, images_seen: int) -> dict[str, float]:
    """Of the terms."""
    c = settings(config)
    return {"reconstruction": 1.0, "kl": 1.0, **OBJECTIVES[c.objective].weights, **c.weights}


def settings(config: Config) -> VaeConfig:
    """This family's settings."""
    assert config.vae is not None
    return config.vae


VAE = Family(
    name="vae",
    build=build,
    phases=(Phase("vae", ("generator", "encoder"), terms),),
    weights=weights,
    encodes_images=True,
    objective_compares=True,
    controls=lambda config: None,
)
