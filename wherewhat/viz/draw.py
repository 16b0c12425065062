"""ImagesOf of a run, drawn and saved: what the command line and the report show."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wherewhat.data import open_data
from wherewhat.errors import UserError
from wherewhat.metrics.distance import load_distance
from wherewhat.metrics.tpl import Rotation, rotate
from wherewhat.nn.generator import mean_masks
from wherewhat.run.folder import Run
from wherewhat.viz import canvas, traversals
from wherewhat.viz.traversals import ControlLabel


def draw_traversals(
    run: Run, out: Path | None = None, chosen: Sequence[int] | None = None, steps: int = 9,
    reach: float = traversals.REACH, seed: int = 0, inactive: bool = False, device: str = "cpu",
) -> Path:  # fmt: skip
    """Traversals of an evaluated run as .png, .gif or .mp4: the chosen latents, or the active ones, or all of them."""
    path = out or run.picture("traversals.png")
    canvas.check_kind(path)
    if steps < 2:
        raise UserError(f"--steps {steps}: a traversal takes 2 steps or more")
    if not 0 < reach < math.inf:
        raise UserError(f"--reach {reach:g}: a traversal goes from −reach to +reach, so give a positive number")
    table = run.control_table
    assert table is not None
    if chosen is not None:
        table = [d for index in chosen for d in table if d.index == index]
    elif not inactive:
        table = [d for d in table if d.active] or table
    controls = traversals.control_labels(table, run.names)
    generator = run.generator.to(device)
    z = torch.from_numpy(run.draw(64, seed)).to(device)
    masks = mean_masks(generator, z)
    base = starting_point(run, seed, device)
    if path.suffix.lower() in (".gif", ".mp4"):
        return canvas.save_moving(traversals.moving_traversals(generator, controls, base, masks, reach=reach), path)
    note = f"{run.config.recipe}, {run.images_seen:,} images seen"
    picture = traversals.traversals(generator, controls, base, masks, steps, reach, note)
    return canvas.save_still(picture, path)


@torch.no_grad()
def starting_point(run: Run, seed: int, device: str) -> Float[Tensor, " z"]:
    """Where traversals start: the codes of an image of the data for an autoencoder, whose encoder reads real images;
    a draw from the prior for a GAN, and where the data are not at hand."""
    rng = np.random.default_rng([seed, 2])
    if run.config.autoencoder:
        with suppress(UserError):
            data = open_data(run.config.data)
            image = torch.from_numpy(data.images(rng.integers(len(data), size=1))).to(device)
            return run.encoder.to(device)(image.float() / 127.5 - 1)[0]
    return torch.from_numpy(run.draw(1, [seed, 2])[0]).to(device)


def draw_rotations(
    run: Run, pairs: Sequence[tuple[int, int]], out: Path | None = None, angles: int = 17, protocol: str = "small",
    distance: str = "alex", seed: int = 0, device: str = "cpu", progress: Callable[[str, float], None] | None = None,
) -> tuple[Path, dict[tuple[int, int], Rotation]]:  # fmt: skip
    """The rotation study of pairs of controls, as a picture (a curve a pair) and numbers."""
    path = out or run.picture("rotations.png")
    canvas.check_kind(path)
    studies = rotations(run, pairs, angles, protocol, distance, seed, device, progress)
    return canvas.save_still(traversals.rotation_curves(studies, run.names), path), studies


def rotations(
    run: Run, pairs: Sequence[tuple[int, int]], angles: int = 17, protocol: str = "small", distance: str = "alex",
    seed: int = 0, device: str = "cpu", progress: Callable[[str, float], None] | None = None,
) -> dict[tuple[int, int], Rotation]:  # fmt: skip
    """The rotation study of pairs of controls, in numbers."""
    perceptual = load_distance(distance, device)
    generator = run.generator.to(device)
    studies: dict[tuple[int, int], Rotation] = {}
    for pair in pairs:

        def share(done: float) -> None:
            if progress:
                progress("rotating", (len(studies) + done) / len(pairs))

        studies[pair] = rotate(
            lambda z: generator(z).image.clamp(-1, 1), generator.config.latents, perceptual, pair, angles, protocol, seed,
            device, share,
        )  # fmt: skip
    return studies


def draw_factor_map(run: Run, row: dict[str, Any]) -> Path:
    """DCI's importance of each active code for each factor."""
    matrix = np.array(row["details"]["importance"])
    known = [d for d in run.control_table or [] if d.active]
    controls = traversals.control_labels(known) if known else [ControlLabel(i, f"z{i}") for i in range(len(matrix))]
    names = row["options"]["factors"]
    title = f"importance of each code (row) for each factor (DCI, {row['options']['protocol']})"
    return canvas.save_still(
        traversals.factor_map(matrix / matrix.sum(0).clip(1e-12), controls, names, title), run.picture("factors.png")
    )
