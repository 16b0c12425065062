"""Motion: the way from one picture to another, loops through several, and their frames.

k keyframes, f frames, z controls, c channels, h w space.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wherewhat.errors import UserError
from wherewhat.nn.controls import ANGLE_RANGE
from wherewhat.nn.generator import AnyGenerator, Generator
from wherewhat.run.model import Model
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, Canvas

EASINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "smooth": lambda t: (1 - torch.cos(math.pi * t)) / 2,  # slowly at both ends
    "linear": lambda t: t,
}
"""share of the time → share of the way, both 0 … 1"""
MOST_FRAMES = 5_000  # of a film: as many as fit into a gigabyte at four times 64 × 64
MOST_PIXELS = 4_096  # of the longer side of a picture that is enlarged
BATCH = 64  # frames that are made together


def interpolate(
    run: Model, a: Float[Tensor, " z"], b: Float[Tensor, " z"], shares: Float[Tensor, " f"]
) -> Float[Tensor, "f z"]:
    """Codes at these shares, 0 … 1, of the way from a (which is returned for 0) to b (for 1).

    Latents go where the prior leads, on an arc if it is Gaussian (Prior.interpolate); controls that were made from
    them go straight; angles go the shorter way round the circle, beyond +2 on from −2.
    """
    t = shares[:, None].to(a)
    ends = a.expand(len(t), -1), b.expand(len(t), -1)
    found = torch.lerp(*ends, t)
    if not (isinstance(run.generator, Generator) and run.generator.controls):
        straight = [k for k in range(len(a)) if k not in run.generator.angles]
        found[:, straight] = run.prior.interpolate(ends[0][:, straight], ends[1][:, straight], t)
    angles = list(run.generator.angles)
    found[:, angles] = around(a[angles] + t * around(b[angles] - a[angles]))
    return torch.where(t == 0, a, torch.where(t == 1, b, found))


def around(angles: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The same angles between −2 and +2."""
    return torch.remainder(angles + ANGLE_RANGE, 2 * ANGLE_RANGE) - ANGLE_RANGE


def keyframed(
    run: Model, keyframes: Float[Tensor, "k z"], seconds: Sequence[float] = (2.0,), easing: str = "smooth",
    fps: int = 25, closed: bool = True,
) -> Float[Tensor, "f z"]:  # fmt: skip
    """The codes of the frames of a film through these keyframes, each hit exactly.

    seconds: from each keyframe to the next; one number is for all
    easing: of EASINGS, from each keyframe to the next
    closed: after the last keyframe back to the first, which is not repeated at the end, so that the film is an endless
        loop; else the film ends at the last

    Raises UserError for fewer than two keyframes, times that are not positive or not as many as ways, an unknown
    easing, and more than MOST_FRAMES.
    """
    if len(keyframes) < 2:
        raise UserError("a film goes from one picture to another: name two or more")
    ways = list(zip(keyframes, keyframes.roll(-1, 0), strict=True))[: None if closed else -1]
    times = list(seconds) * len(ways) if len(seconds) == 1 else list(seconds)
    if len(times) != len(ways):
        raise UserError(f"{len(times)} times for {len(ways)} ways from picture to picture: give one, or {len(ways)}")
    if easing not in EASINGS:
        raise UserError(f"there is no easing {easing}; there is: {', '.join(EASINGS)}")
    if not all(0 < time < math.inf for time in times) or fps < 1:
        raise UserError("the seconds from picture to picture and the pictures in a second are positive numbers")
    if sum(times) * fps > MOST_FRAMES:
        raise UserError(f"{sum(times):,.0f} seconds are more than {MOST_FRAMES:,} pictures: fewer, or a smaller --fps")
    counts = [max(1, round(time * fps)) for time in times]
    parts = [
        interpolate(run, a, b, EASINGS[easing](torch.arange(count) / count))
        for (a, b), count in zip(ways, counts, strict=True)
    ]
    return torch.cat(parts if closed else [*parts, keyframes[-1:]])


@torch.no_grad()
def frames(generator: AnyGenerator, codes: Float[Tensor, "f z"], scale: int = 1) -> list[Image.Image]:
    """The picture of each code, `scale` times as large as the generator makes it.  Raises UserError as `enlarged`."""
    tiles = (canvas.to_tiles(generator.images(part).clamp(-1, 1), max(generator.size)) for part in codes.split(BATCH))
    return [enlarged(Image.fromarray(tile), scale) for part in tiles for tile in part]


def enlarged(picture: Image.Image, scale: int) -> Image.Image:
    """A picture `scale` times as large (Lanczos).  Raises UserError if the longer side were more than MOST_PIXELS."""
    width, height = (side * scale for side in picture.size)
    if not 0 < max(width, height) <= MOST_PIXELS:
        raise UserError(f"--scale {scale} makes {width} × {height} pixels; at most {MOST_PIXELS} a side are made")
    return picture if scale == 1 else picture.resize((width, height), Image.Resampling.LANCZOS)


def in_a_row(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size side by side."""
    width, height = pictures[0].size
    sheet = Canvas(len(pictures) * (width + GAP) - GAP, height)
    for k, picture in enumerate(pictures):
        sheet.image.paste(picture, (k * (width + GAP), 0))
    return sheet.image
