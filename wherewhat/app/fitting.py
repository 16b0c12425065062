"""What the page does with photographs, without the page.  Work pauses after each step, so that it can be stopped."""

import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw

from wherewhat.app.scene import PHOTO_STEPS, Look, Scene, png
from wherewhat.editing.align import aligning
from wherewhat.editing.edit import Change, apply_changes
from wherewhat.editing.invert import Inversion, inverting
from wherewhat.editing.nearness import Nearness, nearness
from wherewhat.editing.photograph import WHOLE, Crop, Photograph, box_of
from wherewhat.nn.generator import Generator
from wherewhat.nn.ops import to_uint8
from wherewhat.progress import Work, portion
from wherewhat.viz.canvas import to_image, to_pixels

TUNING_STEPS = 60  # of descent on a copy of the generator, to adapt it to one photograph
JPEG_QUALITY = 95


class Found(NamedTuple):
    """A photograph that was inverted."""

    photo: Photograph
    crop: Crop
    codes: Float[np.ndarray, " z"]
    tuned: Generator | None
    near: Nearness
    before: Look  # the picture when the work began


def fitting(scene: Scene, photo: Photograph, crop: Crop, tune: bool, before: Look) -> Work[Found]:
    """The codes of a photograph, and a generator adapted to it if asked.  Raises UserError if it is no picture."""
    found = yield from _inverting(scene, photo, crop, TUNING_STEPS * tune)
    (near,) = nearness(found.before, found.after, scene.distance, scene.usual)
    tuned = found.generator if tune else None
    return Found(photo, crop, found.codes[0].cpu().numpy(), tuned, near, before)


def cropping(scene: Scene, photo: Photograph) -> Work[Crop]:
    """The crop that the run draws best."""
    return aligning(scene.trained, photo, scene.distance, scene.device)


def taken(scene: Scene, found: Found, now: Look) -> Look:
    """The photograph as the picture of the page; what was moved while it was inverted stays moved."""
    photo = to_uint8(found.photo.images(found.crop))[0].numpy()
    look = scene.next(found.codes, found.photo.name, found.before, photo)
    meanwhile = {k: value for k, value in now.moved.items() if found.before.moved.get(k) != value}
    return look.photographed((found.photo, found.crop), found.tuned, meanwhile)


def own_size(scene: Scene, look: Look) -> Image.Image:
    """The edited photograph as large as it was, unchanged where the edit changes nothing."""
    assert look.cut is not None
    photo, crop = look.cut
    return photo.edited(crop, scene.image(look.reset()), scene.image(look))


def crop_picture(photo: Photograph, crop: Crop) -> Image.Image:
    """A small copy of a photograph, dark outside the crop."""
    image = photo.preview.convert("RGB")
    dark, box = image.point(lambda value: value // 3), box_of(photo.form, crop, image)
    dark.paste(image.crop(box), box[:2])
    ImageDraw.Draw(dark).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline="white", width=2)
    return dark


def editing(scene: Scene, photos: Sequence[Photograph], look: Look, onto_photo: bool, find_crop: bool) -> Work[bytes]:
    """A zip file of these photographs, each with its controls moved as far as those of the page were: whole and at its
    own size, or as the model draws the part that it sees.  Raises UserError for one that is no picture."""
    offsets = [Change(k, value - look.drawn[k], relative=True) for k, value in look.moved.items()]
    content, names = io.BytesIO(), Counter[str]()
    with zipfile.ZipFile(content, "w") as archive:  # not compressed again
        for i, photo in enumerate(photos):
            crop = (yield from portion(cropping(scene, photo), i, len(photos))) if find_crop else WHOLE
            found = yield from portion(_inverting(scene, photo, crop), i, len(photos))
            with torch.no_grad():
                codes = apply_changes(found.codes, offsets, scene.angles)
                edited = scene.generator.images(codes).clamp(-1, 1)
            image = photo.edited(crop, found.image, edited) if onto_photo else to_image(to_pixels(edited)[0])
            stem = Path(photo.name).stem
            names[stem] += 1
            stem += f"-{names[stem]}" * (names[stem] > 1)
            archive.writestr(*_file(image, stem, Path(photo.name).suffix))
    return content.getvalue()


def _inverting(scene: Scene, photo: Photograph, crop: Crop, tune: int = 0) -> Work[Inversion]:
    images = photo.images(crop).to(scene.device)
    return inverting(
        scene.trained, images, PHOTO_STEPS, tune=tune, distance=scene.distance, device=scene.device, with_noise=False
    )


def _file(image: Image.Image, stem: str, suffix: str) -> tuple[str, bytes]:
    """Name and content: a photograph that came as JPEG stays one, all others are PNG."""
    if suffix.lower() not in (".jpg", ".jpeg"):
        return f"{stem}.png", png(image)
    content = io.BytesIO()
    image.convert("RGB").save(content, "JPEG", quality=JPEG_QUALITY)
    return f"{stem}{suffix}", content.getvalue()
