"""What the web page shows, without the page: the codes of a picture, what was done to them, and how they look.

b batch, z controls, c channels, h w space.
"""

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
from scipy.ndimage import binary_erosion
from torch import Tensor

from wherewhat.data.pictures import open_picture
from wherewhat.editing import motion, states
from wherewhat.editing.invert import invert
from wherewhat.editing.nearness import usual_distance, usual_or_pixels
from wherewhat.editing.photograph import Crop, Photograph
from wherewhat.errors import UserError
from wherewhat.evaluation.controls import visible_shares
from wherewhat.evaluation.where import Acting, acting_in
from wherewhat.metrics.distance import Distance
from wherewhat.metrics.where import Box
from wherewhat.nn.controls import ANGLE_RANGE
from wherewhat.nn.generator import AnyGenerator, Generator, changes, image_masks
from wherewhat.nn.ops import to_float
from wherewhat.run import names
from wherewhat.run.folder import Run
from wherewhat.run.functions import no_encoder
from wherewhat.run.model import Model
from wherewhat.viz import canvas
from wherewhat.viz.canvas import GAP, Canvas
from wherewhat.viz.traversals import TRAVERSAL_REACH, loop, masks_of_run, sweep

Tile = UInt8[np.ndarray, "h w 3"]
PAGE_REACH = 3.0  # on the page controls go from −3 to +3, and angles once around
MOST_CARDS = 64  # controls on the page: those with the longest traversals
MOST_TRUNCATION = 1.5
THUMBNAILS = 7  # pictures of a strip
BASES = 4  # samples around which controls are swept to see whether they change anything, where that is not known yet
OTHERS, OTHERS_SEED = 6, 1  # other samples that are shown with the same changes, and their seed
# approximate pixels of the longer side: of pictures with a mask or a change drawn on them, of thumbnails, of loops
OVERLAY_SIDE, THUMBNAIL_SIDE, LOOP_SIDE = 384, 64, 256
LARGE_SIDE, FILM_FPS = 1024, 25  # pixels of an enlarged picture; frames of a second of a film
PHOTO_STEPS = 40  # steps of descent on the codes of a photograph
MAX_PHOTO_PIXELS = 64_000_000  # the largest photograph that is decoded
LONGEST_ORIGIN = 60  # letters of what is said of where a picture came from
SEEDS = 2**31  # after which they begin again; a browser holds large numbers inexactly


@dataclass(frozen=True)
class Look:
    """One picture on the page: its first codes, and what was done to them.  Its methods return a changed copy."""

    drawn: tuple[float, ...]  # the codes it started with
    origin: str  # where these codes came from, for people
    photo: UInt8[np.ndarray, "c h w"] | None = field(default=None, compare=False)  # the image that was encoded
    moved: Mapping[int, float] = field(default_factory=dict)  # controls that were set → their values
    locked: frozenset[int] = field(default=frozenset(), compare=False)  # they keep their values in the next picture
    taken: frozenset[int] = frozenset()  # those of the moved controls that were set to the codes of another picture
    truncation: float = 1.0  # factor of the codes that were not moved: smaller values make images more ordinary
    cut: tuple[Photograph, Crop] | None = field(default=None, repr=False, compare=False)  # of a photograph of the user
    tuned: Generator | None = field(default=None, repr=False)  # the generator adapted to the photograph
    source: tuple[str, int] | None = None  # "seed" or "image", and its number; None: found again by its codes alone

    def move(self, control: int, value: float) -> "Look":
        return replace(self, moved={**self.moved, control: round(float(value), 4)}, taken=self.taken - {control})

    def restore(self, control: int) -> "Look":
        """Without what was done to one control."""
        kept = {k: v for k, v in self.moved.items() if k != control}
        return replace(self, moved=kept, taken=self.taken - {control})

    def lock(self, control: int, on: bool) -> "Look":
        return replace(self, locked=self.locked | {control} if on else self.locked - {control})

    def take(self, codes: Sequence[float], chosen: Iterable[int]) -> "Look":
        """Exactly the chosen controls get the codes of another picture; others taken before return to their own."""
        chosen = frozenset(chosen)
        kept = {k: v for k, v in self.moved.items() if k not in self.taken}
        return replace(self, moved=kept | {k: codes[k] for k in chosen}, taken=chosen)

    def truncate(self, factor: float) -> "Look":
        return replace(self, truncation=factor)

    def photographed(self, cut: tuple[Photograph, Crop], tuned: Generator | None, moved: Mapping[int, float]) -> "Look":
        """As a photograph of the user's that was inverted, with controls that were moved meanwhile."""
        return replace(self, cut=cut, tuned=tuned, moved={**self.moved, **moved})

    def with_locks_of(self, other: "Look") -> "Look":
        return replace(self, locked=other.locked)

    def reset(self) -> "Look":
        """Without changes; locks stay."""
        return replace(self, moved={}, taken=frozenset(), truncation=1.0)


