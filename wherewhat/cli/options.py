"""What verbs share: types of options, functions that read their values, the progress bar."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.progress import Progress as Bar
from tyro.conf import Positional, arg

from wherewhat.errors import UserError
from wherewhat.progress import Progress

if TYPE_CHECKING:
    from wherewhat.run.folder import Run
    from wherewhat.run.foreign import Foreign
    from wherewhat.run.model import Model

Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], arg(help="where to compute")]
_RUN = "the run's folder, or one that comes with the package, as in pretrained:rooms"
RunPath = Annotated[Positional[Path], arg(metavar="RUN", help=_RUN)]
_OR_FUNCTION = f"{_RUN}; or anyone's generator, package.module:function or file.py:function"
ModelPath = Annotated[Positional[Path], arg(metavar="RUN|MODULE:FUNCTION", help=_OR_FUNCTION)]
_TPL = "for the TPL, if a run was not evaluated yet: alex, vgg, pixels, or the path of LPIPS weights"
TplDistance = Annotated[str, arg(help=_TPL)]
OutFile = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Text = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")]
Json = Annotated[bool, arg(name="json", help="what is shown as JSON on standard output")]
Data = Annotated[
    str | None, arg(metavar="TEXT", help_behavior_hint="", help="where the images are now, if they were moved")
]


@dataclass(frozen=True)
class FunctionOptions:
    """Of module:function, anyone's generator: a function from latents to images."""

    latents: Annotated[int | None, arg(metavar="INT", help_behavior_hint="", aliases=["--codes"])] = None
    """how many module:function takes; if not given, what its attribute latents or z_dim says, or its axes"""
    axes: Annotated[str | None, arg(metavar="FILE|latents", help_behavior_hint="")] = None
    """the controls of module:function: axes that wherewhat axes has found (those in its folder if not given), or its
    latents"""
    folder: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    """where names, scores, axes and pictures of module:function are kept; a folder module.function if not given"""
    image_range: Literal["auto", "signed", "unit", "bytes"] = "auto"
    """of the images of module:function: −1 … 1, 0 … 1 or 0 … 255; auto: found out from a few samples"""
    prior: Literal["normal", "uniform", "generalized_normal"] = "normal"
    """of each latent of module:function: N(0, 1), or uniform on ±2 or of variance 1"""
    resolution: int = 512
    """larger images of module:function are averaged until their longer side is this"""
    batch: int = 32
    """how many latents module:function is given at once, at most"""


Function = Annotated[FunctionOptions, arg(name="", help="of module:function, anyone's generator")]
NONE_GIVEN = FunctionOptions()


def opened(path: Path | str, function: FunctionOptions, data: str | None = None, device: str = "cpu") -> "Model":
    """The run of a folder or name, or anyone's generator.  data: replaces the source of a run's images, and gives some
    to a generator.  Raises UserError if there is none, and for options that are not for it."""
    from wherewhat.run.foreign import open_generator
    from wherewhat.run.functions import is_function_name

    if not is_function_name(str(path)):
        if function != NONE_GIVEN:
            raise UserError(f"{path} is not module:function, whose options are given: leave out --latents and its like")
        return opened_run(Path(path), data)
    f = function
    at_least(1, latents=f.latents, resolution=f.resolution, batch=f.batch)
    return open_generator(
        str(path), f.latents, folder=f.folder, axes=f.axes, image_range=f.image_range, prior=f.prior,
        resolution=f.resolution, batch=f.batch, source=None if data is None else source_of(data), device=device,
    )  # fmt: skip


def opened_all(
    paths: Sequence[Path], function: FunctionOptions, data: str | None = None, device: str = "cpu"
) -> "list[Model]":
    """Runs and generators: the options of functions are for these alone.  Raises UserError as `opened`."""
    from wherewhat.run.functions import is_function_name

    functions = [is_function_name(str(path)) for path in paths]
    for_runs = NONE_GIVEN if any(functions) else function
    return [
        opened(path, function if is_function else for_runs, data, device)
        for path, is_function in zip(paths, functions, strict=True)
    ]


def opened_function(target: str, function: FunctionOptions, device: str) -> "Foreign":
    """Anyone's generator, whose controls are its latents.  Raises UserError for a run, and for options of axes."""
    from wherewhat.run.foreign import Foreign
    from wherewhat.run.functions import is_function_name

    if function.axes not in (None, "latents"):
        raise UserError("axes are found among latents: leave out --axes")
    if not is_function_name(target):
        raise UserError(f"{target} is a run, which has controls, or nothing: axes are for package.module:function")
    model = opened(target, replace(function, axes="latents"), device=device)
    assert isinstance(model, Foreign)
    return model


def opened_run(path: Path, data: str | None = None) -> "Run":
    """The run of a folder or name.  data: replaces the source of its images.  Raises UserError if there is none."""
    from wherewhat.run.folder import Run
    from wherewhat.run.functions import is_function_name, no_encoder

    if is_function_name(str(path)):
        raise UserError(no_encoder(str(path)))
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
