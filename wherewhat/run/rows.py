"""The tables of a run folder, train.jsonl and metrics.jsonl: a row of JSON in each line, checked when it is read."""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from wherewhat.atomic import read_text
from wherewhat.errors import UserError

CLOCK = {"train": "images_seen", "metrics": "images"}
"""table → its column of images seen"""
LISTS = ("controls", "where")
"""metrics whose details are a list, with an entry for each control"""
RENAMED = {
    "images": "images_seen", "divergence": "kl", "perceptual": "lpips", "discriminator": "d_loss",
    "generator": "g_loss", "information": "infogan",
}  # fmt: skip
"""columns of train.jsonl in format 1 → names now"""
RENAMED_DETAILS = {"dimensions": {"latent": "index", "turns": "is_angle"}, "where": {"latent": "control"}}
"""metrics in format 1 → keys of their details → names now"""


def read_rows(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table under the names of today.  A line that a crash cut short is passed over.  Raises UserError
    that names the line and what is wrong with it if a row is not one that a run writes."""
    table = file.stem
    for number, line in enumerate(read_text(file).split("\n"), 1):
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            if problem := _problem(table, row):
                raise UserError(f"{file}, line {number}: {problem}. Remove this line, or the file")
            yield _upgraded(table, row)


def _problem(table: str, row: Any) -> str:
    """Why something is no row of a table; empty if it is one."""
    if not isinstance(row, dict):
        return "it is not an object"
    clock = "images" if table == "train" and "images" in row else CLOCK[table]
    if not _is_count(row.get(clock)):
        return f"{clock} should be a number of images"
    if table == "train":
        wrong = [name for name, value in row.items() if not _is_number(value)]
        return f"{wrong[0][:60]} should be a number" if wrong else ""
    if not isinstance(row.get("metric"), str) or not _is_number(row.get("value", 0), or_none=True):
        return "metric should be a name, and value a number"
    if not isinstance(row.get("options", {}), dict):
        return "options should be an object"
    details = row.get("details")
    if row["metric"] in (*LISTS, *RENAMED_DETAILS):
        is_list = isinstance(details, list) and all(isinstance(control, dict) for control in details)
        return "" if is_list else "details should be a list of controls"
    if row["metric"] == "tpl" and not (
        isinstance(details, dict) and _is_number(details.get("error")) and _is_count(details.get("active"))
    ):
        return "details should have the error and the number of active controls"
    return "" if isinstance(details, dict | None) else "details should be an object"


def _is_number(value: Any, or_none: bool = False) -> bool:
    """Also NaN and infinity, which a metric may be, but no number that a float cannot hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**63
    return isinstance(value, float) or (or_none and value is None)


def _is_count(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value >= 0 and value == int(value)


def _upgraded(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of format 1 under the names of today; other rows as they are."""
    if table == "train" and "images" in row:
        return {RENAMED.get(name, name): value for name, value in row.items()}
    metric = row.get("metric")
    if metric in RENAMED_DETAILS:
        names = RENAMED_DETAILS[metric]
        details = [{names.get(k, k): v for k, v in control.items()} for control in row["details"]]
        return {**row, "metric": "controls" if metric == "dimensions" else metric, "details": details}
    return row
