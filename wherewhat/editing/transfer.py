"""Photographs with the attributes of other images.  b photographs, s sources, z codes, c channels, h w space."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wherewhat.editing.edit import take_controls
from wherewhat.editing.invert import Inversion
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, Canvas


@torch.no_grad()
def transfer(found: Inversion, sources: Float[Tensor, "s z"], controls: Sequence[int]) -> Float[Tensor, "b s c h w"]:
    """Each photograph that was inverted, with these controls set to each source's codes; in [−1, 1], not clipped."""
    made = [found.generator(take_controls(found.codes, codes, controls), found.noise).image for codes in sources]
    return torch.stack(made, 1)


def transfer_grid(
    photos: Float[Tensor, "b c h w"], sources: Float[Tensor, "s c h w"], grid: Float[Tensor, "b s c h w"], title: str
) -> Image.Image:
    """Photographs down the left, sources along the top, and each photograph with each source's attributes."""
    left, top = canvas.to_tiles(photos), canvas.to_tiles(sources)
    h, w = left.shape[1:3]
    cell, head = w + GAP, 26
    sheet = Canvas(3 * GAP + (len(top) + 1) * cell, head + 2 * GAP + (len(left) + 1) * (h + GAP))
    sheet.fitted(GAP, 5, title, sheet.image.width - 2 * GAP, 13)
    for k, tile in enumerate(top):
        sheet.tile(3 * GAP + (k + 1) * cell, head, tile)
    for i, tile in enumerate(left):
        y = head + 2 * GAP + (i + 1) * (h + GAP)
        sheet.tile(GAP, y, tile)
        for k, made in enumerate(canvas.to_tiles(grid[i])):
            sheet.tile(3 * GAP + (k + 1) * cell, y, made)
    return sheet.image
