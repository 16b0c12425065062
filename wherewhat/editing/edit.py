"""Edits of codes, and pictures of what they do.  b photographs, s sources, z codes, c channels, h w space."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from wherewhat.data.pictures import Form, decode, open_picture
from wherewhat.errors import UserError
from wherewhat.nn import controls
from wherewhat.nn.generator import Generator
from wherewhat.run.folder import Run
from wherewhat.run.names import find_control
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, Canvas
from wherewhat.viz.traversals import LABEL


class Change(NamedTuple):
    """One code put somewhere, or moved."""

    control: int
    value: float
    moves: bool
    """add the value to the code; else the value takes its place"""


def read_change(run: Run, words: str) -> Change:
    """smile=+2 and smile=-1 move a control; smile=2 and smile==-1 put it there.  Raises UserError."""
    name, equals, number = words.partition("=")
    if not equals or not re.fullmatch(r"=?[+-]?(\d+\.?\d*|\.\d+)", number.strip()):
        raise UserError(
            f"--set {words}: write NAME=+2 or NAME=-1 to move a control, NAME=2 or NAME==-1 to put it there"
        )
    number = number.strip()
    return Change(find_control(run, name), float(number.removeprefix("=")), number[0] in "+-")


def read_source(run: Run, words: str) -> tuple[Path, list[int]]:
    """The picture and the controls of other.png:hair or other.png:hair,glasses.  Raises UserError."""
    picture, colon, names = words.rpartition(":")
    if not colon or not picture or not names:
        raise UserError(f"--from {words}: write PICTURE:NAME, or PICTURE:NAME,NAME for several controls")
    return Path(picture).expanduser(), find_controls(run, names)


def find_controls(run: Run, words: str) -> list[int]:
    """Dimensions by their numbers or names, with commas between.  Raises UserError."""
    return [find_control(run, name) for name in words.split(",")]


def changed(codes: Float[Tensor, "b z"], changes: Sequence[Change], angles: Sequence[int] = ()) -> Float[Tensor, "b z"]:
    """A copy with these changes made in order.  Angles go round: beyond +2 they come back at −2."""
    codes = codes.clone()
    for latent, value, moves in changes:
        moved = codes[:, latent] + value if moves else torch.full_like(codes[:, latent], value)
        if latent in angles:
            moved = torch.remainder(moved + controls.ANGLE_RANGE, 2 * controls.ANGLE_RANGE) - controls.ANGLE_RANGE
        codes[:, latent] = moved
    return codes


def taken(codes: Float[Tensor, "b z"], source: Float[Tensor, " z"], latents: Sequence[int]) -> Float[Tensor, "b z"]:
    """A copy with these controls as another image has them."""
    codes = codes.clone()
    codes[:, list(latents)] = source[list(latents)]
    return codes


def turning(generator: Generator) -> tuple[int, ...]:
    """Dimensions that are angles."""
    return generator.controls.angles if generator.controls else ()


def onto(
    photos: Float[Tensor, "b c h w"], before: Float[Tensor, "b c h2 w2"], after: Float[Tensor, "b c h2 w2"]
) -> Float[Tensor, "b c h w"]:
    """The photographs, of any size, with only what the edit changes added to them: what the generator cannot draw stays
    as it was photographed."""
    change = functional.interpolate(after - before, photos.shape[2:], mode="bicubic", align_corners=False)
    return (photos + change).clamp(-1, 1)


# ------------------------------------------------------------------------------------------------------------ pictures


def open_photos(run: Run, paths: Sequence[Path]) -> Float[Tensor, "b c h w"]:
    """Photographs as the run's data are prepared, in [−1, 1].  Raises UserError."""
    if not paths:
        raise UserError("name the photographs")
    data = run.config.data
    pixels = [open_picture(path, *run.config.size, data.channels, data.fit) for path in paths]
    return torch.from_numpy(np.stack(pixels)).float() / 127.5 - 1


def open_large(run: Run, path: Path) -> Float[Tensor, "1 c h w"]:
    """The part of a photograph that the run sees, at the photograph's own resolution, in [−1, 1]."""
    data, (h, w) = run.config.data, run.config.size
    with path.open("rb") as file:
        size = decode(file, Form(2**15, 2**15, data.channels, data.fit)).size  # such a form decodes all of a JPEG
    shrink = max(float(Form(h, w, data.channels, data.fit).shrink(*size)), 1.0)
    pixels = open_picture(path, int(h * shrink), int(w * shrink), data.channels, data.fit)
    return torch.from_numpy(pixels[None]).float() / 127.5 - 1


def compared(
    names: Sequence[str], columns: Sequence[tuple[str, Float[Tensor, "b c h w"]]], words: Sequence[Sequence[str]] = ()
) -> Image.Image:
    """A row a photograph, its name and words (a list of lines each) beside it; a titled column a stage of the work."""
    tiles = [canvas.to_tiles(images) for _, images in columns]
    h, w = tiles[0].shape[1:3]
    row = max(h, 22 + 17 * max((len(lines) for lines in words), default=0)) + GAP
    sheet = Canvas(LABEL + len(columns) * (w + GAP), 24 + len(names) * row)
    for k, (title, _) in enumerate(columns):
        sheet.fitted(LABEL + k * (w + GAP), 5, title, w, 12)
    for i, name in enumerate(names):
        y = 24 + i * row
        sheet.fitted(8, y + 2, name, LABEL - 16, 14, bold=True)
        for j, line in enumerate(words[i] if words else ()):
            sheet.fitted(8, y + 22 + 17 * j, line, LABEL - 16, 12)
        for k, tile in enumerate(tiles):
            sheet.tile(LABEL + k * (w + GAP), y, tile[i])
    return sheet.image


def transfer_grid(
    photos: Float[Tensor, "b c h w"], sources: Float[Tensor, "s c h w"], grid: Float[Tensor, "b s c h w"], title: str
) -> Image.Image:
    """Photographs down the left, attribute sources along the top, and each photograph with each source's attributes."""
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
