"""A base configuration × axes → trials, each with a name and a configuration.  Neither torch nor Ray here."""

import re
from collections.abc import Sequence
from itertools import product
from math import prod
from typing import NamedTuple

from wherewhat.config import Config, to_json, with_settings
from wherewhat.errors import UserError

MOST_TRIALS = 10_000
LONGEST_VALUE, LONGEST_NAME = 40, 200  # letters, in the name of a trial and of it all


class Trial(NamedTuple):
    """One training of a sweep."""

    name: str  # of its folder, as in "beta=4,seed=0"
    config: Config


class Axis(NamedTuple):
    """A setting and its values, as text that `--set` takes."""

    setting: str
    values: list[str]


def parse_axis(text: str) -> Axis:
    """An axis from "seed=0..4" (both ends included), "autoencoder.beta=1,4,16", "optimizer.betas=[0,0.9],[0.9,0.99]",
    or ranges and values mixed.  Raises UserError that quotes the axis for any other text."""
    setting, equals, listed = text.partition("=")
    if not equals or not setting.strip() or not listed.strip():
        raise UserError(f"--axis {text}: write it as name=values, as in --axis autoencoder.beta=1,4,16 or seed=0..4")
    values: list[str] = []
    for word in re.split(r",(?![^\[]*\])", listed):  # at commas outside brackets
        values += _range(text, word.strip())
    if "" in values:
        raise UserError(f"--axis {text}: there is nothing between two commas, or at an end")
    if setting.strip() == "recipe":
        raise UserError(f"--axis {text}: a sweep is of one recipe; run one for each")
    return Axis(setting.strip(), values)


def _range(axis: str, word: str) -> list[str]:
    """The whole numbers of "0..4"; another word as it is."""
    if not (ends := re.fullmatch(r"(-?\d+)\.\.(-?\d+)", word)):
        return [word]
    first, last = int(ends[1]), int(ends[2])
    if first > last:
        raise UserError(f"--axis {axis}: the range {word} is empty: write the smaller end first")
    if last - first >= MOST_TRIALS:
        raise UserError(f"--axis {axis}: the range {word} has more than {MOST_TRIALS:,} values")
    return [str(number) for number in range(first, last + 1)]


def grid(base: Config, axes: Sequence[str]) -> list[Trial]:
    """Every combination of the values of all axes, the last axis fastest.  Raises UserError that names the axis for a
    setting there is not or a value it cannot take, and the trial for values that do not go together."""
    parsed = [parse_axis(axis) for axis in axes]
    settings = [axis.setting for axis in parsed]
    if twice := next((name for name in settings if settings.count(name) > 1), None):
        raise UserError(f"--axis {twice} is given twice: put all its values into one")
    if (count := prod(len(axis.values) for axis in parsed)) > MOST_TRIALS:
        raise UserError(f"these axes make {count:,} trials, and a sweep has at most {MOST_TRIALS:,}")
    for axis, text in zip(parsed, axes, strict=True):
        seen: set[str] = set()
        for value in axis.values:
            alone = to_json(_with(base, text, {axis.setting: value}))
            if alone in seen:
                raise UserError(f"--axis {text}: {value} is there twice")
            seen.add(alone)
    shown = _short_names(settings)
    trials = []
    for values in product(*(axis.values for axis in parsed)):
        name = ",".join(f"{word}={_plain(value)}" for word, value in zip(shown, values, strict=True)) or base.recipe
        config = _with(base, " --axis ".join(axes), dict(zip(settings, values, strict=True)))
        trials.append(Trial(name, config.checked(f"trial {name}")))
    return _named_apart(trials)


def _with(base: Config, axis: str, values: dict[str, str]) -> Config:
    try:
        return with_settings(base, [f"{name}={value}" for name, value in values.items()])
    except UserError as error:
        reason = str(error).replace("--set ", "")
        raise UserError(f"--axis {axis}: {reason}") from None


def _short_names(settings: list[str]) -> list[str]:
    """The last word of each setting, where no other ends in it; else the whole."""
    last = [name.rpartition(".")[2] for name in settings]
    return [word if last.count(word) == 1 else name for word, name in zip(last, settings, strict=True)]


def _plain(value: str) -> str:
    """A value as part of the name of a folder: its end, if it is long."""
    return re.sub(r"[^\w.+-]+", "_", value)[-LONGEST_VALUE:]


def _named_apart(trials: list[Trial]) -> list[Trial]:
    """The trials.  Raises UserError for names that are too long, or that file systems may take for the same."""
    seen: dict[str, str] = {}
    for name, _ in trials:
        if len(name) > LONGEST_NAME:
            raise UserError(f"the name of trial {name[:60]}… has {len(name)} letters: give fewer axes at a time")
        if other := seen.get(name.lower()):
            raise UserError(f"two trials would be called {other} and {name}: give their values in two sweeps")
        seen[name.lower()] = name
    return trials
