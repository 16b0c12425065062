"""Writes into docs/logged.md what the metric registry says of each score: python docs/logged.py."""

import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path

from wherewhat.metrics import registry
from wherewhat.metrics.registry import Metric

PAGE = Path(__file__).parent / "logged.md"
BEGIN, END = "<!-- made by docs/logged.py from the metric registry: begin -->", "<!-- end -->"
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}
"""where better scores are"""


def updated(page: str) -> str:
    """The page with the part between BEGIN and END written anew."""
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    lines = [line for metric in registry.METRICS for line in described(metric)]
    return before + "\n".join([BEGIN, "", *lines, "", END]) + after


def described(metric: Metric) -> Iterator[str]:
    """A line for each score of a metric, and for the options and details of the function that computes it."""
    for score in metric.scores:
        yield from wrapped(f"- `{score.name}`, {score.label}{ARROWS[score.better]}: {score.help}.")
    if metric.needs in ("factors", "codes", "features"):
        options, details = quoted(metric.options()), quoted(details_of(metric))
        yield from wrapped(f"Options: {options}." if options else "", "  ")
        yield from wrapped(f"Details: {details}." if details else "", "  ")


def details_of(metric: Metric) -> list[str]:
    """Names of what the function found beside the scores."""
    found = inspect.signature(metric.load()).return_annotation
    shown = {score.part for score in metric.scores}
    return [name for name in getattr(found, "_fields", ()) if name not in shown]


def quoted(names: list[str] | dict[str, object]) -> str:
    """Names as code, with commas between."""
    return ", ".join(f"`{name}`" for name in names)


def wrapped(text: str, indent: str = "") -> list[str]:
    """Lines of at most 120 letters; all but the first are indented."""
    return textwrap.wrap(text, 120, initial_indent=indent, subsequent_indent="  ", break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8")
    print(PAGE)