class Scene:
    """A run, or anyone's generator, that was evaluated, ready to be shown.  The page writes nothing into its folder but
    names."""

    def __init__(self, run: Model, title: str, device: str = "cpu") -> None:
        """title: what the user calls the run.  Raises UserError if it was never evaluated."""
        table = run.control_table
        if table is None:
            raise UserError(f"the controls of {title} are not known yet: wherewhat evaluate {title} --metrics tpl")
        if any(control.visible is None for control in table):  # evaluated when this was not measured
            bases = torch.from_numpy(run.draw(BASES, 0)).to(device)
            shares = visible_shares(run.generator.to(device), bases)
            table = [replace(control, visible=shares[control.index]) for control in table]
        self.run, self.title, self.device, self.table = run, title, device, table
        table = table[:MOST_CARDS]
        self.generator = run.generator.to(device)
        self.controls = {control.index: control for control in table}
        self.in_use = [control.index for control in table if control.in_use] or list(self.controls)
        self.not_in_use = [k for k in self.controls if k not in self.in_use]
        self.angles = self.generator.angles
        self.suggested = names.suggested(table)

    @cached_property
    def masks(self) -> Mapping[int, Float[np.ndarray, "h w"]]:
        """The mask of each control in use, averaged over images."""
        return masks_of_run(self.run, device=self.device, controls=self.in_use)

    @cached_property
    def idle_masks(self) -> Mapping[int, Float[np.ndarray, "h w"]]:
        """The same of those that are not in use: it takes as long, and few want to see them."""
        return masks_of_run(self.run, device=self.device, controls=self.not_in_use)

    @cached_property
    def distance(self) -> Distance:
        """For inversion."""
        return usual_or_pixels(self.trained, self.device)

    @cached_property
    def usual(self) -> float:
        """A photograph that is missed by more is unlike what the run was trained on."""
        return usual_distance(self.trained, self.distance, self.device)

    @property
    def trained(self) -> Run:
        """The run, where codes of images are needed.  Raises UserError for a generator without an encoder."""
        if not isinstance(self.run, Run):
            raise UserError(no_encoder(self.title))
        return self.run

    @property
    def names(self) -> dict[int, str]:
        """The present name of each control: the user's, else a suggestion.  Reads names.json and nothing else."""
        return dict(sorted((self.suggested | self.run.names).items()))

    def reach(self, control: int) -> float:
        """On the page the control goes from −reach to +reach."""
        return ANGLE_RANGE if control in self.angles else PAGE_REACH

    def first(self) -> Look:
        """What the page opens with: always the same real image; a sample if there is none."""
        with suppress(UserError):
            return self.real_image(0)
        return self.sample(0)

    def sample(self, seed: int, before: Look | None = None) -> Look:
        """A draw from the prior."""
        return self.next(self.run.draw(1, seed)[0], f"seed {seed}", before, source=("seed", seed))

    def real_image(self, seed: int, before: Look | None = None) -> Look:
        """The codes of an image of the data, or of one that comes with the run where these are not there.  Raises
        UserError if there is neither."""
        photo, origin = self._real_image(seed)
        return self.next(self.encode(photo), origin, before, photo, ("image", seed))

    def _real_image(self, seed: int) -> tuple[UInt8[np.ndarray, "c h w"], str]:
        """An image of the data, and where it came from."""
        shipped = sorted((self.run.path / "images").glob("*.png"))
        try:
            data = self.trained.data
        except UserError:
            if not shipped:
                raise
            number = seed % len(shipped)
            photo = open_picture(shipped[number], *self.generator.size, self.generator.channels)
            return photo, f"image {number + 1} of the {len(shipped)} that come with the run"
        number = int(np.random.default_rng([seed, 2]).integers(len(data)))
        return data.images(np.array([number]))[0], f"image {number} of {data.name}"

    def from_codes(self, codes: Sequence[float], origin: str) -> Look:
        """A picture of these codes.  Raises UserError unless there is a number for each control."""
        if len(codes) != self.run.latents:
            raise UserError(f"{len(codes)} codes are given, and {self.title} has {self.run.latents}")
        return self.next(np.asarray(codes), origin, None)

    def from_json(self, text: str, name: str) -> Look:
        """A picture that codes_json wrote, or any saved state of this run.  Raises UserError for other text."""
        state = states.from_json(text, self.run, name)
        about = json.loads(text)
        start = states.from_json(json.dumps({"codes": about.get("start", state.codes)}), self.run, name).codes
        truncation, origin = about.get("truncation", 1.0), str(about.get("from") or name)[:LONGEST_ORIGIN]
        if not isinstance(truncation, int | float) or not 0 <= truncation <= MOST_TRUNCATION:
            raise UserError(f"{name}: truncation is a number from 0 to {MOST_TRUNCATION}")
        seed = state.seed if state.seed is not None and 0 <= state.seed < SEEDS else None
        look = self.from_codes(start, origin) if seed is None else self.sample(seed)
        if look.drawn != start:  # drawn by another version, or edited by hand
            look = self.from_codes(start, origin)
        look = look.truncate(float(truncation))
        for control in np.flatnonzero(np.abs(np.subtract(state.codes, self.codes(look))) > 1e-4).tolist():
            look = look.move(control, state.codes[control])
        return look

    def photograph(self, content: bytes, name: str, before: Look | None = None, steps: int = PHOTO_STEPS) -> Look:
        """The codes of a picture of the user's.  Raises UserError if it is not a picture or has too many pixels."""
        photo = self.opened(content, name).cut()
        return self.next(self.encode(photo, steps), name, before, photo)

    def opened(self, content: bytes, name: str) -> Photograph:
        """A picture of the user's, which is decoded later."""
        return Photograph.of(self.trained, content, name, MAX_PHOTO_PIXELS)

    def acting_in(self, look: Look, box: Box) -> list[Acting]:
        """The controls in use, those first that change this part of this picture most."""
        return acting_in(self.draws(look), self._tensor(look)[None], self.in_use, box)

    def encode(self, photo: UInt8[np.ndarray, "c h w"], steps: int = 0) -> Float[np.ndarray, " z"]:
        """The codes of an image: those of the encoder, improved by steps of descent.  Raises UserError without one."""
        images = to_float(torch.from_numpy(photo)[None].to(self.device))
        found = invert(self.trained, images, steps, distance=self.distance, device=self.device, with_noise=False)
        return found.codes[0].cpu().numpy()

    def next(
        self, codes: Float[np.ndarray, " z"], origin: str, before: Look | None,
        photo: UInt8[np.ndarray, "c h w"] | None = None, source: tuple[str, int] | None = None,
    ) -> Look:  # fmt: skip
        """A new picture after an earlier one, whose locked controls and truncation it keeps."""
        drawn = tuple(round(float(v), 4) for v in codes)  # few digits: the codes given out are exactly those shown
        if before is None:
            return Look(drawn, origin, photo, source=source)
        kept = {k: v for k, v in enumerate(self.codes(before)) if k in before.locked}
        return Look(drawn, origin, photo, kept, before.locked, frozenset(), before.truncation, source=source)

    def codes(self, look: Look) -> tuple[float, ...]:
        """What the generator is given.  Angles are not truncated: they have no middle."""
        drawn = enumerate(look.drawn)
        truncated = (round(v * (1.0 if k in self.angles else look.truncation), 4) for k, v in drawn)
        return tuple(look.moved.get(k, v) for k, v in enumerate(truncated))

    def _tensor(self, look: Look) -> Float[Tensor, " z"]:
        return torch.tensor(self.codes(look), dtype=torch.float32, device=self.device)

    def draws(self, look: Look) -> AnyGenerator:
        """The generator that draws a picture: the run's own, or the one that was adapted to its photograph."""
        return look.tuned or self.generator

    @torch.no_grad()
    def image(self, look: Look) -> Float[Tensor, "1 c h w"]:
        """The picture in [−1, 1]."""
        return self.draws(look).images(self._tensor(look)[None]).clamp(-1, 1).cpu()

    def _sweep(self, look: Look, control: int, steps: int, reach: float = TRAVERSAL_REACH) -> Float[Tensor, "b c h w"]:
        """The picture while a control goes from −reach to +reach, in [−1, 1]."""
        return sweep(self.draws(look), self._tensor(look), control, steps, reach).clamp(-1, 1).cpu()

    def picture(self, look: Look, view: str = "picture", control: int | None = None) -> Tile:
        """picture: as it is.  start: before anything was done to it.  where: faded outside the mask of a control, with
        an outline at half the mask's peak.  change: how much each pixel changes while the control goes from −2 to +2,
        from 0 (black) to 1 (pale yellow), which is the whole range of the pixel."""
        if view in ("where", "change") and control is not None:
            return (self._where if view == "where" else self._change)(look, control)
        return canvas.to_tiles(self.image(look.reset() if view == "start" else look), max(self.generator.size))[0]

    def original(self, look: Look) -> Tile:
        assert look.photo is not None
        return canvas.to_tiles(to_float(torch.from_numpy(look.photo)[None]), max(self.generator.size))[0]

    @torch.no_grad()
    def _where(self, look: Look, control: int) -> Tile:
        tile = canvas.to_tiles(self.image(look), OVERLAY_SIDE)[0]
        mask = image_masks(self.draws(look), self._tensor(look)[None], [control])[0, 0].cpu().numpy()
        relative = Image.fromarray(mask / max(mask.max(), 1e-6))
        share = np.asarray(relative.resize(tile.shape[1::-1], Image.Resampling.BILINEAR))
        faded = 255 + (tile - 255.0) * (0.2 + 0.8 * share[..., None])
        inside = share >= 0.5
        faded[inside & ~binary_erosion(inside, iterations=2, border_value=1)] = (230, 60, 20)
        return np.rint(faded).astype(np.uint8)

    def _change(self, look: Look, control: int) -> Tile:
        change = changes(self.draws(look), self._tensor(look)[None], control)[0].cpu().numpy() / 2
        tile = canvas.to_tiles(self.image(look), OVERLAY_SIDE)[0]
        grey = 0.35 * tile.mean(2, keepdims=True)
        return np.maximum(grey, canvas.heat(change, (tile.shape[0], tile.shape[1]))).astype(np.uint8)

    def mask(self, control: int) -> Tile:
        """The mean mask of a control, from 0 (black) to 1 (pale yellow)."""
        height, width = self.generator.size
        scale = THUMBNAIL_SIDE / max(height, width)
        return canvas.heat(
            (self.masks if control in self.in_use else self.idle_masks)[control],
            (round(height * scale), round(width * scale)),
        )

    def strip(self, look: Look, control: int) -> Tile:
        """Thumbnails in a row while a control goes from −reach to +reach and all others stay."""
        swept = self._sweep(look, control, THUMBNAILS, self.reach(control))
        return np.concatenate(list(canvas.to_tiles(swept, THUMBNAIL_SIDE)), 1)

    @torch.no_grad()
    def others(self, look: Look) -> Tile:
        """Other samples in a row, and below each the same sample after the changes of this picture: each moved control
        is moved as far, and the truncation is the same."""
        before, after = self._others(look)
        images = self.generator.images(torch.from_numpy(np.concatenate([before, after])).to(self.device))
        tiles = canvas.to_tiles(images.clamp(-1, 1).cpu(), THUMBNAIL_SIDE)
        rows = (np.concatenate(list(half), 1) for half in (tiles[:OTHERS], tiles[OTHERS:]))
        return np.concatenate(list(rows), 0)

    def _others(self, look: Look) -> tuple[Float[np.ndarray, "n z"], Float[np.ndarray, "n z"]]:
        """Codes of other samples, before and after the changes of this picture."""
        drawn = self.run.draw(OTHERS, OTHERS_SEED)
        truncated = drawn * np.where(np.isin(np.arange(drawn.shape[1]), self.angles), 1, look.truncation)
        moved = np.subtract(self.codes(look), self.codes(replace(look, moved={})))
        changed = (truncated + moved).astype(np.float32)
        for angle in (k for k in self.angles if moved[k]):  # once around is the same
            changed[:, angle] = (changed[:, angle] + ANGLE_RANGE) % (2 * ANGLE_RANGE) - ANGLE_RANGE
        return drawn, changed

    def grid(self, look: Look, across: int, down: int, steps: int = 5) -> Image.Image:
        """Two controls at once from −2 to +2: one across, one down."""
        values = np.linspace(-TRAVERSAL_REACH, TRAVERSAL_REACH, steps)
        swept = torch.cat([self._sweep(look.move(down, value), across, steps) for value in values])
        tiles = canvas.to_tiles(swept, THUMBNAIL_SIDE * (2 if steps <= 5 else 1))
        known, (h, w) = self.names, tiles.shape[1:3]
        left, top = 44, 40
        sheet = Canvas(left + steps * (w + GAP), top + steps * (h + GAP) + 22)
        sheet.fitted(left, 2, f"→ {known[across]}", steps * (w + GAP), 14, bold=True)
        sheet.fitted(left, top + steps * (h + GAP) + 2, f"↓ {known[down]}", steps * (w + GAP), 14, bold=True)
        for k, value in enumerate(values):
            sheet.text(left + k * (w + GAP) + w / 2, 22, f"{value:+.1f}", 11, fill=canvas.QUIET, anchor="ma")
            sheet.text(left - 6, top + k * (h + GAP) + h / 2, f"{value:+.1f}", 11, fill=canvas.QUIET, anchor="rm")
        for k, tile in enumerate(tiles):
            sheet.tile(left + k % steps * (w + GAP), top + k // steps * (h + GAP), tile)
        return sheet.image

    def film(self, look: Look, control: int, kind: str) -> bytes:
        """A loop of one control to the other end and back (an angle: once around), as .gif or .mp4."""
        images = loop(self.draws(look), self._tensor(look), control, control in self.angles)
        frames = [Image.fromarray(tile) for tile in canvas.to_tiles(images, LOOP_SIDE)]
        return self._moving(frames, kind)

    def film_through(self, looks: Sequence[Look], seconds: float, kind: str) -> bytes:
        """An endless loop from each picture to the next, as .gif or .mp4.  Raises UserError for fewer than two."""
        keyframes = torch.tensor([self.codes(look) for look in looks])
        codes = motion.keyframed(self.run, keyframes, (seconds,), fps=FILM_FPS)
        frames = motion.frames(self.generator, codes.to(self.device), max(1, LOOP_SIDE // max(self.generator.size)))
        return self._moving(frames, kind, len(frames) / FILM_FPS)

    def _moving(self, frames: Sequence[Image.Image], kind: str, seconds: float = 4.0) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return canvas.save_moving(frames, Path(folder) / f"picture{kind}", seconds).read_bytes()

    def large(self, look: Look, view: str, control: int) -> Image.Image:
        """The picture with smooth edges, its longer side near LARGE_SIDE pixels."""
        picture = Image.fromarray(self.picture(look, view, control))
        return motion.enlarged(picture, max(1, LARGE_SIDE // max(picture.size)))

    def codes_json(self, look: Look) -> str:
        """The codes, also by name, and what they came from, as JSON; from_json reads it."""
        codes, source = self.codes(look), look.source
        named = {f"z{k} {name}": codes[k] for k, name in self.names.items()}
        return states.to_json(
            states.State(codes, source[1] if source and source[0] == "seed" else None),
            run=self.title, images_seen=self.run.images_seen, start=look.drawn, truncation=look.truncation,
            named=named, **{"from": look.origin},
        )  # fmt: skip

    def python_code(self, look: Look) -> str:
        """Python that draws the picture; the model itself, if it was adapted to a photograph on the page."""
        adapted = "# on the page the model is adapted to a photograph; this is the picture without that\n"
        return (adapted if look.tuned else "") + (
            "import torch\nimport wherewhat\nfrom PIL import Image\nfrom wherewhat.viz.canvas import to_tiles\n\n"
            f"run = {self.run.python(self.title)}\n"
            f"z = torch.tensor([{list(self.codes(look))}])\n"
            f"tiles = to_tiles(run.generator.images(z), {max(self.generator.size)})\n"
            'Image.fromarray(tiles[0]).save("picture.png")\n'
        )


def png(picture: Tile | Image.Image) -> bytes:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, "PNG", compress_level=1)
    return file.getvalue()
