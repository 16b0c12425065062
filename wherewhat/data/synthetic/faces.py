"""Faces: cartoons with named parts and colours, drawn by python-avatars (Avataaars by Pablo Stanley, free for any use)
and rasterised by resvg, both in the extra `pip install "wherewhat[faces]"`.  n images, f factors, h w space."""

import io
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from wherewhat.data.factors import Factors
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
FRAME = "32 16 200 200"  # the part of the drawing that is shown: x, y, width, height


class Faces:
    """Cartoon faces of eleven factors.  A drawing takes about 10 ms: too slow to train on directly."""

    name = "faces"
    channels = 3
    fast = False
    factors = Factors(
        (*PARTS, *COLOURS),
        (*(len(members) for _, members in PARTS.values()), *map(len, COLOURS.values())),
        words=(*(tuple(map(str.lower, members)) for _, members in PARTS.values()), *COLOURS.values()),
    )

    def __init__(self, size: tuple[int, int]) -> None:
        """size: height, width; the middle of a square drawing if they differ.  Raises UserError without the extra."""
        _packages()
        self.size = size

    def __len__(self) -> int:
        return len(self.factors)

    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]:
        (height, width), side = self.size, max(self.size)
        top, left = (side - height) // 2, (side - width) // 2
        images = np.empty((len(index), 3, height, width), np.uint8)
        for image, values in zip(images, self.factors.values(index), strict=True):
            image[:] = _draw(values, side)[top:, left:][:height, :width].transpose(2, 0, 1)
        return images


def _draw(values: Integer[np.ndarray, " f"], side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The face with these factor values, `side` pixels high and wide."""
    avatars, resvg = _packages()
    chosen = dict(zip(Faces.factors.names, values, strict=True))
    parts = {name: getattr(avatars, kind)[members[chosen[name]]] for name, (kind, members) in PARTS.items()}
    colours = {name: shades[chosen[name]] for name, shades in COLOURS.items()}
    drawing = avatars.Avatar(
        style=avatars.AvatarStyle.TRANSPARENT, top=parts["hair"], eyes=parts["eyes"], eyebrows=parts["eyebrows"],
        mouth=parts["mouth"], facial_hair=parts["beard"], accessory=parts["glasses"], clothing=parts["clothes"],
        skin_color=colours["skin"], hair_color=colours["hair colour"], facial_hair_color=colours["hair colour"],
        clothing_color=colours["clothes colour"],
    ).render()  # fmt: skip
    framed = drawing.replace('viewBox="0 0 264 280"', f'viewBox="{FRAME}"', 1)
    framed = framed.replace('width="264px"', 'width="200px"', 1).replace('height="280px"', 'height="200px"', 1)
    png = bytes(resvg.svg_to_bytes(svg_string=framed, width=side, height=side, skip_system_fonts=True))
    face = Image.open(io.BytesIO(png)).convert("RGBA")
    ground = Image.new("RGBA", face.size, colours["background"])
    ground.alpha_composite(face)
    return np.asarray(ground.convert("RGB"))


def _packages() -> tuple[Any, Any]:
    try:
        import python_avatars
        import resvg_py
    except ImportError:
        raise UserError('faces are drawn by an extra: pip install "wherewhat[faces]"') from None
    return python_avatars, resvg_py
