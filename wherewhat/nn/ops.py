"""Pure tensor functions.  b batch, n latents of one stage, k boxes, c channels, h w space, s a side."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.autograd.function import once_differentiable


def to_float(images: UInt8[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
    """Bytes as images in [−1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: Float[Tensor, "*b c h w"]) -> UInt8[Tensor, "*b c h w"]:
    """Images in [−1, 1] as bytes, rounded; what lies outside is clipped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def soft_interval(logits: Float[Tensor, "... 2 s"]) -> Float[Tensor, "... s"]:
    """The probability that each position lies between a first and a last position, which are drawn independently from
    two softmaxes (spatial constriction, section 3.1; the last position is included, see docs/differences.md)."""
    first, last = logits.float().softmax(-1).unbind(-2)
    begun = first.cumsum(-1)  # P(first ≤ j)
    not_over = last.flip(-1).cumsum(-1).flip(-1)  # P(last ≥ j)
    return (begun * not_over).clamp(0, 1)


def box_mask(rows: Float[Tensor, "b n k 2 h"], cols: Float[Tensor, "b n k 2 w"]) -> Float[Tensor, "b n h w"]:
    """Soft rectangles, outer products of a soft interval of rows and one of columns, averaged over boxes; in [0, 1]."""
    return torch.einsum("bnkh,bnkw->bnhw", soft_interval(rows), soft_interval(cols)) / rows.shape[2]


def softmax_mask(logits: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n h w"]:
    """The paper's alternative to boxes: each mask is a distribution over positions."""
    return logits.float().flatten(2).softmax(-1).view_as(logits)


def composite(masks: Float[Tensor, "b n h w"]) -> tuple[Float[Tensor, "b n h w"], Float[Tensor, "b h w"]]:
    """Alpha compositing of layers in order: the visible share of each, M_i ∏_{j>i} (1 − M_j), and of the background."""
    visible, background = [], torch.ones_like(masks[:, 0])
    for mask in reversed(masks.unbind(1)):
        visible.append(mask * background)
        background = background * (1 - mask)
    return torch.stack(visible[::-1], 1), background


def masked_adain(
    x: Float[Tensor, "b c h w"],
    masks: Float[Tensor, "b n h w"],
    scale: Float[Tensor, "b n c"],
    shift: Float[Tensor, "b n c"],
) -> Float[Tensor, "b c h w"]:
    """Spatial constriction (section 3.1): adaptive instance normalization by n styles in order, each inside its mask:
    x ← x·(1 − M_i) + (IN(x₀)·(1 + scale_i) + shift_i)·M_i.

    Computed in closed form: instance normalization is affine for each image and channel, so layer i is a_i·x + b_i and
    the background is 1·x + 0.  Their sum, weighted by the visible shares, is one small matrix product and one
    multiply-add.
    """
    b, c, h, w = x.shape
    with torch.autocast(x.device.type, enabled=False):
        mean, inverse = InstanceStatistics.apply(x)
        a = inverse[:, None] * (1 + scale.float())
        offsets = shift.float() - mean[:, None] * a
        visible, background = composite(masks.float())
        shares = torch.cat([visible, background[:, None]], 1).flatten(2).transpose(1, 2).to(x.dtype)  # b hw n+1
        factors = torch.cat([a, torch.ones_like(a[:, :1])], 1).to(x.dtype)
        factor = (shares @ factors).view(b, h, w, c).permute(0, 3, 1, 2)
        offset = (shares[..., :-1] @ offsets.to(x.dtype)).view(b, h, w, c).permute(0, 3, 1, 2)
        return torch.addcmul(offset, x, factor)


def adain(
    x: Float[Tensor, "b c h w"], scale: Float[Tensor, "b n c"], shift: Float[Tensor, "b n c"]
) -> Float[Tensor, "b c h w"]:
    """Adaptive instance normalization (Huang & Belongie 2017) by the sum of n styles, everywhere:
    IN(x)·(1 + Σ scale_i) + Σ shift_i."""
    mean, inverse = InstanceStatistics.apply(x)
    a = inverse * (1 + scale.float().sum(1))
    offset = shift.float().sum(1) - mean * a
    return torch.addcmul(offset[..., None, None].to(x.dtype), x, a[..., None, None].to(x.dtype))


class InstanceStatistics(torch.autograd.Function):
    """Mean of each channel of each image, and one over its standard deviation: b c h w → b c and b c, in float32.

    Its gradient is affine in x, one multiply-add; autograd's own gradient of the variance takes many passes over x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2).float()  # no copy of channels-last features in float32
        mean = pixels.mean(1)
        variance = (pixels.square().mean(1) - mean.square()).clamp_min(0)
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(x, mean, inverse)
        return mean, inverse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_mean: Tensor, of_inverse: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        x, mean, inverse = ctx.saved_tensors
        slope = -of_inverse * inverse**3 / (x.shape[2] * x.shape[3])
        level = of_mean / (x.shape[2] * x.shape[3]) - slope * mean
        return torch.addcmul(level[..., None, None].to(x.dtype), x, slope[..., None, None].to(x.dtype)), None


def instance_norm(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Each channel of each image at mean 0 and variance 1."""
    mean, inverse = InstanceStatistics.apply(x)
    return (x - mean[..., None, None]) * inverse[..., None, None]


def upsample_2x(x: Float[Tensor, "b c h w"], mode: str) -> Float[Tensor, "b c 2*h 2*w"]:
    """Twice the height and width; bilinear is the [1, 3, 3, 1] filter of StyleGAN2."""
    if mode == "nearest":
        return F.interpolate(x, scale_factor=2, mode="nearest")
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def minibatch_std(x: Float[Tensor, "b c h w"], group: int = 4) -> Float[Tensor, "b c+1 h w"]:
    """One more channel: the standard deviation over a group of images, averaged over channels and positions.

    A group is a run of neighbours, so that several processes that share a batch form the same groups as one process.
    If the batch does not divide into groups of that size, the largest size that divides it is used.  (Karras et al.
    2018)
    """
    b, _, h, w = x.shape
    size = next(g for g in range(min(group, b), 0, -1) if b % g == 0)
    grouped = x.float().view(b // size, size, *x.shape[1:])
    centred = grouped - grouped.mean(1, keepdim=True)  # torch.var of a few strided values is ten times slower
    std = (centred.square().mean(1) + 1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, std.repeat_interleave(size).to(x.dtype).view(b, 1, 1, 1).expand(b, 1, h, w)], 1)
