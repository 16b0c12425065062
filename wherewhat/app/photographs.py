"""Photographs on the page of one run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from wherewhat.app.events import QUEUED, errors_shown, unchanged
from wherewhat.app.scene import Look, Scene

if TYPE_CHECKING:
    from wherewhat.app.panel import Panel


def photo_box() -> Any:
    return gr.File(label="Drop a photograph, or click to choose one", height=46, elem_classes="drop")


def open_upload(scene: Scene, path: str, before: Look | None) -> Look:
    """The photograph that was dropped.  Raises UserError if it is not a picture."""
    return scene.photograph(Path(path).read_bytes(), Path(path).name, before)


class Photographs:
    """The box for a photograph below the large picture."""

    def __init__(self, panel: "Panel") -> None:
        self.panel, self.scene = panel, panel.scene

    def add_drop(self) -> None:
        self.drop = photo_box()

    def dropped_event(self) -> Any:
        """Once all parts of the panel exist: a dropped photograph becomes the picture."""
        p = self.panel
        return self.drop.upload(self.dropped, [self.drop, *p.state], [*p.shown, self.drop], **QUEUED)

    def dropped(self, path: str | None, look: Look, *rest: Any) -> list[Any]:
        with errors_shown():
            if path:
                return [*self.panel.show(open_upload(self.scene, path, look), *rest), None]
        return [*unchanged(len(self.panel.shown)), None]
