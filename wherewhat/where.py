"""A true answer to "where": the place each dimension changes, against its mask, and against the place its factor is."""

from typing import Any, NamedTuple

import numpy as np
import torch

from wherewhat.data import open_data
from wherewhat.data.batches import draw_index
from wherewhat.data.worlds import region
from wherewhat.errors import UserError
from wherewhat.metrics.where import changed, covered, iou
from wherewhat.runs import Run

REACH, STEPS = 2.0, 5
"""of the sweeps"""


class Place(NamedTuple):
    """One dimension; means over images."""

    latent: int
    factor: str | None
    share_changed: float
    """of the image, by a sweep"""
    mask_change: float
    """intersection over union of its mask (above half its peak) with what a sweep changes"""
    change_truth: float | None
    """of what a sweep changes with the exact place of its factor, where that is known"""
    mask_truth: float | None
    """of its mask with that place"""


@torch.no_grad()
def where(run: Run, count: int = 32, seed: int = 0, device: str = "cpu") -> list[Place]:
    """Every active dimension of a run whose dimensions are known (evaluate it first), in their order.

    `count` images of the data are read and each dimension is swept from −2 to 2 around them.  The truth is known for
    full grids of factors (rooms, sprites, dSprites, 3D Shapes): pixels that change with the factor and nothing else.
    The result is written to metrics.jsonl as "where", valued by the mean of change_truth (mask_change without a truth).
    Raises UserError if the dimensions are not known.
    """
    if run.dimensions is None:
        raise UserError(f"the dimensions of {run.path} are not known yet: wherewhat evaluate {run.path} --metrics tpl")
    data = open_data(run.config.data)
    grid = data.factors if data.factors is not None and data.factors.is_grid else None
    index = draw_index(data, count, seed)
    real = torch.from_numpy(data.images(index)).to(device).float() / 127.5 - 1
    generator, codes = run.generator.to(device), run.recogniser.to(device)(real)
    height, width = generator.size
    masks = generator(codes).masks_at(height, width).cpu().numpy()
    found = []
    for d in (d for d in run.dimensions if d.active):
        swept = codes.repeat_interleave(STEPS, 0)
        swept[:, d.latent] = torch.linspace(-REACH, REACH, STEPS, device=device).repeat(len(codes))
        images = generator(swept).image.clamp(-1, 1).cpu().numpy().reshape(len(codes), STEPS, -1, height, width)
        moves = [changed(sweep) for sweep in images]
        supports = [covered(mask) for mask in masks[:, d.latent]]
        truth = None
        if grid and d.factor:
            truth = [region(data, int(i), grid.names.index(d.factor)) for i in index]  # type: ignore[arg-type]
        found.append(
            Place(
                d.latent,
                d.factor,
                float(np.mean(moves)),
                _mean_iou(supports, moves),
                _mean_iou(moves, truth) if truth else None,
                _mean_iou(supports, truth) if truth else None,
            )
        )
    run.log_metric(_row(run, found, count, seed))
    return found


def _mean_iou(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return float(np.mean([iou(a, b) for a, b in zip(one, other, strict=True)]))


def _row(run: Run, found: list[Place], count: int, seed: int) -> dict[str, Any]:
    with_truth = [p.change_truth for p in found if p.change_truth is not None]
    values = with_truth or [p.mask_change for p in found]
    options = {
        "against": "truth" if with_truth else "mask",
        "images": count,
        "steps": STEPS,
        "reach": REACH,
        "seed": seed,
    }
    value = float(np.mean(values)) if values else 0.0
    return {"images": run.images, "metric": "where", "value": value, "options": options,
            "details": [p._asdict() for p in found]}  # fmt: skip
