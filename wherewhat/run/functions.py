"""Functions by the names that a command line gives them, and what goes wrong in them."""

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from wherewhat.atomic import first_line
from wherewhat.errors import UserError
from wherewhat.run import shipped


def is_function_name(target: str) -> bool:
    """Whether this is package.module:function or file.py:function, and neither a path that exists nor a run."""
    module, _, name = target.rpartition(":")
    named = len(module) > 1 and all(part.isidentifier() for part in name.split("."))  # c:\\name is a path
    return named and not target.startswith(shipped.PREFIX) and not Path(target).exists()


def no_encoder(word: str) -> str:
    """A message for what needs codes of images."""
    return (
        f"{word} is a generator without an encoder, so there are no codes of images: what works with it is rank, "
        "where, rotate, axes, traverse, explore and evaluate"
    )


def find(target: str) -> Any:
    """What package.module:name or file.py:name names; modules of the current folder are found too.  Raises UserError if
    there is none, or if its module cannot be imported."""
    module, _, name = target.rpartition(":")
    try:
        loaded = _module_of_file(Path(module)) if module.endswith(".py") else _module(module)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise UserError(f"there is no {target}: {error}") from None
        raise UserError(their_own(f"the import of {module}", error)) from None
    try:
        return attrgetter(name)(loaded)
    except AttributeError as error:
        raise UserError(f"there is no {target}: {error}") from None


def _module(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    return importlib.import_module(name)


def _module_of_file(file: Path) -> ModuleType:
    """A module from its file, whose neighbours it can import."""
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    folder = str(file.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def their_own(what: str, error: BaseException) -> str:
    """What an error of theirs says, and where in their code it arose."""
    frames = traceback.extract_tb(error.__traceback__)
    own = _own_frames(error) or frames[-1:]
    place = "".join(f"\n  {f.filename}, line {f.lineno}, in {f.name}: {f.line}" for f in own[-1:])
    return f"{what} raised {type(error).__name__}: {first_line(error)}{place}"


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where an error passed through code that is neither of this package nor installed."""
    installed = [str(Path(__file__).parents[1]), *sysconfig.get_paths().values()]
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in frames if f.filename[0] != "<" and not f.filename.startswith(tuple(installed))]
