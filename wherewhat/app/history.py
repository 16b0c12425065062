"""The steps of a user on the page, which can be undone and done again."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

LIMIT = 200
"""steps that can be undone"""

State = TypeVar("State")


@dataclass(frozen=True)
class History(Generic[State]):
    """What is shown now, what was shown before, and what was undone.  Its methods return a changed copy."""

    present: State
    past: tuple[State, ...] = ()  # oldest first
    undone: tuple[State, ...] = ()  # next first

    def record(self, state: State) -> "History[State]":
        """A step to this state, after which nothing can be done again; no step if it is the present one."""
        return self if state == self.present else History(state, (*self.past, self.present)[-LIMIT:])

    def undo(self) -> "History[State]":
        """One step back; the same if there is none."""
        if not self.past:
            return self
        return replace(self, present=self.past[-1], past=self.past[:-1], undone=(self.present, *self.undone))

    def redo(self) -> "History[State]":
        """One step forward again; the same if none was undone."""
        if not self.undone:
            return self
        return replace(self, present=self.undone[0], past=(*self.past, self.present), undone=self.undone[1:])
