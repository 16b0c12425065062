"""One picture as an array: decoded, upright, cropped or padded, shrunk without aliasing.

c channels, h w space; sizes are height x width everywhere, in messages as in code.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from wherewhat.errors import UserError

# decoders that may be used: none that runs another program (EPS), none that guesses without a signature (TGA)
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
T = Image.Transpose
TURNS = {  # EXIF orientation → the turn that makes the image upright
    2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE,
    6: T.ROTATE_270, 7: T.TRANSVERSE, 8: T.ROTATE_90,
}  # fmt: skip
Fit = Literal["crop", "pad"]


class TooSmallError(Exception):
    """The image would have to be enlarged. works: the largest size (height, width) that it is enough for."""

    def __init__(self, message: str, works: tuple[int, int]):
        super().__init__(message)
        self.works = works


@dataclass(frozen=True)
class Form:
    """The size and channels that every image gets, and how it is made to fit."""

    height: int
    width: int
    channels: int
    fit: Fit

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise UserError(f"images cannot be {self}: both sides are at least 1")
        if self.channels not in (1, 3, 4):
            raise UserError(f"images cannot have {self.channels} channels: 1 is grey, 3 colour, 4 colour and alpha")
        if self.fit not in ("crop", "pad"):
            raise UserError(f"images cannot be made to fit by {self.fit!r}: there is crop and pad")

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"

    @property
    def bytes(self) -> int:
        """of one image"""
        return self.height * self.width * self.channels

    def shrink(self, width: int, height: int) -> Fraction:
        """How many times smaller an image of this width and height becomes."""
        sides = Fraction(width, self.width), Fraction(height, self.height)
        return min(sides) if self.fit == "crop" else max(sides)

    def check(self, width: int, height: int) -> None:
        """Raises TooSmallError for an image that would have to be enlarged."""
        shrink = self.shrink(width, height)
        if shrink < 1:
            works = max(1, int(shrink * self.height)), max(1, int(shrink * self.width))
            raise TooSmallError(f"{height}x{width} is smaller than {self}", works)

    def fitted(self, image: Image.Image) -> Image.Image:
        """Cropped or padded, shrunk, with these channels; image: mode L, RGB or RGBA.  Raises TooSmallError."""
        self.check(*image.size)
        shrink = self.shrink(*image.size)
        if self.fit == "crop":
            width, height = round(self.width * shrink), round(self.height * shrink)
            left, top = (image.width - width) // 2, (image.height - height) // 2
            box = (left, top, left + width, top + height)
            return self.with_channels(_resize(image, (self.width, self.height), box))
        inside = max(1, round(image.width / shrink)), max(1, round(image.height / shrink))
        small = self.with_channels(_resize(image, inside, (0, 0, *image.size)))
        canvas = Image.new(small.mode, (self.width, self.height))  # zeros: black, and transparent if that exists
        canvas.paste(small, ((self.width - small.width) // 2, (self.height - small.height) // 2))
        return canvas

    def prepared(self, image: Image.Image) -> UInt8[np.ndarray, "c h w"]:
        """The array of an image of any size, as a data set's images are; a smaller one is enlarged first."""
        shrink = self.shrink(*image.size)
        if shrink < 1:
            size = max(self.width, round(image.width / shrink)), max(self.height, round(image.height / shrink))
            image = image.resize(size, Image.Resampling.BICUBIC)
        return self.pixels(self.fitted(image))[0]

    def with_channels(self, image: Image.Image) -> Image.Image:
        """With these channels; transparent images are laid on white unless alpha is one of them."""
        if self.channels == 4:
            return image.convert("RGBA")
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return image.convert("L" if self.channels == 1 else "RGB")

    def pixels(self, image: Image.Image, count: int = 1) -> UInt8[np.ndarray, "n c h w"]:
        """The array of `count` images that have the right size and channels and lie one below the other in one."""
        pixels = np.asarray(image).reshape(count, self.height, self.width, self.channels)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _resize(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """The box (left, top, right, bottom) at this size (width, height); far larger ones are first averaged in blocks."""
    return image.resize(size, Image.Resampling.LANCZOS, box, reducing_gap=3.0)


def decode(file: io.BytesIO | io.BufferedReader, form: Form | None) -> Image.Image:
    """The first frame, upright, in mode L, RGB or RGBA; if a form is given, a large JPEG at a fraction of its size.
    Raises anything."""
    with Image.open(file, formats=_formats()) as image:
        if form:
            shrink = min(form.shrink(*image.size), form.shrink(*image.size[::-1]))  # either way up
            image.draft(None, (max(1, int(2 * image.width / shrink)), max(1, int(2 * image.height / shrink))))
        image.load()
        turn = None
        with suppress(Exception):  # decoders refuse metadata in many ways, and the pixels may still be good
            turn = TURNS.get(int(image.getexif().get(0x0112, 1)))
        return _plain(image) if turn is None else _plain(image).transpose(turn)


def read_size(file: io.BytesIO | io.BufferedReader) -> tuple[int, int]:
    """Height and width of the first frame when it is upright, from the file's head alone.  Raises anything."""
    with Image.open(file, formats=_formats()) as image:
        on_its_side = False
        with suppress(Exception):
            on_its_side = int(image.getexif().get(0x0112, 1)) >= 5
        return image.size if on_its_side else image.size[::-1]


def _formats() -> list[str]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _plain(image: Image.Image) -> Image.Image:
    """Any mode as L, RGB or RGBA. 16 bits: 65535 is white. Floats: 1 is white, or 255 if some are greater than 1."""
    if image.mode.startswith("I"):
        return _grey(np.asarray(image) / 257)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        return _grey(values if values.max() > 1 else values * 255)
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _grey(values: Shaped[np.ndarray, "h w"]) -> Image.Image:
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def reason(error: BaseException) -> str:
    """What an exception says, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels, as in a decompression bomb"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())


def open_picture(
    source: Path | bytes, height: int, width: int, channels: int, fit: Fit = "crop", name: str = "",
    most: int | None = None,
) -> UInt8[np.ndarray, "c h w"]:  # fmt: skip
    """One picture, a file or its bytes, prepared as a data set's images are; a smaller one is enlarged first.  Raises
    UserError, with the name, for no image, a broken one, or more pixels than `most` or Pillow's limit, 179 million."""
    form = Form(height, width, channels, fit)
    with _explained(source, name):
        return form.prepared(_opened(source, form, most))


def open_whole(source: Path | bytes, form: Form, name: str = "", most: int | None = None) -> Image.Image:
    """One picture as large as it is, upright, with the channels of the form.  Raises UserError as open_picture."""
    with _explained(source, name):
        return form.with_channels(_opened(source, None, most))


def _opened(source: Path | bytes, form: Form | None, most: int | None) -> Image.Image:
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
        if most:
            with Image.open(file, formats=_formats()) as head:
                if head.width * head.height > most:
                    raise Image.DecompressionBombError
            file.seek(0)
        return decode(file, form)


@contextmanager
def _explained(source: Path | bytes, name: str) -> Iterator[None]:
    """Decoders raise exceptions of nearly every kind: all become one UserError."""
    try:
        yield
    except Exception as error:
        name = name or (str(source) if isinstance(source, Path) else "the picture")
        raise UserError(f"{name} cannot be read as a picture: {reason(error)}") from None
