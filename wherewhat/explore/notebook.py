"""Traversals for a notebook, which shows the picture that a cell ends with."""

from collections.abc import Sequence

import torch
from PIL import Image

from wherewhat.explore import traverse as pictures
from wherewhat.explore.draw import starting_point
from wherewhat.explore.names import find_dimension
from wherewhat.explore.traverse import Slider
from wherewhat.nn.generator import mean_masks
from wherewhat.runs import Run


def traverse(
    run: Run, dims: Sequence[int | str] | None = None, steps: int = 9, reach: float = pictures.REACH, seed: int = 0,
    device: str = "cpu",
) -> Image.Image:  # fmt: skip
    """A row a dimension: its mean mask, and the image while it alone goes from −reach to +reach.

    dims: numbers or names; the active ones if not given, and all before the run was evaluated.
    seed: of the image the rows start from.  Raises UserError for a dimension that there is not.
    """
    known = {d.latent: d for d in run.dimensions or []}
    if dims is not None:
        latents = [find_dimension(run, str(d)) for d in dims]
    else:
        latents = [k for k, d in known.items() if d.active] or list(range(run.config.generator.codes))
    described = {s.latent: s for s in pictures.sliders(list(known.values()), run.names)}
    rows = [described.get(k) or Slider(k, f"z{k}  {run.names.get(k, '')}".rstrip()) for k in latents]
    generator = run.generator.to(device)
    masks = mean_masks(generator, torch.from_numpy(run.draw(64, seed)).to(device))
    return pictures.traversals(generator, rows, starting_point(run, seed, device), masks, steps, reach)
