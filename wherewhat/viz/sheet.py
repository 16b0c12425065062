"""A labelled sheet of a data set: what is in it, at a glance."""

from pathlib import Path

import numpy as np
import torch

from wherewhat.data.batches import Images, order
from wherewhat.data.factors import Factors
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, Canvas

COLUMNS = 10


def sheet(data: Images, path: Path) -> Path:
    """A row a factor, the others fixed, if the data are a full grid of factors; rows of random images otherwise."""
    grid = data.factors if data.factors is not None and data.factors.is_grid else None
    rows = _factor_rows(grid) if grid else _random_rows(data)
    label = 130 if grid else GAP
    tiles = [canvas.to_tiles(torch.from_numpy(data.images(index)).float() / 127.5 - 1) for _, index, _ in rows]
    h, w = tiles[0].shape[1:3]
    under = 16 if grid else 0
    drawn = Canvas(label + COLUMNS * (w + GAP) + GAP, 34 + len(rows) * (h + GAP + under))
    height, width = data.size
    words = f"{data.name}: {len(data):,} images, {height}×{width}, {data.channels} channel{'s' * (data.channels > 1)}"
    drawn.text(8, 8, words, 15, bold=True)
    for i, (name, _, values) in enumerate(rows):
        y = 34 + i * (h + GAP + under)
        if name:
            drawn.fitted(8, y + h / 2 - 8, name, label - 16, 14)
        for k, tile in enumerate(tiles[i]):
            drawn.tile(label + k * (w + GAP), y, tile)
            if values is not None:
                drawn.text(label + k * (w + GAP) + w / 2, y + h, str(values[k]), 11, fill=canvas.QUIET, anchor="ma")
    return canvas.save_still(drawn.image, path)


Row = tuple[str, np.ndarray, np.ndarray | None]


def _factor_rows(factors: Factors) -> list[Row]:
    # fixed values differ from factor to factor, so that equal colours do not hide what is where
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
