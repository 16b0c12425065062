"""Successive halving in a budget of minutes (Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943): how many
trials see how many images.  Arithmetic alone.

A slot is room for one trial at a time.  Trials that find none wait, so a rung takes as many waves as slots are filled.
"""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

SCORE = "loss"
"""by which trials go on and one is kept, unless another is asked for: a name of evaluation.rank.orders()"""
SEEDS, MINUTES = 6, 60.0
RUNGS = (0.25, 0.5, 1.0)
"""shares of the images at which trials are compared; after each, about half of them go on"""
TIGHT = 0.8
"""share of the images planned: fewer trials go on if there is no time for so many"""
LEAST_IMAGES = 5_000
"""of a training to its end, below which a choice is refused"""
LONGER = 1.5
"""share of the images planned, to which the last rung may go on if there is time left.  The learning rate decays
exponentially, so a training may end a little earlier or later than was planned"""


class Speed(NamedTuple):
    """How fast trials are while all slots are filled."""

    images: float  # a second, of one trial
    start: float  # seconds until a trial trains
    finish: float  # seconds that fitting controls and drawing take at its end


def going_on(trials: int, slots: int) -> int:
    """How many trials go on after a rung: half of them, and more where slots would be empty."""
    return min(trials, waves(max(1, trials // 2), slots) * slots)


def counts(trials: int, slots: int, rungs: int) -> list[int]:
    """How many trials see each of so many rungs, if none fails."""
    found = [trials]
    while len(found) < rungs:
        found.append(going_on(found[-1], slots))
    return found


def waves(trials: int, slots: int) -> int:
    """How often all slots are filled until each trial had one."""
    return ceil(trials / slots)


def cost(total: float | int, seen: float | int, left: Sequence[float], trials: int, speed: Speed, slots: int) -> float:
    """Seconds of the rungs that are left, at these shares of the total, if so many trials see the next one."""
    seconds = 0.0
    for count, share in zip(counts(trials, slots, len(left)), left, strict=True):
        seconds += waves(count, slots) * ((share * total - seen) / speed.images + speed.start)
        seen = share * total
    return seconds + waves(count, slots) * speed.finish


def total_images(seconds: float, speed: Speed, trials: int, slots: int) -> int:
    """Images of a training to its end, so that all rungs fit into so many seconds; 0 or less if nothing fits."""
    fixed, whole = (cost(images, 0, RUNGS, trials, speed, slots) for images in (0.0, 1.0))
    return round((seconds - fixed) / (whole - fixed))


def next_rung(
    total: int, seen: int, left: Sequence[float], trials: int, seconds: float, speed: Speed, slots: int
) -> tuple[int, int]:
    """How many of the trials see the next rung, and its images, so that it and all later ones fit into the seconds.

    total: images of a training, as planned; seen: those that trials have seen; left: shares of total at the rungs that
    are left, ascending; trials: as many as may go on."""
    step = left[0] * total - seen
    for count in range(trials, 0, -1):
        fixed = cost(0, 0, [0.0] * len(left), count, speed, slots)
        scale = (seconds - fixed) / (cost(total, seen, left, count, speed, slots) - fixed)
        if scale >= TIGHT or waves(count, slots) == 1:
            break
    longest = (LONGER * total - seen) / step if len(left) == 1 else 1.0
    return count, seen + max(1, round(step * max(0.0, min(scale, longest))))
