"""Do pictures of a set have an upright?  Decided from the pictures alone, before anything is trained.

Of random pairs, at which turn does one fit the other best?  Mostly near 0: there is an upright.  Anywhere: there is
none, and an angle all the way round is one of the set's variations.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

from wherewhat.data.batches import Images, draw_index

PICTURES = 800
PAIRINGS = 10
"""each picture is paired with as many others"""
ANGLES, RADII = 64, 16
"""of the polar grid around the middle of what differs from the mean picture"""
NEAR = np.pi / 8
"""turns within ±22.5° count as upright: chance is 1 in 8, and 9 of 64 angles of the grid"""
LEAST_SHARE = 0.175
"""share of pairs below which there is no upright: nearer to chance, .14, than to any set of upright pictures, because a
turn that is not there costs more than one that is missed.  benchmarks/upright.py lists what was measured"""


def has_upright(data: Images) -> bool:
    """Whether pictures of a set stand one way up."""
    return upright_share(data) >= LEAST_SHARE


def upright_share(data: Images, seed: int = 0) -> float:
    """Share of random pairs of pictures that fit best when neither is turned by more than 22.5°: .14 by chance."""
    x = data.images(draw_index(data, PICTURES, seed)).astype(np.float32)
    rings = np.stack([_polar(picture, x.mean(0)) for picture in x])
    spectrum = np.fft.rfft((rings - rings.mean((2, 3), keepdims=True)) * np.sqrt(np.arange(RADII) + 0.5)[:, None])
    others = [np.roll(spectrum, k, 0) for k in range(1, min(PAIRINGS, len(x) - 1) + 1)]
    product = np.concatenate([(spectrum * other.conj()).sum((1, 2)) for other in others])
    best = np.fft.irfft(product, ANGLES).argmax(1)
    turn = np.minimum(best, ANGLES - best) * (2 * np.pi / ANGLES)
    return float((turn <= NEAR).mean())


def _polar(picture: Float[np.ndarray, "c h w"], mean: Float[np.ndarray, "c h w"]) -> Float[np.ndarray, "c r a"]:
    """A picture on circles around the centre of what differs from the mean picture, out to twice its spread."""
    weight = np.abs(picture - mean).sum(0)
    weight = np.where(weight > 0.3 * weight.max(), weight, 0.0)
    total = max(float(weight.sum()), 1e-6)
    rows, columns = np.indices(weight.shape)
    row, column = float((weight * rows).sum() / total), float((weight * columns).sum() / total)
    spread = np.sqrt((weight * ((rows - row) ** 2 + (columns - column) ** 2)).sum() / total)
    radius = float(np.clip(2 * spread, 0.05 * min(weight.shape), 0.5 * min(weight.shape)))
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    r = (np.arange(RADII) + 0.5)[:, None] / RADII * radius
    places = np.stack([row + r * np.sin(angle), column + r * np.cos(angle)])
    return np.stack([map_coordinates(channel, places, order=1, mode="nearest") for channel in picture])
