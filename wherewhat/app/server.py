"""The web explorer: a page of sliders on Scenes.  Gradio is only here; what the page shows is made in scene.py."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hmac import compare_digest
from html import escape
from pathlib import Path
from typing import Any

from wherewhat.app import scene as scenes
from wherewhat.app.scene import Look, Scene, Tile, png, uri
from wherewhat.errors import UserError

LARGEST = "20mb"
"""of an upload"""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
GUARD = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; "
    "frame-ancestors 'none'; form-action 'self'"
)
"""what a browser may load for the page: nothing from anywhere else"""
SAVE = "file => { const a = document.createElement('a'); a.href = file.uri; a.download = file.name; a.click(); }"
"""the browser's own saving: no file is left on the server"""
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last"}
"""how events run that a hand waits for"""
SLOW: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
TAKING = (
    "Give the picture on the left what another one has: drop that one here, or keep the present one and draw the next; "
    "then tick what to take."
)
VIEWS = [("Picture", "picture"), ("Where", "where"), ("Change", "change"), ("Start", "start")]
KINDS = {
    ".png": ("PNG", "image/png"),
    ".gif": ("GIF", "image/gif"),
    ".mp4": ("MP4", "video/mp4"),
    ".json": ("Codes", "application/json"),
    ".py": ("Python", "text/x-python"),
}
"""what can be taken away: the name of its button, its media type"""
POINTED = "element.addEventListener('click', e => trigger('click', {at: e.offsetX / element.offsetWidth}))"
"""a click tells where: 0 left … 1 right"""


def serve(
    shown: Sequence[Scene], uploads: Path, host: str = "127.0.0.1", port: int | None = None,
    password: str | None = None,
) -> Any:  # fmt: skip
    """Opens the page and returns at once: .local_url, .block_thread(), .close().

    uploads: an empty folder, where Gradio puts what is dropped on the page, for an hour at most.  Raises UserError if
    Gradio is not installed, if others could open the page without a password, or if the port is taken.
    """
    if host not in LOOPBACK and not password:
        raise UserError(f"--host {host} lets other machines open the page: give it a --password too")
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(uploads)}
    page = build(shown)
    try:
        page.launch(
            server_name=host, server_port=port, auth=_gate(password) if password else None, share=False, quiet=True,
            auth_message="Any user name, and the password this page was started with.", prevent_thread_lock=True,
            max_file_size=LARGEST, footer_links=[], run_history=False, ssr_mode=False, mcp_server=False,
            theme=_theme(), css=(Path(__file__).parent / "app.css").read_text("utf-8"),
            app_kwargs={"middleware": _guards(host)},
        )  # fmt: skip
    except OSError:
        raise UserError(f"port {port or '7860 to 7959'} of {host} cannot be used: choose another with --port") from None
    return page


def _gate(password: str) -> Callable[[str, str], bool]:
    return lambda _user, given: compare_digest(given.encode(), password.encode())


def _guards(host: str) -> list[Any]:
    """Headers that keep the browser at home; on this machine, only requests that name it (against DNS rebinding)."""
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    names = [*LOOPBACK, "[::1]"] if host in LOOPBACK else ["*"]
    return [Middleware(TrustedHostMiddleware, allowed_hosts=names), Middleware(_Headers)]


