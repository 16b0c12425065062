"""Pictures of masks.  Colours have the same scale in all of them: 0 is black, 1 is pale yellow."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wherewhat.nn.generator import Generator, mean_masks
from wherewhat.run.folder import Run
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, Canvas
from wherewhat.viz.labels import ControlLabel

AVERAGED = 64  # images over which masks are averaged


def masks_of_run(run: Run, seed: int = 0, device: str = "cpu") -> Float[np.ndarray, "z h w"]:
    """The mask of each control, averaged over images drawn from the prior."""
    return mean_masks(run.generator.to(device), torch.from_numpy(run.draw(AVERAGED, seed)))


@torch.no_grad()
def single_masks(generator: Generator, controls: Sequence[ControlLabel], z: Float[Tensor, "b z"]) -> Image.Image:
    """A row for each image: the image, then the mask of each control.  It shows how far masks follow the image."""
    made = generator(z)
    images = canvas.to_tiles(made.image)
    masks = made.masks_at(*generator.size).cpu().numpy()
    h, w = images.shape[1:3]
    sheet = Canvas((len(controls) + 1) * (w + GAP) + GAP, 24 + len(z) * (h + GAP) + 42)
    for k, control in enumerate(controls, 1):
        sheet.fitted(GAP + k * (w + GAP), 5, control.title, w, 12)
    for i, image in enumerate(images):
        y = 24 + i * (h + GAP)
        sheet.tile(GAP, y, image)
        for k, control in enumerate(controls, 1):
            sheet.tile(GAP + k * (w + GAP), y, canvas.heat(masks[i, control.index], (h, w)))
    legend(sheet, GAP, 24 + len(z) * (h + GAP) + 8)
    return sheet.image


def legend(sheet: Canvas, x: int, y: int, footnote: str = "") -> None:
    """Draw the scale of masks, and a footnote beside it."""
    ramp = np.linspace(0, 1, 120)[None].repeat(10, 0)
    sheet.text(x, y + 1, "mask 0", 11, fill=canvas.QUIET)
    sheet.tile(x + 46, y + 3, canvas.heat(ramp, (10, 120)))
    sheet.text(x + 171, y + 1, "1", 11, fill=canvas.QUIET)
    sheet.text(x + 200, y + 1, footnote, 11, fill=canvas.QUIET)
