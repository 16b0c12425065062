"""What dimensions are called: by the user, or suggested from what is known of them."""

from collections import Counter
from collections.abc import Sequence

from wherewhat.errors import UserError, did_you_mean
from wherewhat.runs import Dimension, Run

CLEAR = 0.5
"""a factor suggests a name if it has at least this share of what the code says about all factors"""


def suggested(dimensions: Sequence[Dimension]) -> dict[int, str]:
    """A name for each dimension: its factor if one is clear, else its place; numbered where several are the same."""
    plain = {d.latent: d.factor if d.factor and (d.share or 0) >= CLEAR else d.place for d in dimensions}
    often, seen, made = Counter(plain.values()), Counter[str](), {}
    for latent, name in plain.items():
        seen[name] += 1
        made[latent] = f"{name} {seen[name]}" if often[name] > 1 else name
    return made


def shown(run: Run) -> dict[int, str]:
    """What to call each dimension: the user's name, else a suggestion; z3 before the run was evaluated."""
    plain = {k: f"z{k}" for k in range(run.config.generator.codes)}
    return plain | suggested(run.dimensions or []) | run.names


def find_dimension(run: Run, word: str) -> int:
    """The dimension a user means by 3, z3, its name or its suggested name.  Raises UserError naming the nearest."""
    codes = run.config.generator.codes
    number = word.strip().lower().removeprefix("z")
    if number.isdecimal() and int(number) < codes:
        return int(number)
    for names in (run.names, suggested(run.dimensions or [])):
        for latent, name in names.items():
            if name.lower() == word.strip().lower():
                return latent
    known = [*run.names.values(), *suggested(run.dimensions or []).values()]
    raise UserError(f"{run.path} has no dimension {word}{did_you_mean(word, known)}; numbers: z0 to z{codes - 1}")
