"""What the page of one run and the side-by-side page share."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wherewhat.app.scene import Look, Scene
from wherewhat.errors import UserError

IMMEDIATE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last"}
"""how events are handled while a user drags or clicks"""
QUEUED: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}  # events that take longer


def seed_box() -> Any:
    """The number of the sample or image that is shown."""
    return gr.Number(0, precision=0, minimum=0, label="seed", container=False, min_width=60, elem_classes="seed")


def photo_box() -> Any:
    """Where a photograph is dropped."""
    return gr.File(label="Drop a photograph, or click to choose one", height=46, elem_classes="drop")


def choices(scene: Scene) -> list[tuple[str, int]]:
    """The controls by name, active ones first."""
    names = scene.names
    return [(f"z{k} {names[k]}", k) for k in [*scene.in_use, *scene.not_in_use]]


def open_upload(scene: Scene, path: str, before: Look | None) -> Look:
    """The photograph that was dropped.  Raises UserError if it is not a picture."""
    return scene.photograph(Path(path).read_bytes(), Path(path).name, before)


def unchanged(count: int) -> list[Any]:
    """Outputs that leave the page as it is."""
    return [gr.skip()] * count


@contextmanager
def errors_shown() -> Iterator[None]:
    """A UserError becomes a message on the page."""
    try:
        yield
    except UserError as error:
        gr.Warning(escape(str(error)))
