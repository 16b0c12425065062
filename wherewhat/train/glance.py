"""What a training shows of itself now and then: pictures, and a quick TPL."""

import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch

from wherewhat.data.batches import Images, order
from wherewhat.errors import UserError
from wherewhat.evaluate import Pictures, describe, encode, tpl_rows
from wherewhat.explore import canvas, traverse
from wherewhat.metrics.distance import Distance, load_distance, smallest
from wherewhat.metrics.tpl import tpl
from wherewhat.nn.generator import Generator, mean_masks
from wherewhat.nn.trunk import Recogniser
from wherewhat.runs import Run, draw_prior

COLUMNS = 10
"""images a row of samples"""
ENCODED = 5_000
"""images read to name the factor of each slider, where factors are known"""


class Glance(NamedTuple):
    """Paths of pictures by name, scores by name."""

    pictures: dict[str, Path]
    scores: dict[str, float]


def glance(run: Run, generator: Generator, recogniser: Recogniser, data: Images, images: int) -> Glance:
    """Draw samples, traversals and masks into the run folder; measure TPL `small` if its network is on this machine."""
    device = generator.constant.device
    stem = f"{images // 1000:06d}k"
    z = torch.from_numpy(draw_prior(run.config, 64, 0)).to(device)  # the same each time, so that pictures compare
    real = torch.from_numpy(data.images(order(len(data), 0, 0, COLUMNS))).to(device).float() / 127.5 - 1
    pictures = {"samples": traverse.samples(sample_rows(generator, recogniser, real, z))}
    plain = [traverse.Slider(i, f"z{i}") for i in range(generator.config.codes)]
    scores: dict[str, float] = {}
    distance = quick_distance(str(device), min(generator.size))
    if distance is not None:
        result = tpl(Pictures(generator), generator.config.codes, distance, "small", device=device)
        encoded = encode(recogniser, data, ENCODED) if data.factors else None
        dimensions = describe(generator, result, encoded, data)
        for row in tpl_rows(result, "small", dimensions):
            run.log_metric({"images": images, **row})
        scores = {"tpl": result.score, "active": float(result.active.sum())}
        plain = traverse.sliders(dimensions, run.names)
    masks = mean_masks(generator, z)
    note = f"{run.config.recipe}, {images:,} images seen"
    with torch.no_grad():
        base = recogniser(real)[0] if run.config.autoencoder else z[0]
    pictures["traversals"] = traverse.traversals(generator, plain, base, masks, footnote=note)
    pictures["masks"] = traverse.single_masks(generator, plain, z[:6])
    saved = {n: canvas.save_still(p, run.picture(f"{stem}-{n}.png")) for n, p in pictures.items()}
    return Glance(saved, scores)


@torch.no_grad()
def sample_rows(
    generator: Generator, recogniser: Recogniser, real: torch.Tensor, z: torch.Tensor
) -> list[tuple[str, torch.Tensor]]:
    """Images of the data; the same read by the recogniser and made again by the generator; images from the prior."""
    again = generator(recogniser(real)).image
    made = generator(z[: 2 * COLUMNS]).image
    return [("data", real), ("read, then made again", again), ("made", made[:COLUMNS]), ("", made[COLUMNS:])]


@lru_cache(maxsize=2)
def quick_distance(device: str, side: int) -> Distance | None:
    """LPIPS-AlexNet (VGG for small images); None, said once, if its weights are not on this machine or images are too
    small for both."""
    network = next((name for name in ("alex", "vgg") if side >= smallest(name)), None)
    try:
        if network is None:
            raise UserError(f"images of {side} pixels are too small for LPIPS")
        return load_distance(network, device)
    except UserError as error:
        print(f"TPL is not shown while training: {error}", file=sys.stderr)
        return None
