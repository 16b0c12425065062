"""Losses: tensors in, a scalar out, the mean over the batch.  b batch, z latents.  The caller weighs and logs."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def fooling(fake: Float[Tensor, "b 1"]) -> Float[Tensor, ""]:
    """Generator's side of the non-saturating logistic loss, −log sigmoid(D(G(z))) (Goodfellow et al. 2014)."""
    return F.softplus(-fake).mean()


def telling(real: Float[Tensor, "b 1"], fake: Float[Tensor, "b 1"]) -> Float[Tensor, ""]:
    """Discriminator's side of the logistic loss."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1(real: Float[Tensor, "b 1"], images: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """½ ‖∂D/∂x‖² at real images x (Mescheder et al. 2018); `real` are their logits, `images` must require gradients."""
    (slope,) = torch.autograd.grad(real.sum(), images, create_graph=True)
    return slope.float().square().sum((1, 2, 3)).mean() / 2


def simplicity(
    z: Float[Tensor, "b z"],
    z_moved: Float[Tensor, "b z"],
    read: Float[Tensor, "b z"],
    read_moved: Float[Tensor, "b z"],
    moved: Bool[Tensor, "b z"],
) -> Float[Tensor, ""]:
    """Perceptual simplicity (section 3.2): the latent that moved is read from each image by itself, the others from the
    mean of the two readings."""
    shared = (read + read_moved) / 2
    error = torch.where(moved, read, shared) - z
    error_moved = torch.where(moved, read_moved, shared) - z_moved
    return (error.square().sum(1) + error_moved.square().sum(1)).mean() / 2


def information(z: Float[Tensor, "b z"], read: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
    """InfoGAN (Chen et al. 2016) for latents read with fixed variance: (z − Q(G(z)))², summed over latents."""
    return (z - read).square().sum(1).mean()


def gaussian(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, ""]:
    """−log N(target; image, σ²) up to a constant, summed over pixels: nats an image."""
    return (image - target).square().sum((1, 2, 3)).mean() / (2 * sigma**2)


def divergence(mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
    """KL(N(mean, variance) ‖ N(0, 1)), summed over latents: nats an image (Kingma & Welling 2014)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2


def flat_divergence(mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
    """KL(N(mean, variance) ‖ p), summed over latents: nats an image.  p(z) ∝ exp(−(z/a)⁸) is nearly uniform within
    ±1.5 and of unit variance.  A product of normal densities is the same from every side; a product of these is not, so
    it costs divergence to turn latents into each other."""
    m, v = mean.square(), log_variance.exp()
    eighth = m**4 + 28 * m**3 * v + 210 * m**2 * v**2 + 420 * m * v**3 + 105 * v**4  # E[z⁸] of the posterior
    a = math.sqrt(math.gamma(1 / 8) / math.gamma(3 / 8))
    entropy = (math.log(2 * math.pi * math.e) + log_variance) / 2
    return (eighth / a**8 + math.log(2 * a * math.gamma(1 + 1 / 8)) - entropy).sum(1).mean()
