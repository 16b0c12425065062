"""How long work tells its caller what is being done."""

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""called with what is being done and the share of it that is done, 0 … 1"""


def silent(_what: str, _done: float) -> None:
    """Reports to nobody."""
