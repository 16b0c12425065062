"""The generator: a learned constant, then stages that each apply their own latents inside learned masks.

b batch, z latents, n latents of one stage, c channels, h w space, t sweeps, s steps of a sweep.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.config import GeneratorConfig, StageConfig
from wherewhat.nn import ops
from wherewhat.nn.controls import ANGLE_RANGE, Controls
from wherewhat.nn.layers import Conv, Dense, leaky_relu, residual_add
from wherewhat.nn.transforms import Similarity, transform

STYLE_STD = 0.3
"""how far a latent of 1 moves scales and shifts at the start of training"""

STILL = 1e-5
"""a latent that changes by less along a sweep does not move: controls are mixed into latents with rounding"""
TRANSFORM_GAIN = (0.3, 0.3, 0.0, 0.2)
"""shift x, shift y, turn, log-size by a latent of 1 at the start of training; a turn on a circle has no gain"""
SMALL_TRANSFORM_GAIN = (0.03, 0.03, 0.1, 0.02)
"""the same where the turn is on a line: a start from which a set of pictures that does not move is not disturbed"""
PALETTE_STD = 0.2
"""standard deviation of the palette's colours at the start of training"""
LIGHT_GAIN = 0.5
"""factor of the logarithm of light: smaller keeps it near 1 at the start of training"""
PART_CONTRAST = 3.0
"""factor of the logits of parts: larger makes parts harder"""
MIN_CHANGE = 0.02
"""largest change of a pixel, of a range of 2, below which a control is taken to change nothing anywhere"""
STEPS, ANGLE_STEPS = 5, 17  # places of a sweep that tells what a control changes; once around an angle more happens
DENSE_HIDDEN = 256
"""units between the latents and the first stage of the dense decoder"""


class GeneratorOutput(NamedTuple):
    """Image and masks of a batch of latents."""

    image: Float[Tensor, "b c h w"]
    """in [−1, 1], not clipped"""
    masks: tuple[Tensor, ...]
    """one a stage that owns latents: b n h w at the stage's resolution, in [0, 1], in the order of z"""

    def masks_at(self, height: int, width: int) -> Float[Tensor, "b z h w"]:
        """All masks at one resolution."""
        same = [F.interpolate(m, (height, width), mode="bilinear", align_corners=False) for m in self.masks]
        return torch.cat(same, 1).clamp(0, 1)


