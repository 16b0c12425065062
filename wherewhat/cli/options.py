"""What verbs share: types of options, functions that read their values, the progress bar."""

import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from wherewhat.errors import UserError
from wherewhat.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from wherewhat.run.folder import Run

Device = Literal["auto", "cpu", "cuda", "mps"]
RunPath = Annotated[Positional[Path], arg(metavar="RUN")]
OutFile = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Text = Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")]
Json = Annotated[bool, arg(name="json")]


def opened_run(path: Path, data: str | None = None) -> "Run":
    """The run of a folder or name.  data: replaces the source of its images.  Raises UserError if there is none."""
    from wherewhat.run.folder import Run

    run = Run.open(path)
    if data is not None:
        source = str(Path(data).absolute()) if Path(data).exists() else data
        run.config = replace(run.config, data=replace(run.config.data, source=source))
    return run


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
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        self.bar = progress.Progress(console=console, transient=True, disable=silent or not console.is_terminal)
        self.task = self.bar.add_task("", total=1.0)

    def __enter__(self) -> Progress:
        self.bar.start()
        return lambda what, done: self.bar.update(self.task, description=what, completed=done)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def percent(option: str, text: str) -> float:
    """A share from 1% or 0.01.  Raises UserError for other text."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UserError(f"{option} {text}: give a share between 0 and 1, as in 1% or 0.01")
    return share


def read_codes(path: Path) -> "tuple[np.ndarray, np.ndarray | None, list[str] | None]":
    """Codes, factors and names of factors from a .npz; factors and names are None where it has none.  Raises UserError
    for a file that cannot be read or lacks codes, and if names and factors do not match."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ("codes", "factors", "names") if name in file}
            if "codes" not in found:
                raise UserError(f"{path} has no array named codes; it has {', '.join(file.files) or 'none'}")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error).split(chr(10))[0]
        raise UserError(f"cannot read {path} as arrays: {reason}") from None
    factors, names = found.get("factors"), found.get("names")
    if factors is not None and names is not None and factors.shape[1:] != names.shape:
        raise UserError(f"{path} has {names.shape} names for factors of shape {factors.shape}: give one a column")
    return found["codes"], factors, None if names is None else [str(name) for name in names]


def load_callable(target: str) -> "Callable[[Tensor], Tensor]":
    """The function module:name; modules of the current folder are found too.  Raises UserError if there is none."""
    import importlib

    module, _, name = target.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"there is no {target}: {error}") from None
    if not callable(found):
        raise UserError(f"{target} is not a function: give one from latents to images")
    return found  # type: ignore[no-any-return]
