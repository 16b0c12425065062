"""Sprites: a white shape on black, with the five factors of dSprites.  n images, g glyphs, c channels, h w space."""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Integer, UInt8

from wherewhat.data.factors import Factors

SUPERSAMPLE = 3


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = u * 1.15, 0.15 - v * 1.15
    return (u * u + v * v - 1) ** 3 < u * u * v**3


SHAPES: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (  # whether points are inside
    lambda u, v: np.maximum(abs(u), abs(v)) < 0.85,
    lambda u, v: (u / 1.2) ** 2 + (v / 0.65) ** 2 < 1,
    _heart,
)


class Sprites:
    """A white square, ellipse or heart on black.  Each of the 3·6·40 glyphs is drawn once in the middle of a canvas
    larger than the image; an image is a window on it, placed by the position."""

    name = "sprites"
    channels = 1
    fast = True
    factors = Factors(("shape", "scale", "orientation", "x", "y"), (3, 6, 40, 32, 32))

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        # a position is 1/64 of a side: canvases are as many times finer than images as makes it whole pixels
        self._finer = next(f for f in (1, 2, 4) if f == 4 or all(side * f % 64 == 0 for side in size))
        self._canvases = _glyphs(size[0] * self._finer, size[1] * self._finer)

    def __len__(self) -> int:
        return len(self.factors)

    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]:
        values = self.factors.values(index)
        (h, w), f = self.size, self._finer
        windows = np.lib.stride_tricks.sliding_window_view(self._canvases, (h * f, w * f), (1, 2))
        glyph = np.ravel_multi_index(tuple(values[:, :3].T), self.factors.sizes[:3])
        # the further right the glyph, the further left its window
        left, top = ((31 - values[:, 3]) * w * f // 64), ((31 - values[:, 4]) * h * f // 64)
        chosen = windows[glyph, top, left]
        if f > 1:
            chosen = np.rint(chosen.reshape(-1, h, f, w, f).mean((2, 4))).astype(np.uint8)
        return chosen[:, None]


@lru_cache(maxsize=2)
def _glyphs(height: int, width: int) -> UInt8[np.ndarray, "g h2 w2"]:
    """Every (shape, scale, orientation) on a canvas larger than the image by the range of positions."""
    rows, cols = height + 31 * height // 64, width + 31 * width // 64
    fine = SUPERSAMPLE
    y, x = np.mgrid[0 : rows * fine, 0 : cols * fine].astype(np.float32) + 0.5
    short = min(height, width)
    # position 0 looks through the last window, 31 through the first: the middle between the two is the glyph's place
    x, y = (x / fine - cols / 2) / short, (y / fine - rows / 2) / short
    made = np.zeros((3, 6, 40, rows, cols), np.uint8)
    near = np.hypot(x, y).reshape(rows, fine, cols, fine).min((1, 3)) < 0.27  # nothing is drawn further out
    box = np.ix_(near.any(1), near.any(0))
    x, y = (v.reshape(rows, fine, cols, fine)[box[0][:, 0]][:, :, box[1][0]] for v in (x, y))
    for s, o in product(range(6), range(40)):
        size, turn = 0.17 * (0.5 + 0.1 * s), 2 * np.pi * o / 40
        u = (np.cos(turn) * x + np.sin(turn) * y) / size
        v = (np.cos(turn) * y - np.sin(turn) * x) / size
        for k, inside in enumerate(SHAPES):
            made[k, s, o][box] = np.rint(inside(u, v).mean((1, 3)) * 255)
    return made.reshape(-1, rows, cols)
