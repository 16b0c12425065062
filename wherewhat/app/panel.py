"""The page of one run.  Left: the picture.  Right: its controls as sliders, a grid, mixing with another picture."""

import math
import re
from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from wherewhat.app import html
from wherewhat.app.events import IMMEDIATE, QUEUED, SAVE_FILE, errors_shown, unchanged
from wherewhat.app.photographs import Photographs, open_upload, photo_box
from wherewhat.app.scene import THUMBNAILS, Look, Scene, png
from wherewhat.metrics.where import Box

VIEWS = [(name.capitalize(), name) for name in ("picture", "where", "change", "start")]  # label, name
DOWNLOADS = {  # kind of file → label, media type
    ".png": ("PNG", "image/png"), ".gif": ("GIF", "image/gif"), ".mp4": ("MP4", "video/mp4"),
    ".json": ("Codes", "application/json"), ".py": ("Python", "text/x-python"),
}  # fmt: skip
# JavaScript that sends where a click was
SEND_POSITION = "element.addEventListener('click', e => trigger('click', {at: e.offsetX / element.offsetWidth}))"
ASK_HELP = '<div class="acting">Click on the picture, or draw a box: the sliders that act there come first.</div>'
LEAST_BOX = 0.03  # a box with smaller sides is a click
SEEDS = 2**31  # after which they begin again; a browser holds large numbers inexactly
# JavaScript: a click on the picture, or a box drawn on it, is sent as shares of its height and width
ASK_PICTURE = """
let from = null;
const place = e => {
  const image = element.querySelector('.frame img:last-of-type'), r = image.getBoundingClientRect();
  const scale = Math.min(r.width / image.naturalWidth, r.height / image.naturalHeight);
  const w = image.naturalWidth * scale, h = image.naturalHeight * scale;
  const share = x => Math.min(Math.max(x, 0), 1);
  return [share((e.clientY - r.top - (r.height - h) / 2) / h), share((e.clientX - r.left - (r.width - w) / 2) / w)];
};
element.addEventListener('dragstart', e => e.preventDefault());
element.addEventListener('pointerdown', e => { from = e.target.tagName == 'IMG' ? place(e) : null; });
element.addEventListener('pointerup', e => {
  if (from) { const to = place(e); trigger('click', {box: [Math.min(from[0], to[0]), Math.min(from[1], to[1]),
    Math.max(from[0], to[0]), Math.max(from[1], to[1])]}); }
  from = null;
});
"""
TAKE_HELP = (
    "Give the picture on the left what another one has: drop that one here, or keep the present one and draw the next; "
    "then tick what to take."
)


def seed_box() -> Any:
    return gr.Number(0, precision=0, minimum=0, label="seed", container=False, min_width=60, elem_classes="seed")


def choices(scene: Scene) -> list[tuple[str, int]]:
    """The controls by name, active ones first."""
    names = scene.names
    return [(f"z{k} {names[k]}", k) for k in [*scene.in_use, *scene.not_in_use]]


