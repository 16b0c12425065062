"""The page of one run.  Left: the picture.  Right: its controls as sliders, a grid, mixing with another picture."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from wherewhat.app import address, html
from wherewhat.app.cards import Cards
from wherewhat.app.events import IMMEDIATE, QUEUED, SILENT, errors_shown, script, unchanged
from wherewhat.app.files import Files
from wherewhat.app.film import Film
from wherewhat.app.history import History
from wherewhat.app.photographs import Photographs, open_upload, photo_box
from wherewhat.app.scene import MOST_TRUNCATION, SEEDS, Look, Scene
from wherewhat.metrics.where import Box

VIEWS = [(name.capitalize(), name) for name in ("picture", "where", "change", "start", "compare")]  # label, name
ASK_HELP = '<div class="acting">Click on the picture, or draw a box: the sliders that act there come first.</div>'
LEAST_BOX = 0.03  # a box with smaller sides is a click
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


class Panel:
    """Everything for one run, empty until it is opened."""

    def __init__(self, scene: Scene, number: int = 0) -> None:
        """number: of the run on the page, from 1; 0 if there is one run alone."""
        self.scene, self.number = scene, number
        self.prefix = f"{number}." if number else ""
        self.look, self.chosen, self.history = gr.State(), gr.State(scene.in_use[0]), gr.State()
        self.photographs, self.film = Photographs(self), Film(self)
        gr.HTML(html.head(scene))
        with gr.Row(elem_classes="both"):
            with gr.Column(scale=2, min_width=280, elem_classes="left"):
                self.add_picture()
            with gr.Column(scale=3, min_width=280), gr.Tabs():
                with gr.Tab("Sliders"):
                    self.cards = Cards(self)
                with gr.Tab("Grid"):
                    self.add_grid()
                with gr.Tab("Photograph"):
                    self.photographs.add_tab()
                with gr.Tab("Mix"):
                    self.add_giver()
                with gr.Tab("Film"):
                    self.film.add_tab()
        self.lists = [self.across, self.down, self.ticks]
        self.state = [self.look, self.view, self.chosen]
        self.shown = [self.look, self.picture, self.cards.values, self.truncation, self.ticks, self.seed]
        self.connect_picture()
        self.connect_steps()
        self.files.connect()
        self.film.connect()
        self.connect_grid_and_giver()
        self.cards.connect()

    def add_picture(self) -> None:
        """The large picture and what concerns all of it."""
        self.picture = gr.HTML(elem_classes="stage", js_on_load=script("picture.js"))
        with gr.Row(elem_classes="asked"):
            self.asked = gr.HTML(ASK_HELP, js_on_load=script("asked.js"))
            self.forget = gr.Button("Usual order", size="sm", visible=False, min_width=90)
        self.view = gr.Radio(
            VIEWS, value="picture", label="View", show_label=False, container=False, elem_classes="views"
        )
        with gr.Row(elem_classes="bar"):
            self.new = gr.Button("New sample", variant="primary")
            self.real = gr.Button("Real image")
            self.seed = seed_box()
        with gr.Row(elem_classes="bar"):
            self.undo = gr.Button("↶ Undo", interactive=False, elem_classes="undo")
            self.redo = gr.Button("↷ Redo", interactive=False, elem_classes="redo")
            self.reset = gr.Button("Reset")
        self.photographs.add_drop()
        self.truncation = gr.Slider(
            0, MOST_TRUNCATION, 1, step=0.05, label="Truncation", buttons=[], elem_classes="truncation"
        )
        self.files = Files(self)
        with gr.Accordion("The same changes on other samples", open=False) as self.fold:
            self.others = gr.HTML(elem_classes="sheet")
        self.others_seen = gr.State(False)

    def add_grid(self) -> None:
        known = choices(self.scene)
        with gr.Row():
            self.across = gr.Dropdown(label="across", value=self.scene.in_use[0], choices=known, min_width=120)
            self.down = gr.Dropdown(label="down", value=self.scene.in_use[-1], choices=known, min_width=120)
        with gr.Row(elem_classes="bar"):
            self.steps = gr.Radio(
                [3, 5, 7, 9], value=5, label="Steps", show_label=False, container=False, elem_classes="views"
            )
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

    def open_with(self, event: Callable[..., Any], is_open: Any = None) -> None:
        """Fill the panel with an event that opens it: once, if is_open says whether it was."""
        outputs, masks = [self.cards.body, *self.shown, *self.lists, self.history], self.cards.masks
        if is_open is None:
            opened = event(self.opened, None, outputs, **SILENT)
        else:
            opened = event(self.opened_once, is_open, [is_open, *outputs], **SILENT)
        self.redraw(opened)
        opened.success(partial(self.cards.drawn_masks, self.scene.in_use), None, masks, **QUEUED)

    def connect_picture(self) -> None:
        """What buttons and boxes beside the large picture do."""
        sample, real_image = self.scene.sample, self.scene.real_image
        for event in (
            *self.photographs.connect(),
            self.new.click(partial(self.next_made, sample), [self.seed, *self.state], self.shown, **QUEUED),
            self.real.click(partial(self.next_made, real_image), [self.seed, *self.state], self.shown, **QUEUED),
            self.seed.submit(partial(self.made, sample), [self.seed, *self.state], self.shown, **QUEUED),
            self.reset.click(lambda look, *rest: self.show(look.reset(), *rest), self.state, self.shown, **QUEUED),
            self.truncation.release(None, None, None),
        ):
            self.changed(event)
        outputs = [self.asked, self.forget]
        self.picture.click(self.picture_asked, self.look, outputs, **QUEUED)
        self.forget.click(lambda: (ASK_HELP, gr.update(visible=False)), None, outputs, **IMMEDIATE)
        self.view.input(self.stage, self.state, self.picture, **IMMEDIATE)
        outputs = [self.look, self.picture, self.cards.values]
        self.truncation.input(self.truncated, [self.truncation, *self.state], outputs, **IMMEDIATE)

    def connect_steps(self) -> None:
        """What undoes changes, and shows them on other samples."""
        steps = [self.history, self.undo, self.redo]
        for button, step in ((self.undo, History.undo), (self.redo, History.redo)):
            inputs, outputs = [self.history, *self.state], [*steps, *self.shown]
            self.redraw(button.click(partial(self.stepped, step), inputs, outputs, **IMMEDIATE))
        self.redraw(self.fold.expand(lambda: True, None, self.others_seen, **IMMEDIATE))
        self.fold.collapse(lambda: False, None, self.others_seen, **IMMEDIATE)

    def connect_grid_and_giver(self) -> None:
        """What the second and third tab do."""
        self.draw.click(self.grid_drawn, [self.look, self.across, self.down, self.steps], self.grid, **QUEUED)
        outputs = [self.giver, self.giver_picture]
        self.giver_keep.click(self.giver_kept, self.look, outputs, **QUEUED)
        self.giver_drop.upload(self.giver_dropped, self.giver_drop, [*outputs, self.giver_drop], **QUEUED)
        inputs = [self.ticks, self.look, self.giver, self.view, self.chosen]
        self.changed(self.ticks.input(self.ticked, inputs, self.shown, **QUEUED))

    def changed(self, event: Any) -> None:
        """After an event that changes the picture: it is a step, and whatever shows it small is drawn again."""
        steps = [self.history, self.undo, self.redo]
        event.then(self.recorded, [self.history, self.look], steps, **IMMEDIATE)
        self.redraw(event)

    def redraw(self, event: Any) -> None:
        """After an event: all thumbnails that can be seen."""
        inputs = [self.look, self.cards.unfolded, self.others_seen]
        event.then(self.redrawn, inputs, [self.cards.strips, self.others], **QUEUED)

    def stage(self, look: Look, view: str, control: int) -> str:
        """The large picture, with its address."""
        where = address.written(look, self.prefix) + (f"&run={self.number}" if self.number else "")
        return html.stage(self.scene, look, view, control, where, self.prefix)

    def show(self, look: Look, view: str, control: int) -> list[Any]:
        """The values of self.shown."""
        seed = look.source[1] if look.source else gr.skip()
        stage, values = self.stage(look, view, control), self.cards.all_values(look)
        return [look, stage, values, look.truncation, sorted(look.taken), seed]

    def list_updates(self) -> list[Any]:
        return [gr.update(choices=choices(self.scene))] * len(self.lists)

    def opened(self, request: gr.Request) -> list[Any]:
        """The picture that the address describes, or the first one."""
        look = None
        with errors_shown():
            look = address.read(self.scene, request.query_params, self.prefix)
        look = look or self.scene.first()
        cards, shown = html.cards(self.scene, self.number), self.show(look, "picture", self.scene.in_use[0])
        return [cards, *shown, *self.list_updates(), History(look)]

    def opened_once(self, is_open: bool, request: gr.Request) -> list[Any]:
        return unchanged(len(self.shown) + len(self.lists) + 3) if is_open else [True, *self.opened(request)]

    def recorded(self, history: History[Look], look: Look) -> tuple[Any, ...]:
        history = history.record(look)
        return history, *(gr.update(interactive=bool(steps)) for steps in (history.past, history.undone))

    def stepped(
        self, step: Callable[[History[Look]], History[Look]], history: History[Look], look: Look, *rest: Any
    ) -> list[Any]:
        """One step back or forward.  Locks are no steps: they stay as they are."""
        history = step(history.record(look))
        look = history.present.with_locks_of(look)
        return [*self.recorded(replace(history, present=look), look), *self.show(look, *rest)]

    def redrawn(self, look: Look, unfolded: bool, others_seen: bool) -> tuple[Any, ...]:
        others = html.others(self.scene, look) if others_seen else gr.skip()
        return self.cards.all_strips(look, unfolded), others

    def made(self, make: Callable[[int, Look], Look], seed: int | None, look: Look, *rest: Any) -> list[Any]:
        with errors_shown():
            return self.show(make(int(seed or 0) % SEEDS, look), *rest)
        return unchanged(len(self.shown))

    def next_made(self, make: Callable[[int, Look], Look], seed: int | None, *rest: Any) -> list[Any]:
        return self.made(make, int(seed or 0) + 1, *rest)

    def truncated(self, factor: float | None, look: Look, *rest: Any) -> list[Any]:
        factor = look.truncation if factor is None else min(max(float(factor), 0.0), MOST_TRUNCATION)
        return self.show(look.truncate(factor), *rest)[:3]

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
