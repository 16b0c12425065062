"""The server of the web page: who may open it, what a browser may load.  Gradio is loaded with the first page."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wherewhat.app.access import LOOPBACK, Door, only_own_pages
from wherewhat.app.guard import bounded, only_used_routes, within_quota, without_tracebacks
from wherewhat.app.scene import Scene
from wherewhat.errors import UserError
from wherewhat.machine import share_freed_memory

MAX_UPLOAD = "20mb"
SESSIONS = 16
"""pages that are open at a time; of others, those used least recently, the server forgets what was moved (2 MB each)"""
THREADS = 8
"""events that are worked on at a time"""
HEADERS = {  # of every answer: the browser loads nothing from other servers, and no other page can frame this one
    "content-security-policy": (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; "
        "frame-ancestors 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff", "referrer-policy": "same-origin",
}  # fmt: skip


def serve(
    scenes: Sequence[Scene], uploads: Path, host: str = "127.0.0.1", port: int | None = None,
    password: str | None = None,
) -> Any:  # fmt: skip
    """Open the page and return at once: .local_url, .block_thread(), .close().  uploads: an empty folder for files that
    are dropped on the page, for an hour at most.  Raises UserError if Gradio is missing, if other machines could open
    the page without a password, or if the port is taken."""
    if host not in LOOPBACK and not password:
        raise UserError(
            f"--host {host} lets other machines open the page: give it a password, in WHEREWHAT_PASSWORD or with "
            "--password-file FILE"
        )
    if port is not None and not 0 < port < 2**16:
        raise UserError(f"--port {port}: ports go from 1 to 65535")
    share_freed_memory()
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(uploads)}
    page = build(scenes)

    try:
        page.launch(
            server_name=host, server_port=port, share=False, quiet=True,
            auth=Door(password) if password else None, prevent_thread_lock=True,
            auth_message="Any user name, and the password this page was started with.",
            max_file_size=MAX_UPLOAD, footer_links=[], run_history=False, ssr_mode=False, mcp_server=False,
            state_session_capacity=SESSIONS, max_threads=THREADS,
            theme=_theme(), css=_file("app.css"), js=_file("page.js"),
            app_kwargs={"middleware": _middleware(host, uploads)},
        )  # fmt: skip
    except OSError:
        raise UserError(f"port {port or '7860 to 7959'} of {host} cannot be used: choose another with --port") from None
    return page


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")


def _middleware(host: str, uploads: Path) -> list[Any]:
    """HEADERS with every answer; a page for this machine answers only requests that name it (DNS rebinding), and every
    page only those that its own pages send, in time and of a size that they have."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    names = [*LOOPBACK, "[::1]"] if host in LOOPBACK else ["*"]
    return [
        Middleware(_with_headers), Middleware(without_tracebacks),
        Middleware(TrustedHostMiddleware, allowed_hosts=names), Middleware(only_own_pages),
        Middleware(only_used_routes), Middleware(bounded), Middleware(within_quota, uploads=uploads),
    ]  # fmt: skip


def _with_headers(app: Any) -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_more(message: Any) -> None:
            if message["type"] == "http.response.start":
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await app(scope, receive, send_more)

    return answer


def _theme() -> Any:
    import gradio as gr

    sizes = {"primary_hue": "indigo", "neutral_hue": "slate", "radius_size": "md", "spacing_size": "sm"}
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    plain = gr.themes.Default(**sizes, font=fonts, font_mono=["ui-monospace", "Menlo", "monospace"])
    return plain.set(  # texts have a contrast of 4.5 or more
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300",
        input_placeholder_color="*neutral_600", input_placeholder_color_dark="*neutral_300",
        button_primary_background_fill="*primary_600", button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700", button_primary_background_fill_hover_dark="*primary_700",
        color_accent="*primary_600", link_text_color_dark="*primary_300",
    )  # fmt: skip


def build(scenes: Sequence[Scene]) -> Any:
    """The page: a tab for each run and one that compares them; no tabs for one run.  UserError without Gradio."""
    try:
        import gradio as gr
    except ImportError:
        raise UserError('the explorer needs Gradio: pip install "wherewhat[explore]"') from None
    from wherewhat.app.compare import Comparison
    from wherewhat.app.events import SILENT
    from wherewhat.app.page import Page
    from wherewhat.app.panel import Panel

    title = "wherewhat · " + " · ".join(scene.title for scene in scenes)
    with Page(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        if len(scenes) == 1:
            Panel(scenes[0]).open_with(page.load)
            return page
        with gr.Tabs() as tabs:
            for number, scene in enumerate(scenes, 1):
                with gr.Tab(scene.title, id=number) as tab:
                    Panel(scene, number).open_with(tab.select, gr.State(False))
            with gr.Tab("Side by side", id=0) as tab:
                Comparison(scenes).open_with(tab.select, gr.State(False))

        def selected(request: gr.Request) -> Any:
            """The tab that the address names, the first one if it names none."""
            number = request.query_params.get("run", "1")
            return gr.Tabs(selected=int(number) if number.isdecimal() and int(number) <= len(scenes) else 1)

        page.load(selected, None, tabs, **SILENT)
    return page