class Card:
    """One control: its mask, name, thumbnails and slider."""

    def __init__(self, panel: "Panel", control: int) -> None:
        self.panel, self.scene, self.control = panel, panel.scene, control
        reach = self.scene.reach(control)
        with gr.Column(elem_classes="card", elem_id=f"card-{control}"):
            with gr.Row(elem_classes="top"):
                self.mask = gr.HTML(html.img(self.scene.mask(control), f"mask of z{control}"), elem_classes="mask")
                with gr.Column(elem_classes="words"):
                    self.name = gr.Textbox(
                        placeholder=self.scene.suggested[control], show_label=False, container=False, max_lines=1,
                        max_length=60, elem_classes="name", html_attributes=gr.InputHTMLAttributes(spellcheck=False),
                    )  # fmt: skip
                    gr.HTML(html.facts(self.scene, control))
                self.lock = gr.Checkbox(label="lock", container=False, elem_classes="lock", min_width=62)
            self.strip = gr.HTML(elem_classes="strip", js_on_load=SEND_POSITION)
            self.value = gr.Slider(
                -reach, reach, 0, step=0.01, show_label=False, container=False, buttons=[], elem_classes="value"
            )

    def connect(self) -> None:
        """Once all parts of the panel exist: what its events do."""
        p = self.panel
        self.value.input(self.moved, [self.value, p.look, p.view], [p.look, p.picture, p.chosen], **IMMEDIATE)
        p.redraw_strips(self.value.release(None, None, None))
        outputs = [p.look, p.picture, p.chosen, self.value]
        p.redraw_strips(self.strip.click(self.strip_clicked, [p.look, p.view], outputs, **IMMEDIATE))
        self.mask.click(self.mask_clicked, [p.look, p.view], [p.chosen, p.view, p.picture], **IMMEDIATE)
        self.lock.input(lambda on, look: look.lock(self.control, on), [self.lock, p.look], p.look, **IMMEDIATE)
        outputs = [self.name, *p.lists]
        gr.on([self.name.submit, self.name.blur], self.named, self.name, outputs, show_progress="hidden")

    def moved(self, value: float | None, look: Look, view: str) -> tuple[Any, ...]:
        """An emptied box changes nothing; values are kept within the slider's."""
        if value is not None and math.isfinite(value):
            reach = self.scene.reach(self.control)
            look = look.move(self.control, min(max(float(value), -reach), reach))
        return look, html.stage(self.scene, look, view, self.control), self.control

    def strip_clicked(self, look: Look, view: str, event: gr.EventData) -> tuple[Any, ...]:
        """A thumbnail was clicked: the control takes its value."""
        thumbnail = min(int(event.at * THUMBNAILS), THUMBNAILS - 1)
        value = self.scene.reach(self.control) * (2 * thumbnail / (THUMBNAILS - 1) - 1)
        return *self.moved(value, look, view), value

    def mask_clicked(self, look: Look, view: str) -> tuple[Any, ...]:
        """The mask was clicked: the large picture shows where the control acts."""
        view = "change" if view == "change" else "where"
        return self.control, view, html.stage(self.scene, look, view, self.control)

    def named(self, name: str) -> list[Any]:
        with errors_shown():
            self.scene.run.rename(self.control, name)
        return [self.scene.run.names.get(self.control, ""), *self.panel.list_updates()]


