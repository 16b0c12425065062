"""How things move: a shift, a turn and a size, as a differentiable resampling of features or images.

b batch, c channels, h w space.  Coordinates are (x, y) with the origin in the middle of the image.  The shorter side
goes from −1 to +1 and pixels are square, so that a turn of a wide image is a turn.  Spatial transformers (Jaderberg et
al. 2015); latents for shift and turn as in Spatial-VAE (Bepler et al. 2019).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


class Similarity(NamedTuple):
    """A similarity transform of each image: content at q is moved to shift + exp(log_size) · R(angle) · q."""

    shift: Float[Tensor, "b 2"]
    """in half-lengths of the shorter side: 2 moves content from one end of it to the other"""
    angle: Float[Tensor, " b"]
    """radians, from the x axis towards the y axis, which points down"""
    log_size: Float[Tensor, " b"]

    def forward(self, q: Float[Tensor, "*b h w 2"]) -> Float[Tensor, "b h w 2"]:
        """Where content at q is moved to."""
        turned = _rotate(q, self.angle) * self.log_size.exp()[:, None, None, None]
        return turned + self.shift[:, None, None]

    def inverse(self, p: Float[Tensor, "*b h w 2"]) -> Float[Tensor, "b h w 2"]:
        """Where content that is moved to p comes from."""
        centred = (p - self.shift[:, None, None]) * (-self.log_size).exp()[:, None, None, None]
        return _rotate(centred, -self.angle)


def transform(
    x: Float[Tensor, "b c h w"], by: Similarity, mask: Float[Tensor, "b h w"] | None = None
) -> Float[Tensor, "b c h w"]:
    """Features moved by a similarity: position p samples x at p + mask(p) · (by⁻¹(p) − p), bilinearly, with the border
    repeated outside.  No mask: everywhere."""
    p = positions_of(x)
    source = by.inverse(p[None])
    if mask is not None:
        source = torch.lerp(p[None].expand_as(source), source, mask[..., None].to(p.dtype))
    return sample_at(x, source)


def undo(x: Float[Tensor, "b c h w"], by: Similarity) -> Float[Tensor, "b c h w"]:
    """The inverse of `transform` without a mask: content moved by `by` is brought back to the middle, upright, at its
    own size."""
    return sample_at(x, by.forward(positions_of(x)[None]))


def positions(height: int, width: int, device: torch.device) -> Float[Tensor, "h w 2"]:
    """Coordinates of the middles of all pixels."""
    shorter = min(height, width)
    x, y = ((torch.arange(n, device=device) * 2 + 1 - n) / shorter for n in (width, height))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def positions_of(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "h w 2"]:
    """Coordinates of the middles of all pixels of these features."""
    return positions(x.shape[2], x.shape[3], x.device)


def sample_at(x: Float[Tensor, "b c h w"], p: Float[Tensor, "b h2 w2 2"]) -> Float[Tensor, "b c h2 w2"]:
    """x at positions p, bilinearly, with the border repeated outside."""
    height, width = x.shape[2:]
    shorter = min(height, width)
    normalised = p * p.new_tensor([shorter / width, shorter / height])  # as grid_sample has them: ±1 at both borders
    with torch.autocast(x.device.type, enabled=False):
        sampled = F.grid_sample(x.float(), normalised, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.to(x.dtype)


def _rotate(p: Float[Tensor, "*b h w 2"], angle: Float[Tensor, " b"]) -> Float[Tensor, "b h w 2"]:
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y = p.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
