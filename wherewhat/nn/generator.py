"""The generator: a learned constant, then stages that each paint their own latents through learned masks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.config import GeneratorConfig, StageConfig
from wherewhat.nn import ops
from wherewhat.nn.controls import Controls
from wherewhat.nn.layers import Conv, Dense, joined, leaky

STYLE_STD = 0.3
"""how far a latent of 1 moves scales and shifts at the start of training"""


MOVING = 1e-5
"""a latent that changes by less along a sweep stands still: rounding of what mixes controls into latents"""

START_WIDTH = 256
"""units between the latents and the start of a plain decoder"""


class Rendering(NamedTuple):
    """What the generator makes of latents."""

    image: Float[Tensor, "b c h w"]
    """in [−1, 1], not clipped"""
    masks: tuple[Tensor, ...]
    """one a stage that owns latents: b n h w at the stage's resolution, in [0, 1], in the order of z"""

    def masks_at(self, height: int, width: int) -> Float[Tensor, "b z h w"]:
        """All masks at one resolution."""
        same = [F.interpolate(m, (height, width), mode="bilinear", align_corners=False) for m in self.masks]
        return torch.cat(same, 1).clamp(0, 1)


class Stage(nn.Module):
    """Doubles the sides, convolves, paints its latents, convolves."""

    def __init__(self, config: GeneratorConfig, stage: StageConfig, inputs: int, height: int, width: int) -> None:
        super().__init__()
        self.codes, self.boxes, self.size = stage.codes, stage.boxes, (height, width)
        self.mask, self.upsample = config.mask, config.upsample
        c, equal = stage.width, config.equalised
        self.before = Conv(inputs, c, 3, equalised=equal)
        self.before_skip = Conv(inputs, c, 1, equalised=equal) if config.residual else None
        self.after = nn.ModuleList(Conv(c, c, 3, equalised=equal) for _ in range(stage.convs))
        self.after_skip = Conv(c, c, 1, equalised=equal) if config.residual and stage.convs else None
        self.noise_strength = nn.Parameter(torch.zeros(min(2, stage.convs) if config.noise else 0))
        if stage.codes and config.mask != "start":
            self.style = nn.Parameter(STYLE_STD * torch.randn(stage.codes, 2 * c))
            self.style_bias = nn.Parameter(torch.zeros(stage.codes, 2 * c))
            if config.mask == "boxes":
                self.to_mask: nn.Module = Dense(c, stage.codes * stage.boxes * 2 * (height + width), equalised=True)
            elif config.mask == "softmax":
                self.to_mask = Conv(c, stage.codes, 3, equalised=equal)

    def masks(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """Where each latent of this stage acts, read from the features and never from the latents themselves."""
        if self.mask in ("none", "start"):
            return x.new_ones(x.shape[0], self.codes, *self.size, dtype=torch.float32)
        if self.mask == "softmax":
            return ops.softmax_mask(self.to_mask(x))
        logits = self.to_mask(x.mean((2, 3))).view(x.shape[0], self.codes, self.boxes, 2, -1)
        return ops.box_mask(*logits.split(self.size, -1))

    def forward(
        self, x: Float[Tensor, "b c h w"], codes: Float[Tensor, "b n"], noise: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "b c2 h2 w2"], Float[Tensor, "b n h2 w2"] | None]:
        """The features at twice the sides, and the masks if the stage owns latents."""
        x = ops.double(x, self.upsample)
        y = leaky(self.before(x))
        x = joined(y, leaky(self.before_skip(x))) if self.before_skip else y
        masks = None
        if self.codes:
            masks = self.masks(x)
            if self.mask != "start":
                scale, shift = torch.addcmul(self.style_bias, codes[..., None], self.style).chunk(2, 2)
                x = ops.restyle(x, scale, shift) if self.mask == "none" else ops.paint(x, masks, scale, shift)
        first_noisy = len(self.after) - len(noise)
        for i, conv in enumerate(self.after):
            y = conv(x)
            if i >= first_noisy:
                y = y + noise[i - first_noisy].to(y.dtype) * self.noise_strength[i - first_noisy].to(y.dtype)
            y = leaky(y)
            x = joined(y, leaky(self.after_skip(x))) if i == 0 and self.after_skip else y
        return x, masks


