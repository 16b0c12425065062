"""What controls are called: by the user, or suggested from what is known of them."""

from collections import Counter
from collections.abc import Sequence

from wherewhat.errors import UserError, did_you_mean
from wherewhat.run.folder import ControlSummary, Run

CLEAR = 0.5
"""a factor suggests a name if it has at least this share of what the code says about all factors"""


def suggested(controls: Sequence[ControlSummary]) -> dict[int, str]:
    """A name for each control: its factor if one is clear, else its place; numbered where several are the same."""
    plain = {d.index: d.factor if d.factor and (d.share or 0) >= CLEAR else d.place for d in controls}
    often, seen, made = Counter(plain.values()), Counter[str](), {}
    for latent, name in plain.items():
        seen[name] += 1
        made[latent] = f"{name} {seen[name]}" if often[name] > 1 else name
    return made


def shown(run: Run) -> dict[int, str]:
    """What to call each control: the user's name, else a suggestion; z3 before the run was evaluated."""
    plain = {k: f"z{k}" for k in range(run.config.generator.latents)}
    return plain | suggested(run.control_table or []) | run.names


def find_control(run: Run, word: str) -> int:
    """The control a user means by 3, z3, its name or its suggested name.  Raises UserError naming the nearest."""
    codes = run.config.generator.latents
    number = word.strip().lower().removeprefix("z")
    if number.isdecimal() and int(number) < codes:
        return int(number)
    for names in (run.names, suggested(run.control_table or [])):
        for latent, name in names.items():
            if name.lower() == word.strip().lower():
                return latent
    known = [*run.names.values(), *suggested(run.control_table or []).values()]
    raise UserError(f"{run.path} has no control {word}{did_you_mean(word, known)}; numbers: z0 to z{codes - 1}")
