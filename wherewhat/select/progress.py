"""How far a sweep is, as the run folders say: a live table in a terminal, otherwise a line a minute."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from wherewhat.run.folder import Run
from wherewhat.select.folder import is_done, opened
from wherewhat.select.sweep import Trial
from wherewhat.train.progress import PLAIN_SECONDS, clock

STATES = ("running", "finishing", "failed", "done", "waiting")
"""of trials, in the order in which they find room in a terminal; finishing: all images seen, drawing pictures"""
ROWS = 5
"""of train.jsonl, over which speed is measured"""


class Status(NamedTuple):
    """How far a trial is."""

    name: str
    state: str  # one of STATES
    images_seen: int
    total: int  # images that it is to see
    speed: float = 0.0  # images a second; 0 if it does not run
    losses: str = ""  # the last that were logged


class Board:
    """The trials of a sweep, and how far each is."""

    def __init__(self, title: str, trials: Sequence[Trial], folder: Path) -> None:
        self.title, self.trials, self.folder = title, trials, folder
        self.done = {trial.name for trial in trials if is_done(trial, folder)}
        self.runs: dict[str, Run] = {}
        self.before = {trial.name: run.about if (run := self._run(trial)) else {} for trial in trials}

    def _run(self, trial: Trial) -> Run | None:
        if trial.name not in self.runs and (run := opened(self.folder / trial.name)):
            self.runs[trial.name] = run
        return self.runs.get(trial.name)

    def status(self) -> list[Status]:
        """How far each trial is."""
        return [self._status(trial) for trial in self.trials]

    def _status(self, trial: Trial) -> Status:
        run, total = self._run(trial), trial.config.total_images
        if run is None:
            return Status(trial.name, "waiting", 0, total)
        rows = run.rows("train")[-ROWS:]
        losses = [f"{k} {v:.3g}" for k, v in rows[-1].items() if k not in ("images_seen", "seconds")] if rows else []
        how = trial.name, self._state(trial, run), int(rows[-1]["images_seen"]) if rows else 0, total
        seconds = rows[-1]["seconds"] - rows[0]["seconds"] if rows and how[1] == "running" else 0.0
        speed = (how[2] - rows[0]["images_seen"]) / seconds if seconds > 0 else 0.0
        return Status(*how, speed, " · ".join(losses))

    def _state(self, trial: Trial, run: Run) -> str:
        about = run.about
        if trial.name in self.done or (about.get("state") == "done" and is_done(trial, self.folder)):
            self.done.add(trial.name)
            return "done"
        if about == self.before[trial.name]:  # as an earlier call left it
            return "waiting"
        if about.get("state") != "running":
            return "failed"
        return "finishing" if is_done(trial, self.folder) else "running"


def summary(trials: Sequence[Status]) -> str:
    """'3 of 10 done · 2 running · 41,000 of 640,000 images · 312/s · 0:31:10 left'."""
    counts = {state: sum(trial.state == state for trial in trials) for state in STATES}
    left = sum(max(trial.total - trial.images_seen, 0) for trial in trials if trial.state != "failed")
    parts = [f"{counts['done']} of {len(trials)} done", f"{counts['running'] + counts['finishing']} running"]
    parts += [f"{counts['failed']} failed"] if counts["failed"] else []
    parts.append(f"{sum(t.images_seen for t in trials):,} of {sum(t.total for t in trials):,} images")
    if speed := sum(trial.speed for trial in trials):
        parts += [f"{speed:.0f}/s", f"{clock(left / speed)} left"]
    return " · ".join(parts)


def table(title: str, trials: Sequence[Status], rows: int) -> Table:
    """At most so many trials, those that run first, in their own order; what all of them have done below."""
    chosen = {trial.name for trial in sorted(trials, key=lambda trial: STATES.index(trial.state))[:rows]}
    shown = Table("trial", "state", box=None, title=escape(title), title_justify="left", caption_justify="left")
    for head in ("images", "of", "/s"):
        shown.add_column(head, justify="right")
    shown.add_column("losses", no_wrap=True)
    for trial in trials:
        if trial.name in chosen:
            numbers = f"{trial.images_seen:,}", f"{trial.total:,}", f"{trial.speed:.0f}" if trial.speed else ""
            shown.add_row(escape(trial.name), trial.state, *numbers, trial.losses)
    hidden = f"and {len(trials) - len(chosen)} more · " if len(chosen) < len(trials) else ""
    shown.caption = hidden + summary(trials)
    return shown


class Display:
    """Shows a board, or nothing if silent; inside `with`, a function that shows how things are now."""

    def __init__(self, board: Board, silent: bool) -> None:
        self.board, self.silent = board, silent
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal and not silent else None
        self.printed = time.monotonic()

    def __enter__(self) -> "Display":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.live:
            self.show()
            self.live.stop()

    def show(self) -> None:
        """Show how far the trials are."""
        if self.live:
            rows = max(self.console.height - 5, 3)
            self.live.update(table(self.board.title, self.board.status(), rows), refresh=True)
        elif not self.silent and time.monotonic() - self.printed > PLAIN_SECONDS:
            self.printed = time.monotonic()
            print(summary(self.board.status()), file=sys.stderr, flush=True)
