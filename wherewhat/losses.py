"""Losses: tensors in, a scalar out, the mean over the batch.  b batch, z latents, c channels, h w space.

The caller weighs and logs them.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def generator_loss(fake: Float[Tensor, "b heads"]) -> Float[Tensor, ""]:
    """Non-saturating logistic loss of the generator, −log sigmoid(D(G(z))) (Goodfellow et al. 2014)."""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Float[Tensor, "b heads"], fake: Float[Tensor, "b heads"]) -> Float[Tensor, ""]:
    """Logistic loss of the discriminator, −log sigmoid(D(x)) − log(1 − sigmoid(D(G(z)))), from logits."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def relativistic_loss(better: Float[Tensor, "b heads"], worse: Float[Tensor, "b heads"]) -> Float[Tensor, ""]:
    """−log sigmoid(D(a) − D(b)) for pairs of logits (Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024).  The
    discriminator minimises it with a real and b generated, the generator the other way round."""
    return F.softplus(worse - better).mean()


def gradient_penalty(logits: Float[Tensor, "b heads"], inputs: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, ""]:
    """½ ‖∂D/∂x‖² over all maps of the inputs x, which must require gradients: R1 at real images (Mescheder et al.
    2018), R2 at generated ones."""
    slopes = torch.autograd.grad(logits.sum(), tuple(inputs), create_graph=True)
    return sum((slope.float().square().sum((1, 2, 3)).mean() for slope in slopes), logits.new_zeros(())) / 2


def perceptual_simplicity_loss(
    z: Float[Tensor, "b z"],
    z_perturbed: Float[Tensor, "b z"],
    codes: Float[Tensor, "b z"],
    codes_perturbed: Float[Tensor, "b z"],
    perturbed: Bool[Tensor, "b z"],
) -> Float[Tensor, ""]:
    """Perceptual simplicity (section 3.2): ½ Σ (z − ẑ)² + ½ Σ (z′ − ẑ′)².  The perturbed latent is predicted from each
    image by itself, all others by the mean of the codes of the two images."""
    shared = (codes + codes_perturbed) / 2
    error = torch.where(perturbed, codes, shared) - z
    error_perturbed = torch.where(perturbed, codes_perturbed, shared) - z_perturbed
    return (error.square().sum(1) + error_perturbed.square().sum(1)).mean() / 2


def infogan_loss(z: Float[Tensor, "b z"], codes: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
    """InfoGAN (Chen et al. 2016) for a Gaussian Q of fixed variance: Σ (z − Q(G(z)))² over latents."""
    return (z - codes).square().sum(1).mean()


def gaussian_nll(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, ""]:
    """−log N(target; image, σ²) up to a constant, summed over pixels: nats an image."""
    return (image - target).square().sum((1, 2, 3)).mean() / (2 * sigma**2)


def kl_normal(mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
    """KL(N(mean, variance) ‖ N(0, 1)), summed over latents: nats an image (Kingma & Welling 2014)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2


def kl_generalized_normal(mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
    """KL(N(mean, variance) ‖ p), summed over latents: nats an image, for p(z) ∝ exp(−(z/a)⁸) of unit variance.

    p is nearly uniform within ±1.5.  A product of normal densities is invariant under rotation; a product of these is
    not, so rotating latents into each other raises the divergence.
    """
    m, v = mean.square(), log_variance.exp()
    eighth = m**4 + 28 * m**3 * v + 210 * m**2 * v**2 + 420 * m * v**3 + 105 * v**4  # E[z⁸] of the posterior
    a = math.sqrt(math.gamma(1 / 8) / math.gamma(3 / 8))
    entropy = (math.log(2 * math.pi * math.e) + log_variance) / 2
    return (eighth / a**8 + math.log(2 * a * math.gamma(1 + 1 / 8)) - entropy).sum(1).mean()


def kl_circle(log_variance: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
    """KL(N(·, variance) ‖ uniform on a circle of length 4), summed over latents: nats an image.  A posterior as wide
    as the circle costs nothing."""
    entropy = (math.log(2 * math.pi * math.e) + log_variance) / 2
    return F.relu(math.log(4) - entropy).sum(1).mean()


def turn_loss(angle: Float[Tensor, " b"], further: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """1 − cos of what is left to turn, for angles of ±2 half a turn: pulls a predicted angle to angle + further."""
    target = (angle + further).detach()
    return (1 - torch.cos((angle - target) * (math.pi / 2))).mean()


def dip_vae_i_penalties(mean: Float[Tensor, "b z"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """DIP-VAE-I (Kumar et al. 2018, equation 6): Σ_{i≠j} Cov²_ij and Σ_i (Cov_ii − 1)², where Cov is the covariance of
    posterior means over the batch."""
    centred = mean - mean.mean(0)
    covariance = centred.T @ centred / len(mean)
    variances = covariance.diagonal()
    return covariance.square().sum() - variances.square().sum(), (variances - 1).square().sum()
