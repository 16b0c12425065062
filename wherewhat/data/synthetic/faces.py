"""Cartoon faces with named parts and colours, drawn by python-avatars (Avataaars by Pablo Stanley, free for any use)
and rasterised by resvg: an extra, `pip install "wherewhat[faces]"`.  n images, h w space."""

import csv
import io
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image

from wherewhat.errors import UserError

PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "hair": (
        "HairType",
        ("NONE", "SHORT_FLAT", "BOB", "BUN", "CURLY", "FRO", "LONG_NOT_TOO_LONG", "SHORT_CURLY", "SIDES", "STRAIGHT_1"),
    ),
    "eyes": ("EyeType", ("DEFAULT", "CLOSED", "HAPPY", "SIDE", "SURPRISED", "HEART")),
    "eyebrows": ("EyebrowType", ("DEFAULT", "ANGRY", "RAISED_EXCITED", "SAD_CONCERNED")),
    "mouth": ("MouthType", ("DEFAULT", "SERIOUS", "SMILE", "SAD", "SCREAM_OPEN", "GRIMACE")),
    "beard": ("FacialHairType", ("NONE", "BEARD_LIGHT", "BEARD_MEDIUM", "MOUSTACHE_FANCY")),
    "glasses": ("AccessoryType", ("NONE", "ROUND", "PRESCRIPTION_2", "SUNGLASSES")),
    "clothes": ("ClothingType", ("SHIRT_CREW_NECK", "HOODIE", "SHIRT_V_NECK", "OVERALL")),
}
"""factor → the package's type and the members used"""
COLOURS: dict[str, tuple[str, ...]] = {
    "skin": ("#FFDBB4", "#EDB98A", "#D08B5B", "#AE5D29", "#614335"),
    "hair colour": ("#2C1B18", "#724133", "#A55728", "#D6B370", "#C93305", "#E8E1E1", "#F59797"),
    "clothes colour": ("#262E33", "#5199E4", "#A7FFC4", "#FFDEB5", "#FF488E", "#FF5C5C", "#FFFFB1", "#FFFFFF"),
    "background": ("#DCEBFF", "#FFE9D6", "#E4F7DD", "#F3E1F7", "#FFF7CC", "#9DB4D6", "#7D7D88", "#C8F1EF"),
}
NAMES = (*PARTS, *COLOURS)
SIZES = tuple(len(v) for _, v in PARTS.values()) + tuple(len(v) for v in COLOURS.values())
FRAME = "32 16 200 200"
"""the part of the drawing that is shown: x, y, width, height"""


def draw(values: Integer[np.ndarray, " f"], side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The face with these factor values, `side` pixels high and wide.  Raises UserError without the extra."""
    avatars, resvg = _packages()
    chosen = dict(zip(NAMES, values, strict=True))
    parts = {name: getattr(avatars, kind)[members[chosen[name]]] for name, (kind, members) in PARTS.items()}
    colours = {name: shades[chosen[name]] for name, shades in COLOURS.items()}
    drawing = avatars.Avatar(
        style=avatars.AvatarStyle.TRANSPARENT,
        top=parts["hair"],
        eyes=parts["eyes"],
        eyebrows=parts["eyebrows"],
        mouth=parts["mouth"],
        facial_hair=parts["beard"],
        accessory=parts["glasses"],
        clothing=parts["clothes"],
        skin_color=colours["skin"],
        hair_color=colours["hair colour"],
        facial_hair_color=colours["hair colour"],
        clothing_color=colours["clothes colour"],
    ).render()
    framed = drawing.replace('viewBox="0 0 264 280"', f'viewBox="{FRAME}"', 1)
    framed = framed.replace('width="264px"', 'width="200px"', 1).replace('height="280px"', 'height="200px"', 1)
    png = bytes(resvg.svg_to_bytes(svg_string=framed, width=side, height=side, skip_system_fonts=True))
    face = Image.open(io.BytesIO(png)).convert("RGBA")
    ground = Image.new("RGBA", face.size, colours["background"])
    ground.alpha_composite(face)
    return np.asarray(ground.convert("RGB"))


def region(values: Integer[np.ndarray, " f"], factor: int, side: int) -> Bool[np.ndarray, "h w"]:
    """The exact place a factor acts in a face: pixels in which a face with another value of it alone differs."""
    here = draw(values, side)
    place = np.zeros(here.shape[:2], bool)
    for value in range(SIZES[factor]):
        other = values.copy()
        other[factor] = value
        place |= (draw(other, side) != here).any(2)
    return place


def make(folder: Path, count: int = 20_000, side: int = 128, seed: int = 0) -> Path:
    """Draw faces of independent random factors into a folder of PNGs, their factors in factors.csv.  Raises UserError
    without the extra, or if the folder is not empty."""
    _packages()
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(SIZES, size=(count, len(SIZES)))
    names = [f"{i:06d}.png" for i in range(count)]
    from rich.progress import track

    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = pool.map(_save, (folder / n for n in names), values, [side] * count, chunksize=50)
        for _ in track(jobs, f"drawing {folder}", count, transient=True):
            pass
    with (folder / "factors.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", *NAMES])
        table.writerows([n, *map(word, NAMES, row)] for n, row in zip(names, values.tolist(), strict=True))
    return folder


def word(factor: str, value: int) -> str:
    """A factor's value as people say it."""
    return PARTS[factor][1][value].lower() if factor in PARTS else COLOURS[factor][value]


def _save(path: Path, values: Integer[np.ndarray, " f"], side: int) -> None:
    Image.fromarray(draw(values, side)).save(path)


def _packages() -> tuple[Any, Any]:
    try:
        import python_avatars
        import resvg_py
    except ImportError:
        raise UserError('faces are drawn by an extra: pip install "wherewhat[faces]"') from None
    return python_avatars, resvg_py
