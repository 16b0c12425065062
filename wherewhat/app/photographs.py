"""Photographs on the page of one run: dropped, cut out, inverted, adapted to, edited at their own size, also many."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import gradio as gr
from PIL import Image

from wherewhat.app import fitting, html
from wherewhat.app.events import IMMEDIATE, QUEUED, SAVE_FILE, SILENT, errors_shown, unchanged
from wherewhat.app.fitting import Found
from wherewhat.app.scene import Look, Scene, png
from wherewhat.editing.nearness import UNLIKE
from wherewhat.editing.photograph import LARGEST, WHOLE, Crop, Photograph
from wherewhat.errors import UserError
from wherewhat.progress import Work

if TYPE_CHECKING:
    from wherewhat.app.panel import Panel

Result = TypeVar("Result")
TELL_EVERY = 0.2  # seconds
PAUSE = 0.01  # seconds after each step, in which sliders are moved
STOPPED = "Stopped. Nothing was changed."
DOING = {
    "codes": "Looking for the sliders of this photograph", "generator": "Adapting the model to this photograph",
    "crop": "Looking for the best crop",
}  # fmt: skip
NOTHING = "First drop a photograph: below the picture, or here."
CUT_HELP = (
    "The model knows pictures that are all cut out alike. Give yours the same frame: click where its centre is, "
    "set the size, or let the model look for the frame that it draws best."
)
ADAPT_HELP = (
    "What the model cannot draw yet, it learns from this photograph alone (for this photograph alone). The sliders go "
    "on doing what they did."
)
OWN_SIZE_HELP = "What your sliders changed is put into the photograph itself, which stays as sharp as it is elsewhere."
MANY_HELP = "Each gets what your sliders changed here; a zip file brings them back."
# JavaScript: where the photograph was clicked is sent as shares of its height and width
SEND_PLACE = """element.addEventListener('click', e => { if (e.target.tagName == 'IMG') trigger('click',
  {at: [e.offsetY / e.target.offsetHeight, e.offsetX / e.target.offsetWidth]}); });"""


def photo_box(label: str = "Drop a photograph, or click to choose one", **more: Any) -> Any:
    return gr.File(label=label, height=46, elem_classes="drop", **more)


def open_upload(scene: Scene, path: str, before: Look | None) -> Look:
    """The photograph that was dropped.  Raises UserError if it is not a picture."""
    return scene.photograph(Path(path).read_bytes(), Path(path).name, before)


class Job(NamedTuple):
    """A photograph that is to be inverted."""

    photo: Photograph
    crop: Crop
    tune: bool
    before: Look


class Stop:
    """Whether Stop was clicked.  Each visitor has one, since Gradio copies what a State holds.  Work asks it, rather
    than being cancelled by Gradio, so that its last word is not overwritten by progress that is still on its way."""

    asked = False


class Photographs:
    """The box for a photograph below the large picture, what is said about it, and the tab for all the rest."""

    def __init__(self, panel: "Panel") -> None:
        self.panel, self.scene = panel, panel.scene
        self.photo, self.job, self.found = gr.State(), gr.State(), gr.State()
        self.stopping = gr.State(Stop())

    def add_drop(self) -> None:
        self.drop = photo_box()
        with gr.Row(elem_classes="asked"):
            self.says = gr.HTML(elem_classes="says", visible=False)
            self.stop = gr.Button("Stop", size="sm", visible=False, min_width=70)

    def add_tab(self) -> None:
        with gr.Column(elem_classes="photo"):
            self.preview = gr.HTML(html.hint(NOTHING), elem_classes="sheet", js_on_load=SEND_PLACE)
            self.drop_here = photo_box()
            gr.HTML(html.hint(CUT_HELP))
            with gr.Row():
                self.crop = [
                    gr.Slider(0, 1, WHOLE.row, step=0.01, label="Centre, from the top", min_width=120, buttons=[]),
                    gr.Slider(0, 1, WHOLE.column, step=0.01, label="Centre, from the left", min_width=120, buttons=[]),
                    gr.Slider(0.1, LARGEST, WHOLE.size, step=0.01, label="Size", min_width=120, buttons=[]),
                ]
            with gr.Row(elem_classes="bar"):
                self.best = gr.Button("Find the best crop")
                self.use = gr.Button("Use this crop", variant="primary")
            gr.HTML(html.hint(ADAPT_HELP))
            self.adapt = gr.Button("Adapt the model to this photograph")
            gr.HTML(html.hint(OWN_SIZE_HELP))
            self.onto = gr.Button("Put the edit onto the photograph")
            self.result = gr.HTML(elem_classes="sheet")
            self.download = gr.Button("↓ At its own size", size="sm", visible=False)
            gr.HTML(html.hint(MANY_HELP))
            self.many = photo_box("Several photographs: drop them, or click to choose", file_count="multiple")
            with gr.Row(elem_classes="ticks"):
                self.many_onto = gr.Checkbox(True, label="onto the photographs", container=False, min_width=160)
                self.many_crop = gr.Checkbox(False, label="find the best crop of each", container=False, min_width=190)

    def connect(self) -> list[Any]:
        """Once all parts of the panel exist: what its events do.  Events after which the picture is another one."""
        p, cut = self.panel, [self.photo, *self.crop]
        line, job = [self.says, self.stop], [self.job, self.preview, *cut]
        starts = [
            drop.upload(self.dropped, [drop, p.look], [*job, drop], **QUEUED) for drop in (self.drop, self.drop_here)
        ]
        starts.append(self.use.click(self.again, [*cut, p.look], job, **QUEUED))
        starts.append(self.adapt.click(partial(self.again, tune=True), [*cut, p.look], job, **QUEUED))
        best = self.best.click(self.best_found, [self.stopping, *cut], [*line, self.found, *self.crop], **QUEUED)
        starts.append(best.then(self.again_if, [self.found, *cut, p.look], job, **QUEUED))
        works = [start.then(self.fitted, [self.job, self.stopping], [*line, self.found], **QUEUED) for start in starts]
        shown = [work.then(self.taken, [self.found, *p.state], p.shown, **QUEUED) for work in works]
        file = gr.JSON(visible=False)
        inputs = [self.many, p.look, self.many_onto, self.many_crop, self.stopping]
        batch = self.many.upload(self.many_edited, inputs, [*line, file, self.many], **QUEUED)
        batch.then(None, file, None, js=SAVE_FILE)
        self.stop.click(self.stopped, self.stopping, None, **IMMEDIATE)
        for slider in self.crop:
            slider.input(self.moved, cut, self.preview, **IMMEDIATE)
        self.preview.click(self.placed, cut, [self.preview, *self.crop], **IMMEDIATE)
        self.onto.click(self.put_onto, p.look, [self.result, self.download], **QUEUED)
        own_size = gr.JSON(visible=False)
        event = self.download.click(self.own_size, p.look, own_size, **SILENT)
        event.then(None, own_size, None, js=SAVE_FILE)
        return shown

    def dropped(self, path: str | None, before: Look) -> list[Any]:
        """A file was dropped: it becomes a job, with the usual crop."""
        with errors_shown():
            if path:
                photo = self.scene.opened(Path(path).read_bytes(), Path(path).name)
                return [*self.jobs(photo, WHOLE, before), None]
        return [None, *unchanged(5), None]

    def jobs(self, photo: Photograph, crop: Crop, before: Look, tune: bool = False) -> list[Any]:
        """The values of job, preview, photograph and crop."""
        return [Job(photo, crop, tune, before), self.moved(photo, *crop), photo, *crop]

    def again(
        self, photo: Photograph | None, row: float, column: float, size: float, before: Look, tune: bool = False
    ) -> list[Any]:
        """The photograph becomes a job with another crop."""
        with errors_shown():
            if photo is None:
                raise UserError(NOTHING)
            return self.jobs(photo, Crop(row, column, size), before, tune)
        return [None, *unchanged(5)]

    def again_if(self, found: Crop | None, *rest: Any) -> list[Any]:
        return self.again(*rest) if found else [None, *unchanged(5)]

    def fitted(self, job: Job | None, stop: Stop) -> Generator[list[Any]]:
        """Inverts the photograph of a job.  Nothing but the line of progress changes meanwhile."""
        if job is None:
            yield [*unchanged(2), None]
            return
        found = None
        with errors_shown():
            found = yield from watched(fitting.fitting(self.scene, *job), [None], stop)
        yield [self.verdict(found) if found else last_words(stop), gr.update(visible=False), found]

    def best_found(self, stop: Stop, photo: Photograph | None, *_crop: float) -> Generator[list[Any]]:
        found = None
        with errors_shown():
            if photo is None:
                raise UserError(NOTHING)
            found = yield from watched(fitting.cropping(self.scene, photo), [None, *unchanged(3)], stop)
        rounded = [round(value, 3) for value in found] if found else unchanged(3)
        yield [last_words(stop), gr.update(visible=False), found, *rounded]

    def many_edited(
        self, paths: Sequence[str] | None, look: Look, onto_photo: bool, find_crop: bool, stop: Stop
    ) -> Generator[list[Any]]:
        """A zip file of photographs with the edit of the page."""
        file, words = None, ""
        with errors_shown():
            if not look.moved:
                raise UserError("There is no edit yet: move a slider first")
            photos = [self.scene.opened(Path(path).read_bytes(), Path(path).name) for path in paths or ()]
            work = fitting.editing(self.scene, photos, look, onto_photo, find_crop)
            content = yield from watched(work, [None, *unchanged(1)], stop)
            if content is not None:
                file = {"name": "edited.zip", "uri": html.data_uri(content, "application/zip")}
                words = f"{len(photos)} photograph{'s' * (len(photos) != 1)} edited: edited.zip"
        yield [last_words(stop, words), gr.update(visible=False), file, None]

    def stopped(self, stop: Stop) -> None:
        stop.asked = True

    def verdict(self, found: Found) -> Any:
        """What is said of a photograph that was inverted."""
        near = found.near
        numbers = f"PSNR {near.psnr:.0f} dB" + ("" if near.lpips is None else f", LPIPS {near.lpips:.3f}")
        words = f"How near it is: <b>{escape(near.words)}</b> <small>({numbers})</small>"
        if near.unlike:
            words += f'<div class="unlike">{escape(UNLIKE)}</div>'
        return gr.update(value=html.hint(words), visible=True)

    def taken(self, found: Found | None, look: Look, *rest: Any) -> list[Any]:
        """The picture becomes the photograph that was found."""
        if found is None:
            return unchanged(len(self.panel.shown))
        return self.panel.show(fitting.taken(self.scene, found, look), *rest)

    def moved(self, photo: Photograph | None, *crop: float) -> str:
        """The photograph with its crop."""
        if photo is None:
            return html.hint(NOTHING)
        return html.img(fitting.crop_picture(photo, Crop(*crop)), "The photograph; what the model sees is bright")

    def placed(
        self, photo: Photograph | None, _row: float, _column: float, size: float, event: gr.EventData
    ) -> list[Any]:
        """The photograph was clicked: there is the centre."""
        row, column = (round(min(max(float(share), 0.0), 1.0), 3) for share in event.at)
        return [self.moved(photo, row, column, size), row, column, size]

    def put_onto(self, look: Look) -> list[Any]:
        with errors_shown():
            image = self.edited(look)
            image.thumbnail((720, 720))
            return [html.img(image, "The photograph with the edit"), gr.update(visible=True)]
        return unchanged(2)

    def own_size(self, look: Look) -> dict[str, str] | None:
        with errors_shown():
            return {"name": f"{Path(look.origin).stem}-edited.png", "uri": html.data_uri(png(self.edited(look)))}
        return None

    def edited(self, look: Look) -> Image.Image:
        """The photograph with the edit, at its own size.  Raises UserError if the picture is none of the user's."""
        if look.cut is None:
            raise UserError("The picture is no photograph of yours: drop one first")
        return fitting.own_size(self.scene, look)


def last_words(stop: Stop, words: str = "") -> Any:
    """What the line of progress says when work has ended: these words, or that it was stopped, or nothing."""
    words = STOPPED if stop.asked else words
    return gr.update(value=html.hint(words), visible=bool(words))


def watched(work: Work[Result], others: list[Any], stop: Stop) -> Generator[list[Any], None, Result | None]:
    """A work whose progress is shown.  Yields the line of progress, the button that stops it, and the other outputs;
    returns None if it was stopped.  When Gradio closes this, because the page was closed, the work ends too."""
    stop.asked = False
    last, button = -TELL_EVERY, gr.update(visible=True)
    with closing(work):
        while not stop.asked:
            try:
                what, done = next(work)
            except StopIteration as end:
                result: Result = end.value
                return result
            if time.monotonic() - last >= TELL_EVERY:
                last = time.monotonic()
                yield [gr.update(value=html.progress(DOING[what], done), visible=True), button, *others]
                button = gr.skip()  # a button that is drawn anew cannot be pressed
            time.sleep(PAUSE)
    return None
