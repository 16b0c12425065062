"""ImagesOf of a run: samples, traversals with their masks, masks of single images, codes against factors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wherewhat.metrics.tpl import Rotation
from wherewhat.nn.controls import ANGLE_RANGE
from wherewhat.nn.generator import Generator
from wherewhat.run.folder import ControlSummary
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, Canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABEL = 216
"""pixels of the column of words"""
REACH = 2.0
"""pictures sweep a latent from −2 to +2: 95 % of a normal prior, all of the others"""


@dataclass(frozen=True)
class ControlLabel:
    """One latent control as it is shown: which, and what is known of it."""

    index: int
    title: str
    lines: tuple[str, ...] = ()
    is_angle: bool = False
    """an angle: −2 and +2 look the same"""


def control_labels(controls: Sequence[ControlSummary], names: Mapping[int, str] | None = None) -> list[ControlLabel]:
    """What is known of each control, in words."""
    made = []
    for d in controls:
        name = (names or {}).get(d.index) or d.factor
        what = f"{d.factor} {d.share:.0%} · " if d.factor and d.share is not None else ""
        place = f"{d.place}, {d.area:.0%} of the image" + ", an angle" * d.is_angle
        lines = (f"{what}TPL {d.tpl:.2f} ± {d.tpl_error:.2f}", place)
        made.append(ControlLabel(d.index, f"z{d.index}  {name}" if name else f"z{d.index}", lines, d.is_angle))
    return made


def traversals(
    generator: Generator, controls: Sequence[ControlLabel], base: Float[Tensor, " z"], masks: Float[np.ndarray, "z h w"],
    steps: int = 9, reach: float = REACH, footnote: str = "",
) -> Image.Image:  # fmt: skip
    """A row a control: what it is, its mean mask, and the image while that latent alone goes from −reach to +reach."""
    swept = [sweep(generator, base, s.index, steps, reach) for s in controls]
    tiles = [canvas.to_tiles(images) for images in swept]
    h, w = tiles[0].shape[1:3]
    row = max(h, 18 * (1 + max(len(s.lines) for s in controls))) + GAP
    top, wide = 24, LABEL + (steps + 1) * (w + GAP) + GAP
    sheet = Canvas(wide, top + len(controls) * row + 42)
    sheet.text(LABEL + w / 2, 5, "where", 12, fill=canvas.QUIET, anchor="ma")
    for k, value in enumerate(np.linspace(-reach, reach, steps)):
        place = LABEL + (k + 1) * (w + GAP) + GAP + w / 2
        sheet.text(place, 5, f"{value:+.1f}".replace("+0.0", "0"), 12, fill=canvas.QUIET, anchor="ma")
    for i, control in enumerate(controls):
        y = top + i * row
        sheet.fitted(8, y + 2, control.title, LABEL - 16, 15, bold=True)
        for j, line in enumerate(control.lines):
            sheet.fitted(8, y + 22 + 17 * j, line, LABEL - 16, 12)
        sheet.tile(LABEL, y, canvas.heat(masks[control.index], (h, w)))
        for k, tile in enumerate(tiles[i]):
            sheet.tile(LABEL + (k + 1) * (w + GAP) + GAP, y, tile)
    _legend(sheet, LABEL, top + len(controls) * row + 8, footnote)
    return sheet.image


def moving_traversals(
    generator: Generator, controls: Sequence[ControlLabel], base: Float[Tensor, " z"], masks: Float[np.ndarray, "z h w"],
    frames: int = 32, reach: float = REACH,
) -> list[Image.Image]:  # fmt: skip
    """All controls at once, each with its name, its mean mask, and an image that swings there and back."""
    swept = [canvas.to_tiles(swing(generator, base, s, frames, reach)) for s in controls]
    h, w = swept[0].shape[1:3]
    columns = min(len(controls), 4)
    cell = 2 * w + 3 * GAP
    rows = -(-len(controls) // columns)
    made = []
    for f in range(frames):
        sheet = Canvas(columns * cell, rows * (h + 44))
        for i, control in enumerate(controls):
            x, y = (i % columns) * cell + GAP, (i // columns) * (h + 44)
            sheet.fitted(x, y + 4, control.title, cell - 2 * GAP, 14, bold=True)
            if control.lines:
                sheet.fitted(x, y + 22, control.lines[0], cell - 2 * GAP, 11)
            sheet.tile(x, y + 40, canvas.heat(masks[control.index], (h, w)))
            sheet.tile(x + w + GAP, y + 40, swept[i][f])
        made.append(sheet.image)
    return made


def samples(rows: Sequence[tuple[str, Float[Tensor, "b c h w"]]]) -> Image.Image:
    """Rows of images, each under its name."""
    tiles = [(words, canvas.to_tiles(images)) for words, images in rows]
    h, w = tiles[0][1].shape[1:3]
    columns = max(len(images) for _, images in tiles)
    sheet = Canvas(columns * (w + GAP) + GAP, len(tiles) * (h + 26) + GAP)
    for i, (words, images) in enumerate(tiles):
        sheet.text(GAP, i * (h + 26) + 6, words, 13, fill=canvas.QUIET)
        for k, tile in enumerate(images):
            sheet.tile(GAP + k * (w + GAP), i * (h + 26) + 25, tile)
    return sheet.image


def single_masks(generator: Generator, controls: Sequence[ControlLabel], z: Float[Tensor, "b z"]) -> Image.Image:
    """A row an image: the image, then the mask of each control for it.  Shows how far masks follow the image."""
    with torch.no_grad():
        made = generator(z)
    images = canvas.to_tiles(made.image)
    masks = made.masks_at(*generator.size).cpu().numpy()
    h, w = images.shape[1:3]
    sheet = Canvas((len(controls) + 1) * (w + GAP) + GAP, 24 + len(z) * (h + GAP) + 42)
    for k, control in enumerate(controls):
        sheet.fitted(GAP + (k + 1) * (w + GAP), 5, control.title, w, 12)
    for i, image in enumerate(images):
        y = 24 + i * (h + GAP)
        sheet.tile(GAP, y, image)
        for k, control in enumerate(controls):
            sheet.tile(GAP + (k + 1) * (w + GAP), y, canvas.heat(masks[i, control.index], (h, w)))
    _legend(sheet, GAP, 24 + len(z) * (h + GAP) + 8, "")
    return sheet.image


def factor_map(
    matrix: Float[np.ndarray, "z f"], controls: Sequence[ControlLabel], factors: Sequence[str], title: str
) -> Image.Image:
    """Codes (rows, in the order of the controls) against factors (columns), each cell with its number; scale 0 to 1."""
    from matplotlib.figure import Figure

    shown = matrix[[s.index for s in controls]]
    figure = Figure(figsize=(2.2 + 0.9 * len(factors), 1.6 + 0.42 * len(controls)), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shown, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(factors)), factors, rotation=25, ha="right")
    axes.set_yticks(range(len(controls)), [f"z{s.index}" for s in controls])
    axes.set_title(title, fontsize=10)
    for i, j in np.ndindex(shown.shape):
        dark = "white" if shown[i, j] > 0.6 else "black"
        axes.text(j, i, f"{shown[i, j]:.2f}", ha="center", va="center", color=dark, fontsize=8)
    figure.colorbar(picture, ax=axes)
    return from_figure(figure)


def rotation_curves(studies: Mapping[tuple[int, int], Rotation], names: Mapping[int, str]) -> Image.Image:
    """A panel a pair: length of a sweep against its direction, with standard errors and the axis score."""
    from matplotlib.figure import Figure

    columns = min(3, len(studies))
    rows = -(-len(studies) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.7 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for panel, (pair, study) in zip(panels, studies.items(), strict=False):
        first, second = (f"z{latent} {names.get(latent, '')}".strip() for latent in pair)
        panel.fill_between(study.degrees, study.lengths - study.errors, study.lengths + study.errors, alpha=0.25)
        panel.plot(study.degrees, study.lengths, marker="o", markersize=3)
        panel.set_xticks([0, 45, 90, 135, 180], [first, "45°", second, "135°", first], fontsize=7)
        for axis in (0, 90, 180):
            panel.axvline(axis, color="0.8", linewidth=0.8, zorder=0)
        panel.set_ylim(bottom=0)
        panel.set_ylabel("perceptual length", fontsize=8)
        panel.set_title(f"axis score {study.axis_score:+.2f}", fontsize=9)
    for panel in panels[len(studies) :]:
        panel.remove()
    return from_figure(figure)


def from_figure(figure: "Figure") -> Image.Image:
    """What matplotlib draws, as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    return Image.fromarray(np.asarray(drawn.buffer_rgba())[..., :3].copy())


