"""Networks whose features tell how good a set of images is: LPIPS's own (small, quick), or FID's Inception (exact).

Each is given images as they are stored (uint8), and its `options` say all that changes a number measured with it.
Numbers of different networks are never comparable.  b images, c channels, h w space, d features."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from wherewhat.errors import UserError
from wherewhat.metrics.distance import Lpips, load_distance
from wherewhat.metrics.weights import INCEPTION_SHA256, inception_file, inception_program

BACKBONES = ("alex", "vgg", "inception")

INCEPTION_SIDE = 299  # of the images that Inception takes


@runtime_checkable
class Backbone(Protocol):
    """Images to features."""

    @property
    def options(self) -> dict[str, Any]: ...
    def __call__(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]: ...


class Pooled:
    """LPIPS's maps of unit length, averaged over the image, one after the other: 1152 features for alex, 1472 for vgg.
    They are scaled by one constant so that |x|² is at most d, which is what the kernel of KID is made for."""

    def __init__(self, network: Lpips) -> None:
        self.network = network

    @property
    def options(self) -> dict[str, Any]:
        """What to store beside each number."""
        return {**self.network.options, "features": "maps of unit length, pooled"}

    def __call__(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        maps = self.network.units(images.float() / 127.5 - 1)
        pooled = torch.cat([x.mean((2, 3)) for x in maps], 1)
        return pooled * (pooled.shape[1] / len(maps)) ** 0.5


class Inception:
    """The 2048 pooled features of the network FID is defined with.  Images are resized to 299 x 299 as clean-fid does
    it (Parmar et al. 2022): bicubic, antialiased, without rounding. Other resizing gives other numbers, by several
    points of FID for small images."""

    options: dict[str, Any] = {  # noqa: RUF012
        "network": "inception", "weights": INCEPTION_SHA256[:8], "features": "pool",
        "resize": f"bicubic, antialiased, to {INCEPTION_SIDE}",
    }  # fmt: skip

    def __init__(self, program: Callable[[Tensor], Tensor]) -> None:
        self.program = program

    def __call__(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Grey is repeated, alpha dropped."""
        x = images[:, :3].float().expand(-1, 3, -1, -1)
        x = functional.interpolate(x, (INCEPTION_SIDE, INCEPTION_SIDE), mode="bicubic", antialias=True)
        return self.program(((x - 128) / 128).contiguous(memory_format=torch.channels_last))


def load_backbone(name: str, device: str | torch.device = "cpu") -> Backbone:
    """`inception`, or whichever LPIPS load_distance knows: alex, vgg, a path.  Raises UserError if it is not here."""
    if name == "inception":
        return Inception(inception_program(inception_file()).to(device))
    if name == "pixels":
        raise UserError(f"pixels are no features to judge a set of images by; there is: {', '.join(BACKBONES)}")
    network = load_distance(name, device)
    assert isinstance(network, Lpips)
    return Pooled(network)
