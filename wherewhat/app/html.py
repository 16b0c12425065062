"""Pieces of the page as HTML, without Gradio."""

import base64
import math
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image

from wherewhat.app.scene import THUMBNAILS, Look, Scene, Tile, png
from wherewhat.evaluation.where import ACTS, Acting
from wherewhat.run.model import VISIBLE_SHARE


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    """A link that holds the content of a file."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def img(picture: Tile | Image.Image, alt: str, css_class: str = "") -> str:
    return f'<img alt="{escape(alt)}" class="{css_class}" decoding="sync" src="{data_uri(png(picture))}">'


def head(scene: Scene, level: int = 1) -> str:
    """The title of a run, a heading of this level, and a line of facts."""
    height, width = scene.generator.size
    first, *others = scene.run.facts
    about = " · ".join([first, f"{height}×{width}", *others])
    in_use, count = sum(control.in_use for control in scene.table) or "none", len(scene.table)
    facts = f"{about} · {in_use} of {count} controls in use" + f", {len(scene.controls)} shown" * (
        len(scene.controls) < count
    )
    return f'<div class="head"><h{level}>{escape(scene.title)}</h{level}><span>{escape(facts)}</span></div>'


TERMS = {
    "mask": "The small dark picture beside a name: bright where the slider may change the image, mean over images. "
    "Click on it to see where that is in the picture on the left.",
    "TPL": "Traversal perceptual length: how far the picture moves, as people see it (LPIPS), while the slider goes "
    "from one end to the other. Near 0: nothing happens. It needs no labels.",
    "%": "“3% of the image” is how much of it the mask covers. “glasses 83%”: of all that the slider knows about the "
    "labelled factors, so much is about glasses. After a click on the picture: how much the slider changes there, of "
    "all that pixels can change.",
    "an angle": "The slider goes once around: both ends look the same.",
    "lock": "A locked slider keeps its value in the next picture, be it a sample, a real image or a photograph.",
    "truncation": "Multiplies every value that you did not set. Below 1 pictures are more ordinary; at 0 all are the "
    "same, but for angles.",
}
"""words of the page → what they mean"""


def terms(number: int) -> str:
    """The words that need an explanation, each a button that opens it.  number: of the run on the page."""
    ids = {word: f"term-{number}-{place}" for place, word in enumerate(TERMS)}
    buttons = (f'<button class="term" popovertarget="{ids[word]}">{escape(word)}</button>' for word in TERMS)
    texts = (
        f'<div popover id="{ids[word]}"><b>{escape(word)}</b> {escape(text)}</div>' for word, text in TERMS.items()
    )
    return f'<div class="terms">What is {"".join(buttons)}?{"".join(texts)}</div>'


def facts(scene: Scene, control: int) -> str:
    d = scene.controls[control]
    match = f" · {d.factor} {d.share:.0%}" if d.factor and d.share is not None else ""
    return f"z{control} · TPL {d.tpl:.2f} · {d.place}, {d.area:.0%} of the image{match}{' · an angle' * d.is_angle}"


def cards(scene: Scene, number: int) -> str:
    """A card for each control, those that change almost nothing folded away.  number: of the run on the page."""
    shown = "".join(card(scene, control, number) for control in scene.in_use)
    folded = "".join(card(scene, control, number) for control in scene.not_in_use)
    if not folded:
        return shown
    title = f"<summary><h2>{len(scene.not_in_use)} that change almost nothing</h2></summary>"
    return f'{shown}<details class="fold">{title}<p class="about">{escape(why_folded(scene))}</p>{folded}</details>'


def why_folded(scene: Scene) -> str:
    """Why controls are folded away."""
    height, width = scene.generator.size
    pixels = math.ceil(VISIBLE_SHARE * height * width)
    return (
        f"Each of these visibly changes fewer than {pixels} pixels of {height}×{width} while it goes from −2 to +2, "
        "mean over images: the training found no use for it."
    )


def card(scene: Scene, control: int, number: int) -> str:
    """One control: its mask, name, thumbnails and slider."""
    named, suggestion = escape(scene.run.names.get(control, "")), escape(scene.suggested[control])
    spoken, reach = named or suggestion, scene.reach(control)
    limits = f'min="{-reach:g}" max="{reach:g}" step="0.01"'
    values = np.linspace(-reach, reach, THUMBNAILS)
    thumbnails = "".join(
        f'<button tabindex="{0 if place == THUMBNAILS // 2 else -1}" data-value="{value:g}" '
        f'style="--place: {place}" aria-label="set to {value:+.1f}"></button>'
        for place, value in enumerate(values)
    )
    return f"""<section class="card" id="card-{control}{f"-{number}" if number > 1 else ""}" data-control="{control}"
 aria-label="{spoken}"><div class="top">
