"""What a training shows of itself now and then: pictures, and a quick TPL."""

import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from wherewhat.data.batches import Images, order
from wherewhat.errors import UserError
from wherewhat.evaluation.controls import describe_controls, tpl_rows
from wherewhat.evaluation.encoding import ImagesOf, encode
from wherewhat.families import family_of
from wherewhat.metrics.distance import Distance, load_distance
from wherewhat.metrics.networks import smallest
from wherewhat.metrics.tpl import tpl
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import Generator, mean_masks
from wherewhat.nn.ops import to_float
from wherewhat.run.folder import Run
from wherewhat.viz import canvas, sheets, traversals

COLUMNS = 10
"""images a row of samples"""
ENCODED = 5_000
"""images that are encoded to name the factor of each control, where factors are known"""


class Preview(NamedTuple):
    """Paths of pictures by name, scores by name."""

    images_seen: int
    pictures: dict[str, Path]
    scores: dict[str, float]


def preview(run: Run, generator: Generator, encoder: Encoder, data: Images, images_seen: int) -> Preview:
    """Draw samples, traversals and masks into the run folder; measure TPL `small` if its network is on this machine."""
    device = generator.constant.device
    stem = f"{images_seen // 1000:06d}k"
    z = torch.from_numpy(run.prior.draw(64, run.config.latents, 0)).to(device)  # the same each time, to compare
    real = to_float(torch.from_numpy(data.images(order(len(data), 0, 0, COLUMNS))).to(device))
    pictures = {"samples": sheets.image_rows(sample_rows(generator, encoder, real, z))}
    shown = [traversals.ControlLabel.plain(i) for i in range(run.config.latents)]
    scores: dict[str, float] = {}
    distance = quick_distance(str(device), min(generator.size))
    if distance is not None:
        result = tpl(ImagesOf(generator), run.config.latents, distance, "small", device=device)
        encoded = encode(encoder, data, ENCODED) if data.factors else None
        around = encoder(real).detach() if family_of(run.config).encodes_images else None
        table = describe_controls(generator, run.prior, result, encoded, data, around=around)
        warn_of_collapse(run, images_seen, sum(control.in_use for control in table))
        for row in tpl_rows(result, "small", table):
            run.log_metric({"images": images_seen, **row})
        scores = {"tpl": result.score, "active": float(result.active.sum())}
        shown = traversals.control_labels(table, run.names)
    masks = mean_masks(generator, z)
    note = f"{run.config.recipe}, {images_seen:,} images seen"
    with torch.no_grad():
        base = encoder(real)[0] if family_of(run.config).encodes_images else z[0]
    pictures["traversals"] = traversals.traversals(generator, shown, base, masks, footnote=note)
    pictures["masks"] = traversals.single_masks(generator, shown, z[:6])
    saved = {n: canvas.save_still(p, run.picture(f"{stem}-{n}.png")) for n, p in pictures.items()}
    return Preview(images_seen, saved, scores)


def warn_of_collapse(run: Run, images_seen: int, in_use: int) -> None:
    """Say on standard error and in about.json if fewer than half of the controls change the image that once did."""
    if 2 * in_use >= run.most_in_use:
        return
    text = (
        f"at {images_seen:,} images {in_use} controls change the image, and {run.most_in_use} did before: the training "
        "may be collapsing. An earlier checkpoint opens as RUN@CHECKPOINT; a lower learning rate (--lr) may help"
    )
    run.write_about("running", warnings=[*run.about.get("warnings", []), text])
    print(f"wherewhat: {run.path}: {text}", file=sys.stderr, flush=True)


@torch.no_grad()
def sample_rows(generator: Generator, encoder: Encoder, real: Tensor, z: Tensor) -> list[tuple[str, Tensor]]:
    """Images of the data; their reconstructions by encoder and generator; samples of the prior."""
    again = generator.images(encoder(real))
    made = generator.images(z[: 2 * COLUMNS])
    return [("data", real), ("reconstructed", again), ("generated", made[:COLUMNS]), ("", made[COLUMNS:])]


@lru_cache(maxsize=2)
def quick_distance(device: str, side: int) -> Distance | None:
    """LPIPS-AlexNet (VGG for small images); None, said once, if its weights are not on this machine or images are too
    small for both."""
    network = next((name for name in ("alex", "vgg") if side >= smallest(name)), None)
    try:
        if network is None:
            raise UserError(f"images of {side} pixels are too small for LPIPS")
        return load_distance(network, device)
    except UserError as error:
        print(f"TPL is not shown while training: {error}", file=sys.stderr)
        return None
