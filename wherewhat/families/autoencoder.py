"""The constricted autoencoder: an encoder, and the generator with spatial constriction as its decoder."""

from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from wherewhat import losses
from wherewhat.config import AutoencoderConfig, Config
from wherewhat.families.family import NOISE, POSTERIOR, Family, Phase, Step, Terms, build_encoder, build_generator
from wherewhat.nn.transform_encoder import TransformEncoder
from wherewhat.priors import PRIORS

TURN_WEIGHT = 100.0
"""pull of an encoder's turn towards the one that its search finds, in nats"""


def build(config: Config) -> dict[str, nn.Module]:
    """Generator (decoder) and variational encoder."""
    return {"generator": build_generator(config), "encoder": build_encoder(config, variational=True)}


class Reconstruction(NamedTuple):
    """Images decoded from samples of their posteriors, and the posteriors."""

    image: Float[Tensor, "b c h w"]
    mean: Float[Tensor, "b z"]
    log_variance: Float[Tensor, "b z"]
    turn: Float[Tensor, " b"] | None
    """what the encoder's search added to the turn, where it searches"""


def reconstruct(step: Step) -> Reconstruction:
    """Encode and decode the real images."""
    encoder, turn = step.encoder, None
    with step.autocast():
        mean, log_variance = encoder.posterior(step.real)
        z = mean + (log_variance / 2).exp() * step.sample_normal(POSTERIOR)
        if isinstance(encoder, TransformEncoder) and encoder.circle:
            turn = encoder.best_turn(step.real, z)
            z = encoder.with_turn(z, turn)
        image = step.generator.images(z, step.sample_noise(NOISE))
    return Reconstruction(image, mean, log_variance, turn)


def terms(step: Step) -> Terms:
    """Negative log-likelihood of the images and KL divergence of the posterior to the prior, in nats an image; LPIPS
    between images and reconstructions if it has a weight."""
    c, prior, encoder = settings(step.config), PRIORS[step.config.prior], step.encoder
    image, mean, log_variance, turn = reconstruct(step)
    found = {
        "reconstruction": losses.gaussian_nll(image, step.real, c.sigma),
        "kl": prior.divergence(mean, log_variance, step.config.generator.angles),
    }
    if turn is not None and isinstance(encoder, TransformEncoder):
        found["turn"] = losses.turn_loss(mean[:, encoder.first + 2], turn)
    if c.lpips_weight:
        assert step.lpips is not None
        found["lpips"] = step.lpips(image, step.real).mean()
    return found


def weights(config: Config, images_seen: int) -> dict[str, float]:
    """Of the terms, after so many images."""
    c = settings(config)
    turn_weight = TURN_WEIGHT if config.generator.angles else 0.0
    return {"reconstruction": 1.0, "kl": beta_schedule(c, images_seen), "lpips": c.lpips_weight, "turn": turn_weight}


def beta_schedule(c: AutoencoderConfig, images_seen: int) -> float:
    """Weight of the KL divergence: from beta_init it decays exponentially to beta, then stays."""
    if not c.beta_init or images_seen >= c.beta_anneal_images:
        return c.beta
    return c.beta_init * (c.beta / c.beta_init) ** (images_seen / c.beta_anneal_images)


def settings(config: Config) -> AutoencoderConfig:
    """This family's settings."""
    assert config.autoencoder is not None
    return config.autoencoder


def how_controls(config: Config) -> Any:
    """As set."""
    return settings(config).controls


AUTOENCODER = Family(
    name="autoencoder",
    build=build,
    phases=lambda config: (Phase("autoencoder", ("generator", "encoder"), terms),),
    weights=weights,
    encodes_images=True,
    objective_compares=True,
    controls=how_controls,
    wants_lpips=lambda config: settings(config).lpips_weight > 0,
)
