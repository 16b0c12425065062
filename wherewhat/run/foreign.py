"""Anyone's generator where a run stands: a function from latents to images, by the name package.module:function.

b batch, z latents, t sweeps, s places of a sweep, c channels, h w space.
"""

import re
from collections.abc import Callable
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from wherewhat.atomic import explained, write_with
from wherewhat.config import DataConfig
from wherewhat.data import open_data
from wherewhat.data.batches import Images
from wherewhat.errors import UserError, did_you_mean
from wherewhat.metrics.distance import RESIZE_FROM
from wherewhat.metrics.tpl import check_images
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import GeneratorOutput
from wherewhat.nn.ops import to_uint8
from wherewhat.priors import PRIORS, Prior
from wherewhat.run.axes import Axes
from wherewhat.run.functions import find, no_encoder, their_own
from wherewhat.run.model import Model

ImageRange = Literal["auto", "signed", "unit", "bytes"]
RANGES = {"signed": (-1, 1), "unit": (0, 1), "bytes": (0, 255)}
"""name of a range → the values of black and white"""
PROBES = 8
"""samples that are looked at first: their shape, their range"""
NOISE = 0.02
"""of a range of 2: an image of the same latents that differs more, alone or in a larger batch, is not determined"""
SIDE = 64
"""pixels of the samples that are kept, at most"""
SAME = 2
"""largest difference of samples, of 255, between which a generator is the same: machines round differently"""
ATTRIBUTES = ("latents", "z_dim")
"""where a function or module may say how many latents it takes"""


