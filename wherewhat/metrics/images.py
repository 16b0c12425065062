"""How well one image stands for another: PSNR and SSIM.  Images are in [−1, 1].  b images, c channels, h w space."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wherewhat.errors import UserError

PEAK = 2.0  # from black to white
WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03  # of SSIM as published


def psnr(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in dB, 10·log₁₀(peak² / mean squared error); infinite for equal images."""
    return 10 * (PEAK**2 / (image - target).square().mean((1, 2, 3))).log10()


def ssim(image: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Structural similarity (Wang et al. 2004): 1 for equal images.  Gaussian windows of 11 pixels (σ 1.5) that lie
    wholly inside, each channel by itself, averaged.  Raises UserError for images smaller than a window."""
    b, c, h, w = image.shape
    if min(h, w) < WINDOW:
        raise UserError(f"images of {h}x{w}: SSIM needs sides of {WINDOW} or more")
    place = torch.arange(WINDOW, device=image.device, dtype=image.dtype) - WINDOW // 2
    bell = (-(place**2) / (2 * SIGMA**2)).exp()
    bell = bell / bell.sum()
    x, y = image, target
    moments = torch.stack([x, y, x * x, y * y, x * y]).reshape(5 * b * c, 1, h, w)
    local = functional.conv2d(functional.conv2d(moments, bell.view(1, 1, -1, 1)), bell.view(1, 1, 1, -1))
    mean_x, mean_y, xx, yy, xy = local.view(5, b, c, *local.shape[2:])
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * (xy - mean_x * mean_y) + c2)
    most = (mean_x**2 + mean_y**2 + c1) * (xx - mean_x**2 + yy - mean_y**2 + c2)
    return (alike / most).mean((1, 2, 3))
