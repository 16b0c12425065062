"""Photographs into codes: the encoder first, then descent on codes and noise, then, if asked, on a copy of the
generator around the codes found (pivotal tuning, Roich et al. 2021).  b images, z codes, c channels, h w space."""

import copy
import math
from collections.abc import Callable, Iterable
from itertools import chain
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from wherewhat.metrics.distance import Distance, load_distance
from wherewhat.metrics.images import psnr, ssim
from wherewhat.nn.generator import Generator
from wherewhat.run.folder import Run

PIXELS = 5.0
"""weight of the mean squared difference of pixels beside the perceptual distance"""
SPREAD = 0.001
"""weight of the mean squared latent and noise: what an image does not ask for stays near the middle"""
TUNING = 0.0005
"""the first step's size of a generator that is tuned"""


class Scores(NamedTuple):
    """How near each image is to its photograph."""

    psnr: Float[Tensor, " b"]
    """dB; more is better"""
    ssim: Float[Tensor, " b"]
    """1 is equal"""
    distance: Float[Tensor, " b"]
    """LPIPS, or pixels if that was asked for; less is better"""


class Inversion(NamedTuple):
    """What makes images like the photographs: generator(codes, noise).image."""

    codes: Float[Tensor, "b z"]
    noise: tuple[Tensor, ...]
    """empty where the generator has none, or kept the fixed one"""
    image: Float[Tensor, "b c h w"]
    """in [−1, 1]"""
    generator: Generator
    """the run's own, or the tuned copy"""
    start: Float[Tensor, "b c h w"]
    """the image of the encoder's codes, in [−1, 1]"""
    before: Scores
    """of the encoder's codes alone"""
    after: Scores


def invert(
    run: Run, images: Float[Tensor, "b c h w"], steps: int = 100, rate: float = 0.05, tune: int = 0,
    distance: Distance | None = None, device: str = "cpu", with_noise: bool = True,
    progress: Callable[[str, float], None] = lambda what, done: None,
) -> Inversion:  # fmt: skip
    """The codes of photographs in [−1, 1].

    steps: of descent on each photograph's codes and noise, by itself; 0 keeps what the encoder says
    rate: the first step's size; falls to 0 along a half cosine
    tune: steps of descent on one copy of the generator, for all photographs together; it learns their particulars, and
        controls still do what they did as long as there are few steps
    distance: LPIPS-alex if not given
    with_noise: move the generator's noise too; else it keeps the fixed one, and codes alone say what the image is
    Never worse than the encoder's codes, by distance + PIXELS · mean squared difference.
    """
    perceptual = distance or load_distance("alex", device)
    generator, photos = run.generator.to(device), images.to(device)
    with torch.no_grad():
        codes = run.encoder.to(device)(photos)
        noise = tuple(n.expand(len(photos), -1, -1, -1) for n in generator.fixed_noise()) if with_noise else ()
        start = generator(codes, noise or None).image.clamp(-1, 1)

    def unlike(made: Tensor) -> Tensor:
        made = made.clamp(-1, 1)  # what will be seen
        return perceptual(made, photos) + PIXELS * (made - photos).square().mean((1, 2, 3))

    if steps:
        codes, noise = _descend(generator, codes, noise, unlike, _decay(steps, rate, "codes", progress))
    if tune:
        generator = _tuned(generator, codes, noise, unlike, _decay(tune, TUNING, "generator", progress))
    with torch.no_grad():
        image = generator(codes, noise or None).image.clamp(-1, 1)
        before, after = (Scores(psnr(i, photos), ssim(i, photos), perceptual(i, photos)) for i in (start, image))
    return Inversion(codes, noise, image, generator, start, before, after)


def _decay(steps: int, rate: float, what: str, progress: Callable[[str, float], None]) -> Iterable[float]:
    """The size of each step."""
    for step in range(steps):
        progress(what, step / steps)
        yield rate * (1 + math.cos(math.pi * step / steps)) / 2


def _descend(
    generator: Generator, codes: Float[Tensor, "b z"], noise: tuple[Tensor, ...],
    unlike: Callable[[Tensor], Float[Tensor, " b"]], rates: Iterable[float],
) -> tuple[Float[Tensor, "b z"], tuple[Tensor, ...]]:  # fmt: skip
    """The best codes and noise on the way, for each image by itself.  It walks among the latents, where angles have no
    end to run into."""
    controls = generator.controls
    plain = copy.copy(generator)
    plain.controls = None
    places = [controls.decode(codes) if controls else codes, *noise]
    best = [place.clone() for place in places]
    least = codes.new_full((len(codes),), torch.inf)
    moving = [place.clone().requires_grad_() for place in places]
    optimizer = torch.optim.Adam(moving)
    for rate in chain(rates, [0.0]):
        error = unlike(plain(moving[0], tuple(moving[1:]) or None).image)
        better = error.detach() < least
        least = torch.where(better, error.detach(), least)
        for kept, place in zip(best, moving, strict=True):
            kept[better] = place.detach()[better]
        spread = torch.stack([place.square().flatten(1).mean(1) for place in moving]).sum(0)
        _step(optimizer, (error + SPREAD * spread).sum(), rate)
    return controls.encode(best[0]) if controls else best[0], tuple(best[1:])


def _tuned(
    generator: Generator, codes: Float[Tensor, "b z"], noise: tuple[Tensor, ...],
    unlike: Callable[[Tensor], Float[Tensor, " b"]], rates: Iterable[float],
) -> Generator:  # fmt: skip
    """The best copy of the generator on the way."""
    tuned, best, least = copy.deepcopy(generator).requires_grad_(True), generator, torch.inf
    optimizer = torch.optim.Adam(tuned.parameters())
    for rate in chain(rates, [0.0]):
        error = unlike(tuned(codes, noise or None).image).mean()
        if error.item() < least:
            least, best = error.item(), copy.deepcopy(tuned)
        _step(optimizer, error, rate)
    return best.requires_grad_(False)


def _step(optimizer: torch.optim.Adam, error: Float[Tensor, ""], rate: float) -> None:
    optimizer.zero_grad()
    error.backward()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
