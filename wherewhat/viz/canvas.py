"""Tiles, text and files: what all pictures here are made with.  A tile is an array of bytes, h w 3."""

import errno
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from wherewhat.atomic import explained, write_with
from wherewhat.errors import UserError
from wherewhat.nn.ops import to_uint8

PAPER, INK, QUIET = (255, 255, 255), (20, 20, 24), (110, 110, 118)
Number, Colour = int | float, tuple[int, ...]
GAP = 4  # pixels between tiles
LABEL_WIDTH = 216  # pixels of the column of text beside rows of tiles
KINDS = (".png", ".gif", ".mp4")  # endings of the names of pictures


def to_pixels(images: Float[Tensor, "b c h w"]) -> UInt8[np.ndarray, "b h w c"]:
    """Images in [−1, 1] as bytes."""
    return np.ascontiguousarray(to_uint8(images.float().cpu()).permute(0, 2, 3, 1).numpy())


def to_image(pixels: UInt8[np.ndarray, "h w c"]) -> Image.Image:
    """The picture of these pixels: grey, colour, or colour with alpha."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def to_tiles(images: Float[Tensor, "b c h w"], side: int = 96) -> UInt8[np.ndarray, "b h2 w2 3"]:
    """Images in [−1, 1] as tiles on white: small ones are enlarged a whole number of times, to a longer side near
    `side`; those above 2 · side are shrunk to that."""
    pixels = to_pixels(images)
    if pixels.shape[3] == 1:
        pixels = pixels.repeat(3, 3)
    if pixels.shape[3] == 4:
        opaque = pixels[..., 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :3] * opaque + 255 * (1 - opaque)).astype(np.uint8)
    longer = max(pixels.shape[1:3])
    if longer <= side:
        times = max(1, round(side / longer))
        return pixels.repeat(times, 1).repeat(times, 2)
    if longer <= 2 * side:
        return pixels
    size = tuple(max(1, round(n * 2 * side / longer)) for n in pixels.shape[2:0:-1])
    return np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.LANCZOS)) for p in pixels])


def heat(values: Float[np.ndarray, "h w"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A map of values as a tile of that size (rows, columns), always on the same scale: 0 black, 1 pale yellow."""
    from matplotlib import colormaps

    smooth = Image.fromarray(np.clip(values, 0, 1).astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray((colormaps["inferno"](np.asarray(smooth))[..., :3] * 255).round().astype(np.uint8))


@lru_cache(maxsize=8)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The sans-serif font that comes with matplotlib: the same on every machine."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size)


class Canvas:
    """A white sheet on which tiles and text are put at pixel positions."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)  # even sides, for videos
        self.draw = ImageDraw.Draw(self.image)

    def tiles(self, x: int, y: int, tiles: Iterable[UInt8[np.ndarray, "h w 3"]]) -> None:
        """Put tiles of one size side by side, GAP apart."""
        for k, tile in enumerate(tiles):
            self.tile(x + k * (tile.shape[1] + GAP), y, tile)

    def words(self, y: int, title: str, lines: Sequence[str], size: int) -> None:
        """Write a bold title and lines below it into the column of text at the left."""
        self.fitted(8, y + 2, title, LABEL_WIDTH - 16, size, bold=True)
        for j, line in enumerate(lines):
            self.fitted(8, y + 22 + 17 * j, line, LABEL_WIDTH - 16, 12)

    def tile(self, x: int, y: int, tile: UInt8[np.ndarray, "h w 3"]) -> None:
        """Put a tile with its upper left corner here."""
        self.image.paste(Image.fromarray(tile), (x, y))

    def text(
        self,
        x: Number,
        y: Number,
        words: str,
        size: int = 13,
        bold: bool = False,
        fill: Colour = INK,
        anchor: str = "la",
    ) -> None:
        """Write; anchor as in Pillow."""
        self.draw.text((x, y), words, fill, font(size, bold), anchor)

    def fitted(self, x: Number, y: Number, words: str, width: int, size: int = 13, bold: bool = False) -> None:
        """Write in the largest size up to `size` that fits the width; below 9 the end is cut."""
        words = words if len(words) <= width else words[:width] + "…"  # no letter is narrower than a pixel
        while size > 9 and font(size, bold).getlength(words) > width:
            size -= 1
        while len(words) > 1 and font(size, bold).getlength(words) > width:
            words = words[:-2] + "…"
        self.text(x, y, words, size, bold)


def save_still(picture: Image.Image, path: Path) -> Path:
    """Save a picture as .png (or another of KINDS).  Raises UserError if it cannot be written."""
    return save_moving([picture], path)


def save_moving(frames: Sequence[Image.Image], path: Path, seconds: float = 4.0) -> Path:
    """Save frames as .gif or .mp4, or the first one as .png, whole or not at all.  Raises UserError as save_still."""
    kind = check_kind(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_with(path, lambda partial: _save(frames, partial, kind, seconds))
    return path


def check_kind(path: Path) -> str:
    """.png, .gif or .mp4.  Raises UserError for another ending."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise UserError(f"cannot make a picture named {path.name}: its name must end in {', '.join(KINDS)}")
    return kind


def _save(frames: Sequence[Image.Image], path: Path, kind: str, seconds: float) -> None:
    if kind == ".png":
        frames[0].save(path)
    elif kind == ".gif":
        few = _with_one_palette(frames)
        duration = round(1000 * seconds / len(few))
        few[0].save(path, save_all=True, append_images=few[1:], duration=duration, loop=0, optimize=False)
    else:
        import imageio.v2 as imageio

        how: dict[str, Any] = {"codec": "libx264", "quality": 8, "macro_block_size": 2}
        imageio.mimwrite(path, [np.asarray(f) for f in frames], fps=max(1, round(len(frames) / seconds)), **how)
        _check_whole(path, len(frames))


def _with_one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Frames in 256 colours that are chosen from all of them, so that none flickers, and mixed from dots where a colour
    is not among them, so that no bands are seen."""
    some = frames[:: max(1, len(frames) // 8)]
    width, height = some[0].size
    every = Image.new("RGB", (width, height * len(some)))
    for k, frame in enumerate(some):
        every.paste(frame, (0, k * height))
    colours = every.quantize(254, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colours[: 3 * 254], *PAPER, *INK])
    return [f.convert("RGB").quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for f in frames]


def _check_whole(path: Path, count: int) -> None:
    """Raises OSError if a film has fewer frames: the program that writes it says nothing of a full disk."""
    import imageio_ffmpeg

    try:
        found, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except RuntimeError:
        found = 0
    if found < count:
        raise OSError(errno.ENOSPC, f"only {found} of {count} frames could be written")
