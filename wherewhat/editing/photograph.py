"""A photograph: which part of it the run sees, and how an edit of that part goes back into it.

b images, c channels, h w space.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from wherewhat.data.pictures import Form, open_whole
from wherewhat.errors import UserError
from wherewhat.metrics.where import CHANGE
from wherewhat.nn.ops import to_float
from wherewhat.run.folder import Run

LARGEST = 1.5  # size of a crop that reaches beyond the picture, as some parts need that fill it
SMALLEST = 0.1
PREVIEW = 384  # pixels of the longer side of the small copy that crops are looked for in
WRONG = (0.15, 0.45)  # a reconstruction that differs by less is right there, by more is something else (range 2)
RIM = 1 / 16  # share of the crop's sides along which an edit fades out inside the photograph

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels


class Crop(NamedTuple):
    """The part of a photograph that the run sees; it has the shape of the run's images."""

    row: float = 0.5  # its centre, as shares of the photograph's height and width
    column: float = 0.5
    size: float = 1.0  # relative to the part that data sets are made of: the largest that fits (the whole if padded)

    @classmethod
    def read(cls, text: str) -> "Crop":
        """ROW,COLUMN,SIZE.  Raises UserError."""
        try:
            row, column, size = map(float, text.split(","))
        except ValueError:
            raise UserError(f"--crop {text}: write ROW,COLUMN,SIZE as in 0.5,0.4,0.6, or best") from None
        if not (0 <= row <= 1 and 0 <= column <= 1 and SMALLEST <= size <= LARGEST):
            raise UserError(f"--crop {text}: row and column go from 0 to 1, size from {SMALLEST} to {LARGEST}")
        return cls(row, column, size)

    def __str__(self) -> str:
        return f"{self.row:.3f},{self.column:.3f},{self.size:.3f}"


WHOLE = Crop()


@dataclass(frozen=True)
class Photograph:
    """A picture of the user's, decoded when it is needed."""

    source: Path | bytes
    form: Form  # of the run's images
    name: str
    most: int | None = None  # pixels; a larger one is refused

    @classmethod
    def of(cls, run: Run, source: Path | bytes, name: str = "", most: int | None = None) -> "Photograph":
        data = run.config.data
        form = Form(*run.config.size, data.channels, data.fit)
        return cls(source, form, name or (str(source) if isinstance(source, Path) else "the picture"), most)

    def whole(self) -> Image.Image:
        """As large as it is.  Raises UserError if it is not a picture."""
        return open_whole(self.source, self.form, self.name, self.most)

    @cached_property
    def preview(self) -> Image.Image:
        """A copy of at most PREVIEW pixels a side."""
        image = self.whole()
        image.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS, reducing_gap=3.0)
        return image

    def cut(self, crop: Crop = WHOLE, image: Image.Image | None = None) -> UInt8[np.ndarray, "c h w"]:
        """What the run sees.  image: the photograph, or a smaller copy of it, if it was opened already."""
        image = image or self.whole()
        if crop == WHOLE:
            return self.form.prepared(image)
        box = box_of(self.form, crop, image)
        if box != _inside(box, image):
            image, box = _extended(image, box, black=self.form.fit == "pad")
        size = (self.form.width, self.form.height)
        return self.form.pixels(image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=3.0))[0]

    def images(self, crop: Crop = WHOLE) -> Float[Tensor, "1 c h w"]:
        """What the run sees, in [−1, 1]."""
        return to_float(torch.from_numpy(self.cut(crop))[None])

    def edited(self, crop: Crop, before: Float[Tensor, "1 c h2 w2"], after: Float[Tensor, "1 c h2 w2"]) -> Image.Image:
        """The whole photograph at its own size, changed where the edit changes the part that the run sees.  before and
        after: reconstruction and edit, in [−1, 1]."""
        image = self.whole()
        box = box_of(self.form, crop, image)
        left, top, right, bottom = inside = _inside(box, image)
        small = to_float(torch.from_numpy(self.cut(crop, image))[None])
        keep, add = blend(small, before.cpu(), after.cpu(), _rim(box, image, self.form))
        part = np.asarray(image.crop(inside)).reshape(bottom - top, right - left, -1)
        share, new = _enlarged(keep[0, 0], box, inside), np.empty_like(part)
        for k in range(part.shape[2]):  # one after the other, because photographs are large
            values = (part[..., k] / np.float32(127.5) - 1) * share + _enlarged(add[0, k], box, inside)
            new[..., k] = np.rint((values.clip(-1, 1) + 1) * 127.5)
        image.paste(Image.fromarray(new[..., 0] if new.shape[2] == 1 else new), (left, top))
        return image


