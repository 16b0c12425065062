"""From an image to a vector: the one trunk of discriminator, recogniser and encoder."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.config import TrunkConfig
from wherewhat.nn import ops
from wherewhat.nn.controls import Controls
from wherewhat.nn.layers import Conv, Dense, joined, leaky


class Halving(nn.Module):
    """StyleGAN2's discriminator block: two convolutions and a shortcut, to half the sides."""

    def __init__(self, inputs: int, outputs: int, equalised: bool) -> None:
        super().__init__()
        self.first = Conv(inputs, inputs, 3, equalised=equalised)
        self.second = Conv(inputs, outputs, 3, equalised=equalised)
        self.skip = Conv(inputs, outputs, 1, equalised=equalised)

    def forward(self, x: Tensor) -> Tensor:
        straight = F.avg_pool2d(leaky(self.second(leaky(self.first(x)))), 2)
        return joined(straight, self.skip(F.avg_pool2d(x, 2)))


class Trunk(nn.Module):
    """Image in, `outputs` numbers out.  With `compare`, it also sees how images of a batch differ (minibatch standard
    deviation): for the discriminator only, since codes must not depend on the other images of a batch."""

    def __init__(
        self, config: TrunkConfig, size: tuple[int, int], channels: int, outputs: int, compare: bool = False
    ) -> None:
        super().__init__()
        self.compare, equal = compare, config.equalised
        widths = list(config.widths)
        if config.kind == "strided":
            pairs = zip([channels, *widths[:-1]], widths, strict=True)
            self.blocks = nn.Sequential(*(m for a, b in pairs for m in (nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2))))
            self.last: Conv | None = None
        else:
            pairs = zip([widths[0], *widths[:-1]], widths, strict=True)
            self.blocks = nn.Sequential(
                Conv(channels, widths[0], 1, equalised=equal),
                nn.LeakyReLU(0.2),
                *(Halving(a, b, equal) for a, b in pairs),
            )
            self.last = Conv(widths[-1] + compare, widths[-1], 3, equalised=equal)
        height, width = (side >> len(widths) for side in size)
        self.hidden = Dense(widths[-1] * height * width, config.hidden, equalised=equal)
        self.out = Dense(config.hidden, outputs, equalised=equal)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b outputs"]:
        x = self.blocks(images.contiguous(memory_format=torch.channels_last))
        if self.compare:
            x = ops.minibatch_std(x)
        if self.last is not None:
            x = leaky(self.last(x))
        return self.out(leaky(self.hidden(x.flatten(1)))).float()


class Recogniser(nn.Module):
    """Reads latents from images: a number each, or a mean and a log-variance each for an autoencoder's encoder."""

    def __init__(
        self, config: TrunkConfig, size: tuple[int, int], channels: int, codes: int, variational: bool = False
    ) -> None:
        super().__init__()
        self.codes = codes
        self.controls: Controls | None = None
        """what is told in place of the latents; none while training"""
        self.trunk = Trunk(config, size, channels, codes * (2 if variational else 1))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b z"]:
        """The codes (the posterior's mean) of images in [−1, 1]."""
        codes = self.trunk(images)[:, : self.codes]
        return self.controls.read(codes) if self.controls else codes

    def posterior(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b z"], Float[Tensor, "b z"]]:
        """Mean and log-variance (kept in −12 … 4) of the codes; variational recognisers only."""
        mean, log_variance = self.trunk(images).chunk(2, 1)
        return mean, log_variance.clamp(-12, 4)
