"""Gradio's page, whose events answer malformed requests with a message."""

from typing import Any

import gradio as gr

from wherewhat.app.guard import tell
from wherewhat.machine import give_back_memory

FAILED = "This could not be done. If the page was left for long, load it anew: the picture is in its address."
"""of a visitor whom the server has forgotten, it knows no picture"""
TRIM_EVERY = 10
"""events after which freed memory is given back, which takes some milliseconds"""


class Page(gr.Blocks):
    """Events that fail show a message, and leave a line on standard error in place of a traceback."""

    events_seen = 0

    async def process_api(self, block_fn: Any, inputs: list[Any], *rest: Any, **more: Any) -> dict[str, Any]:
        """As Gradio does it.  A file that was not uploaded, but is at another server, is not fetched."""
        if any(isinstance(value, dict) and "://" in str(value.get("path")) for value in inputs):
            raise gr.Error("Only files that were dropped on this page", print_exception=False)
        self.events_seen += 1
        if self.events_seen % TRIM_EVERY == 0:
            give_back_memory()
        try:
            return await super().process_api(block_fn, inputs, *rest, **more)
        except gr.Error as error:  # what Gradio says of values that it does not take
            error.print_exception = False
            raise
        except Exception as error:
            tell(error)
            raise gr.Error(FAILED, print_exception=False) from None
