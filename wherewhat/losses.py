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


def visibility_loss(
    image: Float[Tensor, "b c h w"],
    image_perturbed: Float[Tensor, "b c h w"],
    sizes: Float[Tensor, "b 1"],
    least: float,
) -> Float[Tensor, ""]:
    """How far a perturbed latent stays below the least change of the image, 0 … 1: (1 − RMS change / m)₊, where m is
    `least` (root mean square over pixels and channels, of a range of 2) for a perturbation by 1 or more, and
    proportionally less for a smaller one.

    Codes can be read from changes that nobody sees, so perceptual simplicity alone lets latents hide.  Rewarding change
    per change of latents is how mode seeking GANs keep latents in use (Mao et al. 2019, arXiv 1903.05628); here
    it is asked of each latent alone, and only as far as the margin."""
    change = ((image.float() - image_perturbed.float()).square().mean((1, 2, 3)) + 1e-6).sqrt()  # 0 has a slope too
    asked = sizes.squeeze(1).abs().clamp(max=1)
    return (asked - change / least).relu().mean()


def infogan_loss(z: Float[Tensor, "b z"], codes: Float[Tensor, "b z"]) -> Float[Tensor, ""]:
    """InfoGAN (Chen et al. 2016) for a Gaussian Q of fixed variance: Σ (z − Q(G(z)))² over latents."""
    return (z - codes).square().sum(1).mean()


def gaussian_nll(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, ""]:
    """−log N(target; image, σ²) up to a constant, summed over pixels: nats an image."""
    return (image - target).square().sum((1, 2, 3)).mean() / (2 * sigma**2)


def bernoulli_nll(logits: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """−log Bernoulli(target; sigmoid(logits)), summed over pixels: nats an image.  target in [−1, 1] is taken as the
    share (target + 1)/2 of ones, as disentanglement_lib takes grey levels and colours (Locatello et al. 2019)."""
    return F.binary_cross_entropy_with_logits(logits, (target + 1) / 2, reduction="none").sum((1, 2, 3)).mean()


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


def capacity_loss(kl: Float[Tensor, ""], capacity: float) -> Float[Tensor, ""]:
    """AnnealedVAE (Burgess et al. 2018, equation 8): |KL − C|, in nats: the divergence is held at a capacity C."""
    return (kl - capacity).abs()


def minibatch_total_correlation(
    z: Float[Tensor, "b z"], mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]
) -> Float[Tensor, ""]:
    """Total correlation KL(q(z) ‖ ∏ q(z_k)) of the aggregate posterior, in nats, estimated within the batch (β-TCVAE,
    Chen et al. 2018, equation S4): E[log Σ_j ∏_k q(z_k|x_j) − Σ_k log Σ_j q(z_k|x_j)], j over the batch.

    Sums are divided by the batch b, where the paper divides by b times the size of the data set: that changes a
    constant and no gradient.  At most (z − 1) log b, because each image is among its own neighbours."""
    variance = log_variance.exp()
    density = -((z[:, None] - mean).square() / variance + log_variance + math.log(2 * math.pi)) / 2  # b j z
    joint, marginals = density.sum(2).logsumexp(1), density.logsumexp(1).sum(1)
    return (joint - marginals).mean() + (z.shape[1] - 1) * math.log(len(z))


def density_ratio_total_correlation(logits: Float[Tensor, "b 1"]) -> Float[Tensor, ""]:
    """Total correlation of codes, in nats, from logits of a discriminator between them and permuted ones (FactorVAE,
    Kim & Mnih 2018, equation 3): E[log D/(1 − D)], exact where D is optimal."""
    return logits.mean()


def permute_codes(z: Float[Tensor, "b z"], rng: torch.Generator) -> Float[Tensor, "b z"]:
    """Each column in an order of its own: samples of ∏ q(z_k) (FactorVAE, Kim & Mnih 2018, algorithm 1)."""
    return z.gather(0, torch.rand(z.shape, generator=rng, device=z.device).argsort(0))


def dip_vae_i_penalties(mean: Float[Tensor, "b z"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """DIP-VAE-I (Kumar et al. 2018, equation 6): Σ_{i≠j} Cov²_ij and Σ_i (Cov_ii − 1)², where Cov is the covariance of
    posterior means over the batch."""
    return _covariance_penalties(_covariance(mean))


def dip_vae_ii_penalties(
    mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """DIP-VAE-II (Kumar et al. 2018, equation 7): the same, where Cov is the covariance of the aggregate posterior:
    that of means, plus the mean variance on the diagonal."""
    return _covariance_penalties(_covariance(mean) + log_variance.exp().mean(0).diag())


def _covariance(codes: Float[Tensor, "b z"]) -> Float[Tensor, "z z"]:
    centred = codes - codes.mean(0)
    return centred.T @ centred / len(codes)


def _covariance_penalties(covariance: Float[Tensor, "z z"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    variances = covariance.diagonal()
    return covariance.square().sum() - variances.square().sum(), (variances - 1).square().sum()
