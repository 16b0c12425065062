"""How different two images look: LPIPS 0.1 (Zhang et al. 2018, arXiv 1801.03924), or plain pixels by explicit choice.

A distance turns an image into features once; the distance of two images is the sum over its maps of the mean over
pixels of the squared difference. So a sweep of s images costs s passes through the network, not 2(s-1).
b images, t sweeps of s images each, c channels, h w space.  Images are in [-1, 1]."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from wherewhat.errors import UserError
from wherewhat.metrics.networks import NETWORKS, head_name, network_of, smallest, tensor_shapes
from wherewhat.metrics.weights import find_weights

NORM_EPSILON = 1e-10  # keeps the unit-normalisation of a pixel without any feature finite
MEAN, STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's statistics for images in [-1, 1]: version 0.1 applies them itself"""
RESIZE_FROM, RESIZE_TO = 512, 256  # an image with a side of the first is averaged until its longer side is the second


class Lpips(nn.Module):
    """Learned perceptual distance, version 0.1: a backbone's ReLUs at unit length, each channel weighed by a head.
    Weights bear the names of torchvision's files (features.0.weight) and the lpips package's (lin0.model.1.weight).
    Differentiable in the images, never in the weights; always float32."""

    def __init__(self, weights: Mapping[str, Tensor], source: str = "these weights") -> None:
        super().__init__()
        self.name = network_of(weights, source)
        self.layers = NETWORKS[self.name]
        fixed = {name: nn.Parameter(weights[name].float().contiguous(), False) for name in tensor_shapes(self.name)}
        self.kernels = nn.ParameterList(fixed[f"{layer.name}.weight"] for layer in self.layers)
        self.biases = nn.ParameterList(fixed[f"{layer.name}.bias"] for layer in self.layers)
        self.heads = nn.ParameterList(fixed[head_name(i)] for i in range(sum(layer.tap for layer in self.layers)))

    @property
    def options(self) -> dict[str, str]:
        """What to store beside each number; `weights` tells apart files of other training, not of another format."""
        content = hashlib.sha256()
        for weights in self.parameters():
            content.update(weights.detach().cpu().numpy().tobytes())
        return {"network": self.name, "lpips": "0.1", "weights": content.hexdigest()[:8], **_PREPARED}

    def units(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        """One map a tap, each pixel's channels of unit length (0 where none is active)."""
        device = self.kernels[0].device
        with torch.autocast(device.type, enabled=False):
            x = _prepared(images.to(device))
            _refuse_small(x, self.name)
            x = (x - x.new_tensor(MEAN).view(3, 1, 1)) / x.new_tensor(STD).view(3, 1, 1)
            x = x.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU from 128 pixels on
            maps = []
            for layer, kernel, bias in zip(self.layers, self.kernels, self.biases, strict=True):
                if layer.pool:
                    x = functional.max_pool2d(x, layer.pool, stride=2)
                x = functional.conv2d(x, kernel, bias, layer.stride, layer.padding).relu_()
                if layer.tap:
                    maps.append(_unit_length(x))
            return tuple(maps)

    def features(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        """One map a tap, each pixel of unit length, times the root of the head: squared differences are LPIPS."""
        return tuple(x.mul_(head.sqrt()) for x, head in zip(self.units(images), self.heads, strict=True))

    def forward(self, a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return _between(self.features(a), self.features(b))

    @torch.no_grad()
    def path(self, images: Float[Tensor, "t s c h w"], batch: int = 32) -> Float[Tensor, "t s-1"]:
        """Distances of neighbours along s, each image measured once; `batch` images at a time bounds the memory."""
        return _along(self.features, images, batch)


class Pixels(nn.Module):
    """Mean over pixels and channels of the squared difference of images in [-1, 1]: from 0 to 4, no network."""

    name = "pixels"

    @property
    def options(self) -> dict[str, str]:
        """What to store beside each number."""
        return {"network": self.name, **_PREPARED}

    def features(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b 3 _ _"]]:
        """The image itself, one map, divided by the root of its channels so that their sum is their mean."""
        return (_prepared(images) / 3**0.5,)

    def forward(self, a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return _between(self.features(a), self.features(b))

    @torch.no_grad()
    def path(self, images: Float[Tensor, "t s c h w"], batch: int = 32) -> Float[Tensor, "t s-1"]:
        """Distances of neighbours along s; `batch` images at a time bounds the memory."""
        return _along(self.features, images, batch)


Distance = Lpips | Pixels
_PREPARED = {"range": "-1..1", "resize": f"from {RESIZE_FROM} on by area to {RESIZE_TO}"}


def _prepared(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 _ _"]:
    """Three channels (grey is repeated, alpha dropped), float32, large images area-averaged, small ones as they are."""
    channels, *sides = images.shape[1:]
    if channels not in (1, 3, 4):
        raise UserError(f"images of {channels} channels: a distance takes 1 (grey), 3 (RGB) or 4 (RGB and alpha)")
    images = images[:, :3].float()
    if max(sides) >= RESIZE_FROM:
        h, w = (max(1, round(side * RESIZE_TO / max(sides))) for side in sides)
        images = functional.adaptive_avg_pool2d(images, (h, w))
    return images.expand(-1, 3, -1, -1)


def _refuse_small(images: Float[Tensor, "b c h w"], network: str) -> None:
    """Nothing is enlarged, so an image must leave at least one pixel for the last convolution."""
    least, (h, w) = smallest(network), images.shape[2:]
    if min(h, w) < least:
        raise UserError(f"images of {h}x{w}: LPIPS-{network} needs sides of {least} or more and nothing is enlarged. "
                        f"Use --distance {'vgg or ' if smallest('vgg') <= min(h, w) else ''}pixels")  # fmt: skip


def _unit_length(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Each pixel's channels as a vector of length 1; 0 stays 0, with a finite gradient."""
    return x * (torch.linalg.vector_norm(x, dim=1, keepdim=True) + NORM_EPSILON).reciprocal()


def _between(a: Sequence[Tensor], b: Sequence[Tensor]) -> Float[Tensor, " b"]:
    """Sum over maps of the mean over pixels of the squared difference of two lists of features."""
    return torch.stack([(x - y).square_().sum(1).mean((1, 2)) for x, y in zip(a, b, strict=True)]).sum(0)


def _along(
    features: Callable[[Tensor], tuple[Tensor, ...]], images: Float[Tensor, "t s c h w"], batch: int
) -> Float[Tensor, "t s-1"]:
    """Distance of each image to the one before it, in one row; the step into each sweep's first image is dropped."""
    before, steps = None, []
    for chunk in images.flatten(0, 1).split(batch):
        now = features(chunk)
        steps.append(now[0].new_zeros(1) if before is None else _between(before, [x[:1] for x in now]))
        steps.append(_between([x[:-1] for x in now], [x[1:] for x in now]))
        before = [x[-1:].clone() for x in now]  # a view would keep the whole chunk alive
    return torch.cat(steps).view(images.shape[:2])[:, 1:]


def load_distance(name: str | Path, device: str | torch.device = "cpu") -> Distance:
    """`alex` or `vgg` from the cache, `pixels`, or a user's weights: a file, `one,other`, or a folder."""
    if name == "pixels":
        return Pixels()
    return Lpips(*find_weights(str(name))).to(device)
