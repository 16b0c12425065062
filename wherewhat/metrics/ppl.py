"""Perceptual path length (Karras et al. 2019): how much an image changes when its latents move a little.

Low where the space is smooth; a generator that always makes the same image scores 0.  n pairs of latents, z of each.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wherewhat.errors import UserError
from wherewhat.metrics.tpl import Distance, check_images

EPSILON = 1e-4  # step along the way from one latent to the other, whose whole length is 1
DISCARDED = 0.01  # share of the pairs left out at either end, as StyleGAN does
MAX_SIDE = 256  # larger images are area-averaged until their longer side is this

Along = Literal["full", "end"]  # steps anywhere between two latents, or at the first of them
Interpolate = Callable[[Tensor, Tensor, Tensor], Tensor]
"""from two tensors of latents (b z) and shares of the way (b 1) to latents on the way (b z)"""


class PathLength(NamedTuple):
    """Mean over the pairs that are kept."""

    value: float
    error: float  # standard error over these pairs
    lengths: Float[np.ndarray, " n"]  # of all pairs
    options: dict[str, Any]


@torch.no_grad()
def path_length(
    generate: Callable[[Tensor], Tensor],
    pairs: tuple[Float[np.ndarray, "n z"], Float[np.ndarray, "n z"]],
    distance: Distance,
    interpolate: Interpolate = torch.lerp,
    along: Along = "full",
    seed: int = 0,
    batch: int = 64,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> PathLength:
    """Mean of distance(G(z at t), G(z at t + ε)) / ε² over pairs of latents drawn from the prior, t uniform (`full`) or
    0 (`end`), without the lowest and highest hundredth.

    interpolate: the way from one latent to the other, which should be typical of the prior (`wherewhat.priors.slerp`
    for a normal one).  generate: latents (b × z) to images (b c h w) in [−1, 1], with the same noise for all.  Raises
    UserError if it returns others.
    """
    first, last = (torch.from_numpy(z) for z in pairs)
    count = len(first)
    if count < 2:
        raise UserError(f"{count} pairs of latents: a path length needs 2 or more")
    t = np.random.default_rng([seed, 1]).random((count, 1), np.float32) * (along == "full")
    start = torch.from_numpy(t)
    lengths = np.empty(count)
    for at in range(0, count, batch):
        a, b, s = (x[at : at + batch] for x in (first, last, start))
        z = torch.stack([interpolate(a, b, s), interpolate(a, b, s + EPSILON)], 1)
        images = generate(z.flatten(0, 1).to(device))
        check_images(images, 2 * len(a))
        lengths[at : at + batch] = distance.path(_reduced(images.float()).unflatten(0, (-1, 2)))[:, 0].cpu().numpy()
        if progress:
            progress(at / count)
    lengths /= EPSILON**2
    low = np.quantile(lengths, DISCARDED, method="lower")
    high = np.quantile(lengths, 1 - DISCARDED, method="higher")
    kept = lengths[(lengths >= low) & (lengths <= high)]
    options = {
        "along": along, "epsilon": EPSILON, "pairs": count,
        "discarded": DISCARDED, "seed": seed, **distance.options, "resize": f"over {MAX_SIDE} by area to {MAX_SIDE}",
    }  # fmt: skip
    return PathLength(float(kept.mean()), float(kept.std(ddof=1) / np.sqrt(len(kept))), lengths, options)


def _reduced(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
    h, w = images.shape[2:]
    longer = max(h, w)
    if longer <= MAX_SIDE:
        return images
    return functional.adaptive_avg_pool2d(
        images, (max(1, round(h * MAX_SIDE / longer)), max(1, round(w * MAX_SIDE / longer)))
    )