class Generator(nn.Module):
    """Latents in, image and masks out.  There is no mapping network: each latent is a control by itself."""

    def __init__(self, config: GeneratorConfig, size: tuple[int, int], channels: int) -> None:
        """size: rows and columns of the image."""
        super().__init__()
        self.config, self.size, self.channels = config, size, channels
        self.controls: Controls | None = None
        """what is given in place of the latents; none while training"""
        height, width = (side // 2**config.doublings for side in size)
        self.constant = nn.Parameter(torch.randn(1, config.constant, height, width))
        if config.mask == "start":
            inner = Dense(config.codes, START_WIDTH, equalised=config.equalised)
            outer = Dense(START_WIDTH, self.constant.numel(), equalised=config.equalised)
            self.start = nn.Sequential(inner, nn.LeakyReLU(0.2), outer)
        self.stages = nn.ModuleList()
        inputs = config.constant
        for i, stage in enumerate(config.stages, 1):
            self.stages.append(Stage(config, stage, inputs, height * 2**i, width * 2**i))
            inputs = stage.width
        self.head: nn.Module = (
            nn.ConvTranspose2d(inputs, channels, 4, 2, 1)
            if config.head == "double"
            else Conv(inputs, channels, 1, equalised=config.equalised)
        )
        for i, shape in enumerate(self._noise_shapes()):
            self.register_buffer(f"noise{i}", torch.randn(1, *shape))

    def _noise_shapes(self) -> list[tuple[int, int, int]]:
        return [(1, *s.size) for s in self.stages for _ in range(len(s.noise_strength))]  # type: ignore[misc, arg-type]

    def draw_noise(self, count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
        """Fresh noise for `count` images, drawn on the device of `rng`; empty if the generator uses none."""
        return tuple(torch.randn(count, *s, generator=rng, device=rng.device) for s in self._noise_shapes())

    def fixed_noise(self) -> tuple[Tensor, ...]:
        """The noise that is kept with the weights, the same for every image: what looking and measuring use."""
        return tuple(self.get_buffer(f"noise{i}") for i in range(len(self._noise_shapes())))

    def forward(self, z: Float[Tensor, "b z"], noise: tuple[Tensor, ...] | None = None) -> Rendering:
        """noise: from draw_noise; None is the fixed noise."""
        supply = list(self.fixed_noise() if noise is None else noise)
        latents = self.controls.write(z) if self.controls else z
        x = self.constant.expand(z.shape[0], -1, -1, -1)
        if self.config.mask == "start":
            x = leaky(x + self.start(latents).view_as(x))
        x = x.contiguous(memory_format=torch.channels_last)
        masks = []
        codes = latents.split([s.codes for s in self.stages], 1)  # type: ignore[misc]
        for stage, own in zip(self.stages, codes, strict=True):
            needs = len(stage.noise_strength)  # type: ignore[arg-type]
            x, mask = stage(x, own, tuple(supply[:needs]))
            del supply[:needs]
            if mask is not None:
                masks.append(mask)
        if self.controls and masks:
            masks = list(of_controls(masks, self.controls))
        return Rendering(self.head(x).float(), tuple(masks))

    def sweeps(self, z: Float[Tensor, "t s z"]) -> Float[Tensor, "t s c h w"]:
        """Images, not clipped, of t sweeps of s places each, with the fixed noise.  Stages before the first one whose
        latents move are computed once a sweep."""
        places = z.shape[1]
        latents = self.controls.write(z) if self.controls else z
        if self.config.mask == "start":
            return self(z.flatten(0, 1)).image.unflatten(0, (-1, places))
        moving = (latents - latents[:, :1]).abs().amax((0, 1)) > MOVING
        supply = list(self.fixed_noise())
        x = self.constant.expand(len(z), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        apart = False  # whether places of a sweep differ by now
        owned = [s.codes for s in self.stages]
        for stage, own, moves in zip(self.stages, latents.split(owned, 2), moving.split(owned), strict=True):  # type: ignore[arg-type]
            if moves.any() and not apart:
                x = x.repeat_interleave(places, 0).contiguous(memory_format=torch.channels_last)
                apart = True
            needs = len(stage.noise_strength)  # type: ignore[arg-type]
            x, _ = stage(x, own.flatten(0, 1) if apart else own[:, 0], tuple(supply[:needs]))
            del supply[:needs]
        images = self.head(x).float()
        return images.unflatten(0, (-1, places)) if apart else images[:, None].expand(-1, places, -1, -1, -1)


def of_controls(masks: Sequence[Float[Tensor, "b _ _ _"]], controls: Controls) -> tuple[Tensor, ...]:
    """Masks of stages for controls: each acts where the latents it moves act, as far as it moves them.  The control in
    a latent's place is given at the resolution of that latent's stage."""
    shares = masks[0].new_tensor(controls.shares())
    found = []
    first = 0
    for mask in masks:
        size = mask.shape[2:]
        here = [
            F.interpolate(m, size, mode="bilinear", align_corners=False) if m.shape[2:] != size else m for m in masks
        ]
        every = torch.cat(here, 1).clamp(0, 1)
        own = range(first, first + mask.shape[1])
        found.append(torch.stack([(shares[k][:, None, None] * every).amax(1) for k in own], 1))
        first += mask.shape[1]
    return tuple(found)


@torch.no_grad()
def mean_masks(generator: Generator, z: Float[Tensor, "b z"]) -> Float[np.ndarray, "z h w"]:
    """Each latent's mask at image resolution, averaged over these images."""
    z = z.to(generator.constant.device)
    total = torch.stack([generator(part).masks_at(*generator.size).sum(0) for part in z.split(32)]).sum(0)
    return (total / len(z)).cpu().numpy()
