"""What the web explorer shows and does, without the page: a picture's codes, what was done to them, how they look.

b batch, z controls, c channels, h w space.
"""

import base64
import io
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from wherewhat.data import open_data
from wherewhat.data.pictures import open_picture
from wherewhat.editing.invert import invert
from wherewhat.errors import UserError
from wherewhat.metrics.distance import Distance, Pixels, load_distance
from wherewhat.metrics.networks import smallest
from wherewhat.nn import controls
from wherewhat.nn.generator import mean_masks
from wherewhat.run import names
from wherewhat.run.folder import ControlSummary, Run
from wherewhat.viz import canvas, traversals
from wherewhat.viz.canvas import GAP, Canvas

Tile = UInt8[np.ndarray, "h w 3"]
Views = ("picture", "where", "change", "start")
REACH = 3.0
"""sliders go from −3 to +3; those of angles once round"""
THUMBS = 7
"""thumbnails of a strip"""
LARGE, SMALL = 384, 64
"""pixels of the longer side, about: of drawn-on pictures and of thumbnails"""
STEPS = 40
"""of descent on the codes of a photograph"""
MOST_PIXELS = 64_000_000
"""of a photograph, before it is shrunk"""
BATCH = 64


@dataclass(frozen=True)
class Look:
    """One picture being looked at: the codes it began with, and what was done to them."""

    drawn: tuple[float, ...]
    origin: str
    """where the codes came from, in words"""
    photo: UInt8[np.ndarray, "c h w"] | None = None
    """the image they were read from"""
    moved: Mapping[int, float] = field(default_factory=dict)
    """sliders that were set"""
    locked: frozenset[int] = frozenset()
    """sliders that keep their value when another picture is drawn"""
    taken: frozenset[int] = frozenset()
    """of the moved ones, those set by another picture's codes"""
    truncation: float = 1.0
    """factor of the codes that were not moved: less is more ordinary"""

    def move(self, latent: int, value: float) -> "Look":
        """One slider set."""
        return replace(self, moved={**self.moved, latent: round(float(value), 4)}, taken=self.taken - {latent})

    def lock(self, latent: int, on: bool) -> "Look":
        """A slider kept, or no longer kept, when another picture is drawn."""
        return replace(self, locked=self.locked | {latent} if on else self.locked - {latent})

    def take(self, codes: Sequence[float], chosen: Iterable[int]) -> "Look":
        """Exactly the chosen sliders set to another picture's codes; those taken before go back."""
        chosen = frozenset(chosen)
        kept = {k: v for k, v in self.moved.items() if k not in self.taken}
        return replace(self, moved=kept | {k: codes[k] for k in chosen}, taken=chosen)

    def truncate(self, factor: float) -> "Look":
        """The same with another truncation."""
        return replace(self, truncation=factor)

    def reset(self) -> "Look":
        """As it began."""
        return replace(self, moved={}, taken=frozenset(), truncation=1.0)


