"""Edits of codes, photographs with an edit applied or with attributes of others.

b photographs, s sources, z codes, c channels, h w space.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wherewhat.editing.invert import Inversion
from wherewhat.editing.photograph import blend
from wherewhat.errors import UserError
from wherewhat.nn.controls import ANGLE_RANGE
from wherewhat.run.folder import Run
from wherewhat.run.names import find_control, find_controls
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, LABEL_WIDTH, Canvas


class Change(NamedTuple):
    control: int
    value: float
    relative: bool  # whether the value is added to the code; else it replaces the code


def read_change(run: Run, text: str) -> Change:
    """smile=+2 and smile=-1 move a control by a value; smile=2 and smile==-1 set it to one.  Raises UserError."""
    name, _, number = (part.strip() for part in text.partition("="))
    if not re.fullmatch(r"=?[+-]?(\d+\.?\d*|\.\d+)", number):
        raise UserError(
            f"--set {text}: write NAME=+2 or NAME=-1 to move a control by a value, NAME=2 or NAME==-1 to set it to one"
        )
    return Change(find_control(run, name), float(number.removeprefix("=")), number[0] in "+-")


def read_source(run: Run, text: str) -> tuple[Path, list[int]]:
    """The picture and the controls of other.png:hair or other.png:hair,glasses.  Raises UserError."""
    picture, _, names = text.rpartition(":")
    if not picture or not names:
        raise UserError(f"--from {text}: write PICTURE:NAME, or PICTURE:NAME,NAME for several controls")
    return Path(picture).expanduser(), find_controls(run, names)


def apply_changes(
    codes: Float[Tensor, "b z"], changes: Sequence[Change], angles: Sequence[int] = ()
) -> Float[Tensor, "b z"]:
    """A copy of the codes with these changes made in order.  Angles wrap around: beyond +2 they continue from −2."""
    codes = codes.clone()
    for control, value, relative in changes:
        new = codes[:, control] + value if relative else torch.full_like(codes[:, control], value)
        if control in angles:
            new = torch.remainder(new + ANGLE_RANGE, 2 * ANGLE_RANGE) - ANGLE_RANGE
        codes[:, control] = new
    return codes


def take_controls(
    codes: Float[Tensor, "b z"], source: Float[Tensor, " z"], controls: Sequence[int]
) -> Float[Tensor, "b z"]:
    """A copy of the codes with these controls as another image has them."""
    codes = codes.clone()
    codes[:, list(controls)] = source[list(controls)]
    return codes


def onto(
    photos: Float[Tensor, "b c h w"], before: Float[Tensor, "b c h w"], after: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b c h w"]:
    """The photographs, at the run's resolution, changed where the edit changes their reconstruction; in [−1, 1]."""
    keep, add = blend(photos, before, after)
    return (photos * keep + add).clamp(-1, 1)


def comparison_sheet(
    names: Sequence[str], columns: Sequence[tuple[str, Float[Tensor, "b c h w"]]], lines: Sequence[Sequence[str]]
) -> Image.Image:
    """One row for each photograph, with its name and its lines of text; one titled column for each list of images."""
    tiles = [canvas.to_tiles(images) for _, images in columns]
    h, w = tiles[0].shape[1:3]
    row = max(h, 22 + 17 * max(map(len, lines))) + GAP
    sheet = Canvas(LABEL_WIDTH + len(columns) * (w + GAP), 24 + len(names) * row)
    for k, (title, _) in enumerate(columns):
        sheet.fitted(LABEL_WIDTH + k * (w + GAP), 5, title, w, 12)
    for i, name in enumerate(names):
        y = 24 + i * row
        sheet.words(y, name, lines[i], 14)
        sheet.tiles(LABEL_WIDTH, y, [tile[i] for tile in tiles])
    return sheet.image


@torch.no_grad()
def transfer(found: Inversion, sources: Float[Tensor, "s z"], controls: Sequence[int]) -> Float[Tensor, "b s c h w"]:
    """Each photograph that was inverted, with these controls set to each source's codes; in [−1, 1], not clipped."""
    made = [found.generator.images(take_controls(found.codes, codes, controls), found.noise) for codes in sources]
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
    sheet.tiles(3 * GAP + cell, head, top)
    for i, tile in enumerate(left):
        y = head + 2 * GAP + (i + 1) * (h + GAP)
        sheet.tile(GAP, y, tile)
        sheet.tiles(3 * GAP + cell, y, canvas.to_tiles(grid[i]))
    return sheet.image
