"""Names of controls: those that the user gave, and suggestions from what evaluation found."""

from collections import Counter
from collections.abc import Sequence

from wherewhat.errors import UserError, did_you_mean
from wherewhat.run.model import ControlSummary, Model

CLEAR_SHARE = 0.5  # share of the information of a code that a factor needs to be suggested as a name


def suggested(controls: Sequence[ControlSummary]) -> dict[int, str]:
    """A name for each control: its factor if one is clear, else its place; numbered where several are the same."""
    plain = {d.index: d.factor if d.factor and (d.share or 0) >= CLEAR_SHARE else d.place for d in controls}
    total, seen, made = Counter(plain.values()), Counter[str](), {}
    for control, name in plain.items():
        seen[name] += 1
        made[control] = f"{name} {seen[name]}" if total[name] > 1 else name
    return made


def shown(run: Model) -> dict[int, str]:
    """The name of each control: the user's, else a suggestion; z3 and its like before the run was evaluated."""
    plain = {k: f"z{k}" for k in range(run.controlled)}
    return plain | suggested(run.control_table or []) | run.names


def find_control(run: Model, word: str) -> int:
    """The control meant by 3, z3, its name or its suggested name, in that order.  UserError if there is none."""
    word, last = word.strip(), run.controlled - 1
    number = word.lower().removeprefix("z")
    if number.isdecimal() and int(number) <= last:
        return int(number)
    known = [*run.names.items(), *suggested(run.control_table or []).items()]
    if (found := next((k for k, name in known if name.lower() == word.lower()), None)) is not None:
        return found
    near = did_you_mean(word, [name for _, name in known])
    raise UserError(f"{run.word} has no control {word}{near}; numbers: z0 to z{last}")


def find_controls(run: Model, words: str) -> list[int]:
    """Controls by numbers or names with commas between.  Raises UserError as find_control does."""
    return [find_control(run, word) for word in words.split(",")]