class Scene:
    """A run whose controls are known, ready to be looked at.  Nothing of it is ever written but names."""

    def __init__(self, run: Run, title: str, device: str = "cpu") -> None:
        """title: how the user named the run.  Raises UserError if it was never evaluated."""
        if run.control_table is None:
            raise UserError(f"the controls of {title} are not known yet: wherewhat evaluate {title} --metrics tpl")
        self.run, self.title, self.device = run, title, device
        self.generator, self.encoder = run.generator.to(device), run.encoder.to(device)
        self.controls = run.control_table
        self.angles = self.generator.controls.angles if self.generator.controls else ()
        self.suggested = names.suggested(run.control_table)

    @cached_property
    def masks(self) -> Float[np.ndarray, "z h w"]:
        """Of each slider, averaged over images."""
        return mean_masks(self.generator, torch.from_numpy(self.run.draw(64, 0)))

    @cached_property
    def distance(self) -> Distance:
        """What makes a photograph's image like it: LPIPS-alex; pixels where its weights are not on this machine or
        images are too small for it."""
        if min(self.generator.size) >= smallest("alex"):
            with suppress(UserError):
                return load_distance("alex", self.device)
        return Pixels()

    @property
    def names(self) -> dict[int, str]:
        """What to call each slider now."""
        return names.shown(self.run)

    def find(self, latent: int) -> ControlSummary:
        """What is known of a slider."""
        return next(d for d in self.controls if d.index == latent)

    def reach(self, latent: int) -> float:
        """The slider goes from −reach to +reach."""
        return controls.ANGLE_RANGE if latent in self.angles else REACH

    # ------------------------------------------------------------------------------------------- which picture

    def first(self) -> Look:
        """What the page opens with: the same training image each time; without the data a draw from the prior."""
        with suppress(UserError):
            return self.real(0)
        return self.sample(0)

    def sample(self, seed: int, before: Look | None = None) -> Look:
        """A draw from the prior."""
        return self._next(self.run.draw(1, seed)[0], f"seed {seed}", before)

    def real(self, seed: int, before: Look | None = None) -> Look:
        """One of the training images, read.  Raises UserError where the data are not at hand."""
        data = open_data(self.run.config.data)
        number = int(np.random.default_rng([seed, 2]).integers(len(data)))
        photo = data.images(np.array([number]))[0]
        return self._next(self.read(photo), f"image {number} of {data.name}", before, photo)

    def photograph(self, content: bytes, name: str, before: Look | None = None) -> Look:
        """A picture of the user's, read.  Raises UserError if it is none, or has too many pixels."""
        photo = open_picture(content, *self.generator.size, self.generator.channels, name=name, most=MOST_PIXELS)
        return self._next(self.read(photo, STEPS), name, before, photo)

    def read(self, photo: UInt8[np.ndarray, "c h w"], steps: int = 0) -> Float[np.ndarray, " z"]:
        """The codes of an image: what the encoder says, then steps of descent."""
        images = torch.from_numpy(photo)[None].to(self.device).float() / 127.5 - 1
        found = invert(self.run, images, steps, distance=self.distance, device=self.device, with_noise=False)
        return found.codes[0].cpu().numpy()

    def _next(
        self, codes: Float[np.ndarray, " z"], origin: str, before: Look | None,
        photo: UInt8[np.ndarray, "c h w"] | None = None,
    ) -> Look:  # fmt: skip
        drawn = tuple(round(float(v), 4) for v in codes)  # few digits: what is written down is exactly what is shown
        if before is None:
            return Look(drawn, origin, photo)
        now = self.codes(before)
        kept = {k: now[k] for k in before.locked}
        return Look(drawn, origin, photo, kept, before.locked, frozenset(), before.truncation)

    def codes(self, look: Look) -> tuple[float, ...]:
        """What the generator is given; an angle has no middle to be drawn to."""
        factors = [1.0 if k in self.angles else look.truncation for k in range(len(look.drawn))]
        plain = (round(v * f, 4) for v, f in zip(look.drawn, factors, strict=True))
        return tuple(look.moved.get(k, v) for k, v in enumerate(plain))

    # --------------------------------------------------------------------------------------------- how it looks

    @torch.no_grad()
    def images(self, codes: Sequence[Sequence[float]]) -> Float[Tensor, "b c h w"]:
        """In [−1, 1]."""
        z = torch.tensor(codes, dtype=torch.float32, device=self.device)
        return torch.cat([self.generator(part).image for part in z.split(BATCH)]).clamp(-1, 1).cpu()

    def picture(self, look: Look, view: str = "picture", latent: int | None = None) -> Tile:
        """picture: as it is. start: before anything was done to it. where: faded outside the mask of a slider, which is
        outlined at half its peak. change: how much each pixel changes (0 black … 1 pale yellow: from one end of the
        scale to the other) while the slider goes from −2 to +2."""
        if view == "start":
            return self._plain(look.reset())
        if view == "where" and latent is not None:
            return self._where(look, latent)
        if view == "change" and latent is not None:
            return self._change(look, latent)
        return self._plain(look)

    def original(self, look: Look) -> Tile:
        """The photograph that was read."""
        assert look.photo is not None
        return canvas.to_tiles(torch.from_numpy(look.photo)[None].float() / 127.5 - 1, max(self.generator.size))[0]

    def _plain(self, look: Look) -> Tile:
        return canvas.to_tiles(self.images([self.codes(look)]), max(self.generator.size))[0]

    @torch.no_grad()
    def _where(self, look: Look, latent: int) -> Tile:
        made = self.generator(torch.tensor([self.codes(look)], device=self.device))
        tile = canvas.to_tiles(made.image, LARGE)[0]
        mask = made.masks_at(*self.generator.size)[0, latent].cpu().numpy()
        share = np.asarray(
            Image.fromarray(mask / max(mask.max(), 1e-6)).resize(tile.shape[1::-1], Image.Resampling.BILINEAR)
        )
        faded = 255 + (tile - 255.0) * (0.2 + 0.8 * share[..., None])
        inside = share >= 0.5
        edge = inside & ~_eroded(inside, 2)
        faded[edge] = (230, 60, 20)
        return np.rint(faded).astype(np.uint8)

    def _change(self, look: Look, latent: int) -> Tile:
        swept = self.images([self.codes(look.move(latent, v)) for v in np.linspace(-2, 2, 5)])
        change = (swept.amax(0) - swept.amin(0)).amax(0).numpy() / 2
        tile = canvas.to_tiles(self.images([self.codes(look)]), LARGE)[0]
        grey = 0.35 * tile.mean(2, keepdims=True)
        return np.maximum(grey, canvas.heat(change, (tile.shape[0], tile.shape[1]))).astype(np.uint8)

    def mask(self, latent: int) -> Tile:
        """The mean mask, from 0 black to 1 pale yellow."""
        height, width = self.generator.size
        scale = SMALL / max(height, width)
        return canvas.heat(self.masks[latent], (round(height * scale), round(width * scale)))

    def strips(self, look: Look, latents: Sequence[int]) -> list[Tile]:
        """Thumbnails of each slider from its left to its right end, everything else as it is."""
        swept = [
            self.codes(look.move(k, v)) for k in latents for v in np.linspace(-self.reach(k), self.reach(k), THUMBS)
        ]
        if not swept:
            return []
        tiles = canvas.to_tiles(self.images(swept), SMALL)
        return [np.concatenate(list(row), 1) for row in tiles.reshape(len(latents), THUMBS, *tiles.shape[1:])]

    def grid(self, look: Look, across: int, down: int, steps: int = 5) -> Image.Image:
        """Two sliders at once, one across and one down, from −2 to +2."""
        values = np.linspace(-2, 2, steps)
        moved = [self.codes(look.move(across, x).move(down, y)) for y in values for x in values]
        tiles = canvas.to_tiles(self.images(moved), SMALL * (2 if steps <= 5 else 1))
        h, w = tiles.shape[1:3]
        left, top = 44, 40
        sheet = Canvas(left + steps * (w + GAP), top + steps * (h + GAP) + 22)
        sheet.fitted(left, 2, f"→ {self.names[across]}", steps * (w + GAP), 14, bold=True)
        sheet.fitted(left, top + steps * (h + GAP) + 2, f"↓ {self.names[down]}", steps * (w + GAP), 14, bold=True)
        for k, value in enumerate(values):
            sheet.text(left + k * (w + GAP) + w / 2, 22, f"{value:+.1f}", 11, fill=canvas.QUIET, anchor="ma")
            sheet.text(left - 6, top + k * (h + GAP) + h / 2, f"{value:+.1f}", 11, fill=canvas.QUIET, anchor="rm")
        for k, tile in enumerate(tiles):
            sheet.tile(left + k % steps * (w + GAP), top + k // steps * (h + GAP), tile)
        return sheet.image

    # -------------------------------------------------------------------------------------------- to take away

    def moving(self, look: Look, latent: int, kind: str) -> bytes:
        """A loop of one slider there and back (an angle: all the way round), as .gif or .mp4."""
        base = torch.tensor(self.codes(look), device=self.device)
        frames = canvas.to_tiles(traversals.loop(self.generator, base, latent, latent in self.angles), 256)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"picture{kind}"
            return canvas.save_moving([Image.fromarray(f) for f in frames], path).read_bytes()

    def written(self, look: Look) -> str:
        """The codes as JSON."""
        codes = self.codes(look)
        by_name = {f"z{k} {name}": codes[k] for k, name in self.names.items()}
        about = {
            "run": self.title,
            "images": self.run.images_seen,
            "from": look.origin,
            "codes": codes,
            "named": by_name,
        }
        return json.dumps(about, indent=1, ensure_ascii=False) + "\n"

    def lines(self, look: Look) -> str:
        """Python that makes the picture."""
        return (
            "import torch\nimport wherewhat\nfrom PIL import Image\nfrom wherewhat.viz.canvas import to_tiles\n\n"
            f"run = wherewhat.open_run({self.title!r})\n"
            f"z = torch.tensor([{list(self.codes(look))}])\n"
            f"tiles = to_tiles(run.generator(z).image, {max(self.generator.size)})\n"
            'Image.fromarray(tiles[0]).save("picture.png")\n'
        )


def _eroded(inside: np.ndarray, pixels: int) -> np.ndarray:
    """Without its border of this many pixels; the frame of the picture is no border."""
    for _ in range(pixels):
        wide = np.pad(inside, 1, mode="edge")
        inside = inside & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return inside


def png(tile: Tile | Image.Image) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    (tile if isinstance(tile, Image.Image) else Image.fromarray(tile)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def uri(content: bytes, kind: str = "image/png") -> str:
    """A file as a link that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
