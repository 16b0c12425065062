"""Saved states: the codes of one picture as a JSON file, and the only place that writes and reads it.

{"format": 1, "codes": [0.5, -1.2, 0.0], "seed": 3}
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from wherewhat.atomic import explained, read_text, write_text
from wherewhat.errors import UserError
from wherewhat.run.model import Model

FORMAT = 1


class State(NamedTuple):
    codes: tuple[float, ...]  # one a control
    seed: int | None = None  # with which it was drawn; None for the codes of an image


def to_json(state: State, **about: Any) -> str:
    """The text of a file.  about: more for people to read, which is passed over when it is read."""
    values = {"format": FORMAT, "codes": list(state.codes), "seed": state.seed, **about}
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, run: Model, name: str) -> State:
    """A state of this run.  name: what messages call it.  Raises UserError for anything else than what to_json writes
    of as many codes as the run has controls, all finite."""
    try:
        values = json.loads(text)
        codes, seed, written = values["codes"], values.get("seed"), values.get("format", FORMAT)
        if not isinstance(codes, list):
            raise TypeError("codes are a list")
        state = State(tuple(map(float, codes)), None if seed is None else int(seed))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        raise UserError(f'{name} holds no codes: it must look like {{"format": 1, "codes": [0.5, -1.2]}}') from None
    if written != FORMAT:
        raise UserError(f"{name} is of format {written}, and this version reads format {FORMAT}")
    if len(state.codes) != run.latents:
        count = f"{name} has {len(state.codes)} codes and {run.word} {run.latents}"
        raise UserError(f"{count}: it is of another run")
    if not all(abs(code) < 1e6 for code in state.codes):
        raise UserError(f"{name} has codes that are not finite, or far beyond −3 … 3")
    return state


def write_state(path: Path, state: State, **about: Any) -> Path:
    """Write a state as to_json gives it, whole or not at all.  Raises UserError if it cannot be written."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, to_json(state, **about))
    return path


def read_state(path: Path, run: Model) -> State:
    """The state in a file.  Raises UserError as from_json, and if the file cannot be read."""
    return from_json(read_text(path), run, str(path))
