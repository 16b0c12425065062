"""Pictures of controls: traversals (images while one control moves and all others stay), masks, and what they say.

Masks have the same colours everywhere: 0 is black, 1 is pale yellow.  s steps, z controls, c channels, h w space.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from wherewhat.errors import UserError
from wherewhat.metrics import tpl
from wherewhat.nn.controls import ANGLE_RANGE
from wherewhat.nn.generator import AnyGenerator, mean_masks
from wherewhat.nn.ops import to_float
from wherewhat.run.model import ControlSummary, Model
from wherewhat.run.names import find_control, suggested
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, LABEL_WIDTH, Canvas

TRAVERSAL_REACH = 2.0  # pictures show a control from −2 to +2: 95 % of a normal prior, all of the others
FILM_FRAMES = 32  # images of a loop
MOST_ROWS = 60  # controls that are drawn unasked
Masks = Mapping[int, Float[np.ndarray, "h w"]] | Float[np.ndarray, "z h w"]  # control → its mean mask
AVERAGED = 64  # images over which masks are averaged


@dataclass(frozen=True)
class ControlLabel:
    """The text beside the pictures of one control."""

    index: int
    title: str
    lines: tuple[str, ...] = ()
    is_angle: bool = False  # −2 and +2 look the same

    @classmethod
    def plain(cls, index: int, name: str | None = None) -> "ControlLabel":
        """A control of which nothing is known but perhaps a name."""
        return cls(index, f"z{index}  {name}" if name else f"z{index}")


def control_labels(controls: Sequence[ControlSummary], names: Mapping[int, str] | None = None) -> list[ControlLabel]:
    """What evaluation found of each control, in words.  names: those that the user gave; others are suggested, as on
    the page and in the report."""
    made, titles = [], {**suggested(controls), **{k: name for k, name in (names or {}).items() if name}}
    for d in controls:
        title = ControlLabel.plain(d.index, titles[d.index]).title
        what = f"{d.factor} {d.share:.0%} · " if d.factor and d.share is not None else ""
        place = f"{d.place}, {d.area:.0%} of the image" + ", an angle" * d.is_angle
        made.append(ControlLabel(d.index, title, (f"{what}TPL {d.tpl:.2f} ± {d.tpl_error:.2f}", place), d.is_angle))
    return made


def shown_controls(run: Model, chosen: Sequence[int] | None = None, inactive: bool = False) -> list[ControlLabel]:
    """The chosen controls.  None chosen: those in use, longest traversal first, with the others if asked for; all where
    none is in use, and before the run was evaluated; at most MOST_ROWS."""
    table, names = run.control_table or [], run.names
    known = {label.index: label for label in control_labels(table, names)}
    if chosen is None:
        chosen = [d.index for d in table if d.in_use or inactive] or list(known) or range(run.controlled)
        chosen = chosen[:MOST_ROWS]
    return [known.get(k) or ControlLabel.plain(k, names.get(k)) for k in chosen]


def draw_traversals(
    run: Model, out: Path | None = None, chosen: Sequence[int] | None = None, steps: int = 9,
    reach: float = TRAVERSAL_REACH, seed: int = 0, inactive: bool = False, device: str = "cpu",
) -> Path:  # fmt: skip
    """Save the traversals of a run (`chosen` as in shown_controls) as .png, .gif or .mp4; traversals.png among its
    pictures if no name is given.  Raises UserError for another ending, too few steps, no reach, and as save_still."""
    path = out or run.picture("traversals.png")
    kind = canvas.check_kind(path)
    if steps < 2:
        raise UserError(f"--steps {steps}: a traversal takes 2 steps or more")
    if not 0 < reach < math.inf:
        raise UserError(f"--reach {reach:g}: a traversal goes from −reach to +reach, so give a positive number")
    controls = shown_controls(run, chosen, inactive)
    masks = masks_of_run(run, seed, device, [control.index for control in controls])
    generator, base = run.generator.to(device), starting_point(run, seed, device)
    if kind == ".png":
        note = ", ".join(run.facts)
        return canvas.save_still(traversals(generator, controls, base, masks, steps, reach, note), path)
    return canvas.save_moving(moving_traversals(generator, controls, base, masks, reach=reach), path)


def traverse(
    run: Model, controls: Sequence[int | str] | None = None, steps: int = 9, reach: float = TRAVERSAL_REACH,
    seed: int = 0, device: str = "cpu",
) -> Image.Image:  # fmt: skip
    """The traversals of a run, for a notebook.  controls: numbers or names; without them as in shown_controls.  seed:
    of the image that the rows start from.  Raises UserError for a control that does not exist."""
    chosen = None if controls is None else [find_control(run, str(word)) for word in controls]
    labels = shown_controls(run, chosen)
    masks = masks_of_run(run, seed, device, [label.index for label in labels])
    return traversals(run.generator.to(device), labels, starting_point(run, seed, device), masks, steps, reach)


@torch.no_grad()
def starting_point(run: Model, seed: int, device: str = "cpu") -> Float[Tensor, " z"]:
    """Codes of an image of the data; a draw from the prior if data cannot be opened or do not train the encoder."""
    rng = np.random.default_rng([seed, 2])
    if run.encodes_images:
        with suppress(UserError):
            data = run.data
            image = torch.from_numpy(data.images(rng.integers(len(data), size=1))).to(device)
            return run.encoder.to(device)(to_float(image))[0]
    return torch.from_numpy(run.draw(1, [seed, 2])[0]).to(device)


@torch.no_grad()
def sweep(
    generator: AnyGenerator, base: Float[Tensor, " z"], control: int, steps: int, reach: float = TRAVERSAL_REACH
) -> Float[Tensor, "s c h w"]:
    """Images while one control goes from −reach to +reach and the others stay as in the base point."""
    return generator.images(tpl.sweep(base, control, steps, reach))


@torch.no_grad()
def loop(
    generator: AnyGenerator, base: Float[Tensor, " z"], control: int, is_angle: bool, frames: int = FILM_FRAMES,
    reach: float = TRAVERSAL_REACH,
) -> Float[Tensor, "s c h w"]:  # fmt: skip
    """Images of an endless loop: from −reach to +reach and back, slowly at the ends; once round for an angle."""
    if is_angle:
        return sweep(generator, base, control, frames + 1, ANGLE_RANGE)[:frames]
    half = frames // 2 + 1
    z = tpl.sweep(base, control, half)
    z[:, control] = -reach * torch.cos(torch.linspace(0, torch.pi, half, device=base.device))
    there = generator.images(z)
    return torch.cat([there, there[1 : frames - half + 1].flip(0)])


def traversals(
    generator: AnyGenerator, controls: Sequence[ControlLabel], base: Float[Tensor, " z"],
    masks: Masks, steps: int = 9, reach: float = TRAVERSAL_REACH, footnote: str = "",
) -> Image.Image:  # fmt: skip
    """A row for each control: its label, its mean mask, and the image while it alone goes from −reach to +reach."""
    tiles = [canvas.to_tiles(sweep(generator, base, c.index, steps, reach)) for c in controls]
    h, w = tiles[0].shape[1:3]
    row = max(h, 18 * (1 + max(len(control.lines) for control in controls))) + GAP
    top, left = 24, LABEL_WIDTH + w + 2 * GAP
    sheet = Canvas(left + steps * (w + GAP), top + len(controls) * row + 42)
    sheet.text(LABEL_WIDTH + w / 2, 5, "where", 12, fill=canvas.QUIET, anchor="ma")
    for k, value in enumerate(np.linspace(-reach, reach, steps)):
        x = left + k * (w + GAP) + w / 2
        sheet.text(x, 5, f"{value:+.1f}".replace("+0.0", "0"), 12, fill=canvas.QUIET, anchor="ma")
    for i, control in enumerate(controls):
        y = top + i * row
        sheet.words(y, control.title, control.lines, 15)
        sheet.tile(LABEL_WIDTH, y, canvas.heat(masks[control.index], (h, w)))
        sheet.tiles(left, y, tiles[i])
    legend(sheet, LABEL_WIDTH, top + len(controls) * row + 8, footnote)
    return sheet.image


def moving_traversals(
    generator: AnyGenerator, controls: Sequence[ControlLabel], base: Float[Tensor, " z"],
    masks: Masks, frames: int = FILM_FRAMES, reach: float = TRAVERSAL_REACH,
) -> list[Image.Image]:  # fmt: skip
    """Frames of a loop of all controls at once, each with its title, its mean mask and its image."""
    swept = [canvas.to_tiles(loop(generator, base, c.index, c.is_angle, frames, reach)) for c in controls]
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
            sheet.tiles(x, y + 40, [canvas.heat(masks[control.index], (h, w)), swept[i][f]])
        made.append(sheet.image)
    return made


def masks_of_run(
    run: Model, seed: int = 0, device: str = "cpu", controls: Sequence[int] | None = None
) -> Mapping[int, Float[np.ndarray, "h w"]]:
    """The mask of each of these controls (all if not given), averaged over images drawn from the prior."""
    chosen = range(run.controlled) if controls is None else controls
    masks = mean_masks(run.generator.to(device), torch.from_numpy(run.draw(AVERAGED, seed)), chosen)
    return dict(zip(chosen, masks, strict=True))


@torch.no_grad()
def single_masks(generator: AnyGenerator, controls: Sequence[ControlLabel], z: Float[Tensor, "b z"]) -> Image.Image:
    """A row for each image: the image, then the mask of each control.  It shows how far masks follow the image."""
    made = generator(z)
    images = canvas.to_tiles(made.image)
    masks = made.masks_at(*generator.size).cpu().numpy()
    h, w = images.shape[1:3]
    sheet = Canvas((len(controls) + 1) * (w + GAP) + GAP, 24 + len(z) * (h + GAP) + 42)
    for k, control in enumerate(controls, 1):
        sheet.fitted(GAP + k * (w + GAP), 5, control.title, w, 12)
    for i, image in enumerate(images):
        y = 24 + i * (h + GAP)
        sheet.tiles(GAP, y, [image, *(canvas.heat(masks[i, control.index], (h, w)) for control in controls)])
    legend(sheet, GAP, 24 + len(z) * (h + GAP) + 8)
    return sheet.image


def legend(sheet: Canvas, x: int, y: int, footnote: str = "") -> None:
    """Draw the scale of masks, and a footnote beside it."""
    ramp = np.linspace(0, 1, 120)[None].repeat(10, 0)
    sheet.text(x, y + 1, "mask 0", 11, fill=canvas.QUIET)
    sheet.tile(x + 46, y + 3, canvas.heat(ramp, (10, 120)))
    sheet.text(x + 171, y + 1, "1", 11, fill=canvas.QUIET)
    sheet.text(x + 200, y + 1, footnote, 11, fill=canvas.QUIET)
