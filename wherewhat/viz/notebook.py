"""Traversals for a notebook, which shows the picture that a cell ends with."""

from collections.abc import Sequence

import torch
from PIL import Image

from wherewhat.nn.generator import mean_masks
from wherewhat.run.folder import Run
from wherewhat.run.names import find_control
from wherewhat.viz import traversals as pictures
from wherewhat.viz.draw import starting_point
from wherewhat.viz.traversals import ControlLabel


def traverse(
    run: Run, controls: Sequence[int | str] | None = None, steps: int = 9, reach: float = pictures.REACH, seed: int = 0,
    device: str = "cpu",
) -> Image.Image:  # fmt: skip
    """A row a control: its mean mask, and the image while it alone goes from −reach to +reach.

    controls: numbers or names; the active ones if not given, and all before the run was evaluated.
    seed: of the image the rows start from.  Raises UserError for a control that there is not.
    """
    known = {d.index: d for d in run.control_table or []}
    if controls is not None:
        latents = [find_control(run, str(d)) for d in controls]
    else:
        latents = [k for k, d in known.items() if d.active] or list(range(run.config.generator.latents))
    described = {s.index: s for s in pictures.control_labels(list(known.values()), run.names)}
    rows = [described.get(k) or ControlLabel(k, f"z{k}  {run.names.get(k, '')}".rstrip()) for k in latents]
    generator = run.generator.to(device)
    masks = mean_masks(generator, torch.from_numpy(run.draw(64, seed)).to(device))
    return pictures.traversals(generator, rows, starting_point(run, seed, device), masks, steps, reach)
