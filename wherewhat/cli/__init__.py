"""The command line: one short function a verb, in the modules of this package."""

import errno
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

import tyro

from wherewhat.atomic import first_line
from wherewhat.cli.data import data_list, data_make, data_show
from wherewhat.cli.editing import edit, export, invert, morph, synthesize, transfer
from wherewhat.cli.looking import explore, report, traverse
from wherewhat.cli.measuring import axes, evaluate, rank, rotate, weights, where
from wherewhat.cli.selecting import choose, sweep
from wherewhat.cli.training import demo, recipes, train
from wherewhat.errors import UserError, did_you_mean

__all__ = ["VERBS", "main"]

_IN_ORDER: tuple[Callable[..., None], ...] = (
    demo, train, evaluate, traverse, explore, report, invert, edit, transfer, morph, synthesize, export, where, rotate,
    rank, axes, sweep, choose, recipes, data_list, data_show, data_make, weights,
)  # fmt: skip
VERBS = {call.__name__.replace("_", " "): call for call in _IN_ORDER}

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""errors of a disk that is full, broken or may not be written to"""
BROKEN_PIPE = 141
"""exit status when nobody reads the output, as a shell gives it for SIGPIPE"""
OUT_OF_MEMORY = "there is not enough memory: give a smaller --batch or --resolution"


def main(words: list[str] | None = None) -> None:
    """Exit status 0; 2 for what the user can mend, one message on standard error; 130 after Ctrl-C."""
    words = sys.argv[1:] if words is None else words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a ± or β that a terminal cannot write ends no command
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            print(overview())
        elif words[0] == "--version":
            from importlib.metadata import version

            print(version("wherewhat"))
        else:
            verb, rest = split_verb(words)
            tyro.cli(VERBS[verb], prog=f"wherewhat {verb}", args=rest)
    except UserError as error:
        print(f"wherewhat: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # who reads what is printed, as in `| head`, wants no more of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor of what Python prints when it ends
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        if error.errno not in DISK:
            raise
        where = f" to {error.filename}" if error.filename else ""
        print(f"wherewhat: cannot write{where}: {error.strerror}. What was saved before is intact", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:  # RuntimeError: PyTorch's
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        print(f"wherewhat: {OUT_OF_MEMORY} ({first_line(error)})", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("wherewhat: stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


def split_verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb (of one word or two) and what follows it.  Raises UserError for one there is not."""
    for verb in VERBS:
        parts = verb.split()
        if words[: len(parts)] == parts:
            return verb, words[len(parts) :]
    longer = [verb for verb in VERBS if verb.split()[0] == words[0]]
    if longer and (len(words) == 1 or words[1].startswith("-")):
        raise UserError(f"{words[0]} takes a second word; there is: {', '.join(longer)}")
    asked = " ".join(words[:2]) if longer else words[0]
    raise UserError(f"there is no command {asked}{did_you_mean(asked, longer or list(VERBS))}")


def overview() -> str:
    """The commands, a line each."""
    first = {verb: (call.__doc__ or "").split(".  ")[0].split("\n")[0] for verb, call in VERBS.items()}
    return "\n".join(
        ["Interpretable controls from unlabelled images: each has a where and a what.", "",
         *(f"  wherewhat {verb:<10} {line}" for verb, line in first.items()), "",
         "First run: wherewhat demo.  Help on a command: wherewhat COMMAND --help"]
    )  # fmt: skip
