"""A film through pictures of the page: kept one by one, shown and downloaded as an endless loop."""

from typing import TYPE_CHECKING, Any

import gradio as gr

from wherewhat.app import html
from wherewhat.app.events import QUEUED, SAVE_FILE, errors_shown
from wherewhat.app.files import DOWNLOADS, file_name
from wherewhat.app.scene import Look
from wherewhat.errors import UserError

if TYPE_CHECKING:
    from wherewhat.app.panel import Panel

HELP = (
    "Keep the picture on the left, change it, keep it again: the film goes from one to the next and back to the first. "
    "Turns go the shorter way round."
)
MOST_KEPT = 24
MOST_SECONDS = 5.0  # from one picture to the next


class Film:
    """The tab of the film."""

    def __init__(self, panel: "Panel") -> None:
        self.panel, self.scene = panel, panel.scene
        self.kept = gr.State(())

    def add_tab(self) -> None:
        gr.HTML(html.hint(HELP))
        with gr.Row(elem_classes="bar"):
            self.keep = gr.Button("Keep this picture", variant="primary")
            self.drop = gr.Button("Drop the last")
        self.pictures = gr.HTML(elem_classes="sheet")
        self.seconds = gr.Slider(
            0.5, MOST_SECONDS, 2, step=0.5, label="Seconds from one picture to the next", buttons=[]
        )
        with gr.Row(elem_classes="bar"):
            self.play = gr.Button("Play")
            self.saves = {kind: gr.Button(f"↓ {DOWNLOADS[kind][0]} of the film") for kind in (".gif", ".mp4")}
        self.shown = gr.HTML(elem_classes="sheet")

    def connect(self) -> None:
        """Once all parts of the panel exist: what its events do."""
        outputs = [self.kept, self.pictures]
        self.keep.click(self.kept_too, [self.kept, self.panel.look], outputs, **QUEUED)
        self.drop.click(lambda kept: self.all_kept(kept[:-1]), self.kept, outputs, **QUEUED)
        self.play.click(self.played, [self.kept, self.seconds], self.shown, **QUEUED)
        for kind, button in self.saves.items():
            file = gr.JSON(visible=False)
            event = button.click(self.saving(kind), [self.kept, self.seconds], file, **QUEUED)
            event.then(None, file, None, js=SAVE_FILE)

    def kept_too(self, kept: tuple[Look, ...], look: Look) -> tuple[Any, ...]:
        with errors_shown():
            if len(kept) == MOST_KEPT:
                raise UserError(f"A film has {MOST_KEPT} pictures at most")
            kept = (*kept, look)
        return self.all_kept(kept)

    def all_kept(self, kept: tuple[Look, ...]) -> tuple[Any, ...]:
        """The values of kept and pictures."""
        shown = (html.img(self.scene.picture(look), f"Picture {number}") for number, look in enumerate(kept, 1))
        return kept, f'<div class="kept">{"".join(shown)}</div>'

    def played(self, kept: tuple[Look, ...], seconds: float) -> Any:
        with errors_shown():
            content = self.scene.film_through(kept, seconds, ".gif")
            return f'<img class="film" alt="The film" src="{html.data_uri(content, "image/gif")}">'
        return gr.skip()

    def saving(self, kind: str) -> Any:
        """What saves the film as this kind of file."""

        def save(kept: tuple[Look, ...], seconds: float) -> dict[str, str] | None:
            with errors_shown():
                content = self.scene.film_through(kept, seconds, kind)
                return {"name": file_name(self.scene, "film", kind), "uri": html.data_uri(content, DOWNLOADS[kind][1])}
            return None

        return save
