"""Runs side by side: the same seed, training image or photograph in each."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import gradio as gr

from wherewhat.app import html, panel
from wherewhat.app.events import IMMEDIATE, QUEUED, SILENT, errors_shown, unchanged
from wherewhat.app.photographs import open_upload, photo_box
from wherewhat.app.scene import Look, Scene, png
from wherewhat.errors import UserError

NO_IMAGES = (
    "the data of none of these runs are there, and no images come with them: compare samples, or drop a photograph"
)


class Column:
    """One run: its picture, one control that can be chosen and moved, thumbnails of its active controls."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        control = next(iter(scene.controls))
        reach, label = scene.reach(control), f"in {scene.title}"
        with gr.Column(min_width=280):
            gr.HTML(html.head(scene, 2))
            self.look, self.picture = gr.State(), gr.HTML(elem_classes="stage beside")
            self.chosen = gr.Dropdown(
                choices=panel.choices(scene), value=control, label=f"control {label}", show_label=False, container=False
            )
            self.value = gr.Slider(
                -reach, reach, 0, step=0.01, label=f"value {label}", show_label=False, container=False, buttons=[]
            )
            self.sheet = gr.HTML()
        inputs = [self.value, self.chosen, self.look]
        self.value.input(self.moved, inputs, [self.look, self.picture], **IMMEDIATE)
        self.value.release(partial(html.sheet, scene), self.look, self.sheet, **QUEUED)
        self.chosen.input(self.another_chosen, [self.chosen, self.look], self.value, **IMMEDIATE)
        self.shown = [self.look, self.picture, self.sheet, self.value]

    def show(self, look: Look, control: int) -> list[Any]:
        """The values of self.shown."""
        stage, sheet = html.stage(self.scene, look, "picture", control), html.sheet(self.scene, look)
        return [look, stage, sheet, round(self.scene.codes(look)[control], 2)]

    def moved(self, value: float, control: int, look: Look) -> tuple[Look, str]:
        look = look.move(control, float(value or 0))
        return look, html.stage(self.scene, look, "picture", control)

    def another_chosen(self, control: int, look: Look) -> Any:
        reach = self.scene.reach(control)
        return gr.update(minimum=-reach, maximum=reach, value=round(self.scene.codes(look)[control], 2))


class Comparison:
    """All columns, and what changes them together; empty until it is opened."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        gr.HTML('<div class="head"><h1>Side by side</h1></div>')
        with gr.Row(elem_classes="bar"):
            new = gr.Button("Same sample", variant="primary")
            real = gr.Button("Same real image")
            seed = panel.seed_box()
        drop = photo_box()
        with gr.Row():
            self.columns = [Column(scene) for scene in scenes]
        self.chosen = [column.chosen for column in self.columns]
        self.shown = [part for column in self.columns for part in column.shown]
        new.click(partial(self.next_shown, self.samples), [seed, *self.chosen], [*self.shown, seed], **QUEUED)
        real.click(partial(self.next_shown, self.real_images), [seed, *self.chosen], [*self.shown, seed], **QUEUED)
        drop.upload(self.dropped, [drop, *self.chosen], [*self.shown, drop], **QUEUED)

    def open_with(self, event: Callable[..., Any], is_open: Any) -> None:
        """Fill the columns with an event that opens them: once, if is_open says whether it was."""
        event(self.opened_once, [is_open, *self.chosen], [is_open, *self.shown], **SILENT)

    def samples(self, seed: int) -> list[Look]:
        return [column.scene.sample(seed) for column in self.columns]

    def real_images(self, seed: int) -> list[Look]:
        """The same real image for all: that of the first run which has some.  UserError if none has."""
        scenes = [column.scene for column in self.columns]
        for scene in scenes:
            with suppress(UserError):
                look = scene.real_image(seed)
                return [other.photograph(png(scene.original(look)), look.origin, steps=0) for other in scenes]
        raise UserError(NO_IMAGES)

    def show(self, looks: Sequence[Look], *chosen: int) -> list[Any]:
        """A picture in each column; chosen: the control that is chosen there."""
        columns = zip(self.columns, looks, chosen, strict=True)
        return [part for column, look, control in columns for part in column.show(look, control)]

    def opened_once(self, is_open: bool, *chosen: int) -> list[Any]:
        """The same real image in each column, or the same sample where there is none."""
        if is_open:
            return unchanged(len(self.shown) + 1)
        try:
            looks = self.real_images(0)
        except UserError:
            looks = self.samples(0)
        return [True, *self.show(looks, *chosen)]

    def next_shown(self, make: Callable[[int], list[Look]], seed: int | None, *chosen: int) -> list[Any]:
        number = int(seed or 0) + 1
        with errors_shown():
            return [*self.show(make(number), *chosen), number]
        return unchanged(len(self.shown) + 1)

    def dropped(self, path: str | None, *chosen: int) -> list[Any]:
        with errors_shown():
            if path:
                return [*self.show([open_upload(c.scene, path, None) for c in self.columns], *chosen), None]
        return [*unchanged(len(self.shown)), None]
