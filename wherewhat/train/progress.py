"""What a training shows while it runs: a live line in the terminal, and files for TensorBoard."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import rich.progress as bars
from rich.console import Console

from wherewhat.config import Config
from wherewhat.run.folder import Run
from wherewhat.train.preview import Preview
from wherewhat.train.state import State

PLAIN_SECONDS = 30
"""seconds from one line to the next when the output is not a terminal"""


class Display:
    """Shows nothing; what is shown of a training is a subclass or several of them."""

    def losses(self, row: dict[str, float], images_seen: int) -> None:
        """Mean losses since the last call."""

    def preview(self, preview: Preview) -> None:
        """Pictures and quick scores."""


class Both(Display):
    """Two displays at once."""

    def __init__(self, one: Display, other: Display) -> None:
        self.parts = (one, other)

    def losses(self, row: dict[str, float], images_seen: int) -> None:
        for part in self.parts:
            part.losses(row, images_seen)

    def preview(self, preview: Preview) -> None:
        for part in self.parts:
            part.preview(preview)


class ProgressLine(Display):
    """Images per second, losses, time left and the last scores: a live line in a terminal, otherwise a plain line now
    and then."""

    def __init__(self, config: Config, images_seen: int) -> None:
        self.total, self.start, self.images_seen = config.total_images, images_seen, images_seen
        self.values: dict[str, float] = {}
        self.console = Console(stderr=True)
        columns = (bars.TextColumn("{task.description}"), bars.BarColumn(None), bars.TextColumn("{task.fields[line]}"))
        self.live = bars.Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.task = self.live.add_task(config.recipe, total=config.total_images, completed=images_seen, line="")

    def __enter__(self) -> "ProgressLine":
        self.began = self.printed = time.perf_counter()
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.stop()

    def losses(self, row: dict[str, float], images_seen: int) -> None:
        self.images_seen = images_seen
        self._show(row)

    def preview(self, preview: Preview) -> None:
        self._show(preview.scores)

    def _show(self, values: dict[str, float]) -> None:
        """Each value stays on the line until it is replaced."""
        self.values |= values
        line = self.line()
        self.live.update(self.task, completed=self.images_seen, line=line)
        waited = time.perf_counter() - self.printed > PLAIN_SECONDS
        if not self.console.is_terminal and (waited or self.images_seen >= self.total):
            self.printed = time.perf_counter()
            print(line, file=sys.stderr, flush=True)

    def line(self) -> str:
        """'192,000/300,000 images · 540/s · 3:20 left · reconstruction 812 · …'"""
        speed = (self.images_seen - self.start) / max(time.perf_counter() - self.began, 1e-6)
        left = (self.total - self.images_seen) / max(speed, 1e-6)
        clock = f"{int(left // 3600)}:{int(left % 3600 // 60):02}:{int(left % 60):02}"
        values = [f"{name} {value:.3g}" for name, value in self.values.items()]
        return " · ".join([f"{self.images_seen:,}/{self.total:,} images", f"{speed:.0f}/s", f"{clock} left", *values])


class TensorBoard(Display):
    """Scalars and pictures under the run's tensorboard folder."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def losses(self, row: dict[str, float], images_seen: int) -> None:
        for name, value in row.items():
            self.writer.add_scalar(name, value, images_seen)

    def preview(self, preview: Preview) -> None:
        self.losses(preview.scores, preview.images_seen)
        for name, path in preview.pictures.items():
            self.writer.add_image(name, _pixels(path), preview.images_seen, dataformats="HWC")


def _pixels(path: Path) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@contextmanager
def display_for(run: Run, state: State, quiet: bool) -> Iterator[Display]:
    """What this process shows: nothing unless it is the first one; quiet: no line in the terminal."""
    if not state.fabric.is_global_zero:
        yield Display()
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.path / "tensorboard")) as writer:
        if quiet:
            yield TensorBoard(writer)
            return
        with ProgressLine(run.config, state.images_seen) as line:
            yield Both(line, TensorBoard(writer))
