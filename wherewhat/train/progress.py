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

from wherewhat.run.folder import Run
from wherewhat.train.preview import Preview
from wherewhat.train.state import State

PLAIN_SECONDS = 60
"""seconds from one line to the next when the output is not a terminal"""
LEAST_BAR = 14
"""columns that are kept for the bar and the gaps beside it"""


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
    """Images per second, time left, losses and the last scores: a live line in a terminal, otherwise a plain line now
    and then.  Only training counts as time, not the pictures and scores in between."""

    def __init__(self, state: State, minutes: float | None) -> None:
        """minutes: after which the training stops, earlier calls included."""
        self.state, self.minutes, self.total = state, minutes, state.config.total_images
        self.start, self.seconds, self.images_seen = state.images_seen, state.seconds, state.images_seen
        self.values: dict[str, float] = {}
        self.printed = time.perf_counter()
        self.console = Console(stderr=True)
        columns = (bars.TextColumn("{task.description}"), bars.BarColumn(None), bars.TextColumn("{task.fields[line]}"))
        self.live = bars.Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        recipe = state.config.recipe
        self.room = self.console.width - len(recipe) - LEAST_BAR
        self.task = self.live.add_task(recipe, total=self.total, completed=self.start, line="")

    def __enter__(self) -> "ProgressLine":
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
        self.live.update(self.task, completed=self.images_seen, line=self.line(self.room))
        waited = time.perf_counter() - self.printed > PLAIN_SECONDS
        if not self.console.is_terminal and (waited or self.images_seen >= self.total):
            self.printed = time.perf_counter()
            print(self.line(), file=sys.stderr, flush=True)

    def line(self, room: int | None = None) -> str:
        """'192,000/300,000 images · 540/s · 3:20 left · reconstruction 812 · …', of as many values as there is room."""
        parts = [f"{self.images_seen:,}/{self.total:,} images", f"{self.speed:.0f}/s", f"{clock(self.left)} left"]
        for name, value in self.values.items():
            text = f"{name} {value:.3g}"
            if room is not None and len(" · ".join([*parts, text])) > room:
                break
            parts.append(text)
        return " · ".join(parts)

    @property
    def speed(self) -> float:
        """Images a second of training."""
        return (self.images_seen - self.start) / max(self.state.seconds - self.seconds, 1e-6)

    @property
    def left(self) -> float:
        """Seconds to the last image, or to the end of the minutes if that comes first."""
        seconds = (self.total - self.images_seen) / max(self.speed, 1e-6)
        if self.minutes is not None:
            seconds = min(seconds, 60 * self.minutes - self.state.seconds)
        return max(seconds, 0.0)


def clock(seconds: float) -> str:
    """0:03:20."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


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
def display_for(run: Run, state: State, quiet: bool, minutes: float | None) -> Iterator[Display]:
    """What this process shows: nothing unless it is the first one; quiet: no line in the terminal."""
    if not state.fabric.is_global_zero:
        yield Display()
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.path / "tensorboard")) as writer:
        if quiet:
            yield TensorBoard(writer)
            return
        with ProgressLine(state, minutes) as line:
            yield Both(line, TensorBoard(writer))