@runtime_checkable
class AnyGenerator(Protocol):
    """What scores and pictures need of a generator: `Generator` has it, and so has anyone's (`run/foreign.py`)."""

    @property
    def size(self) -> tuple[int, int]: ...  # height and width of its images
    @property
    def channels(self) -> int: ...
    @property
    def latents(self) -> int: ...  # how many numbers it takes
    @property
    def controlled(self) -> int: ...  # the first so many of them are controls
    @property
    def angles(self) -> tuple[int, ...]: ...
    @property
    def has_masks(self) -> bool: ...  # if not, a control acts where it changes the image
    @property
    def device(self) -> torch.device: ...
    def to(self, device: Any) -> "AnyGenerator": ...
    def __call__(self, z: Float[Tensor, "b z"]) -> GeneratorOutput: ...
    def images(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b c h w"]: ...
    def sweeps(self, z: Float[Tensor, "t s z"]) -> Float[Tensor, "t s c h w"]: ...


class Stage(nn.Module):
    """Doubles height and width, convolves, applies its latents as styles inside their masks, convolves."""

    def __init__(self, config: GeneratorConfig, stage: StageConfig, inputs: int, height: int, width: int) -> None:
        super().__init__()
        self.latents, self.owned, self.boxes, self.size = stage.latents, stage.owned, stage.boxes, (height, width)
        self.mask, self.upsample, self.slope = config.mask, config.upsample, config.slope
        self.has_styles = bool(stage.latents) and config.decoder == "stages"
        c, equal = stage.channels, config.equalized
        transposed = config.upsample == "transposed"
        self.before: nn.Module = (
            nn.ConvTranspose2d(inputs, c, 4, 2, 1) if transposed else Conv(inputs, c, 3, equalized=equal)
        )
        self.before_skip = Conv(inputs, c, 1, equalized=equal) if config.residual else None
        self.after = nn.ModuleList(Conv(c, c, 3, equalized=equal) for _ in range(stage.convs))
        self.after_skip = Conv(c, c, 1, equalized=equal) if config.residual and stage.convs else None
        self.noise_strength = nn.Parameter(torch.zeros(min(2, stage.convs) if config.noise else 0))
        if self.has_styles:
            self.style = nn.Parameter(STYLE_STD * torch.randn(stage.latents, 2 * c))
            self.style_bias = nn.Parameter(torch.zeros(stage.latents, 2 * c))
            if config.mask == "boxes":
                self.to_mask: nn.Module = half_open(
                    Dense(c, stage.latents * stage.boxes * 2 * (height + width), equalized=True), height, width
                )
            elif config.mask == "softmax":
                self.to_mask = Conv(c, stage.latents, 3, equalized=equal)
        moves = stage.transform in ("line", "circle")
        self.transform = TransformGroup(stage, height, width) if moves else None

    def masks(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """Where each style latent acts, computed from the features and never from the latents themselves."""
        if self.mask == "none" or not self.has_styles:
            return x.new_ones(x.shape[0], self.latents, *self.size, dtype=torch.float32)
        if self.mask == "softmax":
            return ops.softmax_mask(self.to_mask(x))
        logits = self.to_mask(x.mean((2, 3))).view(x.shape[0], self.latents, self.boxes, 2, -1)
        return ops.box_mask(*logits.split(self.size, -1))

    def forward(
        self, x: Float[Tensor, "b c h w"], latents: Float[Tensor, "b n"], noise: tuple[Tensor, ...]
    ) -> tuple[Float[Tensor, "b c2 h2 w2"], Float[Tensor, "b n h2 w2"] | None]:
        """The features at twice the height and width, and the masks if the stage owns latents."""
        x = self.grow(x)
        masks = self.masks(x) if self.latents else None
        x = self.after_styles(self.affine(self.apply_styles(x, masks, latents[:, : self.latents])), noise)
        if self.transform is None:
            return x, masks
        x, moved = self.transform(x, latents[:, self.latents :])
        return x, moved if masks is None else torch.cat([masks, moved], 1)

    def sweep(
        self, x: Float[Tensor, "t c h w"], latents: Float[Tensor, "t s n"], noise: tuple[Tensor, ...]
    ) -> Float[Tensor, "t*s c2 h2 w2"]:
        """The features at s steps of t sweeps.  All steps of a sweep enter this stage with the same features.

        Up to the next activation everything is affine in the latents: it is computed at the first step and at one more
        point for each latent that moves; all other steps are combinations of these.
        """
        x = self.grow(x)
        latents, moving = latents.split([self.latents, self.owned - self.latents], 2)
        moves = (latents != latents[:, :1]).any(1).any(0).nonzero()[:, 0]
        times = latents.shape[1]
        known = latents[:, :1].repeat(1, 1 + len(moves), 1)
        known[:, 1 + torch.arange(len(moves), device=moves.device), moves] += 1
        steps = (latents - latents[:, :1])[..., moves]
        few = known.shape[1] < latents.shape[1]
        if not few:
            known = latents
        masks = _repeat(self.masks(x), known.shape[1]) if self.latents else None
        x = _repeat(x, known.shape[1])
        parts = self.affine(self.apply_styles(x, masks, known.flatten(0, 1)))
        if few and len(moves):
            parts = tuple(_combine(part, steps) for part in parts)
        x = self.after_styles(parts, noise)
        x = x if len(moves) else _repeat(x, times)  # nothing but the transform differs between the steps
        return x if self.transform is None else self.transform(x, moving.flatten(0, 1))[0]

    def grow(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        """Everything before the styles."""
        x = x if self.upsample == "transposed" else ops.upsample_2x(x, self.upsample)
        y = leaky_relu(self.before(x), self.slope)
        return residual_add(y, leaky_relu(self.before_skip(x), self.slope)) if self.before_skip else y

    def apply_styles(
        self, x: Float[Tensor, "b c h w"], masks: Float[Tensor, "b n h w"] | None, latents: Float[Tensor, "b n"]
    ) -> Float[Tensor, "b c h w"]:
        """Spatial constriction; affine in the latents."""
        if masks is None or not self.has_styles:
            return x
        scale, shift = torch.addcmul(self.style_bias, latents[..., None], self.style).chunk(2, 2)
        return ops.adain(x, scale, shift) if self.mask == "none" else ops.masked_adain(x, masks, scale, shift)

    def affine(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, ...]:
        """The convolutions that read the styled features, before their activations."""
        convs = [*self.after[:1], *filter(None, [self.after_skip])]
        return tuple(conv(x) for conv in convs) or (x,)

    def after_styles(self, parts: tuple[Tensor, ...], noise: tuple[Tensor, ...]) -> Float[Tensor, "b c h w"]:
        """Everything after `affine`, whose results it takes."""
        x, *skip = parts
        first_noisy = len(self.after) - len(noise)
        for i, conv in enumerate(self.after):
            y = conv(x) if i else x
            if i >= first_noisy:
                y = y + noise[i - first_noisy].to(y.dtype) * self.noise_strength[i - first_noisy].to(y.dtype)
            y = leaky_relu(y, self.slope)
            x = residual_add(y, leaky_relu(skip[0], self.slope)) if skip and i == 0 else y
        return x


class TransformGroup(nn.Module):
    """Moves features: four latents are shift x, shift y, turn and size, inside a mask."""

    def __init__(self, stage: StageConfig, height: int, width: int) -> None:
        super().__init__()
        self.circle, self.boxes, self.size = stage.transform == "circle", stage.boxes, (height, width)
        self.gain = nn.Parameter(torch.tensor(TRANSFORM_GAIN if self.circle else SMALL_TRANSFORM_GAIN))
        self.to_mask = None
        if stage.transform_mask == "boxes":
            self.to_mask = Dense(stage.channels, stage.boxes * 2 * (height + width), equalized=True)

    def forward(
        self, x: Float[Tensor, "b c h w"], latents: Float[Tensor, "b 4"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b 4 h w"]]:
        """The features moved, and the mask, once for each latent."""
        mask = self.mask(x)
        moved = transform(x, self.similarity(latents), None if self.to_mask is None else mask)
        return moved, mask[:, None].expand(-1, 4, -1, -1)

    def similarity(self, latents: Float[Tensor, "b 4"]) -> Similarity:
        """What these latents mean.  On a circle ±2 are half a turn either way."""
        scaled = latents * self.gain
        angle = latents[:, 2] * (torch.pi / ANGLE_RANGE) if self.circle else scaled[:, 2]
        return Similarity(scaled[:, :2], angle, scaled[:, 3])

    def mask(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        """Where features are moved, computed from the features before."""
        if self.to_mask is None:
            return x.new_ones(x.shape[0], *self.size, dtype=torch.float32)
        logits = self.to_mask(x.mean((2, 3))).view(x.shape[0], 1, self.boxes, 2, -1)
        return ops.box_mask(*logits.split(self.size, -1))[:, 0]


def half_open(to_mask: Dense, height: int, width: int) -> Dense:
    """The layer that gives logits of boxes, so that every box begins at the first row and column and ends at the last
    with probability ½ at the start of training: masks are about .3 everywhere.  With logits near 0 they are below .1,
    so latents hardly matter, and those of early stages may never come to; wide open, the last latent of a stage covers
    the others."""
    bias = to_mask.inner.bias.detach().view(-1, 2, height + width)  # boxes; first, last; rows, columns
    bias[:, 0, 0] = bias[:, 1, height - 1] = math.log(height - 1)
    bias[:, 0, height] = bias[:, 1, -1] = math.log(width - 1)
    return to_mask


def _repeat(x: Tensor, times: int) -> Tensor:
    """Repeat every entry, channels last."""
    return x.repeat_interleave(times, 0).contiguous(memory_format=torch.channels_last)


def _combine(x: Float[Tensor, "_ c h w"], steps: Float[Tensor, "t s m"]) -> Float[Tensor, "_ c h w"]:
    """Features at s steps of t sweeps: they are affine in m latents, and known at a point and one step along each."""
    rows = x.permute(0, 2, 3, 1)
    point, further = rows.reshape(len(steps), 1 + steps.shape[2], -1).split((1, steps.shape[2]), 1)
    mixed = torch.baddbmm(point.expand(-1, steps.shape[1], -1), steps.to(x.dtype), further - point)
    return mixed.view(-1, *rows.shape[1:]).permute(0, 3, 1, 2)


class Palette(nn.Module):
    """Colours parts of an image: Σ_p A_p (c_p + Σ_i z_i E_ip) · light + detail, with soft parts A, light and detail
    from features; colours are counted from black.

    Shape and colour of one thing are separate by construction: which part a pixel belongs to does not depend on the
    palette's latents, and within a part they change nothing but the colour.  Light multiplies, as it does in pictures
    of things (intrinsic images, Barrow & Tenenbaum 1978), so that a shade looks the same on every colour.
    """

    def __init__(self, parts: int, latents: int, channels: int, shading: bool) -> None:
        super().__init__()
        self.shading = shading
        self.base = nn.Parameter(PALETTE_STD * torch.randn(parts, channels))
        self.colours = nn.Parameter(PALETTE_STD * torch.randn(latents, parts, channels))

    def forward(self, maps: Float[Tensor, "b maps h w"], latents: Float[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """The image.  maps: a logit for each part, then the shading if there is one, then the detail."""
        parts = len(self.base)
        logits, light, detail = maps.split([parts, int(self.shading), maps.shape[1] - parts - self.shading], 1)
        colours = self.base + torch.einsum("bn,npc->bpc", latents, self.colours)
        image = torch.einsum("bphw,bpc->bchw", self.shares(logits), colours)
        if self.shading:
            image = (image + 1) * (LIGHT_GAIN * light).exp() - 1
        return image + detail

    def shares(self, logits: Float[Tensor, "b p h w"]) -> Float[Tensor, "b p h w"]:
        """How much of each pixel belongs to each part."""
        return (PART_CONTRAST * logits).softmax(1)

    def masks(self, maps: Float[Tensor, "b maps h w"]) -> Float[Tensor, "b n h w"]:
        """Of each latent: the share of the parts it colours, relative to the one it colours most."""
        strength = self.colours.norm(dim=2)
        relative = strength / strength.amax(1, keepdim=True).clamp(min=1e-6)
        return torch.einsum("bphw,np->bnhw", self.shares(maps[:, : len(self.base)]), relative)


class Generator(nn.Module):
    """Latents in, image and masks out.  There is no mapping network: each latent acts by itself."""

    def __init__(self, config: GeneratorConfig, size: tuple[int, int], channels: int) -> None:
        """size: height and width of the image; channels: of the image."""
        super().__init__()
        self.config, self.size, self.channels = config, size, channels
        self.controls: Controls | None = None
        """if set, the input is given as these controls; None while training"""
        height, width = (side // 2**config.doublings for side in size)
        draw = torch.zeros if config.decoder == "dense" else torch.randn  # there it is one more bias
        self.constant = nn.Parameter(draw(1, config.constant_channels, height, width))
        if config.decoder == "dense":
            inner = Dense(config.latents, DENSE_HIDDEN, equalized=config.equalized)
            outer = Dense(DENSE_HIDDEN, self.constant.numel(), equalized=config.equalized)
            self.start = nn.Sequential(inner, nn.LeakyReLU(config.slope), outer)
        self.stages = nn.ModuleList()
        inputs = config.constant_channels
        for i, stage in enumerate(config.stages, 1):
            self.stages.append(Stage(config, stage, inputs, height * 2**i, width * 2**i))
            inputs = stage.channels
        maps = channels + config.palette + config.shading
        self.head: nn.Module = (
            nn.ConvTranspose2d(inputs, maps, 4, 2, 1)
            if config.head == "double"
            else Conv(inputs, maps, 1, equalized=config.equalized)
        )
        self.palette = (
            Palette(config.palette, config.palette_latents, channels, config.shading) if config.palette else None
        )
        for i, shape in enumerate(self._noise_shapes()):
            self.register_buffer(f"noise{i}", torch.randn(1, *shape))

    @property
    def latents(self) -> int:
        """How many numbers it takes."""
        return self.config.latents

    controlled = latents
    """All of them are controls."""

    @property
    def has_masks(self) -> bool:
        """Whether masks say where controls act.  Else they act where they change the image."""
        return self.config.mask != "none"

    @property
    def device(self) -> torch.device:
        return self.constant.device

    @property
    def angles(self) -> tuple[int, ...]:
        """Controls, or latents while there are none, that are angles all the way round: −2 and +2 are the same."""
        return tuple(sorted({*self.config.angles, *(self.controls.angles if self.controls else ())}))

    def open_transform(self) -> TransformGroup:
        """The first transform group that moves everything."""
        groups = (stage.transform for stage in self.stages)
        return next(g for g in groups if isinstance(g, TransformGroup) and g.to_mask is None)

    def _noise_shapes(self) -> list[tuple[int, int, int]]:
        return [(1, *s.size) for s in self.stages for _ in range(len(s.noise_strength))]  # type: ignore[misc, arg-type]

    def draw_noise(self, count: int, rng: torch.Generator) -> tuple[Tensor, ...]:
        """Fresh noise for `count` images, drawn on the device of `rng`; empty if the generator uses none."""
        return tuple(torch.randn(count, *s, generator=rng, device=rng.device) for s in self._noise_shapes())

    def fixed_noise(self) -> tuple[Tensor, ...]:
        """The noise that is stored with the weights, the same for every image: evaluation and pictures use it."""
        return tuple(self.get_buffer(f"noise{i}") for i in range(len(self._noise_shapes())))

    def forward(self, z: Float[Tensor, "b z"], noise: tuple[Tensor, ...] | None = None) -> GeneratorOutput:
        """Images and masks of controls.  noise: from draw_noise; None is the fixed noise."""
        maps, colours, masks = self._maps_and_masks(z, noise)
        if self.palette is not None:
            masks.append(self.palette.masks(maps))
        if self.controls and masks:
            masks = list(control_masks(masks, self.controls))
        return GeneratorOutput(self.pixels(self._coloured(maps, colours)), tuple(masks))

    def images(self, z: Float[Tensor, "b z"], noise: tuple[Tensor, ...] | None = None) -> Float[Tensor, "b c h w"]:
        """The images of `forward` alone: masks of many controls take longer than images."""
        return self.pixels(self.unsquashed(z, noise))

    def unsquashed(self, z: Float[Tensor, "b z"], noise: tuple[Tensor, ...] | None = None) -> Float[Tensor, "b c h w"]:
        """What `pixels` makes images of: logits, where the configuration's output is logits."""
        maps, colours, _ = self._maps_and_masks(z, noise)
        return self._coloured(maps, colours)

    def pixels(self, output: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        """Images of what the head and the palette give: 2 sigmoid − 1 of logits; else as it is."""
        return (output / 2).tanh() if self.config.output == "logits" else output

    def _maps_and_masks(
        self, z: Float[Tensor, "b z"], noise: tuple[Tensor, ...] | None
    ) -> tuple[Float[Tensor, "b maps h w"], Float[Tensor, "b n"], list[Tensor]]:
        """What the head makes, the latents of the palette, and the masks of the others, stage by stage."""
        supply = list(self.fixed_noise() if noise is None else noise)
        latents = self.controls.decode(z) if self.controls else z
        x = self.constant.expand(z.shape[0], -1, -1, -1)
        if self.config.decoder == "dense":
            x = leaky_relu(x + self.start(latents).view_as(x), self.config.slope)
        x = x.contiguous(memory_format=torch.channels_last)
        masks: list[Tensor] = []
        *owned, colours = latents.split(self._owned(), 1)
        for stage, own in zip(self.stages, owned, strict=True):
            needs = len(stage.noise_strength)  # type: ignore[arg-type]
            x, mask = stage(x, own, tuple(supply[:needs]))
            del supply[:needs]
            if mask is not None:
                masks.append(mask)
        return self.head(x).float(), colours, masks

    def _owned(self) -> list[int]:
        """How many latents each stage owns, and the palette."""
        return [*(stage.owned for stage in self.stages), self.config.palette_latents]  # type: ignore[list-item]

    def _coloured(self, maps: Float[Tensor, "b maps h w"], colours: Float[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """What `pixels` makes images of."""
        return maps if self.palette is None else self.palette(maps, colours)

    def sweeps(self, z: Float[Tensor, "t s z"]) -> Float[Tensor, "t s c h w"]:
        """Images, not clipped, of t sweeps of s steps each, with the fixed noise.  What comes before the first latent
        that moves is computed once a sweep."""
        if self.config.decoder == "dense":
            return self(z.flatten(0, 1)).image.unflatten(0, (-1, z.shape[1]))
        return self.sweeps_of_latents(self.controls.decode(z) if self.controls else z)

    def sweeps_of_latents(self, latents: Float[Tensor, "t s z"]) -> Float[Tensor, "t s c h w"]:
        """The same for latents, whatever the controls; not for the dense decoder."""
        steps = latents.shape[1]
        moving = (latents - latents[:, :1]).abs().amax((0, 1)) > STILL
        supply = list(self.fixed_noise())
        x = self.constant.expand(len(latents), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        differ = False  # whether the steps of a sweep have different features by now
        *owned, colours = latents.split(self._owned(), 2)
        *moves, _ = moving.split(self._owned())
        for stage, own, moves_here in zip(self.stages, owned, moves, strict=True):
            needs = len(stage.noise_strength)  # type: ignore[arg-type]
            noise = tuple(supply[:needs])
            del supply[:needs]
            if differ or not moves_here.any():
                x, _ = stage(x, own.flatten(0, 1) if differ else own[:, 0], noise)
            else:
                x, differ = stage.sweep(x, own, noise), True  # type: ignore[operator]
        maps = self.head(x).float()
        if not differ:
            maps = maps.repeat_interleave(steps, 0) if self.palette is not None else maps
        if self.palette is not None:
            return self.pixels(self.palette(maps, colours.flatten(0, 1))).unflatten(0, (-1, steps))
        maps = self.pixels(maps)
        return maps.unflatten(0, (-1, steps)) if differ else maps[:, None].expand(-1, steps, -1, -1, -1)


def control_masks(masks: Sequence[Float[Tensor, "b _ _ _"]], controls: Controls) -> tuple[Tensor, ...]:
    """Masks of controls from masks of latents: a control acts where the latents it moves act, in proportion to how far
    it moves them.  Control k is given at the resolution of latent k's stage."""
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
def changes(generator: AnyGenerator, z: Float[Tensor, "b z"], control: int) -> Float[Tensor, "b h w"]:
    """How much each pixel changes while a control goes from −2 to +2 around these inputs: the range of the channel that
    changes most, of a range of 2."""
    places = torch.linspace(-2, 2, ANGLE_STEPS if control in generator.angles else STEPS, device=z.device)
    swept = z[:, None].repeat(1, len(places), 1)
    swept[:, :, control] = places
    images = generator.sweeps(swept).clamp(-1, 1)
    return (images.amax(1) - images.amin(1)).amax(1)


@torch.no_grad()
def image_masks(generator: AnyGenerator, z: Float[Tensor, "b z"], controls: Sequence[int]) -> Float[Tensor, "b n h w"]:
    """Where these controls act in each of these images: their masks; where masks are open, what changes in that image,
    relative to the pixel that changes most."""
    if generator.has_masks:
        return generator(z).masks_at(*generator.size)[:, list(controls)]
    found = torch.stack([changes(generator, z, control) for control in controls], 1)
    return found / found.amax((2, 3), keepdim=True).clamp(min=MIN_CHANGE)


@torch.no_grad()
def change_masks(
    generator: AnyGenerator, z: Float[Tensor, "b z"], controls: Sequence[int]
) -> Float[np.ndarray, "n h w"]:
    """For each of these controls what it changes, mean over these inputs (the first 16), relative to the pixel that
    changes most; 0 if none changes visibly."""
    means = (changes(generator, z[:16], control).mean(0) for control in controls)
    return torch.stack([mean / mean.max().clamp(min=MIN_CHANGE) for mean in means]).cpu().numpy()


@torch.no_grad()
def mean_masks(
    generator: AnyGenerator, z: Float[Tensor, "b z"], controls: Sequence[int] | None = None
) -> Float[np.ndarray, "n h w"]:
    """Where each of these controls (all if not given) acts, at image resolution, averaged over these images: its mask;
    where masks are open, what changes while it goes from −2 to +2, from 0 to 1 at the place that changes most."""
    chosen = list(range(generator.controlled) if controls is None else controls)
    z = z.to(generator.device)
    if not generator.has_masks:
        return change_masks(generator, z, chosen)
    total = torch.stack([generator(part).masks_at(*generator.size).sum(0) for part in z.split(32)]).sum(0)
    return (total / len(z)).cpu().numpy()[chosen]
