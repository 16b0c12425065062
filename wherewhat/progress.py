"""How long work tells its caller what is being done."""

from collections.abc import Callable, Generator
from typing import TypeVar

Result = TypeVar("Result")
Work = Generator[tuple[str, float], None, Result]
"""work that pauses after each step to say what is being done and the share of it that is done, and returns its result;
who asks for no further step has stopped it"""

Progress = Callable[[str, float], None]
"""called with what is being done and the share of it that is done, 0 … 1"""


def silent(_what: str, _done: float) -> None:
    """Reports to nobody."""


def portion(work: Work[Result], which: int, count: int) -> Work[Result]:
    """A work as one of `count` that follow each other."""
    while True:
        try:
            what, done = next(work)
        except StopIteration as end:
            result: Result = end.value
            return result
        yield what, (which + done) / count


def finish(work: Work[Result], progress: Progress = silent) -> Result:
    """Do all steps of a work."""
    while True:
        try:
            progress(*next(work))
        except StopIteration as end:
            result: Result = end.value
            return result
