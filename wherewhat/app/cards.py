"""The sliders of one run: a card for each control, and what happens when it is used.

All cards are one component of HTML, however many there are: what a hand does to them is sent by cards.js, what the
server says comes back through values.js and pictures.js.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from wherewhat.app import html
from wherewhat.app.events import IMMEDIATE, QUEUED, errors_shown, script
from wherewhat.app.scene import Look, png

if TYPE_CHECKING:
    from wherewhat.app.panel import Panel

EACH: dict[str, Any] = IMMEDIATE | {"trigger_mode": "multiple"}  # events whose data must not be lost


class Cards:
    """The cards of all controls."""

    def __init__(self, panel: "Panel") -> None:
        self.panel, self.scene = panel, panel.scene
        with gr.Column(elem_classes="controls"):
            gr.HTML(html.terms(panel.number), apply_default_css=False)
            self.body = gr.HTML(elem_classes="cards", apply_default_css=False, js_on_load=None)
            self.moves = self._wire("cards.js")
            self.values = self._wire("values.js")
            self.strips, self.masks = self._wire("pictures.js"), self._wire("pictures.js")
        self.unfolded = gr.State(False)

    @staticmethod
    def _wire(name: str) -> Any:
        """An empty element whose value goes to or comes from a script of this folder."""
        return gr.HTML(None, html_template="", elem_classes="wire", js_on_load=script(name))

    def connect(self) -> None:
        """Once all parts of the panel exist: what its events do."""
        p, moves = self.panel, self.moves
        moves.input(self.moved, [moves, p.look, p.view], [p.look, p.picture, p.chosen], **IMMEDIATE)
        p.changed(moves.release(None, None, None))
        p.changed(moves.clear(self.restored, p.state, p.shown, **EACH))
        moves.click(self.mask_clicked, [p.look, p.view], [p.chosen, p.view, p.picture], **EACH)
        moves.select(self.locked, p.look, p.look, **EACH)
        moves.submit(self.named, p.look, [self.values, *p.lists], **EACH)
        unfolded = moves.expand(lambda: True, None, self.unfolded, **IMMEDIATE)
        p.redraw(unfolded)
        unfolded.then(partial(self.drawn_masks, self.scene.not_in_use), None, self.masks, **QUEUED)
        moves.collapse(lambda: False, None, self.unfolded, **IMMEDIATE)

    def all_values(self, look: Look) -> dict[str, Any]:
        """What values.js puts into the cards: values and names of all controls, which were moved, which are locked."""
        values, names = [round(value, 2) for value in self.scene.codes(look)], self.scene.run.names
        names_of_all = [names.get(k, "") for k in range(len(values))]
        return {"values": values, "moved": [*look.moved], "locked": [*look.locked], "names": names_of_all}

    def all_strips(self, look: Look, unfolded: bool) -> list[tuple[int, str, str]]:
        """What pictures.js puts into the cards that can be seen."""
        seen = [*self.scene.in_use, *(self.scene.not_in_use if unfolded else ())]
        return [(k, "strip", html.data_uri(png(self.scene.strip(look, k)))) for k in seen]

    def drawn_masks(self, controls: list[int]) -> list[tuple[int, str, str]]:
        """What pictures.js puts into the cards of these controls."""
        return [(k, "mask", html.data_uri(png(self.scene.mask(k)))) for k in controls]

    def moved(self, move: tuple[int, float], look: Look, view: str) -> tuple[Any, ...]:
        """A slider was moved: values are kept within its ends."""
        control, value = int(move[0]), float(move[1])
        reach = self.scene.reach(control)
        look = look.move(control, min(max(value, -reach), reach))
        return look, self.panel.stage(look, view, control), control

    def restored(self, look: Look, view: str, chosen: int, event: gr.EventData) -> list[Any]:
        """One control goes back to its value at the start."""
        return self.panel.show(look.restore(event.control), view, chosen)

    def mask_clicked(self, look: Look, view: str, event: gr.EventData) -> tuple[Any, ...]:
        """A mask was clicked: the large picture shows where the control acts."""
        view = "change" if view == "change" else "where"
        return event.control, view, self.panel.stage(look, view, event.control)

    def locked(self, look: Look, event: gr.EventData) -> Look:
        return look.lock(event.control, event.on)

    def named(self, look: Look, event: gr.EventData) -> list[Any]:
        with errors_shown():
            self.scene.run.rename(event.control, event.name)
        return [self.all_values(look), *self.panel.list_updates()]