class ForeignGenerator(nn.Module):
    """A function from latents to images as a generator of images (b c h w) in [−1, 1], a batch at a time.  Its images
    are b c h w or b h w c; larger ones are averaged until their longer side is `resolution`."""

    angles = ()
    has_masks = False
    basis: Tensor
    """of the axes; empty if latents are controls"""

    def __init__(
        self, function: Callable[[Tensor], Any], word: str, latents: int, prior: Prior, axes: Axes | None = None,
        image_range: ImageRange = "auto", resolution: int = RESIZE_FROM, batch: int = 32, device: str = "cpu",
    ) -> None:  # fmt: skip
        """Looks at a few samples.  Raises UserError if they are no images, or not determined by the latents."""
        super().__init__()
        self.function: Any = function.eval() if isinstance(function, nn.Module) else function
        self.word, self.latents, self.resolution, self.batch = word, latents, resolution, batch
        self.controlled = axes.controls if axes else latents
        self.register_buffer("basis", axes.basis if axes else torch.empty(0))
        self.to(device)
        z = torch.from_numpy(prior.draw(PROBES, latents, 0)).to(device)
        made = self._call(z)
        self.channels_last = made.shape[1] not in (1, 3, 4)
        self.range = _range(made) if image_range == "auto" else image_range
        self.samples = self._prepared(made).cpu()
        self.channels, *size = self.samples.shape[1:]
        self.size = size[0], size[1]
        again = self._prepared(self._call(z[:2])).cpu()
        if (again - self.samples[:2]).abs().max() > NOISE:
            raise UserError(
                f"{word} made two images of the same latents that differ: fix its noise (as by noise_mode='const'), "
                "and call eval() so that no image depends on others of its batch"
            )

    @property
    def device(self) -> torch.device:
        return self.basis.device

    def forward(self, z: Float[Tensor, "b z"]) -> GeneratorOutput:
        """Images, and no masks."""
        return GeneratorOutput(self.images(z), ())

    @torch.no_grad()
    def images(self, z: Float[Tensor, "b z"]) -> Float[Tensor, "b c h w"]:
        """Images of controls.  Raises UserError for what the function raises, and for what are no images."""
        latents = z @ self.basis.T if self.basis.numel() else z
        return torch.cat([self._prepared(self._call(part)).to(z.device) for part in latents.split(self.batch)])

    def sweeps(self, z: Float[Tensor, "t s z"]) -> Float[Tensor, "t s c h w"]:
        """Images of t sweeps."""
        return self.images(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    @torch.no_grad()
    def _call(self, latents: Float[Tensor, "b z"]) -> Tensor:
        """What the function makes of latents: an array b c h w or b h w c."""
        given = f"\n  It was given latents of shape {tuple(latents.shape)}, {latents.dtype}, on {latents.device}"
        try:
            made = self.function(latents)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if "allocate memory" in str(error):
                raise
            raise UserError(their_own(self.word, error) + given) from None
        made = torch.as_tensor(made) if isinstance(made, np.ndarray) else made
        what = f"an array of shape {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        count = len(latents)
        is_images = isinstance(made, Tensor) and made.ndim == 4 and len(made) == count
        if not is_images or not {made.shape[1], made.shape[3]} & {1, 3, 4}:
            raise UserError(
                f"{self.word} returned {what} for {count} latents: it must return images, a tensor or an array of "
                f"shape ({count}, 1|3|4, height, width) or ({count}, height, width, 1|3|4)"
            )
        return made

    def _prepared(self, made: Tensor) -> Float[Tensor, "b c h w"]:
        """In [−1, 1], not clipped, and not too large."""
        black, white = RANGES[self.range]
        images = (made.float() - black) * (2 / (white - black)) - 1
        images = images.permute(0, 3, 1, 2) if self.channels_last else images
        check_images(images, len(made))
        longer = max(images.shape[2:])
        if longer > self.resolution:
            h, w = (max(1, round(side * self.resolution / longer)) for side in images.shape[2:])
            images = functional.adaptive_avg_pool2d(images, (h, w))
        return images


def _range(made: Tensor) -> ImageRange:
    """Which range images have: integers are bytes; what is never negative goes from 0 to 1, or to 255."""
    low, high = float(made.min()), float(made.max())
    if not made.is_floating_point() or (low >= -0.5 and high > 8):
        return "bytes"
    return "unit" if low >= -0.01 and high <= 1.5 else "signed"


class Foreign(Model):
    """Anyone's generator.  It has no encoder; its controls are its latents, or axes found among them.  What is known of
    it is kept in a folder: names, scores, pictures, axes, and samples.png, by which it is seen whether the generator is
    still the one that was measured."""

    has_encoder = False
    key = ("model", "metric", "options")

    def __init__(
        self, function: Callable[[Tensor], Any], word: str, latents: int | None = None, folder: Path | None = None,
        axes: Path | str | None = None, image_range: ImageRange = "auto", prior: str = "normal",
        resolution: int = RESIZE_FROM, batch: int = 32, source: str | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        """As of `open_generator`.  word: its name, module:function."""
        super().__init__(folder or Path(re.sub(r"[^\w.-]", "", Path(word.replace(".py:", ":")).name.replace(":", "."))))
        self.function, self._word, self._source, self._prior = function, word, source, PRIORS[prior]
        self._how: dict[str, Any] = {
            "image_range": image_range, "resolution": resolution, "batch": batch, "device": device,
        }  # fmt: skip
        self.axes_file = self._axes_file(axes)
        self.axes = Axes.load(self.axes_file) if self.axes_file else None
        offered = [getattr(function, name, None) for name in ATTRIBUTES]
        known = [len(self.axes.basis)] if self.axes else [n for n in offered if isinstance(n, int)]
        if latents is None and not known:
            raise UserError(f"{word} takes latents: say how many with --latents")
        self._latents = known[0] if latents is None else latents
        if self.axes and self._latents != known[0]:
            raise UserError(f"{self.axes_file} holds axes of {known[0]} latents, and {word} is to take {latents}")

    def _axes_file(self, axes: Path | str | None) -> Path | None:
        if axes is None:
            return file if (file := self.path / "axes.safetensors").exists() else None
        return None if str(axes) == "latents" else Path(axes).expanduser()

    @cached_property
    def generator(self) -> ForeignGenerator:  # type: ignore[override]
        return ForeignGenerator(self.function, self.word, self.latents, self.prior, self.axes, **self._how)

    @property
    def encoder(self) -> Encoder:
        raise UserError(no_encoder(self.word))

    @property
    def word(self) -> str:
        return self._word

    @property
    def title(self) -> str:
        return self._word

    @property
    def facts(self) -> tuple[str, ...]:
        black, white = RANGES[self.generator.range]
        axes = (f"{self.axes.controls} axes by {self.axes.how}",) if self.axes else ()
        return f"{self.latents} latents", *axes, f"images in {black} … {white}"

    @property
    def why_idle(self) -> str:
        return (
            f"{self.word}: no control changes the image visibly from −2 to +2. Does it take {self.latents} latents "
            f"near N(0, 1)? Its first samples: {self._samples_file}"
        )

    @property
    def latents(self) -> int:
        return self._latents

    @property
    def controlled(self) -> int:
        return self.axes.controls if self.axes else self.latents

    @property
    def size(self) -> tuple[int, int]:
        return self.generator.size

    @property
    def channels(self) -> int:
        return self.generator.channels

    @property
    def encodes_images(self) -> bool:
        return False

    @property
    def source(self) -> str | None:
        return self._source

    @property
    def data(self) -> Images:
        if self._source is None:
            raise UserError(f"{self.word} is a generator without images: give some with --data")
        channels: Any = self.channels
        return open_data(DataConfig(self._source, *self.size, channels))

    @property
    def prior(self) -> Prior:
        return self._prior

    @property
    def images_seen(self) -> int:
        return 0

    @property
    def names_file(self) -> Path:
        """Names of latents, or of the axes of one file."""
        return self.path / "names.json" if self.axes_file is None else self.axes_file.with_suffix(".names.json")

    @property
    def current(self) -> dict[str, Any]:
        return {"model": self.fingerprint}

    def log_metric(self, row: dict[str, Any]) -> None:
        super().log_metric({**row, **self.current})

    def python(self, word: str) -> str:
        axes = f", axes={str(self.axes_file)!r}" if self.axes_file else ""
        return f"wherewhat.open_generator({self.word!r}, {self.latents}{axes})"

    @property
    def _samples_file(self) -> Path:
        return self.path / "samples.png"

    @cached_property
    def fingerprint(self) -> str:
        """Of the samples that are kept, which are replaced if the generator makes others, and of the axes."""
        samples, file = _sheet(self.generator.samples), self._samples_file
        kept = _read(file)
        if kept is None or kept.shape != samples.shape or abs(kept.astype(int) - samples).max() > SAME:
            kept = samples
            with explained(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_with(file, Image.fromarray(samples).save)
        setting = self.latents, self.size, self.channels, self.generator.range, self.prior.name
        digest = blake2b(repr(setting).encode() + kept.tobytes(), digest_size=8)
        digest.update(self.axes.basis.numpy().tobytes() + bytes(self.axes.controls) if self.axes else b"")
        return digest.hexdigest()


def _sheet(samples: Float[Tensor, "b c h w"]) -> np.ndarray:
    """Samples side by side, shrunk to SIDE, as pixels."""
    h, w = (min(side, SIDE) for side in samples.shape[2:])
    pixels = to_uint8(functional.adaptive_avg_pool2d(samples, (h, w)).clamp(-1, 1)).permute(2, 0, 3, 1).numpy()
    sheet = pixels.reshape(h, -1, samples.shape[1])
    return np.ascontiguousarray(sheet[..., 0] if sheet.shape[2] == 1 else sheet)


def _read(file: Path) -> np.ndarray | None:
    """The pixels of a picture; None if there is none."""
    try:
        with Image.open(file) as opened:
            return np.asarray(opened)
    except (OSError, ValueError):
        return None


def open_generator(generator: Callable[[Tensor], Any] | str, latents: int | None = None, **how: Any) -> Foreign:
    """Anyone's generator, for whatever takes a run and needs no encoder.

    generator: a function from latents (b × z, float32) to images (b c h w or b h w c; a tensor or an array), or its
        name, package.module:function or file.py:function
    latents: how many it takes; if not given, what its attribute `latents` or `z_dim` says, or the axes
    folder: where names, scores, axes and pictures are kept; a folder of its name in the current one if not given
    axes: a file that wherewhat axes has written; axes.safetensors in that folder if not given; "latents" for none
    image_range: signed (−1 … 1), unit (0 … 1) or bytes (0 … 255); auto finds it out from a few samples
    prior: of each latent: normal, uniform or generalized_normal (wherewhat.priors)
    resolution: larger images are averaged until their longer side is this
    batch: latents that it is given at most at once
    source: images (a folder, a zip, a world) for scores that need some, such as FID
    device: of the latents; modules of PyTorch are brought there

    Raises UserError if there is no such function, and where the generator is first used if it makes no images."""
    function = find(generator) if isinstance(generator, str) else generator
    word = generator if isinstance(generator, str) else _name_of(generator)
    for name, known in (("prior", [*PRIORS]), ("image_range", ["auto", *RANGES])):
        if (chosen := how.get(name)) is not None and chosen not in known:
            raise UserError(f"{name}: there is no {chosen}{did_you_mean(str(chosen), known)}")
    if isinstance(function, type) or not callable(function):
        raise UserError(f"{word} is not a function: give one from latents to images")
    return Foreign(function, word, latents, **how)


def _name_of(function: Any) -> str:
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"
