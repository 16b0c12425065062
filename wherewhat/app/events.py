"""How events of the page are handled, errors shown, and scripts found."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wherewhat.errors import UserError

# Progress is shown on no component: Gradio would tell each output of an event, in every tab, that it begins and ends
SILENT: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": []}
QUEUED: dict[str, Any] = SILENT | {"trigger_mode": "always_last"}  # how slow events are handled
IMMEDIATE: dict[str, Any] = QUEUED | {"queue": False}  # while a user drags or clicks
# JavaScript that saves a file, if there is one (the browser does it: no file is left on the server)
SAVE_FILE = (
    "file => { if (!file) return; const a = document.createElement('a'); a.href = file.uri; a.download = file.name; "
    "a.click(); }"
)


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


def script(name: str) -> str:
    """A script of this folder."""
    return (Path(__file__).parent / name).read_text("utf-8")