def blend(
    photo: Float[Tensor, "b c h w"], before: Float[Tensor, "b c h w"], after: Float[Tensor, "b c h w"],
    within: Float[Tensor, "h w"] | None = None,
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b c h w"]]:  # fmt: skip
    """A share and a summand: photograph · share + summand has the edit, and is the photograph where nothing changes.

    Where the reconstruction is right the change is added, so that the photograph keeps its own detail; where it shows
    something else than the photograph, the edit itself is shown, or what was photographed there would stay as a ghost.
    within: 0 where the photograph has to stay, 1 elsewhere.
    """
    change, residual = after - before, photo - before
    changes = _smooth(_ramp(_spread(change), CHANGE / 4, CHANGE))
    if within is not None:
        changes = changes * within
    wrong = _smooth(_ramp(_spread(residual), *WRONG)) * changes
    return 1 - wrong, changes * change + wrong * before


def box_of(form: Form, crop: Crop, image: Image.Image) -> Box:
    """The crop in pixels of this copy of a photograph; it may reach beyond."""
    shrink = float(form.shrink(*image.size)) * crop.size
    width, height = round(form.width * shrink), round(form.height * shrink)
    left, top = int(crop.column * image.width - width / 2), int(crop.row * image.height - height / 2)
    return left, top, left + max(width, 1), top + max(height, 1)


def _inside(box: Box, image: Image.Image) -> Box:
    """The part of a box that the photograph has."""
    left, top, right, bottom = box
    return max(0, left), max(0, top), min(image.width, right), min(image.height, bottom)


def _extended(image: Image.Image, box: Box, black: bool) -> tuple[Image.Image, Box]:
    """A picture that holds all of the box, and the box in it; black, or its own edge, continues a picture."""
    left, top, right, bottom = box
    west, north = max(0, -left), max(0, -top)
    east, south = max(0, right - image.width), max(0, bottom - image.height)
    pixels = np.asarray(image)
    around = [(north, south), (west, east), (0, 0)][: pixels.ndim]
    wider = np.pad(pixels, around, "constant" if black else "edge")
    return Image.fromarray(wider), (left + west, top + north, right + west, bottom + north)


def _rim(box: Box, image: Image.Image, form: Form) -> Float[Tensor, "h w"]:
    """1 inside the crop, falling to 0 towards those of its edges that lie inside the photograph."""
    left, top, right, bottom = box
    shares = []
    for side, low, high in ((form.height, top > 0, bottom < image.height), (form.width, left > 0, right < image.width)):
        places = (torch.arange(side) + 0.5) / side
        from_low, from_high = (places if low else 1 + places), (1 - places if high else 2 - places)
        shares.append((torch.minimum(from_low, from_high) / RIM).clamp(max=1))
    return shares[0][:, None] * shares[1]


def _enlarged(values: Float[Tensor, "h w"], box: Box, inside: Box) -> Float[np.ndarray, "h2 w2"]:
    """Values at the places of a crop, at all pixels of the part of it inside the photograph."""
    h, w = values.shape
    left, top, right, bottom = box
    across, down = w / (right - left), h / (bottom - top)
    source = ((inside[0] - left) * across, (inside[1] - top) * down, (inside[2] - left) * across,
              (inside[3] - top) * down)  # fmt: skip
    size = (inside[2] - inside[0], inside[3] - inside[1])
    return np.asarray(Image.fromarray(values.numpy()).resize(size, Image.Resampling.BICUBIC, source))


def _spread(difference: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """The largest difference of a channel, there or at a neighbour."""
    return functional.max_pool2d(difference.abs().amax(1, keepdim=True), 3, 1, 1)


def _ramp(values: Tensor, low: float, high: float) -> Tensor:
    """0 up to low, 1 from high on."""
    return ((values - low) / (high - low)).clamp(0, 1)


def _smooth(values: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    return functional.avg_pool2d(functional.pad(values, (1, 1, 1, 1), "replicate"), 3, 1)
