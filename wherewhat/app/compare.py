"""Runs side by side: the same seed, training image or photograph in each."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from wherewhat.app import html, panel
from wherewhat.app.events import IMMEDIATE, QUEUED, errors_shown, unchanged
from wherewhat.app.photographs import open_upload, photo_box
from wherewhat.app.scene import Look, Scene


class Column:
    """One run: its picture, one control that can be chosen and moved, thumbnails of its active controls."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        look, control = scene.first(), next(iter(scene.controls))
        reach, value = scene.reach(control), round(scene.codes(look)[control], 2)
        with gr.Column(min_width=280):
            gr.HTML(html.head(scene))
            self.look, self.picture = gr.State(look), gr.HTML(elem_classes="stage beside")
            self.chosen = gr.Dropdown(choices=panel.choices(scene), value=control, show_label=False, container=False)
            self.value = gr.Slider(-reach, reach, value, step=0.01, show_label=False, container=False, buttons=[])
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
    """All columns, and what changes them together."""

    def __init__(self, page: gr.Blocks, scenes: Sequence[Scene]) -> None:
        with gr.Row(elem_classes="bar"):
            new = gr.Button("Same sample", variant="primary")
            real = gr.Button("Same real image")
            seed = panel.seed_box()
        drop = photo_box()
        with gr.Row():
            self.columns = [Column(scene) for scene in scenes]
        chosen = [column.chosen for column in self.columns]
        shown = [part for column in self.columns for part in column.shown]
        page.load(partial(self.show, Scene.first), chosen, shown, show_progress="hidden")
        new.click(partial(self.next_made, Scene.sample), [seed, *chosen], [*shown, seed], **QUEUED)
        real.click(partial(self.next_made, Scene.training_image), [seed, *chosen], [*shown, seed], **QUEUED)
        drop.upload(self.dropped, [drop, *chosen], [*shown, drop], **QUEUED)
        self.count = len(shown)

    def show(self, make: Callable[[Scene], Look], *chosen: int) -> list[Any]:
        """A picture in each column; chosen: the control that is chosen there."""
        looks = [make(column.scene) for column in self.columns]
        columns = zip(self.columns, looks, chosen, strict=True)
        return [part for column, look, control in columns for part in column.show(look, control)]

    def next_made(self, make: Callable[[Scene, int], Look], seed: int | None, *chosen: int) -> list[Any]:
        number = int(seed or 0) + 1
        with errors_shown():
            return [*self.show(lambda scene: make(scene, number), *chosen), number]
        return unchanged(self.count + 1)

    def dropped(self, path: str | None, *chosen: int) -> list[Any]:
        with errors_shown():
            if path:
                return [*self.show(lambda scene: open_upload(scene, path, None), *chosen), None]
        return [*unchanged(self.count), None]
