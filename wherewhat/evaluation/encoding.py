"""Codes of images by a run's encoder, and its generator as a plain function."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from wherewhat.data.batches import Images, draw_index
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import AnyGenerator
from wherewhat.nn.ops import to_float
from wherewhat.progress import Progress, silent


class Encoded(NamedTuple):
    """Codes of images and the factors they were made from."""

    codes: Float[np.ndarray, "n z"]
    factors: Integer[np.ndarray, "n f"]


def encode(
    encoder: Encoder, data: Images, count: int, seed: int = 0, progress: Progress = silent, batch: int = 256
) -> Encoded:
    """Codes and factors of `count` images drawn without replacement; of all images, in order, if there are no more.
    Factors that are not known have no columns."""
    index = draw_index(data, count, seed)
    factors = data.factors.values(index) if data.factors else np.zeros((len(index), 0), np.int64)
    return Encoded(encode_images(encoder, data, index, progress, batch), factors)


@torch.no_grad()
def encode_images(
    encoder: Encoder, data: Images, index: Integer[np.ndarray, " n"], progress: Progress = silent, batch: int = 256
) -> Float[np.ndarray, "n z"]:
    """Codes of these images."""
    device = next(encoder.parameters()).device
    codes = []
    for first in range(0, len(index), batch):
        images = torch.from_numpy(data.images(index[first : first + batch])).to(device)
        codes.append(encoder(to_float(images)).cpu().numpy())
        progress("encoding", first / len(index))
    return np.concatenate(codes)


class ImagesOf:
    """The generator as a function from latents to images in [−1, 1], its fixed noise the same for all."""

    def __init__(self, generator: AnyGenerator) -> None:
        self.generator = generator

    def __call__(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b c h w"]:
        return self.generator.images(z).clamp(-1, 1)

    def sweeps(self, z: Float[Tensor, "t s z"]) -> Float[Tensor, "t s c h w"]:
        """Images of t sweeps; stages that a sweep does not touch are computed once."""
        return self.generator.sweeps(z).clamp(-1, 1)
