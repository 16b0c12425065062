"""What pages are made of: one HTML file that needs no network and no script, with its pictures in it as addresses."""

import io
from base64 import b64encode
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from torch import Tensor

from wherewhat.atomic import explained, write_text
from wherewhat.errors import UserError
from wherewhat.nn.generator import Generator
from wherewhat.viz import canvas
from wherewhat.viz.traversals import loop

Tiles = UInt8[np.ndarray, "_ _ _ 3"]
SIDE = 64  # pixels of the longer side of tiles, at most twice as many: the browser enlarges them
LOOP_FRAMES = 40  # images of a film from one end to the other and back


class Film(NamedTuple):
    """Frames one below the other in one picture, so that a page can show them in turn, and stop, without a script."""

    address: str
    frames: int
    back: bool  # whether it goes back the same way; else the first follows the last
    shape: str  # width / height of a frame


def check_name(path: Path) -> None:
    """Raises UserError for another ending than .html."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"cannot write a report named {path.name}: its name must end in .html")


def write_page(template: str, contents: dict[str, Any], path: Path) -> Path:
    """Fill a template of this folder.  Raises UserError if the file cannot be written."""
    how: dict[str, Any] = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined}
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), **how)
    text = environment.get_template(template).render(contents)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return path


def tiles_of(images: Float[Tensor, "b c h w"]) -> Tiles:
    """Images in [−1, 1] as tiles, no larger than pages show them."""
    return canvas.to_tiles(images, SIDE)


def still(tile: UInt8[np.ndarray, "h w c"]) -> str:
    """A picture as an address that holds it."""
    return _address(Image.fromarray(tile), "WEBP", quality=88, method=4)


def stills(images: Float[Tensor, "b c h w"]) -> list[str]:
    return [still(tile) for tile in tiles_of(images)]


def strip(tiles: Tiles) -> str:
    """Tiles side by side, nothing between them, as one picture."""
    gap = np.zeros((tiles.shape[1], max(1, tiles.shape[2] // 24), 4), np.uint8)
    opaque = np.concatenate([tiles, np.full_like(tiles[..., :1], 255)], 3)
    row = [part for tile in opaque for part in (tile, gap)][:-1]
    return still(np.concatenate(row, 1))


def film(generator: Generator, base: Float[Tensor, " z"], control: int, is_angle: bool) -> Film:
    """A control from one end to the other and back; once round if it is an angle."""
    frames = tiles_of(loop(generator, base, control, is_angle, LOOP_FRAMES))
    shown = frames if is_angle else frames[: LOOP_FRAMES // 2 + 1]
    address = still(np.ascontiguousarray(shown).reshape(-1, *frames.shape[2:]))
    return Film(address, len(shown), not is_angle, f"{frames.shape[2]} / {frames.shape[1]}")


def download(picture: Image.Image) -> str:
    """A picture for others to use, as the address of a PNG."""
    return _address(picture, "PNG")


def _address(picture: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64," + b64encode(buffer.getvalue()).decode()


def ramp() -> str:
    """The scale of masks."""
    return still(canvas.heat(np.linspace(0, 1, 64)[None].repeat(4, 0), (8, 128)))
