"""What verbs share: types of options, functions that read their values, the progress bar."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.progress import Progress as Bar
from tyro.conf import Positional, arg

from wherewhat.errors import UserError
from wherewhat.progress import Progress

if TYPE_CHECKING:
    from wherewhat.run.folder import Run

Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], arg(help="where to compute")]
_RUN = "the run's folder, or one that comes with the package, as in pretrained:rooms"
RunPath = Annotated[Positional[Path], arg(metavar="RUN", help=_RUN)]
_TPL = "for the TPL, if a run was not evaluated yet: alex, vgg, pixels, or the path of LPIPS weights"
TplDistance = Annotated[str, arg(help=_TPL)]
OutFile = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Text = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")]
Json = Annotated[bool, arg(name="json", help="what is shown as JSON on standard output")]
Data = Annotated[
    str | None, arg(metavar="TEXT", help_behavior_hint="", help="where the images are now, if they were moved")
]


def opened_run(path: Path, data: str | None = None) -> "Run":
    """The run of a folder or name.  data: replaces the source of its images.  Raises UserError if there is none."""
    from wherewhat.run.folder import Run

    run = Run.open(path)
    if data is not None:
        run.config = replace(run.config, data=replace(run.config.data, source=source_of(data)))
    return run


def source_of(data: str) -> str:
    """A path that exists, from the root on; a name of a world as it is."""
    return str(Path(data).absolute()) if Path(data).exists() else data


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def at_least(least: int, **options: int | None) -> None:
    """Raises UserError for an option whose value is below `least`."""
    for name, value in options.items():
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: give {least} or more")


def sides(text: str) -> tuple[int, int]:
    """Height and width from 64 or 128x96.  Raises UserError for other text."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in (1, 2) or not all(p.isdecimal() and int(p) for p in parts):
        raise UserError(f"--resolution {text}: write it as 64, or height x width as in 128x96")
    return int(parts[0]), int(parts[-1])


def say(words: str) -> None:
    """A line on standard error."""
    print(words, file=sys.stderr, flush=True)


class ProgressBar:
    """A progress bar on standard error; inside `with`, a Progress."""

    def __init__(self, silent: bool) -> None:
        console = Console(stderr=True)
        self.bar = Bar(console=console, transient=True, disable=silent or not console.is_terminal)
        self.task = self.bar.add_task("", total=1.0)

    def __enter__(self) -> Progress:
        self.bar.start()
        return lambda what, done: self.bar.update(self.task, description=what, completed=done)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
