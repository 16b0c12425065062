"""From an image to a vector: encoder and discriminators.  b batch, z latents, c channels, h w space."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.config import TrunkConfig
from wherewhat.nn import ops
from wherewhat.nn.controls import Controls
from wherewhat.nn.layers import SLOPE, Conv, Dense, leaky_relu, residual_add


class DownBlock(nn.Module):
    """StyleGAN2's discriminator block: two convolutions and a shortcut, to half the height and width."""

    def __init__(self, inputs: int, outputs: int, equalized: bool) -> None:
        super().__init__()
        self.first = Conv(inputs, inputs, 3, equalized=equalized)
        self.second = Conv(inputs, outputs, 3, equalized=equalized)
        self.skip = Conv(inputs, outputs, 1, equalized=equalized)

    def forward(self, x: Tensor) -> Tensor:
        residual = F.avg_pool2d(leaky_relu(self.second(leaky_relu(self.first(x)))), 2)
        return residual_add(residual, self.skip(F.avg_pool2d(x, 2)))


class Trunk(nn.Module):
    """Image in, `outputs` numbers out.  With `use_minibatch_std` each image is also told apart by how the images of its
    batch vary (Karras et al. 2018): for discriminators only, since codes must not depend on other images."""

    def __init__(
        self, config: TrunkConfig, size: tuple[int, int], channels: int, outputs: int, use_minibatch_std: bool = False
    ) -> None:
        """size: height and width of the images; channels: of the images."""
        super().__init__()
        self.use_minibatch_std, equalized, self.slope = use_minibatch_std, config.equalized, config.slope
        sizes = list(config.channels)
        if config.kind == "strided":
            pairs = zip([channels, *sizes[:-1]], sizes, strict=True)
            self.blocks = nn.Sequential(
                *(m for a, b in pairs for m in (nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(config.slope)))
            )
            self.last: Conv | None = None
        else:
            pairs = zip([sizes[0], *sizes[:-1]], sizes, strict=True)
            self.blocks = nn.Sequential(
                Conv(channels, sizes[0], 1, equalized=equalized),
                nn.LeakyReLU(0.2),
                *(DownBlock(a, b, equalized) for a, b in pairs),
            )
            self.last = Conv(sizes[-1] + use_minibatch_std, sizes[-1], 3, equalized=equalized)
        height, width = (side >> len(sizes) for side in size)
        maps = sizes[-1] + (use_minibatch_std and self.last is None)
        self.hidden = Dense(maps * height * width, config.hidden, equalized=equalized)
        self.out = Dense(config.hidden, outputs, equalized=equalized)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b outputs"]:
        x = self.blocks(images.contiguous(memory_format=torch.channels_last))
        if self.use_minibatch_std:
            x = ops.minibatch_std(x)
        if self.last is not None:
            x = leaky_relu(self.last(x))
        return self.out(leaky_relu(self.hidden(x.flatten(1)), self.slope)).float()


class Discriminator(nn.Module):
    """One logit an image: high for real ones."""

    def __init__(self, config: TrunkConfig, size: tuple[int, int], channels: int) -> None:
        super().__init__()
        self.trunk = Trunk(config, size, channels, 1, use_minibatch_std=True)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1"]:
        return self.trunk(images)


class FeatureDiscriminator(nn.Module):
    """A light head on each map of a frozen network, and a logit of each (Projected GAN, Sauer et al. 2021).  The
    network itself is not part of it: it is neither trained nor saved."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """channels: of each map; width: of the heads."""
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(c, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(0.2),
                nn.Conv2d(width, 1, 1),
            )
            for c in channels
        )  # fmt: skip

    def forward(self, *maps: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b heads"]:
        """Mean logit over the places of each map."""
        logits = (head(x).float().mean((1, 2, 3)) for head, x in zip(self.heads, maps, strict=True))
        return torch.stack(list(logits), 1)


class CodeDiscriminator(nn.Module):
    """One logit a vector of codes: high for codes of images, low for codes that were permuted (Kim & Mnih 2018)."""

    def __init__(self, latents: int, layers: int, units: int) -> None:
        super().__init__()
        sizes = [latents, *[units] * layers]
        hidden = (m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.LeakyReLU(SLOPE)))
        self.layers = nn.Sequential(*hidden, nn.Linear(units, 1))

    def forward(self, codes: Float[Tensor, "b z"]) -> Float[Tensor, "b 1"]:
        return self.layers(codes).float()


class Encoder(nn.Module):
    """Reads codes from images (the paper's Q): one number a latent; if variational, mean and log-variance of each."""

    def __init__(
        self, config: TrunkConfig, size: tuple[int, int], channels: int, latents: int, variational: bool = False
    ) -> None:
        super().__init__()
        self.latents = latents
        self.controls: Controls | None = None
        """if set, codes are given as these controls; None while training"""
        self.trunk = Trunk(config, size, channels, latents * (2 if variational else 1))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b z"]:
        """The codes (means of the posterior) of images in [−1, 1]."""
        codes = self.trunk(images)[:, : self.latents]
        return self.controls.encode(codes) if self.controls else codes

    def posterior(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b z"], Float[Tensor, "b z"]]:
        """Mean and log-variance (clamped to −12 … 4) of the latents; variational encoders only."""
        mean, log_variance = self.trunk(images).chunk(2, 1)
        return mean, log_variance.clamp(-12, 4)
