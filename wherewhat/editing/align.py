"""The best crop of a photograph without knowing what is in it: the one that the run draws best.  b crops."""

import math
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wherewhat.editing.invert import PIXEL_WEIGHT
from wherewhat.editing.photograph import LARGEST, SMALLEST, Crop, Photograph, box_of
from wherewhat.metrics.distance import Distance
from wherewhat.nn.ops import to_float
from wherewhat.progress import Work
from wherewhat.run.folder import Run

SIZES = (1.4, 1.2, 1.0, 0.85, 0.7, 0.6, 0.5, 0.4)
STRIDE = 1 / 4  # of a crop's side: the most that crops of the grid lie apart
KEPT = 3  # crops of the grid from which descent starts
FINEST = 1 / 256  # of the crop's size: steps become half as large until they are smaller


def aligning(run: Run, photo: Photograph, distance: Distance, device: str = "cpu") -> Work[Crop]:
    """The crop whose reconstruction by encoder and generator misses least of it: all of a coarse grid, then from the
    best of them steps that become smaller.  The miss is relative to that of the crop's mean colour, so that plain
    parts do not win."""
    image = photo.preview

    @torch.no_grad()
    def misses(crops: list[Crop]) -> Float[Tensor, " b"]:
        pixels = np.stack([photo.cut(crop, image) for crop in crops])
        images = to_float(torch.from_numpy(pixels).to(device))
        made = run.generator.to(device).images(run.encoder.to(device)(images)).clamp(-1, 1)
        plain = images.mean((2, 3), keepdim=True).expand_as(images)
        drawn, nothing = (
            distance(other, images) + PIXEL_WEIGHT * (other - images).square().mean((1, 2, 3))
            for other in (made, plain)
        )
        return drawn / nothing.clamp(min=1e-3)

    grid = _grid(photo, image)
    best: list[tuple[float, Crop]] = []
    for first in range(0, len(grid), 32):
        yield "crop", first / len(grid) / 2
        part = grid[first : first + 32]
        best = sorted([*best, *zip(misses(part).tolist(), part, strict=True)])[:KEPT]
    step = 1 / 8
    while step > FINEST:
        yield "crop", 0.5 + 0.5 * (1 / 8 - step) * 8
        around = [near for _, crop in best for near in _around(crop, step)]
        found = sorted([*best, *zip(misses(around).tolist(), around, strict=True)])
        if found[0] == best[0]:
            step /= 2
        best = found[:KEPT]
    return best[0][1]


def _grid(photo: Photograph, image: Image.Image) -> list[Crop]:
    """Crops of all sizes wherever they fit."""
    found = []
    for size in SIZES:
        left, top, right, bottom = box_of(photo.form, Crop(size=size), image)
        rows, columns = _places((bottom - top) / image.height), _places((right - left) / image.width)
        found += [Crop(row, column, size) for row, column in product(rows, columns)]
    return found


def _places(share: float) -> list[float]:
    """Centres of crops that take this share of a side of the photograph."""
    room = max(0.0, 1 - share)
    steps = math.ceil(room / (STRIDE * share))
    return [0.5 + room * (k / steps - 0.5) for k in range(steps + 1)] if steps else [0.5]


def _around(crop: Crop, step: float) -> list[Crop]:
    """Crops a step away in place or size."""
    moves = [(r, c, s) for r, c, s in product((-1, 0, 1), repeat=3) if abs(r) + abs(c) + abs(s) == 1]
    return [
        Crop(
            min(max(crop.row + r * step * crop.size, 0.0), 1.0),
            min(max(crop.column + c * step * crop.size, 0.0), 1.0),
            min(max(crop.size * (1 + s * step), SMALLEST), LARGEST),
        )
        for r, c, s in moves
    ]
