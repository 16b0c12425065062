"""Sheets of images: samples and reconstructions of a training, and what is in a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wherewhat.config import plural
from wherewhat.data.batches import Images, order
from wherewhat.data.factors import Factors
from wherewhat.nn.ops import to_float
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, Canvas

COLUMNS = 10  # images in a row of a data set's sheet
Row = tuple[str, np.ndarray, np.ndarray | None]  # name of a factor, indices of images, values of that factor


def image_rows(rows: Sequence[tuple[str, Float[Tensor, "b c h w"]]]) -> Image.Image:
    """Rows of images in [−1, 1], each under its name."""
    tiles = [(name, canvas.to_tiles(images)) for name, images in rows]
    h, w = tiles[0][1].shape[1:3]
    columns = max(len(images) for _, images in tiles)
    sheet = Canvas(columns * (w + GAP) + GAP, len(tiles) * (h + 26) + GAP)
    for i, (name, images) in enumerate(tiles):
        sheet.text(GAP, i * (h + 26) + 6, name, 13, fill=canvas.QUIET)
        sheet.tiles(GAP, i * (h + 26) + 25, images)
    return sheet.image


def data_sheet(data: Images, path: Path) -> Path:
    """Save a sheet of a data set: a row for each factor, in which that factor alone changes, if the data are a full
    grid of factors; rows of random images otherwise.  Raises UserError if it cannot be written."""
    grid = data.factors if data.factors is not None and data.factors.is_grid else None
    rows = _factor_rows(grid) if grid else _random_rows(data)
    left = 130 if grid else GAP
    tiles = [canvas.to_tiles(to_float(torch.from_numpy(data.images(index)))) for _, index, _ in rows]
    h, w = tiles[0].shape[1:3]
    under = 16 if grid else 0
    sheet = Canvas(left + COLUMNS * (w + GAP) + GAP, 34 + len(rows) * (h + GAP + under))
    height, width = data.size
    title = f"{data.name}: {plural(len(data), 'image')}, {height}×{width}, {plural(data.channels, 'channel')}"
    sheet.text(8, 8, title, 15, bold=True)
    for i, (name, _, values) in enumerate(rows):
        y = 34 + i * (h + GAP + under)
        if name:
            sheet.fitted(8, y + h / 2 - 8, name, left - 16, 14)
        sheet.tiles(left, y, tiles[i])
        for k, value in enumerate(values if values is not None else ()):
            sheet.text(left + k * (w + GAP) + w / 2, y + h, str(value), 11, fill=canvas.QUIET, anchor="ma")
    return canvas.save_still(sheet.image, path)


def _factor_rows(factors: Factors) -> list[Row]:
    # the value at which a factor is held differs from factor to factor, so that objects and walls differ in colour
    middle = (np.array(factors.sizes) * np.linspace(0.25, 0.75, len(factors.sizes))).astype(np.int64)
    rows: list[Row] = []
    for f, (name, size) in enumerate(zip(factors.names, factors.sizes, strict=True)):
        values = np.linspace(0, size - 1, min(size, COLUMNS)).round().astype(np.int64)
        combinations = np.repeat(middle[None], len(values), 0)
        combinations[:, f] = values
        rows.append((name, factors.index(combinations), values))
    return rows


def _random_rows(data: Images) -> list[Row]:
    count = min(len(data), 5 * COLUMNS)
    index = order(len(data), 0, 0, count)
    return [("", part, None) for part in np.split(index, range(COLUMNS, count, COLUMNS))]