class Panel:
    """Everything for one run."""

    def __init__(self, page: gr.Blocks, scene: Scene) -> None:
        self.scene, self.first = scene, scene.first()
        self.order = [*scene.in_use, *scene.not_in_use]
        self.look, self.chosen = gr.State(self.first), gr.State(self.order[0])
        self.unfolded = gr.State(False)
        self.photographs = Photographs(self)
        gr.HTML(html.head(scene))
        with gr.Row(elem_classes="both"):
            with gr.Column(scale=2, min_width=280, elem_classes="left"):
                self.add_picture()
            with gr.Column(scale=3, min_width=280), gr.Tabs():
                with gr.Tab("Sliders"):
                    self.add_cards()
                with gr.Tab("Grid"):
                    self.add_grid()
                with gr.Tab("Photograph"):
                    self.photographs.add_tab()
                with gr.Tab("From another picture"):
                    self.add_giver()
        self.lists = [self.across, self.down, self.ticks]
        self.state = [self.look, self.view, self.chosen]
        self.shown = [self.look, self.picture, self.truncation, self.ticks, *(self.cards[k].value for k in self.order)]
        self.connect_picture(page)
        self.connect_downloads()
        self.connect_grid_and_giver()
        for card in self.cards.values():
            card.connect()

    def add_picture(self) -> None:
        """The large picture and what concerns all of it."""
        self.picture = gr.HTML(elem_classes="stage", js_on_load=ASK_PICTURE)
        with gr.Row(elem_classes="asked"):
            self.asked = gr.HTML(ASK_HELP)
            self.forget = gr.Button("Usual order", size="sm", visible=False, min_width=90)
        self.view = gr.Radio(VIEWS, value="picture", show_label=False, container=False, elem_classes="views")
        with gr.Row(elem_classes="bar"):
            self.new = gr.Button("New sample", variant="primary")
            self.real = gr.Button("Real image")
            self.reset = gr.Button("Reset")
            self.seed = seed_box()
        self.photographs.add_drop()
        self.truncation = gr.Slider(0, 1.5, 1, step=0.05, label="Truncation", elem_classes="truncation")
        with gr.Row(elem_classes="bar"):
            self.saves = {kind: gr.Button(f"↓ {label}", size="sm") for kind, (label, _) in DOWNLOADS.items()}

    def add_cards(self) -> None:
        """A card for each control; those of controls that are not in use are folded away."""
        self.cards = {k: Card(self, k) for k in self.scene.in_use}
        folded = self.scene.not_in_use
        if folded:
            with gr.Accordion(f"{len(folded)} that change little", open=False, elem_classes="fold") as self.fold:
                self.cards |= {k: Card(self, k) for k in folded}

    def add_grid(self) -> None:
        known = choices(self.scene)
        with gr.Row():
            self.across = gr.Dropdown(label="across", value=self.order[0], choices=known, min_width=120)
            self.down = gr.Dropdown(label="down", value=self.scene.in_use[-1], choices=known, min_width=120)
        with gr.Row(elem_classes="bar"):
            self.steps = gr.Radio([3, 5, 7, 9], value=5, show_label=False, container=False, elem_classes="views")
            self.draw = gr.Button("Draw", variant="primary")
        self.grid = gr.HTML(elem_classes="sheet")

    def add_giver(self) -> None:
        """Another picture, and which of its controls to take."""
        gr.Markdown(TAKE_HELP)
        with gr.Row(elem_classes=["bar", "pair"]):
            self.giver_drop = photo_box()
            self.giver_keep = gr.Button("Take from the present picture")
        self.giver = gr.State()
        self.giver_picture = gr.HTML(elem_classes="sheet")
        self.ticks = gr.CheckboxGroup(choices=choices(self.scene), label="Take", value=[])

    def connect_picture(self, page: gr.Blocks) -> None:
        """What buttons and boxes beside the large picture do."""
        made, sample, training_image = [*self.shown, self.seed], self.scene.sample, self.scene.training_image
        names = [self.cards[k].name for k in self.order]
        for event in (
            page.load(self.page_loaded, None, [*self.shown, *names, *self.lists], show_progress="hidden"),
            self.new.click(partial(self.next_made, sample), [self.seed, *self.state], made, **QUEUED),
            self.real.click(partial(self.next_made, training_image), [self.seed, *self.state], made, **QUEUED),
            self.seed.submit(partial(self.made, sample), [self.seed, *self.state], made, **QUEUED),
            self.reset.click(lambda look, *rest: self.show(look.reset(), *rest), self.state, self.shown, **QUEUED),
            *self.photographs.connect(),
            self.truncation.release(None, None, None),
        ):
            self.redraw_strips(event)
        outputs = [self.asked, self.forget]
        self.picture.click(self.picture_asked, self.look, outputs, **QUEUED)
        self.forget.click(lambda: (ASK_HELP, gr.update(visible=False)), None, outputs, **IMMEDIATE)
        self.view.input(partial(html.stage, self.scene), self.state, self.picture, **IMMEDIATE)
        outputs = [self.look, self.picture, *self.shown[4:]]
        self.truncation.input(self.truncated, [self.truncation, *self.state], outputs, **IMMEDIATE)
        if self.scene.not_in_use:
            event = self.fold.expand(lambda: True, None, self.unfolded, **IMMEDIATE)
            self.draw_strips(event, self.scene.not_in_use)
            self.fold.collapse(lambda: False, None, self.unfolded, **IMMEDIATE)

    def connect_downloads(self) -> None:
        for kind, button in self.saves.items():
            file = gr.JSON(visible=False)
            event = button.click(partial(download, self.scene, kind), self.state, file, show_progress="hidden")
            event.then(None, file, None, js=SAVE_FILE)

    def connect_grid_and_giver(self) -> None:
        """What the second and third tab do."""
        self.draw.click(self.grid_drawn, [self.look, self.across, self.down, self.steps], self.grid, **QUEUED)
        outputs = [self.giver, self.giver_picture]
        self.giver_keep.click(self.giver_kept, self.look, outputs, **QUEUED)
        self.giver_drop.upload(self.giver_dropped, self.giver_drop, [*outputs, self.giver_drop], **QUEUED)
        inputs = [self.ticks, self.look, self.giver, self.view, self.chosen]
        self.redraw_strips(self.ticks.input(self.ticked, inputs, self.shown, **QUEUED))

    def redraw_strips(self, event: Any) -> None:
        """After an event that changes the picture: all thumbnails that can be seen."""
        self.draw_strips(event, self.scene.in_use)
        if self.scene.not_in_use:
            self.draw_strips(event, self.scene.not_in_use, only_unfolded=True)

    def draw_strips(self, event: Any, controls: list[int], only_unfolded: bool = False) -> None:
        """After an event: thumbnails of these controls."""

        def drawn(look: Look, unfolded: bool) -> Any:
            hidden = only_unfolded and not unfolded
            strips = unchanged(len(controls)) if hidden else [html.strip(self.scene, look, k) for k in controls]
            return strips if len(strips) > 1 else strips[0]  # Gradio takes the value itself if there is one output

        event.then(drawn, [self.look, self.unfolded], [self.cards[k].strip for k in controls], **QUEUED)

    def show(self, look: Look, view: str, control: int) -> list[Any]:
        """The values of self.shown."""
        codes, stage = self.scene.codes(look), html.stage(self.scene, look, view, control)
        return [look, stage, look.truncation, sorted(look.taken), *(round(codes[k], 2) for k in self.order)]

    def list_updates(self) -> list[Any]:
        return [gr.update(choices=choices(self.scene))] * len(self.lists)

    def page_loaded(self) -> list[Any]:
        names = self.scene.run.names
        texts = [names.get(k, "") for k in self.order]
        return [*self.show(self.first, "picture", self.order[0]), *texts, *self.list_updates()]

    def made(self, make: Callable[[int, Look], Look], seed: int | None, look: Look, *rest: Any) -> list[Any]:
        with errors_shown():
            seed = int(seed or 0) % SEEDS
            return [*self.show(make(seed, look), *rest), seed]
        return unchanged(len(self.shown) + 1)

    def next_made(self, make: Callable[[int, Look], Look], seed: int | None, *rest: Any) -> list[Any]:
        return self.made(make, int(seed or 0) + 1, *rest)

    def truncated(self, factor: float, look: Look, *rest: Any) -> list[Any]:
        look, stage, _truncation, _ticks, *values = self.show(
            look.truncate(look.truncation if factor is None else min(max(float(factor), 0.0), 1.5)), *rest
        )
        return [look, stage, *values]

    def picture_asked(self, look: Look, event: gr.EventData) -> tuple[str, Any]:
        """A place of the picture was clicked, or a box drawn: the cards of controls that act there come first."""
        box = Box(*(float(edge) for edge in event.box))
        if box.bottom - box.top < LEAST_BOX and box.right - box.left < LEAST_BOX:
            box = Box.around((box.top + box.bottom) / 2, (box.left + box.right) / 2)
        return html.acting(self.scene, self.scene.acting_in(look, box)), gr.update(visible=True)

    def grid_drawn(self, look: Look, across: int, down: int, steps: int) -> str:
        return html.img(self.scene.grid(look, across, down, int(steps)), "Grid of two sliders")

    def giver_kept(self, look: Look) -> tuple[Look, str]:
        """The picture to take from, and how it looks."""
        shown = html.img(self.scene.picture(look), "The picture taken from", "giver")
        return look, f"Taking from {escape(look.origin)}{shown}"

    def giver_dropped(self, path: str | None) -> list[Any]:
        with errors_shown():
            if path:
                return [*self.giver_kept(open_upload(self.scene, path, None)), None]
        return [*unchanged(2), None]

    def ticked(self, ticks: list[int], look: Look, giver: Look | None, *rest: Any) -> list[Any]:
        if giver is None:
            gr.Warning("First say from which picture: drop one, or keep the present one.")
            return self.show(look, *rest)
        return self.show(look.take(self.scene.codes(giver), ticks), *rest)


def download(scene: Scene, kind: str, look: Look, view: str, control: int) -> dict[str, str]:
    """The name of a file and its content as a link."""
    make: dict[str, Callable[[], bytes]] = {
        ".png": lambda: png(scene.picture(look, view, control)),
        ".json": lambda: scene.codes_json(look).encode(),
        ".py": lambda: scene.python_code(look).encode(),
    }
    content = make[kind]() if kind in make else scene.film(look, control, kind)
    words = [scene.title.rsplit("/")[-1], *([scene.names[control]] if kind in (".gif", ".mp4") else [])]
    name = re.sub(r"\W+", "-", " ".join(words)).strip("-")
    return {"name": f"{name}{kind}", "uri": html.data_uri(content, DOWNLOADS[kind][1])}