class _Headers:
    """Adds headers to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                more = {
                    "content-security-policy": GUARD,
                    "x-content-type-options": "nosniff",
                    "referrer-policy": "same-origin",
                }
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            await send(message)

        await self.app(scope, receive, sent)


def _theme() -> Any:
    import gradio as gr

    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Default(
        primary_hue="indigo", neutral_hue="slate", radius_size="md", spacing_size="sm", font=fonts,
        font_mono=["ui-monospace", "Menlo", "monospace"],
    )  # fmt: skip


def build(shown: Sequence[Scene]) -> Any:
    """The page, not yet open."""
    try:
        import gradio as gr
    except ImportError:
        raise UserError('the explorer needs Gradio: pip install "wherewhat[explore]"') from None

    title = "wherewhat · " + " · ".join(s.title for s in shown)
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600)) as page:
        if len(shown) == 1:
            panel(page, shown[0])
        else:
            with gr.Tabs():
                for one in shown:
                    with gr.Tab(one.title):
                        panel(page, one)
                with gr.Tab("Side by side"):
                    beside(page, shown)
    return page


# -------------------------------------------------------------------------------------------------------- one run


def panel(page: Any, s: Scene) -> None:
    """Everything for one run: the picture on the left, sliders, grid and mixing on the right."""
    import gradio as gr

    active = [d.index for d in s.controls if d.active] or [d.index for d in s.controls]
    idle = [d.index for d in s.controls if d.index not in active]
    order = active + idle
    first = s.first()
    look, chosen, unfolded = gr.State(first), gr.State(active[0]), gr.State(False)
    gr.HTML(_head(s))
    with gr.Row(elem_classes="both"):
        with gr.Column(scale=2, min_width=280, elem_classes="left"):
            picture = gr.HTML(elem_classes="stage")
            view = gr.Radio(VIEWS, value="picture", show_label=False, container=False, elem_classes="views")
            with gr.Row(elem_classes="bar"):
                new = gr.Button("New sample", variant="primary")
                real = gr.Button("Real image")
                reset = gr.Button("Reset")
                seed = _seed(gr)
            drop = gr.File(label="Drop a photograph, or click to choose one", height=46, elem_classes="drop")
            truncation = gr.Slider(0, 1.5, 1, step=0.05, label="Truncation", elem_classes="truncation")
            with gr.Row(elem_classes="bar"):
                saves = {kind: gr.Button(f"↓ {words}", size="sm") for kind, (words, _) in KINDS.items()}
        with gr.Column(scale=3, min_width=280), gr.Tabs():
            with gr.Tab("Sliders"):
                cards = {k: _card(s, k) for k in active}
                if idle:
                    with gr.Accordion(f"{len(idle)} that change little", open=False) as more:
                        cards |= {k: _card(s, k) for k in idle}
                    more.expand(lambda: True, None, unfolded, **QUICK).then(
                        partial(_strips, s, idle), look, [cards[k]["strip"] for k in idle], **SLOW
                    )
                    more.collapse(lambda: False, None, unfolded, **QUICK)
            with gr.Tab("Grid"):
                with gr.Row():
                    across = gr.Dropdown(label="across", value=active[0], choices=_choices(s, order), min_width=120)
                    down = gr.Dropdown(label="down", value=active[-1], choices=_choices(s, order), min_width=120)
                with gr.Row(elem_classes="bar"):
                    steps = gr.Radio([3, 5, 7, 9], value=5, show_label=False, container=False, elem_classes="views")
                    draw = gr.Button("Draw", variant="primary")
                grid = gr.HTML(elem_classes="sheet")
            with gr.Tab("From another picture"):
                gr.Markdown(TAKING)
                with gr.Row(elem_classes=["bar", "pair"]):
                    giver_drop = gr.File(
                        label="Drop a photograph, or click to choose one", height=46, elem_classes="drop"
                    )
                    giver_keep = gr.Button("Take from the present picture")
                giver = gr.State()
                giver_picture = gr.HTML(elem_classes="sheet")
                ticks = gr.CheckboxGroup(choices=_choices(s, order), label="Take", value=[])

    values = [cards[k]["slider"] for k in order]
    whole = [look, picture, truncation, ticks, *values]

    def shown(now: Look, view: str, latent: int) -> list[Any]:
        codes = s.codes(now)
        return [
            now,
            _stage(s, now, view, latent),
            now.truncation,
            sorted(now.taken),
            *(round(codes[k], 2) for k in order),
        ]

    def fresh(event: Any) -> None:
        """After a change of everything: thumbnails, of idle sliders only when they can be seen."""
        event.then(partial(_strips, s, active), look, [cards[k]["strip"] for k in active], **SLOW)
        if idle:
            event.then(
                lambda now, seen: _strips(s, idle, now) if seen else [gr.skip()] * len(idle),
                [look, unfolded], [cards[k]["strip"] for k in idle], **SLOW
            )  # fmt: skip

    def drawn(make: Callable[[int, Look], Look], seed: int | None, now: Look, view: str, latent: int) -> list[Any]:
        with _errors_shown(gr):
            return [*shown(make(int(seed or 0), now), view, latent), int(seed or 0)]
        return [gr.skip()] * (len(whole) + 1)

    def next_drawn(make: Callable[[int, Look], Look], seed: int | None, *now: Any) -> list[Any]:
        return drawn(make, int(seed or 0) + 1, *now)

    def dropped(path: str | None, now: Look, view: str, latent: int) -> list[Any]:
        with _errors_shown(gr):
            if path:
                return [*shown(_opened(s, path, now), view, latent), None]
        return [*[gr.skip()] * len(whole), None]

    def opened() -> list[Any]:
        known = s.run.names
        choices = _choices(s, order)
        return [*shown(first, "picture", active[0]), *(known.get(k, "") for k in order),
                *[gr.update(choices=choices)] * 3]  # fmt: skip

    seen = [look, view, chosen]
    fields = [cards[k]["name"] for k in order]
    fresh(page.load(opened, None, [*whole, *fields, across, down, ticks], show_progress="hidden"))
    fresh(new.click(partial(next_drawn, s.sample), [seed, *seen], [*whole, seed], **SLOW))
    fresh(real.click(partial(next_drawn, s.real), [seed, *seen], [*whole, seed], **SLOW))
    fresh(seed.submit(partial(drawn, s.sample), [seed, *seen], [*whole, seed], **SLOW))
    fresh(reset.click(lambda now, *rest: shown(now.reset(), *rest), seen, whole, **SLOW))
    fresh(drop.upload(dropped, [drop, *seen], [*whole, drop], **SLOW))
    view.input(partial(_stage, s), seen, picture, **QUICK)
    fresh_values = [look, picture, *values]

    def truncated(value: float, now: Look, view: str, latent: int) -> list[Any]:
        made = shown(now.truncate(float(value or 0)), view, latent)
        return [*made[:2], *made[4:]]

    truncation.input(truncated, [truncation, *seen], fresh_values, **QUICK)
    fresh(truncation.release(None, None, None))

    def wire(k: int, card: dict[str, Any]) -> None:
        def moved(value: float, now: Look, view: str) -> tuple[Any, ...]:
            now = now.move(k, float(value or 0))
            return now, _stage(s, now, view, k), k

        def picked(now: Look, view: str, event: gr.EventData) -> tuple[Any, ...]:
            thumb = min(int(event.at * scenes.THUMBS), scenes.THUMBS - 1)
            value = s.reach(k) * (2 * thumb / (scenes.THUMBS - 1) - 1)
            return *moved(value, now, view), value

        def pointed(now: Look, view: str) -> tuple[Any, ...]:
            view = view if view in ("where", "change") else "where"
            return k, view, _stage(s, now, view, k)

        def named(name: str) -> list[Any]:
            with _errors_shown(gr):
                s.run.rename(k, name)
            return [s.run.names.get(k, ""), *[gr.update(choices=_choices(s, order))] * 3]

        slider = card["slider"]
        slider.input(moved, [slider, look, view], [look, picture, chosen], **QUICK)
        fresh(slider.release(None, None, None))
        fresh(card["strip"].click(picked, [look, view], [look, picture, chosen, slider], **QUICK))
        card["mask"].click(pointed, [look, view], [chosen, view, picture], **QUICK)
        card["lock"].input(lambda on, now: now.lock(k, on), [card["lock"], look], look, **QUICK)
        gr.on([card["name"].submit, card["name"].blur], named, card["name"],
              [card["name"], across, down, ticks], show_progress="hidden")  # fmt: skip

    for k in order:
        wire(k, cards[k])

    def gridded(now: Look, across: int, down: int, steps: int) -> str:
        return _img(s.grid(now, across, down, int(steps)), "Grid of two sliders")

    draw.click(gridded, [look, across, down, steps], grid, **SLOW)

    def given(now: Look) -> tuple[Look, str]:
        return now, f"Taking from {escape(now.origin)}{_img(s.picture(now), 'The picture taken from', 'giver')}"

    def given_photo(path: str | None) -> tuple[Any, ...]:
        with _errors_shown(gr):
            if path:
                return (*given(_opened(s, path, None)), None)
        return gr.skip(), gr.skip(), None

    def took(ticked: list[int], now: Look, other: Look | None, view: str, latent: int) -> list[Any]:
        if other is None:
            gr.Warning("First say from which picture: drop one, or keep the present one.")
            return shown(now, view, latent)
        return shown(now.take(s.codes(other), ticked), view, latent)

    giver_drop.upload(given_photo, giver_drop, [giver, giver_picture, giver_drop], **SLOW)
    giver_keep.click(given, look, [giver, giver_picture], **SLOW)
    fresh(ticks.input(took, [ticks, look, giver, view, chosen], whole, **SLOW))

    for kind, button in saves.items():
        file = gr.JSON(visible=False)
        button.click(partial(_file, s, kind), [look, view, chosen], file, show_progress="hidden").then(
            None, file, None, js=SAVE
        )


def _card(s: Scene, k: int) -> dict[str, Any]:
    """One slider: where it acts, what it is called, its thumbnails."""
    import gradio as gr

    d = s.find(k)
    reach = s.reach(k)
    match = f" · {d.factor} {d.share:.0%}" if d.factor and d.share is not None else ""
    about = f"z{k} · TPL {d.tpl:.2f} · {d.place}, {d.area:.0%} of the image{match}{' · an angle' * d.is_angle}"
    parts: dict[str, Any] = {}
    with gr.Column(elem_classes="card", elem_id=f"card-{k}"):
        with gr.Row(elem_classes="top"):
            parts["mask"] = gr.HTML(_img(s.mask(k), f"mask of z{k}"), elem_classes="mask")
            with gr.Column(elem_classes="words"):
                parts["name"] = gr.Textbox(
                    placeholder=s.suggested[k], show_label=False, container=False, max_lines=1, max_length=60,
                    elem_classes="name", html_attributes=gr.InputHTMLAttributes(spellcheck=False),
                )  # fmt: skip
                gr.HTML(f'<div class="about">{escape(about)}</div>')
            parts["lock"] = gr.Checkbox(label="lock", container=False, elem_classes="lock", min_width=62)
        parts["strip"] = gr.HTML(elem_classes="strip", js_on_load=POINTED)
        parts["slider"] = gr.Slider(
            -reach, reach, 0, step=0.01, show_label=False, container=False, buttons=[], elem_classes="slider"
        )
    return parts


# --------------------------------------------------------------------------------------------------- side by side


def beside(page: Any, shown: Sequence[Scene]) -> None:
    """The same seed, training image or photograph in every run: picture, one slider, thumbnails of the active ones."""
    import gradio as gr

    with gr.Row(elem_classes="bar"):
        new = gr.Button("Same sample", variant="primary")
        real = gr.Button("Same real image")
        seed = _seed(gr)
    drop = gr.File(label="Drop a photograph, or click to choose one", height=46, elem_classes="drop")
    looks: list[Any] = []
    pictures: list[Any] = []
    sheets: list[Any] = []
    sliders: list[Any] = []
    with gr.Row():
        for s in shown:
            order = [d.index for d in s.controls]
            first = s.first()
            with gr.Column(min_width=280):
                gr.HTML(_head(s))
                look, picture = gr.State(first), gr.HTML(elem_classes="stage beside")
                which = gr.Dropdown(choices=_choices(s, order), value=order[0], show_label=False, container=False)
                slider = gr.Slider(-s.reach(order[0]), s.reach(order[0]), round(s.codes(first)[order[0]], 2), step=0.01,
                                   show_label=False, container=False, buttons=[])  # fmt: skip
                sheet = gr.HTML()

            def moved(s: Scene, value: float, k: int, now: Look) -> tuple[Look, str]:
                now = now.move(k, float(value or 0))
                return now, _stage(s, now, "picture", k)

            def turned(s: Scene, k: int, now: Look) -> Any:
                return gr.update(minimum=-s.reach(k), maximum=s.reach(k), value=round(s.codes(now)[k], 2))

            slider.input(partial(moved, s), [slider, which, look], [look, picture], **QUICK)
            slider.release(partial(_sheet, s), look, sheet, **SLOW)
            which.input(partial(turned, s), [which, look], slider, **QUICK)
            for group, part in zip(
                (looks, pictures, sheets, sliders), (look, picture, sheet, [which, slider]), strict=True
            ):
                group.append(part)

    def all_shown(made: Sequence[Look], chosen: Sequence[int]) -> list[Any]:
        parts = [(now, _stage(s, now, "picture", k), _sheet(s, now), round(s.codes(now)[k], 2))
                 for s, now, k in zip(shown, made, chosen, strict=True)]  # fmt: skip
        return [part for column in zip(*parts, strict=True) for part in column]

    outputs = [*looks, *pictures, *sheets, *(slider for _, slider in sliders)]
    chosen = [which for which, _ in sliders]

    def sampled(how: str, seed: int | None, *chosen: int) -> list[Any]:
        number = int(seed or 0) + 1
        with _errors_shown(gr):
            return [*all_shown([getattr(s, how)(number) for s in shown], chosen), number]
        return [gr.skip()] * (len(outputs) + 1)

    def dropped(path: str | None, *chosen: int) -> list[Any]:
        with _errors_shown(gr):
            if path:
                return [*all_shown([_opened(s, path, None) for s in shown], chosen), None]
        return [*[gr.skip()] * len(outputs), None]

    page.load(lambda *chosen: all_shown([s.first() for s in shown], chosen), chosen, outputs, show_progress="hidden")
    new.click(partial(sampled, "sample"), [seed, *chosen], [*outputs, seed], **SLOW)
    real.click(partial(sampled, "real"), [seed, *chosen], [*outputs, seed], **SLOW)
    drop.upload(dropped, [drop, *chosen], [*outputs, drop], **SLOW)


def _sheet(s: Scene, now: Look) -> str:
    """Every active slider: its name, its mask, its thumbnails."""
    active = [d.index for d in s.controls if d.active] or [d.index for d in s.controls]
    cells = [
        (escape(s.names[k]), _img(s.mask(k), "mask", "mask"), _img(strip, "thumbnails"))
        for k, strip in zip(active, s.strips(now, active), strict=True)
    ]
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    return f'<table class="rows">{rows}</table>'


# --------------------------------------------------------------------------------------------------------- pieces


def _seed(gr: Any) -> Any:
    return gr.Number(0, precision=0, minimum=0, label="seed", container=False, min_width=60, elem_classes="seed")


@contextmanager
def _errors_shown(gr: Any) -> Iterator[None]:
    """What a user can mend is a message on the page."""
    try:
        yield
    except UserError as error:
        gr.Warning(escape(str(error)))


def _opened(s: Scene, path: str, before: Look | None) -> Look:
    """The photograph that was dropped.  Raises UserError if it is none."""
    return s.photograph(Path(path).read_bytes(), Path(path).name, before)


def _img(picture: Tile | Any, words: str, kind: str = "") -> str:
    return f'<img alt="{escape(words)}" class="{kind}" decoding="sync" src="{uri(png(picture))}">'


def _stage(s: Scene, now: Look, view: str, latent: int) -> str:
    """The large picture and what it is, in words."""
    d, name = s.find(latent), f"<b>z{latent} {escape(s.names[latent])}</b>"
    words = {
        "picture": f"{escape(now.origin)} · {len(now.moved)} slider{'s' * (len(now.moved) != 1)} set",
        "where": f"{name}: outlined where its mask is above half its peak (mean peak {d.peak:.2f})",
        "change": f"{name}: what changes from −2 to +2: grey nothing, purple little, pale yellow all",
        "start": f"{escape(now.origin)}, before anything was changed",
    }[view]
    kind = "drawn" if view in ("where", "change") else ""
    pictures = _img(s.picture(now, view, latent), "The picture", kind)
    if view == "start" and now.photo is not None:
        pictures = _img(s.original(now), "What was read") + pictures
        words = f"{escape(now.origin)}: as it is, and as the model sees it"
    return f'<figure><div class="frame">{pictures}</div><figcaption>{words}</figcaption></figure>'


def _strips(s: Scene, latents: Sequence[int], now: Look) -> list[str]:
    made = [_img(strip, "thumbnails, from the left end to the right") for strip in s.strips(now, latents)]
    return made if len(made) != 1 else made[0]  # type: ignore[return-value]


def _choices(s: Scene, order: Sequence[int]) -> list[tuple[str, int]]:
    return [(f"z{k} {s.names[k]}", k) for k in order]


def _head(s: Scene) -> str:
    height, width = s.generator.size
    seen = f"{s.run.config.recipe} · {height}×{width} · {s.run.images_seen:,} images seen"
    active = sum(d.active for d in s.controls) or "none"
    facts = f"{seen} · {active} of {len(s.controls)} controls active"
    return f'<div class="head"><b>{escape(s.title)}</b><span>{escape(facts)}</span></div>'


def _file(s: Scene, kind: str, now: Look, view: str, latent: int) -> dict[str, str]:
    """A download: its name and its content as a link."""
    make: dict[str, Callable[[], bytes]] = {
        ".png": lambda: png(s.picture(now, view, latent)),
        ".json": lambda: s.written(now).encode(),
        ".py": lambda: s.lines(now).encode(),
    }
    content = make[kind]() if kind in make else s.moving(now, latent, kind)
    words = [s.title.rsplit("/")[-1], *([s.names[latent]] if kind in (".gif", ".mp4") else [])]
    name = re.sub(r"\W+", "-", " ".join(words)).strip("-")
    return {"name": f"{name}{kind}", "uri": uri(content, KINDS[kind][1])}
