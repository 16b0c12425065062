"""Where each control acts: what it changes, compared with its mask, and with the true place of its factor."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wherewhat.data import region
from wherewhat.data.batches import Images, draw_index, identity
from wherewhat.errors import UserError
from wherewhat.metrics.distance import load_distance
from wherewhat.metrics.tpl import sweep
from wherewhat.metrics.where import CHANGE, Box, changed, consistency, covered, iou, perceived, sharpness
from wherewhat.nn.generator import AnyGenerator, changes, image_masks
from wherewhat.nn.ops import to_float
from wherewhat.run.model import Model

SWEEP_REACH, SWEEP_POINTS = 2.0, 5  # sweeps go from −2 to +2 around the codes of an image


class Place(NamedTuple):
    """One control; means over images.  Overlaps are intersections over unions."""

    control: int
    factor: str | None
    area: float  # share of the image that its mask covers (is above half its peak)
    sharpness: float  # share of its mask's weight in there
    consistency: float  # overlap of single images' masks with the mean mask
    share_changed: float  # of the image, by a sweep
    mask_change: float  # overlap of its mask with what a sweep changes
    mask_perceived: float  # of its mask with where a sweep changes most of what is seen (half the peak of LPIPS)
    change_truth: float | None  # of what a sweep changes with the exact place of its factor, where that is known
    mask_truth: float | None  # overlap of its mask with that place


@torch.no_grad()
def where(run: Model, count: int = 32, seed: int = 0, device: str = "cpu", distance: str = "alex") -> list[Place]:
    """Every control in use of a run, or of anyone's generator, whose controls are known (evaluate it first), in the
    order of its table.  `count` images of the data are encoded and each control is swept from −2 to 2 around their
    codes, or around draws from the prior if there is no encoder or the data cannot be opened.  The truth is known for
    full grids of factors (rooms, dSprites, 3D Shapes): pixels that change with the factor and nothing else.  The result
    is written to metrics.jsonl as "where"; its value is the mean of change_truth (of mask_change without a truth).
    Raises UserError if the controls are not known."""
    if run.control_table is None:
        raise UserError(f"the controls of {run.word} are not known yet: wherewhat evaluate {run.word} --metrics tpl")
    perceptual, generator = load_distance(distance, device), run.generator.to(device)
    data: Images | None = None
    if run.has_encoder:
        with suppress(UserError):
            data = run.data
    grid = data.factors if data and data.factors and data.factors.is_grid else None
    index = draw_index(data, count, seed) if data else np.arange(count)
    if data:
        real = to_float(torch.from_numpy(data.images(index)).to(device))
        codes = run.encoder.to(device)(real)
    else:
        codes = torch.from_numpy(run.draw(count, seed)).to(device)
    shown = [d for d in run.control_table if d.in_use]
    masks = image_masks(generator, codes, [d.index for d in shown]).cpu().numpy() if shown else np.zeros((1, 0))
    found = []
    for place, d in enumerate(shown):
        swept = sweep(codes, d.index, SWEEP_POINTS, SWEEP_REACH)
        images = generator.images(swept.flatten(0, 1)).clamp(-1, 1).unflatten(0, swept.shape[:2])
        moves = [changed(moving) for moving in images.cpu().numpy()]
        seen = [covered(perceived(perceptual, moving)) for moving in images]
        own = masks[:, place]
        supports = [covered(mask) for mask in own]
        truth = None
        if data and grid and d.factor in grid.names:
            truth = [region(data, int(i), grid.names.index(d.factor)) for i in index]
        found.append(Place(
            d.index, d.factor, float(np.mean(supports)), float(np.mean([sharpness(mask) for mask in own])),
            consistency(own), float(np.mean(moves)), _mean_iou(supports, moves), _mean_iou(supports, seen),
            _mean_iou(moves, truth) if truth else None, _mean_iou(supports, truth) if truth else None,
        ))  # fmt: skip
    with_truth = [p.change_truth for p in found if p.change_truth is not None]
    values = with_truth or [p.mask_change for p in found]
    options = {"against": "truth" if with_truth else "mask", "around": "images" if data else "prior", "images": count,
               "steps": SWEEP_POINTS, "reach": SWEEP_REACH, "seed": seed, **perceptual.options,
               **(run.data_options(identity(data)) if data else {})}  # fmt: skip
    row = {"metric": "where", "value": float(np.mean(values)) if values else 0.0, "options": options}
    run.log_metric({"images": run.images_seen, **row, "details": [p._asdict() for p in found]})
    return found


@torch.no_grad()
def visible_masks(
    generator: AnyGenerator, z: Float[Tensor, "b z"], controls: Sequence[int]
) -> Float[Tensor, "b n h w"]:
    """Where each of these images changes when a control goes from −2 to +2, whatever the control's mask says: 0 for a
    pixel that stays, ½ for one whose change is just visible (CHANGE), 1 from twice that on."""
    return torch.stack([(changes(generator, z, k) / (2 * CHANGE)).clamp(max=1) for k in controls], 1)


ACTS = 0.01
"""share of all that pixels can change from which a control is said to act at a place"""


class Acting(NamedTuple):
    """What one control changes in a part of the image, and in all of it; shares of all that pixels can change."""

    control: int
    there: float
    overall: float


@torch.no_grad()
def acting_in(generator: AnyGenerator, codes: Float[Tensor, "b z"], controls: Sequence[int], box: Box) -> list[Acting]:
    """These controls, those first that change a part of the image most when they go from −2 to 2 around codes of
    images; means over the images."""
    found = []
    for control in controls:
        change = changes(generator, codes, control).mean(0) / 2
        found.append(Acting(control, float(change[box.pixels(*change.shape)].mean()), float(change.mean())))
    return sorted(found, key=lambda acting: -acting.there)


def ask(run: Model, box: Box, count: int = 16, seed: int = 0, device: str = "cpu") -> list[Acting]:
    """Which controls in use act in a part of the image: mean over `count` images of the data, or over draws from the
    prior if the data cannot be opened.  Raises UserError if the controls are not known."""
    if run.control_table is None:
        raise UserError(f"the controls of {run.word} are not known yet: wherewhat evaluate {run.word} --metrics tpl")
    codes = torch.from_numpy(run.draw(count, seed)).to(device)
    with suppress(UserError):
        data = run.data
        with torch.no_grad():
            real = to_float(torch.from_numpy(data.images(draw_index(data, count, seed))).to(device))
            codes = run.encoder.to(device)(real)
    return acting_in(run.generator.to(device), codes, [d.index for d in run.control_table if d.in_use], box)


def _mean_iou(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return float(np.mean([iou(a, b) for a, b in zip(one, other, strict=True)]))
