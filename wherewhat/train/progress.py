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
from wherewhat.runs import Run

PLAIN_SECONDS = 30
"""between lines when the output is not a terminal"""


class Progress:
    """Images per second, losses, time left and the last scores: a live line in a terminal, a plain line now and then
    elsewhere."""

    def __init__(self, config: Config, start: int) -> None:
        self.total, self.start, self.images = config.images, start, start
        self.values: dict[str, float] = {}
        self.console = Console(stderr=True)
        columns = (bars.TextColumn("{task.description}"), bars.BarColumn(None), bars.TextColumn("{task.fields[told]}"))
        self.live = bars.Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.task = self.live.add_task(config.recipe, total=config.images, completed=start, told="")

    def __enter__(self) -> "Progress":
        self.began = self.said = time.perf_counter()
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.live.stop()

    def update(self, images: int, row: dict[str, float]) -> None:
        """Show where training is; values stay on the line until they are told anew."""
        self.images = images
        self.values |= row
        told = self.line()
        self.live.update(self.task, completed=images, told=told)
        if not self.console.is_terminal and (time.perf_counter() - self.said > PLAIN_SECONDS or images >= self.total):
            self.said = time.perf_counter()
            print(told, file=sys.stderr, flush=True)

    def line(self) -> str:
        """'192,000/300,000 images · 540/s · 3:20 left · reconstruction 812 · …'"""
        speed = (self.images - self.start) / max(time.perf_counter() - self.began, 1e-6)
        left = (self.total - self.images) / max(speed, 1e-6)
        clock = f"{int(left // 3600)}:{int(left % 3600 // 60):02}:{int(left % 60):02}"
        values = [f"{name} {value:.3g}" for name, value in self.values.items()]
        return " · ".join([f"{self.images:,}/{self.total:,} images", f"{speed:.0f}/s", f"{clock} left", *values])


@contextmanager
def tensorboard(run: Run, chief: bool) -> Iterator[Any]:
    """Scalars and pictures under the run's tensorboard folder."""
    if not chief:
        yield _Nothing()
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run.path / "tensorboard")) as writer:
        yield _Board(writer)


class _Board:
    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def scalars(self, row: dict[str, float], images: int) -> None:
        for name, value in row.items():
            self.writer.add_scalar(name, value, images)

    def pictures(self, paths: dict[str, Path], images: int) -> None:
        import numpy as np
        from PIL import Image

        for name, path in paths.items():
            with Image.open(path) as picture:
                self.writer.add_image(name, np.asarray(picture.convert("RGB")), images, dataformats="HWC")


class _Nothing(_Board):
    def __init__(self) -> None: ...
    def scalars(self, row: dict[str, float], images: int) -> None: ...
    def pictures(self, paths: dict[str, Path], images: int) -> None: ...
