"""Files of the picture on the page: what is saved, and codes that are loaded again."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from wherewhat.app import html
from wherewhat.app.events import QUEUED, SAVE_FILE, SILENT, errors_shown, unchanged
from wherewhat.app.scene import Look, Scene, png
from wherewhat.atomic import read_text

if TYPE_CHECKING:
    from wherewhat.app.panel import Panel

DOWNLOADS = {  # kind of file → label, media type
    ".png": ("PNG", "image/png"), ".large.png": ("Large PNG", "image/png"), ".gif": ("GIF", "image/gif"),
    ".mp4": ("MP4", "video/mp4"), ".json": ("Codes", "application/json"), ".py": ("Python", "text/x-python"),
}  # fmt: skip


class Files:
    """Buttons below the picture that save it and load codes."""

    def __init__(self, panel: "Panel") -> None:
        self.panel, self.scene = panel, panel.scene
        with gr.Row(elem_classes=["bar", "files"]):
            self.saves = {kind: gr.Button(f"↓ {label}", size="sm") for kind, (label, _) in DOWNLOADS.items()}
            self.load = gr.UploadButton("↑ Codes", size="sm", file_types=[".json"])

    def connect(self) -> None:
        """Once all parts of the panel exist: what its events do."""
        p = self.panel
        for kind, button in self.saves.items():
            file = gr.JSON(visible=False)
            event = button.click(partial(download, self.scene, kind), p.state, file, **SILENT)
            event.then(None, file, None, js=SAVE_FILE)
        p.changed(self.load.upload(self.loaded, [self.load, *p.state], [*p.shown, self.load], **QUEUED))

    def loaded(self, path: str | None, look: Look, *rest: Any) -> list[Any]:
        """Codes that were saved become the picture; locks stay."""
        with errors_shown():
            if path:
                found = self.scene.from_json(read_text(Path(path)), Path(path).name)
                return [*self.panel.show(found.with_locks_of(look), *rest), None]
        return [*unchanged(len(self.panel.shown)), None]


def download(scene: Scene, kind: str, look: Look, view: str, control: int) -> dict[str, str]:
    """The name of a file and its content as a link."""
    make: dict[str, Callable[[], bytes]] = {
        ".png": lambda: png(scene.picture(look, view, control)),
        ".large.png": lambda: png(scene.large(look, view, control)),
        ".json": lambda: scene.codes_json(look).encode(),
        ".py": lambda: scene.python_code(look).encode(),
    }
    content = make[kind]() if kind in make else scene.film(look, control, kind)
    subject = scene.names[control] if kind in (".gif", ".mp4") else ""
    return {"name": file_name(scene, subject, kind), "uri": html.data_uri(content, DOWNLOADS[kind][1])}


def file_name(scene: Scene, subject: str, kind: str) -> str:
    """The name of a file of this kind: what it shows, of which run."""
    words = f"{scene.title.rsplit('/')[-1]} {subject}"
    return re.sub(r"\W+", "-", words).strip("-") + kind
