"""Train several trials in a budget of minutes, drop those that look worse without labels, keep one."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from wherewhat.atomic import explained, first_line, read_text, write_text
from wherewhat.config import plural
from wherewhat.errors import UserError, did_you_mean
from wherewhat.evaluation.rank import By, orders, rank, require_one_objective
from wherewhat.machine import pick_device
from wherewhat.metrics import registry
from wherewhat.recipes import with_total_images
from wherewhat.run.folder import Run
from wherewhat.run.lock import locked
from wherewhat.select import plan
from wherewhat.select.folder import check_folders, settled
from wherewhat.select.launch import Cluster, connected, launch
from wherewhat.select.plan import RUNGS, Speed
from wherewhat.select.progress import Board, Display
from wherewhat.select.sweep import Trial

FILE = "choice.json"
AIM = 0.95
"""share of the budget that is planned with: drawing takes longer at the end than it did when it was measured"""
PROBE, LEAST_PROBE, LONGEST_PROBE = 0.03, 5.0, 30.0
"""share of the budget, and seconds, for which speed is measured before anything is planned"""
PROBE_STEPS = 4
"""optimizer steps from one row to the next meanwhile; the first row is left out"""


@dataclass
class Rung:
    """A comparison: who takes part, and what came of it."""

    images: int  # that each trial sees until then
    trials: list[str]
    order: dict[str, float | None] = field(default_factory=dict)  # the best first; None: alone, so not measured
    failed: dict[str, str] = field(default_factory=dict)  # and why


@dataclass
class Choice:
    """All that was planned and decided: choice.json in the folder.  All else is in the run folders."""

    minutes: float
    by: By
    trials: list[str]
    speed: Speed
    total: int  # images of a training to its end, as planned
    rungs: list[Rung] = field(default_factory=list)
    seconds: float = 0.0  # that were spent, earlier calls included

    @property
    def kept(self) -> str:
        """The trial to keep; empty before the last comparison."""
        return next(iter(self.rungs[-1].order), "") if len(self.rungs) == len(RUNGS) else ""

    def save(self, folder: Path) -> None:
        """Write it into the folder."""
        with explained(folder):
            write_text(folder / FILE, json.dumps(asdict(self), indent=1) + "\n")


def choose(
    trials: Sequence[Trial], folder: Path, cluster: Cluster, minutes: float = plan.MINUTES, by: By = plan.SCORE,
    distance: str = "alex", quiet: bool = False,
) -> Choice:  # fmt: skip
    """Train these trials by successive halving for about so many minutes; the same call again goes on.

    Speed is measured first.  From it and the budget follows how many images the last ones see, and with these how fast
    the learning rate decays; the end of the last rung is fitted to the time that is left.  by: what decides which go
    on, as in `rank`.  Raises UserError for what a user can mend, and KeyboardInterrupt after saving."""
    if len(trials) < 2:
        raise UserError("a choice needs at least two trials: give --seeds 2 or more")
    if by not in orders():
        raise UserError(f"there is no order by {by}{did_you_mean(by, orders())}")
    if by == "loss":
        for trial in trials:
            require_one_objective(trial.name, trial.config, trials[0].name, trials[0].config)
    began = time.monotonic()
    trials = settled(trials)
    with locked(folder), connected(cluster) as room:
        slots = max(1, room)  # a cluster may grow when something waits
        choice = resumed(folder, [trial.name for trial in trials], minutes, by)
        if choice is None:
            _say(quiet, f"measuring how fast trials train, {min(slots, len(trials))} at a time")
            choice = begun(trials, folder, cluster, slots, minutes, by)
        trials = [trial._replace(config=with_total_images(trial.config, choice.total)) for trial in trials]
        check_folders(trials, folder)
        with clock(choice, folder, began) as seconds_left:
            while not choice.kept:
                rung = current_rung(choice, slots, seconds_left())
                choice.save(folder)
                _say(quiet, announced(choice))
                climb([trial for trial in trials if trial.name in rung.trials], folder, cluster, choice, quiet)
                judge(choice, folder, distance)
                _say(quiet, judged(rung, by))
    return choice


def _say(quiet: bool, words: str) -> None:
    if not quiet:
        print(words, file=sys.stderr, flush=True)


def resumed(folder: Path, names: list[str], minutes: float, by: By) -> Choice | None:
    """The choice that was begun in this folder; None if there is none.  Raises UserError if it is another one."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        choice = TypeAdapter(Choice).validate_json(read_text(file))
    except ValidationError as error:
        raise UserError(f"{file} is damaged ({first_line(error)}): choose another folder with --out") from None
    if (choice.trials, choice.minutes, choice.by) != (names, minutes, by):
        raise UserError(
            f"{folder} holds a choice by {choice.by} among {', '.join(choice.trials)} in {choice.minutes:g} minutes: "
            "ask for the same to go on with it, or choose another folder with --out"
        )
    return choice


