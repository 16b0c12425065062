"""Pieces of the page as HTML, without Gradio."""

import base64
from collections.abc import Sequence
from html import escape

from PIL import Image

from wherewhat.app.scene import Look, Scene, Tile, png
from wherewhat.evaluation.where import ACTS, Acting


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    """A link that holds the content of a file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def img(picture: Tile | Image.Image, alt: str, css_class: str = "") -> str:
    return f'<img alt="{escape(alt)}" class="{css_class}" decoding="sync" src="{data_uri(png(picture))}">'


def head(scene: Scene) -> str:
    """The title of a run and a line of facts."""
    height, width = scene.generator.size
    seen = f"{scene.run.config.recipe} · {height}×{width} · {scene.run.images_seen:,} images seen"
    in_use = sum(control.in_use for control in scene.controls.values()) or "none"
    facts = f"{seen} · {in_use} of {len(scene.controls)} controls in use"
    return f'<div class="head"><b>{escape(scene.title)}</b><span>{escape(facts)}</span></div>'


def facts(scene: Scene, control: int) -> str:
    d = scene.controls[control]
    match = f" · {d.factor} {d.share:.0%}" if d.factor and d.share is not None else ""
    text = f"z{control} · TPL {d.tpl:.2f} · {d.place}, {d.area:.0%} of the image{match}{' · an angle' * d.is_angle}"
    return f'<div class="about">{escape(text)}</div>'


def stage(scene: Scene, look: Look, view: str, control: int) -> str:
    """The large picture with its caption."""
    name = f"<b>z{control} {escape(scene.names[control])}</b>"
    origin, peak = escape(look.origin), scene.controls[control].peak
    caption = {
        "picture": f"{origin} · {len(look.moved)} slider{'s' * (len(look.moved) != 1)} set",
        "where": f"{name}: outlined where its mask is above half its peak (mean peak {peak:.2f})",
        "change": f"{name}: what changes from −2 to +2: grey nothing, purple little, pale yellow all",
        "start": f"{origin}, before anything was changed",
    }[view]
    pictures = img(scene.picture(look, view, control), "The picture", "drawn" if view in ("where", "change") else "")
    if view == "start" and look.photo is not None:
        pictures = img(scene.original(look), "The original") + pictures
        caption = f"{origin}: the original, and what the model makes of it"
    return f'<figure><div class="frame">{pictures}</div><figcaption>{caption}</figcaption></figure>'


def acting(scene: Scene, found: Sequence[Acting]) -> str:
    """Which controls act where the picture was asked, and a rule that puts their cards in this order."""
    names = scene.names
    seen = [a for a in found if a.there > ACTS]
    words = " · ".join(f"<b>{escape(names[a.control])}</b> {a.there:.0%}" for a in seen[:5]) or "nothing that is in use"
    order = " ".join(f"#card-{a.control} {{ order: {place}; }}" for place, a in enumerate(found))
    faded = " ".join(f"#card-{a.control} {{ opacity: .45; }}" for a in found[len(seen) :])
    return f'<div class="acting">Here acts: {words}</div><style>{order} {faded}</style>'


def hint(words: str) -> str:
    """A line of help, which may be HTML."""
    return f'<div class="acting">{words}</div>'


def progress(words: str, done: float) -> str:
    return (
        f'<div class="acting" role="status">{escape(words)} '
        f'<progress max="1" value="{done:.3f}" aria-label="{escape(words)}"></progress></div>'
    )


def strip(scene: Scene, look: Look, control: int) -> str:
    return img(scene.strip(look, control), "thumbnails, from the left end to the right")


def sheet(scene: Scene, look: Look) -> str:
    """A table of the controls in use: name, mask, thumbnails."""
    names = scene.names
    rows = ""
    for k in scene.in_use:
        mask, strip = img(scene.mask(k), "mask", "mask"), img(scene.strip(look, k), "thumbnails")
        rows += f"<tr><td>{escape(names[k])}</td><td>{mask}</td><td>{strip}</td></tr>"
    return f'<table class="rows">{rows}</table>'