@torch.no_grad()
def sweep(generator: Generator, base: Float[Tensor, " z"], latent: int, steps: int, reach: float) -> Tensor:
    """Images while one latent goes from −reach to +reach and the others stay at the base point."""
    z = base.repeat(steps, 1)
    z[:, latent] = torch.linspace(-reach, reach, steps, device=base.device)
    return generator(z).image


def swing(generator: Generator, base: Float[Tensor, " z"], control: ControlLabel, frames: int, reach: float) -> Tensor:
    """Frames of an endless loop: there and back again, slowly at the ends; all the way round for an angle."""
    if control.is_angle:
        return sweep(generator, base, control.index, frames + 1, ANGLE_RANGE)[:frames]
    half = frames // 2 + 1
    z = base.repeat(half, 1)
    z[:, control.index] = -reach * torch.cos(torch.linspace(0, torch.pi, half, device=base.device))
    with torch.no_grad():
        there = generator(z).image
    return torch.cat([there, there[1 : frames - half + 1].flip(0)])


def _legend(sheet: Canvas, x: int, y: int, footnote: str) -> None:
    """The scale of masks, the same in every picture."""
    ramp = np.linspace(0, 1, 120)[None].repeat(10, 0)
    sheet.text(x, y + 1, "mask 0", 11, fill=canvas.QUIET)
    sheet.tile(x + 46, y + 3, canvas.heat(ramp, (10, 120)))
    sheet.text(x + 171, y + 1, "1", 11, fill=canvas.QUIET)
    sheet.text(x + 200, y + 1, footnote, 11, fill=canvas.QUIET)