def begun(trials: Sequence[Trial], folder: Path, cluster: Cluster, slots: int, minutes: float, by: By) -> Choice:
    """A new choice, planned after measuring how fast trials are while all slots are filled."""
    seconds = min(max(60 * PROBE * minutes, LEAST_PROBE), LONGEST_PROBE)
    log_every = PROBE_STEPS * trials[0].config.batch
    probes = [trial._replace(config=replace(trial.config, log_every=log_every)) for trial in trials[:slots]]
    place, before = folder / ".speed", time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    failed = launch(probes, place, cluster, lambda: None, minutes=seconds / 60)
    if failed:
        raise UserError(next(iter(failed.values())))
    spent = time.monotonic() - before
    speed = measured([Run.open(place / probe.name) for probe in probes], spent)
    shutil.rmtree(place, ignore_errors=True)
    total = plan.total_images(60 * AIM * minutes - spent, speed, len(trials), slots)
    if total < plan.LEAST_IMAGES:
        needed = spent + plan.cost(plan.LEAST_IMAGES, 0, RUNGS, len(trials), speed, slots)
        raise UserError(
            f"in {minutes:g} minutes {len(trials)} trials would see too few images to be compared: {slots} at a time "
            f"see {speed.images:.0f} a second each, and take {speed.start + speed.finish:.0f} s to start and to draw. "
            f"Give --minutes {ceil(1.1 * needed / 60)} or more, or fewer --seeds"
        )
    return Choice(minutes, by, [trial.name for trial in trials], speed, total)


def measured(runs: Sequence[Run], spent: float) -> Speed:
    """How fast trainings were that ran side by side and took so many seconds in all.  The times of their files say when
    the last row was written and when, after pictures, all was done."""
    last = [run.rows("train")[-1] for run in runs]
    ends = [(run.path / "train.jsonl").stat().st_mtime for run in runs]
    finish = max((run.path / "about.json").stat().st_mtime - end for run, end in zip(runs, ends, strict=True))
    start = spent - finish - max(row["seconds"] for row in last)
    first = [run.rows("train")[0]["images_seen"] for run in runs]
    speeds = [speed(run, seen, row["images_seen"]) for run, seen, row in zip(runs, first, last, strict=True)]
    found = [s for s in speeds if s] or [row["images_seen"] / row["seconds"] for row in last]
    return Speed(float(np.mean(found)), max(start, 0.0), max(finish, 0.0))


def speed(run: Run, after: int, until: int) -> float | None:
    """Images a second, of training alone, between two numbers of images; None without two rows between them."""
    rows = [row for row in run.rows("train") if after <= row["images_seen"] <= until]
    seconds = rows[-1]["seconds"] - rows[0]["seconds"] if rows else 0.0
    return (rows[-1]["images_seen"] - rows[0]["images_seen"]) / seconds if seconds > 0 else None


@contextmanager
def clock(choice: Choice, folder: Path, began: float) -> Iterator[Callable[[], float]]:
    """Inside `with`, a function that gives the seconds left of what is planned with.  What was spent is saved at the
    end."""
    before = choice.seconds

    def left() -> float:
        choice.seconds = before + time.monotonic() - began
        return 60 * AIM * choice.minutes - choice.seconds

    try:
        yield left
    finally:
        left()
        choice.save(folder)


def current_rung(choice: Choice, slots: int, seconds: float) -> Rung:
    """The rung that was interrupted, or a new one that fits into so many seconds with those after it."""
    if choice.rungs and not choice.rungs[-1].order:
        return choice.rungs[-1]
    seen, names = 0, choice.trials
    if choice.rungs:
        last = choice.rungs[-1]
        seen, names = last.images, list(last.order)[: plan.going_on(len(last.order), slots)]
    left = RUNGS[len(choice.rungs) :]
    count, images = plan.next_rung(choice.total, seen, left, len(names), seconds, choice.speed, slots)
    choice.rungs.append(Rung(images, names[:count]))
    return choice.rungs[-1]


def climb(trials: Sequence[Trial], folder: Path, cluster: Cluster, choice: Choice, quiet: bool) -> None:
    """Train to the images of the last rung.  Raises UserError if every trial failed."""
    rung, is_last = choice.rungs[-1], len(choice.rungs) == len(RUNGS)
    to_rung = [trial._replace(config=replace(trial.config, total_images=rung.images)) for trial in trials]
    with Display(Board(f"rung {len(choice.rungs)} of {len(RUNGS)}", to_rung, folder), quiet) as display:
        rung.failed = launch(to_rung, folder, cluster, display.show, previews=is_last, on_nonfinite="rollback")
    if len(rung.failed) == len(trials):
        raise UserError(f"every trial failed, the first one so: {next(iter(rung.failed.values()))}")


def judge(choice: Choice, folder: Path, distance: str) -> None:
    """Order the trials of the last rung, and note how fast they were.  Raises UserError if they cannot be ordered."""
    rung = choice.rungs[-1]
    runs = [Run.open(folder / name) for name in sorted(set(rung.trials) - set(rung.failed))]
    before = choice.rungs[-2].images if choice.rungs[1:] else 0
    if speeds := [found for run in runs if (found := speed(run, before, rung.images))]:
        choice.speed = choice.speed._replace(images=float(np.mean(speeds)))
    if len(runs) == 1:
        rung.order = {runs[0].path.name: None}
        return
    ranking = rank(runs, choice.by, distance=distance, device=pick_device("auto"))
    rung.order = {ranked.run.path.name: ranked.value for ranked in ranking.ranked}


def announced(choice: Choice) -> str:
    """What comes next, in words."""
    rung = choice.rungs[-1]
    who, fast = plural(len(rung.trials), "trial"), f"{choice.speed.images:.0f} images a second each"
    return f"rung {len(choice.rungs)} of {len(RUNGS)}: {who} to {rung.images:,} images, {fast}"


def judged(rung: Rung, by: By) -> str:
    """What came of a rung, in words."""
    score = registry.scores()[by]
    order = ", ".join(f"{name} {shown(by, value)}" for name, value in rung.order.items())
    failed = "".join(f"\n  {name} failed: {why}" for name, why in rung.failed.items())
    return f"  {score.label}, the best first: {order}{failed}"


def shown(by: By, value: float | None) -> str:
    """A value as tables have it; of large ones the whole number."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{registry.scores()[by].digits}f}"
