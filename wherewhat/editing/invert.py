"""Photographs into codes: the encoder first, then descent on codes and noise, then, if asked, on a copy of the
generator around the codes found (pivotal tuning, Roich et al. 2021).  b images, z codes, c channels, h w space."""

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wherewhat.data.pictures import open_picture
from wherewhat.errors import UserError
from wherewhat.metrics.distance import Distance, load_distance
from wherewhat.metrics.images import psnr, ssim
from wherewhat.nn.generator import Generator
from wherewhat.nn.ops import to_float
from wherewhat.progress import Progress, Work, finish, silent
from wherewhat.run.folder import Run

PIXEL_WEIGHT = 5.0  # weight of the mean squared difference of pixels beside the perceptual distance
PRIOR_WEIGHT = 0.001  # weight of the mean squared latent and noise: what the image does not determine stays near 0
TUNING_LR = 0.0005  # learning rate of the first step when the generator is tuned

Errors = Callable[[Tensor], Float[Tensor, " b"]]  # images made → how much each differs from its photograph


class Scores(NamedTuple):  # how near each image is to its photograph
    psnr: Float[Tensor, " b"]  # dB; more is better
    ssim: Float[Tensor, " b"]  # 1 for equal images
    distance: Float[Tensor, " b"]  # LPIPS, or pixels if that was asked for; less is better


class Inversion(NamedTuple):  # what makes images like the photographs: generator(codes, noise).image
    codes: Float[Tensor, "b z"]
    noise: tuple[Tensor, ...]  # empty if the generator has none, or if its fixed noise was kept
    image: Float[Tensor, "b c h w"]  # in [−1, 1]
    generator: Generator  # the run's own, or the tuned copy
    start: Float[Tensor, "b c h w"]  # the image of the encoder's codes, in [−1, 1]
    before: Scores  # scores of `start`
    after: Scores  # scores of `image`


def open_photos(run: Run, paths: Sequence[Path]) -> Float[Tensor, "b c h w"]:
    """Photographs cropped and shrunk as the run's data were, in [−1, 1].  Raises UserError."""
    if not paths:
        raise UserError("name the photographs")
    data = run.config.data
    pixels = [open_picture(path, *run.config.size, data.channels, data.fit) for path in paths]
    return to_float(torch.from_numpy(np.stack(pixels)))


def invert(
    run: Run, images: Float[Tensor, "b c h w"], steps: int = 100, lr: float = 0.05, tune: int = 0,
    distance: Distance | None = None, device: str = "cpu", with_noise: bool = True, progress: Progress = silent,
) -> Inversion:  # fmt: skip
    """All steps of `inverting` at once."""
    return finish(inverting(run, images, steps, lr, tune, distance, device, with_noise), progress)


def inverting(
    run: Run, images: Float[Tensor, "b c h w"], steps: int = 100, lr: float = 0.05, tune: int = 0,
    distance: Distance | None = None, device: str = "cpu", with_noise: bool = True,
) -> Work[Inversion]:  # fmt: skip
    """The codes of photographs in [−1, 1]; never worse than the encoder's by distance + PIXEL_WEIGHT · squared error.
    It pauses after each step of descent, in this thread, so it can be stopped there; the run is never changed.

    steps: of descent on codes and noise of each photograph by itself, at a rate that falls from lr to 0 along a half
        cosine; 0 keeps the encoder's codes
    tune: steps of descent on one copy of the generator for all photographs: it learns their details, and after few
        steps its controls still do what they did
    distance: LPIPS-alex if not given
    with_noise: descend on the generator's noise too; else it is fixed, and codes alone determine the image
    """
    perceptual = distance or load_distance("alex", device)
    generator, photos = run.generator.to(device), images.to(device)
    with torch.no_grad():
        codes = run.encoder.to(device)(photos)
        noise = tuple(n.expand(len(photos), -1, -1, -1) for n in generator.fixed_noise()) if with_noise else ()
        start = generator.images(codes, noise or None).clamp(-1, 1)

    def errors(made: Tensor) -> Tensor:
        made = made.clamp(-1, 1)  # as it will be shown
        return perceptual(made, photos) + PIXEL_WEIGHT * (made - photos).square().mean((1, 2, 3))

    if steps:
        codes, noise = yield from _descend(generator, codes, noise, errors, _cosine(steps, lr))
    if tune:
        generator = yield from _tune(generator, codes, noise, errors, _cosine(tune, TUNING_LR))
    with torch.no_grad():
        image = generator.images(codes, noise or None).clamp(-1, 1)
        before, after = (Scores(psnr(i, photos), ssim(i, photos), perceptual(i, photos)) for i in (start, image))
    return Inversion(codes, noise, image, generator, start, before, after)


def _cosine(steps: int, lr: float) -> list[float]:
    """The learning rate of each step, and 0 for the last look at what the last step led to."""
    return [*(lr * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)), 0.0]


def _descend(
    generator: Generator, codes: Float[Tensor, "b z"], noise: tuple[Tensor, ...], errors: Errors, lrs: Sequence[float]
) -> Work[tuple[Float[Tensor, "b z"], tuple[Tensor, ...]]]:
    """The best codes and noise of all steps, for each image.  On latents: descent on an angle could not pass ±2.
    Images are made of their controls, because curves do not hold every latent exactly."""
    controls = generator.controls
    start = [controls.decode(codes) if controls else codes, *noise]
    best = [tensor.clone() for tensor in start]
    least = codes.new_full((len(codes),), torch.inf)
    moving = [tensor.clone().requires_grad_() for tensor in start]
    optimizer = torch.optim.Adam(moving)
    for step, lr in enumerate(lrs):
        yield "codes", step / len(lrs)
        codes = controls.encode(moving[0]) if controls else moving[0]
        error = errors(generator.images(codes, tuple(moving[1:]) or None))
        better = error.detach() < least
        least = torch.where(better, error.detach(), least)
        for kept, tensor in zip(best, moving, strict=True):
            kept[better] = tensor.detach()[better]
        size = torch.stack([tensor.square().flatten(1).mean(1) for tensor in moving]).sum(0)
        _step(optimizer, (error + PRIOR_WEIGHT * size).sum(), lr)
    return controls.encode(best[0]) if controls else best[0], tuple(best[1:])


def _tune(
    generator: Generator, codes: Float[Tensor, "b z"], noise: tuple[Tensor, ...], errors: Errors, lrs: Sequence[float]
) -> Work[Generator]:
    """A copy of the generator with the best weights of all steps."""
    tuned, best, least = copy.deepcopy(generator).requires_grad_(True), generator, torch.inf
    optimizer = torch.optim.Adam(tuned.parameters())
    for step, lr in enumerate(lrs):
        yield "generator", step / len(lrs)
        error = errors(tuned(codes, noise or None).image).mean()
        if error.item() < least:
            least, best = error.item(), copy.deepcopy(tuned)
        _step(optimizer, error, lr)
    return best.requires_grad_(False)


def _step(optimizer: torch.optim.Adam, error: Float[Tensor, ""], lr: float) -> None:
    optimizer.zero_grad()
    error.backward()
    optimizer.param_groups[0]["lr"] = lr
    optimizer.step()