<button class="mask" title="Show where it acts" aria-label="where z{control} acts"><img alt=""></button>
<div class="words"><div class="naming"><input class="name" value="{named}" placeholder="{suggestion}" maxlength="60"
 spellcheck="false" aria-label="name of z{control}"><button class="accept" title="Keep this suggested name"
 aria-label="keep the name {suggestion}">✓ keep name</button></div>
<div class="about">{escape(facts(scene, control))}</div></div>
<label class="lock" title="{escape(TERMS["lock"])}"><input type="checkbox">lock</label>
<button class="restore" title="Back to its value at the start" aria-label="reset {spoken}" disabled>↺</button>
<input class="number" type="number" {limits} value="0" aria-label="value of {spoken}"></div>
<div class="strip" role="group" aria-label="thumbnails of {spoken}"><img alt="">{thumbnails}</div>
<input class="value" type="range" {limits} value="0" aria-label="{spoken}"></section>"""


def stage(scene: Scene, look: Look, view: str, control: int, address: str = "", prefix: str = "") -> str:
    """The large picture with its caption.  address: parameters that describe it, for the address of the page; those of
    this run begin with prefix."""
    name = f"<b>z{control} {escape(scene.names[control])}</b>"
    origin, peak = escape(look.origin), scene.controls[control].peak
    caption = {
        "picture": f"{origin} · {len(look.moved)} slider{'s' * (len(look.moved) != 1)} set",
        "where": f"{name}: outlined where its mask is above half its peak (mean peak {peak:.2f})",
        "change": f"{name}: what changes from −2 to +2: grey nothing, purple little, pale yellow all",
        "start": f"{origin}, before anything was changed",
        "compare": f"{origin}: left of the line before, right of it after {len(look.moved)} changes; drag it",
    }[view]
    pictures = img(scene.picture(look, view, control), "The picture", "drawn" if view in ("where", "change") else "")
    if view == "start" and look.photo is not None:
        pictures = img(scene.original(look), "The original") + pictures
        caption = f"{origin}: the original, and what the model makes of it"
    if view == "compare":
        pictures = wipe(img(scene.picture(look, "start"), "Before", "before"), pictures)
    return (
        f'<figure data-address="{escape(address)}" data-prefix="{prefix}"><div class="frame">{pictures}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def wipe(before: str, after: str) -> str:
    """Two pictures in one place, and a line between them that can be dragged, also with the keyboard."""
    moved = "this.closest('.stage').style.setProperty('--wiped', this.value + '%')"
    line = f'<input type="range" class="wiper" value="50" aria-label="how much is before" oninput="{moved}">'
    return f'<div class="wipe">{after}{before}{line}<div class="line"></div></div>'


def acting(scene: Scene, found: Sequence[Acting]) -> str:
    """Which controls act where the picture was asked; the page puts their cards in this order."""
    names = scene.names
    seen = [a for a in found if a.there > ACTS]
    words = " · ".join(f"<b>{escape(names[a.control])}</b> {a.there:.0%}" for a in seen[:5]) or "nothing that is in use"
    order, faded = [a.control for a in found], [a.control for a in found[len(seen) :]]
    return f'<div class="acting" data-order="{order}" data-faded="{faded}">Here acts: {words}</div>'


def hint(words: str) -> str:
    """A line of help, which may be HTML."""
    return f'<div class="acting">{words}</div>'


def progress(words: str, done: float) -> str:
    return (
        f'<div class="acting" role="status">{escape(words)} '
        f'<progress max="1" value="{done:.3f}" aria-label="{escape(words)}"></progress></div>'
    )


def others(scene: Scene, look: Look) -> str:
    """Other samples before and after the changes of this picture."""
    return img(scene.others(look), "Other samples: above as they are, below with the same changes", "others")


def sheet(scene: Scene, look: Look) -> str:
    """A table of the controls in use: name, mask, thumbnails."""
    names = scene.names
    rows = ""
    for k in scene.in_use:
        name = escape(names[k])
        mask, strip = (
            img(scene.mask(k), f"where {name} acts", "mask"),
            img(scene.strip(look, k), f"thumbnails of {name}"),
        )
        rows += f'<tr><th scope="row">{name}</th><td>{mask}</td><td>{strip}</td></tr>'
    return f'<table class="rows">{rows}</table>'
